"""`facemllm info`: versions, devices, and a model folder described without loading it."""

import json
import shutil

import pytest
from transformers import AutoModelForImageTextToText

from facemllm.cli import main


def _info(capsys, *words):
    assert main(["info", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_versions_of_what_is_installed(capsys):
    import transformers

    assert _info(capsys)["versions"]["transformers"] == transformers.__version__


def test_cores_this_process_may_use(capsys):
    assert _info(capsys)["devices"]["cpu_cores"] >= 1


def test_parameter_counts_agree_with_the_loaded_model(tiny_model, capsys):
    model = AutoModelForImageTextToText.from_pretrained(tiny_model)
    counts = _info(capsys, tiny_model)["model"]["parameters"]
    assert counts["total"] == sum(parameter.numel() for parameter in model.parameters())
    assert counts["vision_tower"] == sum(parameter.numel() for parameter in model.model.vision_tower.parameters())
    assert counts["projector"] == sum(parameter.numel() for parameter in model.model.projector.parameters())


@pytest.mark.parametrize(
    "name,value",
    [
        ("model_type", "facemllm"),
        ("vision_tower", "facemllm_vision"),
        ("language_model", "qwen3"),
        ("image_size", 64),
        ("tokens_per_image", 16),
        ("dtype", ["F32"]),
        ("licence", None),
    ],
)
def test_a_model_folder_is_described(tiny_model, capsys, name, value):
    assert _info(capsys, tiny_model)["model"][name] == value


def test_the_licence_is_the_cards(tiny_model, tmp_path, capsys):
    for file in tiny_model.iterdir():
        if file.is_file():
            (tmp_path / file.name).symlink_to(file)
    (tmp_path / "README.md").unlink(missing_ok=True)
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    assert _info(capsys, tmp_path)["model"]["licence"] == "apache-2.0"


@pytest.mark.parametrize(
    ("tested", "told"),
    [(None, "older"), (">=4.57.6,<=5.0.0", "older"), ("no range", "older"), (">=4.57.6,<=99.0.0", "newer")],
)
def test_code_of_another_time_is_told_with_what_to_do(tiny_model, tmp_path, capsys, tested, told):
    assert _info(capsys, tiny_model)["model"]["code"] == "today's"
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text()) | {"transformers_tested": tested}
    (folder / "config.json").write_text(json.dumps(config))
    code = _info(capsys, folder)["model"]["code"]
    assert code.startswith(told) and "\n" not in code
    assert {"older": f"facemllm upgrade {folder}", "newer": "install a newer facemllm"}[told] in code


def test_the_table_is_for_people(tiny_model, capsys):
    assert main(["info", str(tiny_model)]) == 0
    assert "tokens per image" in capsys.readouterr().out


@pytest.mark.parametrize("folder", ["nowhere", "."], ids=["missing", "not a model"])
def test_a_folder_without_a_model_is_one_line(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["info", folder]) == 2
    error = capsys.readouterr().err
    assert folder in error
    assert error.count("\n") == 1
