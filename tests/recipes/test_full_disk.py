"""A full disk ends a run in one line, and the same recipe goes on."""

from pathlib import Path

import pytest

from facemllm_recipes.sft import train
from tests.full_disk import files_of_at_most


@pytest.mark.parametrize("kilobytes", [100, 300], ids=["weights", "optimizer"])
def test_a_full_disk_names_the_folder_and_the_remedy_and_loses_nothing(kilobytes, make_recipe):
    recipe = make_recipe(trainer={"max_steps": 2, "save_steps": 1, "save_strategy": "steps"})
    with files_of_at_most(kilobytes * 1024), pytest.raises(OSError) as caught:
        train(recipe)
    message = str(caught.value)
    assert recipe.output_dir in message and "the same command goes on" in message and "\n" not in message
    folder = Path(recipe.output_dir)
    assert not (folder / "run.json").exists() and not (folder / ".lock").exists()
    assert train(recipe)["steps"] == 2
