"""Which model a command takes: `--model`, a first word that is one, or the packaged `photo`."""

import json
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from facemllm.cli import UserError, main
from facemllm.commands.options import split_model
from facemllm.inference import model_names
from facemllm.inference.model_names import find_model

QUESTION = "What is the expression?"
CPU = ("--device", "cpu")


@pytest.fixture
def packaged(tiny_model, tmp_path, monkeypatch):
    """A room of packaged models whose `photo` is the tiny model; commands run in an empty folder."""
    room = tmp_path / "packaged"
    room.mkdir()
    (room / "photo").symlink_to(tiny_model)
    monkeypatch.setattr(model_names, "PACKAGED", room)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return room


def split(*words, model=None, **how):
    args = Namespace(words=list(words), model=model)
    return split_model(args, "INPUT", **how), args.model


def run(capsys, *words):
    code = main([str(word) for word in words])
    return code, *capsys.readouterr()


# The rule


def test_the_packaged_model_is_taken_where_none_is_given(packaged):
    assert split("missing.jpg") == (["missing.jpg"], "photo")


@pytest.mark.parametrize("name", ["photo", "drawn", "owner/name"])
def test_a_first_word_that_is_a_known_name_or_a_hub_id_is_the_model(packaged, name):
    assert split(name, "photo.jpg") == (["photo.jpg"], name)


def test_a_first_word_that_is_a_model_folder_is_the_model(packaged, tiny_model):
    assert split(str(tiny_model), "a.jpg", "b.jpg") == (["a.jpg", "b.jpg"], str(tiny_model))


@pytest.mark.parametrize("word", ["photos/no.jpg", "https://example.org/a.jpg", "./photo", "a/b/c", "-", "Who/What?"])
def test_a_first_word_that_is_spelled_as_a_path_a_url_or_a_text_is_no_model(packaged, word):
    assert split(word, "b.jpg") == ([word, "b.jpg"], "photo")


def test_pictures_in_a_folder_that_is_called_as_a_model_are_pictures(packaged):
    Path("photo").mkdir()
    assert split("photo", "b.jpg") == (["photo", "b.jpg"], "photo")
    assert find_model("photo") == str(packaged / "photo")


def test_a_model_folder_here_wins_over_a_known_name(packaged, tiny_model):
    shutil.copytree(tiny_model, "photo")
    assert find_model("photo") == "photo"


def test_two_models_are_refused(packaged, tiny_model):
    with pytest.raises(UserError, match=rf"--model drawn and {tiny_model}: give the model once"):
        split(str(tiny_model), "a.jpg", model="drawn")
    with pytest.raises(UserError, match="--model drawn and a: give the model once"):
        split("a", "b", model="drawn", one=True)


def test_a_model_alone_lacks_its_input(packaged):
    with pytest.raises(UserError, match="INPUT is missing; give it after photo, the model"):
        split("photo")
    with pytest.raises(UserError, match="INPUT is missing"):
        split()


def test_no_word_and_an_empty_one_are_no_model_in_a_model_folder(tiny_model, monkeypatch):
    monkeypatch.chdir(tiny_model)
    assert split("", "q") == (["", "q"], "photo")
    with pytest.raises(UserError, match="INPUT is missing"):
        split()


def test_one_word_too_many_is_named(packaged):
    with pytest.raises(UserError, match="c: is one word too many"):
        split("a", "b", "c", one=True)


def test_words_may_stand_behind_options(packaged, face_png, capsys):
    words = ("ask", "photo", *CPU, "--max-new-tokens", "2", face_png, "--json", "--", "-1 or 1?")
    code, out, _ = run(capsys, *words)
    assert (code, json.loads(out)["images"], json.loads(out)["question"]) == (0, [str(face_png)], "-1 or 1?")


# The commands, both ways


@pytest.mark.parametrize("model", [(), ("--model", "photo"), ("photo",), ("FOLDER",), ("--model", "FOLDER")])
def test_ask_takes_the_model_each_way(packaged, tiny_model, face_png, capsys, model):
    model = [word.replace("FOLDER", str(tiny_model)) for word in model]
    code, out, _ = run(capsys, "ask", *model, face_png, QUESTION, *CPU, "--max-new-tokens", "2", "--json")
    report = json.loads(out)
    assert (code, report["images"], report["question"]) == (0, [str(face_png)], QUESTION)
    assert report["model"] == (model[-1] if model else "photo")


@pytest.mark.parametrize("model", [(), ("--model", "photo"), ("photo",), ("FOLDER",)])
def test_analyze_takes_the_model_each_way(packaged, tiny_model, face_png, capsys, model):
    model = [word.replace("FOLDER", str(tiny_model)) for word in model]
    code, out, _ = run(capsys, "analyze", *model, face_png, "--detector", "none", "--tasks", "gender", *CPU)
    assert (code, json.loads(out)["image"]) == (0, str(face_png))


@pytest.mark.parametrize("model", [(), ("--model", "photo"), ("photo",), ("FOLDER",)])
def test_evaluate_takes_the_model_each_way(packaged, tiny_model, tmp_path, capsys, model):
    named = [word.replace("FOLDER", str(tiny_model)) for word in model]
    out = tmp_path / "out"
    words = ("synthetic", "--limit", "2", "--tasks", "hat", "--ways", "scoring", "--out", out, *CPU)
    assert run(capsys, "evaluate", *named, *words)[0] == 0
    name = json.loads((out / "run.json").read_text())["settings"]["model"]
    assert name == (named[-1] if named else "photo")


@pytest.mark.parametrize("model", [(), ("--model", "photo"), ("photo",), ("FOLDER",)])
def test_export_takes_the_model_each_way(packaged, tiny_model, tmp_path, capsys, model):
    model = [word.replace("FOLDER", str(tiny_model)) for word in model]
    (tmp_path / "file").touch()
    code, _, error = run(capsys, "export", *model, tmp_path / "file" / "out")
    assert (code, error.count("\n")) == (2, 1)
    assert f"{tmp_path / 'file'} is no folder" in error  # so OUT was told from the model


def test_an_earlier_export_alone_is_where_the_packaged_model_goes(packaged, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    for name in ("config.json", "export.json"):
        (out / name).write_text("{}")
    code, _, error = run(capsys, "export", out, "--precision", "fp99")
    assert code == 2 and "fp99" in error


@pytest.mark.parametrize("command", [("analyze", "nowhere.jpg"), ("analyze", "photos/nowhere.jpg")])
def test_a_photo_that_is_not_there_is_said_to_be_none(packaged, capsys, command):
    code, _, error = run(capsys, *command)
    assert (code, error.count("\n")) == (2, 1)
    assert error.startswith(f"facemllm analyze: {command[1]}: there is no such photo")


@pytest.mark.parametrize(
    ("name", "remedy"), [("photo", "give --model, or make it"), ("drawn", "run facemllm quickstart")]
)
def test_a_known_model_that_is_not_there_is_one_line(tmp_path, monkeypatch, capsys, name, remedy):
    monkeypatch.setattr(model_names, "PACKAGED", tmp_path / "nothing")
    monkeypatch.chdir(tmp_path)
    code, _, error = run(capsys, "ask", "--model", name, QUESTION)
    assert (code, error.count("\n")) == (2, 1)
    assert error.startswith(f"facemllm ask: {name}: ") and remedy in error


# The list


def write_model(folder, card=None, **figures):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"face_tasks": {"gender": {}, "age": {}}}))
    if figures:
        (folder / "figures.json").write_text(json.dumps(figures))
    if card:
        (folder / "README.md").write_text(card)


@pytest.fixture
def room(tmp_path, monkeypatch):
    (tmp_path / "room").mkdir()
    monkeypatch.setattr(model_names, "PACKAGED", tmp_path / "room")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "room"


def test_the_list_has_tasks_size_accuracy_and_licence(room, capsys):
    write_model(room / "photo", figures={"gender": 0.93}, data="FairFace", license="cc-by-4.0")
    code, out, _ = run(capsys, "models", "--json")
    photo = json.loads(out)["photo"]
    size = sum(file.stat().st_size for file in (room / "photo").iterdir())
    assert (code, photo["tasks"], photo["bytes"]) == (0, ["gender", "age"], size)
    assert (photo["figures"], photo["data"], photo["license"]) == ({"gender": 0.93}, "FairFace", "cc-by-4.0")
    table = run(capsys, "models")[1]
    assert "cc-by-4.0" in table and "gender, age" in table and "gender 0.930" in table
    assert table.splitlines()[-1].startswith("Which model? docs/models.md")


def test_a_model_that_is_not_there_is_listed_with_its_remedy(room, capsys):
    code, out, _ = run(capsys, "models")
    assert code == 0 and "run facemllm quickstart" in out
    assert json.loads(run(capsys, "models", "--json")[1])["drawn"]["folder"] is None


def test_without_figures_accuracy_is_not_measured(room, capsys):
    write_model(room / "photo")
    assert "accuracy: not measured" in run(capsys, "models")[1]


def test_a_model_card_has_figures_too(room, capsys):
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    about = {"dataset_type": "x", "dataset_name": "Faces", "task_type": "image-text-to-text"}
    result = EvalResult(metric_type="accuracy", metric_value=0.9, metric_args={"task": "gender"}, **about)
    data = ModelCardData(license="mit", model_name="photo", eval_results=[result])
    write_model(room / "photo", card=str(ModelCard(f"---\n{data.to_yaml()}\n---\n# Photo\n")))
    photo = json.loads(run(capsys, "models", "--json")[1])["photo"]
    assert (photo["figures"], photo["data"], photo["license"]) == ({"gender": 0.9}, "Faces", "mit")


def test_damaged_figures_are_one_line(room, capsys):
    write_model(room / "photo", figures=3)
    code, _, error = run(capsys, "models")
    assert (code, error.count("\n")) == (2, 1) and "figures.json" in error


# In Python


def test_a_model_is_loaded_by_its_name(packaged):
    from facemllm import load_model

    model, processor = load_model(device="cpu")
    assert model.config.model_type == "facemllm" and processor.tokenizer is not None
    with pytest.raises(UserError, match=r"drawn: .*run facemllm quickstart"):
        load_model("drawn")


def test_importing_the_package_imports_no_torch():
    program = "import sys, facemllm; sys.exit('torch' in sys.modules or hasattr(facemllm, 'nothing'))"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3]).returncode == 0
