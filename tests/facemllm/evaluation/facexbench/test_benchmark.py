"""FaceXBench from the folder to the table, with answers whose accuracy is known and with tiny real models."""

import json
import re

import pytest

from facemllm.evaluation.answerers import FaceMLLMAnswerer, GenericAnswerer
from facemllm.evaluation.answers import Answer
from facemllm.evaluation.facexbench.benchmark import ask_facexbench, task_specs
from facemllm.evaluation.facexbench.reader import LETTERS, read_facexbench
from facemllm.evaluation.facexbench.tables import facexbench_markdown, facexbench_section
from facemllm.evaluation.predictions import WAYS, PredictionLog, read_predictions
from facemllm.evaluation.stub_answerer import Known, StubAnswerer
from tests.facemllm.evaluation.facexbench import miniature as miniature


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return miniature.write(tmp_path_factory.mktemp("miniature") / "facexbench")


@pytest.fixture
def bench(root):
    return read_facexbench(root)


def stub(bench, **settings):
    known = {
        question.id: Known({question.file.sub_category: question.expected}, {"category": question.file.category})
        for question in bench.questions
    }
    return StubAnswerer(known, **settings)


def ask(bench, answerer, path, ways=WAYS, setting="zero-shot"):
    with PredictionLog(path) as log:
        unreadable = ask_facexbench(bench, answerer, log, ways, setting)
    return list(read_predictions(path)), unreadable


def told(predictions, *context):
    """The section's figures and its text."""
    section = facexbench_section(predictions, *context)
    return section, "\n".join(facexbench_markdown(section))


def test_a_known_accuracy_per_category_comes_out_of_the_table(bench, tmp_path):
    answerer = stub(bench, rate=0.0, confidence=0.9, rates={("category", "bias_fairness"): 1.0})
    predictions, _ = ask(bench, answerer, tmp_path / "predictions.jsonl")
    report, text = told(predictions)
    for reading in ("scoring", "safe", "strict"):
        table = report["scores"][reading]["all"]
        assert {name: figures["value"] for name, figures in table["categories"].items()} == {
            "bias_fairness": 1.0,
            "face_recognition": 0.0,
            "fas_deepfakes": 0.0,
            "attributes_expression": 0.0,
            "face_localization": 0.0,
            "tools_use": 0.0,
        }
        assert table["categories"]["bias_fairness"]["sub_categories"]["age"] == {
            "value": 1.0,
            "interval": pytest.approx([0.342, 1.0], abs=1e-3),  # Wilson's, of 2 in 2
            "n": 2,
            "unparsed": {"count": 0, "rate": 0.0},
        }
        assert table["overall"]["value"] == pytest.approx(6 / 26) and table["overall"]["n"] == 26
        assert [table["images"][kind]["n"] for kind in ("single", "multiple", "zero")] == [15, 9, 2]
    assert "| **bias_fairness** | 100.00 [61.0, 100.0] n=6 |" in text and "random choice 25.10" in text


def test_the_interval_of_the_whole_holds_the_accuracy_that_was_drawn(bench, tmp_path):
    predictions, _ = ask(bench, stub(bench, rate=0.5), tmp_path / "predictions.jsonl", ["scoring"])
    figures = facexbench_section(predictions)["scores"]["scoring"]["all"]["overall"]
    low, high = figures["interval"]
    assert 0 < low < figures["value"] < high < 1 and low < 0.5 < high


def test_both_readings_are_of_the_same_text_and_each_says_what_it_could_not_read(bench, tmp_path):
    class Verbose:
        """Says B behind an article, whatever is asked; about one question it says nothing."""

        def answer(self, faces, way):
            for face in faces:
                yield [Answer(text="Hm." if face.id == "lapa_single_mcq/1" else "A person is seen, so B")]

        def describe(self):
            return {}

    predictions, _ = ask(bench, Verbose(), tmp_path / "predictions.jsonl", ["generation"])
    report, text = told(predictions)
    scores = {name: tables["all"] for name, tables in report["scores"].items()}
    right = {letter: sum(question.expected == letter for question in bench.questions) for letter in LETTERS}
    assert scores["strict"]["overall"]["value"] == pytest.approx((right["A"] - 1) / 26)
    assert scores["safe"]["overall"]["value"] == pytest.approx(right["B"] / 26)
    assert scores["strict"]["unparsed"] == scores["safe"]["unparsed"] == {"count": 1, "rate": pytest.approx(1 / 26)}
    assert "| answers that cannot be read | 3.85 (1) | 3.85 (1) |" in text


def test_a_rerun_asks_only_what_is_missing(bench, tmp_path):
    class Counting(StubAnswerer):
        asked = 0

        def answer(self, faces, way):
            type(self).asked += len(faces)
            return super().answer(faces, way)

    answerer = Counting(**vars(stub(bench)))
    path = tmp_path / "predictions.jsonl"
    first, _ = ask(bench, answerer, path)
    assert Counting.asked == len(first) == 2 * len(bench.questions)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-5]) + lines[-1][:20])  # as a kill in mid-line leaves it
    again, _ = ask(bench, answerer, path)
    assert Counting.asked == len(first) + 5 and again == first


def test_a_broken_picture_is_named_and_loses_only_its_question(tmp_path):
    root = miniature.write(tmp_path / "facexbench")
    (root / "benchmark" / "images" / "wmca_multiple_mcq" / "question_2_2.png").write_bytes(b"no picture")
    bench = read_facexbench(root)
    predictions, unreadable = ask(bench, stub(bench), tmp_path / "predictions.jsonl", ["scoring"])
    assert list(unreadable) == ["wmca_multiple_mcq/2"] and "question_2_2.png" in unreadable["wmca_multiple_mcq/2"]
    assert len(predictions) == len(bench.questions) - 1


def test_every_sub_category_is_a_task_with_four_letters(bench):
    specs = task_specs(bench)
    assert len(specs) == 14 and {spec.options for spec in specs} == {LETTERS}


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """One question each about a picture, about several, and about none."""
    bench = read_facexbench(miniature.write(tmp_path_factory.mktemp("few") / "facexbench"))
    wanted = ("lapa_single_mcq/1", "celeba_single_mcq/2", "wmca_multiple_mcq/2", "tools_retrieval/2")
    bench.questions = [question for question in bench.questions if question.id in wanted]
    return bench


@pytest.fixture(scope="module")
def internvl(tmp_path_factory):
    from tests.recipes.tiny_internvl import write_internvl

    return write_internvl(tmp_path_factory.mktemp("internvl"))


@pytest.mark.parametrize("setting", ["zero-shot", "in-context"])
def test_a_tiny_face_mllm_answers_in_both_ways(few, tiny_model, tmp_path, setting):
    from facemllm.inference.loading import load_model

    answerer = FaceMLLMAnswerer(*load_model(tiny_model, "cpu"))
    predictions, _ = ask(few, answerer, tmp_path / "predictions.jsonl", setting=setting)
    assert len(predictions) == 8
    for entry in predictions:
        if entry.way == "scoring":
            assert sum(entry.probabilities.values()) == pytest.approx(1) and entry.predicted in LETTERS
        else:
            assert isinstance(entry.text, str) and entry.probabilities is None


def test_any_image_text_to_text_model_answers_in_both_ways(few, internvl, tmp_path):
    from facemllm.inference.loading import load_model

    answerer = GenericAnswerer(*load_model(internvl, "cpu"))
    predictions, _ = ask(few, answerer, tmp_path / "predictions.jsonl")
    assert [entry.way for entry in predictions] == ["scoring"] * 4 + ["generation"] * 4
    assert all(set(entry.probabilities) == set(LETTERS) for entry in predictions[:4])


def evaluate(*words):
    from facemllm.cli import main

    return main(["evaluate", *map(str, words)])


def test_the_command_writes_tables_with_and_without_overlap(root, tiny_model, tmp_path, capsys):
    words = [tiny_model, "facexbench", "--root", root, "--device", "cpu", "--limit", 6, "--exclude", "fairface"]
    assert evaluate(*words, "--ways", "scoring", "generation", "--out", tmp_path / "out") == 0
    said = capsys.readouterr()
    assert "left out: question with a missing picture: 2" in said.err and "overall, generation" in said.out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert set(report["tasks"]["overall"]) == {"scoring", "generation", "strict reading"}
    assert report["tasks"]["overall"]["scoring"]["n"] == 6
    assert report["tasks"]["without_overlap"]["scoring"]["n"] == 6 - report["facexbench"]["overlap"]["removed"]
    text = (tmp_path / "out" / "report.md").read_text()
    assert (
        text.startswith("# FaceXBench, zero-shot, 6 questions, test")
        and "### Without overlap with training data (fairface:" in text
    )

    predictions = (tmp_path / "out" / "predictions.jsonl").read_bytes()
    assert evaluate("--rescore", "--out", tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    capsys.readouterr()
    assert evaluate(*words, "--setting", "in-context", "--out", tmp_path / "out") == 2
    assert re.search(r"setting: .*in-context.*another --out", capsys.readouterr().err)
    assert (tmp_path / "out" / "predictions.jsonl").read_bytes() == predictions


def test_the_command_ends_with_1_where_a_file_is_broken(tiny_model, tmp_path, capsys):
    root = miniature.write(tmp_path / "facexbench")
    (root / "benchmark" / "lapa_single_mcq.json").write_text("{")
    words = [tiny_model, "facexbench", "--root", root, "--device", "cpu", "--tasks", "age", "--ways", "scoring"]
    assert evaluate(*words, "--out", tmp_path / "out") == 1
    assert "malformed: lapa_single_mcq.json" in (tmp_path / "out" / "report.md").read_text()
    assert "could not be asked about: malformed JSON file: 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("benchmark", "words", "message"),
    [
        ("facexbench", ["--no-race"], "--no-race: .*facexbench.*--tasks"),
        ("facexbench", ["--set", "fold=2"], "--set: .*facexbench.*--tasks"),
        ("synthetic", ["--exclude", "fairface"], "--exclude .*facexbench.*synthetic"),
        ("synthetic", ["--setting", "in-context"], "--setting .*facexbench.*synthetic"),
    ],
)
def test_what_would_have_no_effect_is_refused(root, tiny_model, capsys, benchmark, words, message):
    assert evaluate(tiny_model, benchmark, "--root", root, *words) == 2
    assert re.search(message, capsys.readouterr().err)
