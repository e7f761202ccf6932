"""What the readers of datasets share: rows of label files, pictures of a folder, age groups, splits of our own.

Nothing here holds a whole label file: lines and rows are streamed, whatever their number.
"""

import csv
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from errno import EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR
from functools import cached_property
from hashlib import file_digest, sha256
from itertools import chain, islice, zip_longest
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from datasets_scripts.schema import AGE_EDGES, AGE_GROUPS, CorpusArgumentError, CorpusError, LabelledFace, Skipped
from datasets_scripts.shown_text import in_terminal
from modeling_facemllm.image_loading_facemllm import UnreadableImage, load_image, open_image, read_image_file

from .protocol import DatasetProtocol

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
REPEATED = "id of an earlier row"
MAX_DIGITS = 18  # of a number in a label file, which is a frame or a code
MAX_PLACE = 1e9  # pixels: records hold single precision
OUR_SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


@dataclass(frozen=True)
class FaceReader:
    """One split of a dataset in its distributed layout, read a row at a time; small enough for a worker process.

    `root` is the dataset's folder, `split` one of `SPLITS`, `limit` how many rows at most are read. A dataset
    is a subclass with the class attributes below, `_rows` and `_face`, and `_key` where a file may name one face
    twice. Where `LABEL_FILES` and `PICTURE_FOLDERS` do not say all of its layout, it has `_check_layout` too, and
    `_label_files` or `_labels_digest`.
    """

    NAME: ClassVar[str]  # the prefix of ids, and the word on the command line
    TITLE: ClassVar[str]
    SPLITS: ClassVar[tuple[str, ...]]
    LICENSE: ClassVar[str] = "other"  # the Hub's name of it
    TERMS: ClassVar[str]  # who may hold it and for what, in a sentence
    URL: ClassVar[str | None]  # where the dataset is to be had; None where that is nowhere
    TASKS: ClassVar[tuple[str, ...]]  # asked about unless others are named; race is never among them
    ASKS_RACE: ClassVar[bool] = False  # whether there are race labels to ask for by name
    LAYOUT: ClassVar[str]
    LABEL_FILES: ClassVar[tuple[tuple[str, ...], ...]] = ()  # in `root`, each by the paths it is met with at
    PICTURE_FOLDERS: ClassVar[tuple[str, ...]] = ()  # in `root`, the first that is there
    PROTOCOL: ClassVar[DatasetProtocol]
    EXTRA_VALUES: ClassVar[tuple[str, ...]] = ()  # values of labels that few other datasets have

    root: str
    split: str
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.split not in self.SPLITS:
            known = " and ".join([", ".join(self.SPLITS[:-1]), self.SPLITS[-1]] if self.SPLITS[1:] else self.SPLITS)
            raise CorpusArgumentError("split", self.split, f"give one that {self.TITLE} has: {known}")
        if self.limit is not None and self.limit < 1:
            raise CorpusArgumentError("limit", self.limit, "give 1 or more, or leave it out for all rows")
        self._check_layout()

    @cached_property
    def _length(self) -> int:
        return sum(1 for _ in self._read())

    def __len__(self) -> int:
        return self._length

    def faces(self, start: int = 0, stop: int | None = None) -> Iterator[LabelledFace | Skipped]:
        """A face, or the reason for none, for each row `start` to `stop`; pictures are the files' own bytes."""
        for row in self._read(start, stop):
            yield row if isinstance(row, Skipped) else self._face(row)

    @property
    def present_from(self) -> float:
        """The intensity from which an action unit counts as present in published figures."""
        return 2.0

    @property
    def license(self) -> str:
        """The Hub's name of the licence that the faces are under."""
        return self.LICENSE

    def describe(self) -> dict[str, Any]:
        """What the faces depend on: the labels by their content, the pictures by name only."""
        settings = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "root"}
        return {"name": self.NAME, **settings, "labels": self._labels_digest()}

    def _check_layout(self) -> None:
        """Raise `CorpusError`, naming what is missing, unless `root` has the dataset's layout."""
        self._label_files()
        _ = self.PICTURE_FOLDERS and self._picture_folder

    def _rows(self) -> Iterable[Any]:
        """The rows of the split in a fixed order: whatever `_face` makes a face of, or `Skipped`."""
        raise NotImplementedError

    def _face(self, row: Any) -> LabelledFace | Skipped:
        raise NotImplementedError

    def _key(self, row: Any) -> str | None:
        """What the id of a row's face will be made of, where a file may name one face twice; else None."""
        return None

    def _read(self, start: int = 0, stop: int | None = None) -> Iterator[Any]:
        """The rows `start` to `stop` of the split, `limit` of them at most."""
        return islice(self._unlike_rows(), start, self._end(stop))

    def _unlike_rows(self) -> Iterator[Any]:
        """The rows of the split, `Skipped` in place of one with the id of an earlier one."""
        from datasets_scripts.corpus.hashed_names import HashedNames  # NumPy, which `--help` does not need

        seen = HashedNames()
        for row in self._rows():
            key = None if isinstance(row, Skipped) else self._key(row)
            yield row if key is None or seen.add(os.fsencode(key)) else Skipped(f"{self.NAME}/{key}", REPEATED)

    def _end(self, stop: int | None) -> int | None:
        return min((end for end in (stop, self.limit) if end is not None), default=None)

    def _label_files(self) -> list[Path]:
        """The files that the labels are read from."""
        return [need(self.root, *paths, what=self.TITLE) for paths in self.LABEL_FILES]

    @cached_property
    def _picture_folder(self) -> str:
        """Relative to `root`, with slashes."""
        return need(self.root, *self.PICTURE_FOLDERS, what=self.TITLE).relative_to(self.root).as_posix()

    def _labels_digest(self) -> str:
        digests = [file_hash(path) for path in self._label_files()]
        return digests[0] if len(digests) == 1 else list_hash(digests)

    def _labelled(
        self,
        key: str,
        path: str,
        labels: Mapping[str, Any],
        *,
        shown_path: str | None = None,
        box: Any = None,
        landmarks: Any = None,
        picture: bytes | None = None,
    ) -> LabelledFace | Skipped:
        """The face `NAME/key` whose picture is `root/path`, or why there is none.

        `shown_path` stands in the record in place of `path` where the file's name shows what may not be passed on.
        `picture` is the picture's file where it was read already.
        """
        name = f"{self.NAME}/{key}"
        picture = read_picture(self.root, path) if picture is None else checked_picture(picture)
        if isinstance(picture, str):
            return Skipped(name, picture)
        url = path if shown_path is None else shown_path
        file = PurePosixPath(f"{key}{PurePosixPath(path).suffix.lower()}").name
        # A file's name need not be UTF-8, a text in Parquet has to be.
        name, url, file = (text.encode(errors="backslashreplace").decode() for text in (name, url, file))
        image = {"bytes": picture, "path": file}
        return LabelledFace(name, image, labels, self.split, self.TITLE, self.license, url, box, landmarks)


@dataclass(frozen=True)
class NamedPictures(FaceReader):
    """A dataset of pictures whose labels stand in their files' names, in a split of ours: 8, 1 and 1 in 10 by a hash.

    A row is a path.
    """

    SPLITS: ClassVar[tuple[str, ...]] = tuple(OUR_SHARES)
    SUFFIXES: ClassVar[tuple[str, ...]] = PICTURE_SUFFIXES
    PATTERN: ClassVar[str]  # of the names, in words

    def _hashed(self, path: str) -> str:
        """What the split goes by: a part of the file's name, so that what belongs together is in one split."""
        raise NotImplementedError

    def _check_layout(self) -> None:
        need(self.root, ".", what=self.TITLE)
        if not self._files and not list_files(self.root, self.SUFFIXES):
            raise CorpusError(f"{self.root} has no pictures named {self.PATTERN}: give the folder of {self.TITLE}")

    @cached_property
    def _files(self) -> tuple[str, ...]:
        paths = list_files(self.root, self.SUFFIXES)
        return tuple(path for path in paths if hashed_split(f"{self.NAME}/{self._hashed(path)}") == self.split)

    def _labels_digest(self) -> str:
        return list_hash(self._files)

    def _rows(self) -> Iterable[Any]:
        return self._files


def need(root: str | os.PathLike, *choices: str, what: str) -> Path:
    """The first of `choices` that is in `root`; `CorpusError` names all of them if none is."""
    if not Path(root).is_dir():
        raise CorpusError(f"there is no folder {root}: give the folder of {what}")
    for choice in choices:
        if (Path(root) / choice).exists():
            return Path(root) / choice
    raise CorpusError(f"{root} has no {' or '.join(choices)}: give the folder of {what}")


def text_lines(path: str | os.PathLike) -> Iterator[str]:
    """The lines of a text file in UTF-8, with or without byte order mark, without their ends."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            for line in file:
                yield line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not a text file in UTF-8: {error}; save it as one") from error


def csv_rows(
    path: str | os.PathLike, needed: Sequence[str], names: Sequence[str] | None = None
) -> Iterator[dict[str, str]]:
    """The rows of a CSV file, whose columns ; or tabs separate where its header has them, else ,

    `names` are the columns where the first line is no header, as long as it has none of `needed`. Short rows are
    filled up with empty strings. `CorpusError` if a `needed` column is missing, a quoted field does not end on its
    line, or the file is no CSV in UTF-8 (a byte order mark is fine).
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            if names is not None and not any(name in header for name in needed):
                rows = csv_fields(path, chain([header], file))
            else:
                rows = csv_fields(path, chain([header], file), next((mark for mark in ";\t" if mark in header), ","))
                names = [name.strip() for name in next(rows, [])]
            missing = [name for name in needed if name not in names]
            if missing:
                found = in_terminal(", ".join(names)[:500]) or "nothing"
                remedy = "get the file again, or name its columns so"
                raise CorpusError(f"{path}: no column {', '.join(missing)}; its first line has {found}: {remedy}")
            for row in rows:
                yield dict(zip_longest(names, row[: len(names)], fillvalue=""))
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not a CSV file in UTF-8: {error}; save it as one") from error


def csv_fields(path: str | os.PathLike, lines: Iterable[str], delimiter: str = ",") -> Iterator[list[str]]:
    """The fields of each line that is not empty; `path` is what the lines are of, for the message.

    No field spans lines, as none does in the label files of these datasets: one stray quotation mark would else take
    all that follows into one field. `CorpusError` names the line.
    """
    for number, line in enumerate(lines, start=1):
        try:
            fields = next(csv.reader([line], delimiter=delimiter, strict=True), [])
        except csv.Error as error:
            remedy = "quote a field whole and on one line, or remove the stray quotation mark"
            problem = "a quoted field does not end on this line" if "unexpected end" in str(error) else error
            raise CorpusError(f"{path}, line {number}: no line of a CSV file: {problem}; {remedy}") from error
        if fields:
            yield fields


def list_files(
    root: str | os.PathLike, suffixes: tuple[str, ...], wanted: Callable[[str], bool] = lambda path: True
) -> list[str]:
    """The files below `root` with one of `suffixes` (lower case), sorted, as paths relative to it with slashes.

    Hidden ones, and what macOS puts into archives, are left out.
    """
    found = []
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        inner = os.path.relpath(folder, root).replace(os.sep, "/")
        for name in names:
            path = name if inner == "." else f"{inner}/{name}"
            if name.lower().endswith(suffixes) and not name.startswith(".") and wanted(path):
                found.append(path)
    return sorted(found)


def inside(root: str | os.PathLike, path: str) -> Path | None:
    """`root/path`, where `path` may have backslashes; None if it is empty, absolute, or climbs out with `..`.

    Links are followed: where a folder of pictures lies is its owner's business, what a label file names is not.
    """
    place = PurePosixPath(path.strip().replace("\\", "/"))
    if not place.name or place.is_absolute() or ".." in place.parts or re.match("[A-Za-z]:", path) or "\0" in path:
        return None
    return Path(root) / place


def read_picture(root: str | os.PathLike, path: str) -> bytes | str:
    """The bytes of the picture `root/path`, or the reason why there is none, as `Skipped` counts it."""
    place = inside(root, path)
    if place is None:
        return "image outside the folder"
    try:
        if not place.is_file():  # a pipe or a device would be read without an end
            return "missing image"
        picture = read_image_file(place)
    except OSError as error:
        if error.errno not in (ENOENT, ENOTDIR, EISDIR, ENAMETOOLONG, ELOOP):
            raise
        return "missing image"
    except UnicodeEncodeError:  # half of a surrogate pair in the name
        return "missing image"
    except ValueError:  # of more bytes than a picture may have
        return "unreadable image"
    return checked_picture(picture)


def checked_picture(picture: bytes) -> bytes | str:
    """A picture's file, or the reason why it is none, as `Skipped` counts it."""
    return picture if is_readable(picture) else "unreadable image"


def is_readable(picture: bytes) -> bool:
    """Whether these bytes are a picture: by its header and its end, decoded only where its end is not a JPEG's.

    Damage in the middle of a file that begins and ends well is not found; it would take decoding every picture.
    """
    try:
        with open_image(picture) as image:
            if image.format != "JPEG" or not picture.endswith(b"\xff\xd9"):
                load_image(image)
    except UnreadableImage:
        return False
    return True


def age_group_of(years: float) -> str:
    """FairFace's group of an age in years: 2.9 is `0-2`, 70 is `more than 70`, which means 70 or older."""
    return AGE_GROUPS[sum(years >= edge for edge in AGE_EDGES)]


def age_labels(years: float) -> dict[str, Any]:
    """The labels `age`, in years, and `age_group`."""
    return {"age": float(years), "age_group": age_group_of(years)}


def attribute_name(text: str) -> str:
    """A dataset's name of an attribute in snake case: `5_o_Clock_Shadow` and `5 o Clock Shadow` alike."""
    return re.sub("[^a-z0-9]+", "_", text.strip().lower()).strip("_")


def gender_and_attributes(values: Mapping[str, bool]) -> dict[str, Any]:
    """The labels of what is known of a dataset's binary attributes: `Male` is the gender, the others yes or no."""
    labels = {"gender": "male" if values["Male"] else "female"} if "Male" in values else {}
    others = {attribute_name(name): "yes" if value else "no" for name, value in values.items() if name != "Male"}
    return {**labels, "attributes": others}


def hashed_split(key: str, shares: Mapping[str, float] = OUR_SHARES) -> str:
    """The split that `key` falls into, the same everywhere and for ever; `shares` are positive and sum to 1.

    Where people are known, give the person as the key, so that nobody is in two splits.
    """
    place = int.from_bytes(sha256(key.encode(errors="surrogateescape")).digest()[:8]) / 2**64
    for split, share in shares.items():
        place -= share
        if place < 0:
            return split
    return split


def file_hash(path: str | os.PathLike) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    with open(path, "rb") as file:
        return file_digest(file, "sha256").hexdigest()


def list_hash(names: Iterable[str]) -> str:
    """SHA-256 of a list of names in its order: the digest of a layout whose labels are in the files' names."""
    digest = sha256()
    for name in names:
        digest.update(name.encode(errors="surrogateescape") + b"\0")
    return digest.hexdigest()
