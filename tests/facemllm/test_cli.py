"""The command line: help with an example for every command, one line for a mistake."""

import importlib.metadata
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from facemllm.cli import COMMANDS, DEPENDENCIES, ONNX_DEPENDENCIES, main


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


@pytest.mark.parametrize(
    ("words", "parser", "meant"),
    [
        (["info", "model", "--jsn"], "facemllm info", "--json"),
        (["data", "synthetic", "--cuont", "5", "1", "1", "--out", "x"], "facemllm data synthetic", "--count"),
    ],
)
def test_a_mistyped_option_is_answered_with_the_near_one_and_the_help_of_its_command(words, parser, meant, capsys):
    with pytest.raises(SystemExit):
        main(words)
    error = capsys.readouterr().err
    assert f"{parser}: error: unrecognized arguments: {words[2]}" in error
    assert f"did you mean {meant}? {parser} --help" in error


def test_a_mistake_in_another_room_is_one_line(tmp_path, capsys):
    assert main(["train", str(tmp_path / "missing.yaml")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("facemllm train: ") and str(tmp_path / "missing.yaml") in error
    assert error.count("\n") == 1


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert (stop.value.code, capsys.readouterr().out) == (0, f"facemllm {importlib.metadata.version('facemllm')}\n")


def test_what_may_be_missing_is_what_the_package_depends_on():
    provided = importlib.metadata.packages_distributions()
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    for requirement in tomllib.loads(text)["project"]["dependencies"]:
        name = re.match(r"[\w-]+", requirement)[0]
        modules = [module for module, packages in provided.items() if name in map(str.lower, packages)]
        assert DEPENDENCIES & set(modules), name
    assert not DEPENDENCIES & ONNX_DEPENDENCIES


def test_a_missing_dependency_is_one_line_and_a_missing_module_of_ours_a_traceback(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "facemllm_recipes.recipe", None)
    with pytest.raises(ModuleNotFoundError):
        main(["train", "recipe.yaml"])
    monkeypatch.delitem(sys.modules, "facemllm_recipes.recipe")
    monkeypatch.setitem(sys.modules, "yaml", None)
    monkeypatch.delitem(sys.modules, "facemllm_recipes.strict", raising=False)
    assert main(["train", "recipe.yaml"]) == 2
    told = capsys.readouterr().err
    assert re.match(r"facemllm train: .*\byaml\b.*pip install ", told)
    assert '"pyyaml>=6.0"' in told and told.count("\n") == 1


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


@pytest.mark.parametrize("after", [0.3, 0.8])
def test_ctrl_c_while_packages_are_imported_is_one_line_and_exit_code_130(after):
    program = (
        "import signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from facemllm.cli import main\n"
        "print('ready', flush=True); sys.exit(main(['ask', 'no/model', 'Who?']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert error.splitlines()[-1].startswith("facemllm ask: ") and "Traceback" not in error


def test_ctrl_c_that_python_loses_in_a_destructor_ends_the_command_all_the_same(capsys, monkeypatch):
    class Interrupted:
        def __del__(self):
            raise KeyboardInterrupt

    def work(*_):
        Interrupted()
        time.sleep(5)
        return 0

    monkeypatch.setattr("facemllm.cli._run", work)
    assert main(["quickstart"]) == 130
    assert capsys.readouterr().err == "facemllm quickstart: interrupted; the same command goes on\n"


def test_the_command_line_imports_nothing_large_before_it_listens_to_ctrl_c():
    program = "import sys, facemllm.cli; sys.exit(any(name in sys.modules for name in ('datasets', 'torch', 'numpy')))"
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2])
    assert done.returncode == 0


@pytest.mark.parametrize(
    "words,remedy",
    [
        (["quickstart"], "the same command goes on"),
        (["data", "synthetic"], "the same command goes on"),
        (["annotate", "fairfacegpt"], "the same command goes on"),
        (["train", "recipe.yaml"], "the same command goes on from the last complete checkpoint"),
        (["analyze", "m", "p", "--out", "o"], "the same command goes on"),
        (["analyze", "m", "p", "--out=o"], "the same command goes on"),
        (["evaluate", "m", "b", "--ou", "o"], "the same command goes on"),
        (["evaluate", "m", "b"], "with --out the same command goes on"),
        (["analyze", "m", "p"], "with --out the same command goes on"),
        (["publish", "model", "o", "a/b"], "the same command goes on"),
        (["towers"], "--vision or --text"),
        (["upgrade", "m"], "the same command finishes it"),
        (["ask", "m", "Who?"], "interrupted"),
        (["export", "m", "o"], "the same command begins anew"),
    ],
    ids=" ".join,
)
def test_ctrl_c_says_how_to_go_on(words, remedy, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("facemllm.cli._run", interrupted)
    assert main(words) == 130
    told = capsys.readouterr().err
    assert told.startswith(f"facemllm {words[0]}: interrupted") and remedy in told and told.count("\n") == 1
