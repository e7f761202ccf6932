"""A report as one HTML page that needs no other file: the Markdown of `report.md`, pictures embedded."""

import base64
import functools
import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from datasets_scripts.shown_text import in_terminal

_KINDS = {"#": "heading", "- ": "item", "> ": "quote", "|": "row", "![": "picture"}
_INLINE = re.compile(
    r"\\(?P<char>[!-/:-@\[-`{-~])"
    r"|(?P<fence>`+)(?P<code>.+?)(?<!`)(?P=fence)(?!`)"
    r"|\*\*(?P<bold>(?:\\.|[^\\])+?)\*\*"
    r"|(?<!\w)\*(?P<italics>[^\s\\*](?:\\.|[^\\*])*)\*"
)
_PICTURE = re.compile(r"!\[((?:\\.|[^\\\]])*)\]\(([^)]+)\)")


def page(title: str, sections: Iterable[str]) -> str:
    """The whole page; `sections` are what `section` and `face_cards` return."""
    return _template(_PAGE).render(title=in_terminal(title), sections=[Markup(each) for each in sections])


def section(text: str, folder: Path) -> str:
    """`text` as HTML: of Markdown what reports are written in.

    That is headings, lists, quotes, tables, pictures alone on their line, bold, italics, code and what
    `shown_text.in_markdown` writes. No HTML passes.

    Args:
        folder: where the files of the pictures lie; one that is not there is left out.
    """
    parts = groupby(text.splitlines(), key=_kind)
    return "\n".join(block for kind, lines in parts for block in _blocks(kind, list(lines), folder))


def face_cards(faces: Sequence[Mapping[str, Any]], folder: Path) -> str:
    """Faces in `folder`, each with what was asked about it and answered.

    Args:
        faces: for each face its `file` and `turns`: `question`, `expected`, `answer`, `right` and `held_out`.
    """
    cards = [{**face, "picture": _data_url(folder / face["file"])} for face in faces]
    return _template(_CARDS).render(faces=cards)


@functools.cache
def _template(source: str) -> Any:
    return Environment(autoescape=True, undefined=StrictUndefined).from_string(source)


def _kind(line: str) -> str:
    return next((kind for start, kind in _KINDS.items() if line.startswith(start)), "text" if line else "blank")


def _blocks(kind: str, lines: list[str], folder: Path) -> Iterator[str]:
    match kind:
        case "heading":
            for line in lines:
                signs, _, words = line.partition(" ")
                yield Markup("<h{0}>{1}</h{0}>").format(min(len(signs), 6), _inline(words))
        case "item":
            items = Markup("").join(Markup("<li>{}</li>").format(_inline(line[2:])) for line in lines)
            yield Markup("<ul>{}</ul>").format(items)
        case "quote":
            yield from (Markup("<blockquote>{}</blockquote>").format(_inline(line[2:])) for line in lines)
        case "row":
            yield _table([re.split(r"(?<!\\)\|", line.strip()[1:-1]) for line in lines])
        case "picture":
            for shown, file in _PICTURE.findall("\n".join(lines)):
                if (folder / file).is_file():
                    alt = _inline(shown).striptags()
                    yield Markup('<img src="{}" alt="{}">').format(_data_url(folder / file), alt)
        case "text":
            yield from (Markup("<p>{}</p>").format(_inline(line)) for line in lines)


def _table(rows: list[list[str]]) -> Markup:
    """The first row is the header, the second says which columns stand to the right."""
    header, alignment, *body = rows
    right = [Markup('style="text-align: right"' if cell.strip().endswith(":") else "") for cell in alignment]

    def row(cells: list[str], tag: str) -> Markup:
        shown = zip(right, cells, strict=False)
        cell = Markup("<{0} {1}>{2}</{0}>")
        return Markup("<tr>{}</tr>").format(
            Markup("").join(cell.format(Markup(tag), at, _inline(text.strip())) for at, text in shown)
        )

    lines = [row(header, "th"), *(row(cells, "td") for cells in body)]
    return Markup('<div class="wide"><table>{}</table></div>').format(Markup("").join(lines))


def _inline(text: str) -> Markup:
    parts, end = [], 0
    for found in _INLINE.finditer(text):
        parts.append(escape(html.unescape(text[end : found.start()])))
        end = found.end()
        if found["char"]:
            parts.append(escape(found["char"]))
        elif found["code"]:
            parts.append(Markup("<code>{}</code>").format(found["code"].strip().replace("\\|", "|")))
        else:
            tag = "b" if found["bold"] else "i"
            parts.append(Markup("<{0}>{1}</{0}>").format(Markup(tag), _inline(found["bold"] or found["italics"])))
    return Markup("").join([*parts, escape(html.unescape(text[end:]))])


def _data_url(file: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()


_CARDS = """<div class="cards">
{%- for face in faces %}<article><img src="{{ face.picture }}" alt="{{ face.file }}"><dl>
{%- for turn in face.turns -%}
<dt>{{ turn.question }}{% if turn.held_out %} <small>zero-shot</small>{% endif %}</dt>
{%- if turn.right -%}
<dd class="right">{{ turn.answer or "(nothing)" }}</dd>
{%- else -%}
<dd class="wrong">{{ turn.answer or "(nothing)" }} <em>expected {{ turn.expected }}</em></dd>
{%- endif -%}
{% endfor %}</dl></article>
{%- endfor %}</div>"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { --ink: #1d2433; --soft: #667085; --line: #e4e7ec; --right: #0f7a4d; --wrong: #b42318; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 48px 24px 72px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 8px; letter-spacing: -.01em; }
h2 { font-size: 20px; margin: 48px 0 8px; }
* + h1 { margin-top: 72px; }
h3 { font-size: 16px; margin: 28px 0 8px; }
p, li, blockquote { max-width: 80ch; overflow-wrap: anywhere; }
blockquote { margin: 16px 0; padding-left: 14px; border-left: 3px solid var(--line); color: var(--soft); }
img { display: block; max-width: 100%; margin: 12px 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; margin: 8px 0; }
th, td { padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); text-align: left; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 16px; margin-top: 16px; }
article { display: flex; gap: 14px; padding: 14px; border: 1px solid var(--line); border-radius: 10px; }
article img { width: 112px; height: 112px; border-radius: 6px; flex: none; margin: 0; }
dl { margin: 0; font-size: 13.5px; line-height: 1.4; }
dt { color: var(--soft); }
dd { margin: 0 0 6px; font-weight: 600; }
dd::before { margin-right: 6px; }
.right { color: var(--right); } .right::before { content: "✓"; }
.wrong { color: var(--wrong); } .wrong::before { content: "✗"; }
dd em { font-weight: 400; color: var(--soft); }
small { font-size: 11px; padding: 0 6px; border: 1px solid var(--line); border-radius: 8px; white-space: nowrap; }
code { font-size: 14px; }
@media print { main { padding: 0; } article { break-inside: avoid; } }
</style>
</head>
<body>
<main>
{{ sections | join("\n") }}
</main>
</body>
</html>
"""
