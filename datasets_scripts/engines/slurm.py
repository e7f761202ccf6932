"""Tasks as a Slurm job array, through datatrove's `SlurmPipelineExecutor`: submit, wait, collect.

The submitting process only waits. When it is stopped or killed the jobs go on, and the same command finds them by
their name, which is made from `logging_dir`, and waits again instead of submitting them twice.
"""

import hashlib
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datatrove.executor.slurm import SlurmPipelineExecutor

import datasets_scripts
from datasets_scripts.schema import CorpusError

from .options import SlurmOptions, TasksUnfinished
from .tasks import Failures, TaskExecutor, task_lock

SQUEUE_TRIES = 12  # Slurm's controller may restart while we wait
SQUEUE_FIRST_TRIES = 2  # before anything is submitted there is nothing to lose
SETTLE_SECONDS = 30.0  # a network file system may show the last marks late


class SlurmTasks(TaskExecutor, SlurmPipelineExecutor):
    """One array task per rank; on a compute node datatrove's `launch_pickled_pipeline` runs it."""

    @classmethod
    def from_options(
        cls, options: SlurmOptions, *, pipeline: list[Any], tasks: int, workers: int, logging_dir: str
    ) -> "SlurmTasks":
        """The executor for `options.SlurmOptions`."""
        executor = cls(
            pipeline=pipeline,
            tasks=tasks,
            workers=workers,
            logging_dir=logging_dir,
            job_name=f"facemllm-{hashlib.sha256(logging_dir.encode()).hexdigest()[:12]}",
            partition=options.partition,
            time=options.time,
            cpus_per_task=options.cpus_per_task,
            mem_per_cpu_gb=options.mem_per_cpu_gb,
            qos=options.qos,
            env_command=options.env_command or _same_python(options.venv),
            max_array_size=options.max_array_size,
            sbatch_args={**({"account": options.account} if options.account else {}), **options.sbatch_args},
        )
        executor.wait, executor.poll_seconds = options.wait, options.poll_seconds
        return executor

    def run_tasks(self, show: Callable[[str], None]) -> None:
        """Submit what is not done, unless its jobs are in the queue already, and wait for the queue to be rid of them.

        Raises as `run.run_tasks` says.
        """
        with task_lock(Path(self.logging_dir.path) / "locks" / "submit"):
            states = self._queued(SQUEUE_FIRST_TRIES)
            if not states:
                self._submit()
        if not self.wait:
            raise TasksUnfinished(
                f"{len(self.get_incomplete_ranks())} of {self.tasks} tasks are with Slurm as {self.job_name}: "
                f"the same command again waits for them and collects the result"
            )
        while states := self._queued():
            show(", ".join(f"{number} {state}" for state, number in sorted(states.items())))
            time.sleep(self.poll_seconds)
        show("")
        self._raise_what_failed()

    def launch_merge_stats(self) -> None:
        """No job of its own: the waiting process sums the statistics, and after a failure such a job never ends."""

    def _submit(self) -> None:
        try:
            self.launch_job()
        except subprocess.CalledProcessError as error:
            raise CorpusError(f"sbatch refused the job (exit status {error.returncode}): see its message") from error

    def _queued(self, tries: int = SQUEUE_TRIES) -> Counter:
        """How many array jobs there are, state by state; a part of an array that has not begun counts once."""
        command = ["squeue", "--noheader", "--me", f"--name={self.job_name}", "--format=%T"]
        for last in range(1 - tries, 1):
            reply = subprocess.run(command, capture_output=True, text=True)
            if reply.returncode == 0:
                return Counter(reply.stdout.lower().split())
            time.sleep(self.poll_seconds if last else 0)
        raise CorpusError(f"squeue does not answer ({reply.stderr.strip()}): the same command again goes on waiting")

    def _raise_what_failed(self) -> None:
        end = time.monotonic() + SETTLE_SECONDS
        folder = Path(self.logging_dir.path)
        failures = Failures(self.logging_dir.path, self.tasks)
        while ranks := self.get_incomplete_ranks():
            errors = {rank: folder / "errors" / f"{rank:05d}" for rank in ranks}
            if all(path.exists() for path in errors.values()) or time.monotonic() > end:
                break
            time.sleep(1.0)
        for rank in ranks:
            killed = f"killed (out of memory or time, or cancelled), see {folder}/slurm_logs"
            failures.record(rank, errors[rank].read_text() if errors[rank].exists() else killed)
        failures.raise_any()


def _same_python(venv: str | None) -> str:
    """The shell line that gives a compute node this Python, or that of `venv`, and this package."""
    binaries = Path(venv) / "bin" if venv else Path(sys.executable).parent
    package = Path(datasets_scripts.__file__).resolve().parents[1]
    return f'export PATH="{binaries}:$PATH" PYTHONPATH="{package}:$PYTHONPATH"'
