"""Pictures become the very numbers that transformers' image processors on Pillow give."""

import json

import numpy as np
import pytest
import transformers
from PIL import Image

from facemllm_onnx.runtime.picture_preprocessing import PicturePreprocessor

SHAPES = [(40, 48, 3), (64, 30, 3), (32, 32, 3), (7, 90, 3), (33, 31, 3), (48, 48)]


@pytest.fixture
def photos():
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)) for shape in SHAPES]


def image_processor(name, **settings):
    """Theirs on Pillow, under its name in either version of transformers."""
    return getattr(transformers, f"{name}Pil", getattr(transformers, name))(**settings)


def ours(theirs, folder):
    """Ours, of what theirs writes into a folder."""
    theirs.save_pretrained(folder)
    return PicturePreprocessor(json.loads((folder / "preprocessor_config.json").read_text()))


SQUARE, CROP = {"height": 32, "width": 32}, {"height": 30, "width": 30}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("SiglipImageProcessor", {"size": SQUARE}),
        ("SiglipImageProcessor", {"size": SQUARE, "resample": 2, "image_mean": [0.1, 0.2, 0.3]}),
        ("CLIPImageProcessor", {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}),
        ("BitImageProcessor", {"size": {"shortest_edge": 37}, "crop_size": CROP}),
        ("BitImageProcessor", {"size": {"shortest_edge": 24}, "crop_size": {"height": 31, "width": 30}}),
        ("ViTImageProcessor", {"size": {"height": 24, "width": 40}, "do_normalize": False}),
        ("ViTImageProcessor", {"size": SQUARE, "do_rescale": False}),
    ],
)
def test_pixels_are_equal_to_the_bit(photos, tmp_path, name, settings):
    theirs = image_processor(name, **settings)
    expected = theirs([photo.convert("RGB") for photo in photos], return_tensors="np")["pixel_values"]
    pixels = ours(theirs, tmp_path)(photos)["pixel_values"]
    assert pixels.dtype == np.float32 and np.array_equal(pixels, expected.astype(np.float32))


def test_an_image_processor_that_does_something_else_is_refused():
    with pytest.raises(ValueError, match="LlavaNextImageProcessor"):
        PicturePreprocessor({"image_processor_type": "LlavaNextImageProcessor"})


def test_pictures_that_stay_of_different_sizes_are_refused(photos, tmp_path):
    keeping_their_shape = image_processor("CLIPImageProcessor", size={"shortest_edge": 32}, do_center_crop=False)
    with pytest.raises(ValueError, match=r"size=.*crop or resize to a square"):
        ours(keeping_their_shape, tmp_path)(photos)
