"""A report's Markdown as one page: what reports are written in becomes HTML, and nothing else passes."""

import re

import pytest
from PIL import Image

from facemllm.evaluation.report.page import face_cards, page, section

TEXT = """# Faces & more

- Model: `a*b*c`
- Faces: 3

## Results

| task | value |
|---|--:|
| a \\| b | **80.0 %** |

| other | n |
|:---|---:|
| x | 1 |

> A notice.

![A plot](plots/a.png)

![Gone](plots/gone.png)
- *Generated*: <script>alert(1)</script>
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "plots").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "plots" / "a.png")
    return tmp_path


def test_headings_lists_tables_quotes_and_emphasis_become_html(folder):
    shown = section(TEXT, folder)
    assert "<h1>Faces &amp; more</h1>" in shown and "<h2>Results</h2>" in shown
    assert "<ul><li>Model: <code>a*b*c</code></li><li>Faces: 3</li></ul>" in shown
    assert "<blockquote>A notice.</blockquote>" in shown and "<i>Generated</i>" in shown
    assert "<td >a | b</td>" in shown and '<td style="text-align: right"><b>80.0 %</b></td>' in shown


def test_tables_parted_by_a_blank_line_stay_two(folder):
    assert section(TEXT, folder).count("<table>") == 2


def test_pictures_are_embedded_and_one_that_is_missing_is_left_out(folder):
    pictures = re.findall(r'<img src="(.{22}).*?" alt="(.*?)">', section(TEXT, folder))
    assert pictures == [("data:image/png;base64,", "A plot")]


def test_no_html_of_a_models_words_passes(folder):
    assert "<script>" not in section(TEXT, folder)
    Image.new("RGB", (4, 4)).save(folder / "face.png")
    turn = {"question": "Hat?", "expected": "cap", "answer": "<b>cap", "right": False, "held_out": True}
    cards = face_cards([{"file": "face.png", "turns": [turn]}], folder)
    assert "&lt;b&gt;cap <em>expected cap</em>" in cards and "zero-shot" in cards


def test_a_page_has_its_title_and_sections():
    shown = page("Faces & more", ["<p>one</p>", "<p>two</p>"])
    assert "<title>Faces &amp; more</title>" in shown and "<p>one</p>\n<p>two</p>" in shown
