"""What every command that writes a folder promises: one process at a time, and a line that says what to do."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from datasets_scripts.files import alone
from facemllm.cli import main


@pytest.fixture
def words(tmp_path):
    """The words of each command that writes `tmp_path / "out"`."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"model: {{vision: v, text: t, trainable: [projector]}}\ndata: [{{path: {tmp_path}}}]\n"
        f"trainer: {{learning_rate: 1.0e-3, max_steps: 1}}\noutput_dir: {tmp_path / 'out'}\n"
    )
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "facemllm"}')
    out = str(tmp_path / "out")
    return {
        "data": ["data", "synthetic", "--count", "4", "0", "0", "--out", out],
        "train": ["train", str(recipe)],
        "evaluate": ["evaluate", str(model), "synthetic", "--out", out],
        "rescore": ["evaluate", "--rescore", "--out", out],
        "quickstart": ["quickstart", "--out", out],
        "towers": ["towers", "--out", out],
        "export": ["export", str(model), out],
        "publish corpus": ["publish", "corpus", out, "me/faces"],
        "publish model": ["publish", "model", out, "me/faces"],
    }


COMMANDS = {
    "data": "--out",
    "train": "output_dir",
    "evaluate": "--out",
    "rescore": "--out",
    "quickstart": "--out",
    "towers": "--out",
    "export": "OUT",
    "publish corpus": "",
    "publish model": "",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_another_process_writes_is_refused_in_one_line(command, words, tmp_path, capsys):
    out = tmp_path / "out"
    with alone(out, beside=command == "export"):
        assert main(words[command]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert COMMANDS[command] in error and str(out) in error
    assert f"process {os.getpid()} on " in error and "wait for it" in error
    assert not out.exists() and not list(tmp_path.glob(".*.lock"))


@pytest.mark.parametrize("command", [command for command, out in COMMANDS.items() if out == "--out"])
def test_an_empty_name_is_refused_and_nothing_written(command, words, tmp_path, capsys, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main([*words[command][:-1], ""]) == 2
    error = capsys.readouterr().err
    assert "--out '': " in error and error.count("\n") == 1
    assert not list(Path().iterdir())


def test_a_command_leaves_no_lock_behind(words, tmp_path):
    assert main(words["data"]) == 0
    assert not list(Path(tmp_path).rglob(".lock"))


def test_a_full_disk_ends_data_in_one_line_and_the_same_command_goes_on(tmp_path):
    out = tmp_path / "out"
    words = ["data", "synthetic", "--count", "150", "0", "0", "--config", "captions", "--out", str(out)]
    full = (  # in a process of its own, which PyArrow used to end
        "import sys\nfrom tests.full_disk import files_of_at_most\nfrom facemllm.cli import main\n"
        f"with files_of_at_most(200_000): sys.exit(main({words!r}))"
    )
    done = subprocess.run([sys.executable, "-c", full], cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    error = done.stderr.replace("\r", "\n").splitlines()[-1]
    assert error.startswith(f"facemllm data: {out}/")
    assert error.endswith(": File too large; free some space; the same command goes on")
    assert not out.exists() or not list(out.rglob("*.p*"))
    assert main(words) == 0


def test_a_full_disk_is_told_with_the_output_and_what_to_do(tmp_path, capsys, monkeypatch):
    def full(args):
        args.out = args.words[-1]  # as the command does first
        raise OSError(errno.ENOSPC, "of a library")

    monkeypatch.setattr("facemllm.commands.export.run", full)
    assert main(["export", "MODEL", "OUT"]) == 2
    told = "OUT: No space left on device; free some space; OUT is as it was, the same command begins anew"
    assert capsys.readouterr().err == f"facemllm export: {told}\n"
