"""The work folder of an annotation: what was answered, part by part, in the order of the source."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from datasets_scripts.schema import Skipped


@dataclass(frozen=True)
class AnsweredFace:
    """What the annotator said of one face.

    ``answers`` has the valid answers by the request's name, as ``check`` was given them: parsed JSON, or text;
    ``rejected`` the reasons of the others. ``usage`` counts what the face took: ``requests``, ``input_tokens``,
    ``output_tokens``, those of rejected answers included.
    """

    id: str
    facts: dict[str, Any]
    answers: dict[str, Any]
    rejected: dict[str, str]
    usage: dict[str, int]


@dataclass(frozen=True)
class AnsweredFaces:
    """All answers of a complete annotation; rows the source skipped are rows here too. It is picklable."""

    out: str

    def __len__(self) -> int:
        raise NotImplementedError

    def answers(self, start: int = 0, stop: int | None = None) -> Iterator[AnsweredFace | Skipped]:
        """A face, or the reason for none, for each of the rows ``start`` to ``stop``, in the order of the source."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """What the answers are and depend on: annotator, prompt_version, date, source, counts, and their digest."""
        raise NotImplementedError


def read_answers(out: str | os.PathLike) -> AnsweredFaces:
    """The answers in the work folder ``out``; ``CorpusError`` unless the annotation there is complete."""
    raise NotImplementedError
