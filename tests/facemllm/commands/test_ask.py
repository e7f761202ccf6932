"""`facemllm ask`: an answer on stdout; a mistake is one line on stderr and exit code 2."""

import json

import pytest

from facemllm.cli import main

QUESTION = "What is the expression?"


def _ask(*words):
    return main(["ask", *map(str, words), "--device", "cpu", "--max-new-tokens", "4"])


def test_streams_an_answer_about_a_picture(tiny_model, face_png, capsys):
    assert _ask(tiny_model, face_png, QUESTION) == 0
    assert capsys.readouterr().out.endswith("\n")


def test_json_holds_the_answer_that_is_streamed(tiny_model, face_png, capsys):
    _ask(tiny_model, face_png, QUESTION)
    streamed = capsys.readouterr().out.strip()
    assert _ask(tiny_model, face_png, QUESTION, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["answer"] == streamed
    assert report["question"] == QUESTION
    assert report["images"] == [str(face_png)]


@pytest.mark.parametrize("pictures", [0, 2])
def test_any_number_of_pictures(tiny_model, face_png, capsys, pictures):
    assert _ask(tiny_model, *[face_png] * pictures, QUESTION, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["images"]) == pictures


@pytest.mark.parametrize(
    "words,told",
    [
        (("MODEL", "nowhere.png", QUESTION), "nowhere.png"),
        (("nowhere/at/all", "FACE", QUESTION), "nowhere/at/all"),
        (("nowhere", "Hi"), "nowhere"),
        (("MODEL", "FACE"), "question"),
        (("MODEL", "MODEL/config.json", QUESTION), "config.json"),
        (("MODEL", "FACE", " "), "question"),
        (("FACES", "FACE", QUESTION), "config.json"),
    ],
    ids=[
        "no picture",
        "no model",
        "no model and no picture",
        "no question",
        "not a picture",
        "empty question",
        "not a model",
    ],
)
def test_a_mistake_is_one_line_that_names_it(tiny_model, face_png, capsys, words, told):
    names = {"MODEL": str(tiny_model), "FACES": str(face_png.parent), "FACE": str(face_png)}
    for name, path in names.items():
        words = [word.replace(name, path) if word.startswith(name) else word for word in words]
    assert _ask(*words) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_code_that_comes_with_a_model_needs_permission(tmp_path, face_png, capsys):
    config = {"model_type": "stranger", "auto_map": {"AutoConfig": "code.Config", "AutoProcessor": "code.Processor"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "code.py").write_text("raise SystemExit('ran')")
    assert _ask(tmp_path, face_png, QUESTION) == 2
    assert "--trust-remote-code" in capsys.readouterr().err


def test_a_question_beyond_the_context_is_one_line_with_the_numbers(tiny_model, face_png, capsys):
    assert _ask(tiny_model, face_png, "How old is the person? " * 1000) == 2
    error = capsys.readouterr().err
    assert "the model reads 512 at most" in error and error.count("\n") == 1
