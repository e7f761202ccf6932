"""What a precision of an ONNX export costs: accuracy per task and agreement of answers against the fp32 export.

    python -m facemllm.evaluation.export_quality FP32 FOLDER… --benchmark fairface --root FAIRFACE

`FP32` and the folders are exports of one model. Each answers the questions of a benchmark of `facemllm evaluate`
whose answers are closed sets. File size, the time to load and peak memory come from a process for each, which answers
one question. All of it is printed and written into each folder's `export.json` under `quality`, by benchmark; a
precision that loses more than a point of accuracy, as the mean over the tasks, is marked there and in the table.

With `--out`, predictions are kept in a folder for each export, and a second run asks only what is missing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facemllm.cli import UserError

if TYPE_CHECKING:
    from .benchmarks import Benchmark
    from .predictions import Prediction

POINTS = 100
MAX_LOSS = 1.0
"""Points of mean accuracy above which a loss is marked."""


def measure(
    folders: Sequence[Path], benchmark: "Benchmark", ways: Sequence[str], out: Path, settings: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Have every export answer the benchmark, and write what each loses against the first into its `export.json`.

    Args:
        folders: exports of one model; the first is the fp32 one.
        out: predictions go to a folder in it for each export.
        settings: what was asked for, in JSON's types: predictions of another request are not mixed with these.

    Returns:
        For each folder, what its record now says of this benchmark: `ways`, `size_mb`, `load_seconds`,
        `peak_mb` and `marked`.

    Raises:
        UserError: where a folder is no export, the first is not fp32, or no task has a closed set of answers.
    """
    from facemllm_onnx.export.folder import write_record

    from .figures.columns import options_of

    records = [_record(folder) for folder in folders]
    _check(folders, records)
    benchmark = replace(benchmark, tasks=tuple(task for task in benchmark.tasks if options_of(task.spec)))
    if not benchmark.tasks:
        raise UserError(f"{benchmark.name}: none of its tasks has a closed set of answers; take another --benchmark")
    footprints = [footprint(folder) for folder in folders]
    answers = [_answers(folder, benchmark, ways, out, settings) for folder in folders]
    found = {}
    for folder, record, foot, own in zip(folders, records, footprints, answers, strict=True):
        compared = {way: compare(answers[0][way], own[way]) for way in ways}
        quality = {
            "faces": len({prediction.id for prediction in own[ways[0]]}),
            "against": "fp32",
            "ways": compared,
            "marked": any(figures["loss"] > MAX_LOSS for figures in compared.values()),
            "size_mb": round(sum(graph["bytes"] for graph in record["graphs"].values()) / 1e6, 2),
            **foot,
        }
        found[str(folder)] = quality
        latest = _record(folder)
        write_record({**latest, "quality": {**(latest.get("quality") or {}), benchmark.name: quality}}, folder)
    return found


def compare(reference: "Sequence[Prediction]", other: "Sequence[Prediction]") -> dict[str, Any]:
    """Accuracy of both in percent and what the other loses, per task and as the mean over the tasks.

    `agreement` is the share, in percent, of questions with the same answer: the same option where options are
    scored, the same text where it is written.
    """
    right: dict[str, list[list[bool]]] = {}
    same = []
    theirs = {(prediction.id, prediction.task): prediction for prediction in other}
    for prediction in reference:
        answer = theirs[prediction.id, prediction.task]
        pair = [given.predicted == given.expected for given in (prediction, answer)]
        right.setdefault(prediction.task, []).append(pair)
        same.append((prediction.predicted, prediction.text) == (answer.predicted, answer.text))
    tasks = {}
    for task, pairs in right.items():
        before, after = (POINTS * sum(pair[side] for pair in pairs) / len(pairs) for side in (0, 1))
        tasks[task] = {"accuracy": round(after, 2), "loss": round(before - after, 2), "n": len(pairs)}
    worst = max(tasks, key=lambda task: tasks[task]["loss"])
    return {
        "accuracy": round(sum(entry["accuracy"] for entry in tasks.values()) / len(tasks), 2),
        "loss": round(sum(entry["loss"] for entry in tasks.values()) / len(tasks), 2),
        "worst_task": worst,
        "worst_loss": tasks[worst]["loss"],
        "agreement": round(POINTS * sum(same) / len(same), 2),
        "tasks": tasks,
    }


def footprint(folder: Path) -> dict[str, float]:
    """What `facemllm_onnx.benchmark.footprint` says of an export in a process of its own. Raises `UserError`."""
    command = [sys.executable, "-m", "facemllm_onnx.benchmark", "--footprint", str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        raise UserError(f"{folder}: does not run: {ran.stderr.strip().splitlines()[-1]}")
    return json.loads(ran.stdout)


def _answers(
    folder: Path, benchmark: "Benchmark", ways: Sequence[str], out: Path, settings: Mapping[str, Any]
) -> "dict[str, list[Prediction]]":
    from facemllm.inference.identity import identify

    from .answerers import load_answerer
    from .predict import PREDICTIONS, predict, run_into
    from .predictions import read_predictions

    place = out / folder.name
    asked = {**settings, **benchmark.settings, "model": str(folder), "weights": identify(folder)}
    run_into(
        place,
        asked,
        ways,
        lambda log, all_ways: {
            "counts": predict(benchmark, load_answerer("onnx", str(folder), device="cpu"), all_ways, log).as_json()
        },
        tasks=[task.spec.as_json() for task in benchmark.tasks],
    )
    found: dict[str, list[Prediction]] = {way: [] for way in ways}
    for prediction in read_predictions(place / PREDICTIONS):
        if prediction.way in found:
            found[prediction.way].append(prediction)
    return found


def _record(folder: Path) -> dict[str, Any]:
    from facemllm.inference.exports import read_export
    from facemllm_onnx.export_location import EXPORT_RECORD

    if not (folder / EXPORT_RECORD).is_file():
        raise UserError(f"{folder}: is no export: has no {EXPORT_RECORD}; give a folder that facemllm export wrote")
    return read_export(folder / EXPORT_RECORD)


def _check(folders: Sequence[Path], records: Sequence[Mapping[str, Any]]) -> None:
    if records[0]["precision"] != "fp32":
        raise UserError(f"{folders[0]}: is an export in {records[0]['precision']}; give the fp32 one first")
    names = [folder.name for folder in folders]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"{twice}: two folders have that name; predictions are kept by name, so rename one")
    digests = [(record.get("source") or {}).get("digest") for record in records]
    for folder, digest in zip(folders, digests, strict=True):
        if digest != digests[0]:
            raise UserError(f"{folder}: is of another model than {folders[0]}; export both from one")


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures of `measure`, a line for each export and way."""
    answers = f"{'':<24}{'way':<12}{'accuracy':>9}{'loss':>7}  {'worst task':<24}{'agree':>7}"
    lines = [f"{answers}{'MB':>9}{'load s':>8}{'peak MB':>9}"]
    for folder, quality in found.items():
        for way, figures in quality["ways"].items():
            worst = f"{figures['worst_task']} {figures['worst_loss']:+.1f}"
            marked = f"  loses more than {MAX_LOSS:g} point" if figures["loss"] > MAX_LOSS else ""
            lines.append(
                f"{Path(folder).name:<24}{way:<12}{figures['accuracy']:>9.2f}{figures['loss']:>7.2f}  {worst:<24}"
                f"{figures['agreement']:>7.2f}{quality['size_mb']:>9.2f}{quality['load_seconds']:>8.2f}"
                f"{quality['peak_mb']:>9.0f}{marked}"
            )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Measure and print a table, or JSON; 2 for a mistake of the user's."""
    from datasets_scripts.schema import CorpusError

    parser = argparse.ArgumentParser(
        prog="python -m facemllm.evaluation.export_quality", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("fp32", type=Path, metavar="FP32", help="the fp32 export")
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="exports of the same model")
    parser.add_argument("--benchmark", required=True, help="as facemllm evaluate names it, or a corpus")
    parser.add_argument("--root", metavar="DIR", help="the folder of the benchmark's dataset")
    parser.add_argument("--split", help="of the benchmark (default: its own)")
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help="(default: the benchmark's)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N faces")
    parser.add_argument("--ways", nargs="+", choices=("scoring", "generation"), default=["scoring"])
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the predictions in DIR")
    parser.add_argument("--json", action="store_true", help="write the figures as JSON")
    args = parser.parse_args(argv)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        with tempfile.TemporaryDirectory() as scratch:
            found = _measure(args, args.out or Path(scratch))
    except (UserError, CorpusError) as error:
        sys.stderr.write(f"export_quality: {error}\n")
        return 2
    sys.stdout.write((json.dumps(found, indent=2) if args.json else table(found)) + "\n")
    return 0


def _measure(args: argparse.Namespace, out: Path) -> dict[str, dict[str, Any]]:
    from .benchmarks import NAMES, Wanted, open_benchmark
    from .corpus_benchmark import open_corpus
    from .registry import FOLDERS
    from .task_protocols import taught_age

    name = args.benchmark
    if name in FOLDERS:
        raise UserError(f"--benchmark {name}: asks no faces with labels; take a dataset, synthetic or a corpus")
    wanted = Wanted(
        root=args.root,
        split=args.split,
        tasks=None if args.tasks is None else tuple(args.tasks),
        race=False,
        limit=args.limit,
        ask_age=taught_age(str(args.fp32)),
    )
    benchmark = open_benchmark(name, wanted) if name in NAMES else open_corpus(name, "face_tasks", wanted)
    settings = {"benchmark": name, "limit": args.limit, "tasks": [task.spec.name for task in benchmark.tasks]}
    return measure([args.fp32, *args.folders], benchmark, list(dict.fromkeys(args.ways)), out, settings)


if __name__ == "__main__":
    sys.exit(main())
