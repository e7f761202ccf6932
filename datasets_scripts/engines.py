"""A datatrove pipeline as many tasks: on this machine, on a Slurm cluster or on a Ray cluster.

Task ``n`` of ``N`` runs every step of the pipeline with ``rank=n, world_size=N``. The tasks do not know where they
run, so all engines give the same records; a task that is done is marked so in ``logging_dir`` and never runs again,
whichever engine goes on. A cluster's machines must see ``logging_dir`` (and whatever the steps read and write) under
the same path.

``logging_dir`` holds, as datatrove's own tools expect it, ``completions/``, ``logs/``, ``stats/``, ``stats.json`` and
``executor.json``; and ``locks/`` and ``errors/``, which are ours.
"""

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args, get_origin

from datasets_scripts.schema import CorpusError
from modeling_facemllm.installation import install_command

ENGINES = ("local", "slurm", "ray")


@dataclass(frozen=True)
class LocalOptions:
    """One machine takes no options: ``workers`` is all there is to choose."""


@dataclass(frozen=True)
class SlurmOptions:
    """What ``sbatch`` is asked for, for each task. ``workers`` bounds how many tasks run at a time."""

    partition: str
    time: str = "24:00:00"
    cpus_per_task: int = 1
    mem_per_cpu_gb: int = 4
    qos: str | None = None
    account: str | None = None
    venv: str | None = None  # a virtual environment's folder; the Python that submits, unless given
    env_command: str | None = None  # shell line before each task, instead of ``venv``
    max_array_size: int = 1001  # Slurm's own default of MaxArraySize
    sbatch_args: dict[str, str] = field(default_factory=dict)
    wait: bool = True  # False: submit and return with ``TasksUnfinished``
    poll_seconds: float = 5.0


@dataclass(frozen=True)
class RayOptions:
    """Which cluster, and what is reserved there for each task. ``workers`` bounds how many tasks run at a time."""

    address: str | None = None  # "auto", "HOST:PORT" or "ray://HOST:PORT"; None starts a cluster on this machine
    cpus_per_task: int = 1
    mem_per_cpu_gb: float | None = None  # None: memory is not counted


OPTIONS: dict[str, type] = {"local": LocalOptions, "slurm": SlurmOptions, "ray": RayOptions}


class TasksUnfinished(CorpusError):
    """Nothing failed, but the result is not there yet; the message says how to go on."""


def run_tasks(
    pipeline: Sequence[Any],
    tasks: int,
    logging_dir: str | Path,
    engine: str = "local",
    workers: int = 1,
    options: Mapping[str, Any] | None = None,
    progress: bool = True,
    *,
    tell: Callable[[str], None] | None = None,
) -> None:
    """Run every task of the pipeline that is not done yet; return when all are done.

    A task that raises ``CorpusError`` ends the run at once: every other task would meet the same mistake. After any
    other exception the other tasks go on, and the run ends with a ``CorpusError`` that counts and names what failed.
    Either way, and after a kill of any process, the same call again goes on with the tasks that are not done.

    Args:
        pipeline: datatrove's ``PipelineStep`` objects, which must pickle.
        tasks: the world size; a ``logging_dir`` belongs to one number of tasks.
        logging_dir: where marks, locks and logs are kept; nothing but the progress bar goes to standard error.
        engine: one of ``ENGINES``.
        workers: how many tasks run at a time. With one on this machine, they run in this process.
        options: fields of the engine's class in ``OPTIONS``; numbers may be given as text.
        progress: show a bar of finished tasks.
        tell: called with a few words on the jobs whenever Slurm is asked about them; without it the bar shows them.

    Raises:
        CorpusError: for an unknown engine or option, a missing package or command, a failed task, a dead worker or
            a task that another process still works on.
        TasksUnfinished: when Slurm's jobs were submitted and ``wait`` is false.
    """
    if tasks < 1 or workers < 1:
        raise CorpusError(f"tasks={tasks}, workers={workers}: both must be 1 or more")
    chosen = check_engine(engine, options or {})
    folder = Path(logging_dir).resolve()
    try:
        from datasets_scripts import engine_executors
    except ImportError as error:
        raise CorpusError(f"tasks run on datatrove: {install_command('annotate')} ({error})") from error
    _claim(folder, tasks)
    with engine_executors.make_executor(engine, list(pipeline), tasks, str(folder), workers, chosen) as executor:
        if not executor.get_incomplete_ranks():
            return
        with _bar(folder / "completions", tasks, progress) as show:
            executor.run_tasks(tell or show)
        executor.merge_stats()


def check_engine(engine: str, options: Mapping[str, Any]) -> Any:
    """The engine's options, checked, and that its commands are there: cheap, to be called before any work."""
    if engine not in ENGINES:
        raise CorpusError(f"engine={engine!r}: expected one of {', '.join(ENGINES)}")
    chosen = engine_options(engine, options)
    for command in ("sbatch", "squeue") if engine == "slurm" else ():
        if shutil.which(command) is None:
            raise CorpusError(f"engine slurm needs the command {command}: run this on a login node of the cluster")
    return chosen


def engine_options(engine: str, options: Mapping[str, Any]) -> Any:
    """The engine's options, checked; text (from a command line) becomes the number or truth value a field wants."""
    kind = OPTIONS[engine]
    known = {item.name: item.type for item in fields(kind)}
    values = {}
    for name, value in options.items():
        if name not in known:
            raise CorpusError(f"option {name!r} of engine {engine}: expected one of {', '.join(known) or 'none'}")
        try:
            values[name] = _converted(value, known[name])
        except (ValueError, TypeError, KeyError, AttributeError):
            wanted = getattr(known[name], "__name__", known[name])
            raise CorpusError(f"option {name}={value!r} of engine {engine}: expected {wanted}") from None
    missing = [name for name in ("partition",) if name in known and not values.get(name)]
    if missing:
        raise CorpusError(f"engine {engine} needs the option {missing[0]}")
    return kind(**values)


def _converted(value: Any, wanted: Any) -> Any:
    """``value`` as the type ``wanted`` of a field; raises ValueError or TypeError where it is none."""
    if get_origin(wanted) is dict:
        pairs = value.items() if isinstance(value, Mapping) else (pair.split("=", 1) for pair in value.split(","))
        return {str(name): str(content) for name, content in pairs}
    kind, *optional = get_args(wanted) or (wanted,)
    if value is None and optional:
        return None
    if kind is bool:
        return {"true": True, "false": False}[str(value).lower()]
    converted = kind(value)
    if kind is int and converted != float(value):
        raise ValueError(f"{value} is no whole number")
    return converted


def _claim(folder: Path, tasks: int) -> None:
    """Rank 3 of 10 and rank 3 of 20 are different work under one name: a folder keeps its number of tasks."""
    kept = folder / "executor.json"
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        before = json.loads(kept.read_text()).get("world_size")
        if before not in (None, tasks):
            way_out = "delete the folder to start anew, or ask for as many tasks as before"
            raise CorpusError(f"{folder}: holds the marks of {before} tasks, not {tasks}; {way_out}")
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
