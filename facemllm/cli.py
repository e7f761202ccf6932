"""`facemllm COMMAND`: finds the command's module, parses its arguments, and turns a user's mistake into one line.

Exit codes: 0 for success, 1 when the work was done but something in it failed or nothing could be used, 2 for a user's
mistake, 130 for Ctrl-C.
"""

import argparse
import contextlib
import errno
import importlib
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, NoReturn

from datasets_scripts.shown_text import in_terminal

COMMANDS = {
    "quickstart": "draw faces, train a tiny face MLLM in three stages, evaluate it and ask it questions",
    "towers": "train the tiny vision tower and the tiny language model that the quickstart starts from",
    "data": "build a corpus as Parquet shards with a dataset card",
    "annotate": "have a vision-language model describe faces, and write what it said as a corpus",
    "train": "run one training stage from a recipe",
    "evaluate": "compare a model's answers with the labels of a benchmark or corpus, per task and group",
    "analyze": "say of each face in photos and videos what a model sees, as JSON lines",
    "ask": "ask a model a question about a picture",
    "models": "list the models that are at hand",
    "export": "write a model as ONNX graphs, checked against it",
    "publish": "put a corpus or a model on the Hugging Face Hub",
    "upgrade": "put today's code beside the weights of a model folder that older code saved",
    "info": "show versions, devices and what a model folder contains",
}
WITHOUT_PYTORCH = {"numpy": "numpy", "PIL": "pillow", "jinja2": "jinja2", "yaml": "pyyaml"}
"""Modules that exports and recipes are read with, and their packages: whoever lacks one need not want PyTorch."""

_OF_MODELS = ("torch", "transformers", "huggingface_hub", "datasets", "trl", "peft", "accelerate", "safetensors")
_OF_OTHERS = ("onnx", "evaluate", "scipy", "h5py", "tqdm", "matplotlib", "tensorboard")
DEPENDENCIES = frozenset([*WITHOUT_PYTORCH, *_OF_MODELS, *_OF_OTHERS])
"""Modules that the project needs; where only exports are run, most of them are missing."""
ONNX_DEPENDENCIES = frozenset(["onnxruntime", "onnxscript", "onnx_ir"])
"""Modules that its extra `onnx` brings besides."""


FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
WITH_OUT = ("analyze", "evaluate")
GOES_ON = {
    **dict.fromkeys(("quickstart", "data", "annotate", *WITH_OUT, "publish"), "the same command goes on"),
    "train": "the same command goes on from the last complete checkpoint",
    "towers": "towers that are finished are kept; --vision or --text trains the other one",
    "export": "OUT is as it was, the same command begins anew",
    "upgrade": "the same command finishes it",
}
"""What a user does after Ctrl-C, of the commands that write; of `WITH_OUT` only what --out names is kept."""


class UserError(ValueError):
    """A mistake of the caller's, in one line that names the value and the remedy."""


class NothingDone(UserError):
    """The work was done, and nothing could be used: no photo, no face, no question."""

    exit_code = 1


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"facemllm {version('facemllm')}")
        parser.exit()


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """The whole parser, with the arguments of `command` only: other commands' modules are not imported."""
    parser = argparse.ArgumentParser(
        prog="facemllm",
        description="Face MLLMs: corpora, three-stage training, answers.",
        epilog="example: facemllm quickstart --out quickstart",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        if name != command:
            subparsers.add_parser(name, help=summary)
            continue
        module = importlib.import_module(f"facemllm.commands.{name}")
        about = {"help": summary, "description": module.HELP, "epilog": f"example: {module.EXAMPLE}"}
        subparser = subparsers.add_parser(name, formatter_class=argparse.RawDescriptionHelpFormatter, **about)
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    code = 2
    argv = sys.argv[1:] if argv is None else argv
    command = next((word for word in argv if word in COMMANDS), None)
    # Read when huggingface_hub is imported: one line says that the Hub cannot be reached, five that it is tried again.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    try:
        with _no_interrupt_lost():
            return _run(command, argv)
    except (ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno in FULL_DISK and "free some space" not in str(error):
            place = "" if error.filename is None else f"{error.filename}: "
            error = UserError(f"{place}{os.strerror(error.errno)}; free some space{_how_to_go_on(command, argv)}")
        if not isinstance(error, (OSError, UserError)) and not isinstance(error, _mistakes_in_data()):
            raise
        message, code = " ".join(str(error).split()) or type(error).__name__, getattr(error, "exit_code", code)
    except ModuleNotFoundError as error:
        if error.name not in DEPENDENCIES | ONNX_DEPENDENCIES:
            raise
        from modeling_facemllm.installation import install_command

        extra = "onnx" if error.name in ONNX_DEPENDENCIES else None
        remedy = install_command(extra, WITHOUT_PYTORCH.get(error.name))
        message = f"needs {error.name}, which is not installed here: {remedy}"
    except ImportError as error:  # the class is known by its name: it is in the model's code, which imports PyTorch
        if type(error).__name__ != "UnsupportedTransformers":
            raise
        message = str(error)
    except KeyboardInterrupt:
        print(f"facemllm {command or ''}".rstrip() + f": interrupted{_how_to_go_on(command, argv)}", file=sys.stderr)
        return 130
    print(in_terminal(f"facemllm {command}: {message}"), file=sys.stderr)
    return code


@contextlib.contextmanager
def _no_interrupt_lost() -> Iterator[None]:
    """Send Ctrl-C again where Python loses it: what is raised in a `__del__` or a callback ends nothing."""
    shown, running = sys.unraisablehook, [True]

    def interrupt_again() -> None:
        if running:
            os.kill(os.getpid(), signal.SIGINT)

    def hook(found: Any) -> None:
        if issubclass(found.exc_type, KeyboardInterrupt):
            threading.Timer(0.05, interrupt_again).start()
        else:
            shown(found)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        running.clear()
        sys.unraisablehook = shown


def _how_to_go_on(command: str | None, argv: list[str]) -> str:
    if command in WITH_OUT and not any(
        word.startswith(("--ou=", "--out=")) or word in ("--ou", "--out") for word in argv
    ):
        return "; nothing was kept, with --out the same command goes on"
    return f"; {GOES_ON[command]}" if command in GOES_ON else ""


def _run(command: str | None, argv: list[str]) -> int:
    parser = build_parser(command)
    args, rest = parser.parse_known_args(argv)
    # argparse gives up on words that follow an option; a recipe's overrides and a command's words may stand anywhere.
    if rest and hasattr(args, "overrides") and all("=" in word and not word.startswith("-") for word in rest):
        args.overrides += rest
    elif rest and hasattr(args, "words") and not _has_options(rest):
        args.words = [*args.words, *(word for word in rest if word != "--")]
    elif rest:
        _refuse(rest, _innermost(parser, args))
    if getattr(args, "out", None) == "":  # what "$DIR" is where DIR is not set, and this folder as a path
        raise UserError("--out '': the name is empty; give one, or . for this folder")
    args.command_line = shlex.join(["facemllm", *argv])
    try:
        return args.run(args)
    except ValueError as error:
        if message := _about_an_option(error, args):
            raise UserError(message) from error
        raise
    except OSError as error:
        if error.errno in FULL_DISK and error.filename is None:
            error.filename = getattr(args, "out", None)
        raise


def _innermost(parser: argparse.ArgumentParser, args: argparse.Namespace) -> argparse.ArgumentParser:
    """The parser of the command, or of what was chosen of it: `facemllm data synthetic`, not `facemllm`."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and getattr(args, action.dest, None) in action.choices:
            return _innermost(action.choices[getattr(args, action.dest)], args)
    return parser


def _refuse(words: list[str], parser: argparse.ArgumentParser) -> NoReturn:
    """End with what argparse says of words that are no arguments, and with the options that were meant."""
    given = [word.partition("=")[0] for word in words if word.startswith("-")]
    near = dict.fromkeys(
        name for word in given for name in get_close_matches(word, parser._option_string_actions, n=1)
    )
    meant = f"did you mean {' and '.join(near)}? " if near else ""
    parser.error(f"unrecognized arguments: {' '.join(words)}; {meant}{parser.prog} --help lists the options")


def _has_options(words: list[str]) -> bool:
    before_dashes = words[: words.index("--")] if "--" in words else words
    return any(word.startswith("-") and word != "-" for word in before_dashes)


def _about_an_option(error: ValueError, args: argparse.Namespace) -> str | None:
    """What an `ArgumentError` says, with its argument as the option that it is; None for other errors."""
    from modeling_facemllm.errors_facemllm import ArgumentError

    if not isinstance(error, ArgumentError) or error.argument not in vars(args):
        return None
    value = error.value if isinstance(error.value, list | tuple) else [error.value]
    words = " ".join([f"--{error.argument.replace('_', '-')}", *(str(word) for word in value if word is not None)])
    return f"{words}: {error.remedy}"


def _mistakes_in_data() -> tuple[type[Exception], ...]:
    # Who raised one has imported it: datasets takes a second to import, and where only exports are run it is missing.
    known = (
        ("datasets_scripts.schema", "CorpusError"),
        ("facemllm_recipes.model_folder", "DamagedModel"),
        ("facemllm_recipes.strict", "RecipeError"),
        ("modeling_facemllm.errors_facemllm", "PromptTooLongError"),
        ("modeling_facemllm.errors_facemllm", "NoNumbersError"),
    )
    return tuple(getattr(sys.modules[module], name) for module, name in known if module in sys.modules)
