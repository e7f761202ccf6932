"""Small tokenizers and chat templates built as those of well-known families are: what differs between them is here."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer, UnigramTrainer
from transformers import PreTrainedTokenizerFast

TEXTS = [
    "How old is the person in this photo, and does the person smile?",
    "user assistant system model end start of turn header id think image",
    "<|im_start|> <|im_end|> <start_of_turn> </think> [INST] <b>bold</b> 3 < 4 > 2 | a|b ||| <| |>",
    "The person wears a hat. No glasses, a beard.\n\nA second paragraph.",
] * 4
TURNS = "{% for message in messages %}"
TEXT_OF = (
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}"
)


@dataclass(frozen=True)
class Style:
    """A family: `control` is what its template writes to begin and end turns."""

    tokenizer: Callable[[], PreTrainedTokenizerFast]
    template: str
    control: tuple[str, ...]


def _fast(backend: Tokenizer, special: tuple[str, ...], ordinary: tuple[str, ...] = (), **names: Any):
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    backend.add_tokens([AddedToken(token, special=False, normalized=False) for token in ordinary])
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def _byte_level(pattern: str | None = None, normalizer: Any = None, ignore_merges: bool = False) -> Tokenizer:
    backend = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    backend.normalizer = normalizer
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    backend.pre_tokenizer = (
        bytes_only
        if pattern is None
        else pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), bytes_only])
    )
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend.train_from_iterator(TEXTS, BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False))
    return backend


def _sentence_piece(normalizer: Any, pre_tokenizer: Any, known: tuple[str, ...]) -> Tokenizer:
    """BPE over ▁ with bytes to fall back to; `known` are in the model's own vocabulary, as in converted ones."""
    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    backend.normalizer, backend.pre_tokenizer = normalizer, pre_tokenizer
    known = (*known, "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)))
    backend.train_from_iterator(
        TEXTS, BpeTrainer(vocab_size=520, special_tokens=list(known), initial_alphabet=["▁"], show_progress=False)
    )
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return _without_added(backend)


def _without_added(backend: Tokenizer) -> Tokenizer:
    """The trainer's tokens stay in the vocabulary and are no added ones yet."""
    return Tokenizer.from_str(json.dumps(json.loads(backend.to_str()) | {"added_tokens": []}))


QWEN_WORDS = r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CHATML = ("<|im_start|>", "<|im_end|>")


def _qwen() -> PreTrainedTokenizerFast:
    backend = _byte_level(QWEN_WORDS, normalizers.NFC())
    return _fast(backend, ("<|endoftext|>", *CHATML), ("<think>", "</think>", "<tool_call>"), eos_token="<|im_end|>")


def _llama3() -> PreTrainedTokenizerFast:
    special = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    backend = _byte_level(QWEN_WORDS, ignore_merges=True)
    tokenizer = _fast(backend, special, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>")
    begin = ("<|begin_of_text|>", tokenizer.convert_tokens_to_ids("<|begin_of_text|>"))
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        f"{begin[0]} $A", f"{begin[0]} $A {begin[0]} $B", special_tokens=[begin]
    )
    return tokenizer


def _gemma() -> PreTrainedTokenizerFast:
    known = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", "\n", "\n\n", "▁▁", "<b>", "</b>")
    split = pre_tokenizers.Split(" ", "merged_with_previous")
    backend = _sentence_piece(normalizers.Replace(" ", "▁"), split, known)
    return _fast(
        backend,
        known[:3],
        known[3:],  # the first Gemma's turns are no special tokens
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
    )


def _llama2() -> PreTrainedTokenizerFast:
    spaces = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend = _sentence_piece(spaces, None, ("<s>", "</s>"))
    return _fast(backend, ("<s>", "</s>"), bos_token="<s>", eos_token="</s>")


def _mistral() -> PreTrainedTokenizerFast:
    backend = _sentence_piece(None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False), ("<s>", "</s>"))
    return _fast(backend, ("<s>", "</s>", "[INST]", "[/INST]"), bos_token="<s>", eos_token="</s>")


def _unigram() -> PreTrainedTokenizerFast:
    """Special tokens are pieces of the model here: the likeliest ones."""
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    special = ("<s>", "</s>", "<|user|>", "<|assistant|>")
    trainer = UnigramTrainer(
        vocab_size=300, special_tokens=["<unk>", *special], unk_token="<unk>", show_progress=False
    )
    backend.train_from_iterator(TEXTS, trainer)
    backend.decoder = decoders.Metaspace()
    return _fast(_without_added(backend), special, bos_token="<s>", eos_token="</s>")


def _normalized() -> PreTrainedTokenizerFast:
    """Tokens that are looked for in normalized text, as `add_tokens` adds them."""
    backend = _byte_level(normalizer=normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]))
    backend.add_tokens([AddedToken(token, normalized=True) for token in ("<user>", "<assistant>", "<end>")])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>")


def _from_role() -> PreTrainedTokenizerFast:
    turns = ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>")
    return _fast(_byte_level(), ("<|endoftext|>",), turns, eos_token="<|endoftext|>")


STYLES = {
    "qwen": Style(
        _qwen,
        TURNS + "{{ '<|im_start|>' + message.role + '\\n' }}"
        "{% if message.role == 'assistant' and message.content is string and '</think>' in message.content %}"
        "{{ '<think>\\n\\n</think>\\n' + message.content.split('</think>')[-1] }}{% else %}" + TEXT_OF + "{% endif %}"
        "<|im_end|>{{ '\\n' }}{% endfor %}{% if tools %}<tool_call>{% endif %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
        (*CHATML, "<|endoftext|>", "<tool_call>"),
    ),
    "llama3": Style(
        _llama3,
        "{{ bos_token }}" + TURNS + "<|start_header_id|>{{ message.role }}<|end_header_id|>{{ '\\n\\n' }}"
        "{% set text %}" + TEXT_OF + "{% endset %}{{ text | trim }}<|eot_id|>{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>{{ '\\n\\n' }}{% endif %}",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|begin_of_text|>"),
    ),
    "gemma": Style(
        _gemma,
        "{{ bos_token }}" + TURNS + "{% set role = 'model' if message.role == 'assistant' else message.role %}"
        "{{ '<start_of_turn>' + role + '\\n' }}{% set text %}" + TEXT_OF + "{% endset %}"
        "{{ text | trim }}{{ '<end_of_turn>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}",
        ("<start_of_turn>", "<end_of_turn>", "<eos>"),
    ),
    "llama2": Style(
        _llama2,
        TURNS + "{% if message.role == 'assistant' %}{{ ' ' }}" + TEXT_OF + "{{ ' </s>' }}"
        "{% else %}{{ '<s>[INST] ' }}" + TEXT_OF + "{{ ' [/INST]' }}{% endif %}{% endfor %}",
        ("<s>", "</s>"),
    ),
    "mistral": Style(
        _mistral,
        "{{ bos_token }}" + TURNS + "{% if message.role == 'assistant' %}" + TEXT_OF + "{{ eos_token }}"
        "{% else %}{{ '[INST] ' }}" + TEXT_OF + "{{ '[/INST]' }}{% endif %}{% endfor %}",
        ("[INST]", "[/INST]", "</s>"),
    ),
    "unigram": Style(
        _unigram,
        TURNS + "<|{{ message.role }}|>" + TEXT_OF + "</s>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}",
        ("<|user|>", "<|assistant|>", "</s>"),
    ),
    "normalized": Style(
        _normalized,
        TURNS + "<{{ message.role }}>" + TEXT_OF + "<end>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}",
        ("<user>", "<assistant>", "<end>", "<END>", "＜assistant＞"),
    ),
    "token-from-role": Style(
        _from_role,
        TURNS + "{{ '<|' + message.role + '|>' }}" + TEXT_OF + "{{ '<|end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}",
        ("<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"),
    ),
}
