"""MORPH-II, non-commercial release (Ricanek and Tesafaye, 2006): 55,134 police photographs with age and gender.

https://uncw.edu/myuncw/research/innovation-commercialization/technology-portfolio/morph
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from datasets_scripts.schema import LabelledFace, Skipped

from .protocol import ALIGNED, OUR_SPLIT, DatasetProtocol, folder_of
from .reading import OUR_SHARES, FaceReader, age_labels, csv_rows, hashed_split

NAME = re.compile(r"(\w+)_(\d+)([MF])(\d+)", re.IGNORECASE)
GENDERS = {"M": "male", "F": "female"}
RACES = {"W": "White", "B": "Black", "H": "Latino_Hispanic"}  # "A" and "O" are no group of FairFace's
DAYS_OF_YEAR = 365.2425
MAX_AGE = 120


@dataclass
class _Person:
    """What the rows of one id say."""

    genders: set[str] = field(default_factory=set)
    races: set[str] = field(default_factory=set)
    births: list[date] = field(default_factory=list)


@dataclass(frozen=True)
class MORPH(FaceReader):
    """One split of MORPH-II, without the rows whose labels contradict each other.

    The labels were given to the police and typed in by hand; some contradict each other (Yip et al.,
    https://arxiv.org/abs/1811.06446). Left out, each with its own reason, are all pictures of an id that has several
    genders, or several dates of birth more than a year apart, or, with `race`, several races; and each picture whose
    file's name gives another gender, or another age by more than a year, than its row; or whose age differs by more
    than a year from that between the dates of birth and of the photograph.

    There is no official split: 8 in 10 ids are `train` by their hash, 1 in 10 `validation`, 1 in 10 `test`, so
    nobody is in two. Ages above 120 are taken for days. `race` passes the race on where it is one of FairFace's.
    """

    NAME = "morph"
    TITLE = "MORPH-II"
    SPLITS = tuple(OUR_SHARES)
    TERMS = (
        "Under a licence of the University of North Carolina Wilmington, for research only; no picture may be passed "
        "on. The people did not choose to be photographed."
    )
    URL = "https://uncw.edu/myuncw/research/innovation-commercialization/technology-portfolio/morph"
    TASKS = ("gender", "age", "age_years")
    ASKS_RACE = True
    LABEL_FILES = (("morph_2008_nonCommercial.csv",),)
    LAYOUT = (
        f"{LABEL_FILES[0][0]} (id_num, picture_num, dob, doa, race, gender, facial_hair, age, age_diff, glasses, "
        "photo), with the pictures that photo names, such as Album2/009055_1M54.JPG; the split is ours, by the hash "
        "of id_num"
    )
    PROTOCOL = DatasetProtocol(
        "test",
        ("age_years", "age", "gender"),
        f"{OUR_SPLIT.format(who='the people')} Rows whose labels contradict each other are left out, each with its "
        f"reason. {ALIGNED}",
        person=lambda id: folder_of(id).partition("_")[0].lstrip("0"),  # 9055 of morph/009055_1M54
    )

    race: bool = False

    def _check_layout(self) -> None:
        super()._check_layout()
        next(self._all_rows(), None)  # for its columns

    def _all_rows(self) -> Iterator[dict[str, str]]:
        (path,) = self._label_files()
        return csv_rows(path, ("id_num", "gender", "age", "photo", *(["race"] if self.race else [])))

    @cached_property
    def _contradictions(self) -> dict[str, str]:
        """Why nothing about an id can be trusted, for the ids of which that is so."""
        people: dict[str, _Person] = {}
        for row in self._all_rows():
            person = people.setdefault(_id(row), _Person())
            person.genders.add(row["gender"].strip().upper())
            if self.race:
                person.races.add(row["race"].strip().upper())
            if (birth := read_date(row.get("dob"))) is not None:
                person.births = [min([birth, *person.births]), max([birth, *person.births])]
        return {name: reason for name, person in people.items() if (reason := _contradiction(person))}

    def _rows(self) -> Iterator[dict[str, str]]:
        return (row for row in self._all_rows() if hashed_split(f"{self.NAME}/{_id(row)}") == self.split)

    def _key(self, row: dict[str, str]) -> str:
        return PurePosixPath(_photo(row)).stem

    def _face(self, row: dict[str, str]) -> LabelledFace | Skipped:
        photo, key = _photo(row), self._key(row)
        labels = self._labels(row, key)
        if isinstance(labels, str):
            return Skipped(f"{self.NAME}/{key}", labels)
        return self._labelled(key, photo, labels)

    def _labels(self, row: dict[str, str], key: str) -> dict[str, Any] | str:
        name = NAME.fullmatch(key)
        if name is None:
            return "malformed name"
        if _id(row) in self._contradictions:
            return self._contradictions[_id(row)]
        gender, years = row["gender"].strip().upper(), read_years(row["age"])
        if gender not in GENDERS:
            return "undefined gender"
        if years is None:
            return "undefined age"
        if name[3].upper() != gender:
            return "gender other than in the file's name"
        if abs(int(years) - int(name[4])) > 1:
            return "age other than in the file's name"
        birth, photographed = read_date(row.get("dob")), read_date(row.get("doa"))
        if birth and photographed and abs(int((photographed - birth).days / DAYS_OF_YEAR) - int(years)) > 1:
            return "age other than between the dates"
        labels = {**age_labels(years), "gender": GENDERS[gender]}
        return {**labels, "race": RACES.get(row["race"].strip().upper())} if self.race else labels


def read_years(text: str) -> float | None:
    """An age in years, where numbers above 120 are days; None for what is no age."""
    try:
        number = float(text)
    except ValueError:
        return None
    years = number if number <= MAX_AGE else round(number / DAYS_OF_YEAR, 2)
    return years if 0 < years <= MAX_AGE else None


def read_date(text: str | None) -> date | None:
    """The day in month/day/year or year-month-day, of the last century where the year has two digits above 10."""
    text = (text or "").split(" ")[0]
    for form in ("%m/%d/%Y", "%m/%d/%y", "%Y-%m-%d"):
        try:
            day = datetime.strptime(text, form).date()
        except ValueError:
            continue
        return day.replace(year=day.year - 100) if form == "%m/%d/%y" and day.year > 2010 else day
    return None


def _photo(row: dict[str, str]) -> str:
    return row["photo"].strip().replace("\\", "/")


def _id(row: dict[str, str]) -> str:
    """Ids are the same with and without the zeros before them, which spreadsheets drop."""
    return row["id_num"].strip().lstrip("0")


def _contradiction(person: _Person) -> str | None:
    if len(person.genders) > 1:
        return "id with several genders"
    if person.births and (person.births[-1] - person.births[0]).days > DAYS_OF_YEAR + 1:
        return "id with dates of birth over a year apart"
    return "id with several races" if len(person.races) > 1 else None
