"""Names, labels and answers are data wherever they are shown."""

import html

import pytest
from markdown_it import MarkdownIt

from datasets_scripts.shown_text import in_code, in_code_block, in_markdown, in_spreadsheet, in_terminal

rendered = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render

HOSTILE = [
    "<script>alert(1)</script>",
    "![x](http://tracker/p.png)",
    "[click](javascript:alert(1))",
    "a | b |",
    "**bold** *it* _it_ ~~no~~",
    "# title",
    "- item",
    "+ item",
    "1. item",
    "12) item",
    "---",
    "===",
    "> quote",
    "`code` ``code``",
    "&lt;b&gt; &#124;",
    "back\\slash \\| \\",
    "$x$",
    "  spaces  ",
    "wearing_hat 70 or older, non-smiling: 20-29 (2.5)",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_the_text_and_makes_nothing_of_it(text):
    shown = " ".join(text.split())
    assert rendered(in_markdown(text)) == f"<p>{html.escape(shown)}</p>\n"
    assert rendered(f"x {in_markdown(text)} y") == f"<p>{html.escape(f'x {shown} y')}</p>\n"
    table = rendered(f"| {in_markdown(text)} | b |\n|---|---|\n| c | {in_markdown(text)} |")
    assert table.count("<td>") == 2 and table.count(html.escape(shown)) == 2


def test_words_of_every_day_stay_as_they_are():
    for text in ("wearing_hat", "20-29", "70 or older", "non-smiling (2.5 %)", "O'Brien's face", "–", "été 日本"):
        assert in_markdown(text) == text


@pytest.mark.parametrize("text", ["plain", "a`b", "``", "`", "|", "a\nb"])
def test_code_ends_where_the_text_ends(text):
    page = rendered(f"x {in_code(text)} y")
    assert page.count("<code>") == 1 and f">{' '.join(text.split())}</code> y" in page


def test_a_block_of_code_is_not_ended_by_its_text():
    block = in_code_block("a\n```\n# b", "python").splitlines()
    assert block == ["````python", "a", "```", "# b", "````"]


def test_a_terminal_obeys_nothing():
    text = "\x1b[2J\x9b31m\r\u202egnp.exe\x07\x00é日\u200d"
    assert in_terminal(text) == r"\x1b[2J\x9b31m\r\u202egnp.exe\x07\x00é日" + "\u200d"
    assert in_terminal("a\n\tb") == r"a\n\tb" and in_terminal("a\n\tb", lines=True) == "a\n\tb"
    assert "\x1b" not in in_markdown("\x1b[31m") + in_code("\x1b") + in_code_block("\x1b")


def test_a_spreadsheet_runs_no_cell():
    for cell in ("=1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", "＝1"):
        assert in_spreadsheet(cell) == f"'{cell}"
    assert [in_spreadsheet(cell) for cell in (-1.5, "a=1", "", None)] == [-1.5, "a=1", "", None]
