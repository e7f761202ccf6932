"""Fairness figures: one task's primary metric by group, the worst group, the gap, and the groups' intersections."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from facemllm.evaluation.predictions import Prediction, TaskSpec

from .bootstrap import CONFIDENCE, RESAMPLES, Statistic, estimate, resampled_sums, sum_by
from .columns import PRIMARY, columns_of, numbers_first

GROUP_LABELS = ("age_group", "gender", "race")

MIN_FACES = 30
"""Groups with fewer faces are shown, marked as small, and take no part in "worst" and "gap"."""

_SIMULATIONS = 4000


def group_figures(
    spec: TaskSpec,
    predictions: Iterable[Prediction],
    groups: Sequence[str] = GROUP_LABELS,
    *,
    minimum: int = MIN_FACES,
    resamples: int = RESAMPLES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> dict[str, Any]:
    """The task's primary metric by group, and by every intersection of two or more group labels.

    Returns:
        `metric`, `higher_is_better`, `minimum`; `by`: group label to group to `value`, `interval`, `n`,
        `faces` (people, where those are drawn) and `small`; `intersections`: the same figures, each with its
        `groups`, the finest last; `worst`: the worst group of all single labels, `worst_intersection`: that
        of all intersections; `gap`: by label, and for intersections by labels joined as in "gender × race",
        `value`, `interval`, how many `groups`, and `if_equal` with the `mean` and `p95` of what chance
        alone makes.

    Raises:
        ValueError: as `figures.task_figures`.
    """
    columns = columns_of(spec, predictions, groups)
    summed, places = columns.summed()
    statistic = summed.statistics[PRIMARY[spec.kind]]
    labels_known = [label for label in groups if any(value is not None for value in columns.groups[label])]
    cells = _Cells.of(columns.groups, labels_known, places)
    tables = _tables(summed.rows, statistic, columns.drawn[places], cells, resamples, seed, confidence)

    def worst(table: Iterable[_Group]) -> dict[str, Any] | None:
        """The worst of the groups that are not small; its interval does not heed that it was picked."""
        able = [group for group in table if group.error is not None and not group.is_small(minimum)]
        if not able:
            return None
        pick = min if statistic.higher_is_better else max
        found = pick(able, key=lambda group: group.estimate["value"])
        return {"groups": found.named, **found.figures(minimum)}

    return {
        "metric": PRIMARY[spec.kind],
        "higher_is_better": statistic.higher_is_better,
        "minimum": minimum,
        "by": {label: {group.values[0]: group.figures(minimum) for group in tables[label,]} for label in labels_known},
        "worst": worst(group for label in labels_known for group in tables[label,]),
        "worst_intersection": worst(group for labels, table in tables.items() if len(labels) > 1 for group in table),
        "gap": {
            " × ".join(labels): _gap(table, statistic, minimum, confidence, seed) for labels, table in tables.items()
        },
        "intersections": [
            {"groups": group.named, **group.figures(minimum)}
            for labels, table in tables.items()
            if len(labels) > 1
            for group in table
        ],
    }


@dataclass(frozen=True)
class _Group:
    """One group's figures; `error` is the standard error of its value, None where that is undefined."""

    labels: tuple[str, ...]
    values: tuple[str, ...]
    faces: int
    estimate: Mapping[str, Any]
    error: float | None

    @property
    def named(self) -> dict[str, str]:
        return dict(zip(self.labels, self.values, strict=True))

    def figures(self, minimum: int) -> dict[str, Any]:
        return {**self.estimate, "faces": self.faces, "small": self.is_small(minimum)}

    def is_small(self, minimum: int) -> bool:
        """Whether there are too few faces, or too few whose answer could be read where the others are left out."""
        return min(self.faces, self.estimate["n"]) < minimum


@dataclass(frozen=True)
class _Cells:
    """The finest division of the rows: every combination of all group labels that occurs, None where unknown.

    Attributes:
        codes: each row's cell, int64 of shape `(rows,)`.
    """

    labels: tuple[str, ...]
    values: list[tuple[str | None, ...]]
    codes: np.ndarray

    @classmethod
    def of(cls, known: Mapping[str, Sequence[str | None]], labels: Sequence[str], places: np.ndarray) -> "_Cells":
        by_row = list(zip(*(known[label] for label in labels), strict=True))
        number: dict[tuple[str | None, ...], int] = {}
        codes = np.fromiter((number.setdefault(row, len(number)) for row in by_row), np.int64, count=len(by_row))
        return cls(tuple(labels), list(number), codes[places] if labels else places)

    def groups(self, labels: tuple[str, ...]) -> dict[tuple[str, ...], list[int]]:
        """The groups that these labels make, in natural order, and the cells of each."""
        positions = [self.labels.index(label) for label in labels]
        found: dict[tuple[str, ...], list[int]] = {}
        for cell, values in enumerate(self.values):
            group = tuple(values[position] for position in positions)
            if None not in group:
                found.setdefault(group, []).append(cell)
        return dict(sorted(found.items(), key=lambda item: [*map(numbers_first, item[0])]))


def _tables(
    rows: Any, statistic: Statistic, faces: np.ndarray, cells: _Cells, resamples: int, seed: int, confidence: float
) -> dict[tuple[str, ...], list[_Group]]:
    """The figures of every group that one label makes, or several. All are drawn from the same resamples of faces."""
    groups = {
        labels: cells.groups(labels)
        for size in range(1, len(cells.labels) + 1)
        for labels in combinations(cells.labels, size)
    }
    if not groups:
        return {}
    count, shape = int(faces.max(initial=-1)) + 1, (len(cells.values), rows.shape[1])
    by_face = sum_by(_spread(rows, cells.codes, len(cells.values)), faces, count)
    totals = np.asarray(by_face.sum(axis=0)).reshape(shape)
    drawn: dict[tuple, list[np.ndarray]] = {labels: [] for labels in groups}
    for sums in resampled_sums(by_face, resamples if count > 1 else 0, seed):
        by_cell = sums.reshape(-1, *shape)
        for labels, members in groups.items():
            whole = np.stack([by_cell[:, own].sum(1) for own in members.values()], axis=1)
            drawn[labels].append(statistic.value(whole))
    # Each face once in each cell that it has rows in.
    faces_of_cells = np.bincount(np.unique(faces * shape[0] + cells.codes) % shape[0], minlength=shape[0])
    tables = {}
    for labels, members in groups.items():
        replicates = np.concatenate(drawn[labels] or [np.empty((0, len(members)))])
        tables[labels] = []
        for place, (values, own) in enumerate(members.items()):
            size = int(faces_of_cells[own].sum())
            entry = estimate(statistic, totals[own].sum(0), replicates[:, place], size, confidence)
            error = _standard_error(statistic, entry, replicates[:, place], size)
            tables[labels].append(_Group(labels, values, size, entry, error))
    return tables


def _spread(rows: Any, codes: np.ndarray, groups: int) -> Any:
    """The rows with columns of their own for each group: `csr_array` of shape `(rows, groups * columns)`."""
    from scipy.sparse import csr_array

    columns = rows.shape[1]
    moved = rows.indices.astype(np.int64) + np.repeat(codes * columns, np.diff(rows.indptr))
    return csr_array((rows.data, moved, rows.indptr), shape=(rows.shape[0], groups * columns))


def _standard_error(
    statistic: Statistic, entry: Mapping[str, Any], replicates: np.ndarray, faces: int
) -> float | None:
    defined = replicates[~np.isnan(replicates)]
    if entry["value"] is None or len(defined) < 2:
        return None
    error = float(defined.std(ddof=1))
    if not statistic.proportion:
        return error
    # 30 right of 30 have no spread at all, and yet are no proof of 100 %: Agresti and Coull's two more of each.
    count = min(faces, entry["n"])
    share = (entry["value"] * count + 2) / (count + 4)
    return max(error, math.sqrt(share * (1 - share) / (count + 4)))


def _gap(
    table: Sequence[_Group], statistic: Statistic, minimum: int, confidence: float, seed: int
) -> dict[str, Any] | None:
    """The gap between the best and the worst group that are not small; None with fewer than two of them.

    The largest of many differences is large by chance alone, and so is that of a resample: a percentile interval
    would hardly ever hold 0. The interval is instead that of all differences at once (Tukey and Kramer's, with
    bootstrap standard errors): it holds the true gap with `confidence` also where there is none.
    `if_equal` is the gap to expect if every group had the same true value, and what chance exceeds in 5 % of cases.
    Both are None where a group has no interval.
    """
    able = [group for group in table if group.error is not None and not group.is_small(minimum)]
    if len(able) < 2:
        return None
    values = np.array([group.estimate["value"] for group in able])
    gap = {"value": float(values.max() - values.min()), "interval": None, "groups": len(able), "if_equal": None}
    if any(group.estimate["interval"] is None for group in able):
        return gap
    errors = np.array([group.error for group in able])
    sizes = np.array([group.faces for group in able])
    normal = np.random.default_rng(seed).standard_normal((_SIMULATIONS, len(able)))
    of_pair = np.hypot.outer(errors, errors)
    reach = _largest_difference(normal * errors, of_pair, confidence) * of_pair
    apart = np.abs(np.subtract.outer(values, values))
    others = ~np.eye(len(able), dtype=bool)
    high = float((apart + reach)[others].max())
    equal = normal * np.sqrt(np.average(errors**2 * sizes, weights=sizes) / sizes)
    by_chance = equal.max(-1) - equal.min(-1)
    return gap | {
        # What is better when higher is a share here, and shares are no further apart than 1.
        "interval": [
            max(0.0, float((apart - reach)[others].max())),
            min(1.0, high) if statistic.higher_is_better else high,
        ],
        "if_equal": {"mean": float(by_chance.mean()), "p95": float(np.quantile(by_chance, 0.95))},
    }


def _largest_difference(noise: np.ndarray, of_pair: np.ndarray, confidence: float) -> float:
    """The quantile of the largest difference between two groups, in standard errors of that difference."""
    largest = np.zeros(len(noise))
    for place in range(noise.shape[1] - 1):
        apart = np.abs(noise[:, place + 1 :] - noise[:, place, None])
        scale = of_pair[place, place + 1 :]
        relative = np.divide(apart, scale, out=np.zeros_like(apart), where=scale > 0)
        largest = np.maximum(largest, relative.max(-1))
    return float(np.quantile(largest, confidence))
