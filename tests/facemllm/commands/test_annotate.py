"""`facemllm annotate`: its arguments, what it prints, and its exit codes."""

import csv
import json
import re
import shutil

import pytest
from datasets import load_dataset

from datasets_scripts.annotator.settings import Annotator
from datasets_scripts.synthetic.faces import draw_face, sample_labels
from facemllm.cli import build_parser, main
from facemllm.commands.annotate import _estimate
from tests.datasets_scripts.annotator.server import AnnotatorServer
from tests.datasets_scripts.laion_face.img2dataset_folder import YUNET, needs_faces, plain, sample, write_tar
from tests.datasets_scripts.laion_face.test_download import write_stats, write_table

PEOPLE = [("0-2", "Male"), ("3-9", "Female"), ("20-29", "Female"), ("more than 70", "Male")]


@pytest.fixture
def fairface(tmp_path):
    """Five drawn faces in FairFace's layout, one of them missing."""
    root = tmp_path / "FairFace"
    (root / "val").mkdir(parents=True)
    rows = [(f"val/{n}.jpg", *person, "White", "True") for n, person in enumerate([*PEOPLE, PEOPLE[0]])]
    with open(root / "fairface_label_val.csv", "w", newline="") as file:
        csv.writer(file).writerows([("file", "age", "gender", "race", "service_test"), *rows])
    for number in range(len(PEOPLE)):
        draw_face(sample_labels(number, 0, "test"), number, 0, "test").save(root / f"val/{number}.jpg")
    return root


def annotate(fairface, tmp_path, server, *words):
    words = (fairface, "--out", tmp_path / "out", "--endpoint", server.url, "--model", "describer", *words)
    return main(["annotate", "fairfacegpt", *map(str, words)])


def test_faces_become_a_corpus_and_the_counts_are_told(fairface, tmp_path, capsys):
    with AnnotatorServer(tmp_path / "log") as server:
        prices = ("--input-price", "2", "--output-price", "10")
        assert annotate(fairface, tmp_path, server, "--include-images", *prices) == 0
        told = capsys.readouterr().out
        assert annotate(fairface, tmp_path, server, "--include-images", *prices, "--json") == 0
        assert len(server.requests()) == 4 * 8
    assert "4 faces, 32 questions, 32 answers kept; 32,000 input and 3,200 output tokens, cost 0.10" in told
    assert "face left out: missing image: 1" in told and "pairs  train              32 rows" in told
    report = json.loads(capsys.readouterr().out)
    assert report["corpus"]["rows_written"] == 0 and report["annotation"]["valid"] == 32
    rows = load_dataset(str(tmp_path / "out"), "vqa", split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == 4 and rows[0]["image"].size == (64, 64)


def test_the_card_names_the_command_but_no_place_of_this_machine(fairface, tmp_path):
    with AnnotatorServer(tmp_path / "log") as server:
        annotate(fairface, tmp_path, server, "--config", "captions", "--limit", "3")
        card = (tmp_path / "out/README.md").read_text()
        assert server.url not in card
    assert "facemllm annotate fairfacegpt FOLDER --split validation --endpoint URL --model describer" in card
    assert "--limit 3" in card and str(tmp_path) not in card
    assert str(tmp_path) not in (tmp_path / "out/corpus.json").read_text()


def test_pictures_are_left_out_unless_asked_for_and_the_way_to_them_is_told(fairface, tmp_path, capsys):
    with AnnotatorServer(tmp_path / "log") as server:
        annotate(fairface, tmp_path, server, "--config", "captions")
    assert "--include-images --overwrite writes them too" in capsys.readouterr().out
    rows = load_dataset(str(tmp_path / "out"), "captions", split="train", cache_dir=str(tmp_path / "cache"))
    assert set(rows["image"]) == {None}


def test_a_run_without_a_single_answer_to_keep_ends_with_1(fairface, tmp_path, capsys):
    with AnnotatorServer(tmp_path / "log", "refusal:1") as server:
        assert annotate(fairface, tmp_path, server, "--attempts", "1") == 1
    told = capsys.readouterr().out
    assert "0 answers kept" in told and "no answer could be kept" in told and "refus" in told


def test_a_dry_run_tells_requests_tokens_and_cost_and_asks_nothing(fairface, tmp_path, capsys):
    with AnnotatorServer(tmp_path / "log") as server:
        words = ("--dry-run", "--input-price", "1", "--output-price", "1")
        assert annotate(fairface, tmp_path, server, *words) == 0
        assert server.requests() == []
    told = capsys.readouterr().out
    assert "4 faces, 32 requests" in told and "cost" in told and "nothing was asked" in told


def test_an_endpoint_that_does_not_answer_is_one_line(fairface, tmp_path, capsys):
    with AnnotatorServer(tmp_path / "log") as server:
        pass
    assert annotate(fairface, tmp_path, server, "--max-retries", "0", "--timeout", "2") == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("facemllm annotate: ") and server.url in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--limit", "0"], "--limit 0: .*1 or more"),
        (["--engine-options", "partition"], "--engine-options partition: .*NAME=VALUE"),
        (["--endpoint", "localhost:8000"], "--endpoint localhost:8000: .*http://localhost:8000/v1"),
        (["--api-key-env", "NO_SUCH_KEY_HERE"], "--api-key-env NO_SUCH_KEY_HERE: .*environment variable"),
        (["--attempts", "0"], "--attempts 0: .*1 or more"),
        (["--endpoint", "http://me:key@host/v1"], "--endpoint http://host: .*name a variable"),
        (["--workers", "64", "--concurrency", "8"], "--concurrency 8: .*64 workers.*64 or more"),
        (["--engine", "slurm"], r"\bslurm\b.*\bpartition\b"),
        (["--out", "FairFace/corpus"], "--out FairFace/corpus: .*apart"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(words, message, fairface, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with AnnotatorServer(tmp_path / "log") as server:
        assert annotate(fairface, tmp_path, server, *words) == 2
    assert re.search(message, capsys.readouterr().err)


def test_the_defaults_are_those_of_the_annotator():
    parser = build_parser("annotate")
    given = parser.parse_args(["annotate", "fairfacegpt", "F", "--out", "O", "--model", "m"])
    default = Annotator("http://localhost:8000/v1", "m")
    for name in ("timeout", "max_retries", "attempts", "temperature", "max_tokens", "structured"):
        assert getattr(given, name) == getattr(default, name)


def test_none_leaves_temperature_and_length_to_the_endpoint():
    parser = build_parser("annotate")
    words = ["annotate", "fairfacegpt", "F", "--out", "O", "--model", "m", "--temperature", "none", "--max-tokens"]
    given = parser.parse_args([*words, "none"])
    assert given.temperature is None and given.max_tokens is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--extra-body", "{'top_k': 1}"], "--extra-body: {'top_k': 1}: .*JSON object"),
        (["--extra-body", "[1]"], r"--extra-body: \[1\]: .*JSON object"),
        (["--temperature", "warm"], "--temperature: warm: .*number.*none"),
        (["--max-tokens", "1.5"], r"--max-tokens: 1\.5: .*whole number.*none"),
    ],
)
def test_a_value_that_cannot_be_read_is_told_with_what_is_wanted(words, message, capsys):
    with pytest.raises(SystemExit):
        main(["annotate", "fairfacegpt", "F", "--out", "O", "--model", "m", *words])
    assert re.search(message, capsys.readouterr().err)


def test_many_workers_get_a_request_each(fairface, tmp_path):
    with AnnotatorServer(tmp_path / "log") as server:
        assert annotate(fairface, tmp_path, server, "--workers", "64", "--config", "captions") == 0


def test_slurm_without_a_cluster_is_told_before_anything_is_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ["F", "--out", tmp_path / "out", "--model", "m", "--engine", "slurm", "--engine-options", "partition=gpu"]
    assert main(["annotate", "fairfacegpt", *map(str, words)]) == 2
    assert re.search(r"\bslurm\b.*\bsbatch\b.*login node", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("files", [{"README.md": "Mine"}, {"corpus.json": '{"name": "FairFace"}', "README.md": ""}])
def test_the_folder_of_another_corpus_is_refused_before_anything_is_asked(fairface, tmp_path, files, capsys):
    (tmp_path / "out").mkdir()
    for name, text in files.items():
        (tmp_path / "out" / name).write_text(text)
    with AnnotatorServer(tmp_path / "log") as server:
        for words in ([], ["--overwrite"]):
            assert annotate(fairface, tmp_path, server, *words) == 2
            told = capsys.readouterr().err
            assert str(tmp_path / "out") in told and "give another --out" in told
        assert server.requests() == []
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == files


def test_a_corpus_of_this_kind_whose_answers_are_gone_is_replaced_only_on_request(fairface, tmp_path, capsys):
    with AnnotatorServer(tmp_path / "log") as server:
        assert annotate(fairface, tmp_path, server, "--config", "captions") == 0
        shutil.rmtree(tmp_path / "out/.annotating")
        assert annotate(fairface, tmp_path, server, "--config", "captions") == 2
        told = capsys.readouterr().err
        assert str(tmp_path / "out") in told and "give another --out" in told and "--overwrite" in told
        assert len(server.requests()) == 32
        assert annotate(fairface, tmp_path, server, "--config", "captions", "--overwrite") == 0


def test_a_mistyped_model_leaves_no_locked_folder(fairface, tmp_path, capsys):
    with AnnotatorServer(tmp_path / "first", "404:1", times=99) as server:
        assert annotate(fairface, tmp_path, server, "--config", "captions") == 2
    assert re.search("--model describer: .*http://.*HTTP 404.*see both", capsys.readouterr().err)
    with AnnotatorServer(tmp_path / "log") as server:
        assert annotate(fairface, tmp_path, server, "--config", "captions", "--model", "right") == 0
        assert annotate(fairface, tmp_path, server, "--config", "captions", "--model", "third") == 2
    assert re.search("model: right .*third.*another", capsys.readouterr().err)


def test_a_dry_run_says_when_it_has_not_read_all_parts():
    found = dict.fromkeys(("faces", "requests", "input_tokens", "output_tokens", "parts"), 5)
    found |= {
        "most_output_tokens": None,
        "cost": None,
        "most_cost": None,
        "counted": False,
        "parts_read": 4,
        "skipped": {"no face": 2},
    }
    assert "estimated from 4 of 5 parts" in _estimate(found)
    assert "parts" not in _estimate({**found, "counted": True}) and "no face: 2" in _estimate(found)


@needs_faces
def test_faces_of_tars_become_a_corpus_without_pictures(tmp_path, capsys):
    pictures = plain(2)
    write_tar(tmp_path / "00000.tar", [sample(number, pictures[number]) for number in range(2)])
    with AnnotatorServer(tmp_path / "log") as server:
        words = [tmp_path / "00000.tar", "--out", tmp_path / "out", "--endpoint", server.url, "--model", "describer"]
        words += ["--detector", YUNET, "--min-sharpness", "0", "--config", "captions"]
        assert main(["annotate", "laion-face", *map(str, words)]) == 0
        assert len(server.requests()) == 2
    assert "2 faces, 2 questions, 2 answers kept" in capsys.readouterr().out
    rows = load_dataset(str(tmp_path / "out"), "captions", split="train", cache_dir=str(tmp_path / "cache"))
    assert rows["image"] == [None, None] and all(url.startswith("http") for url in rows["url"])
    card = (tmp_path / "out/README.md").read_text()
    assert "facemllm annotate laion-face SHARDS --min-sharpness 0.0" in card and str(tmp_path) not in card


def test_a_download_without_img2dataset_says_how_to_get_it(tmp_path, capsys):
    write_table(tmp_path / "urls.parquet", ["http://127.0.0.1:1/a.jpg"])
    words = ["download", tmp_path / "urls.parquet", "--out", tmp_path / "tars", "--img2dataset", tmp_path / "none"]
    assert main(["annotate", *map(str, words)]) == 2
    assert re.search(rf"--img2dataset {tmp_path / 'none'}: .*pip install img2dataset", capsys.readouterr().err)


def test_a_download_tells_what_was_fetched_and_why_the_rest_was_not(tmp_path, capsys):
    write_table(tmp_path / "urls.parquet", ["http://a.example/1.jpg"] * 10)
    write_stats(tmp_path / "tars", 0, {"success": 3, "HTTP Error 404: Not Found": 7})
    words = ["download", tmp_path / "urls.parquet", "--out", tmp_path / "tars"]
    assert main(["annotate", *map(str, words)]) == 0
    told = capsys.readouterr().out
    assert "3 of 10 pictures in 1 tars" in told and "failed: HTTP 404: 7" in told
