"""What may be asked of an export, found out in a second: before PyTorch is imported and a model is loaded."""

import importlib.metadata
import importlib.util
from pathlib import Path

from .folder import ExportError, check_replaceable
from .quantize import WEIGHT_PRECISIONS

BACKENDS = ("auto", "optimum", "transformers")
PRECISIONS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
QUANTIZED = tuple(WEIGHT_PRECISIONS)
DEVICES = ("cpu", "cuda")


def check_request(out: str | Path, backend: str, precision: str, device: str) -> str:
    """Find out before a model is loaded whether an export can be tried: the backend, `optimum` or `transformers`.

    Raises:
        ExportError: when `out` cannot be written or is something else's folder, an argument is unknown, or the backend
            is not installed.
    """
    _check_choice("backend", backend, BACKENDS)
    _check_choice("precision", precision, (*PRECISIONS, *QUANTIZED))
    _check_choice("device", device, DEVICES)
    if precision == "bf16" and device == "cpu":
        raise ExportError(
            "precision bf16: ONNX Runtime's CPU provider has no bfloat16 kernels; take fp32, int8 or int4, or the "
            "device cuda"
        )
    check_replaceable(Path(out).expanduser())
    backend = _choose_backend(backend)
    if precision == "bf16" and backend == "optimum":
        raise ExportError("precision bf16: Optimum does not trace it; take fp16, or the backend transformers")
    return backend


def _choose_backend(backend: str) -> str:
    if backend == "auto":
        backend = "optimum" if _is_installed("optimum-onnx") and not _has_exporter() else "transformers"
    if backend == "transformers" and not _has_exporter():
        raise ExportError(
            f"backend transformers: transformers {importlib.metadata.version('transformers')} has no exporter "
            "with ONNX Runtime's operators, 5.23 is the first that has; upgrade it, or take optimum in an environment "
            "of its own"
        )
    if backend == "optimum" and not _is_installed("optimum-onnx"):
        raise ExportError(
            "backend optimum: optimum-onnx is not installed, and takes transformers 4.57: install this project with "
            "its extra optimum in an environment of its own (docs/onnx.md), or take the backend transformers"
        )
    return backend


def _has_exporter() -> bool:
    # Looked up on the disk: importing transformers takes seconds.
    found = importlib.util.find_spec("transformers")
    settings = found and Path(found.origin).parent / "exporters" / "configs.py"
    return bool(settings) and settings.is_file() and "ort_fusions" in settings.read_text(encoding="utf-8")


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _check_choice(argument: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ExportError(f"{argument} {value!r} is unknown: take one of {', '.join(choices)}")
