"""What hostile input is made of: sound files with damage, and sound JSON with what nobody expects in it."""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
FRAGMENTS = (
    b"",
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"-1",
    b"nan",
    b"inf",
    b"1e999",
    b"9" * 5000,
    "²٣".encode(),
    b'"',
    b"'",
    b",",
    b";",
    b"\t",
    b"\n",
    b"\r",
    b"../../etc/passwd",
    b"/dev/zero",
    b"C:\\a",
    b"<script>",
    b"x" * 300,
    b"x" * 70_000,
)
"""Pieces that label files and texts are broken with."""
DEEP, DIGITS, BEYOND = "<deep>", "<digits>", "<beyond>"
WRITTEN = {f'"{DEEP}"': "[" * 100_000 + "]" * 100_000, f'"{DIGITS}"': "9" * 5000, f'"{BEYOND}"': "1e999"}
"""JSON that Python does not write, by what stands for it."""

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**400]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["", " ", "\0", "\ud800", "../x", "/dev/zero", "a\nb", "x" * 70_000, DEEP, DIGITS, BEYOND, "<image>"]
    ),
)
hostile_json = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mutated(draw: Callable, originals: Sequence[bytes], fragments: Sequence[bytes] = (), most: int = 6) -> bytes:
    """One of the files with up to `most` bytes, numbers or stretches of it changed."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, most))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        end = place + draw(st.sampled_from([1, 2, 4, 8, 64, 1024]))
        kind = draw(st.sampled_from(["byte", "number", "cut", "drop", "repeat", "move", "insert", "fragment"]))
        if kind == "byte":
            content[place : place + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == "number":
            number = draw(st.sampled_from(NUMBERS)).to_bytes(4, draw(st.sampled_from(["little", "big"])))
            content[place : place + 4] = number
        elif kind == "cut":
            del content[place:]
        elif kind == "drop":
            del content[place:end]
        elif kind == "repeat":
            content[place:place] = content[place:end] * draw(st.sampled_from([1, 2, 50]))
        elif kind == "move":
            piece = content[place:end]
            other = draw(st.integers(0, max(0, len(content) - 1)))
            content[other : other + len(piece)] = piece
        elif kind == "insert":
            content[place:place] = draw(st.binary(min_size=1, max_size=8))
        elif fragments:
            content[place : draw(st.sampled_from([place, end]))] = draw(st.sampled_from(fragments))
    return bytes(content)


@st.composite
def mutated_json(draw: Callable, originals: Sequence[Any]) -> str:
    """One of the values with up to three parts of it replaced, removed or repeated, as JSON text."""
    value = mutate_plain(draw, draw(st.sampled_from(originals)), hostile_json)
    text = _dump(value, draw(st.booleans()))
    for standing, written in WRITTEN.items():
        text = text.replace(standing, written)
    return text


def mutate_plain(draw: Callable, value: Any, hostile: st.SearchStrategy) -> Any:
    """A copy of plain data with up to three parts of it replaced, removed, renamed or repeated."""
    value = [copy.deepcopy(value)]
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(list(_places(value))))
        kind = draw(st.sampled_from(["replace", "replace", "wrap", "remove", "rename", "repeat"]))
        if kind == "wrap":
            holder[key] = draw(st.sampled_from([[holder[key]], {"a": holder[key]}]))
        elif kind == "remove" and isinstance(holder, dict):
            del holder[key]
        elif kind == "rename" and isinstance(holder, dict):
            holder[draw(st.text(max_size=5))] = holder.pop(key)
        elif kind == "repeat" and isinstance(holder, list) and holder is not value:
            holder.append(holder[key])
        else:
            holder[key] = draw(hostile)
    return value[0]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    for key, item in items:
        yield value, key
        if isinstance(item, (dict, list)):
            yield from _places(item)


def _dump(value: Any, ascii_only: bool) -> str:
    text = json.dumps(value, ensure_ascii=ascii_only)
    return text if ascii_only else text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
