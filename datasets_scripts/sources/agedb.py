"""AgeDB (Moschoglou et al., CVPR Workshops 2017): 16,488 faces of 568 known people; age and gender in the names.

https://ibug.doc.ic.ac.uk/resources/agedb/
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from datasets_scripts.schema import LabelledFace, Skipped

from .protocol import ALIGNED, NAMELESS, OUR_SPLIT, DatasetProtocol
from .reading import NamedPictures, age_labels, list_hash

NAME = re.compile(r"(\d+)_(.+)_(\d+)_([mf])", re.IGNORECASE)
MAX_AGE = 120


@dataclass(frozen=True)
class AgeDB(NamedPictures):
    """One split of AgeDB. File names hold people's names, which are never passed on.

    There is no official split for age: 8 in 10 people are `train` by the hash of their name, 1 in 10 `validation`,
    1 in 10 `test`, so nobody is in two. A picture is known by its number, its url by `0_*_35_f.jpg`.
    """

    NAME = "agedb"
    TITLE = "AgeDB"
    TERMS = "On request, for non-commercial research at universities only; no picture may be passed on."
    URL = "https://ibug.doc.ic.ac.uk/resources/agedb/"
    TASKS = ("gender", "age", "age_years")
    PATTERN = "number_Name_age_gender.jpg"
    LAYOUT = (
        f"pictures named {PATTERN}, such as 0_MariaCallas_35_f.jpg, in the folder or in folders below "
        "it; the split is ours, by the hash of the person's name"
    )
    PROTOCOL = DatasetProtocol(
        "test", ("age_years", "age", "gender"), f"{OUR_SPLIT.format(who='the people')} {ALIGNED} {NAMELESS}"
    )

    def _hashed(self, path: str) -> str:
        stem = PurePosixPath(path).stem
        parts = NAME.fullmatch(stem)
        return (parts[2] if parts else stem).lower()

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
