"""What a row of the table of questions is: how one label is asked about and answered.

There are four kinds: `Task` has a closed set of answers, `NumberTask` asks for a number, `PartsTask` for several
labels at once (the three angles of a head), `UnitsTask` for the action units that are active. All of them offer the
same methods, which is all that `conversations.py` knows of them.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from datasets_scripts.schema import CorpusError
from modeling_facemllm import face_task_table_facemllm as table

from . import compositions
from .claims import Claim, EitherOr, Wording

Pair = tuple[str, str]
"""A question and its answer."""

NO_LABELS: Mapping[str, Any] = MappingProxyType({})
NO_WORDING = Wording()

CANONICAL_SHARE = 0.25
"""Of the open questions that have other wordings, how many are the canonical one."""

STATED_OPTIONS = (
    table.STATED_OPTIONS,
    "{question} Choose one of: {options}.",
    "{question} Answer with one of these: {options}.",
    "Choose among {options}. {question}",
)


@dataclass(frozen=True)
class Conventions:
    """In what labels of the same name differ from source to source.

    `extra_values` are those that only some sources give, such as `contempt`. `present_from` is the intensity
    from which an action unit counts as active: 2 of 5 as usual with DISFA, 1 where a source marks only presence.
    `all_measured` is said of a source where no label is a person's, so that captions have to name whom they are about.
    """

    extra_values: tuple[str, ...] = ()
    present_from: float = 2.0
    all_measured: bool = False


DEFAULT_CONVENTIONS = Conventions()


@dataclass(frozen=True)
class Task:
    """How a label with a closed set of values is asked about.

    `label` is a column of the labels, `attributes.NAME` or `action_units.NUMBER`. `answers` maps each value of
    the label to its canonical answer, in the order in which the options are stated; `bins` maps a value to the
    half-open interval `[low, high)` of a numeric label that it stands for. `claims` complete `{claim}` in
    `statement` and `checks`: the first wordings of all values go together in one question, and so do the second.
    A label whose answers are yes and no has no claims: its questions are yes-or-no questions already; any other has
    claims for every value.

    `extra` are values that only some sources have. Of the tasks of one `group`, whose answers give each other
    away, a conversation asks one at most. `caption` says in a caption what a yes means; None leaves it out.
    `wording` is what else people type. Its places for pronouns are left to `conversations.py`.
    """

    label: str
    answers: Mapping[str, str]
    questions: tuple[str, ...]
    statement: str = "This person is {claim}."
    checks: tuple[str, ...] = ("Is this person {claim}?", "Is the person in the picture {claim}?")
    claims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ranges: tuple[Claim, ...] = ()
    bins: Mapping[str, tuple[float, float]] | None = None
    ordered: bool = False
    on_request: bool = False
    extra: tuple[str, ...] = ()
    group: str | None = None
    caption: str | None = None
    wording: Wording = NO_WORDING

    def __post_init__(self) -> None:
        if self.claims and set(self.claims) != set(self.answers):
            raise CorpusError(f"the row of {self.label}: claims and answers name different values")

    @cached_property
    def all_claims(self) -> tuple[Claim, ...]:
        """Everything a yes-or-no question may assert: the ranges, and each value in each of its wordings."""
        single = []
        for claimed, wordings in self.claims.items():
            others = tuple(value for value in self.answers if value != claimed)
            single += [Claim(words, (claimed,), others) for words in wordings]
        return (*self.ranges, *single)

    @cached_property
    def all_questions(self) -> tuple[str, ...]:
        """Every wording of the open question, the canonical one first."""
        return (*self.questions, *self.wording.questions)

    @cached_property
    def claims_by_question(self) -> dict[str, Claim]:
        """Every yes-or-no question that may be asked, and what it claims."""
        worded = {check.format(claim=claim.text): claim for claim in self.all_claims for check in self.checks}
        return {**worded, **{claim.text: claim for claim in self.wording.checks}}

    @cached_property
    def says_yes_or_no(self) -> bool:
        """Whether every question is one of yes or no."""
        return set(self.answers) == {"yes", "no"}

    def value(self, labels: Mapping[str, Any], conventions: Conventions = DEFAULT_CONVENTIONS) -> str | None:
        """The label's value, numbers put into their bins; None where unknown. `CorpusError` if not in the table."""
        value = read_label(self.label, labels)
        if value is not None and self.bins is not None:
            value = next((name for name, (low, high) in self.bins.items() if low <= value < high), None)
        if value is not None and value not in self.answers:
            known = ", ".join(self.answers)
            raise CorpusError(f"labels.{self.label} = {value!r} is not in the table of tasks.py; it knows {known}")
        if value in self.extra and value not in conventions.extra_values:
            remedy = f"say Conventions(extra_values=({value!r},)) for this source"
            raise CorpusError(f"labels.{self.label} = {value!r}: only some sources have it; {remedy}")
        return value

    def answer(self, value: str, conventions: Conventions = DEFAULT_CONVENTIONS) -> str:
        """The canonical answer."""
        return self.answers[value]

    def options(self, conventions: Conventions = DEFAULT_CONVENTIONS) -> list[str]:
        """The answers that are possible, those of the source's extra values among them."""
        return [self.answers[value] for value in self._values(conventions)]

    def canonical_question(self, conventions: Conventions = DEFAULT_CONVENTIONS) -> str:
        """The question as evaluation asks it, options stated."""
        return STATED_OPTIONS[0].format(question=self.questions[0], options=", ".join(self.options(conventions)))

    def stated_question(self, value: str, rng: random.Random, conventions: Conventions = DEFAULT_CONVENTIONS) -> Pair:
        """A question that says what the answer must look like, and the canonical answer."""
        options = self.options(conventions)
        if not self.ordered:
            rng.shuffle(options)
        wording = rng.choice(STATED_OPTIONS)
        return wording.format(question=self._wording(rng), options=", ".join(options)), self.answers[value]

    def basic_questions(
        self,
        value: str,
        rng: random.Random,
        conventions: Conventions = DEFAULT_CONVENTIONS,
        labels: Mapping[str, Any] = NO_LABELS,
    ) -> list[Pair]:
        """Questions of yes or no, of either or, and open ones, those that give the least away first.

        What was answered must not give the next answer away, so a label of two values is asked about once. `labels`
        are all of the face's: a boy is only who is known to be a child.
        """
        values = self._values(conventions)
        if not self.claims:
            return [self._open_question(value, rng)]
        if len(self.answers) == 2:
            choices = (
                self._open_question,
                lambda *given: self._either_or(*given, values, labels),
                lambda *given: self._checks(*given, values, labels, 1)[0][0],
            )
            return [rng.choice(choices)(value, rng)]
        checks, possible = self._checks(value, rng, values, labels, rng.randint(0, 2 if len(values) > 3 else 1))
        if len(possible) == 1:
            return checks
        if rng.random() < 0.5:
            return [*checks, self._open_question(value, rng)]
        return [*checks, self._either_or(value, rng, possible, labels)]

    def _values(self, conventions: Conventions) -> list[str]:
        return [value for value in self.answers if value not in self.extra or value in conventions.extra_values]

    def _wording(self, rng: random.Random) -> str:
        if self.wording.questions and rng.random() < CANONICAL_SHARE:
            return self.questions[0]
        if self.wording.phrases and rng.random() < compositions.SHARE:
            return compositions.composed_question(self.wording.phrases, rng)
        return rng.choice(self.all_questions)

    def _open_question(self, value: str, rng: random.Random) -> Pair:
        words = rng.choice(self.claims.get(value) or (self.answers[value],))
        question = self._wording(rng)
        return question, self._short_or_long(words, rng) if self.claims else as_sentence(words)

    def _either_or(self, value: str, rng: random.Random, values: Sequence[str], labels: Mapping[str, Any]) -> Pair:
        fitting = [row for row in self.wording.either_or if row.fits(value, labels) and row.is_open(values)]
        worded = [(row, text) for row in fitting for text in row.questions]
        place = rng.randrange(len(worded) + 1) if worded else 0
        if place:
            return _either_or_of(*worded[place - 1], value, rng, values)
        other = rng.choice([claimed for claimed in values if claimed != value])
        pair = rng.choice(list(zip(self.claims[value], self.claims[other], strict=False)))
        first, second = rng.sample(pair, 2)
        return rng.choice(self.checks).format(claim=f"{first} or {second}"), self._short_or_long(pair[0], rng)

    def _checks(
        self, value: str, rng: random.Random, values: Sequence[str], labels: Mapping[str, Any], count: int
    ) -> tuple[list[Pair], list[str]]:
        """Yes-or-no questions, both in equal shares, and the values that their answers leave possible.

        None is asked whose answer those before give away.
        """
        claims = [claim for claim in (*self.all_claims, *self.wording.checks) if set(claim.true_for) & set(values)]
        fitting: dict[bool | None, list[Claim]] = {True: [], False: [], None: []}
        for claim in claims:
            fitting[claim.holds(value, labels)].append(claim)
        pairs: list[Pair] = []
        possible = list(values)
        while len(pairs) < count:
            open_ones = {side: [claim for claim in fitting[side] if claim.is_open(possible)] for side in (True, False)}
            if not any(open_ones.values()):
                break
            yes = bool(open_ones[True]) and (rng.random() < 0.5 or not open_ones[False])
            claim = rng.choice(open_ones[yes])
            possible = [other for other in possible if claim.could_be(other, yes)]
            if claim.is_question:
                pairs.append((claim.text, "Yes." if yes else "No."))
                continue
            answers = ("Yes.", f"Yes. {self._statement(claim.text)}") if yes else ("No.",)
            pairs.append((rng.choice(self.checks).format(claim=claim.text), rng.choice(answers)))
        return pairs, possible

    def _short_or_long(self, words: str, rng: random.Random) -> str:
        return rng.choice((as_sentence(words), self._statement(words)))

    def _statement(self, words: str) -> str:
        sentence = self.statement.format(claim=words)
        return sentence[0].upper() + sentence[1:]


def closed_task(name: str, *wordings: str, values: Mapping[str, str] | None = None, **row: Any) -> Task:
    """The row of the task `name` of the model's table, which has the canonical question and its options.

    `wordings` are other ones of the question, `values` the label's values for those options that are not the value
    itself, `row` the rest of a `Task`. Values of `extra` are options after those of the table.
    """
    question, options = table.CLOSED_QUESTIONS[name]
    answers = {(values or {}).get(option, option): option for option in (*options, *row.get("extra", ()))}
    return Task(**{"label": name, "answers": answers, "questions": (question, *wordings), **row})


def read_label(label: str, labels: Mapping[str, Any]) -> Any:
    """The value of a column, `attributes.NAME` or `action_units.NUMBER` in a record's labels; None if unknown."""
    column, _, key = label.partition(".")
    value = labels.get(column)
    if not key or value is None:
        return value
    if column == "attributes" and isinstance(value, dict):
        return value.get(key)
    name, content = ("name", "value") if column == "attributes" else ("unit", "intensity")
    pairs = value.items() if isinstance(value, Mapping) else ((entry[name], entry[content]) for entry in value)
    return next((found for which, found in pairs if str(which) == key), None)


def _either_or_of(row: EitherOr, text: str, value: str, rng: random.Random, values: Sequence[str]) -> Pair:
    others = [words for other, words in row.words.items() if other in values and words != row.words[value]]
    pair = rng.sample((row.words[value], rng.choice(others)), 2)
    question = text.format(claim=" or ".join(pair))
    return question[0].upper() + question[1:], as_sentence(row.words[value])


def as_sentence(words: str) -> str:
    """The words with a capital and a full stop."""
    return f"{words[0].upper()}{words[1:]}."
