"""The embedded default corpus: drawn faces with exact labels, as records of five configs.

========== ====================================================== =======
captions   one request for a caption, one caption                 stage 1
vqa        several yes/no and either/or questions                 stage 2
face_tasks several open questions                                 stage 3
text       a face in words and questions about it; no image       replay
zero_shot  train asks about attributes of which test says nothing
========== ====================================================== =======

Every record is a function of (config, split, seed, index): any part of the corpus can be drawn anywhere.
"""

import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from datasets_scripts.schema import CorpusArgumentError, assistant_turn, make_record, user_turn

from . import text as synthetic_text
from .faces import draw_face, sample_labels

CONFIGS = ("captions", "vqa", "face_tasks", "text", "zero_shot")
SPLITS = ("train", "validation", "test")
TASKS = {"captions": "caption", "vqa": "vqa", "face_tasks": "attributes", "text": "vqa", "zero_shot": "attributes"}
QUESTIONS_PER_FACE = 8
# hair_length is on neither side: its questions say "hair", and so do those of hair_color, which is held out
ZERO_SHOT_SEEN = tuple(name for name in synthetic_text.TRAINED if name != "hair_length")
ZERO_SHOT_UNSEEN = synthetic_text.HELD_OUT


def iter_records(
    config: str, split: str, count: int, seed: int = 0, size: int = 64, start: int = 0
) -> Iterator[dict[str, Any]]:
    """The records `start` to `start + count - 1` of one config and split.

    Args:
        config: one of `CONFIGS`. The same index shows the same face in all of them.
        split: one of `SPLITS`; they share no face.
        count: number of records.
        seed: another seed is another corpus.
        size: side of the pictures in pixels.
        start: index of the first record, so that a corpus can be drawn in parts.

    Yields:
        Records of `schema.FEATURES` with the picture as PNG bytes.

    Raises:
        CorpusError: if config or split is unknown or a number is out of range.
    """
    if config not in CONFIGS:
        raise CorpusArgumentError("config", config, f"give one of {', '.join(CONFIGS)}")
    if split not in SPLITS:
        raise CorpusArgumentError("split", split, f"give one of {', '.join(SPLITS)}")
    for name, number, least in (("count", count, 0), ("start", start, 0), ("size", size, 16)):
        if number < least:
            raise CorpusArgumentError(name, number, f"give {least} or more")
    return (_record(config, split, index, seed, size) for index in range(start, start + count))


@dataclass(frozen=True)
class DrawnFaces:
    """`count` records of one config and split of the synthetic corpus; pictures have `size` pixels a side."""

    config: str
    split: str
    count: int
    seed: int = 0
    size: int = 64

    def __post_init__(self) -> None:
        if self.count < 1:
            raise CorpusArgumentError("count", self.count, "give 1 or more")
        self.records(0, self.count)  # which checks config, split and size now

    def __len__(self) -> int:
        return self.count

    def records(self, start: int, stop: int) -> Iterator[dict[str, Any]]:
        """The records `start` to `stop`; each depends on its index alone, so any part can be drawn anywhere."""
        return iter_records(self.config, self.split, stop - start, seed=self.seed, size=self.size, start=start)

    def describe(self) -> dict[str, Any]:
        """What the records depend on, in JSON's types: part of the fingerprint of a build."""
        return {"name": "synthetic", **asdict(self)}


def _record(config: str, split: str, index: int, seed: int, size: int) -> dict[str, Any]:
    labels = sample_labels(index, seed, split)
    pictured = config != "text"
    known = labels if config != "zero_shot" else {name: labels[name] for name in _side(split)}
    turns = _turns(config, known, Random(f"{config}/{split}/{seed}/{index}"))
    messages = []
    for number, (question, answer) in enumerate(turns):
        messages += [user_turn(question, image=pictured and number == 0), assistant_turn(answer)]
    return make_record(
        id=f"synthetic-{seed}-{split}-{index}-{config}",
        image=_png(draw_face(labels, index, seed, split, size)) if pictured else None,
        messages=messages,
        task=TASKS[config],
        labels={
            "expression": known.get("expression"),
            "attributes": {name: value for name, value in known.items() if value is not None},
        },
        split=split,
        source="synthetic",
        license="Apache-2.0",
    )


def _side(split: str) -> tuple[str, ...]:
    """The attributes that `zero_shot` shows and asks about in a split: seen ones in `train`, unseen ones elsewhere."""
    return ZERO_SHOT_SEEN if split == "train" else ZERO_SHOT_UNSEEN


def _turns(config: str, labels: synthetic_text.Labels, rng: Random) -> list[tuple[str, str]]:
    """Questions with answers; in `text` the first question is preceded by the face in words."""
    if config == "captions":
        return [(rng.choice(synthetic_text.CAPTION_REQUESTS), synthetic_text.caption(labels, rng))]
    if config == "vqa":
        return synthetic_text.basic_questions(labels, rng, QUESTIONS_PER_FACE)
    if config == "face_tasks":
        return synthetic_text.face_task_questions(labels, rng, QUESTIONS_PER_FACE)
    if config == "zero_shot":
        return synthetic_text.text_questions(labels, rng, QUESTIONS_PER_FACE, tuple(labels), basic=0)
    context = synthetic_text.context(labels, rng.choice(synthetic_text.TEXT_LEVELS), rng)
    first, *others = synthetic_text.text_questions(labels, rng, QUESTIONS_PER_FACE)
    return [(f"{context}\n{first[0]}", first[1]), *others]


def _png(picture: Any) -> dict[str, Any]:
    """The picture as `datasets.Image` stores it, encoded once and fast."""
    file = io.BytesIO()
    picture.save(file, format="PNG", compress_level=1)
    return {"bytes": file.getvalue(), "path": None}
