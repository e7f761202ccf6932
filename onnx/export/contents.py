"""What lies in an export's folder: the graphs, asked what PyTorch's model is asked, and the record of it."""

import contextlib
import importlib.metadata
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx_ir
import onnxruntime
import torch
from transformers import PreTrainedModel, ProcessorMixin

from facemllm_onnx.export_location import GRAPH_FOLDER, first_line
from modeling_facemllm.token_tree_facemllm import CannotPack

from .folder import ExportError, describe_graphs, write_record, write_side_files
from .half_precision import lacks_kernels, write_in_float32
from .parity import Reference, check, compare
from .precisions import FLOATS
from .quantize import quantize_graphs
from .request import ExportRequest
from .wrappers import cache_shape, cast_weights

PACKAGES = ("facemllm", "torch", "transformers", "optimum", "optimum-onnx", "onnx", "onnxscript", "onnxruntime")


def fill_folder(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    folder: Path,
    request: ExportRequest,
    write_graphs: Callable[..., bool | None],
    write_scoring_graph: Callable[..., None],
    *,
    source: dict[str, Any] | None = None,
    step: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """Write all of an export into a folder that is there, the record last.

    Args:
        model: with its weights in the precision that is traced.
        request: what is asked for; its backend is a name, not `auto`.
        write_graphs: that backend's, of model, folder and `step`; whether the decoder's cache may be one buffer.
        write_scoring_graph: that backend's, of model and folder; raises `CannotPack` where the model can have none.
        source: what the record says the weights come from.
        step: gets what is done next, in words.

    Raises:
        ExportError: when the graphs do not answer as the model does.
    """
    traced, precision = request.traced, request.precision
    graphs = folder / GRAPH_FOLDER
    graphs.mkdir(exist_ok=True)
    shared_buffer = bool(write_graphs(model, graphs, step=step))
    no_scoring = None if request.scoring else "it was left out of the export"
    if request.scoring:
        step("tracing scoring")
        try:
            write_scoring_graph(model, graphs)
        except CannotPack as reason:
            no_scoring = str(reason)
    record = {
        "format": 1,
        "backend": request.backend,
        "precision": precision,
        "device": request.device,
        "batch": "one" if request.fused else "any",
        "opset": onnx_ir.load(graphs / "decoder_model_merged.onnx").opset_imports[""],
        "versions": versions(),
        "source": source,
        "graphs": describe_graphs(folder),
        "cache": describe_cache(model, shared_buffer),
        "model": describe_model(model),
    }
    if no_scoring:
        record["no_scoring"] = no_scoring
    step("asking PyTorch's model")
    if FLOATS[traced].vision_dtype:  # the rounded weights of both types, computed with as exactly as can be
        cast_weights(model, torch.float32)
    reference = Reference(model, processor, batch=not request.fused)
    step(f"asking the {traced} graphs")
    record["parity"] = {traced: _compare(reference, folder, record, traced)}
    if precision != traced:
        step(f"quantizing to {precision}")
        quantize_graphs(graphs, precision, device=request.device)
        record["graphs"] = describe_graphs(folder)
        step(f"asking the {precision} graphs")
        record["parity"][precision] = _compare(reference, folder, record, precision)
    write_side_files(model, processor, folder)
    write_record(record, folder)
    return record


def _compare(reference: Reference, folder: Path, record: dict[str, Any], precision: str) -> dict[str, Any]:
    """What `parity.compare` finds, checked; where ONNX Runtime cannot load CUDA's graphs here, why not."""
    lacks_cuda = record["device"] == "cuda" and "CUDAExecutionProvider" not in onnxruntime.get_available_providers()
    try:
        if lacks_cuda:
            found = _compare_without_cuda(reference, folder, record)
        else:
            found = compare(reference, folder, record, record["device"])
    except ExportError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no base class of their own
        reason = first_line(error).replace(f"{folder}/", "")
        if lacks_cuda:
            return {"provider": None, "unchecked": reason}
        raise ExportError(
            f"ONNX Runtime does not run the {precision} graphs on {record['device']}: {reason}. Nothing was written; "
            "take another precision or backend"
        ) from error
    # Of integers all that is asked is to give numbers.
    check(found, FLOATS[precision].tolerance if precision in FLOATS else sys.float_info.max)
    return found


def _compare_without_cuda(reference: Reference, folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """CUDA's graphs on the CPU: as they are or, where it has no kernels for one, all of them computed in float32."""
    lacking = [path for path in (folder / GRAPH_FOLDER).glob("*.onnx") if lacks_kernels(path)]
    if not lacking:
        # What an operator cannot do some kernels find out only when they run; and a copy's error says the same.
        with contextlib.suppress(Exception):
            return compare(reference, folder, record, "cpu")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".float32-") as copy:
        write_in_float32(folder, Path(copy))
        return {**compare(reference, Path(copy), record, "cpu"), "computed_in": "float32"}


def describe_cache(model: PreTrainedModel, shared_buffer: bool) -> dict[str, Any]:
    """The decoder's cache; with `shared_buffer`, keys and values that come out may overwrite those that went in."""
    sizes = zip(("layers", "kv_heads", "head_dim"), cache_shape(model.config.text_config), strict=True)
    kind = str(model.get_decoder().dtype).removeprefix("torch.")
    return {**dict(sizes), "dtype": kind, "shared_buffer": shared_buffer}


def describe_model(model: PreTrainedModel) -> dict[str, Any]:
    """The sizes and ids that a runtime needs and would otherwise have to ask transformers for."""
    config, settings = model.config, model.generation_config
    return {
        "image_token_id": config.image_token_id,
        "num_image_tokens": config.num_image_tokens,
        "image_size": config.image_size,
        "hidden_size": config.text_config.hidden_size,
        "vocab_size": config.text_config.vocab_size,
        "bos_token_id": settings.bos_token_id,
        "eos_token_id": settings.eos_token_id,
        "pad_token_id": settings.pad_token_id,
        "max_position_embeddings": getattr(config.text_config, "max_position_embeddings", None),
    }


def versions() -> dict[str, str]:
    """Of the packages that a graph's form depends on, those that are installed."""
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
