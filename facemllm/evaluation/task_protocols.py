"""How each task is asked, and how the answers to its questions become one prediction.

`Closed`: one question with its options, also yes or no. `AgeInYears`: the expectation over the ages 0 to 100, or
over the middles of age groups for a model that was taught groups. `HeadPose`: one question per angle about the words
of its bins, and the expectation over their middles. What a group or a bin means is what the pipeline
face-analysis takes it for (`face_task_table_facemllm.RANGED`). `ActionUnits`: yes or no for each coded unit.
What a model writes instead is read by `answer_parsing`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from datasets_scripts.questions.closed_task import DEFAULT_CONVENTIONS, Conventions, Task, read_label
from datasets_scripts.questions.conversations import TASKS, canonical_question, expected_answer
from datasets_scripts.questions.measured_tasks import PartsTask, UnitsTask
from datasets_scripts.questions.tasks import ACTION_UNITS
from datasets_scripts.schema import AGE_EDGES, CorpusError
from facemllm.inference.hub_names import from_hub

from .answer_parsing import parse_angles, parse_option, parse_units, parse_years
from .answers import Answer, AskedQuestion
from .predictions import TaskSpec, Way

AGES = tuple(str(years) for years in range(101))
AgeQuestion = Literal["years", "groups"]


@dataclass(frozen=True)
class Reading:
    """What the answers of one way come to, as `Prediction` has it."""

    predicted: Any | None
    probabilities: dict[str, float] | None = None
    text: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


class TaskProtocol(Protocol):
    """One task of a benchmark: what is true, what is asked, and what the answers mean."""

    spec: TaskSpec

    def expected(self, labels: Mapping[str, Any]) -> Any | None:
        """What is true of a face with these labels, as `Prediction` has it; None where it is unknown."""

    def questions(self, way: Way, expected: Any) -> tuple[AskedQuestion, ...]:
        """What is asked about a face of which `expected` is true."""

    def read(self, way: Way, answers: Sequence[Answer], expected: Any) -> Reading:
        """The prediction in the answers to `questions`."""


@dataclass(frozen=True)
class Closed:
    """A task of `tasks.TASKS` with a closed set of answers: the canonical question, options stated."""

    name: str
    conventions: Conventions = DEFAULT_CONVENTIONS

    @cached_property
    def spec(self) -> TaskSpec:
        row, options = TASKS[self.name], canonical_question(self.name, self.conventions)[1]
        kind = "binary" if row.says_yes_or_no else "options"
        bins = age_bins() if self.name == "age" else None
        return TaskSpec(self.name, kind, options, ordered=row.ordered, bins=bins)

    def expected(self, labels: Mapping[str, Any]) -> str | None:
        return expected_answer(self.name, labels, self.conventions)

    def questions(self, way: Way, expected: Any) -> tuple[AskedQuestion, ...]:
        return (AskedQuestion(self.name, *canonical_question(self.name, self.conventions)),)

    def read(self, way: Way, answers: Sequence[Answer], expected: Any) -> Reading:
        return read_option(answers[0], self.spec.options)


@dataclass(frozen=True)
class DrawnAttribute(Closed):
    """An attribute of the drawn faces, asked as the quickstart asks: an open question with short answers."""

    @cached_property
    def spec(self) -> TaskSpec:
        from datasets_scripts.synthetic.text import options

        values = options(self.name)
        return TaskSpec(self.name, "binary" if set(values) == {"yes", "no"} else "options", values)

    def expected(self, labels: Mapping[str, Any]) -> str | None:
        return read_label(f"attributes.{self.name}", labels)

    def questions(self, way: Way, expected: Any) -> tuple[AskedQuestion, ...]:
        from datasets_scripts.synthetic.text import canonical_question

        return (AskedQuestion(self.name, canonical_question(self.name), self.spec.options),)


@dataclass(frozen=True)
class AgeInYears:
    """The age as a number. `ask` says what the model is asked for: years, or the groups of the task `age`."""

    ask: AgeQuestion = "years"

    @cached_property
    def spec(self) -> TaskSpec:
        return TaskSpec("age_years", "number", bins=age_bins())

    def expected(self, labels: Mapping[str, Any]) -> float | None:
        return None if labels.get("age") is None else float(labels["age"])

    def questions(self, way: Way, expected: Any) -> tuple[AskedQuestion, ...]:
        if self.ask == "groups":
            return (AskedQuestion("age_years", *canonical_question("age")),)
        return (AskedQuestion("age_years", canonical_question("age_years")[0], AGES if way == "scoring" else ()),)

    def read(self, way: Way, answers: Sequence[Answer], expected: Any) -> Reading:
        (answer,) = answers
        years = middles("age") if self.ask == "groups" else {age: float(age) for age in AGES}
        if way == "scoring":
            shares = {option: round(share, 6) for option, share in answer.probabilities.items() if share >= 1e-6}
            return Reading(round(expectation(answer.probabilities, years), 4), shares)
        if self.ask == "years":
            return Reading(parse_years(answer.text), text=answer.text)
        found = parse_option(answer.text, tuple(years))
        return Reading(None if found is None else years[found[0]], text=answer.text)


class HeadPose:
    """Yaw, pitch and roll in degrees, in the convention of `sources/head_pose.py`."""

    spec = TaskSpec("head_pose", "angles")
    _row: PartsTask = TASKS["head_pose"]

    def expected(self, labels: Mapping[str, Any]) -> dict[str, float] | None:
        return self._row.value(labels)

    def questions(self, way: Way, expected: Any) -> tuple[AskedQuestion, ...]:
        if way == "generation":
            return (AskedQuestion("head_pose", self._row.canonical_question()),)
        return tuple(AskedQuestion(part, *canonical_question(part)) for part in self._row.parts)

    def read(self, way: Way, answers: Sequence[Answer], expected: Any) -> Reading:
        if way == "generation":
            return Reading(parse_angles(answers[0].text, tuple(self._row.parts)), text=answers[0].text)
        shares = {part: answer.probabilities for part, answer in zip(self._row.parts, answers, strict=True)}
        angles = {part: round(expectation(of_part, middles(part)), 4) for part, of_part in shares.items()}
        return Reading(angles, extra={"bins": {part: _rounded(of_part) for part, of_part in shares.items()}})


@dataclass(frozen=True)
class ActionUnits:
    """Which units are active, of `units` those that were coded; present from `conventions.present_from` on."""

    units: tuple[int, ...]
    conventions: Conventions = DEFAULT_CONVENTIONS
    _row: ClassVar[UnitsTask] = TASKS["action_units"]

    @cached_property
    def spec(self) -> TaskSpec:
        return TaskSpec("action_units", "units", tuple(map(str, self.units)))

    def expected(self, labels: Mapping[str, Any]) -> dict[str, bool] | None:
        active = self._row.value(labels, self.conventions) or {}
        return {str(unit): active[unit] for unit in self.units if unit in active} or None

    def questions(self, way: Way, expected: Mapping[str, bool]) -> tuple[AskedQuestion, ...]:
        units = [int(unit) for unit in expected]
        if way == "generation":
            return (AskedQuestion("action_units", self._row.question_about(units)),)
        check = self._row.checks[0]
        # the words and the full stop of the answers are those that corpora with action units teach
        return tuple(
            AskedQuestion(f"action_units/{unit}", check.format(name=ACTION_UNITS[unit], unit=unit), ("Yes.", "No."))
            for unit in units
        )

    def read(self, way: Way, answers: Sequence[Answer], expected: Mapping[str, bool]) -> Reading:
        if way == "generation":
            listed = parse_units(answers[0].text, {int(unit): ACTION_UNITS[int(unit)] for unit in expected})
            active = None if listed is None else {unit: int(unit) in listed for unit in expected}
            return Reading(active, text=answers[0].text)
        shares = {unit: answer.probabilities["Yes."] for unit, answer in zip(expected, answers, strict=True)}
        return Reading({unit: share > 0.5 for unit, share in shares.items()}, _rounded(shares))


def read_option(answer: Answer, options: Sequence[str]) -> Reading:
    """The most probable option, or the one that was written; `extra` says where it was only mentioned."""
    if answer.probabilities is not None:
        return Reading(max(options, key=answer.probabilities.__getitem__), _rounded(answer.probabilities))
    found = parse_option(answer.text, options)
    if found is None:
        return Reading(None, text=answer.text)
    return Reading(found[0], text=answer.text, extra={"parsed": found[1]})


def middles(task: str) -> dict[str, float]:
    """The number in the middle of what each option means, in years or degrees."""
    from modeling_facemllm.face_tasks_facemllm import face_tasks

    row = face_tasks()[task]
    return {option: (low + high) / 2 for option, (low, high) in zip(row.options, row.ranges, strict=True)}


def expectation(probabilities: Mapping[str, float], values: Mapping[str, float]) -> float:
    """The mean of `values` under `probabilities`, which sum to 1."""
    return sum(share * values[option] for option, share in probabilities.items())


def age_bins() -> dict[str, tuple[float, float]]:
    """The years `[low, high)` of each age group that is asked for."""
    edges = (0.0, *map(float, AGE_EDGES), 121.0)
    return dict(zip(canonical_question("age")[1], pairwise(edges), strict=True))


def protocols(
    tasks: Iterable[str],
    conventions: Conventions = DEFAULT_CONVENTIONS,
    units: Sequence[int] = tuple(ACTION_UNITS),
    ask_age: AgeQuestion = "years",
) -> tuple[TaskProtocol, ...]:
    """How each of `tasks` is asked.

    Raises:
        CorpusError: for a task whose answers have no figures here.
    """
    made: list[TaskProtocol] = []
    for name in tasks:
        if name == "age_years":
            made.append(AgeInYears(ask_age))
        elif name == "head_pose":
            made.append(HeadPose())
        elif name == "action_units":
            made.append(ActionUnits(tuple(units), conventions))
        elif isinstance(TASKS.get(name), Task):
            made.append(Closed(name, conventions))
        else:
            known = "a task of datasets_scripts/questions/tasks.py"
            near = "valence and arousal" if name == "valence_arousal" else known
            raise CorpusError(f"task {name!r} cannot be evaluated: name {near}")
    return tuple(made)


def _rounded(probabilities: Mapping[str, float]) -> dict[str, float]:
    return {option: round(share, 6) for option, share in probabilities.items()}


def taught_age(model: str) -> AgeQuestion:
    """`groups` for a model whose `config.face_tasks` has the age groups and no age in years, else `years`."""
    folder = Path(model).expanduser()
    config = folder / "config.json" if folder.is_dir() else from_hub(model, "config.json")
    if config is None:
        return "years"
    try:
        tasks = json.loads(config.read_text(encoding="utf-8")).get("face_tasks")
    except (OSError, ValueError):
        return "years"
    age = (tasks or {}).get("age", {}).get("options", ())
    return "groups" if set(age) == set(canonical_question("age")[1]) and "age_years" not in tasks else "years"
