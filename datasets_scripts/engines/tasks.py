"""What the engines' executors share: a task's lock, its log and its error, and how failures end a run.

Each engine runs a task by datatrove's own `_run_for_rank` (steps, log, stats, completion mark); what is added:

- one lock per task, so that a second run never works beside what is left of a first one;
- a worker that dies is an error: datatrove's pools (`LocalPipelineExecutor`, and inside `RayPipelineExecutor`'s
  actor) wait for its result for ever;
- logs go to files alone, without the values of variables, and the error of a failed task is kept in one line.
"""

import contextlib
import json
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from datatrove.executor.base import PipelineExecutor
from datatrove.utils.stats import PipelineStats
from loguru import logger

from datasets_scripts.files import Busy, lock
from datasets_scripts.schema import CorpusError

from .hiding import hide_values

LOCK_SECONDS = 60.0  # an orphan ends within a second of its parent's death; a network file system may take longer


class TaskExecutor(PipelineExecutor):
    """What all three share."""

    def run_tasks(self, show: Callable[[str], None]) -> None:
        """Run what is not done; raises as `run.run_tasks` says. `show` puts a few words beside the bar."""
        self.save_executor_as_json()
        self.run()

    def save_executor_as_json(self, indent: int = 4) -> None:
        """Only what datatrove's `jobs_status` reads: the steps' settings may not be JSON, or not for every eye."""
        with self.logging_dir.open("executor.json", "w") as file:
            json.dump({"world_size": self.world_size, "pipeline": [repr(step) for step in self.pipeline]}, file)

    def merge_stats(self) -> None:
        """The tasks' statistics, summed over all runs, into `stats.json`."""
        total = PipelineStats()
        for rank in range(self.world_size):
            with self.logging_dir.open(f"stats/{rank:05d}.json", "r") as file:
                total += PipelineStats.from_json(json.load(file))
        with self.logging_dir.open("stats.json", "w") as file:
            total.save_to_disk(file)

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> PipelineStats:
        folder = Path(self.logging_dir.path)
        error_file = folder / "errors" / f"{rank:05d}"
        with task_lock(folder / "locks" / f"{rank:05d}"):
            error_file.unlink(missing_ok=True)
            logger.configure(patcher=without_values)
            try:
                # Of PipelineExecutor, not of the subclass: Ray's writes its log to one place for all runs first.
                # A local rank other than 0 keeps datatrove's log off standard error.
                return PipelineExecutor._run_for_rank(self, rank, local_rank=1, node_rank=node_rank)
            except Exception as error:
                error_file.parent.mkdir(exist_ok=True)
                error_file.write_text(one_line(error))
                raise
            finally:
                logger.remove()  # datatrove put its default back, which writes to standard error


class Failures:
    """Which tasks failed, and how the run ends of it."""

    def __init__(self, logging_dir: str, tasks: int):
        self.logging_dir = logging_dir
        self.tasks = tasks
        self.errors: dict[int, str] = {}

    def record(self, rank: int, error: BaseException | str | None) -> None:
        """Keep one task's error; a `CorpusError` is raised at once, and so is a pool that broke."""
        if isinstance(error, CorpusError | BrokenProcessPool):
            raise error
        if error is not None:
            self.errors[rank] = error if isinstance(error, str) else one_line(error)

    def raise_any(self) -> None:
        """Raise one `CorpusError` for all recorded errors."""
        if self.errors:
            rank, line = min(self.errors.items())
            raise CorpusError(
                f"{len(self.errors)} of {self.tasks} tasks failed, task {rank} with: {line}; "
                f"logs in {self.logging_dir}/logs; the same command again goes on with what is not done"
            )


@contextlib.contextmanager
def task_lock(path: Path, patience: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the lock file at `path` as `files.lock` does; `CorpusError` where that cannot be had."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(lock(path, patience))
        except Busy as error:
            raise CorpusError(f"{path} is held by {error.holder}: wait for it, or end it") from error
        except OSError as error:
            remedy = "the output needs free space and a file system with locks (NFS 4, Lustre mounted with flock)"
            raise CorpusError(f"{path}: cannot be locked ({error.strerror}); {remedy}") from error
        yield


def without_values(record: Any) -> None:
    """Make a log record's traceback a plain one: loguru's own shows the values of variables, photographs and keys."""
    error = record["exception"]
    if error is not None:
        lines = traceback.format_exception(error.type, error.value, error.traceback)
        record["message"] = f"{record['message']}\n{''.join(lines)}".rstrip()
        record["exception"] = None
    record["message"] = hide_values(record["message"])


def one_line(error: BaseException) -> str:
    """The kind of an error and what it says, 300 characters of it at most."""
    text = " ".join(hide_values(str(error)).split())
    text = text if len(text) <= 300 else f"{text[:300]}…"
    return text if isinstance(error, CorpusError) else f"{type(error).__name__}: {text}"
