"""Where an exported model lies: in a folder of this machine, or in a repository of the Hub."""

from pathlib import Path

EXPORT_RECORD = "export.json"
GRAPH_FOLDER = "onnx"
NEEDED = ("*.json", "*.jinja", f"{GRAPH_FOLDER}/*")
NO_FOLDER = "there is no such folder, and a Hub id has the form owner/name"


def could_be_hub_id(name: str) -> bool:
    """Whether a name that is no folder may be meant for the Hub: `owner/name`, with no folder `owner` here."""
    path = Path(name).expanduser()
    owner_and_name = name.count("/") == 1 and all(name.split("/")) and not name.startswith((".", "~"))
    return owner_and_name and not path.exists() and not path.parent.is_dir()


def exported_folder(
    folder_or_hub_id: str | Path, revision: str | None = None, token: str | bool | None = None
) -> Path:
    """The folder itself, or the local copy of the Hub's repository: of its files those that the runtime reads.

    Raises:
        ValueError: when there is no such folder or repository, or it holds no export.
    """
    name = str(folder_or_hub_id)
    folder = Path(name).expanduser()
    if not name or not folder.is_dir():
        if not could_be_hub_id(name):
            there = "is a file: give the folder of an export" if folder.is_file() else NO_FOLDER
            raise ValueError(f"{name or repr(name)}: {there}")
        folder = _download(name, revision, token)
    if not (folder / EXPORT_RECORD).is_file():
        raise ValueError(f"{folder_or_hub_id}: {_no_export('the folder')}")
    return folder


def _download(name: str, revision: str | None, token: str | bool | None) -> Path:
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    where = {"repo_id": name, "revision": revision, "token": token}
    try:
        # Before gigabytes of something else.
        hf_hub_download(filename=EXPORT_RECORD, **where)
        return Path(snapshot_download(allow_patterns=list(NEEDED), **where))
    except (OSError, ValueError) as error:
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            raise ValueError(f"{name}: {_no_export('the repository')}") from error
        raise ValueError(f"{name}: {why_not_downloaded(error, revision)}") from error


def why_not_downloaded(error: Exception, revision: str | None) -> str:
    """What an error of `huggingface_hub` means to whoever asked for a repository by its name."""
    from huggingface_hub.errors import (
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, HFValidationError):
        return NO_FOLDER
    if isinstance(error, RevisionNotFoundError):
        return f"revision={revision!r} is no branch, tag or commit of this repository"
    if isinstance(error, RepositoryNotFoundError):
        return (
            "there is no such folder, and no such repository of the Hub that you may read; private ones need "
            "hf auth login, or token="
        )
    if isinstance(error, LocalEntryNotFoundError):
        return f"there is no such folder, and the Hub cannot be asked: {first_line(error)}"
    return f"the Hub does not give it: {first_line(error)}"


def _no_export(place: str) -> str:
    return f"{place} has no {EXPORT_RECORD}, so it is no exported model; make one with `facemllm export`"


def first_line(error: BaseException) -> str:
    """What a message of another library says first; its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
