"""The folder of a run: which recipe it belongs to, where to go on after a kill, and the finished model.

`run.json` is written last of all: a folder without it is not finished, whatever else it holds.
"""

import contextlib
import errno
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from datasets_scripts.files import Busy, alone, first_in, read_claim, read_json, replacing, write_json

from .strict import RecipeError

FINISHED = "run.json"
STARTED = "recipe.json"
CHECKPOINTS = "checkpoints"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
COMPLETE = "complete"  # marker inside a checkpoint, written after everything else in it

# What may differ when a run is taken up again: it changes what is reported or how fast, not what is learned.
_FREE_TRAINER_KEYS = {
    "logging_steps",
    "logging_strategy",
    "logging_first_step",
    "save_steps",
    "save_strategy",
    "save_total_limit",
    "report_to",
    "disable_tqdm",
    "dataloader_num_workers",
    "dataloader_prefetch_factor",
    "dataloader_persistent_workers",
    "dataloader_pin_memory",
    "log_level",
    "run_name",
}
_FREE_KEYS = {"output_dir", "num_proc"}


def read_finished(folder: Path) -> dict | None:
    """What `run.json` of a finished run holds; None if the run is not finished."""
    return read_json(folder / FINISHED)


def claim(folder: Path, recipe: dict, data: list[dict], processes: int) -> None:
    """Let `folder` belong to this recipe, or refuse it if it belongs to another one, or holds what is not of a run.

    `data` holds the facts of the corpora, `processes` is the number of training processes. Raises `RecipeError`,
    naming what differs: going on from a checkpoint of other settings would give a model that no recipe describes.
    """
    claimed = {
        "recipe": {key: value for key, value in recipe.items() if key not in _FREE_KEYS},
        "data": [fact["fingerprint"] for fact in data],
        "processes": processes,
    }
    claimed["recipe"]["trainer"] = {k: v for k, v in recipe["trainer"].items() if k not in _FREE_TRAINER_KEYS}
    try:
        earlier = read_claim(folder / STARTED, claimed)
    except ValueError as error:
        remedy = "take another output_dir, or delete that folder to start anew"
        raise RecipeError(f"output_dir: {error}; {remedy}") from error
    if earlier is None and (other := first_in(folder)):
        raise RecipeError(f"output_dir: {str(folder)!r} holds {other}, which no recipe here wrote; take another")
    if earlier is None:
        write_json(folder / STARTED, claimed)


@contextlib.contextmanager
def writing(folder: Path, first_process: bool) -> Iterator[None]:
    """Be the one run that writes `folder`, and let an error of writing say how to go on.

    Of a run's processes only the first holds the lock.

    Raises:
        RecipeError: when another process writes the folder.
        OSError: in one line, for whatever an operating system, safetensors or PyTorch raises where a disk is full.
    """
    where, printed = f"output_dir: {str(folder)!r}", threading.excepthook
    if folder.is_file():
        raise RecipeError(f"{where} is a file; give a folder")
    threading.excepthook = lambda found: None if _why_not_written(found.exc_value) else printed(found)
    with contextlib.ExitStack() as held:
        try:
            if first_process:
                held.enter_context(alone(folder))
            yield
            threading.excepthook = printed  # not after an error: TensorBoard's thread writes until the process ends
        except Busy as error:
            remedy = "wait for it, end it, or take another output_dir"
            raise RecipeError(f"{where}: {error.holder} is writing this folder; {remedy}") from error
        except Exception as error:
            if (reason := _why_not_written(error)) is None:
                raise
            remedy = "free some space, and the same command goes on from the last complete checkpoint"
            raise OSError(f"{where}: cannot be written ({reason}); {remedy}") from error


def _why_not_written(error: BaseException) -> str | None:
    """What a full disk, quota or file limit made of `error`, or of what it came from; None for any other error."""
    text = str(error)
    number = re.search(r"\(os error (\d+)\)|\[errno (\d+)\]", text, re.IGNORECASE)
    code = getattr(error, "errno", None) or (number and int(number[1] or number[2]))
    if code in FULL:
        return os.strerror(code)
    if isinstance(error, RuntimeError) and ("PytorchStreamWriter" in text or "inline_container" in text):
        earlier = error.__context__ and _why_not_written(error.__context__)
        return earlier or "PyTorch could not write a checkpoint"
    return None


def last_complete_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end, or None; half-written ones are deleted."""
    complete = []
    for path in (folder / CHECKPOINTS).glob("checkpoint-*"):
        if (path / COMPLETE).is_file():
            complete.append(path)
        else:
            shutil.rmtree(path)
    return max(complete, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def remove_checkpoints(folder: Path) -> None:
    """Remove what a run has kept that learned nothing: the next one would go on from its end, and call it done."""
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def put_in_place(staged: Path, folder: Path) -> None:
    """Move the model saved in `staged` into `folder`: weights first, `config.json` last, each file in one step.

    Nothing loads from `folder` before all of it is there.
    """
    files = sorted(path for path in staged.rglob("*") if path.is_file())
    late = {"model.safetensors.index.json": 1, "config.json": 2}
    for path in sorted(files, key=lambda path: late.get(path.name, 0) if path.parent == staged else 0):
        target = folder / path.relative_to(staged)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
    shutil.rmtree(staged)


def git_revision() -> str | None:
    """The commit of the working tree this code is in, with `+changes` if it differs from it; None outside git."""
    git = ["git", "-C", str(Path(__file__).resolve().parent)]
    settings = {"capture_output": True, "text": True, "timeout": 10, "check": True}
    try:
        changed = subprocess.run([*git, "status", "--porcelain", "--untracked-files=no"], **settings).stdout
        commit = subprocess.run([*git, "rev-parse", "HEAD"], **settings).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+changes" if changed else commit


def plot_losses(history: list[dict], path: Path, title: str) -> None:
    """Draw loss and token accuracy over the steps of `history` (`Trainer.state.log_history`) as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    accuracy_axes = axes.twinx()
    for key, label, target, style in (
        ("loss", "loss", axes, "C0-"),
        ("eval_loss", "loss, held out", axes, "C0o--"),
        ("mean_token_accuracy", "token accuracy", accuracy_axes, "C1-"),
        ("eval_mean_token_accuracy", "token accuracy, held out", accuracy_axes, "C1o--"),
    ):
        points = [(entry["step"], entry[key]) for entry in history if key in entry]
        if points:
            target.plot(*zip(*points, strict=True), style, label=label, markersize=4, linewidth=1.2)
    axes.set(xlabel="step", ylabel="loss", title=title)
    axes.set_ylim(bottom=0)
    accuracy_axes.set(ylabel="token accuracy", ylim=(0, 1))
    lines = axes.get_lines() + accuracy_axes.get_lines()
    figure.legend(lines, [line.get_label() for line in lines], loc="outside lower center", ncols=4, fontsize=8)
    with replacing(path) as file:
        figure.savefig(file, format="png")
