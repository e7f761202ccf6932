"""BP4D-Spontaneous (Zhang et al., Image and Vision Computing 2014): action units of 41 people at eight tasks each.

`AUCoding/AU_OCC/F001_T1.csv`: a first line of unit numbers, then a line for each coded frame: its number and, for
each unit, 0 absent, 1 present, 9 unknown. The frames are `F001/T1/2440.jpg`, with as many digits as the
recording needs. `AUCoding/AU_INT/AU06/F001_T1_AU06.csv` has lines `frame,intensity` alone; there are five units.
https://www.cs.binghamton.edu/~lijun/Research/3DFE/3DFE_Analysis.html
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from datasets_scripts.schema import CorpusArgumentError, CorpusError, LabelledFace, Skipped

from .action_units import CodedFrame, CodedRecordings
from .protocol import ALIGNED, DatasetProtocol, folder_of
from .reading import MAX_DIGITS, csv_fields, need, read_picture

UNITS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
INTENSITY_UNITS = (6, 10, 12, 14, 17)
CODINGS = ("occurrence", "intensity")
TASKS_OF_A_PERSON = tuple(f"T{number}" for number in range(1, 9))
PICTURE_FOLDERS = ("", "Sequences(2D+3D)", "2D+3D", "Sequences", "images")
UNKNOWN = 9


@dataclass(frozen=True)
class BP4D(CodedRecordings):
    """BP4D's coded frames with what is known of the 12 units of the published protocol.

    `coding` is `occurrence` (0 or 1) or `intensity` (0 to 5, for the units 6, 10, 12, 14 and 17 alone); never
    both in one corpus, as 1 means present in one and a trace in the other. `images` is the folder with `F001` and
    so on, if it is not the root or one of its folders of the usual names.

    `fold` (1, 2 or 3) says which third of the people is tested on; `every` = 10 reads one coded frame in ten only.
    """

    NAME = "bp4d"
    TITLE = "BP4D-Spontaneous"
    TERMS = "On request, by a licence agreement with Binghamton University; for research only."
    URL = "https://www.cs.binghamton.edu/~lijun/Research/3DFE/3DFE_Analysis.html"
    LAYOUT = (
        "AUCoding/AU_OCC/F001_T1.csv and so on for 41 people and 8 tasks (first line: unit numbers; then frame and 0, "
        "1 or 9 for each), with the pictures F001/T1/2440.jpg beside AUCoding or below images=FOLDER. Three folds "
        "that share no person; fold 1 trains on 28 people and tests on 13."
    )
    PROTOCOL = DatasetProtocol(
        "test",
        ("action_units",),
        f"Fold 1 of 3; the published figure is the mean of the three. Occurrence codes; unknown ones (9) are not "
        f"asked. {ALIGNED}",
        units=UNITS,
        person=folder_of,
    )
    PARTS = tuple(
        tuple(people.split())
        for people in (
            "F001 M007 F018 F008 F002 M004 F010 F009 M012 M001 F016 M014 F023 M008",
            "M011 F003 M010 M002 F005 F022 M018 M017 F013 M016 F020 F011 M013 M005",
            "F007 F015 F006 F019 M006 M009 F012 M003 F004 F021 F017 M015 F014",
        )
    )  # tool/BP4D_image_label_process.py of https://github.com/CVI-SZU/ME-GraphAU

    coding: str = "occurrence"
    images: str | None = None

    def _check_layout(self) -> None:
        if self.coding not in CODINGS:
            raise CorpusArgumentError("coding", self.coding, f"give {' or '.join(CODINGS)}")
        need(self.root, "AUCoding", what="BP4D, with AUCoding in it")
        wanted = "AU_OCC" if self.coding == "occurrence" else "AU_INT"
        need(Path(self.root) / "AUCoding", wanted, what="BP4D's action units, unpacked")
        if self.images is not None and not Path(self.images).is_dir():
            remedy = "there is no such folder; give the one that has F001 and so on"
            raise CorpusArgumentError("images", self.images, remedy)
        if not any(file.is_file() for file in self._label_files()):
            people = ", ".join(self.people)
            remedy = "unpack them there, or give another fold"
            raise CorpusError(
                f"{self.root}/AUCoding/{wanted} has no file of {people}, which fold {self.fold} needs: {remedy}"
            )
        if self._pictures_root is None:
            remedy = "give their folder with images= (--images)"
            raise CorpusError(f"{self.root} has no pictures of {', '.join(self.people)}: {remedy}")

    @property
    def present_from(self) -> float:
        """Above a trace where intensities are read."""
        return 2.0 if self.coding == "intensity" else 1.0

    def describe(self) -> dict[str, Any]:
        """As every reader's, without the place of `images`."""
        return {name: value for name, value in super().describe().items() if name != "images"}

    @cached_property
    def _pictures_root(self) -> Path | None:
        places = (
            [Path(self.images)] if self.images is not None else [Path(self.root) / name for name in PICTURE_FOLDERS]
        )
        return next((place for place in places if any((place / person).is_dir() for person in self.people)), None)

    def _label_files(self) -> Sequence[Path]:
        files = [file for recording in self._recordings() for file in self._files(recording).values()]
        return [file for file in files if file.is_file()]

    def _files(self, recording: str) -> Mapping[int | None, Path]:
        """The label files of `F001_T1`: one for each unit of `AU_INT`, one for all of `AU_OCC`."""
        coding = Path(self.root) / "AUCoding"
        if self.coding == "occurrence":
            return {None: coding / "AU_OCC" / f"{recording}.csv"}
        return {
            unit: coding / "AU_INT" / f"AU{unit:02d}" / f"{recording}_AU{unit:02d}.csv" for unit in INTENSITY_UNITS
        }

    def _recordings(self) -> Sequence[str]:
        return [f"{person}_{task}" for person in self.people for task in TASKS_OF_A_PERSON]

    def _coded(self, recording: str) -> Sequence[CodedFrame | Skipped]:
        units: dict[int, dict[int, float]] = {}
        found = {unit: file for unit, file in self._files(recording).items() if file.is_file()}
        for unit, file in found.items():
            for frame, codes in (read_occurrences(file) if unit is None else read_intensities(file, unit)).items():
                units.setdefault(frame, {}).update(codes)
        if not units:
            reason = "empty label file" if found else "missing label file"
            return [Skipped(f"{self.NAME}/{recording.replace('_', '/')}", reason)]
        return [CodedFrame(recording, frame, units[frame]) for frame in sorted(units)]

    def _face(self, row: CodedFrame) -> LabelledFace | Skipped:
        inner = row.recording.replace("_", "/")
        key = f"{inner}/{row.number:04d}"
        highest = 1 if self.coding == "occurrence" else 5
        known = {unit: code for unit, code in row.units.items() if 0 <= code <= highest}
        path = self._frames(self._pictures_root, inner).get(row.number, "")
        picture = read_picture(self._pictures_root, path) if path else "missing image"
        return self._coded_face(key, picture, path, known, {"gender": "female" if inner.startswith("F") else "male"})


def read_occurrences(path: str | os.PathLike) -> dict[int, dict[int, float]]:
    """0, 1 or 9 for each of the 12 units by frame; 9 for what is neither. Raises `CorpusError` for another file."""
    rows = _csv_rows(path)
    header = [_whole(cell) for cell in rows[0]] if rows else []
    columns = {unit: column for column, unit in enumerate(header) if column and unit in UNITS}
    if rows and not columns:
        units = ", ".join(map(str, UNITS))
        raise CorpusError(f"{path}: its first line names none of the units {units}; unpack the file again")
    return {
        _frame(path, row): {unit: _code(row, column) for unit, column in columns.items()}
        for row in rows[1:]
        if any(row)
    }


def read_intensities(path: str | os.PathLike, unit: int) -> dict[int, dict[int, float]]:
    """0 to 5 or 9 for one unit by frame; 9 for what is none of them."""
    return {_frame(path, row): {unit: _code(row, 1)} for row in _csv_rows(path) if any(row)}


def _csv_rows(path: str | os.PathLike) -> list[list[str]]:
    """All rows: a file holds the frames of one recording, some hundreds."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return list(csv_fields(path, file))
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not a CSV file: {error}; unpack it again") from error


def _frame(path: str | os.PathLike, row: Sequence[str]) -> int:
    frame = _whole(row[0])
    if frame is None:
        raise CorpusError(
            f"{path}: {','.join(row)[:40]!r} does not begin with a frame's number; unpack the file again"
        )
    return frame


def _code(row: Sequence[str], column: int) -> float:
    code = _whole(row[column]) if column < len(row) else None
    return float(UNKNOWN if code is None else code)


def _whole(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isdecimal() and len(text) <= MAX_DIGITS else None
