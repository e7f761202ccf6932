"""Confidence intervals by resampling faces: for every metric that is a function of sums over them.

A face may have several rows (its questions, the frames of a video): all rows of one id are drawn together, as
they are no independent evidence. Metrics are written as functions of column sums, so a resample is one row of a matrix
product and never a pass over the data.
"""

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

RESAMPLES = 1000
CONFIDENCE = 0.95
MAX_UNITS = 20_000
"""Beyond so many faces, random bundles of them, equal in size, are drawn as one: the variance stays what it is and
the cost stops growing."""

_FLOATS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Statistic:
    """A metric as a function of sums.

    Attributes:
        value: sums of shape `(..., columns)` to values of shape `(...)`; NaN where the metric is undefined.
        count: the same sums to the number of rows behind the value.
        proportion: whether the value is a number of successes divided by `count`.
        folded: whether the value is a sum of distances from 0, which noise can only raise: resamples lie above the
            value as the value lies above the truth, so the interval is the percentile interval reflected about the
            value (Davison and Hinkley's basic one), cut at 0.
    """

    value: Callable[[np.ndarray], np.ndarray]
    count: Callable[[np.ndarray], np.ndarray]
    proportion: bool = False
    higher_is_better: bool = True
    folded: bool = False


@dataclass(frozen=True)
class Summed:
    """Rows of which only the sums matter, and the metrics of those sums.

    Attributes:
        rows: `scipy.sparse.csr_array` of shape `(rows, columns)`, float64.
    """

    rows: Any
    statistics: Mapping[str, Statistic]


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, NaN where `whole` is 0."""
    return np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole != 0)


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """The mean over the last axis of what is not NaN; NaN where nothing is."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(-1), defined.sum(-1))


def face_codes(ids: Sequence[Hashable] | np.ndarray | None, rows: int) -> np.ndarray:
    """A number `0 … faces - 1` for each row, int64 of shape `(rows,)`; without ids each row is a face of its own.

    Raises:
        ValueError: when there is not one id for each row.
    """
    if ids is None:
        return np.arange(rows)
    if len(ids) != rows:
        raise ValueError(f"ids has {len(ids)} entries, but there are {rows} rows; give one id for each row, or none")
    if isinstance(ids, np.ndarray):
        _, first, same = np.unique(ids, return_index=True, return_inverse=True)
        # Numbered as they come: the resamples must not depend on how ids sort.
        return np.argsort(np.argsort(first))[same]
    numbers: dict[Hashable, int] = {}
    return np.fromiter((numbers.setdefault(id, len(numbers)) for id in ids), np.int64, count=rows)


def sum_by(rows: Any, codes: np.ndarray, count: int) -> Any:
    """The sums of the rows with the same code: `csr_array` of shape `(count, columns)`."""
    from scipy.sparse import csr_array

    if len(codes) == count and np.array_equal(codes, np.arange(count)):
        return rows
    belongs = csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(count, len(codes)))
    return (belongs @ rows).tocsr()


def resampled_sums(faces: Any, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """The sums of as many faces as there are, drawn with replacement.

    Args:
        faces: `csr_array` of shape `(faces, columns)`, one row per face.

    Yields:
        float64 of shape `(some of the resamples, columns)`, until there are `resamples`.
    """
    rng = np.random.default_rng(seed)
    count, columns = faces.shape
    if count > MAX_UNITS:
        bundles = rng.permutation(count) % MAX_UNITS
        faces, count = sum_by(faces, bundles, MAX_UNITS), MAX_UNITS
    by_column = faces.T.tocsr()
    at_once = max(1, min(64, _FLOATS_AT_ONCE // max(1, count, columns)))
    for start in range(0, resamples, at_once):
        some = min(at_once, resamples - start)
        drawn = rng.integers(count, size=(count, some)) * some + np.arange(some)
        weights = np.bincount(drawn.ravel(), minlength=count * some).reshape(count, some)
        yield (by_column @ weights.astype(np.float64)).T


def replicates(faces: Any, statistics: Mapping[Any, Statistic], resamples: int, seed: int) -> dict[Any, np.ndarray]:
    """Every statistic of each of `resampled_sums`, float64 of shape `(resamples,)`; of a single face none."""
    drawn: dict[Any, list[np.ndarray]] = {name: [np.empty(0)] for name in statistics}
    for sums in resampled_sums(faces, resamples if faces.shape[0] > 1 else 0, seed):
        for name, statistic in statistics.items():
            drawn[name].append(statistic.value(sums))
    return {name: np.concatenate(parts) for name, parts in drawn.items()}


def percentile_interval(replicates: np.ndarray, confidence: float = CONFIDENCE) -> list[float] | None:
    """The middle `confidence` of the replicates (Efron, 1979).

    None where it would say nothing true: when all of them agree, or more than half are undefined (NaN).
    """
    defined = replicates[~np.isnan(replicates)]
    if len(defined) * 2 <= len(replicates):
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return None if np.ptp(defined) <= 1e-12 * np.abs(defined).max() else [float(low), float(high)]


def wilson_interval(share: float, count: int, confidence: float = CONFIDENCE) -> list[float]:
    """The score interval of a proportion (E. B. Wilson, 1927); `[0, 1]` without any count."""
    if count == 0:
        return [0.0, 1.0]
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    center = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    # Rounding must not keep a bound from its end: 0 of n has exactly 0 below it.
    return [max(0.0, center - half) if share > 0 else 0.0, min(1.0, center + half) if share < 1 else 1.0]


def estimate(
    statistic: Statistic, sums: np.ndarray, replicates: np.ndarray, faces: int, confidence: float = CONFIDENCE
) -> dict[str, Any]:
    """A metric's `value`, `interval` and `n`, None where undefined.

    Where a proportion is 0 or 1, or one face is all there is, every resample gives the same: the interval is then
    Wilson's, with the number of faces as n. Any other metric has no interval there.

    Args:
        sums: the column sums of all rows, shape `(columns,)`.
        replicates: the metric of every resample, shape `(resamples,)`.
        faces: how many there are.
    """
    value, count = float(statistic.value(sums)), round(float(statistic.count(sums)))
    if math.isnan(value):
        return {"value": None, "interval": None, "n": count}
    interval = percentile_interval(replicates, confidence)
    if interval and statistic.folded:
        interval = [max(0.0, 2 * value - bound) for bound in reversed(interval)]
    if interval is None and statistic.proportion:
        interval = wilson_interval(value, min(faces, count), confidence)
    return {"value": value, "interval": interval, "n": count}


def estimates(
    summed: Summed,
    ids: Sequence[Hashable] | np.ndarray | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> dict[str, dict[str, Any]]:
    """Every statistic of `summed` with its percentile bootstrap interval (`estimate`).

    Args:
        ids: the face of each row; rows of one face are drawn together.
    """
    codes = face_codes(ids, summed.rows.shape[0])
    count = int(codes.max(initial=-1)) + 1
    faces = sum_by(summed.rows, codes, count)
    drawn = replicates(faces, summed.statistics, resamples, seed)
    totals = np.asarray(faces.sum(axis=0), np.float64)
    return {
        name: estimate(statistic, totals, drawn[name], count, confidence)
        for name, statistic in summed.statistics.items()
    }
