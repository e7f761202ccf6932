"""`facemllm data`: build a corpus as Parquet shards with a dataset card."""

import argparse
import inspect
import json
import sys
from collections.abc import Sequence
from typing import Any, get_args, get_origin

from datasets_scripts.shown_text import in_terminal
from facemllm.cli import UserError

from .options import add_corpus_options, check_positive, given, option_name, option_words, split_line

HELP = (
    "Build a corpus as Parquet shards with a dataset card: load_dataset(DIR, CONFIG) reads it.\n\n"
    "Every dataset is read in the layout in which it is distributed: facemllm data NAME --help says which, and who\n"
    "may hold it. An interrupted build goes on when the same command is run again. The same command, seed and\n"
    "versions write the same files, whatever the number of processes."
)
EXAMPLE = "facemllm data fairface FairFace --out corpora/fairface --num-proc 4"
SPLITS = ("train", "validation", "test")
FEWER_QUESTIONS = "fewer questions than about other faces"  # FairFaceGPT's reason
YUNET = "yunet"  # the package's
PLACES = {"frames": "FOLDER", "images": "FOLDER", "detector": "YUNET.onnx"}  # of this machine: no card names them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from datasets_scripts.sources.readers import READERS, UNLABELLED

    corpora = parser.add_subparsers(dest="corpus", metavar="CORPUS", required=True)
    _add_synthetic(corpora)
    _add_fairfacegpt(corpora)
    _add_sure(corpora)
    for reader in (*UNLABELLED.values(), *READERS.values()):
        _add_reader(corpora, reader)


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
    seed = "another seed is other faces and another wording"
    _add_common(parser, ("captions", "vqa", "face_tasks", "text", "zero_shot"), seed)


def _add_fairfacegpt(corpora: Any) -> None:
    from datasets_scripts.fairfacegpt.records import CONFIGS

    parser = corpora.add_parser(
        "fairfacegpt",
        help="FairFaceGPT as it is published: eight descriptions of each face of FairFace's validation split",
        description="FairFaceGPT as it is published (Zenodo record 16323621): its dataset.json with FairFace's "
        "pictures. facemllm annotate fairfacegpt makes one anew.",
        epilog="example: facemllm data fairfacegpt dataset.json --images FairFace --out corpora/fairfacegpt",
    )
    parser.add_argument("file", metavar="DATASET.JSON", help="the published file, in ShareGPT form")
    parser.add_argument("--images", required=True, metavar="FOLDER", help="the folder of FairFace, with val/1.jpg")
    parser.add_argument(
        "--race",
        action="store_true",
        help="also keep answers that speak of race, and write the label: for auditing, never for categorising people",
    )
    parser.add_argument("--no-images", action="store_true", help="leave the pixels out; url names the file instead")
    _add_common(parser, CONFIGS)
    parser.set_defaults(config=None)  # those that have rows


def _add_reader(corpora: Any, reader: Any) -> None:
    from datasets_scripts.questions.conversations import DEFAULT_TURNS
    from datasets_scripts.sources.readers import READERS, configs_of, own_options

    parser = corpora.add_parser(
        reader.NAME,
        help=f"{reader.TITLE}: {', '.join(reader.TASKS).replace('_', ' ')}",
        description=_describe(reader),
        epilog=f"example: facemllm data {reader.NAME} FOLDER --out corpora/{reader.NAME} --num-proc 4",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", metavar="FOLDER", help=f"the folder of {reader.TITLE}")
    parser.add_argument(
        "--split", nargs="+", choices=reader.SPLITS, default=list(reader.SPLITS), help="splits to build (default: all)"
    )
    parser.add_argument(
        "--tasks",
        nargs="+",
        metavar="TASK",
        help="what is asked about: names of datasets_scripts/questions/tasks.py, or attributes for all of them; "
        "zero_shot asks those of its side, captions say what is known whatever is asked "
        f"(default: {' '.join(reader.TASKS)}{', and what --measure measures' if reader.NAME in READERS else ''})",
    )
    if reader.NAME in READERS:
        parser.add_argument(
            "--measure",
            nargs="?",
            const=YUNET,
            metavar="YUNET.onnx",
            help="add labels that can be measured on a picture with YuNet's landmarks: yaw, roll, light, exposure, "
            "sharpness, colors; the dataset's own labels stay (without a file: the package's YuNet)",
        )
    parser.add_argument(
        "--turns",
        type=int,
        default=DEFAULT_TURNS,
        metavar="N",
        help=f"questions about a face at most; 1 asks one task of each face (default: {DEFAULT_TURNS})",
    )
    parser.add_argument(
        "--unanswerable",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="the share of questions, in vqa and face_tasks, that no task here answers, such as names; the answer is "
        "that the model can't tell (0 to 0.5, default: 0)",
    )
    if reader.ASKS_RACE:
        parser.add_argument(
            "--race",
            action="store_true",
            help="also write and ask about race labels: for auditing data and models, never for categorising people",
        )
    parser.add_argument("--limit", type=int, metavar="ROWS", help="read at most so many rows of each split")
    parser.add_argument("--no-images", action="store_true", help="leave the pixels out; url names the file instead")
    for name, field in own_options(reader).items():
        _add_option(parser, name, field)
    _add_common(parser, configs_of(reader))
    parser.set_defaults(config=None)  # zero_shot only where tasks of both sides are asked


def _add_sure(corpora: Any) -> None:
    parser = corpora.add_parser(
        "sure",
        help="the captions of a corpus without what a model is not sure of",
        description="The captions of a corpus's train split, written anew from its labels: one is stated only where a "
        "model, asked about the picture, gives its most probable answer --sure or more. Trained on these, a model "
        "leaves out of its captions what it cannot see well.",
        epilog="example: facemllm data sure corpora/photo --model runs/photo/stage2_vqa --out corpora/photo_sure",
    )
    parser.add_argument("root", metavar="CORPUS", help="a corpus folder or Hub id with the config captions")
    parser.add_argument("--model", required=True, help="the folder or Hub id of the model that is asked")
    parser.add_argument("--sure", type=float, default=0.7, metavar="P", help="least probability (default: 0.7)")
    parser.add_argument("--limit", type=int, metavar="ROWS", help="so many rows at most, chosen at random")
    _add_common(parser, ("captions",))


def _describe(reader: Any) -> str:
    import textwrap

    about = inspect.getdoc(reader).replace("`", "").split("\n\n")
    title = reader.TITLE if reader.URL is None else f"{reader.TITLE}, {reader.URL}"
    parts = [title, f"Terms: {reader.TERMS}", f"Layout: {reader.LAYOUT}", *about]
    return "\n\n".join(textwrap.fill(" ".join(part.split()), 100) for part in parts)


def _add_option(parser: argparse.ArgumentParser, name: str, field: Any) -> None:
    """An option for one of the reader's own settings; the description above says what it does."""
    option, default = option_name(name), field.default
    if name == "labels":
        parser.add_argument(
            option,
            nargs="+",
            default=[],
            metavar="SPLIT=CSV",
            help="another label file for a split, also one that a spreadsheet has damaged (3-9 as 03-Sep)",
        )
        return
    shown = " ".join(default) if isinstance(default, tuple) else default
    shared = {"default": default, "help": "see above" if default is None else f"see above (default: {shown})"}
    if isinstance(default, bool):
        parser.add_argument(option, action=argparse.BooleanOptionalAction, **shared)
    elif get_origin(field.type) is tuple:
        parser.add_argument(option, nargs="+", metavar=name.upper(), **shared)
    else:
        types = [kind for kind in get_args(field.type) or (field.type,) if kind is not type(None)]
        parser.add_argument(option, type=types[0], metavar=name.upper(), **shared)


def _add_common(
    parser: argparse.ArgumentParser, configs: tuple[str, ...], seed: str = "another seed is another wording"
) -> None:
    config = f"configs to build (default: {' '.join(configs)})"
    overwrite = "replace a corpus that another command wrote there"
    add_corpus_options(parser, configs, config, seed, "processes", overwrite)
    parser.add_argument("--shard-rows", type=int, default=2000, metavar="N", help="rows of a shard (default: 2000)")


def run(args: argparse.Namespace) -> int:
    from datasets_scripts.build import build_corpus, build_synthetic, keep_apart
    from datasets_scripts.sources.readers import own_options, reader_of

    if args.corpus not in ("synthetic", "fairfacegpt", "sure"):
        _settle(args)
    common = given(args, "seed", "num_proc", "shard_rows", "overwrite")
    common |= {"configs": args.config, "command": _card_command(args)}
    if args.corpus == "synthetic":
        report = build_synthetic(args.out, counts=dict(zip(SPLITS, args.count, strict=True)), size=args.size, **common)
    elif args.corpus == "fairfacegpt":
        from datasets_scripts.fairfacegpt.published import build_published

        keep_apart(args.images, args.out)
        pictures = {"race": args.race, "include_images": not args.no_images}
        report = build_published(args.file, args.images, args.out, **pictures, **common)
    elif args.corpus == "sure":
        from facemllm.analysis.sure_captions import build_sure

        check_positive(args, "limit")
        common = given(args, "seed", "shard_rows", "overwrite") | {"command": common["command"]}
        report = build_sure(
            args.root, args.model, _analyzer(args.model), args.out, sure=args.sure, limit=args.limit, **common
        )
    else:
        reader = reader_of(args.corpus)
        options = {name: getattr(args, name) for name in own_options(reader)}
        options = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
        labels = _label_files(reader.SPLITS, options.pop("labels", ()))
        report = build_corpus(
            args.corpus,
            args.root,
            args.out,
            splits=args.split,
            **given(args, "tasks", "turns", "limit", "unanswerable"),
            measure=getattr(args, "measure", None),
            options=options,
            options_by_split=labels,
            include_images=not args.no_images,
            **common,
        )
    report = {key: value for key, value in report.items() if key != "settings"}
    report["rows_per_second"] = round(report["rows_written"] / max(report["seconds"], 0.01), 1)
    print(json.dumps(report, indent=2) if args.json else in_terminal(_summary(report), lines=True))
    if few := _mostly_left_out(report):
        print(f"facemllm data: warning: more than half of the rows were left out of {few}", file=sys.stderr)
    return 0


def _analyzer(model: str) -> Any:
    import modeling_facemllm
    from facemllm.inference.loading import load_model
    from modeling_facemllm import FaceAnalysisPipeline

    modeling_facemllm.register()
    network, processor = load_model(model)
    return FaceAnalysisPipeline(network, processor=processor)


def _settle(args: argparse.Namespace) -> None:
    """Make a dataset's tasks and configs what will be built: race only where it is asked for by its own option."""
    from datasets_scripts.build import configs_to_build, default_tasks
    from datasets_scripts.sources.readers import reader_of

    reader = reader_of(args.corpus)
    if args.tasks is None:
        args.tasks = list(default_tasks(reader, getattr(args, "measure", None) is not None))
    if "race" in args.tasks and reader.ASKS_RACE and not args.race:
        raise UserError("--tasks race: race is only asked with --race")
    if reader.ASKS_RACE and args.race:
        args.tasks = [*(task for task in args.tasks if task != "race"), "race"]
    args.config = list(configs_to_build(reader, args.config, args.split, args.tasks))
    if args.unanswerable and not {"vqa", "face_tasks"} & set(args.config):
        remedy = "only vqa and face_tasks ask questions; name one of them with --config, or leave it out"
        raise UserError(f"--unanswerable {args.unanswerable:g}: {remedy}")


def _label_files(known: tuple[str, ...], pairs: Sequence[str]) -> dict[str, dict[str, str]]:
    files = {}
    for pair in pairs:
        split, equals, file = pair.partition("=")
        if not equals or split not in known:
            raise UserError(f"--labels {pair}: give SPLIT=CSV, with {' or '.join(known)} for SPLIT")
        files[split] = {"labels": file}
    return files


def _card_command(args: argparse.Namespace) -> str:
    """The command that writes the same corpus, without the places of this machine."""
    words = ["facemllm data", args.corpus]
    if args.corpus == "synthetic":
        words += option_words(args, "count", "size")
    elif args.corpus == "sure":
        words += ["CORPUS --model MODEL", *option_words(args, "sure", "limit")]
    elif args.corpus == "fairfacegpt":
        words += ["dataset.json --images FOLDER", *option_words(args, "race", "no_images")]
    else:
        words += ["FOLDER", *option_words(args, "split"), *_reader_words(args), *option_words(args, "tasks")]
        words += ["--race"] if "race" in args.tasks else []
        words += {None: [], YUNET: ["--measure"]}.get(getattr(args, "measure", None), ["--measure", "YUNET.onnx"])
        words += option_words(args, "turns", "limit", "no_images")
        words += option_words(args, "unanswerable") if args.unanswerable else []
    return " ".join([*words, *option_words(args, "config", "seed", "shard_rows"), "--out DIR"])


def _reader_words(args: argparse.Namespace) -> list[str]:
    from datasets_scripts.sources.readers import own_options, reader_of

    words = []
    for name, field in own_options(reader_of(args.corpus)).items():
        value, option = getattr(args, name), option_name(name)
        if value in (field.default, []):
            continue
        if name == "labels":
            words += [option, *(f"{pair.partition('=')[0]}=CSV" for pair in value)]
        elif value is False:
            words += [f"--no-{option[2:]}"]
        else:
            words += [option, PLACES[name]] if name in PLACES else option_words(args, name)
    return words


def _mostly_left_out(report: dict[str, Any]) -> str:
    """The splits of which less than half of the rows were kept, with their counts; empty where there is none."""
    named = []
    for config, splits in report["configs"].items():
        for split, counted in splits.items():
            # a place for an answer that a face does not have is no row of the source
            left_out = sum(rows for reason, rows in counted["skipped"].items() if reason != FEWER_QUESTIONS)
            if counted["rows"] < left_out:
                named.append(f"{config}/{split} ({left_out:,} of {counted['rows'] + left_out:,})")
    return ", ".join(named)


def _summary(report: dict[str, Any]) -> str:
    lines = []
    for config, splits in report["configs"].items():
        for split, counted in splits.items():
            lines.append(split_line(config, split, counted))
            lines += [f"{'':>10}  left out: {reason}: {rows:,}" for reason, rows in counted["skipped"].items()]
            lines += [
                f"{'':>10}  of the rows: {remark}: {rows:,}" for remark, rows in counted.get("remarks", {}).items()
            ]
    if report["rows_written"]:
        lines.append(f"{report['out']}: {report['seconds']:.1f} s, {report['rows_per_second']:,.0f} rows/s")
    else:
        lines.append(f"{report['out']}: complete already")
    return "\n".join(lines)
