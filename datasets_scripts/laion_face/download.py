"""LAION-Face's pictures from its URL tables, by driving img2dataset as a command in an environment of its own.

img2dataset downgrades pandas, so it does not belong beside this package::

    python3.11 -m venv img2dataset && img2dataset/bin/pip install img2dataset

It skips pictures whose server says noai or noindex, and so do we: the option to disregard that is not passed on.
https://github.com/rom1504/img2dataset
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from datasets_scripts.files import Busy, lock, read_claim, write_json
from datasets_scripts.schema import CorpusArgumentError, CorpusError

URL, CAPTION, SAMPLE_ID = "URL", "TEXT", "SAMPLE_ID"
CARRIED = (SAMPLE_ID, "NSFW", "similarity", "LICENSE", "WIDTH", "HEIGHT")
# None of them may end in .json: img2dataset takes every such file in its folder for the statistics of a shard.
LOG, STATE, LOCK = "img2dataset.log", ".download", ".download.lock"
# Ends img2dataset and its processes when standard input, whose other end is this process's, is closed: by a kill too.
END_WITH_PARENT = """
import os, signal, sys, time
sys.stdin.read()
for end in (signal.SIGTERM, signal.SIGKILL):
    try:
        os.killpg(int(sys.argv[1]), end)
    except ProcessLookupError:
        break
    time.sleep(2)
"""
INSTALL = "python3.11 -m venv img2dataset && img2dataset/bin/pip install img2dataset"
REASONS = (  # of what img2dataset writes down, the first that is found in it
    (r"HTTP Error (\d+)", "HTTP {0}"),
    (r"X-Robots-Tag", "its server allows no use for AI (noai, noindex)"),
    (r"timed out", "timed out"),
    (
        r"Name or service not known|nodename nor servname|name resolution|No address associated|getaddrinfo",
        "no such host",
    ),
    (r"CERTIFICATE|certificate|SSL|TLS", "certificate or TLS error"),
    (r"refused|reset|unreachable|No route|Remote end closed|IncompleteRead|Connection|EOF", "connection failed"),
    (r"Image decoding error|decod|imdecode|cannot identify", "not a picture"),
    (r"unknown url type|no host given|nonnumeric port|control characters|codec can't encode", "malformed URL"),
)


@dataclass
class Downloaded:
    """What img2dataset counted in its finished shards."""

    urls: int = 0
    downloaded: int = 0
    reasons: Counter = field(default_factory=Counter)
    shards: int = 0


def download(
    urls: str | os.PathLike,
    out: str | os.PathLike,
    *,
    img2dataset: str = "img2dataset",
    processes: int = 1,
    threads: int = 64,
    timeout: float = 10.0,
    retries: int = 1,
    images_per_shard: int = 10_000,
    progress: bool = True,
) -> dict[str, Any]:
    """Download what LAION-Face's URL tables name into WebDataset tars, at full size, and count what was dead.

    The same call goes on with a download that was interrupted, at the shards that are not finished; a complete one is
    only counted. What img2dataset prints goes to `out/img2dataset.log`.

    Args:
        urls: `laion_face_part_000NN.parquet`, or a folder of such files.
        img2dataset: the command, such as `img2dataset/bin/img2dataset`.
        processes: shards that are worked on at once; `threads` connections in each.
        timeout: seconds that a server may stay silent. `retries` further tries follow.
        images_per_shard: URLs to a tar; may not change while a download goes on.

    Returns:
        `urls`, `downloaded`, `failed`, `reasons` (of the failed), `shards`, `unfinished` shards,
        `seconds`, `out`.

    Raises:
        CorpusError: for missing columns or command, other settings than an earlier download into `out` had, a
            download into it that still runs, and if img2dataset ends with an error.
    """
    began = time.monotonic()
    counts = {"processes": (processes, 1), "threads": (threads, 1), "images_per_shard": (images_per_shard, 2)}
    for name, (value, least) in {**counts, "retries": (retries, 0), "timeout": (timeout, 1)}.items():
        if value < least:
            raise CorpusArgumentError(name, value, f"give {least} or more")
    rows, columns = read_url_tables(urls)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    shards = sum(-(-count // images_per_shard) for count in rows.values())
    with _only_one(out, {"tables": rows, "images_per_shard": images_per_shard}) as held:
        if count_downloaded(out).shards < shards:
            command = [
                *(img2dataset, "--url_list", str(Path(urls).absolute()), "--input_format", "parquet"),
                *("--url_col", URL, "--caption_col", CAPTION, "--save_additional_columns", json.dumps(columns)),
                *("--output_folder", str(out.absolute()), "--output_format", "webdataset"),
                # A JPEG stays as it was sent, orientation and all; others are encoded as one.
                *("--resize_mode", "no", "--skip_reencode", "True", "--incremental_mode", "incremental"),
                *("--processes_count", str(processes), "--thread_count", str(threads)),
                *("--timeout", str(max(1, round(timeout))), "--retries", str(retries)),
                *("--number_sample_per_shard", str(images_per_shard), "--enable_wandb", "False"),
            ]
            _run(command, out, held, sum(rows.values()), progress)
        counted = count_downloaded(out)
    return {
        "urls": counted.urls,
        "downloaded": counted.downloaded,
        "failed": counted.urls - counted.downloaded,
        "reasons": dict(counted.reasons.most_common()),
        "shards": counted.shards,
        "unfinished": shards - counted.shards,
        "seconds": round(time.monotonic() - began, 1),
        "out": str(out),
    }


def read_url_tables(urls: str | os.PathLike) -> tuple[dict[str, int], list[str]]:
    """Rows by file, and the columns that are carried into the tars. `CorpusError` for tables that lack a column."""
    import pyarrow
    from pyarrow import parquet

    urls = Path(urls)
    files = sorted(urls.glob("*.parquet")) if urls.is_dir() else [urls]
    if not files or not files[0].is_file():
        raise CorpusError(f"{urls}: no Parquet file there; give laion_face_part_000NN.parquet or a folder")
    rows, carried = {}, list(CARRIED)
    for path in files:
        try:
            metadata = parquet.read_metadata(path)
        except (OSError, pyarrow.ArrowInvalid) as error:
            reason = str(error).splitlines()[0]
            raise CorpusError(f"{path} is no Parquet file ({reason}): get it again, or leave it out") from error
        names = metadata.schema.to_arrow_schema().names
        missing = [name for name in (URL, CAPTION, SAMPLE_ID) if name not in names]
        if missing:
            remedy = "give LAION-Face's own table, or name its columns so"
            raise CorpusError(f"{path} has no column {', '.join(missing)}; it has {', '.join(names)}: {remedy}")
        rows[path.name] = metadata.num_rows
        carried = [name for name in carried if name in names]
    return rows, carried


def count_downloaded(folder: str | os.PathLike) -> Downloaded:
    """What the `NNNNN_stats.json` of img2dataset's finished shards say, with the reasons brought to a few."""
    total = Downloaded()
    for path in sorted(Path(folder).glob("*_stats.json")):
        try:
            stats = json.loads(path.read_bytes())
            count, successes, reasons = int(stats["count"]), int(stats["successes"]), dict(stats["status_dict"])
        except (ValueError, TypeError, KeyError):
            continue  # being written at this moment
        total.shards += 1
        total.urls += count
        total.downloaded += successes
        for message, times in reasons.items():
            if message != "success":
                total.reasons[reason_of(message)] += times
    # Of very many different errors img2dataset keeps the most frequent.
    forgotten = total.urls - total.downloaded - total.reasons.total()
    if forgotten > 0:
        total.reasons["another error"] += forgotten
    return total


def reason_of(message: str) -> str:
    """The kind of an error, from img2dataset's text of it (Python's, mostly, with names of hosts in it)."""
    for pattern, reason in REASONS:
        if found := re.search(pattern, message):
            return reason.format(*found.groups())
    return "another error"


@contextmanager
def _only_one(out: Path, settings: Mapping[str, Any]) -> Iterator[IO]:
    """Hold the folder, also through a child that gets the lock's file descriptor; check that the settings stayed."""
    with ExitStack() as open_files:
        try:
            held = open_files.enter_context(lock(out / LOCK))
            if read_claim(out / STATE, settings) is None:
                write_json(out / STATE, settings, indent=None)
        except Busy as error:
            raise CorpusError(
                f"another download into {out} still runs ({error.holder}): wait for it, or end it"
            ) from error
        except ValueError as error:
            raise CorpusError(f"{error}: give the same tables and images_per_shard, or another folder") from error
        yield held


def _run(command: Sequence[str], out: Path, held: IO, total: int, progress: bool) -> None:
    from tqdm import tqdm

    # Its environment is its own: ours must not be looked into, and no new version be asked for over the network.
    apart = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in apart}
    environment |= {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"}
    with open(out / LOG, "ab") as log:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=(held.fileno(),),
                start_new_session=True,
            )
        except OSError as error:
            raise CorpusArgumentError(
                "img2dataset", command[0], f"cannot be run ({error.strerror}); install it and give its path: {INSTALL}"
            ) from error
        held.write(f"img2dataset {process.pid}\n")
        held.flush()
        watcher = subprocess.Popen(
            [sys.executable, "-S", "-c", END_WITH_PARENT, str(process.pid)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            with tqdm(total=total, desc="downloading", unit="url", disable=not progress, mininterval=0.5) as bar:
                while process.poll() is None:
                    time.sleep(0.5)
                    _show(bar, out)
                _show(bar, out)
        finally:
            _end(process)
            watcher.kill()  # before its input is closed: the number of the process may be another's by now
            watcher.wait()
            watcher.stdin.close()
    if process.returncode:
        last = (out / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        message = last[0] if last else "without a message"
        remedy = f"mend what {out / LOG} says, and the same command goes on"
        raise CorpusError(f"img2dataset ended with {process.returncode} ({message}): {remedy}")


def _show(bar: Any, out: Path) -> None:
    counted = count_downloaded(out)
    bar.set_postfix(alive=counted.downloaded, dead=counted.urls - counted.downloaded, refresh=False)
    bar.update(counted.urls - bar.n)


def _end(process: subprocess.Popen) -> None:
    """End img2dataset and the processes it started, if this call is interrupted."""
    if process.poll() is not None:
        return
    for end in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, end)
            process.wait(10)
            return
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return
