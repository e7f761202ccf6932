"""`facemllm train`: run one training stage from a recipe."""

import argparse
import contextlib
import json
import os
import sys

from datasets_scripts.shown_text import in_terminal
from facemllm.cli import UserError

HELP = """Run one training stage from a recipe (YAML) and leave a model folder in its output_dir.

Run the same command again after a kill: it goes on from the last complete checkpoint. Any key of the recipe can be
changed on the command line as key=value, with dots: trainer.learning_rate=1e-4, data.0.path=corpora/mine."""
EXAMPLE = "facemllm train face_mllm/stage1_alignment output_dir=runs/stage1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="?", help="a YAML file, or the name of a packaged recipe as --list has it")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change a key of the recipe")
    parser.add_argument("--list", action="store_true", help="print the packaged recipes and what each of them does")
    parser.add_argument(
        "--check",
        action="store_true",
        help="check the recipe and the first rows of its corpora, print it in full, train nothing",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print what run.json holds to standard output at the end; with --list, the list",
    )


def run(args: argparse.Namespace) -> int:
    if args.list:
        print_recipes(as_json=args.json)
        return 0
    if args.recipe is None:
        raise UserError("RECIPE is missing; give a YAML file or a packaged recipe: facemllm train --list names them")

    from facemllm_recipes.recipe import load_recipe

    # Forked data workers and the tokenizer's threads do not go together; without this it says so at every fork.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    recipe = load_recipe(args.recipe, args.overrides)
    if args.check:
        from facemllm_recipes.corpus_check import check_corpora

        for line in check_corpora(recipe):
            print(in_terminal(line), file=sys.stderr)
        print(json.dumps(recipe.to_dict(), indent=2, default=str))
        return 0

    from facemllm_recipes.sft import train

    # The trainer reports its losses on standard output, where --json promises nothing but JSON.
    with contextlib.redirect_stdout(sys.stderr) if args.json else contextlib.nullcontext():
        facts = train(recipe)
    if args.json:
        print(json.dumps(facts, indent=2, default=str))
    return 0


def print_recipes(as_json: bool) -> None:
    """The packaged recipes, one a line: name and description."""
    from facemllm_recipes.packaged import recipe_description, recipe_names

    recipes = {name: recipe_description(name) for name in recipe_names()}
    if as_json:
        print(json.dumps([{"name": name, "description": text} for name, text in recipes.items()], indent=2))
        return
    for name, text in recipes.items():
        print(f"{name:<{max(map(len, recipes))}}  {text}")
