"""Calibration of option probabilities: expected calibration error, Brier score, reliability."""

import datasets
import evaluate
import numpy as np

from facemllm.evaluation.figures.bootstrap import face_codes
from facemllm.evaluation.figures.task_figures import calibration_figures

_DESCRIPTION = """\
How far the probabilities of closed answers can be believed: expected calibration error of the likeliest option (15
bins of equal width, and 15 of equal size), Brier score and negative log-likelihood, each with n and a percentile
bootstrap interval over faces, and the bins of a reliability diagram.
"""

_INPUTS = """
Args:
    predictions: per row the probability of every option, with sum 1.
    references: the place of the right option in each row.
    ids: the face of each row; rows of one face are resampled together. By default every row is a face.
    resamples, seed, confidence: of the percentile bootstrap (1000, 0, 0.95).
Returns:
    n; metrics: ece, adaptive_ece, brier, nll, each with value, interval and n; if_calibrated: the mean and p95 of both
    errors for a calibrated model with these probabilities, above 0 too; expected_ece, the mean of ece; bins: low,
    high, n, confidence, accuracy, interval. The interval of an error is the percentile interval reflected about the
    value, as noise only raises it, and begins at 0 where a calibrated model would have such an error.
Examples:
    >>> metric = evaluate.load("facemllm/evaluation/metrics/calibration")
    >>> found = metric.compute(predictions=[[0.75, 0.25], [0.25, 0.75]], references=[0, 0])
    >>> found["metrics"]["ece"]["value"]
    0.25
"""

_CITATION = """\
@inproceedings{guo2017calibration,
  title={On Calibration of Modern Neural Networks},
  author={Guo, Chuan and Pleiss, Geoff and Sun, Yu and Weinberger, Kilian Q.},
  booktitle={International Conference on Machine Learning},
  year={2017}
}
"""


class Calibration(evaluate.Metric):
    """The `evaluate` module of `facemllm.evaluation.figures.reliability`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("float64")),
                    "references": datasets.Value("int64"),
                }
            ),
            reference_urls=["https://proceedings.mlr.press/v70/guo17a.html"],
        )

    def _compute(self, predictions, references, ids=None, **drawing):
        probabilities = np.array(predictions or np.empty((0, 0)), np.float64)
        faces = face_codes(ids, len(references))
        references = np.array(references, np.int64)
        return calibration_figures(references, probabilities, faces, **drawing)
