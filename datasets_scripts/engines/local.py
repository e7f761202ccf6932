"""Tasks in this process, or in processes of this machine."""

import contextlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from pathlib import Path

import dill
from datatrove.executor.local import LocalPipelineExecutor

from datasets_scripts.schema import CorpusError
from datasets_scripts.worker_processes import (
    end_when_closed,
    follow_parent,
    message_of_dead_worker,
    without_interrupts,
)

from .tasks import Failures, TaskExecutor


class LocalTasks(TaskExecutor, LocalPipelineExecutor):
    """Tasks in this process, or in processes of this machine that end when this one does."""

    def run(self) -> None:
        """Raises as `run.run_tasks` says."""
        ranks = self.get_incomplete_ranks()
        failures = Failures(self.logging_dir.path, self.tasks)
        pickled = dill.dumps(self)
        if self.workers == 1 or len(ranks) < 2:
            for rank in ranks:
                failures.record(rank, _error_of_rank(pickled, rank))
        else:
            self._run_in_processes(pickled, ranks, failures)
        failures.raise_any()

    def _run_in_processes(self, pickled: bytes, ranks: list[int], failures: Failures) -> None:
        context = multiprocessing.get_context("spawn")
        reader, writer = context.Pipe(duplex=False)
        pool = ProcessPoolExecutor(min(self.workers, len(ranks)), context, _start_worker, (pickled, reader))
        try:
            with pool:
                try:
                    with without_interrupts():
                        started = {pool.submit(_work, rank): rank for rank in ranks}
                    for future in as_completed(started):
                        failures.record(started.pop(future), future.exception())
                except BaseException:
                    writer.close()
                    pool.shutdown(cancel_futures=True)
                    raise
        except BrokenProcessPool as error:
            raise CorpusError(message_of_dead_worker("fewer workers")) from error


_worker: dict[str, bytes] = {}


def _start_worker(pickled: bytes, parent_end: Connection) -> None:
    _worker["executor"] = pickled
    follow_parent()
    end_when_closed(parent_end)


def _work(rank: int) -> None:
    error = _error_of_rank(_worker["executor"], rank)
    if error is not None:
        raise error


def _error_of_rank(pickled: bytes, rank: int) -> Exception | None:
    """Run one task with steps of its own, for they count as they go."""
    executor: TaskExecutor = dill.loads(pickled)
    log = Path(executor.logging_dir.path) / "logs" / f"task_{rank:05d}.stderr"
    log.parent.mkdir(exist_ok=True)
    with open(log, "a") as file, contextlib.redirect_stderr(file):
        try:
            executor._run_for_rank(rank)
        except Exception as error:
            return error
    return None
