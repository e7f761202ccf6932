"""`facemllm data`: a corpus from the command line."""

import csv
import json
import re

import pytest
from datasets import load_dataset
from PIL import Image

from facemllm.cli import main
from tests.datasets_scripts.sources.miniatures import WRITERS

GROUPS = ("0-2", "03-Sep", "Oct-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")


@pytest.fixture
def fairface(tmp_path):
    """A folder of FairFace's layout: 18 faces of each split, one of them without its picture."""
    root = tmp_path / "FairFace"
    for split in ("train", "val"):
        (root / split).mkdir(parents=True)
        rows = [(f"{split}/{n}.jpg", GROUPS[n % 9], ("Male", "Female")[n % 2], "White", "True") for n in range(18)]
        with open(root / f"fairface_label_{split}.csv", "w", newline="") as file:
            csv.writer(file).writerows([("file", "age", "gender", "race", "service_test"), *rows])
        for name, *_ in rows[1:]:
            Image.new("RGB", (24, 24), (9, 90, 200)).save(root / name)
    return root


def build(*words):
    return main(["data", *map(str, words)])


def load(folder, config, split, tmp_path):
    return load_dataset(str(folder), config, split=split, cache_dir=str(tmp_path / "cache"))


def test_fairface_becomes_a_corpus_of_three_configs(fairface, tmp_path, capsys):
    assert build("fairface", fairface, "--out", tmp_path / "out", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report["configs"]) == ["captions", "vqa", "face_tasks"]
    assert report["configs"]["vqa"]["validation"]["rows"] == 17
    assert report["configs"]["vqa"]["validation"]["skipped"] == {"missing image": 1}
    rows = load(tmp_path / "out", "face_tasks", "train", tmp_path)
    assert set(rows["task"]) == {"attributes"} and {len(turns) for turns in rows["messages"]} == {4}
    assert {labels["age_group"] for labels in rows["labels"]} >= {"0-2", "3-9", "10-19", "more than 70"}


def test_race_stays_out_of_a_corpus_that_was_not_asked_for_it(fairface, tmp_path):
    build("fairface", fairface, "--out", tmp_path / "without", "--config", "face_tasks")
    build("fairface", fairface, "--out", tmp_path / "with", "--config", "face_tasks", "--race")
    without, asked = (load(tmp_path / name, "face_tasks", "train", tmp_path) for name in ("without", "with"))
    assert {labels["race"] for labels in without["labels"]} == {None}
    assert "White" not in str(without["messages"]) and "White" in str(asked["messages"])
    assert {labels["race"] for labels in asked["labels"]} == {"White"}
    assert "Article 5" in (tmp_path / "with" / "README.md").read_text()


def test_race_is_only_asked_with_its_own_option(fairface, tmp_path, capsys):
    words = ["--out", tmp_path / "out", "--config", "face_tasks", "--tasks", "gender", "race"]
    assert build("fairface", fairface, *words) == 2
    told = capsys.readouterr().err
    assert re.search("--tasks race: .*--race", told) and told.count("\n") == 1
    assert build("fairface", fairface, *words, "--race") == 0
    assert "--tasks gender race --race" in (tmp_path / "out" / "README.md").read_text()


def test_one_line_warns_where_most_rows_were_left_out(fairface, tmp_path, capsys):
    for number in range(12):
        (fairface / f"val/{number}.jpg").unlink(missing_ok=True)
    assert build("fairface", fairface, "--out", tmp_path / "out", "--config", "vqa") == 0
    warned = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    told = "facemllm data: warning: more than half of the rows were left out of vqa/validation (12 of 18)"
    assert warned == [told]


def test_a_stray_quotation_mark_in_a_label_file_ends_in_one_line(fairface, tmp_path, capsys):
    file = fairface / "fairface_label_val.csv"
    lines = file.read_text().splitlines()
    lines[3] = lines[3].replace(",", ',"', 1)
    file.write_text("\n".join(lines))
    assert build("fairface", fairface, "--out", tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert f"{file}, line 4" in told and "remove the stray quotation mark" in told and told.count("\n") == 1
    assert not (tmp_path / "out" / "README.md").exists()


def test_the_seed_of_drawn_faces_draws_other_faces(capsys):
    for corpus, told in (("synthetic", "other faces and another wording"), ("fairface", "seed is another wording")):
        with pytest.raises(SystemExit):
            build(corpus, "--help")
        assert told in " ".join(capsys.readouterr().out.split())


def test_the_summary_says_what_was_left_out(fairface, tmp_path, capsys):
    build("fairface", fairface, "--out", tmp_path / "out", "--split", "train", "--config", "vqa")
    told = capsys.readouterr().out
    assert "17 rows" in told and "left out: missing image: 1" in told


def test_another_label_file_replaces_the_splits_own(fairface, tmp_path, capsys):
    label_file = tmp_path / "few.csv"
    label_file.write_text("file,age,gender\nval/3.jpg,9-Mar,Male\n")
    words = ["--out", tmp_path / "out", "--split", "validation", "--labels", f"validation={label_file}", "--json"]
    assert build("fairface", fairface, *words) == 0
    assert json.loads(capsys.readouterr().out)["configs"]["captions"]["validation"]["rows"] == 1


def test_the_card_names_the_command_but_no_place_of_this_machine(fairface, tmp_path):
    build("fairface", fairface, "--out", tmp_path / "out", "--limit", "5", "--num-proc", "1")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "facemllm data fairface FOLDER --split train validation --tasks gender age --turns 8 --limit 5" in card
    assert str(tmp_path) not in card and str(tmp_path) not in (tmp_path / "out" / "corpus.json").read_text()


def test_the_synthetic_corpus_has_a_text_config_and_three_splits(tmp_path, capsys):
    assert build("synthetic", "--out", tmp_path / "out", "--count", 8, 4, 4, "--size", 32, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    rows = {
        config: {name: split["rows"] for name, split in splits.items()} for config, splits in report["configs"].items()
    }
    counts = {"train": 8, "validation": 4, "test": 4}
    assert rows == {"captions": counts, "vqa": counts, "face_tasks": counts, "text": counts, "zero_shot": counts}
    assert load(tmp_path / "out", "vqa", "test", tmp_path)[0]["image"].size == (32, 32)
    assert load(tmp_path / "out", "text", "train", tmp_path)[0]["image"] is None


def test_a_split_of_no_faces_is_left_out(tmp_path, capsys):
    words = ["--count", 4, 0, 0, "--config", "captions", "--json"]
    assert build("synthetic", "--out", tmp_path / "out", *words) == 0
    assert list(json.loads(capsys.readouterr().out)["configs"]["captions"]) == ["train"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fairface", "nowhere"], r"nowhere/fairface_label_\w+\.csv\b.*--labels"),
        (["fairface", ".", "--labels", "labels.csv"], r"--labels labels\.csv: .*SPLIT=CSV"),
        (["fairface", ".", "--split", "train", "--labels", "validation=x.csv"], "--labels validation: .* train"),
        (["synthetic", "--count", "0", "0", "0"], "give at least one config"),
        (["synthetic", "--count", "-1", "0", "0"], "count[= ]-1: .*1 or more"),
    ],
)
def test_a_mistake_ends_in_one_line_and_exit_code_2(words, message, tmp_path, capsys):
    assert build(*words, "--out", tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert re.search(message, told) and told.count("\n") == 1


def test_unanswerable_questions_need_a_config_that_asks(fairface, tmp_path, capsys):
    assert build("fairface", fairface, "--config", "captions", "--unanswerable", "0.2", "--out", tmp_path / "out") == 2
    assert re.search(r"--unanswerable 0\.2: .*--config", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_every_dataset_is_listed_and_tells_its_layout_and_terms(capsys):
    from datasets_scripts.sources.readers import READERS

    with pytest.raises(SystemExit):
        build("--help")
    listed = capsys.readouterr().out
    for name, reader in READERS.items():
        assert name in listed and reader.TITLE in listed
        with pytest.raises(SystemExit):
            build(name, "--help")
        told = " ".join(capsys.readouterr().out.split())
        assert " ".join(reader.LAYOUT.split()) in told and " ".join(reader.TERMS.split()) in told
        assert ("--race" in told) == reader.ASKS_RACE


def test_a_datasets_own_settings_are_options_and_stand_in_the_card(tmp_path):
    (tmp_path / "raf").mkdir()
    WRITERS["raf_db"](tmp_path / "raf")
    words = ["--out", tmp_path / "out", "--config", "vqa", "--no-aligned", "--turns", 2, "--tasks", "expression"]
    assert build("raf_db", tmp_path / "raf", *words) == 0
    rows = load(tmp_path / "out", "vqa", "train", tmp_path)
    assert rows[0]["url"] == "Image/original/train_00001.jpg" and max(map(len, rows["messages"])) == 4
    card = (tmp_path / "out" / "README.md").read_text()
    assert "facemllm data raf_db FOLDER --split train test --no-aligned --tasks expression --turns 2" in card


def test_the_zero_shot_config_is_built_from_the_command_line(tmp_path):
    (tmp_path / "celeba").mkdir()
    WRITERS["celeba"](tmp_path / "celeba")
    assert build("celeba", tmp_path / "celeba", "--out", tmp_path / "out", "--config", "zero_shot", "--turns", 3) == 0
    train, test = (load(tmp_path / "out", "zero_shot", split, tmp_path) for split in ("train", "test"))
    names = [{entry["name"] for labels in rows["labels"] for entry in labels["attributes"]} for rows in (train, test)]
    assert names[0] and names[1] and not names[0] & names[1]


def test_places_of_this_machine_stand_in_no_card(tmp_path):
    (tmp_path / "bp4d").mkdir()
    WRITERS["bp4d"](tmp_path / "bp4d")
    (tmp_path / "bp4d" / "pictures").mkdir()
    for person in ("F001", "F007"):
        (tmp_path / "bp4d" / person).rename(tmp_path / "bp4d" / "pictures" / person)
    words = ["--images", tmp_path / "bp4d" / "pictures", "--out", tmp_path / "out", "--config", "face_tasks"]
    assert build("bp4d", tmp_path / "bp4d", *words) == 0
    written = (tmp_path / "out" / "README.md").read_text() + (tmp_path / "out" / "corpus.json").read_text()
    assert "--images FOLDER" in written and str(tmp_path) not in written


def test_a_corpus_without_a_usable_picture_is_no_success(fairface, tmp_path, capsys):
    for path in fairface.rglob("*.jpg"):
        path.unlink()
    for _ in range(2):
        assert build("fairface", fairface, "--out", tmp_path / "out", "--config", "vqa") == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert "vqa/train" in error and "missing image: 18" in error
        assert not (tmp_path / "out").exists()


def test_what_a_failed_build_has_finished_is_kept_and_only_then_its_folder_claimed(fairface, tmp_path, capsys):
    for path in (fairface / "val").iterdir():
        path.unlink()
    words = ("fairface", fairface, "--out", tmp_path / "out", "--config", "vqa")
    assert build(*words) == 1
    assert [path.name for path in (tmp_path / "out").rglob("*.parquet")] == ["train-00000.parquet"]
    assert build(*words, "--seed", "1") == 2
    assert "--overwrite" in capsys.readouterr().err
