"""The benchmarks that are a folder here: each has a module `benchmark`, and the folder's name is the benchmark's.

Nothing else knows of such a benchmark. Its module, light to import as `--help` reads its options, has

- `add_arguments(parser)`: adds the options that only this benchmark has; `Wanted.own` then holds their values;
- `open_benchmark(wanted)`: finds and checks the data of a `Wanted`, and returns an `OpenedBenchmark`;
- `ITEMS`: what it counts, as a report calls them: `questions`;
- `report_figures(predictions, run, **drawing)`: its entries of `report.json`, `tasks` and `means` among them;
- `report_lines(report)`: its results as lines of `report.md`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from .predictions import Way

FOLDERS = tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/benchmark.py")))


@dataclass(frozen=True)
class OpenedBenchmark:
    """A benchmark whose data have been found and checked; nothing has been asked yet. All is in JSON's types.

    Attributes:
        settings: what the answers depend on besides the model: predictions of other settings are not mixed with these.
        described: what else `run.json` says: `benchmark`, `title`, `protocol`, `tasks` and `groups`.
        ask: `ask(load_answerer, log, ways)` asks what the log lacks; what it returns goes into `run.json`, `counts`
            (`predict.Counts`) among it.
        noted: what goes into `run.json` also where everything had been asked before.
    """

    settings: Mapping[str, Any]
    described: Mapping[str, Any]
    ask: Callable[..., dict[str, Any]]
    noted: Mapping[str, Any] = field(default_factory=dict)
    default_ways: Sequence[Way] = ("scoring",)


def load_folder(name: str) -> ModuleType:
    """The module of a benchmark of `FOLDERS`."""
    return import_module(f"facemllm.evaluation.{name}.benchmark")
