"""The zero-shot split: what is said in training names nothing that is tested, in no word, stem or synonym."""

import random
import re

import pytest

from datasets_scripts.questions.attribute_tasks import ATTRIBUTE_TASKS
from datasets_scripts.questions.conversations import AskedFaces
from datasets_scripts.questions.zero_shot import FAMILIES, LEFT_OUT, SEEN, UNSEEN
from datasets_scripts.schema import LabelledFace, Skipped
from datasets_scripts.sources import celeba, maad_face
from datasets_scripts.sources.reading import attribute_name

ASKING = """a among an and annotator annotator's answer any are be call can choose do does face free from have head
how in is it judgement no none of on one options person seen state that the there these this to visible wear what
with without would yes"""
DEGREE = "full length long medium short slight slightly thin"


class Faces:
    """Faces whose attributes are drawn at random, gender, age, expression and caption included."""

    def __init__(self, split, count=400):
        self.split, self.count = split, count

    def __len__(self):
        return self.count

    def faces(self, start, stop):
        for index in range(start, stop):
            rng = random.Random(index)
            values = {name: rng.choice(list(row.answers)) for name, row in ATTRIBUTE_TASKS.items()}
            labels = {"gender": "male", "age_group": "20-29", "expression": "happiness", "attributes": values}
            annotation = {"annotator": "a", "prompt_version": "1", "date": "2026-01-01", "caption": "A smile.",
                          "flags": ["a child with facial hair"], "detection_score": 0.9}  # fmt: skip
            yield LabelledFace(
                f"x/{index}", None, labels, self.split, "x", "other", url="1.jpg", annotation=annotation
            )


def rows(split):
    return list(AskedFaces(Faces(split), "zero_shot", ("gender", "age", "attributes")).records(0, 400))


def told(row):
    """Everything that a row says: its turns, its labels and its annotation."""
    texts = [turn["content"][-1]["text"] for turn in row["messages"]]
    labels = [f"{entry['name']} {entry['value']}" for entry in row["labels"].pop("attributes")]
    assert not any(row["labels"].values()) and row["annotation"]["caption"] is row["annotation"]["flags"] is None
    return [*texts, *labels, row["task"].replace("attributes", "")]


@pytest.fixture(scope="module")
def texts():
    """All that the rows of each split say."""
    return {split: {text for row in rows(split) for text in told(row)} for split in ("train", "validation", "test")}


def words(texts):
    return {word for text in texts for word in re.findall(r"[a-z0-9']+", text.lower().replace("_", " "))}


def families_named(text: str) -> set[str]:
    """The families that a text speaks of; underscores and hyphens are blanks.

    A stem of up to four letters stands for that word and its plural, a longer one for every word that begins so.
    """
    words = set(re.findall(r"[a-z0-9']+", text.lower().replace("make-up", "makeup").replace("_", " ")))
    return {
        name
        for name, family in FAMILIES.items()
        if any(
            word in (stem, f"{stem}s") or (len(stem) > 4 and word.startswith(stem))
            for word in words
            for stem in family.stems
        )
    }


def test_every_attribute_is_seen_or_unseen_or_left_out_for_a_reason():
    assert sorted([*SEEN, *UNSEEN, *LEFT_OUT]) == sorted(ATTRIBUTE_TASKS)
    assert all(LEFT_OUT.values())


@pytest.mark.parametrize("reader", [celeba, maad_face])
def test_both_sides_have_attributes_of_every_dataset(reader):
    names = {attribute_name(name) for name in reader.ATTRIBUTES}
    assert len(names & set(SEEN)) >= 20 and len(names & set(UNSEEN)) >= 12
    assert not names & set(LEFT_OUT)


def test_every_attribute_is_asked_about_on_its_side(texts):
    for split, names in (("train", SEEN), ("validation", UNSEEN), ("test", UNSEEN)):
        for name in names:
            questions = ATTRIBUTE_TASKS[name].questions
            assert any(question in text for question in questions for text in texts[split])


def test_training_speaks_of_no_family_that_is_tested(texts):
    named = families_named(" ".join(words(texts["train"])))
    assert named and not any(FAMILIES[name].unseen for name in named)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_testing_speaks_of_no_family_that_was_trained_on(split, texts):
    named = families_named(" ".join(words(texts[split])))
    assert named and all(FAMILIES[name].unseen for name in named)


def test_the_sides_share_no_word_but_those_of_asking_and_of_degree(texts):
    assert words(texts["train"]) & words(texts["test"]) <= set(f"{ASKING} {DEGREE}".split())


def test_the_words_of_every_family_are_on_one_side_alone():
    sides = [
        {stem for family in FAMILIES.values() if family.unseen is side for stem in family.stems} for side in (0, 1)
    ]
    assert not sides[0] & sides[1]


@pytest.mark.parametrize(
    ("text", "families"),
    [
        ("Is this person clean-shaven or stubbly?", {"beard"}),
        ("He has whiskers and a moustache.", {"beard"}),
        ("She grins; her teeth show.", {"mouth"}),
        ("wearing_lipstick", {"makeup"}),
        ("A woman with spectacles", {"eyewear"}),
        ("What can be seen in this picture?", set()),
    ],
)
def test_synonyms_and_endings_are_known(text, families):
    assert families_named(text) >= families and (families or not families_named(text))


def test_a_face_without_a_label_of_its_side_gives_no_row():
    class Smiling(Faces):
        def faces(self, start, stop):
            yield LabelledFace("x/0", None, {"attributes": {"smiling": "yes"}}, self.split, "x", "other", url="1.jpg")

    train, test = (
        list(AskedFaces(Smiling(split, 1), "zero_shot", ("attributes",)).records(0, 1)) for split in ("train", "test")
    )
    assert train == [Skipped("x/0", "no known label to ask about")] and test[0]["task"] == "smiling"
