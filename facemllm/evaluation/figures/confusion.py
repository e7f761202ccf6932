"""Metrics of a confusion matrix, of one task or several: accuracy, balanced accuracy, F1, near misses."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .bootstrap import Statistic, Summed, mean_of_defined, ratio

UNREAD = -1
"""The code of an answer that is none of the classes."""


def class_codes(values: Sequence[Any], classes: Sequence[Any]) -> np.ndarray:
    """The position of each value among the classes, int64; `UNREAD` for any other value."""
    positions = {value: position for position, value in enumerate(classes)}
    return np.fromiter((positions.get(value, UNREAD) for value in values), np.int64, count=len(values))


def confusion_rows(references: np.ndarray, predictions: np.ndarray, classes: int) -> Any:
    """Each row's cell of the confusion matrix as a one-hot row.

    Args:
        references: codes `0 … classes - 1`, int64 of shape `(rows,)`.
        predictions: the same, `UNREAD` where an answer is no class.

    Returns:
        `csr_array` of shape `(rows, classes * (classes + 1))`: the last column of the matrix is the unread.
    """
    from scipy.sparse import csr_array

    rows = len(references)
    cells = references * (classes + 1) + np.where(predictions == UNREAD, classes, predictions)
    return csr_array((np.ones(rows), cells, np.arange(rows + 1)), shape=(rows, classes * (classes + 1)))


def matrices(sums: np.ndarray, classes: int) -> np.ndarray:
    """Sums of `confusion_rows` as matrices `(..., reference, prediction)`, unread answers last."""
    return sums.reshape(*sums.shape[:-1], classes, classes + 1)


def recalls(matrix: np.ndarray) -> np.ndarray:
    """The share of each class's rows that were given the class; NaN for a class without rows."""
    return ratio(np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(-1))


def f1_scores(matrix: np.ndarray) -> np.ndarray:
    """F1 of each class, shape `(..., classes)`; NaN (0/0) for a class neither present nor predicted."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    return ratio(2 * hits, matrix.sum(-1) + matrix[..., :-1].sum(-2))


def within(matrix: np.ndarray, distance: int) -> np.ndarray:
    """How many rows were given a class at most `distance` places from their own."""
    places = np.arange(matrix.shape[-2])
    near = np.abs(places[:, None] - places) <= distance
    return (matrix[..., :-1] * near).sum((-2, -1))


def classification(references: np.ndarray, predictions: np.ndarray, classes: int, ordered: bool = False) -> Summed:
    """Accuracy, balanced accuracy and macro F1 of codes (see `confusion_rows`).

    An unread answer is wrong. Balanced accuracy is the mean recall of the classes that have rows, and macro F1 the
    mean over the classes that have rows or were predicted, both as in scikit-learn. `ordered` classes add
    `accuracy_within_one`, where a neighbour of the class counts as right.
    """

    def matrix(sums: np.ndarray) -> np.ndarray:
        return matrices(sums, classes)

    def count(sums: np.ndarray) -> np.ndarray:
        return sums.sum(-1)

    def share_within(distance: int) -> Statistic:
        return Statistic(lambda sums: ratio(within(matrix(sums), distance), count(sums)), count, proportion=True)

    statistics = {
        "accuracy": share_within(0),
        "balanced_accuracy": Statistic(lambda sums: mean_of_defined(recalls(matrix(sums))), count),
        "macro_f1": Statistic(lambda sums: mean_of_defined(f1_scores(matrix(sums))), count),
    }
    if ordered:
        statistics["accuracy_within_one"] = share_within(1)
    return Summed(confusion_rows(references, predictions, classes), statistics)


def per_class(summed: Summed, classes: Sequence[str]) -> Summed:
    """The same rows with `(class, "recall")` and `(class, "f1")` as statistics, n being the class's rows."""
    statistics = {}
    for place, name in enumerate(classes):

        def of_class(values: Callable, place: int = place) -> Callable[[np.ndarray], np.ndarray]:
            return lambda sums: values(matrices(sums, len(classes)))[..., place]

        count = of_class(lambda matrix: matrix.sum(-1))
        statistics[name, "recall"] = Statistic(of_class(recalls), count, proportion=True)
        statistics[name, "f1"] = Statistic(of_class(f1_scores), count)
    return Summed(summed.rows, statistics)


def presence(references: np.ndarray, predictions: np.ndarray) -> Summed:
    """Accuracy, balanced accuracy and F1 of what is present (1) or absent (0); `UNREAD` as in `confusion_rows`.

    `f1` is that of presence. It is undefined (0/0, not 0) where nothing is present and nothing was said to be, and
    an unread answer is a miss where the thing is present.
    """
    summed = classification(references, predictions, 2)
    accuracy = summed.statistics["accuracy"]
    return Summed(
        summed.rows,
        {
            "accuracy": accuracy,
            "balanced_accuracy": summed.statistics["balanced_accuracy"],
            "f1": Statistic(lambda sums: f1_scores(matrices(sums, 2))[..., 1], accuracy.count),
        },
    )


def across(tasks: Mapping[Hashable, Summed]) -> Summed:
    """Several tasks as one: each one's statistics as `(task, metric)`, and under `metric` alone their mean.

    The mean is over the tasks for which the metric is defined. The rows of all tasks follow each other, so ids are to
    be given for all of them: rows of one face then stay together across tasks.
    """
    from scipy.sparse import block_diag, csr_array

    statistics: dict[Any, Statistic] = {}
    by_metric: dict[str, list[Statistic]] = {}
    start = 0
    for task, summed in tasks.items():
        stop = start + summed.rows.shape[1]
        for metric, statistic in summed.statistics.items():
            statistics[task, metric] = _of_columns(statistic, start, stop)
            by_metric.setdefault(metric, []).append(statistics[task, metric])
        start = stop
    for metric, several in by_metric.items():
        statistics[metric] = _mean_of(several)
    rows = block_diag([summed.rows for summed in tasks.values()], format="csr") if tasks else csr_array((0, 0))
    return Summed(csr_array(rows), statistics)


def _of_columns(statistic: Statistic, start: int, stop: int) -> Statistic:
    return replace(
        statistic,
        value=lambda sums: statistic.value(sums[..., start:stop]),
        count=lambda sums: statistic.count(sums[..., start:stop]),
    )


def _mean_of(statistics: Sequence[Statistic]) -> Statistic:
    return Statistic(
        value=lambda sums: mean_of_defined(np.stack([one.value(sums) for one in statistics], axis=-1)),
        count=lambda sums: sum(one.count(sums) for one in statistics),
        higher_is_better=statistics[0].higher_is_better,
    )
