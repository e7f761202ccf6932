"""``facemllm train``: run one training stage from a recipe."""

import argparse
import contextlib
import json
import os
import sys

HELP = """Run one training stage from a recipe (YAML) and leave a model folder in its output_dir.

Run the same command again after a kill: it goes on from the last complete checkpoint. Any key of the recipe can be
changed on the command line as key=value, with dots: trainer.learning_rate=1e-4, data.0.path=corpora/mine."""
EXAMPLE = "facemllm train recipes/face_mllm/stage1_alignment.yaml output_dir=runs/stage1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="the recipe, a YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change a key of the recipe")
    parser.add_argument(
        "--check",
        action="store_true",
        help="check the recipe and the first rows of its corpora, print it in full, train nothing",
    )
    parser.add_argument("--json", action="store_true", help="print what run.json holds to standard output at the end")


def run(args: argparse.Namespace) -> int:
    from facemllm_recipes.recipe import load_recipe

    # Forked data workers and the tokenizer's threads do not go together; without this it says so at every fork.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    recipe = load_recipe(args.recipe, args.overrides)
    if args.check:
        from facemllm_recipes.corpus_check import check_corpora

        for line in check_corpora(recipe):
            print(line, file=sys.stderr)
        print(json.dumps(recipe.to_dict(), indent=2, default=str))
        return 0

    from facemllm_recipes.sft import train

    # The trainer reports its losses on standard output, where --json promises nothing but JSON.
    with contextlib.redirect_stdout(sys.stderr) if args.json else contextlib.nullcontext():
        facts = train(recipe)
    if args.json:
        print(json.dumps(facts, indent=2, default=str))
    return 0
