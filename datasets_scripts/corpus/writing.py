"""A corpus to a folder that `load_dataset` reads: Parquet shards, a dataset card, and `corpus.json`, its counts.

Finished shards wait in `OUT/.building` until all are there; then they are moved to their names, and the dataset card
is written last. So a folder with a card is a whole corpus, and a build that was killed goes on where it was.
"""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from hashlib import sha256
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from datasets import Features

from datasets_scripts.files import Busy, alone, differences, read_json, write_json, write_text
from datasets_scripts.schema import FEATURES, CorpusArgumentError, CorpusError, NothingUsable
from modeling_facemllm import face_task_table_facemllm

from .card import card_text
from .shards import (
    METADATA_KEY,
    ShardCount,
    ShardSettings,
    SizedSource,
    plan_runs,
    read_count,
    shard_path,
    write_runs,
    write_shard,
)

CARD, MANIFEST, BUILDING = "README.md", "corpus.json", ".building"
PACKAGE = Path(__file__).parents[1]
BYTES_DECIDED_IN = (
    *("schema.py", "annotator/delicate_words.py", "annotator/thoughts.py"),
    *("corpus", "questions", "sources", "synthetic"),
)
"""What of this package decides the bytes of every corpus; of some, the room of their own source decides too."""
ANNOTATION = ("annotator", "prompt_version", "date", "rows")
Records = SizedSource | Iterable[dict[str, Any]] | Callable[[], Iterator[dict[str, Any]]]


def write_corpus(
    records_by_config_split: Mapping[str, Mapping[str, Records]],
    out: str | os.PathLike,
    *,
    name: str,
    license: str,
    description: str,
    people: bool = True,
    license_name: str | None = None,
    license_link: str | None = None,
    notices: Sequence[str] = (),
    gated: bool | None = None,
    command: str = "datasets_scripts.corpus.writing.write_corpus(...)",
    build: Mapping[str, Any] | None = None,
    features: Features = FEATURES,
    include_images: bool = True,
    shard_rows: int = 2000,
    num_proc: int = 1,
    overwrite: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Write the records as `out/CONFIG/SPLIT-00000-of-0000N.parquet` with a dataset card, and return the counts.

    The records of a split are a `SizedSource`, which `num_proc` processes read at once, or any iterable or a
    function that gives an iterator, which this process reads alone. Both are streamed, a row group at a time. The
    files are the same for every `num_proc`.

    The same call goes on with a build that was interrupted, and only returns the counts of one that is complete. Plain
    iterables cannot say what they depend on; for them that takes `build`, the settings they were made with.

    Args:
        name: the corpus's name, the title of its card.
        license: the Hub's name of the licence, such as `cc-by-4.0`.
        description: what the corpus is, in Markdown, for the card.
        people: whether the pictures show real people, which the card then warns of.
        license_name: what terms are called that the Hub has no name for, such as `celeba-terms`; for
            `license="other"`, where it is made from the corpus's name by default.
        license_link: where those terms are.
        notices: paragraphs of Markdown for the card's section on terms: who may hold what the corpus was made from.
        gated: whether the card asks for an application before the Hub shows the files; None for `people`.
        command: the command that the card says it was built with.
        build: what plain iterables depend on, in JSON's types.
        include_images: False leaves the pixels out of records whose `url` says which picture it is.
        shard_rows: rows of the source, skipped ones included, that make a shard.
        overwrite: replace what an earlier build left in `out`; files that are not a build's stay.

    Returns:
        `configs` (per config and split: `rows`, `shards`, `bytes`, `file_bytes`, `skipped` by reason,
        and `remarks`, how many of the rows have each, where there are any),
        `labels`, `sources` and `licenses` that occur, `pictures` (rows with pixels), `annotations` (rows by
        annotator, prompt version and date), `fingerprint`, `out`, `seconds`, and `rows_written`: the source's
        rows that were gone through now, not by an earlier build.

    Raises:
        CorpusError: for an unsound record, and, unless `overwrite`, if `out`
            holds anything else than an unfinished or complete build with these same arguments, or another process
            writes it; of that, `NothingUsable` for a split without a single row.
        OSError: for a full disk, say; what is finished is kept for the next call.
    """
    began = time.monotonic()
    out = Path(out)
    _check_arguments(records_by_config_split, shard_rows, num_proc)
    settings = {
        "name": name,
        "license": license,
        "description": description,
        "people": people,
        "license_name": license_name,
        "license_link": license_link,
        "notices": list(notices),
        "gated": people if gated is None else gated,
        "build": build,
        "images": include_images,
        "shard_rows": shard_rows,
        "features": sha256(repr(features).encode()).hexdigest(),
        "sources": {
            config: {split: _describe(records, build) for split, records in splits.items()}
            for config, splits in records_by_config_split.items()
        },
        "code": code_fingerprint(
            *(source for splits in records_by_config_split.values() for source in splits.values())
        ),
    }
    settings = json.loads(json.dumps(settings))  # as it will be read back, to be compared with
    fingerprint = sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    with alone_in(out):
        done = _claim(out, settings, overwrite)
        if done is not None:
            return {**done, "out": str(out), "seconds": round(time.monotonic() - began, 2), "rows_written": 0}

        manifest = {"name": name, "license": license, "fingerprint": fingerprint, "images": include_images}
        manifest |= {"people": people, "gated": settings["gated"]}
        shard_settings = ShardSettings(fingerprint, features, include_images, shard_rows)
        with _unclaiming(out):
            written = _write_missing(records_by_config_split, out, shard_settings, num_proc, progress, name)
            rows_written, shards = written
            manifest |= _count(shards, fingerprint)
        _move(out, shards)
        manifest["settings"] = settings
        write_json(out / MANIFEST, manifest)
        write_text(out / CARD, card_text(manifest, features, command=command))
        shutil.rmtree(out / BUILDING)
    seconds = time.monotonic() - began
    return {**manifest, "out": str(out), "seconds": round(seconds, 2), "rows_written": rows_written}


def code_fingerprint(*sources: Any) -> dict[str, str]:
    """What else the bytes of a shard depend on: the code that makes rows, and the versions of what encodes them.

    That is the model's table of questions, `BYTES_DECIDED_IN` and the rooms of this package that the classes of
    `sources` stand in, those of their fields included. An edit elsewhere, in the annotator say, leaves a half-built
    corpus as it is.
    """
    digest = sha256(Path(face_task_table_facemllm.__file__).read_bytes())
    for place in sorted({*BYTES_DECIDED_IN}.union(*map(_rooms, sources))):
        for path in sorted((PACKAGE / place).rglob("*.py")) or [PACKAGE / place]:
            digest.update(path.read_bytes())
    return {
        "datasets_scripts": digest.hexdigest(),
        **{name: version(name) for name in ("datasets", "pyarrow", "pillow")},
    }


def _rooms(source: Any) -> set[str]:
    """`{"laion_face"}` where the class of a source, or of a reader in one of its fields, is in that folder."""
    package, _, place = type(source).__module__.partition(".")
    rooms = {place.partition(".")[0]} if package == PACKAGE.name and "." in place else set()
    if is_dataclass(source) and not isinstance(source, type):
        rooms = rooms.union(*(_rooms(getattr(source, field.name)) for field in fields(source)))
    return rooms


@contextlib.contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Hold the lock of an output folder as `files.alone` does; `CorpusArgumentError` where another process has it."""
    if out.is_file():
        raise CorpusArgumentError("out", str(out), "it is a file; give a folder")
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(alone(out))
        except Busy as error:
            remedy = f"{error.holder} is writing this folder; wait for it, end it, or give another"
            raise CorpusArgumentError("out", str(out), remedy) from error
        yield


def shard_name(config: str, split: str, index: int, shards: int) -> str:
    """Where a shard lies in the folder of a complete corpus, and in its repository."""
    return f"{config}/{split}-{index:05d}-of-{shards:05d}.parquet"


def _check_arguments(corpora: Mapping[str, Mapping[str, Records]], shard_rows: int, num_proc: int) -> None:
    for argument, value in (("shard_rows", shard_rows), ("num_proc", num_proc)):
        if value < 1:
            raise CorpusArgumentError(argument, value, "give 1 or more")
    if not corpora or not all(corpora.values()):
        raise CorpusError("there is nothing to write: give at least one config, and each at least one split")
    for word in chain(corpora, *corpora.values()):
        if not word.replace("_", "").isalnum():
            raise CorpusError(f"{word!r} is no name of a config or split: use letters, digits and _")


def _describe(records: Records, build: Mapping[str, Any] | None) -> Any:
    if hasattr(records, "describe"):
        return {**records.describe(), "rows": len(records)}
    return "stream" if build is not None else f"stream {uuid4()}"


def _claim(out: Path, settings: dict[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """Make `out` ready to be built in, or return the manifest of the complete corpus that it holds already."""
    note = out / BUILDING / "build.json"
    manifest = _read_json(out / MANIFEST)
    ours = isinstance(manifest, dict) and {"settings", "fingerprint", "configs"} <= set(manifest)
    found = _read_json(note) or (manifest["settings"] if ours else None)
    for name in (CARD, MANIFEST) if found is None else () if ours else (MANIFEST,):
        if (out / name).exists():
            raise CorpusError(f"{out} has a {name} that is not of a corpus built here: give another folder")
    if found is not None and overwrite:
        _clear(out)
    elif found is not None and found != settings:
        state = "an unfinished build" if note.exists() else "a corpus"
        different = "; ".join(differences(found, settings))
        remedy = "give another folder, or overwrite=True (--overwrite) to replace it"
        raise CorpusError(f"{out} holds {state} made with other settings ({different}): {remedy}")
    elif found is not None and not note.exists() and (out / CARD).exists() and _has_all_shards(out, manifest):
        return manifest
    for unsure in (CARD, MANIFEST):
        (out / unsure).unlink(missing_ok=True)
    write_json(note, settings)
    return None


def _has_all_shards(out: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether every shard is there and not cut off; a build would write the others anew."""
    return all(
        read_count(out / shard_name(config, split, index, counted["shards"]), manifest["fingerprint"]) is not None
        for config, split, counted in _splits(manifest["configs"])
        for index in range(counted["shards"])
    )


@contextlib.contextmanager
def _unclaiming(out: Path) -> Iterator[None]:
    """After an error, let `out` be nobody's again where no shard is in it that the same call could go on from."""
    try:
        yield
    except BaseException:
        if not any(chain((out / BUILDING).rglob("*.parquet"), out.glob("*/*-*-of-*.parquet"))):
            shutil.rmtree(out / BUILDING, ignore_errors=True)
        raise


def _clear(out: Path) -> None:
    """Remove what builds here have written, the card first, and nothing else."""
    from pyarrow import parquet

    for name in (CARD, MANIFEST):
        (out / name).unlink(missing_ok=True)
    for path in out.glob("*/*-*-of-*.parquet"):
        if METADATA_KEY in (parquet.read_metadata(path).metadata or {}):
            path.unlink()
            with contextlib.suppress(OSError):
                path.parent.rmdir()
    shutil.rmtree(out / BUILDING, ignore_errors=True)


def _write_missing(
    corpora: Mapping[str, Mapping[str, Records]],
    out: Path,
    settings: ShardSettings,
    num_proc: int,
    progress: bool,
    name: str,
) -> tuple[int, dict[str, dict[str, list[Path]]]]:
    """Write the shards that are not there yet; the rows written, and every shard's path by config and split."""
    from tqdm import tqdm

    shards: dict[str, dict[str, list[Path]]] = {config: {} for config in corpora}
    missing, streams, total, written = [], [], 0, []
    for config, split, records in _splits(corpora):
        finished = _finished(out, config, split, settings.fingerprint)
        if not hasattr(records, "records"):
            streams.append((config, split, records, finished))
            continue
        stem, number = out / BUILDING / config / split, -(-len(records) // settings.shard_rows)
        absent = [index for index in range(number) if index not in finished]
        shards[config][split] = [finished.get(index, shard_path(stem, index)) for index in range(number)]
        missing.append((records, str(stem), absent))
        total += sum(min(settings.shard_rows, len(records) - index * settings.shard_rows) for index in absent)
    with tqdm(total=None if streams else total, desc=name, unit="row", disable=not progress, mininterval=0.5) as bar:

        def on_rows(rows: int) -> None:
            written.append(rows)
            bar.update(rows)

        write_runs(plan_runs(missing, num_proc), settings, num_proc, on_rows)
        for config, split, records, finished in streams:
            shards[config][split] = _write_stream(records, out, config, split, finished, settings, on_rows)
    return sum(written), shards


def _splits(corpora: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, Any]]:
    for config, splits in corpora.items():
        for split, records in splits.items():
            yield config, split, records


def _finished(out: Path, config: str, split: str, fingerprint: str) -> dict[int, Path]:
    """The finished shards of this build by number: waiting, or moved already by a build that was killed then."""
    paths = chain((out / BUILDING / config).glob(f"{split}-*.parquet"), (out / config).glob(f"{split}-*-of-*.parquet"))
    return {int(path.stem.split("-")[1]): path for path in paths if read_count(path, fingerprint) is not None}


def _write_stream(
    records: Iterable[dict[str, Any]] | Callable[[], Iterator[dict[str, Any]]],
    out: Path,
    config: str,
    split: str,
    finished: Mapping[int, Path],
    settings: ShardSettings,
    on_rows: Callable[[int], None],
) -> list[Path]:
    """Shards of a source that can only be read from its beginning; the rows of finished ones are read past."""
    items = iter(records() if callable(records) else records)
    paths: list[Path] = []
    while (first := next(items, None)) is not None:
        rows = chain([first], islice(items, settings.shard_rows - 1))
        path = finished.get(len(paths))
        if path is None:
            path = shard_path(out / BUILDING / config / split, len(paths))
            write_shard(path, rows, settings, on_rows)
        else:
            for _ in rows:
                pass
        paths.append(path)
    return paths


def _count(shards: Mapping[str, Mapping[str, list[Path]]], fingerprint: str) -> dict[str, Any]:
    configs: dict[str, dict[str, Any]] = {}
    total, empty = ShardCount(), []
    for config, split, paths in _splits(shards):
        count = sum((read_count(path, fingerprint) for path in paths), ShardCount())
        if not count.rows:
            reasons = ", ".join(f"{reason}: {rows}" for reason, rows in count.skipped.most_common(5))
            reasons = reasons or "its source is empty"
            empty.append(f"{config}/{split} has no usable row ({reasons}): mend that, or leave it out")
            for path in paths:  # or the next run, with the pictures in place, would keep these empty shards
                path.unlink()
            continue
        total += count
        configs.setdefault(config, {})[split] = {
            "rows": count.rows,
            "shards": len(paths),
            "bytes": count.bytes,
            "file_bytes": sum(path.stat().st_size for path in paths),
            "skipped": dict(sorted(count.skipped.items())),
            **({"remarks": dict(sorted(count.remarks.items()))} if count.remarks else {}),
        }
    if empty:
        raise NothingUsable(empty[0])
    kept = total.to_json()
    return {"configs": configs, **{key: kept[key] for key in ("labels", "sources", "licenses", "pictures")}} | {
        "annotations": [dict(zip(ANNOTATION, entry, strict=True)) for entry in kept["annotations"]]
    }


def _move(out: Path, shards: Mapping[str, Mapping[str, list[Path]]]) -> None:
    for config, splits in shards.items():
        (out / config).mkdir(exist_ok=True)
        for split, paths in splits.items():
            for index, path in enumerate(paths):
                os.replace(path, out / shard_name(config, split, index, len(paths)))


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return read_json(path)
    except ValueError as error:
        raise CorpusError(f"{error}: remove the folder, or give another") from error
