"""LAION-Face's published detections, `sample2detect_{0..31}.pth`, made into tables that are searched on disk.

Each file is a pickled dict from `int(SAMPLE_ID)` to a list of (box, five landmarks, score), about 1 GB. It is read
with `torch.load(weights_only=True)`, which runs no code that a file brings along, once; then every worker searches
the tables without loading them.
https://github.com/FacePerceiver/LAION-Face
"""

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from datasets_scripts.files import replacing
from datasets_scripts.schema import CorpusArgumentError, CorpusError

REMEDY = "download it again, or leave it out"
TABLES = ("ids", "starts", "faces")  # int64 (samples,) rising; int64 (samples + 1,); float32 (faces, 15)


@dataclass(frozen=True)
class Detections:
    """Tables that `convert_detections` wrote, searched where they lie: memory is the operating system's."""

    folder: str

    def __post_init__(self) -> None:
        if not self._folders():
            raise CorpusArgumentError(
                "detections", self.folder, "has no converted detections; give what convert_detections returned"
            )

    def find(self, sample_id: int) -> np.ndarray | None:
        """The faces of a sample, None if the detections do not know it: float32 of shape `(faces, 15)`.

        A row is x0, y0, x1, y1, five points and the score, in pixels as they are stored in the file at the URL.
        """
        for ids, starts, faces in self._parts:
            row = int(np.searchsorted(ids, sample_id))
            if row < len(ids) and ids[row] == sample_id:
                return np.array(faces[starts[row] : starts[row + 1]])
        return None

    def describe(self) -> list[list[Any]]:
        """Name and size of each part."""
        return [[folder.name, (folder / "faces.npy").stat().st_size] for folder in self._folders()]

    def _folders(self) -> list[Path]:
        parts = [path.parent for path in Path(self.folder).glob("sample2detect_*/ids.npy")]
        return sorted(parts, key=lambda path: (len(path.name), path.name))

    @cached_property
    def _parts(self) -> list[tuple[np.ndarray, ...]]:
        return [tuple(np.load(part / f"{name}.npy", mmap_mode="r") for name in TABLES) for part in self._folders()]

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}  # a worker opens the tables itself: pickling them would copy them


def convert_detections(folder: str | os.PathLike, out: str | os.PathLike | None = None, progress: bool = True) -> str:
    """Make tables of every `sample2detect_*.pth` in `folder`; return where: `out`, or `folder/tables`.

    One file is in memory at a time: 14 times its size, and a minute for 400,000 samples (measured). Parts that are
    there already are kept, so that a conversion that was killed goes on. A folder of tables is returned as it is.

    Raises:
        CorpusError: if there are no such files, or one holds what `torch.load(weights_only=True)` refuses or
            something else than detections.
    """
    from tqdm import tqdm

    folder = Path(folder)
    if next(folder.glob("sample2detect_*/ids.npy"), None) is not None:
        return str(folder)
    files = sorted(folder.glob("sample2detect_*.pth"), key=lambda path: (len(path.name), path.name))
    if not files:
        raise CorpusArgumentError(
            "detections",
            str(folder),
            "has no sample2detect_*.pth, and no tables made of them: give the folder that has",
        )
    out = folder / "tables" if out is None else Path(out)
    missing = [path for path in files if not (out / path.stem / "ids.npy").is_file()]
    for path in tqdm(missing, desc="detections", unit="file", disable=not progress or not missing):
        tables = zip(TABLES, _tables(_load(path), path), strict=True)
        for name, table in reversed(list(tables)):  # ids.npy last: with it a part is whole
            with replacing(out / path.stem / f"{name}.npy") as file:
                np.save(file, table)
    return str(out)


def _load(path: Path) -> dict[Any, Any]:
    import pickle
    import zipfile

    import torch

    with torch.serialization.safe_globals(_numpy_types()):
        try:
            # Files written before torch 1.6 are no zip archives and cannot be mapped into memory.
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except (pickle.UnpicklingError, OSError, EOFError, RuntimeError, ValueError) as error:
            found = re.search(r"GLOBAL ([\w.]+)", str(error))
            reason = f"it names {found[1]}" if found else str(error).strip().splitlines()[0]
            raise CorpusError(f"{path} cannot be read safely ({reason}): {REMEDY}") from error
    if not isinstance(loaded, dict):
        kind = type(loaded).__name__
        raise CorpusError(f"{path} holds a {kind}, not LAION-Face's dict of detections: {REMEDY}")
    return loaded


def _numpy_types() -> list[Any]:
    """What NumPy arrays and numbers are pickled with, under its names of today and of 2021; none of it runs code."""
    reconstruct, scalar = np._core.multiarray._reconstruct, np._core.multiarray.scalar
    return [
        np.ndarray,
        np.dtype,
        reconstruct,
        scalar,
        (reconstruct, "numpy.core.multiarray._reconstruct"),
        (scalar, "numpy.core.multiarray.scalar"),
        *(type(np.dtype(kind)) for kind in ("float32", "float64", "int32", "int64")),
    ]


def _tables(samples: dict[Any, Any], path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    try:
        ids = np.fromiter(samples, np.int64, len(samples))
        order = np.argsort(ids, kind="stable")
        counts = np.fromiter(map(len, samples.values()), np.int64, len(samples))[order]
        starts = np.concatenate([[0], np.cumsum(counts)])
        faces = np.empty((int(starts[-1]), 15), np.float32)
        places = np.empty(len(ids), np.int64)
        places[order] = starts[:-1]
        for place, detections in zip(places, samples.values(), strict=True):
            for number, (box, landmarks, score) in enumerate(detections):
                row = faces[place + number]
                row[:4], row[4:14], row[14] = _flat(box), _flat(landmarks), score
    except (TypeError, ValueError, OverflowError) as error:
        raise CorpusError(
            f"{path} holds something else than (box, landmarks, score) for each face ({error}): {REMEDY}"
        ) from error
    return ids[order], starts, faces


def _flat(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32).reshape(-1)
