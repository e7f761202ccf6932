"""Facial action units: F1 of each unit over the frames, and their mean."""

import datasets
import evaluate

from facemllm.evaluation.figures.columns import columns_of_labels
from facemllm.evaluation.figures.task_figures import metric_figures

_DESCRIPTION = """\
F1 of each action unit over all frames and the mean over the units, as reported on DISFA and BP4D; accuracies beside
them. Each has n and a percentile bootstrap interval over frames or, with ids, over whatever the ids name. A unit that
neither occurs nor is predicted has no F1 (0/0): it is None and left out of the mean, never 0 or 1.
"""

_INPUTS = """
Args:
    predictions: per row one 1 (present), 0 (absent) or None (unread: wrong, and a miss where present) per unit.
    references: per row one 1, 0 or None (not labelled: left out) per unit.
    names: the units' names; by default "0", "1", ….
    ids: the face of each row; rows of one face are resampled together. By default every row is a face.
    resamples, seed, confidence: of the percentile bootstrap (1000, 0, 0.95).
Returns:
    n, faces, unparsed (count, rate), metrics: the means of f1, accuracy and balanced_accuracy over the units for
    which they are defined; units: the same for each unit. Each has value, interval and n; undefined is None.
Examples:
    >>> metric = evaluate.load("facemllm/evaluation/metrics/action_units")
    >>> found = metric.compute(predictions=[[1, 0], [1, 1]], references=[[1, 0], [0, 1]], names=["1", "12"])
    >>> round(found["units"]["1"]["f1"]["value"], 2)
    0.67
"""

_CITATION = """\
@article{mavadati2013disfa,
  title={{DISFA}: A Spontaneous Facial Action Intensity Database},
  author={Mavadati, S. Mohammad and Mahoor, Mohammad H. and Bartlett, Kevin and Trinh, Philip and Cohn, Jeffrey F.},
  journal={IEEE Transactions on Affective Computing},
  volume={4}, number={2}, year={2013}
}
"""


class ActionUnits(evaluate.Metric):
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
            reference_urls=["https://doi.org/10.1109/T-AFFC.2013.4"],
        )

    def _compute(self, predictions, references, names=None, ids=None, **drawing):
        columns = columns_of_labels(predictions, references, names, ids)
        return metric_figures(columns, **drawing)
