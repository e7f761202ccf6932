"""`facemllm evaluate`: a model's answers compared with the labels of a benchmark, in the field's own figures."""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets_scripts.shown_text import in_terminal
from facemllm.cli import UserError
from facemllm.evaluation.registry import FOLDERS, load_folder

from .options import (
    MODEL_RULE,
    add_device_options,
    add_model_words,
    alone_in,
    check_positive,
    option_name,
    resolve_model,
    split_model,
)

if TYPE_CHECKING:
    from facemllm.evaluation.registry import OpenedBenchmark

HELP = (
    "Ask a model the questions of a benchmark and compare its answers with the labels.\n\n"
    "BENCHMARK is a dataset in its distributed layout with --root (facemllm data --help lists them, with what they\n"
    f"label), zero_shot_attributes (unseen attributes of celeba, maad_face or lfwa), {', '.join(FOLDERS)}, synthetic\n"
    "(drawn faces, made on the spot), or a corpus: a folder or Hub id that load_dataset reads.\n\n"
    f"{MODEL_RULE} Of two words\n"
    "the first is the model, and the second the benchmark.\n\n"
    "With --out, predictions are written as they come: the same command goes on after a kill, and --rescore writes\n"
    "the report again from them, without a model. Scoring compares the likelihood of the stated options; generation\n"
    "reads what the model writes. They are reported apart. Race labels, where the dataset has them, make group\n"
    "tables, for auditing (--no-race leaves them unread); race is asked only with --tasks race."
)
EXAMPLE = "facemllm evaluate fairface --root FairFace --out reports/fairface"
MAX_WITH_GROUPS = 4
RESCORING = ("out", "rescore", "json")  # all that has an effect without a model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_words(parser, "BENCHMARK", "a benchmark, a corpus folder or a Hub id")
    parser.add_argument("--root", metavar="DIR", help="the folder of the benchmark's dataset")
    root = "where the pictures lie that a corpus's rows only name, by paths that count from DIR"
    parser.add_argument("--image-root", metavar="DIR", help=root)
    parser.add_argument("--split", help="faces to ask about (default: the benchmark's; validation of a corpus)")
    parser.add_argument("--config", default="face_tasks", help="configuration of a corpus (default: face_tasks)")
    parser.add_argument(
        "--tasks", nargs="+", metavar="TASK", help="such as gender, age, race, smiling (default: the benchmark's)"
    )
    parser.add_argument("--no-race", action="store_true", help="read no race labels: no group tables by race")
    parser.add_argument(
        "--ways",
        nargs="+",
        choices=("scoring", "generation"),
        help="how the model answers (default: scoring; generation where the benchmark's published figures are of it)",
    )
    parser.add_argument(
        "--age",
        choices=("years", "groups"),
        help="how a model is asked for an age in years: for years, or for age groups (default: groups where its "
        "configuration says that it was taught groups alone, else years)",
    )
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="the dataset's own settings, such as fold=2"
    )
    for name in FOLDERS:
        load_folder(name).add_arguments(parser)
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N faces, or N questions of the whole")
    parser.add_argument("--adapter", metavar="DIR", help="a PEFT adapter to put on MODEL")
    parser.add_argument(
        "--backend",
        help="what runs the model: torch or onnx (default: onnx for what facemllm export wrote, else torch)",
    )
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="faces per batch (default: 64, on a CPU and for other models 8)"
    )
    add_device_options(parser)
    parser.add_argument("--out", metavar="DIR", help="write predictions, report and plots to DIR")
    parser.add_argument("--rescore", action="store_true", help="write the report in --out again, without a model")
    parser.add_argument("--json", action="store_true", help="print the whole report as JSON")


def run(args: argparse.Namespace) -> int:
    _check(args)
    if args.out is not None:
        out = Path(args.out)
        with alone_in("--out", out):
            return _print_report(args, out) if args.rescore else _evaluate(args, out)
    with tempfile.TemporaryDirectory() as folder:
        return _evaluate(args, Path(folder))


def _check(args: argparse.Namespace) -> None:
    check_positive(args, "limit", "batch_size")
    if args.rescore and args.out is None:
        raise UserError("--rescore needs --out DIR: the folder of an earlier evaluation")
    args.ways = args.ways and list(dict.fromkeys(args.ways))
    # an argument that would choose what is asked, where nothing is
    for name, default in _defaults(add_arguments).items() if args.rescore else ():
        if name not in RESCORING and getattr(args, name) != default:
            word = " ".join(args.words) if name == "words" else option_name(name)
            raise UserError(f"{word} has no effect with --rescore, which reads what is in --out alone: leave it out")
    if not args.rescore:
        (args.benchmark,) = split_model(args, "BENCHMARK", one=True)


def _defaults(add: Callable[[argparse.ArgumentParser], None]) -> dict[str, Any]:
    """The arguments that `add` adds to a parser, and their defaults."""
    parser = argparse.ArgumentParser()
    add(parser)
    return vars(parser.parse_args([]))


def _evaluate(args: argparse.Namespace, out: Path) -> int:
    from torch import OutOfMemoryError
    from transformers.utils import logging

    from facemllm.evaluation.answerers import BACKENDS, backend_of, load_answerer
    from facemllm.evaluation.predict import run_benchmark

    resolve_model(args)
    args.backend = args.backend or backend_of(args.model)
    if args.backend not in BACKENDS:
        raise UserError(f"--backend {args.backend}: give one of {', '.join(BACKENDS)}")
    logging.disable_progress_bar()
    load = partial(
        load_answerer,
        args.backend,
        args.model,
        device=args.device,
        adapter=args.adapter,
        batch_size=args.batch_size,
        trust_remote_code=args.trust_remote_code,
    )
    try:
        counts = run_benchmark(out, _open(args), load, _settings(args), args.ways)["counts"]
    except OutOfMemoryError as error:
        remedy = "the same command goes on with a smaller --batch-size"
        raise UserError(f"--device {args.device}: out of memory; {remedy}") from error
    for reason, count in counts["left_out"].items():
        print(in_terminal(f"facemllm evaluate: left out: {reason}: {count:,}"), file=sys.stderr)
    code = _print_report(args, out)
    for reason, count in counts["unreadable"].items():
        print(in_terminal(f"facemllm evaluate: could not be asked about: {reason}: {count:,}"), file=sys.stderr)
    return 1 if counts["unreadable"] else code


def _open(args: argparse.Namespace) -> "OpenedBenchmark":
    from facemllm.evaluation.benchmarks import NAMES, Wanted, open_benchmark
    from facemllm.evaluation.corpus_benchmark import open_corpus
    from facemllm.evaluation.predict import opened
    from facemllm.evaluation.task_protocols import taught_age

    wanted = Wanted(
        root=args.root,
        split=args.split,
        tasks=None if args.tasks is None else tuple(args.tasks),
        race=not args.no_race,
        limit=args.limit,
        options=_options(args.set),
        own=_own_options(args),
        image_root=args.image_root,
    )
    name = args.benchmark
    if name in FOLDERS:
        return load_folder(name).open_benchmark(wanted)
    wanted = replace(wanted, ask_age=args.age or taught_age(args.model))  # it asks the Hub about a Hub id
    benchmark = open_benchmark(name, wanted) if name in NAMES else open_corpus(name, args.config, wanted)
    return opened(benchmark, args.command_line)


def _own_options(args: argparse.Namespace) -> dict[str, Any]:
    """The values of the options that only this benchmark has. Raises `UserError` for one of another benchmark."""
    own = {}
    for name in FOLDERS:
        for option, default in _defaults(load_folder(name).add_arguments).items():
            given = getattr(args, option)
            if name == args.benchmark:
                own[option] = given
            elif given != default:
                raise UserError(f"{option_name(option)} is for {name}, not for {args.benchmark}")
    return own


def _options(pairs: Sequence[str]) -> dict[str, str]:
    options = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UserError(f"--set {pair}: give NAME=VALUE")
        options[name.replace("-", "_")] = value
    return options


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """Whose answers, to what: all that must be the same for a run to be gone on with."""
    from facemllm.inference.hub_names import hub_commit
    from facemllm.inference.identity import identify

    return {
        "model": _plain(args.model_name),
        "commit": hub_commit(args.model),
        "adapter": args.adapter and _plain(args.adapter),
        "adapter_commit": args.adapter and hub_commit(args.adapter),
        "weights": identify(args.model, args.adapter),
        "backend": args.backend,
        "benchmark": _plain(args.benchmark),
        "limit": args.limit,
    }


def _plain(name: str) -> str:
    """A folder's name without a slash at its end; any other name as it is."""
    return str(Path(name)) if Path(name).is_dir() else name


def _print_report(args: argparse.Namespace, out: Path) -> int:
    from facemllm.evaluation.report.report import write_report

    report = write_report(out, plots=args.out is not None)
    print(json.dumps(report, indent=2) if args.json else _table(report))
    if args.out is not None and not args.json:
        print(f"{out / 'report.html'} has all figures, per group too")
    if asked := _none_read(report):
        print(f"facemllm evaluate: nothing was measured: none of the {asked:,} answers could be read", file=sys.stderr)
        return 1
    return 0


def _none_read(report: Mapping[str, Any]) -> int:
    """How many answers there are where not one of them could be read; 0 where one could."""
    unread = [figures["unparsed"] for ways in report["tasks"].values() for figures in ways.values()]
    return sum(each["count"] for each in unread) if all(each["rate"] == 1 for each in unread) else 0


def _table(report: Mapping[str, Any]) -> str:
    from facemllm.evaluation.report.wording import group_of

    lines = [f"{'':<40}{'':<19}{'value':>9}  {'95 % interval':<17}{'baseline':>9}{'unparsed':>10}{'n':>8}"]
    for task, ways in report["tasks"].items():
        for way, figures in ways.items():
            metric, baseline = figures["primary"], figures.get("baseline") or {}
            unparsed = _unparsed(figures, way)
            name = task if len(ways) == 1 else f"{task}, {way}"
            lines.append(_line(name, metric, figures["metrics"][metric], baseline.get("value"), unparsed))
            if len(report["tasks"]) <= MAX_WITH_GROUPS:
                for group, values in ((figures.get("groups") or {}).get("by") or {}).items():
                    for value, entry in values.items():
                        line = _line(f"  {group}: {group_of(group, value)}", metric, entry)
                        lines.append(line + (" (small)" if entry["small"] else ""))
    for way, figures in report["means"].items():
        for metric, entry in figures["metrics"].items():
            name = f"mean of {len(figures['tasks'])} tasks, {way}"
            lines.append(_line(name, metric, entry, unparsed=_unparsed(figures, way)))
    return "\n".join(map(in_terminal, lines))


def _line(name: str, metric: str, entry: Mapping[str, Any], baseline: float | None = None, unparsed: str = "") -> str:
    low_high = " to ".join(map(_number, entry["interval"])) if entry["interval"] else ""
    return (
        f"{name:<40}{metric.replace('_', ' '):<19}{_number(entry['value']):>9}  {low_high:<17}{_number(baseline):>9}"
        f"{unparsed:>10}{entry['n']:>8,}"
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _unparsed(figures: Mapping[str, Any], way: str) -> str:
    rate = figures["unparsed"]["rate"]
    return "" if way == "scoring" or rate is None else f"{rate:.1%}"
