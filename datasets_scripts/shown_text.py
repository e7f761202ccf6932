"""Text from elsewhere where it is shown: names, labels and answers are data in Markdown, on a terminal, in a table."""

import html
import re
import unicodedata
from typing import Any

_ORDER = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # marks that turn the order of letters around
_MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
_BLOCK = re.compile(r"^(\d+(?=[.)](?:\s|$))|(?=[#+=-]))")  # of a line that begins like a list or a heading
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def in_terminal(text: str, lines: bool = False) -> str:
    """`text` without what a terminal obeys: `\\x1b[2J` is shown as it is spelled. With `lines`, of several lines."""
    return "".join(char if char in "\n\t" and lines else _visible(char) for char in str(text))


def in_json(text: str) -> str:
    """A text of JSON that stays the same JSON, without what a terminal obeys."""
    return "".join(char if char == "\n" or not _is_hidden(char) else f"\\u{ord(char):04x}" for char in text)


def in_markdown(text: str) -> str:
    """`text` as it is, in one line: no link, picture, HTML, heading, table or emphasis comes of it."""
    line = _MARKUP.sub(lambda found: f"\\{found[0]}", in_terminal(" ".join(str(text).split())))
    return html.escape(_BLOCK.sub(r"\1\\", line), quote=False)


def in_code(text: str) -> str:
    """`text` as Markdown's code within a line, backquotes included."""
    line = in_terminal(" ".join(str(text).split()))
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    space = " " if not line or line[0] == "`" or line[-1] == "`" else ""
    return f"{fence}{space}{line}{space}{fence}"


def in_code_block(text: str, language: str = "") -> str:
    """`text` as a block of code in Markdown."""
    block = in_terminal(text, lines=True)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block)), default=0))
    return f"{fence}{language}\n{block}\n{fence}"


def in_spreadsheet(cell: Any) -> Any:
    """A cell of a CSV file: what a spreadsheet would run as a formula is made text."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _visible(char: str) -> str:
    return char.encode("unicode_escape").decode() if _is_hidden(char) else char


def _is_hidden(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or _ORDER.match(char) is not None
