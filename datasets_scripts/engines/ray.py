"""Tasks on a Ray cluster: one that runs already, or one that is started on this machine.

A pickled executor names `RayTasks`, so a cluster's machines must be able to import this module.
"""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from datatrove.executor.ray import RayPipelineExecutor

from datasets_scripts.schema import CorpusError
from modeling_facemllm.installation import install_command

from .options import RayOptions
from .tasks import Failures, TaskExecutor, one_line


class RayTasks(TaskExecutor, RayPipelineExecutor):
    """Tasks as Ray's own tasks: Ray sees a worker that died, which a pool inside an actor does not."""

    def run_tasks(self, show: Callable[[str], None]) -> None:
        """Raises as `run.run_tasks` says."""
        import ray

        largest = max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
        if largest < self.cpus_per_task:  # the cluster may grow, so it is no error
            show(f"waiting for a machine with {self.cpus_per_task} cores: the cluster's largest has {largest:g}")
        super().run_tasks(show)

    def run(self) -> None:
        """Raises as `run.run_tasks` says."""
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
                    failures.record(running.pop(done), _error_of_ray(done))
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
        return error.cause if isinstance(error.cause, Exception) else one_line(error)
    except ray.exceptions.RayError as error:
        return f"its worker died ({type(error).__name__}), for want of memory, most likely"
    return None


@contextlib.contextmanager
def ray_cluster(options: RayOptions, workers: int) -> Iterator[None]:
    """Within the context, Ray is connected to the cluster that `options` name. Raises `CorpusError`."""
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
        remedy = "start it, or set RAY_AUTH_MODE=token where it asks for a token"
        raise CorpusError(f"Ray at address={options.address!r}: {one_line(error)}; {remedy}") from error
    try:
        yield
    finally:
        ray.shutdown()
