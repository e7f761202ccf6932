"""Smaller weights: int8 and int4, rewritten graph by graph and tensor by tensor, so that memory stays flat.

int4 stores each weight of a matrix product in 4 bits, in blocks along its input features with a scale and a zero point
each (`MatMulNBits` of ONNX Runtime); int8 stores it in 8. Activations are rounded to 8 bits inside the kernels, block
by block, so a row of a batch never depends on its neighbours. What stays in float32: convolutions, norms, attention's
own products, biases.
"""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from .export_folder import EXTERNAL_DATA_ABOVE, ExportError, graph_files, save_graph

MICROSOFT = "com.microsoft"
INT8_ACTIVATIONS = 4
"""`accuracy_level` of MatMulNBits: activations may be rounded to 8 bits, which is what makes it fast on a CPU."""
ROWS_AT_ONCE = 4096
"""Output features quantized at once, which bounds what a large weight needs beside itself."""
SHRINKAGES = (1.0, 0.95, 0.9, 0.85, 0.8)
"""Shares of a block's range that are tried: cutting an outlier off often loses less than coarse steps for the rest."""


@dataclass(frozen=True)
class BlockWise:
    """Integers of `bits` bits with a scale for each `block_size` input features of each output feature.

    Asymmetric blocks have a zero point too: `weight ≈ (integer − zero_point) · scale`.
    """

    bits: int
    block_size: int = 32
    symmetric: bool = False

    def blocks(self, features: int) -> int:
        return -(-features // self.block_size)


@dataclass(frozen=True)
class WeightPrecision:
    """What a precision makes of the weights: of matrix products, of a graph's last one, of the embedding table."""

    products: BlockWise
    last_product: BlockWise
    embedding: BlockWise


WEIGHT_PRECISIONS: dict[str, WeightPrecision] = {
    "int8": WeightPrecision(products=BlockWise(8), last_product=BlockWise(8), embedding=BlockWise(8)),
    "int4": WeightPrecision(products=BlockWise(4), last_product=BlockWise(8), embedding=BlockWise(8)),
}


def quantize_graphs(
    folder: str | Path, precision: str, *, external_data_above: int = EXTERNAL_DATA_ABOVE
) -> dict[str, dict[str, int]]:
    """Rewrite every `*.onnx` of `folder` in `precision`, each replaced when its successor is complete.

    Args:
        folder: where float32 graphs lie, with their `NAME.onnx_data` if they have such.
        precision: one of `WEIGHT_PRECISIONS`.
        external_data_above: bytes of weights above which they go to `NAME.onnx_data` beside the graph.

    Returns:
        For each graph's name: how many `products` and `embeddings` became integers.

    Raises:
        ExportError: for an unknown precision, or a folder without graphs.
    """
    if precision not in WEIGHT_PRECISIONS:
        raise ExportError(f"precision {precision!r}: graphs are quantized to {', '.join(WEIGHT_PRECISIONS)}")
    paths = sorted(Path(folder).glob("*.onnx"))
    if not paths:
        raise ExportError(f"{folder}: has no .onnx graph; give the onnx folder of an export")
    counts = {}
    for path in paths:
        model = ir.load(path)
        counts[path.stem] = quantize_model(model, precision)
        _replace_graph(model, path, external_data_above)
    return counts


def quantize_model(model: ir.Model, precision: str) -> dict[str, int]:
    """Rewrite a float32 graph in place; the counts that `quantize_graphs` returns of it."""
    settings = WEIGHT_PRECISIONS[precision]
    products = list(_products(model.graph))
    last = _last_products(products)
    made: dict[tuple, list] = {}
    for product in products:
        blocks = settings.last_product if product.node in last else settings.products
        _replace_product(model, product, blocks, made)
    tables = [node for node in model.graph if _is_table_lookup(node, settings.embedding.block_size)]
    for node in tables:
        _replace_lookup(model, node, settings.embedding)
    model.opset_imports.setdefault(MICROSOFT, 1)
    _drop_unused(model)
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
    return constant is not None and len(constant.shape) == 2 and constant.dtype == ir.DataType.FLOAT


def _is_table_lookup(node: ir.Node, block_size: int) -> bool:
    if node.op_type != "Gather" or node.attributes.get_int("axis", 0) != 0 or not _is_matrix(node.inputs[0]):
        return False
    return node.inputs[0].const_value.shape[1] % block_size == 0


def _last_products(products: list[_Product]) -> set:
    """Products that no other one follows: the head of a decoder, the end of the projector."""
    own = {product.node for product in products}
    followed, seen = set(), set()
    for product in products:
        waiting = [product.node]
        above = set()
        while waiting:
            for value in waiting.pop().inputs:
                producer = None if value is None else value.producer()
                if producer is None or producer in above:
                    continue
                above.add(producer)
                if producer in own:
                    followed.add(producer)
                elif producer not in seen:
                    waiting.append(producer)
        seen |= above
    return own - followed


def _replace_product(model: ir.Model, product: _Product, blocks: BlockWise, made: dict) -> None:
    key = (id(product.weight), product.transposed, blocks)
    if key not in made:
        made[key] = _quantized_weight(model, product.weight, product.transposed, blocks)
    inputs = [product.node.inputs[0], *made[key]]
    shape = product.weight.const_value.shape
    outputs, features = (shape[0], shape[1]) if product.transposed else (shape[1], shape[0])
    if product.bias is not None:
        inputs += [None] * (5 - len(inputs)) + [product.bias]
    _replace_node(
        model,
        product.node,
        ir.node(
            "MatMulNBits",
            inputs,
            {
                "K": int(features),
                "N": int(outputs),
                "bits": blocks.bits,
                "block_size": blocks.block_size,
                "accuracy_level": INT8_ACTIVATIONS,
            },
            domain=MICROSOFT,
            name=f"{product.node.name}_int{blocks.bits}",
        ),
    )


def _quantized_weight(model: ir.Model, weight: ir.Value, transposed: bool, blocks: BlockWise) -> list[ir.Value]:
    """The initializers that take a weight's place: packed integers, scales and, where asymmetric, zero points."""
    array = weight.const_value.numpy()
    packed, scales, zero_points = quantize_block_wise(array if transposed else array.T, blocks)
    parts = {f"int{blocks.bits}": packed, "scales": scales}
    if not blocks.symmetric:
        parts["zero_points"] = zero_points
    return [_initializer(model, f"{weight.name}_{name}", part) for name, part in parts.items()]


def _replace_lookup(model: ir.Model, node: ir.Node, blocks: BlockWise) -> None:
    table = node.inputs[0]
    packed, scales, zero_points = quantize_block_wise(table.const_value.numpy(), blocks)
    parts = [packed.reshape(len(packed), -1), scales, *([] if blocks.symmetric else [zero_points])]
    names = [f"int{blocks.bits}", "scales", "zero_points"]
    values = [_initializer(model, f"{table.name}_{name}", part) for name, part in zip(names, parts, strict=False)]
    attributes = {"gather_axis": 0, "quantize_axis": 1, "block_size": blocks.block_size, "bits": blocks.bits}
    inputs = [values[0], node.inputs[1], *values[1:]]
    name = f"{node.name}_int{blocks.bits}"
    _replace_node(model, node, ir.node("GatherBlockQuantized", inputs, attributes, domain=MICROSOFT, name=name))


def quantize_block_wise(weights: np.ndarray, blocks: BlockWise) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Round weights to integers, each block with the range, of `SHRINKAGES`, that leaves the least squared error.

    Args:
        weights: float32 of shape `(outputs, features)`.

    Returns:
        Integers packed into bytes along the features, low bits first, uint8 of shape
        `(outputs, blocks, block_size · bits / 8)`; scales, float32 of shape `(outputs, blocks)`; zero points packed
        alike, uint8 of shape `(outputs, ceil(blocks · bits / 8))`.
    """
    outputs, features = weights.shape
    count = blocks.blocks(features)
    packed = np.empty((outputs, count, blocks.block_size * blocks.bits // 8), np.uint8)
    scales = np.empty((outputs, count), np.float32)
    zero_points = np.empty((outputs, -(-count * blocks.bits // 8)), np.uint8)
    for start in range(0, outputs, ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        part = np.asarray(weights[rows], np.float32)
        part = np.pad(part, ((0, 0), (0, count * blocks.block_size - features)))
        part = part.reshape(len(part), count, blocks.block_size)
        integers, scales[rows], zeros = _round(part, blocks)
        packed[rows] = _pack(integers, blocks.bits)
        zero_points[rows] = _pack(zeros, blocks.bits)
    return packed, scales, zero_points


def _round(weights: np.ndarray, blocks: BlockWise) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integers `(outputs, blocks, block_size)`, scales and zero points `(outputs, blocks)` of least squared error."""
    most = 2**blocks.bits - 1
    low, high = np.minimum(weights.min(-1), 0), np.maximum(weights.max(-1), 0)
    best = None
    for shrinkage in SHRINKAGES:
        if blocks.symmetric:
            # The extreme that is farther from zero becomes the most negative integer, which has no counterpart.
            extreme = np.where(-low > high, low, high)
            scale = -extreme * shrinkage / 2 ** (blocks.bits - 1)
            zero = np.full(scale.shape, 2 ** (blocks.bits - 1), np.float32)
        else:
            scale = (high - low) * shrinkage / most
            zero = np.clip(np.round(-low * shrinkage / np.where(scale == 0, 1, scale)), 0, most)
        scale = np.where(scale == 0, 1, scale).astype(np.float32)
        integers = np.clip(np.round(weights / scale[..., None]) + zero[..., None], 0, most)
        error = np.square((integers - zero[..., None]) * scale[..., None] - weights).sum(-1)
        found = integers.astype(np.uint8), scale, zero.astype(np.uint8)
        if best is None:
            best, least = found, error
            continue
        better = error < least
        least = np.where(better, error, least)
        best = tuple(
            np.where(better[..., None] if new.ndim == 3 else better, new, old)
            for new, old in zip(found, best, strict=True)
        )
    return best


def _pack(integers: np.ndarray, bits: int) -> np.ndarray:
    """Bytes of integers along the last axis, low bits first; zeros fill the last byte."""
    if bits == 8:
        return integers
    integers = np.pad(integers, [(0, 0)] * (integers.ndim - 1) + [(0, integers.shape[-1] % 2)])
    return integers[..., ::2] | (integers[..., 1::2] << 4)


def _initializer(model: ir.Model, name: str, array: np.ndarray) -> ir.Value:
    value = ir.val(name, const_value=ir.tensor(array, name=name))
    model.graph.register_initializer(value)
    return value


def _replace_node(model: ir.Model, old: ir.Node, new: ir.Node) -> None:
    ir.convenience.replace_nodes_and_values(model.graph, old, [old], [new], old.outputs, new.outputs)


def _drop_unused(model: ir.Model) -> None:
    """Leave out the float weights that nothing reads any more, and what only they fed."""
    RemoveUnusedNodesPass()(model)


def _replace_graph(model: ir.Model, path: Path, external_data_above: int) -> None:
    # The old files stay until the new ones are complete: what is not quantized is still read from them.
    folder = path.parent / f".{path.stem}.partial"
    folder.mkdir(exist_ok=True)
    try:
        save_graph(model, folder / path.name, external_data_above)
        new = graph_files(folder / path.name)
        for old in graph_files(path):
            if old.name not in [file.name for file in new]:
                old.unlink()
        for file in reversed(new):
            os.replace(file, path.with_name(file.name))
    finally:
        shutil.rmtree(folder)
