"""The visible attributes that an annotator is asked about, each with a closed set of options.

Left and right are the viewer's. Not in the table, on purpose: race, skin tone, attractiveness, religion and health.
`apparent_age_group` and `apparent_gender` say how the face looks, not what the person says of themselves; they and
`visible_expression` fill the labels that other corpora have too, and so are asked about in the same words.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from datasets_scripts.schema import AGE_GROUPS
from modeling_facemllm.face_task_table_facemllm import CLOSED_QUESTIONS

EXPRESSIONS = (*CLOSED_QUESTIONS["expression"][1], "contempt")
LABEL_VALUES = {"age_group": AGE_GROUPS, "expression": EXPRESSIONS, "gender": CLOSED_QUESTIONS["gender"][1]}


@dataclass(frozen=True)
class FaceAttribute:
    """One visible thing with a closed set of options: a row of `ATTRIBUTES`.

    `definition` says to the annotator what counts. `statement` and `check` are for questions; `{claim}` in them is
    the option, or its `words` where the option alone would not read well. An attribute of yes and no needs neither,
    nor does one with a `label`: the column of the labels that its answer fills in place of `attributes`. Without
    `check` it is the statement's own words. `group` is as in `closed_task.Task`; None for one of its own.
    """

    name: str
    definition: str
    statement: str = ""
    check: str = ""
    words: Mapping[str, str] = field(default_factory=dict)
    label: str | None = None
    group: str | None = None

    @property
    def options(self) -> tuple[str, ...]:
        """The values of its label, or those of the question of its name in the model's table."""
        return LABEL_VALUES[self.label] if self.label else CLOSED_QUESTIONS[self.name][1]

    @property
    def question(self) -> str:
        """`check`, or the statement as a question: `The hair is {claim}.` gives `Is the hair {claim}?`."""
        if self.check or not self.statement:
            return self.check
        subject, verb, rest = re.fullmatch(r"(.+?) (is|are|has|wears) (.+)\.", self.statement).groups()
        subject = subject[0].lower() + subject[1:]
        infinitive = {"has": "have", "wears": "wear"}.get(verb)
        return f"Does {subject} {infinitive} {rest}?" if infinitive else f"{verb.capitalize()} {subject} {rest}?"


_HAS, _WEARS = "The person has {claim}.", "The person wears {claim}."

_ROWS = (
    # hair
    FaceAttribute(
        "head_hair_color",
        "main color of the hair of the head; dyed is a color that hair does not grow in",
        "The hair is {claim}.",
        words={"dyed": "dyed in a bright color"},
        group="hair color",
    ),
    FaceAttribute(
        "head_hair_length",
        "bald: no hair grows on top; cropped: cut close to the skin; short: above the chin; long: below the shoulders",
        "The hair of the head is {claim}.",
        words={"bald": "missing", "cropped": "cropped to the skin"},
        group="hair color",
    ),
    FaceAttribute(
        "head_hair_texture", "how the strands run, as worn in the picture", "The hair is {claim}.", group="hair color"
    ),
    FaceAttribute(
        "hairstyle",
        "how the hair is worn; short hair is loose",
        "The hair is worn {claim}.",
        words={"dreadlocks": "in dreadlocks"},
        group="hair color",
    ),
    FaceAttribute(
        "hairline",
        "the edge of the hair at the forehead",
        "The hairline is {claim}.",
        words={"widow's peak": "a widow's peak"},
    ),
    FaceAttribute(
        "fringe",
        "hair that falls over the forehead: over a part of it, or over all of it",
        "There is {claim} over the forehead.",
        words={"none": "no fringe", "partial": "a partial fringe", "full": "a full fringe"},
        group="forehead",
    ),
    FaceAttribute(
        "facial_hair",
        "mustache: on the upper lip alone; goatee: on the chin, the cheeks bare",
        _HAS,
        words={
            "none": "no facial hair",
            "mustache": "a mustache alone",
            "goatee": "a goatee",
            "short beard": "a short beard",
            "long beard": "a long beard",
        },
    ),
    FaceAttribute(
        "sideburn_length",
        "hair before the ears: short ends at the middle of the ear, long below it",
        _HAS,
        words={"none": "no sideburns", "short": "short sideburns", "long": "long sideburns"},
    ),
    # brows and eyes
    FaceAttribute(
        "eyebrow_thickness",
        "of the eyebrows as they look in the picture",
        "The eyebrows are {claim}.",
        words={"medium": "of medium thickness"},
    ),
    FaceAttribute("eyebrow_shape", "the line of the eyebrows at rest", "The eyebrows are {claim}."),
    FaceAttribute(
        "eye_state",
        "of the eyelids; unsure behind dark lenses",
        "The eyes are {claim}.",
        words={"one closed": "open on one side only"},
        group="eyes",
    ),
    FaceAttribute("eye_color", "of the iris; unsure where the picture does not show it", "The eyes are {claim}."),
    FaceAttribute(
        "gaze",
        "where the eyes look, whatever the head does; the viewer's left and right",
        "The eyes look {claim}.",
        "Do the eyes look {claim}?",
        group="eyes",
    ),
    FaceAttribute(
        "under_eyes",
        "swelling or dark rings below the eyes",
        "Under the eyes there is {claim}.",
        "Is there {claim} under the eyes?",
        words={
            "smooth": "smooth skin",
            "slight bags": "a slight bag on either side",
            "marked bags": "a marked bag on either side",
        },
    ),
    FaceAttribute(
        "eyewear", "worn over the eyes; glasses pushed up onto the head are none", _WEARS, words={"none": "no eyewear"}
    ),
    # nose, mouth and chin
    FaceAttribute(
        "nose_size", "in proportion to the face", "The nose is {claim}.", words={"medium": "of medium size"}
    ),
    FaceAttribute(
        "mouth_state",
        "slightly open: the lips are parted; wide open: the jaw is dropped",
        "The mouth is {claim}.",
        group="mouth",
    ),
    FaceAttribute("teeth_shown", "whether any tooth can be seen", group="mouth"),
    FaceAttribute(
        "smile",
        "the corners of the mouth are raised a little, or clearly",
        "There is {claim} on the face.",
        words={"none": "no smile", "slight": "a slight smile", "broad": "a broad smile"},
        group="expression",
    ),
    FaceAttribute(
        "lip_fullness", "of both lips at rest", "The lips are {claim}.", words={"medium": "of medium fullness"}
    ),
    FaceAttribute(
        "lip_color",
        "lipstick: any applied color or gloss that can be seen",
        "The lips are {claim}.",
        words={"natural": "in their natural color", "lipstick": "colored with lipstick"},
        group="makeup",
    ),
    FaceAttribute("chin", "double: a fold of skin below the chin", "The person has a {claim} chin."),
    # face and skin
    FaceAttribute("face_shape", "the outline of the face", "The face is {claim}."),
    FaceAttribute("cheekbones", "prominent: they stand out and shade the cheeks", "The cheekbones are {claim}."),
    FaceAttribute("forehead", "by hair, headwear or anything else", "The forehead is {claim}.", group="forehead"),
    FaceAttribute(
        "makeup",
        "everything applied to the face together; none where none can be seen",
        "There is {claim} on the face.",
        words={"none": "no make-up", "light": "light make-up", "heavy": "heavy make-up"},
        group="makeup",
    ),
    FaceAttribute(
        "wrinkles",
        "lines of the skin at rest: forehead, eyes, mouth",
        "There are {claim} on the face.",
        words={"none": "no wrinkles", "fine": "fine wrinkles", "deep": "deep wrinkles"},
    ),
    FaceAttribute(
        "freckling",
        "small brown spots over nose and cheeks",
        "There are {claim} on the face.",
        words={"none": "no freckles", "some": "some freckles", "many": "many freckles"},
    ),
    FaceAttribute(
        "skin_mark",
        "the most conspicuous mark of the face, freckles apart",
        "There is {claim} on the skin of the face.",
        words={
            "none": "no conspicuous mark",
            "mole": "a mole",
            "scar": "a scar",
            "blemishes": "a group of blemishes",
            "tattoo": "a tattoo",
        },
    ),
    # ears and what is worn
    FaceAttribute(
        "ears_visible",
        "an ear counts when half of it can be seen",
        "{claim} can be seen.",
        "Is it true that {claim} can be seen?",
        words={"none": "no ear", "one": "one ear", "both": "both ears"},
    ),
    FaceAttribute(
        "ear_jewelry",
        "small: a stud or a ring close to the ear; large: it hangs below the ear lobe",
        _WEARS,
        words={"none": "no earrings", "small": "small earrings", "large": "large earrings"},
    ),
    FaceAttribute("facial_jewelry", "a ring or stud in nose, lip, brow or cheek"),
    FaceAttribute("neck_jewelry", "a necklace or chain that can be seen"),
    FaceAttribute(
        "neckwear",
        "cloth worn around the neck",
        "The person wears {claim} around the neck.",
        words={"none": "no cloth", "scarf": "a scarf", "tie": "a tie", "bow tie": "a bow tie"},
    ),
    FaceAttribute(
        "headwear",
        "what covers or holds the hair, named by its form",
        "The person wears {claim} on the head.",
        words={
            "none": "nothing",
            **{
                form: f"a {form}"
                for form in ("cap", "hat", "knitted cap", "hood", "wrapped cloth", "helmet", "headband")
            },
        },
    ),
    FaceAttribute("hand_at_face", "a hand or fingers touch the face or cover a part of it"),
    FaceAttribute(
        "covered_part",
        "what something in front of the face hides; glasses that show the eyes hide nothing",
        "{claim} of the face is covered.",
        "Is it true that {claim} of the face is covered?",
        words={
            "none": "no part",
            "eyes": "the eye region",
            "nose": "the nose region",
            "mouth": "the mouth region",
            "lower half": "the lower half",
            "one side": "one side",
        },
    ),
    # expression and pose
    FaceAttribute("visible_expression", "how the face looks, not what the person feels", label="expression"),
    FaceAttribute(
        "head_turn",
        "where the nose points, the viewer's left and right; in profile one eye is hidden",
        "The head is turned {claim}.",
    ),
    FaceAttribute("head_tilt", "where the top of the head leans, the viewer's left and right", "The head is {claim}."),
    FaceAttribute("head_nod", "raised: the chin is up; lowered: the chin is down", "The head is {claim}."),
    # picture
    FaceAttribute(
        "light_direction", "of the strongest light on the face, the viewer's left and right", "The light is {claim}."
    ),
    FaceAttribute(
        "picture_exposure",
        "of the face: dark where detail is lost in shadow, overexposed where it is lost in white",
        "The exposure of the face is {claim}.",
    ),
    FaceAttribute(
        "picture_sharpness",
        "sharp: single hairs can be told; blurred: the eyes have no clear edge",
        "The picture is {claim}.",
        group="sharpness",
    ),
    FaceAttribute(
        "picture_colors",
        "tinted: sepia or a filter of one color",
        "The picture is {claim}.",
        words={"color": "in color", "black and white": "in black and white"},
        group="picture colors",
    ),
    FaceAttribute(
        "surroundings",
        "what is behind the face",
        "The surroundings are {claim}.",
        words={"plain background": "a plain background", "stage or studio": "a stage or studio"},
    ),
    # how old and which gender the face looks
    FaceAttribute("apparent_age_group", "the age in years that the face looks", label="age_group"),
    FaceAttribute("apparent_gender", "as the face looks; unsure where it does not tell", label="gender"),
)
ATTRIBUTES: dict[str, FaceAttribute] = {row.name: row for row in _ROWS}

_COLORLESS = ("picture_colors", ("black and white",))
_BEARDED = ("stubble", "mustache", "goatee", "short beard", "long beard")

CONTRADICTIONS: tuple[tuple[tuple[str, tuple[str, ...]], tuple[str, tuple[str, ...]], str], ...] = (
    (
        ("head_hair_length", ("bald",)),
        ("hairstyle", ("pulled back", "pinned up", "braided", "dreadlocks", "spiked")),
        "bald, but the hair is styled",
    ),
    (("head_hair_length", ("bald",)), ("fringe", ("partial", "full")), "bald, but with a fringe"),
    (("head_hair_length", ("bald", "cropped")), ("head_hair_texture", ("wavy", "curly")), "bald, but with curls"),
    (("apparent_age_group", ("0-2", "3-9")), ("facial_hair", _BEARDED), "a child with facial hair"),
    (("apparent_age_group", ("0-2", "3-9")), ("wrinkles", ("deep",)), "a child with deep wrinkles"),
    (("eye_state", ("closed",)), ("gaze", ("at the camera",)), "closed eyes that look at the camera"),
    (("eye_state", ("closed",)), ("eye_color", ATTRIBUTES["eye_color"].options), "closed eyes of a known color"),
    (("mouth_state", ("closed",)), ("teeth_shown", ("yes",)), "a closed mouth that shows teeth"),
    (("smile", ("broad",)), ("visible_expression", ("sadness", "fear", "anger")), "a broad smile, but no happy face"),
    (("makeup", ("none",)), ("lip_color", ("lipstick",)), "lipstick, but no make-up"),
    (("covered_part", ("mouth", "lower half")), ("teeth_shown", ("yes",)), "a covered mouth that shows teeth"),
    (("covered_part", ("eyes",)), ("eye_color", ATTRIBUTES["eye_color"].options), "covered eyes of a known color"),
    (("forehead", ("fully visible",)), ("fringe", ("full",)), "a full fringe, but the whole forehead visible"),
    (("head_turn", ("in left profile", "in right profile")), ("ears_visible", ("both",)), "both ears in profile"),
    (_COLORLESS, ("head_hair_color", ("red", "dyed")), "a color of hair in a black and white picture"),
    (_COLORLESS, ("eye_color", ATTRIBUTES["eye_color"].options), "a color of eyes in a black and white picture"),
)


def doubted_labels(labels: Mapping[str, Any]) -> set[str]:
    """Which of these `labels_of` contradict each other: columns, and `attributes.NAME`. Nothing is asked of them."""
    given = {f"attributes.{name}": value for name, value in (labels.get("attributes") or {}).items()}
    given |= {column: value for column, value in labels.items() if column != "attributes"}
    doubted = set()
    for (one, values), (other, others), _ in CONTRADICTIONS:
        pair = [ATTRIBUTES[name].label or f"attributes.{name}" for name in (one, other)]
        if given.get(pair[0]) in values and given.get(pair[1]) in others:
            doubted.update(pair)
    return doubted
