"""The model that a recipe composes."""

import torch
from transformers import SiglipVisionConfig, SiglipVisionModel

from facemllm_recipes.models import load_model
from facemllm_recipes.recipe import ModelRecipe
from modeling_facemllm.versions_facemllm import default_image_processor


def test_a_recipes_image_size_reaches_the_model(towers, tmp_path):
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    SiglipVisionModel(SiglipVisionConfig(**sizes, image_size=32, patch_size=8)).save_pretrained(tmp_path)
    default_image_processor(32).save_pretrained(tmp_path)
    model, processor = load_model(ModelRecipe(vision=str(tmp_path), text=towers["text"], image_size=48))
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Who?"}]}]
    inputs = processor.apply_chat_template(
        messages, images=torch.zeros(3, 90, 60), tokenize=True, return_dict=True, return_tensors="pt"
    )
    assert model.config.image_size == 48 and inputs["pixel_values"].shape[-2:] == (48, 48)
    assert model(**inputs).logits.isfinite().all()


def test_a_recipes_face_margin_reaches_the_model_and_stays_in_later_stages(towers, tmp_path):
    model, processor = load_model(ModelRecipe(vision=towers["vision"], text=towers["text"], face_margin=0.1))
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert load_model(ModelRecipe(base=str(tmp_path)))[0].config.face_margin == 0.1


def test_a_recipe_says_which_pictures_the_model_knows_and_a_later_stage_keeps_it(towers, tmp_path):
    model, processor = load_model(ModelRecipe(vision=towers["vision"], text=towers["text"], picture_kind="drawings"))
    for part in (model, processor):
        part.save_pretrained(tmp_path)
    later, _ = load_model(ModelRecipe(base=str(tmp_path)))
    other, _ = load_model(ModelRecipe(base=str(tmp_path), picture_kind="photographs"))
    assert [each.config.picture_kind for each in (model, later, other)] == ["drawings", "drawings", "photographs"]
