"""ONNX exports as the commands take them: recognized beside PyTorch models, and loaded on what `--device` names."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from facemllm.cli import UserError
from facemllm_onnx.export_location import EXPORT_RECORD
from facemllm_onnx.runtime.record import read_record
from modeling_facemllm.installation import install_command

from .hub_names import could_be_hub_id, from_hub

if TYPE_CHECKING:
    from transformers import ProcessorMixin

    from facemllm_onnx.runtime.model import FaceMLLMForONNX
    from facemllm_onnx.transformers_model import ONNXFaceMLLM


def is_onnx_export(model: str | Path) -> bool:
    """Whether a folder or Hub id holds what `facemllm export` wrote. The Hub is asked for `export.json` alone."""
    return export_file(model) is not None


def export_file(model: str | Path) -> Path | None:
    """The record of an export, in its folder or in the Hub's cache; None for what is no export."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder / EXPORT_RECORD if (folder / EXPORT_RECORD).is_file() else None
    return from_hub(str(model), EXPORT_RECORD) if could_be_hub_id(str(model)) else None


def read_export(file: Path) -> dict[str, Any]:
    """The record of an export. Raises `UserError` for a file that is none."""
    try:
        return read_record(file.parent)
    except ValueError as error:
        raise UserError(str(error)) from error


def checked_export(folder: Path) -> dict[str, Any]:
    """The record of the export in `folder`, after a look at whether it loads: its graphs, one after the other.

    Graphs for CUDA, where there is none, are only read: ONNX's checker knows no fused operators.

    Raises:
        UserError: when a file is missing, of another size than was recorded, or does not load.
    """
    check_runtime(folder)
    from facemllm_onnx.runtime.prompting import ONNXProcessor
    from facemllm_onnx.runtime.record import read_config, read_generation_config

    record = read_export(folder / EXPORT_RECORD)
    try:
        read_config(folder), read_generation_config(folder), ONNXProcessor(folder)
        for graph in record["graphs"].values():
            _check_graph(folder / graph["file"], graph["bytes"], record)
    except (OSError, ValueError) as error:
        raise _load_error(folder, "cpu", error) from error
    return record


def _check_graph(path: Path, size: int, record: dict[str, Any]) -> None:
    import onnx
    from google.protobuf.message import DecodeError

    from facemllm_onnx.export.folder import graph_files
    from facemllm_onnx.runtime.record import check_graph
    from facemllm_onnx.runtime.sessions import ProviderUnavailable, open_sessions

    files = graph_files(path)
    found = sum(file.stat().st_size for file in files)
    if files and found != size:
        raise ValueError(f"{path}: has {found:,} bytes with its weights, and had {size:,} when it was exported")
    try:
        sessions, _ = open_sessions({path.stem: path}, record["device"])
        check_graph(sessions[path.stem], path, record)
    except ProviderUnavailable:
        try:
            onnx.load(path, load_external_data=False)
        except DecodeError as error:
            raise ValueError(f"{path}: is no ONNX graph: {error}") from error


def load_runtime(model: str | Path, device: str = "auto") -> "FaceMLLMForONNX":
    """The ONNX model in a folder or under a Hub id, on onnxruntime alone: PyTorch is not imported.

    Raises:
        UserError: for a device that onnxruntime has not here, and a folder that does not load.
    """
    check_runtime(model)
    from facemllm_onnx.runtime.model import FaceMLLMForONNX

    provider = provider_of(device)
    try:
        return FaceMLLMForONNX.from_pretrained(_name(model), provider=provider)
    except (OSError, ValueError) as error:
        raise _load_error(model, device, error) from error


def load_onnx_model(model: str | Path, device: str = "auto") -> "tuple[ONNXFaceMLLM, ProcessorMixin]":
    """The ONNX model as transformers' pipelines and `generate` take models, with its processor.

    Raises:
        UserError: as `load_runtime`.
    """
    check_runtime(model)
    from transformers import AutoProcessor

    import modeling_facemllm
    from facemllm_onnx.transformers_model import ONNXFaceMLLM

    modeling_facemllm.register()
    provider = provider_of(device)
    try:
        network = ONNXFaceMLLM.from_pretrained(_name(model), provider=provider)
        return network, AutoProcessor.from_pretrained(network.runtime.folder)
    except (OSError, ValueError) as error:
        raise _load_error(model, device, error) from error


def check_runtime(model: str | Path) -> None:
    """Raises `UserError` where there is no ONNX Runtime to run `model` on."""
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{model}: is an ONNX export, and ONNX Runtime is not installed: "
            f"{install_command('onnx', 'onnxruntime')}, or for CUDA {install_command('onnx-gpu', 'onnxruntime-gpu')}"
        ) from error


def provider_of(device: str) -> str:
    """The provider of onnxruntime that `--device` means. Raises `UserError` for one that there is not."""
    if device not in ("auto", "cpu", "cuda"):
        remedy = "; CUDA_VISIBLE_DEVICES chooses among several" if device.startswith("cuda:") else ""
        raise UserError(f"--device {device}: an ONNX export runs on auto, cpu or cuda{remedy}")
    return device


def _name(model: str | Path) -> str:
    folder = Path(model).expanduser()
    return str(folder) if folder.is_dir() else str(model)


def _load_error(model: str | Path, device: str, error: Exception) -> UserError:
    from facemllm_onnx.runtime.sessions import ProviderUnavailable

    if isinstance(error, ProviderUnavailable):
        return UserError(f"--device {device}: {error.reason}; or take --device cpu")
    message = " ".join(str(error).split()) or type(error).__name__
    return UserError(message if message.startswith(_name(model)) else f"{model}: cannot load this export: {message}")
