"""``facemllm evaluate``: a model's accuracy on the labels of a corpus, beside the majority baseline, per group."""

import argparse
import json
import sys
from pathlib import Path

from facemllm.cli import UserError

HELP = (
    "Ask a model the canonical question of each task about every face of a corpus, and compare its answers with the\n"
    "labels. CORPUS is a folder or Hub id that load_dataset reads. The majority baseline is taken from the training\n"
    "split. Prints accuracy with a 95 % interval and n, for all faces and per group. race is evaluated only when\n"
    "named: it is a label for auditing data."
)
EXAMPLE = "facemllm evaluate runs/fairface/stage3_face_tasks corpora/fairface --tasks gender age"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model folder or a Hub id")
    parser.add_argument("corpus", metavar="CORPUS", help="a corpus folder or a Hub id")
    parser.add_argument("--config", default="face_tasks", help="configuration of the corpus (default: face_tasks)")
    parser.add_argument("--split", default="validation", help="faces to ask about (default: validation)")
    parser.add_argument(
        "--baseline-split",
        help="faces the majority is taken from (default: train; in the config zero_shot, where train has others, "
        "the split itself)",
    )
    parser.add_argument(
        "--tasks", nargs="+", metavar="TASK", help="such as gender, age, race, smiling (default: those with labels)"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N faces")
    parser.add_argument("--batch-size", type=int, default=128, metavar="N", help="faces per batch (default: 128)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python code that comes with the model")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the whole report to FILE, as JSON")
    parser.add_argument("--json", action="store_true", help="print the whole report as JSON")


def run(args: argparse.Namespace) -> int:
    for name in ("limit", "batch_size"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} {value}: give 1 or more")
    from transformers.utils import logging

    from datasets_scripts.questions import TASKS, conventions_of
    from datasets_scripts.zero_shot import ZERO_SHOT
    from facemllm.answering import check_model_name, load_model
    from facemllm.corpus_evaluation import answer_corpus, majority_answers, score, tasks_of, with_pictures

    check_model_name(args.model)
    rows, without_picture = with_pictures(_load(args.corpus, args.config, args.split), f"{args.corpus}, {args.split}")
    rows = rows.select(range(min(args.limit or len(rows), len(rows))))
    baseline_split = args.baseline_split or (args.split if args.config == ZERO_SHOT else "train")
    known = _load_baseline(args, baseline_split)["labels"][:]
    if without_picture:
        print(f"{args.corpus}: {without_picture} rows without a picture are left out", file=sys.stderr)
    tasks = args.tasks or tasks_of(known)
    if not tasks:
        raise UserError(
            f"{args.corpus}: it has labels for none of the {len(TASKS)} tasks that can be asked here; drawn "
            "faces are evaluated by facemllm quickstart"
        )
    majority, conventions = majority_answers(known, tasks), conventions_of(known)

    logging.disable_progress_bar()
    model, processor = load_model(args.model, args.device, args.trust_remote_code)
    predictions = list(answer_corpus(model, processor, rows, list(majority), args.batch_size, conventions))
    report = {
        "model": args.model,
        "corpus": args.corpus,
        "config": args.config,
        "split": args.split,
        "faces": len(rows),
        "without_picture": without_picture,
        "tasks": score(predictions, majority, conventions),
    }
    if args.out is not None:
        from recipes.run_folder import write_json

        write_json(args.out, report)
    print(json.dumps(report, indent=2) if args.json else _table(report))
    return 0


def _load(corpus: str, config: str, split: str):
    from datasets import Image, load_dataset

    from facemllm.answering import could_be_hub_id

    if not Path(corpus).is_dir() and not could_be_hub_id(corpus):
        raise UserError(f"{corpus}: there is no such corpus folder; a Hub id has the form owner/name")
    if not Path(corpus).is_dir():
        print(f"{corpus} is no folder here: looking for it on the Hugging Face Hub", file=sys.stderr)
    try:
        rows = load_dataset(corpus, config, split=split)
    except (ValueError, FileNotFoundError, ConnectionError) as error:
        if not Path(corpus).is_dir():
            raise UserError(f"{corpus}: there is no such folder here; {str(error).splitlines()[0]}") from error
        raise UserError(f"{corpus}, config {config}, split {split}: {str(error).splitlines()[0]}") from error
    missing = [name for name in ("id", "image", "labels") if name not in rows.column_names]
    if missing:
        raise UserError(
            f"{corpus}: has no column {', '.join(missing)}; give a corpus of facemllm data or facemllm annotate"
        )
    return rows.cast_column("image", Image())


def _load_baseline(args: argparse.Namespace, split: str):
    try:
        return _load(args.corpus, args.config, split)
    except UserError as error:
        if args.baseline_split is not None or split == args.split:
            raise
        raise UserError(
            f"{args.corpus} has no split {split}, whose labels the majority baseline is taken from: name another "
            f"with --baseline-split, such as --baseline-split {args.split}"
        ) from error


def _table(report: dict) -> str:
    lines = [f"{'':<28}{'accuracy':>9}  {'95 % interval':<15}{'majority':>9}{'n':>7}"]
    for task, figures in report["tasks"].items():
        lines.append(_line(task, figures))
        for group, values in figures["groups"].items():
            lines += [_line(f"  {group}: {value}", entry) for value, entry in values.items()]
    return "\n".join(lines)


def _line(name: str, figures: dict) -> str:
    low, high = figures["interval"]
    return (
        f"{name:<28}{figures['accuracy']:>9.3f}  {f'{low:.3f} to {high:.3f}':<15}{figures['majority']:>9.3f}"
        f"{figures['n']:>7}"
    )
