"""A damaged model ends each command that loads it with exit code 2 and one line: the file and a way out."""

import json
import pickle
import shutil

import pytest

from facemllm.cli import main
from tests.recipes.test_model_folder import Trap

COMMANDS = {
    "ask": ("ask", "MODEL", "FACE", "Glasses?"),
    "analyze": ("analyze", "MODEL", "FACE", "--detector", "none"),
    "evaluate": ("evaluate", "MODEL", "synthetic", "--limit", "1", "--out", "OUT"),
    "export": ("export", "MODEL", "OUT"),
    "publish": ("publish", "model", "MODEL", "anna/model", "--dry-run"),
    "info": ("info", "MODEL"),
    "upgrade": ("upgrade", "MODEL", "--out", "OUT"),
}


def _cut(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:100])


def _pickled(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(folder / "ran")))


def _without_sizes(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"text_config": "qwen3"}))


DAMAGES = {
    "model.safetensors": _cut("model.safetensors"),
    "config.json": _cut("config.json"),
    "tokenizer.json": _cut("tokenizer.json"),
    "pytorch_model.bin": _pickled,
    "text_config": _without_sizes,
}


@pytest.fixture
def model(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


def _run(command, model, face, tmp_path):
    names = {"MODEL": str(model), "FACE": str(face), "OUT": str(tmp_path / "out")}
    return main([names.get(word, word) for word in COMMANDS[command]])


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_damaged_file_is_one_line_that_names_it(model, face_png, tmp_path, capsys, command, damage):
    DAMAGES[damage](model)
    assert _run(command, model, face_png, tmp_path) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert damage in line and str(model) in line
    assert "again" in line or "save_pretrained" in line
    assert not (model / "ran").exists()


PICTURES = {
    "std must have": {"image_std": [1]},
    "32×32": {"size": {"height": 32, "width": 32}},
    "90000 pixels": {"size": {"height": 90_000, "width": 90_000}},
    "NaN": {"rescale_factor": float("nan")},
}
"""What a damaged processor is refused for, and the settings that damage it."""


@pytest.mark.parametrize("damage", PICTURES)
@pytest.mark.parametrize("command", ["ask", "analyze", "evaluate", "export", "publish"])
def test_a_processor_that_reads_no_picture_is_one_line(model, face_png, tmp_path, capsys, command, damage):
    settings = json.loads((model / "processor_config.json").read_text())
    settings["image_processor"] |= PICTURES[damage]
    (model / "processor_config.json").write_text(json.dumps(settings))
    assert _run(command, model, face_png, tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{model}: its processor" in line and damage in line and "again" in line


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("chat_template.jinja", "{% if", "chat template"),
        ("chat_template.jinja", "{{ 1 / 0 }}", "ZeroDivisionError"),
        ("generation_config.json", '{"eos_token_id": "x"}', "eos_token_id is 'x'"),
        ("generation_config.json", '{"eos_token_id": [null]}', "eos_token_id is [None]"),
        ("generation_config.json", f'{{"pad_token_id": {10**30}}}', "pad_token_id is 1000"),
        ("generation_config.json", '{"output_hidden_states": 1.5}', "output_hidden_states is 1.5"),
    ],
)
def test_what_would_fail_at_the_first_question_is_seen_before(model, face_png, tmp_path, capsys, name, content, named):
    (model / name).write_text(content)
    assert _run("ask", model, face_png, tmp_path) == 2
    assert named in capsys.readouterr().err


def test_another_image_token_than_the_tokenizers_is_refused(model, face_png, tmp_path, capsys):
    config = json.loads((model / "config.json").read_text())
    right = config["image_token_id"]
    (model / "config.json").write_text(json.dumps(config | {"image_token_id": right - 1}))
    assert _run("ask", model, face_png, tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"image_token_id is {right - 1} in its config.json and {right} in its tokenizer" in line


def test_weights_of_another_shape_are_one_line(model, face_png, tmp_path, capsys):
    config = json.loads((model / "config.json").read_text())
    config["text_config"]["intermediate_size"] = 60
    (model / "config.json").write_text(json.dumps(config))
    assert _run("ask", model, face_png, tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "config.json" in line and "mlp" in line and "whole" in line
