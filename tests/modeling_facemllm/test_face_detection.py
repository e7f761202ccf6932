"""Faces found, aligned and cropped: real photographs and YuNet's real weights, where they are at hand."""

import io
import pickle
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from modeling_facemllm import face_detection_facemllm
from modeling_facemllm.face_detection_facemllm import (
    ARCFACE_POINTS,
    PACKAGED_YUNET,
    FaceDetector,
    align,
    crop,
    crop_box,
    sharpness,
    similarity_transform,
)

DATA = Path(__file__).parents[3] / "shared" / "data"
YUNET = DATA / "yunet" / "yunet_n_640_640.onnx"
PHOTOS = DATA / "fairface" / "val"
EYES = slice(0, 2)
FORMATS = ("yunet_n_640_640.onnx", "yunet_s_640_640.onnx")
needs_opencv = pytest.mark.skipif(
    find_spec("cv2") is None, reason="OpenCV is optional, and Optimum's environment does without"
)
missing = not (YUNET.is_file() and PHOTOS.is_dir())


def needs_faces(test):
    return needs_opencv(pytest.mark.skipif(missing, reason=f"YuNet and FairFace are not at {DATA}")(test))


@pytest.fixture(scope="module")
def detector():
    return FaceDetector(YUNET)


@pytest.fixture(scope="module")
def photos():
    """Twelve photographs of 224 pixels, in each of which one face is plain to see."""
    return [Image.open(PHOTOS / f"{number}.jpg").convert("RGB") for number in plain_numbers()]


def plain_numbers():
    """The first photographs whose face both weights are sure of; the choice needs no list of numbers here."""
    detectors = [FaceDetector(YUNET.with_name(name), min_score=0.5) for name in FORMATS]
    chosen = []
    for number in sorted(int(path.stem) for path in PHOTOS.glob("*.jpg")):
        found = [one.detect(PHOTOS / f"{number}.jpg") for one in detectors]
        if all(len(faces) == 1 and faces[0].score > 0.92 for faces in found):
            chosen.append(number)
        if len(chosen) == 12:
            return chosen
    raise AssertionError("too few plain faces")


def collage(photos, places, size):
    picture = Image.new("RGB", size, (90, 110, 90))
    for photo, (x, y, side) in zip(photos, places, strict=True):
        picture.paste(photo.resize((side, side), Image.Resampling.LANCZOS), (x, y))
    return picture


def overlap(box, other):
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    both = max(width, 0) * max(height, 0)
    return both / (sum((sides[2] - sides[0]) * (sides[3] - sides[1]) for sides in (box, other)) - both)


@needs_faces
@pytest.mark.parametrize("weights", FORMATS)
def test_a_face_has_its_box_inside_the_photo_and_its_points_inside_the_box(photos, weights):
    detector = FaceDetector(YUNET.with_name(weights))
    for photo in photos:
        (face,) = detector.detect(photo)
        x0, y0, x1, y1 = face.box
        assert 0 <= x0 < x1 <= 224 and 0 <= y0 < y1 <= 224 and 0.9 < face.score < 1
        assert face.landmarks.shape == (5, 2) and face.landmarks.dtype == np.float32
        assert np.all(face.landmarks > (x0, y0)) and np.all(face.landmarks < (x1, y1))
        right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
        assert right_eye[0] < left_eye[0] and right_mouth[0] < left_mouth[0]
        assert right_eye[1] < nose[1] < right_mouth[1]


@needs_faces
def test_several_faces_of_different_sizes_are_each_found_where_they_are(detector, photos):
    places = [(0, 0, 400), (450, 20, 224), (720, 40, 120), (450, 300, 160), (660, 280, 280)]
    faces = detector.detect(collage(photos[:5], places, (960, 640)))
    assert len(faces) == 5
    for photo, (x, y, side) in zip(photos, places, strict=False):
        (alone,) = detector.detect(photo)
        expected = np.array(alone.box) * side / 224 + (x, y, x, y)
        assert max(overlap(face.box, expected) for face in faces) > 0.7
    assert [face.score for face in faces] == sorted((face.score for face in faces), reverse=True)


@needs_faces
def test_a_picture_of_many_megapixels_gives_places_in_its_own_pixels(detector, photos):
    large = photos[0].resize((3000, 3000), Image.Resampling.BICUBIC)
    (face,) = detector.detect(large)
    (small,) = detector.detect(photos[0])
    assert overlap(face.box, np.array(small.box) * 3000 / 224) > 0.85
    assert np.abs(face.landmarks - small.landmarks * 3000 / 224).max() < 0.05 * 3000


@needs_faces
def test_a_face_that_fills_a_large_picture_is_found_as_surely_as_in_a_small_one(detector, photos):
    for photo in photos[:5]:
        (face,) = detector.detect(photo.resize((1600, 1600), Image.Resampling.BICUBIC))
        assert face.score > 0.88


@needs_faces
def test_tiny_faces_are_found_on_request(photos, detector):
    places = [(120, 90, 36), (900, 700, 36), (1500, 200, 36)]
    crowd = collage(photos[:3], places, (1800, 1200))
    assert detector.detect(crowd) == []
    faces = FaceDetector(YUNET, small_faces=True).detect(crowd)
    assert len(faces) == 3
    for x, y, side in places:
        assert any(x <= face.landmarks[2, 0] <= x + side and y <= face.landmarks[2, 1] <= y + side for face in faces)


@needs_faces
def test_pictures_without_a_face_give_an_empty_list(detector):
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    for empty in (noise, Image.new("RGB", (640, 480), "gray"), Image.new("L", (1, 1)), Image.new("RGB", (3, 2000))):
        assert detector.detect(empty) == []


@needs_faces
def test_a_tilted_face_is_found_and_aligned_upright(detector, photos):
    for angle in (-35, 35):
        for photo in photos[:4]:
            turned = photo.rotate(angle, Image.Resampling.BICUBIC, expand=True)
            face = detector.detect(turned)[0]
            eyes = face.landmarks[EYES]
            assert abs(np.degrees(np.arctan2(*(eyes[1] - eyes[0])[::-1])) + angle) < 20
            upright = detector.detect(align(turned, face.landmarks, 224))[0]
            eyes = upright.landmarks[EYES]
            assert abs(np.degrees(np.arctan2(*(eyes[1] - eyes[0])[::-1]))) < 12


@needs_faces
def test_an_exif_orientation_is_heeded_by_detection_alignment_and_crop(detector, photos):
    (upright,) = detector.detect(photos[0])
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side; to be turned clockwise
    encoded = io.BytesIO()
    photos[0].transpose(Image.Transpose.ROTATE_90).save(encoded, "JPEG", exif=exif, quality=97)
    (face,) = detector.detect(encoded.getvalue())
    assert overlap(face.box, upright.box) > 0.95
    for cut in (lambda image: crop(image, upright.box), lambda image: align(image, upright.landmarks)):
        turned, plain = (np.asarray(cut(image), np.int16) for image in (encoded.getvalue(), photos[0]))
        assert turned.shape == plain.shape and np.abs(turned - plain).mean() < 6


@needs_faces
def test_aligned_faces_have_their_points_where_arcface_has_them(detector, photos):
    distances = []
    for photo in photos[:6]:
        (face,) = detector.detect(photo.resize((900, 900), Image.Resampling.BICUBIC))
        aligned = align(photo.resize((900, 900), Image.Resampling.BICUBIC), face.landmarks, 224)
        assert aligned.size == (224, 224)
        distances.append(np.abs(detector.detect(aligned)[0].landmarks / 2 - ARCFACE_POINTS).mean())
    assert np.median(distances) < 4


@needs_faces
def test_a_detector_may_be_pickled_and_shared_by_threads(detector, photos):
    one_by_one = [detector.detect(photo)[0].box for photo in photos]
    with ThreadPoolExecutor(4) as pool:
        together = [faces[0].box for faces in pool.map(pickle.loads(pickle.dumps(detector)).detect, photos)]
    assert together == one_by_one


@needs_faces
def test_weights_are_taken_from_a_file_or_from_a_folder_that_has_the_hubs_file(tmp_path):
    (tmp_path / "face_detection_yunet_2023mar.onnx").symlink_to(YUNET)
    assert FaceDetector.from_pretrained(tmp_path).weights == str(tmp_path / "face_detection_yunet_2023mar.onnx")
    assert FaceDetector.from_pretrained(str(YUNET), min_score=0.7).min_score == 0.7


@needs_opencv
def test_the_package_carries_a_detector_and_its_readme_says_which():
    weights = Path(FaceDetector.from_pretrained("yunet").weights)
    assert weights == PACKAGED_YUNET
    readme = (weights.parent / "README.md").read_text(encoding="utf-8")
    assert sha256(weights.read_bytes()).hexdigest() in readme and f"{weights.stat().st_size:,} bytes" in readme


def test_code_that_was_copied_out_of_the_package_asks_the_hub(tmp_path):
    source = Path(face_detection_facemllm.__file__).parent
    for name in ("face_detection", "image_loading", "url_fetching", "errors"):
        shutil.copy(source / f"{name}_facemllm.py", tmp_path)
    (tmp_path / "__init__.py").touch()
    program = f"from {tmp_path.name}.face_detection_facemllm import yunet_weights; print(yunet_weights())"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path.parent, capture_output=True, text=True)
    assert done.stdout == "opencv/face_detection_yunet\n", done.stderr


@needs_opencv
def test_weights_that_are_not_there_are_an_error_with_the_remedy(tmp_path):
    with pytest.raises(OSError, match=r"2023mar\.onnx .*'opencv/no-such-repository'.*give the path"):
        FaceDetector.from_pretrained("opencv/no-such-repository")
    with pytest.raises(OSError, match=r"'no such/repository'.*give the path"):
        FaceDetector.from_pretrained("no such/repository")
    with pytest.raises(
        FileNotFoundError, match=rf"{tmp_path}\S*.*give the path of face_detection_yunet_2023mar\.onnx"
    ):
        FaceDetector.from_pretrained(tmp_path)


@needs_opencv
@pytest.mark.parametrize("path", ["nofile.onnx", "weights/nofile.onnx", "./nofile", "/no/file", "a/b/c", "nofile"])
def test_what_can_only_be_a_path_is_not_looked_for_on_the_hub(path):
    with pytest.raises(FileNotFoundError, match=f"'{path}': give the path of"):
        FaceDetector.from_pretrained(path)


@needs_opencv
def test_a_file_that_is_no_yunet_is_named(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"not a network")
    with pytest.raises(ValueError, match=r"'.*model\.onnx'.*YuNet"):
        FaceDetector(tmp_path / "model.onnx")


def test_importing_needs_no_opencv_and_detecting_says_what_to_install():
    code = """
import sys
sys.modules["cv2"] = None
from modeling_facemllm.face_detection_facemllm import FaceDetector, align, crop
from PIL import Image
crop(Image.new("RGB", (50, 50)), (10, 10, 20, 20))
try:
    FaceDetector("any.onnx")
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert "pip install opencv-python-headless" in run.stdout and run.stdout.count("\n") == 1, run.stderr


def test_the_hub_lets_it_load_without_opencv():
    from transformers.dynamic_module_utils import get_imports, get_relative_imports

    import modeling_facemllm.face_detection_facemllm as module

    assert "cv2" not in get_imports(module.__file__)
    assert get_relative_imports(module.__file__) == ["image_loading_facemllm"]


def test_a_similarity_transform_finds_the_turn_scale_and_shift_back():
    turn = np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])
    matrix = similarity_transform(ARCFACE_POINTS, 2.5 * ARCFACE_POINTS @ turn.T + (30, -12))
    np.testing.assert_allclose(matrix, np.hstack([2.5 * turn, [[30], [-12]]]), atol=1e-9)
    mirrored = similarity_transform(ARCFACE_POINTS * (-1, 1), ARCFACE_POINTS)
    assert np.linalg.det(mirrored[:, :2]) > 0  # a face is never mirrored to fit better


@pytest.mark.parametrize("scale", [2.0, 9.4])  # also where the photo is reduced before
def test_alignment_brings_the_points_to_the_pixel(scale):
    landmarks = ARCFACE_POINTS * scale + 30
    rows, columns = np.mgrid[: round(112 * scale + 60), : round(112 * scale + 60)]
    light = sum(np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * scale**2)) for x, y in landmarks)
    aligned = np.asarray(align(Image.fromarray(np.uint8(255 * light)), landmarks, 224).convert("L"), np.float64)
    rows, columns = np.mgrid[:224, :224]
    for x, y in ARCFACE_POINTS * 2:
        near = aligned * ((columns - x) ** 2 + (rows - y) ** 2 < 81)
        centre = (columns * near).sum() / near.sum(), (rows * near).sum() / near.sum()
        np.testing.assert_allclose(centre, (x, y), atol=0.15)


@pytest.mark.parametrize(
    ("landmarks", "message"),
    [
        (np.zeros((5, 2)), "landmarks .*one place"),
        (np.zeros((4, 2)), r"landmarks .*\(4, 2\): .*5 finite points"),
        (np.full((5, 2), np.nan), r"landmarks .*\(5, 2\): .*5 finite points"),
    ],
)
def test_points_that_say_no_place_are_refused(landmarks, message):
    with pytest.raises(ValueError, match=message):
        align(Image.new("RGB", (100, 100)), landmarks)


def test_a_crop_is_the_box_with_its_margin_square_or_not_and_never_beyond_the_photo():
    size, box = (400, 300), (150, 100, 210, 200)
    assert crop_box(size, box, margin=0) == (130, 100, 230, 200)
    assert crop_box(size, box, margin=0.25) == (105, 75, 255, 225)
    assert crop_box(size, box, margin=0.1, square=False) == (140, 90, 220, 210)
    assert crop_box(size, box, margin=2) == (0, 0, 400, 300)
    assert crop(Image.new("RGB", size), (0, 0, 60, 100)).size == (105, 125)
    for outside in ((150, 100, 150, 200), (410, 10, 450, 60), (-50, 0, -1, 40)):
        with pytest.raises(ValueError, match=rf"box={re.escape(str(outside))}.*\b400×300\b"):
            crop_box(size, outside)


@needs_faces
def test_sharpness_falls_with_blur_and_hardly_depends_on_size(detector, photos):
    for photo in photos:
        box = detector.detect(photo)[0].box
        values = [sharpness(photo.filter(ImageFilter.GaussianBlur(radius)), box) for radius in (0, 1, 2, 4)]
        assert values == sorted(values, reverse=True) and values[3] < 0.5 * values[0]
        larger = sharpness(photo.resize((896, 896), Image.Resampling.BICUBIC), np.array(box) * 4)
        assert 0.4 < larger / values[0] < 1.6


def test_a_margin_shows_what_stands_around_arcface_s_square():
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (240, 240, 3), dtype=np.uint8))
    photo = photo.filter(ImageFilter.GaussianBlur(3))
    tight = np.asarray(align(photo, ARCFACE_POINTS + 64, size=112), dtype=np.float64)
    wide = np.asarray(align(photo, ARCFACE_POINTS + 64, size=168, margin=0.25), dtype=np.float64)
    assert np.abs(wide[28:-28, 28:-28] - tight).mean() < 0.5
