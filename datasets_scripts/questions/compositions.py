"""Open questions put together from phrases, so that a model learns which of their words matter.

A phrase is what is asked for ("the gender of {who}", "how old {who} is"), a carrier the rest of the question. Tasks
and what no task answers share the carriers: by them nobody can tell which is which.
"""

import itertools
import random
from collections.abc import Iterator, Sequence

SHARE = 0.5  # of the questions in other words than the canonical ones

PEOPLE = (
    "this person",
    "the person",
    "the person in the photo",
    "the person in this picture",
    "the one in the image",
    "the subject",
    "the individual in the photo",
)
PICTURES = ("the photo", "this photo", "the image", "the photograph", "this picture")

OF_ANYTHING = (
    "Tell me {phrase}.",
    "Please tell me {phrase}.",
    "Can you tell me {phrase}?",
    "Could you say {phrase}?",
    "Can you say {phrase}?",
    "Do you know {phrase}?",
    "I'd like to know {phrase}.",
    "I want to know {phrase}.",
    "Say {phrase}.",
    "Judge {phrase}.",
    "Work out {phrase}.",
    "Let me know {phrase}.",
)
OF_THINGS = (
    "What is {phrase}?",
    "What's {phrase}?",
    "What is {phrase}, do you think?",
    "What do you think {phrase} is?",
    "What would you say {phrase} is?",
    "What might {phrase} be?",
    "What could be {phrase}?",
    "Give {phrase}.",
    "Give me {phrase}.",
    "State {phrase}.",
    "Name {phrase}.",
    "Guess {phrase}.",
    "Determine {phrase}.",
    "Identify {phrase}.",
    "Describe {phrase}.",
    "{phrase}?",
    "{phrase}, please.",
)
CLAUSES = ("how ", "what ", "which ", "where ", "who ", "whose ", "when ")


def composed_question(phrases: Sequence[str], rng: random.Random) -> str:
    """One question that asks for one of the phrases."""
    phrase = rng.choice(phrases).format(who=rng.choice(PEOPLE), picture=rng.choice(PICTURES))
    return _carried(phrase, rng.choice(_carriers(phrase)))


def composed_questions(phrases: Sequence[str]) -> Iterator[str]:
    """Every question that may be made of the phrases, some more than once."""
    for phrase, who, picture in itertools.product(phrases, PEOPLE, PICTURES):
        filled = phrase.format(who=who, picture=picture)
        yield from (_carried(filled, carrier) for carrier in _carriers(filled))


def _carriers(phrase: str) -> tuple[str, ...]:
    return OF_ANYTHING if phrase.startswith(CLAUSES) else (*OF_ANYTHING, *OF_THINGS)


def _carried(phrase: str, carrier: str) -> str:
    question = carrier.format(phrase=phrase)
    return question[0].upper() + question[1:]
