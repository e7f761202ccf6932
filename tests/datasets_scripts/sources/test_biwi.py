"""BIWI in miniature: recordings with pictures, pose files and the colour camera's calibration."""

import numpy as np
import pytest
from PIL import Image

from datasets_scripts.schema import CorpusError, LabelledFace
from datasets_scripts.sources.biwi import BIWI, PEOPLE, TEST_PEOPLE, face_box, read_camera, read_pose
from datasets_scripts.sources.head_pose import HeadPose
from tests.datasets_scripts.sources.rotations import rotation_from_pose
from tests.refusals import refuses

# hpdb/01/frame_00501_pose.txt, from https://github.com/natanielruiz/deep-head-pose/issues/39
POSE = """0.45684 -0.404949 -0.792031
-0.103806 0.860022 -0.499587
0.883471 0.310449 0.350856

156.6 94.6106 893.541
"""
CAMERA = """517.679 0 320
0 517.679 240.5
0 0 1

0 0 0 0

0.999947 0.00432361 0.00929419
-0.00446314 0.999877 0.0150443
-0.009228 -0.0150851 0.999844

-24.0198 5.8896 -13.2308

640 480
"""


def pose_text(pose, centre=(0.0, 0.0, 900.0)):
    rows = [*rotation_from_pose(pose), (), centre]
    return "".join(" ".join(f"{number:.6g}" for number in row) + " \n" for row in rows)


def write_frame(database, recording, number, text=POSE):
    folder = database / recording
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48), (70, 80, 90)).save(folder / f"frame_{number:05d}_rgb.png")
    (folder / f"frame_{number:05d}_pose.txt").write_text(text)
    (folder / f"frame_{number:05d}_depth.bin").write_bytes(bytes(8))
    (folder / "rgb.cal").write_text(CAMERA)
    (database / f"{recording}.obj").write_text("v 0 0 0")


@pytest.fixture
def root(tmp_path):
    for recording in PEOPLE:
        for number in (3, 4):
            write_frame(tmp_path / "hpdb", recording, number)
    return tmp_path


def test_a_frame_becomes_a_face_with_the_angles_of_its_rotation(root):
    face = next(BIWI(str(root), "train").faces())
    assert isinstance(face, LabelledFace)
    assert (face.id, face.url, face.split) == ("biwi/01/frame_00003", "hpdb/01/frame_00003_rgb.png", "train")
    angles = {name: face.labels[name] for name in ("yaw", "pitch", "roll")}
    assert angles == pytest.approx({"yaw": -52.37571, "pitch": -54.919936, "roll": 41.554203}, abs=1e-4)
    assert face.image["bytes"] == (root / face.url).read_bytes()
    assert face.labels["gender"] == "female"


def test_the_folder_hpdb_itself_will_do(root):
    face = next(BIWI(str(root / "hpdb"), "train").faces())
    assert (face.id, face.url) == ("biwi/01/frame_00003", "01/frame_00003_rgb.png")


def test_nobody_is_in_two_splits(root):
    people = {split: {PEOPLE[face.id[5:7]] for face in BIWI(str(root), split).faces()} for split in ("train", "test")}
    assert people["test"] == set(TEST_PEOPLE) and not people["train"] & people["test"]
    assert len(people["train"] | people["test"]) == 20
    assert (len(BIWI(str(root), "train")), len(BIWI(str(root), "test"))) == (2 * 16, 2 * 8)


def test_all_recordings_can_be_the_test_set_of_models_trained_on_300w_lp(root):
    assert len(BIWI(str(root), "test", protocol="all_test")) == 2 * 24
    with refuses("split", "train", "all_test"):
        BIWI(str(root), "train", protocol="all_test")


def test_what_cannot_be_used_is_counted_by_its_reason(root):
    database = root / "hpdb"
    write_frame(database, "01", 5, POSE.replace("0.883471", "1.883471"))
    write_frame(database, "01", 6, "0.4 0.5\n")
    write_frame(database, "01", 7, POSE.replace("94.6106", "nine"))
    write_frame(database, "01", 8, pose_text(HeadPose(10, 100, 0)))
    write_frame(database, "01", 9)
    (database / "01/frame_00009_rgb.png").unlink()
    write_frame(database, "01", 10)
    (database / "01/frame_00010_pose.txt").unlink()
    write_frame(database, "01", 11)
    picture = database / "01/frame_00011_rgb.png"
    picture.write_bytes(picture.read_bytes()[:60])
    for file in (database / "03").iterdir():
        file.unlink()
    (database / "03").rmdir()
    reasons = [face.reason for face in BIWI(str(root), "train").faces() if not isinstance(face, LabelledFace)]
    malformed = ["malformed pose file"] * 3
    rest = ["angle beyond ±99°", "missing image", "missing pose file", "unreadable image", "missing recording"]
    assert reasons == [*malformed, *rest]


def test_the_poses_that_rotations_stand_for_are_read_back(root):
    pose = HeadPose(-35.5, 20.25, 7.125)
    write_frame(root / "hpdb", "01", 3, pose_text(pose))
    face = next(BIWI(str(root), "train").faces())
    assert [face.labels[name] for name in HeadPose._fields] == pytest.approx(pose, abs=1e-3)


def test_the_box_is_where_the_colour_camera_sees_the_head(root):
    (_, centre), camera = read_pose(POSE), read_camera(root / "hpdb/01/rgb.cal")
    x0, y0, x1, y1 = face_box(centre, *camera)
    place = np.array(camera[1]) @ centre + camera[2]
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx(
        (320 + 517.679 * place[0] / place[2], 240.5 + 517.679 * place[1] / place[2])
    )
    assert x1 - x0 == pytest.approx(517.679 * 240 / place[2])
    assert face_box((0, 0, -900), *camera) is None
    assert next(BIWI(str(root), "train").faces()).box == [x0, y0, x1, y1]


def test_without_calibration_there_is_no_box(root):
    (root / "hpdb/01/rgb.cal").unlink()
    (root / "hpdb/04/rgb.cal").write_text("517 0\n")
    boxes = {face.id[5:7]: face.box for face in BIWI(str(root), "train").faces()}
    assert [recording for recording, box in boxes.items() if box is None] == ["01", "04"]


def test_any_part_can_be_read_alone(root):
    reader = BIWI(str(root), "test")
    assert list(reader.faces(3, 9)) == list(reader.faces())[3:9]
    assert reader.describe() == BIWI(str(root), "test").describe()
    assert reader.describe() != BIWI(str(root), "test", protocol="all_test").describe()


def test_a_folder_of_something_else_is_refused(root, tmp_path_factory):
    with pytest.raises(CorpusError, match=r"empty.*\bhpdb\b.*\b01\b.*folder of BIWI"):
        BIWI(str(tmp_path_factory.mktemp("empty")), "train")
    with refuses("protocol", "half", "by_person", "all_test"):
        BIWI(str(root), "train", protocol="half")
    some = tmp_path_factory.mktemp("some")
    write_frame(some / "hpdb", "01", 3)
    with pytest.raises(CorpusError, match=r"some.*\btest\b.*02, 06"):
        BIWI(str(some), "test")
