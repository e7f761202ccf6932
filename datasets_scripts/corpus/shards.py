"""Records to Parquet shards: one file at a time, in row groups, in one process or several.

A shard is written under a temporary name and renamed when it is whole, so a kill or a full disk leaves no half shard.
What was counted while it was written (rows, skipped rows and why, which labels occur) is in the file's own
metadata: a later run, which skips the shard, reads it there.
"""

import contextlib
import itertools
import json
import multiprocessing
import os
import queue
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from datasets import Features

from datasets_scripts.files import replacing
from datasets_scripts.schema import CorpusError, Remarked, Skipped, validate_record
from datasets_scripts.worker_processes import follow_parent, message_of_dead_worker, without_interrupts

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetWriter

Item = dict[str, Any] | Remarked | Skipped
"""What a source makes of a row: a record, one with a remark, or the reason for none."""
METADATA_KEY = b"facemllm_corpus"
ROW_GROUP_ROWS = 128  # what a streaming reader holds at once
ROW_GROUP_BYTES = 32 * 2**20  # of encoded pictures
MAX_REASONS = 200  # why rows were skipped, counted apart in a split: a manifest does not grow with its source
OTHER_REASONS = "other reasons"


class SizedSource(Protocol):
    """A source whose rows can be read from anywhere: what several processes need. It must be picklable.

    One whose records are made of a `reader`'s faces, one of each, may also have that `reader` and `record_of(face)`.
    Then sources of one reader are written together, and each of its rows is read once for all of them.
    """

    def __len__(self) -> int:
        """The number of rows, those that will be skipped included."""

    def records(self, start: int, stop: int) -> Iterator[Item]:
        """One record, or the reason for none, for each of the rows `start` to `stop`."""

    def describe(self) -> dict[str, Any]:
        """What the records depend on, in JSON's types."""


@dataclass(frozen=True)
class ShardSettings:
    """What all shards of a build share; `fingerprint` names the build in every shard."""

    fingerprint: str
    features: Features
    include_images: bool
    shard_rows: int


@dataclass
class ShardCount:
    """What was counted in one shard or in several: what a dataset card must say of its rows."""

    rows: int = 0
    bytes: int = 0
    pictures: int = 0  # rows that carry their pixels
    skipped: Counter = field(default_factory=Counter)
    remarks: Counter = field(default_factory=Counter)
    labels: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)
    licenses: set[str] = field(default_factory=set)
    annotations: Counter = field(default_factory=Counter)  # rows by (annotator, prompt version, date)

    def __add__(self, other: "ShardCount") -> "ShardCount":
        return ShardCount(
            self.rows + other.rows,
            self.bytes + other.bytes,
            self.pictures + other.pictures,
            _few_reasons(self.skipped + other.skipped),
            self.remarks + other.remarks,
            self.labels | other.labels,
            self.sources | other.sources,
            self.licenses | other.licenses,
            self.annotations + other.annotations,
        )

    def add_skipped(self, reason: str) -> None:
        """Count a skipped row; beyond `MAX_REASONS` distinct ones, under `OTHER_REASONS`."""
        known = reason in self.skipped or len(self.skipped) < MAX_REASONS
        self.skipped[reason if known else OTHER_REASONS] += 1

    def add_row(self, record: Mapping[str, Any]) -> None:
        """Count what a record holds; `rows` and `bytes` are counted when its row group is written."""
        self.pictures += record["image"] is not None
        self.labels.update(name for name, value in record["labels"].items() if value is not None)
        self.sources.add(record["source"])
        self.licenses.add(record["license"])
        if (words := record.get("annotation")) is not None:
            self.annotations[(words["annotator"], words["prompt_version"], words["date"])] += 1

    def to_json(self) -> dict[str, Any]:
        sets = {name: sorted(getattr(self, name)) for name in ("labels", "sources", "licenses")}
        annotations = sorted([*key, rows] for key, rows in self.annotations.items())
        return {**vars(self), **sets, "annotations": annotations}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "ShardCount":
        return cls(
            kept["rows"],
            kept["bytes"],
            kept["pictures"],
            Counter(kept["skipped"]),
            Counter(kept.get("remarks", {})),  # of shards from before there were any
            *(set(kept[name]) for name in ("labels", "sources", "licenses")),
            Counter({tuple(key): rows for *key, rows in kept["annotations"]}),
        )


@dataclass(frozen=True)
class Run:
    """Neighbouring shards, `first` to `last`, that one process makes in one pass over its part of the sources.

    Of several sources, which then have one `reader`, a shard of each is open at a time.
    """

    sources: tuple[SizedSource, ...]
    stems: tuple[str, ...]  # for each source, the path of its shards without number and suffix
    first: int
    last: int

    def rows(self, shard_rows: int) -> Iterator[tuple[Item, ...]]:
        """For each row of these shards what each source makes of it."""
        start, stop = self.first * shard_rows, min((self.last + 1) * shard_rows, len(self.sources[0]))
        if len(self.sources) == 1:
            return ((item,) for item in self.sources[0].records(start, stop))
        faces = self.sources[0].reader.faces(start, stop)
        return (
            tuple(face if isinstance(face, Skipped) else source.record_of(face) for source in self.sources)
            for face in faces
        )


def plan_runs(missing: Iterable[tuple[SizedSource, str, Sequence[int]]], num_proc: int) -> list[Run]:
    """Runs that make the missing shards: of each source, the stem of its paths and the shards' numbers.

    Shards of one number that are read from one reader are in one run. So a picture is decoded and measured once,
    whatever the number of configs. Where there is a process and a processor for every single shard, each is on its
    own: none would be finished later. A run has about as many shards as make the processes' shares equal.
    """
    units = [(source, stem, index) for source, stem, numbers in missing for index in numbers]
    apart = min(num_proc, os.cpu_count() or 1) >= len(units)
    groups: dict[tuple[Any, int], list[tuple[SizedSource, str]]] = {}
    for source, stem, index in units:
        read = stem if apart or not hasattr(source, "record_of") else id(source.reader)
        groups.setdefault((read, index), []).append((source, stem))
    most = max(1, -(-len(groups) // num_proc))
    runs: list[Run] = []
    for (_, index), together in groups.items():
        sources, stems = zip(*together, strict=True)
        last = runs[-1] if runs else None
        if last and last.stems == stems and last.last == index - 1 and last.last - last.first + 1 < most:
            runs[-1] = Run(sources, stems, last.first, index)
        else:
            runs.append(Run(sources, stems, index, index))
    return runs


def shard_path(stem: str | Path, index: int) -> Path:
    """Where shard `index` is kept until the number of shards is known and it gets its last name."""
    return Path(f"{stem}-{index:05d}.parquet")


def read_count(path: str | Path, fingerprint: str) -> ShardCount | None:
    """What was counted in the shard at `path`; None unless it is a whole shard of the build `fingerprint`."""
    import pyarrow
    from pyarrow import parquet

    try:
        kept = json.loads(parquet.read_metadata(path).metadata.get(METADATA_KEY, b"{}"))
    except (OSError, pyarrow.ArrowInvalid):
        return None
    if kept.get("fingerprint") != fingerprint:
        return None
    return ShardCount.from_json(kept)


def write_shard(path: Path, items: Iterable[Item], settings: ShardSettings, on_rows: Callable[[int], None]) -> None:
    """Write one shard of `items`, as `opened_shard` does."""
    with opened_shard(path, settings, on_rows) as shard:
        for item in items:
            shard.add(item)


@contextlib.contextmanager
def opened_shard(path: Path, settings: ShardSettings, on_rows: Callable[[int], None]) -> Iterator["_OpenShard"]:
    """A shard to add rows to, which has the name `path` when the block ends, and is gone after an error.

    `on_rows` gets the numbers of rows that were added, skipped ones included. Raises `CorpusError` for a record that
    is not sound, and `OSError` (a full disk, say) with nothing left behind.
    """
    from pyarrow import parquet

    options = {"use_content_defined_chunking": True, "write_page_index": True}
    with replacing(path) as file:
        sink = _Sink(file, path)
        with parquet.ParquetWriter(sink, settings.features.arrow_schema, **options) as writer:
            shard = _OpenShard(writer, sink, settings, on_rows)
            yield shard
            shard.write_group()
            kept = {**shard.count.to_json(), "fingerprint": settings.fingerprint}
            writer.add_key_value_metadata({METADATA_KEY: json.dumps(kept, sort_keys=True)})
        sink.check()


def write_run(run: Run, settings: ShardSettings, on_rows: Callable[[int], None]) -> None:
    """Write the shards of one run; each holds what is left of `settings.shard_rows` rows of its source."""
    length, rows = len(run.sources[0]), run.rows(settings.shard_rows)
    for index in range(run.first, run.last + 1):
        wanted, found = min(settings.shard_rows, length - index * settings.shard_rows), 0
        with contextlib.ExitStack() as opened:
            paths = [shard_path(stem, index) for stem in run.stems]
            shards = [opened.enter_context(opened_shard(path, settings, on_rows)) for path in paths]
            for found, items in enumerate(itertools.islice(rows, wanted), start=1):  # noqa: B007 - read below
                for shard, item in zip(shards, items, strict=True):
                    shard.add(item)
            if found < wanted:
                raise CorpusError(f"{run.stems[0]}: the source ended before its row {length}; its __len__ is wrong")


def write_runs(runs: Sequence[Run], settings: ShardSettings, num_proc: int, on_rows: Callable[[int], None]) -> None:
    """Write runs of shards in `num_proc` processes, which end when this one does.

    Raises whatever a process raised, and `CorpusError` when one died.
    """
    if num_proc == 1 or len(runs) < 2:
        for run in runs:
            write_run(run, settings, on_rows)
        return
    context = multiprocessing.get_context("spawn")
    reports, stopped = context.Queue(), context.Event()
    workers = ProcessPoolExecutor(min(num_proc, len(runs)), context, _start_worker, (reports, stopped))
    try:
        with workers:
            try:
                with without_interrupts():
                    pending = {workers.submit(_work, run, settings) for run in runs}
                while pending:
                    done, pending = wait(pending, timeout=0.2, return_when=FIRST_EXCEPTION)
                    _pass_on(reports, on_rows)
                    for future in done:
                        future.result()
            except BaseException:
                stopped.set()
                workers.shutdown(cancel_futures=True)  # they read what this process holds while they start
                raise
        _pass_on(reports, on_rows)
    except BrokenProcessPool as error:
        raise CorpusError(message_of_dead_worker("a smaller num_proc")) from error


class _Sink:
    """The file that PyArrow writes a shard to. Where a write fails PyArrow may end the process: errors wait here."""

    closed = False

    def __init__(self, file: IO, path: Path):
        self._file, self._path = file, path
        self._place = 0
        self._error: OSError | None = None

    def write(self, data: Any) -> int:
        self._place += len(data)
        try:
            if self._error is None:
                self._file.write(data)
                self._file.flush()
        except OSError as error:
            self._error = error
        return len(data)

    def tell(self) -> int:
        return self._place

    def flush(self) -> None:
        """Every write is flushed."""

    def close(self) -> None:
        """Whoever opened the file closes it."""

    def check(self) -> None:
        """Raises `OSError` where a write failed."""
        if self._error is not None:
            raise OSError(self._error.errno, self._error.strerror, str(self._path))


class _OpenShard:
    """Takes the rows of a shard, and writes them a row group at a time."""

    def __init__(self, writer: "ParquetWriter", sink: _Sink, settings: ShardSettings, on_rows: Callable[[int], None]):
        self.count = ShardCount()
        self._writer, self._sink, self._settings, self._on_rows = writer, sink, settings, on_rows
        self._group: list[dict[str, Any]] = []
        self._rows = self._bytes = 0  # since the last row group

    def add(self, item: Item) -> None:
        """Count a row, and write it with the next row group unless it was skipped."""
        self._rows += 1
        if isinstance(item, Skipped):
            self.count.add_skipped(item.reason)
        else:
            if isinstance(item, Remarked):
                self.count.remarks[item.remark] += 1
                item = item.record
            validate_record(item)
            record = item if self._settings.include_images else _without_image(item)
            self.count.add_row(record)
            image = record["image"]
            if image is not None:  # all else is plain already: Features.encode_example would walk it for nothing
                image = self._settings.features["image"].encode_example(image)
                self._bytes += len(image["bytes"])
            self._group.append({**record, "image": image})
        full = len(self._group) == ROW_GROUP_ROWS or self._bytes >= ROW_GROUP_BYTES
        if full or self._rows == 10 * ROW_GROUP_ROWS:
            self.write_group()

    def write_group(self) -> None:
        """Write what has been added since the last row group. Raises `OSError` where that failed."""
        import pyarrow

        if self._group:
            table = pyarrow.Table.from_pylist(self._group, schema=self._settings.features.arrow_schema)
            self._writer.write_table(table, row_group_size=len(self._group))
            self.count.rows += len(self._group)
            self.count.bytes += table.nbytes
        self._sink.check()
        if self._rows:
            self._on_rows(self._rows)
        self._group, self._rows, self._bytes = [], 0, 0


def _few_reasons(skipped: Counter) -> Counter:
    """The most frequent reasons, and how many rows have any other."""
    named = Counter({reason: rows for reason, rows in skipped.items() if reason != OTHER_REASONS})
    if len(named) <= MAX_REASONS:
        return skipped
    kept = Counter(dict(sorted(named.items(), key=lambda entry: (-entry[1], entry[0]))[:MAX_REASONS]))
    return kept + Counter({OTHER_REASONS: skipped.total() - kept.total()})


def _without_image(record: dict[str, Any]) -> dict[str, Any]:
    if record["image"] is not None and record["url"] is None:
        raise CorpusError(
            f"record {record['id']}: without its image it needs a url that says which picture it is about"
        )
    return {**record, "image": None}


def _pass_on(reports: Any, on_rows: Callable[[int], None]) -> None:
    while True:
        try:
            on_rows(reports.get_nowait())
        except queue.Empty:
            return


_worker: dict[str, Any] = {}


def _start_worker(reports: Any, stopped: Any) -> None:
    _worker.update(reports=reports, stopped=stopped)
    follow_parent()


def _work(run: Run, settings: ShardSettings) -> None:
    def on_rows(rows: int) -> None:
        _worker["reports"].put(rows)
        if _worker["stopped"].is_set():
            raise CorpusError("stopped: another worker failed")

    write_run(run, settings, on_rows)
