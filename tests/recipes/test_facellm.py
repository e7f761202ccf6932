"""FaceLLM's recipes run as they stand on a tiny random InternVL made of its configuration and processor files."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from datasets_scripts.fairfacegpt.published import build_published
from facemllm_recipes.recipe import load_recipe
from facemllm_recipes.sft import train
from tests.recipes.tiny import COLOURS, QUESTIONS, answers, encoded
from tests.recipes.tiny_internvl import write_internvl

RECIPES = Path(__file__).resolve().parents[2] / "recipes" / "facellm"


@pytest.fixture(scope="module")
def internvl(tmp_path_factory) -> str:
    return write_internvl(tmp_path_factory.mktemp("internvl"))


@pytest.mark.parametrize("size", ["1b", "8b", "38b"])
def test_the_recipe_trains_adapters_of_the_language_model_on_one_tile(size, internvl, pictures, tmp_path):
    overrides = [
        f"model.base={internvl}",
        f"data.0.path={pictures}",
        "data.0.config=null",
        f"output_dir={tmp_path}/run",
    ]
    on_this_machine = ["trainer.max_steps=2", "trainer.per_device_train_batch_size=2", "trainer.bf16=false"]
    recipe = load_recipe(RECIPES / f"{size}.yaml", [*overrides, *on_this_machine])
    run = train(recipe)
    assert run["steps"] == 2
    assert run["parameters"]["vision_tower"]["trainable"] == run["parameters"]["projector"]["trainable"] == 0
    before = AutoModelForImageTextToText.from_pretrained(internvl, dtype=torch.bfloat16).state_dict()
    after = AutoModelForImageTextToText.from_pretrained(tmp_path / "run", dtype=torch.bfloat16).state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} <= {
        name for name in before if ".language_model." in name
    }
    adapter = load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    trained = {name for name, value in adapter.items() if "lora_B" in name and value.any()}
    assert len(trained) == 2 * 7 and all(".language_model." in name for name in trained)
    for name in ("processor_config.json", "preprocessor_config.json", "chat_template.jinja"):
        assert (tmp_path / "run" / name).read_bytes() == (Path(internvl) / name).read_bytes()


def test_the_recipes_read_fairfacegpt_as_it_is_built_here(internvl, tmp_path):
    (tmp_path / "FairFace/val").mkdir(parents=True)
    entries = []
    for number, colour in enumerate(COLOURS):
        (tmp_path / f"FairFace/val/{number}.jpg").write_bytes(encoded(colour)["bytes"])
        for question, answer in zip(QUESTIONS, answers(colour), strict=True):
            turns = [{"from": "human", "value": f"<image>{question}"}, {"from": "assistant", "value": answer}]
            entries.append({"conversations": turns, "image": f"val/{number}.jpg"})
    (tmp_path / "dataset.json").write_text(json.dumps(entries))
    build_published(tmp_path / "dataset.json", tmp_path / "FairFace", tmp_path / "fairfacegpt", progress=False)
    overrides = [f"model.base={internvl}", f"data.0.path={tmp_path}/fairfacegpt", f"output_dir={tmp_path}/run"]
    on_this_machine = ["trainer.max_steps=1", "trainer.per_device_train_batch_size=2", "trainer.bf16=false"]
    run = train(load_recipe(RECIPES / "1b.yaml", [*overrides, *on_this_machine]))
    assert run["steps"] == 1
    assert (run["data"][0]["config"], run["data"][0]["usable"]) == ("pairs", len(COLOURS) * len(QUESTIONS))


@pytest.mark.parametrize(("size", "batch", "accumulated"), [("1b", 10, 8), ("8b", 10, 8), ("38b", 2, 6)])
def test_the_recipes_are_the_published_settings(size, batch, accumulated):
    recipe = load_recipe(RECIPES / f"{size}.yaml", ["data.0.path=owner/fairfacegpt"])
    published = {
        "learning_rate": 1e-5,
        "lr_scheduler_type": "cosine",
        "max_grad_norm": 1.0,
        "num_train_epochs": 1,
        "bf16": True,
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulated,
    }
    assert {key: recipe.trainer[key] for key in published} == published
    assert recipe.trainer.get("warmup_steps", 0) == 0
    assert (recipe.model.lora.r, recipe.model.lora.alpha, recipe.model.lora.dropout) == (16, 32, 0.0)
    assert recipe.model.trainable == [] and recipe.max_length == 2048
    assert recipe.model.base == f"OpenGVLab/InternVL3-{size.upper()}-hf"


def test_the_three_sizes_differ_in_base_and_batch_only():
    recipes = [yaml.safe_load((RECIPES / f"{size}.yaml").read_text()) for size in ("1b", "8b", "38b")]
    for recipe in recipes:
        del recipe["model"]["base"], recipe["output_dir"]
        del recipe["trainer"]["per_device_train_batch_size"], recipe["trainer"]["gradient_accumulation_steps"]
    assert recipes[0] == recipes[1] == recipes[2]
