"""The visible attributes that an annotator is asked about, each with a closed set of options.

Left and right are the viewer's. Not in the table, on purpose: race, skin tone, attractiveness, religion and health.
`apparent_age_group` and `apparent_gender` say how the face looks, not what the person says of themselves; they and
`visible_expression` fill the labels that other corpora have too, and so are asked about in the same words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

AGE_GROUPS = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
EXPRESSIONS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")


@dataclass(frozen=True)
class FaceAttribute:
    """One visible thing with a closed set of options: a row of `ATTRIBUTES`.

    `definition` tells the annotator what counts. `question`, `statement` and `check` are for questions;
    `{claim}` in the last two is the option, or its `words` where the option alone would not read well.
    An attribute of yes and no needs neither, nor does one with a `label`: the column of the labels that its answer
    fills in place of `attributes`.
    """

    options: tuple[str, ...]
    definition: str
    question: str
    statement: str = ""
    check: str = ""
    words: Mapping[str, str] = field(default_factory=dict)
    label: str | None = None


_HAS, _HAS_CHECK = "The person has {claim}.", "Does the person have {claim}?"
_WEARS, _WEARS_CHECK = "The person wears {claim}.", "Does the person wear {claim}?"


def _yes_no(definition: str, question: str) -> FaceAttribute:
    return FaceAttribute(("yes", "no"), definition, question)


ATTRIBUTES: dict[str, FaceAttribute] = {
    # hair
    "head_hair_color": FaceAttribute(
        ("black", "dark brown", "brown", "light brown", "blond", "red", "gray", "white", "dyed"),
        "main color of the hair of the head; dyed is a color that hair does not grow in",
        "What color is the hair?",
        "The hair is {claim}.",
        "Is the hair {claim}?",
        words={"dyed": "dyed in a bright color"},
    ),
    "head_hair_length": FaceAttribute(
        ("bald", "cropped", "short", "chin-length", "shoulder-length", "long"),
        "bald: no hair grows on top; cropped: cut close to the skin; short: above the chin; long: below the shoulders",
        "How long is the hair?",
        "The hair of the head is {claim}.",
        "Is the hair of the head {claim}?",
        words={"bald": "missing", "cropped": "cropped to the skin"},
    ),
    "head_hair_texture": FaceAttribute(
        ("straight", "wavy", "curly", "coily"),
        "how the strands run, as worn in the picture",
        "What texture does the hair have?",
        "The hair is {claim}.",
        "Is the hair {claim}?",
    ),
    "hairstyle": FaceAttribute(
        ("loose", "pulled back", "pinned up", "braided", "dreadlocks", "spiked"),
        "how the hair is worn; short hair is loose",
        "How is the hair worn?",
        "The hair is worn {claim}.",
        "Is the hair worn {claim}?",
        words={"dreadlocks": "in dreadlocks"},
    ),
    "hairline": FaceAttribute(
        ("even", "receding", "widow's peak"),
        "the edge of the hair at the forehead",
        "What is the hairline like?",
        "The hairline is {claim}.",
        "Is the hairline {claim}?",
        words={"widow's peak": "a widow's peak"},
    ),
    "fringe": FaceAttribute(
        ("none", "partial", "full"),
        "hair that falls over the forehead: over a part of it, or over all of it",
        "How much of a fringe falls over the forehead?",
        "There is {claim} over the forehead.",
        "Is there {claim} over the forehead?",
        words={"none": "no fringe", "partial": "a partial fringe", "full": "a full fringe"},
    ),
    "facial_hair": FaceAttribute(
        ("none", "stubble", "mustache", "goatee", "short beard", "long beard"),
        "mustache: on the upper lip alone; goatee: on the chin, the cheeks bare",
        "What facial hair does the person have?",
        _HAS,
        _HAS_CHECK,
        words={
            "none": "no facial hair",
            "mustache": "a mustache alone",
            "goatee": "a goatee",
            "short beard": "a short beard",
            "long beard": "a long beard",
        },
    ),
    "sideburn_length": FaceAttribute(
        ("none", "short", "long"),
        "hair before the ears: short ends at the middle of the ear, long below it",
        "How long are the sideburns?",
        _HAS,
        _HAS_CHECK,
        words={"none": "no sideburns", "short": "short sideburns", "long": "long sideburns"},
    ),
    # brows and eyes
    "eyebrow_thickness": FaceAttribute(
        ("thin", "medium", "thick"),
        "of the eyebrows as they look in the picture",
        "How thick are the eyebrows?",
        "The eyebrows are {claim}.",
        "Are the eyebrows {claim}?",
        words={"medium": "of medium thickness"},
    ),
    "eyebrow_shape": FaceAttribute(
        ("straight", "curved", "strongly arched"),
        "the line of the eyebrows at rest",
        "What shape do the eyebrows have?",
        "The eyebrows are {claim}.",
        "Are the eyebrows {claim}?",
    ),
    "eye_state": FaceAttribute(
        ("open", "half closed", "closed", "one closed"),
        "of the eyelids; unsure behind dark lenses",
        "How open are the eyes?",
        "The eyes are {claim}.",
        "Are the eyes {claim}?",
        words={"one closed": "open on one side only"},
    ),
    "eye_color": FaceAttribute(
        ("brown", "hazel", "green", "blue", "gray"),
        "of the iris; unsure where the picture does not show it",
        "What color are the eyes?",
        "The eyes are {claim}.",
        "Are the eyes {claim}?",
    ),
    "gaze": FaceAttribute(
        ("at the camera", "to the left", "to the right", "up", "down"),
        "where the eyes look, whatever the head does; the viewer's left and right",
        "Where do the eyes look?",
        "The eyes look {claim}.",
        "Do the eyes look {claim}?",
    ),
    "under_eyes": FaceAttribute(
        ("smooth", "slight bags", "marked bags"),
        "swelling or dark rings below the eyes",
        "What is the skin under the eyes like?",
        "Under the eyes there is {claim}.",
        "Is there {claim} under the eyes?",
        words={
            "smooth": "smooth skin",
            "slight bags": "a slight bag on either side",
            "marked bags": "a marked bag on either side",
        },
    ),
    "eyewear": FaceAttribute(
        ("none", "eyeglasses", "sunglasses", "goggles"),
        "worn over the eyes; glasses pushed up onto the head are none",
        "What eyewear does the person wear?",
        _WEARS,
        _WEARS_CHECK,
        words={"none": "no eyewear"},
    ),
    # nose, mouth and chin
    "nose_size": FaceAttribute(
        ("small", "medium", "large"),
        "in proportion to the face",
        "How large is the nose?",
        "The nose is {claim}.",
        "Is the nose {claim}?",
        words={"medium": "of medium size"},
    ),
    "mouth_state": FaceAttribute(
        ("closed", "slightly open", "wide open"),
        "slightly open: the lips are parted; wide open: the jaw is dropped",
        "How open is the mouth?",
        "The mouth is {claim}.",
        "Is the mouth {claim}?",
    ),
    "teeth_shown": _yes_no("whether any tooth can be seen", "Can teeth be seen?"),
    "smile": FaceAttribute(
        ("none", "slight", "broad"),
        "the corners of the mouth are raised a little, or clearly",
        "How does the person smile?",
        "There is {claim} on the face.",
        "Is there {claim} on the face?",
        words={"none": "no smile", "slight": "a slight smile", "broad": "a broad smile"},
    ),
    "lip_fullness": FaceAttribute(
        ("thin", "medium", "full"),
        "of both lips at rest",
        "How full are the lips?",
        "The lips are {claim}.",
        "Are the lips {claim}?",
        words={"medium": "of medium fullness"},
    ),
    "lip_color": FaceAttribute(
        ("natural", "lipstick"),
        "lipstick: any applied color or gloss that can be seen",
        "Which color do the lips have, their own or lipstick?",
        "The lips are {claim}.",
        "Are the lips {claim}?",
        words={"natural": "in their natural color", "lipstick": "colored with lipstick"},
    ),
    "chin": FaceAttribute(
        ("single", "double"),
        "double: a fold of skin below the chin",
        "What kind of chin can be seen?",
        "The person has a {claim} chin.",
        "Does the person have a {claim} chin?",
    ),
    # face and skin
    "face_shape": FaceAttribute(
        ("oval", "round", "square", "long", "heart-shaped"),
        "the outline of the face",
        "What shape does the face have?",
        "The face is {claim}.",
        "Is the face {claim}?",
    ),
    "cheekbones": FaceAttribute(
        ("flat", "prominent"),
        "prominent: they stand out and shade the cheeks",
        "What do the cheekbones look like?",
        "The cheekbones are {claim}.",
        "Are the cheekbones {claim}?",
    ),
    "forehead": FaceAttribute(
        ("fully visible", "partly covered", "covered"),
        "by hair, headwear or anything else",
        "How much of the forehead can be seen?",
        "The forehead is {claim}.",
        "Is the forehead {claim}?",
    ),
    "makeup": FaceAttribute(
        ("none", "light", "heavy"),
        "everything applied to the face together; none where none can be seen",
        "How much make-up can be seen?",
        "There is {claim} on the face.",
        "Is there {claim} on the face?",
        words={"none": "no make-up", "light": "light make-up", "heavy": "heavy make-up"},
    ),
    "wrinkles": FaceAttribute(
        ("none", "fine", "deep"),
        "lines of the skin at rest: forehead, eyes, mouth",
        "What wrinkles can be seen?",
        "There are {claim} on the face.",
        "Are there {claim} on the face?",
        words={"none": "no wrinkles", "fine": "fine wrinkles", "deep": "deep wrinkles"},
    ),
    "freckling": FaceAttribute(
        ("none", "some", "many"),
        "small brown spots over nose and cheeks",
        "How many freckles can be seen?",
        "There are {claim} on the face.",
        "Are there {claim} on the face?",
        words={"none": "no freckles", "some": "some freckles", "many": "many freckles"},
    ),
    "skin_mark": FaceAttribute(
        ("none", "mole", "scar", "blemishes", "tattoo", "face paint"),
        "the most conspicuous mark of the face, freckles apart",
        "What mark can be seen on the skin of the face?",
        "There is {claim} on the skin of the face.",
        "Is there {claim} on the skin of the face?",
        words={
            "none": "no conspicuous mark",
            "mole": "a mole",
            "scar": "a scar",
            "blemishes": "a group of blemishes",
            "tattoo": "a tattoo",
        },
    ),
    # ears and what is worn
    "ears_visible": FaceAttribute(
        ("none", "one", "both"),
        "an ear counts when half of it can be seen",
        "How many ears can be seen?",
        "{claim} can be seen.",
        "Is it true that {claim} can be seen?",
        words={"none": "no ear", "one": "one ear", "both": "both ears"},
    ),
    "ear_jewelry": FaceAttribute(
        ("none", "small", "large"),
        "small: a stud or a ring close to the ear; large: it hangs below the ear lobe",
        "What earrings does the person wear?",
        _WEARS,
        _WEARS_CHECK,
        words={"none": "no earrings", "small": "small earrings", "large": "large earrings"},
    ),
    "facial_jewelry": _yes_no("a ring or stud in nose, lip, brow or cheek", "Does the person wear a facial piercing?"),
    "neck_jewelry": _yes_no("a necklace or chain that can be seen", "Does the person wear a necklace?"),
    "neckwear": FaceAttribute(
        ("none", "scarf", "tie", "bow tie"),
        "cloth worn around the neck",
        "What does the person wear around the neck?",
        "The person wears {claim} around the neck.",
        "Does the person wear {claim} around the neck?",
        words={"none": "no cloth", "scarf": "a scarf", "tie": "a tie", "bow tie": "a bow tie"},
    ),
    "headwear": FaceAttribute(
        ("none", "cap", "hat", "knitted cap", "hood", "wrapped cloth", "helmet", "headband"),
        "what covers or holds the hair, named by its form",
        "What does the person wear on the head?",
        "The person wears {claim} on the head.",
        "Does the person wear {claim} on the head?",
        words={
            "none": "nothing",
            **{
                form: f"a {form}"
                for form in ("cap", "hat", "knitted cap", "hood", "wrapped cloth", "helmet", "headband")
            },
        },
    ),
    "hand_at_face": _yes_no("a hand or fingers touch the face or cover a part of it", "Is a hand at the face?"),
    "covered_part": FaceAttribute(
        ("none", "eyes", "nose", "mouth", "lower half", "one side"),
        "what something in front of the face hides; glasses that show the eyes hide nothing",
        "What part of the face is covered?",
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
    "visible_expression": FaceAttribute(
        EXPRESSIONS,
        "how the face looks, not what the person feels",
        "Which expression does the face show?",
        label="expression",
    ),
    "head_turn": FaceAttribute(
        ("to the front", "slightly to the left", "slightly to the right", "in left profile", "in right profile"),
        "where the nose points, the viewer's left and right; in profile one eye is hidden",
        "Which way does the head turn in this picture?",
        "The head is turned {claim}.",
        "Is the head turned {claim}?",
    ),
    "head_tilt": FaceAttribute(
        ("upright", "leaning to the left", "leaning to the right"),
        "where the top of the head leans, the viewer's left and right",
        "Which way does the top of the head lean?",
        "The head is {claim}.",
        "Is the head {claim}?",
    ),
    "head_nod": FaceAttribute(
        ("level", "raised", "lowered"),
        "raised: the chin is up; lowered: the chin is down",
        "Is the head raised or lowered?",
        "The head is {claim}.",
        "Is the head {claim}?",
    ),
    # picture
    "light_direction": FaceAttribute(
        ("even", "from the left", "from the right", "from above", "from below", "from behind"),
        "of the strongest light on the face, the viewer's left and right",
        "Where does the light come from?",
        "The light is {claim}.",
        "Is the light {claim}?",
    ),
    "picture_exposure": FaceAttribute(
        ("dark", "balanced", "overexposed"),
        "of the face: dark where detail is lost in shadow, overexposed where it is lost in white",
        "How is the face exposed?",
        "The exposure of the face is {claim}.",
        "Is the exposure of the face {claim}?",
    ),
    "picture_sharpness": FaceAttribute(
        ("sharp", "soft", "blurred"),
        "sharp: single hairs can be told; blurred: the eyes have no clear edge",
        "How sharp is the picture?",
        "The picture is {claim}.",
        "Is the picture {claim}?",
    ),
    "picture_colors": FaceAttribute(
        ("color", "black and white", "tinted"),
        "tinted: sepia or a filter of one color",
        "What colors does the picture have?",
        "The picture is {claim}.",
        "Is the picture {claim}?",
        words={"color": "in color", "black and white": "in black and white"},
    ),
    "surroundings": FaceAttribute(
        ("plain background", "indoors", "outdoors", "stage or studio"),
        "what is behind the face",
        "Where was the picture taken?",
        "The surroundings are {claim}.",
        "Are the surroundings {claim}?",
        words={"plain background": "a plain background", "stage or studio": "a stage or studio"},
    ),
    # how old and which gender the face looks
    "apparent_age_group": FaceAttribute(
        AGE_GROUPS,
        "the age in years that the face looks",
        "How old does the person look?",
        label="age_group",
    ),
    "apparent_gender": FaceAttribute(
        ("female", "male"),
        "as the face looks; unsure where it does not tell",
        "Which gender does the person appear to have?",
        label="gender",
    ),
}

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
    (
        ("picture_colors", ("black and white",)),
        ("head_hair_color", ("red", "dyed")),
        "a color of hair in a black and white picture",
    ),
    (
        ("picture_colors", ("black and white",)),
        ("eye_color", ATTRIBUTES["eye_color"].options),
        "a color of eyes in a black and white picture",
    ),
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
