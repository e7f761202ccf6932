"""Open questions put together from phrases, so that a model learns which of their words matter.

A phrase is what is asked for ("the gender of {who}", "how old {who} is"), a carrier the rest of the question. Tasks
and what no task answers share the carriers: by them nobody can tell which is which.
"""

import itertools
import random
from collections.abc import Iterator, Sequence

SHARE = 0.5  # of the questions in other words than the canonical ones
PREFACED, FOLLOWED = 0.3, 0.2  # of the questions that are put together

PEOPLE = (
    "this person",
    "the person",
    "that person",
    "the person in the photo",
    "the person in this picture",
    "the person who is shown",
    "the person you see",
    "the one in the image",
    "the one pictured",
    "whoever is shown",
    "whoever you see there",
    "the subject",
    "the subject of this shot",
    "the individual in the photo",
    "this individual",
    "the human in this frame",
    "the photographed person",
    "the depicted human",
    "the figure in front of the camera",
)
PICTURES = (
    "the photo",
    "this photo",
    "the image",
    "the photograph",
    "this picture",
    "the shot",
    "this snapshot",
    "the pic",
    "the frame",
    "this portrait",
)

OF_ANYTHING = (
    "Tell me {phrase}.",
    "Please tell me {phrase}.",
    "Can you tell me {phrase}?",
    "Could you say {phrase}?",
    "Can you say {phrase}?",
    "Would you tell us {phrase}?",
    "Do you know {phrase}?",
    "I'd like to know {phrase}.",
    "I want to know {phrase}.",
    "I need to know {phrase}.",
    "I'm trying to find out {phrase}.",
    "Say {phrase}.",
    "Judge {phrase}.",
    "Work out {phrase}.",
    "Figure out {phrase}.",
    "Find out {phrase}.",
    "Let me know {phrase}.",
    "Let me hear {phrase}.",
    "Help me understand {phrase}.",
    "Try to see {phrase}.",
    "Can you make out {phrase}?",
    "Are you able to recognize {phrase}?",
)
OF_CLAUSES = (
    "Any idea {phrase}?",
    "I wonder {phrase}.",
    "My question is {phrase}.",
    "Is it possible to say {phrase}?",
    "Is it clear {phrase}?",
    "Have you any clue {phrase}?",
)
OF_THINGS = (
    "What is {phrase}?",
    "What's {phrase}?",
    "What is {phrase}, do you think?",
    "What do you think {phrase} is?",
    "What do you believe {phrase} to be?",
    "What would you say {phrase} is?",
    "What would you call {phrase}?",
    "What might {phrase} be?",
    "What could be {phrase}?",
    "What can you say about {phrase}?",
    "How would you describe {phrase}?",
    "Give {phrase}.",
    "Give me {phrase}.",
    "State {phrase}.",
    "Name {phrase}.",
    "Guess {phrase}.",
    "Estimate {phrase}.",
    "Predict {phrase}.",
    "Determine {phrase}.",
    "Identify {phrase}.",
    "Describe {phrase}.",
    "Specify {phrase}.",
    "Report {phrase}.",
    "Comment on {phrase}.",
    "Provide your estimate of {phrase}.",
    "Your verdict on {phrase}?",
    "Take a guess at {phrase}.",
    "I'm asking about {phrase}.",
    "{phrase}?",
    "{phrase}, please.",
)
PREFACES = (
    "Hello, ",
    "Hey, ",
    "Quick question: ",
    "One more thing: ",
    "For my records: ",
    "Looking at {picture}, ",
    "Judging by {picture}, ",
    "Going by what is visible, ",
    "From what you see, ",
    "As far as you can judge, ",
    "If you had to choose, ",
    "Just roughly, ",
    "To begin with, ",
    "In your opinion, ",
    "With a careful look, ",
    "Given {picture}, ",
)
CLOSINGS = (
    ", please",
    ", roughly",
    ", in your view",
    ", as far as you can tell",
    ", if you can",
    ", in a few words",
    " here",
    " in {picture}",
    ", judging from {picture}",
    ", more or less",
)
CLAUSES = (
    "how ",
    "roughly how ",
    "whether ",
    "if ",
    "in which ",
    "to which ",
    "from where ",
    "what ",
    "which ",
    "where ",
    "who ",
    "whose ",
    "when ",
)


def composed_question(phrases: Sequence[str], rng: random.Random) -> str:
    """One question that asks for one of the phrases, perhaps with words before or behind it."""
    phrase = rng.choice(phrases).format(who=rng.choice(PEOPLE), picture=rng.choice(PICTURES))
    question = _carried(phrase, rng.choice(_carriers(phrase)))
    if rng.random() < FOLLOWED:
        question = question[:-1] + rng.choice(CLOSINGS).format(picture=rng.choice(PICTURES)) + question[-1]
    if rng.random() < PREFACED:
        start = question if question.startswith(("I ", "I'")) else question[0].lower() + question[1:]
        question = rng.choice(PREFACES).format(picture=rng.choice(PICTURES)) + start
    return question


def composed_questions(phrases: Sequence[str]) -> Iterator[str]:
    """Every question that may be made of the phrases, without words before or behind it."""
    for phrase in phrases:
        people, pictures = (
            PEOPLE if "{who}" in phrase else PEOPLE[:1],
            PICTURES if "{picture}" in phrase else PICTURES[:1],
        )
        for who, picture in itertools.product(people, pictures):
            filled = phrase.format(who=who, picture=picture)
            yield from (_carried(filled, carrier) for carrier in _carriers(filled))


def _carriers(phrase: str) -> tuple[str, ...]:
    return (*OF_ANYTHING, *(OF_CLAUSES if phrase.startswith(CLAUSES) else OF_THINGS))


def _carried(phrase: str, carrier: str) -> str:
    question = carrier.format(phrase=phrase)
    return question[0].upper() + question[1:]
