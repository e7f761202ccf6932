"""What may be asked of an export, found out in a second: before PyTorch is imported and a model is loaded."""

import importlib.metadata
import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path

from modeling_facemllm.installation import is_installed

from .folder import ExportArgumentError, ExportError, check_replaceable
from .precisions import DEVICES, FLOATS, PRECISIONS, QUANTIZED, TRACED

BACKENDS = ("auto", "optimum", "transformers")


@dataclass(frozen=True)
class ExportRequest:
    """One export, as it is asked for.

    Args:
        out: the folder to write; an earlier export there is replaced.
        backend: `transformers` where that is version 5 or newer, else `optimum`; or one of the two by name.
        precision: one of `PRECISIONS`.
        device: what the decoder is fused for, `cpu` or `cuda`.
        batch: whether rows can be answered together; else the decoder is fused for one row, which is faster.
        scoring: whether the graph for closed questions is written too, which holds all weights once more.
    """

    out: Path
    backend: str = "auto"
    precision: str = "fp32"
    device: str = "cpu"
    batch: bool = False
    scoring: bool = True

    def checked(self) -> "ExportRequest":
        """The same with the backend that `auto` means here, before a model is loaded.

        Raises:
            ExportError: when `out` cannot be written or is something else's folder, an argument is unknown, or the
                backend is not installed or does not take the precision.
        """
        for argument, choices in (("backend", BACKENDS), ("precision", PRECISIONS), ("device", DEVICES)):
            if (value := getattr(self, argument)) not in choices:
                raise ExportArgumentError(argument, value, f"take one of {', '.join(choices)}")
        self._check_refusal(self.device)
        check_replaceable(self.out)
        chosen = replace(self, backend=_choose_backend(self.backend))
        chosen._check_refusal(chosen.backend)
        return chosen

    def _check_refusal(self, by: str) -> None:
        if reason := FLOATS[self.traced].refused_by.get(by):
            raise ExportArgumentError("precision", self.precision, reason)

    @property
    def traced(self) -> str:
        """The precision that graphs are traced in, which integers may then take the weights' place of."""
        return TRACED[self.device] if self.precision in QUANTIZED else self.precision

    @property
    def fused(self) -> bool:
        """Whether the decoder's attention, rotation and norms each become one operator, for one row."""
        return not self.batch and self.backend == "transformers" and self.device in FLOATS[self.traced].fused_on


def _choose_backend(backend: str) -> str:
    if backend == "auto":
        backend = "optimum" if is_installed("optimum-onnx") and not _has_exporter() else "transformers"
    if backend == "transformers" and not _has_exporter():
        raise ExportError(
            f"backend transformers: transformers {importlib.metadata.version('transformers')} has no exporter "
            "with ONNX Runtime's operators, 5.23 is the first that has; upgrade it, or take optimum in an environment "
            "of its own"
        )
    if backend == "optimum" and not is_installed("optimum-onnx"):
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
