"""How trained towers are kept: one folder each, with what was measured beside the weights, and a README over both."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as staging:
        new, old = Path(staging, "new"), Path(staging, "old")
        new.mkdir()
        save(new)
        (new / MEASURED).write_text(json.dumps(measured, indent=2) + "\n")
        if folder.exists():
            os.replace(folder, old)
        os.replace(new, folder)
        shutil.rmtree(old, ignore_errors=True)


def write_readme(out: Path) -> None:
    """Write `out/README.md` from what stands beside each tower there."""
    parts = [INTRODUCTION]
    for name in ("vision", "text"):
        file = out / name / MEASURED
        if not file.is_file():
            continue
        measured = json.loads(file.read_text())
        parts.append(f"## {name}\n\n```\n{measured['command']}\n```\n\n{_table(measured)}")
    staged = out / ".README.md"
    staged.write_text("\n".join(parts))
    os.replace(staged, out / "README.md")


def _table(measured: dict[str, Any]) -> str:
    rows = ["| measured | |", "|---|---|"]
    for key, value in measured.items():
        if key == "command":
            continue
        for part, figure in value.items() if isinstance(value, dict) else [("", value)]:
            label = f"{key.replace('_', ' ')}{': ' if part else ''}{part}"
            rows.append(f"| {label} | {f'{figure:.3f}' if isinstance(figure, float) else figure} |")
    return "\n".join(rows) + "\n"
