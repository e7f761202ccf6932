"""From img2dataset's tars to faces, to an annotator's answers, to a corpus: real photographs, a real server."""

import base64
import io
import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter, ImageOps

from datasets_scripts.annotator.settings import Annotator, FaceToAsk
from datasets_scripts.laion_face.annotation import FaceRules, LaionFaces, annotate_laion
from datasets_scripts.laion_face.pictures import BrokenPicture, upright_picture
from datasets_scripts.schema import CorpusError
from tests.datasets_scripts.annotator.server import AnnotatorServer
from tests.datasets_scripts.laion_face.img2dataset_folder import (
    FIRST_ID,
    YUNET,
    encode,
    needs_faces,
    plain,
    sample,
    write_tar,
)
from tests.refusals import refuses

ORIENTATIONS = {  # exifread's words; img2dataset writes them down
    1: "Horizontal (normal)",
    2: "Mirrored horizontal",
    3: "Rotated 180",
    4: "Mirrored vertical",
    5: "Mirrored horizontal then rotated 90 CCW",
    6: "Rotated 90 CW",
    7: "Mirrored horizontal then rotated 90 CW",
    8: "Rotated 90 CCW",
}


def exif_words(orientation):
    return json.dumps({"Image Orientation": ORIENTATIONS[orientation], "Image Make": "a camera"})


def source(folder, **options):
    return LaionFaces.from_pretrained(folder, detector=str(YUNET), progress=False, **options)


def asked(folder, **options):
    found = source(folder, **options)
    return [face for part in range(len(found)) for face in found.faces(part)]


# Pictures: upright, and in the pixels of the picture at the URL


def marked(size=(300, 200), corner=(40, 30, 100, 60)):
    image = Image.new("RGB", size, "gray")
    image.paste("red", corner)
    return image


def red_box(image):
    pixels = np.asarray(image, np.int16)
    rows, columns = np.nonzero(pixels[..., 0] - pixels[..., 1] > 90)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("encoded_again", [True, False])
def test_pictures_are_turned_upright_also_where_only_the_json_still_knows_how(orientation, encoded_again):
    exif = Image.Exif()
    exif[0x0112] = orientation
    original = encode(marked(), exif=exif)
    stored = encode(marked()) if encoded_again else original
    picture = upright_picture(stored, {"exif": exif_words(orientation)})
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(original)))
    assert picture.image.size == expected.size and picture.orientation == orientation
    box = red_box(picture.image)
    np.testing.assert_allclose(box, red_box(expected), atol=1)
    published = picture.from_detections([[40, 30], [100, 60]])  # in pixels as they are stored
    np.testing.assert_allclose([*published.min(axis=0), *published.max(axis=0)], box, atol=2)


def test_places_are_told_in_pixels_of_the_picture_at_the_url_also_where_the_tar_has_it_smaller():
    meta = {"original_width": 1200, "original_height": 800, "width": 300, "height": 200}
    picture = upright_picture(encode(marked()), {**meta, "exif": exif_words(6)})
    assert picture.image.size == (200, 300)
    np.testing.assert_allclose(picture.at_url([[200, 300]]), [[800, 1200]])
    published = picture.from_detections([[160, 120], [400, 240]])
    np.testing.assert_allclose([*published.min(axis=0), *published.max(axis=0)], red_box(picture.image), atol=2)


def test_what_cannot_be_used_has_a_reason():
    padded = {"original_width": 300, "original_height": 100}
    with pytest.raises(BrokenPicture, match="padded or cropped by the download"):
        upright_picture(encode(marked((256, 256))), padded)
    for broken in (b"", b"<html>", encode(marked())[:400]):
        with pytest.raises(BrokenPicture, match="broken picture"):
            upright_picture(broken, {})
    header = bytearray(encode(Image.new("L", (1, 1)), format="PNG"))
    header[16:24] = (12000).to_bytes(4, "big") * 2  # a small file that says it is huge
    with pytest.raises(BrokenPicture, match="broken picture"):
        upright_picture(bytes(header), {})
    with pytest.raises(BrokenPicture, match="broken picture"):
        upright_picture(encode(Image.new("1", (10_000, 10_001)), format="PNG"), {})
    assert upright_picture(encode(marked()), {"exif": "not json", "original_width": None}).scale == (1, 1)


# Rules


@needs_faces
def test_every_picture_is_kept_or_counted_by_the_rule_that_left_it_out(tmp_path):
    faces = plain(6)
    crowd = Image.new("RGB", (224 * 6, 224))
    for place, face in enumerate(faces):
        crowd.paste(face, (224 * place, 0))
    samples = [
        sample(0, faces[0]),
        sample(1, Image.new("RGB", (300, 300), "gray")),
        sample(2, crowd),
        sample(3, faces[1].resize((100, 100))),
        sample(4, faces[2].filter(ImageFilter.GaussianBlur(4))),
        sample(5, b"no picture"),
        sample(6, faces[3], NSFW="NSFW"),
        sample(7, faces[3], original_width=448, original_height=300),
        {"000000008.txt": b"alone"},
    ]
    write_tar(tmp_path / "00000.tar", samples)
    found = list(LaionFaces.from_pretrained(tmp_path, detector=str(YUNET)).faces(0))
    assert isinstance(found[0], FaceToAsk) and found[0].facts["sharpness"] > 40
    assert [item.reason for item in found[1:]] == [
        "no face found",
        "more than 5 faces",
        "crop smaller than 129 pixels",
        "sharpness below 10",
        "broken picture",
        "called NSFW by LAION",
        "padded or cropped by the download",
        "sample without picture",
    ]
    assert found[3].id == f"laion_face/{FIRST_ID + 3}/0" and found[2].id == f"laion_face/{FIRST_ID + 2}"
    rules = FaceRules(min_crop=50, min_sharpness=0, max_faces=6, skip_nsfw=False, min_score=0.6)
    source = LaionFaces.from_pretrained(tmp_path, detector=str(YUNET), rules=rules)
    assert sum(isinstance(item, FaceToAsk) for item in source.faces(0)) == 1 + 6 + 1 + 1 + 1


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("min_crop", 0, "1 or more"),
        ("min_score", 2, "0 to 1"),
        ("max_faces", 0, "1 or more"),
        ("margin", -1, "0 to 2"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(name, value, remedy):
    with refuses(name, value, remedy):
        FaceRules(**{name: value})


# Faces


@needs_faces
def test_a_face_comes_with_its_place_at_the_url_and_its_crop_and_without_the_webs_words(tmp_path):
    write_tar(
        tmp_path / "laion/00000.tar", [sample(4, plain(1, side=400)[0], original_width=800, original_height=800)]
    )
    (face,) = asked(tmp_path / "laion")
    assert isinstance(face, FaceToAsk) and face.id == f"laion_face/{FIRST_ID + 4}/0"
    facts = json.loads(json.dumps(face.facts))
    assert facts["url"] == "http://pictures.example/4.jpg" and facts["tar"] == "laion/00000.tar"
    x0, y0, x1, y1 = facts["box"]
    assert all(x0 < x < x1 and y0 < y < y1 for x, y in facts["landmarks"]) and x1 - x0 > 240  # of 800, not of 400
    assert 0.92 < facts["detection_score"] < 1
    (request,) = face.requests
    system, user = request.messages
    picture, text = user["content"]
    shown = Image.open(io.BytesIO(base64.b64decode(picture["image_url"]["url"].partition(",")[2])))
    left, top, right, bottom = facts["crop"]
    assert shown.size == (right - left, bottom - top)
    words = system["content"] + text["text"]
    assert "Somebody Famous" not in words and "pictures.example" not in words
    assert "hair" in words and request.schema["additionalProperties"] is False


@needs_faces
def test_the_annotator_is_shown_512_pixels_at_most(tmp_path):
    write_tar(tmp_path / "00000.tar", [sample(0, plain(1, side=1500)[0])])
    (face,) = asked(tmp_path)
    url = face.requests[0].messages[1]["content"][0]["image_url"]["url"]
    assert max(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size) == 512


@needs_faces
def test_the_same_tar_gives_the_same_faces_in_the_same_order_each_time(tmp_path):
    write_tar(tmp_path / "00000.tar", [sample(number, picture) for number, picture in enumerate(plain(4))])
    used = source(tmp_path)
    first = list(used.faces(0))
    assert len(first) == 4 and list(pickle.loads(pickle.dumps(used)).faces(0)) == first  # as a worker gets it
    described = source(tmp_path).describe()
    assert json.loads(json.dumps(described)) == described
    assert source(tmp_path, rules=FaceRules(margin=0.1)).describe() != described


@needs_faces
def test_published_detections_are_used_where_they_fit_the_picture_and_detection_elsewhere(tmp_path):
    face = plain(1, side=400)[0]
    lying = face.transpose(Image.Transpose.ROTATE_90)  # as a camera stores it; at the URL it is upright
    samples = [
        sample(0, face, WIDTH=400, HEIGHT=400),
        sample(1, face, WIDTH=640, HEIGHT=400),  # another picture at that URL now
        sample(2, face),  # not in the detections
        sample(3, lying, exif=exif_words(6)),
        sample(4, face.resize((200, 200)), original_width=400, original_height=400),
        sample(5, face, SAMPLE_ID="absent"),
        sample(6, face),
        sample(7, face),
    ]
    write_tar(tmp_path / "tars/00000.tar", samples)
    box, points = [100.0, 90.0, 300.0, 340.0], [[150.0, 170], [250, 170], [200, 230], [160, 280], [240, 280]]
    found = {FIRST_ID + number: [(np.float32(box), np.float32(points), np.float32(0.99))] for number in (0, 1, 4)}
    found[FIRST_ID + 3] = [(np.float32([90, 100, 340, 300]), np.float32([[y, 400 - x] for x, y in points]), 0.99)]
    found[FIRST_ID + 6] = []
    found[FIRST_ID + 7] = [(np.float32(box), np.float32(points), np.float32(0.97))]
    (tmp_path / "detections").mkdir()
    torch.save(found, tmp_path / "detections/sample2detect_5.pth")
    faces = asked(tmp_path / "tars", detections=str(tmp_path / "detections"))
    assert [isinstance(one, FaceToAsk) for one in faces] == [True] * 6 + [False] * 2
    from_list = [number for number in range(6) if round(faces[number].facts["detection_score"], 2) == 0.99]
    assert from_list == [0, 3, 4]
    for number in from_list:
        np.testing.assert_allclose(faces[number].facts["box"], box, atol=0.01)
        np.testing.assert_allclose(faces[number].facts["landmarks"], points, atol=0.01)
    assert [one.reason for one in faces[6:]] == ["no face found", "score below 0.98"]


# Corpus


@needs_faces
def test_tars_become_a_corpus_with_urls_places_words_and_no_pixels(tmp_path):
    from datasets import load_dataset

    pictures = plain(5)
    write_tar(tmp_path / "tars/00000.tar", [sample(number, pictures[number]) for number in range(3)])
    write_tar(tmp_path / "tars/00001.tar", [*[sample(number, pictures[number]) for number in (3, 4)], sample(5, b"")])
    with AnnotatorServer(tmp_path / "log") as server:
        ask = Annotator(server.url, "a/model", concurrency=4)
        options = {"detector": str(YUNET), "progress": False}
        estimated = annotate_laion(tmp_path / "tars", tmp_path / "out", ask, dry_run=True, **options)["estimate"]
        assert estimated["requests"] > 0 and not (tmp_path / "out").exists() and not server.requests()
        report = annotate_laion(tmp_path / "tars", tmp_path / "out", ask, **options)
        assert len(server.requests()) == 5 and report["empty"] == []
        annotate_laion(tmp_path / "tars", tmp_path / "with", ask, include_images=True, configs=["captions"], **options)
        again = annotate_laion(tmp_path / "tars", tmp_path / "out", ask, **options)
        assert len(server.requests()) == 10 and again["corpus"]["rows_written"] == 0
    assert report["annotation"]["skipped"] == {"broken picture": 1}
    for config in ("captions", "vqa", "face_tasks", "zero_shot"):
        assert report["corpus"]["configs"][config]["train"]["rows"] == 5
    rows = load_dataset(str(tmp_path / "out"), "captions", split="train", cache_dir=str(tmp_path / "cache"))
    assert rows["id"] == [f"laion_face/{FIRST_ID + number}/0" for number in range(5)]
    first = rows[0]
    assert first["image"] is None and first["url"] == "http://pictures.example/0.jpg" and len(first["box"]) == 4
    assert first["source"] == "laion_face" and first["license"] == "cc-by-4.0" and first["labels"]["race"] is None
    assert first["annotation"]["annotator"] == "a/model" and first["annotation"]["prompt_version"] == "laion-face-1"
    assert first["messages"][1]["content"][0]["text"] == first["annotation"]["caption"]
    card = (tmp_path / "out/README.md").read_text()
    assert "a/model" in card and "were not" in card
    assert not any(b"\xff\xd8\xff" in path.read_bytes() for path in (tmp_path / "out").rglob("*.parquet"))
    carried = load_dataset(str(tmp_path / "with"), "captions", split="train", cache_dir=str(tmp_path / "cache"))
    assert carried[0]["image"].size == (224, 224) and carried[0]["license"] == "other"
    difference = np.abs(np.asarray(carried[2]["image"], np.int16) - np.asarray(pictures[2], np.int16))
    assert difference.mean() < 4


@needs_faces
def test_without_a_sound_answer_there_is_no_corpus_but_a_report(tmp_path):
    write_tar(tmp_path / "tars/00000.tar", [sample(0, plain(1)[0])])
    with AnnotatorServer(tmp_path / "log", "refusal:1") as server:
        ask = Annotator(server.url, "a/model", attempts=2)
        report = annotate_laion(tmp_path / "tars", tmp_path / "out", ask, detector=str(YUNET), progress=False)
    assert report["corpus"] is None and report["empty"] == ["captions", "vqa", "face_tasks", "zero_shot"]
    assert sum(report["annotation"]["rejected"].values()) == 1 and not (tmp_path / "out/README.md").exists()


def test_mistakes_are_told_before_anything_is_done(tmp_path):
    ask = Annotator("http://127.0.0.1:1", "a/model")
    tars = tmp_path / "tars"
    tars.mkdir()
    with refuses("configs", "text", "captions, vqa, face_tasks"):
        annotate_laion(tars, tmp_path / "out", ask, configs=["text"])
    with pytest.raises(CorpusError, match=rf"{tars}: .*folder that img2dataset wrote"):
        annotate_laion(tars, tmp_path / "out", ask)
    write_tar(tars / "00000.tar", [])
    with refuses("out", str(tars / "out"), "apart from it"):
        annotate_laion(tars, tars / "out", ask)
    with refuses("detector", "no.onnx", "face_detection_yunet_2023mar.onnx", "opencv/face_detection_yunet"):
        annotate_laion(tars, tmp_path / "out", ask, detector="no.onnx")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "exif", [[], [1], {"Image Orientation": [6]}, {"Image Orientation": {}}, "[[6]]", "[" * 100_000, 7]
)
def test_exif_of_another_kind_tells_nothing(exif):
    assert upright_picture(encode(marked()), {"exif": exif}).orientation == 1


@pytest.mark.parametrize("width", [10**400, "9" * 5000, -300, 2**31, float("inf")])
def test_an_impossible_size_is_a_broken_picture(width):
    with pytest.raises(BrokenPicture, match="json with an impossible size"):
        upright_picture(encode(marked()), {"original_width": width, "original_height": 200})


@needs_faces
def test_bad_samples_are_counted_beside_a_good_one_also_on_a_rerun(tmp_path):
    shown = plain(1)[0]
    bad = [
        {"SAMPLE_ID": "9" * 5000},
        {"original_width": 10**400},
        {"NSFW": {"a": [1]}},
        {"exif": {"Image Orientation": [6]}},
    ]
    write_tar(tmp_path / "tars/00000.tar", [sample(number, shown, **meta) for number, meta in enumerate(bad)])
    with AnnotatorServer(tmp_path / "log") as server:
        for _ in range(2):
            settings = {"detector": str(YUNET), "progress": False}
            report = annotate_laion(tmp_path / "tars", tmp_path / "out", Annotator(server.url, "m"), **settings)
            assert report["annotation"]["skipped"] == {"json with a number of more than 64 bits": 2}
            assert report["annotation"]["faces"] == 2 and report["corpus"]["configs"]["captions"]["train"]["rows"] == 2
