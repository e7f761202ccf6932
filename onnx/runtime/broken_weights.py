"""Which weight of an export is NaN or infinite: looked for only when the model's numbers are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FLOATS = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE")


def broken_weight(graphs: Sequence[Path]) -> str | None:
    """`TENSOR of GRAPH.onnx` for the first weight of these files that holds NaN or infinity.

    None where none does, and where the package `onnx`, which running an export does not need, is missing. One number
    that is infinite by itself is a graph's own: masks are made of it.
    """
    try:
        import onnx
    except ImportError:
        return None
    types = {onnx.TensorProto.DataType.Value(name) for name in FLOATS}
    for path in graphs:
        for tensor in _weights(onnx.load(path, load_external_data=False).graph):
            if tensor.data_type not in types:
                continue
            values = onnx.numpy_helper.to_array(tensor, base_dir=str(path.parent)).astype(np.float32)
            if np.isnan(values).any() or (values.size > 1 and np.isinf(values).any()):
                return f"{tensor.name} of {path.name}"
    return None


def _weights(graph: Any) -> list[Any]:
    """The tensors of a graph and of the graphs in its nodes."""
    found = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            found += _weights(attribute.g) if attribute.HasField("g") else []
            found += [attribute.t] if attribute.HasField("t") else []
    return found
