"""What every engine that scores closed questions shares: its arguments, batches and probabilities."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .closed_questions_facemllm import ClosedQuestion, TokenizedQuestion

Questions = Sequence[ClosedQuestion] | Sequence[Sequence[ClosedQuestion]]
"""One list of questions for all faces, or a list for each."""
Scores = list[list[list[float]]]
"""A number for each option of each question about each face."""


def faces_and_questions(
    images: Sequence[Any], questions: Questions, batch_size: int, pack_tokens: int = 1
) -> tuple[list[tuple], list[tuple[ClosedQuestion, ...]]]:
    """The images of each face and its questions, from the arguments of `scoring_facemllm.option_log_likelihoods`.

    Raises:
        ValueError: when the arguments do not fit together; the message says which.
    """
    for name, value in (("batch_size", batch_size), ("pack_tokens", pack_tokens)):
        if value < 1:
            raise ValueError(f"{name}={value}: give 1 or more")
    if not isinstance(images, (list, tuple)):
        raise ValueError(
            f"images={type(images).__name__}: give a list with one entry (image, images or None) per face"
        )
    faces = [tuple(one) if isinstance(one, (list, tuple)) else () if one is None else (one,) for one in images]
    if not isinstance(questions, (list, tuple)):
        raise ValueError(f"questions={type(questions).__name__}: give a list of ClosedQuestion, or one for each face")
    if all(hasattr(one, "options") for one in questions):
        questions = [questions] * len(faces)
    elif any(
        not isinstance(one, (list, tuple)) or not all(hasattr(each, "options") for each in one) for one in questions
    ):
        raise ValueError("questions holds something other than ClosedQuestion: give each its text and its options")
    elif len(questions) != len(faces):
        raise ValueError(
            f"questions holds {len(questions)} lists for {len(faces)} faces: give one list of questions for all, or "
            "one for each"
        )
    return faces, [tuple(one) for one in questions]


def are_finite(scores: Scores) -> bool:
    """Whether none of the log-likelihoods is NaN or infinite."""
    return all(math.isfinite(value) for face in scores for values in face for value in values)


def probabilities(scores: Scores) -> Scores:
    """The softmax of each question's log-likelihoods."""
    return [[_softmax(values) for values in face] for face in scores]


def batches(faces: Sequence[tuple], questions: Sequence[tuple], batch_size: int) -> Iterator[list[int]]:
    """Indices of faces that are run together: of as many images, and of the same questions where possible."""
    kinds: dict[tuple, int] = {}
    keys = [(len(images), kinds.setdefault(asked, len(kinds))) for images, asked in zip(faces, questions, strict=True)]
    batch: list[int] = []
    for index in sorted((index for index in range(len(faces)) if questions[index]), key=keys.__getitem__):
        if batch and (len(batch) == batch_size or keys[index][0] != keys[batch[0]][0]):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def by_question(values: Sequence[float], asked: Sequence[TokenizedQuestion]) -> list[list[float]]:
    """The values of all answers about a face, one list for each question."""
    rest = iter(values)
    return [[next(rest) for _ in one.answers] for one in asked]


def _softmax(values: Sequence[float]) -> list[float]:
    shares = np.exp(np.asarray(values, dtype=np.float64) - max(values))
    return (shares / shares.sum()).tolist()
