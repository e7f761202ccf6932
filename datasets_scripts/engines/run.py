"""A datatrove pipeline as many tasks: on this machine, on a Slurm cluster or on a Ray cluster.

Task `n` of `N` runs every step of the pipeline with `rank=n, world_size=N`. The tasks do not know where they
run, so all engines give the same records; a task that is done is marked so in `logging_dir` and never runs again,
whichever engine goes on. A cluster's machines must see `logging_dir` (and whatever the steps read and write) under
the same path.

`logging_dir` holds, as datatrove's own tools expect it, `completions/`, `logs/`, `stats/`, `stats.json` and
`executor.json`; and `locks/` and `errors/`, which are ours.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets_scripts.schema import CorpusError
from modeling_facemllm.installation import install_command

from .options import LocalOptions, RayOptions, SlurmOptions, check_engine

if TYPE_CHECKING:
    from .tasks import TaskExecutor


def run_tasks(
    pipeline: Sequence[Any],
    tasks: int,
    logging_dir: str | Path,
    engine: str = "local",
    workers: int = 1,
    options: Mapping[str, Any] | None = None,
    progress: bool = True,
    *,
    show: Callable[[str], None] | None = None,
) -> None:
    """Run every task of the pipeline that is not done yet; return when all are done.

    A task that raises `CorpusError` ends the run at once: every other task would meet the same mistake. After any
    other exception the other tasks go on, and the run ends with a `CorpusError` that counts and names what failed.
    Either way, and after a kill of any process, the same call again goes on with the tasks that are not done.

    Args:
        pipeline: datatrove's `PipelineStep` objects, which must pickle.
        tasks: the world size; a `logging_dir` belongs to one number of tasks.
        logging_dir: where marks, locks and logs are kept; nothing but the progress bar goes to standard error.
        engine: one of `ENGINES`.
        workers: how many tasks run at a time. With one on this machine, they run in this process.
        options: fields of the engine's class in `OPTIONS`; numbers may be given as text.
        progress: show a bar of finished tasks.
        show: called with a few words on the jobs whenever Slurm is asked about them; without it the bar shows them.

    Raises:
        CorpusError: for an unknown engine or option, a missing package or command, a failed task, a dead worker or
            a task that another process still works on.
        TasksUnfinished: when Slurm's jobs were submitted and `wait` is false.
    """
    if tasks < 1 or workers < 1:
        raise CorpusError(f"tasks={tasks}, workers={workers}: both must be 1 or more")
    chosen = check_engine(engine, options or {})
    folder = Path(logging_dir).resolve()
    try:
        from . import local  # noqa: F401  datatrove and what its executors need
    except ImportError as error:
        raise CorpusError(f"tasks run on datatrove: {install_command('annotate')} ({error})") from error
    _claim(folder, tasks)
    with make_executor(engine, list(pipeline), tasks, str(folder), workers, chosen) as executor:
        if not executor.get_incomplete_ranks():
            return
        with _bar(folder / "completions", tasks, progress) as show_in_bar:
            executor.run_tasks(show or show_in_bar)
        executor.merge_stats()


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
    from loguru import logger

    kept = {"pipeline": pipeline, "tasks": tasks, "workers": workers, "logging_dir": logging_dir}
    if engine == "local":
        from .local import LocalTasks

        yield LocalTasks(**kept)
        return
    logger.disable("datatrove")  # in this process, which runs no task itself
    try:
        if engine == "slurm":
            from .slurm import SlurmTasks

            yield SlurmTasks.from_options(options, **kept)
        else:
            from .ray import RayTasks, ray_cluster

            with ray_cluster(options, workers):
                reserved = {"cpus_per_task": options.cpus_per_task, "mem_per_cpu_gb": options.mem_per_cpu_gb or 0}
                yield RayTasks(**kept, **reserved)
    finally:
        logger.enable("datatrove")


def _claim(folder: Path, tasks: int) -> None:
    """Rank 3 of 10 and rank 3 of 20 are different work under one name: a folder keeps its number of tasks."""
    kept = folder / "executor.json"
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        before = json.loads(kept.read_text()).get("world_size")
        if before not in (None, tasks):
            remedy = "delete the folder to start anew, or ask for as many tasks as before"
            raise CorpusError(f"{folder}: holds the marks of {before} tasks, not {tasks}; {remedy}")
    (folder / "completions").mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def _bar(completions: Path, tasks: int, progress: bool) -> Iterator[Callable[[str], None]]:
    """A bar that a thread keeps up to date from the marks: a task on another machine need not reach us."""
    from tqdm import tqdm

    def completed() -> int:
        return sum(1 for _ in completions.iterdir())

    ended = threading.Event()
    with tqdm(total=tasks, initial=completed(), unit="task", disable=not progress, mininterval=0) as bar:

        def watch() -> None:
            pause = 0.5
            while not ended.wait(pause):
                before = time.monotonic()
                bar.update(completed() - bar.n)
                pause = max(0.5, 20 * (time.monotonic() - before))  # a slow file system is asked less often

        thread = threading.Thread(target=watch, daemon=True)
        if progress:
            thread.start()
        try:
            yield bar.set_postfix_str
        finally:
            ended.set()
            if progress:
                thread.join()
                bar.update(completed() - bar.n)
