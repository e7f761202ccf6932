"""MAAD-Face (Terhörst et al., 2020): 47 attributes of VGGFace2's 3.3 million faces, transferred by classifiers.

https://github.com/pterhoer/MAAD-Face
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from datasets_scripts.schema import CorpusError, LabelledFace, Skipped

from .protocol import ALIGNED, DatasetProtocol, folder_of
from .reading import FaceReader, gender_and_attributes, need, text_lines

RACES = {"White": "White", "Black": "Black", "Asian": None}  # which of FairFace's; "Asian" is none of them
# fmt: off
ATTRIBUTES = (
    "Male", "Young", "Middle_Aged", "Senior", "Asian", "White", "Black", "Rosy_Cheeks", "Shiny_Skin", "Bald",
    "Wavy_Hair", "Receding_Hairline", "Bangs", "Sideburns", "Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair",
    "No_Beard", "Mustache", "5_o_Clock_Shadow", "Goatee", "Oval_Face", "Square_Face", "Round_Face", "Double_Chin",
    "High_Cheekbones", "Chubby", "Obstructed_Forehead", "Fully_Visible_Forehead", "Brown_Eyes", "Bags_Under_Eyes",
    "Bushy_Eyebrows", "Arched_Eyebrows", "Mouth_Closed", "Smiling", "Big_Lips", "Big_Nose", "Pointy_Nose",
    "Heavy_Makeup", "Wearing_Hat", "Wearing_Earrings", "Wearing_Necktie", "Wearing_Lipstick", "No_Eyewear",
    "Eyeglasses", "Attractive",
)
# fmt: on


@dataclass(frozen=True)
class MAADFace(FaceReader):
    """One split of MAAD-Face on VGGFace2's pictures; the label file is streamed, whatever its length.

    The split is VGGFace2's: a row is `test` if `test/` has a folder of its identity, `train` otherwise, where a
    row without any folder is counted as skipped. `race` passes on White and Black where exactly one is marked.
    """

    NAME = "maad_face"
    TITLE = "MAAD-Face"
    SPLITS = ("train", "test")
    LICENSE = "cc-by-sa-4.0"
    TERMS = (
        "The labels are CC BY-SA 4.0; the rights in VGGFace2's pictures stay with their owners, and its makers no "
        "longer give them out."
    )
    URL = "https://github.com/pterhoer/MAAD-Face"
    TASKS = ("gender", "attributes")
    ASKS_RACE = True
    LABEL_FILES = (("MAAD_Face.csv",),)
    LAYOUT = (
        "MAAD_Face.csv (Filename, Identity, 47 attributes that are 1, -1, or 0 for undefined), with VGGFace2's "
        "pictures train/n000002/0001_01.jpg and test/n000001/0001_01.jpg (also in data/); VGGFace2's split"
    )
    PROTOCOL = DatasetProtocol(
        "test",
        ("gender", "attributes"),
        f"VGGFace2's test people. {ALIGNED} Attributes marked 0 (undefined) are not asked of that face. The labels "
        "were transferred by classifiers, not given by people.",
        person=folder_of,
    )

    race: bool = False

    def _check_layout(self) -> None:
        super()._check_layout()
        for split in self.SPLITS:
            self._pictures(split)
        _ = self._columns

    def _pictures(self, split: str) -> Path:
        return need(self.root, split, f"data/{split}", what="MAAD-Face, with VGGFace2 in it")

    @cached_property
    def _columns(self) -> tuple[str, list[str]]:
        """What separates the columns, and their names."""
        (path,) = self._label_files()
        header = next(text_lines(path), "")
        delimiter = ";" if ";" in header else ","
        names = _fields(header, delimiter)
        missing = [name for name in ("Filename", *ATTRIBUTES) if name not in names]
        if missing or names[0] != "Filename":
            lacking = ", ".join(missing[:3]) or "Filename at the beginning"
            raise CorpusError(f"{path}: no column {lacking}; get MAAD-Face's file again")
        return delimiter, names

    @cached_property
    def _people(self) -> dict[str, frozenset[str]]:
        """The identities that each split has a folder of."""
        return {split: frozenset(os.listdir(self._pictures(split))) for split in self.SPLITS}

    @cached_property
    def _picture_folder(self) -> str:
        return self._pictures(self.split).relative_to(self.root).as_posix()

    def _rows(self) -> Iterator[str]:
        (path,) = self._label_files()
        wanted, tested = self.split == "test", self._people["test"]
        lines = (line for line in islice(text_lines(path), 1, None) if line.strip())
        return (line for line in lines if (_person(line) in tested) == wanted)

    def _key(self, row: str) -> str:
        delimiter, _ = self._columns
        return _fields(row, delimiter)[0].replace("\\", "/").removesuffix(".jpg")

    def _face(self, row: str) -> LabelledFace | Skipped:
        delimiter, names = self._columns
        fields, key = _fields(row, delimiter), self._key(row)
        if len(fields) != len(names):
            return Skipped(f"{self.NAME}/{key}", "too few or too many columns")
        values = dict(zip(names, fields, strict=True))
        marks = {name: values[name] for name in ATTRIBUTES}
        if not set(marks.values()) <= {"1", "0", "-1"}:
            return Skipped(f"{self.NAME}/{key}", "values other than 1, 0 and -1")
        if _person(row) not in self._people[self.split]:
            return Skipped(f"{self.NAME}/{key}", "no folder of this identity")
        known = {name: mark == "1" for name, mark in marks.items() if mark != "0" and name not in RACES}
        labels = gender_and_attributes(known)
        if self.race:
            marked = [name for name in RACES if marks[name] == "1"]
            labels["race"] = RACES[marked[0]] if len(marked) == 1 else None
        return self._labelled(key, f"{self._picture_folder}/{fields[0]}", labels)


def _fields(line: str, delimiter: str) -> list[str]:
    return [field.strip().strip('"') for field in line.split(delimiter)]


def _person(line: str) -> str:
    """VGGFace2's folder that a row's picture is in."""
    return line.lstrip('"').replace("\\", "/").partition("/")[0]
