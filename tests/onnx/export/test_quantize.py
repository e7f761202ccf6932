"""Integers in the place of weights: what is rounded and how far, and that the graphs still answer."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from facemllm_onnx.export.folder import ExportError
from facemllm_onnx.export.precisions import QUANTIZED, BlockWise, Dynamic, WeightPrecision
from facemllm_onnx.export.quantize import quantize_block_wise, quantize_graphs, quantize_model

INT4 = QUANTIZED["int4"]["cpu"]


@pytest.fixture(scope="session", params=["int8", "int4"])
def quantized(request, made_once, onnx_batch_folder) -> tuple[str, Path]:
    """A precision, and the export for several rows in it."""
    precision = request.param

    def make(folder: Path) -> None:
        shutil.copytree(onnx_batch_folder, folder)
        quantize_graphs(folder / "onnx", precision)

    return precision, made_once(f"any-{precision}", make)


@pytest.mark.parametrize("blocks", [BlockWise(8), BlockWise(4), BlockWise(4, 16)], ids=str)
def test_a_weight_is_off_by_half_a_step_of_its_block(blocks):
    weights = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    packed, scales = quantize_block_wise(weights, blocks)
    steps = np.repeat(np.abs(scales), blocks.block_size, axis=1)
    # A whole step at the end of the range that has no integer of its own.
    off = np.abs(weights - dequantize(packed, scales, blocks)) / steps
    assert off.max() <= 1.001
    assert (off <= 0.501).mean() > 0.95


def test_the_extreme_of_a_block_is_exact():
    weights = np.random.default_rng(1).normal(size=(8, 32)).astype(np.float32)
    restored = dequantize(*quantize_block_wise(weights, BlockWise(4)), BlockWise(4))
    extremes = np.abs(weights).argmax(axis=1)
    rows = np.arange(len(weights))
    assert np.allclose(weights[rows, extremes], restored[rows, extremes])


def test_a_block_of_zeros_stays_zero():
    weights = np.zeros((2, 32), np.float32)
    assert not dequantize(*quantize_block_wise(weights, BlockWise(4)), BlockWise(4)).any()


@pytest.mark.parametrize("precision", [BlockWise(8), BlockWise(8, 128), BlockWise(4), Dynamic()], ids=str)
@pytest.mark.parametrize("stored", ["MatMul", "Transpose", "Gemm"])
def test_a_product_is_found_however_its_weight_is_stored(stored, precision):
    rng = np.random.default_rng(2)
    inputs, weights, bias = (
        rng.normal(size=size).astype(np.float32)
        for size in ((3, 40), (7, 40), (7,))  # 40: the last block is not full
    )
    model = product(stored, weights, bias)
    expected = run(model, inputs)
    settings = WeightPrecision(precision, precision, head=BlockWise(8), embedding=BlockWise(8))
    if isinstance(precision, BlockWise):
        settings = WeightPrecision(precision, precision, head=precision, embedding=precision)
    else:
        model.graph.inputs[0].name = "pixel_values"
    assert quantize_model(model, settings) == {"products": 1, "embeddings": 0}
    assert not float_matrices(model)
    found = run(model, inputs)
    error = np.square(found - expected).mean() / np.square(expected).mean()
    assert error < (0.02 if precision == BlockWise(4) else 0.001)


def test_no_weight_matrix_stays_in_float(quantized):
    _, folder = quantized
    for name in ("decoder_model_merged", "embed_tokens"):
        assert not float_matrices(ir.load(folder / "onnx" / f"{name}.onnx")), name


def test_int4_keeps_the_head_in_eight_bits(onnx_batch_folder):
    model = ir.load(onnx_batch_folder / "onnx" / "decoder_model_merged.onnx")
    quantize_model(model, INT4)
    bits = {node.outputs[0].name: node.attributes["bits"].value for node in products(model)}
    assert bits.pop("logits") == 8
    assert set(bits.values()) == {4}


def test_products_of_pictures_alone_are_told_from_those_of_the_language_model(onnx_folder):
    model = ir.load(onnx_folder / "onnx" / "scoring.onnx")
    counts = quantize_model(model, INT4)
    vision, decoder = (
        quantize_model(ir.load(onnx_folder / "onnx" / f"{name}.onnx"), INT4)["products"]
        for name in ("vision_encoder", "decoder_model_merged")
    )
    assert counts["products"] - len(products(model)) == vision
    assert len(products(model)) == decoder


def test_a_table_that_is_the_heads_weight_too_becomes_both():
    rng = np.random.default_rng(3)
    table = ir.val("table", const_value=ir.tensor(rng.normal(size=(50, 32)).astype(np.float32), name="table"))
    ids = ir.val("ids", dtype=ir.DataType.INT64, shape=ir.Shape(["length"]))
    looked_up, turned = ir.node("Gather", [table, ids]), ir.node("Transpose", [table], {"perm": [1, 0]})
    head = ir.node("MatMul", [looked_up.outputs[0], turned.outputs[0]])
    head.outputs[0].dtype, head.outputs[0].shape = ir.DataType.FLOAT, ir.Shape(["length", 50])
    nodes, opsets = [looked_up, turned, head], {"": 20}
    graph = ir.Graph([ids], head.outputs, nodes=nodes, initializers=[table], opset_imports=opsets, name="tied")
    model, asked = ir.Model(graph, ir_version=10), {"ids": np.arange(0, 50, 7)}
    expected = session(model).run(None, asked)[0]
    assert quantize_model(model, INT4) == {"products": 1, "embeddings": 1}
    found = session(model).run(None, asked)[0]
    assert np.abs(found - expected).max() < np.abs(expected).max() / 50


def test_no_kernel_that_cuda_lacks_is_used_for_cuda(onnx_batch_folder, tmp_path):
    shutil.copytree(onnx_batch_folder / "onnx", tmp_path, dirs_exist_ok=True)
    quantize_graphs(tmp_path, "int8", device="cuda")
    for path in tmp_path.glob("*.onnx"):
        assert not [node for node in ir.load(path).graph if node.op_type == "DynamicQuantizeMatMul"]


def test_the_graphs_are_smaller(quantized, onnx_batch_folder):
    precision, folder = quantized
    before, after = (
        sum(value.const_value.nbytes for value in ir.load(path / "onnx" / name).graph.initializers.values())
        for path in (onnx_batch_folder, folder)
        for name in ("decoder_model_merged.onnx",)
    )
    assert after < before / (3 if precision == "int8" else 4)


def test_logits_stay_near_those_of_float(quantized, onnx_batch_folder):
    precision, folder = quantized
    expected, found = (prefill(path, rows(4)) for path in (onnx_batch_folder, folder))
    error = np.sqrt(np.square(found - expected).mean() / np.square(expected).mean())
    assert 0 < error < (0.1 if precision == "int8" else 0.3)  # random weights, a hidden size of 32


def test_a_row_of_int4_does_not_depend_on_its_neighbours(onnx_batch_folder, tmp_path):
    folder = shutil.copytree(onnx_batch_folder, tmp_path / "int4")
    quantize_graphs(folder / "onnx", "int4")
    embeds = rows(4)
    embeds[1:] *= 50  # one scale for the whole batch would round the first row away
    assert np.allclose(prefill(folder, embeds)[0], prefill(folder, embeds[:1])[0], atol=1e-5)


def test_large_weights_lie_beside_the_graph(onnx_folder, tmp_path, monkeypatch):
    folder = tmp_path / "onnx"
    shutil.copytree(onnx_folder / "onnx", folder)
    with monkeypatch.context() as patched:
        patched.setattr("facemllm_onnx.export.folder.EXTERNAL_DATA_ABOVE", 1000)
        quantize_graphs(folder, "int4")
    data = folder / "decoder_model_merged.onnx_data"
    assert data.stat().st_size > 1000
    onnxruntime.InferenceSession(folder / "decoder_model_merged.onnx")

    kept = shutil.copytree(onnx_folder / "onnx", tmp_path / "again")
    quantize_graphs(kept, "int8")
    assert not list(kept.glob("*_data"))
    assert {path.suffix for path in kept.iterdir()} == {".onnx"}


def test_weights_beside_a_graph_are_read_while_they_are_replaced(onnx_folder, tmp_path, monkeypatch):
    folder = tmp_path / "onnx"
    folder.mkdir()
    path = folder / "embed_tokens.onnx"
    model = ir.load(onnx_folder / "onnx" / path.name)
    ir.save(model, path, external_data=f"{path.name}_data")
    monkeypatch.setattr("facemllm_onnx.export.folder.EXTERNAL_DATA_ABOVE", 1000)
    quantize_graphs(folder, "int8")
    ids = {"input_ids": np.arange(8, dtype=np.int64)[None]}
    expected, found = (
        onnxruntime.InferenceSession(place).run(None, ids)[0] for place in (onnx_folder / "onnx" / path.name, path)
    )
    assert np.abs(found - expected).max() < np.abs(expected).max() / 100


@pytest.mark.parametrize(
    ("precision", "message"),
    [("int5", "precision='int5': .*int8, int4"), ("int8", r"\.onnx .*give the onnx folder of an export")],
)
def test_what_cannot_be_quantized_is_said(precision, message, tmp_path):
    with pytest.raises(ExportError, match=message):
        quantize_graphs(tmp_path, precision)


def dequantize(packed: np.ndarray, scales: np.ndarray, blocks: BlockWise) -> np.ndarray:
    """`(integer - 2^(bits - 1)) * scale`, as the operator's documentation says."""
    halves = [packed] if blocks.bits == 8 else [packed & 15, packed >> 4]
    integers = np.stack(halves, axis=-1).reshape(*scales.shape, -1).astype(np.float32)
    return ((integers - 2 ** (blocks.bits - 1)) * scales[..., None]).reshape(len(packed), -1)


def product(stored: str, weights: np.ndarray, bias: np.ndarray) -> ir.Model:
    """`x @ weights.T`, with the bias where the operator has one; `weights` are (outputs, inputs)."""
    x = ir.val("x", dtype=ir.DataType.FLOAT, shape=ir.Shape(["rows", weights.shape[1]]))
    array = weights.T if stored == "MatMul" else weights
    weight = ir.val("w", const_value=ir.tensor(np.ascontiguousarray(array), name="w"))
    offset = ir.val("b", const_value=ir.tensor(bias, name="b"))
    if stored == "Gemm":
        nodes = [ir.node("Gemm", [x, weight, offset], {"transB": 1})]
    elif stored == "Transpose":
        turned = ir.node("Transpose", [weight], {"perm": [1, 0]})
        nodes = [turned, ir.node("MatMul", [x, turned.outputs[0]])]
    else:
        nodes = [ir.node("MatMul", [x, weight])]
    output = nodes[-1].outputs[0]
    output.name, output.dtype, output.shape = "y", ir.DataType.FLOAT, ir.Shape(["rows", len(weights)])
    initializers = [weight, offset] if stored == "Gemm" else [weight]
    graph = ir.Graph([x], [output], nodes=nodes, initializers=initializers, opset_imports={"": 20}, name="product")
    return ir.Model(graph, ir_version=10)


def session(model: ir.Model) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())


def run(model: ir.Model, inputs: np.ndarray) -> np.ndarray:
    return session(model).run(None, {model.graph.inputs[0].name: inputs})[0]


def products(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type == "MatMulNBits"]


def float_matrices(model: ir.Model) -> list[str]:
    """Initializers that a product or a lookup reads in float."""
    read = {
        value.name
        for node in model.graph
        if node.op_type in ("MatMul", "Gemm", "Gather", "Transpose")
        for value in node.inputs
        if value is not None and value.const_value is not None and value.const_value.dtype == ir.DataType.FLOAT
    }
    return [name for name in read if len(model.graph.initializers[name].shape or ()) == 2]


def rows(count: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(count, 6, 32)).astype(np.float32)


def prefill(folder: Path, embeds: np.ndarray) -> np.ndarray:
    """Logits `(batch, vocab)` behind rows of embeddings, nothing before them."""
    cache = json.loads((folder / "export.json").read_text())["cache"]
    session = onnxruntime.InferenceSession(folder / "onnx" / "decoder_model_merged.onnx")
    batch, length, _ = embeds.shape
    empty = np.zeros((batch, cache["kv_heads"], 0, cache["head_dim"]), np.float32)
    past = {value.name: empty for value in session.get_inputs() if value.name.startswith("past_key_values.")}
    positions = np.tile(np.arange(length), (batch, 1))
    inputs = {"inputs_embeds": embeds, "attention_mask": np.ones_like(positions), "position_ids": positions}
    return session.run(["logits"], {**inputs, **past})[0][:, -1]
