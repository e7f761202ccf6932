"""Metrics of errors in years and degrees: mean absolute error, cumulative score, buckets of ages."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .bootstrap import Statistic, Summed, mean_of_defined, ratio

MAX_YEARS = 10
"""The cumulative score is given for errors of up to 0, 1, … 10 years."""

ANGLES = ("yaw", "pitch", "roll")


def age_estimation(
    references: np.ndarray,
    predictions: np.ndarray,
    bins: Mapping[str, tuple[float, float]] | None = None,
) -> Summed:
    """Errors in years: MAE, mean signed error, cumulative score, and bucket accuracies where there are `bins`.

    `cs@k` is the share of faces whose error is at most k years (Geng et al., TPAMI 2007), neither age rounded.
    `bucket_accuracy` is the share whose estimate falls into the bin of the true age, `…_within_one` into it or a
    neighbour; an estimate beyond the first or last bin belongs to it, a true age outside all bins is left out.
    An unread answer (NaN) is wrong in all shares; MAE and the signed error leave it out.

    Args:
        references: years, float64 of shape `(rows,)`.
        predictions: years, NaN where an answer was unread.
        bins: name to the half-open ages `[low, high)`, ascending and without gaps.

    Raises:
        ValueError: for a true age that is no number, or bins that are not as described.
    """
    _require_known(references)
    read = np.isfinite(predictions)
    error = np.where(read, predictions, references) - references
    # The hair is for sums of floats: an expectation of 30.000000000004 is five years from 25.
    reached = np.ceil(np.abs(error) - 1e-9)
    shares = [read & (reached == years) for years in range(MAX_YEARS + 1)]
    columns = [np.abs(error), error, read, np.ones(len(references)), *shares]
    statistics = {
        "mae": Statistic(lambda s: ratio(s[..., 0], s[..., 2]), lambda s: s[..., 2], higher_is_better=False),
        "mean_error": Statistic(lambda s: ratio(s[..., 1], s[..., 2]), lambda s: s[..., 2], higher_is_better=False),
    }
    for years in range(MAX_YEARS + 1):
        statistics[f"cs@{years}"] = share(slice(4, 5 + years), 3)
    if bins:
        right = 4 + len(shares)
        columns += _bucket_columns(references, predictions, read, bins)
        statistics["bucket_accuracy"] = share(slice(right, right + 1), right + 2)
        statistics["bucket_accuracy_within_one"] = share(slice(right, right + 2), right + 2)
    return Summed(_sparse(columns), statistics)


def _bucket_columns(
    references: np.ndarray, predictions: np.ndarray, read: np.ndarray, bins: Mapping[str, tuple[float, float]]
) -> list[np.ndarray]:
    """Right, one beside, and whether the true age lies in any bin at all."""
    lows = np.array([low for low, _ in bins.values()], np.float64)
    highs = np.array([high for _, high in bins.values()], np.float64)
    if (lows[1:] != highs[:-1]).any() or (lows >= highs).any():
        raise ValueError(f"bins {dict(bins)} must ascend without gaps, each as (low, high)")
    inside = (references >= lows[0]) & (references < highs[-1])
    places = np.searchsorted(lows, references, "right")
    # The first bin takes what lies below it as the last takes what lies above.
    estimated = np.maximum(np.searchsorted(lows, np.where(read, predictions, 0), "right"), 1)
    apart = np.abs(places - estimated)
    return [inside & read & (apart == 0), inside & read & (apart == 1), inside]


def wrapped(degrees: np.ndarray) -> np.ndarray:
    """The same angles in `[-180, 180)` degrees."""
    return (degrees + 180) % 360 - 180


def head_pose(references: np.ndarray, predictions: np.ndarray) -> Summed:
    """Mean absolute error of yaw, pitch and roll in degrees, and `mae`, the mean of the three.

    The error is that of the shorter way round. A row that lacks an angle (NaN) was not read and is left out.

    Args:
        references, predictions: degrees, float64 of shape `(rows, 3)`, in the order of `ANGLES`.

    Raises:
        ValueError: for a true angle that is no number.
    """
    _require_known(references)
    read = np.isfinite(predictions).all(-1)
    error = np.abs(wrapped(np.where(read[:, None], predictions, references) - references))

    def means(sums: np.ndarray) -> np.ndarray:
        return ratio(sums[..., :3], sums[..., 3:])

    def count(sums: np.ndarray) -> np.ndarray:
        return sums[..., 3]

    statistics = {"mae": Statistic(lambda sums: mean_of_defined(means(sums)), count, higher_is_better=False)}
    for place, angle in enumerate(ANGLES):
        statistics[f"{angle}_mae"] = Statistic(
            lambda sums, place=place: means(sums)[..., place], count, higher_is_better=False
        )
    return Summed(_sparse([*error.T, read]), statistics)


def _require_known(references: np.ndarray) -> None:
    unknown = np.argwhere(~np.isfinite(references))
    if len(unknown):
        raise ValueError(f"references: row {unknown[0][0]} is no number; leave rows without a label out")


def share(part: slice, whole: int) -> Statistic:
    """The sum of the columns `part` divided by the column `whole`, which counts rows."""
    return Statistic(
        lambda sums: ratio(sums[..., part].sum(-1), sums[..., whole]), lambda sums: sums[..., whole], proportion=True
    )


def _sparse(columns: Sequence[np.ndarray]) -> Any:
    from scipy.sparse import csr_array

    return csr_array(np.stack([np.asarray(column, np.float64) for column in columns], axis=-1))
