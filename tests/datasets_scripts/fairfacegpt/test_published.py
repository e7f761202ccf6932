"""The published `dataset.json` with real faces of FairFace becomes the same record, its traps counted."""

import json
from pathlib import Path

import pytest
from datasets import load_dataset

from datasets_scripts.fairfacegpt.published import PublishedFaces, build_published
from datasets_scripts.fairfacegpt.questions import ASPECTS
from datasets_scripts.schema import CorpusError
from facemllm.cli import main

FAIRFACE = Path(__file__).parents[4] / "shared/data/fairface"
IMAGE_SET = "fairface_img_margin025"


@pytest.fixture(scope="module", autouse=True)
def real_faces():
    if not FAIRFACE.is_dir():
        pytest.skip(f"FairFace's photographs may not be in the repository, and there are none at {FAIRFACE}")


def answer_to(name, number):
    if name == "demographic_attributes":
        return f"The picture shows an East Asian person, number {number}."
    return f"The {name.replace('_', ' ')} of number {number} can be seen well."


def entry(number, name, form="image", reply="assistant"):
    turns = [("human", f"<image>{ASPECTS[name].question}"), (reply, answer_to(name, number))]
    picture = f"{IMAGE_SET}/val/{number}.jpg"
    return {
        "conversations": [{"from": role, "value": text} for role, text in turns],
        form: [picture] if form == "images" else picture,
    }


def write(path, entries):
    path.write_text(json.dumps(entries, indent=2), encoding="utf-8")
    return path


@pytest.fixture
def published(tmp_path):
    """Four faces, their pairs scattered over the file and in both forms; a missing picture; four bad entries."""
    entries = [entry(number, name) for name in ASPECTS for number in (2, 3)]
    entries += [entry(5, name, "images", "gpt") for name in ASPECTS]
    entries += [
        entry("none", "face_pose"),
        {"conversations": [], "image": "val/2.jpg"},
        {"image": "val/2.jpg"},
        entry(5, "face_pose"),
    ]
    entries[-1]["image"] = "/somebody/elses/disk/fairface_img_margin025/../../secret.jpg"
    entries.append({**entry(5, "face_pose"), "images": None, "image": None})
    return write(tmp_path / "dataset.json", entries)


def rows_of(out, config, tmp_path):
    return load_dataset(str(out), config, split="train", cache_dir=str(tmp_path / "cache"))


def test_the_pairs_of_a_picture_become_one_row_and_bad_entries_are_counted(published, tmp_path):
    report = build_published(published, FAIRFACE, tmp_path / "out", race=True)
    assert list(report["configs"]) == ["captions", "vqa", "pairs", "face_tasks"]
    counted = report["configs"]["vqa"]["train"]
    assert counted["rows"] == 3 and counted["skipped"] == {
        "missing image": 1,
        "image outside the folder": 1,
        "no conversations": 1,
        "no image": 1,
        "question without an answer": 1,
    }
    row = rows_of(tmp_path / "out", "vqa", tmp_path)[0]
    assert len(row["messages"]) == 16 and row["id"] == "fairfacegpt/val/2" and row["image"].size == (224, 224)
    assert "<image>" not in str(row["messages"]) and row["labels"]["age_group"] == "50-59"
    assert row["annotation"]["annotator"] == "ChatGPT" and row["license"] == "cc-by-sa-4.0"


def test_an_entry_of_thousands_of_questions_is_counted(tmp_path):
    long = entry(3, "face_pose")
    long["conversations"] *= 5000
    reader = PublishedFaces(str(write(tmp_path / "dataset.json", [entry(2, "face_pose"), long])), str(FAIRFACE))
    face, skipped = reader.faces(0, len(reader))
    assert len(face.pairs) == reader.slots == 1
    assert skipped.reason == "more than 100 questions about a face"


def test_the_rows_of_pairs_are_the_published_pairs(published, tmp_path):
    build_published(published, FAIRFACE, tmp_path / "out", race=True, configs=["pairs"])
    rows = rows_of(tmp_path / "out", "pairs", tmp_path)
    assert len(rows) == 3 * 8 and {len(messages) for messages in rows["messages"]} == {2}
    assert len(set(rows["id"])) == 24 and set(rows["task"]) == set(ASPECTS)


def test_answers_that_speak_of_race_are_kept_only_when_asked_for_by_name(published, tmp_path):
    report = build_published(published, FAIRFACE, tmp_path / "out")
    assert report["pairs"]["demographic_attributes"] == {"kept": 0, "speaks of race or ethnicity": 3}
    rows = rows_of(tmp_path / "out", "pairs", tmp_path)
    assert len(rows) == 3 * 7 and "Asian" not in str(rows["messages"])
    assert {row["race"] for row in rows["labels"]} == {None}


def test_published_words_are_kept_as_they_are_and_their_faults_flagged(tmp_path):
    told = entry(2, "face_pose")
    told["conversations"][1]["value"] = "As you mentioned, the head of this person is turned"
    build_published(write(tmp_path / "dataset.json", [told]), FAIRFACE, tmp_path / "out", configs=["vqa"])
    row = rows_of(tmp_path / "out", "vqa", tmp_path)[0]
    assert row["messages"][1]["content"][0]["text"] == told["conversations"][1]["value"]
    assert row["annotation"]["flags"] == ["face_pose: cut off"]


def test_a_published_name_is_kept_as_it_is_and_flagged(tmp_path):
    named = entry(2, "face_pose")
    named["conversations"][1]["value"] = "Emma Watson turns her head to the left."
    build_published(write(tmp_path / "dataset.json", [named]), FAIRFACE, tmp_path / "out", configs=["vqa"])
    assert "face_pose: names a person" in rows_of(tmp_path / "out", "vqa", tmp_path)[0]["annotation"]["flags"]


def test_pictures_are_found_whatever_folders_the_paths_begin_with(published):
    found = [PublishedFaces(str(published), str(folder)) for folder in (FAIRFACE, FAIRFACE / "val")]
    assert [face.url for face in list(found[0].faces(0, 3))] == ["val/2.jpg", "val/3.jpg", "val/5.jpg"]
    assert [face.url for face in list(found[1].faces(0, 3))] == ["2.jpg", "3.jpg", "5.jpg"]


def test_without_a_label_file_there_are_no_face_tasks(published, tmp_path):
    report = build_published(published, FAIRFACE / "val", tmp_path / "out")
    assert list(report["configs"]) == ["captions", "vqa", "pairs"]
    with pytest.raises(CorpusError, match=r"config=face_tasks\b.*fairface_label_val\.csv"):
        build_published(published, FAIRFACE / "val", tmp_path / "other", configs=["face_tasks"])


def test_the_card_tells_the_licence_to_be_confirmed_and_the_contamination(published, tmp_path):
    build_published(published, FAIRFACE, tmp_path / "out", configs=["captions"])
    card = " ".join((tmp_path / "out/README.md").read_text().split())
    assert "confirm the licence and its version at Zenodo record 16323621" in card
    assert "must not be tested on FairFace's validation faces" in card


def test_a_missing_file_or_folder_is_named(published, tmp_path):
    with pytest.raises(CorpusError, match=r"no\.json\b.*dataset\.json of FairFaceGPT"):
        build_published(tmp_path / "no.json", FAIRFACE, tmp_path / "out")
    with pytest.raises(CorpusError, match=r"/no\b.*FairFace's folder"):
        build_published(published, tmp_path / "no", tmp_path / "out")


def test_a_file_whose_pictures_are_all_elsewhere_is_an_error_with_the_reason(tmp_path):
    published = write(tmp_path / "dataset.json", [entry("none", name) for name in ASPECTS])
    with pytest.raises(CorpusError, match=r"vqa/train\b.*missing image: 1\b"):
        build_published(published, FAIRFACE, tmp_path / "out")


def test_the_command_reads_the_published_file(published, tmp_path, capsys):
    words = ["data", "fairfacegpt", published, "--images", FAIRFACE, "--out", tmp_path / "out", "--num-proc", "2"]
    assert main([*map(str, words), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["configs"]["pairs"]["train"]["rows"] == 3 * 7
    assert (
        "facemllm data fairfacegpt dataset.json --images FOLDER --seed 0" in (tmp_path / "out/README.md").read_text()
    )
