"""What DISFA and BP4D share: recordings coded for action units frame by frame, in three folds that share no person."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from datasets_scripts.schema import CorpusArgumentError, LabelledFace, Skipped

from .reading import FaceReader

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class CodedFrame:
    """One frame of a recording and the intensity of each unit that was coded in it; no units if none was."""

    recording: str
    number: int
    units: Mapping[int, float]


@dataclass(frozen=True)
class CodedRecordings(FaceReader):
    """Recordings whose people are divided into three parts, each of which is the test set of one fold.

    `fold` (1 to 3) tests on part 3, 2 or 1 and trains on the other two, as ME-GraphAU numbers them; `every` reads
    each `every`-th frame of a recording only, as neighbouring frames differ little.
    """

    SPLITS = ("train", "test")
    TASKS = ("action_units",)
    PARTS: ClassVar[tuple[tuple[str, ...], ...]]  # the people of each of the three parts

    fold: int = 1
    every: int = 1

    def __post_init__(self) -> None:
        if self.fold not in (1, 2, 3):
            raise CorpusArgumentError("fold", self.fold, "give 1, 2 or 3")
        if self.every < 1:
            raise CorpusArgumentError("every", self.every, "give 1 for all frames, or more to leave some out")
        super().__post_init__()

    @property
    def people(self) -> tuple[str, ...]:
        """The people of the split, in order."""
        tested = 3 - self.fold
        parts = [part for number, part in enumerate(self.PARTS) if (number == tested) == (self.split == "test")]
        return tuple(sorted(person for part in parts for person in part))

    def _recordings(self) -> Sequence[str]:
        """The names of the split's recordings, in order, missing ones included."""
        raise NotImplementedError

    def _coded(self, recording: str) -> Sequence[CodedFrame | Skipped]:
        """The coded frames of a recording in order, or one `Skipped` that says why there are none."""
        raise NotImplementedError

    @cached_property
    def _lengths(self) -> Mapping[str, int]:
        return {recording: sum(1 for _ in self._wanted(recording)) for recording in self._recordings()}

    def __len__(self) -> int:
        return self._end(sum(self._lengths.values()))

    def _wanted(self, recording: str) -> Iterator[CodedFrame | Skipped]:
        return islice(self._coded(recording), 0, None, self.every)

    def _read(self, start: int = 0, stop: int | None = None) -> Iterator[CodedFrame | Skipped]:
        """Recordings before `start` are passed over by their lengths alone."""
        stop = self._end(stop)
        for recording, length in self._lengths.items():
            if stop is not None and stop <= 0:
                return
            if start < length:
                yield from islice(self._wanted(recording), start, stop)
            start = max(0, start - length)
            stop = None if stop is None else stop - length

    @cached_property
    def _listed(self) -> dict[str, Mapping[int, str]]:
        return {}

    def _frames(self, root: str | os.PathLike, folder: str, first_frame: int | None = 1) -> Mapping[int, str]:
        """As `list_frames`; one recording is listed at a time."""
        if folder not in self._listed:
            self._listed.clear()
            self._listed[folder] = list_frames(root, folder, first_frame)
        return self._listed[folder]

    def _coded_face(
        self, key: str, picture: bytes | str, url: str, units: Mapping[int, float], labels: Mapping[str, Any]
    ) -> LabelledFace | Skipped:
        """The face `NAME/key` of the file `url`, or why there is none; `picture` may be the reason already."""
        name = f"{self.NAME}/{key}"
        if not units:
            return Skipped(name, "undefined label")
        if isinstance(picture, str):
            return Skipped(name, picture)
        suffix = PurePosixPath(url).suffix.lower()
        suffix = suffix if suffix in PICTURE_SUFFIXES else ".jpg"  # a frame of a video is encoded as one
        image = {"bytes": picture, "path": f"{key.replace('/', '_')}{suffix}"}
        known = {"action_units": dict(units), **labels}
        return LabelledFace(name, image, known, self.split, self.TITLE, self.LICENSE, url)


def list_frames(root: str | os.PathLike, folder: str, first_frame: int | None = 1) -> dict[int, str]:
    """The pictures `folder/NUMBER.jpg` (or `.png`) below `root`, by frame, whatever leading zeros they have.

    Frames count from 1; `first_frame` is the number the pictures count from, found by itself if it is None: 0 where
    there is a picture 0.
    """
    try:
        names = os.listdir(Path(root) / folder)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    found: dict[int, str] = {}
    for name in sorted(names):
        stem, suffix = os.path.splitext(name)
        if stem.isdecimal() and suffix.lower() in PICTURE_SUFFIXES:
            found.setdefault(int(stem), f"{folder}/{name}")
    if first_frame is None:
        first_frame = 0 if 0 in found else 1
    return {number + 1 - first_frame: path for number, path in found.items()}
