"""Head pose: mean absolute error of yaw, pitch and roll, and of the three."""

import datasets
import evaluate

from facemllm.evaluation.figures.columns import columns_of_arrays
from facemllm.evaluation.figures.errors import ANGLES
from facemllm.evaluation.figures.task_figures import metric_figures
from facemllm.evaluation.predictions import TaskSpec

_DESCRIPTION = """\
Mean absolute error of yaw, pitch and roll in degrees and the mean of the three, the shorter way round, each with n
and a percentile bootstrap interval over faces. Which faces count is the protocol's: on AFLW2000 the field leaves out
angles beyond ±99°.
"""

_INPUTS = """
Args:
    predictions: [yaw, pitch, roll] in degrees per row; a row that lacks an angle (None) is unread and left out.
    references: [yaw, pitch, roll] in degrees per row.
    ids: the face of each row; rows of one face are resampled together. By default every row is a face.
    resamples, seed, confidence: of the percentile bootstrap (1000, 0, 0.95).
Returns:
    n, faces, unparsed (count, rate) and metrics: mae, yaw_mae, pitch_mae, roll_mae, each with value, interval and n.
    What is undefined is None.
Examples:
    >>> metric = evaluate.load("facemllm/evaluation/metrics/head_pose")
    >>> metric.compute(predictions=[[179, 0, 0]], references=[[-179, 0, 1]])["metrics"]["mae"]["value"]
    1.0
"""

_CITATION = """\
@inproceedings{yang2019fsanet,
  title={{FSA-Net}: Learning Fine-Grained Structure Aggregation for Head Pose Estimation From a Single Image},
  author={Yang, Tsun-Yi and Chen, Yi-Ting and Lin, Yen-Yu and Chuang, Yung-Yu},
  booktitle={IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year={2019}
}
"""


class HeadPose(evaluate.Metric):
    """The `evaluate` module of `facemllm.evaluation.figures.errors`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("float64")),
                    "references": datasets.Sequence(datasets.Value("float64")),
                }
            ),
            reference_urls=["https://doi.org/10.1109/CVPR.2019.00118"],
        )

    def _compute(self, predictions, references, ids=None, **drawing):
        predictions = [row and dict(zip(ANGLES, row, strict=True)) for row in predictions]
        references = [dict(zip(ANGLES, row, strict=True)) for row in references]
        columns = columns_of_arrays(TaskSpec("head_pose", "angles"), predictions, references, ids)
        return metric_figures(columns, **drawing)
