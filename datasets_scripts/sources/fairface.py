"""FairFace (Kärkkäinen and Joo, WACV 2021, CC BY 4.0) in the layout it is distributed in, or in Parquet.

A folder with `fairface_label_train.csv` and `fairface_label_val.csv` (`file,age,gender,race,service_test`) and
the pictures `train/N.jpg` and `val/N.jpg` that the column `file` names.
https://github.com/joojs/fairface

Or Parquet files with the columns `file`, `image`, `age`, `gender`, `race`; those of HuggingFaceM4/FairFace have no
`file`. A folder may have both layouts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from datasets_scripts.schema import AGE_GROUPS, CorpusError, LabelledFace, Skipped

from .parquet import parquet_rows
from .protocol import ALIGNED, DatasetProtocol
from .reading import FaceReader, csv_rows, file_hash, inside, list_hash

LABEL_FILES = {"train": "fairface_label_train.csv", "validation": "fairface_label_val.csv"}
PICTURES = {"train": "train", "validation": "val"}  # each split's folder, and how names of its Parquet files begin
LICENSE = "cc-by-4.0"
GENDERS = ("Male", "Female")
RACES = ("White", "Black", "Latino_Hispanic", "East Asian", "Southeast Asian", "Indian", "Middle Eastern")
LONGEST_AGE = 40  # characters of an age group, or of what a spreadsheet made of it
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True)
class FairFace(FaceReader):
    """One split of FairFace: `train`, or `validation` (FairFace's `val`).

    `labels` is another label file in place of the split's own, `race` whether the race label is passed on (for
    auditing a corpus, never by default). Parquet files of a split are read after its CSV. Those without a column
    `file` must have all rows of the split in FairFace's order: row N is `train/N.jpg` or `val/N.jpg`.
    """

    NAME = "fairface"
    TITLE = "FairFace"
    SPLITS = tuple(LABEL_FILES)
    LICENSE = LICENSE
    TERMS = "CC BY 4.0: anyone may hold and use it who names its authors."
    URL = "https://github.com/joojs/fairface"
    TASKS = ("gender", "age")
    ASKS_RACE = True
    LAYOUT = (
        "fairface_label_train.csv and fairface_label_val.csv (file,age,gender,race,service_test), with the pictures "
        "train/N.jpg and val/N.jpg that they name; val becomes the split validation. Or, also beside them, "
        "train*.parquet and val*.parquet with the columns file, image, age, gender and race"
    )
    PROTOCOL = DatasetProtocol(
        "validation",
        ("age", "gender"),
        f"Official val, in the padding of the copy that was read: 0.25 and 1.25 have the same names. {ALIGNED}",
        official_rows=10_954,
    )

    labels: str | None = None
    race: bool = False

    @property
    def label_file(self) -> Path:
        """The CSV that the labels are read from."""
        return Path(self.labels) if self.labels is not None else Path(self.root) / LABEL_FILES[self.split]

    @property
    def parquet_files(self) -> list[Path]:
        """The Parquet files of the split; none where `labels` names its label file."""
        return [] if self.labels is not None else sorted(Path(self.root).glob(f"{PICTURES[self.split]}*.parquet"))

    def _check_layout(self) -> None:
        if not self.label_file.is_file() and not self.parquet_files:
            remedy = (
                "give the folder of FairFace, or name a split that it has (--split), or labels=CSV (facemllm data: "
                "--labels SPLIT=CSV; facemllm evaluate: --set labels=CSV)"
            )
            parquet = "" if self.labels is not None else f", and no {PICTURES[self.split]}*.parquet beside it"
            raise CorpusError(f"there is no label file {self.label_file}{parquet}: {remedy}")

    def _labels_digest(self) -> str:
        digests = [file_hash(self.label_file)] if self.label_file.is_file() else []
        if self.parquet_files:
            digests.append(list_hash("\t".join(row[name] for name in self._columns) for row in self._parquet_rows()))
        return digests[0] if len(digests) == 1 else list_hash(digests)

    @property
    def _columns(self) -> tuple[str, ...]:
        return ("file", "age", "gender", *(["race"] if self.race else []))

    def _rows(self) -> Iterator[dict[str, Any]]:
        if self.label_file.is_file():
            yield from csv_rows(self.label_file, self._columns)
        yield from self._parquet_rows()

    def _parquet_rows(self) -> Iterator[dict[str, Any]]:
        columns = self._columns[1:]
        rows = chain.from_iterable(parquet_rows(path, columns, ("file",)) for path in self.parquet_files)
        for number, row in enumerate(rows, start=1):
            yield {"file": f"{PICTURES[self.split]}/{number}.jpg", **row}

    def _key(self, row: dict[str, Any]) -> str:
        place = _place(row)
        return str(place.with_suffix("")) if place.name else ""

    def _face(self, row: dict[str, Any]) -> LabelledFace | Skipped:
        place, key = _place(row), self._key(row)
        if inside(self.root, row["file"]) is None:
            return Skipped(f"{self.NAME}/{key}", "image outside the folder")
        labels = {"age_group": read_age_group(row["age"]), "gender": _spelled(row["gender"], GENDERS)}
        if self.race:
            labels["race"] = _spelled(row["race"], RACES)
        columns = {"age_group": "age", "gender": "gender", "race": "race"}
        for label, value in labels.items():
            if value is None:
                return Skipped(f"{self.NAME}/{key}", f"unknown {columns[label]} {row[columns[label]]!r}")
        labels["gender"] = labels["gender"].lower()
        if "picture" not in row:
            return self._labelled(key, str(place), labels)
        pictures, index = row["picture"]
        if not (picture := pictures.read(index)):
            return Skipped(f"{self.NAME}/{key}", "missing image")
        return self._labelled(key, str(place), labels, picture=picture)


def _place(row: dict[str, Any]) -> PurePosixPath:
    return PurePosixPath(row["file"].strip().replace("\\", "/"))


def read_age_group(text: str) -> str | None:
    """FairFace's age group, also where a spreadsheet took `3-9` or `10-19` for a date; None if it is neither.

    Read are day and month in either order (`03-Sep`, `9-Mar`, `Oct-19`), whole dates (`2024-09-03`,
    `9/3/2024`, `2019-10-01 00:00:00`) and a spreadsheet's day numbers (`43739`). No other age group can be taken
    for a date.
    """
    text = " ".join(text.replace("\N{EN DASH}", "-").split())
    if len(text) > LONGEST_AGE:
        return None
    group = _spelled(text.replace(" - ", "-"), AGE_GROUPS)
    if group is not None:
        return group
    if re.fullmatch(r"\d{5}", text):
        text = str(date(1899, 12, 30) + timedelta(days=int(text)))
    words = re.findall(r"\d+|[a-z]+", text.lower().removesuffix("00:00:00"))
    numbers = [int(word) if word.isdigit() else _month(word) for word in words]
    if len(numbers) == 3:
        year = max(numbers) if max(numbers) > 31 else numbers[2]
        numbers.remove(year)
        if sorted(numbers) == [1, 10]:  # 10-19 taken for October of a year '19, of which a date has the first day
            numbers = [10, year]
    elif not re.search("[a-z]", text.lower()):
        return None
    return {(3, 9): "3-9", (10, 19): "10-19"}.get(tuple(sorted(number % 100 for number in numbers)))


def _month(word: str) -> int:
    """1 to 12 for an English month's name or its beginning; 0 for any other word."""
    return MONTHS.index(word[:3]) + 1 if word[:3] in MONTHS else 0


def _spelled(text: str, known: tuple[str, ...]) -> str | None:
    """The one of `known` that `text` is, apart from case and surrounding blanks."""
    return next((name for name in known if name.lower() == text.strip().lower()), None)
