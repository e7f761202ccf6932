"""ONNX Runtime sessions: on which provider they run, and why not where that cannot be."""

import logging
import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import onnxruntime

logger = logging.getLogger(__name__)

EXECUTION_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
CHOICES = ("auto", *EXECUTION_PROVIDERS)


class ProviderUnavailable(ValueError):
    """The provider that was asked for does not run here; the message says what is missing."""


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
    if threads is not None and threads < 1:
        raise ValueError(f"threads={threads}: give 1 or more")
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
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdecimal() and int(told):
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _open_all(files: Mapping[str, Path], provider: str, threads: int) -> dict[str, onnxruntime.InferenceSession]:
    if EXECUTION_PROVIDERS[provider] not in onnxruntime.get_available_providers():
        raise ProviderUnavailable(_what_is_missing())
    if provider == "cuda":
        # NVIDIA's libraries where pip put them (onnxruntime-gpu[cuda,cudnn]); does nothing where there are none.
        onnxruntime.preload_dlls(directory="")
    return {name: _open(path, provider, threads) for name, path in files.items()}


def _open(path: Path, provider: str, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # what a graph's nodes run on is no news to a user
    options.intra_op_num_threads = threads
    if not path.is_file():
        raise ValueError(f"{path.parent.parent}: {path.parent.name}/{path.name} is missing; export the model again")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=_providers(provider), enable_fallback=0)
    except Exception as error:  # ONNX Runtime's exceptions have no base class of their own
        raise ValueError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} cannot load it: {_first_line(error)}"
        ) from error
    # Where CUDA's libraries do not load, ONNX Runtime only writes a warning and takes the CPU.
    if EXECUTION_PROVIDERS[provider] not in session.get_providers():
        raise ProviderUnavailable(_what_is_missing())
    return session


def _providers(provider: str) -> list:
    cpu = EXECUTION_PROVIDERS["cpu"]
    if provider == "cpu":
        return [cpu]
    # By default the arena doubles its last extent, which wastes up to half of the memory beside a growing cache.
    return [(EXECUTION_PROVIDERS["cuda"], {"arena_extend_strategy": "kSameAsRequested"}), cpu]


def _what_is_missing() -> str:
    """Why there is no CUDA: the wrong package, or libraries that do not load."""
    installed = {name: version for name in ("onnxruntime", "onnxruntime-gpu") if (version := _version(name))}
    found = (
        f"found {', '.join(f'{name} {version}' for name, version in installed.items()) or 'no package of that name'}"
    )
    providers = f"providers {', '.join(onnxruntime.get_available_providers())}"
    if EXECUTION_PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
        way_out = (
            "both packages are installed and one hides the other: pip uninstall onnxruntime onnxruntime-gpu, then "
            "pip install onnxruntime-gpu"
            if len(installed) == 2
            else "pip uninstall onnxruntime, then pip install onnxruntime-gpu"
        )
        return f"CUDA is not in this ONNX Runtime ({found}; {providers}): {way_out}; or take provider='cpu'"
    return (
        f"CUDA does not start ({found}; {providers}): ONNX Runtime's warning on standard error names what failed; it "
        f"needs an NVIDIA driver, CUDA {onnxruntime.cuda_version or ''} and cuDNN 9 "
        "(pip install onnxruntime-gpu[cuda,cudnn]); or take provider='cpu'"
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
