"""Measured labels: what a change to a photograph does to them, and the corpora that have them."""

import csv
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from datasets_scripts.build import build_corpus
from datasets_scripts.questions.captions import caption_turns
from datasets_scripts.questions.conversations import Conventions
from datasets_scripts.schema import CorpusError
from datasets_scripts.sources.fairface import FairFace
from datasets_scripts.sources.measured import UNMEASURED, MeasuredPhotos, MeasuredToo, the_face
from datasets_scripts.sources.measuring import HEAD, head_angles, measure_face, sure_roll, sure_yaw, with_measured
from facemllm.cli import main
from modeling_facemllm.face_detection_facemllm import Face, FaceDetector
from tests.refusals import refuses

DATA = Path(__file__).parents[4] / "shared" / "data"
FAIRFACE, YUNET = DATA / "fairface", DATA / "yunet" / "yunet_n_640_640.onnx"
missing = find_spec("cv2") is None or not (YUNET.is_file() and FAIRFACE.is_dir())
needs_faces = pytest.mark.skipif(missing, reason=f"OpenCV, or YuNet and FairFace at {DATA}, are not there")


@pytest.fixture(scope="module")
def faces():
    """Sixty photographs with their landmarks, and a detector."""
    detector = FaceDetector(YUNET, min_score=0.8)
    found = []
    for number in sorted(int(path.stem) for path in (FAIRFACE / "val").glob("*.jpg"))[:70]:
        picture = Image.open(FAIRFACE / f"val/{number}.jpg").convert("RGB")
        seen = detector.detect(picture)
        found += [(picture, seen[0].landmarks)] if len(seen) == 1 else []
    return found[:60], detector


def changed(faces, change):
    """The labels of each photograph before and after a change that leaves one face to be found."""
    photos, detector = faces
    for picture, landmarks in photos:
        other = change(picture)
        seen = detector.detect(other)
        if len(seen) == 1:
            yield measure_face(picture, landmarks), measure_face(other, seen[0].landmarks)


def landmarks_of(yaw=0.0, pitch=0.0, roll=0.0):
    """The five landmarks of the average head in this pose, by the definition in `head_pose.py`."""
    a, b, c = np.radians([-pitch, yaw, roll])
    x = [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]
    y = [[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]
    z = [[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]
    return 10 * (np.array(HEAD) @ (np.array(x) @ y @ z).T)[:, :2] + 100


@pytest.mark.parametrize("pose", [(0, 0, 0), (30, 0, 0), (-50, 10, 5), (10, -20, 15), (0, 15, -30), (80, 0, 0)])
def test_the_average_heads_angles_are_found_in_the_common_convention(pose):
    yaw, pitch, roll = pose
    assert head_angles(landmarks_of(yaw, pitch, roll)) == pytest.approx((yaw, roll), abs=0.5)


def test_angles_near_the_edge_of_a_bin_are_unknown():
    assert [sure_yaw(yaw) for yaw in (0, 10, 13, -17, 30, 45, -60)] == [0, 10, None, None, 30, None, -60]
    assert [sure_roll(roll, 0, roll) for roll in (5, 10, 20)] == [5, None, 20]
    assert sure_roll(20, 45, 20) is None and sure_roll(20, 0, 5) is None


def test_a_face_of_a_few_pixels_has_no_angle():
    assert set(measure_face(Image.new("RGB", (64, 64), "red"), landmarks_of() / 10)) == {"attributes"}


@needs_faces
def test_a_mirrored_photo_has_the_opposite_yaw_and_light(faces):
    pairs = list(changed(faces, lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    yaws = [(one["yaw"], other["yaw"]) for one, other in pairs if "yaw" in one and "yaw" in other]
    assert len(yaws) > 30 and np.corrcoef(*zip(*yaws, strict=True))[0, 1] < -0.95
    lights = [[labels["attributes"].get("light_direction") for labels in pair] for pair in pairs]
    sided = [tuple(pair) for pair in lights if None not in pair and "even" not in pair]
    assert len(sided) > 3 and set(sided) <= {("from the left", "from the right"), ("from the right", "from the left")}


@needs_faces
def test_a_photo_turned_clockwise_by_15_degrees_has_15_degrees_more_roll(faces):
    photos, detector = faces
    more = []
    for picture, landmarks in photos:
        seen = detector.detect(picture.rotate(-15, Image.Resampling.BICUBIC))
        if len(seen) == 1 and abs(head_angles(landmarks)[0]) < 15:
            more.append(head_angles(seen[0].landmarks)[1] - head_angles(landmarks)[1])
    assert len(more) > 10 and np.median(more) == pytest.approx(15, abs=3)


@needs_faces
@pytest.mark.parametrize(
    ("change", "name", "value"),
    [
        (lambda picture: picture.convert("L").convert("RGB"), "picture_colors", "black and white"),
        (lambda picture: picture.filter(ImageFilter.GaussianBlur(7)), "picture_sharpness", "blurred"),
        (lambda picture: picture.point(lambda level: level // 6), "picture_exposure", "dark"),
        (lambda picture: picture.point(lambda level: min(255, 4 * level)), "picture_exposure", "overexposed"),
    ],
)
def test_a_changed_photo_is_said_to_be_so(faces, change, name, value):
    pairs = list(changed(faces, change))
    before, after = ([pair[side]["attributes"].get(name) for pair in pairs] for side in (0, 1))
    assert len(pairs) > 20 and before.count(value) <= 0.15 * len(before) and after.count(value) >= 0.6 * len(after)


@needs_faces
def test_a_smaller_copy_is_never_called_the_opposite(faces):
    opposite = [{"sharp", "blurred"}, {"dark", "balanced"}, {"color", "black and white"}]
    opposite += [{"from the left", "from the right"}]
    pairs = list(changed(faces, lambda picture: picture.resize((128, 128), Image.Resampling.LANCZOS)))
    for one, other in pairs:
        for name, value in one["attributes"].items():
            assert {value, other["attributes"].get(name)} not in opposite
    sharp = [pair for pair in pairs if pair[0]["attributes"].get("picture_sharpness") == "sharp"]
    same = [other for _, other in sharp if other["attributes"].get("picture_sharpness") == "sharp"]
    assert len(same) > 0.8 * len(sharp)


def test_a_persons_label_stays():
    measured = {"yaw": 3.0, "attributes": {"picture_colors": "color", "picture_exposure": "dark"}}
    labels = {"yaw": 20.0, "age_group": "3-9", "attributes": {"picture_exposure": "balanced"}}
    attributes = {"picture_colors": "color", "picture_exposure": "balanced"}
    assert with_measured(labels, measured) == {"yaw": 20.0, "age_group": "3-9", "attributes": attributes}


def test_a_caption_says_what_was_measured():
    import random

    attributes = {"picture_colors": "black and white", "picture_exposure": "dark", "light_direction": "from the left"}
    labels = {"gender": "female", "yaw": 30.0, "attributes": attributes}
    captions = {caption_turns(labels, random.Random(seed))[1] for seed in range(40)}
    assert all("turned to the left" in caption and "from the left." in caption for caption in captions)
    assert all("in black and white" in caption and "dark" in caption for caption in captions)
    plain = {"gender": "female", "attributes": {"picture_colors": "color", "picture_exposure": "balanced"}}
    assert not any("picture is" in caption_turns(plain, random.Random(seed))[1] for seed in range(40))


def test_a_caption_of_measured_labels_alone_begins_with_a_person():
    import random

    labels = {"yaw": 30.0, "roll": 20.0, "attributes": {"picture_exposure": "dark"}}
    told = {caption_turns(labels, random.Random(seed), Conventions(all_measured=True))[1] for seed in range(60)}
    assert "A photo of a person with the head turned to the left and tilted to the right. The picture is dark." in told
    assert all("a person with the head turned" in caption.lower() for caption in told)


def test_the_labelled_face_is_the_one_in_the_box_or_the_largest_by_far():
    large, small, middle = (Face((x, 0, x + side, side), None, 0.9) for x, side in ((0, 100), (150, 30), (200, 90)))
    assert the_face([small, large]) is large
    assert the_face([middle, large]) is None and the_face([]) is None
    assert the_face([large, middle], (190, 0, 300, 100)) is middle


@needs_faces
def test_a_folder_of_photographs_is_a_corpus(tmp_path, capsys):
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    numbers = ("2", "3", "5")
    pictures = [Image.open(FAIRFACE / f"val/{number}.jpg") for number in numbers]
    for number in numbers:
        (tmp_path / f"photos/deep/{number}.jpg").write_bytes((FAIRFACE / f"val/{number}.jpg").read_bytes())
    Image.new("RGB", (64, 64)).save(tmp_path / "photos" / "empty.png")
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no picture")
    two = Image.new("RGB", (448, 224))
    two.paste(pictures[0], (0, 0))
    two.paste(pictures[1], (224, 0))
    two.save(tmp_path / "photos" / "two.png")
    words = ["--detector", str(YUNET), "--license", "cc-by-4.0", "--out", str(tmp_path / "out"), "--json"]
    assert main(["data", "measured", str(tmp_path / "photos"), "--config", "vqa", "face_tasks", *words]) == 0
    found = json.loads(capsys.readouterr().out)["configs"]["vqa"]["train"]
    assert found["rows"] == 3 and found["skipped"] == {"no face": 1, "several faces": 1, "unreadable image": 1}
    card = (tmp_path / "out" / "README.md").read_text()
    assert "license: cc-by-4.0" in card and "--detector YUNET.onnx --license cc-by-4.0" in card
    assert "no person labelled them" in card and "annotators" not in card
    assert card.count("face_detection_yunet") == 1 and "landmarks that [YuNet](https://github.com/" in card
    assert str(DATA) not in card + (tmp_path / "out" / "corpus.json").read_text()
    face = next(face for face in MeasuredPhotos(str(tmp_path / "photos"), "train", None, str(YUNET)).faces(2, 3))
    assert (face.id, face.image["path"], face.license) == ("measured/deep/3.jpg", "3.jpg", "unknown")
    assert len(face.box) == 4 and len(face.landmarks) == 5


@needs_faces
def test_a_dataset_gets_measured_labels_beside_its_own(tmp_path, capsys):
    root = tmp_path / "FairFace"
    (root / "val").mkdir(parents=True)
    rows = list(csv.reader((FAIRFACE / "fairface_label_val.csv").read_text().splitlines()[:13]))
    with open(root / "fairface_label_val.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    for name, *_ in rows[1:]:
        (root / name).write_bytes((FAIRFACE / name).read_bytes())
    Image.new("RGB", (64, 64)).save(root / rows[1][0])  # nobody
    words = ["--split", "validation", "--config", "face_tasks", "--measure", str(YUNET), "--out"]
    assert main(["data", "fairface", str(root), *words, str(tmp_path / "out")]) == 0
    assert f"{UNMEASURED}: 1\n" in capsys.readouterr().out
    assert f"{UNMEASURED}: 1\n" in (tmp_path / "out" / "README.md").read_text()
    counted = json.loads((tmp_path / "out" / "corpus.json").read_text())["configs"]["face_tasks"]["validation"]
    assert counted["rows"] == 12 and counted["remarks"] == {UNMEASURED: 1}
    labels = set(json.loads((tmp_path / "out" / "corpus.json").read_text())["labels"])
    assert {"age_group", "gender", "yaw", "roll", "attributes"} <= labels
    assert "--measure YUNET.onnx" in (tmp_path / "out" / "README.md").read_text()
    both = MeasuredToo(FairFace(str(root), "validation"), str(YUNET))
    assert [face.id for face in both.faces(3, 6)] == [
        face.id for face in FairFace(str(root), "validation").faces(3, 6)
    ]


def test_a_missing_detector_is_named(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(CorpusError, match=r"nowhere\.onnx"):
        MeasuredPhotos(str(tmp_path), "train", None, "nowhere.onnx")
    with pytest.raises(CorpusError, match=r"nowhere\.onnx"):
        build_corpus("celeba", tmp_path, tmp_path / "out", measure="nowhere.onnx")


def test_a_licence_is_a_name_of_the_hubs(tmp_path):
    with refuses("license", "All rights: mine", "cc-by-4.0"):
        MeasuredPhotos(str(tmp_path), "train", None, "yunet.onnx", "All rights: mine")
