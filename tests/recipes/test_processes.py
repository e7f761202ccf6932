"""Runs of whole processes: killed and taken up again, two at a time, and through the command line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from facemllm_recipes.run_folder import CHECKPOINTS, COMPLETE
from facemllm_recipes.sft import train
from facemllm_recipes.strict import RecipeError
from tests.fresh_environment import fresh_environment, plain_variables
from tests.recipes.tiny import text_record, write_corpus

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "recipes" / "sft.py"
DROPOUT = {"r": 4, "alpha": 8, "dropout": 0.2, "target": "language_model"}


def environment(**more: str) -> dict[str, str]:
    import datasets

    cache = {"HF_DATASETS_CACHE": str(datasets.config.HF_DATASETS_CACHE), "HF_HUB_OFFLINE": "1"}
    return {**plain_variables(), **cache, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **more}


def written(recipe, path: Path) -> Path:
    path.write_text(yaml.safe_dump(recipe.to_dict()))
    return path


def losses(run: dict) -> list[float]:
    return [entry["loss"] for entry in run["loss_history"]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "muon", "lora with dropout"])
def test_a_killed_run_ends_as_an_uninterrupted_one(kind, make_recipe, towers, tmp_path):
    model = {**towers, "pixel_shuffle_factor": 2, "trainable": ["all"]}
    if kind == "lora with dropout":
        model |= {"trainable": ["projector"], "lora": DROPOUT}
    optimizer = "muon" if kind == "muon" else "trainer"
    settings = {"model": model, "optimizer": optimizer, "trainer": {"max_steps": 60, "save_steps": 5}}
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    recipe = make_recipe(output_dir=str(killed), **settings)
    config = written(recipe, tmp_path / "recipe.yaml")

    process = subprocess.Popen([sys.executable, SCRIPT, "--config", config], env=environment(), stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list((killed / CHECKPOINTS).glob(f"*/{COMPLETE}")):
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read().decode()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "run.json").exists() and not (killed / "config.json").exists()

    newest = max((killed / CHECKPOINTS).iterdir(), key=lambda path: path.stat().st_mtime)
    half_written = killed / CHECKPOINTS / "checkpoint-59"
    shutil.copytree(newest, half_written)
    (half_written / COMPLETE).unlink(missing_ok=True)
    (half_written / "optimizer.pt").write_bytes(b"cut o")

    resumed = train(recipe)
    assert resumed["resumed_from"] is not None and resumed["resumed_from"] != "checkpoint-59"
    uninterrupted = train(make_recipe(output_dir=str(whole), **settings))
    assert losses(resumed) == losses(uninterrupted)
    first, second = load_file(killed / "model.safetensors"), load_file(whole / "model.safetensors")
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("after", [0.0, 0.5], ids=["as workers start", "as they tokenise"])
def test_ctrl_c_while_workers_tokenise_is_one_line(after, make_recipe, tmp_path):
    corpus = write_corpus([text_record(index % 24) for index in range(20_000)], tmp_path / "texts")
    recipe = make_recipe(data=[{"path": corpus}], num_proc=2, trainer={"max_steps": 1})
    command = [sys.executable, "-m", "facemllm", "train", written(recipe, tmp_path / "recipe.yaml")]
    streams = {"stderr": subprocess.PIPE, "text": True, "env": environment(), "start_new_session": True}
    process = subprocess.Popen(command, cwd=ROOT, **streams)
    while "tokenising" not in (line := process.stderr.readline()):
        assert line, "it ended"
    time.sleep(after)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it: to the workers too
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "Traceback" not in error
    assert "the same command goes on" in error.splitlines()[-1]


def test_another_recipe_in_the_same_folder_is_refused_and_a_finished_one_is_not_repeated(make_recipe):
    first = train(make_recipe())
    assert train(make_recipe())["seconds"] == first["seconds"]
    with pytest.raises(
        RecipeError, match=r"output_dir: .*trainer\.learning_rate: 0\.005\b.* 0\.1\b.*take another output_dir"
    ):
        train(make_recipe(trainer={"learning_rate": 0.1}))


def test_changed_data_is_refused(make_recipe, texts):
    train(make_recipe())
    with pytest.raises(RecipeError, match=r"output_dir: .*recipe\.data\.0\.path: .*take another output_dir"):
        train(make_recipe(data=[{"path": texts}]))


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(make_recipe, pictures, texts, tmp_path):
    data = [{"path": pictures, "weight": 0.6}, {"path": texts, "weight": 0.4}]
    one = train(make_recipe(data=data, output_dir=str(tmp_path / "one")))
    recipe = make_recipe(data=data, output_dir=str(tmp_path / "two"), trainer={"per_device_train_batch_size": 2})
    config = written(recipe, tmp_path / "recipe.yaml")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    command += ["--standalone", SCRIPT, "--config", config]
    done = subprocess.run(command, env=environment(ACCELERATE_USE_CPU="true"), capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    assert b"destroy_process_group" not in done.stderr

    two = json.loads((tmp_path / "two" / "run.json").read_text())
    assert two["processes"] == 2 and two["conversations"] == one["conversations"] == 16
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    # Adam turns the rounding of a sum over two processes into whole steps where a gradient is nearly zero.
    difference = sum((first[name] - second[name]).square().sum() for name in first)
    assert (difference / sum(value.square().sum() for value in first.values())).sqrt() < 1e-3


@pytest.mark.slow
def test_the_command_trains_and_tells_a_mistake_in_one_line(make_recipe, tmp_path):
    config = written(make_recipe(), tmp_path / "recipe.yaml")

    def facemllm(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "facemllm", "train", str(config), *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300)

    mistake = facemllm("trainer.max_step=1")
    assert mistake.returncode == 2 and mistake.stderr.count("\n") == 1 and "max_steps" in mistake.stderr
    done = facemllm("trainer.max_steps=1", f"output_dir={tmp_path}/by-command")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "by-command" / "run.json").exists()


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """A Python that has what the project needs, and not the project."""
    python = fresh_environment(tmp_path_factory.mktemp("environment"))
    found = subprocess.run([python, "-c", "import facemllm_recipes"], cwd=python.parent, env=environment())
    assert found.returncode != 0, "the project is importable: this environment proves nothing"
    return python


@pytest.fixture(params=["package", "plain folder"])
def folder_with_recipes(request, tmp_path):
    """Somebody's folder that holds a folder `recipes` of their own; as a package it cannot even be imported."""
    folder = tmp_path / "somebody"
    (folder / "recipes").mkdir(parents=True)
    (folder / "recipes" / "recipe.py").write_text("raise SystemExit('a stranger was imported')\n")
    if request.param == "package":
        (folder / "recipes" / "__init__.py").write_text("raise SystemExit('a stranger was imported')\n")
    return folder


def test_the_script_of_a_clone_starts_where_nothing_is_installed(bare_python, folder_with_recipes):
    command = [bare_python, SCRIPT, "--config", "missing.yaml"]
    done = subprocess.run(command, cwd=folder_with_recipes, env=environment(), capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "'missing.yaml'" in done.stderr, done.stderr


def test_a_spawned_worker_of_the_script_finds_the_rooms(bare_python, tmp_path):
    # Where processes are spawned, each runs the script that started it under this name.
    program = f"import runpy; runpy.run_path({str(SCRIPT)!r}, run_name='__mp_main__'); import datasets_scripts"
    done = subprocess.run([bare_python, "-c", program], cwd=tmp_path, env=environment(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_the_command_does_not_import_the_caller_s_folder_recipes(folder_with_recipes):
    command = [sys.executable, "-m", "facemllm", "train", "missing.yaml"]
    done = subprocess.run(command, cwd=folder_with_recipes, env=environment(), capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "'missing.yaml'" in done.stderr, done.stderr


LAUNCHERS = {
    "python": [],
    "accelerate launch": ["-m", "accelerate.commands.launch", "--num_processes", "1", "--cpu"],
    "torchrun": ["-m", "torch.distributed.run", "--nproc_per_node", "1", "--standalone"],
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_launcher_trains_from_a_clone_that_is_not_installed(launcher, bare_python, make_recipe, tmp_path):
    (tmp_path / "recipes").mkdir()
    config = written(make_recipe(trainer={"max_steps": 1}), tmp_path / "recipe.yaml")
    command = [bare_python, *LAUNCHERS[launcher], SCRIPT, "--config", config]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(ACCELERATE_USE_CPU="true"), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["steps"] == 1
