"""ShareGPT files are read an entry at a time, and what is no conversation about one picture is named."""

import json
import math
import time

import pytest

from datasets_scripts.fairfacegpt.sharegpt import (
    NESTED,
    InvalidConversation,
    json_entries,
    json_entry,
    read_conversation,
)
from datasets_scripts.schema import CorpusError

QUESTION, ANSWER = {"from": "human", "value": "<image>\nWhich hair?"}, {"from": "gpt", "value": "Grey."}
ENTRIES = [{"n": 1, "text": "ü€🙂 [a], {b}"}, {"n": 2, "nested": [[], {"x": "]"}]}, {"n": 3}]


@pytest.mark.parametrize("block_bytes", [1, 2, 7, 64, 2**20])
@pytest.mark.parametrize("written", ["indented", "compact", "lines", "marked"])
def test_entries_are_the_same_for_every_block_and_layout_and_are_found_again(written, block_bytes, tmp_path):
    texts = {
        "indented": json.dumps(ENTRIES, indent=2, ensure_ascii=False),
        "compact": json.dumps(ENTRIES, separators=(",", ":"), ensure_ascii=False),
        "lines": "\n".join(json.dumps(entry) for entry in ENTRIES),
        "marked": "\ufeff" + json.dumps(ENTRIES, ensure_ascii=False),
    }
    path = tmp_path / "dataset.json"
    path.write_text(texts[written], encoding="utf-8")
    found = list(json_entries(path, block_bytes=block_bytes))
    assert [entry for _, entry in found] == ENTRIES
    assert [json_entry(path, place) for place, _ in found] == ENTRIES


@pytest.mark.parametrize("block_bytes", [1, 2**20])
def test_an_empty_array_has_no_entries(tmp_path, block_bytes):
    (tmp_path / "dataset.json").write_text(" [ ]\n")
    assert list(json_entries(tmp_path / "dataset.json", block_bytes=block_bytes)) == []


DEEP = "[" * 10_000 + '"]\\"["' + "]" * 10_000


@pytest.mark.parametrize("block_bytes", [1001, 2**20])
@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("[]", []),
        ("[[]]", [[]]),
        ("{}", {}),
        ("null", None),
        (DEEP, NESTED),
        (f'{{"a": "{{", "b": {DEEP}}}', NESTED),
        ('{"id": ' + "9" * 5000 + "}", {"id": math.inf}),
    ],
)
def test_an_entry_of_any_kind_is_one_entry(tmp_path, entry, value, block_bytes):
    (tmp_path / "dataset.json").write_text(f'[{{"n": 1}}, {entry}, {{"n": 2}}]')
    assert [found for _, found in json_entries(tmp_path / "dataset.json", block_bytes=block_bytes)] == [
        {"n": 1},
        value,
        {"n": 2},
    ]


def test_an_entry_that_never_ends_is_one_error(tmp_path):
    (tmp_path / "dataset.json").write_text('[{"n": 1}, ' + "[" * 10_000)
    with pytest.raises(CorpusError, match="an entry does not end"):
        list(json_entries(tmp_path / "dataset.json"))


@pytest.mark.parametrize("content", [b'[{"a": 1}, {"a": ', b"file,age\n", b'[{"a": "\xff"}]'])
def test_a_file_that_is_cut_off_or_no_json_is_one_error_with_its_place(content, tmp_path):
    (tmp_path / "dataset.json").write_bytes(content)
    with pytest.raises(CorpusError, match=r"dataset\.json\b.*byte \d"):
        list(json_entries(tmp_path / "dataset.json"))


@pytest.mark.parametrize("picture", [{"image": "val/1.jpg"}, {"images": ["val/1.jpg"]}, {"images": "val/1.jpg"}])
@pytest.mark.parametrize("names", [("human", "gpt"), ("human", "assistant"), ("user", "assistant")])
def test_both_forms_of_the_picture_and_all_names_of_the_roles_are_read(picture, names):
    turns = [{**turn, "from": name} for turn, name in zip((QUESTION, ANSWER), names, strict=True)]
    talk = read_conversation({"conversations": turns, **picture})
    assert talk.image == "val/1.jpg" and talk.pairs == (("Which hair?", "Grey."),)


def test_a_system_turn_is_passed_over_and_several_pairs_are_kept():
    turns = [{"from": "system", "value": "Be brief."}, QUESTION, ANSWER, QUESTION, ANSWER]
    assert len(read_conversation({"conversations": turns, "image": "1.jpg"}).pairs) == 2


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("text", "no conversations"),
        ({"image": "1.jpg"}, "no conversations"),
        (NESTED, "nested too deeply"),
        ([], "no conversations"),
        (
            {"conversations": [QUESTION, {**ANSWER, "value": "a\ud800"}], "image": "1.jpg"},
            "text that cannot be stored",
        ),
        ({"conversations": [QUESTION, ANSWER], "image": "\ud800.jpg"}, "text that cannot be stored"),
        (
            {"conversations": [QUESTION, {**ANSWER, "value": "a" * 100_001}], "image": "1.jpg"},
            "text of more than 100,000 characters",
        ),
        ({"conversations": [QUESTION, ANSWER]}, "no image"),
        ({"conversations": [QUESTION, ANSWER], "image": None, "images": []}, "no image"),
        ({"conversations": [QUESTION, ANSWER], "images": ["1.jpg", "2.jpg"]}, "several images"),
        ({"conversations": [QUESTION], "image": "1.jpg"}, "question without an answer"),
        ({"conversations": [], "image": "1.jpg"}, "question without an answer"),
        ({"conversations": [ANSWER, QUESTION], "image": "1.jpg"}, "question without an answer"),
        ({"conversations": [QUESTION, {"from": "gpt"}], "image": "1.jpg"}, "malformed turn"),
        ({"conversations": [QUESTION, {"from": "tool", "value": "x"}], "image": "1.jpg"}, "turn of an unknown role"),
        ({"conversations": [QUESTION, {"from": "gpt", "value": " "}], "image": "1.jpg"}, "empty turn"),
    ],
)
def test_what_is_no_conversation_about_one_picture_has_a_reason(entry, reason):
    with pytest.raises(InvalidConversation) as refused:
        read_conversation(entry)
    assert refused.value.reason == reason


@pytest.mark.parametrize("part", [" ", "\n", "<image>", "<image> ", " <image"])
def test_no_text_takes_long_to_read(part):
    began = time.process_time()
    turn = {**QUESTION, "value": "What? " + part * (90_000 // len(part)) + "?"}
    read_conversation({"conversations": [turn, ANSWER], "image": "1.jpg"})
    assert time.process_time() - began < 1
