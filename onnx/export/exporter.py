"""A Face-MLLM as ONNX graphs that are known to answer as it does: written, checked, recorded, then put in place.

    python -m facemllm export MODEL OUT

Two backends trace the graphs: `native.py` with transformers' own exporter (from version 5), `optimum.py` on
transformers 4.57. What both write around the graphs is in `contents.py`.
"""

import itertools
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin

import modeling_facemllm

from .contents import DTYPES, Writers, fill_folder, traced_precision
from .exportable import check_exportable
from .folder import EXTERNAL_DATA_ABOVE, whole_folder
from .graphs import graphs
from .native import can_fuse, write_graphs
from .request import check_request
from .scoring_graph import write_scoring_graph
from .weight_types import cast_to_bfloat16, cast_weights


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
    base = traced_precision(precision, device)
    if base == "bf16":
        cast_to_bfloat16(model)
    else:
        cast_weights(model, DTYPES[base])
    model.eval().requires_grad_(False)
    fused = not batch and backend == "transformers" and can_fuse(base, device)
    steps = len(graphs(0)) + scoring + (4 if precision != base else 2)
    with whole_folder(Path(out).expanduser()) as folder:
        record = fill_folder(
            model,
            processor,
            folder,
            backend=backend,
            writers=_writers(backend, device, fused),
            precision=precision,
            device=device,
            fused=fused,
            scoring=scoring,
            source=source,
            external_data_above=external_data_above,
            **({"step": _progress(steps)} if progress else {}),
        )
    return record


def _progress(steps: int) -> Callable[[str], None]:
    """Tells of each step that begins in a line of its own: nothing knows how far the tracing of a graph is."""
    began, numbers = time.monotonic(), itertools.count(1)
    return lambda what: tqdm.write(
        f"{next(numbers)} of {steps}, after {time.monotonic() - began:.0f} s: {what}", file=sys.stderr
    )


def _writers(backend: str, device: str, fused: bool) -> Writers:
    if backend == "optimum":
        from .optimum import WRITERS

        return WRITERS
    return Writers(
        graphs=partial(write_graphs, device=device, fused=fused),
        scoring=partial(write_scoring_graph, device=device, fused=fused),
    )
