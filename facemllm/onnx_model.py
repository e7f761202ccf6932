"""ONNX exports as the commands take them: told apart from PyTorch models, and loaded on what ``--device`` names."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facemllm.cli import UserError
from facemllm.hub_names import could_be_hub_id

if TYPE_CHECKING:
    from transformers import ProcessorMixin

    from facemllm_onnx.runtime import FaceMLLMForONNX
    from facemllm_onnx.transformers_model import ONNXFaceMLLM

EXPORT = "export.json"


def is_onnx_export(model: str | Path) -> bool:
    """Whether a folder or Hub id holds what ``facemllm export`` wrote. The Hub is asked for ``export.json`` alone."""
    return export_file(model) is not None


def export_file(model: str | Path) -> Path | None:
    """The record of an export, in its folder or in the Hub's cache; None for what is no export."""
    from facemllm.evaluation.model_identity import from_hub

    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder / EXPORT if (folder / EXPORT).is_file() else None
    return from_hub(str(model), EXPORT) if could_be_hub_id(str(model)) else None


def read_export(file: Path) -> dict[str, Any]:
    """The record of an export. Raises ``UserError`` for a file that is none."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(record["graphs"], dict):
            raise TypeError("its graphs are no table")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: is no record of facemllm export ({error}); export the model again") from error
    return record


def load_runtime(model: str | Path, device: str = "auto") -> "FaceMLLMForONNX":
    """The ONNX model in a folder or under a Hub id, on onnxruntime alone: PyTorch is not imported.

    Raises:
        UserError: for a device that onnxruntime has not here, and a folder that does not load.
    """
    from facemllm_onnx.runtime import FaceMLLMForONNX

    try:
        return FaceMLLMForONNX.from_pretrained(_name(model), provider=provider_of(device), threads=usable_cores())
    except (OSError, ValueError) as error:
        raise _told(model, device, error) from error


def load_onnx_model(model: str | Path, device: str = "auto") -> "tuple[ONNXFaceMLLM, ProcessorMixin]":
    """The ONNX model as transformers' pipelines and ``generate`` take models, with its processor.

    Raises:
        UserError: as ``load_runtime``.
    """
    from transformers import AutoProcessor

    import modeling_facemllm
    from facemllm_onnx.transformers_model import ONNXFaceMLLM

    modeling_facemllm.register()
    provider = provider_of(device)
    try:
        network = ONNXFaceMLLM.from_pretrained(_name(model), provider=provider, threads=usable_cores())
        return network, AutoProcessor.from_pretrained(_name(model))
    except (OSError, ValueError) as error:
        raise _told(model, device, error) from error


def provider_of(device: str) -> str:
    """The provider of onnxruntime that ``--device`` means. Raises ``UserError`` for one that there is not."""
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {device}: an ONNX export runs on auto, cpu or cuda")
    return device


def usable_cores() -> int:
    """The processor cores that this process may use; ONNX Runtime would take all of the machine."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdecimal() and int(told):
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _name(model: str | Path) -> str:
    folder = Path(model).expanduser()
    return str(folder) if folder.is_dir() else str(model)


def _told(model: str | Path, device: str, error: Exception) -> UserError:
    from facemllm_onnx.sessions import ProviderUnavailable

    words = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ProviderUnavailable):
        return UserError(f"--device {device}: " + words.replace("provider='cpu'", "--device cpu"))
    return UserError(f"{model}: cannot load it as an ONNX export: {words}")
