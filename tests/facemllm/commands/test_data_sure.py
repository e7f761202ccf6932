"""`facemllm data sure`: captions that leave out what a model is not sure of."""

import json

import pytest
from datasets import Dataset, load_dataset
from PIL import Image

from datasets_scripts.corpus.writing import write_corpus
from datasets_scripts.questions.conversations import make_conversation
from datasets_scripts.schema import make_record
from facemllm.cli import main

LABELS = {"gender": "female", "age_group": "30-39", "attributes": {"picture_colors": "black and white"}}


@pytest.fixture
def corpus(tmp_path):
    """Three pictures of a woman in her thirties, as far as their labels say."""
    import random

    rows = []
    for number in range(3):
        task, messages = make_conversation("captions", LABELS, random.Random(number))
        known = {"id": f"drawn/{number}", "image": Image.new("RGB", (32, 32)), "labels": LABELS, "source": "drawn"}
        rows.append(make_record(**known, messages=messages, task=task, split="train", license="apache-2.0"))
    about = {"name": "few", "license": "apache-2.0", "description": "Three pictures.", "build": {"test": 1}}
    write_corpus({"captions": {"train": rows}}, tmp_path / "few", people=False, progress=False, **about)
    return tmp_path / "few"


@pytest.fixture
def model(tiny_model, tmp_path):
    """A random model that says it was trained for the gender, of which it is sure by chance, but not wholly."""
    import shutil

    shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    question = {"question": "What is the gender of this person?", "options": ["female", "male"], "kind": "category"}
    config["face_tasks"] = {"gender": question}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    return tmp_path / "model"


def captions(folder):
    rows: Dataset = load_dataset(str(folder), "captions", split="train")
    return [row["messages"][-1]["content"][-1]["text"] for row in rows], rows


def test_what_the_model_is_not_sure_of_is_left_out_of_captions_and_stays_in_the_labels(corpus, model, tmp_path):
    command = ["data", "sure", str(corpus), "--model", str(model), "--out", str(tmp_path / "out")]
    assert main([*command, "--sure", "1"]) == 0
    texts, rows = captions(tmp_path / "out")
    assert len(texts) == 3
    assert all("thirties" in text or "30 and 39" in text for text in texts)
    assert all("black and white" in text and "woman" not in text for text in texts), texts
    assert rows[0]["labels"]["gender"] == "female"


def test_what_the_model_is_sure_of_is_said(corpus, model, tmp_path):
    command = ["data", "sure", str(corpus), "--model", str(model), "--out", str(tmp_path / "out")]
    assert main([*command, "--sure", "0.5", "--limit", "2"]) == 0
    texts, _ = captions(tmp_path / "out")
    assert len(texts) == 2 and all("woman" in text for text in texts)


@pytest.mark.parametrize(("given", "message"), [(["--sure", "1.5"], "--sure 1.5"), (["--limit", "0"], "--limit 0")])
def test_a_wrong_number_ends_in_one_line(given, message, corpus, model, tmp_path, capsys):
    command = ["data", "sure", str(corpus), "--model", str(model), "--out", str(tmp_path / "out")]
    assert main([*command, *given]) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_an_absent_corpus_is_named(model, tmp_path, capsys):
    command = ["data", "sure", str(tmp_path / "none"), "--model", str(model), "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err.strip().splitlines()[-1]
