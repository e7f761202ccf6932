"""Graphs in half precision where nothing computes in it: the same in float32, with the weights that were rounded.

ONNX Runtime's CPU provider has no kernels for bfloat16, and none for some of what is fused for CUDA in float16.
"""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime

from facemllm_onnx.export_location import GRAPH_FOLDER, first_line

from .folder import ExportError, save_graph

HALF = (ir.DataType.BFLOAT16, ir.DataType.FLOAT16)
KIND_ATTRIBUTES = ("to", "dtype", "output_dtype")
NORMS = 14
"""Inputs of `GroupQueryAttention` from here on: the scales of the norms of queries and of keys."""


def to_float32(model: ir.Model) -> None:
    """Turn each number in half precision into float32, in place: tensors, weights, constants and targets of casts."""
    for graph in (model.graph, *model.graph.subgraphs()):
        for value in (*graph.inputs, *graph.initializers.values(), *(one for node in graph for one in node.outputs)):
            if value.dtype in HALF:
                value.type = ir.TensorType(ir.DataType.FLOAT)  # a clone shares its type with the original
            if value.const_value is not None:
                value.const_value = _widened(value.const_value)
        for node in graph:
            for name, attribute in list(node.attributes.items()):
                if attribute.type == ir.AttributeType.TENSOR:
                    node.attributes[name] = ir.AttrTensor(name, _widened(attribute.as_tensor()))
                elif name in KIND_ATTRIBUTES and attribute.value in HALF:
                    node.attributes[name] = ir.AttrInt64(name, ir.DataType.FLOAT)


def take_norms_out(model: ir.Model) -> None:
    """Norms of queries and keys before attention instead of within it, which only a GPU's operator does; in place."""
    for attention in [node for node in model.graph if node.op_type == "GroupQueryAttention"]:
        for states, scale, heads in ((0, NORMS, "num_heads"), (1, NORMS + 1, "kv_num_heads")):
            if len(attention.inputs) <= scale or attention.inputs[scale] is None:
                continue
            tape = ir.tape.Tape()
            shape = [0, 0, attention.attributes.get_int(heads), attention.inputs[scale].shape[0]]
            split = tape.op("Constant", [], attributes={"value_ints": shape})
            merged = tape.op("Constant", [], attributes={"value_ints": [0, 0, -1]})
            epsilon = attention.attributes.get_float("qk_norm_epsilon", 1e-6)
            normed = tape.op(
                "SimplifiedLayerNormalization",
                [tape.op("Reshape", [attention.inputs[states], split]), attention.inputs[scale]],
                attributes={"axis": -1, "epsilon": epsilon, "stash_type": 1},
            )
            attention.replace_input_with(states, tape.op("Reshape", [normed, merged]))
            attention.replace_input_with(scale, None)
            model.graph.insert_before(attention, tape.nodes)


def _widened(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    if tensor.dtype not in HALF:
        return tensor
    # Lazily, so that a large model's weights are not all held twice.
    return ir.LazyTensor(
        lambda: ir.tensor(tensor.numpy().astype(np.float32), name=tensor.name),
        dtype=ir.DataType.FLOAT,
        shape=tensor.shape,
        name=tensor.name,
    )


def write_in_float32(folder: Path, copy: Path) -> None:
    """Write the graphs of the export in `folder` into `copy`, as a CPU can compute them."""
    (copy / GRAPH_FOLDER).mkdir()
    for path in sorted((folder / GRAPH_FOLDER).glob("*.onnx")):
        model = ir.load(path)
        to_float32(model)
        take_norms_out(model)
        save_graph(model, copy / GRAPH_FOLDER / path.name)


def lacks_kernels(path: Path) -> bool:
    """Whether the CPU cannot run a graph for the only reason that it has no kernel for one of its operators.

    Raises:
        ExportError: when it is no valid graph, which ONNX Runtime finds out before it looks for kernels.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no base class of their own
        if "NOT_IMPLEMENTED" in str(error):
            return True
        reason = first_line(error)
        raise ExportError(f"{path.name} is no valid graph ({reason}); take another precision or backend") from error
    return False
