"""AgeDB (Moschoglou et al., CVPR Workshops 2017): 16,488 faces of 568 known people; age and gender in the names.

https://ibug.doc.ic.ac.uk/resources/agedb/
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import PurePosixPath
from typing import ClassVar

from datasets_scripts.schema import CorpusError, LabelledFace, Skipped

from .protocol import ALIGNED, NAMELESS, OUR_SPLIT, DatasetProtocol
from .reading import PICTURE_SUFFIXES, FaceReader, age_labels, hashed_split, list_files, list_hash, need

NAME = re.compile(r"(\d+)_(.+)_(\d+)_([mf])", re.IGNORECASE)
MAX_AGE = 120


@dataclass(frozen=True)
class AgeDB(FaceReader):
    """One split of AgeDB. The names of the people in the files' names are passed on nowhere.

    There is no official split for age: 8 in 10 people are `train` by the hash of their name, 1 in 10 `validation`,
    1 in 10 `test`, so nobody is in two. A picture is known by its number, its url by `0_*_35_f.jpg`.
    """

    NAME: ClassVar[str] = "agedb"
    TITLE: ClassVar[str] = "AgeDB"
    SPLITS: ClassVar[tuple[str, ...]] = ("train", "validation", "test")
    TERMS: ClassVar[str] = "On request, for non-commercial research at universities only; no picture may be passed on."
    URL: ClassVar[str] = "https://ibug.doc.ic.ac.uk/resources/agedb/"
    TASKS: ClassVar[tuple[str, ...]] = ("gender", "age", "age_years")
    LAYOUT: ClassVar[str] = (
        "pictures named number_Name_age_gender.jpg, such as 0_MariaCallas_35_f.jpg, in the folder or in folders below "
        "it; the split is ours, by the hash of the person's name"
    )
    PROTOCOL: ClassVar[DatasetProtocol] = DatasetProtocol(
        "test", ("age_years", "age", "gender"), f"{OUR_SPLIT.format(who='the people')} {ALIGNED} {NAMELESS}"
    )

    def _check_layout(self) -> None:
        need(self.root, ".", what=self.TITLE)
        if not self._files and not list_files(self.root, PICTURE_SUFFIXES):
            raise CorpusError(f"{self.root} has no pictures named number_Name_age_gender.jpg: give AgeDB's folder")

    @cached_property
    def _files(self) -> tuple[str, ...]:
        return tuple(path for path in list_files(self.root, PICTURE_SUFFIXES) if _split(path) == self.split)

    def _labels_digest(self) -> str:
        return list_hash(self._files)

    def _rows(self, start: int, stop: int | None) -> Iterator[str]:
        return islice(self._files, start, stop)

    def _face(self, path: str) -> LabelledFace | Skipped:
        file = PurePosixPath(path)
        parts = NAME.fullmatch(file.stem)
        if parts is None:
            return Skipped(f"{self.NAME}/{list_hash([path])[:16]}", "malformed name")
        number, _, age, letter = parts.groups()
        if not 0 < int(age) <= MAX_AGE:
            return Skipped(f"{self.NAME}/{number}", "age out of range")
        labels = {**age_labels(int(age)), "gender": "male" if letter in "mM" else "female"}
        return self._labelled(number, path, labels, shown_path=f"{number}_*_{age}_{letter}{file.suffix}")


def _split(path: str) -> str:
    stem = PurePosixPath(path).stem
    parts = NAME.fullmatch(stem)
    return hashed_split(f"agedb/{(parts[2] if parts else stem).lower()}")
