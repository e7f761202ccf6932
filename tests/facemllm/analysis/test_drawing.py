"""Annotated copies: words that can be read at any size, and names that never meet."""

from itertools import product

import numpy as np
import pytest
from PIL import Image, ImageChops

from facemllm.analysis.drawing import FaceDrawings, draw_faces, label_lines, reduced
from facemllm.analysis.photos import Photo


def face(x, y, side, **tasks):
    tasks = tasks or {"gender": {"label": "female", "score": 0.9, "scores": {"female": 0.9, "male": 0.1}}}
    return {"box": [x, y, x + side, y + side], "landmarks": None, "tasks": tasks, "answers": {}}


def yes_or_no(label):
    return {"label": label, "score": 0.9, "scores": {"yes": 0.9, "no": 0.1}}


@pytest.mark.parametrize("size", [(1, 1), (40, 60), (3000, 200), (6000, 4000)])
def test_small_pictures_grow_and_large_ones_shrink_until_words_can_be_read(size):
    picture = Image.new("RGB", size, "gray")
    copy = draw_faces(reduced(picture), [face(0, 0, min(size))], size)
    assert 640 <= max(copy.size) <= 2048


def test_a_box_is_drawn_where_the_face_is():
    picture = Image.new("RGB", (3000, 1500))
    copy = draw_faces(reduced(picture), [face(1500, 600, 300, yaw=yes_or_no("no"))], picture.size)
    changed = ImageChops.difference(copy, Image.new("RGB", copy.size)).getbbox()
    assert np.array(changed) / (2048 / 3000) == pytest.approx([1500, 600, 1800, 900], abs=9)


def test_a_label_hides_no_face_and_no_other_label():
    picture = Image.new("RGB", (800, 600), "gray")
    places = [(20 + 260 * column, 20 + 190 * row) for column, row in product(range(3), range(3))]
    faces = [face(x, y, 150) for x, y in places]
    copy = draw_faces(picture, faces, picture.size)
    for x, y in places:
        inside = np.asarray(copy.crop((x + 60, y + 60, x + 140, y + 140)))
        assert (inside == 128).all()


def test_a_label_without_a_place_stands_under_the_picture():
    picture = Image.new("RGB", (640, 640), "gray")
    copy = draw_faces(picture, [face(0, 0, 640)], picture.size)
    assert copy.height > 640


def test_attributes_are_told_where_the_answer_is_yes():
    said = {"bangs": yes_or_no("yes"), "bald": yes_or_no("no"), "wavy_hair": yes_or_no("yes")}
    assert label_lines(face(0, 0, 10, **said)) == ["bangs, wavy hair"]


def test_copies_of_different_photos_never_meet(tmp_path):
    drawings = FaceDrawings(tmp_path / "drawn")
    picture = Image.new("RGB", (64, 64))
    named = [("a/1.jpg", "1.jpg"), ("b/1.jpg", "1.jpg"), ("a/1.png", "1.png"), ("a/x/1.jpg", "x/1.jpg")]
    photos = [Photo(name, relative) for name, relative in named]
    photos += [Photo("clip.mp4", "clip.mp4", frame, frame / 10) for frame in (0, 10)]
    photos += [Photo("http://x/1.jpg?a", "1.jpg"), Photo("http://x/1.jpg?b", "1.jpg")]
    ways = {drawings.draw(photo, picture, [face(0, 0, 30)], picture.size) for photo in photos}
    assert len(ways) == len(photos)
    assert all(Image.open(tmp_path / "drawn" / way).size[0] == 640 for way in ways)
