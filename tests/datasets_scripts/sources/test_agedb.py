"""AgeDB: labels in the files' names, and names of people that are passed on nowhere."""

import pickle

import pytest
from PIL import Image

from datasets_scripts.schema import CorpusError, LabelledFace, Skipped
from datasets_scripts.sources.agedb import AgeDB

PEOPLE = ["MariaCallas", "GeneKelly", "CloseGlenn", "O'Hara", "UmaThurman", "JackLemmon", "LizaMinnelli", "AlPacino"]
NAMES = [f"{number}_{PEOPLE[number % 8]}{number // 16}_{20 + number}_{'fm'[number % 2]}.jpg" for number in range(64)]


def write(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (90, 120, 150)).save(root / name)
    return root


def read(root):
    """The faces of each split."""
    return {split: list(AgeDB(str(root), split).faces()) for split in AgeDB.SPLITS}


def everything(root):
    return [face for faces in read(root).values() for face in faces]


@pytest.mark.parametrize("folder", ["", "AgeDB/", "AgeDB/id_0000_MariaCallas/"])
def test_a_name_becomes_labels_and_tells_nobody_who_it_is(tmp_path, folder):
    (face,) = everything(write(tmp_path, f"{folder}0_MariaCallas_35_f.jpg"))
    assert isinstance(face, LabelledFace)
    assert face.labels == {"age": 35.0, "age_group": "30-39", "gender": "female"}
    assert face.id == "agedb/0" and face.url == "0_*_35_f.jpg"
    assert "Callas" not in repr(face) and face.image["path"] == "0.jpg"


@pytest.mark.parametrize("name", ["7_Mary_Ann_Smith_71_M.JPG", "7_O'Hara_71_m.jpg"])
def test_names_with_other_signs_are_read(tmp_path, name):
    (face,) = everything(write(tmp_path, name))
    assert face.labels == {"age": 71.0, "age_group": "more than 70", "gender": "male"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MariaCallas_35_f.jpg", "malformed name"),
        ("0_MariaCallas_f.jpg", "malformed name"),
        ("0_MariaCallas_35_x.jpg", "malformed name"),
        ("0_MariaCallas_350_f.jpg", "age out of range"),
        ("0_MariaCallas_0_f.jpg", "age out of range"),
    ],
)
def test_a_name_that_tells_no_labels_is_left_out_with_its_reason(tmp_path, name, reason):
    (skipped,) = everything(write(tmp_path, name))
    assert isinstance(skipped, Skipped) and skipped.reason == reason and "Callas" not in skipped.id


def test_nobody_is_in_two_splits(tmp_path):
    read_faces = read(write(tmp_path, *NAMES))
    numbers = {split: [int(face.id.removeprefix("agedb/")) for face in faces] for split, faces in read_faces.items()}
    people = {split: {(number % 8, number // 16) for number in found} for split, found in numbers.items()}
    assert sorted(number for found in numbers.values() for number in found) == list(range(64))
    assert not people["train"] & people["test"] and not people["train"] & people["validation"]
    assert len(people["train"]) > 16


def test_an_unreadable_picture_is_counted(tmp_path):
    (tmp_path / "0_MariaCallas_35_f.jpg").write_bytes(b"no picture")
    assert [face.reason for face in everything(tmp_path)] == ["unreadable image"]


def test_any_part_can_be_read_alone_and_elsewhere(tmp_path):
    reader = AgeDB(str(write(tmp_path, *NAMES)), "train")
    assert list(pickle.loads(pickle.dumps(reader)).faces(5, 9)) == list(reader.faces())[5:9]
    assert len(AgeDB(str(tmp_path), "train", limit=3)) == 3
    assert reader.describe()["labels"] != AgeDB(str(tmp_path), "test").describe()["labels"]


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"number_Name_age_gender\.jpg.*folder of AgeDB"):
        AgeDB(str(tmp_path), "train")
