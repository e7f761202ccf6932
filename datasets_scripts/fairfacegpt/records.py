"""Described faces as records: the full description, all descriptions in one conversation, or one pair per row."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from datasets_scripts.questions.conversations import DEFAULT_TASKS, make_conversation
from datasets_scripts.schema import CorpusArgumentError, Skipped, assistant_turn, make_record, user_turn
from datasets_scripts.shown_text import in_markdown

from .questions import FULL_DESCRIPTION

CONFIGS = ("captions", "vqa", "pairs", "face_tasks")
SPLIT = "train"


@dataclass(frozen=True)
class Pair:
    """A question and its answer, or the reason why there is none. `name` is the aspect, of `ASPECTS`."""

    name: str
    question: str
    answer: str | None
    reason: str | None = None


@dataclass(frozen=True)
class DescribedFace:
    """A face with the pairs about it; the other fields are as in `make_record`."""

    id: str
    image: Any
    url: str | None
    labels: Mapping[str, Any]
    pairs: tuple[Pair, ...]
    annotation: Mapping[str, Any]
    source: str
    license: str


class DescribedFaceReader(Protocol):
    """Where described faces come from; `slots` is the number of pairs that a face has at most."""

    slots: int

    def __len__(self) -> int: ...

    def faces(self, start: int, stop: int) -> Iterator[DescribedFace | Skipped]: ...

    def describe(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class DescribedFaces:
    """A reader's faces as records of one config: what `writing.write_corpus` takes.

    In `vqa` the pairs of a face stand in a random order that depends on `seed` and id, the full description last,
    for it gives the others away. In `pairs` every row of the reader is as many rows as it has slots.
    """

    reader: DescribedFaceReader
    config: str
    seed: int = 0
    tasks: tuple[str, ...] = DEFAULT_TASKS

    def __post_init__(self) -> None:
        if self.config not in CONFIGS:
            raise CorpusArgumentError("config", self.config, f"give one of {', '.join(CONFIGS)}")

    def __len__(self) -> int:
        return len(self.reader) * self._rows_per_face

    @property
    def _rows_per_face(self) -> int:
        return self.reader.slots if self.config == "pairs" else 1

    def records(self, start: int, stop: int) -> Iterator[dict[str, Any] | Skipped]:
        """One record, or the reason for none, for each of the rows `start` to `stop`."""
        per_face = self._rows_per_face
        first = start // per_face
        for number, face in enumerate(self.reader.faces(first, -(-stop // per_face)), start=first):
            slots = range(max(0, start - number * per_face), min(per_face, stop - number * per_face))
            for slot in slots:
                if isinstance(face, Skipped):
                    yield face
                else:
                    yield self._pair_record(face, slot) if self.config == "pairs" else self._record(face)

    def describe(self) -> dict[str, Any]:
        """What the records depend on, in JSON's types."""
        return {"reader": self.reader.describe(), "config": self.config, "seed": self.seed, "tasks": self.tasks}

    def has_rows(self, counts: Mapping[str, Mapping[str, int]]) -> bool:
        """Whether there will be a record, by `count_pairs` of the reader."""
        if self.config == "face_tasks":
            return bool(counts)
        wanted = [FULL_DESCRIPTION] if self.config == "captions" else counts
        return any(counts.get(name, {}).get("kept") for name in wanted)

    def _pair_record(self, face: DescribedFace, slot: int) -> dict[str, Any] | Skipped:
        if slot >= len(face.pairs):
            return Skipped(face.id, "fewer questions than about other faces")
        pair = face.pairs[slot]
        if pair.answer is None:
            return Skipped(face.id, f"{pair.name}: {pair.reason}")
        return _record(face, f"{face.id}/{slot + 1}", pair.name, [pair])

    def _record(self, face: DescribedFace) -> dict[str, Any] | Skipped:
        rng = random.Random(f"{self.seed}/{self.config}/{face.id}")
        if self.config == "face_tasks":
            conversation = make_conversation("face_tasks", face.labels, rng, self.tasks)
            if conversation is None:
                return Skipped(face.id, "no known label to ask about")
            return _make(face, face.id, *conversation)
        pairs = [pair for pair in face.pairs if pair.answer is not None]
        full = [pair for pair in pairs if pair.name == FULL_DESCRIPTION]
        if self.config == "captions":
            if full:
                return _record(face, face.id, "caption", full[:1])
            reasons = [pair.reason for pair in face.pairs if pair.name == FULL_DESCRIPTION]
            return Skipped(face.id, f"{FULL_DESCRIPTION}: {reasons[0] if reasons else 'not asked'}")
        if not pairs:
            return Skipped(face.id, "no usable answer")
        others = [pair for pair in pairs if pair.name != FULL_DESCRIPTION]
        rng.shuffle(others)
        return _record(face, face.id, "vqa", [*others, *full])


def count_pairs(reader: DescribedFaceReader) -> dict[str, dict[str, int]]:
    """For each question the number of answers that are `kept`, and of those that are not by reason."""
    counts: dict[str, dict[str, int]] = {}
    for face in reader.faces(0, len(reader)):
        for pair in () if isinstance(face, Skipped) else face.pairs:
            found = counts.setdefault(pair.name, {"kept": 0})
            reason = "kept" if pair.answer is not None else str(pair.reason)
            found[reason] = found.get(reason, 0) + 1
    return counts


def describe_counts(pairs: Mapping[str, Mapping[str, int]]) -> str:
    """The counts of `count_pairs` in a sentence for a card."""
    together: Counter[str] = Counter()
    for counts in pairs.values():
        together.update(counts)
    left_out = "; ".join(
        f"{in_markdown(reason)}: {count:,}" for reason, count in sorted(together.items()) if reason != "kept"
    )
    return f"Of {together.total():,} questions {together['kept']:,} are here; left out: {left_out or 'none'}."


def _record(face: DescribedFace, name: str, task: str, pairs: list[Pair]) -> dict[str, Any]:
    messages: list[dict[str, Any]] = []
    for pair in pairs:
        messages += [user_turn(pair.question, image=not messages), assistant_turn(pair.answer)]
    caption = next((pair.answer for pair in pairs if pair.name == FULL_DESCRIPTION), None)
    asked = {pair.name for pair in pairs}
    flags = [flag for flag in face.annotation.get("flags") or () if flag.partition(":")[0] in asked]
    return _make(face, name, task, messages, {**face.annotation, "caption": caption, "flags": flags})


def _make(
    face: DescribedFace,
    name: str,
    task: str,
    messages: list[dict[str, Any]],
    annotation: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    shared = {field: getattr(face, field) for field in ("image", "url", "labels", "source", "license")}
    return make_record(id=name, messages=messages, task=task, annotation=annotation, split=SPLIT, **shared)
