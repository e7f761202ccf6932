"""`facemllm annotate`: have a vision-language model describe faces, and write what it said as a corpus."""

import argparse
import contextlib
import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any

from datasets_scripts.shown_text import in_terminal
from facemllm.cli import UserError

from .options import add_corpus_options, check_positive, given, option_name, option_words, split_line

HELP = """\
Have a vision-language model describe faces, and write what it said as a corpus. The model is reached by the OpenAI
chat protocol: vLLM, TGI, llama.cpp, transformers serve and the paid services speak it. Every answer is kept in
DIR/.annotating before the next step: after an interruption the same command goes on, and asks nothing twice.

Exit code 0: the corpus is written; answers that were not kept are counted, by reason. 1: nothing could be kept, or a
configuration of the corpus stayed empty. 2: a mistake in the arguments, or an endpoint that does not answer."""
EXAMPLE = (
    "facemllm annotate fairfacegpt FairFace --out corpora/fairfacegpt --endpoint http://localhost:8000/v1 "
    "--model Qwen/Qwen3-VL-8B-Instruct --include-images"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    sources = parser.add_subparsers(dest="source", metavar="SOURCE", required=True)
    _add_fairfacegpt(sources)
    _add_laion_face(sources)
    _add_download(sources)


def _add_fairfacegpt(sources: Any) -> None:
    from datasets_scripts.fairfacegpt.records import CONFIGS

    parser = sources.add_parser(
        "fairfacegpt",
        help="eight descriptions of each face of FairFace, as FairFaceGPT has them",
        description="Eight descriptions of each face of FairFace, by a model that is told age group and gender. The "
        "corpus is for training: a model that has seen it must not be tested on the same split of FairFace.",
        epilog=f"example: {EXAMPLE}",
    )
    parser.add_argument("root", metavar="FOLDER", help="the folder with fairface_label_val.csv and val/")
    parser.add_argument(
        "--split", choices=("validation", "train"), default="validation", help="of FairFace (default: validation)"
    )
    parser.add_argument("--labels", metavar="CSV", help="another label file for the split")
    parser.add_argument(
        "--race",
        action="store_true",
        help="tell the model FairFace's race label, as the paper does, and write it: for auditing data and models, "
        "never for categorising people; without it, answers that speak of race are not kept",
    )
    _add_corpus(parser, CONFIGS, "carry the pictures too (FairFace is CC BY 4.0); training needs them")
    _add_annotator(parser)


def _add_laion_face(sources: Any) -> None:
    from datasets_scripts.laion_face.records import CONFIGS
    from datasets_scripts.laion_face.rules import FaceRules

    parser = sources.add_parser(
        "laion-face",
        help="captions and attributes of the faces in img2dataset's tars",
        description="Captions and attributes of the faces in WebDataset tars as img2dataset writes them.",
        epilog="example: facemllm annotate laion-face laion/shards --out corpora/laion_face "
        "--endpoint http://localhost:8000/v1 --model Qwen/Qwen3-VL-8B-Instruct",
    )
    parser.add_argument("shards", nargs="+", metavar="SHARDS", help="a folder of tars, or tars")
    parser.add_argument(
        "--detections", metavar="FOLDER", help="LAION-Face's sample2detect_*.pth, instead of detecting"
    )
    parser.add_argument("--detector", metavar="MODEL", help="YuNet: an .onnx file or a Hub id (default: the Hub's)")
    rules = parser.add_argument_group("which faces are kept")
    default = {field.name: field.default for field in fields(FaceRules)}
    _add_number(rules, default, "min_crop", int, "PIXELS", "shorter side of a face's crop")
    _add_number(rules, default, "min_score", float, "S", "the detector's confidence, 0 to 1")
    _add_number(rules, default, "min_sharpness", float, "S", "0 keeps blurred faces too")
    _add_number(rules, default, "max_faces", int, "N", "pictures with more faces are left out")
    _add_number(rules, default, "margin", float, "SHARE", "of the box's longer side, added on each side")
    rules.add_argument("--keep-nsfw", action="store_true", help="also pictures that LAION's table calls NSFW")
    _add_corpus(parser, CONFIGS, "carry the crops too: they are other people's, and nobody may pass them on")
    _add_annotator(parser)


def _add_download(sources: Any) -> None:
    from datasets_scripts.laion_face.download import download

    parser = sources.add_parser(
        "download",
        help="fetch the pictures of LAION-Face's URL tables with img2dataset",
        description="Fetch the pictures of URL tables (Parquet) into tars, by the command img2dataset. It wants an "
        "environment of its own, for it holds back pandas: python -m venv E && E/bin/pip install img2dataset.",
        epilog="example: facemllm annotate download laion_face_part_00000.parquet --out laion/shards "
        "--img2dataset E/bin/img2dataset",
    )
    parser.add_argument("urls", metavar="URLS", help="a Parquet file with URLs, or a folder of them")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the tars; an interrupted run goes on")
    parser.add_argument(
        "--img2dataset", default="img2dataset", metavar="CMD", help="the command (default: img2dataset)"
    )
    default = {name: value.default for name, value in inspect.signature(download).parameters.items()}
    _add_number(parser, default, "processes", int, "N", "tars that are filled at once")
    _add_number(parser, default, "threads", int, "N", "downloads at once in each process")
    _add_number(parser, default, "timeout", float, "S", "seconds that a server may stay silent")
    _add_number(parser, default, "retries", int, "N", "how often a picture is tried again")
    _add_number(parser, default, "images_per_shard", int, "N", "URLs to a tar")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def _add_number(group: Any, default: dict[str, Any], name: str, kind: Any, metavar: str, meaning: str) -> None:
    usual = default[name]
    shown = "what suits the detector" if usual is None else f"{usual:,}" if isinstance(usual, int) else f"{usual:g}"
    group.add_argument(option_name(name), type=kind, metavar=metavar, help=f"{meaning} (default: {shown})")


def _add_corpus(parser: argparse.ArgumentParser, configs: tuple[str, ...], pictures: str) -> None:
    parser.add_argument("--include-images", action="store_true", help=pictures)
    parser.add_argument("--limit", type=int, metavar="FACES", help="ask about so many faces at most")
    config, seed = "configs to write (default: all)", "order and wording of questions"
    overwrite = "replace a corpus of other settings; answers are kept"
    add_corpus_options(parser, configs, config, seed, "processes that write", overwrite)


def _add_annotator(parser: argparse.ArgumentParser) -> None:
    from datasets_scripts.annotator.settings import STRUCTURED, Annotator
    from datasets_scripts.engines.options import ENGINES

    default = {field.name: field.default for field in fields(Annotator)}
    group = parser.add_argument_group("annotator")
    group.add_argument("--model", required=True, metavar="NAME", help="the model's name at the endpoint")
    group.add_argument(
        "--endpoint", default="http://localhost:8000/v1", metavar="URL", help="(default: http://localhost:8000/v1)"
    )
    group.add_argument("--api-key-env", metavar="NAME", help="environment variable that holds the key")
    least = default["concurrency"]
    group.add_argument(
        "--concurrency",
        type=int,
        metavar="N",
        help=f"requests in flight at once, in all workers together (default: {least}, or one for each worker)",
    )
    resent = "how often a request is sent again after 429, 5xx or a broken connection"
    _add_number(group, default, "timeout", float, "S", "seconds until a request is given up and sent again")
    _add_number(group, default, "max_retries", int, "N", resent)
    _add_number(group, default, "max_body", int, "BYTES", "of an answer that are read; a longer one is invalid")
    _add_number(group, default, "attempts", int, "N", "how often a question is asked until its answer can be kept")
    number, whole = _or_none(_number, "a number"), _or_none(int, "a whole number")
    _add_number(group, default, "temperature", number, "T", "of the sampling; none leaves it to the endpoint")
    _add_number(group, default, "max_tokens", whole, "N", "the longest answer; none leaves it to the endpoint")
    names = ("timeout", "max_retries", "max_body", "attempts", "temperature", "max_tokens")
    group.set_defaults(**{name: default[name] for name in names})
    group.add_argument(
        "--structured",
        choices=STRUCTURED,
        default=default["structured"],
        help=f"how attribute tables are asked for as JSON (default: {default['structured']})",
    )
    group.add_argument(
        "--extra-body", type=_json_object, default={}, metavar="JSON", help="more fields of each request"
    )
    group.add_argument("--input-price", type=float, metavar="P", help="of a million tokens, for the cost")
    group.add_argument("--output-price", type=float, metavar="P", help="of a million tokens, for the cost")
    group.add_argument("--dry-run", action="store_true", help="estimate requests, tokens and cost; ask nothing")
    group = parser.add_argument_group("where it runs")
    group.add_argument("--engine", choices=ENGINES, default="local", help="this machine or a cluster (default: local)")
    group.add_argument("--workers", type=int, default=1, metavar="N", help="parts worked on at once (default: 1)")
    group.add_argument(
        "--engine-options",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="slurm: partition=gpu time=8:00:00 ...; ray: address=auto ... (docs/annotation.md)",
    )


def run(args: argparse.Namespace) -> int:
    check_positive(args, "limit", "workers", "num_proc", "processes", "threads", "images_per_shard")
    return {"fairfacegpt": _fairfacegpt, "laion-face": _laion_face, "download": _download}[args.source](args)


def _fairfacegpt(args: argparse.Namespace) -> int:
    from datasets_scripts.fairfacegpt.annotation import annotate_fairfacegpt

    words = ["fairfacegpt FOLDER", "--split", args.split, *(["--labels CSV"] if args.labels else [])]
    words += option_words(args, "race")
    own = {"split": args.split, "labels": args.labels, "race": args.race}
    return _annotate(args, partial(annotate_fairfacegpt, args.root, args.out, **own), words)


def _laion_face(args: argparse.Namespace) -> int:
    from datasets_scripts.laion_face.annotation import annotate_laion
    from datasets_scripts.laion_face.rules import FaceRules

    rules = given(args, "min_crop", "min_score", "min_sharpness", "max_faces", "margin")
    words = ["laion-face SHARDS", *(["--detections FOLDER"] if args.detections else [])]
    words += option_words(args, *rules, "keep_nsfw")
    own = {"rules": FaceRules(**rules, skip_nsfw=not args.keep_nsfw), **given(args, "detections", "detector")}
    shards = args.shards[0] if len(args.shards) == 1 else args.shards
    return _annotate(args, partial(annotate_laion, shards, args.out, **own), words)


def _annotate(args: argparse.Namespace, annotate: Any, words: list[str]) -> int:
    from datasets_scripts.annotator.settings import Annotator
    from datasets_scripts.engines.options import TasksUnfinished, check_engine

    options = _engine_options(args.engine_options)
    check_engine(args.engine, options)
    if args.concurrency is None:
        args.concurrency = max(Annotator.concurrency, args.workers)
    elif args.concurrency < args.workers:
        wanted = f"{args.workers} workers need a request each, give {args.workers} or more"
        raise UserError(f"--concurrency {args.concurrency}: {wanted}")
    names = {field.name for field in fields(Annotator)} & vars(args).keys()
    annotator = Annotator(**{name: getattr(args, name) for name in names})
    try:
        report = annotate(
            annotator=annotator,
            configs=args.config,
            engine_options=options,
            command=_card_command(args, words),
            **given(args, "include_images", "limit", "engine", "workers", "dry_run", "num_proc", "seed", "overwrite"),
        )
    except TasksUnfinished as unfinished:
        print(in_terminal(str(unfinished)), file=sys.stderr)
        return 1
    if report.get("corpus"):
        report["corpus"] = {name: value for name, value in report["corpus"].items() if name != "settings"}
    print(json.dumps(report, indent=2) if args.json else in_terminal(_summary(report, args), lines=True))
    return 0 if args.dry_run or (report["corpus"] and not report.get("empty")) else 1


def _download(args: argparse.Namespace) -> int:
    from datasets_scripts.laion_face.download import download

    options = given(args, "processes", "threads", "timeout", "retries", "images_per_shard")
    report = download(args.urls, args.out, img2dataset=args.img2dataset, **options)
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        lines = [f"{report['downloaded']:,} of {report['urls']:,} pictures in {report['shards']:,} tars"]
        lines += [f"  failed: {reason}: {count:,}" for reason, count in report["reasons"].items()]
        lines.append(f"{report['out']}: {report['seconds']:.1f} s")
        print("\n".join(map(in_terminal, lines)))
    return 0 if report["downloaded"] and not report["unfinished"] else 1


def _or_none(kind: Callable[[str], float], wanted: str) -> Callable[[str], float | None]:
    def read(text: str) -> float | None:
        try:
            return None if text.lower() == "none" else kind(text)
        except (ValueError, OverflowError):
            raise argparse.ArgumentTypeError(f"{text}: give {wanted} or none") from None

    return read


def _number(text: str) -> float | int:
    number = float(text)
    return int(number) if number == int(number) else number


def _json_object(text: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        value = json.loads(text)
        if isinstance(value, dict):
            return value
    raise argparse.ArgumentTypeError(f"{text}: give a JSON object")


def _engine_options(pairs: list[str]) -> dict[str, Any]:
    """`partition=gpu sbatch_args.gres=gpu:1` as a mapping, values read as YAML does."""
    import yaml

    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UserError(f"--engine-options {pair}: give NAME=VALUE")
        group, dot, key = name.partition(".")
        if dot:
            options.setdefault(group, {})[key] = value
        else:
            options[name] = value if ":" in value else yaml.safe_load(value)  # YAML takes 8:00:00 for a number
    return options


def _card_command(args: argparse.Namespace, words: list[str]) -> str:
    """The command that writes the same corpus, without the places of this machine."""
    words = ["facemllm annotate", *words, "--endpoint URL", "--model", args.model, "--config", *args.config]
    words += ["--temperature", str(args.temperature), "--max-tokens", str(args.max_tokens)]
    return " ".join([*words, *option_words(args, "seed", "limit", "include_images"), "--out DIR"])


def _summary(report: dict[str, Any], args: argparse.Namespace) -> str:
    if args.dry_run:
        return _estimate(report["estimate"])
    asked, corpus = report["annotation"], report["corpus"]
    questions = asked["valid"] + sum(asked["rejected"].values())
    cost = f", cost {asked['cost']:,.2f}" if asked.get("cost") is not None else ""
    lines = [
        f"{asked['faces']:,} faces, {questions:,} questions, {asked['valid']:,} answers kept; "
        f"{asked['input_tokens']:,} input and {asked['output_tokens']:,} output tokens{cost}"
    ]
    lines += _left_out(asked["skipped"])
    lines += [f"  answer not kept: {reason}: {count:,}" for reason, count in asked["rejected"].items()]
    lines += [f"  {config} is not written: it would be empty" for config in report.get("empty", ())]
    if not corpus:
        why = (
            "answer could be kept; try another model or --attempts" if asked["faces"] else "face could be asked about"
        )
        return "\n".join([*lines, f"{args.out}: no corpus, for no {why}"])
    for config, splits in corpus["configs"].items():
        lines += [split_line(config, split, counted) for split, counted in splits.items()]
    lines.append(f"{corpus['out']}: {asked['seconds'] + corpus['seconds']:.1f} s")
    if not args.include_images:
        lines.append("pictures are not carried; the same command with --include-images --overwrite writes them too")
    return "\n".join(lines)


def _estimate(found: dict[str, Any]) -> str:
    cost = "" if found["cost"] is None else f", cost {found['cost']:,.2f}"
    cost += "" if found["most_cost"] is None else f", {found['most_cost']:,.2f} at most"
    most = "" if found["most_output_tokens"] is None else f" ({found['most_output_tokens']:,} at most)"
    read = "" if found["counted"] else f", estimated from {found['parts_read']} of {found['parts']:,} parts"
    lines = [
        f"{found['faces']:,} faces, {found['requests']:,} requests, about {found['input_tokens']:,} input and "
        f"{found['output_tokens']:,} output tokens{most}{cost}{read}; nothing was asked"
    ]
    return "\n".join([*lines, *_left_out(found["skipped"])])


def _left_out(skipped: dict[str, int]) -> list[str]:
    return [f"  face left out: {reason}: {count:,}" for reason, count in skipped.items()]
