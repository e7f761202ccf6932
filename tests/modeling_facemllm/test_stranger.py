"""The saved folder works alone: in a fresh process that cannot import this project, on both transformers versions."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers.dynamic_module_utils import get_relative_import_files, get_relative_imports

from modeling_facemllm import FaceAnalysisPipeline, FaceMLLMForConditionalGeneration, FaceMLLMProcessor

STRANGER = Path(__file__).with_name("stranger.py")
FLAT_FOLDER = Path(__file__).parents[2] / "modeling_facemllm"
FLAT_FILES = {path.name for path in FLAT_FOLDER.glob("*_facemllm.py")}
FLOOR_PYTHON = os.environ.get("FACEMLLM_FLOOR_PYTHON")

needs_floor = pytest.mark.skipif(
    not FLOOR_PYTHON,
    reason="FACEMLLM_FLOOR_PYTHON names no interpreter with transformers 4.57.6, so that version is not tested",
)
PYTHONS = [
    pytest.param(sys.executable, id="this-transformers"),
    pytest.param(FLOOR_PYTHON, id="transformers-4.57", marks=needs_floor),
]


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def folder(request, tmp_path, model, processor, vision_config, text_config):
    text_config.tie_word_embeddings = request.param
    torch.manual_seed(0)
    model = type(model).from_towers(vision_config, text_config, tokenizer=processor.tokenizer, pixel_shuffle_factor=2)
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def photo_file(tmp_path, photo):
    photo.save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def meet_stranger(python: str, folder: Path, photo_file: Path, home: Path) -> dict:
    """Run the script in an empty directory with caches of its own; returns its report."""
    empty = home / "empty"
    empty.mkdir(parents=True)
    report = home / "report.json"
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "HF_", "TRANSFORMERS_"))
    }
    ran = subprocess.run(
        [python, "-P", STRANGER, folder, photo_file, report, home / "resaved"],
        cwd=empty,
        env=inherited
        | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home / "hf"), "HF_MODULES_CACHE": str(home / "modules")},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(report.read_text())


def greedy_here(folder: Path, photo_file: Path, model_class, processor_class) -> list[int]:
    processor, model = processor_class.from_pretrained(folder), model_class.from_pretrained(folder)
    question = [
        {
            "role": "user",
            "content": [
                {"type": "image", "path": str(photo_file)},
                {"type": "text", "text": "Does this person wear glasses?"},
            ],
        }
    ]
    inputs = processor.apply_chat_template(
        question, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )
    output = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    return output[0, inputs["input_ids"].shape[1] :].tolist()


def analysed_here(folder: Path, photo_file: Path) -> list[dict]:
    model = FaceMLLMForConditionalGeneration.from_pretrained(folder)
    processor = FaceMLLMProcessor.from_pretrained(folder)
    analyze = FaceAnalysisPipeline(model, processor=processor, device="cpu", detector="none")
    return analyze(photo_file)


def flat(faces: list[dict]) -> dict[str, float]:
    """The probabilities of all answers by task and answer."""
    return {
        f"{name}/{option}": p
        for face in faces
        for name, answer in face["tasks"].items()
        for option, p in answer["scores"].items()
    }


def test_the_folder_holds_code_and_safetensors_only(folder):
    assert {path.name for path in folder.iterdir()} >= FLAT_FILES
    assert {path.suffix for path in folder.iterdir()} <= {".py", ".json", ".jinja", ".safetensors"}


@pytest.mark.parametrize("entry", ["configuration", "modeling", "pipeline", "processing", "vision"])
def test_entry_files_import_all_they_need_themselves(entry):
    """From a local folder, 4.57 copies what an entry file imports, but not what those files import in turn."""
    root = FLAT_FOLDER / f"{entry}_facemllm.py"
    direct = {Path(name).with_suffix(".py").name for name in get_relative_imports(root)}
    assert {Path(name).name for name in get_relative_import_files(root)} <= direct | {root.name}


@pytest.mark.parametrize("python", PYTHONS)
def test_a_stranger_loads_and_asks(python, folder, photo_file, tmp_path, model, processor):
    expected = greedy_here(folder, photo_file, type(model), type(processor))
    report = meet_stranger(python, folder, photo_file, tmp_path / "stranger")
    assert report["classes"] == ["transformers_modules"] * 3
    assert {"AutoModel", "AutoModelForImageTextToText", "AutoModelForCausalLM"} <= set(report["tokens"])
    assert report["tokens"] == dict.fromkeys(report["tokens"], expected)
    assert len(set(expected)) > 3  # a constant answer would prove nothing
    assert report["pipeline"] == report["decoded"]
    assert report["tuned"] == report["tuned_reloaded"] != expected
    (face,) = report["analysis"]
    assert face["box"] == [0, 0, 48, 40]
    assert list(face["tasks"]) == ["gender", "age", "expression"]
    assert face["answers"]["Does this person wear glasses?"] == report["decoded"].strip()
    assert report["analysis"] == report["analysis_resaved"]
    assert flat(report["analysis"]) == pytest.approx(flat(analysed_here(folder, photo_file)), abs=1e-5)


@needs_floor
@pytest.mark.slow
@pytest.mark.parametrize("folder", [True], ids=["tied"], indirect=True)
@pytest.mark.parametrize("order", [(sys.executable, FLOOR_PYTHON), (FLOOR_PYTHON, sys.executable)], ids=["5-4", "4-5"])
def test_what_one_version_saves_the_other_loads(order, folder, photo_file, tmp_path):
    first = meet_stranger(order[0], folder, photo_file, tmp_path / "first")
    second = meet_stranger(order[1], tmp_path / "first" / "resaved", photo_file, tmp_path / "second")
    assert second["input_ids"] == first["input_ids"]
    assert second["tokens"]["AutoModel"] == first["tuned"]
