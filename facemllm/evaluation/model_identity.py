"""What can be told of a model without loading it: which weights it has, and how it was taught to tell an age."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facemllm.evaluation.task_protocols import AgeQuestion

EDGE_BYTES = 1 << 20
WEIGHTS = ("*.safetensors", "*.bin")


def identify(model: str | Path, adapter: str | Path | None = None) -> str | None:
    """A digest of the weights in a model's folder, its adapter's included; None for what is not a folder here.

    Predictions of two models are so never mixed in one folder. Of each file the size and its first and last megabyte
    are read: two models that differ somewhere else alone are not told apart.
    """
    folders = [Path(name).expanduser() for name in (model, adapter) if name is not None]
    if not folders[0].is_dir():
        return None
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(path for pattern in WEIGHTS for path in folder.glob(pattern)):
            size = path.stat().st_size
            digest.update(f"{path.name}\0{size}\0".encode())
            with open(path, "rb") as file:
                digest.update(file.read(EDGE_BYTES))
                file.seek(max(0, size - EDGE_BYTES))
                digest.update(file.read())
    return digest.hexdigest()[:16]


def taught_age(model: str | Path) -> "AgeQuestion":
    """``groups`` for a folder whose ``config.face_tasks`` has the age groups and no age in years, else ``years``."""
    from datasets_scripts.questions import canonical_question

    try:
        told = json.loads((Path(model).expanduser() / "config.json").read_text(encoding="utf-8")).get("face_tasks")
    except (OSError, ValueError):
        return "years"
    age = (told or {}).get("age", {}).get("options", ())
    return "groups" if set(age) == set(canonical_question("age")[1]) and "age_years" not in told else "years"
