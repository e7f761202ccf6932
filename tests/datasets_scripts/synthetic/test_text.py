"""The wording of the drawn faces: complete, deterministic, silent about the held-out attributes before an image."""

import re
from random import Random

import pytest

from datasets_scripts.synthetic import records as synthetic
from datasets_scripts.synthetic import text as synthetic_text
from datasets_scripts.synthetic.faces import ATTRIBUTES, sample_labels
from tests.refusals import refuses

# Words for hair color and background, with words that people use instead: what no question about an image may contain.
HELD_OUT_WORDS = {
    *("black", "brown", "blond", "blonde", "red", "ginger", "brunette", "redhead", "auburn", "grey", "gray"),
    *("white", "blue", "green", "yellow", "pink", "golden", "rose"),
    *("color", "colour", "colors", "colours", "colored", "dyed", "tint", "hue"),
    *("background", "backdrop", "behind", "before", "wall"),
}


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z-]+", text.lower()))


def turns(record: dict) -> list[tuple[str, str]]:
    texts = [turn["content"][-1]["text"] for turn in record["messages"]]
    return list(zip(texts[::2], texts[1::2], strict=True))


def test_every_attribute_and_value_has_wording():
    assert set(synthetic_text.WORDING) == {attribute.name for attribute in ATTRIBUTES}
    for attribute in ATTRIBUTES:
        wording = synthetic_text.WORDING[attribute.name]
        assert set(wording.predicates) == set(attribute.values)
        assert synthetic_text.options(attribute.name) == attribute.values
        for predicates in wording.predicates.values():
            assert all(predicate.split(" ")[0] in synthetic_text.PLURAL_VERBS for predicate in predicates)
        if set(attribute.values) != {"no", "yes"}:
            assert set(wording.yes_no) == set(wording.choices) == set(attribute.values)


def test_no_template_for_images_speaks_of_a_held_out_attribute():
    for name in synthetic_text.TRAINED:
        wording = synthetic_text.WORDING[name]
        templates = [*wording.questions, *wording.yes_no.values(), wording.either_or or "", *wording.choices.values()]
        assert not HELD_OUT_WORDS & words(" ".join([*templates, *synthetic_text.options(name)]))


@pytest.mark.parametrize("config", ["vqa", "face_tasks"])
def test_no_image_conversation_asks_or_answers_a_held_out_attribute(config):
    for record in synthetic.iter_records(config, "train", 120):
        assert record["image"] is not None
        for question, answer in turns(record):
            assert not HELD_OUT_WORDS & words(f"{question} {answer}")


def test_held_out_attributes_are_named_in_captions_and_asked_for_in_text():
    assert set(synthetic_text.HELD_OUT) == {"hair_color", "background"}
    captions = words(" ".join(turns(record)[0][1] for record in synthetic.iter_records("captions", "train", 100)))
    text = list(synthetic.iter_records("text", "train", 300))
    asked = {question.split("\n")[-1] for record in text for question, _ in turns(record)}
    for name in synthetic_text.HELD_OUT:
        assert set(synthetic_text.options(name)) <= captions
        assert set(synthetic_text.WORDING[name].questions) <= asked
    assert all(record["image"] is None for record in text)


def test_captions_ask_nothing_but_for_a_caption():
    for record in synthetic.iter_records("captions", "train", 50):
        [(request, _)] = turns(record)
        assert request in synthetic_text.CAPTION_REQUESTS


def test_captions_say_what_the_labels_say():
    for index in range(200):
        labels = sample_labels(index, 0, "train")
        text = synthetic_text.caption(labels, Random(index), names=("expression", "beard", "glasses"))
        assert labels["expression"] in text
        assert (" no beard" in text or "without a beard" in text) == (labels["beard"] == "no")
        assert ("sunglasses" in text) == (labels["glasses"] == "sunglasses")


def test_answers_of_every_form_follow_from_the_labels():
    for index in range(300):
        labels = sample_labels(index, 0, "train")
        for question, answer in synthetic_text.basic_questions(labels, Random(index), 8):
            owner = [
                (name, value)
                for name, wording in synthetic_text.WORDING.items()
                for value, template in wording.yes_no.items()
                if template == question
            ]
            if owner:
                [(name, value)] = owner
                assert answer == ("yes" if labels[name] == value else "no")
            else:
                assert answer in labels.values()


def test_yes_and_no_are_equally_likely():
    answers = []
    for index in range(400):
        for question, answer in synthetic_text.basic_questions(sample_labels(index, 0, "train"), Random(index), 8):
            if any(question in wording.yes_no.values() for wording in synthetic_text.WORDING.values()):
                answers.append(answer)
    assert 0.45 < answers.count("yes") / len(answers) < 0.55


def test_a_bald_head_has_no_hair_color_anywhere():
    index = next(i for i in range(100) if sample_labels(i, 0, "train")["hair_length"] == "bald")
    labels = sample_labels(index, 0, "train")
    assert synthetic_text.answer("hair_color", labels) is None
    for level in synthetic_text.TEXT_LEVELS:
        assert "hair" not in synthetic_text.context(labels, level, Random(0)).replace("hair length", "")
    questions = synthetic_text.text_questions(labels, Random(0), 17)
    assert len(questions) == 16 and not any("color" in question and "hair" in question for question, _ in questions)


def test_records_depend_only_on_config_split_seed_and_index():
    for config in synthetic.CONFIGS:
        whole = list(synthetic.iter_records(config, "train", 6, seed=3))
        assert list(synthetic.iter_records(config, "train", 4, seed=3, start=2)) == whole[2:]
        assert list(synthetic.iter_records(config, "train", 6, seed=4)) != whole


def test_zero_shot_asks_in_testing_what_training_says_nothing_of():
    sides = {}
    for split in ("train", "test"):
        texts, names = [], set()
        for record in synthetic.iter_records("zero_shot", split, 200):
            texts += [turn["content"][-1]["text"] for turn in record["messages"]]
            names |= {entry["name"] for entry in record["labels"]["attributes"]}
        sides[split] = (words(" ".join(texts)), names)
    (trained, seen), (tested, unseen) = sides.values()
    assert unseen == set(synthetic_text.HELD_OUT) and not seen & unseen
    assert trained & tested <= {"what", "is", "the", "does", "of", "person", "have"}


def test_splits_share_no_face():
    faces = {
        split: {
            tuple(sorted(pair["value"] + pair["name"] for pair in record["labels"]["attributes"])) for record in rows
        }
        for split, rows in ((split, synthetic.iter_records("text", split, 500)) for split in synthetic.SPLITS)
    }
    assert not faces["train"] & faces["test"] and not faces["train"] & faces["validation"]
    assert not faces["test"] & faces["validation"]


@pytest.mark.parametrize(
    ("argument", "value", "remedy"),
    [("config", "pictures", synthetic.CONFIGS), ("split", "val", synthetic.SPLITS), ("count", -1, ["0 or more"])],
)
def test_a_wrong_argument_is_refused_with_the_remedy(argument, value, remedy):
    with refuses(argument, value, *remedy):
        synthetic.iter_records(**{"config": "vqa", "split": "train", "count": 1, argument: value})


def test_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match=r"level='essay'.*tags, clauses, caption"):
        synthetic_text.context(sample_labels(0, 0, "train"), "essay", Random(0))
