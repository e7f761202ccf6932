"""The WebDataset tars that img2dataset writes, a sample at a time: picture and json.

`00000.tar` holds `000000000.jpg`, `000000000.json` and `000000000.txt` of every picture that could be
downloaded. The txt, the words that stood beside the picture, is not read: no annotator is shown them. Tars are read
with the standard library's `tarfile` and not with `webdataset`: where each picture lies in its tar is kept, so
that it can be read again without going through the tar, and every fault is counted.
"""

import io
import json
import math
import os
import struct
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from datasets_scripts.schema import CorpusError, Skipped

PICTURES = ("jpg", "jpeg", "png", "webp")
LARGEST_MEMBER = 128 * 2**20  # bytes: a header that a damaged tar made up must not fill the memory
LARGEST_HEADER = 2**20  # bytes: names have a few hundred
MAX_NUMBER = 2**63 - 1  # of an id or a size: what the detections' tables can hold
NUMBERS = ("SAMPLE_ID", "WIDTH", "HEIGHT", "original_width", "original_height")
SOURCE = "laion_face"


DAMAGE = (ValueError, OverflowError, RecursionError, EOFError, LookupError, struct.error)
"""What else `tarfile` raises at headers that lie: numbers that are none, chains of long names without an end."""


@dataclass(frozen=True)
class TarSample:
    """One picture of a tar; `offset` says where its `len(picture)` bytes begin in the tar."""

    key: str
    picture: bytes
    offset: int
    meta: Mapping[str, Any]

    @property
    def sample_id(self) -> int | None:
        """LAION's SAMPLE_ID where the download carried it along; LAION-400M's tables have it as a floating number."""
        return whole_number(self.meta.get("SAMPLE_ID"))

    @property
    def id(self) -> str:
        """The same in every download that carries SAMPLE_ID along; else by img2dataset's key, a place in its list."""
        return f"{SOURCE}/{self.key if self.sample_id is None else self.sample_id}"


@dataclass
class _Members:
    """What has been read of one sample so far."""

    key: str
    picture: bytes | None = None
    offset: int = 0
    json: bytes | None = None
    extensions: set[str] = field(default_factory=set)
    fault: str | None = None


class LargeHeader(tarfile.TarError):
    """A member's headers, with the pax records and long names before it, are larger than `LARGEST_HEADER`."""


class _HeaderReader(io.BufferedReader):
    """A tar's bytes, of which `tarfile` reads no more than `LARGEST_HEADER` for the headers of a member."""

    left: float = LARGEST_HEADER

    def read(self, size: int = -1, /) -> bytes:
        self.left -= size
        if self.left < 0:
            raise LargeHeader(f"tar with a header of more than {LARGEST_HEADER // 2**20} MB")
        return super().read(size)

    def next_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo | None:
        """`tar.next()`; what is read of the member afterwards is not bounded here."""
        self.left = LARGEST_HEADER
        member = tar.next()
        self.left = math.inf
        return member


def find_tars(shards: str | os.PathLike | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """The tars of a folder (those below it too), or the ones that are named; absolute paths, sorted.

    Raises `CorpusError` where there is none.
    """
    given = [shards] if isinstance(shards, (str, os.PathLike)) else list(shards)
    found: list[Path] = []
    for place in map(Path, given):
        if place.is_dir():
            found += filter(Path.is_file, place.rglob("*.tar"))
        elif place.is_file():
            found.append(place)
        else:
            raise CorpusError(f"{place}: no such folder or tar; give the folder that img2dataset wrote")
    if not found:
        names = ", ".join(map(str, given))
        raise CorpusError(f"{names}: no tar there; give the folder that img2dataset wrote (webdataset format)")
    return tuple(sorted({str(path.resolve()) for path in found}))


def read_tar(path: str | os.PathLike) -> Iterator[TarSample | Skipped]:
    """Each sample of a tar in its order, or why there is none; a tar that is cut off gives what is whole in it."""
    name = Path(path).stem
    sample: _Members | None = None
    try:
        with _HeaderReader(open(path, "rb", buffering=0)) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := file.next_member(tar)) is not None:
                tar.members, tar.pax_headers = [], {}  # tarfile would remember every one
                if not member.isfile():
                    continue
                name_there = member.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
                key, _, extension = PurePosixPath(name_there).name.partition(".")
                if sample is not None and (key != sample.key or extension.lower() in sample.extensions):
                    yield _finish(sample, name)
                    sample = None
                sample = sample or _Members(key)
                _take(sample, extension.lower(), tar, member)
            tar.fileobj.seek(tar.offset)
            whole, why = file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE), "tar cut off or damaged"
    except (tarfile.TarError, *DAMAGE) as error:
        whole, why = False, str(error) if isinstance(error, LargeHeader) else "tar cut off or damaged"
    if sample is not None and (whole or not sample.fault):
        finished = _finish(sample, name)
        if whole or isinstance(finished, TarSample):
            yield finished
    if not whole:
        yield Skipped(f"{SOURCE}/{name}", f"{why}: the rest of it")


def read_again(path: str | os.PathLike, offset: int, size: int) -> bytes:
    """The bytes of a picture from its place in a tar. Raises `CorpusError` where the tar does not reach so far."""
    with open(path, "rb") as file:
        file.seek(offset)
        picture = file.read(size)
    if len(picture) != size:
        raise CorpusError(f"{path} is shorter than when it was annotated: put the same tars back")
    return picture


def whole_number(value: Any) -> int | None:
    """An id that JSON carried as a number or as text; None for NaN and whatever else is no whole number.

    Whatever is beyond `MAX_NUMBER`, infinity too, is given as the next number after it.
    """
    if isinstance(value, str):
        text = value.strip()
        if not text.isdecimal():
            return None
        value = int(text) if len(text) < 40 else math.inf
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        return None
    value = max(-MAX_NUMBER - 1, min(value, MAX_NUMBER + 1))
    return int(value) if value == int(value) else None


def _take(sample: _Members, extension: str, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    sample.extensions.add(extension)
    if extension not in (*PICTURES, "json"):
        return
    if member.size > LARGEST_MEMBER:
        sample.fault = f"member of more than {LARGEST_MEMBER // 2**20} MB"
        return
    if member.issparse():  # its bytes are not where the tar says
        sample.fault = "sparse member"
        return
    content = tar.extractfile(member).read()
    if len(content) != member.size:
        sample.fault = "cut off"
        raise tarfile.ReadError("unexpected end of data")
    if extension in PICTURES:
        sample.picture, sample.offset = content, member.offset_data
    else:
        sample.json = content


def _finish(sample: _Members, tar: str) -> TarSample | Skipped:
    name = f"{SOURCE}/{tar}/{sample.key}"
    if sample.fault:
        return Skipped(name, sample.fault)
    if sample.picture is None:
        return Skipped(name, "sample without picture")
    if sample.json is None:
        return Skipped(name, "sample without json")
    try:
        meta = json.loads(sample.json)
    except (ValueError, RecursionError):
        return Skipped(name, "malformed json")
    if not isinstance(meta, dict) or not isinstance(meta.get("url"), str) or not meta["url"]:
        return Skipped(name, "json without url")
    try:
        meta["url"].encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return Skipped(name, "json with a url that is no text")
    if any(abs(whole_number(meta.get(number)) or 0) > MAX_NUMBER for number in NUMBERS):
        return Skipped(name, "json with a number of more than 64 bits")
    return TarSample(sample.key, sample.picture, sample.offset, meta)
