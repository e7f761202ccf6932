"""RAF-DB: its misspelt list, aligned and original pictures, and the boxes of the latter."""

import pytest
from PIL import Image

from datasets_scripts.schema import CorpusError, LabelledFace
from datasets_scripts.sources.raf_db import RAFDB
from tests.refusals import refuses

ROWS = [f"train_{number:05} {number}" for number in range(1, 8)] + ["test_0001 5", "test_0002 7"]


def write(root, rows=ROWS, base="", ending="\n"):
    """RAF-DB's folder, with a picture of both kinds for every row."""
    place = root / base
    for folder in ("EmoLabel", "Image/aligned", "Image/original", "Annotation/boundingbox"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    lines = [row.replace(" ", ".jpg ") for row in rows]
    (place / "EmoLabel/list_patition_label.txt").write_bytes(ending.join([*lines, ""]).encode())
    for row in rows:
        name = row.split()[0]
        Image.new("RGB", (10, 10), (90, 120, 150)).save(place / f"Image/aligned/{name}_aligned.jpg")
        Image.new("RGB", (40, 30), (90, 120, 150)).save(place / f"Image/original/{name}.jpg")
    return root


def faces(root, split="train", **settings):
    return list(RAFDB(str(root), split, **settings).faces())


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_the_numbers_are_seven_expressions(tmp_path, ending):
    read = faces(write(tmp_path, ending=ending))
    expected = ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"]
    assert [face.labels for face in read] == [{"expression": name} for name in expected]
    assert read[0].id == "raf_db/train_00001" and read[0].url == "Image/aligned/train_00001_aligned.jpg"


def test_the_split_is_in_the_names(tmp_path):
    read = faces(write(tmp_path), "test")
    assert [(face.id, face.split) for face in read] == [("raf_db/test_0001", "test"), ("raf_db/test_0002", "test")]


def test_original_pictures_come_with_their_box(tmp_path):
    write(tmp_path)
    (tmp_path / "Annotation/boundingbox/train_00001_boundingbox.txt").write_text("3.5 4 20 25.5 \n")
    (tmp_path / "Annotation/boundingbox/train_00002_boundingbox.txt").write_text("30 4 20 25\n")
    first, second, third, *_ = faces(tmp_path, aligned=False)
    assert first.url == "Image/original/train_00001.jpg" and first.box == [3.5, 4.0, 20.0, 25.5]
    assert second.box is None and third.box is None
    assert first.image["bytes"] == (tmp_path / first.url).read_bytes()
    assert all(face.box is None for face in faces(tmp_path))


def test_the_folder_basic_is_found(tmp_path):
    assert faces(write(tmp_path, base="basic"))[0].url == "basic/Image/aligned/train_00001_aligned.jpg"


def test_what_cannot_be_used_is_left_out_with_its_reason(tmp_path):
    write(tmp_path, ["train_00001 8", "train_00002 1", "train_00003 1"])
    with open(tmp_path / "EmoLabel/list_patition_label.txt", "a") as file:
        file.write("train_00004.jpg\n\n../train_1.jpg 1\nnonsense 1\n")
    (tmp_path / "Image/aligned/train_00002_aligned.jpg").unlink()
    (tmp_path / "Image/aligned/train_00003_aligned.jpg").write_bytes(b"")
    found = faces(tmp_path)
    assert not any(isinstance(face, LabelledFace) for face in found)
    reasons = ["undefined label '8'", "missing image", "unreadable image", *["malformed name"] * 3]
    assert [face.reason for face in found] == reasons


def test_any_part_can_be_read_alone(tmp_path):
    reader = RAFDB(str(write(tmp_path)), "train")
    assert len(reader) == 7 and list(reader.faces(2, 4)) == list(reader.faces())[2:4]
    assert len(RAFDB(str(tmp_path), "train", limit=4)) == 4


def test_aligned_and_original_are_different_builds(tmp_path):
    write(tmp_path)
    assert RAFDB(str(tmp_path), "train").describe() != RAFDB(str(tmp_path), "train", aligned=False).describe()


def test_a_folder_without_the_layout_is_refused_by_what_it_lacks(tmp_path):
    with pytest.raises(CorpusError, match=r"EmoLabel/list_patition_label\.txt.*folder of RAF-DB"):
        faces(tmp_path)
    (write(tmp_path) / "Image/aligned").rename(tmp_path / "elsewhere")
    with pytest.raises(CorpusError, match=r"Image/aligned.*folder of RAF-DB"):
        faces(tmp_path)
    with refuses("split", "validation", "train", "test"):
        faces(tmp_path, "validation")
