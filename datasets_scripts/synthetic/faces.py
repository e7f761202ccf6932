"""Drawn faces with exact labels: 17 independent attributes, each visible at 64 pixels in every combination.

A face is a pure function of `(split, seed, index)`: no file, no global random state, the same pixels in every
process. Left and right are the viewer's.
"""

import hashlib
import random
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .portrait import Portrait


@dataclass(frozen=True)
class Attribute:
    """One thing that can be seen in a drawn face. `held_out`: never asked about an image in training."""

    name: str
    values: tuple[str, ...]
    held_out: bool = False


ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("skin_tone", ("fair", "tan", "dark")),
    Attribute("hair_color", ("black", "brown", "blond", "red"), held_out=True),
    Attribute("hair_length", ("bald", "short", "long")),
    Attribute("beard", ("no", "yes")),
    Attribute("moustache", ("no", "yes")),
    Attribute("glasses", ("none", "eyeglasses", "sunglasses")),
    Attribute("hat", ("none", "cap", "beanie")),
    Attribute("expression", ("neutral", "happy", "sad", "surprised", "angry")),
    Attribute("age", ("young", "middle-aged", "elderly")),
    Attribute("yaw", ("left", "front", "right")),
    Attribute("roll", ("left", "upright", "right")),
    Attribute("earrings", ("no", "yes")),
    Attribute("lipstick", ("no", "yes")),
    Attribute("freckles", ("no", "yes")),
    Attribute("scarf", ("no", "yes")),
    Attribute("background", ("white", "blue", "green", "yellow", "pink"), held_out=True),
    Attribute("lighting", ("left", "right", "even")),
)

# Which share of the label combinations each split may use: no combination of the test or validation split is ever
# drawn for training, so a held-out face differs from every training face by more than its position.
_BUCKETS = 8
_RESERVED = {"test": 0, "validation": 1}


def _stream(*key: object) -> random.Random:
    """A random stream of its own for each key, equal on every machine."""
    return random.Random(hashlib.sha256("/".join(map(str, key)).encode()).digest())


def sample_labels(index: int, seed: int, split: str) -> dict[str, str | None]:
    """Labels of face `index` of `split`: every attribute of `ATTRIBUTES`, uniform and independent.

    `hair_color` is None for a bald head. Splits `test` and `validation` use combinations of labels that no other
    split uses.
    """
    rng = _stream(split, seed, index, "labels")
    while True:
        drawn = {attribute.name: rng.choice(attribute.values) for attribute in ATTRIBUTES}
        if drawn["hair_length"] == "bald":
            drawn["hair_color"] = None
        bucket = zlib.crc32("/".join(map(str, drawn.values())).encode()) % _BUCKETS
        if bucket == _RESERVED.get(split, bucket) and (split in _RESERVED or bucket >= len(_RESERVED)):
            return drawn


def draw_face(labels: dict[str, str | None], index: int, seed: int, split: str, size: int = 64) -> Image.Image:
    """Draw the face with `labels` as an RGB image of `size` by `size` pixels.

    What no label says (position, scale, face shape, eye spacing, colours of clothes, noise) comes from the random
    stream of `(split, seed, index)`.
    """
    rng = _stream(split, seed, index, "nuisance")
    portrait = Portrait(labels, rng, size)
    portrait.draw()
    return portrait.develop(np.random.default_rng(rng.getrandbits(64)))
