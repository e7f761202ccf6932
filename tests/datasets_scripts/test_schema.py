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
        ({"id": ""}, r"\bid ''.*non-empty string"),
        ({"task": None}, r"faces/1\b.*task = None.*non-empty string"),
        ({"image": b"123"}, r"faces/1\b.*image = 'bytes'.*PIL image"),
        ({"image": {"bytes": b"", "path": "1.jpg"}}, r"image = '1\.jpg'.*\bempty\b.*carry the file"),
        ({"image": None}, r"messages = .*image.*\burl\b"),
        ({"messages": [user_turn("Who?"), assistant_turn("Nobody.")]}, r"messages = .*first user turn.*image=True"),
        ({"messages": [user_turn("Who?", image=True)]}, r"messages = .*\bpairs\b"),
        ({"messages": [assistant_turn("a"), assistant_turn("b")]}, r"messages = .*\brole\b.*'user'"),
        ({"messages": [user_turn(" ", image=True), assistant_turn("a")]}, r"messages\[0\] = .*\bempty\b"),
        ({"labels": {"hat": "none"}}, r"labels\.hat = 'none'.*\battributes\b"),
        ({"labels": {"yaw": 270.0}}, r"labels\.yaw = 270\.0.* -180 to 180\b"),
        ({"labels": {"age": float("nan")}}, r"labels\.age = nan.* 0 to 150\b"),
        ({"labels": {"gender": 1}}, r"labels\.gender = 1\b.*non-empty string"),
        ({"labels": {"attributes": {"hat": None}}}, r"labels\.attributes = .*'hat'.*leave .*out"),
        ({"box": [10, 10, 5, 5]}, r"box = \[10, 10, 5, 5\].*x0 < x1"),
        ({"landmarks": [[1, 2, 3]]}, r"landmarks = \[1, 2, 3\].*\[\[x, y\], \.\.\.\]"),
    ],
)
def test_a_wrong_record_is_refused_with_its_id_column_and_value(changes, message):
    with pytest.raises(CorpusError, match=message):
        record(**changes)


def test_a_column_that_does_not_exist_is_refused():
    with pytest.raises(CorpusError, match=r"caption = 'x'.*\bmessages\b"):
        validate_record({**record(), "caption": "x"})


def test_an_error_that_quotes_a_long_line_keeps_its_place_and_its_remedy():
    told = str(CorpusError(f"labels.csv: row 3 has {'9 ' * 40_000}, not a file; get it again"))
    assert told.startswith("labels.csv: row 3 has 9") and told.endswith("get it again") and len(told) < 1500
