"""pipeline("face-analysis") on photographs, found with YuNet: several faces in a picture, turned, tiny, none."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from modeling_facemllm import FaceAnalysisPipeline
from modeling_facemllm.face_detection_facemllm import FaceDetector, crop
from modeling_facemllm.face_finding_facemllm import FaceChoice

DATA = Path(__file__).parents[3] / "shared" / "data"
YUNET = DATA / "yunet" / "yunet_n_640_640.onnx"
PHOTOS = DATA / "fairface" / "val"

pytestmark = [
    pytest.mark.skipif(find_spec("cv2") is None, reason="OpenCV is optional, and Optimum's environment does without"),
    pytest.mark.skipif(not (YUNET.is_file() and PHOTOS.is_dir()), reason=f"YuNet and FairFace are not at {DATA}"),
]


@pytest.fixture(scope="module")
def photos():
    """Four photographs of 224 pixels, in each of which one face is plain to see."""
    detector, chosen = FaceDetector(YUNET), []
    for path in sorted(PHOTOS.glob("*.jpg"), key=lambda path: int(path.stem)):
        found = detector.detect(path)
        if len(found) == 1 and found[0].score > 0.92:
            chosen.append(Image.open(path).convert("RGB"))
        if len(chosen) == 4:
            return chosen
    raise AssertionError("too few plain faces")


@pytest.fixture
def analyze(model, processor):
    return FaceAnalysisPipeline(model, processor=processor, device="cpu", detector=YUNET, tasks=["gender", "age"])


def several(photos):
    picture = Image.new("RGB", (900, 460), (90, 110, 90))
    for photo, (x, y, side) in zip(
        photos, [(0, 0, 400), (420, 10, 224), (660, 20, 112), (440, 250, 200)], strict=True
    ):
        picture.paste(photo.resize((side, side), Image.Resampling.LANCZOS), (x, y))
    return picture


def test_each_of_several_faces_is_told_of_where_it_is(analyze, photos):
    picture = several(photos)
    faces = analyze(picture)
    assert len(faces) == 4
    corners = {(x // 400, y // 240) for x, y in (face["box"][:2] for face in faces)}
    assert corners == {(0, 0), (1, 0), (1, 1)}
    for face in faces:
        x0, y0, x1, y1 = face["box"]
        assert all(x0 < x < x1 and y0 < y < y1 for x, y in face["landmarks"]) and 0.6 <= face["detection_score"] <= 1
        (alone,) = analyze(crop(picture, face["box"]), detector="none")
        for name, answer in face["tasks"].items():
            assert answer["scores"] == pytest.approx(alone["tasks"][name]["scores"], abs=2e-3)  # the box is rounded


def test_the_largest_face_alone(analyze, photos):
    (face,) = analyze(several(photos), max_faces=1)
    assert face["box"][2] < 400


def test_a_photograph_on_its_side_is_searched_upright(analyze, photos, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to view
    photos[0].transpose(Image.Transpose.ROTATE_90).save(tmp_path / "phone.png", exif=exif)
    assert analyze(tmp_path / "phone.png") == analyze(photos[0])


def test_a_leaning_face_is_turned_upright_where_it_is_aligned(analyze, photos):
    leaning = photos[0].rotate(30, Image.Resampling.BICUBIC)
    (face,) = analyze(leaning, align=True)
    eyes = np.array(face["landmarks"][:2])
    assert face["aligned"] and abs(np.degrees(np.arctan2(*(eyes[1] - eyes[0])[::-1]))) > 15


def test_an_aligned_face_is_as_large_as_in_the_crop(photos):
    picture, detector = several(photos), FaceDetector(YUNET)
    found = detector.detect(picture)
    assert found
    for plain, aligned in zip(*(FaceChoice(align=way).faces_of(picture, found) for way in (False, True)), strict=True):
        sizes = [detector.detect(cut.picture.resize((224, 224)))[0].box for cut in (plain, aligned)]
        widths = [x1 - x0 for x0, _, x1, _ in sizes]
        assert aligned.aligned and 0.85 < widths[1] / widths[0] < 1.18


def test_tiny_faces_are_found_and_no_face_is_no_error(analyze, photos):
    small = Image.new("RGB", (320, 240), (90, 110, 90))
    small.paste(photos[0].resize((40, 40), Image.Resampling.LANCZOS), (200, 100))
    (face,) = analyze(small)
    assert face["box"][0] > 190 and face["box"][2] - face["box"][0] < 40
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8))
    nothing = [noise.filter(ImageFilter.GaussianBlur(4)), Image.new("RGB", (1, 1)), Image.new("RGB", (3000, 8))]
    assert analyze(nothing) == [[], [], []]
    assert [len(faces) for faces in analyze(nothing, on_no_face="whole")] == [1, 1, 1]


def test_photographs_of_some_and_of_no_faces_share_passes(analyze, model, photos):
    passes = []
    model.model.vision_tower.register_forward_pre_hook(
        lambda tower, given, named: passes.append(len(named["pixel_values"])), with_kwargs=True
    )
    blank = Image.new("RGB", (200, 200))
    results = list(analyze(iter([several(photos), blank, photos[0], photos[1], blank]), batch_size=6))
    assert [len(faces) for faces in results] == [4, 0, 1, 1, 0] and passes == [6]


def test_fainter_detections_are_found_with_a_lower_min_score(analyze, photos):
    faint = photos[0].filter(ImageFilter.GaussianBlur(9))
    assert (len(analyze(faint, min_score=0.2)), len(analyze(faint, min_score=0.95))) == (1, 0)
