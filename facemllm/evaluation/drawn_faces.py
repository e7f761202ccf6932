"""Accuracy of a model's generated answers on held-out faces, attribute by attribute.

An answer counts only if the normalised generated text equals the expected value: "yes", "sunglasses", "middle-aged".
Prose around it, a synonym or a longer sentence counts as wrong.

This is the quickstart's measure after each of its stages: faces of the very corpus it trained on, and answers that
are right only as they were taught. The benchmark `synthetic` asks any model about faces that it draws itself, scores
options too, and finds an option within a sentence; its predictions and its report are written to a folder.
"""

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from datasets_scripts.synthetic.faces import ATTRIBUTES, Attribute
from datasets_scripts.synthetic.text import canonical_question
from facemllm.inference.answering import answer_each, encode_faces

from .answer_parsing import normalize
from .figures.bootstrap import wilson_interval
from .figures.task_figures import most_frequent

Labels = Mapping[str, str]
"""Attribute name to value; an attribute that does not apply (the hair colour of a bald head) is missing."""


@dataclass(frozen=True)
class Face:
    """One picture and what is known of it."""

    id: str
    image: Image.Image
    labels: Labels


def load_faces(corpus: Path, config: str, split: str, count: int | None = None) -> list[Face]:
    """The first `count` faces of a corpus on disk, pictures decoded."""
    from datasets import Image as ImageFeature
    from datasets import load_dataset

    rows = load_dataset(str(corpus), config, split=split).cast_column("image", ImageFeature(decode=False))
    rows = rows.select(range(len(rows) if count is None else min(count, len(rows))))
    return [
        Face(row["id"], Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB"), _labels(row["labels"]))
        for row in rows
    ]


def load_labels(corpus: Path, config: str, split: str) -> list[Labels]:
    """The labels of every row, without the pictures."""
    from datasets import load_dataset

    return [_labels(labels) for labels in load_dataset(str(corpus), config, split=split)["labels"]]


def _labels(labels: Mapping[str, Any]) -> Labels:
    return {pair["name"]: pair["value"] for pair in labels["attributes"] or ()}


def majority_values(labels: Iterable[Labels]) -> dict[str, str]:
    """The most frequent value of each attribute: what a model that does not look would best answer."""
    counts: dict[str, Counter] = {}
    for known in labels:
        for name, value in known.items():
            counts.setdefault(name, Counter())[value] += 1
    return {name: most_frequent(count) for name, count in counts.items()}


def evaluate(
    model: Any,
    processor: Any,
    faces: Sequence[Face],
    majority: Mapping[str, str],
    attributes: Sequence[Attribute] = ATTRIBUTES,
    batch_size: int = 128,
) -> dict[str, dict[str, Any]]:
    """Ask the canonical question of every attribute about every face and compare the answers with the labels.

    Args:
        majority: the answer of the baseline for each attribute, from the training split (`majority_values`).

    Returns:
        For each attribute: `accuracy`, its `interval` (95 %), `n`, the `majority` baseline's accuracy and
        `chance`, `held_out`, and `confusion`: how often each expected value got each answer.
    """
    features = encode_faces(model, processor, [face.image for face in faces])
    report = {}
    for attribute in tqdm(attributes, desc="asking", unit="question", leave=False):
        known = [position for position, face in enumerate(faces) if attribute.name in face.labels]
        expected = [faces[position].labels[attribute.name] for position in known]
        question = canonical_question(attribute.name)
        given = answer_each(model, processor, features[known], question, batch_size=batch_size)
        report[attribute.name] = _score(attribute, expected, given, majority[attribute.name])
    return report


def _score(attribute: Attribute, expected: list[str], given: list[str], majority: str) -> dict[str, Any]:
    right = sum(normalize(answer) == value for answer, value in zip(given, expected, strict=True))
    confusion: dict[str, Counter] = {value: Counter() for value in attribute.values}
    for answer, value in zip(given, expected, strict=True):
        confusion[value][normalize(answer)] += 1
    low, high = wilson_interval(right / max(1, len(expected)), len(expected))
    return {
        "accuracy": round(right / max(1, len(expected)), 4),
        "interval": [round(low, 4), round(high, 4)],
        "n": len(expected),
        "majority": round(expected.count(majority) / max(1, len(expected)), 4),
        "chance": round(1 / len(attribute.values), 4),
        "held_out": attribute.held_out,
        "confusion": {value: dict(answers.most_common(6)) for value, answers in confusion.items()},
    }


def mean(report: Mapping[str, Mapping[str, Any]], key: str = "accuracy", held_out: bool = False) -> float:
    """The mean of `key` over the trained attributes, or over those held out."""
    values = [entry[key] for entry in report.values() if entry["held_out"] == held_out]
    return round(sum(values) / len(values), 4) if values else float("nan")


def above_baselines(entry: Mapping[str, Any]) -> bool:
    """Whether the whole interval of an attribute lies above both chance and the majority baseline."""
    return entry["interval"][0] > max(entry["chance"], entry["majority"])
