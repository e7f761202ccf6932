"""Captions from labels alone: true, in natural words, and silent about judgements and what is not there."""

import random

import pytest

from datasets_scripts.questions.attribute_table import ATTRIBUTES
from datasets_scripts.questions.attribute_tasks import ATTRIBUTE_TASKS
from datasets_scripts.questions.captions import DETAILED_REQUESTS, EXPRESSIONS, MOVEMENTS, SEEN, caption_turns
from datasets_scripts.questions.conversations import AskedFaces, Conventions
from datasets_scripts.questions.tasks import ACTION_UNITS, TASKS
from datasets_scripts.schema import LabelledFace

WITH_CONTEMPT = Conventions(extra_values=("contempt",))


def captions(labels, seeds=100):
    return [caption_turns(labels, random.Random(seed), WITH_CONTEMPT)[1] for seed in range(seeds)]


def test_attributes_are_said_with_the_person():
    attributes = {"brown_hair": "yes", "smiling": "yes", "wearing_hat": "yes", "bald": "no", "attractive": "yes"}
    told = set(captions({"gender": "male", "age_group": "20-29", "attributes": attributes}))
    assert "A photo of a man in his twenties with brown hair, smiling, wearing a hat." in told


@pytest.mark.parametrize("name", [name for name, row in ATTRIBUTE_TASKS.items() if row.says_yes_or_no])
def test_a_no_is_never_said_and_a_yes_only_if_it_has_words(name):
    words = (ATTRIBUTE_TASKS[name].caption or "").removeprefix("with ").removeprefix("wearing ")
    assert caption_turns({"attributes": {name: "no"}}, random.Random(0)) is None
    if words:
        assert all(words in told for told in captions({"attributes": {name: "yes"}}, seeds=20))
    else:
        assert caption_turns({"attributes": {name: "yes"}}, random.Random(0)) is None


def test_judgements_and_race_are_never_said():
    attributes = dict.fromkeys(ATTRIBUTE_TASKS, "yes")
    told = " ".join(captions({"gender": "female", "race": "Black", "attributes": attributes}, seeds=300)).lower()
    for word in ("attractive", "chubby", "big", "young", "senior", "black female", "african", "annotator"):
        assert word not in told


def test_a_caption_says_a_few_of_many_attributes():
    said = ("bangs", "goatee", "mustache", "sideburns", "eyeglasses", "lipstick", "necktie", "earrings")
    for told in captions({"attributes": dict.fromkeys((*said[:5], *(f"wearing_{name}" for name in said[5:])), "yes")}):
        assert 2 <= sum(word in told for word in said) <= 5


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_is_told_as_the_look_of_the_face(expression):
    assert set(EXPRESSIONS) == set(TASKS["expression"].answers)
    for told in captions({"expression": expression}, seeds=20):
        assert any(told.endswith(sentence) for sentence in EXPRESSIONS[expression])
        assert "feel" not in told


@pytest.mark.parametrize(
    ("pose", "sentence"),
    [
        ((-30, 0, 0), "The head is turned to the right."),
        ((3, 20, -20), "The head is turned to the front, raised and tilted to the left."),
    ],
)
def test_a_pose_is_told_as_the_viewer_sees_it(pose, sentence):
    labels = dict(zip(("yaw", "pitch", "roll"), pose, strict=True))
    assert all(told.endswith(sentence) for told in captions(labels, seeds=20))


def test_active_units_are_told_as_movements_and_the_others_are_not():
    assert set(MOVEMENTS) <= set(ACTION_UNITS)
    for told in captions({"action_units": {6: 3.0, 12: 4.0, 4: 1.0}}):
        assert told.endswith("The cheeks are raised and the lip corners are pulled up.")
    for told in captions({"action_units": {6: 0.0, 12: 1.0}}):
        assert "movement" in told or "moved" in told


def test_the_annotators_attributes_are_said_in_natural_words():
    for name, form in SEEN.items():
        for option in ATTRIBUTES[name].options:
            made = caption_turns({"attributes": {name: option}}, random.Random(0))
            assert made is None or form.removeprefix("with ").removeprefix("wearing ").format(option) in made[1]
    assert caption_turns({"attributes": {"facial_hair": "none"}}, random.Random(0)) is None


class Annotated:
    """One face with an annotator's caption."""

    def __len__(self):
        return 1

    def faces(self, start, stop):
        annotation = {"annotator": "a", "prompt_version": "1", "date": "2026-01-01", "caption": "A long caption."}
        yield LabelledFace("x/0", None, {"gender": "male"}, "train", "x", "other", url="1.jpg", annotation=annotation)


def test_an_annotators_caption_is_taken_as_it_is():
    (row,) = AskedFaces(Annotated(), "captions").records(0, 1)
    request, caption = (turn["content"][-1]["text"] for turn in row["messages"])
    assert caption == "A long caption." and request in DETAILED_REQUESTS
