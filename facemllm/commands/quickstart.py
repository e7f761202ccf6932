"""`facemllm quickstart`: a face MLLM of one's own in minutes, on two CPU cores."""

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path

from datasets_scripts.shown_text import in_terminal

from .options import alone_in

HELP = (
    "Draw a corpus of faces, train a tiny face MLLM in three stages, evaluate it on held-out faces after each, and\n"
    "leave the model folder, report.json, report.html and report.png in DIR. Run again after a kill, it goes on.\n"
    "Exit code 1 means that the model missed the required accuracy."
)
EXAMPLE = "facemllm quickstart --out quickstart --seed 0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", default="quickstart", metavar="DIR", help="default: quickstart")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed is another corpus (default: 0)")
    parser.add_argument("--json", action="store_true", help="print report.json at the end instead of the table")


def run(args: argparse.Namespace) -> int:
    import torch
    from transformers.utils import logging

    from facemllm.quickstart.run import Plan, Quickstart
    from facemllm.quickstart.summary import table

    # Forked data workers and the tokenizer's threads do not go together; without this it says so at every fork.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Steps are too small to gain from a second thread, and where it has to share its core the first waits for it at
    # every operation: 7.5 s a step against 0.5 s.
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    # One bar and one line per step; the trainer would print its figures to standard output, which --json needs.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with alone_in("--out", args.out), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        report = Quickstart(Path(args.out), args.seed, Plan()).run()
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        print(table(report))
        print(in_terminal(next_steps(Path(args.out)), lines=True))
    return 0 if report["passed"] else 1


def next_steps(out: Path) -> str:
    """Where the results are, and what to try now, in words that can be pasted."""
    program = sys.argv[0] if Path(sys.argv[0]).name == "facemllm" else "facemllm"
    return (
        f"\nreport       {out / 'report.html'}\n"
        f"model        {out / 'model'}\n"
        f"faces        {out / 'faces'}\n\n"
        "ask it something:\n"
        f'  {program} ask {out / "model"} {out / "faces" / "face-00.png"} "What hat does the person wear?"\n'
        f'  {program} ask {out / "model"} {out / "faces" / "face-01.png"} "What color is the background?"\n'
        f"  {program} info {out / 'model'}"
    )
