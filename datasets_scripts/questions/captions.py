"""Short captions from labels, in natural words: a baby girl; a woman in her twenties with wavy hair, smiling.

Only what is known is said, and of many attributes a few. Judgements (`attractive`), race and what a face does not
have stay out.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from .attribute_tasks import ATTRIBUTE_TASKS
from .closed_task import DEFAULT_CONVENTIONS, Conventions, as_sentence, read_label
from .tasks import TASKS

REQUESTS = (
    "Describe this face.",
    "Describe the person in this picture.",
    "What does this picture show?",
    "Give a short description of this photo.",
    "Write a brief caption for this image.",
    "Who can be seen here?",
)

DETAILED_REQUESTS = (
    "Describe this face in detail.",
    "Write a detailed caption for this face.",
    "Describe in detail what can be seen of this person.",
    "What can be seen in this picture? Be detailed.",
)

CAPTIONS = (
    "A photo of {person}.",
    "A portrait of {person}.",
    "The face of {person}.",
    "A close-up of {person}.",
    "This picture shows {person}.",
    "This is {person}.",
    "{Person}.",
    "{Person} in a photo.",
    "A face: {person}.",
)

# 10-19 is WHO's adolescence; "teenage" would be wrong for a third of the group.
PEOPLE = {
    "0-2": {
        "female": ("a baby girl", "an infant girl"),
        "male": ("a baby boy", "an infant boy"),
        None: ("a baby", "an infant"),
    },
    "3-9": {
        "female": ("a girl between 3 and 9 years old", "a young girl", "a little girl"),
        "male": ("a boy between 3 and 9 years old", "a young boy", "a little boy"),
        None: ("a child between 3 and 9 years old", "a young child", "a little child"),
    },
    "10-19": {
        "female": ("an adolescent girl", "a girl between 10 and 19 years old"),
        "male": ("an adolescent boy", "a boy between 10 and 19 years old"),
        None: ("an adolescent", "a young person between 10 and 19 years old"),
    },
    "adult": {
        "female": ("a woman {aged}",),
        "male": ("a man {aged}",),
        None: ("a person {aged}", "an adult {aged}"),
    },
    None: {
        "female": ("a female person",),
        "male": ("a male person",),
    },
}

AGED = {
    "20-29": ("in {their} twenties", "between 20 and 29 years old"),
    "30-39": ("in {their} thirties", "between 30 and 39 years old"),
    "40-49": ("in {their} forties", "between 40 and 49 years old"),
    "50-59": ("in {their} fifties", "between 50 and 59 years old"),
    "60-69": ("in {their} sixties", "between 60 and 69 years old"),
    "more than 70": ("aged 70 or older", "of at least 70 years"),
}
THEIR = {"female": "her", "male": "his", None: "their"}


# What the annotator's attributes become in a caption; the options that are not here say too little.
SEEN = {
    "head_hair_color": "with {} hair",
    "head_hair_texture": "with {} hair",
    "eyewear": "wearing {}",
    "makeup": "with {} makeup",
    "wrinkles": "with {} wrinkles",
    "smile": "with a {} smile",
    "mouth_state": "with the mouth {}",
    "eye_state": "with the eyes {}",
    "face_shape": "with a face that is {}",
    "facial_hair": "with a {}",
    "headwear": "with a {} on the head",
}
UNSAID = ("none", "stubble", "one closed", "dyed", "wrapped cloth")

# What is said of the picture itself; sharp, balanced and in color go without saying.
PICTURE = {
    "picture_colors": {"black and white": "in black and white", "tinted": "tinted"},
    "picture_exposure": {"dark": "dark", "overexposed": "overexposed"},
    "picture_sharpness": {"soft": "slightly soft", "blurred": "blurred"},
}
LIT = {"even": ("The light is even.", "The face is evenly lit.")}
LIT |= {
    where: (f"The light comes {where}.", f"The face is lit {where}.")
    for where in ("from the left", "from the right", "from above", "from below", "from behind")
}

_LOOKS = {"happiness": "happy", "sadness": "sad", "surprise": "surprised", "fear": "fearful"}
_LOOKS |= {"disgust": "disgusted", "anger": "angry", "contempt": "contemptuous"}
EXPRESSIONS = {
    "neutral": ("The expression is neutral.", "The face shows no particular expression."),
    **{name: (f"The face looks {look}.", f"The expression is one of {name}.") for name, look in _LOOKS.items()},
}

MOVEMENTS = {  # what an active action unit looks like
    1: "the inner brows are raised",
    2: "the outer brows are raised",
    4: "the brows are lowered",
    5: "the upper lids are raised",
    6: "the cheeks are raised",
    7: "the lids are tightened",
    9: "the nose is wrinkled",
    10: "the upper lip is raised",
    12: "the lip corners are pulled up",
    14: "the mouth is dimpled",
    15: "the lip corners are pulled down",
    17: "the chin is raised",
    20: "the lips are stretched",
    23: "the lips are tightened",
    24: "the lips are pressed together",
    25: "the lips are parted",
    26: "the jaw is dropped",
}

STILL = ("The face shows no marked movement.", "No part of the face is clearly moved.")

MAX_DETAILS, MAX_MOVEMENTS = 5, 3


def caption_turns(
    labels: Mapping[str, Any], rng: random.Random, conventions: Conventions = DEFAULT_CONVENTIONS
) -> tuple[str, str] | None:
    """A request and a caption about a face; None where nothing is known that a caption says.

    It begins with the person, or, where nothing is known but how the face looks, half the time with that. One whose
    labels were all measured says the pose with the person: "A photo of a person with the head turned to the left."
    """
    person, details, pose = describe_person(labels, rng), _details(labels, rng), _pose(labels)
    if conventions.all_measured:
        details, pose = ", ".join([*([details] if details else []), *(f"with the head {words}" for words in pose)]), []
    sentences = [*_expression(labels, rng), *(f"The head is {words}." for words in pose)]
    sentences += [*_movements(labels, rng, conventions), *_picture(labels, rng)]
    if person is None and not details and not sentences:
        return None
    if person is None and not details and not conventions.all_measured and rng.random() < 0.5:
        return rng.choice(REQUESTS), " ".join(sentences)
    unknown = ("a person",) if conventions.all_measured else ("a person", "someone")
    person = " ".join([person or rng.choice(unknown), *([details] if details else [])])
    # "..., wearing a hat in a photo" would not read well
    wordings = [wording for wording in CAPTIONS if not (details and wording.endswith("in a photo."))]
    caption = rng.choice(wordings).format(person=person, Person=person[0].upper() + person[1:])
    return rng.choice(REQUESTS), " ".join([caption, *sentences])


def describe_person(labels: Mapping[str, Any], rng: random.Random) -> str | None:
    """The person in a few words, such as "a woman in her twenties"; None where neither label is known."""
    age_group, gender = labels.get("age_group"), labels.get("gender")
    words = PEOPLE["adult" if age_group in AGED else age_group].get(gender)
    if words is None:
        return None
    aged = rng.choice(AGED[age_group]).format(their=THEIR[gender]) if age_group in AGED else ""
    return rng.choice(words).format(aged=aged)


def _details(labels: Mapping[str, Any], rng: random.Random) -> str:
    """Some of the attributes: "with bangs and rosy cheeks, smiling, wearing a hat"; empty where none is to be said."""
    given = labels.get("attributes") or {}
    pairs = given.items() if isinstance(given, Mapping) else ((entry["name"], entry["value"]) for entry in given)
    said = [words for name, value in pairs if (words := _said(name, value))]
    if len(said) > 1:
        said = rng.sample(said, rng.randint(min(2, len(said)), min(MAX_DETAILS, len(said))))
    features = [words.removeprefix("with ") for words in said if words.startswith("with ")]
    others = [words for words in said if not words.startswith("with ")]
    worn = [words.removeprefix("wearing ") for words in others if words.startswith("wearing ")]
    doing = [words for words in others if not words.startswith("wearing ")]
    parts = [f"with {_listed(features)}"] if features else []
    return ", ".join([*parts, *doing, *([f"wearing {_listed(worn)}"] if worn else [])])


def _said(name: str, value: str) -> str | None:
    row = ATTRIBUTE_TASKS.get(name)
    if row is not None and row.says_yes_or_no:
        return row.caption if value == "yes" else None
    return SEEN[name].format(value) if name in SEEN and value not in UNSAID else None


def _expression(labels: Mapping[str, Any], rng: random.Random) -> list[str]:
    known = EXPRESSIONS.get(labels.get("expression") or "")
    return [rng.choice(known)] if known else []


def _pose(labels: Mapping[str, Any]) -> list[str]:
    """Where the head points, by the bins of the questions on it: "turned to the left and raised"; empty if unknown."""
    turned = {name: TASKS[name].value(labels) for name in ("yaw", "pitch", "roll")}
    words = [] if turned["yaw"] is None else [f"turned {TASKS['yaw'].answers[turned['yaw']]}"]
    words += {"up": ["raised"], "down": ["lowered"]}.get(turned["pitch"], [])
    words += {"left": ["tilted to the left"], "right": ["tilted to the right"]}.get(turned["roll"], [])
    return [_listed(words)] if words else []


def _picture(labels: Mapping[str, Any], rng: random.Random) -> list[str]:
    """What is remarkable in the picture itself, and where its light comes from."""
    known = {name: read_label(f"attributes.{name}", labels) for name in (*PICTURE, "light_direction")}
    words = [PICTURE[name][known[name]] for name in PICTURE if known[name] in PICTURE[name]]
    sentences = [f"The picture is {_listed(words)}."] if words else []
    return sentences + ([rng.choice(LIT[known["light_direction"]])] if known["light_direction"] in LIT else [])


def _movements(labels: Mapping[str, Any], rng: random.Random, conventions: Conventions) -> list[str]:
    units = TASKS["action_units"].value(labels, conventions)
    if units and not any(units.values()):
        return [rng.choice(STILL)]
    known = [unit for unit, active in (units or {}).items() if active and unit in MOVEMENTS]
    if not known:
        return []
    chosen = sorted(rng.sample(known, min(MAX_MOVEMENTS, len(known))))
    return [as_sentence(_listed([MOVEMENTS[unit] for unit in chosen]))]


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
