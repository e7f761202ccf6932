"""A report as one HTML page that needs no other file: the Markdown of `report.md`, pictures embedded."""

import base64
import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

_KINDS = {"#": "heading", "- ": "item", "> ": "quote", "|": "row", "![": "picture"}
_INLINE = ((r"\*\*(.+?)\*\*", r"<b>\1</b>"), (r"(?<!\w)\*(\S[^*]*)\*", r"<i>\1</i>"))


def page(title: str, sections: Iterable[str]) -> str:
    """The whole page; `sections` are what `section` and `face_cards` return."""
    return _TEMPLATE.format(title=html.escape(title), body="\n".join(sections))


def section(text: str, folder: Path) -> str:
    """`text` as HTML: of Markdown what reports are written in.

    That is headings, lists, quotes, tables, pictures alone on their line, bold, italics and code. No HTML passes.

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
    return f'<div class="cards">{"".join(_card(face, folder) for face in faces)}</div>'


def _kind(line: str) -> str:
    return next((kind for start, kind in _KINDS.items() if line.startswith(start)), "text" if line else "blank")


def _blocks(kind: str, lines: list[str], folder: Path) -> Iterator[str]:
    match kind:
        case "heading":
            for line in lines:
                signs, _, words = line.partition(" ")
                yield f"<h{len(signs)}>{_inline(words)}</h{len(signs)}>"
        case "item":
            yield f"<ul>{''.join(f'<li>{_inline(line[2:])}</li>' for line in lines)}</ul>"
        case "quote":
            yield from (f"<blockquote>{_inline(line[2:])}</blockquote>" for line in lines)
        case "row":
            yield _table([re.split(r"(?<!\\)\|", line.strip()[1:-1]) for line in lines])
        case "picture":
            for shown, file in re.findall(r"!\[(.*?)\]\((.+?)\)", "\n".join(lines)):
                if (folder / file).is_file():
                    yield f'<img src="{_data_url(folder / file)}" alt="{html.escape(shown)}">'
        case "text":
            yield from (f"<p>{_inline(line)}</p>" for line in lines)


def _table(rows: list[list[str]]) -> str:
    """The first row is the header, the second says which columns stand to the right."""
    header, alignment, *body = rows
    right = ['style="text-align: right"' if cell.strip().endswith(":") else "" for cell in alignment]

    def row(cells: list[str], tag: str) -> str:
        shown = (_inline(cell.strip().replace("\\|", "|")) for cell in cells)
        return f"<tr>{''.join(f'<{tag} {at}>{cell}</{tag}>' for at, cell in zip(right, shown, strict=False))}</tr>"

    return f'<div class="wide"><table>{row(header, "th")}{"".join(row(cells, "td") for cells in body)}</table></div>'


def _inline(text: str) -> str:
    parts = html.escape(text).split("`")
    for place, part in enumerate(parts):
        if place % 2:
            parts[place] = f"<code>{part}</code>"
            continue
        for pattern, replacement in _INLINE:
            parts[place] = re.sub(pattern, replacement, parts[place])
    return "".join(parts)


def _data_url(file: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()


def _card(face: Mapping[str, Any], folder: Path) -> str:
    turns = []
    for turn in face["turns"]:
        state, answer = "right" if turn["right"] else "wrong", html.escape(turn["answer"]) or "(nothing)"
        note = "" if turn["right"] else f" <em>expected {html.escape(turn['expected'])}</em>"
        tag = " <small>zero-shot</small>" if turn["held_out"] else ""
        turns.append(f'<dt>{html.escape(turn["question"])}{tag}</dt><dd class="{state}">{answer}{note}</dd>')
    picture = f'<img src="{_data_url(folder / face["file"])}" alt="{html.escape(face["file"])}">'
    return f"<article>{picture}<dl>{''.join(turns)}</dl></article>"


_TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ --ink: #1d2433; --soft: #667085; --line: #e4e7ec; --right: #0f7a4d; --wrong: #b42318; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; color: var(--ink); background: #fff;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }}
main {{ max-width: 1080px; margin: 0 auto; padding: 48px 24px 72px; }}
h1 {{ font-size: 30px; line-height: 1.2; margin: 0 0 8px; letter-spacing: -.01em; }}
h2 {{ font-size: 20px; margin: 48px 0 8px; }}
* + h1 {{ margin-top: 72px; }}
h3 {{ font-size: 16px; margin: 28px 0 8px; }}
p, li, blockquote {{ max-width: 80ch; overflow-wrap: anywhere; }}
blockquote {{ margin: 16px 0; padding-left: 14px; border-left: 3px solid var(--line); color: var(--soft); }}
img {{ display: block; max-width: 100%; margin: 12px 0; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; margin: 8px 0; }}
th, td {{ padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); text-align: left; }}
th {{ color: var(--soft); font-weight: 600; vertical-align: bottom; }}
.cards {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 16px; margin-top: 16px; }}
article {{ display: flex; gap: 14px; padding: 14px; border: 1px solid var(--line); border-radius: 10px; }}
article img {{ width: 112px; height: 112px; border-radius: 6px; flex: none; margin: 0; }}
dl {{ margin: 0; font-size: 13.5px; line-height: 1.4; }}
dt {{ color: var(--soft); }}
dd {{ margin: 0 0 6px; font-weight: 600; }}
dd::before {{ margin-right: 6px; }}
.right {{ color: var(--right); }} .right::before {{ content: "✓"; }}
.wrong {{ color: var(--wrong); }} .wrong::before {{ content: "✗"; }}
dd em {{ font-weight: 400; color: var(--soft); }}
small {{ font-size: 11px; padding: 0 6px; border: 1px solid var(--line); border-radius: 8px; white-space: nowrap; }}
code {{ font-size: 14px; }}
@media print {{ main {{ padding: 0; }} article {{ break-inside: avoid; }} }}
</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""
