"""What is to be looked at, as a stream: files, folders, URLs, videos and lists of them → photos and frames, in order.

Nothing here holds a list of all photos: a folder of ten million is sorted on the disk.
"""

import functools
import heapq
import itertools
import math
import os
import pickle
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from modeling_facemllm.image_loading_facemllm import (
    FORMATS,
    WHOLE_SIZE,
    UnreadableImage,
    load_image,
    open_image,
    upright_size,
)

STDIN = "-"
_MPEG_SUFFIXES = frozenset((".3gp", ".m2ts", ".m4v", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".vob"))
VIDEO_SUFFIXES = _MPEG_SUFFIXES | {".asf", ".avi", ".flv", ".mkv", ".ogv", ".webm", ".wmv"}
HEIF_SUFFIXES = frozenset((".heic", ".heif"))
LARGE = 24_500_000
"""Pixels above which a picture is looked at with half the width and height, or less: several would fill the memory."""
SORTED_AT_ONCE = 100_000  # names of one folder that are held in memory

Wanted = Callable[[str, int | None], bool]


@dataclass(frozen=True)
class Photo:
    """One photo, or one frame of a video.

    Attributes:
        name: what it was given as; for what a folder holds, that folder and the path within it.
        relative: the path within the folder that was given; the file's name alone where a file was given.
        frame, time: index of a video's frame, and its time in seconds; 0 for a photo, None for a video that cannot be
            read or breaks off.
        pixels: those of a frame; a photo is read by `load`.
        error: why there is nothing to be looked at.
        private_hosts: whether it may be fetched from a private network.
    """

    name: str
    relative: str
    frame: int | None = 0
    time: float | None = 0.0
    pixels: Image.Image | None = None
    error: str | None = None
    private_hosts: bool = True

    def load(self, reserve: Callable[[int], None] = lambda pixels: None) -> "Picture":
        """The picture. Raises `UnreadableImage` with the reason, whatever is wrong with it.

        `reserve` gets the number of pixels before they are decoded, and may wait until there is room for them.
        """
        if self.error is not None:
            raise UnreadableImage(repr(self.name), self.error)
        if self.pixels is not None:
            return Picture(self.pixels, self.pixels.size)
        source = self.name if is_url(self.name) else Path(self.name)
        with open_image(source, private_hosts=self.private_hosts) as image:
            image.info.setdefault(WHOLE_SIZE, image.size)
            whole = image.width * image.height
            if whole > LARGE and image.format == "JPEG":  # decoded at half its size, or less
                part = next((part for part in (2, 4) if whole <= part**2 * LARGE), 8)
                image.draft(None, (image.width // part, image.height // part))
            reserve(image.width * image.height)
            size = upright_size(image)  # decodes a PNG, whose EXIF may stand behind its pixels
            return Picture(load_image(image, halve_above=LARGE), size)


@dataclass(frozen=True)
class Picture:
    """An upright RGB picture, of a large file at a part of its `size`, which is (width, height) in pixels."""

    pixels: Image.Image
    size: tuple[int, int]


@dataclass
class Ignored:
    """What folders held besides photos and videos."""

    files: int = 0


def find_photos(
    inputs: Iterable[str],
    *,
    every: float,
    wanted: Wanted,
    ended: Callable[[str], None],
    ignored: Ignored,
    private_hosts: bool = False,
) -> Iterator[Photo]:
    """The photos and frames that the inputs name, folders with all that is below them, in natural order.

    Links to folders are followed, except back to a folder above; hidden files are passed over.

    Args:
        inputs: files, folders, `http(s)` URLs, videos, and `-` for a list of those on standard input, one a line.
        every: seconds between two frames of a video; 0 takes every frame.
        wanted: asked with name and frame before anything is read; what is not wanted is left out.
        ended: gets the name of each video that was read to its end.
        ignored: counts the files in folders that are neither photos nor videos.
        private_hosts: whether URLs of that list may be on private networks; those among `inputs` may.
    """
    for text in inputs:
        if text == STDIN:
            lines = (os.fsdecode(line.rstrip(b"\r\n")) for line in sys.stdin.buffer)
            listed = find_photos(filter(None, lines), every=every, wanted=wanted, ended=ended, ignored=ignored)
            yield from (replace(photo, private_hosts=private_hosts) for photo in listed)
            continue
        for file in _files(text, _sorted_entries):
            if isinstance(file, Photo):
                if wanted(file.name, file.frame):
                    yield file
            elif is_video(file.path):
                yield from _frames(file.path, file.relative, every, wanted, ended)
            elif not file.is_photo:
                ignored.files += 1
            elif wanted(file.path, 0):
                yield Photo(file.path, file.relative)


def count_photos(inputs: Iterable[str]) -> int | None:
    """How many photos the inputs name; None where that is not known before they are read: videos, standard input."""
    count = 0
    for text in inputs:
        if text == STDIN:
            return None
        for file in _files(text, _entries):
            if not isinstance(file, Photo) and is_video(file.path):
                return None
            count += isinstance(file, Photo) or file.is_photo
    return count


def is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def readable(name: str) -> str:
    """A file's name as it is written: bytes that are no UTF-8 become `\\xe9`, for readers of JSON refuse them."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_video(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


@functools.cache
def photo_suffixes() -> frozenset[str]:
    """Of all files that can be read, HEIF included, which takes one package more."""
    known = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}
    return frozenset(known) | HEIF_SUFFIXES


@dataclass(frozen=True)
class _File:
    path: str
    relative: str
    is_photo: bool


Entry = tuple[str, bool]


def _files(text: str, entries: Callable[[str], Iterable[Entry]]) -> Iterator[_File | Photo]:
    """What one input names; a URL is a photo, and so is a folder that cannot be read, with its error."""
    if is_url(text):
        yield Photo(text, _name_in_url(text))
        return
    path = os.path.normpath(os.path.expanduser(text))
    if os.path.isdir(path):
        yield from _files_below(path, "", (), entries)
    else:
        yield _File(path, os.path.basename(path), is_photo=True)


def _files_below(
    folder: str, relative: str, above: tuple, entries: Callable[[str], Iterable[Entry]]
) -> Iterator[_File | Photo]:
    try:
        status = os.stat(folder)
        found = entries(folder)
    except OSError as error:
        yield Photo(folder, relative or os.path.basename(folder), error=error.strerror or str(error))
        return
    here = status.st_dev, status.st_ino
    if here in above:
        return
    for name, is_folder in found:
        path, below = os.path.join(folder, name), os.path.join(relative, name)
        if is_folder:
            yield from _files_below(path, below, (*above, here), entries)
        else:
            yield _File(path, below, os.path.splitext(name)[1].lower() in photo_suffixes())


def _entries(folder: str) -> Iterator[Entry]:
    """What a folder holds, as (name, whether it is a folder)."""
    return ((entry.name, _is_folder(entry)) for entry in os.scandir(folder) if not entry.name.startswith("."))


def _sorted_entries(folder: str) -> Iterator[Entry]:
    """The same in natural order; many names are sorted in parts that lie on the disk."""
    parts, found = [], _entries(folder)
    while len(names := sorted(itertools.islice(found, SORTED_AT_ONCE), key=_natural_order)) == SORTED_AT_ONCE:
        parts.append(_on_disk(names))
    return heapq.merge(*parts, names, key=_natural_order)


def _natural_order(entry: Entry) -> tuple:
    """Sort key by which `face2` comes before `face10`."""
    parts = re.split(r"(\d+)", entry[0])
    return [int(part) if at % 2 else part.lower() for at, part in enumerate(parts)], entry[0]


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _on_disk(names: list[Entry]) -> Iterator[Entry]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - read later, and gone with its last reader
    for start in range(0, len(names), 1000):
        pickle.dump(names[start : start + 1000], file)
    file.seek(0)
    return _from_disk(file, len(names))


def _from_disk(file: Any, count: int) -> Iterator[Entry]:
    with file:
        for _ in range(0, count, 1000):
            yield from pickle.load(file)


def _frames(path: str, relative: str, every: float, wanted: Wanted, ended: Callable[[str], None]) -> Iterator[Photo]:
    """The frames of a video, and a last one with the error, where it cannot be read to its end."""
    try:
        yield from _decoded(path, relative, every, wanted)
        ended(path)
    except Exception as error:  # OpenCV has exceptions of its own
        if wanted(path, None):
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            yield Photo(path, relative, None, None, error=" ".join(reason.split())[:300] or type(error).__name__)


def _decoded(path: str, relative: str, every: float, wanted: Wanted) -> Iterator[Photo]:
    """Frames by their time stamps, so that a changing frame rate does not matter. Raises whatever OpenCV does."""
    from datasets_scripts.sources.videos import open_video

    cv2, video = open_video(path)
    try:
        rate, expected = video.get(cv2.CAP_PROP_FPS), video.get(cv2.CAP_PROP_FRAME_COUNT)
        index, time, due = -1, 0.0, 0.0
        while video.grab():
            index += 1
            stamp = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
            time = stamp if 0 < stamp < math.inf else index / rate if 0 < rate < math.inf else 0.0
            if time < due - 0.001:
                continue
            due = every * (math.floor((time + 0.001) / every) + 1) if every else 0.0
            if wanted(path, index):
                yield _frame(cv2, video, path, relative, index, time)
    finally:
        video.release()
    if index < 0:
        raise ValueError("the video is broken: no frame can be decoded")
    # The container's number of frames is an estimate: a tenth less is not reported.
    if index + 1 < 0.9 * expected - 1:
        raise ValueError(f"the video is broken: ends after {index + 1} of {expected:.0f} frames")


def _frame(cv2: Any, video: Any, path: str, relative: str, index: int, time: float) -> Photo:
    try:
        there, pixels = video.retrieve()
        picture = Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)) if there else None
    except Exception:  # a frame of another size than those before, or of none
        picture = None
    error = None if picture else "the frame cannot be decoded"
    return Photo(path, relative, index, round(time, 3), picture, error)


def _name_in_url(url: str) -> str:
    return url.partition("?")[0].rstrip("/").rpartition("/")[2][:80] or "url"
