"""The record: what it holds, and that a wrong one is refused by name."""

import pytest
from PIL import Image

from datasets_scripts.schema import FEATURES, CorpusError, assistant_turn, make_record, user_turn, validate_record


def record(**changes):
    columns = {
        "id": "faces/1",
        "image": Image.new("RGB", (8, 8)),
        "messages": [user_turn("Who is it?", image=True), assistant_turn("Nobody.")],
        "task": "vqa",
        "labels": {"age_group": "20-29"},
        "split": "train",
        "source": "faces",
        "license": "cc0-1.0",
    }
    made = make_record(**{**columns, **changes})
    validate_record(made)
    return made


def test_a_record_has_every_column_and_null_for_unknown_labels():
    made = record()
    assert set(made) == set(FEATURES)
    assert set(made["labels"]) == set(FEATURES["labels"])
    assert made["labels"]["age_group"] == "20-29" and made["labels"]["gender"] is None


def test_the_features_encode_a_record():
    encoded = FEATURES.encode_example(record(labels={"attributes": {"hat": "none"}, "action_units": {12: 2.5}}))
    assert encoded["image"]["bytes"].startswith(b"\x89PNG")
    assert encoded["labels"]["attributes"] == [{"name": "hat", "value": "none"}]
    assert encoded["labels"]["action_units"] == [{"unit": 12, "intensity": 2.5}]


def test_a_picture_may_be_named_by_url_instead_of_carried():
    made = record(image=None, url="https://example.org/1.jpg", box=(0, 0, 10, 10), landmarks=[(1, 2), (3, 4)])
    assert made["box"] == [0, 0, 10, 10] and made["landmarks"] == [[1, 2], [3, 4]]


def test_a_conversation_without_a_picture_has_no_image_part():
    record(image=None, messages=[user_turn("A red hat. Which colour?"), assistant_turn("red")])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": ""}, "record id ''"),
        ({"task": None}, "record faces/1: task = None"),
        ({"image": b"123"}, "record faces/1: image = 'bytes'"),
        ({"image": {"bytes": b"", "path": "1.jpg"}}, "its bytes are empty"),
        ({"image": None}, "neither image nor url"),
        (
            {"messages": [user_turn("Who?"), assistant_turn("Nobody.")]},
            "first in the first user turn: image=True",
        ),
        ({"messages": [user_turn("Who?", image=True)]}, "must come in pairs"),
        ({"messages": [assistant_turn("a"), assistant_turn("b")]}, "this turn's role must be 'user'"),
        ({"messages": [user_turn(" ", image=True), assistant_turn("a")]}, "its text is empty"),
        ({"labels": {"hat": "none"}}, "labels.hat = 'none': no such label"),
        ({"labels": {"yaw": 270.0}}, "labels.yaw = 270.0: give a number from -180 to 180"),
        ({"labels": {"age": float("nan")}}, "labels.age = nan"),
        ({"labels": {"gender": 1}}, "labels.gender = 1"),
        ({"labels": {"attributes": {"hat": None}}}, "leave an undefined attribute out"),
        ({"box": [10, 10, 5, 5]}, "not width and height"),
        ({"landmarks": [[1, 2, 3]]}, r"landmarks = \[1, 2, 3\]"),
    ],
)
def test_a_wrong_record_is_refused_with_its_id_column_and_value(changes, message):
    with pytest.raises(CorpusError, match=message):
        record(**changes)


def test_a_column_that_does_not_exist_is_refused():
    with pytest.raises(CorpusError, match="caption = 'x': no such column"):
        validate_record({**record(), "caption": "x"})
