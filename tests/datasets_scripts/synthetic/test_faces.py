"""Drawn faces: exact labels, the same pixels everywhere, and a visible difference for every value."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from datasets_scripts.synthetic.faces import ATTRIBUTES, draw_face, sample_labels

# What covers the most at once: under it every other attribute must still show.
COVERED = {
    "skin_tone": "dark",
    "hair_color": "black",
    "hair_length": "short",
    "beard": "yes",
    "moustache": "yes",
    "glasses": "sunglasses",
    "hat": "beanie",
    "expression": "neutral",
    "age": "young",
    "yaw": "front",
    "roll": "upright",
    "earrings": "yes",
    "lipstick": "yes",
    "freckles": "yes",
    "scarf": "yes",
    "background": "green",
    "lighting": "right",
}
BALD_UNDER_A_HAT = COVERED | {"hair_color": None, "hair_length": "bald", "hat": "cap", "skin_tone": "tan"}


def _pixels(labels, index=3, size=64):
    return np.asarray(draw_face(labels, index, 0, "train", size), dtype=np.int16)


def _pairs_of_values():
    for attribute in ATTRIBUTES:
        for i, first in enumerate(attribute.values):
            for second in attribute.values[i + 1 :]:
                yield attribute.name, first, second


def test_at_least_fifteen_attributes_and_two_held_out_with_several_values():
    held_out = [attribute for attribute in ATTRIBUTES if attribute.held_out]
    assert len(ATTRIBUTES) >= 15
    assert len(held_out) >= 2
    assert all(len(attribute.values) >= 4 for attribute in held_out)


def test_every_label_is_a_value_of_its_attribute():
    for index in range(300):
        labels = sample_labels(index, 0, "train")
        assert list(labels) == [attribute.name for attribute in ATTRIBUTES]
        for attribute in ATTRIBUTES:
            assert labels[attribute.name] in attribute.values or labels[attribute.name] is None


def test_hair_color_is_unknown_exactly_for_a_bald_head():
    for index in range(300):
        labels = sample_labels(index, 1, "test")
        assert (labels["hair_color"] is None) == (labels["hair_length"] == "bald")
        assert all(value is not None for name, value in labels.items() if name != "hair_color")


@pytest.mark.parametrize("attribute", ATTRIBUTES, ids=lambda attribute: attribute.name)
def test_values_are_uniform(attribute):
    count = 3000
    seen = Counter(sample_labels(index, 0, "train")[attribute.name] for index in range(count))
    seen.pop(None, None)
    share = sum(seen.values()) / len(attribute.values)
    # Five standard deviations of a binomial count.
    assert all(abs(seen[value] - share) < 5 * np.sqrt(share) for value in attribute.values)


def test_a_face_is_the_same_in_another_process():
    program = (
        "from datasets_scripts.synthetic.faces import draw_face, sample_labels; import hashlib;"
        "face = draw_face(sample_labels(7, 5, 'train'), 7, 5, 'train');"
        "print(hashlib.sha256(face.tobytes()).hexdigest())"
    )
    digests = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == 64


@pytest.mark.parametrize("other", [("train", 0, 8), ("train", 1, 7), ("validation", 0, 7)])
def test_split_seed_and_index_each_give_another_face(other):
    split, seed, index = other
    labels = sample_labels(7, 0, "train")
    assert draw_face(labels, 7, 0, "train").tobytes() != draw_face(labels, index, seed, split).tobytes()


def test_no_combination_of_labels_is_in_two_splits():
    drawn = {
        split: {tuple(sample_labels(index, seed, split).values()) for index in range(1500) for seed in (0, 1)}
        for split in ("train", "validation", "test")
    }
    assert not drawn["train"] & drawn["validation"]
    assert not drawn["train"] & drawn["test"]
    assert not drawn["validation"] & drawn["test"]


@pytest.mark.parametrize("size", [64, 96])
def test_the_picture_has_the_size_asked_for(size):
    face = draw_face(sample_labels(0, 0, "train"), 0, 0, "train", size)
    assert face.mode == "RGB"
    assert face.size == (size, size)


@pytest.mark.parametrize("hidden_by", [COVERED, BALD_UNDER_A_HAT], ids=["hat, beard and glasses", "bald under a cap"])
def test_every_value_shows_when_all_that_can_cover_it_is_worn(hidden_by):
    for name, first, second in _pairs_of_values():
        if name == "hair_color" and hidden_by["hair_length"] == "bald":
            continue
        if name == "hair_length":
            hidden_by = hidden_by | {"hair_color": "black"}
        difference = np.abs(_pixels(hidden_by | {name: first}) - _pixels(hidden_by | {name: second})).max(axis=2)
        # At least five pixels that clearly changed, far above the noise.
        assert (difference > 40).sum() >= 5, f"{name}: {first} and {second} look alike"


@pytest.mark.parametrize("value,side", [("left", -1), ("right", 1)])
def test_a_turned_head_moves_its_features_to_the_viewers_side(value, side):
    plain = {attribute.name: attribute.values[0] for attribute in ATTRIBUTES}
    plain |= {"yaw": "front", "roll": "upright", "lighting": "even", "lipstick": "yes", "background": "white"}

    def lips_center(labels):
        red, green, blue = np.moveaxis(_pixels(labels), 2, 0)
        return np.nonzero((red > 150) & (green < 90) & (blue < 120))[1].mean()

    assert side * (lips_center(plain | {"yaw": value}) - lips_center(plain)) > 2


@pytest.mark.parametrize("value,side", [("left", 0), ("right", 1)])
def test_light_comes_from_the_viewers_side(value, side):
    plain = {attribute.name: attribute.values[0] for attribute in ATTRIBUTES}
    plain |= {"yaw": "front", "roll": "upright", "hair_length": "bald", "hair_color": None, "lighting": value}
    halves = [half.mean() for half in np.split(_pixels(plain)[24:44, 20:44], 2, axis=1)]
    assert halves[side] > halves[1 - side] + 20
