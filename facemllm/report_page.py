"""The one-page report of a quickstart: self-contained HTML, pictures embedded."""

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def page(
    report: Mapping[str, Any],
    sentences: Sequence[str],
    charts: Mapping[str, bytes],
    examples: Sequence[Mapping[str, Any]],
    faces: Path,
) -> str:
    """The whole page as HTML that needs no other file.

    Args:
        report: what `report.json` holds.
        sentences: the verdicts above the figures.
        charts: the PNGs of the charts `stages`, `loss` and `attributes`.
        examples: what `facemllm.quickstart.examples.answer_examples` returned.
        faces: folder of the examples' pictures.
    """
    minutes, rest = divmod(round(report["seconds"]), 60)
    parameters = sum(part["total"] for part in report["parameters"].values())
    figures = [
        (f"{report['mean_accuracy']:.1%}", "mean accuracy, trained attributes"),
        (f"{report['majority_accuracy']:.1%}", "majority baseline"),
        *((f"{entry['accuracy']:.1%}", f"{_plain(name)}, zero-shot") for name, entry in report["zero_shot"].items()),
        (f"{minutes}:{rest:02d}", "minutes in all"),
        (f"{report['peak_memory_bytes'] / 2**30:.1f} GiB", "peak memory"),
        (f"{parameters / 1e6:.1f} M", "parameters"),
    ]
    asked = max(entry["n"] for entry in report["per_attribute"].values())
    return _TEMPLATE.format(
        sentences=html.escape(" ".join(sentences)),
        figures="\n".join(f"<div><b>{value}</b><span>{html.escape(label)}</span></div>" for value, label in figures),
        cards="\n".join(_card(example, faces) for example in examples),
        seed=report["seed"],
        asked=asked,
        model=html.escape(report["model"]),
        **{name: _data_url(png) for name, png in charts.items()},
    )


def _data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _card(example: Mapping[str, Any], faces: Path) -> str:
    picture = _data_url((faces / example["file"]).read_bytes())
    turns = []
    for turn in example["turns"]:
        state = "right" if turn["right"] else "wrong"
        note = "" if turn["right"] else f" <em>expected {html.escape(turn['expected'])}</em>"
        tag = " <small>zero-shot</small>" if turn["held_out"] else ""
        turns.append(
            f"<dt>{html.escape(turn['question'])}{tag}</dt>"
            f'<dd class="{state}">{html.escape(turn["answer"]) or "(nothing)"}{note}</dd>'
        )
    return f'<article><img src="{picture}" alt="{example["file"]}"><dl>{"".join(turns)}</dl></article>'


_TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Face-MLLM quickstart</title>
<style>
:root {{ --ink: #1d2433; --soft: #667085; --line: #e4e7ec; --right: #0f7a4d; --wrong: #b42318; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; color: var(--ink); background: #fff;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }}
main {{ max-width: 1080px; margin: 0 auto; padding: 48px 24px 72px; }}
h1 {{ font-size: 30px; line-height: 1.2; margin: 0 0 8px; letter-spacing: -.01em; }}
h2 {{ font-size: 20px; margin: 56px 0 4px; }}
p {{ margin: 0 0 12px; max-width: 72ch; }}
.soft {{ color: var(--soft); }}
.figures {{ display: flex; flex-wrap: wrap; gap: 16px 40px; margin: 32px 0 0; padding: 20px 0;
  border: solid var(--line); border-width: 1px 0; }}
.figures b {{ display: block; font-size: 26px; line-height: 1.2; font-variant-numeric: tabular-nums; }}
.figures span {{ font-size: 13px; color: var(--soft); }}
.charts {{ display: grid; grid-template-columns: 1fr 1fr; gap: 24px; }}
img {{ max-width: 100%; }}
.cards {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 16px; margin-top: 16px; }}
article {{ display: flex; gap: 14px; padding: 14px; border: 1px solid var(--line); border-radius: 10px; }}
article img {{ width: 112px; height: 112px; border-radius: 6px; flex: none; }}
dl {{ margin: 0; font-size: 13.5px; line-height: 1.4; }}
dt {{ color: var(--soft); }}
dd {{ margin: 0 0 6px; font-weight: 600; }}
dd::before {{ margin-right: 6px; }}
.right {{ color: var(--right); }} .right::before {{ content: "✓"; }}
.wrong {{ color: var(--wrong); }} .wrong::before {{ content: "✗"; }}
dd em {{ font-weight: 400; color: var(--soft); }}
small {{ font-size: 11px; padding: 0 6px; border: 1px solid var(--line); border-radius: 8px; white-space: nowrap; }}
code {{ font-size: 14px; }}
@media (max-width: 760px) {{ .charts {{ grid-template-columns: 1fr; }} }}
@media print {{ main {{ padding: 0; }} article {{ break-inside: avoid; }} }}
</style>
</head>
<body>
<main>
<h1>A face MLLM, trained in three stages</h1>
<p class="soft">Drawn faces of 64 pixels, seed {seed}. The model is in <code>{model}</code>.</p>
<p>{sentences}</p>
<div class="figures">
{figures}
</div>

<h2>Each stage, and its loss</h2>
<div class="charts">
<img src="{stages}" alt="Accuracy after each stage">
<img src="{loss}" alt="Training loss of each stage">
</div>

<h2>Each attribute</h2>
<p class="soft">After the last stage, {asked} held-out faces. The whiskers are 95 % Wilson intervals.</p>
<img src="{attributes}" alt="Accuracy of each attribute beside the majority baseline">

<h2>What it answers</h2>
<p class="soft">The first held-out faces, not chosen ones. A question marked zero-shot asks for something that no
question about a picture asked for in training.</p>
<div class="cards">
{cards}
</div>

<h2>How this was measured</h2>
<p>An answer counts only if the normalised generated text (lower case, without a full stop) equals the expected value;
prose around it counts as wrong. The majority baseline answers every question with the value that is most frequent in
the training split. No face of the test split, and no combination of its attributes, is in the training split, nor in
what the towers were trained on. Zero-shot is said to have emerged where the whole 95 % interval lies above both chance
and the majority baseline.</p>
</main>
</body>
</html>
"""
