"""Answers of a known accuracy, to prove the figures on."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .answers import Answer, AskedFace, AskedQuestion
from .predictions import Way


@dataclass(frozen=True)
class Known:
    """What is true of one item, for `StubAnswerer`: the right option of each task, and the item's groups."""

    answers: Mapping[str, str]
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass
class StubAnswerer:
    """Answers of a known accuracy: right with `rate`, or with the rate of the first group that `rates` names.

    Wrong answers are drawn evenly from the other options; each depends on `seed`, the item and the task alone. In
    scoring, the chosen option has the probability `confidence` (the rate itself unless given, which is perfect
    calibration) and the others share the rest. A `babble` share of what it writes is no option.

    Args:
        known: what is true of each item, by id.
        rates: rate by `(group, value)`, such as `{("gender", "female"): 0.9}`.
    """

    known: Mapping[str, Known]
    rate: float = 0.8
    rates: Mapping[tuple[str, str], float] = field(default_factory=dict)
    confidence: float | None = None
    babble: float = 0.0
    seed: int = 0

    def answer(self, faces: Sequence[AskedFace], way: Way) -> Iterator[list[Answer]]:
        for face in faces:
            yield [self._answer(self.known[face.id], face.id, question, way) for question in face.questions]

    def describe(self) -> dict[str, Any]:
        return {"stub": {"rate": self.rate, "seed": self.seed}}

    def _answer(self, known: Known, id: str, question: AskedQuestion, way: Way) -> Answer:
        rng = random.Random(f"{self.seed}/{id}/{question.task}/{question.text}")
        rate = next((self.rates[pair] for pair in known.groups.items() if pair in self.rates), self.rate)
        right = known.answers[question.task]
        others = [option for option in question.options if option != right]
        chosen = right if rng.random() < rate or not others else rng.choice(others)
        if way == "generation":
            return Answer(text="Who can tell?" if rng.random() < self.babble else chosen)
        confidence = rate if self.confidence is None else self.confidence
        rest = (1 - confidence) / max(1, len(question.options) - 1)
        return Answer(probabilities={option: confidence if option == chosen else rest for option in question.options})
