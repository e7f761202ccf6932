"""What the six metric modules compute and say of themselves: one base class and a definition for each.

A module's file is loaded by `evaluate` from a copy, outside of this package: it names its definition and no more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import datasets
import evaluate
import numpy as np

from facemllm.evaluation.figures.bootstrap import face_codes
from facemllm.evaluation.figures.columns import columns_of_arrays, columns_of_labels
from facemllm.evaluation.figures.errors import ANGLES
from facemllm.evaluation.figures.task_figures import calibration_figures, metric_figures
from facemllm.evaluation.predictions import TaskSpec

_ROWS = """\
    ids: the face of each row; rows of one face are resampled together. By default every row is a face.
    resamples, seed, confidence: of the percentile bootstrap (1000, 0, 0.95).
"""
_LABELS = f"""Args:
    predictions: per row one 1 (present), 0 (absent) or None (unread: wrong, and a miss where present) per {{0}}.
    references: per row one 1, 0 or None (not labelled: left out) per {{0}}.
    names: the {{0}}s' names; by default "0", "1", ….
{_ROWS}Returns:
    n, faces, unparsed (count, rate), metrics: the means of accuracy, balanced_accuracy and f1 over the {{0}}s for
    which they are defined; {{0}}s: the same for each {{0}}. Each has value, interval and n; undefined is None.
"""


@dataclass(frozen=True)
class Definition:
    """One metric.

    Attributes:
        figures: the figures of the rows, from `predictions`, `references` and the settings that `inputs` describes.
        features: of each column; several where `evaluate` is to find out which fit.
    """

    figures: Callable[..., dict[str, Any]]
    description: str
    inputs: str
    features: datasets.Features | list[datasets.Features]
    citation: str
    url: str


class FaceMetric(evaluate.Metric):
    """The `evaluate` module of a `definition`."""

    definition: Definition

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.definition.description,
            citation=self.definition.citation,
            inputs_description=self.definition.inputs,
            features=self.definition.features,
            reference_urls=[self.definition.url],
        )

    def _compute(self, **inputs: Any) -> dict[str, Any]:
        return self.definition.figures(**inputs)


def _rows_of(kind: str) -> datasets.Features:
    """Several values in each row of both columns."""
    sequence = datasets.Sequence(datasets.Value(kind))
    return datasets.Features({"predictions": sequence, "references": sequence})


def _classes(predictions, references, classes=None, ordered=False, ids=None, **drawing):
    spec = TaskSpec("classification", "options", tuple(classes or sorted(set(references) - {None})), ordered)
    return metric_figures(columns_of_arrays(spec, predictions, references, ids), **drawing)


def _years(predictions, references, bins=None, ids=None, **drawing):
    spec = TaskSpec("age", "number", bins=bins)
    return metric_figures(columns_of_arrays(spec, predictions, references, ids), **drawing)


def _angles(predictions, references, ids=None, **drawing):
    predictions = [row and dict(zip(ANGLES, row, strict=True)) for row in predictions]
    references = [dict(zip(ANGLES, row, strict=True)) for row in references]
    spec = TaskSpec("head_pose", "angles")
    return metric_figures(columns_of_arrays(spec, predictions, references, ids), **drawing)


def _units(predictions, references, names=None, ids=None, **drawing):
    return metric_figures(columns_of_labels(predictions, references, names, ids), **drawing)


def _attributes(predictions, references, **settings):
    found = _units(predictions, references, **settings)
    return {"attributes" if name == "units" else name: part for name, part in found.items()}


def _probabilities(predictions, references, ids=None, **drawing):
    probabilities = np.array(predictions or np.empty((0, 0)), np.float64)
    faces = face_codes(ids, len(references))
    return calibration_figures(np.array(references, np.int64), probabilities, faces, **drawing)


CLASSIFICATION = Definition(
    _classes,
    description="""\
Accuracy, balanced accuracy (mean recall of the classes that occur), macro F1 and the confusion matrix of one closed
question about faces, such as expression or gender, each with n and a percentile bootstrap interval over faces.
""",
    inputs=f"""
Args:
    predictions: one class per row, str or int; None, or anything that is no class, is an unread answer and wrong.
    references: the right class of each row.
    classes: the closed set in its order; by default the references' classes, sorted.
    ordered: whether neighbouring classes are near misses (age groups): adds accuracy_within_one.
{_ROWS}Returns:
    n, faces, unparsed (count, rate), metrics (name to value, interval, n), classes (recall and F1 of each) and
    confusion (labels, columns with "unparsed" last, counts). What is undefined is None.
Examples:
    >>> metric = evaluate.load("facemllm/evaluation/metrics/classification")
    >>> found = metric.compute(predictions=["happy", "sad", None], references=["happy", "happy", "sad"])
    >>> round(found["metrics"]["accuracy"]["value"], 2)
    0.33
""",
    features=[
        datasets.Features({"predictions": datasets.Value(kind), "references": datasets.Value(kind)})
        for kind in ("int64", "string")
    ],
    citation="""\
@inproceedings{brodersen2010balanced,
  title={The Balanced Accuracy and Its Posterior Distribution},
  author={Brodersen, Kay H. and Ong, Cheng Soon and Stephan, Klaas E. and Buhmann, Joachim M.},
  booktitle={International Conference on Pattern Recognition},
  year={2010}
}
""",
    url="https://doi.org/10.1109/ICPR.2010.764",
)

ATTRIBUTES = Definition(
    _attributes,
    description="""\
Accuracy, balanced accuracy and F1 of each yes-or-no attribute (CelebA's forty, for instance) and their means over the
attributes, each with n and a percentile bootstrap interval over faces.
""",
    inputs=f"""
{_LABELS.format("attribute")}Examples:
    >>> metric = evaluate.load("facemllm/evaluation/metrics/attributes")
    >>> found = metric.compute(predictions=[[1, 0], [1, 1]], references=[[1, 0], [0, 1]], names=["smiling", "hat"])
    >>> found["metrics"]["accuracy"]["value"]
    0.75
""",
    features=_rows_of("int64"),
    citation="""\
@inproceedings{liu2015faceattributes,
  title={Deep Learning Face Attributes in the Wild},
  author={Liu, Ziwei and Luo, Ping and Wang, Xiaogang and Tang, Xiaoou},
  booktitle={International Conference on Computer Vision},
  year={2015}
}
""",
    url="https://doi.org/10.1109/ICCV.2015.425",
)

AGE_ESTIMATION = Definition(
    _years,
    description="""\
Mean absolute error and mean signed error in years, the cumulative score CS@0 … CS@10 (share of faces with an error of
at most k years) and, with bins, the accuracy in age groups, exact and within one group, each with n and a percentile
bootstrap interval over faces.
""",
    inputs=f"""
Args:
    predictions: years; None is an unread answer: wrong in every share, left out of the errors in years.
    references: years.
    bins: optionally age groups, name to [low, high) in years, ascending and without gaps.
{_ROWS}Returns:
    n, faces, unparsed (count, rate) and metrics: mae, mean_error, cs@0 … cs@10, and with bins bucket_accuracy and
    bucket_accuracy_within_one, each with value, interval and n. What is undefined is None.
Examples:
    >>> metric = evaluate.load("facemllm/evaluation/metrics/age_estimation")
    >>> metric.compute(predictions=[30, 41], references=[33, 40])["metrics"]["mae"]["value"]
    2.0
""",
    features=datasets.Features({"predictions": datasets.Value("float64"), "references": datasets.Value("float64")}),
    citation="""\
@article{geng2007automatic,
  title={Automatic Age Estimation Based on Facial Aging Patterns},
  author={Geng, Xin and Zhou, Zhi-Hua and Smith-Miles, Kate},
  journal={IEEE Transactions on Pattern Analysis and Machine Intelligence},
  volume={29}, number={12}, year={2007}
}
""",
    url="https://doi.org/10.1109/TPAMI.2007.70733",
)

HEAD_POSE = Definition(
    _angles,
    description="""\
Mean absolute error of yaw, pitch and roll in degrees and the mean of the three, the shorter way round, each with n
and a percentile bootstrap interval over faces. Which faces count is the protocol's: on AFLW2000 the field leaves out
angles beyond ±99°.
""",
    inputs=f"""
Args:
    predictions: [yaw, pitch, roll] in degrees per row; a row that lacks an angle (None) is unread and left out.
    references: [yaw, pitch, roll] in degrees per row.
{_ROWS}Returns:
    n, faces, unparsed (count, rate) and metrics: mae, yaw_mae, pitch_mae, roll_mae, each with value, interval and n.
    What is undefined is None.
Examples:
    >>> metric = evaluate.load("facemllm/evaluation/metrics/head_pose")
    >>> metric.compute(predictions=[[179, 0, 0]], references=[[-179, 0, 1]])["metrics"]["mae"]["value"]
    1.0
""",
    features=_rows_of("float64"),
    citation="""\
@inproceedings{yang2019fsanet,
  title={{FSA-Net}: Learning Fine-Grained Structure Aggregation for Head Pose Estimation From a Single Image},
  author={Yang, Tsun-Yi and Chen, Yi-Ting and Lin, Yen-Yu and Chuang, Yung-Yu},
  booktitle={IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year={2019}
}
""",
    url="https://doi.org/10.1109/CVPR.2019.00118",
)

ACTION_UNITS = Definition(
    _units,
    description="""\
F1 of each action unit over all frames and the mean over the units, as reported on DISFA and BP4D; accuracies beside
them. Each has n and a percentile bootstrap interval over frames or, with ids, over whatever the ids name. A unit that
neither occurs nor is predicted has no F1 (0/0): it is None and left out of the mean, never 0 or 1.
""",
    inputs=f"""
{_LABELS.format("unit")}Examples:
    >>> metric = evaluate.load("facemllm/evaluation/metrics/action_units")
    >>> found = metric.compute(predictions=[[1, 0], [1, 1]], references=[[1, 0], [0, 1]], names=["1", "12"])
    >>> round(found["units"]["1"]["f1"]["value"], 2)
    0.67
""",
    features=_rows_of("int64"),
    citation="""\
@article{mavadati2013disfa,
  title={{DISFA}: A Spontaneous Facial Action Intensity Database},
  author={Mavadati, S. Mohammad and Mahoor, Mohammad H. and Bartlett, Kevin and Trinh, Philip and Cohn, Jeffrey F.},
  journal={IEEE Transactions on Affective Computing},
  volume={4}, number={2}, year={2013}
}
""",
    url="https://doi.org/10.1109/T-AFFC.2013.4",
)

CALIBRATION = Definition(
    _probabilities,
    description="""\
How far the probabilities of closed answers can be believed: expected calibration error of the likeliest option (15
bins of equal width, and 15 of equal size), Brier score and negative log-likelihood, each with n and a percentile
bootstrap interval over faces, and the bins of a reliability diagram.
""",
    inputs=f"""
Args:
    predictions: per row the probability of every option, with sum 1.
    references: the place of the right option in each row.
{_ROWS}Returns:
    n; metrics: ece, adaptive_ece, brier, nll, each with value, interval and n; if_calibrated: the mean and p95 of both
    errors for a calibrated model with these probabilities, above 0 too; expected_ece, the mean of ece; bins: low,
    high, n, confidence, accuracy, interval. The interval of an error is the percentile interval reflected about the
    value, as noise only raises it, and begins at 0 where a calibrated model would have such an error.
Examples:
    >>> metric = evaluate.load("facemllm/evaluation/metrics/calibration")
    >>> found = metric.compute(predictions=[[0.75, 0.25], [0.25, 0.75]], references=[0, 0])
    >>> found["metrics"]["ece"]["value"]
    0.25
""",
    features=datasets.Features(
        {"predictions": datasets.Sequence(datasets.Value("float64")), "references": datasets.Value("int64")}
    ),
    citation="""\
@inproceedings{guo2017calibration,
  title={On Calibration of Modern Neural Networks},
  author={Guo, Chuan and Pleiss, Geoff and Sun, Yu and Weinberger, Kilian Q.},
  booktitle={International Conference on Machine Learning},
  year={2017}
}
""",
    url="https://proceedings.mlr.press/v70/guo17a.html",
)
