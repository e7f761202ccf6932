"""`python -m facemllm.lmms_eval`: where lmms-eval finds the tasks, and FaceXBench as a data set that it can read."""

import argparse
import sys
from pathlib import Path

from facemllm.cli import UserError

from . import TASKS


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m facemllm.lmms_eval", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("tasks", help="print the folder for lmms-eval's --include_path")
    facexbench = commands.add_parser("facexbench", help="write FaceXBench's questions as a data set of lmms-eval")
    facexbench.add_argument("--root", required=True, type=Path, metavar="DIR", help="a clone of FaceXBench")
    facexbench.add_argument("--out", required=True, type=Path, metavar="DIR", help="where to write test.jsonl")
    args = parser.parse_args(arguments)
    if args.command == "tasks":
        print(TASKS)
        return 0
    from .facexbench import write_questions

    try:
        counts = write_questions(args.root, args.out)
    except UserError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    print(
        f"{counts['questions_asked']} of {counts['questions_listed']} questions in {args.out}; "
        f"{counts['left_out_for_missing_images']} left out for missing pictures, {len(counts['malformed'])} malformed"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
