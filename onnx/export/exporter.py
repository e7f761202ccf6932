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

from tqdm import tqdm
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin

import modeling_facemllm

from . import native
from .contents import fill_folder
from .exportable import check_exportable
from .folder import whole_folder
from .graphs import graphs
from .precisions import FLOATS
from .request import ExportRequest
from .wrappers import cast_model


def export_model(
    model: str | Path | PreTrainedModel,
    out: str | Path,
    *,
    processor: ProcessorMixin | None = None,
    source: dict[str, Any] | None = None,
    progress: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Export a Face-MLLM to the folder `out` and return the record that is written there as `export.json`.

    Args:
        model: a folder, a Hub id, or a loaded model, whose weights are cast to the precision in place.
        processor: of a loaded model.
        source: what the record says the weights come from.
        progress: whether what is being done is shown on standard error.
        options: `backend`, `precision`, `device`, `batch`, `scoring`, as of [`ExportRequest`].

    Raises:
        ExportError: when the model or the combination cannot be exported, when `out` is something else's folder, or
            when the graphs do not answer as the model does.
    """
    request = ExportRequest(Path(out).expanduser(), **options).checked()
    if isinstance(model, (str, Path)):
        modeling_facemllm.register()
        source = source or {"name": str(model)}
        processor = AutoProcessor.from_pretrained(str(model))
        exact = FLOATS[request.precision].dtype if request.precision in FLOATS else "float32"
        dtype = "auto" if request.precision == "bf16" else exact  # which not all parts become in bfloat16
        model = AutoModelForImageTextToText.from_pretrained(str(model), dtype=dtype)
    return write_export(request, model, processor, source=source, progress=progress)


def write_export(
    request: ExportRequest,
    model: PreTrainedModel,
    processor: ProcessorMixin,
    *,
    source: dict[str, Any] | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """[`export_model`] of a loaded model, for a request that was checked."""
    check_exportable(model)
    cast_model(model, FLOATS[request.traced])
    model.eval().requires_grad_(False)
    steps = len(graphs(0)) + request.scoring + (4 if request.precision != request.traced else 2)
    step = {"step": _progress(steps)} if progress else {}
    with whole_folder(request.out) as folder:
        return fill_folder(model, processor, folder, request, *_writers(request), source=source, **step)


def _progress(steps: int) -> Callable[[str], None]:
    """Logs each step that begins in a line of its own: nothing knows how far the tracing of a graph is."""
    began, numbers = time.monotonic(), itertools.count(1)
    return lambda what: tqdm.write(
        f"{next(numbers)} of {steps}, after {time.monotonic() - began:.0f} s: {what}", file=sys.stderr
    )


def _writers(request: ExportRequest) -> tuple[Callable, Callable]:
    """How the backend writes the three graphs, and the one for closed questions."""
    if request.backend == "optimum":
        from .optimum import write_graphs, write_scoring_graph

        return write_graphs, write_scoring_graph
    fusions = request.device if request.fused else None
    return partial(native.write_graphs, fusions=fusions), partial(native.write_scoring_graph, fusions=fusions)
