"""Fairness figures: one task's primary metric by group, the worst group, the gap, and the groups' intersections."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from facemllm.evaluation.predictions import Prediction, TaskSpec

from .bootstrap import CONFIDENCE, RESAMPLES, Statistic, estimate, replicates, sum_by
from .columns import PRIMARY, Columns, columns_of, numbers_first

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
    known = [label for label in groups if any(value is not None for value in columns.groups[label])]
    statistic, tables = _tables(columns, known, minimum, resamples, seed, confidence)
    crossed = [group for labels, table in tables.items() if len(labels) > 1 for group in table]
    pick = min if statistic.higher_is_better else max

    def worst(table: Iterable[_Group]) -> dict[str, Any] | None:
        """The worst of the groups that are not small; its interval does not heed that it was picked."""
        able = [group for group in table if group.compared]
        found = pick(able, key=lambda group: group.figures["value"], default=None)
        return found and {"groups": found.named, **found.figures}

    return {
        "metric": PRIMARY[spec.kind],
        "higher_is_better": statistic.higher_is_better,
        "minimum": minimum,
        "by": {label: {group.named[label]: group.figures for group in tables[label,]} for label in known},
        "worst": worst(group for label in known for group in tables[label,]),
        "worst_intersection": worst(crossed),
        "gap": {" × ".join(labels): _gap(table, statistic, confidence, seed) for labels, table in tables.items()},
        "intersections": [{"groups": group.named, **group.figures} for group in crossed],
    }


@dataclass(frozen=True)
class _Group:
    """One group's figures; `error` is the standard error of its value, None where that is undefined.

    `figures` are `value`, `interval`, `n`, `faces`, and `small`: whether there are too few faces, or too few whose
    answer could be read where the others are left out.
    """

    named: dict[str, str]
    figures: dict[str, Any]
    error: float | None

    @property
    def compared(self) -> bool:
        return self.error is not None and not self.figures["small"]


def _groups(cells: Sequence[tuple[str | None, ...]], places: Sequence[int]) -> dict[tuple[str, ...], list[int]]:
    """The groups that the labels at these places of a cell make, in natural order, and the cells of each."""
    found: dict[tuple[str, ...], list[int]] = {}
    for cell, values in enumerate(cells):
        group = tuple(values[place] for place in places)
        if None not in group:
            found.setdefault(group, []).append(cell)
    return dict(sorted(found.items(), key=lambda item: [*map(numbers_first, item[0])]))


def _tables(
    columns: Columns, known: Sequence[str], minimum: int, resamples: int, seed: int, confidence: float
) -> tuple[Statistic, dict[tuple[str, ...], list[_Group]]]:
    """The primary metric, and its figures for every group that one of the labels `known` makes, or several.

    Rows are summed by cell, a combination of all labels (None where unknown), of which every group is a union: all
    groups are drawn from the same resamples of faces.
    """
    summed, places = columns.summed()
    statistic, faces = summed.statistics[PRIMARY[columns.spec.kind]], columns.drawn[places]
    if not known:
        return statistic, {}
    cells: dict[tuple[str | None, ...], int] = {}
    by_row = zip(*(columns.groups[label] for label in known), strict=True)
    codes = np.array([cells.setdefault(row, len(cells)) for row in by_row], np.int64)[places]
    count, shape = int(faces.max(initial=-1)) + 1, (len(cells), summed.rows.shape[1])
    by_face = sum_by(_spread(summed.rows, codes, len(cells)), faces, count)
    totals = np.asarray(by_face.sum(axis=0)).reshape(shape)
    # Each face once in each cell that it has rows in.
    faces_of_cells = np.bincount(np.unique(faces * shape[0] + codes) % shape[0], minlength=shape[0])
    groups = {
        tuple(known[place] for place in places): _groups(list(cells), places)
        for size in range(1, len(known) + 1)
        for places in combinations(range(len(known)), size)
    }

    def of_group(own: list[int]) -> Statistic:
        return replace(statistic, value=lambda sums: statistic.value(sums.reshape(-1, *shape)[:, own].sum(1)))

    drawn = replicates(
        by_face,
        {(labels, values): of_group(own) for labels, found in groups.items() for values, own in found.items()},
        resamples,
        seed,
    )
    tables: dict[tuple[str, ...], list[_Group]] = {labels: [] for labels in groups}
    for labels, found in groups.items():
        for values, own in found.items():
            size = int(faces_of_cells[own].sum())
            entry = estimate(statistic, totals[own].sum(0), drawn[labels, values], size, confidence)
            error = _standard_error(statistic, entry, drawn[labels, values], size)
            figures = {**entry, "faces": size, "small": min(size, entry["n"]) < minimum}
            tables[labels].append(_Group(dict(zip(labels, values, strict=True)), figures, error))
    return statistic, tables


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


def _gap(table: Sequence[_Group], statistic: Statistic, confidence: float, seed: int) -> dict[str, Any] | None:
    """The gap between the best and the worst group that are not small; None with fewer than two of them.

    The largest of many differences is large by chance alone, and so is that of a resample: a percentile interval
    would hardly ever hold 0. The interval is instead that of all differences at once (Tukey and Kramer's, with
    bootstrap standard errors): it holds the true gap with `confidence` also where there is none.
    `if_equal` is the gap to expect if every group had the same true value, and what chance exceeds in 5 % of cases.
    Both are None where a group has no interval.
    """
    able = [group for group in table if group.compared]
    if len(able) < 2:
        return None
    values = np.array([group.figures["value"] for group in able])
    gap = {"value": float(values.max() - values.min()), "interval": None, "groups": len(able), "if_equal": None}
    if any(group.figures["interval"] is None for group in able):
        return gap
    errors = np.array([group.error for group in able])
    sizes = np.array([group.figures["faces"] for group in able])
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
