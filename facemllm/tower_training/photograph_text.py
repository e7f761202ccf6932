"""What a text tower for photographs reads: what can be known of a face in a photograph, and questions about it.

The labels are drawn at random, each answer as often as the others, so that no picture and no person is in them.
"""

import random
from dataclasses import replace
from typing import Any

from datasets_scripts.questions.conversations import DEFAULT_TASKS, make_conversation
from datasets_scripts.questions.tasks import TASKS
from datasets_scripts.sources.measuring import MEASURED_TASKS

from .text import Conversation, Lesson, Subject, examined

PHOTOGRAPH_TASKS = (*DEFAULT_TASKS, *MEASURED_TASKS)
UNANSWERABLE = 0.1  # share of the questions

LESSONS = (
    Lesson("facts", (1, 2), 0.92, basic=0.0, names=PHOTOGRAPH_TASKS),
    Lesson("facts", (3, 8), 0.95, basic=0.3, names=PHOTOGRAPH_TASKS, captions=0.1),
    Lesson("facts", (5, 8), 0.98, basic=0.7, names=PHOTOGRAPH_TASKS, captions=0.2),
)
"""In `Lesson`, `basic` is the share of conversations of the config `vqa`, the others being of `face_tasks`."""


def conversation(lesson: Lesson, index: int, seed: int, split: str) -> Conversation:
    """One text-only conversation: what is known of a face, and several questions, or a request for a caption."""
    rng = random.Random(f"photograph/{lesson.attributes}/{lesson.basic}/{seed}/{split}/{index}")
    names = rng.sample(lesson.names, rng.randint(*lesson.attributes))
    labels: dict[str, Any] = {"attributes": {}}
    facts = []
    for name in names:
        row = TASKS[name]
        value = rng.choice([value for value in row.answers if value not in row.extra])
        column, _, key = row.label.partition(".")
        (labels["attributes"] if key else labels)[key or column] = sum(row.bins[value]) / 2 if row.bins else value
        facts.append(f"{name.replace('_', ' ')}: {row.answers[value]}")
    made = make_conversation("captions", labels, rng) if rng.random() < lesson.captions else None
    if made is None:
        config = "vqa" if rng.random() < lesson.basic else "face_tasks"
        share = UNANSWERABLE if lesson.captions else 0.0
        made = make_conversation(config, labels, rng, names, unanswerable=share, trained=PHOTOGRAPH_TASKS)
    texts = [message["content"][-1]["text"] for message in made[1]]
    (question, answer), *others = zip(texts[::2], texts[1::2], strict=True)
    return [(f"{'; '.join(facts)}\n{question}", answer), *others]


PHOTOGRAPHS = Subject(
    LESSONS,
    conversation,
    lambda lesson: replace(examined(lesson), basic=0.0),  # the answers of face_tasks have one wording
    LESSONS[-1:],
)
