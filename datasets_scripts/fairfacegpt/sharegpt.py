"""ShareGPT files: a JSON array (or lines) of conversations about pictures, read an entry at a time.

An entry has `conversations`, a list of `{"from": "human" | "gpt", "value": ...}` (`user` and `assistant` are
read too), and the picture's path as `image`, or as the list `images` of one. `<image>` in a value is a
placeholder.
"""

import codecs
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from datasets_scripts.schema import CorpusError

ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "model": "assistant"}
MAX_CHARACTERS = 2**24  # characters; no entry is longer: the file is damaged, or of another kind
MAX_TEXT = 100_000  # characters of a question or an answer
NESTED = object()
"""What stands for an entry that is nested more deeply than Python reads."""
_BEGIN = re.compile(r"\s*\[?")
_BETWEEN = re.compile(r"[\s,\]]*")
_STRUCTURE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]"]', re.DOTALL)
_PLACEHOLDER = "<image>"


@dataclass(frozen=True)
class PictureConversation:
    """An entry: the picture's path as it stands there, and the questions with their answers."""

    image: str
    pairs: tuple[tuple[str, str], ...]


class InvalidConversation(ValueError):
    """An entry that is no conversation about one picture; `reason` is the same for all with that fault."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


def json_entries(path: str | os.PathLike, start: int = 0, block_bytes: int = 2**20) -> Iterator[tuple[int, Any]]:
    """The entries of the array, each with the byte at which it begins; memory holds one of them and a block.

    `start` is such a byte, to begin there. An entry that is nested too deeply is `NESTED`. Raises `CorpusError`
    where the file is cut off or no JSON in UTF-8.
    """
    decoder, utf8 = json.JSONDecoder(parse_int=_whole), codecs.getincrementaldecoder("utf-8")()
    with open(path, "rb") as file:
        place = start or (3 if file.read(3) == codecs.BOM_UTF8 else 0)
        file.seek(place)
        text, at, ended, between = "", 0, False, _BETWEEN if start else _BEGIN
        try:
            while not ended:
                block = file.read(block_bytes)
                ended = not block
                text, at = text[at:] + utf8.decode(block, final=ended), 0
                while True:
                    begin = between.match(text, at).end()
                    if begin < len(text) or text.endswith("["):  # the beginning is over
                        between = _BETWEEN
                    place += len(text[at:begin].encode())
                    at = begin
                    if begin == len(text):
                        break
                    try:
                        entry, end = decoder.raw_decode(text, begin)
                    except json.JSONDecodeError:
                        if ended or len(text) - begin > MAX_CHARACTERS:
                            raise
                        break
                    except RecursionError:
                        entry, end = NESTED, _end(text, begin)
                        if end is None and (ended or len(text) - begin > MAX_CHARACTERS):
                            raise ValueError("an entry does not end") from None
                        if end is None:
                            break
                    yield place, entry
                    place += len(text[begin:end].encode())
                    at = end
        except ValueError as error:
            problem = f"at byte {place:,}: {error}"
            raise CorpusError(f"{path} is no whole ShareGPT file: {problem}; get it again") from error


def _whole(text: str) -> int | float:
    return int(text) if len(text) < 20 else float(text)  # which has no limit of digits


def _end(text: str, begin: int) -> int | None:
    """Where the array or object that begins at `begin` ends, None where it does not."""
    depth = 0
    for found in _STRUCTURE.finditer(text, begin):
        if found[0] == '"':
            return None
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(found[0], 0)
        if not depth:
            return found.end()
    return None


def json_entry(path: str | os.PathLike, place: int) -> Any:
    """The one entry that begins at the byte `place`."""
    return next(json_entries(path, place, block_bytes=2**13))[1]


def read_conversation(entry: Any) -> PictureConversation:
    """The conversation of one entry, placeholders removed; `InvalidConversation` says why it is none."""
    if entry is NESTED:
        raise InvalidConversation("nested too deeply")
    if not isinstance(entry, Mapping) or not isinstance(entry.get("conversations"), list):
        raise InvalidConversation("no conversations")
    pictures = [entry[name] for name in ("image", "images") if entry.get(name)]
    pictures = pictures[0] if pictures and isinstance(pictures[0], list) else pictures[:1]
    if not pictures or not isinstance(pictures[0], str):
        raise InvalidConversation("no image")
    if len(pictures) > 1:
        raise InvalidConversation("several images")
    turns = []
    for turn in entry["conversations"]:
        if not isinstance(turn, Mapping) or not isinstance(turn.get("value"), str):
            raise InvalidConversation("malformed turn")
        if len(turn["value"]) > MAX_TEXT:
            raise InvalidConversation(f"text of more than {MAX_TEXT:,} characters")
        role = ROLES.get(str(turn.get("from")))
        if role is None and not (turn.get("from") == "system" and not turns):
            raise InvalidConversation("turn of an unknown role")
        if role is not None:
            parts = turn["value"].split(_PLACEHOLDER)
            turns.append((role, "\n".join(part.strip() for part in parts).strip()))
    roles = [role for role, _ in turns]
    if not turns or roles != ["user", "assistant"] * (len(turns) // 2):
        raise InvalidConversation("question without an answer")
    texts = [text for _, text in turns]
    if not all(texts):
        raise InvalidConversation("empty turn")
    try:
        "".join([pictures[0], *texts]).encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise InvalidConversation("text that cannot be stored") from None
    return PictureConversation(pictures[0], tuple(zip(texts[::2], texts[1::2], strict=True)))
