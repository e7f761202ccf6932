"""Whatever an endpoint answers: JSON or text that can be stored, or one of the reasons for none, soon."""

import json

import pytest
from hypothesis import strategies as st

from datasets_scripts.annotator.completion import CutOff, UnexpectedAnswer, read_completion
from datasets_scripts.annotator.parsing import read_answer
from datasets_scripts.annotator.settings import InvalidAnswer, Request
from datasets_scripts.annotator.thoughts import without_thoughts
from tests.robustness.cases import assert_one_line, bounded, examples, failed_before, fuzzed
from tests.robustness.mutations import FRAGMENTS, mutated, mutated_json

COST = {"seconds": 3, "mebibytes": 200}
PICTURE = "data:image/jpeg;base64," + "iVBORw0KGgo" * 30
ANSWER = {
    "id": "x",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": '{"caption": "A face."}'}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 900, "completion_tokens": 50},
    "sent": PICTURE,
}
PARTS = {**ANSWER, "choices": [{"message": {"content": [{"type": "text", "text": "{}"}], "refusal": None}}]}
KEY = "sk-secret-key"
MARKS = [
    "<think>",
    "</think>",
    "<thinking>",
    "[THINK]",
    "[/THINK]",
    "◁think▷",
    "<|channel|>",
    "<|im_end|>",
    "&lt;think",
]
MARKS += ["<|channel|>final<|message|>", "analysis", "assistantfinal", "Thoughts:", "```json", "```"]
JSON = [
    "{",
    "}",
    "[",
    "]",
    '{"a":1}',
    '{"caption": "A face."}',
    '"',
    "\\ud800",
    "\\",
    "NaN",
    "1e999",
    "Infinity",
    ":",
    ",",
]
pieces = st.sampled_from([*MARKS, *JSON, "\n", " ", "\ud800", KEY, PICTURE])
repeats = st.sampled_from([1, 1, 1, 1, 3, 3000])
spoken = st.lists(st.builds(lambda piece, times: piece * times, pieces | st.text(max_size=4), repeats), max_size=10)
spoken = spoken.map("".join)
reasons = st.sampled_from(["stop", "length", "content_filter", "refusal", "tool_calls", ""])
schemas = st.sampled_from([None, {"type": "object"}])


@pytest.fixture(scope="module", autouse=True)
def _readers_are_loaded():
    assert json.loads(read_completion(json.dumps(ANSWER), KEY)["text"]) == {"caption": "A face."}


def check_completion(body):
    with bounded("answers", **COST):
        try:
            found = read_completion(body, KEY)
        except UnexpectedAnswer as error:
            assert_one_line(error)
            assert ":" not in error.reason and len(error.reason) < 100
            return
        except CutOff as error:
            assert PICTURE not in str(error) or len(str(error)) < 3000
            return
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
        assert KEY not in found["text"] and PICTURE not in found["text"]
        assert all(type(number) is int for number in found["usage"].values())
    check_answer(found["text"], found["finish_reason"], {"type": "object"})


def check_answer(text, finish_reason, schema):
    with bounded("answers", **COST):
        try:
            found = read_answer(Request("caption", [], schema), text, finish_reason)
        except InvalidAnswer as error:
            assert_one_line(error)
            assert len(error.reason) < 100
            return
    if schema is None:
        assert found and found == found.strip() and "</think>" not in found
        return
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode()


@fuzzed(text=mutated_json([ANSWER, PARTS]))
def test_hostile_completions(text):
    check_completion(text)


@fuzzed(content=mutated([json.dumps(ANSWER).encode(), json.dumps(PARTS).encode()], FRAGMENTS))
@examples("content", failed_before("answers"))
def test_damaged_completions(content):
    check_completion(content.decode("utf-8", "replace"))


@fuzzed(text=spoken, finish_reason=reasons, schema=schemas)
def test_spoken_answers(text, finish_reason, schema):
    check_answer(text, finish_reason, schema)


@fuzzed(thoughts=spoken, end=st.sampled_from(["</think>", "</thinking>", "[/THINK]", "◁/think▷"]))
def test_nothing_of_the_thoughts_is_left(thoughts, end):
    with bounded("answers", **COST):
        assert without_thoughts(f"{thoughts} DRAFT {end}\nA face.") == "A face."
