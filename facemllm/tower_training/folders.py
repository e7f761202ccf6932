"""How trained towers are kept: one folder each, with what was measured beside the weights, and a README over both."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets_scripts.files import read_json, replacing_folder, write_json, write_text

MEASURED = "training.json"

INTRODUCTION = """\
# The tiny towers

This project's stand-in for a pretrained SigLIP and Qwen, small enough for git. `vision/` is a FaceMLLMVisionModel
with its image processor, `text/` a Qwen3ForCausalLM with its tokenizer. Both were trained from scratch on drawn
faces and sentences about them; no photograph and no person's data is in them. `facemllm quickstart` starts from
them, and they are good for nothing else.

The fingerprint is the SHA-256 of the captions (vision) and sentences (text) that the tower learned from first. Weights
depend on the machine's arithmetic: a rebuild reaches the thresholds, it does not give the same bits.
"""


def write_tower(save: Callable[[Path], None], measured: dict[str, Any], folder: Path) -> None:
    """Let `save` write a tower, and put the whole folder in place at once; an older one is replaced."""
    with replacing_folder(folder) as new:
        save(new)
        write_json(new / MEASURED, measured)


def write_readme(out: Path) -> None:
    """Write `out/README.md` from what was measured of each tower there."""
    parts = [INTRODUCTION]
    for name in ("vision", "text"):
        if measured := read_json(out / name / MEASURED):
            parts.append(f"## {name}\n\n```\n{measured['command']}\n```\n\n{_table(measured)}")
    write_text(out / "README.md", "\n".join(parts))


def _table(measured: dict[str, Any]) -> str:
    rows = ["| measured | |", "|---|---|"]
    for key, value in measured.items():
        if key == "command":
            continue
        for part, figure in value.items() if isinstance(value, dict) else [("", value)]:
            label = f"{key.replace('_', ' ')}{': ' if part else ''}{part}"
            rows.append(f"| {label} | {f'{figure:.3f}' if isinstance(figure, float) else figure} |")
    return "\n".join(rows) + "\n"
