"""How many cases a reader is tried with, what one may cost, and what all of them did cost."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings

CI_CASES = 200
CASES = int(os.environ.get("FACEMLLM_FUZZ_CASES", CI_CASES))
FAILURES = Path(__file__).parent / "failures"
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Tried:
    """What the cases of one reader took, and the kinds of failures: exception, file and line."""

    cases: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    peak: float = 0.0
    failures: set[str] = field(default_factory=set)


TRIED: dict[str, Tried] = {}


def fuzzed(**strategies: Any) -> Callable[[Callable], Callable]:
    """`CASES` cases, the same in every run of CI; another number draws others each time."""
    chosen = settings(
        max_examples=CASES,
        derandomize=CASES == CI_CASES,
        database=None,
        deadline=None,  # `bounded` measures processor time, and not what hypothesis does besides
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    hang = pytest.mark.timeout(600 + CASES)
    return lambda test: hang(chosen(given(**strategies)(test)))


def examples(name: str, values: list[Any]) -> Callable[[Callable], Callable]:
    """Each of the past failures in `values` as a case of the argument `name`."""

    def decorate(test: Callable) -> Callable:
        for value in values:
            test = example(**{name: value})(test)
        return test

    return decorate


def failed_before(reader: str) -> list[bytes]:
    """The files that a reader once failed on; none where it has no folder."""
    return [file.read_bytes() for file in sorted((FAILURES / reader).glob("*"))]


@contextmanager
def bounded(reader: str, *, seconds: float, mebibytes: float) -> Iterator[None]:
    """One case: fails where the block takes more processor time, or makes the process grow by more memory.

    The growth is that of the peak of resident memory (Linux's VmHWM, which is set back before).
    """
    tried = TRIED.setdefault(reader, Tried())
    tried.cases += 1
    before = _set_back_peak()
    start = time.process_time()
    try:
        yield
    except BaseException as error:
        tried.failures.add(_place(error))
        raise
    took, grown = time.process_time() - start, _kilobytes("VmHWM") / 1024 - before
    tried.seconds += took
    tried.slowest, tried.peak = max(tried.slowest, took), max(tried.peak, grown)
    if took > seconds or grown > mebibytes:
        tried.failures.add("too slow" if took > seconds else "too large")
        raise AssertionError(f"{took:.1f} s, {grown:.0f} MiB; allowed are {seconds:g} s, {mebibytes:g} MiB")


def assert_one_line(error: BaseException) -> None:
    """A message for people: one line that can be written into any log, and no payload."""
    text = str(error)
    assert text.strip() and len(text.splitlines()) == 1 and len(text) < 2000, repr(text[:2000])
    text.encode()


def table() -> list[str]:
    """What was tried, as the lines of a Markdown table."""
    lines = [
        "| reader | cases | seconds | slowest case, s | peak of a case, MiB | failures |",
        "|---|---|---|---|---|---|",
    ]
    for reader, tried in sorted(TRIED.items()):
        found = ", ".join(sorted(tried.failures)) or "0"
        lines.append(
            f"| {reader} | {tried.cases:,} | {tried.seconds:.2f} | {tried.slowest:.2f} | {tried.peak:.0f} | {found} |"
        )
    return lines


def _set_back_peak() -> float:
    """Sets the peak of resident memory back to what is resident now; returns that in MiB. Linux only."""
    if not _CLEAR.exists():
        pytest.skip("only Linux tells the peak of a process's memory since a moment")
    _CLEAR.write_text("5")
    return _kilobytes("VmRSS") / 1024


def _kilobytes(name: str) -> int:
    return next(int(line.split()[1]) for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"
    return f"{type(error).__name__} at {where}"
