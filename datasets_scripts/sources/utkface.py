"""UTKFace (Zhang, Song and Qi, CVPR 2017): about 24,000 faces whose age, gender and race stand in the files' names.

https://susanqq.github.io/UTKFace/
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePosixPath

from datasets_scripts.schema import LabelledFace, Skipped

from .protocol import ALIGNED, OUR_SPLIT, DatasetProtocol
from .reading import NamedPictures, age_labels

NAME = re.compile(r"(\d{1,3})_(\d+)_(\d+)_(\d+)")
ENDING = re.compile(r"\s*(\.jpe?g|\.chip|\.png)+$", re.IGNORECASE)
GENDERS = {0: "male", 1: "female"}
RACES = {0: "White", 1: "Black", 2: None, 3: "Indian", 4: None}  # "Asian" and "Others" are no group of FairFace's
MAX_AGE = 116


@dataclass(frozen=True)
class UTKFace(NamedPictures):
    """One split of UTKFace, in one folder or several; aligned pictures (`….jpg.chip.jpg`) or those in the wild.

    There is no official split, and nobody is known by name: 8 in 10 pictures are `train` by the hash of their name,
    1 in 10 `validation`, 1 in 10 `test`, the same for both kinds of pictures. `race` passes the race on, where
    it is one of FairFace's groups. Because names show the race, neither ids nor urls hold them without it.
    """

    NAME = "utkface"
    TITLE = "UTKFace"
    TERMS = "For non-commercial research only; the rights in the pictures stay with their owners."
    URL = "https://susanqq.github.io/UTKFace/"
    TASKS = ("gender", "age", "age_years")
    ASKS_RACE = True
    SUFFIXES = ("jpg", "jpeg", "png")  # without the dot, which some of the malformed names lack
    PATTERN = "age_gender_race_date.jpg"
    LAYOUT = (
        f"pictures named {PATTERN}, or .jpg.chip.jpg where aligned, in the folder or in folders below "
        "it (UTKFace/, part1/, part2/, part3/); the split is ours, by the hash of the name"
    )
    PROTOCOL = DatasetProtocol(
        "test", ("age_years", "age", "gender"), f"{OUR_SPLIT.format(who='the names')} {ALIGNED}"
    )

    race: bool = False

    def _hashed(self, path: str) -> str:
        """The file's name without its endings: the same for a picture in the wild and its aligned face."""
        return ENDING.sub("", PurePosixPath(path).name)

    def _rows(self) -> Iterator[tuple[str, bool]]:
        """Every picture of the split, and whether a folder before it has a picture of the same name."""
        seen: set[str] = set()
        for path in self._files:
            name = self._hashed(path)
            yield path, name in seen
            seen.add(name)

    def _face(self, row: tuple[str, bool]) -> LabelledFace | Skipped:
        path, repeated = row
        name = self._hashed(path)
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
