"""Example faces with questions and answers: the first held-out faces, not chosen ones."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from datasets_scripts.synthetic import text as synthetic_text
from datasets_scripts.synthetic.faces import ATTRIBUTES
from facemllm.evaluation.answer_parsing import normalize
from facemllm.evaluation.drawn_faces import Face
from facemllm.inference.answering import answer

_HELD_OUT = tuple(attribute.name for attribute in ATTRIBUTES if attribute.held_out)


def write_faces(faces: Sequence[Face], folder: Path, columns: int = 6) -> None:
    """Write each face as `face-00.png` and all of them as `contact_sheet.png` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    width, height = faces[0].image.size
    gap = width // 16
    rows = -(-len(faces) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + gap) + gap), "white")
    for position, face in enumerate(faces):
        face.image.save(folder / face_name(position))
        row, column = divmod(position, columns)
        sheet.paste(face.image, (gap + column * (width + gap), gap + row * (height + gap)))
    sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.LANCZOS).save(folder / "contact_sheet.png")


def face_name(position: int) -> str:
    """File name of an example face."""
    return f"face-{position:02d}.png"


def answer_examples(model: Any, processor: Any, faces: Sequence[Face], seed: int) -> list[dict[str, Any]]:
    """Ask four questions about each face: two open ones, one of the basic form, one about a held-out attribute.

    Returns:
        One dict per face: `file` and `turns`, each with `question`, `expected`, `answer`, `right` and
        `held_out`.
    """
    examples = []
    for position, face in enumerate(faces):
        rng = random.Random(f"examples/{seed}/{position}")
        turns = []
        for question, expected, held_out in _questions(face, rng):
            given = answer(model, processor, [face.image], question, max_new_tokens=12)
            turns.append(
                {
                    "question": question,
                    "expected": expected,
                    "answer": given,
                    "right": normalize(given) == expected,
                    "held_out": held_out,
                }
            )
        examples.append({"file": face_name(position), "turns": turns})
    return examples


def _questions(face: Face, rng: random.Random) -> list[tuple[str, str, bool]]:
    trained = [
        *synthetic_text.face_task_questions(face.labels, rng, 2),
        *synthetic_text.basic_questions(face.labels, rng, 1),
    ]
    name = rng.choice([name for name in _HELD_OUT if name in face.labels])
    held_out = synthetic_text.canonical_question(name), face.labels[name]
    return [*((question, expected, False) for question, expected in trained), (*held_out, True)]
