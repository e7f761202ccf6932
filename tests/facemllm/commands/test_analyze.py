"""`facemllm analyze`: a row for every photo, whatever is wrong with it; nothing is lost, and nothing done twice."""

import csv
import json
import os
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import peft
import pytest
import torch
from datasets import Dataset, Features, load_dataset
from PIL import Image

from datasets_scripts.corpus.hashed_names import HashedNames
from datasets_scripts.files import read_json
from facemllm.analysis.table import write_table
from facemllm.cli import main
from tests.datasets_scripts.laion_face.img2dataset_folder import YUNET, needs_faces, plain
from tests.datasets_scripts.laion_face.picture_server import PictureServer
from tests.facemllm.commands.rows import read, spoil

needs_yunet = pytest.mark.skipif(
    not YUNET.is_file(), reason=f"the detector's weights are no part of the repository, and not at {YUNET}"
)


# What is told


def test_a_row_for_each_photo_in_natural_order(analyze, photos, tmp_path):
    rc, out, _ = analyze(photos, "--out", tmp_path / "faces.jsonl", "--tasks", "gender", "age")
    rows = read(tmp_path / "faces.jsonl")
    names = ["face1.jpg", "face3.jpg", "face5.jpg", "face7.jpg", "face9.jpg", "sub/5.jpg"]
    assert rc == 0
    assert [row["image"] for row in rows] == [str(photos / name) for name in names]
    assert all(row["faces"][0].keys() >= {"box", "landmarks", "tasks", "answers"} for row in rows)
    assert rows[0]["faces"][0]["tasks"].keys() == {"gender", "age"}
    assert "6 photos, 6 faces, 1 other file in the folders" in out


def test_one_photo_and_one_face_are_counted_in_the_singular(analyze, photos, tmp_path):
    _, out, _ = analyze(photos / "face1.jpg", "--out", tmp_path / "faces.jsonl", "--tasks", "gender")
    assert "1 photo, 1 face; " in out


def test_race_only_where_it_is_named(analyze, photos):
    _, usual, _ = analyze(photos / "face1.jpg")
    _, named, _ = analyze(photos / "face1.jpg", "--tasks", "gender", "race")
    assert "race" not in json.loads(usual)["faces"][0]["tasks"]
    assert json.loads(named)["faces"][0]["tasks"].keys() == {"gender", "race"}


def test_questions_are_answered_in_words(analyze, photos):
    _, out, _ = analyze(
        photos / "face1.jpg", "--tasks", "--questions", "What is the expression?", "--max-new-tokens", 2
    )
    (face,) = json.loads(out)["faces"]
    assert (list(face["answers"]), face["tasks"]) == (["What is the expression?"], {})


def test_a_question_that_is_no_utf8_is_asked_as_it_is_spelled(analyze, photos):
    code, out, _ = analyze(photos / "face1.jpg", "--tasks", "--questions", "caf\udce9?")
    (face,) = json.loads(out)["faces"]
    assert (code, list(face["answers"])) == (0, [r"caf\xe9?"])


def test_broken_photos_are_reported_and_counted_and_the_others_go_on(analyze, photos, tmp_path):
    spoil(photos / "face3.jpg")
    (photos / "empty.png").touch()
    (photos / "text.webp").write_text("no picture")
    (photos / "gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(photos / "pipe.jpg")
    rc, out, err = analyze(photos, "--out", tmp_path / "faces.jsonl", "--json")
    rows = read(tmp_path / "faces.jsonl")
    failed = {Path(row["image"]).name: row["error"] for row in rows if row["error"]}
    assert rc == 1
    assert failed.keys() == {"face3.jpg", "empty.png", "text.webp", "gone.jpg", "pipe.jpg"}
    assert failed["empty.png"] == "the file is empty"
    assert "truncated" in failed["face3.jpg"].lower()
    counts = json.loads(out)
    assert (counts["photos"], counts["failed"], counts["other_files"]) == (5, 5, 1)
    assert all(f"{name}: {reason}" in err for name, reason in failed.items())


@needs_yunet
def test_a_photo_without_a_face_fails_only_where_one_must_be_there(analyze, tmp_path):
    Image.new("RGB", (200, 200), "gray").save(tmp_path / "wall.png")
    rc, out, _ = analyze(tmp_path / "wall.png", detector=YUNET)
    assert (rc, json.loads(out)["faces"]) == (0, [])
    rc, out, _ = analyze(tmp_path / "wall.png", "--on-no-face", "raise", detector=YUNET)
    assert (rc, json.loads(out)["error"]) == (1, "no face was found")
    rc, out, _ = analyze(tmp_path / "wall.png", "--on-no-face", "whole", detector=YUNET)
    assert json.loads(out)["faces"][0]["box"] == [0, 0, 200, 200]


@needs_faces
def test_all_faces_of_a_photo_and_a_copy_that_shows_them(analyze, tmp_path):
    crowd = Image.new("RGB", (500, 250), "gray")
    for index, face in enumerate(plain(2, side=200)):
        crowd.paste(face, (25 + 250 * index, 25))
    crowd.save(tmp_path / "crowd.png")
    before = (tmp_path / "crowd.png").read_bytes()
    rc, out, _ = analyze(tmp_path / "crowd.png", "--draw", tmp_path / "drawn", detector=YUNET)
    row = json.loads(out)
    assert (rc, len(row["faces"])) == (0, 2)
    assert Image.open(tmp_path / "drawn" / row["drawing"]).width == 640
    assert (tmp_path / "crowd.png").read_bytes() == before


def test_addresses_and_a_list_on_standard_input(analyze, photos, faces, monkeypatch, tmp_path):
    with PictureServer({"/a.jpg": faces[0]}) as server:
        (tmp_path / "list").write_text(
            f"{photos / 'face1.jpg'}\n\n{server.url}/a.jpg\n{server.url}/gone.jpg\nno.jpg\n"
        )
        with open(tmp_path / "list") as listed:
            monkeypatch.setattr(sys, "stdin", listed)
            rc, out, _ = analyze("-", "--private-hosts", "--tasks", "gender")
    first, second, *failed = map(json.loads, out.splitlines())
    assert rc == 1
    assert first["faces"] == second["faces"]
    assert ["404" in failed[0]["error"], failed[1]["error"]] == [True, "No such file or directory"]


def test_a_table_with_a_line_per_face(analyze, photos, tmp_path):
    analyze(photos, "--out", tmp_path / "faces.jsonl", "--csv", tmp_path / "faces.csv", "--tasks", "gender", "age")
    header, *lines = (tmp_path / "faces.csv").read_text().splitlines()
    assert header.endswith("detection_score,gender,gender.score,age,age.score,age.number")
    assert len(lines) == 6
    assert lines[0].startswith(f"{photos / 'face1.jpg'},0,0.0,0,0.0,0.0,")


def test_a_spreadsheet_runs_no_cell_of_the_table(tmp_path):
    face = {"box": [0, 0, 9, 9], "detection_score": None, "tasks": {}, "answers": {"Hat?": "@none"}}
    row = {"image": "=cmd.jpg", "frame": 0, "time": 0.0, "faces": [face]}
    (tmp_path / "faces.jsonl").write_text(json.dumps(row))
    write_table(tmp_path / "faces.jsonl", tmp_path / "faces.csv")
    (cells,) = csv.DictReader((tmp_path / "faces.csv").open())
    assert (cells["image"], cells["Hat?"]) == ("'=cmd.jpg", "'@none")


def test_a_spreadsheet_runs_no_header_and_a_question_takes_no_column(tmp_path):
    found = {"label": "x", "score": 0.5}
    face = {"box": [0, 0, 9, 9], "detection_score": None, "tasks": {"=1": found}, "answers": {"@a": "1", "image": "2"}}
    row = {"image": "a.jpg", "frame": 0, "time": 0.0, "faces": [face]}
    (tmp_path / "faces.jsonl").write_text(json.dumps(row))
    write_table(tmp_path / "faces.jsonl", tmp_path / "faces.csv")
    (cells,) = csv.DictReader((tmp_path / "faces.csv").open())
    assert not [name for name in cells if name.startswith(("=", "@"))] and cells["'=1"] == "x" and cells["'@a"] == "1"
    assert cells["image"] == "a.jpg" and cells["answer: image"] == "2"


def test_a_terminal_obeys_no_name_and_no_answer(analyze, photos, tmp_path):
    (photos / "face1.jpg").rename(photos / "\x1b[2J\n\x9b31m.jpg")
    (photos / "\x1b]0;title\x07.jpg").write_bytes(b"no picture")
    for words in ((), ("--json",), ("--out", tmp_path / "faces.jsonl")):
        rc, out, err = analyze(photos, "--questions", "\x1b[31m?", "--max-new-tokens", "1", *words)
        assert rc == 1 and not [char for char in out + err.replace("\r", "") if char in "\x1b\x9b\x07"]


@pytest.mark.parametrize("row", [{"faces": []}, {"faces": [], "size": None, "error": "the file is empty"}])
def test_the_rows_load_with_their_types_where_the_first_100_000_are_empty(row, analyze, photos, tmp_path):
    out, path = tmp_path / "faces.jsonl", tmp_path / "more.jsonl"
    assert (
        analyze(photos, "--out", out, "--tasks", "gender", "age", "--questions", "Who?", "--max-new-tokens", "1")[0]
        == 0
    )
    rows = read(out)
    empty = (json.dumps({**rows[0], "image": f"{number:06}.jpg", **row}) + "\n" for number in range(120_000))
    with open(path, "w") as file:
        file.writelines(empty)
        file.write(out.read_text())
    assert path.stat().st_size > 10 * 2**20
    features = Features.from_dict(read_json(tmp_path / "faces.jsonl.run.json")["features"])
    loaded = load_dataset(
        "json", data_files=str(path), features=features, split="train", cache_dir=str(tmp_path / "c")
    )
    assert [loaded[number] for number in range(120_000, 120_006)] == rows and loaded[0]["faces"] == []


@pytest.mark.parametrize("words", [("--tasks",), ("--draw", "DRAWN")], ids=["faces alone", "drawings"])
def test_the_types_are_those_of_the_rows(words, analyze, photos, tmp_path):
    analyze(
        photos, "--out", tmp_path / "faces.jsonl", *(word.replace("DRAWN", str(tmp_path / "drawn")) for word in words)
    )
    features = Features.from_dict(read_json(tmp_path / "faces.jsonl.run.json")["features"])
    files = {"data_files": str(tmp_path / "faces.jsonl"), "cache_dir": str(tmp_path / "c"), "split": "train"}
    assert list(load_dataset("json", features=features, **files)) == read(tmp_path / "faces.jsonl")


def test_the_rows_load_as_a_data_set(analyze, photos, tmp_path):
    spoil(photos / "face3.jpg")
    analyze(photos, "--out", tmp_path / "faces.jsonl")
    rows = Dataset.from_json(str(tmp_path / "faces.jsonl"), cache_dir=str(tmp_path / "cache"), chunksize=2000)
    assert [bool(row["error"]) for row in rows] == [False, True, False, False, False, False]
    assert rows[0]["faces"][0]["tasks"]["gender"]["label"] in ("female", "male")


def test_names_that_are_no_utf8_can_be_told_and_remembered(analyze, photos, tmp_path):
    name = os.fsencode(photos) + b"/caf\xe9.jpg"
    os.rename(photos / "face1.jpg", name)
    analyze(photos, "--out", tmp_path / "faces.jsonl", "--draw", tmp_path / "drawn")
    assert read(tmp_path / "faces.jsonl")[0]["image"] == f"{photos}/caf\\xe9.jpg"
    _, out, _ = analyze(photos, "--out", tmp_path / "faces.jsonl", "--draw", tmp_path / "drawn", "--json")
    assert json.loads(out)["done_before"] == 6


# Going on


def test_a_second_run_does_nothing_and_changes_nothing(analyze, photos, tmp_path):
    spoil(photos / "face3.jpg")
    out = tmp_path / "faces.jsonl"
    analyze(photos, "--out", out)
    before = out.read_bytes()
    rc, report, _ = analyze(photos, "--out", out, "--json")
    assert rc == 1, "the spoiled photo was tried again"
    assert out.read_bytes() == before
    assert (json.loads(report)["photos"], json.loads(report)["done_before"]) == (0, 5)


def test_a_photo_that_failed_is_tried_again(analyze, photos, tmp_path, faces):
    spoil(photos / "face3.jpg")
    out = tmp_path / "faces.jsonl"
    analyze(photos, "--out", out)
    (photos / "face3.jpg").write_bytes(faces[1])
    assert analyze(photos, "--out", out)[0] == 0
    rows = read(out)
    assert len(rows) == 6
    assert not any(row["error"] for row in rows)


def test_a_video_that_was_mended_has_its_frames_and_no_error(analyze, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
    for level in range(25):
        writer.write(np.full((64, 64, 3), 10 * level, np.uint8))
    writer.release()
    whole = (tmp_path / "clip.avi").read_bytes()
    (tmp_path / "clip.avi").write_bytes(whole[: len(whole) // 2])
    assert analyze(tmp_path, "--out", tmp_path / "faces.jsonl")[0] == 1
    assert "of 25 frames" in read(tmp_path / "faces.jsonl")[-1]["error"]
    (tmp_path / "clip.avi").write_bytes(whole)
    assert analyze(tmp_path, "--out", tmp_path / "faces.jsonl")[0] == 0
    rows = read(tmp_path / "faces.jsonl")
    assert [(row["frame"], row["time"], row["error"]) for row in rows] == [(0, 0.0, ""), (10, 1.0, ""), (20, 2.0, "")]


def test_a_photo_given_twice_has_one_row(analyze, photos):
    _, out, _ = analyze(photos, photos / "face1.jpg", f"{photos}/")
    assert len(out.splitlines()) == 6


def test_other_settings_are_refused(analyze, photos, tmp_path):
    out = tmp_path / "faces.jsonl"
    analyze(photos, "--out", out, "--tasks", "gender")
    before = out.read_bytes()
    rc, _, err = analyze(photos, "--out", out, "--tasks", "age")
    assert rc == 2
    assert re.search(r"tasks: \['gender'\].*\['age'\].*--out", err)
    assert out.read_bytes() == before


@needs_yunet
def test_another_detector_of_the_same_name_is_another_setting(analyze, photos, tmp_path):
    def rows(detector):
        return analyze(photos / "face1.jpg", "--out", tmp_path / "faces.jsonl", "--tasks", detector=detector)

    for folder, change in (("one", b""), ("two", b""), ("other", b"\x0a\x00")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / YUNET.name).write_bytes(YUNET.read_bytes() + change)
    assert [rows(tmp_path / folder / YUNET.name)[0] for folder in ("one", "two")] == [0, 0]
    assert "other settings (detector:" in rows(tmp_path / "other" / YUNET.name)[2]


def test_a_model_that_names_no_tasks_is_said_to_be_asked_what_it_may_not_know(analyze, photos):
    told = "may be asked what it never learned: name --tasks"
    assert analyze(photos)[2].count(told) == 1
    assert told not in analyze(photos, "--tasks", "gender")[2]


def test_rows_of_an_adapter_go_on_with_that_adapter_only(analyze, photos, tiny_model, tmp_path):
    from modeling_facemllm import FaceMLLMForConditionalGeneration

    def train(seed):
        model = FaceMLLMForConditionalGeneration.from_pretrained(tiny_model)
        torch.manual_seed(seed)
        config = peft.LoraConfig(r=2, target_modules=r".*language_model.*q_proj", init_lora_weights=False)
        peft.get_peft_model(model, config).save_pretrained(tmp_path / "adapter")

    def rows():
        words = (photos / "face1.jpg", "--out", tmp_path / "faces.jsonl", "--tasks", "gender", "--json")
        return analyze(*words, model=tmp_path / "adapter")

    train(seed=0)
    assert rows()[0] == 0
    assert json.loads(rows()[1])["done_before"] == 1
    train(seed=1)
    assert "other settings (model:" in rows()[2]


def test_names_are_remembered_in_few_bytes_and_none_is_lost():
    names = HashedNames()
    assert all(names.add(f"photos/{index}.jpg") for index in range(120_000))
    assert not names.add("photos/77.jpg")
    assert "photos/119999.jpg" in names
    assert "photos/120000.jpg" not in names


# Mistakes: one line, before anything is written


@pytest.mark.parametrize(
    "words,told",
    [
        (("PHOTOS", "nowhere.jpg", "--out", "OUT"), r"nowhere\.jpg"),
        (("PHOTOS", "--out", "OUT", "--tasks", "gendr"), r"\bgendr\b.*\bgender\b"),
        (("PHOTOS", "--out", "OUT", "--max-faces", "0"), "--max-faces 0: .*1 or more"),
        (("PHOTOS", "--out", "OUT", "--every", "-1"), r"--every -1\.0: .*0 or more"),
        (("PHOTOS", "--out", "OUT", "--draw", "PHOTOS/drawn"), r"--draw \S+/drawn: .*outside"),
        (("PHOTOS", "--out", "PHOTOS/face1.jpg"), r"face1\.jpg\.run\.json"),
        (("PHOTOS", "--out", "PHOTOS"), r"--out \S+: .*regular file"),
        (("PHOTOS", "--out", "OUT.csv"), r"--out \S+out\.jsonl\.csv: .*\.jsonl"),
        (("PHOTOS", "--csv", "OUT"), r"--csv\b.*--out\b"),
        (("PHOTOS", "--out", "OUT", "--csv", "PHOTOS/notes.txt"), r"--csv \S+notes\.txt: .*table of faces"),
        (("-", "-", "--out", "OUT"), r" -: .*\bonce\b"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(analyze, photos, tmp_path, words, told):
    (tmp_path / "empty").mkdir()
    places = {"PHOTOS": photos, "OUT": tmp_path / "out.jsonl", "EMPTY": tmp_path / "empty"}
    before = {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()}
    for name, place in places.items():
        words = [word.replace(name, str(place)) for word in words]
    rc, _, err = analyze(*words)
    assert rc == 2
    assert re.search(told, err.splitlines()[-1])
    assert not list(tmp_path.glob("*out.jsonl*"))
    assert {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()} == before


def test_a_folder_without_photos_is_no_success(analyze, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "notes.txt").write_text("no photo")
    rc, out, err = analyze(tmp_path / "photos", "--out", tmp_path / "out.jsonl")
    assert (rc, out) == (1, "") and str(tmp_path / "photos") in err and "(1 other file)" in err
    assert not list(tmp_path.glob("*out.jsonl*"))


def test_without_opencv_the_remedy_is_a_command(analyze, photos, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cv2", None)
    (tmp_path / "yunet.onnx").write_bytes(b"never read")
    rc, _, err = analyze(photos, detector=tmp_path / "yunet.onnx")
    assert (rc, "pip install opencv-python-headless" in err, err.count("\n")) == (2, True, 1)


def test_a_detector_that_is_another_file_is_one_line_of_ours(analyze, photos):
    photo = photos / "face1.jpg"
    rc, _, err = analyze(photos, detector=photo)
    assert (rc, err.count("\n")) == (2, 1)
    assert f"--detector {photo}: " in err and "face_detection_yunet_2023mar.onnx" in err and "'none'" in err
    assert ".cpp" not in err


def test_the_packaged_detector_is_taken_where_none_is_named(tiny_model, capsys, tmp_path):
    Image.new("RGB", (200, 200), "gray").save(tmp_path / "wall.png")
    words = [str(tiny_model), str(tmp_path / "wall.png"), "--tasks", "--out", str(tmp_path / "faces.jsonl")]
    assert main(["analyze", *words, "--device", "cpu"]) == 0
    assert "1 photo, 0 faces" in capsys.readouterr().out
    settings = json.loads((tmp_path / "faces.jsonl.run.json").read_text())["settings"]
    assert settings["detector"] == "yunet_s_640_640.onnx@8f2383e4dd3cfbb4"


def test_yunet_that_cannot_be_fetched_is_one_line_with_the_ways_out(analyze, photos, monkeypatch, tmp_path):
    monkeypatch.setattr("modeling_facemllm.face_detection_facemllm.PACKAGED_YUNET", tmp_path / "no.onnx")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    rc, _, err = analyze(photos, detector="yunet")
    assert (rc, err.count("\n")) == (2, 1)
    assert "give the path of face_detection_yunet_2023mar.onnx" in err
    assert "--detector yunet: " in err and "give 'none'" in err
