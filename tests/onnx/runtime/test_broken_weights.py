"""NaN and infinite weights of an export: whatever it is asked, it refuses, and the weight is named."""

import math
import shutil

import numpy as np
import onnx
import pytest

from facemllm_onnx import FaceMLLMForONNX
from facemllm_onnx.transformers_model import ONNXFaceMLLM
from modeling_facemllm.closed_questions_facemllm import ClosedQuestion
from modeling_facemllm.errors_facemllm import NoNumbersError
from modeling_facemllm.processing_facemllm import FaceMLLMProcessor

SMILE = ClosedQuestion("Smile?", ("yes", "no"))


@pytest.fixture(params=[(math.nan, True), (math.inf, False)], ids=["NaN beside the graph", "infinity in it"])
def broken(request, onnx_folder, tmp_path):
    """An export in which each graph that holds a projector has a broken one."""
    value, external = request.param
    folder = shutil.copytree(onnx_folder, tmp_path / "broken")
    for name in ("vision_encoder.onnx", "scoring.onnx"):
        graph = onnx.load(folder / "onnx" / name)
        bias = next(tensor for tensor in graph.graph.initializer if tensor.name.endswith("patch_projection.bias"))
        numbers = onnx.numpy_helper.to_array(bias).copy()
        numbers[3] = value
        bias.CopyFrom(onnx.numpy_helper.from_array(numbers, bias.name))
        if external:
            onnx.external_data_helper.set_external_data(bias, location=f"{name}_data")
        onnx.save(graph, folder / "onnx" / name)
    return folder


def _transformers(folder, picture):
    from modeling_facemllm.closed_questions_facemllm import question_messages

    model, processor = ONNXFaceMLLM.from_pretrained(folder, provider="cpu"), FaceMLLMProcessor.from_pretrained(folder)
    messages = question_messages("Glasses?", [picture])
    options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
    return model.generate(**processor.apply_chat_template(messages, **options), max_new_tokens=4)


WAYS = {
    "ask": lambda folder, picture: FaceMLLMForONNX(folder, "cpu").ask(picture, "Glasses?", max_new_tokens=4),
    "stream": lambda folder, picture: next(FaceMLLMForONNX(folder, "cpu").ask(picture, "Glasses?", stream=True)),
    "draw": lambda folder, picture: FaceMLLMForONNX(folder, "cpu").ask(picture, "Glasses?", do_sample=True),
    "score": lambda folder, picture: FaceMLLMForONNX(folder, "cpu").score([picture], [SMILE]),
    "transformers": _transformers,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_broken_weight_is_named_in_every_way_of_asking(broken, pictures, way):
    with pytest.raises(NoNumbersError) as caught:
        WAYS[way](broken, pictures[0])
    assert caught.value.model == str(broken)
    assert caught.value.tensor.endswith("patch_projection.bias of scoring.onnx")


def test_where_all_weights_are_numbers_the_precision_is_named(onnx_folder, pictures):
    runtime = FaceMLLMForONNX(onnx_folder, "cpu")
    features = np.full_like(runtime.encode_images(pictures[:1]), math.inf)
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Glasses?"}]}]
    inputs = runtime.processor.apply_chat_template(messages, images=pictures[:1], tokenize=True)
    del inputs["pixel_values"]
    with pytest.raises(NoNumbersError, match="fp32 overflows") as caught:
        runtime.generate_tokens(**inputs, image_features=features, max_new_tokens=2)
    assert caught.value.tensor is None
