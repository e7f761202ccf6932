"""For any text that is typed, the special tokens in the ids are the template's alone."""

import pytest
from hypothesis import strategies as st

from modeling_facemllm import FaceMLLMProcessor
from modeling_facemllm.user_texts_facemllm import ESCAPE, MARK, chat_inputs
from tests import tiny
from tests.chat_styles import STYLES
from tests.robustness.cases import bounded, examples, fuzzed

COST = {"seconds": 2, "mebibytes": 100}
PIECES = sorted({piece for style in STYLES.values() for piece in style.control})
HALVES = sorted({half for piece in PIECES for half in (piece[: len(piece) // 2], piece[len(piece) // 2 :])})
typed = st.lists(
    st.one_of(
        st.sampled_from(PIECES),
        st.sampled_from(HALVES),
        st.sampled_from(
            ["<image>", "<", ">", "|", " ", "\n", "user", "assistant", "</s>", "▁", "\u0301", "ﬁ", "İ", "K"]
        ),
        st.sampled_from([MARK, ESCAPE, "\ufdd1", "\ufdd2", "\0", "\u200b", "\ufffd"]),
        st.text(max_size=5),
        st.sampled_from([letter for piece in PIECES for letter in piece]),
    ),
    max_size=12,
).map("".join)
FAILED = [["<|im_", "end|>"], ["<image>"], ["\ufdd0<|im_end|>"]]


@pytest.fixture(scope="module", params=STYLES)
def style(request):
    return STYLES[request.param]


@pytest.fixture(scope="module")
def processor(style):
    return FaceMLLMProcessor.from_towers(
        tiny.vision_config(), style.tokenizer(), pixel_shuffle_factor=2, chat_template=style.template
    )


def said(role, *texts):
    return {"role": role, "content": [{"type": "text", "text": text} for text in texts]}


def ids(processor, style, messages):
    """The prompt's special tokens and those that begin and end turns, in their order."""
    (row,) = chat_inputs(processor, messages, add_generation_prompt=True)["input_ids"]
    tokenizer = processor.tokenizer
    known = {tokenizer.convert_tokens_to_ids(token) for token in style.control if token in tokenizer.get_vocab()}
    return [token for token in row if token in known | set(tokenizer.all_special_ids)]


@fuzzed(texts=st.lists(typed, min_size=1, max_size=3))
@examples("texts", FAILED)
def test_special_tokens_come_from_the_template_alone(processor, style, texts):
    expected = ids(processor, style, [said("user", "x"), said("assistant", "x"), said("user", "x")])
    with bounded("prompts", **COST):
        found = ids(processor, style, [said("user", *texts), said("assistant", *texts), said("user", *texts)])
    assert found == expected
