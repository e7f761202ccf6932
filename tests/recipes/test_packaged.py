"""Recipes and towers that come with the package go by name, and what they need says which command makes it."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from facemllm.cli import build_parser, main
from facemllm_recipes.packaged import (
    MADE_BY,
    RECIPES,
    TOWERS,
    command_that_makes,
    find_recipe,
    recipe_names,
    tower_folder,
)
from facemllm_recipes.recipe import RecipeError, load_recipe
from facemllm_recipes.sft import train


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    ["fairface/stage2_vqa", "fairface/stage2_vqa.yaml", "recipes/fairface/stage2_vqa.yaml"],
)
def test_a_packaged_recipe_is_found_from_anywhere(name, empty_folder):
    assert find_recipe(name) == RECIPES / "fairface" / "stage2_vqa.yaml"


def test_a_file_comes_before_a_packaged_recipe_of_its_name(empty_folder):
    (empty_folder / "fairface").mkdir()
    (empty_folder / "fairface" / "stage2_vqa.yaml").write_text("{}")
    assert find_recipe("fairface/stage2_vqa.yaml") == Path("fairface/stage2_vqa.yaml")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("fairface/stage3_face_task", "fairface/stage3_face_tasks"),
        (
            "stage2",
            "face_mllm/stage2_vqa or fairface/stage2_vqa or photo/stage2_vqa or photo_large/stage2_vqa "
            "or quickstart/stage2_vqa",
        ),
        ("nothing-like-it", "facemllm train --list"),
    ],
)
def test_an_unknown_recipe_is_told_with_near_names(name, remedy, empty_folder, capsys):
    assert main(["train", name, "--check"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and repr(name) in error and remedy in error


def test_the_list_has_a_name_and_a_description_of_every_recipe(capsys):
    assert main(["train", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == recipe_names()
    assert {f"{file.parent.name}/{file.stem}" for file in RECIPES.glob("*/stage*.yaml")} < set(recipe_names())
    assert main(["train", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [[entry["name"], entry["description"]] for entry in listed] == [line.split(maxsplit=1) for line in lines]


def test_no_recipe_at_all_is_told_where_to_find_one(capsys):
    assert main(["train", "--check"]) == 2
    assert re.search("RECIPE.*--list", capsys.readouterr().err)


def needs(name: str) -> list[str]:
    recipe = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    model = [recipe["model"][key] for key in ("base", "vision", "text") if key in recipe["model"]]
    return [corpus["path"] for corpus in recipe["data"]] + model


@pytest.mark.parametrize("name", recipe_names())
def test_what_a_packaged_recipe_needs_is_packaged_or_on_the_hub_or_has_a_command_that_makes_it(name):
    for needed in needs(name):
        local = needed.startswith(("corpora/", "runs/"))
        assert bool(command_that_makes(needed)) == local, needed
        if needed.startswith("packaged:"):
            assert Path(tower_folder(needed, "model"), "config.json").is_file()


def test_every_command_that_makes_something_is_one_that_the_command_line_takes_and_the_readme_gives():
    document = (RECIPES / "README.md").read_text()
    for path, command in MADE_BY.items():
        program, *words = shlex.split(command)
        args = build_parser(words[0]).parse_args(words)
        assert program == "facemllm" and path.startswith(str(args.out)), command
        assert command in document, command


@pytest.mark.parametrize(
    ("name", "there", "key", "missing", "command"),
    [
        ("fairface/stage1_alignment", [], "data.0.path", "corpora/fairface", "facemllm data fairface FAIRFACE --out"),
        (
            "fairface/stage1_alignment",
            ["corpora/fairface"],
            "model.vision",
            "runs/fairface/towers/vision",
            "facemllm towers --vision --corpus corpora/fairface",
        ),
        (
            "fairface/stage3_face_tasks",
            ["corpora/fairface"],
            "model.base",
            "runs/fairface/stage2_vqa",
            "facemllm train fairface/stage2_vqa",
        ),
        (
            "face_mllm/stage2_vqa",
            ["corpora/drawn"],
            "model.base",
            "runs/stage1_alignment",
            "facemllm train face_mllm/stage1_alignment",
        ),
    ],
)
def test_what_must_be_made_first_is_named_with_its_command(name, there, key, missing, command, empty_folder, capsys):
    for folder in there:
        (empty_folder / folder).mkdir(parents=True)
    assert main(["train", name, "--check"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"{key}: {missing!r}" in error and command in error


def test_a_stage_that_is_not_finished_is_named_with_its_command(empty_folder, capsys):
    for folder in ("corpora/fairface", "runs/fairface/stage1_alignment"):
        (empty_folder / folder).mkdir(parents=True)
    assert main(["train", "fairface/stage2_vqa"]) == 2
    error = capsys.readouterr().err
    assert "runs/fairface/stage1_alignment" in error and "facemllm train fairface/stage1_alignment" in error


def test_packaged_towers_train_and_the_run_keeps_their_names(make_recipe, empty_folder):
    model = {"vision": "packaged:vision", "text": "packaged:text", "trainable": ["projector"]}
    run = train(make_recipe(model={**model, "pixel_shuffle_factor": 4}, trainer={"max_steps": 1}))
    started = json.loads((empty_folder / "run" / "recipe.json").read_text())
    for recipe in (run["recipe"], started["recipe"]):
        assert {key: recipe["model"][key] for key in model} == model


def test_a_packaged_tower_s_folder_in_a_clone_is_a_plain_path_still(empty_folder, pictures):
    shutil.copytree(TOWERS, empty_folder / "facemllm" / "towers")
    towers = [f"model.{kind}=facemllm/towers/{kind}" for kind in ("vision", "text")]
    recipe = load_recipe("quickstart/stage1_alignment", [*towers, f"data.0.path={pictures}"])
    assert recipe.model.text == "facemllm/towers/text"


def test_an_unknown_packaged_tower_is_told_with_those_that_there_are(make_recipe, towers):
    with pytest.raises(RecipeError, match=r"model\.text: 'packaged:txt'.*packaged:text, packaged:vision"):
        make_recipe(model={"vision": towers["vision"], "text": "packaged:txt", "trainable": ["projector"]})
