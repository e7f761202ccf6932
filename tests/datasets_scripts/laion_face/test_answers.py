"""The annotator's table: closed sets, a strict schema, and a check that keeps no unsound answer."""

import json

import pytest

from datasets_scripts.annotator.settings import InvalidAnswer
from datasets_scripts.laion_face.answers import (
    ATTRIBUTES,
    UNKNOWN,
    answer_schema,
    check_answer,
    definitions,
    labels_of,
)
from datasets_scripts.questions.attribute_table import CONTRADICTIONS
from datasets_scripts.questions.conversations import AskedFaces
from datasets_scripts.schema import LabelledFace

CAPTION = "A face in soft light, turned to the camera, with short hair and a slight smile."


def answer(caption=CAPTION, **values):
    return {"caption": caption, "attributes": {**dict.fromkeys(ATTRIBUTES, "unsure"), **values}}


def test_the_table_has_about_forty_attributes_and_names_nothing_delicate():
    assert 40 <= len(ATTRIBUTES) <= 50
    words = json.dumps(answer_schema()).lower()
    for delicate in ("race", "ethnic", "skin tone", "attractive", "beaut", "relig", "health", "disease"):
        assert delicate not in words


def test_every_object_of_the_schema_is_strict():
    schema = answer_schema()
    for part in (schema, schema["properties"]["attributes"]):
        assert part["required"] == list(part["properties"]) and part["additionalProperties"] is False
    enums = [entry["enum"] for entry in schema["properties"]["attributes"]["properties"].values()]
    assert all(set(UNKNOWN) < set(enum) and len(set(enum)) == len(enum) for enum in enums)
    assert sum(map(len, enums)) <= 500  # what OpenAI's structured output allows in one schema


def test_the_prompt_defines_every_attribute_and_names_every_option():
    lines = definitions().splitlines()
    for line, (name, row) in zip(lines, ATTRIBUTES.items(), strict=False):
        assert line.startswith(f"- {name}: {row.definition}.") and "; ".join(row.options) in line


def test_unknown_attributes_are_left_out_of_a_sound_answer():
    checked = check_answer(answer(smile="slight", eye_color="not visible", eyewear=" Sunglasses "))
    assert checked.caption == CAPTION
    assert checked.attributes == {"smile": "slight", "eyewear": "sunglasses"}
    assert checked.flags == ()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("a face", "not a JSON object"),
        ({"attributes": {}}, "caption is missing"),
        ({"caption": CAPTION}, "attributes is missing"),
        ({**answer(), "race": "White"}, "a name that was not asked for"),
        ({"caption": CAPTION, "attributes": ["bald"]}, "attributes: not a JSON object"),
        ({"caption": CAPTION, "attributes": {}}, "attributes: head_hair_color is missing"),
        (answer(race="White"), "attributes: a name that was not asked for"),
        (answer(eye_color="violet"), "attributes: eye_color has a value that is no option"),
        (answer(eye_color=3), "attributes: eye_color has a value that is no option"),
        (answer(eye_color=["blue"]), "attributes: eye_color has a value that is no option"),
        (answer(caption=None), "caption: not a text"),
        (answer(caption="A face."), "caption: not 40 to 2000 characters"),
        (answer(caption="I'm sorry, but I cannot describe the people in this picture."), "caption: a refusal"),
        (answer(caption="I cannot describe real people in a picture like this one."), "caption: a refusal"),
        (answer(caption=f"An Asian woman. {CAPTION}"), "caption: speaks of race or ethnicity"),
        (answer(caption=f"A white man. {CAPTION}"), "caption: speaks of race or ethnicity"),
        (answer(caption=f"Emma Watson smiles. {CAPTION}"), "caption: names a person"),
        (answer(caption=f"A nun. {CAPTION}"), "caption: speaks of religion"),
        (answer(caption=f"She seems ill. {CAPTION}"), "caption: speaks of health"),
        (answer(caption=f"A gay man. {CAPTION}"), "caption: speaks of sexual orientation"),
        (answer(caption=f"A handsome man. {CAPTION}"), "caption: speaks of attractiveness"),
    ],
)
def test_an_unsound_answer_is_refused_with_a_countable_reason(given, reason):
    with pytest.raises(InvalidAnswer) as refused:
        check_answer(given)
    assert refused.value.reason == reason


def test_colors_of_clothes_and_light_are_no_race():
    caption = "A woman in a white shirt before a black wall smiles at the camera in bright light."
    assert check_answer(answer(caption=caption)).caption == caption


def test_contradictions_are_flagged_and_the_answer_kept():
    checked = check_answer(
        answer(head_hair_length="bald", hairstyle="braided", mouth_state="closed", teeth_shown="yes")
    )
    assert checked.flags == ("bald, but the hair is styled", "a closed mouth that shows teeth")
    assert checked.attributes["hairstyle"] == "braided"


@pytest.mark.parametrize("entry", CONTRADICTIONS, ids=lambda entry: entry[2])
def test_every_contradiction_is_about_options_of_the_table(entry):
    (one, values), (other, others), flag = entry
    assert set(values) <= set(ATTRIBUTES[one].options) and set(others) <= set(ATTRIBUTES[other].options)
    checked = check_answer(answer(**{one: values[0], other: others[0]}))
    assert flag in checked.flags


def test_age_gender_and_expression_become_the_labels_that_other_corpora_have():
    given = {"apparent_gender": "male", "apparent_age_group": "30-39", "visible_expression": "anger", "smile": "none"}
    assert labels_of(given) == {
        "gender": "male",
        "age_group": "30-39",
        "expression": "anger",
        "attributes": {"smile": "none"},
    }


class Contradicted:
    """A face about which the annotator contradicted itself."""

    def __len__(self):
        return 1

    def faces(self, start, stop):
        given = answer(apparent_age_group="3-9", facial_hair="goatee", eyewear="none", apparent_gender="male")
        checked = check_answer(given)
        annotation = {"annotator": "a", "prompt_version": "1", "date": "2026-01-01", "flags": list(checked.flags)}
        labels = labels_of(checked.attributes)
        yield LabelledFace("x/0", None, labels, "train", "x", "other", url="1.jpg", annotation=annotation)


@pytest.mark.parametrize("config", ["vqa", "face_tasks"])
def test_nothing_is_asked_about_what_contradicts_itself(config):
    (row,) = AskedFaces(Contradicted(), config, ("gender", "age", "age_years", "attributes")).records(0, 1)
    told = str(row["messages"]).lower()
    assert row["annotation"]["flags"] == ["a child with facial hair"] and row["labels"]["age_group"] == "3-9"
    assert "facial" not in told and "years" not in told and "eyewear" in told and "male" in told
