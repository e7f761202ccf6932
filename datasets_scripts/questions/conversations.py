"""Labels to conversations: how each label is asked about and answered is in one table, `tasks.TASKS`.

Three kinds of conversation are made, one per training stage: `captions`, `vqa` (yes or no, either or, open
questions) and `face_tasks` (the options stated, the short canonical answer). A label that is unknown is never asked
about. Of tasks whose answers give each other away, a conversation asks one.
"""

import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from datasets_scripts.schema import (
    CorpusArgumentError,
    CorpusError,
    LabelledFace,
    Remarked,
    Skipped,
    assistant_turn,
    make_record,
    user_turn,
)

from .attribute_table import doubted_labels
from .captions import DETAILED_REQUESTS, caption_turns
from .claims import with_pronouns
from .closed_task import DEFAULT_CONVENTIONS, Conventions, Pair, Task
from .tasks import TASK_GROUPS, TASKS, AnyTask
from .unanswerable import count_unanswerable, open_topics, unanswerable_questions
from .zero_shot import ZERO_SHOT, only_its_side, tasks_of_side

CONFIGS = ("captions", "vqa", "face_tasks")
UNANSWERABLE = "unanswerable"
"""Stands for a task where a question has none: nothing that is known answers it."""
MAX_UNANSWERABLE = 0.5  # of more, a conversation of eight turns would ask some topics twice
DEFAULT_TASKS = ("gender", "age")
DEFAULT_TURNS = 8

AskedPair = tuple[str, Pair]
"""The task of a question, and the question with its answer."""


def canonical_question(task: str, conventions: Conventions = DEFAULT_CONVENTIONS) -> tuple[str, tuple[str, ...]]:
    """The question of `task` as evaluation asks it, options stated, and the options: the possible answers.

    There are no options where an answer is a number or a list. Raises `CorpusError` for a task that is not in the
    table.
    """
    row = _row(task)
    return row.canonical_question(conventions), tuple(row.options(conventions))


def expected_answer(
    task: str, labels: Mapping[str, Any], conventions: Conventions = DEFAULT_CONVENTIONS
) -> str | None:
    """The canonical answer of `task` for a record's `labels`; None where the label is unknown.

    Raises `CorpusError` for a task or a label value that is not in the table.
    """
    row = _row(task)
    value = row.value(labels, conventions)
    return None if value is None else row.answer(value, conventions)


def conventions_of(labels: Iterable[Mapping[str, Any]]) -> Conventions:
    """The conventions of a corpus whose source is not known, by the values that its labels have."""
    extra = {value for row in TASKS.values() if isinstance(row, Task) for value in row.extra}
    return Conventions(extra_values=tuple(sorted(extra & {face.get("expression") for face in labels})))


def expand_tasks(tasks: Iterable[str]) -> tuple[str, ...]:
    """The tasks with words that stand for several of them (`attributes`) replaced, each once, in their order.

    Raises `CorpusError` for a task that is not in the table.
    """
    return _expanded(tuple(tasks))


@lru_cache(maxsize=256)
def _expanded(tasks: tuple[str, ...]) -> tuple[str, ...]:
    names = dict.fromkeys(name for task in tasks for name in TASK_GROUPS.get(task, (task,)))
    for name in names:
        _row(name)
    return tuple(names)


def make_conversation(
    config: str,
    labels: Mapping[str, Any],
    rng: random.Random,
    tasks: Sequence[str] = DEFAULT_TASKS,
    *,
    turns: int | None = None,
    conventions: Conventions = DEFAULT_CONVENTIONS,
    unanswerable: float = 0.0,
    trained: Sequence[str] | None = None,
) -> tuple[str, list[dict[str, Any]]] | None:
    """The `task` column and the turns about a face with these labels; None where nothing that is known can be asked.

    `turns` questions are asked at most. Where that leaves some out, which ones is drawn, and of attributes with yes
    and no as many of either as there are. `unanswerable` is the share of questions, in `vqa` and `face_tasks`, that
    are about none of the tasks `trained` (`tasks`, unless more are), and are answered with `CANNOT_TELL`.
    Raises `CorpusError` for a config, a task or a label value that is not known here.
    """
    if config not in CONFIGS:
        raise CorpusError(f"config={config!r} is unknown; use {', '.join(CONFIGS)}")
    if config == "captions":
        for name in ("age", "gender", "expression"):
            TASKS[name].value(labels, conventions)
        pair = caption_turns(labels, rng, conventions)
        return ("caption", _turns([pair])) if pair else None
    known = [
        (name, value) for name in expand_tasks(tasks) if (value := TASKS[name].value(labels, conventions)) is not None
    ]
    if not known:
        return None
    rng.shuffle(known)
    known = _one_of_each_group(known, rng, turns)
    stated = config == "face_tasks"
    if stated:
        asked = [(name, TASKS[name].stated_question(value, rng, conventions)) for name, value in known]
    else:
        series: list[list[AskedPair]] = []
        for name, value in known:
            pairs = TASKS[name].basic_questions(value, rng, conventions, labels)
            room = len(pairs) if turns is None else turns - sum(map(len, series))
            series += [[(name, pair) for pair in pairs[:room]]] if room > 0 else []
        asked = _interleave(series, rng)
    if unanswerable:
        topics = open_topics(expand_tasks(tasks if trained is None else trained))
        count = count_unanswerable(len(asked), unanswerable, turns, rng)
        others = unanswerable_questions(count, topics, rng, stated=stated)
        asked = _mixed(asked, [(UNANSWERABLE, pair) for pair in others], rng, turns)
    names = {name for name, _ in asked if name != UNANSWERABLE} or {UNANSWERABLE}
    column = "vqa" if not stated else names.pop() if len(names) == 1 else "attributes"
    return column, _turns(_with_pronouns(asked, labels))


def _one_of_each_group(known: list[tuple[str, Any]], rng: random.Random, turns: int | None) -> list[tuple[str, Any]]:
    """At most `turns` of the shuffled tasks, one of each group, those of yes and of no in turn."""
    answers = {
        side: [entry for entry in known if TASKS[entry[0]].says_yes_or_no and entry[1] == side]
        for side in ("yes", "no")
    }
    max_turns = len(known) if turns is None else turns
    if len(known) <= max_turns and len({_group(name) for name, _ in known}) == len(known):
        return known
    chosen: dict[str, tuple[str, Any]] = {}
    side = rng.choice(("yes", "no"))
    for entry in known:
        if len(chosen) == max_turns:
            break
        if TASKS[entry[0]].says_yes_or_no:
            for side_now in (side, "no" if side == "yes" else "yes"):
                open_ones = [other for other in answers[side_now] if _group(other[0]) not in chosen]
                if open_ones:
                    entry, side = open_ones[0], "no" if side_now == "yes" else "yes"
                    break
            else:
                continue
        chosen.setdefault(_group(entry[0]), entry)
    return list(chosen.values())


def _group(task: str) -> str:
    return TASKS[task].group or task


@dataclass(frozen=True)
class AskedFaces:
    """A reader's faces as records of one config: what `writing.write_corpus` takes, also over several processes.

    `reader` has `__len__`, `faces(start, stop)` that yields one `LabelledFace` or `Skipped` per row, and
    `describe()`. The wording depends on `seed`, the config and the face's id, not on its place in the corpus.
    `turns` bounds the questions about a face: with 1, each face is asked one task. A caption that an annotator wrote
    is taken as it is. The config `zero_shot` asks about those of `tasks` that are on the split's side
    (`zero_shot.py`); captions say what is known, whatever `tasks` says. What an annotator contradicted itself
    about is not asked. `unanswerable` is the share of questions, in `vqa` and `face_tasks`, that no task answers.
    """

    reader: Any
    config: str
    tasks: tuple[str, ...] = DEFAULT_TASKS
    seed: int = 0
    turns: int = DEFAULT_TURNS
    conventions: Conventions = DEFAULT_CONVENTIONS
    unanswerable: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.unanswerable <= MAX_UNANSWERABLE:
            remedy = f"give a share of the questions, from 0 to {MAX_UNANSWERABLE}"
            raise CorpusArgumentError("unanswerable", self.unanswerable, remedy)
        if self.turns < 1:
            raise CorpusArgumentError("turns", self.turns, "give 1 or more")
        expand_tasks(self.tasks)

    def __len__(self) -> int:
        return len(self.reader)

    def records(self, start: int, stop: int) -> Iterator[dict[str, Any] | Remarked | Skipped]:
        """One record, or the reason for none, for each of the rows `start` to `stop`."""
        for face in self.reader.faces(start, stop):
            yield face if isinstance(face, Skipped) else self.record_of(face)

    def record_of(self, face: LabelledFace) -> dict[str, Any] | Remarked | Skipped:
        """The record of a face, or the reason for none."""
        rng = random.Random(f"{self.seed}/{self.config}/{face.id}")
        flagged = bool(face.annotation and face.annotation.get("flags"))
        doubted = doubted_labels(face.labels) if flagged else ()
        face = only_its_side(face) if self.config == ZERO_SHOT else face
        conversation = self._conversation(face, rng, doubted)
        if conversation is None:
            captioned = self.config == "captions"
            return Skipped(face.id, "no caption says its labels" if captioned else "no known label to ask about")
        task, messages = conversation
        columns = {name: value for name, value in vars(face).items() if name != "remark"}
        record = make_record(**columns, task=task, messages=messages)
        return record if face.remark is None else Remarked(record, face.remark)

    def describe(self) -> dict[str, Any]:
        """What the records depend on, in JSON's types: part of the fingerprint of a build."""
        return {
            "reader": self.reader.describe(),
            "config": self.config,
            "tasks": self.tasks,
            "seed": self.seed,
            "turns": self.turns,
            "conventions": asdict(self.conventions),
            "unanswerable": self.unanswerable,
        }

    def _conversation(
        self, face: Any, rng: random.Random, doubted: Collection[str]
    ) -> tuple[str, list[dict[str, Any]]] | None:
        if self.config == "captions" and face.annotation and face.annotation.get("caption"):
            return "caption", _turns([(rng.choice(DETAILED_REQUESTS), face.annotation["caption"])])
        config, tasks, share = self.config, self.tasks, self.unanswerable
        if config == ZERO_SHOT:
            config, tasks, share = "face_tasks", tasks_of_side(expand_tasks(tasks), face.split), 0.0
        if doubted:
            tasks = tuple(name for name in expand_tasks(tasks) if getattr(TASKS[name], "label", None) not in doubted)
        return make_conversation(
            config,
            face.labels,
            rng,
            tasks,
            turns=self.turns,
            conventions=self.conventions,
            unanswerable=share,
            trained=self.tasks,
        )


def _row(task: str) -> AnyTask:
    if task not in TASKS:
        names = [*TASKS, *TASK_GROUPS]
        near = get_close_matches(task, names)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        words = "; ".join(f"{word} stands for {len(tasks)} of them" for word, tasks in TASK_GROUPS.items())
        remedy = "datasets_scripts/questions/tasks.py has them all, facemllm data NAME --help those of a dataset"
        raise CorpusArgumentError("tasks", task, f"there is no such task; {hint}{remedy}; {words}")
    return TASKS[task]


def _turns(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    turns = []
    for question, answer in pairs:
        turns += [user_turn(question, image=not turns), assistant_turn(answer)]
    return turns


def _interleave(series: Sequence[list[AskedPair]], rng: random.Random) -> list[AskedPair]:
    """All pairs of all series in random order, each series in its own order."""
    order = [number for number, pairs in enumerate(series) for _ in pairs]
    rng.shuffle(order)
    sources = [iter(pairs) for pairs in series]
    return [next(sources[number]) for number in order]


def _mixed(asked: list[AskedPair], others: list[AskedPair], rng: random.Random, turns: int | None) -> list[AskedPair]:
    """Both in one order, `turns` in all at most: those of `asked` that have no room are left out."""
    room = len(asked) if turns is None else min(len(asked), turns - len(others))
    kept = [asked[place] for place in sorted(rng.sample(range(len(asked)), room))]
    return _interleave([kept, others], rng)


def _with_pronouns(asked: Sequence[AskedPair], labels: Mapping[str, Any]) -> list[Pair]:
    """The pairs with their pronouns: she and he where no later question is about the gender, else they."""
    pairs, gender = [], labels.get("gender")
    for place, (_, (question, answer)) in enumerate(asked):
        open_still = any(name == "gender" for name, _ in asked[place:])
        pairs.append((with_pronouns(question, None if open_still else gender), answer))
    return pairs
