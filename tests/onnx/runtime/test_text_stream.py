"""Streamed text is the text, in pieces of whole characters."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from facemllm_onnx.runtime.text_stream import TextStream

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


@pytest.fixture(scope="module")
def tokenizer():
    """One token per byte."""
    tokenizer = Tokenizer(models.BPE(vocab={symbol: index for index, symbol in enumerate(BYTES)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


TEXT = "Ein Bärtiger 👍🏽, naïve — 笑顔。"


def _pieces(tokenizer, text, stop=(), cut=0):
    """What is shown of a text, token by token and at its end, without its last tokens."""
    tokens = tokenizer.encode(text).ids
    stream = TextStream(tokenizer.decode, stop)
    return [*(stream.add(token) for token in tokens[: len(tokens) - cut]), stream.end()]


def test_characters_come_whole(tokenizer):
    pieces = _pieces(tokenizer, TEXT)
    assert "".join(pieces) == TEXT
    assert max(map(len, pieces)) == 1


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_half_a_character_at_the_end_is_what_decoding_makes_of_it(tokenizer, cut):
    tokens = tokenizer.encode(TEXT + "👍").ids
    assert "".join(_pieces(tokenizer, TEXT + "👍", cut=cut)) == tokenizer.decode(tokens[:-cut])


def test_nothing_of_a_stop_string_is_shown(tokenizer):
    assert "".join(_pieces(tokenizer, TEXT, stop=["— 笑", "XY"])) == TEXT[: TEXT.index("— 笑")]


def test_what_only_began_like_a_stop_string_is_shown(tokenizer):
    assert "".join(_pieces(tokenizer, TEXT, stop=["naïf", "。!"])) == TEXT


def test_of_several_stop_strings_that_ends_the_text_which_is_complete_first(tokenizer):
    assert "".join(_pieces(tokenizer, "aaabbcc", stop=["abbcc", "bb", "cc"])) == "aaa"
