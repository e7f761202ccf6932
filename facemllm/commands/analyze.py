"""`facemllm analyze`: what a model sees in the faces of photos, folders and videos, one JSON line per photo."""

import argparse
import contextlib
import hashlib
import json
import math
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from datasets_scripts.shown_text import in_json, in_terminal
from facemllm.cli import NothingDone, UserError

from .options import MODEL_RULE, add_device_options, add_model_words, given, resolve_model, split_model

MAX_FAILURES_SHOWN = 10  # failures, on the terminal
SEARCHING_THREADS = 1
HELP = f"""\
Find the faces in photos and videos, and have a Face-MLLM say of each what the tasks ask: one JSON line per photo or
frame, {{"image", "frame", "time", "size", "faces", "error"}}. Where one cannot be read, its error says why, and the
others go on.

INPUT is a photo, a folder (with all that is below it, in natural order), a video, a URL, or - for a list of those on
standard input, one a line. Pillow's formats are read, HEIF with pillow-heif; of moving pictures the first frame.
Boxes and landmarks are pixels of the upright photo, as its EXIF orientation turns it.

{MODEL_RULE} A first word
that is a photo, folder or video here, or is spelled as a picture (x/y.jpg), is an INPUT.

Without --out a terminal gets a table, a pipe the JSON lines. With --out the same command goes on after an
interruption: photos that are done are left out, those that failed are tried again. Another process on the same file,
or other settings, are refused; FILE.run.json beside it holds the settings and counts.

Exit code 0: every photo was looked at. 1: some failed, and their rows say why, or there was none. 2: a mistake in the
arguments, or the rows cannot be written. Before results about race or emotion are used on people, read the legal
notice in the model card."""
EXAMPLE = "facemllm analyze photos --out faces.jsonl --draw drawn"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_words(parser, "INPUT [INPUT ...]", "photos, folders, videos, URLs; - for a list")
    parser.add_argument("--out", metavar="FILE", help="the JSON lines")
    parser.add_argument("--csv", metavar="FILE", help="with --out: its rows as a table too, one line per face")
    parser.add_argument("--draw", metavar="DIR", help="copies of the photos with their faces drawn on them")
    asked = parser.add_argument_group("what is asked")
    asked.add_argument(
        "--tasks",
        nargs="*",
        metavar="TASK",
        help="gender age expression attributes pose ... (default: those that the model says it was trained for, else "
        "gender, age and expression; race only where it is named; faces are only found with --tasks alone)",
    )
    asked.add_argument("--questions", nargs="+", default=[], metavar="QUESTION", help="free questions, in quotes")
    asked.add_argument("--max-new-tokens", type=int, metavar="N", help="longest answer to one (default: 64)")
    faces = parser.add_argument_group("which faces")
    faces.add_argument(
        "--detector",
        default="yunet",
        metavar="NAME",
        help="yunet, which comes with the package; a path or Hub id of its .onnx file; none: a photo is one face "
        "(default: yunet)",
    )
    faces.add_argument("--min-score", type=float, metavar="S", help="fainter detections are left out (default: 0.6)")
    faces.add_argument("--max-faces", type=int, metavar="N", help="the largest N of a photo")
    faces.add_argument("--align", action="store_true", help="turn each face upright by its landmarks")
    faces.add_argument("--margin", type=float, metavar="SHARE", help="around a face (default: 0.25 of its box)")
    faces.add_argument(
        "--on-no-face",
        choices=("skip", "whole", "raise"),
        default="skip",
        help="a photo without a face: a row without faces, the whole photo taken for one, or failed (default: skip)",
    )
    parser.add_argument(
        "--every", type=float, default=1.0, metavar="SECONDS", help="between a video's frames; 0: all (default: 1)"
    )
    private = "fetch URLs of a list (-) from private networks too; those that you type always may be there"
    parser.add_argument("--private-hosts", action="store_true", help=private)
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="faces at once (default: 16)")
    add_device_options(parser)
    parser.add_argument("--json", action="store_true", help="JSON lines on a terminal too; the counts as JSON")


def run(args: argparse.Namespace) -> int:
    args.inputs = split_model(args, "INPUT")
    _check(args)
    resolve_model(args)
    warnings.filterwarnings("ignore", module="PIL")  # broken files are reported in their rows
    import torch
    from transformers.utils import logging

    from datasets_scripts.corpus.hashed_names import HashedNames
    from facemllm.analysis.analyze import Counts, analyze
    from facemllm.analysis.drawing import FaceDrawings
    from facemllm.analysis.journal import FaceJournal, row_key
    from facemllm.analysis.photos import Ignored, find_photos
    from facemllm.analysis.row_types import row_features
    from facemllm.analysis.table import write_table

    logging.disable_progress_bar()
    start = time.perf_counter()
    counts, ignored, given = Counts(), Ignored(), HashedNames()
    with contextlib.ExitStack() as open_files:
        # First, because a large model takes minutes to load.
        journal = open_files.enter_context(FaceJournal(args.out, _settings(args))) if args.out else None
        pipeline, look, face = _pipeline(args)
        if journal is not None:
            journal.describe(row_features(face, drawn=args.draw is not None))
        if args.tasks is None and getattr(pipeline.model.config, "face_tasks", None) is None:
            print(
                f"facemllm analyze: {args.model_name} does not say what it was trained to be asked, and may be asked "
                "what it never learned: name --tasks",
                file=sys.stderr,
            )
        drawings = FaceDrawings(args.draw) if args.draw else None
        bar = open_files.enter_context(_bar(args))

        def wanted(name: str, frame: int | None) -> bool:
            key = row_key(name, frame)
            if not given.add(key):
                counts.given_twice += 1
                return False
            if journal is not None and key in journal:
                counts.done_before += 1
                bar.update()
                return False
            return True

        def write_row(row: dict[str, Any]) -> None:
            counts.add(row)
            _report_failure(row, counts.failed, args, bar)
            if journal is not None:
                journal.append(row)
            else:
                _print_row(row, args)
            bar.update()

        def ended(video: str) -> None:
            if journal is not None:
                journal.settle(row_key(video, None))

        options = {"every": args.every, "private_hosts": args.private_hosts}
        photos = find_photos(args.inputs, wanted=wanted, ended=ended, ignored=ignored, **options)
        try:
            analyze(photos, look, write_row, drawings=drawings, must_have_face=args.on_no_face == "raise")
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"--batch-size {args.batch_size}: so many faces do not fit into the memory of the device; give fewer"
            ) from error
        except BrokenPipeError:  # who reads has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        counts.other_files = ignored.files
        if not any((counts.photos, counts.failed, counts.done_before)):
            others = _counted(ignored.files, "other file")
            raise NothingDone(f"{' '.join(args.inputs)}: no photo and no video there ({others})")
        report = {**vars(counts), "seconds": round(time.perf_counter() - start, 1)}
        if journal is not None:
            journal.finish(report)
            if args.csv:
                write_table(args.out, args.csv)
    _report_counts(report, args)
    return 1 if counts.failed else 0


def _check(args: argparse.Namespace) -> None:
    from facemllm.analysis.photos import STDIN, is_url, readable
    from facemllm.analysis.table import check_table

    if not (math.isfinite(args.every) and args.every >= 0):
        raise UserError(f"--every {args.every}: give seconds, 0 or more")
    if args.inputs.count(STDIN) > 1:
        raise UserError(f"INPUT {STDIN}: standard input can be read once; name it once")
    for name in args.inputs:
        if name != STDIN and not is_url(name) and not os.path.exists(os.path.expanduser(name)):
            raise UserError(f"{name}: there is no such photo, folder or video; give one, or a URL")
        if args.draw and os.path.isdir(os.path.expanduser(name)) and _is_within(args.draw, name):
            raise UserError(
                f"--draw {args.draw}: is in {name}, where the copies would be analyzed as photos; give a folder "
                "outside it"
            )
    args.questions = [readable(question) for question in args.questions]
    if args.out and args.out.lower().endswith(".csv"):
        raise UserError(f"--out {args.out}: holds JSON lines; name it .jsonl, and add --csv {args.out} for a table")
    if args.csv:
        if not args.out:
            raise UserError(f"--csv {args.csv}: the table is made of the rows in --out; give --out as well")
        if _is_within(args.csv, args.out):
            raise UserError(f"--csv {args.csv}: is the same file as --out; give another")
        check_table(args.csv)


def _is_within(path: str, folder: str) -> bool:
    return Path(path).expanduser().resolve().is_relative_to(Path(folder).expanduser().resolve())


def _pipeline(args: argparse.Namespace) -> tuple[Callable, Callable[[Iterator], Iterator], dict[str, Any]]:
    """The model, ready to look at pictures; what looks at a stream of them; and what it says of a grey one.

    Raises `UserError` for whatever it will not do, before any is read.
    """
    from PIL import Image

    from facemllm.analysis.picture_kind import KindCheck
    from facemllm.inference.loading import load_model
    from modeling_facemllm.errors_facemllm import ArgumentError
    from modeling_facemllm.face_finding_facemllm import NO_DETECTOR, load_detector
    from modeling_facemllm.pipeline_facemllm import FaceAnalysisPipeline

    model, processor = load_model(args.model, args.device, args.trust_remote_code)
    check = KindCheck(getattr(model.config, "picture_kind", None), "analyze")
    try:
        pipeline = FaceAnalysisPipeline(
            model=model,
            processor=processor,
            device=model.device,
            detector=NO_DETECTOR,
            questions=args.questions,
            align=args.align,
            on_no_face="whole" if args.on_no_face == "whole" else "skip",
            on_error="return",
            batch_size=args.batch_size,
            num_workers=SEARCHING_THREADS,
            **given(args, "tasks", "min_score", "max_faces", "margin", "max_new_tokens"),
        )
        (face,) = pipeline(Image.new("RGB", (64, 64), "gray"), on_error="raise")
        detect = load_detector(args.detector, args.min_score)
    except ArgumentError:
        raise
    except ValueError as error:
        raise UserError(str(error)) from error

    def look(pictures: Iterator[Image.Image]) -> Iterator[Any]:
        if detect is None:
            return pipeline(check.passing(pictures))
        return pipeline(pictures, detector=check.detecting(detect))

    return pipeline, look, face


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """What the rows depend on."""
    asked = ("tasks", "questions", "max_new_tokens")
    faces = ("min_score", "max_faces", "align", "margin", "on_no_face", "every")
    return {
        "model": _which_model(args.model),
        **{name: getattr(args, name) for name in (*asked, *faces)},
        "detector": _which_detector(args.detector),
        "drawn": args.draw is not None,
    }


def _which_model(name: str) -> str:
    """Name and state of a model: the commit of a Hub's, a digest of a folder's weights and settings."""
    from facemllm.inference.hub_names import hub_commit
    from facemllm.inference.identity import identify

    folder = Path(name).expanduser()
    return f"{folder.resolve().name}@{identify(folder)}" if folder.is_dir() else f"{name}@{hub_commit(name)}"


def _which_detector(name: str) -> str:
    """Name and content of a detector's file here; the name alone of any other."""
    from modeling_facemllm.face_detection_facemllm import YUNET_FILE, YUNET_NAME, yunet_weights
    from modeling_facemllm.face_finding_facemllm import NO_DETECTOR

    path = Path(yunet_weights() if name == YUNET_NAME else name).expanduser()
    file = path / YUNET_FILE if path.is_dir() else path
    if name == NO_DETECTOR or not file.is_file():
        return name
    return f"{path.name}@{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}"


def _bar(args: argparse.Namespace) -> Any:
    """A progress bar that learns from a thread how many photos there are, while the first are looked at."""
    from tqdm import tqdm

    from facemllm.analysis.photos import count_photos

    bar = tqdm(desc="analyzing", unit=" photos", disable=not args.out and _for_people(args), mininterval=0.5)
    threading.Thread(target=lambda: setattr(bar, "total", count_photos(args.inputs)), daemon=True).start()
    return bar


def _for_people(args: argparse.Namespace) -> bool:
    return sys.stdout.isatty() and not args.json


def _print_row(row: dict[str, Any], args: argparse.Namespace) -> None:
    from facemllm.analysis.journal import row_line
    from facemllm.analysis.table import row_words

    if _for_people(args):
        print(row_words(row), flush=True)
    else:
        sys.stdout.buffer.write(in_json(row_line(row).decode()).encode())
        sys.stdout.buffer.flush()


def _report_failure(row: dict[str, Any], failed: int, args: argparse.Namespace, bar: Any) -> None:
    from facemllm.analysis.table import row_name

    if not row["error"] or failed > MAX_FAILURES_SHOWN or (not args.out and _for_people(args)):
        return
    bar.write(f"{row_name(row)}: {in_terminal(row['error'])}", file=sys.stderr)
    if failed == MAX_FAILURES_SHOWN:
        bar.write('what fails from here on stands in the rows, under "error"', file=sys.stderr)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _report_counts(report: dict[str, Any], args: argparse.Namespace) -> None:
    """The counts on standard output, or on standard error where the rows go to the former."""
    if args.json and args.out:
        print(json.dumps({"out": args.out, **report}))
        return
    words = [_counted(report["photos"], "photo"), _counted(report["faces"], "face")]
    words_of = {
        "without_face": "without a face",
        "failed": "failed",
        "done_before": "done before",
        "given_twice": "given twice",
    }
    words += [f"{report[name]:,} {text}" for name, text in words_of.items() if report[name]]
    if others := report["other_files"]:
        words.append(f"{_counted(others, 'other file')} in the folders")
    where = f"{args.out}: " if args.out else ""
    line = in_terminal(f"{where}{', '.join(words)}; {report['seconds']:.1f} s")
    print(line, file=sys.stdout if args.out else sys.stderr)
