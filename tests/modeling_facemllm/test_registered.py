"""The installed package wins over a folder's code: a folder whose code no longer runs is loaded and asked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import transformers
from packaging.version import Version

from modeling_facemllm import FaceMLLMConfig

ROOT = Path(__file__).parents[2]
FLOOR_PYTHON = os.environ.get("FACEMLLM_FLOOR_PYTHON")

needs_floor = pytest.mark.skipif(
    not FLOOR_PYTHON,
    reason="FACEMLLM_FLOOR_PYTHON names no interpreter with transformers 4.57.6, so that version is not tested",
)


@pytest.fixture
def broken_folder(tmp_path, model, processor):
    """A whole model, each file of whose code raises when it is imported."""
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    for code in folder.glob("*.py"):
        code.write_text("raise RuntimeError('code of the folder ran')\n")
    return folder


since_5_4 = pytest.mark.skipif(
    Version(transformers.__version__) < Version("5.4"), reason="before 5.4 transformers runs all code that is trusted"
)


@pytest.mark.parametrize(
    ("python", "trust"),
    [
        pytest.param(sys.executable, "trusted", id="trusted", marks=since_5_4),
        pytest.param(sys.executable, "not-trusted", id="not-trusted"),
        pytest.param(FLOOR_PYTHON, "not-trusted", id="transformers-4.57", marks=needs_floor),
    ],
)
def test_registered_classes_load_a_folder_whose_own_code_raises(python, trust, broken_folder, photo, tmp_path):
    photo.save(tmp_path / "photo.png")
    report = tmp_path / "report.json"
    script = Path(__file__).with_name("registered.py")
    ran = subprocess.run(
        [python, script, broken_folder, tmp_path / "photo.png", report, trust],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(tmp_path / "code")},
        stdin=subprocess.DEVNULL,  # nobody answers whether to trust the folder
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(report.read_text())
    assert {"AutoModel", "AutoModelForImageTextToText", "AutoModelForCausalLM"} < set(found["classes"])
    assert {module.split(".")[0] for module in found["classes"].values()} == {"modeling_facemllm"}
    assert found["analysed"] == {"Does this person wear glasses?": found["said"]}


def test_a_folder_saved_by_the_package_still_names_its_own_pipeline(tmp_path, processor, model):
    model.config.custom_pipelines["caption"] = {"impl": "captions.Captions", "pt": ["AutoModel"]}
    model.config.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())["custom_pipelines"]
    assert saved["face-analysis"]["impl"] == "pipeline_facemllm.FaceAnalysisPipeline"
    # Somebody's own pipeline is registered nowhere: `pipeline` finds it in the folder.
    assert "caption" in FaceMLLMConfig.from_pretrained(tmp_path).custom_pipelines
