"""Photos in, rows out: pictures are read ahead by threads, looked at as they come, and their rows written in order."""

import functools
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from modeling_facemllm.image_loading_facemllm import UnreadableImage

from .drawing import FaceDrawings, reduced
from .photos import Photo, Picture, readable

READERS = 4
READ_AHEAD = 8  # pictures
BLOCK_BYTES = 64 << 20  # of Pillow's memory: what glibc gives back at once; of its own 16 MiB it keeps gigabytes
PIXELS_AHEAD = 32_000_000  # of all of them, the next one aside: 128 MB

Faces = list[dict[str, Any]]
Look = Callable[[Iterator[Image.Image]], Iterator[Faces | dict[str, str]]]


@dataclass
class Counts:
    """What became of the photos of one run; frames of videos count as photos."""

    photos: int = 0
    faces: int = 0
    without_face: int = 0
    failed: int = 0
    done_before: int = 0
    given_twice: int = 0
    other_files: int = 0

    def add(self, row: dict[str, Any]) -> None:
        if row["error"]:
            self.failed += 1
        else:
            self.photos += 1
            self.faces += len(row["faces"])
            self.without_face += not row["faces"]


@dataclass
class _Waiting:
    """A photo whose faces are being looked at, at `1 / scale` of its size; `picture` is kept only to be drawn on."""

    photo: Photo
    size: list[int] = field(default_factory=list)
    picture: Image.Image | None = None
    error: str | None = None
    scale: float = 1.0


def analyze(
    photos: Iterable[Photo],
    look: Look,
    write_row: Callable[[dict[str, Any]], None],
    *,
    drawings: FaceDrawings | None = None,
    must_have_face: bool = False,
) -> None:
    """Look at the photos and write a row of each, in their order.

    A row is `{"image", "frame", "time", "size": [width, height], "faces", "error"}`; frame and time (seconds) are
    0 for a photo. Where nothing could be seen, `error` says why; else it is empty. All rows have all keys, with None
    only where there is an error: what reads JSON lines in blocks takes the types from the first one.

    Args:
        look: the faces of each of a stream of pictures, in JSON's types, or `{"error"}` where one defeats it.
        write_row: gets each row as soon as it has those before it.
        drawings: draws the faces on a copy of the photo, which is there before its row is written.
        must_have_face: a photo without a face counts as failed.
    """
    waiting: deque[_Waiting] = deque()

    def write_failures() -> None:
        while waiting and waiting[0].error is not None:
            write_row(_row(waiting.popleft(), drawings))

    def pictures(readers: ThreadPoolExecutor) -> Iterator[Image.Image]:
        for photo, picture in _read_ahead(photos, readers, room):
            if isinstance(picture, str):
                waiting.append(_Waiting(photo, error=picture))
                write_failures()  # at once: no picture may come after them for a long time
            else:
                kept = reduced(picture.pixels) if drawings is not None else None
                waiting.append(_Waiting(photo, list(picture.size), kept, scale=picture.size[0] / picture.pixels.width))
                yield picture.pixels

    Image.core.set_block_size(BLOCK_BYTES)
    readers, room = ThreadPoolExecutor(READERS, "read"), _Room(PIXELS_AHEAD)
    try:
        for found in look(pictures(readers)):
            write_failures()
            looked_at = waiting.popleft()
            if isinstance(found, dict):
                looked_at.error = found["error"]
            elif must_have_face and not found:
                looked_at.error = "no face was found"
            write_row(_row(looked_at, drawings, _at_full_size(found, looked_at.scale)))
        write_failures()
    finally:
        room.close()
        readers.shutdown(wait=False, cancel_futures=True)


def _row(looked_at: _Waiting, drawings: FaceDrawings | None, faces: Faces | None = None) -> dict[str, Any]:
    photo = looked_at.photo
    failed = looked_at.error is not None
    row = {
        "image": readable(photo.name),
        "frame": photo.frame,
        "time": photo.time,
        "size": looked_at.size or None,
        "faces": [] if failed else faces,
        "error": looked_at.error or "",
    }
    if drawings is not None:
        drawn = drawings.draw(photo, looked_at.picture, faces, looked_at.size) if row["faces"] else ""
        row["drawing"] = readable(drawn)
    return row


def _at_full_size(faces: Faces | dict[str, str], scale: float) -> Faces | dict[str, str]:
    if scale == 1 or isinstance(faces, dict):
        return faces

    def scaled(sides: list[float]) -> list[float]:
        return [round(side * scale, 2) for side in sides]

    points = [face["landmarks"] and [scaled(point) for point in face["landmarks"]] for face in faces]
    return [
        {**face, "box": scaled(face["box"]), "landmarks": found} for face, found in zip(faces, points, strict=True)
    ]


class _Room:
    """Memory for pictures, in pixels: a reader waits for its share, unless its photo is the next that is looked at."""

    def __init__(self, pixels: int):
        self._pixels, self._changed = pixels, threading.Condition()
        self._shares: dict[int, int] = {}
        self._next = 0

    def reserve(self, number: int, pixels: int) -> None:
        """Wait for room for the photo with this number, which then has `pixels` in place of what it had before."""
        with self._changed:
            self._changed.wait_for(lambda: number <= self._next or self._free_for(number) >= pixels)
            self._shares[number] = pixels
            self._changed.notify_all()

    def leave(self, number: int) -> None:
        """The photo with this number is held here no more, and the one behind it is the next."""
        with self._changed:
            self._shares.pop(number, None)
            self._next = number + 1
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody takes any more pictures: let no reader wait for that."""
        self.leave(sys.maxsize)

    def _free_for(self, number: int) -> int:
        return self._pixels - sum(pixels for other, pixels in self._shares.items() if other != number)


def _read_ahead(
    photos: Iterable[Photo], readers: ThreadPoolExecutor, room: _Room
) -> Iterator[tuple[Photo, Picture | str]]:
    """Each photo with its picture, or with the reason why there is none."""
    reading: deque[tuple[int, Photo, Future]] = deque()

    def load(number: int, photo: Photo) -> Picture:
        picture = photo.load(functools.partial(room.reserve, number))
        room.reserve(number, picture.pixels.width * picture.pixels.height)
        return picture

    def next_one() -> tuple[Photo, Picture | str]:
        number, photo, future = reading.popleft()
        read = _read(photo, future)
        room.leave(number)
        return read

    for number, photo in enumerate(photos):
        reading.append((number, photo, readers.submit(load, number, photo)))
        if len(reading) == READ_AHEAD:
            yield next_one()
    while reading:
        yield next_one()


def _read(photo: Photo, reading: Future) -> tuple[Photo, Picture | str]:
    try:
        return photo, reading.result()
    except UnreadableImage as error:
        return photo, error.reason
