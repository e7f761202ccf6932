"""Files that outlive a kill or a full disk: atomic writes, locks, journals, and whose folder it is.

The only place for these. Nothing here speaks of corpora or runs: errors are `OSError`s and `ValueError`s, and callers
name the argument and the remedy.
"""

import contextlib
import errno
import fcntl
import functools
import json
import os
import resource
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import IO, Any

MAX_SHOWN, MAX_LENGTH = 3, 40
LOCK = ".lock"
"""The lock file of an output folder, while a process writes it."""
WITHOUT_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # what such a file system answers


@contextlib.contextmanager
def replacing(path: str | os.PathLike, mode: str = "wb", sync: bool = True) -> Iterator[IO]:
    """A file beside `path` to write into; it takes the name `path` when the block ends, and is gone after an error.

    So `path` holds all of the new content or what it held before. With `sync` the content is on the disk before the
    name is. Text is UTF-8. Missing parent folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write `text` as `replacing` does."""
    with replacing(path, "w") as file:
        file.write(text)


def write_json(path: str | os.PathLike, content: Any, indent: int | None = 2) -> None:
    """Write `content` as JSON, as `replacing` does; what JSON does not know is written as text."""
    with replacing(path) as file:
        file.write(_encode(content, indent=indent, default=str))


def _encode(content: Any, **options: Any) -> bytes:
    """JSON in UTF-8; of a file's name that is no UTF-8 the surrogates become JSON's own escapes."""
    return json.dumps(content, ensure_ascii=False, **options).encode("utf-8", "backslashreplace") + b"\n"


def read_json(path: str | os.PathLike) -> Any:
    """What a JSON file holds; None where there is no file.

    Raises:
        ValueError: for a file that is no JSON, with its path.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise ValueError(f"{path}: is no JSON ({error})") from error


def read_claim(
    path: str | os.PathLike, settings: Any, settings_of: Callable[[Any], Any] = lambda record: record
) -> Any:
    """The record at `path`, which says whose a file or folder is; None where there is none.

    Args:
        settings: what the record must be of.
        settings_of: the part of the record that holds its settings; without it, the whole record.

    Raises:
        ValueError: for a record of other settings, with what differs, and for one that is no JSON or holds none.
    """
    record = read_json(path)
    if record is None:
        return None
    try:
        found = settings_of(record)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: holds no settings") from error
    if different := differences(found, json.loads(json.dumps(settings, default=str))):
        raise ValueError(f"{path}: is of other settings ({'; '.join(different)})")
    return record


@contextlib.contextmanager
def scratch_folder(place: str | os.PathLike) -> Iterator[Path]:
    """An empty folder below `place`, which is gone when the block ends; what a kill left there goes first.

    One process at a time may use a `place`.
    """
    new = Path(place, "new")
    shutil.rmtree(place, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        yield new
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def replacing_folder(path: str | os.PathLike) -> Iterator[Path]:
    """A folder beside `path` to write into; it takes the name `path` when the block ends, and is gone after an error.

    The old folder is kept until then. A kill between the two renames is mended by the next call. One process at a
    time may replace a folder.
    """
    path = Path(path)
    place = path.with_name(f".{path.name}.partial")
    old = place / "old"
    if old.is_dir() and not path.exists():
        os.replace(old, path)
    with scratch_folder(place) as new:
        yield new
        try:
            if path.is_dir():
                os.replace(path, old)
            os.replace(new, path)
        except BaseException:
            if old.is_dir() and not path.exists():
                os.replace(old, path)
            raise


class Busy(OSError):
    """Another process holds a lock. `holder` says which, as `process 12 on host`, or `another process`."""

    def __init__(self, path: Path, holder: str):
        super().__init__(errno.EWOULDBLOCK, f"is held by {holder}", str(path))
        self.holder = holder

    def __reduce__(self) -> tuple:  # a worker process may raise it: OSError's own gives three arguments
        return type(self), (self.filename, self.holder)


@contextlib.contextmanager
def lock(path: str | os.PathLike, patience: float = 0.0) -> Iterator[IO]:
    """Hold the lock file `path`; the system frees it when the process ends, however it ends.

    A child that gets the descriptor of the file holds it too; what is written to the file is part of `Busy.holder`.
    It is `flock`, which Linux carries across machines on NFS (version 3 with its lock service, version 4) and which
    Lustre needs mounted with `flock`.

    Args:
        patience: seconds to wait for another process that holds it.

    Raises:
        Busy: when that time is over.
        OSError: where the file system has no locks, or `path` cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as file:
        end = time.monotonic() + patience
        while not _locked(file):
            if time.monotonic() > end:
                raise Busy(path, _holder(file))
            time.sleep(0.1)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield file


@contextlib.contextmanager
def alone(output: str | os.PathLike, beside: bool = False, patience: float = 1.0) -> Iterator[None]:
    """Be the one process that writes the folder `output`: the lock that all outputs take.

    The lock file is `output/.lock`, or `.NAME.lock` with `beside`, for a folder that another one will replace. It is
    gone when the block ends, and so are folders that were made for it and stayed empty. A kill frees it at once:
    forked processes do not hold it on. Where the file system has no locks, nothing is locked.

    Raises:
        Busy: when another process still holds it after `patience` seconds.
        OSError: where the lock file cannot be written.
    """
    path = _lock_path(output, beside)
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        with _named_lock(path, patience):
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
    finally:
        with contextlib.suppress(OSError):
            for folder in made:
                folder.rmdir()


def writer_of(output: str | os.PathLike, beside: bool = False) -> str | None:
    """Which process writes the folder `output`, as `alone` has it; None where none does. Nothing is written."""
    try:
        with open(_lock_path(output, beside)) as file:
            return None if _locked(file, fcntl.LOCK_SH) else _holder(file)
    except OSError:
        return None


def first_in(output: str | os.PathLike) -> str | None:
    """The first name in the folder `output`, for one that no claim says is the caller's; None where it holds nothing.

    The lock does not count, and neither does what a kill left of a claim half-written.
    """
    names = os.listdir(output) if os.path.isdir(output) else []
    return min((name for name in names if name != LOCK and not name.endswith(".partial")), default=None)


def _lock_path(output: str | os.PathLike, beside: bool) -> Path:
    output = Path(output).resolve()
    return output.with_name(f".{output.name}{LOCK}") if beside else output / LOCK


@contextlib.contextmanager
def _named_lock(path: Path, patience: float) -> Iterator[None]:
    """Hold the file that has the name `path`: who waited for one that was removed takes the next."""
    end = time.monotonic() + patience
    with contextlib.ExitStack() as held:
        while True:
            try:
                file = held.enter_context(lock(path, max(0.0, end - time.monotonic())))
            except OSError as error:
                if error.errno not in WITHOUT_LOCKS:
                    raise
                break
            if _has_name(file, path):
                _let_go_in_children()
                _held.add(file)
                held.callback(_held.discard, file)
                break
            held.close()
        yield


_held: set[IO] = set()


@functools.cache
def _let_go_in_children() -> None:
    def let_go() -> None:
        while _held:
            _held.pop().close()

    os.register_at_fork(after_in_child=let_go)


def _has_name(file: IO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _holder(file: IO) -> str:
    file.seek(0)
    return ", ".join(file.read().splitlines()) or "another process"


def is_locked(path: str | os.PathLike) -> bool:
    """Whether another process holds the lock file `path`."""
    try:
        with open(path, "a+") as file:
            return not _locked(file)
    except FileNotFoundError:
        return False


def _locked(file: IO, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return False
    return True


class Journal:
    """A file of JSON values, one a line, that one process at a time appends to and any reads back after a kill.

    Opening it locks it and cuts off a line that a kill left torn. When the disk is full, `append` raises, and the file
    holds nothing of the entries. Used as a context manager, or closed.

    Args:
        claim: called when the file is locked and before it is changed; raises where the file is not the caller's.

    Raises:
        Busy: where another process has it open.
        ValueError: for a whole line that is no JSON, with its number.
    """

    def __init__(self, path: str | os.PathLike, claim: Callable[[], None] | None = None):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.end = 0
        """Bytes of the whole lines."""
        self._file = self._open_alone()
        try:
            if claim is not None:
                claim()
            for begin, line in self.lines():
                self.end = begin + len(line)
            self._file.truncate(self.end)
        except BaseException:
            self._file.close()
            raise

    def _open_alone(self) -> IO:
        while True:
            file = open(self.path, "ab+", buffering=0)  # noqa: SIM115 - it stays open between entries
            try:
                if not _locked(file):
                    raise Busy(self.path, "another process")
                if _has_name(file, self.path):
                    return file
            except BaseException:
                file.close()
                raise
            file.close()  # the process that held it has removed it, or put another file in its place

    def entries(self) -> Iterator[Any]:
        """What the journal holds, in the order it was appended."""
        return (entry for entry, _ in self.places())

    def places(self) -> Iterator[tuple[Any, tuple[int, int]]]:
        """Each entry with its place, where `read` finds it: for journals that memory shall not hold."""
        for number, (begin, line) in enumerate(self.lines(), start=1):
            try:
                yield json.loads(line), (begin, begin + len(line))
            except ValueError as error:
                raise ValueError(f"{self.path}, line {number}: is no JSON ({error})") from error

    def read(self, place: tuple[int, int]) -> Any:
        """The entry at a place."""
        start, end = place
        return json.loads(os.pread(self._file.fileno(), end - start, start))

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Where each whole line begins, and the line as it is in the file."""
        begin = 0
        with open(self.path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    return
                yield begin, line
                begin += len(line)

    def append(self, *entries: Any, sync: bool = True) -> None:
        """Write entries; with `sync` they are on the disk when this returns. Raises `OSError` for a full disk."""
        self.append_lines(b"".join(map(_encode, entries)), sync)

    def append_lines(self, lines: bytes, sync: bool = True) -> None:
        """Write lines that are JSON already, as `append` does."""
        left = memoryview(lines)
        try:
            while left:  # an almost full disk takes a part first, and fails with the rest
                left = left[self._file.write(left) :]
            if sync:
                os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(self.end)
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self.end += len(lines)

    def remove(self) -> None:
        """Remove the file: its entries are elsewhere, whole."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let other processes have it."""
        self._file.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def differences(found: Any, wanted: Any, name: str = "") -> list[str]:
    """The settings that differ, three at most, as `shard_rows: 500 there, 2000 now`: whose folder it is, for an error.

    Both are in JSON's types; a tuple of `wanted` is the list that it is written as. Long values are shown around the
    place where they differ.
    """
    wanted = list(wanted) if isinstance(wanted, tuple) else wanted
    if found == wanted:
        return []
    both = [found, wanted]
    if all(isinstance(value, list) and value and isinstance(value[0], dict) for value in both):
        both = [dict(enumerate(value)) for value in both]
    if all(isinstance(value, dict) for value in both):
        keys = dict.fromkeys(chain(*both))
        nested = (differences(*(value.get(key) for value in both), f"{name}.{key}".strip(".")) for key in keys)
        return list(islice(chain.from_iterable(nested), MAX_SHOWN))
    texts = [str(value) if not isinstance(value, dict) else "..." for value in both]
    alike = len(list(takewhile(lambda letters: letters[0] == letters[1], zip(*texts, strict=False))))
    begin = max(0, alike - 20) if max(map(len, texts)) > MAX_LENGTH else 0
    there, now = (text[begin : begin + MAX_LENGTH] for text in texts)
    return [f"{name}: {there} there, {now} now"]


def package_versions(*packages: str) -> dict[str, str]:
    """The versions of those of `packages` that are installed."""
    found = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def peak_memory(children: bool = False) -> int:
    """The most memory that this process has held, in bytes; with `children`, or one of its finished children."""
    unit = 1 if sys.platform == "darwin" else 1024
    own, theirs = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return unit * (max(own, theirs) if children else own)
