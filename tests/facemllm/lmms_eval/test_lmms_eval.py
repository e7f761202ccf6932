"""The plug-in for lmms-eval: the real package runs our tasks on a small model and gets the answers that we get.

The environment variable FACEMLLM_LMMS_EVAL_PYTHON names a Python with lmms-eval; docs/evaluation.md says how to make
one. Without it the real run is skipped.
"""

import importlib
import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

from facemllm.lmms_eval import TASKS
from facemllm.lmms_eval.__main__ import main as prepare
from tests.facemllm.evaluation.facexbench import miniature as miniature_facexbench

ROOT = Path(__file__).parents[3]
PYTHON = os.environ.get("FACEMLLM_LMMS_EVAL_PYTHON")
needs_lmms_eval = pytest.mark.skipif(
    not PYTHON, reason="FACEMLLM_LMMS_EVAL_PYTHON names no Python with lmms-eval, so our plug-in is not run in it"
)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """The packaged towers behind an untrained projector: it writes words, and not the same about every picture."""
    import torch

    import facemllm
    from modeling_facemllm import FaceMLLMForConditionalGeneration, FaceMLLMProcessor

    towers = [str(Path(facemllm.__file__).parent / "towers" / name) for name in ("vision", "text")]
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    processor = FaceMLLMProcessor.from_towers(*towers)
    FaceMLLMForConditionalGeneration.from_towers(*towers, tokenizer=processor.tokenizer).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def fairface(tmp_path_factory):
    """A corpus that `facemllm data fairface` built, with labels of race."""
    from facemllm.cli import main
    from tests.datasets_scripts.sources.miniatures import WRITERS

    folder = tmp_path_factory.mktemp("fairface")
    (folder / "root").mkdir()
    WRITERS["fairface"](folder / "root")
    assert main(["data", "fairface", str(folder / "root"), "--out", str(folder / "corpus"), "--race"]) == 0
    return folder / "corpus"


@pytest.fixture(scope="module")
def facexbench(tmp_path_factory):
    """FaceXBench in miniature, and the data set of questions made from it."""
    folder = tmp_path_factory.mktemp("facexbench")
    miniature_facexbench.write(folder / "root")
    assert prepare(["facexbench", "--root", str(folder / "root"), "--out", str(folder / "questions")]) == 0
    return folder / "root", folder / "questions"


@pytest.fixture(scope="module")
def logged(model_folder, fairface, facexbench, tmp_path_factory):
    """What the real lmms-eval logged: our tasks as chat messages, and with --force_simple."""
    folder = tmp_path_factory.mktemp("lmms_eval")
    # the entry points of pyproject.toml, as an installation would write them
    entry_points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["lmms_eval.models"]
    installed = folder / "path" / "facemllm-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: facemllm\nVersion: 0\n")
    lines = [f"{name} = {target}" for name, target in entry_points.items()]
    (installed / "entry_points.txt").write_text("\n".join(["[lmms_eval.models]", *lines]))
    arguments = {
        "model": str(model_folder),
        "out": str(folder / "logged.json"),
        "runs": {
            "chat": {"tasks": ["fairface", "facexbench"], "force_simple": False},
            "simple": {"tasks": ["fairface_scored", "fairface_race_audit"], "force_simple": True},
        },
    }
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder / "path")]),
        "FACEMLLM_FAIRFACE": str(fairface),
        "FACEMLLM_FACEXBENCH": str(facexbench[1]),
        "HF_HOME": str(folder / "home"),
    }
    command = [PYTHON, str(ROOT / "tests/facemllm/lmms_eval/lmms_eval_run.py"), json.dumps(arguments)]
    run = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads((folder / "logged.json").read_text())


@pytest.fixture(scope="module")
def model_and_faces(model_folder, fairface):
    from datasets import load_dataset

    from facemllm.inference.loading import load_model

    rows = load_dataset(str(fairface), "face_tasks", split="validation")
    return *load_model(model_folder, "cpu"), [image.convert("RGB") for image in rows["image"]]


@needs_lmms_eval
@pytest.mark.parametrize("task", ["gender", "age"])
def test_what_the_model_writes_there_is_what_it_writes_here(logged, model_and_faces, task):
    from datasets_scripts.questions.conversations import canonical_question
    from facemllm.evaluation.answers import OPTION_TOKENS
    from facemllm.inference.answering import answer_prompts

    model, processor, faces = model_and_faces
    prompts = [(canonical_question(task)[0], (face,)) for face in faces]
    entry = logged["chat"][f"fairface_{task}"]
    assert [text for (text,) in entry["answers"]] == answer_prompts(model, processor, prompts, OPTION_TOKENS)
    assert entry["figures"]["unparsed,none"] == 1  # of words, but never of an option


@needs_lmms_eval
@pytest.mark.parametrize("task", ["gender", "age"])
def test_its_losses_are_our_log_likelihoods(logged, model_and_faces, task):
    from datasets_scripts.questions.conversations import canonical_question
    from modeling_facemllm.scoring_facemllm import ClosedQuestion, option_log_likelihoods

    model, processor, faces = model_and_faces
    question = ClosedQuestion(*canonical_question(task))
    ours = option_log_likelihoods(model, processor, faces, [question])
    theirs = [[-loss for loss, _ in answers] for answers in logged["simple"][f"fairface_{task}_scored"]["answers"]]
    np.testing.assert_allclose(theirs, [options for (options,) in ours], atol=1e-3)


@needs_lmms_eval
def test_questions_about_none_or_several_pictures_are_answered_alike(logged, facexbench, model_folder, tmp_path):
    from facemllm.evaluation.answerers import FaceMLLMAnswerer
    from facemllm.evaluation.facexbench.benchmark import ask_facexbench
    from facemllm.evaluation.facexbench.reader import read_facexbench
    from facemllm.evaluation.predictions import PredictionLog, read_predictions
    from facemllm.inference.loading import load_model

    bench = read_facexbench(facexbench[0])
    with PredictionLog(tmp_path / "predictions.jsonl") as log:
        ask_facexbench(bench, FaceMLLMAnswerer(*load_model(model_folder, "cpu")), log, ["generation"], "zero-shot")
    ours = [entry.text for entry in read_predictions(tmp_path / "predictions.jsonl")]
    assert len(set(ours)) > 1
    assert [text for (text,) in logged["chat"]["facexbench"]["answers"]] == ours


def test_race_is_asked_only_by_a_task_of_that_name():
    tasks = {path.stem: yaml.load(path.read_text(), yaml.BaseLoader) for path in TASKS.glob("*.yaml")}
    about_race = {name for name in tasks if "race_" in (TASKS / f"{name}.yaml").read_text()}
    assert about_race == {"fairface_race_audit"} and "tag" not in tasks["fairface_race_audit"]


def hook(name):
    """What lmms-eval gets for a `!function` of a task file."""
    module, _, name = name.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_every_hook_that_the_task_files_name_is_there(fairface, facexbench, monkeypatch):
    monkeypatch.setenv("FACEMLLM_FAIRFACE", str(fairface))
    monkeypatch.setenv("FACEMLLM_FACEXBENCH", str(facexbench[1]))
    hooks = {name for path in TASKS.glob("*.yaml") for name in re.findall(r"!function (\S+)", path.read_text())}
    assert len(hooks) > 10
    assert all(hook(name) for name in hooks)


@pytest.mark.parametrize("data", ["fairface", "facexbench"])
def test_a_folder_without_the_data_ends_in_one_line(data, tmp_path, monkeypatch):
    variable = f"FACEMLLM_{data.upper()}"
    monkeypatch.setenv(variable, str(tmp_path))
    with pytest.raises(SystemExit, match=rf"{variable}={tmp_path}: .*facemllm.*{data}"):
        hook(f"facemllm.lmms_eval.{data}.DATA_FILES")


def test_questions_without_their_pictures_stay_out_of_the_data_set(facexbench, capsys):
    root, questions = facexbench
    rows = [json.loads(line) for line in (questions / "test.jsonl").read_text().splitlines()]
    assert len(rows) == 26 and all(Path(row["folder"], image).is_file() for row in rows for image in row["images"])
    assert prepare(["facexbench", "--root", str(root / "none"), "--out", str(questions)]) == 2
    assert re.search(r"--root \S+none: .*github\.com/Kartik-3004/facexbench", capsys.readouterr().err)
