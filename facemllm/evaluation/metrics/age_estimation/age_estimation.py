"""Age in years: mean absolute error, cumulative score, accuracy in age groups."""

import datasets
import evaluate

from facemllm.evaluation.figures.columns import columns_of_arrays
from facemllm.evaluation.figures.task_figures import metric_figures
from facemllm.evaluation.predictions import TaskSpec

_DESCRIPTION = """\
Mean absolute error and mean signed error in years, the cumulative score CS@0 … CS@10 (share of faces with an error of
at most k years) and, with bins, the accuracy in age groups, exact and within one group, each with n and a percentile
bootstrap interval over faces.
"""

_INPUTS = """
Args:
    predictions: years; None is an unread answer: wrong in every share, left out of the errors in years.
    references: years.
    bins: optionally age groups, name to [low, high) in years, ascending and without gaps.
    ids: the face of each row; rows of one face are resampled together. By default every row is a face.
    resamples, seed, confidence: of the percentile bootstrap (1000, 0, 0.95).
Returns:
    n, faces, unparsed (count, rate) and metrics: mae, mean_error, cs@0 … cs@10, and with bins bucket_accuracy and
    bucket_accuracy_within_one, each with value, interval and n. What is undefined is None.
Examples:
    >>> metric = evaluate.load("facemllm/evaluation/metrics/age_estimation")
    >>> metric.compute(predictions=[30, 41], references=[33, 40])["metrics"]["mae"]["value"]
    2.0
"""

_CITATION = """\
@article{geng2007automatic,
  title={Automatic Age Estimation Based on Facial Aging Patterns},
  author={Geng, Xin and Zhou, Zhi-Hua and Smith-Miles, Kate},
  journal={IEEE Transactions on Pattern Analysis and Machine Intelligence},
  volume={29}, number={12}, year={2007}
}
"""


class AgeEstimation(evaluate.Metric):
    """The `evaluate` module of `facemllm.evaluation.figures.errors`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("float64")}
            ),
            reference_urls=["https://doi.org/10.1109/TPAMI.2007.70733"],
        )

    def _compute(self, predictions, references, bins=None, ids=None, **drawing):
        columns = columns_of_arrays(TaskSpec("age", "number", bins=bins), predictions, references, ids)
        return metric_figures(columns, **drawing)
