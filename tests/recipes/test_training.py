"""What a training run does to the model, and what it leaves behind."""

import json
from pathlib import Path

from recipes.sft import train


def test_run_leaves_a_model_folder_with_its_story(make_recipe):
    recipe = make_recipe()
    run = train(recipe)
    folder = Path(recipe.output_dir)
    print(sorted(str(p.relative_to(folder)) for p in folder.rglob("*")))
    print(json.dumps(run, indent=1, default=str))
    assert json.loads((folder / "run.json").read_text())["steps"] == 4
