"""Names that may mean the Hub: distinguished from folders before anything is loaded; single files of them."""

import os
from pathlib import Path

from facemllm.cli import UserError

# The rule lies there because the ONNX runtime, which imports nothing of this package, follows it too.
from facemllm_onnx.export_location import could_be_hub_id

__all__ = ["ADAPTER", "check_model_name", "could_be_hub_id", "from_hub", "hub_commit", "is_model_folder"]

ADAPTER = "adapter_config.json"


def is_model_folder(name: str | Path) -> bool:
    """Whether this is the folder of a model, an export or an adapter. Any text may be asked about."""
    folder = os.path.expanduser(os.fspath(name))
    return folder != "" and any(os.path.isfile(os.path.join(folder, file)) for file in ("config.json", ADAPTER))


def check_model_name(model: str | Path) -> None:
    """Refuse what is neither a model's or adapter's folder nor can be a Hub id. Raises `UserError`; asks no Hub."""
    path = Path(model).expanduser()
    if path.is_dir():
        if not is_model_folder(path):
            raise UserError(
                f"{model}: the folder has no config.json; give the folder that training or quickstart left"
            )
    elif not could_be_hub_id(str(model)):
        remedy = "a Hub id has the form owner/name, and facemllm models lists known names"
        raise UserError(f"{model}: there is no such model folder; {remedy}")


def from_hub(repo_id: str, name: str) -> Path | None:
    """A file of a model on the Hub as it lies in the local cache, `…/snapshots/COMMIT/name`."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(hf_hub_download(repo_id, name))
    except (HfHubHTTPError, OSError, ValueError):  # loading the model says what is wrong
        return None


def hub_commit(model: str) -> str | None:
    """The commit that a Hub id resolves to now; None for a folder, and for what neither the Hub nor its cache has."""
    if Path(model).expanduser().is_dir():
        return None
    # Adapters have their own; one of these is all that is fetched.
    config = from_hub(model, "config.json") or from_hub(model, ADAPTER)
    return None if config is None else config.parent.name
