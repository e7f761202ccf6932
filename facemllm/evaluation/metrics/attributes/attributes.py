"""Binary facial attributes: accuracy, balanced accuracy and F1 of each, and their means."""

import datasets
import evaluate

from facemllm.evaluation.figures.columns import columns_of_labels
from facemllm.evaluation.figures.task_figures import metric_figures

_DESCRIPTION = """\
Accuracy, balanced accuracy and F1 of each yes-or-no attribute (CelebA's forty, for instance) and their means over the
attributes, each with n and a percentile bootstrap interval over faces.
"""

_INPUTS = """
Args:
    predictions: per row one 1 (present), 0 (absent) or None (unread: wrong, and a miss where present) per attribute.
    references: per row one 1, 0 or None (not labelled: left out) per attribute.
    names: the attributes' names; by default "0", "1", ….
    ids: the face of each row; rows of one face are resampled together. By default every row is a face.
    resamples, seed, confidence: of the percentile bootstrap (1000, 0, 0.95).
Returns:
    n, faces, unparsed (count, rate), metrics: the means of accuracy, balanced_accuracy and f1 over the attributes for
    which they are defined; attributes: the same for each attribute. Each has value, interval and n; undefined is None.
Examples:
    >>> metric = evaluate.load("facemllm/evaluation/metrics/attributes")
    >>> found = metric.compute(predictions=[[1, 0], [1, 1]], references=[[1, 0], [0, 1]], names=["smiling", "hat"])
    >>> found["metrics"]["accuracy"]["value"]
    0.75
"""

_CITATION = """\
@inproceedings{liu2015faceattributes,
  title={Deep Learning Face Attributes in the Wild},
  author={Liu, Ziwei and Luo, Ping and Wang, Xiaogang and Tang, Xiaoou},
  booktitle={International Conference on Computer Vision},
  year={2015}
}
"""


class Attributes(evaluate.Metric):
    """The `evaluate` module of `facemllm.evaluation.figures.confusion`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("int64")),
                    "references": datasets.Sequence(datasets.Value("int64")),
                }
            ),
            reference_urls=["https://doi.org/10.1109/ICCV.2015.425"],
        )

    def _compute(self, predictions, references, names=None, ids=None, **drawing):
        columns = columns_of_labels(predictions, references, names, ids)
        found = metric_figures(columns, **drawing)
        return {"attributes" if name == "units" else name: part for name, part in found.items()}
