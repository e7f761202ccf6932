"""The benchmarks measure every variant they name, on the same prompt, and count what a model has to do."""

import json

import pytest

from benchmarks.onnx_table import COLUMNS, EAGER, SHARES, main
from facemllm_onnx.benchmark import NEW, PROMPT, workload
from facemllm_onnx.benchmark import main as measure_folders


def test_folders_are_measured_without_pytorch(onnx_folder, capsys):
    assert measure_folders([str(onnx_folder), "--rounds", "1", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["precision"] == "fp32"
    assert all(row[figure] > 0 for figure in ("prompt_ms", "tokens_per_s", "first_token_ms", "images_per_s"))


def test_a_folder_that_is_none_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        measure_folders([str(tmp_path / "nothing")])
    assert stop.value.code == 2
    assert "nothing" in capsys.readouterr().err


def test_operations_are_two_for_each_weight_and_token(onnx_folder, model):
    record = json.loads((onnx_folder / "export.json").read_text())
    config = json.loads((onnx_folder / "config.json").read_text())
    text = model.model.language_model
    weights = sum(parameter.numel() for name, parameter in text.layers.named_parameters() if parameter.ndim == 2)
    text_config = model.config.text_config
    attention = text_config.num_hidden_layers * 2 * text_config.num_attention_heads * text_config.head_dim * PROMPT**2
    head = 2 * text.embed_tokens.weight.numel()
    assert workload(record, config).prompt_flops == 2 * weights * PROMPT + attention + head


def test_bytes_of_a_token_are_the_decoder_and_its_cache(onnx_folder):
    record = json.loads((onnx_folder / "export.json").read_text())
    config = json.loads((onnx_folder / "config.json").read_text())
    cache = record["cache"]
    positions = PROMPT + NEW / 2
    cached = cache["layers"] * 2 * cache["kv_heads"] * cache["head_dim"] * 4 * positions
    decoder = record["graphs"]["decoder_model_merged"]["bytes"]
    assert workload(record, config).bytes_per_token == decoder + cached
    assert workload(record, config, rows=8).bytes_per_token == decoder + 8 * cached


@pytest.mark.slow
def test_ways_answer_alike_and_are_told_apart(onnx_folder, model_folder, tmp_path, capsys):
    (tmp_path / "model-small").symlink_to(model_folder)
    (tmp_path / "model-small-fp32-cpu").symlink_to(onnx_folder)
    arguments = ["--work", str(tmp_path), "--rounds", "1", "--only", EAGER, "ONNX fp32", "--json"]
    assert main(arguments) == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    assert list(table["ways"]) == [EAGER, "ONNX fp32"]
    for figures in table["ways"].values():
        assert all(figures[name] > 0 for name in (*COLUMNS, *SHARES) if name != "share_of_arithmetic_image")
        assert figures["same_tokens"] == NEW


def test_an_unknown_way_is_one_line(tmp_path, model_folder, capsys):
    (tmp_path / "model-small").symlink_to(model_folder)
    with pytest.raises(SystemExit) as stop:
        main(["--work", str(tmp_path), "--only", "TensorRT"])
    assert stop.value.code == 2
    assert "TensorRT" in capsys.readouterr().err
