"""A language model in bfloat16 for CUDA: on a CPU its graphs are checked as float32 computes them."""

import json
import re
import shutil

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
import transformers

from facemllm.cli import main
from facemllm_onnx import FaceMLLMForONNX
from facemllm_onnx.export.folder import ExportError
from facemllm_onnx.export.half_precision import lacks_kernels, write_in_float32
from facemllm_onnx.export.precisions import FLOATS
from facemllm_onnx.export.wrappers import cast_model
from modeling_facemllm import FaceMLLMForConditionalGeneration

pytestmark = pytest.mark.skipif(
    int(transformers.__version__.split(".")[0]) < 5,
    reason="Optimum's exporter traces no bfloat16: transformers' does, from version 5",
)


@pytest.fixture(scope="session")
def bfloat16_folder(made_once, model_folder):
    words = ["--precision", "bf16", "--device", "cuda", "--no-scoring"]

    def make(out):
        assert main(["export", str(model_folder), str(out), *words]) == 0

    return made_once("bf16", make)


@pytest.fixture
def rounded_model(model_folder):
    """PyTorch's model with the weights that were rounded, which computes in float32."""
    model = FaceMLLMForConditionalGeneration.from_pretrained(model_folder, dtype=torch.float32).eval()
    cast_model(model, FLOATS["bf16"])
    for weight in model.parameters():
        weight.data = weight.data.float()
    return model


def kinds_of(folder, name, operator):
    graph = ir.load(folder / "onnx" / f"{name}.onnx").graph
    return {value.dtype for node in graph if node.op_type == operator for value in node.inputs if value is not None}


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="with CUDA the graphs are checked as they are, and nothing has to be computed in float32",
)
def test_the_record_says_that_the_check_computed_in_float32(bfloat16_folder):
    found = json.loads((bfloat16_folder / "export.json").read_text())["parity"]["bf16"]
    assert (found["provider"], found["computed_in"]) == ("cpu", "float32")
    assert all(prompt["equal"] == prompt["tokens"] for prompt in found["prompts"].values())


def test_without_scoring_the_record_says_why_there_is_none(bfloat16_folder):
    record = json.loads((bfloat16_folder / "export.json").read_text())
    assert set(record["graphs"]) == {"vision_encoder", "embed_tokens", "decoder_model_merged"}
    assert record["no_scoring"] == "it was left out of the export"


def test_convolutions_stay_in_float32(bfloat16_folder):
    assert kinds_of(bfloat16_folder, "vision_encoder", "Conv") == {ir.DataType.FLOAT}


@pytest.mark.parametrize("graph", ["decoder_model_merged", "embed_tokens"])
def test_the_language_model_is_in_bfloat16(bfloat16_folder, graph):
    weights = ir.load(bfloat16_folder / "onnx" / f"{graph}.onnx").graph.initializers.values()
    assert {value.dtype for value in weights if len(value.shape) == 2} == {ir.DataType.BFLOAT16}


def test_the_runtime_puts_float32_features_among_bfloat16_embeddings(
    bfloat16_folder, tmp_path, rounded_model, processor, pictures
):
    folder = tmp_path / "cpu"
    shutil.copytree(bfloat16_folder, folder, ignore=shutil.ignore_patterns("decoder*", "scoring*"))
    (tmp_path / "float32").mkdir()
    write_in_float32(bfloat16_folder, tmp_path / "float32")
    decoder = ir.load(tmp_path / "float32" / "onnx" / "decoder_model_merged.onnx")
    take_and_give_bfloat16(decoder)
    ir.save(decoder, folder / "onnx" / "decoder_model_merged.onnx")
    runtime = FaceMLLMForONNX.from_pretrained(folder, provider="cpu", threads=1)
    content = [{"type": "image", "image": pictures[0]}, {"type": "text", "text": "Is this a face?"}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    expected = rounded_model.generate(**inputs, do_sample=False, max_new_tokens=6)[:, inputs["input_ids"].shape[1] :]
    found = runtime.generate_tokens(**{name: value.numpy() for name, value in inputs.items()}, max_new_tokens=6)
    assert runtime.sessions["embed_tokens"].get_outputs()[0].type == "tensor(bfloat16)"
    assert found.tolist() == expected.tolist()


def take_and_give_bfloat16(model):
    """Let a graph in float32 have its tensors in bfloat16, as CUDA's has, and compute in float32."""
    for value in [one for one in model.graph.inputs if one.dtype == ir.DataType.FLOAT]:
        uses = list(value.uses())
        cast = ir.node("Cast", [value], {"to": ir.DataType.FLOAT})
        for node, index in uses:
            node.replace_input_with(index, cast.outputs[0])
        value.type = ir.TensorType(ir.DataType.BFLOAT16)
        model.graph.insert_before(model.graph[0], cast)
    for index, value in enumerate(model.graph.outputs):
        cast = ir.node("Cast", [value], {"to": ir.DataType.BFLOAT16})
        model.graph.append(cast)
        outer = cast.outputs[0]
        outer.name, value.name = value.name, f"{value.name}_float32"
        outer.type, outer.shape = ir.TensorType(ir.DataType.BFLOAT16), value.shape
        model.graph.outputs[index] = outer


def test_a_graph_of_mixed_types_is_told_from_one_that_lacks_kernels(bfloat16_folder, tmp_path):
    path = bfloat16_folder / "onnx" / "decoder_model_merged.onnx"
    assert lacks_kernels(path)
    model = ir.load(path)
    product = next(node for node in model.graph if node.op_type == "MatMul")
    weight = product.inputs[1]
    weight.const_value = ir.tensor(weight.const_value.numpy().astype(np.float32), name=weight.name)
    weight.type = ir.TensorType(ir.DataType.FLOAT)
    ir.save(model, tmp_path / "mixed.onnx")
    with pytest.raises(ExportError, match=r"mixed\.onnx\b.*graph"):
        lacks_kernels(tmp_path / "mixed.onnx")


def test_positions_are_not_rounded_with_the_weights(model_folder):
    model = FaceMLLMForConditionalGeneration.from_pretrained(model_folder, dtype=torch.float32)
    frequencies = model.get_decoder().rotary_emb.inv_freq.clone()
    cast_model(model, FLOATS["bf16"])
    assert torch.equal(model.get_decoder().rotary_emb.inv_freq, frequencies)
    assert model.get_input_embeddings().weight.dtype == torch.bfloat16
    assert {weight.dtype for weight in model.model.vision_tower.parameters()} == {torch.float32}


def test_a_cpu_is_refused_in_one_line(model_folder, tmp_path, capsys):
    assert main(["export", str(model_folder), str(tmp_path / "out"), "--precision", "bf16"]) == 2
    assert re.search(r"\bbfloat16\b.*take fp32, int8 or int4", capsys.readouterr().err)
