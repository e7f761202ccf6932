"""FairFaceGPT's eight questions: what is stored, and what the annotator is asked and told about a face.

The stored questions and the idea of telling the annotator the known labels are those of FaceLLM (Otroshi Shahreza and
Marcel, arXiv 2507.10300). The wording of the prompts is this project's: theirs calls infants men and women and leaves
the open age group as `more than 70`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from datasets_scripts.schema import AGE_GROUPS

PROMPT_VERSION = "fairfacegpt-1"  # another wording is another version


@dataclass(frozen=True)
class Aspect:
    """One of the eight questions: its stored form, and what the annotator is asked to cover."""

    question: str
    guidance: str


FULL_DESCRIPTION = "full_description"
_GUIDANCE = {
    "demographic_attributes": "Say which gender and age the face shows, and which visible features speak for them.",
    "facial_structure": "Cover the shape of the face, forehead, eyebrows, eyes, nose, cheeks, lips, jaw and chin.",
    "skin_texture": "Cover smoothness, lines, pores, spots, scars, shine and make-up, as far as they can be seen.",
    "expression_and_emotion": (
        "Cover mouth, eyes, eyebrows and gaze, and name the emotion that such a face is commonly read as."
    ),
    "lighting_and_image_quality": (
        "Cover direction, hardness and colour of the light, shadows, exposure, sharpness, noise and compression."
    ),
    "face_pose": "Say how far the head is turned to a side, raised or lowered, and tilted, and where the eyes look.",
    "forensic_considerations": (
        "Say what speaks for or against an unedited photograph of a live face (retouching, inconsistent light, edges, "
        "a print or a screen), and what hides parts of the face."
    ),
}
ASPECTS = {
    name: Aspect(f"Describe the {name.replace('_', ' ')} of the image based on the visual information.", guidance)
    for name, guidance in _GUIDANCE.items()
}
ASPECTS[FULL_DESCRIPTION] = Aspect(
    "Describe this image.",
    "Cover the person's appearance, face, hair, expression, pose, clothing, the light and the background.",
)

SYSTEM = (
    "You describe photographs of faces for a research corpus. Say only what can be seen in the picture. Never name or "
    "recognise anyone. Say nothing of religion, health, sexual orientation or attractiveness. An expression is how a "
    "face looks, not what the person feels.{race} Answer in three to six plain sentences, without headings, lists or "
    "an introduction. What you are told about the person is for you alone: take it as true, use it, and never mention "
    "that you were told."
)
WITHOUT_RACE = " Do not speak of race, ethnicity or origin."

PEOPLE = {
    "0-2": {"female": "an infant girl, 0 to 2 years old", "male": "an infant boy, 0 to 2 years old"},
    "3-9": {"female": "a girl, 3 to 9 years old", "male": "a boy, 3 to 9 years old"},
    "10-19": {"female": "an adolescent girl, 10 to 19 years old", "male": "an adolescent boy, 10 to 19 years old"},
}
GROWN = {"female": "a woman", "male": "a man"}
RACES = {"Latino_Hispanic": "Latino or Hispanic"}  # the other names of FairFace are English as they are


def described_person(labels: Mapping[str, Any]) -> str:
    """The person as the annotator is told, such as `a boy, 3 to 9 years old` or `a woman aged 70 or older`.

    `labels` has FairFace's `age_group` and `gender`; `race` is told only where it is among them.
    """
    group, gender = labels["age_group"], labels["gender"]
    if group in PEOPLE:
        person = PEOPLE[group][gender]
    elif group == "more than 70":
        person = f"{GROWN[gender]} aged 70 or older"
    else:
        person = f"{GROWN[gender]}, {group.replace('-', ' to ')} years old"
    race = labels.get("race")
    return person if race is None else f"{person}, labelled {RACES.get(race, race)} by annotators"


def prompt_digest() -> str:
    """Changes with every word that the annotator is told."""
    labels = [{"age_group": group, "gender": gender} for group in AGE_GROUPS for gender in GROWN]
    labels += [{**labels[0], "race": race} for race in RACES]
    told = [chat(aspect, known, {}) for aspect in ASPECTS for known in labels]
    return sha256(json.dumps(told).encode()).hexdigest()[:16]


def chat(aspect: str, labels: Mapping[str, Any], picture: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The chat messages that ask for `aspect` of the face in `picture`, a part of a message's content.

    Race is spoken of only where it is among `labels`.
    """
    asked = ASPECTS[aspect]
    text = f"The picture shows {described_person(labels)}.\n\n{asked.question} {asked.guidance}"
    return [
        {"role": "system", "content": SYSTEM.format(race="" if labels.get("race") else WITHOUT_RACE)},
        {"role": "user", "content": [dict(picture), {"type": "text", "text": text}]},
    ]
