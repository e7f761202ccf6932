"""A Face-MLLM as ONNX graphs that are known to answer as it does: written, checked, recorded, then put in place.

    python -m facemllm export MODEL OUT

`write_graphs` is the exporter on transformers' own (`transformers.exporters`, from version 5); `optimum.py` has the
one for transformers 4.57.
"""

import contextlib
import importlib.metadata
import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from tqdm import tqdm
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin

import modeling_facemllm
from modeling_facemllm.token_tree_facemllm import CannotPack

from .export_folder import (
    EXTERNAL_DATA_ABOVE,
    GRAPHS,
    ExportError,
    describe_graphs,
    save_graph,
    whole_folder,
    write_record,
    write_side_files,
)
from .export_request import PRECISIONS, check_request
from .exportable import check_exportable
from .graphs import VARYING, graphs
from .half_precision import lacks_kernels, write_in_float32
from .parity import Reference, check, compare
from .quantize import quantize_graphs
from .scoring_graph import write_scoring_graph
from .shared_cache import share_cache
from .tracing import trace
from .weight_types import cast_to_bfloat16, cast_weights
from .wrappers import (
    BATCH,
    Decoder,
    TokenEmbeddings,
    VisionEncoder,
    cache_shape,
    decoder_inputs,
    embedding_inputs,
    vision_inputs,
)

DTYPES = {name: getattr(torch, kind) for name, kind in PRECISIONS.items()}


def export_model(
    model: str | Path | PreTrainedModel,
    out: str | Path,
    *,
    processor: ProcessorMixin | None = None,
    backend: str = "auto",
    precision: str = "fp32",
    device: str = "cpu",
    batch: bool = False,
    scoring: bool = True,
    source: dict[str, Any] | None = None,
    external_data_above: int = EXTERNAL_DATA_ABOVE,
    progress: bool = False,
) -> dict[str, Any]:
    """Export a Face-MLLM to the folder `out` and return the record that stands there as `export.json`.

    Args:
        model: a folder, a Hub id, or a loaded model, whose weights are cast to the precision in place.
        processor: of a loaded model.
        backend: `transformers` where that is version 5 or newer, else `optimum`; or one of the two by name.
        precision: `fp32`, `fp16`, `bf16`, `int8` or `int4`.
        device: what the decoder is fused for.
        batch: whether rows can be answered together; else the decoder is fused for one row, which is faster.
        scoring: whether the graph for closed questions is written too, which holds all weights once more.
        source: what the record says the weights come from.
        external_data_above: bytes of weights from which on a graph has them in a file of their own.
        progress: whether what is being done is shown on standard error.

    Raises:
        ExportError: when the model or the combination cannot be exported, when `out` is something else's folder, or
            when the graphs do not answer as the model does.
    """
    backend = check_request(out, backend, precision, device)
    if isinstance(model, (str, Path)):
        modeling_facemllm.register()
        source = source or {"name": str(model)}
        processor = AutoProcessor.from_pretrained(str(model))
        # As saved for bfloat16, which not all parts become.
        dtype = "auto" if precision == "bf16" else DTYPES.get(precision, torch.float32)
        model = AutoModelForImageTextToText.from_pretrained(str(model), dtype=dtype)
    check_exportable(model)
    base = _base(precision, device)
    if base == "bf16":
        cast_to_bfloat16(model)
    else:
        cast_weights(model, DTYPES[base])
    model.eval().requires_grad_(False)
    steps = len(graphs(0)) + scoring + (4 if precision != base else 2)
    with whole_folder(Path(out).expanduser()) as folder:
        record = fill_folder(
            model,
            processor,
            folder,
            backend=backend,
            precision=precision,
            device=device,
            fused=not batch and _can_fuse(backend, base, device),
            scoring=scoring,
            source=source,
            external_data_above=external_data_above,
            **({"step": _progress(steps)} if progress else {}),
        )
    return record


def fill_folder(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    folder: Path,
    *,
    backend: str,
    precision: str = "fp32",
    device: str = "cpu",
    fused: bool = False,
    scoring: bool = True,
    source: dict[str, Any] | None = None,
    external_data_above: int = EXTERNAL_DATA_ABOVE,
    step: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """Write all of an export into a folder that is there, the record last; `export_model` has the arguments.

    Raises:
        ExportError: when the graphs do not answer as the model does.
    """
    base = _base(precision, device)
    (folder / GRAPHS).mkdir(exist_ok=True)
    told = _write_all_graphs(model, folder / GRAPHS, backend, device, fused, scoring, external_data_above, step)
    record = {
        "format": 1,
        "backend": backend,
        "precision": precision,
        "device": device,
        "batch": "one" if fused else "any",
        "opset": opset(folder),
        "versions": versions(),
        "source": source,
        "graphs": describe_graphs(folder),
        "cache": describe_cache(model, told["shared_buffer"]),
        "model": describe_model(model),
    }
    if told["no_scoring"]:
        record["no_scoring"] = told["no_scoring"]
    step("asking PyTorch's model")
    if base == "bf16":  # the rounded weights, computed with as exactly as can be
        cast_weights(model, torch.float32)
    reference = Reference(model, processor, batch=not fused)
    step(f"asking the {base} graphs")
    record["parity"] = {base: _compare(reference, folder, record, base)}
    if precision != base:
        step(f"quantizing to {precision}")
        quantize_graphs(folder / GRAPHS, precision, device=device, external_data_above=external_data_above)
        record["graphs"] = describe_graphs(folder)
        step(f"asking the {precision} graphs")
        record["parity"][precision] = _compare(reference, folder, record, precision)
    write_side_files(model, processor, folder)
    write_record(record, folder)
    return record


def _base(precision: str, device: str) -> str:
    """The precision to trace in, which integers then take the weights' place of."""
    if precision in PRECISIONS:
        return precision
    return "fp16" if device == "cuda" else "fp32"


def _can_fuse(backend: str, precision: str, device: str) -> bool:
    # CUDA's attention over a cache takes half precision only: ONNX Runtime would take a float32 one to the CPU.
    return backend == "transformers" and (device == "cpu" or precision != "fp32")


def _write_all_graphs(
    model: PreTrainedModel,
    folder: Path,
    backend: str,
    device: str,
    fused: bool,
    scoring: bool,
    external_data_above: int,
    step: Callable[[str], None],
) -> dict[str, Any]:
    if backend == "optimum":
        from .optimum import write_graphs as write
        from .optimum import write_scoring_graph as write_scoring

        options: dict[str, Any] = {"external_data_above": external_data_above}
    else:
        write, write_scoring = write_graphs, write_scoring_graph
        options = {"device": device, "fused": fused, "external_data_above": external_data_above}
    told: dict[str, Any] = {"shared_buffer": bool(write(model, folder, **options, step=step)), "no_scoring": None}
    try:
        if scoring:
            step("tracing scoring")
            write_scoring(model, folder, **options)
        else:
            told["no_scoring"] = "it was left out of the export"
    except CannotPack as reason:
        told["no_scoring"] = str(reason)
    return told


def _compare(reference: Reference, folder: Path, record: dict[str, Any], precision: str) -> dict[str, Any]:
    """What `parity.compare` finds, checked; where ONNX Runtime cannot load CUDA's graphs here, why not."""
    cuda = record["device"] == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    try:
        if record["device"] == "cuda" and not cuda:
            found = _compare_without_cuda(reference, folder, record)
        else:
            found = compare(reference, folder, record, record["device"])
    except ExportError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no base class of their own
        reason = next(iter(str(error).replace(f"{folder}/", "").strip().splitlines()), type(error).__name__)
        if record["device"] == "cuda" and not cuda:
            return {"provider": None, "unchecked": reason}
        raise ExportError(
            f"ONNX Runtime does not run the {precision} graphs on {record['device']}: {reason}. Nothing was written; "
            "take another precision or backend"
        ) from error
    check(found, DTYPES.get(precision))
    return found


def _compare_without_cuda(reference: Reference, folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """CUDA's graphs on the CPU: as they are or, where it has no kernels for one, all of them computed in float32."""
    lacking = [path for path in (folder / GRAPHS).glob("*.onnx") if lacks_kernels(path)]
    if not lacking:
        # What an operator cannot do some kernels find out only when they run; and a copy's error says the same.
        with contextlib.suppress(Exception):
            return compare(reference, folder, record, "cpu")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".float32-") as copy:
        write_in_float32(folder, Path(copy))
        return {**compare(reference, Path(copy), record, "cpu"), "computed_in": "float32"}


def _progress(steps: int) -> Callable[[str], None]:
    """Tells of each step that begins in a line of its own: nothing knows how far the tracing of a graph is."""
    began, numbers = time.monotonic(), itertools.count(1)
    return lambda what: tqdm.write(
        f"{next(numbers)} of {steps}, after {time.monotonic() - began:.0f} s: {what}", file=sys.stderr
    )


def describe_cache(model: PreTrainedModel, shared_buffer: bool) -> dict[str, Any]:
    """The decoder's cache; with `shared_buffer`, keys and values that come out may overwrite those that went in."""
    layers, heads, head_size = cache_shape(model.config.text_config)
    kind = str(model.get_decoder().dtype).removeprefix("torch.")
    return {
        "layers": layers,
        "kv_heads": heads,
        "head_dim": head_size,
        "dtype": kind,
        "shared_buffer": shared_buffer,
    }


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
    for package in (
        "facemllm",
        "torch",
        "transformers",
        "optimum",
        "optimum-onnx",
        "onnx",
        "onnxscript",
        "onnxruntime",
    ):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def opset(folder: Path) -> int:
    """The version of ONNX's operators that the decoder uses."""
    import onnx

    model = onnx.load(folder / GRAPHS / "decoder_model_merged.onnx", load_external_data=False)
    return next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def write_graphs(
    model: PreTrainedModel,
    folder: Path,
    *,
    device: str = "cpu",
    fused: bool = True,
    external_data_above: int = EXTERNAL_DATA_ABOVE,
    step: Callable[[str], None] = lambda what: None,
) -> bool:
    """Write the three graphs with transformers' exporter; whether the decoder's cache may be one buffer.

    Args:
        device: what is fused for.
        fused: whether the decoder takes one row only, with attention, rotation and norms in one operator each. A fused
            decoder of a batch would answer wrongly for rows that are padded.
        step: is told of each graph before it is traced.
    """
    positions = getattr(model.config.text_config, "max_position_embeddings", None)
    vision, embeddings, decoder = graphs(model.config.text_config.num_hidden_layers)
    fusions = device if fused else None
    rows, varying = (1, VARYING - {"batch_size"}) if fused else (BATCH, VARYING)
    for graph, module, inputs, varying_axes in (
        (vision, VisionEncoder(model), vision_inputs(model), VARYING),
        (embeddings, TokenEmbeddings(model), embedding_inputs(model), VARYING),
        (decoder, Decoder(model), decoder_inputs(model, rows), varying),
    ):
        step(f"tracing {graph.name}")
        program = trace(graph, module, inputs, varying_axes, fusions)
        shared = graph is decoder and fused and share_cache(program, positions)
        save_graph(program, folder / graph.file_name, external_data_above)
    return shared
