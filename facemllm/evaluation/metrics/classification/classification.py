"""Classification of faces into a closed set: accuracy, balanced accuracy, macro F1, confusion."""

import datasets
import evaluate

from facemllm.evaluation.figures.columns import columns_of_arrays
from facemllm.evaluation.figures.task_figures import metric_figures
from facemllm.evaluation.predictions import TaskSpec

_DESCRIPTION = """\
Accuracy, balanced accuracy (mean recall of the classes that occur), macro F1 and the confusion matrix of one closed
question about faces, such as expression or gender, each with n and a percentile bootstrap interval over faces.
"""

_INPUTS = """
Args:
    predictions: one class per row, str or int; None, or anything that is no class, is an unread answer and wrong.
    references: the right class of each row.
    classes: the closed set in its order; by default the references' classes, sorted.
    ordered: whether neighbouring classes are near misses (age groups): adds accuracy_within_one.
    ids: the face of each row; rows of one face are resampled together. By default every row is a face.
    resamples, seed, confidence: of the percentile bootstrap (1000, 0, 0.95).
Returns:
    n, faces, unparsed (count, rate), metrics (name to value, interval, n), classes (recall and F1 of each) and
    confusion (labels, columns with "unparsed" last, counts). What is undefined is None.
Examples:
    >>> metric = evaluate.load("facemllm/evaluation/metrics/classification")
    >>> found = metric.compute(predictions=["happy", "sad", None], references=["happy", "happy", "sad"])
    >>> round(found["metrics"]["accuracy"]["value"], 2)
    0.33
"""

_CITATION = """\
@inproceedings{brodersen2010balanced,
  title={The Balanced Accuracy and Its Posterior Distribution},
  author={Brodersen, Kay H. and Ong, Cheng Soon and Stephan, Klaas E. and Buhmann, Joachim M.},
  booktitle={International Conference on Pattern Recognition},
  year={2010}
}
"""


class Classification(evaluate.Metric):
    """The `evaluate` module of `facemllm.evaluation.figures.confusion`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=[
                datasets.Features({"predictions": datasets.Value(kind), "references": datasets.Value(kind)})
                for kind in ("int64", "string")
            ],
            reference_urls=["https://doi.org/10.1109/ICPR.2010.764"],
        )

    def compute(self, *, predictions=None, references=None, **settings):
        """Compute the metric; also of no rows at all, of which `evaluate` cannot tell whether they are numbers."""
        if references is not None and len(references) == 0:
            return self._compute([], [], **settings)
        return super().compute(predictions=predictions, references=references, **settings)

    def _compute(self, predictions, references, classes=None, ordered=False, ids=None, **drawing):
        spec = TaskSpec("classification", "options", tuple(classes or sorted(set(references) - {None})), ordered)
        columns = columns_of_arrays(spec, predictions, references, ids)
        return metric_figures(columns, **drawing)
