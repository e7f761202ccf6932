"""FairFace as it is distributed: drawn stand-ins for its files, and the real ones where they are at hand."""

import csv
from pathlib import Path

import pytest
from PIL import Image

from datasets_scripts.schema import CorpusError, LabelledFace, Skipped
from datasets_scripts.sources.fairface import FairFace, read_age_group
from datasets_scripts.sources.reading import is_readable
from tests.refusals import refuses

REAL = Path(__file__).parents[4] / "shared" / "data" / "fairface"
needs_fairface = pytest.mark.skipif(not REAL.is_dir(), reason=f"FairFace's files are not at {REAL}")

ROWS = [
    ("val/1.jpg", "3-9", "Male", "East Asian", "False"),
    ("val/2.jpg", "more than 70", "Female", "Latino_Hispanic", "True"),
    ("val/3.jpg", "0-2", "Female", "White", "True"),
]


def write_folder(root, rows=ROWS, name="fairface_label_val.csv", encoding="utf-8", delimiter=","):
    """A folder of FairFace's layout with a small picture for every row."""
    (root / "val").mkdir(exist_ok=True)
    with open(root / name, "w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([("file", "age", "gender", "race", "service_test"), *rows])
    for number, row in enumerate(rows):
        Image.new("RGB", (24, 24), (80 * number % 256, 90, 100)).save(root / row[0])
    return root


def faces(root, **settings):
    return list(FairFace(str(root), "validation", **settings).faces())


def test_a_row_becomes_a_face_with_the_files_own_bytes(tmp_path):
    first, second, _ = faces(write_folder(tmp_path))
    assert isinstance(first, LabelledFace)
    assert first.image == {"bytes": (tmp_path / "val/1.jpg").read_bytes(), "path": "1.jpg"}
    assert (first.id, first.url, first.split) == ("fairface/val/1", "val/1.jpg", "validation")
    assert (first.source, first.license) == ("FairFace", "cc-by-4.0")
    assert second.labels == {"age_group": "more than 70", "gender": "female"}


def test_race_is_passed_on_only_when_asked_for(tmp_path):
    write_folder(tmp_path)
    assert all("race" not in face.labels for face in faces(tmp_path))
    assert [face.labels["race"] for face in faces(tmp_path, race=True)] == ["East Asian", "Latino_Hispanic", "White"]


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("03-Sep", "3-9"),
        ("3-Sep", "3-9"),
        ("9-Mar", "3-9"),
        ("Sep-03", "3-9"),
        ("2024-09-03", "3-9"),
        ("9/3/2024", "3-9"),
        ("3.9.2024", "3-9"),
        ("Oct-19", "10-19"),
        ("19-Oct", "10-19"),
        ("October 19", "10-19"),
        ("2019-10-01 00:00:00", "10-19"),
        ("10/19/2024", "10-19"),
        ("43739", "10-19"),
        (" 3 - 9 ", "3-9"),
        ("3–9", "3-9"),
        ("More than 70", "more than 70"),
        ("12-Mar", None),
        ("Okt-19", None),
        ("70", None),
        ("2003-09-01", None),
        ("99999", None),
        ("", None),
    ],
)
def test_age_groups_that_a_spreadsheet_took_for_dates_are_read(text, group):
    assert read_age_group(text) == group


@pytest.mark.parametrize(("encoding", "delimiter"), [("utf-8-sig", ","), ("utf-8", ";")])
def test_a_label_file_that_a_spreadsheet_saved_is_read(tmp_path, encoding, delimiter):
    damaged = [("val/1.jpg", "03-Sep", "Male", "White", "FALSE"), ("val/2.jpg", "Oct-19", "Female", "Black", "TRUE")]
    write_folder(tmp_path, damaged, "mine.csv", encoding, delimiter)
    read = faces(tmp_path, labels=str(tmp_path / "mine.csv"))
    assert [face.labels["age_group"] for face in read] == ["3-9", "10-19"]


def test_what_cannot_be_used_is_left_out_with_its_reason(tmp_path):
    write_folder(
        tmp_path, [*ROWS, ("val/4.jpg", "44-Feb", "Male", "White", ""), ("val/5.jpg", "0-2", "?", "White", "")]
    )
    (tmp_path / "val/1.jpg").unlink()
    (tmp_path / "val/2.jpg").write_bytes(b"no picture")
    whole = (tmp_path / "val/3.jpg").read_bytes()
    (tmp_path / "val/3.jpg").write_bytes(whole[: len(whole) // 2])
    reasons = ["missing image", "unreadable image", "unreadable image", "unknown age '44-Feb'", "unknown gender '?'"]
    assert [face.reason for face in faces(tmp_path)] == reasons


def test_a_file_outside_the_folder_is_not_read(tmp_path):
    (tmp_path / "fairface_label_val.csv").write_text("file,age,gender\n../secret.jpg,0-2,Male\n/etc/x.jpg,0-2,Male\n")
    assert [type(face) for face in faces(tmp_path)] == [Skipped, Skipped]


def test_trailing_bytes_do_not_make_a_jpeg_unreadable(tmp_path):
    write_folder(tmp_path)
    assert is_readable((tmp_path / "val/1.jpg").read_bytes() + b"\0\0")


def test_any_part_can_be_read_alone(tmp_path):
    reader = FairFace(str(write_folder(tmp_path)), "validation")
    assert len(reader) == 3
    assert list(reader.faces(1, 3)) == list(reader.faces())[1:]
    assert len(FairFace(str(tmp_path), "validation", limit=2)) == 2


@pytest.mark.parametrize(
    ("argument", "value", "remedy"),
    [("split", "test", ["train", "validation"]), ("limit", 0, ["1 or more", "leave it out"])],
)
def test_wrong_settings_are_refused(tmp_path, argument, value, remedy):
    with refuses(argument, value, *remedy):
        FairFace(str(write_folder(tmp_path)), **{"split": "validation", argument: value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "train"}, r"fairface_label_train\.csv.*folder of FairFace.*--labels"),
        ({"split": "validation", "labels": "nowhere.csv"}, r"nowhere\.csv.*folder of FairFace.*--labels"),
    ],
)
def test_a_missing_label_file_is_named(tmp_path, settings, message):
    with pytest.raises(CorpusError, match=message):
        FairFace(str(write_folder(tmp_path)), **settings)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name,age,gender\n", r"\bfile\b.*name, age, gender"),
        (b"", r"\bfile\b.*nothing"),
        (b"file,age,gender\nval/1.jpg,\xff\xfe,Male\n", "UTF-8.*save it"),
    ],
)
def test_a_file_that_is_no_label_file_is_refused(tmp_path, content, message):
    (tmp_path / "fairface_label_val.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        faces(tmp_path)


@needs_fairface
def test_the_real_files_are_read():
    read = list(FairFace(str(REAL), "train", limit=50).faces())
    assert all(isinstance(face, LabelledFace) for face in read)
    assert read[0].labels == {"age_group": "20-29", "gender": "male"}


@needs_fairface
def test_the_real_spreadsheet_file_gives_the_labels_of_the_undamaged_one():
    right = {face.id: face.labels for face in FairFace(str(REAL), "validation", limit=60).faces()}
    damaged = FairFace(str(REAL), "validation", labels=str(REAL / "fairface_label_val.excel.csv"))
    read = {face.id: face.labels for face in damaged.faces() if isinstance(face, LabelledFace)}
    assert len(read) > 20 and {"3-9", "10-19"} & {labels["age_group"] for labels in read.values()}
    assert all(right.get(name, labels) == labels for name, labels in read.items())
    assert {face.reason for face in damaged.faces() if isinstance(face, Skipped)} <= {"missing image"}
