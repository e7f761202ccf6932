"""What can be told of a model without loading it: which weights it has, and how it was taught to tell an age."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from facemllm_onnx.export_location import RECORD

if TYPE_CHECKING:
    from facemllm.evaluation.task_protocols import AgeQuestion

IDENTIFYING = ("*config.json", "*.safetensors", "*.bin")
IDENTIFYING_EXPORTS = ("*config.json", "onnx/*.onnx", "onnx/*.onnx_data")
SAMPLES, SAMPLE_BYTES = 4096, 64


def identify(model: str | Path, adapter: str | Path | None = None) -> str | None:
    """A digest of weights and settings in a model's folder, its adapter's included; None for what is no folder here.

    Predictions of two models are so never mixed in one folder. Of each file the size and 4,096 places in it are read,
    so that stages that trained the projector alone, somewhere in the middle of the weights, are told apart too.
    """
    folders = [Path(name).expanduser() for name in (model, adapter) if name is not None]
    if not folders[0].is_dir():
        return None
    digest = hashlib.sha256()
    for folder in folders:
        patterns = IDENTIFYING_EXPORTS if (folder / RECORD).is_file() else IDENTIFYING
        for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
            size = path.stat().st_size
            digest.update(f"{path.name}\0{size}\0".encode())
            with open(path, "rb") as file:
                for start in range(0, size, max(SAMPLE_BYTES, size // SAMPLES)):
                    file.seek(start)
                    digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()[:16]


def hub_commit(model: str) -> str | None:
    """The commit that a Hub id stands for now; None for a folder, and for what neither the Hub nor its cache has."""
    if Path(model).expanduser().is_dir():
        return None
    # Adapters have their own; one of these is all that is fetched.
    config = from_hub(model, "config.json") or from_hub(model, "adapter_config.json")
    return None if config is None else config.parent.name


def taught_age(model: str) -> "AgeQuestion":
    """``groups`` for a model whose ``config.face_tasks`` has the age groups and no age in years, else ``years``."""
    from datasets_scripts.questions import canonical_question

    folder = Path(model).expanduser()
    config = folder / "config.json" if folder.is_dir() else from_hub(model, "config.json")
    if config is None:
        return "years"
    try:
        told = json.loads(config.read_text(encoding="utf-8")).get("face_tasks")
    except (OSError, ValueError):
        return "years"
    age = (told or {}).get("age", {}).get("options", ())
    return "groups" if set(age) == set(canonical_question("age")[1]) and "age_years" not in told else "years"


def from_hub(repo_id: str, name: str) -> Path | None:
    """A file of a model on the Hub as it lies in the local cache, ``…/snapshots/COMMIT/name``."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(hf_hub_download(repo_id, name))
    except (HfHubHTTPError, OSError, ValueError):  # loading the model says what is wrong
        return None
