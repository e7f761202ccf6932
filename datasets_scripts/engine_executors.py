"""datatrove's executors, made safe for work that costs money: used through ``engines.run_tasks``.

Each runs a task by datatrove's own ``_run_for_rank`` (steps, log, stats, completion mark); what is added:

- one lock per task, so that a second run never works beside what is left of a first one;
- a worker that dies is an error: datatrove's pools (``LocalPipelineExecutor``, and inside ``RayPipelineExecutor``'s
  actor) wait for its result for ever;
- logs go to files alone, and the error of a failed task is kept in one line.

A pickled executor names these classes, so a cluster's machines must be able to import this module.
"""

import contextlib
import errno
import fcntl
import json
import multiprocessing
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import dill
from datatrove.executor.base import PipelineExecutor
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.executor.ray import RayPipelineExecutor
from datatrove.utils.stats import PipelineStats
from loguru import logger

from datasets_scripts.engines import LocalOptions, RayOptions, SlurmOptions
from datasets_scripts.schema import CorpusError
from datasets_scripts.worker_processes import end_when_closed, follow_parent
from modeling_facemllm.installation import install_command

LOCK_SECONDS = 60.0  # an orphan ends within a second of its parent's death; a network file system may take longer


@contextlib.contextmanager
def make_executor(
    engine: str,
    pipeline: list[Any],
    tasks: int,
    logging_dir: str,
    workers: int,
    options: LocalOptions | SlurmOptions | RayOptions,
) -> Iterator["TaskExecutor"]:
    """The engine's executor, in whose context a Ray cluster is up."""
    kept = {"pipeline": pipeline, "tasks": tasks, "workers": workers, "logging_dir": logging_dir}
    if engine == "local":
        yield LocalTasks(**kept)
        return
    logger.disable("datatrove")  # in this process, which runs no task itself
    try:
        if engine == "slurm":
            from datasets_scripts.engine_slurm import SlurmTasks

            yield SlurmTasks.from_options(options, **kept)
        else:
            with _ray_cluster(options, workers):
                reserved = {"cpus_per_task": options.cpus_per_task, "mem_per_cpu_gb": options.mem_per_cpu_gb or 0}
                yield RayTasks(**kept, **reserved)
    finally:
        logger.enable("datatrove")


class TaskExecutor(PipelineExecutor):
    """What all three share."""

    def run_tasks(self, tell: Callable[[str], None]) -> None:
        """Run what is not done; raises as ``engines.run_tasks`` says. ``tell`` shows a few words beside the bar."""
        self.save_executor_as_json()
        self.run()

    def save_executor_as_json(self, indent: int = 4) -> None:
        """Only what datatrove's ``jobs_status`` reads: the steps' settings may not be JSON, or not for every eye."""
        with self.logging_dir.open("executor.json", "w") as file:
            json.dump({"world_size": self.world_size, "pipeline": [repr(step) for step in self.pipeline]}, file)

    def merge_stats(self) -> None:
        """The tasks' statistics, summed over all runs, into ``stats.json``."""
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
            try:
                # Of PipelineExecutor, not of the subclass: Ray's writes its log to one place for all runs first.
                # A local rank other than 0 keeps datatrove's log off standard error.
                return PipelineExecutor._run_for_rank(self, rank, local_rank=1, node_rank=node_rank)
            except Exception as error:
                error_file.parent.mkdir(exist_ok=True)
                error_file.write_text(_one_line(error))
                raise
            finally:
                logger.remove()  # datatrove put its default back, which writes to standard error


class Failures:
    """Which tasks failed, and how the run ends of it."""

    def __init__(self, logging_dir: str, tasks: int):
        self.logging_dir = logging_dir
        self.tasks = tasks
        self.errors: dict[int, str] = {}

    def hear(self, rank: int, error: BaseException | str | None) -> None:
        """Keep one task's error; a ``CorpusError`` is raised at once, and so is a pool that broke."""
        if isinstance(error, CorpusError | BrokenProcessPool):
            raise error
        if error is not None:
            self.errors[rank] = error if isinstance(error, str) else _one_line(error)

    def raise_any(self) -> None:
        """Raise one ``CorpusError`` for all errors heard."""
        if self.errors:
            rank, line = min(self.errors.items())
            raise CorpusError(
                f"{len(self.errors)} of {self.tasks} tasks failed, task {rank} with: {line}; "
                f"logs in {self.logging_dir}/logs; the same command again goes on with what is not done"
            )


@contextlib.contextmanager
def task_lock(path: Path, patience: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the lock file at ``path``; the system frees it when the process ends, however it ends.

    It is ``flock``, which Linux carries across machines on NFS (version 3 with its lock service, version 4) and
    which Lustre needs mounted with ``flock``. Raises ``CorpusError`` where another process holds it for longer than
    ``patience`` seconds and where the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as file:
        end = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    way_out = "keep the output on a file system with locks (NFS 4, or Lustre mounted with flock)"
                    raise CorpusError(f"{path}: cannot be locked ({error.strerror}); {way_out}") from error
            if time.monotonic() > end:
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise CorpusError(f"task {int(path.name)} is still worked on by {holder}: wait for it, or end it")
            time.sleep(0.1)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


class LocalTasks(TaskExecutor, LocalPipelineExecutor):
    """Tasks in this process, or in processes of this machine that end when this one does."""

    def run(self) -> None:
        """Raises as ``engines.run_tasks`` says."""
        ranks = self.get_incomplete_ranks()
        failures = Failures(self.logging_dir.path, self.tasks)
        pickled = dill.dumps(self)
        if self.workers == 1 or len(ranks) < 2:
            for rank in ranks:
                failures.hear(rank, _error_of_rank(pickled, rank))
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
                    started = {pool.submit(_work, rank): rank for rank in ranks}
                    for future in as_completed(started):
                        failures.hear(started.pop(future), future.exception())
                except BaseException:
                    writer.close()
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
        except BrokenProcessPool as error:
            way_out = "for want of memory, most likely; run the same command again with fewer workers to go on"
            raise CorpusError(f"a worker process died: {way_out}") from error


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


class RayTasks(TaskExecutor, RayPipelineExecutor):
    """Tasks as Ray's own tasks: Ray sees a worker that died, which a pool inside an actor does not."""

    def run_tasks(self, tell: Callable[[str], None]) -> None:
        """Raises as ``engines.run_tasks`` says."""
        import ray

        largest = max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
        if largest < self.cpus_per_task:  # the cluster may grow, so it is no error
            tell(f"waiting for a machine with {self.cpus_per_task} cores: the cluster's largest has {largest:g}")
        super().run_tasks(tell)

    def run(self) -> None:
        """Raises as ``engines.run_tasks`` says."""
        import ray

        failures = Failures(self.logging_dir.path, self.tasks)
        waiting, running = deque(self.get_incomplete_ranks()), {}
        executor = ray.put(self)
        memory = int(self.mem_per_cpu_gb * self.cpus_per_task * 2**30)
        # No retries: the same command again is the retry, and Ray would retry a task that lacks memory for ever.
        task = ray.remote(_work_on_ray).options(num_cpus=self.cpus_per_task, memory=memory or None, max_retries=0)
        try:
            while waiting or running:
                while waiting and len(running) < self.workers:
                    rank = waiting.popleft()
                    running[task.remote(executor, rank)] = rank
                for done in ray.wait(list(running))[0]:
                    failures.hear(running.pop(done), _error_of_ray(done))
        except BaseException:
            for unfinished in running:
                ray.cancel(unfinished, force=True)
            raise
        failures.raise_any()


def _work_on_ray(executor: RayTasks, rank: int) -> None:
    executor._run_for_rank(rank)


def _error_of_ray(reference: Any) -> Exception | str | None:
    import ray

    try:
        ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return error.cause if isinstance(error.cause, Exception) else _one_line(error)
    except ray.exceptions.RayError as error:
        return f"its worker died ({type(error).__name__}), for want of memory, most likely"
    return None


@contextlib.contextmanager
def _ray_cluster(options: RayOptions, workers: int) -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports home otherwise
    try:
        import ray
    except ImportError as error:
        raise CorpusError(f"engine ray needs Ray: {install_command('ray')}") from error
    if ray.is_initialized():  # a caller's own cluster, which is not ours to end
        yield
        return
    # "local": None would join any cluster that runs on this machine
    here = {"num_cpus": workers * options.cpus_per_task, "include_dashboard": False, "object_store_memory": 2**27}
    try:
        ray.init(
            options.address or "local", log_to_driver=False, logging_level="ERROR", **({} if options.address else here)
        )
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        way_out = "start it, or set RAY_AUTH_MODE=token where it asks for a token"
        raise CorpusError(f"Ray at address={options.address!r}: {_one_line(error)}; {way_out}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _one_line(error: BaseException) -> str:
    said = " ".join(str(error).split())
    said = said if len(said) <= 300 else f"{said[:300]}…"
    return said if isinstance(error, CorpusError) else f"{type(error).__name__}: {said}"
