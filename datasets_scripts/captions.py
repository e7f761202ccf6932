"""Short captions that name a person's age and gender in natural words: a baby girl, a boy, a woman in her twenties."""

import random
from collections.abc import Mapping
from typing import Any

REQUESTS = (
    "Describe this face.",
    "Describe the person in this picture.",
    "What does this picture show?",
    "Give a short description of this photo.",
    "Write a brief caption for this image.",
    "Who can be seen here?",
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


def caption_turns(labels: Mapping[str, Any], rng: random.Random) -> tuple[str, str] | None:
    """A request and a caption about a face; None where neither age group nor gender is known."""
    person = describe_person(labels, rng)
    if person is None:
        return None
    caption = rng.choice(CAPTIONS).format(person=person, Person=person[0].upper() + person[1:])
    return rng.choice(REQUESTS), caption


def describe_person(labels: Mapping[str, Any], rng: random.Random) -> str | None:
    """The person in a few words, such as "a woman in her twenties"; None where neither label is known."""
    age_group, gender = labels.get("age_group"), labels.get("gender")
    words = PEOPLE["adult" if age_group in AGED else age_group].get(gender)
    if words is None:
        return None
    aged = rng.choice(AGED[age_group]).format(their=THEIR[gender]) if age_group in AGED else ""
    return rng.choice(words).format(aged=aged)
