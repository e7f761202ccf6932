"""Where an exported model lies: in a folder of this machine, or in a repository of the Hub."""

from pathlib import Path

RECORD = "export.json"
NEEDED = ("*.json", "*.jinja", "onnx/*")


def exported_folder(
    folder_or_hub_id: str | Path, revision: str | None = None, token: str | bool | None = None
) -> Path:
    """The folder itself, or the local copy of the Hub's repository: of its files those that the runtime reads.

    Raises:
        ValueError: when there is no such folder or repository, or it holds no export.
    """
    folder = Path(folder_or_hub_id).expanduser()
    if not folder.is_dir():
        folder = _download(str(folder_or_hub_id), revision, token)
    if not (folder / RECORD).is_file():
        kind = "a model for PyTorch" if any(folder.glob("*.safetensors")) else "no exported model"
        raise ValueError(f"{folder_or_hub_id}: has no {RECORD}, it is {kind}; export it with `facemllm export`")
    return folder


def _download(name: str, revision: str | None, token: str | bool | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name, revision=revision, token=token, allow_patterns=list(NEEDED)))
    except HFValidationError:
        raise ValueError(f"{name}: there is no such folder, and a Hub id has the form owner/name") from None
    except OSError as error:  # of the Hub: no such repository or revision, no access, no connection
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{name}: no folder of that name, and the Hub gives no such model: {lines[0]}") from error
