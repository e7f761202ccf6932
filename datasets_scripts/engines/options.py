"""The engines and their options, checked: what can be asked of a run before datatrove is imported."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_args, get_origin

from datasets_scripts.schema import CorpusArgumentError, CorpusError

ENGINES = ("local", "slurm", "ray")


@dataclass(frozen=True)
class LocalOptions:
    """One machine takes no options: `workers` is all there is to choose."""


@dataclass(frozen=True)
class SlurmOptions:
    """What `sbatch` is asked for, for each task. `workers` bounds how many tasks run at a time."""

    partition: str
    time: str = "24:00:00"
    cpus_per_task: int = 1
    mem_per_cpu_gb: int = 4
    qos: str | None = None
    account: str | None = None
    venv: str | None = None  # a virtual environment's folder; the Python that submits, unless given
    env_command: str | None = None  # shell line before each task, instead of `venv`
    max_array_size: int = 1001  # Slurm's own default of MaxArraySize
    sbatch_args: dict[str, str] = field(default_factory=dict)
    wait: bool = True  # False: submit and return with `TasksUnfinished`
    poll_seconds: float = 5.0


@dataclass(frozen=True)
class RayOptions:
    """Which cluster, and what is reserved there for each task. `workers` bounds how many tasks run at a time."""

    address: str | None = None  # "auto", "HOST:PORT" or "ray://HOST:PORT"; None starts a cluster on this machine
    cpus_per_task: int = 1
    mem_per_cpu_gb: float | None = None  # None: memory is not counted


OPTIONS: dict[str, type] = {"local": LocalOptions, "slurm": SlurmOptions, "ray": RayOptions}


class TasksUnfinished(CorpusError):
    """Nothing failed, but the result is not there yet; the message says how to go on."""


def check_engine(engine: str, options: Mapping[str, Any]) -> Any:
    """The engine's options, checked, and that its commands are there: cheap, to be called before any work."""
    if engine not in ENGINES:
        raise CorpusArgumentError("engine", engine, f"expected one of {', '.join(ENGINES)}")
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
            remedy = f"engine {engine} has {', '.join(known) or 'no options'}"
            raise CorpusArgumentError("engine_options", f"{name}={value}", remedy)
        try:
            values[name] = _converted(value, known[name])
        except (ValueError, TypeError, KeyError, AttributeError):
            wanted = getattr(known[name], "__name__", known[name])
            raise CorpusArgumentError("engine_options", f"{name}={value}", f"give {wanted}") from None
    missing = [name for name in ("partition",) if name in known and not values.get(name)]
    if missing:
        raise CorpusArgumentError("engine_options", None, f"engine {engine} needs {missing[0]}=NAME")
    return kind(**values)


def _converted(value: Any, wanted: Any) -> Any:
    """`value` as the type `wanted` of a field; raises ValueError or TypeError where it is none."""
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
