"""The work folder of an annotation: what was answered, part by part, in the order of the source.

`plan.json` says what was asked of whom; `answers/00000.jsonl` has a line for each row of part 0, and exists only
when it is whole; `counts/00000.json` says what was counted in it, also while it is being made; `journal/` has the
answers of parts that are not whole yet.
"""

import json
import os
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from datasets_scripts.files import read_json, replacing, write_json
from datasets_scripts.schema import CorpusError, Skipped

PLAN = "plan.json"
SECONDS_BETWEEN_COUNTS = 0.5
TALLIES = ("skipped", "rejected", "invalid")  # each by reason
SUMS = ("rows", "faces", "valid", "requests", "input_tokens", "output_tokens")


@dataclass(frozen=True)
class AnsweredFace:
    """What the annotator said of one face.

    `answers` has the valid answers by the request's name, as `check` was given them: parsed JSON, or text;
    `rejected` the reasons of the others. `usage` counts what the face took: `requests`, `input_tokens`,
    `output_tokens`, those of rejected answers included.
    """

    id: str
    facts: dict[str, Any]
    answers: dict[str, Any]
    rejected: dict[str, str]
    usage: dict[str, int]


@dataclass(frozen=True)
class AnsweredFaces:
    """All answers of a complete annotation; rows the source skipped are rows here too. It is picklable."""

    out: str

    def __len__(self) -> int:
        return self._ends[-1]

    def answers(self, start: int = 0, stop: int | None = None) -> Iterator[AnsweredFace | Skipped]:
        """A face, or the reason for none, for each of the rows `start` to `stop`, in the order of the source."""
        stop = len(self) if stop is None else min(stop, len(self))
        part = bisect_right(self._ends, start) - 1
        while start < stop:
            first, end = self._ends[part], min(stop, self._ends[part + 1])
            yield from self._read(part, start - first, end - first)
            part, start = part + 1, max(start, end)

    def _read(self, part: int, start: int, stop: int) -> Iterator[AnsweredFace | Skipped]:
        path, number = part_path(self.out, part), start
        with open(path, "rb") as file:
            for line in islice(file, start, stop):
                try:
                    row = _read_row(json.loads(line))
                except (ValueError, KeyError, TypeError):
                    break
                yield row
                number += 1
        if number < stop:
            remedy = "delete this file, and the same command asks this part again, and nothing else"
            raise CorpusError(f"{path} is damaged from line {number + 1} on: {remedy}")

    def describe(self) -> dict[str, Any]:
        """What the answers are and depend on: annotator, prompt_version, date, source, counts, and their digest."""
        digests = "".join(counts["sha256"] for counts in self._counts)
        return {
            "name": "annotation",
            "annotator": self.plan["annotator"]["model"],
            "prompt_version": self.plan["annotator"]["prompt_version"],
            "date": self.plan["date"],
            "source": self.plan["source"],
            "answers": sha256(digests.encode()).hexdigest(),
        }

    @cached_property
    def plan(self) -> dict[str, Any]:
        """What was asked of whom: `annotator`, `source`, `parts`, `limit` and `date`."""
        return read_work(Path(self.out) / PLAN)

    @cached_property
    def _counts(self) -> list[dict[str, Any]]:
        return read_counts(self.out, self.plan["parts"])

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate((counts["rows"] for counts in self._counts), initial=0))


def read_answers(out: str | os.PathLike) -> AnsweredFaces:
    """The answers in the work folder `out`; `CorpusError` unless the annotation there is complete."""
    answered = AnsweredFaces(str(out))
    if not (Path(out) / PLAN).exists():
        raise CorpusError(f"{out} holds no annotation (it has no {PLAN}): give a folder that one is in")
    missing = [part for part in range(answered.plan["parts"]) if not part_path(out, part).exists()]
    if missing:
        state = f"{len(missing)} of {answered.plan['parts']} parts of the source are not answered yet"
        raise CorpusError(f"{out}: {state}, part {missing[0]} is the first; run the annotation again, it goes on")
    return answered


def was_answered(out: str | os.PathLike) -> bool:
    """Whether the endpoint has answered anything in this annotation that a part's counts report."""
    for path in (Path(out) / "counts").glob("*.json"):
        with suppress(CorpusError):  # of another process, at this moment
            if read_work(path)["requests"]:
                return True
    return False


def part_path(out: str | os.PathLike, part: int) -> Path:
    """The answers of a part; the file exists when it is whole."""
    return Path(out) / "answers" / f"{part:05d}.jsonl"


def counts_path(out: str | os.PathLike, part: int) -> Path:
    """What was counted in a part; `complete` once the part is."""
    return Path(out) / "counts" / f"{part:05d}.json"


def read_counts(out: str | os.PathLike, parts: int) -> list[dict[str, Any]]:
    """What was counted in each part of a complete annotation."""
    counts = []
    for part in range(parts):
        try:
            counts.append(read_work(counts_path(out, part)))
        except CorpusError:
            answers, remedy = part_path(out, part), "the same command then asks this part again, and nothing else"
            message = f"{counts_path(out, part)} is damaged or missing: delete {answers}, {remedy}"
            raise CorpusError(message) from None
    return counts


def sum_counts(counts: list[dict[str, Any]]) -> dict[str, Any]:
    """The counts of several parts together."""
    total: dict[str, Any] = {name: sum(one[name] for one in counts) for name in SUMS}
    for tally in TALLIES:
        total[tally] = dict(sum((Counter(one[tally]) for one in counts), Counter()).most_common())
    return total


class PartWriter:
    """Takes a part's rows as they are answered, and leaves them in the source's order: all of them, or no file.

    Memory holds no rows, only where each is. Used as a context manager; `trouble` says what the run waits for, for the
    counts.
    """

    def __init__(self, out: str, part: int):
        self._path, self._counts_path = part_path(out, part), counts_path(out, part)
        self._unsorted = self._path.with_name(f".{self._path.name}.{os.getpid()}.unsorted")
        self._places: dict[int, tuple[int, int]] = {}  # position in the source: offset and length of its line
        self._counts: dict[str, Any] = dict.fromkeys(SUMS, 0) | {tally: Counter() for tally in TALLIES}
        self._length = 0
        self._report_due = 0.0
        self.trouble: Callable[[], str] = lambda: ""

    def __enter__(self) -> "PartWriter":
        for path in (self._path, self._counts_path):
            path.parent.mkdir(parents=True, exist_ok=True)
        for left_over in self._path.parent.glob(f".{self._path.name}.*"):
            left_over.unlink()
        self._file = open(self._unsorted, "w+b")
        return self

    def write(self, position: int, row: dict[str, Any]) -> None:
        """Take the row at `position` in the part, as `AskFace` makes it."""
        line = json.dumps(row, separators=(",", ":")).encode() + b"\n"
        self._places[position] = (self._length, len(line))
        self._length += self._file.write(line)
        self._count(row)
        self.report()

    def report(self) -> None:
        """Write how far it is, and what the trouble is, unless that was just written."""
        began = time.monotonic()
        if began > self._report_due:
            self._write_counts(complete=False)
            ended = time.monotonic()
            self._report_due = ended + max(SECONDS_BETWEEN_COUNTS, 20 * (ended - began))  # less often on a slow disk

    def __exit__(self, kind: type | None, *_: Any) -> None:
        try:
            if kind is None:
                self._write_in_order()
        finally:
            self._file.close()
            self._unsorted.unlink(missing_ok=True)

    def _write_in_order(self) -> None:
        digest = sha256()
        with replacing(self._path) as file:  # on the disk when it ends: the journal is removed next
            for _, (offset, length) in sorted(self._places.items()):
                self._file.seek(offset)
                line = self._file.read(length)
                digest.update(line)
                file.write(line)
            file.flush()  # a full disk shows here, before the counts say that the part is complete
            self._counts["sha256"] = digest.hexdigest()
            self._write_counts(complete=True)  # before the answers have their name

    def _count(self, row: dict[str, Any]) -> None:
        counts = self._counts
        counts["rows"] += 1
        if "skipped" in row:
            counts["skipped"][row["skipped"]] += 1
            return
        counts["faces"] += 1
        counts["valid"] += len(row["answers"])
        counts["rejected"].update(row["rejected"].values())
        counts["invalid"].update(fault["reason"] for fault in row["invalid"])
        for name, number in row["usage"].items():
            counts[name] += number

    def _write_counts(self, complete: bool) -> None:
        write_json(self._counts_path, {**self._counts, "complete": complete, "trouble": self.trouble()})


def read_work(path: Path) -> Any:
    """A JSON file of the work folder; `CorpusError` if it is missing or damaged."""
    try:
        content, problem = read_json(path), "is missing"
    except ValueError as error:
        content, problem = None, f"is damaged ({error})"
    if content is None:
        raise CorpusError(f"{path} {problem}: put it back, or annotate into another folder")
    return content


def _read_row(row: dict[str, Any]) -> AnsweredFace | Skipped:
    if "skipped" in row:
        return Skipped(row["id"], row["skipped"])
    return AnsweredFace(row["id"], row["facts"], row["answers"], row["rejected"], row["usage"])
