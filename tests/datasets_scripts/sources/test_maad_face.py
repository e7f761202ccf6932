"""MAAD-Face on VGGFace2's folders: undefined values, millions of rows, two splits by identity."""

import itertools
import pickle
import tracemalloc

import pytest
from PIL import Image

from datasets_scripts.schema import CorpusError, LabelledFace
from datasets_scripts.sources.maad_face import ATTRIBUTES, MAADFace

ROWS = ["n000002/0001_01.jpg", "n000001/0002_01.jpg", "n000002/0003_02.jpg", "n000009/0001_01.jpg"]
TESTED = ("n000001", "n000009")


def line(file, marks, others="-1"):
    person = str(int(file[1:7]))
    return ",".join([file, person, *(str(marks.get(name, others)) for name in ATTRIBUTES)])


def write(root, marks=({},) * 4, others="-1", base="", ending="\n"):
    """MAAD-Face's file in VGGFace2's folder, with a picture for every row."""
    lines = [",".join(("Filename", "Identity", *ATTRIBUTES))]
    lines += [line(file, marked, others) for file, marked in zip(ROWS, marks, strict=True)]
    (root / "MAAD_Face.csv").write_bytes(ending.join([*lines, ""]).encode())
    for file in ROWS:
        place = root / base / ("test" if file.startswith(TESTED) else "train") / file
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (90, 120, 150)).save(place)
    return root


def faces(root, split="train", **settings):
    return list(MAADFace(str(root), split, **settings).faces())


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_row_becomes_a_face_without_what_is_undefined(tmp_path, ending):
    marks = ({"Male": 1, "Smiling": 1, "Bald": 0, "Eyeglasses": -1}, {}, {"Male": 0}, {})
    first, second = faces(write(tmp_path, marks, others="0", ending=ending))
    assert isinstance(first, LabelledFace)
    assert first.id == "maad_face/n000002/0001_01" and first.url == "train/n000002/0001_01.jpg"
    assert first.labels == {"gender": "male", "attributes": {"smiling": "yes", "eyeglasses": "no"}}
    assert second.labels == {"attributes": {}}


def test_the_attributes_are_47_less_gender_and_race(tmp_path):
    first, _ = faces(write(tmp_path))
    assert len(first.labels["attributes"]) == 43 and first.labels["gender"] == "female"
    assert not {"male", "asian", "white", "black"} & set(first.labels["attributes"])


@pytest.mark.parametrize(
    ("marks", "race"),
    [
        ({"White": 1}, "White"),
        ({"Black": 1}, "Black"),
        ({"Asian": 1}, None),
        ({"White": 1, "Black": 1}, None),
        ({}, None),
    ],
)
def test_race_is_passed_on_only_when_asked_for_and_clear(tmp_path, marks, race):
    write(tmp_path, (marks, {}, {}, {}))
    assert "race" not in faces(tmp_path)[0].labels
    assert faces(tmp_path, race=True)[0].labels["race"] == race


@pytest.mark.parametrize("base", ["", "data"])
def test_vggface2s_folders_are_the_splits(tmp_path, base):
    write(tmp_path, base=base)
    ids = {split: [face.id for face in faces(tmp_path, split)] for split in MAADFace.SPLITS}
    assert ids["train"] == ["maad_face/n000002/0001_01", "maad_face/n000002/0003_02"]
    assert ids["test"] == ["maad_face/n000001/0002_01", "maad_face/n000009/0001_01"]


def test_what_cannot_be_used_is_left_out_with_its_reason(tmp_path):
    write(tmp_path)
    with open(tmp_path / "MAAD_Face.csv", "a") as file:
        file.write(line("n000777/0001_01.jpg", {}) + "\n")
        file.write(line("n000002/0005_01.jpg", {"Bald": 2}) + "\n")
        file.write("n000002/0006_01.jpg,2,1,1\n")
        file.write(line("n000002/../../../secret.jpg", {}) + "\n\n")
    (tmp_path / "train/n000002/0001_01.jpg").unlink()
    (tmp_path / "train/n000002/0003_02.jpg").write_bytes(b"")
    assert [face.reason for face in faces(tmp_path)] == [
        "missing image",
        "unreadable image",
        "no folder of this identity",
        "values other than 1, 0 and -1",
        "too few or too many columns",
        "image outside the folder",
    ]


def test_every_row_is_in_one_split(tmp_path):
    write(tmp_path)
    assert sum(len(MAADFace(str(tmp_path), split)) for split in MAADFace.SPLITS) == len(ROWS)


def test_any_part_can_be_read_alone_and_elsewhere(tmp_path):
    reader = MAADFace(str(write(tmp_path)), "train")
    assert len(reader) == 2 and len(MAADFace(str(tmp_path), "train", limit=1)) == 1
    assert list(pickle.loads(pickle.dumps(reader)).faces(1, 2)) == list(reader.faces())[1:]


def test_a_long_file_is_read_without_being_held(tmp_path):
    write(tmp_path)
    many = "".join(line(f"n000002/{number:04}_01.jpg", {}) + "\n" for number in range(10_000))
    with open(tmp_path / "MAAD_Face.csv", "a") as file:
        file.write(many)
    reader = MAADFace(str(tmp_path), "train")
    tracemalloc.start()
    assert len(reader) == 10_002
    assert len(list(itertools.islice(reader.faces(9_000), 5))) == 5
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500_000 < len(many)


def test_a_file_without_the_columns_is_refused_by_what_it_lacks(tmp_path):
    path = write(tmp_path) / "MAAD_Face.csv"
    path.write_text(path.read_text().replace("Goatee,", ""))
    with pytest.raises(CorpusError, match=r"MAAD_Face\.csv.*\bGoatee\b"):
        MAADFace(str(tmp_path), "train")


@pytest.mark.parametrize("missing", ["MAAD_Face.csv", "train", "test"])
def test_a_folder_without_the_layout_is_refused_by_what_it_lacks(tmp_path, missing):
    (write(tmp_path) / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(CorpusError, match=f"{missing}.*folder of MAAD-Face"):
        MAADFace(str(tmp_path), "train")
