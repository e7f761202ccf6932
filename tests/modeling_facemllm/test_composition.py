"""Any vision tower with any causal language model."""

import pytest
import torch
import transformers
from transformers import (
    AutoModelForCausalLM,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2WithRegistersConfig,
    Gemma2Config,
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
    Siglip2VisionConfig,
    SiglipVisionConfig,
    ViTConfig,
)

from modeling_facemllm import FaceMLLMForConditionalGeneration, FaceMLLMProcessor, FaceMLLMVisionModel
from tests import tiny

TINY = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SQUARE = {"image_size": 32, "patch_size": 8}
TEXT = {**tiny.TEXT, "bos_token_id": None, "eos_token_id": 2, "pad_token_id": 1}
VISION_TOWERS = {
    "siglip": SiglipVisionConfig(**TINY, **SQUARE),
    "siglip2-naflex": Siglip2VisionConfig(**TINY, num_patches=16, patch_size=8),
    "clip": CLIPVisionConfig(**TINY, **SQUARE),
    "vit": ViTConfig(**TINY, **SQUARE),
    "dinov2": Dinov2Config(**TINY, **SQUARE),
    "dinov2-registers": Dinov2WithRegistersConfig(**TINY, **SQUARE, num_register_tokens=4),
}
if hasattr(transformers, "DINOv3ViTConfig"):
    VISION_TOWERS["dinov3"] = transformers.DINOv3ViTConfig(**TINY, **SQUARE, num_register_tokens=4)
LANGUAGE_MODELS = {
    "qwen2": Qwen2Config(**TEXT),
    "qwen3": Qwen3Config(**TEXT, tie_word_embeddings=True),
    "llama": LlamaConfig(**TEXT),
    "gemma2": Gemma2Config(**TEXT),
}


def ask(model, processor, question, photo):
    inputs = processor.apply_chat_template(
        question, images=photo, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )
    with torch.no_grad():
        return model(**inputs).logits[:, -1]


@pytest.mark.parametrize("text", LANGUAGE_MODELS.values(), ids=LANGUAGE_MODELS)
@pytest.mark.parametrize("vision", VISION_TOWERS.values(), ids=VISION_TOWERS)
def test_every_tower_goes_with_every_language_model(
    vision, text, plain_tokenizer, question, photo, other_photo, tmp_path
):
    processor = FaceMLLMProcessor.from_towers(vision, plain_tokenizer, pixel_shuffle_factor=2)
    model = FaceMLLMForConditionalGeneration.from_towers(
        vision, text, tokenizer=processor.tokenizer, pixel_shuffle_factor=2
    )
    assert model.config.num_image_tokens == processor.num_image_tokens == 4
    expected = ask(model, processor, question, photo)
    assert expected.isfinite().all()
    assert (expected - ask(model, processor, question, other_photo)).abs().max() > 1e-4
    model.save_pretrained(tmp_path)
    loaded = FaceMLLMForConditionalGeneration.from_pretrained(tmp_path)
    torch.testing.assert_close(ask(loaded, processor, question, photo), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("layer", [-2, [0, -1]])
@pytest.mark.parametrize("vision", VISION_TOWERS.values(), ids=VISION_TOWERS)
def test_inner_layers_of_every_tower_can_be_used(vision, layer, text_config, plain_tokenizer, question, photo):
    processor = FaceMLLMProcessor.from_towers(vision, plain_tokenizer)
    model = FaceMLLMForConditionalGeneration.from_towers(
        vision, text_config, tokenizer=processor.tokenizer, vision_feature_layer=layer
    )
    assert ask(model, processor, question, photo).isfinite().all()


@pytest.mark.parametrize("vision", VISION_TOWERS.values(), ids=VISION_TOWERS)
def test_every_tower_takes_images_of_another_size(vision, text_config, plain_tokenizer, question, photo, tmp_path):
    processor = FaceMLLMProcessor.from_towers(vision, plain_tokenizer, pixel_shuffle_factor=2, image_size=48)
    model = FaceMLLMForConditionalGeneration.from_towers(
        vision, text_config, tokenizer=processor.tokenizer, pixel_shuffle_factor=2, image_size=48
    )
    assert processor.num_image_tokens == model.config.num_image_tokens == 9
    expected = ask(model, processor, question, photo)
    model.save_pretrained(tmp_path)
    loaded = FaceMLLMForConditionalGeneration.from_pretrained(tmp_path)
    torch.testing.assert_close(ask(loaded, processor, question, photo), expected, atol=1e-4, rtol=1e-4)


def test_pretrained_towers_keep_their_weights(vision_config, text_config, plain_tokenizer, tmp_path):
    tower = FaceMLLMVisionModel(vision_config)
    tower.save_pretrained(tmp_path / "vision")
    language_model = AutoModelForCausalLM.from_config(text_config)
    language_model.save_pretrained(tmp_path / "text")
    plain_tokenizer.save_pretrained(tmp_path / "text")

    processor = FaceMLLMProcessor.from_towers(str(tmp_path / "vision"), str(tmp_path / "text"))
    model = FaceMLLMForConditionalGeneration.from_towers(
        str(tmp_path / "vision"), str(tmp_path / "text"), tokenizer=processor.tokenizer
    )
    for name, weight in tower.state_dict().items():
        assert torch.equal(model.model.vision_tower.state_dict()[name], weight)
    embeddings = model.get_input_embeddings().weight
    assert len(embeddings) == len(processor.tokenizer) == 260
    assert torch.equal(embeddings[:256], language_model.get_input_embeddings().weight)
    assert model.lm_head.weight is embeddings
    without = FaceMLLMForConditionalGeneration.from_towers(str(tmp_path / "vision"), str(tmp_path / "text"))
    assert without.config.image_token_id == model.config.image_token_id == processor.image_token_id


def test_a_whole_clip_gives_its_vision_part_and_image_processor(
    tmp_path, text_config, plain_tokenizer, question, photo
):
    clip = CLIPModel(CLIPConfig(vision_config=TINY | SQUARE, text_config=TINY | {"vocab_size": 10}))
    clip.save_pretrained(tmp_path)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    processor = FaceMLLMProcessor.from_towers(str(tmp_path), plain_tokenizer)
    model = FaceMLLMForConditionalGeneration.from_towers(str(tmp_path), text_config, tokenizer=processor.tokenizer)
    weight = next(value for name, value in clip.state_dict().items() if name.endswith("patch_embedding.weight"))
    state = model.model.vision_tower.state_dict()
    assert torch.equal(next(value for name, value in state.items() if name.endswith("patch_embedding.weight")), weight)
    assert ask(model, processor, question, photo).isfinite().all()


def test_without_a_tokenizer_one_row_is_added(vision_config, text_config):
    model = FaceMLLMForConditionalGeneration.from_towers(vision_config, text_config)
    assert model.config.image_token_id == 256
    assert len(model.get_input_embeddings().weight) == model.config.text_config.vocab_size == 257


def test_a_tokenizer_without_the_image_token_is_refused(vision_config, text_config, plain_tokenizer):
    with pytest.raises(ValueError, match=r"tokenizer .*'<image>'.*FaceMLLMProcessor\.from_towers"):
        FaceMLLMForConditionalGeneration.from_towers(vision_config, text_config, tokenizer=plain_tokenizer)


def test_a_model_that_already_sees_is_refused(vision_config):
    with pytest.raises(ValueError, match=r"text='llava'.*train it directly .*base:.*plain causal language model"):
        FaceMLLMForConditionalGeneration.from_towers(vision_config, transformers.LlavaConfig())
