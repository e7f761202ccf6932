"""What a face can be asked in analysis: closed questions by name, and what their probabilities say in numbers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args

from .errors_facemllm import ArgumentError
from .face_task_table_facemllm import (
    AGE_IN_YEARS,
    CATEGORIES,
    CLOSED_QUESTIONS,
    MAX_AGE,
    ON_REQUEST,
    RANGED,
    STATED_OPTIONS,
    WHOLE_NUMBER,
)

GROUPS = {"attributes": "attribute", "pose": "angle"}
ALL = "all"
INTERVAL_SHARE = 0.8

Kind = Literal["category", "attribute", "age", "angle"]


@dataclass(frozen=True)
class FaceTask:
    """One closed question about a face.

    Attributes:
        name: what it is called in `tasks=[…]` and in the results.
        question: the words that are put to the model.
        options: the possible answers.
        kind: `"age"` and `"angle"` also give a number, in years or degrees, where `ranges` says what an option
            means; `tasks=["attributes"]` names all of kind `"attribute"`, `tasks=["pose"]` all of kind `"angle"`.
        ranges: low and high end of each option, or None.
        on_request: asked only where it is named, not as one of several. Race always is.
    """

    name: str
    question: str
    options: tuple[str, ...]
    kind: Kind = "category"
    ranges: tuple[tuple[float, float], ...] | None = None
    on_request: bool = False

    def estimate(self, probabilities: Sequence[float]) -> tuple[float, float, float] | None:
        """The expected number and the central 80 % interval: `(number, low, high)`, None without `ranges`.

        The expectation is over the middles of the ranges; the interval's ends are where the distribution function
        reaches 0.1 and 0.9, each option's probability being spread evenly over its range.
        """
        if self.ranges is None:
            return None
        number = sum(p * (low + high) / 2 for p, (low, high) in zip(probabilities, self.ranges, strict=True))
        low, high = (self._quantile(probabilities, (1 + side * INTERVAL_SHARE) / 2) for side in (-1, 1))
        return (max(number, 0.0), max(low, 0.0), high) if self.kind == "age" else (number, low, high)

    def _quantile(self, probabilities: Sequence[float], level: float) -> float:
        below = 0.0
        for (low, high), p in sorted(zip(self.ranges, probabilities, strict=True)):
            if p > 0 and below + p >= level:
                return low + (high - low) * (level - below) / p
            below += p
        return max(high for _, high in self.ranges)


def face_tasks(described: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, FaceTask]:
    """The tasks that a model knows, by name.

    Args:
        described: `config.face_tasks`: for each name `question` and `options`, and where they apply `kind`, `ranges`
            and `on_request`, as in [`FaceTask`]; options of kind `"age"` that are all whole numbers need no ranges.
            None for the project's own table.

    Raises:
        ValueError: when a task is described wrongly.
    """
    if described is None:
        return dict(_own_table())
    if not isinstance(described, Mapping) or not described:
        raise ValueError(f"config.face_tasks={described!r}: give a task or more, {{name: {{question, options}}}}")
    try:
        return {name: _described(name, task) for name, task in described.items()}
    except ValueError as error:
        raise ValueError(f"config.face_tasks: {error}") from error


def choose_tasks(
    names: Iterable[str | Mapping[str, Any]] | None, table: Mapping[str, FaceTask], default: Sequence[str]
) -> list[FaceTask]:
    """The tasks called `names`, each once, in their order; words for several (`attributes`, `pose`, `all`) replaced.

    Args:
        names: a task that the table lacks is described like one of [`face_tasks`], its `name` among the rest. None
            for those of `default` that the table has.

    Raises:
        ValueError: for a name that the table does not have, a task that is described wrongly, and two different tasks
            of one name.
    """
    if names is None:
        return [table[name] for name in default if name in table]
    chosen: dict[str, FaceTask] = {}

    def choose(task: FaceTask) -> None:
        if chosen.setdefault(task.name, task) != task:
            raise ValueError(f"tasks: two different tasks are called {task.name!r}: give one of them another name")

    if not isinstance(names, (str, Iterable)):
        raise ArgumentError("tasks", names, "give a list of names")
    for name in [names] if isinstance(names, (str, Mapping)) else names:
        if isinstance(name, Mapping):
            choose(_described(str(name.get("name", "")), {key: value for key, value in name.items() if key != "name"}))
            continue
        if not isinstance(name, str):
            raise ArgumentError("tasks", names, _not_known(name, table))
        if name in table:
            choose(table[name])
            continue
        several = [
            task
            for task in table.values()
            if not task.on_request and (name == ALL or task.kind == GROUPS.get(name) is not None)
        ]
        if not several:
            raise ArgumentError("tasks", names, _not_known(name, table))
        for task in several:
            choose(task)
    return list(chosen.values())


def _not_known(name: Any, table: Mapping[str, FaceTask]) -> str:
    words = [word for word, kind in GROUPS.items() if any(task.kind == kind for task in table.values())]
    known = [*table, *words, ALL]
    near = get_close_matches(str(name), known)
    if near:
        return f"there is no task {name!r}; did you mean {' or '.join(near)}?"
    listed = [task for task in table if table[task].kind != "attribute"] or list(table)[:12]
    return f"there is no task {name!r}; this model has {', '.join([*listed, *words, ALL])}"


def _described(name: str, task: Mapping[str, Any]) -> FaceTask:
    where = f"task {name!r}"
    if not name or not isinstance(task, Mapping):
        raise ValueError(f"{where}: {task!r} describes none: give a name, question and options")
    unknown = set(task) - {"question", "options", "kind", "ranges", "on_request"}
    if unknown:
        raise ValueError(
            f"{where}: {sorted(unknown)[0]!r} means nothing; use question, options, kind, ranges, on_request"
        )
    question, options, kind = task.get("question"), task.get("options"), task.get("kind", "category")
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"{where}: question={question!r}: give the words that are put to the model")
    if not isinstance(options, (list, tuple)) or not all(isinstance(option, str) and option for option in options):
        raise ValueError(f"{where}: options={options!r}: give the possible answers, as texts")
    if len({*options}) < max(2, len(options)):
        raise ValueError(f"{where}: options={options!r}: give two or more different answers")
    if kind not in get_args(Kind):
        raise ValueError(f"{where}: kind={kind!r} is unknown: take {', '.join(get_args(Kind))}")
    ranges = task.get("ranges")
    if ranges is None and kind == "age" and all(option.isdecimal() for option in options):
        ranges = [(int(option) - 0.5, int(option) + 0.5) for option in options]
    if ranges is not None:
        if kind not in ("age", "angle"):
            raise ValueError(f"{where}: ranges are years or degrees, and kind={kind!r} has none: take age or angle")
        try:
            ranges = tuple((float(low), float(high)) for low, high in ranges)
        except (TypeError, ValueError):
            ranges = ()
        if len(ranges) != len(options) or not all(low < high for low, high in ranges):
            raise ValueError(
                f"{where}: ranges={task['ranges']!r}: give [low, high] for each of the {len(options)} options"
            )
    return FaceTask(name, question, tuple(options), kind, ranges, bool(task.get("on_request")) or name == "race")


def _own_table() -> Iterable[tuple[str, FaceTask]]:
    for name, (question, options) in CLOSED_QUESTIONS.items():
        stated = STATED_OPTIONS.format(question=question, options=", ".join(options))
        kind, _, ranges = RANGED.get(name, ("category" if name in CATEGORIES else "attribute", question, {}))
        row = {"question": stated, "options": options, "kind": kind, "ranges": [*ranges.values()] or None}
        yield name, _described(name, {**row, "on_request": name in ON_REQUEST})
    years = [str(age) for age in range(MAX_AGE + 1)]
    row = {"question": f"{AGE_IN_YEARS} {WHOLE_NUMBER}", "options": years, "kind": "age"}
    yield "age_years", _described("age_years", {**row, "on_request": "age_years" in ON_REQUEST})
