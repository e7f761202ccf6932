"""Labels to conversations: how each label is asked about and answered stands in one table, ``TASKS``.

A new corpus needs a reader in ``sources/`` and, for labels not asked about yet, a row of the table. Three kinds of
conversation are made, one per training stage: ``captions``, ``vqa`` (yes or no, either or, open questions) and
``face_tasks`` (the options stated, the short canonical answer). A label that is unknown is never asked about.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from datasets_scripts.captions import caption_turns
from datasets_scripts.schema import CorpusError, Skipped, assistant_turn, make_record, user_turn

CONFIGS = ("captions", "vqa", "face_tasks")
DEFAULT_TASKS = ("gender", "age")


@dataclass(frozen=True)
class Claim:
    """What a yes-or-no question asserts; for values in neither tuple it is undefined and not asked."""

    text: str
    true_for: tuple[str, ...]
    false_for: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """How one label is asked about: a row of ``TASKS``.

    ``label`` is a column of the labels, ``attributes.NAME`` or ``action_units.NUMBER``. ``answers`` maps each value of
    the label to its canonical answer, in the order in which the options are stated; ``bins`` maps a value to the
    half-open interval ``[low, high)`` of a numeric label that it stands for. ``claims`` complete ``{claim}`` in
    ``statement`` and ``checks``: the first wordings of all values go together in one question, and so do the second.
    A label whose answers are yes and no has no claims: its questions are yes-or-no questions already; any other has
    claims for every value.
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


AGE_GROUPS = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")


def _age_ranges() -> tuple[Claim, ...]:
    """Claims at the edges of the age groups, so that every one of them is exactly true or exactly false."""
    ranges = [Claim("an infant", AGE_GROUPS[:1], AGE_GROUPS[1:]), Claim("a child", AGE_GROUPS[:2], AGE_GROUPS[3:])]
    ranges.append(Claim("an adult", AGE_GROUPS[3:], AGE_GROUPS[:2]))
    for edge, years in enumerate((3, 10, 20, 30, 40, 50, 60, 70), start=1):
        ranges.append(Claim(f"younger than {years}", AGE_GROUPS[:edge], AGE_GROUPS[edge:]))
        ranges.append(Claim(f"{years} or older", AGE_GROUPS[edge:], AGE_GROUPS[:edge]))
    return tuple(ranges)


TASKS: dict[str, Task] = {
    "gender": Task(
        label="gender",
        answers={"female": "female", "male": "male"},
        questions=(
            "What is the gender of this person?",
            "Which gender does this person appear to have?",
            "What gender is the person in this picture?",
            "Judging by the face, what is this person's gender?",
        ),
        claims={"female": ("female",), "male": ("male",)},
    ),
    "age": Task(
        label="age_group",
        answers={**{group: group for group in AGE_GROUPS[:-1]}, "more than 70": "70 or older"},
        questions=(
            "What is the age group of this person?",
            "How old is this person, roughly?",
            "Which age group does this person belong to?",
            "About how many years old is the person in this picture?",
            "Judging by the face, how old is this person?",
        ),
        claims={
            "0-2": ("a baby", "0 to 2 years old"),
            "3-9": ("3 to 9 years old", "between 3 and 9"),
            "10-19": ("10 to 19 years old", "an adolescent"),
            "20-29": ("in their twenties", "20 to 29 years old"),
            "30-39": ("in their thirties", "30 to 39 years old"),
            "40-49": ("in their forties", "40 to 49 years old"),
            "50-59": ("in their fifties", "50 to 59 years old"),
            "60-69": ("in their sixties", "60 to 69 years old"),
            "more than 70": ("at least 70 years old", "over 69 years old"),
        },
        ranges=_age_ranges(),
        ordered=True,
    ),
    "race": Task(
        label="race",
        answers={
            "White": "White",
            "Black": "Black",
            "Latino_Hispanic": "Latino or Hispanic",
            "East Asian": "East Asian",
            "Southeast Asian": "Southeast Asian",
            "Indian": "Indian",
            "Middle Eastern": "Middle Eastern",
        },
        questions=(
            "Which race label would an annotator give this face?",
            "Which of the race labels of the data set fits this face?",
        ),
        statement="An annotator would label this face {claim}.",
        checks=("Would an annotator label this face {claim}?",),
        claims={
            "White": ("White",),
            "Black": ("Black",),
            "Latino_Hispanic": ("Latino or Hispanic",),
            "East Asian": ("East Asian",),
            "Southeast Asian": ("Southeast Asian",),
            "Indian": ("Indian",),
            "Middle Eastern": ("Middle Eastern",),
        },
        on_request=True,
    ),
}

STATED_OPTIONS = (
    "{question} Options: {options}.",
    "{question} Choose one of: {options}.",
    "{question} Answer with one of these: {options}.",
    "Choose among {options}. {question}",
)


def canonical_question(task: str) -> tuple[str, tuple[str, ...]]:
    """The question of ``task`` as evaluation asks it, options stated, and the options: the possible answers.

    Raises ``CorpusError`` for a task that is not in the table.
    """
    row = _row(task)
    options = tuple(row.answers.values())
    return STATED_OPTIONS[0].format(question=row.questions[0], options=", ".join(options)), options


def expected_answer(task: str, labels: Mapping[str, Any]) -> str | None:
    """The canonical answer of ``task`` for a record's ``labels``; None where the label is unknown.

    Raises ``CorpusError`` for a task or a label value that is not in the table.
    """
    row = _row(task)
    value = label_value(row, labels)
    return None if value is None else row.answers[value]


def label_value(task: Task, labels: Mapping[str, Any]) -> str | None:
    """The value of the label that ``task`` asks about, numbers put into their bins; None where it is unknown."""
    column, _, key = task.label.partition(".")
    value = labels.get(column)
    if key and value is not None:
        name, content = ("name", "value") if column == "attributes" else ("unit", "intensity")
        pairs = value.items() if isinstance(value, Mapping) else ((entry[name], entry[content]) for entry in value)
        value = next((found for which, found in pairs if str(which) == key), None)
    if value is not None and task.bins is not None:
        value = next((name for name, (low, high) in task.bins.items() if low <= value < high), None)
    if value is not None and value not in task.answers:
        known = ", ".join(task.answers)
        raise CorpusError(f"labels.{task.label} = {value!r} is not in the table of questions.py; it knows {known}")
    return value


def make_conversation(
    config: str, labels: Mapping[str, Any], rng: random.Random, tasks: Sequence[str] = DEFAULT_TASKS
) -> tuple[str, list[dict[str, Any]]] | None:
    """The ``task`` column and the turns about a face with these labels; None where nothing that is known can be asked.

    Raises ``CorpusError`` for a config, a task or a label value that is not known here.
    """
    if config not in CONFIGS:
        raise CorpusError(f"config={config!r} is unknown; use {', '.join(CONFIGS)}")
    if config == "captions":
        for name in ("age", "gender"):
            label_value(TASKS[name], labels)
        pair = caption_turns(labels, rng)
        return ("caption", _turns([pair])) if pair else None
    known = [(name, value) for name in tasks if (value := label_value(_row(name), labels)) is not None]
    if not known:
        return None
    rng.shuffle(known)
    if config == "face_tasks":
        pairs = [_stated_options(TASKS[name], value, rng) for name, value in known]
        return known[0][0] if len(known) == 1 else "attributes", _turns(pairs)
    series = [_basic_questions(TASKS[name], value, rng) for name, value in known]
    return "vqa", _turns(_interleave(series, rng))


@dataclass(frozen=True)
class AskedFaces:
    """A reader's faces as records of one config: what ``publish.write_corpus`` takes, also over several processes.

    ``reader`` has ``__len__``, ``faces(start, stop)`` that yields one ``LabelledFace`` or ``Skipped`` per row, and
    ``describe()``. The wording depends on ``seed``, the config and the face's id, not on its place in the corpus.
    """

    reader: Any
    config: str
    tasks: tuple[str, ...] = DEFAULT_TASKS
    seed: int = 0

    def __len__(self) -> int:
        return len(self.reader)

    def records(self, start: int, stop: int) -> Iterator[dict[str, Any] | Skipped]:
        """One record, or the reason for none, for each of the rows ``start`` to ``stop``."""
        for face in self.reader.faces(start, stop):
            if isinstance(face, Skipped):
                yield face
                continue
            rng = random.Random(f"{self.seed}/{self.config}/{face.id}")
            conversation = make_conversation(self.config, face.labels, rng, self.tasks)
            if conversation is None:
                yield Skipped(face.id, "no known label to ask about")
                continue
            task, messages = conversation
            yield make_record(**vars(face), task=task, messages=messages)

    def describe(self) -> dict[str, Any]:
        """What the records depend on, in JSON's types: part of the fingerprint of a build."""
        return {"reader": self.reader.describe(), "config": self.config, "tasks": self.tasks, "seed": self.seed}


def _row(task: str) -> Task:
    if task not in TASKS:
        raise CorpusError(f"task={task!r} is unknown; the table of questions.py has {', '.join(TASKS)}")
    return TASKS[task]


def _turns(pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    turns = []
    for question, answer in pairs:
        turns += [user_turn(question, image=not turns), assistant_turn(answer)]
    return turns


def _stated_options(task: Task, value: str, rng: random.Random) -> tuple[str, str]:
    options = list(task.answers.values())
    if not task.ordered:
        rng.shuffle(options)
    wording = rng.choice(STATED_OPTIONS)
    return wording.format(question=rng.choice(task.questions), options=", ".join(options)), task.answers[value]


def _basic_questions(task: Task, value: str, rng: random.Random) -> list[tuple[str, str]]:
    """Questions about one label, the least telling first: what was answered must not give the next answer away.

    So a label of two values, which any answer tells, is asked about once.
    """
    if not task.claims:
        return [_open_question(task, value, rng)]
    if len(task.answers) == 2:
        return [rng.choice((_open_question, _either_or, lambda *row: _checks(*row, count=1)[0]))(task, value, rng)]
    return [*_checks(task, value, rng, count=2), rng.choice((_open_question, _either_or))(task, value, rng)]


def _open_question(task: Task, value: str, rng: random.Random) -> tuple[str, str]:
    words = rng.choice(task.claims.get(value) or (task.answers[value],))
    return rng.choice(task.questions), _short_or_long(task, words, rng) if task.claims else _sentence(words)


def _either_or(task: Task, value: str, rng: random.Random) -> tuple[str, str]:
    other = rng.choice([claimed for claimed in task.claims if claimed != value])
    pair = rng.choice(list(zip(task.claims[value], task.claims[other], strict=False)))
    first, second = rng.sample(pair, 2)
    return rng.choice(task.checks).format(claim=f"{first} or {second}"), _short_or_long(task, pair[0], rng)


def _checks(task: Task, value: str, rng: random.Random, count: int) -> list[tuple[str, str]]:
    """Yes-or-no questions, both in equal shares; the words of a no do not tell the right value."""
    claims = list(task.all_claims)
    pairs = []
    for _ in range(count):
        yes = rng.random() < 0.5 and any(value in claim.true_for for claim in claims)
        claim = rng.choice([claim for claim in claims if value in (claim.true_for if yes else claim.false_for)])
        claims = [other for other in claims if other is not claim]
        answers = ("Yes.", f"Yes. {task.statement.format(claim=claim.text)}") if yes else ("No.",)
        pairs.append((rng.choice(task.checks).format(claim=claim.text), rng.choice(answers)))
    return pairs


def _short_or_long(task: Task, words: str, rng: random.Random) -> str:
    return rng.choice((_sentence(words), task.statement.format(claim=words)))


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _interleave(series: Sequence[list[tuple[str, str]]], rng: random.Random) -> list[tuple[str, str]]:
    """All pairs of all series in random order, each series in its own order."""
    order = [number for number, pairs in enumerate(series) for _ in pairs]
    rng.shuffle(order)
    sources = [iter(pairs) for pairs in series]
    return [next(sources[number]) for number in order]
