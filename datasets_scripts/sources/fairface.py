"""FairFace (Kärkkäinen and Joo, WACV 2021, CC BY 4.0) in the layout it is distributed in.

A folder with ``fairface_label_train.csv`` and ``fairface_label_val.csv`` (``file,age,gender,race,service_test``) and
the pictures ``train/N.jpg`` and ``val/N.jpg`` that the column ``file`` names.
https://github.com/joojs/fairface
"""

import csv
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from hashlib import file_digest
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from datasets_scripts.schema import CorpusError, LabelledFace, Skipped

LABEL_FILES = {"train": "fairface_label_train.csv", "validation": "fairface_label_val.csv"}
LICENSE = "cc-by-4.0"
AGE_GROUPS = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
GENDERS = ("Male", "Female")
RACES = ("White", "Black", "Latino_Hispanic", "East Asian", "Southeast Asian", "Indian", "Middle Eastern")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True)
class FairFace:
    """One split of FairFace, read a row at a time; small enough to be sent to a worker process.

    ``root`` is FairFace's folder, ``split`` is ``train`` or ``validation`` (FairFace's ``val``), ``labels`` another
    label file in place of the split's own, ``race`` whether the race label is passed on (for auditing a corpus, never
    by default), ``limit`` how many rows at most are read.
    """

    root: str
    split: str
    labels: str | None = None
    race: bool = False
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.split not in LABEL_FILES:
            raise CorpusError(f"split={self.split!r}: FairFace has {' and '.join(LABEL_FILES)}")
        if self.limit is not None and self.limit < 1:
            raise CorpusError(f"limit={self.limit}: give 1 or more, or leave it out for all rows")
        if not self.label_file.is_file():
            way_out = "give the folder of FairFace, or another label file with labels= (--labels SPLIT=CSV)"
            raise CorpusError(f"there is no label file {self.label_file}: {way_out}")

    @property
    def label_file(self) -> Path:
        """The CSV that the labels are read from."""
        return Path(self.labels) if self.labels is not None else Path(self.root) / LABEL_FILES[self.split]

    @cached_property
    def _length(self) -> int:
        return sum(1 for _ in self._rows(0, self.limit))

    def __len__(self) -> int:
        return self._length

    def faces(self, start: int = 0, stop: int | None = None) -> Iterator[LabelledFace | Skipped]:
        """A face, or the reason for none, for each row ``start`` to ``stop``; pictures are the files' own bytes."""
        stop = self.limit if stop is None else stop if self.limit is None else min(stop, self.limit)
        for row in self._rows(start, stop):
            yield self._face(row)

    def describe(self) -> dict[str, Any]:
        """What the faces depend on: the label file by its content, the pictures by name only."""
        with open(self.label_file, "rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        return {"name": "fairface", "split": self.split, "labels": digest, "race": self.race, "limit": self.limit}

    def _rows(self, start: int, stop: int | None) -> Iterator[dict[str, str]]:
        try:
            with open(self.label_file, encoding="utf-8-sig", newline="") as file:
                header = file.readline()
                names = next(csv.reader([header], delimiter=";" if ";" in header else ","), [])
                needed = ("file", "age", "gender", "race") if self.race else ("file", "age", "gender")
                missing = [name for name in needed if name not in names]
                if missing:
                    found = ", ".join(names) or "nothing"
                    raise CorpusError(f"{self.label_file}: no column {', '.join(missing)}; its first line has {found}")
                rows = csv.DictReader(file, names, restval="", delimiter=";" if ";" in header else ",")
                yield from itertools.islice(rows, start, stop)
        except (UnicodeDecodeError, csv.Error) as error:
            raise CorpusError(f"{self.label_file} is not a CSV file in UTF-8: {error}; save it as one") from error

    def _face(self, row: dict[str, str]) -> LabelledFace | Skipped:
        place = PurePosixPath(row["file"].strip().replace("\\", "/"))
        name = f"fairface/{place.with_suffix('')}"
        if not place.name or place.is_absolute() or ".." in place.parts:
            return Skipped(name, f"no file of the FairFace folder: {row['file']!r}")
        labels = {"age_group": read_age_group(row["age"]), "gender": _spelled(row["gender"], GENDERS)}
        if self.race:
            labels["race"] = _spelled(row["race"], RACES)
        columns = {"age_group": "age", "gender": "gender", "race": "race"}
        for label, value in labels.items():
            if value is None:
                return Skipped(name, f"unknown {columns[label]} {row[columns[label]]!r}")
        labels["gender"] = labels["gender"].lower()
        try:
            picture = (Path(self.root) / place).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return Skipped(name, "missing image")
        if not is_readable(picture):
            return Skipped(name, "unreadable image")
        image = {"bytes": picture, "path": place.name}
        return LabelledFace(name, image, labels, self.split, "FairFace", LICENSE, url=str(place))


def read_age_group(text: str) -> str | None:
    """FairFace's age group, also where a spreadsheet took ``3-9`` or ``10-19`` for a date; None if it is neither.

    Read are day and month in either order (``03-Sep``, ``9-Mar``, ``Oct-19``), whole dates (``2024-09-03``,
    ``9/3/2024``, ``2019-10-01 00:00:00``) and a spreadsheet's day numbers (``43739``). No other age group can be taken
    for a date.
    """
    text = " ".join(text.replace("\N{EN DASH}", "-").split())
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


def is_readable(picture: bytes) -> bool:
    """Whether these bytes are a picture: by its header and its end, decoded only where its end is not a JPEG's.

    Damage in the middle of a file that begins and ends well is not found; it would take decoding every picture.
    """
    try:
        with Image.open(io.BytesIO(picture)) as image:
            if image.format != "JPEG" or not picture.endswith(b"\xff\xd9"):
                image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
    return True


def _month(word: str) -> int:
    """1 to 12 for an English month's name or its beginning; 0 for any other word."""
    return MONTHS.index(word[:3]) + 1 if word[:3] in MONTHS else 0


def _spelled(text: str, known: tuple[str, ...]) -> str | None:
    """The one of ``known`` that ``text`` is, apart from case and surrounding blanks."""
    return next((name for name in known if name.lower() == text.strip().lower()), None)
