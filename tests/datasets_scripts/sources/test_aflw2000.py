"""AFLW2000-3D in miniature: one folder, landmarks of two kinds."""

import math

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from datasets_scripts.schema import CorpusError
from datasets_scripts.sources.aflw2000 import AFLW2000
from tests.refusals import refuses

POINTS = np.stack([np.linspace(100, 300, 68), np.linspace(50, 350, 68), np.linspace(-60, 60, 68)])
SEEN = np.where(np.arange(21) % 4 == 0, -1.0, 200.0) + np.zeros((2, 1))  # AFLW's own points, some not seen


def write_face(root, number, degrees=(12.0, 34.0, -56.0), points=POINTS):
    Image.new("RGB", (45, 45), (90, 100, 110)).save(root / f"image{number:05d}.jpg")
    arrays = {"Pose_Para": np.array([[*map(math.radians, degrees), 200.0, 200.0, -40.0, 0.001]]), "pt2d": SEEN}
    savemat(root / f"image{number:05d}.mat", arrays if points is None else {**arrays, "pt3d_68": points})


@pytest.fixture
def root(tmp_path):
    write_face(tmp_path, 2)
    write_face(tmp_path, 4, (0, 110, 0))
    write_face(tmp_path, 6)
    (tmp_path / "Code").mkdir()
    savemat(tmp_path / "Code/Model_Exp.mat", {"mu_exp": np.zeros((3, 1))})
    return tmp_path


def test_all_pictures_are_the_split_test(root):
    first, turned, last = AFLW2000(str(root), "test").faces()
    assert (first.id, first.url, first.split) == ("aflw2000/image00002", "image00002.jpg", "test")
    assert first.labels == pytest.approx({"yaw": 34, "pitch": 12, "roll": -56})
    assert turned.reason == "angle beyond ±99°"
    assert last.id == "aflw2000/image00006"


def test_the_68_landmarks_are_read_without_their_depth(root):
    face = next(AFLW2000(str(root), "test").faces())
    assert np.allclose(face.landmarks, POINTS[:2].T)
    assert face.box == [100, 50, 300, 350]


def test_aflws_own_points_have_gaps_and_make_no_landmarks(root):
    write_face(root, 2, points=None)
    face = next(AFLW2000(str(root), "test").faces())
    assert face.landmarks is None and face.box is None  # all that were seen lie in one place here


def test_a_folder_without_labels_is_refused(root, tmp_path_factory):
    with pytest.raises(CorpusError, match=r"empty.*image\*\.mat.*folder of AFLW2000"):
        AFLW2000(str(tmp_path_factory.mktemp("empty")), "test")
    with refuses("split", "train", "test"):
        AFLW2000(str(root), "train")
    with pytest.raises(CorpusError, match=r"nowhere.*folder of AFLW2000"):
        AFLW2000(str(root / "nowhere"), "test")


@pytest.mark.parametrize("value", [1e308, -1e308, math.inf, math.nan])
def test_numbers_beyond_single_precision_are_no_angles_and_no_landmarks(root, value):
    write_face(root, 1, degrees=(value, 0.0, 0.0))
    write_face(root, 2, points=np.full((3, 68), value))
    found = {path.id: path for path in AFLW2000(str(root), "test").faces()}
    assert found["aflw2000/image00001"].reason == "malformed label file"
    assert found["aflw2000/image00002"].landmarks is None and found["aflw2000/image00002"].box is None
