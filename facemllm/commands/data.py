"""``facemllm data``: build a corpus as Parquet shards with a dataset card."""

import argparse
import json
from typing import Any

HELP = (
    "Build a corpus as Parquet shards with a dataset card: load_dataset(DIR, CONFIG) reads it.\n\n"
    "An interrupted build goes on when the same command is run again. The same command, seed and versions write the\n"
    "same files, whatever the number of processes."
)
EXAMPLE = "facemllm data fairface FairFace --out corpora/fairface --num-proc 4"
SPLITS = ("train", "validation", "test")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    corpora = parser.add_subparsers(dest="corpus", metavar="CORPUS", required=True)
    _add_synthetic(corpora)
    _add_fairface(corpora)


def _add_synthetic(corpora: Any) -> None:
    parser = corpora.add_parser(
        "synthetic",
        help="drawn faces with exact labels",
        description="Drawn faces with exact labels, captions, questions and text-only conversations.",
        epilog="example: facemllm data synthetic --out corpora/drawn --count 12000 1000 1000",
    )
    parser.add_argument(
        "--count",
        nargs=3,
        type=int,
        default=(12000, 1000, 1000),
        metavar=tuple(split.upper() for split in SPLITS),
        help="faces in each split, 0 for none (default: 12000 1000 1000)",
    )
    parser.add_argument("--size", type=int, default=64, metavar="PIXELS", help="side of the pictures (default: 64)")
    _add_common(parser, ("captions", "vqa", "face_tasks", "text"))


def _add_fairface(corpora: Any) -> None:
    parser = corpora.add_parser(
        "fairface",
        help="the photographs of FairFace, with age group and gender",
        description="FairFace in the layout it is distributed in: captions and questions on age group and gender.",
        epilog="example: facemllm data fairface FairFace --out corpora/fairface --num-proc 4",
    )
    parser.add_argument("root", metavar="FOLDER", help="the folder with fairface_label_train.csv, train/ and val/")
    parser.add_argument(
        "--split", nargs="+", choices=SPLITS[:2], default=list(SPLITS[:2]), help="splits to build (default: both)"
    )
    parser.add_argument(
        "--labels",
        nargs="+",
        default=[],
        metavar="SPLIT=CSV",
        help="another label file for a split, also one that a spreadsheet has damaged (3-9 as 03-Sep)",
    )
    parser.add_argument(
        "--race",
        action="store_true",
        help="also write and ask about race labels: for auditing data and models, never for categorising people",
    )
    parser.add_argument("--limit", type=int, metavar="ROWS", help="read at most so many rows of each split")
    parser.add_argument("--no-images", action="store_true", help="leave the pixels out; url names the file instead")
    _add_common(parser, ("captions", "vqa", "face_tasks"))


def _add_common(parser: argparse.ArgumentParser, configs: tuple[str, ...]) -> None:
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write the corpus to")
    parser.add_argument(
        "--config", nargs="+", choices=configs, default=list(configs), help="configs to build (default: all)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="another seed is another wording (default: 0)"
    )
    parser.add_argument("--num-proc", type=int, default=1, metavar="N", help="processes (default: 1)")
    parser.add_argument("--shard-rows", type=int, default=2000, metavar="N", help="rows of a shard (default: 2000)")
    parser.add_argument("--overwrite", action="store_true", help="replace a corpus that another command wrote there")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    from datasets_scripts.build import build_fairface, build_synthetic
    from datasets_scripts.questions import DEFAULT_TASKS

    common = {
        "configs": args.config,
        "seed": args.seed,
        "num_proc": args.num_proc,
        "shard_rows": args.shard_rows,
        "overwrite": args.overwrite,
        "command": _card_command(args),
    }
    if args.corpus == "synthetic":
        report = build_synthetic(args.out, counts=dict(zip(SPLITS, args.count, strict=True)), size=args.size, **common)
    else:
        report = build_fairface(
            args.root,
            args.out,
            splits=args.split,
            labels=_label_files(args.labels),
            tasks=(*DEFAULT_TASKS, "race") if args.race else DEFAULT_TASKS,
            limit=args.limit,
            include_images=not args.no_images,
            **common,
        )
    report = {key: value for key, value in report.items() if key != "settings"}
    report["rows_per_second"] = round(report["rows_written"] / max(report["seconds"], 0.01), 1)
    print(json.dumps(report, indent=2) if args.json else _summary(report))
    return 0


def _label_files(pairs: list[str]) -> dict[str, str]:
    from facemllm.cli import UserError

    files = {}
    for pair in pairs:
        split, equals, file = pair.partition("=")
        if not equals or split not in SPLITS[:2]:
            raise UserError(f"--labels {pair}: give SPLIT=CSV, with train or validation for SPLIT")
        files[split] = file
    return files


def _card_command(args: argparse.Namespace) -> str:
    """The command that writes the same corpus, without the places of this machine."""
    words = ["facemllm data", args.corpus]
    if args.corpus == "synthetic":
        words += ["--count", *map(str, args.count), "--size", str(args.size)]
    else:
        words += ["FOLDER", "--split", *args.split]
        words += ["--labels", *(f"{pair.partition('=')[0]}=CSV" for pair in args.labels)] if args.labels else []
        words += ["--race"] if args.race else []
        words += ["--limit", str(args.limit)] if args.limit is not None else []
        words += ["--no-images"] if args.no_images else []
    words += ["--config", *args.config, "--seed", str(args.seed), "--shard-rows", str(args.shard_rows)]
    return " ".join([*words, "--out DIR"])


def _summary(report: dict[str, Any]) -> str:
    lines = []
    for config, splits in report["configs"].items():
        for split, counted in splits.items():
            megabytes = counted["file_bytes"] / 1e6
            lines.append(f"{config:>10}  {split:<10}  {counted['rows']:>9,} rows  {megabytes:>9,.1f} MB")
            lines += [f"{'':>10}  left out: {reason}: {rows:,}" for reason, rows in counted["skipped"].items()]
    if report["rows_written"]:
        lines.append(f"{report['out']}: {report['seconds']:.1f} s, {report['rows_per_second']:,.0f} rows/s")
    else:
        lines.append(f"{report['out']}: complete already")
    return "\n".join(lines)
