"""Faces with every label of the eight tasks that have wordings of their own, and what is asked about them."""

import random
import re

from datasets_scripts.questions.closed_task import STATED_OPTIONS
from datasets_scripts.questions.conversations import AskedFaces
from datasets_scripts.questions.wordings import WORDINGS
from datasets_scripts.schema import AGE_GROUPS, LabelledFace

ANGLES = {"yaw": (-70.0, -30.0, 0.0, 30.0, 70.0), "roll": (-20.0, 0.0, 20.0)}
MEASURED = {  # what measuring.py says, of the options that there are
    "light_direction": ("even", "from the left", "from the right"),
    "picture_exposure": ("dark", "balanced", "overexposed"),
    "picture_sharpness": ("sharp", "soft", "blurred"),
    "picture_colors": ("color", "black and white"),
}


class Faces:
    """A reader of `count` faces whose labels are drawn at random."""

    def __init__(self, count=2000):
        self.count = count

    def __len__(self):
        return self.count

    def describe(self):
        return {"count": self.count}

    def faces(self, start=0, stop=None):
        for index in range(start, self.count if stop is None else stop):
            rng = random.Random(index)
            labels = {
                "gender": rng.choice(("female", "male")),
                "age_group": rng.choice(AGE_GROUPS),
                **{name: rng.choice(angles) for name, angles in ANGLES.items()},
                "attributes": {name: rng.choice(values) for name, values in MEASURED.items()},
            }
            yield LabelledFace(f"x/{index}", None, labels, "train", "x", "cc-by-4.0", url=f"{index}.jpg")


def rows(config, tasks=tuple(WORDINGS), count=2000, **settings):
    return list(AskedFaces(Faces(count), config, tasks, **settings).records(0, count))


def pairs(row):
    """The questions of a row with their answers."""
    texts = [turn["content"][-1]["text"] for turn in row["messages"]]
    return list(zip(texts[::2], texts[1::2], strict=True))


def plain(text):
    """The text without case, marks and the spelling of color: two that are alike so are one wording."""
    return " ".join(re.findall(r"[a-z0-9']+", text.lower().replace("colour", "color")))


def stated_options(question):
    """The options that a question states; None where it states none."""
    for form in STATED_OPTIONS:
        before, between, after = form.replace("{question}", "\0").replace("{options}", "\0").split("\0")
        if question.startswith(before) and question.endswith(after) and between in question[len(before) :]:
            first, second = question[len(before) : len(question) - len(after)].split(between, 1)
            return (second if form.index("{question}") < form.index("{options}") else first).split(", ")
    return None
