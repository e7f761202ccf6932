"""Answers are kept by id: rows that share one, or have none, are refused or counted, and never just missing."""

import io

import pytest
from datasets import Dataset
from PIL import Image

from datasets_scripts.schema import FEATURES, Skipped, assistant_turn, make_record, user_turn
from facemllm.cli import UserError
from facemllm.evaluation.answers import Answer
from facemllm.evaluation.benchmarks import Wanted, open_benchmark
from facemllm.evaluation.corpus_benchmark import open_corpus
from facemllm.evaluation.predict import predict
from facemllm.evaluation.predictions import PredictionLog, read_predictions
from tests.datasets_scripts.sources.test_fairface import ROWS, write_folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """`load_dataset` takes a folder of the same name for one that it has read before."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


class First:
    """Answers the first option."""

    def answer(self, faces, way):
        for face in faces:
            yield [Answer(text=question.options[0]) for question in face.questions]

    def describe(self):
        return {}


def write_corpus(folder, ids):
    encoded = io.BytesIO()
    Image.new("RGB", (8, 8)).save(encoded, "PNG")
    records = [
        make_record(
            id=name,
            image={"bytes": encoded.getvalue(), "path": None},
            messages=[user_turn("Who?", image=True), assistant_turn("A man.")],
            labels={"gender": "male"},
            task="gender",
            split="validation",
            source="s",
            license="cc0-1.0",
        )
        for name in ids
    ]
    (folder / "vqa").mkdir(parents=True)
    Dataset.from_list(records, features=FEATURES).to_parquet(folder / "vqa/validation-00000-of-00001.parquet")
    configs = "configs:\n- config_name: vqa\n  data_files:\n  - split: validation\n    path: vqa/validation-*\n"
    (folder / "README.md").write_text(f"---\n{configs}---\n")
    return str(folder)


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        (
            [f"face-{number % 19}" for number in range(30)],
            "of 30 rows 0 have no id and 11 have that of an earlier row",
        ),
        ([None, "a", None], "of 3 rows 2 have no id and 0 have"),
        (["", "b", "b"], "of 3 rows 1 have no id and 1 have that of an earlier row (the first is 'b')"),
    ],
)
def test_a_corpus_whose_rows_cannot_be_told_apart_is_refused_with_the_numbers(tmp_path, ids, found):
    corpus = write_corpus(tmp_path / "corpus", ids)
    with pytest.raises(UserError) as raised:
        open_corpus(corpus, "vqa", Wanted())
    assert found in str(raised.value) and "give every row an id of its own" in str(raised.value)
    assert corpus in str(raised.value)


def test_a_corpus_with_an_id_for_each_row_is_asked_whole(tmp_path):
    benchmark = open_corpus(
        write_corpus(tmp_path / "corpus", [f"face-{number}" for number in range(30)]), "vqa", Wanted()
    )
    with PredictionLog(tmp_path / "log.jsonl") as log:
        counts = predict(benchmark, First(), ("generation",), log)
    assert counts.faces == len(list(read_predictions(tmp_path / "log.jsonl"))) == 30


def test_faces_of_repeated_rows_are_counted_apart_from_those_that_were_asked(tmp_path):
    (tmp_path / "fairface").mkdir()
    write_folder(tmp_path / "fairface", rows=[*ROWS] * 3)
    benchmark = open_benchmark("fairface", Wanted(root=str(tmp_path / "fairface"), tasks=("gender",)))
    with PredictionLog(tmp_path / "log.jsonl") as log:
        counts = predict(benchmark, First(), ("generation",), log)
    assert counts.faces == len(list(read_predictions(tmp_path / "log.jsonl"))) == 3
    assert counts.as_json()["left_out"] == {"id of an earlier row": 6}


def test_whatever_a_benchmark_gives_no_id_twice_and_none_without_is_asked(tmp_path):
    from dataclasses import replace

    drawn = open_benchmark("synthetic", Wanted(limit=4, tasks=("hat",), options={"size": "16"}))
    rows = list(drawn.faces())
    rows = [*rows, rows[0], replace(rows[1], id=""), replace(rows[1], id=None), Skipped("x", "broken image")]
    with PredictionLog(tmp_path / "log.jsonl") as log:
        counts = predict(replace(drawn, faces=lambda: iter(rows), count=len(rows)), First(), ("generation",), log)
    written = list(read_predictions(tmp_path / "log.jsonl"))
    assert counts.faces == len(written) == 4
    assert counts.as_json()["left_out"] == {"row without an id": 2, "id of an earlier row": 1}
