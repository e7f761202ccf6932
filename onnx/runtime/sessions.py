"""ONNX Runtime sessions: on which provider they run, and why not where that cannot be."""

import contextlib
import io
import logging
import os
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import onnxruntime

from facemllm_onnx.export_location import first_line

from .arguments import check_whole_number

logger = logging.getLogger(__name__)

EXECUTION_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
CHOICES = ("auto", *EXECUTION_PROVIDERS)
GPU_INSTALL = 'pip install "onnxruntime-gpu[cuda,cudnn]"'


class ProviderUnavailable(ValueError):
    """The provider that was asked for does not run here, and the CPU does.

    Args:
        reason: what is missing and how to get it.
    """

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason}; or take provider='cpu'"


def open_sessions(
    files: Mapping[str, Path], provider: str = "auto", threads: int | None = None
) -> tuple[dict[str, onnxruntime.InferenceSession], str]:
    """Load graphs, all on one provider.

    Args:
        files: the ONNX file of each graph, by name.
        provider: `"cpu"`, `"cuda"` or `"auto"`, which is CUDA where it works and else the CPU.
        threads: threads of an operator on the CPU; one for each core that this process may use where absent.

    Returns:
        The sessions by name, and `"cpu"` or `"cuda"`.

    Raises:
        ProviderUnavailable: when CUDA was asked for and is not there. Nothing falls back to the CPU unasked.
        ValueError: when an argument is wrong or a graph cannot be loaded.
    """
    if provider not in CHOICES:
        raise ValueError(f"provider={provider!r}: give one of {', '.join(CHOICES)}")
    if threads is not None:
        check_whole_number("threads", threads)
    threads = threads or usable_cores()
    if provider != "auto":
        return _open_all(files, provider, threads), provider
    if EXECUTION_PROVIDERS["cuda"] in onnxruntime.get_available_providers():
        try:
            return _open_all(files, "cuda", threads), "cuda"
        except ProviderUnavailable as error:
            logger.warning("provider='auto' takes the CPU: %s", error)
    return _open_all(files, "cpu", threads), "cpu"


def usable_cores() -> int:
    """Cores that this process may use: `OMP_NUM_THREADS` where it is set, else those it is bound to.

    ONNX Runtime would take as many threads as the machine has cores.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _open_all(files: Mapping[str, Path], provider: str, threads: int) -> dict[str, onnxruntime.InferenceSession]:
    if EXECUTION_PROVIDERS[provider] not in onnxruntime.get_available_providers():
        raise ProviderUnavailable(_other_package())
    not_loaded = _preload_cuda() if provider == "cuda" else ()
    return {name: _open(path, provider, threads, not_loaded) for name, path in files.items()}


def _preload_cuda() -> list[str]:
    """Load NVIDIA's libraries from where pip puts them (`onnxruntime-gpu[cuda,cudnn]`); the names of those missing."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):  # where a command writes its answer
        onnxruntime.preload_dlls(directory="")
    return re.findall(r"Failed to load ([^\s:]+)", printed.getvalue())


def _open(path: Path, provider: str, threads: int, not_loaded: Sequence[str]) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # what a graph's nodes run on is no news to a user
    options.intra_op_num_threads = threads
    if not path.is_file():
        raise ValueError(f"{path.parent.parent}: {path.parent.name}/{path.name} is missing; export the model again")
    providers: list = [EXECUTION_PROVIDERS["cpu"]]
    if provider == "cuda":
        # By default the arena doubles its last extent, which wastes up to half of the memory beside a growing cache.
        providers.insert(0, (EXECUTION_PROVIDERS["cuda"], {"arena_extend_strategy": "kSameAsRequested"}))
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's exceptions have no base class of their own
        reason = first_line(error)
        if provider == "cuda" and "CUDA failure" in str(error) and "out of memory" not in str(error):
            raise ProviderUnavailable(_not_starting(reason)) from error
        raise ValueError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} cannot load it ({reason}); export the model again"
        ) from error
    # Where CUDA's libraries do not load, ONNX Runtime only writes a warning and takes the CPU.
    if EXECUTION_PROVIDERS[provider] not in session.get_providers():
        missing = f"{', '.join(not_loaded)} missing" if not_loaded else "its warning on standard error says why"
        raise ProviderUnavailable(_not_starting(missing))
    return session


def _other_package() -> str:
    names = ("onnxruntime", "onnxruntime-gpu")
    installed = [f"{name} {version}" for name in names if (version := _version(name))]
    remedy = f"pip uninstall onnxruntime, then {GPU_INSTALL}"
    if len(installed) == len(names):
        both = "both packages are installed and one hides the other: pip uninstall onnxruntime onnxruntime-gpu"
        remedy = f"{both}, then {GPU_INSTALL}"
    return (
        f"CUDA is not in this ONNX Runtime (installed: {', '.join(installed) or 'a build of your own'}; providers: "
        f"{', '.join(onnxruntime.get_available_providers())}): {remedy}"
    )


def _not_starting(reason: str) -> str:
    return (
        f"CUDA does not start in onnxruntime-gpu {onnxruntime.__version__} ({reason}): it needs an NVIDIA driver, "
        f"CUDA {onnxruntime.cuda_version or ''} and cuDNN 9 ({GPU_INSTALL})"
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
