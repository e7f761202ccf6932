"""The figures of one task: every metric with its interval and n, confusion, calibration, baseline."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from facemllm.evaluation.predictions import Prediction, TaskSpec

from .bootstrap import CONFIDENCE, Summed, estimates
from .columns import PRIMARY, Columns, columns_of, options_of
from .confusion import across, classification, matrices, per_class
from .errors import ANGLES, wrapped
from .groups import group_figures
from .reliability import if_calibrated, reliability, reliability_bins

__all__ = ["group_figures", "mean_figures", "task_figures"]


def task_figures(
    spec: TaskSpec, predictions: Iterable[Prediction], *, majority: Any = None, **drawing: Any
) -> dict[str, Any]:
    """All figures of one task answered in one way. Everything is JSON-safe; what is undefined is None.

    An answer that could not be read is wrong in every share, and left out of errors in years and degrees: its rate
    is given beside them.

    Args:
        majority: what a model that does not look would best answer, from the training split: an option, the median
            age, or a dict of angles. None takes it from these very references.
        drawing: `resamples`, `seed` and `confidence`, as `bootstrap.estimates` has them.

    Returns:
        `kind`, `primary` (a name among the metrics), `n` rows, `faces` (distinct ids), `people` (how many
        are drawn in place of faces, where predictions name a person; else None), `unparsed` with `count` and
        `rate`, `metrics` by name with `value`, `interval` and `n`, and of some kinds of tasks: `classes`
        (recall and F1 by option) or `units` (F1, accuracy by unit), `confusion` (`labels`, `columns` with
        `unparsed` last, `counts` by row), `calibration`, `baseline`.

    Raises:
        ValueError: when the predictions are of another task or of both ways, or an expected value is no option.
    """
    columns = columns_of(spec, predictions)
    return {
        "kind": spec.kind,
        "primary": PRIMARY[spec.kind],
        **metric_figures(columns, **drawing),
        "calibration": _calibration(columns, drawing),
        "baseline": _baseline(columns, majority),
    }


def metric_figures(columns: Columns, **drawing: Any) -> dict[str, Any]:
    """What `task_figures` says of answers alone: `n` to `metrics`, `classes` or `units`, `confusion`.

    Args:
        drawing: `resamples`, `seed` and `confidence`.
    """
    summed, places = columns.summed()
    found = estimates(summed, columns.drawn[places], **drawing)
    rows = len(columns.references)
    return {
        "n": rows,
        "faces": len(np.unique(columns.ids)),
        "people": None if columns.people is None else len(np.unique(columns.people)),
        "unparsed": _share_unread(int((~columns.read).sum()), rows),
        "metrics": {name: entry for name, entry in found.items() if isinstance(name, str)},
        **_parts(columns, summed, found, drawing),
    }


def mean_figures(tasks: Mapping[str, tuple[TaskSpec, Iterable[Prediction]]], **drawing: Any) -> dict[str, Any]:
    """The mean over several tasks of closed options, such as the forty attributes of CelebA.

    Faces are drawn with all their attributes, so the interval heeds that a face's answers go together. `drawing` is
    as for `task_figures`.

    Returns:
        `tasks` (their names), `n` rows, `faces`, `unparsed` with `count` and `rate`, and `metrics`: the
        means of `accuracy`, `balanced_accuracy` and `macro_f1`, each with `value`, `interval` and `n`.

    Raises:
        ValueError: for a task without closed options, and as `task_figures`.
    """
    summed, ids, drawn, unread = {}, [np.empty(0, np.int64)], [np.empty(0, np.int64)], 0
    for name, (spec, predictions) in tasks.items():
        if not options_of(spec):
            raise ValueError(
                f"task {name!r} is of kind {spec.kind!r}; only tasks of closed options have a common mean"
            )
        columns = columns_of(spec, predictions)
        unread += int((~columns.read).sum())
        ids.append(columns.ids)
        drawn.append(columns.ids if columns.people is None else columns.people)
        summed[name] = classification(*columns.codes(), len(columns.options))
    joined = across(summed)
    means = {metric: statistic for metric, statistic in joined.statistics.items() if isinstance(metric, str)}
    faces, units = np.concatenate(ids), np.concatenate(drawn)
    found = estimates(Summed(joined.rows, means), units, **drawing)
    return {
        "tasks": list(tasks),
        "n": len(faces),
        "faces": len(np.unique(faces)),
        "unparsed": _share_unread(unread, len(faces)),
        "metrics": found,
    }


def _parts(
    columns: Columns, summed: Summed, found: Mapping[Any, dict[str, Any]], drawing: Mapping[str, Any]
) -> dict[str, Any]:
    """Figures by class, or by unit, and the confusion matrix."""
    if columns.spec.kind == "units":
        return {"units": _nested(found), "confusion": None}
    if not columns.options:
        return {"confusion": None}
    counts = matrices(np.asarray(summed.rows.sum(axis=0)), len(columns.options))
    return {
        "classes": _nested(estimates(per_class(summed, columns.options), columns.drawn, **drawing)),
        "confusion": {
            "labels": list(columns.options),
            "columns": [*columns.options, "unparsed"],
            "counts": counts.astype(int).tolist(),
        },
    }


def _share_unread(count: int, rows: int) -> dict[str, Any]:
    return {"count": count, "rate": count / rows if rows else None}


def _nested(found: Mapping[Any, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Figures named `(part, metric)` as `{part: {metric: …}}`; those of the whole are left out."""
    parts: dict[str, dict[str, Any]] = {}
    for name, entry in found.items():
        if isinstance(name, tuple):
            part, metric = name
            parts.setdefault(part, {})[metric] = entry
    return parts


def _calibration(columns: Columns, drawing: Mapping[str, Any]) -> dict[str, Any] | None:
    """How far the probabilities of options, or of units, can be believed; None where there are none."""
    if not len(columns.scored):
        return None
    return calibration_figures(columns.right, columns.probabilities, columns.drawn[columns.scored], **drawing)


def calibration_figures(
    references: np.ndarray, probabilities: np.ndarray, faces: Sequence[Any], **drawing: Any
) -> dict[str, Any]:
    """How far probabilities can be believed (`reliability.reliability`).

    Args:
        references: places of the right options, int64 of shape `(rows,)`.
        probabilities: float64 of shape `(rows, options)`.
        drawing: `resamples`, `seed` and `confidence`.

    Returns:
        `n`, `metrics` (`ece`, `adaptive_ece`, `brier`, `nll`; the interval of an error that a calibrated
        model would have as well begins at 0), `expected_ece` of a calibrated model and `if_calibrated` with the
        `mean` and `p95` of both errors, and `bins` for a reliability diagram.
    """
    summed = reliability(references, probabilities)
    found = estimates(summed, faces, **drawing)
    chance = if_calibrated(probabilities)
    for name, error in chance.items():
        interval = found[name]["interval"]
        if interval and found[name]["value"] <= error["p95"]:
            found[name]["interval"] = [0.0, max(interval[1], found[name]["value"])]
    return {
        "n": len(references),
        "metrics": found,
        "expected_ece": chance["ece"]["mean"] if chance else None,
        "if_calibrated": chance,
        "bins": reliability_bins(np.asarray(summed.rows.sum(axis=0)), drawing.get("confidence", CONFIDENCE)),
    }


def _baseline(columns: Columns, majority: Any) -> dict[str, Any] | None:
    """What a model that does not look would reach on the primary metric; None without rows."""
    if not columns.references:
        return None
    source = "this split" if majority is None else "training split"
    match columns.spec.kind:
        case "options" | "binary":
            best = most_frequent(Counter(columns.references)) if majority is None else majority
            value = columns.references.count(best) / len(columns.references)
            # The balanced accuracy of one answer to all, whose classes are those that have rows.
            chance = 1 / len(set(columns.references))
            return {"answer": best, "value": value, "chance": chance, "source": source}
        case "number":
            best = float(np.median(columns.references)) if majority is None else float(majority)
            value = float(np.abs(np.array(columns.references) - best).mean())
            return {"answer": best, "value": value, "source": source}
        case "angles":
            given = {angle: [reference[angle] for reference in columns.references] for angle in ANGLES}
            best = majority or {angle: float(np.median(values)) for angle, values in given.items()}
            errors = [np.abs(wrapped(np.array(given[angle]) - best[angle])).mean() for angle in ANGLES]
            return {"answer": dict(best), "value": float(np.mean(errors)), "source": source}
        case _:
            return _always_active(columns)


def most_frequent(counts: Mapping[Any, int]) -> Any:
    """The value that is counted most often; of several the first in the alphabet, whatever the order of rows."""
    return min(counts, key=lambda value: (-counts[value], value))


def _always_active(columns: Columns) -> dict[str, Any] | None:
    """Mean F1 of naming every unit every time, 2p / (1 + p) with p the unit's rate: the best without looking."""
    scores = []
    for unit in columns.units:
        known = [bool(reference[unit]) for reference in columns.references if reference.get(unit) is not None]
        if any(known):
            rate = sum(known) / len(known)
            scores.append(2 * rate / (1 + rate))
    if not scores:
        return None
    return {"answer": "every unit active", "value": float(np.mean(scores)), "source": "this split"}
