"""A damaged file of a model folder is named before anything is loaded, and no pickle is opened."""

import json
import os
import pickle
import struct

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from facemllm_recipes.model_folder import DamagedModel, check_model_folder, check_size, weight_files
from facemllm_recipes.models import load_model
from facemllm_recipes.recipe import ModelRecipe
from facemllm_recipes.strict import RecipeError
from tests.tiny import save_model

NO_OBJECTS = {"cut off": b'{"a": ', "a list": b"[]", "empty": b"", "no text": b"\xff\xfe{}", "deep": b"[" * 100_000}
SETTINGS = ("config.json", "generation_config.json", "processor_config.json", "tokenizer_config.json")


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def folder(tmp_path):
    return save_model(tmp_path / "model")


def _change(path, **settings):
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def _cut_in_two(folder):
    """The weights as two files with their index."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {"model-00001-of-00002.safetensors": names[:5], "model-00002-of-00002.safetensors": names[5:]}
    for file, held in parts.items():
        save_file({name: weights[name] for name in held}, folder / file, metadata={"format": "pt"})
    index = {"weight_map": {name: file for file, held in parts.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_what_is_whole_is_described(folder):
    shapes = check_model_folder(folder)
    assert shapes["model.projector.linear_2.weight"] == [32, 32]
    _cut_in_two(folder)
    assert check_model_folder(folder) == shapes
    check_size(folder, shapes, AutoModelForImageTextToText)


@pytest.mark.parametrize("content", NO_OBJECTS.values(), ids=NO_OBJECTS)
@pytest.mark.parametrize("name", [*SETTINGS, "tokenizer.json"])
def test_settings_that_are_no_object_are_named(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(DamagedModel, match=f"{name}: .*(again|whole)"):
        check_model_folder(folder)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": None}, "model_type is None"),
        ({"vision_config": None}, "vision_config"),
        ({"text_config": [1]}, "text_config"),
        ({"text_config": {}}, "text_config"),
        ({"auto_map": [1]}, r"auto_map is \[1\]"),
        ({"face_tasks": [1]}, "face_tasks"),
    ],
)
def test_a_configuration_that_lacks_a_part_is_named_with_it(folder, changes, named):
    _change(folder / "config.json", **changes)
    with pytest.raises(DamagedModel, match=rf"config\.json: {named}.*whole"):
        check_model_folder(folder)


WEIGHTS = {
    "empty": lambda whole: b"",
    "in its header": lambda whole: whole[:40],
    "in its tensors": lambda whole: whole[:-8],
    "a header without end": lambda whole: struct.pack("<Q", 2**40) + b"{}",
    "a web page": lambda whole: b"<html>404</html>" * 10,
    "a pointer of git-lfs": lambda whole: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
}


@pytest.mark.parametrize("damage", WEIGHTS.values(), ids=WEIGHTS)
def test_weights_that_are_cut_off_are_named(folder, damage):
    path = folder / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DamagedModel, match=r"model\.safetensors: is cut off .*whole"):
        check_model_folder(folder)


@pytest.mark.parametrize(
    ("index", "named"),
    [
        (None, r"model-00002-of-00002\.safetensors: is missing"),
        ({"weight_map": {"a": "../elsewhere.safetensors"}}, "weight_map"),
        ({"weight_map": [1]}, "weight_map"),
        ({}, "weight_map"),
        ([], "no JSON object but a list"),
    ],
)
def test_an_index_of_files_that_are_not_there_is_named(folder, index, named):
    _cut_in_two(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()
    if index is not None:
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(DamagedModel, match=named):
        check_model_folder(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "adapter_model.bin"])
def test_pickles_are_refused_with_a_way_out_and_never_opened(folder, tmp_path, name):
    (folder / "model.safetensors").rename(tmp_path / "model.safetensors")
    (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "ran")))
    with pytest.raises(DamagedModel, match=f"{name}: .*pickle.*save_pretrained.*safetensors"):
        check_model_folder(folder)
    with pytest.raises(RecipeError, match=f"model: .*{name}"):
        load_model(ModelRecipe(base=str(folder)))
    (tmp_path / "model.safetensors").rename(folder / "model.safetensors")
    assert weight_files(folder) == [folder / "model.safetensors"]
    load_model(ModelRecipe(base=str(folder)))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"num_hidden_layers": 10**6, "layer_types": None}, "num_hidden_layers is 1000000"),
        ({"hidden_size": 10**5}, "numbers"),
    ],
)
def test_a_configuration_of_a_larger_model_is_refused_before_it_takes_memory(folder, changes, named):
    config = json.loads((folder / "config.json").read_text())
    _change(folder / "config.json", text_config=config["text_config"] | changes)
    with pytest.raises(DamagedModel, match=rf"config\.json: .*{named}.*whole"):
        check_size(folder, check_model_folder(folder), AutoModelForImageTextToText)


def test_the_default_language_model_is_not_made_where_its_sizes_are_missing(folder):
    _change(folder / "config.json", text_config={"model_type": "qwen3"})
    with pytest.raises(RecipeError, match=r"config\.json: describes a model of [\d,]+ numbers"):
        load_model(ModelRecipe(base=str(folder)))
