"""What is read out of an answer: no thoughts, the final JSON, and in a time that grows with its length."""

import json
import time

import pytest

from datasets_scripts.annotator.parsing import MAX_CHARACTERS, read_answer
from datasets_scripts.annotator.settings import InvalidAnswer, Request
from datasets_scripts.fairfacegpt.answers import check_answer
from datasets_scripts.laion_face.answers import check_answer as check_laion_answer

TEXT, TABLE = Request("text", []), Request("table", [], {"type": "object"})
GOOD = "The person has short dark hair, and the light comes from the front."
FINAL = '{"glasses": "none"}'
THOUGHT = 'Let me see. I should describe the hair. A draft: {"glasses": "dark"}. Is that right? No.'
APART = "thoughts that are not apart from the answer"

TAKEN_OFF = {
    "both tags": "<think>\n{}\n</think>\n\n",
    "the closing tag": "{}\n</think>\n\n",
    "twice": "<think>{}</think> Hm. <think>{}</think>",
    "thinking": "<thinking>{}</thinking>\n",
    "its closing tag": "{}</thinking>\n",
    "thought": "<thought>{}</thought>",
    "capitals": "<THINK>{}</THINK>",
    "a blank in the tag": "<think >{}</ think >",
    "an attribute": '<reasoning effort="high">{}</reasoning>',
    "a prefix": "<seed:think>{}</seed:think>",
    "brackets": "[THINK]{}[/THINK]",
    "kimi": "◁think▷{}◁/think▷",
    "command": "<|START_THINKING|>{}<|END_THINKING|>",
    "sky": "<|begin_of_thought|>{}<|end_of_thought|>",
    "medgemma": "<unused94>thought\n{}<unused95>",
    "gemma": "<|channel>thought\n{}<channel|>",
    "harmony": "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>",
    "harmony with JSON": "<|channel|>analysis<|message|>{}<|end|><|channel|>final <|constrain|>json<|message|>",
    "harmony without marks": "analysis{}assistantfinal",
    "a longer name": "<chain_of_thought>{}</chain_of_thought>",
    "a name before": "<longcat_think>{}</longcat_think>",
    "a monologue": "<inner_monologue>{}</inner_monologue>",
    "a scratch pad": "<scratch_pad>{}</scratch_pad>",
    "brackets of another name": "[REASONING]{}[/REASONING]",
    "minicpm": "<|thought_begin|>{}<|thought_end|>",
    "wide letters": "＜think＞{}＜/think＞",
    "an invisible blank": "<th\u200bink>{}</th\u200bink>",
    "the answer's tag": "{}\n<answer>\n",
    "a box": "{}<|begin_of_box|>",
    "apriel": "Here are my reasoning steps:\n{}\n[BEGIN FINAL RESPONSE]\n",
    "a final answer": "{}\n\n**Final answer:** ",
}
LEFT = {
    "no end": "<think>\n{} ",
    "thinking without an end": "<thinking>{} ",
    "after the answer": "</think>{}<think>",
    "harmony without an answer": "<|channel|>analysis<|message|>{}",
    "commentary": "<|channel|>final<|message|>{}<|channel|>commentary<|message|>",
    "brackets without an end": "[THINK]{} ",
    "a fence": "```thinking\n{}\n```\n",
    "escaped": "&lt;think&gt;{}&lt;/think&gt;",
    "a heading": "**Thinking process:**\n{}\n",
    "analysis": "analysisWe look. {} ",
    "a heading without a colon": "### Thinking\n{}\n### Response\n",
    "a comment": "<!-- thinking: {} -->",
    "latex": "\\begin{think}{}\\end{think}",
    "a mark of the template": "</think>{}<|im_end|>",
}


@pytest.mark.parametrize("marks", TAKEN_OFF.values(), ids=TAKEN_OFF)
def test_thoughts_are_taken_off_a_description_and_a_table(marks):
    before = marks.replace("{}", THOUGHT)
    assert read_answer(TEXT, before + GOOD, "stop") == GOOD == check_answer("description", before + GOOD)
    assert read_answer(TABLE, before + FINAL, "stop") == {"glasses": "none"}


@pytest.mark.parametrize("marks", LEFT.values(), ids=LEFT)
def test_thoughts_that_cannot_be_told_from_the_answer_make_it_invalid(marks):
    for request, answer in ((TEXT, GOOD), (TABLE, FINAL)):
        with pytest.raises(InvalidAnswer, match=APART):
            read_answer(request, marks.replace("{}", THOUGHT) + answer, "stop")
    with pytest.raises(InvalidAnswer, match=APART):
        check_answer("description", marks.replace("{}", THOUGHT) + GOOD)


def test_an_answer_that_is_all_thoughts_is_empty():
    with pytest.raises(InvalidAnswer, match="empty answer"):
        read_answer(TEXT, f"<think>{GOOD}</think>", "stop")


def test_thoughts_in_a_caption_of_the_table_are_no_caption():
    with pytest.raises(InvalidAnswer, match=APART):
        check_laion_answer({"caption": f"<think>{THOUGHT}</think> {GOOD} <think>", "attributes": {}})


@pytest.mark.parametrize(
    "text", ["A thoughtful look, as of one who is thinking: calm.", "The analysis of the light is easy."]
)
def test_words_about_thought_are_no_thoughts(text):
    assert read_answer(TEXT, text, "stop") == text


@pytest.mark.parametrize("end", ["<|im_end|>", " <|end|>\n", "</answer>", "<|end_of_box|><|end|>"])
def test_a_mark_of_the_end_is_no_part_of_an_answer(end):
    assert read_answer(TEXT, GOOD + end, "stop") == GOOD


@pytest.mark.parametrize(
    "text",
    [
        FINAL,
        f"```json\n{FINAL}\n```",
        f"```{FINAL}```",
        f"Here it is:\n```\n{FINAL}",
        f'A draft: {{"glasses": "dark"}}. No, rather {FINAL}, I believe.',
        f'```json\n{{"glasses": "dark"}}\n```\nNo:\n```json\n{FINAL}\n```\n',
        f"Of {{course}}: {FINAL} {{}} I hope {{it}} helps.",
    ],
)
def test_the_final_json_is_read_from_fences_and_words(text):
    assert read_answer(TABLE, text, "stop") == {"glasses": "none"}


@pytest.mark.parametrize(
    "text", ['{"a": 1e999}', '{"a": NaN}', '{"a": ' + "9" * 5000 + "}", '{"a":' * 5000, r'{"a": "\ud800"}']
)
def test_what_cannot_be_stored_is_no_json(text):
    with pytest.raises(InvalidAnswer, match="no JSON"):
        read_answer(TABLE, text, "stop")


def test_a_longer_answer_is_looked_at_no_further():
    with pytest.raises(InvalidAnswer, match="longer than 100,000 characters"):
        read_answer(TABLE, "{" * (MAX_CHARACTERS + 1), "stop")


HOSTILE = [
    "```json\n",
    "\n",
    "{",
    '{"a":',
    '{"a":"',
    "```\n",
    "<think>",
    "<",
    "< ",
    "</think",
    "</think>",
    "Q ",
    "://a",
    "Adam ",
]
HOSTILE += [
    "\xa0",
    "\n** ",
    "<|",
    "[/",
    "<|channel|> final",
    "*",
    "\n ",
    ". ",
    "word ",
    "A" * 59 + " ",
    '{"a":1}',
    "&lt;",
]


@pytest.mark.parametrize("part", HOSTILE)
@pytest.mark.parametrize("length", [MAX_CHARACTERS, 1_000_000])
def test_no_answer_takes_long_to_read(part, length):
    text = "```json" + part * ((length - 8) // len(part)) + "."
    began = time.process_time()
    for request in (TEXT, TABLE):
        try:
            value = read_answer(request, text, "stop")
        except InvalidAnswer:
            continue
        for check in (lambda value: check_answer("description", value), check_laion_answer, json.dumps):
            try:
                check(value)
                check({"caption": value, "attributes": {}})
            except InvalidAnswer:
                pass
    assert time.process_time() - began < 3
