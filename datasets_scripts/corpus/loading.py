"""A corpus as `datasets` reads it, from a folder as it is now: its own cache knows a folder by its path alone."""

import os
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import Dataset


def load_rows(corpus: str, config: str | None, split: str) -> "Dataset":
    """`load_dataset` of a corpus folder or Hub id; a file of the folder that was edited in place is read again.

    Raises:
        ValueError, OSError, ConnectionError: as `load_dataset`; a `ValueError` too for a file that is damaged.
    """
    import datasets

    cache = datasets.config.HF_DATASETS_CACHE
    place = Path(cache) / f"facemllm-{folder_state(corpus)}" if Path(corpus).is_dir() else cache
    try:
        return datasets.load_dataset(corpus, config, split=split, cache_dir=str(place))
    except datasets.exceptions.DatasetsError as error:
        if isinstance(error, ValueError | OSError):
            raise
        raise ValueError(f"a file is damaged ({error.__cause__ or error})") from error


def folder_state(folder: str | os.PathLike) -> str:
    """A digest of the names, sizes and times of all files below `folder`; none of them is read."""
    digest = sha256(os.fsencode(Path(folder).resolve()))
    for path in sorted(Path(folder).rglob("[!.]*")):
        found = path.stat()
        digest.update(
            f"\0{path}\0{found.st_size}\0{found.st_mtime_ns}\0{found.st_ctime_ns}".encode("utf-8", "replace")
        )
    return digest.hexdigest()[:16]
