"""LFWA (Liu et al., ICCV 2015): the 13,233 faces of Labeled Faces in the Wild with CelebA's 40 attributes.

https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html (LFWA is offered on CelebA's page)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets_scripts.schema import CorpusError, LabelledFace, Skipped

from .matlab import MAX_BYTES, read_matlab
from .protocol import ALIGNED, NAMELESS, DatasetProtocol
from .reading import FaceReader, gender_and_attributes

if TYPE_CHECKING:
    import numpy as np

ATTRIBUTE_FILE, SPLIT_FILE = "lfw_att_40.mat", "indices_train_test.mat"
TEXTS = ("name", "AttrName")
REMEDY = "it is not LFWA's file: get it again"
MAX_CELLS, MAX_LETTERS = 100_000, 1000
INDICES = {"train": "indices_img_train", "test": "indices_img_test"}


@dataclass(frozen=True)
class LFWA(FaceReader):
    """One split of LFWA. File names hold people's names, which are never passed on.

    A picture is known by its row in the attribute file, counted from 1, its url by `lfw_att_40.mat#17`. The two
    files are MATLAB 7.3's, which is HDF5: h5py reads them. Copies in MATLAB's older format do without.
    """

    NAME = "lfwa"
    TITLE = "LFWA"
    SPLITS = tuple(INDICES)
    TERMS = "For non-commercial research only; the rights in the pictures stay with their owners."
    URL = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
    TASKS = ("gender", "attributes")
    LABEL_FILES = ((ATTRIBUTE_FILE,), (SPLIT_FILE,))
    PICTURE_FOLDERS = ("lfw", "lfw-deepfunneled", "lfw_funneled")
    LAYOUT = (
        f"{ATTRIBUTE_FILE} (name, label, AttrName) and {SPLIT_FILE} (indices_img_train, indices_img_test), with LFW's "
        "pictures in lfw/ (or lfw-deepfunneled/, lfw_funneled/); the official split, by person"
    )
    PROTOCOL = DatasetProtocol(
        "test", ("gender", "attributes"), f"Official test list, by person. {ALIGNED} {NAMELESS}"
    )

    def _rows(self) -> Iterator[tuple[int, str, dict[str, Any]]]:
        attribute_file, split_file = self._label_files()
        table = read_arrays(attribute_file, ("name", "label", "AttrName"))
        try:
            names, attributes = (_texts(table[name]) for name in ("name", "AttrName"))
        except (AttributeError, IndexError) as error:
            raise CorpusError(f"{attribute_file}: a name or an attribute is no text; {REMEDY}") from error
        label = table["label"]
        if label.shape != (len(names), len(attributes)) or "Male" not in attributes:
            raise CorpusError(
                f"{attribute_file}: label has the shape {label.shape}, with {len(names)} names and {len(attributes)} "
                f"attributes; {REMEDY}"
            )
        for row in read_arrays(split_file, (INDICES[self.split],))[INDICES[self.split]].ravel().tolist():
            if not isinstance(row, int | float) or not 1 <= row <= len(names) or row != int(row):
                found = f"row {str(row)[:40]} of {len(names)} of {ATTRIBUTE_FILE}"
                raise CorpusError(f"{split_file}: {found}; get both again")
            yield int(row), names[int(row) - 1], dict(zip(attributes, label[int(row) - 1].tolist(), strict=True))

    def _key(self, row: tuple[int, str, dict[str, Any]]) -> str:
        return str(row[0])

    def _face(self, row: tuple[int, str, dict[str, Any]]) -> LabelledFace | Skipped:
        number, file, values = row
        if not set(values.values()) <= {0, 1}:
            return Skipped(f"{self.NAME}/{number}", "values other than 0 and 1")
        labels = gender_and_attributes({name: value == 1 for name, value in values.items()})
        path = f"{self._picture_folder}/{file}".replace("\\", "/")
        return self._labelled(str(number), path, labels, shown_path=f"{ATTRIBUTE_FILE}#{number}")


def read_arrays(path: Path, names: tuple[str, ...]) -> "dict[str, np.ndarray]":
    """The arrays `names` of a MATLAB file of either format, shaped as in MATLAB; texts are arrays of objects."""
    with open(path, "rb") as file:
        is_hdf5 = file.read(10) == b"MATLAB 7.3"
    try:
        arrays = _read_hdf5(path, names) if is_hdf5 else _read_older(path, names)
    except (MemoryError, CorpusError):
        raise
    except Exception as error:  # a damaged file gives whatever its parser stumbles on: over ten types
        raise CorpusError(f"{path} is no file of MATLAB's, or a damaged one: {error}; get it again") from error
    missing = [name for name in names if name not in arrays]
    if missing:
        raise CorpusError(f"{path} has no array {', '.join(missing)}; {REMEDY}")
    return arrays


def _read_older(path: Path, names: tuple[str, ...]) -> "dict[str, np.ndarray]":
    numbers = tuple(name for name in names if name not in TEXTS)
    found = read_matlab(path, numbers, tuple(name for name in names if name in TEXTS))
    if isinstance(found, str):
        raise ValueError(found)
    return found


def _read_hdf5(path: Path, names: tuple[str, ...]) -> "dict[str, np.ndarray]":
    import numpy as np

    try:
        import h5py
    except ImportError as error:
        remedy = "pip install h5py, or save it in MATLAB or Octave with -v7"
        raise CorpusError(f"{path} is a file of MATLAB 7.3, which needs h5py: {remedy}") from error
    with h5py.File(path, "r") as file:
        arrays = {}
        for name in (name for name in names if name in file):
            link = file.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink) or file[name].external or file[name].is_virtual:
                raise ValueError(f"{name} lies in another file")  # a pipe, say
            if file[name].nbytes > MAX_BYTES:  # as it claims: a compressed or an empty one takes no space in the file
                raise ValueError(f"{name} has more than {MAX_BYTES // 2**20} MiB")
            values = file[name][()]
            if values.dtype == h5py.ref_dtype:
                if values.size > MAX_CELLS:
                    raise ValueError(f"{name} has more than {MAX_CELLS:,} texts")
                cells = [file[place] for place in values.ravel()]
                if any(cell.size > MAX_LETTERS for cell in cells):
                    raise ValueError(f"{name} has a text of more than {MAX_LETTERS:,} letters")
                arrays[name] = np.array(["".join(map(chr, np.ravel(cell[()]))) for cell in cells], dtype=object)
            else:
                arrays[name] = values.T  # HDF5 has the axes the other way round
        return arrays


def _texts(cells: "np.ndarray") -> list[str]:
    """A cell array of texts as a list, whichever way SciPy or h5py nested it."""
    return [str(cell if isinstance(cell, str) else cell.ravel()[0]).strip() for cell in cells.ravel()]
