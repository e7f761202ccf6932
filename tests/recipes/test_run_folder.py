"""A folder never looks finished before it is."""

from pathlib import Path

import pytest

from facemllm_recipes.run_folder import (
    CHECKPOINTS,
    COMPLETE,
    STARTED,
    claim,
    last_complete_checkpoint,
    plot_losses,
    put_in_place,
    read_finished,
)
from facemllm_recipes.sft import train
from facemllm_recipes.strict import RecipeError


def test_what_makes_a_folder_loadable_is_moved_last(tmp_path):
    staged, folder = tmp_path / ".staged", tmp_path / "model"
    for name in ("config.json", "a.py", "model-1.safetensors", "model.safetensors.index.json", "adapter/config.json"):
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).write_text("{}")
    (folder / "config.json").mkdir(parents=True)  # stands in the way, as a kill at the last moment would
    with pytest.raises(OSError):
        put_in_place(staged, folder)
    moved = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert moved == {"a.py", "adapter/config.json", "model-1.safetensors", "model.safetensors.index.json"}
    (folder / "config.json").rmdir()
    put_in_place(staged, folder)
    assert (folder / "config.json").is_file() and not staged.exists()
    assert read_finished(folder) is None


def test_the_newest_complete_checkpoint_counts_and_half_written_ones_go(tmp_path):
    for step, complete in ((5, True), (100, False), (20, True)):
        checkpoint = tmp_path / CHECKPOINTS / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        if complete:
            (checkpoint / COMPLETE).touch()
    assert last_complete_checkpoint(tmp_path).name == "checkpoint-20"
    assert not (tmp_path / CHECKPOINTS / "checkpoint-100").exists()
    assert last_complete_checkpoint(tmp_path / "elsewhere") is None


def test_a_folder_belongs_to_one_recipe_but_logging_may_change(tmp_path):
    recipe = {"seed": 0, "output_dir": "a", "trainer": {"learning_rate": 1.0, "logging_steps": 1}}
    data = [{"fingerprint": "f"}]
    claim(tmp_path, recipe, data, processes=1)
    claim(tmp_path, {**recipe, "output_dir": "b", "trainer": {"learning_rate": 1.0, "logging_steps": 9}}, data, 1)
    with pytest.raises(RecipeError, match=r"output_dir: .*recipe\.seed: 0\b.* 1\b.*take another output_dir"):
        claim(tmp_path, {**recipe, "seed": 1}, data, 1)
    with pytest.raises(RecipeError, match=r"output_dir: .*processes: 1\b.* 2\b.*take another output_dir"):
        claim(tmp_path, recipe, data, 2)


@pytest.mark.parametrize("name", ["config.json", "notes.txt"])
def test_what_no_recipe_wrote_is_not_written_among(name, make_recipe):
    recipe = make_recipe()
    folder = Path(recipe.output_dir)
    folder.mkdir()
    (folder / name).write_text("{}")
    with pytest.raises(RecipeError, match=rf"output_dir: '{folder}' holds {name}.*take another"):
        train(recipe)
    assert [path.name for path in folder.iterdir()] == [name]


def test_a_run_that_was_killed_while_it_claimed_its_folder_claims_it_again(tmp_path):
    (tmp_path / f".{STARTED}.1.partial").touch()
    claim(tmp_path, {"trainer": {}}, [], 1)
    assert (tmp_path / STARTED).is_file()


def test_a_curve_without_any_point_is_still_drawn(tmp_path):
    plot_losses([], tmp_path / "loss.png", "nothing logged")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
