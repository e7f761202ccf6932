"""Weights that somebody else replaces, moves or hashes: quantizers, accelerate's offloading, `datasets`."""

import copy

import pytest
import torch
import transformers
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from torch.nn.functional import cosine_similarity
from transformers import AutoModel, BitsAndBytesConfig, SiglipVisionConfig, TorchAoConfig
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from modeling_facemllm import (
    FaceAnalysisPipeline,
    FaceMLLMForConditionalGeneration,
    FaceMLLMProcessor,
)
from modeling_facemllm.scoring_facemllm import ClosedQuestion, score_each_alone, score_options
from tests import tiny

WIDTH, BROKEN = 128, 96
"""Of the language model, in whole blocks of 64; and of the tiny tower, as the packaged one has it."""
SKIPPED = ("vision_tower", "projector", "lm_head")


@pytest.fixture
def vision_config():
    return tiny.vision_config(hidden_size=BROKEN, intermediate_size=192, num_attention_heads=4)


@pytest.fixture
def text_config():
    return tiny.text_config(hidden_size=WIDTH, intermediate_size=256, head_dim=32, initializer_range=0.1)


@pytest.fixture
def folder(model, processor, tmp_path):
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def inputs(processor, question, photo):
    return processor.apply_chat_template(
        question, images=photo, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )


def assert_alike(quantized, model, inputs, features=0.99, logits=0.95):
    """Close to the model in float32, and no copy of it; it generates too."""
    with torch.no_grad():
        seen = [each.get_image_features(inputs["pixel_values"]).pooler_output for each in (quantized, model)]
        said = [each(**inputs).logits[:, -1] for each in (quantized, model)]
    assert cosine_similarity(*(values.float().flatten() for values in seen), dim=0) > features
    assert cosine_similarity(*(values.float().flatten() for values in said), dim=0) > logits
    assert not torch.equal(*said)
    assert quantized.generate(**inputs, max_new_tokens=2).shape == (1, inputs["input_ids"].shape[1] + 2)


def bitsandbytes(folder, **settings):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    return FaceMLLMForConditionalGeneration.from_pretrained(
        folder, quantization_config=BitsAndBytesConfig(**settings), device_map={"": "cpu"}
    )


@pytest.mark.parametrize("skipped", [None, SKIPPED], ids=["default-skips", "skips-given"])
@pytest.mark.parametrize(("bits", "closeness"), [(4, (0.95, 0.85)), (8, (0.99, 0.95))], ids=["4bit", "8bit"])
def test_bitsandbytes(bits, closeness, skipped, folder, model, inputs):
    settings = {f"load_in_{bits}bit": True, "llm_int8_skip_modules": skipped and list(skipped)}
    assert_alike(bitsandbytes(folder, **settings), model, inputs, *closeness)


def test_rows_of_broken_blocks_stay_unquantized_in_four_bits(folder):
    quantized = bitsandbytes(folder, load_in_4bit=True)
    kinds = {
        name: type(layer).__name__
        for name, layer in quantized.named_modules()
        if isinstance(layer, torch.nn.Linear) and name != "lm_head"
    }
    assert {kind for name, kind in kinds.items() if "language_model" in name} == {"Linear4bit"}
    widths = {quantized.get_submodule(name).in_features for name, kind in kinds.items() if kind == "Linear"}
    assert BROKEN in widths and all(width % 64 for width in widths)


def test_what_was_quantized_in_four_bits_is_saved_and_loaded(folder, inputs, tmp_path):
    quantized = bitsandbytes(folder, load_in_4bit=True)
    quantized.save_pretrained(tmp_path / "quantized")
    loaded = FaceMLLMForConditionalGeneration.from_pretrained(tmp_path / "quantized", device_map={"": "cpu"})
    with torch.no_grad():
        torch.testing.assert_close(loaded(**inputs).logits, quantized(**inputs).logits, atol=1e-3, rtol=1e-3)


def test_torchao(folder, model, inputs):
    quantization = pytest.importorskip("torchao.quantization", reason="torchao is not installed")
    settings = TorchAoConfig(quantization.Int8WeightOnlyConfig())
    quantized = FaceMLLMForConditionalGeneration.from_pretrained(
        folder, quantization_config=settings, device_map={"": "cpu"}
    )
    assert_alike(quantized, model, inputs)


@pytest.mark.filterwarnings("ignore:.*ao.quantization is deprecated")
def test_dynamic_quantization_of_torch(model, inputs):
    quantized = torch.ao.quantization.quantize_dynamic(
        copy.deepcopy(model.eval()), {torch.nn.Linear}, dtype=torch.qint8
    )
    assert_alike(quantized, model, inputs)


PLACES = {
    "auto": "auto",
    "cpu": "cpu",
    "disk": {"": "disk"},
    "tower-on-disk": {
        "model.vision_tower": "disk",
        "model.projector": "cpu",
        "model.language_model": "cpu",
        "lm_head": "cpu",
    },
    "language-model-on-disk": {
        "model.vision_tower": "cpu",
        "model.projector": "cpu",
        "model.language_model": "disk",
        "lm_head": "disk",
    },
}


@pytest.mark.parametrize("place", PLACES)
def test_weights_may_lie_on_the_disk(place, folder, model, inputs, tmp_path):
    if place in ("disk", "language-model-on-disk") and Version(transformers.__version__) in SpecifierSet(
        ">=5.0,<5.14"
    ):
        pytest.skip("from 5.0 to 5.13 transformers finds a tied head on the disk for none of its models")
    moved = FaceMLLMForConditionalGeneration.from_pretrained(
        folder, device_map=PLACES[place], offload_folder=tmp_path / "offload"
    )
    assert torch.equal(moved.generate(**inputs, max_new_tokens=6), model.generate(**inputs, max_new_tokens=6))


def test_questions_are_scored_with_weights_on_the_disk(folder, model, processor, photo, tmp_path):
    moved = FaceMLLMForConditionalGeneration.from_pretrained(
        folder, device_map=PLACES["tower-on-disk"], offload_folder=tmp_path / "offload"
    )
    question = ClosedQuestion("Hat?", ("none", "no hat", "a cap"))
    for score in (score_options, score_each_alone):
        found, expected = (score(network, processor, [photo], [question])[0][0] for network in (moved, model))
        assert found == pytest.approx(expected, abs=1e-5)


def test_a_face_is_analysed_with_weights_on_the_disk(folder, model, processor, photo, tmp_path):
    """Pipelines run on the first device of the map, which cannot be the disk."""
    device_map = dict(sorted(PLACES["tower-on-disk"].items(), key=lambda place: place[1]))
    moved = FaceMLLMForConditionalGeneration.from_pretrained(
        folder, device_map=device_map, offload_folder=tmp_path / "offload"
    )
    # Before 5.5 `generate` makes the ids of an answer on the first weight's device, which the disk is none of.
    questions = ["Smile?"] if Version(transformers.__version__) >= Version("5.5") else []
    analyses = [
        FaceAnalysisPipeline(network, processor=processor, detector="none")(photo, questions=questions)
        for network in (moved, model)
    ]
    (found,), (expected,) = analyses
    assert found["answers"] == expected["answers"]
    assert found["tasks"]["age"]["scores"] == pytest.approx(expected["tasks"]["age"]["scores"], abs=1e-5)


@pytest.mark.filterwarnings("ignore:.*ao.quantization is deprecated")
@pytest.mark.parametrize("score", [score_options, score_each_alone])
def test_a_quantized_models_scores_are_near_the_models(score, model, processor, photo):
    """Activations that are quantized give other logits with a cache than without, within bounds."""
    quantized = torch.ao.quantization.quantize_dynamic(
        copy.deepcopy(model.eval()), {torch.nn.Linear}, dtype=torch.qint8
    )
    question = ClosedQuestion("Hat?", ("none", "no hat", "a cap"))
    found, expected = (score(network, processor, [photo], [question])[0][0] for network in (quantized, model))
    assert found == pytest.approx(expected, abs=0.2)


def test_accelerate_brings_each_weight_when_it_is_needed(folder, model, inputs):
    from accelerate import cpu_offload

    expected = model.generate(**inputs, max_new_tokens=6)
    moved = cpu_offload(AutoModel.from_pretrained(folder), execution_device=torch.device("cpu"))
    assert {parameter.device.type for parameter in moved.parameters()} == {"meta"}
    assert torch.equal(moved.generate(**inputs, max_new_tokens=6), expected)


def test_the_processor_of_a_folder_has_a_fingerprint(folder):
    """`Dataset.map` caches by it. Code from a folder is hashed as text, where a package's is hashed by its name."""
    from datasets.fingerprint import Hasher

    remote = get_class_from_dynamic_module("processing_facemllm.FaceMLLMProcessor", str(folder))
    one, same = (remote.from_pretrained(folder) for _ in range(2))
    assert not isinstance(one, FaceMLLMProcessor)
    assert Hasher.hash(one) == Hasher.hash(same)


def test_another_tower_is_quantized_whole(text_config, plain_tokenizer, question, photo, tmp_path):
    vision = SiglipVisionConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8
    )
    processor = FaceMLLMProcessor.from_towers(vision, plain_tokenizer)
    model = FaceMLLMForConditionalGeneration.from_towers(vision, text_config, tokenizer=processor.tokenizer)
    model.save_pretrained(tmp_path)
    quantized = bitsandbytes(tmp_path, load_in_4bit=True)
    kinds = {type(layer).__name__ for layer in quantized.model.modules()}
    assert "Linear4bit" in kinds and "Linear" not in kinds
