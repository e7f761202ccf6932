"""`facemllm ask`: one question about a picture, answered as it is generated."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets_scripts.shown_text import in_json, in_terminal
from facemllm.analysis.picture_kind import KindCheck
from facemllm.cli import UserError
from facemllm.inference.exports import is_onnx_export, load_runtime

from .options import MODEL_RULE, add_device_options, add_model_words, check_positive, resolve_model, split_model

HELP = (
    "Ask a vision-language model about pictures and print its answer as it is generated (greedy). Any\n"
    "image-text-to-text model will do, and what facemllm export wrote, which runs on ONNX Runtime.\n\n"
    f"{MODEL_RULE} A first word\n"
    "that is a file here, or is spelled as a picture (x/y.jpg), is an IMAGE.\n\n"
    "Face-MLLM models run on the code of this package; a model that brings its own code needs\n"
    "--trust-remote-code. Before answers about race or emotion are used on people, read the legal notice in the\n"
    "model card."
)
EXAMPLE = 'facemllm ask face.png "What is the expression?"'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    about = "pictures (files or URLs, any number, also none), then the question"
    add_model_words(parser, "[IMAGE ...] QUESTION", about)
    parser.add_argument("--max-new-tokens", type=int, default=256, metavar="N", help="longest answer (default: 256)")
    add_device_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of streaming")


def run(args: argparse.Namespace) -> int:
    *sources, question = split_model(args, "the question", is_input=os.path.isfile)
    if os.path.isfile(question):  # False for a text that is too long for a name
        raise UserError(
            f'the question is missing: the last argument, {question}, is a file; add a "question" after it'
        )
    if not question.strip():
        raise UserError('the question is empty; give one, as in "What is the expression?"')
    check_positive(args, "max_new_tokens")
    images = [read_picture(source) for source in sources]
    resolve_model(args)
    check, answer = _load_exported(args) if is_onnx_export(args.model) else _load(args)
    for image in images:
        check.look_at(image)
    if not images:
        print("no picture given: the answer is to the question alone", file=sys.stderr)
    start = time.perf_counter()
    text = answer(images, question)
    if args.json:
        report = {
            "model": args.model_name,
            "images": sources,
            "question": question,
            "answer": text,
            "seconds": round(time.perf_counter() - start, 3),
        }
        print(in_json(json.dumps(report, ensure_ascii=False)))
    return 0


def _load(args: argparse.Namespace) -> tuple[KindCheck, Callable[[list, str], str]]:
    from transformers import TextStreamer
    from transformers.utils import logging

    from facemllm.inference.answering import answer
    from facemllm.inference.loading import load_model

    class Words(TextStreamer):
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            super().on_finalized_text(in_terminal(text, lines=True), stream_end)

    logging.disable_progress_bar()
    model, processor = load_model(args.model, args.device, args.trust_remote_code)
    options = {"skip_prompt": True, "skip_special_tokens": True}
    streamer = None if args.json else Words(processor.tokenizer, **options)
    check = KindCheck(getattr(model.config, "picture_kind", None), "ask")
    return check, lambda images, question: answer(model, processor, images, question, args.max_new_tokens, streamer)


def _load_exported(args: argparse.Namespace) -> tuple[KindCheck, Callable[[list, str], str]]:
    model = load_runtime(args.model, args.device)

    def answer(images: list, question: str) -> str:
        text = ""
        try:
            for piece in model.ask(images, question, do_sample=False, max_new_tokens=args.max_new_tokens, stream=True):
                text += piece
                if not args.json:
                    print(in_terminal(piece, lines=True), end="", flush=True)
        except ValueError as error:
            raise UserError(str(error)) from error
        if not args.json:
            print()
        return text.strip()

    return KindCheck(model.config.get("picture_kind"), "ask"), answer


def read_picture(source: str) -> Any:
    """The picture at a path or URL, upright and in RGB. Raises `UserError` when there is none."""
    from modeling_facemllm.image_loading_facemllm import load_image

    if not source.startswith(("http://", "https://")) and not Path(source).is_file():
        remedy = "give an image file or a URL, and the question last, in quotes; --model names a model"
        raise UserError(f"{source}: no such picture; {remedy}")
    try:
        return load_image(source)
    except ValueError as error:
        raise UserError(str(error)) from error
