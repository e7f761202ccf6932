"""UTKFace (Zhang, Song and Qi, CVPR 2017): about 24,000 faces whose age, gender and race stand in the files' names.

https://susanqq.github.io/UTKFace/
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import islice
from pathlib import PurePosixPath
from typing import ClassVar

from datasets_scripts.schema import CorpusError, LabelledFace, Skipped

from .protocol import ALIGNED, OUR_SPLIT, DatasetProtocol
from .reading import FaceReader, age_labels, hashed_split, list_files, list_hash, need

NAME = re.compile(r"(\d{1,3})_(\d+)_(\d+)_(\d+)")
ENDINGS = ("jpg", "jpeg", "png")  # without the dot, which some of the malformed names lack
ENDING = re.compile(r"\s*(\.jpe?g|\.chip|\.png)+$", re.IGNORECASE)
GENDERS = {0: "male", 1: "female"}
RACES = {0: "White", 1: "Black", 2: None, 3: "Indian", 4: None}  # "Asian" and "Others" are no group of FairFace's
MAX_AGE = 116


@dataclass(frozen=True)
class UTKFace(FaceReader):
    """One split of UTKFace, in one folder or several; aligned pictures (`….jpg.chip.jpg`) or those in the wild.

    There is no official split, and nobody is known by name: 8 in 10 pictures are `train` by the hash of their name,
    1 in 10 `validation`, 1 in 10 `test`, the same for both kinds of pictures. `race` passes the race on, where
    it is one of FairFace's groups. Because names show the race, neither ids nor urls hold them without it.
    """

    NAME: ClassVar[str] = "utkface"
    TITLE: ClassVar[str] = "UTKFace"
    SPLITS: ClassVar[tuple[str, ...]] = ("train", "validation", "test")
    TERMS: ClassVar[str] = "For non-commercial research only; the rights in the pictures stay with their owners."
    URL: ClassVar[str] = "https://susanqq.github.io/UTKFace/"
    TASKS: ClassVar[tuple[str, ...]] = ("gender", "age", "age_years")
    ASKS_RACE: ClassVar[bool] = True
    LAYOUT: ClassVar[str] = (
        "pictures named age_gender_race_date.jpg, or .jpg.chip.jpg where aligned, in the folder or in folders below "
        "it (UTKFace/, part1/, part2/, part3/); the split is ours, by the hash of the name"
    )
    PROTOCOL: ClassVar[DatasetProtocol] = DatasetProtocol(
        "test", ("age_years", "age", "gender"), f"{OUR_SPLIT.format(who='the names')} {ALIGNED}"
    )

    race: bool = False

    def _check_layout(self) -> None:
        need(self.root, ".", what=self.TITLE)
        if not self._files and not list_files(self.root, ENDINGS):
            raise CorpusError(
                f"{self.root} has no pictures named age_gender_race_date.jpg: give the folder of UTKFace"
            )

    @cached_property
    def _files(self) -> tuple[tuple[str, bool], ...]:
        """Every picture of the split, and whether a folder before it has a picture of the same name."""
        seen, files = set(), []
        for path in list_files(self.root, ENDINGS):
            name = _bare(path)
            if hashed_split(f"{self.NAME}/{name}") == self.split:
                files.append((path, name in seen))
                seen.add(name)
        return tuple(files)

    def _labels_digest(self) -> str:
        return list_hash(path for path, _ in self._files)

    def _rows(self, start: int, stop: int | None) -> Iterator[tuple[str, bool]]:
        return islice(self._files, start, stop)

    def _face(self, row: tuple[str, bool]) -> LabelledFace | Skipped:
        path, repeated = row
        name = _bare(path)
        key = sha256(name.encode(errors="surrogateescape")).hexdigest()[:16]
        if repeated:
            return Skipped(f"{self.NAME}/{key}", "same name in another folder")
        parts = NAME.fullmatch(name)
        if parts is None:
            return Skipped(f"{self.NAME}/{key}", "malformed name")
        age, gender, race = (int(part) for part in parts.groups()[:3])
        if age > MAX_AGE or gender not in GENDERS or race not in RACES:
            return Skipped(f"{self.NAME}/{key}", "age, gender or race out of range")
        labels = {**age_labels(age), "gender": GENDERS[gender]}
        if self.race:
            return self._labelled(key, path, {**labels, "race": RACES[race]})
        file = PurePosixPath(path)
        shown = file.with_name(f"{age}_{gender}_?_{file.name.split('_', 3)[3]}")
        return self._labelled(key, path, labels, shown_path=str(shown))


def _bare(path: str) -> str:
    """The file's name without its endings: the same for a picture in the wild and its aligned face."""
    return ENDING.sub("", PurePosixPath(path).name)
