"""Records to Parquet shards: one file at a time, in row groups, in one process or several.

A shard is written under a temporary name and renamed when it is whole, so a kill or a full disk leaves no half shard.
What was counted while it was written (rows, skipped rows and why, which labels occur) is in the file's own
metadata: a later run, which skips the shard, reads it there.
"""

import itertools
import json
import multiprocessing
import queue
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from datasets import Features

from datasets_scripts.files import replacing
from datasets_scripts.schema import CorpusError, Skipped, validate_record
from datasets_scripts.worker_processes import follow_parent, message_of_dead_worker, without_interrupts

METADATA_KEY = b"facemllm_corpus"
ROW_GROUP_ROWS = 128  # what a streaming reader holds at once
ROW_GROUP_BYTES = 32 * 2**20  # of encoded pictures
MAX_REASONS = 200  # why rows were skipped, counted apart in a split: a manifest does not grow with its source
OTHER_REASONS = "other reasons"


class SizedSource(Protocol):
    """A source whose rows can be read from anywhere: what several processes need. It must be picklable."""

    def __len__(self) -> int:
        """The number of rows, those that will be skipped included."""

    def records(self, start: int, stop: int) -> Iterator[dict[str, Any] | Skipped]:
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
            *(set(kept[name]) for name in ("labels", "sources", "licenses")),
            Counter({tuple(key): rows for *key, rows in kept["annotations"]}),
        )


@dataclass(frozen=True)
class Run:
    """Neighbouring shards, `first` to `last`, that one process makes in one pass over its part of the source."""

    source: SizedSource
    stem: str  # path of the shards without number and suffix
    first: int
    last: int


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


def write_shard(
    path: Path, items: Iterable[dict[str, Any] | Skipped], settings: ShardSettings, on_rows: Callable[[int], None]
) -> ShardCount:
    """Write one shard and return what was counted; `on_rows` gets the numbers of rows read, skipped ones included.

    Raises `CorpusError` for a record that is not sound, and `OSError` (a full disk, say) with nothing left behind.
    """
    from pyarrow import parquet

    schema = settings.features.arrow_schema
    options = {"use_content_defined_chunking": True, "write_page_index": True}
    count = ShardCount()
    with replacing(path) as file:
        sink = _Sink(file, path)
        with parquet.ParquetWriter(sink, schema, **options) as writer:
            for group, rows in _row_groups(items, settings, count):
                if group:
                    _write_row_group(writer, group, schema, count)
                sink.check()
                on_rows(rows)
            kept = {**count.to_json(), "fingerprint": settings.fingerprint}
            writer.add_key_value_metadata({METADATA_KEY: json.dumps(kept, sort_keys=True)})
        sink.check()
    return count


def write_run(run: Run, settings: ShardSettings, on_rows: Callable[[int], None]) -> None:
    """Write the shards of one run; each holds what is left of `settings.shard_rows` rows of the source."""
    start, stop = run.first * settings.shard_rows, min((run.last + 1) * settings.shard_rows, len(run.source))
    items = run.source.records(start, stop)
    for index in range(run.first, run.last + 1):
        path = shard_path(run.stem, index)
        wanted = min(settings.shard_rows, len(run.source) - index * settings.shard_rows)
        count = write_shard(path, itertools.islice(items, wanted), settings, on_rows)
        if count.rows + count.skipped.total() < wanted:
            path.unlink()
            raise CorpusError(f"{run.stem}: the source ended before its row {len(run.source)}; its __len__ is wrong")


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


def _row_groups(
    items: Iterable[dict[str, Any] | Skipped], settings: ShardSettings, count: ShardCount
) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Encoded rows, a row group at a time, and how many items of the source they took."""
    group, rows, size = [], 0, 0
    for item in items:
        rows += 1
        if isinstance(item, Skipped):
            count.add_skipped(item.reason)
        else:
            validate_record(item)
            record = item if settings.include_images else _without_image(item)
            count.add_row(record)
            image = record["image"]
            if image is not None:  # all else is plain already: Features.encode_example would walk it for nothing
                image = settings.features["image"].encode_example(image)
                size += len(image["bytes"])
            group.append({**record, "image": image})
        if len(group) == ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES or rows == 10 * ROW_GROUP_ROWS:
            yield group, rows
            group, rows, size = [], 0, 0
    if rows:
        yield group, rows


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


def _write_row_group(writer: Any, group: list[dict[str, Any]], schema: Any, count: ShardCount) -> None:
    import pyarrow

    table = pyarrow.Table.from_pylist(group, schema=schema)
    writer.write_table(table, row_group_size=len(group))
    count.rows += len(group)
    count.bytes += table.nbytes


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
