"""What `facemllm export` leaves: a folder that answers as the model does, or nothing."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor, LlamaConfig, Qwen3NextConfig

from benchmarks.export_matrix import Combination, run, vision_config
from facemllm.cli import main
from facemllm_onnx.export.exportable import check_exportable
from facemllm_onnx.export.folder import ExportError, save_graph, whole_folder
from facemllm_onnx.export.graphs import graphs
from facemllm_onnx.export.parity import Reference, check, compare
from facemllm_onnx.export.precisions import FLOATS
from facemllm_onnx.runtime.sessions import open_sessions
from modeling_facemllm import FaceMLLMConfig, FaceMLLMForConditionalGeneration
from tests.tiny import TEXT


def record_of(folder):
    return json.loads((folder / "export.json").read_text())


def decoder_of(folder):
    return onnx.load(folder / "onnx" / "decoder_model_merged.onnx", load_external_data=False)


@pytest.mark.parametrize("kind", ["onnx_folder", "onnx_batch_folder"])
def test_the_graphs_have_the_tensors_that_the_table_of_graphs_promises(request, kind):
    folder = request.getfixturevalue(kind)
    described = record_of(folder)["graphs"]
    for graph in graphs(num_hidden_layers=2):
        assert list(described[graph.name]["inputs"]) == list(graph.inputs)
        assert list(described[graph.name]["outputs"]) == list(graph.outputs)


def test_the_record_names_the_axes_of_a_decoder_for_one_row_and_of_one_for_several(fused_folder, onnx_batch_folder):
    one, several = (
        record_of(folder)["graphs"]["decoder_model_merged"]["inputs"] for folder in (fused_folder, onnx_batch_folder)
    )
    assert one["past_key_values.0.key"] == [1, 2, "past_length", 8]
    assert several["past_key_values.0.key"] == ["batch_size", 2, "past_length", 8]
    assert one["inputs_embeds"] == [1, "length", 32]


def test_a_second_row_is_an_error_of_the_fused_decoder_and_never_a_wrong_answer(fused_folder):
    path = fused_folder / "onnx" / "decoder_model_merged.onnx"
    sessions, _ = open_sessions({"decoder": path}, "cpu", threads=1)
    inputs = {
        "inputs_embeds": np.zeros((2, 3, 32), np.float32),
        "attention_mask": np.ones((2, 3), np.int64),
        "position_ids": np.arange(3)[None].repeat(2, 0),
        **{
            f"past_key_values.{layer}.{part}": np.zeros((2, 2, 0, 8), np.float32)
            for layer in (0, 1)
            for part in ("key", "value")
        },
    }
    with pytest.raises(Exception, match=r"Got: 2 Expected: 1"):
        sessions["decoder"].run(None, inputs)


def test_only_the_decoder_for_one_row_is_fused(fused_folder, onnx_batch_folder):
    fused, plain = (
        {node.op_type for node in decoder_of(folder).graph.node} for folder in (fused_folder, onnx_batch_folder)
    )
    assert "GroupQueryAttention" in fused
    assert "GroupQueryAttention" not in plain


def test_the_record_says_how_the_graphs_were_checked(onnx_batch_folder):
    parity = record_of(onnx_batch_folder)["parity"]["fp32"]
    assert set(parity["prompts"]) == {"text", "one image", "two images", "padded batch"}
    assert all(prompt["equal"] == prompt["tokens"] for prompt in parity["prompts"].values())
    assert parity["scores"]["difference"] < 1e-4


def test_an_exported_folder_has_all_that_the_processor_needs_and_no_code(onnx_folder):
    assert AutoProcessor.from_pretrained(onnx_folder).image_token
    assert not list(onnx_folder.rglob("*.py")) and not list(onnx_folder.rglob("*.safetensors"))


def test_graphs_of_other_weights_fail_the_check(onnx_folder, model_folder, processor):
    model = FaceMLLMForConditionalGeneration.from_pretrained(model_folder, dtype=torch.float32)
    model.model.language_model.layers[1].self_attn.v_proj.weight.data *= 1.05
    found = compare(Reference(model.eval(), processor, batch=False), onnx_folder, record_of(onnx_folder))
    with pytest.raises(ExportError, match=r"\b\d+ of \d+ tokens\b.*--backend"):
        check(found, FLOATS["fp32"].tolerance)


def test_what_fails_half_way_leaves_no_folder(tmp_path):
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "out") as folder:
        (folder / "half").write_text("")
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_an_earlier_export_stays_until_the_new_one_is_whole(tmp_path):
    out = tmp_path / "out"
    for content in ("old", "new"):
        with whole_folder(out) as folder:
            (folder / "export.json").write_text(content)
            if content == "new":
                assert (out / "export.json").read_text() == "old"
    assert (out / "export.json").read_text() == "new" and list(tmp_path.iterdir()) == [out]


def test_a_folder_of_something_else_is_not_replaced(tmp_path, capsys, model_folder):
    (tmp_path / "thesis.tex").write_text("")
    assert main(["export", str(model_folder), str(tmp_path)]) == 2
    assert re.search(f"{tmp_path}: .*give a new folder, or remove it", capsys.readouterr().err)
    assert (tmp_path / "thesis.tex").exists()


def test_the_folder_that_the_command_runs_in_is_not_replaced(tmp_path, capsys, monkeypatch, model_folder):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(model_folder), "."]) == 2
    assert re.search(r" \.: .*name the export's own folder", capsys.readouterr().err)


def test_behind_a_link_the_export_that_it_leads_to_is_replaced(tmp_path):
    export, link = tmp_path / "export", tmp_path / "link"
    with whole_folder(export) as folder:
        (folder / "export.json").write_text("old")
    link.symlink_to(export)
    with whole_folder(link) as folder:
        (folder / "export.json").write_text("new")
    assert (export / "export.json").read_text() == "new" and link.is_symlink()
    assert sorted(tmp_path.iterdir()) == [export, link]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda weights: weights.popitem(), r"broken\b.*weights\b"),
        (lambda weights: weights.update(dict.fromkeys(weights, torch.zeros(1))), r"broken\b.*"),
    ],
    ids=["missing", "misshapen"],
)
def test_a_model_whose_weights_are_not_whole_is_not_exported(tmp_path, capsys, model_folder, damage, message):
    broken = shutil.copytree(model_folder, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    damage(weights)
    save_file({name: value.clone() for name, value in weights.items()}, broken / "model.safetensors")
    assert main(["export", str(broken), str(tmp_path / "out")]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "int3"], r"--precision int3: .*fp32, fp16, bf16, int8, int4"),
        (["--device", "tpu"], r"--device tpu: .*cpu, cuda"),
        (["--backend", "tflite"], r"--backend tflite: .*auto, optimum, transformers"),
    ],
)
def test_an_unknown_choice_is_one_line(tmp_path, capsys, model_folder, arguments, message):
    assert main(["export", str(model_folder), str(tmp_path / "out"), *arguments]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_each_step_is_told_in_a_line_of_its_own_with_the_graph_it_traces(onnx_folder):
    lines = onnx_folder.with_name(f"{onnx_folder.name}.steps").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == [f"{number} of 6" for number in range(1, 7)]
    traced = [line.rpartition("tracing ")[2] for line in lines if "tracing" in line]
    assert traced == ["vision_encoder", "embed_tokens", "decoder_model_merged", "scoring"]


def test_a_place_that_cannot_be_written_is_one_line_that_names_it(tmp_path, capsys, model_folder):
    (tmp_path / "file").write_text("")
    assert main(["export", str(model_folder), str(tmp_path / "file" / "out")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert re.search(f"{tmp_path / 'file' / 'out'}: .*{tmp_path / 'file'} .*give another", message)


@pytest.mark.parametrize("mistake", [["--precision", "int3"], ["--device", "tpu"], ["no-such-model"], ["taken"]])
def test_mistakes_are_told_before_anything_heavy_is_imported(tmp_path, model_folder, mistake):
    (tmp_path / "notes.txt").write_text("")
    words = {"no-such-model": ["nowhere", "out"], "taken": [str(model_folder), str(tmp_path)]}
    words = words.get(mistake[0], [str(model_folder), str(tmp_path / "out"), *mistake])
    code = f"""
import sys
from facemllm.cli import main
sys.exit(main(["export", *{words}]) + 10 * len({{"torch", "transformers"}} & {{*sys.modules}}))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 2


def test_large_weights_lie_beside_their_graph(tmp_path, onnx_folder, monkeypatch):
    import onnx_ir

    monkeypatch.setattr("facemllm_onnx.export.folder.EXTERNAL_DATA_ABOVE", 1000)
    path = tmp_path / "embed_tokens.onnx"
    save_graph(onnx_ir.load(onnx_folder / "onnx" / "embed_tokens.onnx"), path)
    assert path.stat().st_size < 3000 < (tmp_path / "embed_tokens.onnx_data").stat().st_size
    sessions, _ = open_sessions({"embed": path}, "cpu", threads=1)
    assert sessions["embed"].run(None, {"input_ids": np.array([[1, 2]])})[0].shape == (1, 2, 32)


def test_a_language_model_without_a_cache_of_keys_and_values_is_refused_before_anything_is_traced(tmp_path):
    text = Qwen3NextConfig(num_experts=0, layer_types=["linear_attention", "full_attention"], **TEXT)
    with torch.device("meta"):
        model = FaceMLLMForConditionalGeneration(FaceMLLMConfig(vision_config("siglip"), text))
    with pytest.raises(ExportError, match=r"\(qwen3_next\).*\blinear_attention\b"):
        check_exportable(model)


def test_rotations_that_change_with_the_length_are_refused_and_not_frozen():
    text = LlamaConfig(rope_scaling={"rope_type": "dynamic", "factor": 2.0}, **TEXT)
    with torch.device("meta"):
        model = FaceMLLMForConditionalGeneration(FaceMLLMConfig(vision_config("siglip"), text))
    with pytest.raises(ExportError, match=r"\(llama\).*\bdynamic\b"):
        check_exportable(model)


@pytest.mark.slow
@pytest.mark.parametrize(
    "combination",
    [
        Combination("clip", "llama", tied=False, pixel_shuffle=2, batch=True),
        Combination("dinov2", "qwen2", tied=True, pixel_shuffle=1),
    ],
    ids=lambda one: f"{one.vision}-{one.text}",
)
def test_towers_of_other_kinds_give_the_same_tokens(combination):
    found = run(combination, scoring=False)
    assert "error" not in found and found["equal"] == found["tokens"]
