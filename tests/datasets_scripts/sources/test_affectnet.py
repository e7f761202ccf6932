"""AffectNet in both layouts: CSV files, and one NumPy file per picture and label."""

import pickle

import numpy as np
import pytest
from PIL import Image

from datasets_scripts.schema import CorpusError, LabelledFace
from datasets_scripts.sources.affectnet import EXPRESSIONS, AffectNet
from tests.refusals import refuses

HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
POINTS = [[float(number), number + 0.5] for number in range(68)]
LANDMARKS = ";".join(f"{x};{y}" for x, y in POINTS)


def draw(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), (90, 120, 150)).save(path)


def write_csv(root, *labels, header=HEADER, name="training.csv"):
    """The layout of CSV files; `labels` are expression, valence and arousal of each row."""
    lines = [header] if header else []
    for number, (expression, valence, arousal) in enumerate(labels):
        draw(root / f"Manually_Annotated_Images/{number}/a{number}.jpg")
        lines.append(f"{number}/a{number}.jpg,2,3,10,12,{LANDMARKS},{expression},{valence},{arousal}")
    (root / "Manually_Annotated_file_lists").mkdir(exist_ok=True)
    (root / f"Manually_Annotated_file_lists/{name}").write_text("\r\n".join([*lines, ""]))
    return root


def write_arrays(root, *labels, folder="train_set"):
    """The layout of NumPy files, whose numbers are stored as text."""
    (root / folder / "annotations").mkdir(parents=True, exist_ok=True)
    for number, (expression, valence, arousal) in enumerate(labels):
        draw(root / f"{folder}/images/{number}.jpg")
        for name, value in (("exp", expression), ("val", valence), ("aro", arousal)):
            np.save(root / f"{folder}/annotations/{number}_{name}.npy", np.array(str(value)))
        np.save(root / f"{folder}/annotations/{number}_lnd.npy", np.array(POINTS).ravel())
    return root


def faces(root, split="train", **settings):
    return list(AffectNet(str(root), split, **settings).faces())


LAYOUTS = pytest.mark.parametrize("write", [write_csv, write_arrays])


@LAYOUTS
def test_the_numbers_are_eight_expressions_contempt_among_them(tmp_path, write):
    read = faces(write(tmp_path, *[(number, 0.5, -0.25) for number in range(8)]))
    assert [face.labels["expression"] for face in read] == list(EXPRESSIONS)
    assert EXPRESSIONS[7] == "contempt" and {"happiness", "sadness"} < set(EXPRESSIONS)
    assert all((face.labels["valence"], face.labels["arousal"]) == (0.5, -0.25) for face in read)


@LAYOUTS
def test_landmarks_are_68_points_of_the_picture(tmp_path, write):
    (face,) = faces(write(tmp_path, (1, 0.5, 0.5)))
    assert face.landmarks == POINTS


@LAYOUTS
def test_undefined_valence_and_arousal_are_left_out(tmp_path, write):
    (face,) = faces(write(tmp_path, (3, -2, -2)))
    assert face.labels == {"expression": "surprise"}


@LAYOUTS
def test_what_is_no_expression_is_left_out_with_its_reason(tmp_path, write):
    labels = [(8, -2, -2), (9, -2, -2), (10, -2, -2), (11, 0, 0), (1, 1.5, 0), ("?", 0, 0), ("nan", 0, 0)]
    reasons = [face.reason for face in faces(write(tmp_path, *labels))]
    assert reasons[:5] == [*["not an expression"] * 3, "undefined label", "valence or arousal out of range"]
    assert set(reasons[5:]) <= {"label that is no number", "no label of the expression"}


def test_a_row_of_a_csv_file_has_the_face_box(tmp_path):
    (face,) = faces(write_csv(tmp_path, (1, 0.5, 0.5)))
    assert face.id == "affectnet/0/a0" and face.url == "Manually_Annotated_Images/0/a0.jpg"
    assert face.box == [2, 3, 12, 15]
    assert face.image["bytes"] == (tmp_path / face.url).read_bytes()


def test_a_row_without_box_and_landmarks_is_still_a_face(tmp_path):
    path = write_csv(tmp_path, (1, 0.5, 0.5)) / "Manually_Annotated_file_lists/training.csv"
    path.write_text(path.read_text().replace(f"2,3,10,12,{LANDMARKS}", "NULL,NULL,NULL,NULL,NULL"))
    (face,) = faces(tmp_path)
    assert isinstance(face, LabelledFace) and face.box is None and face.landmarks is None


def test_a_validation_file_without_a_header_loses_no_row(tmp_path):
    write_csv(tmp_path, (1, 0.5, 0.5), (2, 0.5, 0.5), header=None, name="validation.csv")
    assert [face.labels["expression"] for face in faces(tmp_path, "validation")] == ["happiness", "sadness"]


def test_the_sets_of_numpy_files_are_the_splits(tmp_path):
    write_arrays(tmp_path, (1, 0, 0), (2, 0, 0))
    write_arrays(tmp_path, (3, 0, 0), folder="val_set")
    assert [face.id for face in faces(tmp_path)] == ["affectnet/train_set/0", "affectnet/train_set/1"]
    (face,) = faces(tmp_path, "validation")
    assert face.url == "val_set/images/0.jpg" and face.labels["expression"] == "surprise"


def test_pictures_and_numpy_files_without_each_other_are_counted(tmp_path):
    write_arrays(tmp_path, *[(1, 0, 0)] * 5)
    annotations = tmp_path / "train_set/annotations"
    (tmp_path / "train_set/images/0.jpg").unlink()
    (annotations / "1_exp.npy").unlink()
    (annotations / "2_exp.npy").write_bytes(b"damaged")
    (annotations / "3_lnd.npy").unlink()
    (annotations / "4_val.npy").unlink()
    *skipped, third, fourth = faces(tmp_path)
    expected = ["missing image", "no label of the expression", "no label of the expression"]
    assert [face.reason for face in skipped] == expected
    assert third.landmarks is None and third.labels["valence"] == 0
    assert "valence" not in fourth.labels and fourth.labels["arousal"] == 0


def test_landmarks_that_are_no_numbers_are_unknown(tmp_path):
    write_arrays(tmp_path, (1, 0, 0))
    np.save(tmp_path / "train_set/annotations/0_lnd.npy", np.array([0.0, np.nan, *range(134)]))
    [face] = faces(tmp_path)
    assert face.landmarks is None and face.labels["expression"] == "happiness"


def test_no_code_in_a_numpy_file_is_run(tmp_path):
    write_arrays(tmp_path, (1, 0, 0))
    np.save(tmp_path / "train_set/annotations/0_exp.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert [face.reason for face in faces(tmp_path)] == ["no label of the expression"]


@pytest.mark.parametrize("damage", [b"{'descr': (", b"[" * 100, bytes(9), b"'''", b"\xff"])
def test_a_damaged_header_is_counted(tmp_path, damage):
    path = write_arrays(tmp_path, (1, 0, 0)) / "train_set/annotations/0_exp.npy"
    content = path.read_bytes()
    path.write_bytes(content[:10] + damage + content[10 + len(damage) :])
    assert [face.reason for face in faces(tmp_path)] == ["no label of the expression"]


@LAYOUTS
def test_any_part_can_be_read_alone_and_elsewhere(tmp_path, write):
    reader = AffectNet(str(write(tmp_path, *[(number % 8, 0, 0) for number in range(12)])), "train")
    assert len(reader) == 12 and len(AffectNet(str(tmp_path), "train", limit=5)) == 5
    assert list(pickle.loads(pickle.dumps(reader)).faces(9, 12)) == list(reader.faces())[9:]


def test_a_picture_outside_the_folder_is_not_read(tmp_path):
    path = write_csv(tmp_path, (1, 0.5, 0.5)) / "Manually_Annotated_file_lists/training.csv"
    path.write_text(path.read_text().replace("0/a0.jpg", "../../secret.jpg"))
    assert [face.reason for face in faces(tmp_path)] == ["image outside the folder"]


def test_a_folder_of_neither_layout_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"Manually_Annotated_file_lists/training\.csv.* training\.csv.*AffectNet"):
        AffectNet(str(tmp_path), "train")
    (tmp_path / "train_set").mkdir()
    with pytest.raises(CorpusError, match=r"\bannotations\b.*folder of AffectNet"):
        AffectNet(str(tmp_path), "train")
    with refuses("split", "test", "train", "validation"):
        AffectNet(str(tmp_path), "test")
