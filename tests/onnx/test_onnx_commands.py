"""The commands take an export as they take PyTorch's model, and give what they give of that."""

import json
import re
import shutil
import subprocess
import sys

import onnxruntime
import pytest

from facemllm.cli import main
from facemllm.inference.identity import identify

QUESTION = "Is this a face?"
EXPORTS = ["onnx_folder", "onnx_batch_folder"]


@pytest.fixture
def photos(tmp_path, pictures):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number}.png")
    return folder


@pytest.fixture
def run(capsys):
    """Run a command on the CPU: exit code, what it printed, what it wrote on standard error."""

    def command(*words, device="cpu"):
        code = main([*map(str, words), "--device", device])
        return code, *capsys.readouterr()

    return command


@pytest.fixture
def spoiled(onnx_folder, tmp_path):
    """A copy of the export to break."""
    return shutil.copytree(onnx_folder, tmp_path / "spoiled")


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("kind", EXPORTS)
def test_ask_answers_as_the_model_does_and_streams_it(run, request, model_folder, kind, photos):
    folder = request.getfixturevalue(kind)
    words = (photos / "0.png", photos / "1.png", QUESTION, "--max-new-tokens", 6)
    answers = [json.loads(run("ask", place, *words, "--json")[1])["answer"] for place in (model_folder, folder)]
    assert answers[0] == answers[1]
    assert run("ask", folder, *words)[1].strip() == answers[0]


def test_ask_leaves_pytorch_and_transformers_alone(onnx_folder, photos):
    words = ["ask", str(onnx_folder), str(photos / "0.png"), QUESTION, "--max-new-tokens", "2"]
    code = f"""
import sys
from facemllm.cli import main
print(main({words}), {{"torch", "transformers"}} & {{*sys.modules}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("0 set()\n"), done.stderr


WITHOUT_PYTORCH = """
import sys
sys.modules.update(dict.fromkeys(["torch", "transformers", "datasets"]))
from facemllm.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("words", [["ask", "{model}", QUESTION], ["info", "{model}"], ["analyze", "{model}", "."]])
def test_without_pytorch_a_model_that_needs_it_is_one_line(model_folder, words):
    words = [word.format(model=model_folder) for word in words]
    done = subprocess.run([sys.executable, "-c", WITHOUT_PYTORCH, *words], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith(f"facemllm {words[0]}: ")
    assert "pip install " in done.stderr and "Traceback" not in done.stderr
    assert '"torch>=' in done.stderr and '"transformers' in done.stderr


def test_without_pytorch_info_tells_of_versions_and_exports(onnx_folder):
    words = [sys.executable, "-c", WITHOUT_PYTORCH, "info", str(onnx_folder), "--json"]
    described = json.loads(subprocess.run(words, capture_output=True, text=True).stdout)
    assert described["devices"]["accelerators"] is None and described["model"]["precision"] == "fp32"


@pytest.mark.parametrize("kind", EXPORTS)
def test_analyze_writes_the_models_rows_and_goes_on_with_them(run, request, model_folder, kind, photos, tmp_path):
    asked = ["--tasks", "gender", "age", "--questions", QUESTION, "--max-new-tokens", 4, "--detector", "none"]
    written = []
    for number, place in enumerate((model_folder, request.getfixturevalue(kind))):
        out = tmp_path / f"{number}.jsonl"
        assert run("analyze", place, photos, "--out", out, *asked)[0] == 0
        written.append(rows(out))
    for row, same in zip(*written, strict=True):
        [face], [its_face] = row.pop("faces"), same.pop("faces")
        assert same == row
        tasks, its_tasks = face.pop("tasks"), its_face.pop("tasks")
        assert its_face == face
        for name, answer in tasks.items():
            assert its_tasks[name]["label"] == answer["label"]
            assert its_tasks[name]["scores"] == pytest.approx(answer["scores"], abs=1e-4)
    again = run("analyze", place, photos, "--out", out, *asked, "--json")
    assert json.loads(again[1])["done_before"] == 3


def test_the_graphs_tell_two_exports_of_a_model_apart(onnx_folder, spoiled, tmp_path):
    graph = spoiled / "onnx" / "vision_encoder.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    assert identify(spoiled) != identify(onnx_folder)
    shutil.copytree(onnx_folder, tmp_path / "same")
    assert identify(tmp_path / "same") == identify(onnx_folder)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("mps", "auto, cpu or cuda"),
        ("cuda:1", "CUDA_VISIBLE_DEVICES"),
        ("cuda", "--device cpu"),
    ],
)
@pytest.mark.parametrize("command", ["ask", "analyze"])
def test_a_device_that_is_not_there_is_one_line(run, onnx_folder, photos, command, device, message):
    if device == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("CUDA is there, and asking for it no mistake")
    words = (photos / "0.png", QUESTION) if command == "ask" else (photos,)
    code, _, error = run(command, onnx_folder, *words, device=device)
    assert (code, error.count("\n")) == (2, 1)
    assert f"--device {device}: " in error and message in error


@pytest.mark.parametrize("words", [("ask", QUESTION), ("analyze", ".")])
def test_without_onnx_runtime_the_way_to_it_is_one_line(run, onnx_folder, monkeypatch, words):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, _, error = run(words[0], onnx_folder, words[1])
    assert code == 2
    assert 'pip install "onnxruntime>=' in (line := error.splitlines()[-1]) and '"onnxruntime-gpu>=' in line


def cut(folder):
    with open(folder / "onnx" / "scoring.onnx", "r+b") as file:
        file.truncate(1000)


def lose_a_graph(folder):
    (folder / "onnx" / "embed_tokens.onnx").unlink()


def empty_the_record(folder):
    (folder / "export.json").write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut, r"scoring\.onnx\b.*\b1,000 bytes\b"),
        (lose_a_graph, r"embed_tokens\.onnx\b.*export the model again"),
        (empty_the_record, r"export\.json\b.*\bformat\b"),
    ],
)
def test_an_export_that_nobody_could_load_is_not_published(spoiled, capsys, spoil, message):
    spoil(spoiled)
    assert main(["publish", "model", str(spoiled), "faces/onnx", "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error)


def test_the_card_of_an_export_from_the_hub_names_its_model(spoiled, capsys):
    record = json.loads((spoiled / "export.json").read_text())
    for digest, named in (("of a folder", False), (None, True)):
        source = {"name": "faces/model", "digest": digest, "adapter": None}
        (spoiled / "export.json").write_text(json.dumps(record | {"source": source}))
        assert main(["publish", "model", str(spoiled), "faces/onnx", "--dry-run", "--json"]) == 0
        assert ("base_model: faces/model" in json.loads(capsys.readouterr().out)["card"]) == named


def test_info_tells_of_an_export_what_its_record_does(onnx_folder, capsys):
    assert main(["info", str(onnx_folder), "--json"]) == 0
    described = json.loads(capsys.readouterr().out)["model"]
    record = json.loads((onnx_folder / "export.json").read_text())
    assert described["precision"] == record["precision"]
    assert described["prompts_at_once"] == record["batch"]
    assert described["graph_bytes"]["scoring"] == (onnx_folder / "onnx" / "scoring.onnx").stat().st_size
    assert (described["image_size"], described["tokens_per_image"]) == (32, 4)


@pytest.mark.parametrize(
    ("precision", "quality", "message"),
    [
        ("int4", None, "not measured against fp32"),
        ("int4", False, "no more than 1 point lost in the mean over tasks (celeba, 2,000 faces)"),
        ("int4", True, "more than 1 point lost in the mean over tasks (celeba, 2,000 faces)"),
        ("fp32", False, "other precisions are compared with this one"),
    ],
)
def test_the_accuracy_of_an_export_is_reported_as_measured(spoiled, capsys, precision, quality, message):
    record = json.loads((spoiled / "export.json").read_text()) | {"precision": precision}
    if quality is not None:
        ways = {"scoring": {"loss": 2.0 if quality else 0.5}}
        record["quality"] = {"celeba": {"faces": 2000, "marked": quality, "ways": ways}}
    (spoiled / "export.json").write_text(json.dumps(record))
    assert main(["info", str(spoiled)]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  accuracy")]
    assert line.split(maxsplit=1)[1] == message
    assert main(["publish", "model", str(spoiled), "faces/onnx", "--dry-run"]) == 0
    in_card = "accuracy lost against fp32 on celeba" in capsys.readouterr().out
    assert in_card == (precision != "fp32" and quality is not None)


def test_a_model_that_is_an_export_already_is_not_exported(onnx_folder, tmp_path, capsys):
    assert main(["export", str(onnx_folder), str(tmp_path / "out")]) == 2
    assert re.search(f"{onnx_folder}: .*ONNX export", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_a_published_export_answers_under_its_hub_id(client, onnx_folder, model_folder, photos, run):
    published = client.command("publish", "model", onnx_folder, "faces/onnx", "--base-model", "faces/model")
    assert published["load"][0] == 'FaceMLLMForONNX.from_pretrained("faces/onnx")'
    question = [photos / "0.png", QUESTION, "--device", "cpu", "--max-new-tokens", "4"]
    expected = json.loads(run("ask", model_folder, *question, "--json")[1])["answer"]
    assert client.command("ask", "faces/onnx", *question)["answer"] == expected
    described = client.command("info", "faces/onnx")["model"]
    assert described["exported_from"] == "faces/model"  # and not the folder that it was on this disk
    refused = client.command("publish", "model", model_folder, "faces/onnx")
    assert "holds an ONNX export, and this is a whole model" in refused and "--overwrite" in refused
