"""The config `zero_shot`: attributes that are trained on, and others, alike in no word, that are only tested.

The split is ours; Face-MLLM's is not published. It goes by families of meaning, so that what is said of one side says
nothing of the other: all that is said of beards is on one side, and so is all that is said of the mouth, smiles and
lipstick included. Rows of `train` ask about seen attributes, rows of `validation` and `test` about unseen ones,
and their `labels` hold nothing else. Other configs of a corpus do name unseen attributes: a model that is to be
tested so may be trained on no other config of a corpus with attributes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from datasets_scripts.schema import LabelledFace

from .attribute_tasks import ATTRIBUTE_TASKS

ZERO_SHOT = "zero_shot"


@dataclass(frozen=True)
class Family:
    """Attributes of one meaning, and the stems of the words, synonyms included, that speak of it.

    `members` are groups of `attribute_tasks.py`, so that a new attribute of a group is on its side at once, and
    attributes that are of another family than their group.
    """

    unseen: bool
    members: tuple[str, ...]
    stems: tuple[str, ...]


# fmt: off
FAMILIES: dict[str, Family] = {
    "hair": Family(
        False, ("hair color", "hair texture", "hairline", "bangs", "fringe"),
        ("hair", "hairl", "hairs", "bald", "bang", "fringe", "blond", "brunet", "curly", "wavy", "braid",
         "dreadlock", "widow", "coily"),
    ),
    "forehead": Family(False, ("forehead",), ("forehead", "temple")),
    "eyes": Family(
        False, ("eyebrow shape", "eyebrow thickness", "under eyes", "eye color", "eye shape", "eyes",
                "eyebrow_thickness", "eyebrow_shape", "eye_color", "under_eyes"),
        ("eye", "eyebrow", "eyelash", "eyelid", "brow", "bag", "gaze", "iris", "hazel"),
    ),
    "eyewear": Family(
        False, ("eyewear",),
        ("glasses", "eyeglass", "sunglass", "eyewear", "spectacle", "goggle", "lense"),
    ),
    "shape": Family(
        False, ("face shape", "jaw", "chin", "chubby", "cheekbones", "face_shape"),
        ("oval", "square", "round", "heart", "jaw", "chin", "chubby", "plump", "fat", "obese", "cheek"),
    ),
    "skin": Family(
        False, ("skin", "cheeks", "shine", "wrinkles", "freckling", "skin_mark"),
        ("skin", "pale", "rosy", "cheek", "shine", "shiny", "flush", "blush", "complexion", "wrinkle", "freckl",
         "mole", "scar"),
    ),
    "age": Family(False, ("age",), ("young", "youth", "baby", "infant", "child", "aged", "senior", "elder", "old")),
    "judgement": Family(False, ("attractive",), ("attract", "beaut", "pretty", "handsome")),
    "pose": Family(
        False, ("head_turn", "head_tilt", "head_nod"),
        ("turned", "leaning", "tilted", "profile", "upright"),
    ),
    "picture": Family(
        False, ("sharpness", "lighting", "surroundings", "picture colors", "posed", "light_direction",
                "picture_exposure", "picture_sharpness", "picture_colors"),
        ("blurr", "sharp", "harsh", "light", "flash", "outdoor", "indoor", "photo", "posed", "expos", "studio"),
    ),
    "beard": Family(
        True, ("beard", "mustache", "sideburns", "sideburn_length"),
        ("beard", "goatee", "mustache", "moustache", "sideburn", "whisker", "stubb", "shadow", "clock", "shave",
         "shaving"),
    ),
    "nose": Family(
        True, ("nose size", "nose shape", "lines", "nose_size"),
        ("nose", "nasal", "nostril", "pointy", "big"),
    ),
    "mouth": Family(
        True, ("lips", "smile", "mouth", "lip_fullness"),
        ("mouth", "lip", "smile", "smiling", "grin", "laugh", "frown", "teeth", "tooth", "pout", "big"),
    ),
    "makeup": Family(
        True, ("heavy_makeup", "lipstick"),
        ("makeup", "lip", "lipstick", "cosmetic", "mascara", "rouge"),
    ),
    "worn": Family(
        True, ("hat", "earrings", "necklace", "necktie", "headwear", "ear_jewelry", "neck_jewelry", "neckwear"),
        ("hat", "cap", "helmet", "hood", "headband", "headwear", "ear", "earring", "neck", "neckl", "neckt", "tie",
         "scarf", "jewel", "piercing", "bow"),
    ),
}
# fmt: on

LEFT_OUT = {
    "eyes_open": "open is said of the mouth too",
    "eye_state": "open and closed are said of the mouth too",
    "makeup": "light is said of the picture too",
    "lip_color": "color is said of hair and eyes too",
    "facial_hair": "hair is said of the head too",
    "facial_jewelry": "a piercing may be in nose, lip or brow",
    "ears_visible": "ear is said of earrings, visible of the forehead",
    "hand_at_face": "a hand covers one part or another",
    "covered_part": "its options name eyes, nose and mouth",
}
"""Attributes on neither side, and why; they are not asked about in this config."""


def family_of(attribute: str) -> Family | None:
    """The family that names an attribute, or else the one that names its group; None for one that is left out."""
    if attribute in LEFT_OUT:
        return None
    for member in (attribute, ATTRIBUTE_TASKS[attribute].group):
        for family in FAMILIES.values():
            if member in family.members:
                return family
    return None


SEEN, UNSEEN = (
    tuple(name for name in ATTRIBUTE_TASKS if (family := family_of(name)) and family.unseen is side)
    for side in (False, True)
)


def attributes_of(split: str) -> tuple[str, ...]:
    """The attributes that the rows of a split may ask about: seen ones in `train`, unseen ones in any other."""
    return SEEN if split == "train" else UNSEEN


def tasks_of_side(tasks: Iterable[str], split: str) -> tuple[str, ...]:
    """Those of the tasks, groups of them expanded, that rows of a split may be asked."""
    side = attributes_of(split)
    return tuple(task for task in tasks if task in side)


def only_its_side(face: LabelledFace) -> LabelledFace:
    """The face with what its split may show: attributes of its side alone, and no annotator's caption."""
    given = face.labels.get("attributes") or {}
    pairs = given.items() if isinstance(given, Mapping) else ((entry["name"], entry["value"]) for entry in given)
    side = attributes_of(face.split)
    labels: dict[str, Any] = {"attributes": {name: value for name, value in pairs if name in side}}
    annotation = face.annotation and {**face.annotation, "caption": None, "flags": None}
    return replace(face, labels=labels, annotation=annotation)
