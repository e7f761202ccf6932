"""What several commands share: options of one wording and meaning, and what is made of their values."""

import argparse
import contextlib
import os
from collections.abc import Iterator
from typing import Any

from datasets_scripts.files import Busy, alone, writer_of
from facemllm.cli import UserError


def option_name(name: str) -> str:
    """`min_score` as `--min-score`."""
    return f"--{name.replace('_', '-')}"


def add_device_options(parser: argparse.ArgumentParser) -> None:
    devices = "auto, cpu, cuda, cuda:1, mps; ONNX exports take the first three (default: auto)"
    parser.add_argument("--device", default="auto", help=devices)
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python code that comes with the model")


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
