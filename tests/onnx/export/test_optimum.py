"""Optimum's exporter writes a Face-MLLM as ours does, from its own command line and from Python."""

import copy
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from transformers import Glm4MoeConfig

pytest.importorskip(
    "optimum.exporters.onnx",
    reason="optimum-onnx needs transformers 4.57: the second environment of .ci/run has it",
    exc_type=ImportError,
)

from optimum.exporters.onnx import export_models, validate_models_outputs

from facemllm_onnx.export.folder import ExportError
from facemllm_onnx.export.graphs import SCORING, graphs
from facemllm_onnx.export.optimum import parts, write_graphs, write_scoring_graph
from tests.tiny import TEXT


@pytest.fixture(scope="module")
def written(model, tmp_path_factory) -> Path:
    """A folder with nothing but the four graphs, fresh from Optimum."""
    folder = tmp_path_factory.mktemp("graphs")
    write_graphs(model, folder)
    write_scoring_graph(model, folder)
    return folder


def test_optimum_cli_makes_a_whole_export_of_a_folder(model_folder, onnx_batch_folder, tmp_path):
    out = tmp_path / "out"
    ran = subprocess.run(
        [
            *(Path(sys.executable).with_name("optimum-cli"), "export", "onnx", "--model", model_folder),
            *("--trust-remote-code", "--task", "image-text-to-text", out),
        ],
        cwd=tmp_path,
        env=os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules")},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert "warning:" not in ran.stderr  # what Optimum says where a graph differs from the model
    record = json.loads((out / "export.json").read_text())
    (parity,) = record["parity"].values()
    assert len(parity["prompts"]) == 4 and all(
        prompt["equal"] == prompt["tokens"] for prompt in parity["prompts"].values()
    )
    assert record["graphs"] == json.loads((onnx_batch_folder / "export.json").read_text())["graphs"]


@pytest.mark.filterwarnings("ignore")
def test_what_optimum_exports_it_finds_equal_to_the_model(model, tmp_path):
    mine = parts(model)
    _, outputs = export_models(mine, output_dir=tmp_path)
    validate_models_outputs(mine, outputs, tmp_path, use_subprocess=False)


def test_graphs_have_the_tensors_and_axes_of_every_backend(model, written):
    sizes = {"channels": 3, "height": 32, "width": 32, "image_tokens": 4, "hidden": 32, "last": 1}
    sizes |= {"vocab": model.config.text_config.vocab_size, "kv_heads": 2, "head_dim": 8}
    for graph in (*graphs(num_hidden_layers=2), SCORING):
        session = onnxruntime.InferenceSession(written / graph.file_name)
        for found, wanted in ((session.get_inputs(), graph.inputs), (session.get_outputs(), graph.outputs)):
            assert [value.name for value in found] == list(wanted)
            for value in found:
                assert value.shape == [sizes.get(axis, axis) for axis in wanted[value.name]]
        onnx.checker.check_model(written / graph.file_name, full_check=True)


def test_padding_on_the_left_changes_no_row(written):
    decoder = onnxruntime.InferenceSession(written / "decoder_model_merged.onnx")
    states = np.random.default_rng(0).standard_normal((1, 5, 32), dtype=np.float32)

    def logits(padding: int) -> np.ndarray:
        """Of a row with that much padding, beside one that has none."""
        length = 5 + padding
        rows = np.random.default_rng(1).standard_normal((2, length, 32), dtype=np.float32)
        rows[:1, padding:] = states
        mask = np.ones((2, length), dtype=np.int64)
        mask[0, :padding] = 0
        feed = {"inputs_embeds": rows, "attention_mask": mask}
        feed["position_ids"] = np.maximum(mask.cumsum(1) - 1, 0)
        for value in decoder.get_inputs()[3:]:
            feed[value.name] = np.zeros((2, 2, 0, 8), dtype=np.float32)
        return decoder.run(["logits"], feed)[0][0]

    np.testing.assert_allclose(logits(padding=3), logits(padding=0), atol=1e-4)


def test_an_export_leaves_the_model_as_it_was(model, tmp_path):
    before = model.config.to_dict()
    write_graphs(model, tmp_path)
    assert model.config.to_dict() == before
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())


def test_large_weights_go_into_a_file_beside_the_graph(model, written, tmp_path, monkeypatch):
    monkeypatch.setattr("facemllm_onnx.export.folder.EXTERNAL_DATA_ABOVE", 1000)
    write_graphs(model, tmp_path)
    assert (tmp_path / "decoder_model_merged.onnx_data").stat().st_size > 10_000
    ids = {"input_ids": np.array([[3, 4]])}
    first, second = (
        onnxruntime.InferenceSession(folder / "embed_tokens.onnx").run(None, ids)[0] for folder in (written, tmp_path)
    )
    np.testing.assert_array_equal(first, second)


def test_half_precision_is_written_as_it_is_loaded(model, tmp_path):
    half = type(model)(model.config).to(torch.float16).eval()
    write_graphs(half, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "decoder_model_merged.onnx")
    kinds = {value.type for value in [*session.get_inputs(), *session.get_outputs()]}
    assert kinds == {"tensor(float16)", "tensor(int64)"}


def test_experts_are_refused_whatever_a_configuration_calls_them(model, tmp_path):
    text = Glm4MoeConfig(n_routed_experts=4, first_k_dense_replace=1, **TEXT)
    with torch.device("meta"):
        mixture = type(model)(type(model.config)(model.config.vision_config, text))
    with pytest.raises(ExportError, match=r"mixture of experts\b.*take the backend transformers"):
        write_graphs(mixture, tmp_path)


def test_the_record_names_the_exporter(onnx_batch_folder):
    versions = json.loads((onnx_batch_folder / "export.json").read_text())["versions"]
    assert versions["optimum-onnx"] == importlib.metadata.version("optimum-onnx")


def test_constants_that_the_tracer_put_beside_a_graph_are_not_lost(model, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_ONNX_EXTERNAL_DATA", "1")  # what Optimum does by itself from 2 GiB on
    config = copy.deepcopy(model.config)
    config.text_config.head_dim = 64  # the rotation's 32 frequencies are a constant large enough for that
    larger = type(model)(config).eval()
    monkeypatch.setattr("facemllm_onnx.export.folder.EXTERNAL_DATA_ABOVE", 1000)
    write_graphs(larger, tmp_path)
    decoder = onnxruntime.InferenceSession(tmp_path / "decoder_model_merged.onnx")
    embeds = torch.randn(1, 5, 32)
    feed = {"inputs_embeds": embeds.numpy(), "attention_mask": np.ones((1, 5), dtype=np.int64)}
    feed["position_ids"] = np.arange(5)[None]
    for value in decoder.get_inputs()[3:]:
        feed[value.name] = np.zeros((1, 2, 0, 64), dtype=np.float32)
    with torch.no_grad():
        expected = larger(inputs_embeds=embeds, logits_to_keep=1).logits
    np.testing.assert_allclose(decoder.run(["logits"], feed)[0], expected, atol=1e-4)
