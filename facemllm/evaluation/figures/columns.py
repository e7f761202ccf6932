"""Predictions as arrays: what a metric needs of them, and nothing that grows with the length of an answer."""

import math
import re
from array import array
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from facemllm.evaluation.predictions import Prediction, TaskSpec

from .bootstrap import Summed, face_codes
from .confusion import UNREAD, across, class_codes, classification, presence
from .errors import ANGLES, age_estimation, head_pose

PRIMARY = {"options": "accuracy", "binary": "accuracy", "number": "mae", "angles": "mae", "units": "f1"}
"""The one metric by which groups are compared, by kind of task."""


@dataclass
class Columns:
    """One task's predictions, answered in one way.

    Attributes:
        ids: a number that stands for the face of each row, int64 of shape `(rows,)`.
        people: the same for the person, where frames of a video are no independent evidence; by default the face.
        scored: the places of the rows that have probabilities; for action units once for each unit that has one.
        probabilities: those of the options, float64 of shape `(scored, options)`; of a unit, absent and present.
        right: the place of the right option among them, int64 of shape `(scored,)`.
        groups: group label to the value of each row, None where unknown.
    """

    spec: TaskSpec
    ids: np.ndarray
    references: list[Any]
    predictions: list[Any]
    scored: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    probabilities: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    right: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    groups: dict[str, list[str | None]] = field(default_factory=dict)
    people: np.ndarray | None = None

    @cached_property
    def drawn(self) -> np.ndarray:
        """What is drawn with each row when resampling, a face or a person, as numbers; int64 of shape `(rows,)`."""
        return face_codes(self.ids if self.people is None else self.people, len(self.ids))

    @property
    def read(self) -> np.ndarray:
        return np.fromiter(map(self._is_read, self.references, self.predictions), bool, count=len(self.references))

    def _is_read(self, reference: Any, prediction: Any) -> bool:
        if prediction is None:
            return False
        match self.spec.kind:
            case "options" | "binary":
                return prediction in self.options
            case "number":
                return math.isfinite(prediction)
            case "angles":
                angles = [prediction.get(angle) for angle in ANGLES]
                return None not in angles and all(map(math.isfinite, angles))
            case _:
                return all(prediction.get(unit) is not None for unit in reference)

    @property
    def options(self) -> tuple[str, ...]:
        return options_of(self.spec)

    @property
    def units(self) -> list[str]:
        """The action units of the task and any other that a row is labelled with, ascending."""
        labelled = {unit for reference in self.references for unit in reference}
        return sorted(labelled.union(self.spec.options), key=numbers_first)

    def codes(self) -> tuple[np.ndarray, np.ndarray]:
        """References and predictions as places among the options, `UNREAD` for what is none of them."""
        return class_codes(self.references, self.options), class_codes(self.predictions, self.options)

    def summed(self) -> tuple[Summed, np.ndarray]:
        """The task's metrics as functions of sums, and the places of the rows that are summed, int64.

        For action units each labelled unit of each row is summed by itself, so a place may occur often.
        """
        match self.spec.kind:
            case "options" | "binary":
                summed = classification(*self.codes(), len(self.options), ordered=self.spec.ordered)
            case "number":
                references = np.array(self.references, np.float64)  # None becomes NaN
                summed = age_estimation(references, np.array(self.predictions, np.float64), self.spec.bins)
            case "angles":
                summed = head_pose(_angles(self.references), _angles(self.predictions))
            case _:
                return self._units_summed()
        return summed, np.arange(len(self.references))

    def _units_summed(self) -> tuple[Summed, np.ndarray]:
        nothing = np.empty(0, np.int64)
        tasks, places = {}, [nothing]
        for unit in self.units:
            rows = [row for row, reference in enumerate(self.references) if reference.get(unit) is not None]
            present = np.array([bool(self.references[row][unit]) for row in rows], np.int64)
            answers = [(self.predictions[row] or {}).get(unit) for row in rows]
            given = np.array([UNREAD if answer is None else bool(answer) for answer in answers], np.int64)
            tasks[unit] = presence(present, given)
            places.append(np.array(rows, np.int64))
        return (across(tasks) if tasks else presence(nothing, nothing)), np.concatenate(places)


def numbers_first(name: str) -> tuple[float, str]:
    """A key that sorts "3-9" before "10-19", and words after numbers."""
    first = re.search(r"\d+", name)
    return (float(first.group()) if first else math.inf, name)


def options_of(spec: TaskSpec) -> tuple[str, ...]:
    """The closed set of answers; yes and no unless a binary task names its own, none for any other kind of task."""
    if spec.kind not in ("options", "binary"):
        return ()  # of action units, `options` are those that were coded
    return tuple(spec.options) or (("yes", "no") if spec.kind == "binary" else ())


def columns_of(spec: TaskSpec, predictions: Iterable[Prediction], groups: Sequence[str] = ()) -> Columns:
    """Reads one task's predictions once.

    `extra["person"]` of a prediction, where a benchmark of videos gives it, names who is drawn as one.

    Raises:
        ValueError: when they are of another task or of both ways, or an expected value is none of the options.
    """
    options, ways = options_of(spec), set()
    ids, people, scored, right, probabilities = array("q"), array("q"), array("q"), array("q"), array("d")
    references, answers, grouped = [], [], {label: [] for label in groups}
    seen: dict[Any, Any] = {}
    for row, entry in enumerate(predictions):
        if entry.task != spec.name:
            raise ValueError(f"prediction {entry.id!r} is of task {entry.task!r}, not {spec.name!r}; select by task")
        if options and entry.expected not in options:
            known = ", ".join(options)
            raise ValueError(f"task {spec.name!r}: {entry.id!r} expects {entry.expected!r}, not one of {known}")
        ways.add(entry.way)
        # 8 bytes in place of a string: of ten million ids two share a 64-bit hash once in 300,000 runs.
        ids.append(hash(entry.id))
        people.append(hash(entry.extra.get("person", entry.id)))
        references.append(_once(entry.expected, seen))
        answers.append(_once(entry.predicted, seen))
        for label, values in grouped.items():
            values.append(_once(entry.groups.get(label), seen))
        for place, shares in _scored(entry, options):
            scored.append(row)
            right.append(place)
            probabilities.extend(shares)
    if len(ways) > 1:
        raise ValueError(f"task {spec.name!r} was answered by {' and '.join(sorted(ways))}; select one way")
    return Columns(
        spec,
        np.array(ids, np.int64),
        references,
        answers,
        np.array(scored, np.int64),
        np.array(probabilities, np.float64).reshape(len(scored), len(options) or 2),
        np.array(right, np.int64),
        grouped,
        None if people == ids else np.array(people, np.int64),
    )


def _scored(entry: Prediction, options: tuple[str, ...]) -> Iterator[tuple[int, Sequence[float]]]:
    """The place of the right option and the probabilities of all; for action units, of each unit that was coded."""
    if not entry.probabilities:
        return
    if options:
        yield options.index(entry.expected), [entry.probabilities.get(option, 0.0) for option in options]
    elif isinstance(entry.expected, Mapping):
        for unit, active in entry.expected.items():
            if active is not None and (share := entry.probabilities.get(unit)) is not None:
                yield int(active), (1 - share, share)


def _once(value: Any, seen: dict[Any, Any]) -> Any:
    """The same word as one object, as each line of a file has its own."""
    return seen.setdefault(value, value) if isinstance(value, str) else value


def columns_of_arrays(
    spec: TaskSpec, predictions: Sequence[Any], references: Sequence[Any], ids: Sequence[Hashable] | None = None
) -> Columns:
    """Columns of plain lists, as the `evaluate` modules are given them; None is an unread answer.

    Raises:
        ValueError: when a reference is none of the options.
    """
    if options := options_of(spec):
        unknown = next((reference for reference in references if reference not in options), None)
        if unknown is not None or None in references:
            raise ValueError(f"references: {unknown!r} is none of the classes {', '.join(map(str, options))}")
    return Columns(spec, face_codes(ids, len(references)), list(references), list(predictions))


def columns_of_labels(
    predictions: Sequence[Sequence[int | None] | None],
    references: Sequence[Sequence[int | None]],
    names: Sequence[str] | None = None,
    ids: Sequence[Hashable] | None = None,
) -> Columns:
    """Columns of several things that are present (1) or absent (0) in each row; None is unread, or not labelled.

    Raises:
        ValueError: when a row has not one entry for each name, or an entry is none of these.
    """
    names = names or [str(place) for place in range(len(references[0]) if references else 0)]
    for row in (*references, *(row for row in predictions if row is not None)):
        if len(row) != len(names) or not {1, 0, None}.issuperset(row):
            raise ValueError(f"row {list(row)} must have 1, 0 or None for each of {', '.join(names)}")
    return columns_of_arrays(
        TaskSpec("labels", "units"),
        [dict(zip(names, row or [None] * len(names), strict=True)) for row in predictions],
        [{name: value for name, value in zip(names, row, strict=True) if value is not None} for row in references],
        ids,
    )


def _angles(values: Sequence[Mapping[str, float] | None]) -> np.ndarray:
    rows = [[(value or {}).get(angle) for angle in ANGLES] for value in values]  # None becomes NaN
    return np.array(rows, np.float64).reshape(-1, len(ANGLES))
