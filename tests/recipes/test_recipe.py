"""Recipes are read strictly: a mistake is one line that names the key, the value and what is allowed."""

import re
from itertools import pairwise

import pytest

from facemllm_recipes.recipe import RecipeError, load_recipe
from facemllm_recipes.sft import main

MINIMAL = """
model: {base: BASE, trainable: [projector]}
data: [{path: DATA}]
output_dir: runs/test
trainer: {learning_rate: 1e-3}
"""


@pytest.fixture
def recipe_file(tmp_path, pictures, towers):
    path = tmp_path / "recipe.yaml"
    path.write_text(MINIMAL.replace("BASE", towers["text"]).replace("DATA", pictures))
    return path


def test_plain_exponents_are_numbers_and_defaults_are_filled_in(recipe_file):
    recipe = load_recipe(recipe_file)
    assert recipe.trainer["learning_rate"] == 1e-3
    assert recipe.trainer["gradient_checkpointing"] is False
    assert recipe.seed == 0 and recipe.data[0].split == "train"


def test_overrides_reach_into_mappings_and_lists(recipe_file):
    recipe = load_recipe(recipe_file, ["trainer.max_steps=7", "data.0.weight=0.5", "seed=3", "model.lora.r=4"])
    assert (recipe.trainer["max_steps"], recipe.data[0].weight, recipe.seed, recipe.model.lora.r) == (7, 0.5, 3, 4)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lerning=1", r"^lerning: 1\b.*model, data"),
        ("trainer.lerning_rate=1", r"^trainer\.lerning_rate: 1\b.*\blearning_rate"),
        ("trainer.learning_rate=fast", r"^trainer\.learning_rate: 'fast'.*\ba number"),
        ("trainer.max_steps=1.5", r"^trainer\.max_steps: 1\.5\b.*a whole number"),
        ("trainer.max_length=512", r"^trainer\.max_length: 512\b.*set max_length at the top"),
        ("trainer.save_total_limit=1", r"^trainer\.save_total_limit: 1\b.*2 or more, or null"),
        ("trainer.learning_rate=-1", r"^trainer\.learning_rate: -1\.0\b.*0 or more"),
        ("trainer.learning_rate=.nan", r"^trainer\.learning_rate: nan\b.*0 or more"),
        ("trainer.per_device_train_batch_size=0", r"^trainer\.per_device_train_batch_size: 0\b.*1 or more"),
        ("trainer.num_train_epochs=-1", r"^trainer\.num_train_epochs: -1\.0\b"),
        ("trainer.max_steps=-5", r"^trainer\.max_steps: -5\b.*1 or more, or -1"),
        ("seed=true", r"^seed: True\b.*a whole number"),
        ("output_dir=null", r"^output_dir: None\b.*\btext\b"),
        ("model.trainable=[head]", r"^model\.trainable\.0: 'head'.* 'vision_tower' or 'projector'"),
        ("model.trainable=[]", r"^model\.trainable: .*name some of vision_tower"),
        ("model.vision=google/siglip", r"^model: .*give either base, or both vision and text"),
        ("model.pixel_shuffle_factor=2", r"^model\.pixel_shuffle_factor: 2\b.*model\.base\b.*\bvision and text\b"),
        ("model.base=/no/such", r"^model\.base: '/no/such'.*give a folder .*\(owner/name\)"),
        ("model.base=quickstart-onnx", r"^model\.base: 'quickstart-onnx'.*give a folder .*\(owner/name\)"),
        ("model.dtype=bfloat16", r"^model\.dtype: 'bfloat16'.*set trainer\.bf16: true"),
        ("data=[]", r"^data: \[\].*list at least one corpus"),
        ("data.0.path=./no", r"^data\.0\.path: '\./no'.*give a folder .*\(owner/name\)"),
        ("data.0.weight=0", r"^data\.0\.weight: 0\.0\b.*above zero.*leave the corpus out"),
        ("data.4.path=x", r"override data\.4\.path: '4'.*\b0 to 0\b"),
        ("seed", r"override 'seed'.*key=value"),
        ("data=[", r"override data, line 1: .*YAML"),
    ],
)
def test_mistakes_are_told_in_one_line(recipe_file, override, message):
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, [override])
    assert "\n" not in str(caught.value)
    assert re.search(message, str(caught.value)), str(caught.value)


def test_a_file_that_is_no_text_is_no_recipe(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(RecipeError, match=r"photo\.jpg: .*YAML file"):
        load_recipe(tmp_path / "photo.jpg")


def test_a_folder_that_cannot_be_trained_is_no_base(recipe_file, tmp_path):
    with pytest.raises(RecipeError, match=rf"model\.base: '{tmp_path}'.*config\.json.*give the folder"):
        load_recipe(recipe_file, [f"model.base={tmp_path}"])
    for name in ("config.json", "export.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(RecipeError, match=rf"model\.base: '{tmp_path}'.*ONNX.*give the model"):
        load_recipe(recipe_file, [f"model.base={tmp_path}"])


def test_lora_and_full_training_of_the_language_model_exclude_each_other(recipe_file):
    with pytest.raises(RecipeError, match=r"model\.trainable: .*language_model.*model\.lora\b.*keep one of the two"):
        load_recipe(recipe_file, ["model.lora={r: 4}", "model.trainable=[language_model]"])


def test_weights_are_for_all_corpora_or_for_none(recipe_file, texts, pictures):
    with pytest.raises(RecipeError, match=r"data\.1\.weight\b.*give every corpus a weight, or none"):
        load_recipe(recipe_file, [f"data=[{{path: {pictures}, weight: 1}}, {{path: {texts}}}]"])


LAUGHS = ", ".join(f"&{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in pairwise("abcdefghij"))


@pytest.mark.parametrize(
    "text",
    [
        f"seed: {'9' * 5000}",
        f"output_dir: 0x{'f' * 5000}",
        f"data: [{{path: a/b, weight: 1{'0' * 400}}}]",
        "seed: 2001-99-99",
        "seed: 0x_",
        "a\0b",
        "[" * 3000,
        "seed: &a [*a]",
        f"seed: [&a [x], {LAUGHS}]",
        f"seed: {'x' * 70_000}",
        'seed: "\\e[2J"',
        '"\\e[2J\\n": 1',
        f"output_dir: out\ndata: [{{path: {'x' * 5000}}}]\nmodel: {{base: owner/name, trainable: [projector]}}",
        "output_dir: out\ndata: [{path: ~no_such_user/x}]\nmodel: {base: owner/name, trainable: [projector]}",
    ],
)
def test_what_is_no_recipe_is_refused_in_a_short_line(tmp_path, text):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "recipe.yaml")
    message = str(caught.value)
    assert len(message.splitlines()) == 1 and len(message) < 1500 and message.isprintable()


def test_a_position_in_a_list_is_a_number(recipe_file):
    with pytest.raises(RecipeError, match=r"data\.²\.path: '²' is not a position"):
        load_recipe(recipe_file, ["data.².path=x"])


def test_a_key_given_twice_is_refused(recipe_file):
    recipe_file.write_text(recipe_file.read_text() + "seed: 1\nseed: 2\n")
    with pytest.raises(RecipeError, match=r"line 7\b.*'seed'.*keep one"):
        load_recipe(recipe_file)


def test_the_script_ends_a_mistake_with_one_line_and_code_2(recipe_file, capsys):
    assert main(["--config", str(recipe_file), "trainer.max_step=1"]) == 2
    error = capsys.readouterr().err
    assert re.match(r"sft\.py: trainer\.max_step: 1 .*\bmax_steps\b", error) and error.count("\n") == 1


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"recipe '.*none\.yaml'.*--list"):
        load_recipe(tmp_path / "none.yaml")
