"""What every engine that scores closed questions shares: its arguments, calibration, normalisation, probabilities."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from PIL import Image

from .closed_questions_facemllm import ClosedQuestion, QuestionTokenizer

Scores = list[list[list[float]]]
"""A number for each option of each question about each face."""


Score = Callable[[Sequence[tuple], Sequence[tuple[ClosedQuestion, ...]]], Scores]
"""An engine: the log-likelihoods of the options, from the images of each face and its questions."""


def score_faces(
    score: Score,
    tokens: QuestionTokenizer,
    images: Sequence[Any],
    questions: Sequence[ClosedQuestion] | Sequence[Sequence[ClosedQuestion]],
    *,
    batch_size: int,
    normalize: Literal["none", "length"],
    calibrate: bool,
) -> Scores:
    """The log-likelihoods that the engine `score` gives, calibrated and divided by the answers' lengths if asked for.

    The arguments are those of `scoring_facemllm.option_log_likelihoods`; `tokens` is what the engine tokenises with.

    Raises:
        ValueError: when the arguments do not fit together; the message says which.
    """
    faces, asked = _faces_and_questions(images, questions, batch_size, normalize, calibrate)

    def scored(faces: Sequence[tuple], asked: Sequence[tuple[ClosedQuestion, ...]]) -> Scores:
        sums = score(faces, asked)
        return _normalized(sums, faces, asked, tokens) if normalize == "length" else sums

    return _calibrated(scored, faces, asked) if calibrate else scored(faces, asked)


def probabilities(scores: Scores, number_type: str) -> Scores:
    """The softmax of each question's log-likelihoods, which the model computed in `number_type` ("float32", …).

    Raises:
        ValueError: for NaN.
    """
    if any(math.isnan(value) for face in scores for values in face for value in values):
        raise ValueError(
            f"the model's probabilities are no numbers: in {number_type} it overflows, or its weights are broken"
        )
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


def _softmax(values: Sequence[float]) -> list[float]:
    shares = np.exp(np.asarray(values, dtype=np.float64) - max(values))
    return (shares / shares.sum()).tolist()


def _faces_and_questions(images, questions, batch_size: int, normalize: str, calibrate: bool):
    """`(images of each face, questions of each face)`, both as tuples."""
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: give 1 or more")
    if normalize not in ("none", "length"):
        raise ValueError(f"normalize={normalize!r}: give 'none' or 'length'")
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
    if calibrate and not all(faces):
        raise ValueError("calibrate=True puts grey pictures in place of the face's: every face needs an image")
    return faces, [tuple(one) for one in questions]


def _normalized(sums: Scores, faces: list[tuple], questions, tokens: QuestionTokenizer) -> Scores:
    return [
        [
            [value / len(answer) for value, answer in zip(values, tokens(question, len(images)).answers, strict=True)]
            for values, question in zip(theirs, asked, strict=True)
        ]
        for theirs, images, asked in zip(sums, faces, questions, strict=True)
    ]


def _calibrated(score: Score, faces: list[tuple], questions: list[tuple[ClosedQuestion, ...]]) -> Scores:
    """Less what grey pictures get. Each question is asked of them once, whatever the number of faces."""
    grey = Image.new("RGB", (224, 224), (128, 128, 128))
    needed: dict[int, dict[ClosedQuestion, None]] = {}
    for images, asked in zip(faces, questions, strict=True):
        needed.setdefault(len(images), {}).update(dict.fromkeys(asked))
    counts = list(needed)
    prior_scores = score([(grey,) * count for count in counts], [tuple(needed[count]) for count in counts])
    priors = {
        (count, question): values
        for count, theirs in zip(counts, prior_scores, strict=True)
        for question, values in zip(needed[count], theirs, strict=True)
    }
    return [
        [
            [value - prior for value, prior in zip(values, priors[len(images), question], strict=True)]
            for values, question in zip(theirs, asked, strict=True)
        ]
        for theirs, images, asked in zip(score(faces, questions), faces, questions, strict=True)
    ]


__all__ = ["Score", "Scores", "batches", "probabilities", "score_faces"]
