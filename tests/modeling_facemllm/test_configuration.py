"""The configuration says what fits together and refuses the rest."""

import pytest
import transformers
from transformers import AutoConfig, CLIPConfig, CLIPVisionConfig, Dinov2WithRegistersConfig, Qwen3Config, ViTConfig

from modeling_facemllm import FaceMLLMConfig, FaceMLLMVisionConfig


def config(**kwargs) -> FaceMLLMConfig:
    parts = {"vision_config": FaceMLLMVisionConfig(), "text_config": Qwen3Config(vocab_size=100)}
    return FaceMLLMConfig(**parts | kwargs)


def test_the_defaults_are_the_tiny_tower_and_qwen3():
    assert FaceMLLMConfig().vision_config.model_type == "facemllm_vision"
    assert FaceMLLMConfig().text_config.model_type == "qwen3"


def test_parts_may_be_dictionaries():
    made = config(
        vision_config={"model_type": "siglip_vision_model", "image_size": 32, "patch_size": 8},
        text_config={"model_type": "llama", "vocab_size": 50},
    )
    assert (made.vision_config.model_type, made.text_config.model_type) == ("siglip_vision_model", "llama")
    assert made.image_token_id == 49


def test_a_whole_clip_gives_its_vision_part():
    assert config(vision_config=CLIPConfig()).vision_config.model_type == "clip_vision_model"


@pytest.mark.parametrize(
    ("kwargs", "grid", "tokens"),
    [
        ({}, 8, 64),
        ({"pixel_shuffle_factor": 2}, 8, 16),
        ({"pixel_shuffle_factor": 4}, 8, 4),
        ({"vision_config": CLIPVisionConfig(image_size=32, patch_size=8)}, 4, 16),
        (
            {
                "vision_config": CLIPVisionConfig(image_size=32, patch_size=8),
                "vision_feature_select_strategy": "full",
            },
            4,
            17,
        ),
        (
            {
                "vision_config": Dinov2WithRegistersConfig(image_size=28, patch_size=14, num_register_tokens=4),
                "vision_feature_select_strategy": "full",
            },
            2,
            9,
        ),
    ],
)
def test_an_image_takes_a_known_number_of_tokens(kwargs, grid, tokens):
    assert config(**kwargs).vision_grid_size == grid
    assert config(**kwargs).num_image_tokens == tokens


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"vision_feature_layer": -4}, r"vision_feature_layer=-4\b.*\b2 layers\b.*-3 to 2\b"),
        ({"vision_feature_layer": [-1, 3]}, r"vision_feature_layer=3\b.*-3 to 2\b"),
        ({"vision_feature_select_strategy": "cls"}, "vision_feature_select_strategy='cls'.*'default'.*'full'"),
        ({"pixel_shuffle_factor": 3}, r"pixel_shuffle_factor=3\b.*\b1, 2 or 4\b"),
        (
            {"pixel_shuffle_factor": 4, "vision_config": FaceMLLMVisionConfig(image_size=48)},
            r"pixel_shuffle_factor=4\b.*6×6.*\b48\b.*\[1, 2\]",
        ),
        (
            {
                "pixel_shuffle_factor": 2,
                "vision_feature_select_strategy": "full",
                "vision_config": ViTConfig(image_size=32, patch_size=8),
            },
            r"pixel_shuffle_factor=2\b.*vision_feature_select_strategy='default'",
        ),
        ({"image_size": 128}, r"image_size=128\b.*\b64-pixel"),
        (
            {"image_size": 4, "vision_config": ViTConfig(image_size=32, patch_size=8)},
            r"image_size=4\b.*multiple of 8\b",
        ),
        ({"image_token_id": 100}, r"image_token_id=100\b.*\b100\b.*from_towers"),
        ({"image_token_id": -1}, r"image_token_id=-1\b.*\b100\b.*from_towers"),
        ({"vision_config": {"model_type": "no_such_tower"}}, "model_type='no_such_tower'.*upgrade it or correct it"),
        ({"vision_config": ViTConfig(image_size=(32, 64), patch_size=8)}, r"\(32, 64\).*\bsquare\b"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        config(**kwargs)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"image_size": 60}, r"image_size=60\b.*stem_channels.*take a multiple of \d+"),
        ({"stem_channels": []}, r"stem_channels=\[\]: .*\[32, 64, 96\]"),
        ({"stem_channels": "abc"}, r"stem_channels='abc': .*\[32, 64, 96\]"),
        ({"num_attention_heads": 5}, r"hidden_size=\d+\b.*multiple of num_attention_heads=5\b"),
        ({"hidden_size": -4}, r"hidden_size=-4: .*1 or more"),
        ({"num_hidden_layers": "two"}, r"num_hidden_layers='two': .*0 or more"),
        ({"layer_norm_eps": "1e-6"}, r"layer_norm_eps='1e-6': .*a number"),
    ],
)
def test_a_tiny_tower_that_cannot_be_built_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        FaceMLLMVisionConfig(**kwargs)


def test_another_image_size_gives_another_grid():
    tower = ViTConfig(image_size=32, patch_size=8)
    made = config(vision_config=tower, image_size=64)
    assert (made.vision_grid_size, made.num_image_tokens, made.tower_image_size) == (8, 64, 32)
    assert config(vision_config=tower).image_size == 32


def test_saving_and_loading_changes_nothing(tmp_path):
    made = config(pixel_shuffle_factor=2, vision_feature_layer=[-2, -1], image_token_id=7)
    made.save_pretrained(tmp_path)
    for loaded in (FaceMLLMConfig.from_pretrained(tmp_path), AutoConfig.from_pretrained(tmp_path)):
        assert isinstance(loaded, FaceMLLMConfig)
        assert loaded.to_diff_dict() == made.to_diff_dict()
        assert loaded.num_image_tokens == 16


def test_every_auto_class_is_named_and_survives_a_second_save(tmp_path):
    config().save_pretrained(tmp_path / "once")
    FaceMLLMConfig.from_pretrained(tmp_path / "once").save_pretrained(tmp_path / "twice")
    loaded = FaceMLLMConfig.from_pretrained(tmp_path / "twice")
    assert set(loaded.auto_map) == {
        "AutoConfig",
        "AutoModel",
        "AutoModelForCausalLM",
        "AutoModelForImageTextToText",
        "AutoModelForMultimodalLM",
    }
    assert (tmp_path / "twice" / "configuration_facemllm.py").exists()


def test_the_kind_of_pictures_that_a_model_knows_survives_saving(tmp_path):
    config(picture_kind="drawings").save_pretrained(tmp_path)
    assert FaceMLLMConfig.from_pretrained(tmp_path).picture_kind == "drawings"
    assert config().picture_kind is None


def test_another_kind_of_pictures_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"picture_kind.*'cartoons'.*drawings or photographs"):
        config(picture_kind="cartoons")


def test_rotary_settings_saved_by_transformers_5_are_kept():
    saved = {"model_type": "qwen3", "rope_parameters": {"rope_type": "default", "rope_theta": 12345.0}}
    text = FaceMLLMConfig(text_config=saved).text_config
    theta = text.rope_theta if transformers.__version__ < "5" else text.rope_parameters["rope_theta"]
    assert theta == 12345.0


@pytest.mark.parametrize("margin", [-0.3, 11, "0.2", True, float("nan")])
def test_a_margin_that_is_no_share_is_refused(margin):
    with pytest.raises(ValueError, match="face_margin"):
        config(face_margin=margin)
