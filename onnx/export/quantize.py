"""Smaller weights: int8 and int4, rewritten graph by graph and tensor by tensor, so that memory stays flat.

int4 stores the weights of the language model's matrix products in 4 bits, in blocks along their input features with a
scale each (`MatMulNBits` of ONNX Runtime). int8, and int4 where pictures are read, stores a scale for each output and
rounds activations when they come (`DynamicQuantizeMatMul`). In both the head, whose errors decide between tokens, and
the embedding table have blocks of 8 bits. Convolutions, norms, attention's own products and biases stay as they are.
"""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from .folder import ExportArgumentError, ExportError, graph_files, save_graph
from .precisions import QUANTIZED, BlockWise, Dynamic, WeightPrecision

MICROSOFT = "com.microsoft"
FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
INT8_ACTIVATIONS = 4
"""`accuracy_level` of MatMulNBits: activations may be rounded to 8 bits, which is what makes it fast on a CPU."""
ROWS_AT_ONCE = 4096
"""Output features quantized at once, which bounds what a large weight needs beside itself."""


def quantize_graphs(folder: str | Path, precision: str, *, device: str = "cpu") -> dict[str, dict[str, int]]:
    """Rewrite every `*.onnx` of `folder` in `precision`, each replaced when its successor is complete.

    Args:
        folder: where graphs in float32 or, for CUDA, float16 lie, with their `NAME.onnx_data` if they have such.
        precision: one of `QUANTIZED`.
        device: `cpu` or `cuda`, where they are to run.

    Returns:
        For each graph's name: how many `products` and `embeddings` became integers.

    Raises:
        ExportError: for an unknown precision, or a folder without graphs.
    """
    if precision not in QUANTIZED:
        raise ExportArgumentError("precision", precision, f"take one of {', '.join(QUANTIZED)}")
    settings = QUANTIZED[precision][device]
    paths = sorted(Path(folder).glob("*.onnx"))
    if not paths:
        raise ExportError(f"{folder}: has no .onnx graph; give the onnx folder of an export")
    counts = {}
    for path in paths:
        model = ir.load(path)
        counts[path.stem] = quantize_model(model, settings)
        _replace_graph(model, path)
    return counts


def quantize_model(model: ir.Model, settings: WeightPrecision) -> dict[str, int]:
    """Rewrite a graph in place; the counts that `quantize_graphs` returns of it."""
    products = list(_products(model.graph))
    pictures, heads = _of_pictures(model.graph), _followed_by_none(model.graph, {one.node for one in products})
    made: dict[tuple, list] = {}
    for product in products:
        if product.node in pictures:
            precision = settings.pictures
        else:
            precision = settings.head if product.node in heads else settings.language
        _replace_product(model, product, precision, made)
    tables = [node for node in model.graph if _is_table_lookup(node, settings.embedding.block_size)]
    for node in tables:
        _replace_lookup(model, node, settings.embedding)
    model.opset_imports.setdefault(MICROSOFT, 1)
    RemoveUnusedNodesPass()(model)
    return {"products": len(products), "embeddings": len(tables)}


@dataclass(frozen=True)
class _Product:
    """A node that multiplies by a constant matrix; `transposed` says that it is stored (outputs, inputs)."""

    node: ir.Node
    weight: ir.Value
    transposed: bool
    bias: ir.Value | None = None


def _products(graph: ir.Graph) -> Iterable[_Product]:
    for node in graph:
        if node.op_type == "MatMul" and node.domain == "":
            transposed, weight = False, node.inputs[1]
            producer = weight.producer()
            if producer is not None and producer.op_type == "Transpose":
                transposed, weight = True, producer.inputs[0]
            if _is_matrix(weight):
                yield _Product(node, weight, transposed)
        elif node.op_type == "Gemm" and _is_matrix(node.inputs[1]):
            plain = all(node.attributes.get_float(name, 1.0) == 1.0 for name in ("alpha", "beta"))
            if plain and not node.attributes.get_int("transA", 0):
                bias = node.inputs[2] if len(node.inputs) > 2 else None
                yield _Product(node, node.inputs[1], bool(node.attributes.get_int("transB", 0)), bias)


def _is_matrix(value: ir.Value | None) -> bool:
    constant = None if value is None else value.const_value
    return constant is not None and len(constant.shape) == 2 and constant.dtype in FLOATS


def _is_table_lookup(node: ir.Node, block_size: int) -> bool:
    if node.op_type != "Gather" or node.attributes.get_int("axis", 0) != 0 or not _is_matrix(node.inputs[0]):
        return False
    return node.inputs[0].const_value.shape[1] % block_size == 0


def _of_pictures(graph: ir.Graph) -> set[ir.Node]:
    """The nodes that depend on `pixel_values` and on no other input."""
    reached: dict[ir.Value, frozenset[str]] = {value: frozenset({value.name}) for value in graph.inputs}
    found = set()
    for node in graph:
        inputs = frozenset().union(*(reached.get(value, ()) for value in node.inputs if value is not None))
        reached.update(dict.fromkeys(node.outputs, inputs))
        if inputs == {"pixel_values"}:
            found.add(node)
    return found


def _followed_by_none(graph: ir.Graph, products: set[ir.Node]) -> set[ir.Node]:
    """The products whose result no other product reads, directly or not: a language model's head."""
    followed: set[ir.Node] = set()
    for node in reversed(graph):
        if node in products or node in followed:
            followed.update(value.producer() for value in node.inputs if value is not None and value.producer())
    return products - followed


def _replace_product(model: ir.Model, product: _Product, precision: BlockWise | Dynamic, made: dict) -> None:
    shape = product.weight.const_value.shape
    outputs, features = (int(size) for size in (shape if product.transposed else reversed(shape)))
    if isinstance(precision, BlockWise):
        precision = precision.within(features)
    key = (product.weight, product.transposed, precision)
    if key not in made:
        round_weight = _dynamic_weight if isinstance(precision, Dynamic) else _quantized_weight
        made[key] = round_weight(model, product.weight, product.transposed, precision)
    inputs = [product.node.inputs[0], *made[key]]
    if isinstance(precision, Dynamic):
        operator, attributes, bias_at = "DynamicQuantizeMatMul", {}, 4
    else:
        operator, bias_at = "MatMulNBits", 5
        attributes = {
            "K": features,
            "N": outputs,
            "bits": precision.bits,
            "block_size": precision.block_size,
            "accuracy_level": INT8_ACTIVATIONS,
        }
    if product.bias is not None:
        inputs += [None] * (bias_at - len(inputs)) + [product.bias]
    name = f"{product.node.name}_{operator}"
    _replace_node(model, product.node, ir.node(operator, inputs, attributes, domain=MICROSOFT, name=name))


def _dynamic_weight(model: ir.Model, weight: ir.Value, transposed: bool, precision: Dynamic) -> list[ir.Value]:
    """The initializers that take a weight's place: integers of shape (inputs, outputs) and a scale for each output."""
    array = weight.const_value.numpy()
    array = (array.T if transposed else array).astype(np.float32)
    scales = np.abs(array).max(axis=0) / precision.largest
    scales[scales == 0] = 1
    integers = np.ascontiguousarray(np.round(array / scales).astype(np.int8))
    return [
        _initializer(model, f"{weight.name}_{name}", numbers)
        for name, numbers in (("int8", integers), ("output_scales", scales))
    ]


def _quantized_weight(
    model: ir.Model, weight: ir.Value, transposed: bool, blocks: BlockWise, as_table: bool = False
) -> list[ir.Value]:
    """The initializers that take a weight's place: packed integers and scales.

    A table's integers lie in rows, not in rows of blocks; a tied one may be the head's weight too.
    """
    array = weight.const_value.numpy()
    packed, scales = quantize_block_wise(array if transposed else array.T, blocks)
    packed = packed.reshape(len(packed), -1) if as_table else packed
    name = f"{weight.name}_table" if as_table else weight.name
    # Scales have the graph's own type, which is what the operator computes in.
    return [
        _initializer(model, f"{name}_int{blocks.bits}", packed),
        _initializer(model, f"{name}_scales", scales.astype(array.dtype)),
    ]


def _replace_lookup(model: ir.Model, node: ir.Node, blocks: BlockWise) -> None:
    values = _quantized_weight(model, node.inputs[0], transposed=True, blocks=blocks, as_table=True)
    attributes = {"gather_axis": 0, "quantize_axis": 1, "block_size": blocks.block_size, "bits": blocks.bits}
    inputs = [values[0], node.inputs[1], values[1]]
    name = f"{node.name}_int{blocks.bits}"
    _replace_node(model, node, ir.node("GatherBlockQuantized", inputs, attributes, domain=MICROSOFT, name=name))


def quantize_block_wise(weights: np.ndarray, blocks: BlockWise) -> tuple[np.ndarray, np.ndarray]:
    """Round weights to the nearest integers of their blocks; the last block of a row is filled up with zeros.

    Args:
        weights: of shape `(outputs, features)`.

    Returns:
        Integers packed into bytes along the features, low bits first, uint8 of shape
        `(outputs, blocks, block_size · bits / 8)`, and scales, float32 of shape `(outputs, blocks)`.
    """
    outputs, features = weights.shape
    count = -(-features // blocks.block_size)
    middle = 2 ** (blocks.bits - 1)
    packed = np.empty((outputs, count, blocks.block_size * blocks.bits // 8), np.uint8)
    scales = np.empty((outputs, count), np.float32)
    for start in range(0, outputs, ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        part = np.asarray(weights[rows], np.float32)
        part = np.pad(part, ((0, 0), (0, count * blocks.block_size - features)))
        part = part.reshape(len(part), count, blocks.block_size)
        low, high = part.min(-1), part.max(-1)
        # The extreme farther from zero becomes the lowest integer, which has no counterpart above: a negative scale
        # where it is positive.
        scale = np.where(-low > high, low, high) / -middle
        scale[scale == 0] = 1
        scales[rows] = scale
        integers = np.clip(np.round(part / scale[..., None]) + middle, 0, 2 * middle - 1).astype(np.uint8)
        packed[rows] = integers if blocks.bits == 8 else integers[..., ::2] | (integers[..., 1::2] << 4)
    return packed, scales


def _initializer(model: ir.Model, name: str, array: np.ndarray) -> ir.Value:
    value = ir.val(name, const_value=ir.tensor(array, name=name))
    model.graph.register_initializer(value)
    return value


def _replace_node(model: ir.Model, old: ir.Node, new: ir.Node) -> None:
    ir.convenience.replace_nodes_and_values(model.graph, old, [old], [new], old.outputs, new.outputs)


def _replace_graph(model: ir.Model, path: Path) -> None:
    # The old files stay until the new ones are complete: what is not quantized is still read from them.
    folder = path.parent / f".{path.stem}.partial"
    folder.mkdir(exist_ok=True)
    try:
        save_graph(model, folder / path.name)
        new = graph_files(folder / path.name)
        for old in graph_files(path):
            if old.name not in [file.name for file in new]:
                old.unlink()
        for file in reversed(new):
            os.replace(file, path.with_name(file.name))
    finally:
        shutil.rmtree(folder)
