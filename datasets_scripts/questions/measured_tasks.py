"""Rows of the table whose answers are numbers or lists: an age in years, the angles of a head, action units."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .closed_task import DEFAULT_CONVENTIONS, NO_LABELS, Conventions, Pair, Task, as_sentence, read_label


class OpenTask:
    """A row whose set of answers is open."""

    on_request = False
    says_yes_or_no = False

    def options(self, conventions: Conventions = DEFAULT_CONVENTIONS) -> list[str]:
        """None."""
        return []


@dataclass(frozen=True)
class NumberTask(OpenTask):
    """How a number is asked for: rounded to a whole one; `form` says in the question what the answer looks like.

    `comparisons` are yes-or-no questions with `{number}`, each with whether it is true above the number.
    `margins` are the least and greatest distance of that number from the label.
    """

    label: str
    questions: tuple[str, ...]
    form: str
    statements: tuple[str, ...]
    comparisons: tuple[tuple[str, bool], ...]
    margins: tuple[int, int]
    group: str | None = None

    def value(self, labels: Mapping[str, Any], conventions: Conventions = DEFAULT_CONVENTIONS) -> int | None:
        """The number, rounded; None where it is unknown."""
        number = read_label(self.label, labels)
        return None if number is None else round(number)

    def answer(self, value: int, conventions: Conventions = DEFAULT_CONVENTIONS) -> str:
        """The canonical answer."""
        return str(value)

    def canonical_question(self, conventions: Conventions = DEFAULT_CONVENTIONS) -> str:
        """The question as evaluation asks it."""
        return f"{self.questions[0]} {self.form}"

    def stated_question(self, value: int, rng: random.Random, conventions: Conventions = DEFAULT_CONVENTIONS) -> Pair:
        """A question that says what the answer must look like, and the canonical answer."""
        return f"{rng.choice(self.questions)} {self.form}", str(value)

    def basic_questions(
        self,
        value: int,
        rng: random.Random,
        conventions: Conventions = DEFAULT_CONVENTIONS,
        labels: Mapping[str, Any] = NO_LABELS,
    ) -> list[Pair]:
        """A comparison, yes and no in equal shares, then the number itself."""
        question, above = rng.choice(self.comparisons)
        yes, distance = rng.random() < 0.5, rng.randint(*self.margins)
        number = value - distance if yes == above else value + distance
        pairs = [(question.format(number=number), "Yes." if yes else "No.")] if number > 0 else []
        return [*pairs, (rng.choice(self.questions), rng.choice(self.statements).format(number=value))]


@dataclass(frozen=True)
class PartsTask(OpenTask):
    """How several labels, the parts, are asked for at once: in words, by each part's bins, or in numbers.

    `parts` maps a part's name to its row. Numbers have `decimals` decimals, and `numbers_form` explains them.
    """

    parts: Mapping[str, Task]
    questions: tuple[str, ...]
    numbers_form: str
    decimals: int
    group: str | None = None

    def value(
        self, labels: Mapping[str, Any], conventions: Conventions = DEFAULT_CONVENTIONS
    ) -> dict[str, float] | None:
        """The number of each part; None unless all are known and within the bins."""
        if any(row.value(labels) is None for row in self.parts.values()):
            return None
        return {name: read_label(row.label, labels) for name, row in self.parts.items()}

    def answer(self, value: Mapping[str, float], conventions: Conventions = DEFAULT_CONVENTIONS) -> str:
        """The canonical answer: every part with its number, `yaw -23, pitch 12, roll 3`."""
        rounded = {name: round(number, self.decimals) + 0.0 for name, number in value.items()}  # + 0.0: no minus zero
        return ", ".join(f"{name} {number:.{self.decimals}f}" for name, number in rounded.items())

    def canonical_question(self, conventions: Conventions = DEFAULT_CONVENTIONS) -> str:
        """The question as evaluation asks it, in numbers."""
        return f"{self.questions[0]} {self.numbers_form}"

    def stated_question(
        self, value: Mapping[str, float], rng: random.Random, conventions: Conventions = DEFAULT_CONVENTIONS
    ) -> Pair:
        """A question for the numbers, or for the words of each part, and its canonical answer."""
        question = rng.choice(self.questions)
        if rng.random() < 0.5:
            return f"{question} {self.numbers_form}", self.answer(value)
        choices = "; ".join(f"{name}: {', '.join(row.answers.values())}" for name, row in self.parts.items())
        return f"{question} Choose one word for each. {as_sentence(choices)}", self.in_words(value)

    def in_words(self, value: Mapping[str, float]) -> str:
        """Every part by the answer of its bin."""
        return ", ".join(row.answers[row.value({name: value[name]})] for name, row in self.parts.items())

    def basic_questions(
        self,
        value: Mapping[str, float],
        rng: random.Random,
        conventions: Conventions = DEFAULT_CONVENTIONS,
        labels: Mapping[str, Any] = NO_LABELS,
    ) -> list[Pair]:
        """Yes-or-no, either-or and open questions about one of the parts."""
        name = rng.choice(list(self.parts))
        return self.parts[name].basic_questions(self.parts[name].value({name: value[name]}), rng)


@dataclass(frozen=True)
class UnitsTask(OpenTask):
    """How action units are asked for: which of those that were annotated are active, and yes or no for single ones.

    `names` are the units' names after FACS.
    """

    names: Mapping[int, str]
    questions: tuple[str, ...]
    form: str
    checks: tuple[str, ...]
    none: str = "none"
    group: str | None = None

    def value(
        self, labels: Mapping[str, Any], conventions: Conventions = DEFAULT_CONVENTIONS
    ) -> dict[int, bool] | None:
        """Whether each unit that was annotated is active, by number; None where none was, or none with a name here."""
        given = labels.get("action_units")
        if given is None:
            return None
        pairs = given.items() if isinstance(given, Mapping) else ((e["unit"], e["intensity"]) for e in given)
        active = {int(unit): level >= conventions.present_from for unit, level in pairs if int(unit) in self.names}
        return dict(sorted(active.items())) or None

    def answer(self, value: Mapping[int, bool], conventions: Conventions = DEFAULT_CONVENTIONS) -> str:
        """The canonical answer: `AU6 cheek raiser, AU12 lip corner puller`, by number, or `none`."""
        return ", ".join(self._name(unit) for unit, active in value.items() if active) or self.none

    def canonical_question(self, conventions: Conventions = DEFAULT_CONVENTIONS) -> str:
        """The question as evaluation asks it, about all units that have a name here."""
        return self.question_about(self.names)

    def question_about(self, units: Iterable[int]) -> str:
        """The question as evaluation asks it, about these units alone."""
        return self._listed(self.questions[0], units)

    def stated_question(
        self, value: Mapping[int, bool], rng: random.Random, conventions: Conventions = DEFAULT_CONVENTIONS
    ) -> Pair:
        """Which of the annotated units are active."""
        return self._listed(rng.choice(self.questions), value), self.answer(value)

    def basic_questions(
        self,
        value: Mapping[int, bool],
        rng: random.Random,
        conventions: Conventions = DEFAULT_CONVENTIONS,
        labels: Mapping[str, Any] = NO_LABELS,
    ) -> list[Pair]:
        """Yes or no for up to four units, as many active ones as others; for one where none is active."""
        active, others = ([unit for unit, on in value.items() if on is side] for side in (True, False))
        count = min(2, len(active), len(others)) or 1
        chosen = rng.sample(active, min(count, len(active))) + rng.sample(others, min(count, len(others)))
        rng.shuffle(chosen)
        asked = [(rng.choice(self.checks).format(name=self.names[unit], unit=unit), value[unit]) for unit in chosen]
        return [(question, "Yes." if on else "No.") for question, on in asked]

    def _listed(self, question: str, units: Iterable[int]) -> str:
        return f"{question} {self.form.format(units=', '.join(map(self._name, units)))}"

    def _name(self, unit: int) -> str:
        return f"AU{unit} {self.names[unit]}"
