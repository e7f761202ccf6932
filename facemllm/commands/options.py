"""What several commands share: options of one wording and meaning, and what is made of their values."""

import argparse
import contextlib
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

from datasets_scripts.files import Busy, alone, writer_of
from facemllm.cli import UserError
from facemllm.inference.hub_names import check_model_name, could_be_hub_id, is_model_folder
from facemllm.inference.model_names import DEFAULT_MODEL, find_model, names_model

MODEL_RULE = """\
The model is --model MODEL, else the first word where that is one: a model's folder, an ONNX export, a name that
facemllm models lists, a Hub id (owner/name). Else it is photo, the packaged one."""
FILE_NAME = r"[^/]+/[^/]+\.(avif|bmp|gif|heic|heif|jpe?g|mkv|mov|mp4|png|tiff?|webm|webp)"
HUB_ID = r"[\w.-]+/[\w.-]+"


def option_name(name: str) -> str:
    """`min_score` as `--min-score`."""
    return f"--{name.replace('_', '-')}"


def add_device_options(parser: argparse.ArgumentParser) -> None:
    devices = "auto, cpu, cuda, cuda:1, mps; ONNX exports take the first three (default: auto)"
    parser.add_argument("--device", default="auto", help=devices)
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python code that comes with the model")


def add_model_words(parser: argparse.ArgumentParser, metavar: str, about: str) -> None:
    """The words of a command that [`split_model`] splits, and `--model`."""
    parser.usage = f"facemllm {parser.prog.split()[-1]} [MODEL] {metavar} [options]"
    parser.add_argument("words", metavar=metavar, nargs="*", help=about)
    what = "a known name, a folder, an export or a Hub id"
    parser.add_argument("--model", help=f"{what} (default: the first word, else {DEFAULT_MODEL})")


def exists_as_no_model(word: str) -> bool:
    """Whether a word is a file here, or a folder that holds no model."""
    return os.path.exists(os.path.expanduser(word)) and not is_model_folder(word)


def split_model(
    args: argparse.Namespace, needed: str, is_input: Callable[[str], bool] = exists_as_no_model, one: bool = False
) -> list[str]:
    """Take the model out of `args.words` and put its name into `args.model`; returns the other words.

    Args:
        needed: what must be among the others, for the error where nothing is.
        is_input: whether a word can only be one of the others.
        one: there is one other word, so the first of two is the model, whatever it is.

    Raises:
        UserError: where two models are given, or nothing is left.
    """
    words = list(args.words)
    first = words[0] if words else ""
    if one and len(words) > 1:
        leads = True
    else:
        could_lead = len(words) > 1 and args.model is None and _could_be_model(first)
        leads = not is_input(first) and (could_lead or names_model(first))
    if leads and args.model is not None:
        raise UserError(f"--model {args.model} and {first}: give the model once")
    args.model = words.pop(0) if leads else args.model or DEFAULT_MODEL
    if not words:
        where = f" after {first}, the model" if leads else ""
        raise UserError(f"{needed} is missing; give it{where}, as --help shows")
    if one and len(words) > 1:
        raise UserError(f"{' '.join(words[1:])}: is one word too many; give {needed} alone, or MODEL and {needed}")
    return words


def _could_be_model(word: str) -> bool:
    """A folder, or a Hub id that is not spelled as a picture's path."""
    hub_id = re.fullmatch(HUB_ID, word) and not re.fullmatch(FILE_NAME, word, re.IGNORECASE) and could_be_hub_id(word)
    return bool(hub_id) or os.path.isdir(word)


def resolve_model(args: argparse.Namespace) -> None:
    """Put the place of `args.model` in the place of a known name, which `args.model_name` keeps.

    Raises:
        UserError: where it is not there, or can be no model.
    """
    args.model_name, args.model = args.model, find_model(args.model)
    check_model_name(args.model)


def add_corpus_options(
    parser: argparse.ArgumentParser, configs: tuple[str, ...], config: str, seed: str, num_proc: str, overwrite: str
) -> None:
    """The options of a command that writes a corpus; the four texts are help."""
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write the corpus to")
    parser.add_argument("--config", nargs="+", choices=configs, default=list(configs), help=config)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help=f"{seed} (default: 0)")
    parser.add_argument("--num-proc", type=int, default=1, metavar="N", help=f"{num_proc} (default: 1)")
    parser.add_argument("--overwrite", action="store_true", help=overwrite)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def check_positive(args: argparse.Namespace, *names: str) -> None:
    """Raises `UserError` where one of the numbers, of those that the command has and that were given, is below 1."""
    for name in names:
        value = getattr(args, name, None)
        if value is not None and value < 1:
            raise UserError(f"{option_name(name)} {value}: give 1 or more")


@contextlib.contextmanager
def alone_in(option: str, folder: str | os.PathLike, beside: bool = False) -> Iterator[None]:
    """Hold the lock of an output folder as `files.alone` does; `UserError` where another process has it."""
    if os.path.isfile(folder):
        raise UserError(f"{option} {folder}: is a file; give a folder")
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(alone(folder, beside))
        except Busy as error:
            raise UserError(_taken(option, folder, error.holder)) from error
        yield


def check_not_written(option: str, folder: str | os.PathLike) -> None:
    """Raises `UserError` where another process is writing a folder that is to be read."""
    if (writer := writer_of(folder) or writer_of(folder, beside=True)) is not None:
        raise UserError(_taken(option, folder, writer))


def _taken(option: str, folder: str | os.PathLike, writer: str) -> str:
    return f"{option} {folder}: {writer} is writing this folder; wait for it, end it, or give another".lstrip()


def given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The arguments among `names` that were given: the others keep the defaults of the function they go to."""
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def option_words(args: argparse.Namespace, *names: str) -> list[str]:
    """The words that give these options again; those without a value, and flags that are not set, are left out."""
    words = []
    for name in names:
        value = getattr(args, name)
        if isinstance(value, list | tuple):
            words += [option_name(name), *map(str, value)] if value else []
        elif value is not None and value is not False:
            words += [option_name(name), *([] if value is True else [str(value)])]
    return words


def split_line(config: str, split: str, counted: dict[str, Any]) -> str:
    """What was written of one split of a corpus."""
    return f"{config:>10}  {split:<10}  {counted['rows']:>9,} rows  {counted['file_bytes'] / 1e6:>9,.1f} MB"
