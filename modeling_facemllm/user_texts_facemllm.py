"""What people write, tokenised as text: the special tokens of a prompt come from its chat template alone.

A tokenizer looks for the spellings of its special tokens in the rendered prompt, where nothing tells the template's
words from a user's: `<|im_end|>` in a question would end the turn. So a mark is put inside each such spelling in a
text (`<`, mark, `|im_end|>`) before the template is rendered, and a copy of the tokenizer reads the prompt, whose
normalizer takes the marks out.

It is exact because of the order in which tokenizers work. They look for special tokens in the raw prompt, where the
mark breaks what was typed. Then they normalize, which leaves the text as it was typed. Then they merge, which sees
that text together with what stands around it. So the ids are those of a tokenizer that never knew the typed token.
Offsets, image tokens, padding and the template's own tokens are as ever.

- A conversation in which nothing has to be marked goes its old way: the same prompt to the same tokenizer.
- Texts that only together spell a token (`<|im_` and `end|>`) are marked where they may meet. A mark that turns out to
  stand in no spelling changes nothing.
- Marks are made of noncharacters, which Unicode keeps out of texts. One in a text is written as a pair, and read back.

A template that begins its turns with plain words (`USER:`) cannot be helped: nothing tells them from a user's.

Who means the special tokens of a text renders the messages with `tokenize=False` and gives the prompt to the
processor, `processor(text=prompt, images=…)`. A token that texts may always use is added as an ordinary one,
`tokenizer.add_tokens(["<box>"])`, and kept out of the template.
"""

import copy
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from tokenizers import AddedToken, Tokenizer, models, normalizers

ESCAPE = "\ufdd0"
MARK, ESCAPED = ESCAPE + "\ufdd1", ESCAPE + "\ufdd2"
SURROGATE = re.compile("[\ud800-\udfff]")
"""Half a letter, of bytes that are no UTF-8 or of JSON: no tokenizer takes it."""
PROSE = ("content", "text")
"""Keys of texts that a template may write beside other texts; one of the others it compares with names it knows."""
MEDIA = ("image", "image_url", "video", "audio")
ROLES = ("system", "user", "assistant", "tool", "developer", "model")

_copies: WeakKeyDictionary = WeakKeyDictionary()
"""For each tokenizer, its copies that take marks out."""


def as_text(processor: Any, conversation: Any, chat_template: str | None = None) -> tuple[Any, Any]:
    """What to render, and the processor to render and read it with, so that texts are tokenised as text.

    Both are given back as they are where no text needs a mark. Otherwise the conversation is a marked copy, and the
    processor a shallow copy whose tokenizer takes the marks out; the one makes sense only with the other. A processor
    that came from here is not marked for again.

    Args:
        processor: of any vision-language model, or the ONNX runtime's.
        conversation: chat messages, or a batch of them, or a list with other texts of the same prompts.
        chat_template: the Jinja template, where it is not the processor's.

    Raises:
        ValueError: when a text holds a special token and the tokenizer cannot be kept from reading it as one.
    """
    tokenizer = processor.tokenizer
    if getattr(tokenizer, "takes_marks_out", False):
        return conversation, processor
    template = chat_template or getattr(processor, "chat_template", None) or tokenizer.chat_template
    special, ordinary, normalized = _tokens_of(tokenizer)
    image_token = getattr(processor, "image_token", None)
    spellings = _spellings(special | ({image_token} - {None}), ordinary, str(template))
    backend = getattr(tokenizer, "backend_tokenizer", None)
    marker = _Marker(*spellings, backend.normalizer if normalized and backend is not None else None)
    marked = marker.conversation(conversation)
    if not marker.changed:
        return conversation, processor
    if backend is None:
        if not marker.typed:
            return conversation, processor
        raise ValueError(
            f"a text holds {min(marker.typed)!r}, which {type(tokenizer).__name__} would read as its special token; "
            "load the tokenizer with use_fast=True, or take it out of the text"
        )
    reader = copy.copy(processor)
    reader.tokenizer = _copy_that_takes_marks_out(tokenizer, spellings[0].tokens)
    if unkept := marker.typed & reader.tokenizer.reads_as_special:
        raise ValueError(
            f"a text holds {min(unkept)!r}, which this tokenizer reads as its special token even as text; take it out"
        )
    return marked, reader


def variables_as_text(
    processor: Any, conversation: Any, variables: Mapping[str, Any], chat_template: str | None = None
) -> tuple[Any, dict[str, Any], Any]:
    """[`as_text`] of a conversation with what else its template is given: both to render, and the processor.

    Of the variables, those named `…_token` (`image_token`, `eos_token`) name a token, and stay as they are.
    """
    tokens = {name: value for name, value in variables.items() if name.endswith("_token")}
    others = {name: value for name, value in variables.items() if name not in tokens}
    (conversation, others), reader = as_text(processor, [conversation, others], chat_template)
    return conversation, {**others, **tokens}, reader


def chat_inputs(processor: Any, conversation: Any, **kwargs: Any) -> Any:
    """`processor.apply_chat_template(…, tokenize=True, return_dict=True)` of any processor, texts tokenised as text.

    Raises:
        ValueError: as [`as_text`], and what the processor raises.
    """
    conversation, kwargs, processor = variables_as_text(processor, conversation, kwargs)
    return processor.apply_chat_template(conversation, tokenize=True, return_dict=True, **kwargs)


class _Spellings:
    """The tokens that a text may not spell."""

    def __init__(self, tokens: frozenset[str]):
        self.tokens = tokens
        self.longest = max(map(len, tokens), default=0)
        self.letters = {token[0] for token in tokens}
        # Each place where one begins, also inside another.
        self.first_letters = re.compile(f"(?={'|'.join(map(re.escape, sorted(tokens))) or '(?!)'})(.)", re.DOTALL)
        self.beginnings = {token[:size] for token in tokens for size in range(1, len(token))}
        self.endings = {token[size:] for token in tokens for size in range(1, len(token))}

    def typed_in(self, text: str) -> set[str]:
        """The tokens that a text spells."""
        return set() if self.letters.isdisjoint(text) else {token for token in self.tokens if token in text}

    def marked(self, text: str, may_meet_others: bool) -> str:
        text = text.replace(ESCAPE, ESCAPED)
        core = text.strip()
        if may_meet_others and core:
            sizes = range(1, min(self.longest, len(core) + 1))
            inside = len(core) < self.longest and any(core in token for token in self.tokens)
            # Beside the words, not beside the space around them, which a template may strip.
            before = MARK if inside or any(core[:size] in self.endings for size in sizes) else ""
            after = MARK if inside or any(core[-size:] in self.beginnings for size in sizes) else ""
            start = text.index(core)
            text = text[:start] + before + core + after + text[start + len(core) :]
        return self.first_letters.sub(rf"\1{MARK}", text) if self.typed_in(text) else text


class _Marker:
    """Puts marks into the texts of a conversation; knows whether it had to, and which tokens were typed."""

    def __init__(self, spellings: _Spellings, of_assistant: _Spellings, normalizer: Any):
        self.spellings, self.of_assistant, self.normalizer = spellings, of_assistant, normalizer
        self.changed = False
        self.typed: set[str] = set()

    def conversation(self, value: Any, spellings: _Spellings | None = None, may_meet_others: bool = False) -> Any:
        spellings = spellings or self.spellings
        if isinstance(value, str):
            return self._text(value, spellings, may_meet_others)
        if isinstance(value, Mapping):
            if value.get("type") in MEDIA:
                return value
            spellings = self.of_assistant if value.get("role") == "assistant" else spellings
            return {
                self._text(key, spellings) if isinstance(key, str) else key: self.conversation(
                    item, spellings, key in PROSE
                )
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.conversation(item, spellings) for item in value]
        return value

    def _text(self, text: str, spellings: _Spellings, may_meet_others: bool = False) -> str:
        whole = SURROGATE.sub("\ufffd", text)
        self.changed |= whole != text
        text = whole
        marked = spellings.marked(text, may_meet_others)
        pairs = [(text, marked)]
        if self.normalizer is not None:
            normalized = self.normalizer.normalize_str(text)
            pairs.append((normalized, spellings.marked(normalized, may_meet_others)))
        for before, after in pairs:
            if before != after:
                self.changed = True
                self.typed |= spellings.typed_in(before)
        return marked


def _tokens_of(tokenizer: Any) -> tuple[frozenset[str], frozenset[str], bool]:
    """The spellings of the special and of the other added tokens; whether one is looked for in normalized text."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    added = tokenizer.added_tokens_decoder if backend is None else backend.get_added_tokens_decoder()
    # A token of one letter has no inside for a mark. Space is added to tokenizers too (Gemma's), and is text.
    tokens = [token for token in added.values() if len(token.content) > 1 and not token.content.isspace()]
    special = frozenset(token.content for token in tokens if token.special)
    return (
        special,
        frozenset(token.content for token in tokens) - special,
        any(token.normalized for token in tokens),
    )


@lru_cache(maxsize=16)
def _spellings(special: frozenset[str], ordinary: frozenset[str], template: str) -> tuple[_Spellings, _Spellings]:
    """What no text may spell, and what no text of an assistant may.

    Of added tokens that are not special (HTML tags in Gemma's tokenizer, `<｜User｜>` in DeepSeek's) it is those that
    the template writes, also from a role (`'<|' + role + '|>'`). One of them that the template itself looks for, as
    Qwen3's does for `</think>`, may stand in an answer.
    """
    written = {
        token
        for token in ordinary
        if token in template
        or any(role in token and all(piece in template for piece in token.split(role)) for role in ROLES)
    }
    looked_for = {token for token in written - special if re.search(_looks_for(token), template)}
    tokens = special | written
    return _Spellings(tokens), _Spellings(tokens - looked_for)


def _looks_for(token: str) -> str:
    quoted = rf"(?:'{re.escape(token)}'|\"{re.escape(token)}\")"
    return rf"{quoted}\s+(?:not\s+)?in\b|\.\w+\(\s*{quoted}"


def _copy_that_takes_marks_out(tokenizer: Any, tokens: frozenset[str]) -> Any:
    """A copy of a tokenizer that finds special tokens in the raw text only, and no mark behind that.

    Its `reads_as_special` are the tokens that its model makes of plain text too.
    """
    copies = _copies.setdefault(tokenizer, {})
    backend = tokenizer.backend_tokenizer
    known = copies.get(tokens)
    if known is not None and known.copied_from is backend:
        return known
    reader = copy.copy(tokenizer)
    reader._tokenizer = _backend_that_takes_marks_out(backend, tokens)
    reader.takes_marks_out = True
    reader.copied_from = backend
    reader.reads_as_special = {
        token
        for token in tokens
        if reader._tokenizer.token_to_id(token)
        in reader._tokenizer.encode(token[0] + MARK + token[1:], add_special_tokens=False).ids
    }
    copies.clear()
    copies[tokens] = reader
    return reader


def _backend_that_takes_marks_out(backend: Tokenizer, tokens: frozenset[str]) -> Tokenizer:
    """A tokenizer of the same model, which is large and is shared."""
    model = backend.model
    if isinstance(model, models.Unigram):  # it takes the likeliest pieces, and special tokens count as certain
        settings = json.loads(backend.to_str())["model"]
        least = min(score for _, score in settings["vocab"])
        vocab = [(piece, least - 100 if piece in tokens else score) for piece, score in settings["vocab"]]
        model = models.Unigram(vocab, settings["unk_id"], settings["byte_fallback"])
    reader = Tokenizer(model)
    reader.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(MARK, ""),
            normalizers.Replace(ESCAPED, ESCAPE),
            *([] if backend.normalizer is None else [backend.normalizer]),
        ]
    )
    for part in ("pre_tokenizer", "post_processor", "decoder"):
        if getattr(backend, part) is not None:
            setattr(reader, part, getattr(backend, part))
    added = sorted(backend.get_added_tokens_decoder().items())
    reader.add_tokens([_found_in_raw_text(token) if token.content in tokens else token for _, token in added])
    if any(reader.token_to_id(token.content) != number for number, token in added):
        raise ValueError("the tokenizer's added tokens are out of order: save it, and load what was saved")
    return reader


def _found_in_raw_text(token: AddedToken) -> AddedToken:
    flags = {name: getattr(token, name) for name in ("single_word", "lstrip", "rstrip", "special")}
    return AddedToken(token.content, normalized=False, **flags)
