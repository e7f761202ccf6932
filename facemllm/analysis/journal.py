"""The file of `facemllm analyze --out`: a JSON line per photo, appended as they come, taken up again after a kill."""

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from glob import escape
from operator import itemgetter
from pathlib import Path
from typing import Any

from datasets_scripts.corpus.hashed_names import HashedNames, hash_name
from datasets_scripts.files import Busy, Journal, read_claim, replacing, write_json
from facemllm.cli import UserError

from .photos import readable

NOWHERE = -1
SYNC_BYTES = 2**20  # a power cut loses no more than this; a kill loses nothing that was written


def row_key(name: str, frame: int | None) -> str:
    """What is of one row only: its photo and frame."""
    return f"{readable(name)}\0{frame}"


def row_line(row: dict[str, Any]) -> bytes:
    """A row as it is in the file; half a letter, which UTF-8 has not, is `?`."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False).encode(errors="replace") + b"\n"


class FaceJournal:
    """Rows on the disk; opening the file again goes on where it stopped, with the same settings only.

    The settings are in `NAME.run.json` beside it, with the types of the rows, and with the counts of the last run when
    that came to its end. What failed before is tried again: its row gives way to one with faces, and is left if it
    fails as before. `settings` are what the rows depend on, in JSON's types.

    Raises:
        UserError: when another process writes the file, it holds rows of other settings, or is no such file.
        OSError: when it cannot be written.
    """

    def __init__(self, path: str | os.PathLike, settings: dict[str, Any]):
        self.path = Path(path)
        self.run_path = self.path.with_name(f"{self.path.name}.run.json")
        self._settings = settings
        self._done = HashedNames()
        self._failed = HashedNames()
        self._failed_rows = HashedNames()
        self._finished = False
        self._features: dict[str, Any] | None = None
        self._superseding: dict[int, int] = {}  # of what failed before: where its newest row begins
        if self.path.exists() and not self.path.is_file():
            raise UserError(f"--out {path}: is no regular file; give a file name, or no --out to print the rows")
        try:
            self._journal = Journal(self.path, self._claim)
        except Busy as error:
            raise UserError(f"--out {path}: another process writes this file; wait for it, or give another") from error
        try:
            self._read_back()
        except BaseException:
            self._journal.close()
            raise

    def __contains__(self, key: str) -> bool:
        """Whether the photo or frame of this `row_key` has been looked at without failure."""
        return key in self._done

    def describe(self, features: dict[str, Any]) -> None:
        """Note the types of the rows (`row_features`) beside them. Raises `OSError`."""
        self._features = features
        with _writing(self.run_path):
            write_json(self.run_path, {"settings": self._settings, "finished": False, "features": features})

    def append(self, row: dict[str, Any]) -> None:
        """Write a row; when the disk is full, nothing of it is there. Raises `OSError`."""
        line, key, begin = row_line(row), row_key(row["image"], row["frame"]), self._journal.end
        failed_before = key in self._failed
        if failed_before and line in self._failed_rows:
            return
        with _writing(self.path):
            self._journal.append_lines(line, sync=(begin + len(line)) // SYNC_BYTES > begin // SYNC_BYTES)
        if failed_before:
            self._superseding[hash_name(key)] = begin

    def settle(self, key: str) -> None:
        """Drop the row of a failure that is overcome, and in whose place there will be none."""
        if key in self._failed:
            self._superseding[hash_name(key)] = NOWHERE

    def finish(self, counts: dict[str, Any]) -> None:
        """Drop the rows of failures that were overcome, and note the counts. Raises `OSError`."""
        with _writing(self.path):
            self._journal.append()  # what is there already goes to the disk
            if self._superseding:
                with replacing(self.path) as kept:
                    for begin, line in self._journal.lines():
                        row = json.loads(line)
                        key = hash_name(row_key(row["image"], row["frame"]))
                        if self._superseding.get(key, begin) == begin:
                            kept.write(line)
                self._superseding = {}
            found = {"finished": True, "counts": counts, "features": self._features}
            write_json(self.run_path, {"settings": self._settings, **found})
            self._finished = True

    def __enter__(self) -> "FaceJournal":
        return self

    def __exit__(self, *_: object) -> None:
        """Let others write the file; where nothing was looked at, none is left."""
        if not self._journal.end and not self._finished:
            self._journal.remove()
            self.run_path.unlink(missing_ok=True)
        self._journal.close()

    def _claim(self) -> None:
        for partial in self.path.parent.glob(f".{escape(self.path.name)}.*.partial"):  # a killed run's
            partial.unlink(missing_ok=True)
        if self.path.stat().st_size:
            remedy = f"give another --out, or delete {self.path.name}"
            try:
                claimed = read_claim(self.run_path, self._settings, itemgetter("settings"))
            except (OSError, ValueError) as error:
                raise UserError(f"--out {self.path}: {error}; {remedy}, or give those settings to go on") from error
            if claimed is None:
                raise UserError(f"--out {self.path}: its settings, {self.run_path.name}, are missing; {remedy}")
        with _writing(self.run_path):
            write_json(self.run_path, {"settings": self._settings, "finished": False})

    def _read_back(self) -> None:
        for number, (begin, line) in enumerate(self._journal.lines(), start=1):
            try:
                row = json.loads(line)
                key, failed = row_key(row["image"], row["frame"]), bool(row["error"])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(
                    f"--out {self.path}, line {number}: is no row of facemllm analyze; remove that line, or give "
                    "another --out"
                ) from error
            if key in self._failed:
                self._superseding[hash_name(key)] = begin
            if failed:
                self._failed.add(key)
                self._failed_rows.add(line)
            else:
                self._done.add(key)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Within the context an `OSError` says what was meant to be written, and the remedy."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space, and the same command goes on" if full else "the same command goes on"
        reason = f"cannot be written ({error.strerror or error}); what is there is whole; {remedy}"
        raise OSError(f"--out {path}: {reason}") from error
