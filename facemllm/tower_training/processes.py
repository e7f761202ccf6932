"""One function in several processes, which `torch.distributed` connects: a core each, or a GPU each."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing

from datasets_scripts.schema import CorpusError
from facemllm.cli import UserError

# Each step needs the same large pieces of memory: glibc is told to keep them, where it would give them back and ask
# the kernel for cleared ones again. On an EPYC that was a fifth of the time of EfficientNet-Lite0.
KEPT_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_TOP_PAD_": str(1 << 28)}


def in_processes(number: int, function: Callable[..., None], *args: Any) -> None:
    """Call `function(*args)` in so many new processes, and wait for all of them.

    Raises:
        UserError: what one of them raised as a `UserError` or a `CorpusError`; the others are stopped.
    """
    before = {name: os.environ.get(name) for name in KEPT_MEMORY}
    with tempfile.TemporaryDirectory() as meeting:
        try:
            os.environ.update(KEPT_MEMORY)
            multiprocessing.spawn(_join, (number, meeting, function, args), nprocs=number)
        except (multiprocessing.ProcessExitedException, multiprocessing.ProcessRaisedException):
            if (said := Path(meeting, "error")).exists():
                raise UserError(said.read_text(encoding="utf-8")) from None
            raise
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def _join(rank: int, number: int, meeting: str, function: Callable[..., None], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // number))
    backend = "nccl" if torch.cuda.device_count() >= number else "gloo"
    if backend == "nccl":
        torch.cuda.set_device(rank)
    distributed.init_process_group(backend, init_method=f"file://{meeting}/ranks", rank=rank, world_size=number)
    try:
        function(*args)
    except (UserError, CorpusError) as error:
        Path(meeting, "error").write_text(str(error), encoding="utf-8")
        raise
    finally:
        distributed.destroy_process_group()
