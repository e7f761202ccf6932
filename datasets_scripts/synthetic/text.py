"""How drawn faces are spoken of: captions, questions with their answers, and text-only conversations.

Every template stands in `WORDING`, one entry per attribute; the rest of the module only chooses and joins. Answers
are the attribute's value words ("red", "yes", "eyeglasses"), so an answer can be compared with a label as it is.

Held-out attributes (`Attribute.held_out`) are spoken of in captions and in text-only conversations and never in a
question about an image: `basic_questions` and `face_task_questions` leave them out, `text_questions` does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from .faces import ATTRIBUTES

Labels = Mapping[str, str | None]
"""Attribute name to value; None where the attribute does not apply (the hair color of a bald person)."""

CAPTION_REQUESTS = (
    "Describe this face.",
    "What does this person look like?",
    "Describe the person.",
    "Write a caption for this face.",
)
TEXT_LEVELS = ("tags", "clauses", "caption")
"""The contexts of a text-only conversation in the order of the curriculum: from short and regular to long and free."""

OPENINGS = ("The person", "This person", "The portrait shows a person who", "Here is a person who")
SUBJECTS = ("The person", "They")
PLURAL_VERBS = {"has": "have", "is": "are", "looks": "look", "wears": "wear", "stands": "stand"}


@dataclass(frozen=True)
class Wording:
    """How one attribute is spoken of.

    Attributes:
        predicates: for each value, verb phrases that follow "The person"; the first word is of `PLURAL_VERBS`,
            the rest alone is the value's clause ("has fair skin" → "fair skin").
        questions: open questions that each value answers; the first is the canonical one of the evaluation.
        yes_no: for each value, a question that is answered with yes exactly if the face has that value. Empty for
            attributes whose values are yes and no: their open questions are such questions already.
        either_or: a question with two gaps, which two phrases of `choices` fill; None where `yes_no` is empty.
        choices: for each value, its phrase in `either_or`.
    """

    predicates: Mapping[str, tuple[str, ...]]
    questions: tuple[str, ...]
    yes_no: Mapping[str, str] = field(default_factory=dict)
    either_or: str | None = None
    choices: Mapping[str, str] = field(default_factory=dict)


_VALUES = {attribute.name: attribute.values for attribute in ATTRIBUTES}


def _of_values(
    name: str, predicates: tuple[str, ...], questions: tuple[str, ...], yes_no: str, either_or: str, **own: str
) -> Wording:
    """The wording of an attribute whose values stand for `{}`; `own` are yes-or-no questions of single values."""
    values = _VALUES[name]
    articles = {value: "an" if value[0] in "aeiou" else "a" for value in values}
    return Wording(
        predicates={
            value: tuple(predicate.format(value, article=articles[value]) for predicate in predicates)
            for value in values
        },
        questions=questions,
        yes_no={value: own.get(value, yes_no.format(value)) for value in values},
        either_or=either_or,
        choices={value: value for value in values},
    )


def _presence(verb: str, thing: str, there: str) -> Wording:
    """The wording of an attribute with the values no and yes: the person has (or wears) the `thing` or not."""
    bare = thing.removeprefix("a ")
    return Wording(
        predicates={
            "no": (f"{verb} no {bare}", f"is without {thing}"),
            "yes": (f"{verb} {thing}", f"is seen with {thing}"),
        },
        questions=(f"Does the person {PLURAL_VERBS[verb]} {thing}?", f"Can you see {thing}?", f"{there} {thing}?"),
    )


def _worn(thing: str, kinds: Mapping[str, str]) -> Wording:
    """The wording of an attribute whose values are none and the `kinds` of a `thing`, with what each is called."""
    bare = thing.removeprefix("a ")
    predicates = {kind: (f"wears {name}", f"is seen with {name}") for kind, name in kinds.items()}
    yes_no = {kind: f"Does the person wear {name}?" for kind, name in kinds.items()}
    return Wording(
        predicates={"none": (f"wears no {bare}", f"is without {thing}"), **predicates},
        questions=(f"What {bare} does the person wear?", f"What kind of {bare} is it?", f"What {bare} can you see?"),
        yes_no={"none": f"Is the person without {thing}?", **yes_no},
        either_or="Does the person wear {} or {}?",
        choices={"none": f"no {bare}", **kinds},
    )


WORDING: dict[str, Wording] = {
    "skin_tone": _of_values(
        "skin_tone",
        ("has {} skin", "has a {} skin tone"),
        questions=("What is the skin tone?", "What tone does the skin have?", "How is the skin?"),
        yes_no="Does the person have {} skin?",
        either_or="Is the skin {} or {}?",
    ),
    "hair_color": _of_values(
        "hair_color",
        ("has {} hair", "has hair that is {}"),
        questions=("What color is the hair?", "What is the hair color?", "What color of hair does the person have?"),
        yes_no="Is the hair {}?",
        either_or="Is the hair {} or {}?",
    ),
    "hair_length": Wording(
        predicates={
            "bald": ("is bald", "has a bald head"),
            "short": ("has short hair", "wears short hair"),
            "long": ("has long hair", "wears long hair"),
        },
        questions=(
            "How long is the hair?",
            "What is the hair length?",
            "Is the person bald, or is the hair short or long?",
        ),
        yes_no={"bald": "Is the person bald?", "short": "Is the hair short?", "long": "Is the hair long?"},
        either_or="Is the person {} or {}?",
        choices={"bald": "bald", "short": "with short hair", "long": "with long hair"},
    ),
    "beard": _presence("has", "a beard", "Is there"),
    "moustache": _presence("has", "a moustache", "Is there"),
    "glasses": _worn("glasses", {"eyeglasses": "eyeglasses", "sunglasses": "sunglasses"}),
    "hat": _worn("a hat", {"cap": "a cap", "beanie": "a beanie"}),
    "expression": _of_values(
        "expression",
        ("looks {}", "has {article} {} expression", "has {article} {} face"),
        questions=("What is the expression?", "How does the person look?", "What expression does the face have?"),
        yes_no="Does the person look {}?",
        either_or="Does the person look {} or {}?",
        neutral="Is the expression neutral?",
    ),
    "age": _of_values(
        "age",
        ("is {}", "is {article} {} person"),
        questions=("How old is the person?", "What is the age?", "What age is the person?"),
        yes_no="Is the person {}?",
        either_or="Is the person {} or {}?",
    ),
    "yaw": _of_values(
        "yaw",
        ("is turned to the {}", "looks to the {}"),
        questions=("Which way is the head turned?", "Where is the head turned?", "Which way does the person look?"),
        yes_no="Is the head turned to the {}?",
        either_or="Is the head turned to the {} or to the {}?",
    ),
    "roll": Wording(
        predicates={
            "left": ("is tilted to the left", "has a head tilted to the left"),
            "upright": ("is upright", "has an upright head"),
            "right": ("is tilted to the right", "has a head tilted to the right"),
        },
        questions=("How is the head tilted?", "Which way is the head tilted?", "Where is the head tilted?"),
        yes_no={
            "left": "Is the head tilted to the left?",
            "upright": "Is the head upright?",
            "right": "Is the head tilted to the right?",
        },
        either_or="Is the head {} or {}?",
        choices={"left": "tilted to the left", "upright": "upright", "right": "tilted to the right"},
    ),
    "earrings": _presence("wears", "earrings", "Are there"),
    "lipstick": _presence("wears", "lipstick", "Is there"),
    "freckles": _presence("has", "freckles", "Are there"),
    "scarf": _presence("wears", "a scarf", "Is there"),
    "background": _of_values(
        "background",
        ("stands before a {} background", "has a {} background", "stands before a {} wall"),
        questions=(
            "What color is the background?",
            "What is the background color?",
            "What color is behind the person?",
        ),
        yes_no="Is the background {}?",
        either_or="Is the background {} or {}?",
    ),
    "lighting": Wording(
        predicates={
            "left": ("is lit from the left", "has light from the left"),
            "right": ("is lit from the right", "has light from the right"),
            "even": ("is lit with even light", "has even light"),
        },
        questions=("Where does the light come from?", "How is the light?", "How is the face lit?"),
        yes_no={
            "left": "Does the light come from the left?",
            "right": "Does the light come from the right?",
            "even": "Is the light even?",
        },
        either_or="Is the face lit {} or {}?",
        choices={"left": "from the left", "right": "from the right", "even": "with even light"},
    ),
}

NAMES = tuple(attribute.name for attribute in ATTRIBUTES)
HELD_OUT = tuple(attribute.name for attribute in ATTRIBUTES if attribute.held_out)
TRAINED = tuple(attribute.name for attribute in ATTRIBUTES if not attribute.held_out)


def canonical_question(attribute: str) -> str:
    """The question with which the evaluation asks for an attribute, e.g. "What is the expression?"."""
    return WORDING[attribute].questions[0]


def answer(attribute: str, labels: Labels) -> str | None:
    """The answer to `canonical_question`: the value word itself, or None where the attribute does not apply."""
    return labels[attribute]


def options(attribute: str) -> tuple[str, ...]:
    """All answers that `canonical_question` can have."""
    return _VALUES[attribute]


def caption(labels: Labels, rng: Random, names: tuple[str, ...] | None = None) -> str:
    """Describe a face in a few English sentences, its attributes in random order.

    Args:
        labels: the face's attributes.
        rng: chooses the order, the wording and the sentences.
        names: the attributes to mention, in any order; by default all that apply, of which four captions in ten leave
            out one to three, as people do.
    """
    predicates = [rng.choice(WORDING[name].predicates[labels[name]]) for name in _mentioned(labels, rng, names)]
    sentences = []
    while predicates:
        size = min(rng.randint(2, 5), len(predicates))
        chosen, predicates = predicates[:size], predicates[size:]
        subject = rng.choice(SUBJECTS if sentences else OPENINGS)
        if subject == "They":
            chosen = [_plural(predicate) for predicate in chosen]
        sentences.append(f"{subject} {_enumerate(chosen)}.")
    return " ".join(sentences)


def context(labels: Labels, level: str, rng: Random, names: tuple[str, ...] | None = None) -> str:
    """Tell a face's attributes as a text-only conversation does, at one level of the curriculum.

    Args:
        labels: the face's attributes.
        level: "tags" (one fixed clause for each value: "sad, red hair"), "clauses" (varied clauses: "a sad
            expression, hair that is red") or "caption" (prose).
        rng: chooses order and wording.
        names: the attributes to mention; all that apply by default.

    Raises:
        ValueError: if the level is unknown.
    """
    if names is None:
        names = tuple(name for name in NAMES if labels[name] is not None)
    if level == "caption":
        return caption(labels, rng, names)
    names = rng.sample(names, len(names))
    if level in ("tags", "clauses"):
        choose = rng.choice if level == "clauses" else lambda predicates: predicates[0]
        predicates = [choose(WORDING[name].predicates[labels[name]]) for name in names]
        return ", ".join(predicate.split(" ", 1)[1] for predicate in predicates) + "."
    raise ValueError(f"level={level!r}: choose one of {', '.join(TEXT_LEVELS)}")


def basic_questions(labels: Labels, rng: Random, count: int) -> list[tuple[str, str]]:
    """`count` yes/no and either/or questions about different trained attributes, each with its answer (stage 2)."""
    return [_basic_question(name, labels, rng) for name in rng.sample(TRAINED, count)]


def face_task_questions(labels: Labels, rng: Random, count: int) -> list[tuple[str, str]]:
    """`count` open questions about different trained attributes, in paraphrases, each with its answer (stage 3)."""
    return [_open_question(name, labels, rng) for name in rng.sample(TRAINED, count)]


def text_questions(
    labels: Labels, rng: Random, count: int, names: tuple[str, ...] | None = None, basic: float = 1 / 3
) -> list[tuple[str, str]]:
    """`count` questions about different attributes, the held-out ones too: for text-only conversations.

    `names` are the attributes that the context mentions (fewer than `count`: all are asked for); `basic` is the
    share of yes/no and either/or questions, the others are open.
    """
    names = tuple(name for name in names or WORDING if labels[name] is not None)
    chosen = rng.sample(names, min(count, len(names)))
    return [(_basic_question if rng.random() < basic else _open_question)(name, labels, rng) for name in chosen]


def _mentioned(labels: Labels, rng: Random, names: tuple[str, ...] | None) -> list[str]:
    if names is not None:
        return rng.sample(names, len(names))
    known = [name for name in WORDING if labels[name] is not None]
    left_out = rng.randint(1, 3) if rng.random() < 0.4 else 0
    return rng.sample(known, len(known) - left_out)


def _open_question(name: str, labels: Labels, rng: Random) -> tuple[str, str]:
    return rng.choice(WORDING[name].questions), labels[name]


def _basic_question(name: str, labels: Labels, rng: Random) -> tuple[str, str]:
    """A yes/no question (yes half the time) or an either/or question; an open one if the values are yes and no."""
    wording, value = WORDING[name], labels[name]
    if not wording.yes_no:
        return _open_question(name, labels, rng)
    others = [other for other in wording.yes_no if other != value]
    if rng.random() < 0.5:
        asked = value if rng.random() < 0.5 else rng.choice(others)
        return wording.yes_no[asked], "yes" if asked == value else "no"
    pair = rng.sample((value, rng.choice(others)), 2)
    return wording.either_or.format(*(wording.choices[choice] for choice in pair)), value


def _plural(predicate: str) -> str:
    verb, rest = predicate.split(" ", 1)
    return f"{PLURAL_VERBS[verb]} {rest}"


def _enumerate(phrases: list[str]) -> str:
    return phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]
