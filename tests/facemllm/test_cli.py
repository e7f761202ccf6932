"""The command line: help with an example for every command, one line for a mistake."""

import subprocess
import sys
from pathlib import Path

import pytest

from facemllm.cli import COMMANDS, main


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"example: facemllm {command}" in capsys.readouterr().out


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    told = capsys.readouterr().out
    assert all(command in told for command in COMMANDS)


@pytest.mark.parametrize("words", [[], ["paint"], ["info", "--colour"]], ids=["nothing", "unknown command", "option"])
def test_a_wrong_command_line_exits_with_2(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2


def test_a_mistake_in_another_room_is_one_line(tmp_path, capsys):
    assert main(["train", str(tmp_path / "missing.yaml")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("facemllm train: ")
    assert error.count("\n") == 1


def test_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "facemllm", "info", "--help"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0
    assert "facemllm info" in done.stdout


def test_help_needs_no_torch():
    program = (
        "import sys; from facemllm.cli import main\n"
        "try: main(['quickstart', '--help'])\n"
        "except SystemExit: sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
