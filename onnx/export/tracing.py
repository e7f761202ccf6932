"""One torch module to one ONNX graph with transformers' exporter: traced, fused, its tensors and axes named."""

import contextlib
import io
import logging
import warnings
from typing import Any

import onnx_ir
import torch
import transformers

from facemllm_onnx.export_location import first_line

from .folder import ExportError
from .graphs import Graph


def trace(
    graph: Graph, module: torch.nn.Module, inputs: dict[str, Any], varying: frozenset[str], fusions: str | None = None
) -> onnx_ir.Model:
    """Trace `module` with sample `inputs` into a model with the tensors of `graph`, in that order.

    Args:
        module: returns a dict; has the model's `config`.
        inputs: by the names of `graph.inputs`; `past_key_values` is a cache, for all `past_key_values.…`.
        varying: the axes that are not fixed at their size in `inputs`, each of which has to be 2 at least there.
        fusions: the device whose operators of ONNX Runtime are used where that works, `cpu` or `cuda`; None for none.

    Raises:
        ExportError: when transformers' exporter cannot trace it, with the exporter's own reason.
    """
    from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter

    by_name = {
        name: {axis: torch.export.Dim.DYNAMIC for axis, label in enumerate(axes) if label in varying}
        for name, axes in graph.inputs.items()
    }
    shapes: dict[str, Any] = {name: by_name[name] for name in inputs if name in by_name}
    if "past_key_values" in inputs:
        shapes["past_key_values"] = [axes for name, axes in by_name.items() if name.startswith("past_key_values.")]
    try:
        with quietly():
            exporter = OnnxExporter()
            try:
                model = exporter.export(module, inputs, OnnxConfig(dynamic_shapes=shapes, ort_fusions=fusions)).program
            except onnx_ir.passes.PassError:
                if fusions is None:
                    raise
                # The rewriting of some graphs (DINOv2's) fails in onnxscript 0.7: plain operators compute the same.
                model = exporter.export(module, inputs, OnnxConfig(dynamic_shapes=shapes)).program
    except Exception as error:  # torch's tracing and ONNX's translation raise whatever they meet
        towers = f"{module.config.vision_config.model_type} and {module.config.text_config.model_type}"
        raise ExportError(
            f"{graph.name} of {towers} cannot be traced by transformers {transformers.__version__} "
            f"({_reason(error)}); try the backend optimum"
        ) from error
    _name_tensors(model, graph)
    return model


def _reason(error: BaseException) -> str:
    # torch.onnx wraps what went wrong in advice of its own.
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


@contextlib.contextmanager
def quietly():
    """torch.onnx prints each of its steps on standard output, and warns of packages that nothing here needs."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "transformers")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _name_tensors(model: onnx_ir.Model, graph: Graph) -> None:
    found = {value.name: value for value in [*model.graph.inputs, *model.graph.outputs]}
    names: dict[str, str] = {}
    for traced, value in found.items():
        name = _cache_name(traced)
        value.name = name
        axes = {**graph.inputs, **graph.outputs}[name]
        for dim, label in zip(value.shape, axes, strict=True):
            if not isinstance(dim, int) and dim.value is not None:
                names.setdefault(dim.value, label)
    values = [*found.values(), *(value for node in model.graph.all_nodes() for value in node.outputs)]
    for value in values:
        if value.shape is not None and not value.shape.frozen:
            dims = (dim if isinstance(dim, int) else names.get(dim.value, dim) for dim in value.shape)
            value.shape = onnx_ir.Shape(dims)
    order_tensors(model, graph)


def order_tensors(model: onnx_ir.Model, graph: Graph) -> None:
    """Put inputs and outputs, in place, into the order of `graph`, whose name the model gets."""
    for values, wanted in ((model.graph.inputs, graph.inputs), (model.graph.outputs, graph.outputs)):
        by_name = {value.name: value for value in values}
        values[:] = [by_name[name] for name in wanted]
    model.graph.name = graph.name


def _cache_name(traced: str) -> str:
    """`input.past_key_values.layers.0.keys` is `past_key_values.0.key`, and what comes out of it `present.0.key`."""
    direction, *path = traced.split(".")
    if path[:2] != ["past_key_values", "layers"]:
        return traced
    layer, part = path[2:]
    return f"{'past_key_values' if direction == 'input' else 'present'}.{layer}.{part.removesuffix('s')}"
