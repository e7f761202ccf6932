"""An exported model loads from a folder or the Hub, in a process that has neither torch nor transformers."""

import json
import shutil

import numpy as np
import pytest

from facemllm_onnx import FaceMLLMForONNX

WITHOUT_TORCH = """
import sys
for name in ("torch", "transformers", "onnx", "facemllm"):
    sys.modules[name] = None
"""


@pytest.fixture(scope="module")
def client(client):
    """Knows the loopback Hub and cannot import PyTorch, transformers or the ONNX package."""
    client.run(WITHOUT_TORCH)
    return client


@pytest.fixture(scope="module")
def published(hub, client, onnx_folder):
    """On the Hub, beside weights for PyTorch."""
    client.run(
        f"""
        from huggingface_hub import HfApi
        HfApi().create_repo("anna/exported")
        HfApi().upload_folder(repo_id="anna/exported", folder_path={str(onnx_folder)!r})
        HfApi().upload_file(path_or_fileobj=b"weights", path_in_repo="model.safetensors", repo_id="anna/exported")
        HfApi().create_tag("anna/exported", tag="v1")
        HfApi().create_repo("anna/empty")
        """
    )
    return "anna/exported"


ANSWER = """
from facemllm_onnx import FaceMLLMForONNX
from modeling_facemllm.closed_questions_facemllm import ClosedQuestion
model = FaceMLLMForONNX.from_pretrained({model!r}, provider="auto", threads=1{options})
print(model.ask({picture!r}, "Glasses?", max_new_tokens=12))
print(model.score([{picture!r}], [ClosedQuestion("Glasses?", ("yes", "no"))])[0][0])
"""


@pytest.fixture
def picture(pictures, tmp_path):
    pictures[0].save(tmp_path / "face.png")
    return str(tmp_path / "face.png")


def test_it_answers_and_scores_without_torch(client, onnx_folder, picture):
    printed, _ = client.run(ANSWER.format(model=str(onnx_folder), picture=picture, options=""))
    answer, scores = printed.rsplit("\n", 2)[:2]
    here = FaceMLLMForONNX.from_pretrained(onnx_folder, provider="cpu", threads=1)
    assert answer == here.ask(picture, "Glasses?", max_new_tokens=12)
    assert np.isclose(sum(json.loads(scores)), 1)


def test_it_loads_from_the_hub_only_what_it_reads(hub, client, published, onnx_folder, picture):
    local, _ = client.run(ANSWER.format(model=str(onnx_folder), picture=picture, options=""))
    loaded, _ = client.run(ANSWER.format(model=published, picture=picture, options=', revision="v1"'))
    assert loaded == local
    assert hub.requests(path="onnx/decoder_model_merged.onnx")
    assert not hub.requests(path="model.safetensors")


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("anna/empty", "", "export.json"),
        ("anna/nobody", "", "repository"),
        ("anna/exported", 'revision="v9"', "v9"),
        ("../nowhere", "", "owner/name"),
    ],
)
def test_what_the_hub_does_not_have_is_one_line(client, published, model, options, message):
    printed, _ = client.run(
        f"""
        from facemllm_onnx import FaceMLLMForONNX
        try:
            FaceMLLMForONNX.from_pretrained({model!r}, {options})
        except ValueError as error:
            print(error)
        """
    )
    assert printed.startswith(f"{model}: ") and message in printed and printed.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nope", "nope: there is no such folder, and a Hub id has the form owner/name"),
        ("", "'': there is no such folder"),
        ("a.onnx", "a.onnx: is a file: give the folder"),
        ("trained/a", "trained/a: there is no such folder"),
        ("trained", "trained: the folder has no export.json"),
    ],
)
def test_what_can_be_no_repository_is_refused_without_asking_the_hub(hub, client, tmp_path, name, message):
    (tmp_path / "a.onnx").touch()
    (tmp_path / "trained").mkdir()
    before = len(hub.requests())
    printed, _ = client.run(
        f"""
        import os
        from facemllm_onnx import benchmark, FaceMLLMForONNX
        home = os.getcwd()
        os.chdir({str(tmp_path)!r})
        for load in FaceMLLMForONNX.from_pretrained, lambda name: benchmark.main([name]):
            try:
                load({name!r})
            except (ValueError, SystemExit) as error:
                print(error)
        os.chdir(home)
        """
    )
    first, second = printed.splitlines()
    assert first.startswith(message) and second == "2"
    assert len(hub.requests()) == before


@pytest.fixture
def copied(onnx_folder, tmp_path):
    return shutil.copytree(onnx_folder, tmp_path / "copied")


@pytest.mark.parametrize("name", ["export.json", "config.json", "onnx/embed_tokens.onnx", "tokenizer.json"])
def test_a_missing_file_is_named(copied, name):
    (copied / name).unlink()
    with pytest.raises(ValueError, match=name) as error:
        FaceMLLMForONNX.from_pretrained(copied, provider="cpu")
    assert str(copied) in str(error.value)


@pytest.mark.parametrize("name", ["export.json", "onnx/decoder_model_merged.onnx", "onnx/scoring.onnx"])
def test_a_broken_file_is_named(copied, name):
    (copied / name).write_bytes(b"{ cut off")
    with pytest.raises(ValueError, match=name):
        FaceMLLMForONNX.from_pretrained(copied, provider="cpu").scorer  # noqa: B018


@pytest.mark.parametrize(
    ("name", "key"),
    [("export.json", "cache"), ("config.json", "text_config"), ("processor_config.json", "num_image_tokens")],
)
def test_a_file_that_lacks_something_is_named_with_it(copied, name, key):
    settings = json.loads((copied / name).read_text())
    del settings[key]
    (copied / name).write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=rf"{name}\b.*\b{key}\b.*export the model again"):
        FaceMLLMForONNX.from_pretrained(copied, provider="cpu")
    (copied / name).write_text("[]")
    with pytest.raises(ValueError, match=rf"{name}\b.*JSON object\b.*export the model again"):
        FaceMLLMForONNX.from_pretrained(copied, provider="cpu")


@pytest.mark.parametrize(
    ("name", "part", "key", "value"),
    [
        ("export.json", "cache", "kv_heads", "two"),
        ("export.json", "cache", "kv_heads", 3),
        ("export.json", "cache", "head_dim", 10**12),
        ("export.json", "model", "max_position_embeddings", "many"),
        ("export.json", None, "batch", "some"),
        ("export.json", None, "source", [1]),
        ("export.json", "graphs", "scoring", 5),
        ("config.json", None, "text_config", [1]),
        ("config.json", None, "face_tasks", [1]),
        ("generation_config.json", None, "eos_token_id", "end"),
        ("processor_config.json", None, "image_processor", "x"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_its_file(copied, name, part, key, value):
    settings = json.loads((copied / name).read_text())
    (settings if part is None else settings[part])[key] = value
    (copied / name).write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"export the model again") as caught:
        FaceMLLMForONNX.from_pretrained(copied, provider="cpu")
    assert str(copied) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["export.json", "config.json", "tokenizer_config.json", "generation_config.json"])
def test_json_without_end_is_named(copied, name):
    (copied / name).write_text("[" * 100_000)
    with pytest.raises(ValueError, match=f"{name}: cannot read it"):
        FaceMLLMForONNX.from_pretrained(copied, provider="cpu")


def test_another_graph_in_its_place_is_refused(copied):
    shutil.copyfile(copied / "onnx" / "embed_tokens.onnx", copied / "onnx" / "decoder_model_merged.onnx")
    with pytest.raises(ValueError, match=r"decoder_model_merged\.onnx: is another graph .*again"):
        FaceMLLMForONNX.from_pretrained(copied, provider="cpu")


def test_weights_beside_a_graph_that_are_cut_off_are_refused(copied):
    import onnx

    path = copied / "onnx" / "embed_tokens.onnx"
    onnx.save(onnx.load(path), path, save_as_external_data=True, location=f"{path.name}_data", size_threshold=1000)
    FaceMLLMForONNX.from_pretrained(copied, provider="cpu")
    data = path.with_name(f"{path.name}_data")
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"embed_tokens\.onnx: ONNX Runtime .* cannot load it"):
        FaceMLLMForONNX.from_pretrained(copied, provider="cpu")


def test_a_language_model_that_calls_its_number_of_positions_otherwise_loads(copied):
    path = copied / "config.json"
    config = json.loads(path.read_text())
    config["text_config"]["n_positions"] = config["text_config"].pop("max_position_embeddings")
    path.write_text(json.dumps(config))
    assert FaceMLLMForONNX.from_pretrained(copied, provider="cpu", threads=1).position_limit == 512


def test_a_folder_for_pytorch_says_how_to_export(model_folder):
    with pytest.raises(ValueError, match="facemllm export"):
        FaceMLLMForONNX.from_pretrained(model_folder)


def test_a_record_of_another_format_is_refused(copied):
    record = json.loads((copied / "export.json").read_text()) | {"format": 2}
    (copied / "export.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"format 2.*export the model again"):
        FaceMLLMForONNX.from_pretrained(copied)
