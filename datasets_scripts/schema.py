"""The one record every corpus has: one row per image (or per face of a photo), typed, with null for unknown.

A row is a plain dict. `messages` holds chat turns in the format of TRL and of chat templates; all questions about an
image stand in one conversation. `labels` holds what the turns were made from: evaluation reads these, never the
prose.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Features, Image, List, Value

from modeling_facemllm.errors_facemllm import ArgumentError
from modeling_facemllm.face_task_table_facemllm import RANGED

AGE_EDGES = tuple(low for low, _ in RANGED["age"][2].values())[1:]  # years at which a group of ages begins
AGE_GROUPS = (*list(RANGED["age"][2])[:-1], "more than 70")  # the label's values: the last is FairFace's name of it
TEXT_LABELS = ("age_group", "gender", "race", "expression")
NUMBER_LABELS = {  # inclusive range of each; yaw, pitch and roll in degrees, age in years
    "age": (0.0, 150.0),
    "yaw": (-180.0, 180.0),
    "pitch": (-180.0, 180.0),
    "roll": (-180.0, 180.0),
    "valence": (-1.0, 1.0),
    "arousal": (-1.0, 1.0),
}

FEATURES = Features(
    {
        "id": Value("string"),  # stable and unique within the corpus: source and key
        "image": Image(),  # null where the pixels may not be carried or the conversation is text only
        "url": Value("string"),
        "box": List(Value("float32")),  # [x0, y0, x1, y1] in pixels of the picture at url
        "landmarks": List(List(Value("float32"))),  # [[x, y], ...] in the same pixels
        "messages": List(
            {"role": Value("string"), "content": List({"type": Value("string"), "text": Value("string")})}
        ),
        "task": Value("string"),
        "labels": {
            "age": Value("float32"),
            "age_group": Value("string"),
            "gender": Value("string"),
            "race": Value("string"),
            "expression": Value("string"),
            "yaw": Value("float32"),
            "pitch": Value("float32"),
            "roll": Value("float32"),
            "valence": Value("float32"),
            "arousal": Value("float32"),
            "attributes": List({"name": Value("string"), "value": Value("string")}),
            "action_units": List({"unit": Value("int32"), "intensity": Value("float32")}),
        },
        "annotation": {  # null unless a model wrote the words: which one, asked with which prompt, when
            "annotator": Value("string"),
            "prompt_version": Value("string"),
            "date": Value("string"),  # ISO 8601, the day on which the annotation began
            "caption": Value("string"),
            "flags": List(Value("string")),  # contradictions in what the annotator said
            "detection_score": Value("float32"),
        },
        "split": Value("string"),
        "source": Value("string"),
        "license": Value("string"),
    }
)


LONGEST_ERROR = 1500  # characters
QUOTED = re.compile(r"(?<!\w)(['\"])(.{41,})\1(?!\w)")


class CorpusError(ValueError):
    """A mistake in a corpus, its source or its settings, in one line with its remedy.

    What it quotes of a file may be of any length: of a long line, its beginning and its end are shown.
    """

    def __str__(self) -> str:
        text = super().__str__()
        return text if len(text) <= LONGEST_ERROR else f"{text[: LONGEST_ERROR - 500]} … {text[-450:]}"


class NothingUsable(CorpusError):
    """The work was done, and nothing came of it: no row, no face, no picture could be used."""

    exit_code = 1


class CorpusArgumentError(CorpusError, ArgumentError):
    """A `CorpusError` about one argument, in parts."""


@dataclass(frozen=True)
class LabelledFace:
    """One picture and what is known of it, as a reader in `sources/` gives it; questions make a record of it.

    `image` and `labels` are as in `make_record`; `url` may be relative to the folder of the
    distributed corpus. `remark` is no part of the record: how many rows have one is counted.
    """

    id: str
    image: Any
    labels: Mapping[str, Any]
    split: str
    source: str
    license: str
    url: str | None = None
    box: Sequence[float] | None = None
    landmarks: Sequence[Sequence[float]] | None = None
    annotation: Mapping[str, Any] | None = None
    remark: str | None = None


@dataclass(frozen=True)
class Remarked:
    """A record whose row is counted under a remark, one of a few, as a skipped row is under its reason."""

    record: dict[str, Any]
    remark: str


@dataclass(frozen=True)
class Skipped:
    """A row of a source that gives no record, and why; the reason is counted, so it names no single row.

    Manifests and cards have it: it is one line, and of a value that it quotes come the first 40 characters.
    """

    id: str
    reason: str

    def __post_init__(self) -> None:
        line = QUOTED.sub(lambda value: f"{value[1]}{value[2][:37]}...{value[1]}", " ".join(self.reason.split()))
        object.__setattr__(self, "reason", line if len(line) <= 160 else f"{line[:157]}...")


def user_turn(text: str, image: bool = False) -> dict[str, Any]:
    """One user turn; `image=True` puts the picture before the text, which only a first turn may have."""
    content = [{"type": "image", "text": None}] if image else []
    return {"role": "user", "content": [*content, {"type": "text", "text": text}]}


def assistant_turn(text: str) -> dict[str, Any]:
    """One answer of the model's."""
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def make_record(
    *,
    id: str,
    messages: list[dict[str, Any]],
    task: str,
    split: str,
    source: str,
    license: str,
    image: Any = None,
    url: str | None = None,
    box: Sequence[float] | None = None,
    landmarks: Sequence[Sequence[float]] | None = None,
    labels: Mapping[str, Any] | None = None,
    annotation: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A record with every column of `FEATURES`; unknown labels are null. `validate_record` checks it, at the shard.

    `image` is a PIL image, `{"bytes": ..., "path": ...}` of an encoded file (kept as it is), or None. `labels`
    names only what is known; `attributes` and `action_units` may also be mappings (name to value, unit to
    intensity). `annotation` says which model wrote the words: at least `annotator`, `prompt_version`, `date`.
    """
    known = dict(labels or {})
    if isinstance(known.get("attributes"), Mapping):
        known["attributes"] = [{"name": name, "value": value} for name, value in known["attributes"].items()]
    if isinstance(known.get("action_units"), Mapping):
        known["action_units"] = [{"unit": unit, "intensity": level} for unit, level in known["action_units"].items()]
    return {
        "id": id,
        "image": image,
        "url": url,
        "box": None if box is None else list(box),
        "landmarks": None if landmarks is None else [list(point) for point in landmarks],
        "messages": messages,
        "task": task,
        "labels": {**dict.fromkeys(FEATURES["labels"]), **known},
        "annotation": None if annotation is None else {**dict.fromkeys(FEATURES["annotation"]), **annotation},
        "split": split,
        "source": source,
        "license": license,
    }


def validate_record(record: Mapping[str, Any]) -> None:
    """Raise `CorpusError`, naming the record, the column, the value and the remedy, unless the record is sound."""
    if not isinstance(record, Mapping):
        raise CorpusError(f"record = {str(record)[:80]!r}: give a mapping; build records with make_record")
    name = record.get("id")
    if not isinstance(name, str) or not name:
        raise CorpusError(f"record id {name!r}: give a non-empty string, stable and unique within the corpus")
    for column in FEATURES:
        if column not in record:
            raise CorpusError(f"record {name}: column {column!r} is missing; build records with make_record")
    for column in record:
        if column not in FEATURES:
            _refuse(name, column, record[column], f"no such column; the columns are {', '.join(FEATURES)}")
    for column in ("task", "split", "source", "license"):
        if not isinstance(record[column], str) or not record[column]:
            _refuse(name, column, record[column], "give a non-empty string")
    if record["url"] is not None and not isinstance(record["url"], str):
        _refuse(name, "url", record["url"], "give a string, or None")
    _check_image(name, record["image"])
    _check_places(name, record["box"], record["landmarks"])
    _check_messages(name, record["messages"], shows_image=record["image"] is not None or record["url"] is not None)
    _check_labels(name, record["labels"])
    _check_annotation(name, record["annotation"])


def _refuse(name: str, column: str, value: Any, remedy: str) -> None:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    raise CorpusError(f"record {name}: {column} = {shown}: {remedy}")


def _check_image(name: str, image: Any) -> None:
    if image is None or hasattr(image, "getbbox"):  # a PIL image, recognised without importing PIL
        return
    if not isinstance(image, Mapping) or set(image) != {"bytes", "path"}:
        _refuse(name, "image", type(image).__name__, 'give a PIL image, {"bytes": ..., "path": ...}, or None')
    if not image["bytes"]:
        _refuse(name, "image", image["path"], "its bytes are empty: the shards must carry the file, not point at it")


def _check_places(name: str, box: Any, landmarks: Any) -> None:
    if box is not None:
        if not isinstance(box, list) or len(box) != 4 or not all(_is_number(side) for side in box):
            _refuse(name, "box", box, "give [x0, y0, x1, y1] in pixels, or None")
        if box[0] >= box[2] or box[1] >= box[3]:
            _refuse(name, "box", box, "it is empty: x0 < x1 and y0 < y1 are needed, not width and height")
    if landmarks is None:
        return
    for point in landmarks if isinstance(landmarks, list) else [landmarks]:
        if not isinstance(point, list) or len(point) != 2 or not all(_is_number(place) for place in point):
            _refuse(name, "landmarks", point, "give [[x, y], ...] in pixels, or None")


def _check_messages(name: str, messages: Any, shows_image: bool) -> None:
    if not isinstance(messages, list) or not messages:
        _refuse(name, "messages", messages, "give at least one user turn and one assistant turn")
    turns = messages
    if isinstance(turns[0], Mapping) and turns[0].get("role") == "system":
        turns = turns[1:]
    if len(turns) < 2 or len(turns) % 2:
        _refuse(name, "messages", messages, "user and assistant turns must come in pairs")
    images = 0
    for number, turn in enumerate(messages):
        if not isinstance(turn, Mapping) or set(turn) != {"role", "content"} or not isinstance(turn["content"], list):
            _refuse(name, f"messages[{number}]", turn, "use user_turn and assistant_turn")
        if not turn["content"]:
            _refuse(name, f"messages[{number}]", turn, "its content is empty")
        for part in turn["content"]:
            images += _check_part(name, number, part)
    for number, turn in enumerate(turns):
        role = ("user", "assistant")[number % 2]
        if turn["role"] != role:
            _refuse(name, "messages", turn, f"this turn's role must be {role!r}: user and assistant alternate")
    leads = turns[0]["content"][0]["type"] == "image"
    if shows_image and not (leads and images == 1):
        _refuse(
            name, "messages", messages, "the picture must come once, first in the first user turn: image=True there"
        )
    if not shows_image and images:
        _refuse(name, "messages", messages, "there is an image part, but neither image nor url says which picture")


def _check_part(name: str, number: int, part: Any) -> int:
    """Number of pictures in one part of a turn's content: 0 or 1."""
    if not isinstance(part, Mapping) or set(part) != {"type", "text"} or part["type"] not in ("text", "image"):
        _refuse(name, f"messages[{number}]", part, 'a part is {"type": "text", "text": ...} or an image part')
    if part["type"] == "image":
        if part["text"] is not None:
            _refuse(name, f"messages[{number}]", part, "an image part has no text")
        return 1
    if not isinstance(part["text"], str) or not part["text"].strip():
        _refuse(name, f"messages[{number}]", part, "its text is empty")
    return 0


def _check_labels(name: str, labels: Any) -> None:
    if not isinstance(labels, Mapping):
        _refuse(name, "labels", labels, "give a mapping of label names to values")
    known = FEATURES["labels"]
    for label, value in labels.items():
        column = f"labels.{label}"
        if label not in known:
            _refuse(name, column, value, f"no such label; use attributes for it, or one of {', '.join(known)}")
        if value is None:
            continue
        if label in TEXT_LABELS and (not isinstance(value, str) or not value):
            _refuse(name, column, value, "give a non-empty string, or None for unknown")
        if label in NUMBER_LABELS:
            low, high = NUMBER_LABELS[label]
            if not _is_number(value) or not low <= value <= high:
                _refuse(name, column, value, f"give a number from {low:g} to {high:g}, or None for unknown")
    if labels.get("attributes") is not None:
        _check_attributes(name, labels["attributes"])
    if labels.get("action_units") is not None:
        _check_action_units(name, labels["action_units"])


def _check_attributes(name: str, attributes: Any) -> None:
    seen = set()
    for entry in attributes if isinstance(attributes, list) else [attributes]:
        if not isinstance(entry, Mapping) or set(entry) != {"name", "value"} or not isinstance(entry["name"], str):
            _refuse(name, "labels.attributes", entry, 'give {"name": ..., "value": ...} entries')
        if not isinstance(entry["value"], str) or not entry["value"]:
            _refuse(name, "labels.attributes", entry, "give a string value; leave an undefined attribute out")
        if entry["name"] in seen:
            _refuse(name, "labels.attributes", entry, "this attribute is given twice")
        seen.add(entry["name"])


def _check_action_units(name: str, action_units: Any) -> None:
    for entry in action_units if isinstance(action_units, list) else [action_units]:
        sound = isinstance(entry, Mapping) and set(entry) == {"unit", "intensity"} and _is_number(entry["unit"])
        if not sound or int(entry["unit"]) != entry["unit"] or not _is_number(entry["intensity"]):
            _refuse(name, "labels.action_units", entry, 'give {"unit": FACS number, "intensity": number} entries')


def _check_annotation(name: str, annotation: Any) -> None:
    if annotation is None:
        return
    if not isinstance(annotation, Mapping) or set(annotation) != set(FEATURES["annotation"]):
        _refuse(name, "annotation", annotation, f"give a mapping with {', '.join(FEATURES['annotation'])}, or None")
    for entry in ("annotator", "prompt_version", "date"):
        if not isinstance(annotation[entry], str) or not annotation[entry]:
            _refuse(name, f"annotation.{entry}", annotation[entry], "give a non-empty string")


def _is_number(value: Any) -> bool:
    """Whether it is a finite real number, NumPy's included; True and False are not numbers."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return False
    return math.isfinite(value)
