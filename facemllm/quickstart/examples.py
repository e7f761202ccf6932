"""Example faces with questions and answers: the first held-out faces, not chosen ones."""

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from datasets_scripts.schema import LabelledFace
from datasets_scripts.synthetic.text import HELD_OUT, canonical_question
from facemllm.evaluation.predictions import Prediction

TRAINED_TURNS = 3


def write_faces(faces: Sequence[LabelledFace], folder: Path, columns: int = 6) -> None:
    """Write each face as `face-00.png` and all of them as `contact_sheet.png` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    width, height = faces[0].image.size
    gap = width // 16
    rows = -(-len(faces) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + gap) + gap), "white")
    for position, face in enumerate(faces):
        face.image.save(folder / _file_name(position))
        row, column = divmod(position, columns)
        sheet.paste(face.image, (gap + column * (width + gap), gap + row * (height + gap)))
    sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.LANCZOS).save(folder / "contact_sheet.png")


def _file_name(position: int) -> str:
    return f"face-{position:02d}.png"


def example_answers(
    faces: Sequence[LabelledFace], predictions: Iterable[Prediction], seed: int
) -> list[dict[str, Any]]:
    """Four of the answers that the evaluation got about each face: three trained attributes, one held out.

    Returns:
        One dict per face: `file` and `turns`, each with `question`, `expected`, `answer`, `right` and
        `held_out`.
    """
    by_face: dict[str, list[Prediction]] = {face.id: [] for face in faces}
    for prediction in predictions:
        by_face.get(prediction.id, []).append(prediction)
    examples = []
    for position, face in enumerate(faces):
        rng = random.Random(f"examples/{seed}/{position}")
        trained = [entry for entry in by_face[face.id] if entry.task not in HELD_OUT]
        held_out = [entry for entry in by_face[face.id] if entry.task in HELD_OUT]
        chosen = [*rng.sample(trained, TRAINED_TURNS), rng.choice(held_out)]
        examples.append({"file": _file_name(position), "turns": [_turn(entry) for entry in chosen]})
    return examples


def _turn(prediction: Prediction) -> dict[str, Any]:
    return {
        "question": canonical_question(prediction.task),
        "expected": prediction.expected,
        "answer": prediction.text,
        "right": prediction.predicted == prediction.expected,
        "held_out": prediction.task in HELD_OUT,
    }
