"""What is asked about a face and what is answered, whoever answers.

Two ways to answer, never mixed. `scoring`: the model's log-likelihood of every stated option, so there is nothing to
parse. `generation`: the model writes greedily, and `answer_parsing` reads what it wrote.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from facemllm.cli import UserError

from .predictions import Way

if TYPE_CHECKING:
    from PIL import Image

OPTION_TOKENS = 32
"""Tokens a model may write where options are stated: room for a short sentence around the option."""
OPEN_TOKENS = 128
"""Tokens it may write where the answer is a list or several numbers."""
FACES_ON_CPU = 8
"""Faces in a batch on a CPU, where more are no faster, and all that a kill loses."""


@dataclass(frozen=True)
class AskedQuestion:
    """One question as the model reads it; `options` are empty where it can only be answered by writing.

    `max_new_tokens` is how much it may write; by default `OPTION_TOKENS` or `OPEN_TOKENS`.
    """

    task: str
    text: str
    options: tuple[str, ...] = ()
    max_new_tokens: int | None = None


@dataclass(frozen=True)
class AskedFace:
    """An item, its pictures (one of a face; none or several in other benchmarks) and what is asked about them."""

    id: str
    images: tuple["Image.Image", ...]
    questions: tuple[AskedQuestion, ...]


@dataclass(frozen=True)
class Answer:
    """What a model wrote, or the probability of each option, which sum to 1."""

    text: str | None = None
    probabilities: dict[str, float] | None = None


class Answerer(Protocol):
    """Answers questions about faces; `describe` is what of it the answers depend on, in JSON's types."""

    def answer(self, faces: Sequence[AskedFace], way: Way) -> Iterator[list[Answer]]:
        """The answers to each face's questions, face by face in the order given."""
        ...

    def describe(self) -> dict[str, Any]: ...


def room_for(question: AskedQuestion) -> int:
    """Tokens that may be written in answer to a question."""
    if question.max_new_tokens is not None:
        return question.max_new_tokens
    return OPTION_TOKENS if question.options else OPEN_TOKENS


def score_batch(faces: Sequence[AskedFace], score: Callable[[list, list], Any]) -> list[list[Answer]]:
    """Probabilities of every option of every question; `score` takes images and questions as `score_options`.

    Raises:
        UserError: where the model cannot be scored, with another way to ask it.
        NoNumbersError: where its numbers are none.
        PromptTooLongError: where it reads less than a question, in any way.
    """
    from modeling_facemllm.closed_questions_facemllm import ClosedQuestion
    from modeling_facemllm.errors_facemllm import NoNumbersError, PromptTooLongError

    images = [face.images if len(face.images) > 1 else (face.images or (None,))[0] for face in faces]
    questions = [[ClosedQuestion(asked.text, asked.options) for asked in face.questions] for face in faces]
    try:
        scores = score(images, questions)
    except (NoNumbersError, PromptTooLongError):
        raise
    except ValueError as error:
        raise UserError(f"{error}; or have it write its answers with --ways generation") from error
    return [
        [
            Answer(probabilities=dict(zip(asked.options, probabilities, strict=True)))
            for asked, probabilities in zip(face.questions, of_face, strict=True)
        ]
        for face, of_face in zip(faces, scores, strict=True)
    ]
