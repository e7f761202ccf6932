"""The file of `facemllm analyze --out`: a JSON line per photo, appended as they come, taken up again after a kill."""

import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasets_scripts.files import differences
from facemllm.cli import UserError
from facemllm.hashed_names import HashedNames, hash_name
from facemllm_recipes.run_folder import write_json

from .photos import readable

NOWHERE = -1
SYNC_BYTES = 2**20  # a power cut loses no more than this; a kill loses nothing that was written


def row_key(name: str, frame: int | None) -> str:
    """What tells one row from all others."""
    return f"{readable(name)}\0{frame}"


def row_line(row: dict[str, Any]) -> bytes:
    """A row as it stands in the file."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"


class FaceJournal:
    """Rows on the disk; opening the file again goes on where it stopped, with the same settings only.

    The settings stand in `NAME.run.json` beside it, with the counts of the last run when that came to its end. What
    failed before is tried again: its row gives way to one with faces, and stays where it is if it fails as before.

    Args:
        path: where the rows are written.
        settings: what the rows depend on, in JSON's types.

    Raises:
        UserError: when another process writes the file, it holds rows of other settings, or is no such file.
        OSError: when it cannot be written.
    """

    def __init__(self, path: str | os.PathLike, settings: dict[str, Any]):
        self.path = Path(path)
        self.run_path = self.path.with_name(f"{self.path.name}.run.json")
        self._settings = json.loads(json.dumps(settings))
        self._done = HashedNames()
        self._failed = HashedNames()
        self._failed_rows = HashedNames()
        self._finished = False
        self._superseding: dict[int, int] = {}  # of what failed before: where its newest row begins
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _open_alone(self.path)
        try:
            self._claim()
            self._read_back()
        except BaseException:
            self._file.close()
            raise

    def __contains__(self, key: str) -> bool:
        """Whether the photo or frame of this `row_key` has been looked at without failure."""
        return key in self._done

    def append(self, row: dict[str, Any]) -> None:
        """Write a row; when the disk is full, nothing of it is there. Raises `OSError`."""
        line, key = row_line(row), row_key(row["image"], row["frame"])
        failed_before = key in self._failed
        if failed_before and line in self._failed_rows:
            return
        end = self._end + len(line)
        try:
            _write_all(self._file, line)
            if end // SYNC_BYTES > self._end // SYNC_BYTES:
                os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(self._end)
            raise _told(error, self.path) from error
        if failed_before:
            self._superseding[hash_name(key)] = self._end
        self._end = end

    def settle(self, key: str) -> None:
        """Drop the row of a failure that is overcome, and in whose place there will be none."""
        if key in self._failed:
            self._superseding[hash_name(key)] = NOWHERE

    def finish(self, counts: dict[str, Any]) -> None:
        """Drop the rows of failures that were overcome, and note the counts. Raises `OSError`."""
        try:
            os.fsync(self._file.fileno())
            if self._superseding:
                self._drop_superseded()
            write_json(self.run_path, {"settings": self._settings, "finished": True, "counts": counts})
            self._finished = True
        except OSError as error:
            raise _told(error, self.path) from error

    def close(self) -> None:
        """Let others write the file; where nothing was looked at, none is left."""
        if not self._end and not self._finished:
            self.path.unlink(missing_ok=True)
            self.run_path.unlink(missing_ok=True)
        self._file.close()

    def __enter__(self) -> "FaceJournal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _claim(self) -> None:
        if os.fstat(self._file.fileno()).st_size:
            try:
                earlier = json.loads(self.run_path.read_text(encoding="utf-8"))["settings"]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"--out {self.path}: the file is there, and no {self.run_path.name} that says what is in it; "
                    "give another --out, or delete it"
                ) from error
            if different := differences(earlier, self._settings):
                raise UserError(
                    f"--out {self.path} holds rows of other settings ({'; '.join(different)}): give another --out, or "
                    "these settings again to go on"
                )
        try:
            write_json(self.run_path, {"settings": self._settings, "finished": False})
        except OSError as error:
            raise _told(error, self.run_path) from error

    def _read_back(self) -> None:
        end = 0
        self._file.seek(0)
        with open(self.path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):  # torn by a kill
                    break
                try:
                    row = json.loads(line)
                    key, failed = row_key(row["image"], row["frame"]), bool(row["error"])
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise UserError(
                        f"--out {self.path}, line {number}: is no row of facemllm analyze; remove that line, or give "
                        "another --out"
                    ) from error
                if key in self._failed:
                    self._superseding[hash_name(key)] = end
                if failed:
                    self._failed.add(key)
                    self._failed_rows.add(line)
                else:
                    self._done.add(key)
                end += len(line)
        self._file.truncate(end)
        self._file.seek(end)
        self._end = end

    def _drop_superseded(self) -> None:
        partial = self.path.with_name(f".{self.path.name}.partial")
        try:
            with open(partial, "wb") as kept:
                for line, begins in self._rows():
                    newest = self._superseding.get(_hash_of_row(line), begins)
                    if newest == begins:
                        kept.write(line)
                kept.flush()
                os.fsync(kept.fileno())
            os.replace(partial, self.path)
        finally:
            partial.unlink(missing_ok=True)
        self._superseding = {}

    def _rows(self) -> Iterator[tuple[bytes, int]]:
        begins = 0
        with open(self.path, "rb") as lines:
            for line in lines:
                yield line, begins
                begins += len(line)


def _hash_of_row(line: bytes) -> int:
    row = json.loads(line)
    return hash_name(row_key(row["image"], row["frame"]))


def _open_alone(path: Path) -> Any:
    """The file, unbuffered, locked against other processes."""
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise UserError(f"--out {path}: is no regular file; give a file name, or no --out to have the rows printed")
    while True:
        file = open(path, "ab+", buffering=0)  # noqa: SIM115 - it stays open between rows
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        except BlockingIOError as error:
            file.close()
            raise UserError(f"--out {path}: another process writes this file; wait for it, or give another") from error
        except FileNotFoundError:
            pass
        file.close()  # the process that held it has put another file in its place


def _write_all(file: Any, data: bytes) -> None:
    left = memoryview(data)
    while left:  # an almost full disk takes a part first, and fails with the rest
        left = left[file.write(left) :]


def _told(error: OSError, path: Path) -> OSError:
    """The same error in words that say what to do."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "free some space, and the same command goes on" if full else "the same command goes on"
    return OSError(f"--out {path}: cannot be written ({error.strerror or error}); what is there is whole; {remedy}")
