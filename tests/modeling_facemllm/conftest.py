"""Tiny real parts: a byte-level tokenizer, the smallest towers, one photo."""

import numpy as np
import pytest
import torch
from PIL import Image

from modeling_facemllm import FaceMLLMProcessor
from tests import tiny


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def plain_tokenizer():
    return tiny.byte_tokenizer()


@pytest.fixture
def vision_config():
    return tiny.vision_config()


@pytest.fixture
def text_config():
    # No version's default: it has to survive saving by one and loading by the other.
    return tiny.text_config(rope_theta=100.0)


@pytest.fixture
def processor(vision_config, plain_tokenizer):
    """32-pixel images of 4×4 patches, merged by 2: four tokens an image."""
    return FaceMLLMProcessor.from_towers(vision_config, plain_tokenizer, pixel_shuffle_factor=2)


@pytest.fixture
def model(vision_config, text_config, processor):
    return tiny.make_model(vision_config, text_config, processor.tokenizer)[0]


@pytest.fixture
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8))


@pytest.fixture
def other_photo():
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 30, 3), dtype=np.uint8))


@pytest.fixture
def question():
    """Messages with one image part that waits for its image."""
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Glasses?"}]}]
