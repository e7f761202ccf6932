"""300W-LP in miniature: its eight folders with pictures and .mat files, and what goes wrong in them."""

import math
import pickle

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from datasets_scripts.schema import (
    CorpusError,
    LabelledFace,
    Skipped,
    assistant_turn,
    make_record,
    user_turn,
    validate_record,
)
from datasets_scripts.sources.w300_lp import FOLDERS, W300LP
from tests.refusals import refuses

POINTS = np.stack([np.linspace(150, 300, 68), np.linspace(120, 330, 68)[::-1]])


def write_face(root, name, degrees=(10.0, -20.0, 5.0), points=POINTS, **arrays):
    """`NAME.jpg` and `NAME.mat` with pitch, yaw and roll in degrees, as the files have them in radians."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (45, 45), (120, 90, 80)).save(root / f"{name}.jpg")
    pose = np.array([[*map(math.radians, degrees), 225.0, 225.0, -70.0, 0.001]])
    content = {"Pose_Para": pose, "pt2d": points, "Exp_Para": np.zeros((29, 1)), **arrays}
    savemat(root / f"{name}.mat", {name: value for name, value in content.items() if value is not None})


@pytest.fixture
def root(tmp_path):
    for folder in FOLDERS:
        write_face(tmp_path, f"{folder}/{folder.removesuffix('_Flip')}_134212_1_0")
    write_face(tmp_path, "Code/Mex/demo")  # the distributed code and landmarks have .mat files too
    (tmp_path / "landmarks/AFW").mkdir(parents=True)
    savemat(tmp_path / "landmarks/AFW/AFW_134212_1_0_pts.mat", {"pts_2d": POINTS.T, "pts_3d": POINTS.T})
    return tmp_path


def test_a_picture_becomes_a_face_with_its_angles_in_degrees(root):
    face = next(W300LP(str(root), "train").faces())
    assert isinstance(face, LabelledFace)
    assert face.labels == pytest.approx({"yaw": -20, "pitch": 10, "roll": 5})
    assert (face.id, face.url, face.split) == ("300w_lp/AFW/AFW_134212_1_0", "AFW/AFW_134212_1_0.jpg", "train")
    assert face.image == {"bytes": (root / face.url).read_bytes(), "path": "AFW_134212_1_0.jpg"}


def test_the_landmarks_and_the_box_around_them_are_those_of_the_file(root):
    face = next(W300LP(str(root), "train").faces())
    assert np.allclose(face.landmarks, POINTS.T)
    assert face.box == [150, 120, 300, 330]


def test_a_face_makes_a_sound_record(root):
    face = next(W300LP(str(root), "train").faces())
    turns = [user_turn("Where does the head point?", image=True), assistant_turn("Right.")]
    parts = {
        name: getattr(face, name) for name in ("id", "image", "labels", "split", "source", "license", "url", "box")
    }
    record = make_record(messages=turns, task="head_pose", landmarks=face.landmarks, **parts)
    validate_record(record)
    assert record["labels"]["yaw"] < 0


def test_the_eight_folders_are_read_and_no_others(root):
    names = [face.id for face in W300LP(str(root), "train").faces()]
    assert [name.split("/")[1] for name in names] == list(FOLDERS)
    mirrored = W300LP(str(root), "train", folders=("AFW", "AFW_Flip"))
    assert len(mirrored) == 2


def test_what_cannot_be_used_is_counted_by_its_reason(root):
    for number, degrees in enumerate([(0, 99.5, 0), (-100, 0, 0), (0, 98.5, 0)]):
        write_face(root, f"IBUG/turned_{number}", degrees)
    write_face(root, "IBUG/alone")
    (root / "IBUG/alone.mat").unlink()
    write_face(root, "IBUG/blank")
    (root / "IBUG/blank.jpg").unlink()
    write_face(root, "IBUG/cut")
    (root / "IBUG/cut.mat").write_bytes((root / "IBUG/cut.mat").read_bytes()[:300])
    write_face(root, "IBUG/grey")
    (root / "IBUG/grey.jpg").write_bytes(b"no picture")
    write_face(root, "IBUG/other", Pose_Para=None)
    write_face(root, "IBUG/strange", Pose_Para=np.full((1, 7), np.nan))
    read = W300LP(str(root), "train", folders=("IBUG",)).faces()
    assert {face.id.removeprefix("300w_lp/IBUG/"): getattr(face, "reason", None) for face in read} == {
        "IBUG_134212_1_0": None,
        "turned_0": "angle beyond ±99°",
        "turned_1": "angle beyond ±99°",
        "turned_2": None,
        "alone": "missing label file",
        "blank": "missing image",
        "cut": "unreadable label file",
        "grey": "unreadable image",
        "other": "malformed label file",
        "strange": "malformed label file",
    }


def test_points_that_were_not_seen_are_left_out_of_the_box(root):
    points = POINTS.copy()
    points[:, 3] = -1
    write_face(root, "IBUG/hidden", points=points)
    write_face(root, "IBUG/bare", points=None)
    faces = {face.id: face for face in W300LP(str(root), "train", folders=("IBUG",)).faces()}
    hidden, bare = faces["300w_lp/IBUG/hidden"], faces["300w_lp/IBUG/bare"]
    assert (hidden.landmarks, hidden.box) == (None, [150, 120, 300, 330])
    assert (bare.landmarks, bare.box) == (None, None)


def test_any_part_can_be_read_alone_in_another_process(root):
    reader = pickle.loads(pickle.dumps(W300LP(str(root), "train")))
    assert len(reader) == 8
    assert list(reader.faces(2, 5)) == list(reader.faces())[2:5]
    assert len(W300LP(str(root), "train", limit=3)) == len(list(W300LP(str(root), "train", limit=3).faces())) == 3


def test_what_the_faces_depend_on_changes_with_the_label_files(root):
    before = W300LP(str(root), "train").describe()
    assert W300LP(str(root), "train").describe() == before and str(root) not in str(before)
    write_face(root, "AFW/AFW_134212_1_1")
    assert W300LP(str(root), "train").describe() != before


@pytest.mark.parametrize(
    ("argument", "value", "remedy"),
    [
        ("split", "test", ["train"]),
        ("folders", ("AFW", "AFLW"), ["one or more", "AFW, AFW_Flip"]),
        ("folders", (), ["one or more", "AFW, AFW_Flip"]),
        ("limit", 0, ["1 or more", "leave it out"]),
    ],
)
def test_wrong_settings_are_refused(root, argument, value, remedy):
    with refuses(argument, value, *remedy):
        W300LP(str(root), **{"split": "train", argument: value})


def test_a_missing_folder_is_named(root, tmp_path_factory):
    (root / "HELEN/HELEN_134212_1_0.jpg").unlink()
    (root / "HELEN/HELEN_134212_1_0.mat").unlink()
    (root / "HELEN").rmdir()
    with pytest.raises(CorpusError, match=r"HELEN\b.*unpack .*300W-LP.*--folders"):
        W300LP(str(root), "train")
    with pytest.raises(CorpusError, match=r"empty.*\bAFW\b.*\bAFW_Flip\b.*folder of 300W-LP"):
        W300LP(str(tmp_path_factory.mktemp("empty")), "train")


def test_skipped_rows_have_ids_of_the_data_set(root):
    write_face(root, "IBUG/turned", (0, 150, 0))
    skipped = [face for face in W300LP(str(root), "train").faces() if isinstance(face, Skipped)]
    assert [face.id for face in skipped] == ["300w_lp/IBUG/turned"]
