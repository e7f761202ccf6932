"""What people type: further wordings of the eight tasks that a photograph's labels and its measures answer.

Corpora train on them; `held_out` has others, to measure with. No wording of one
task may be read as one of another: light is asked for by its direction, exposure by brightness of the picture (never
of the face, which could mean skin). No one is called a teenager, because the group 10-19 begins earlier.
`{they}` and `{their}` are pronouns (`claims.with_pronouns`).
"""

from collections.abc import Iterator

from datasets_scripts.schema import AGE_EDGES, AGE_GROUPS
from modeling_facemllm import face_task_table_facemllm as table

from .claims import Claim, EitherOr, Wording

_CHILDREN, _ADULTS = AGE_GROUPS[:2], AGE_GROUPS[3:]
_BABIES, _FROM_THIRTY = AGE_GROUPS[:1], AGE_GROUPS[4:]
_YAW = ("right profile", "right", "front", "left", "left profile")
_LIGHT = table.CLOSED_QUESTIONS["light_direction"][1]
_EXPOSURE = ("dark", "balanced", "overexposed")


def _claims(true_for: tuple[str, ...], false_for: tuple[str, ...], *questions: str) -> Iterator[Claim]:
    for question in questions:
        yield Claim(question, true_for, false_for)


def _each(values: tuple[str, ...], value: str, *questions: str) -> Iterator[Claim]:
    """Questions that are true of one value and false of all others."""
    return _claims((value,), tuple(other for other in values if other != value), *questions)


def _called(gender: str, *questions: str, grown: bool) -> Iterator[Claim]:
    """Questions that call someone a man or a woman, or else a boy or a girl; of the ages between it is undefined."""
    ages = ("age_group", _ADULTS, _CHILDREN) if grown else ("age_group", _CHILDREN, _FROM_THIRTY)
    for question in questions:
        yield Claim(question, (gender,), ("male" if gender == "female" else "female",), ages)


def _gender_checks() -> Iterator[Claim]:
    for gender in ("female", "male"):
        yield from _each(
            ("female", "male"),
            gender,
            f"{gender.capitalize()}?",
            f"Is it a {gender}?",
            f"Is this a {gender} face?",
            f"Is the person {gender}?",
            f"Is the gender {gender}?",
            f"Does this person look {gender}?",
            f"Would you say that this person is {gender}?",
        )
    for gender, noun in (("female", "woman"), ("male", "man")):
        yield from _called(
            gender,
            f"A {noun}?",
            f"Is this a {noun}?",
            f"Is it a {noun}?",
            f"Is that a {noun}?",
            f"Is the person a {noun}?",
            f"Is there a {noun} in the picture?",
            f"Does the photo show a {noun}?",
            f"Do you see a {noun}?",
            grown=True,
        )
    for gender, noun in (("female", "lady"), ("male", "guy"), ("male", "gentleman")):
        yield from _called(gender, f"Is this a {noun}?", f"Is it a {noun}?", grown=True)
    for gender, noun in (("female", "girl"), ("male", "boy")):
        yield from _called(
            gender,
            f"A {noun}?",
            f"Is this a {noun}?",
            f"Is it a {noun}?",
            f"Is the person a {noun}?",
            f"Is there a {noun} in the picture?",
            f"Does the photo show a {noun}?",
            grown=False,
        )


def _age_checks() -> Iterator[Claim]:
    kinds = (
        ("child", _CHILDREN, _ADULTS),
        ("kid", _CHILDREN, _ADULTS),
        ("baby", _BABIES, AGE_GROUPS[1:]),
        ("grown-up", _ADULTS, _CHILDREN),
    )
    for noun, true_for, false_for in kinds:
        yield from _claims(
            true_for,
            false_for,
            f"Is this a {noun}?",
            f"Is it a {noun}?",
            f"Does the picture show a {noun}?",
        )
    yield from _claims(_ADULTS, _CHILDREN, "Is this an adult?", "Is it an adult?", "Does the picture show an adult?")
    yield from _each(AGE_GROUPS, "10-19", "Is this an adolescent?", "Is it an adolescent?")
    for place, years in enumerate(AGE_EDGES, start=1):
        younger, older = AGE_GROUPS[:place], AGE_GROUPS[place:]
        yield from _claims(younger, older, f"Under {years}?", f"Is this person under {years}?")
        yield from _claims(older, younger, f"{years} or over?", f"Is this person at least {years} years old?")


def _yaw_checks() -> Iterator[Claim]:
    yield from _each(
        _YAW,
        "front",
        "Facing the camera?",
        "Is the person facing the camera?",
        "Is this person facing forward?",
        "Is the head facing forward?",
        "Is this a frontal view?",
        "Is the face seen from the front?",
        "Does the face point straight at the camera?",
    )
    for side, other in (("left", "right"), ("right", "left")):
        yield from _claims(
            (side, f"{side} profile"),
            ("front", other, f"{other} profile"),
            f"Facing {side}?",
            f"Is the head turned {side}?",
            f"Is the face turned {side}?",
            f"Is the person facing {side}?",
            f"Does the face point to the {side}?",
            f"Is this person turned to the {side}?",
        )
    yield from _claims(
        ("left profile", "right profile"),
        ("front",),
        "Is this a profile view?",
        "Is the face in profile?",
        "Is the face seen from the side?",
    )
    yield from _claims(
        ("left profile", "left", "right", "right profile"),
        ("front",),
        "Is the head turned to one side?",
        "Is the face turned away to one side?",
    )


def _roll_checks() -> Iterator[Claim]:
    values = ("left", "upright", "right")
    yield from _each(
        values,
        "upright",
        "Head upright?",
        "Is the head held upright?",
        "Is the face upright?",
        "Is this person holding the head upright?",
        "Is the head without any tilt?",
    )
    for side in ("left", "right"):
        yield from _each(
            values,
            side,
            f"Tilted {side}?",
            f"Is the head tilted {side}?",
            f"Is the head leaning {side}?",
            f"Does the head lean to the {side}?",
            f"Is the face tilted to the {side}?",
            f"Does the person tilt the head to the {side}?",
        )
    yield from _claims(
        ("left", "right"),
        ("upright",),
        "Head tilted?",
        "Is the head tilted?",
        "Is the head tilted to one side?",
        "Does the head lean to one side?",
        "Is the head leaning at all?",
    )


def _light_checks() -> Iterator[Claim]:
    yield from _each(
        _LIGHT,
        "even",
        "Even light?",
        "Is the lighting even?",
        "Is the face evenly lit?",
        "Is the light spread evenly?",
        "Is there the same light on both sides?",
        "Are both sides of the face lit alike?",
    )
    for side in ("left", "right"):
        yield from _each(
            _LIGHT,
            f"from the {side}",
            f"Light from the {side}?",
            f"Does the light come from the {side}?",
            f"Is the face lit from the {side}?",
            f"Is the light source on the {side}?",
            f"Does the light fall from the {side}?",
        )
    yield from _claims(
        ("from the left", "from the right"),
        ("even",),
        "Is the face lit from one side?",
        "Does the light come from one side?",
        "Is the light stronger on one side?",
    )


def _exposure_checks() -> Iterator[Claim]:
    yield from _each(
        _EXPOSURE,
        "dark",
        "Too dark?",
        "Underexposed?",
        "Is the picture dark?",
        "Is the photo too dark?",
        "Is the picture underexposed?",
        "Is this photo underexposed?",
    )
    yield from _each(
        _EXPOSURE,
        "balanced",
        "Well exposed?",
        "Is the photo well exposed?",
        "Is the picture properly exposed?",
        "Is the exposure right?",
        "Is the exposure balanced?",
        "Is the brightness of the photo right?",
    )
    yield from _each(
        _EXPOSURE,
        "overexposed",
        "Too bright?",
        "Overexposed?",
        "Is the picture overexposed?",
        "Is the photo too bright?",
        "Is this photo overexposed?",
        "Is the picture too bright?",
    )


def _sharpness_checks() -> Iterator[Claim]:
    yield from _each(
        ("sharp", "soft", "blurred"),
        "sharp",
        "Sharp?",
        "Is the photo sharp?",
        "Is the image sharp?",
        "Is it a sharp picture?",
        "Is the picture crisp?",
    )
    yield from _claims(
        ("sharp",), ("blurred",), "In focus?", "Is the photo in focus?", "Is the face in focus?", "Is the image clear?"
    )
    yield from _claims(
        ("blurred",),
        ("sharp",),
        "Blurry?",
        "Is it blurry?",
        "Is the photo blurry?",
        "Is the image blurred?",
        "Is this a blurry picture?",
        "Out of focus?",
        "Is the photo out of focus?",
        "Is the face out of focus?",
    )
    yield from _each(("sharp", "soft", "blurred"), "soft", "Soft focus?", "Is the photo a little soft?")


def _color_checks() -> Iterator[Claim]:
    yield from _claims(
        ("color",),
        ("black and white",),
        "In color?",
        "In colour?",
        "Is it in color?",
        "Is it in colour?",
        "Is the photo in color?",
        "Is the photo in colour?",
        "Is the picture in colour?",
        "Is this a colour photo?",
        "Is this a color picture?",
        "Does the photo have color?",
        "Does the photo have colour?",
    )
    yield from _claims(
        ("black and white",),
        ("color",),
        "Black and white?",
        "Monochrome?",
        "Is it black and white?",
        "Is the photo black and white?",
        "Is the photo in black and white?",
        "Is this a black-and-white picture?",
        "Is the picture monochrome?",
        "Is this a monochrome photo?",
        "Is the photo grayscale?",
        "Is the image greyscale?",
        "Is the picture without color?",
        "Is the picture without colour?",
    )


_YEARS = {group: group.replace("-", " to ") for group in AGE_GROUPS[:-1]} | {AGE_GROUPS[-1]: "70 or more"}
_GROWN = dict.fromkeys(_CHILDREN, "a child") | dict.fromkeys(_ADULTS, "an adult")
_SIDES = {f"{side}{far}": f"to the {side}" for side in ("left", "right") for far in ("", " profile")}
_TILTED = {"left": "tilted", "right": "tilted"}

WORDINGS: dict[str, Wording] = {
    "gender": Wording(
        phrases=(
            "the gender of {who}",
            "the sex of {who}",
            "which gender {who} has",
            "the apparent gender of {who}",
            "what gender {who} is",
            "the gender that you see",
            "the gender",
            "the sex",
            "what sex {who} is",
            "the gender to note for {who}",
            "whether {who} is a man or a woman",
            "whether {who} is male or female",
            "which of the two genders {who} seems to have",
            "how {who} would be gendered",
            "the likely gender of {who}",
            "which sex {who} appears to be",
        ),
        questions=(
            "Gender?",
            "What gender?",
            "Which gender?",
            "Sex?",
            "What's the gender?",
            "What gender is this person?",
            "What gender is this?",
            "What is the person's gender?",
            "What is the gender of the person in the photo?",
            "What is the gender of this face?",
            "Which gender is the person in the picture?",
            "Which gender do you see?",
            "What gender does this person look like?",
            "What gender does the face look like?",
            "Which gender does the face suggest?",
            "What gender would you say this is?",
            "What would you say the gender is?",
            "What is the apparent gender?",
            "Can you tell the gender?",
            "Can you tell me this person's gender?",
            "Tell me the gender of this person.",
            "Name the gender of the person in the photo.",
            "Guess the gender.",
            "Guess this person's gender.",
            "Identify the gender.",
            "Determine the gender of the person.",
            "Classify this face by gender.",
            "What is the sex of this person?",
            "What sex is the person in the photo?",
            "Going by looks, which gender is it?",
        ),
        checks=tuple(_gender_checks()),
        either_or=(
            EitherOr(
                (
                    "{claim}?",
                    "Is the person {claim}?",
                    "Is the face {claim}?",
                    "Is it {claim}?",
                    "Which one: {claim}?",
                ),
                {"female": "female", "male": "male"},
            ),
            EitherOr(
                ("Is this {claim}?", "Is it {claim}?", "Is the person {claim}?", "Does the photo show {claim}?"),
                {"female": "a woman", "male": "a man"},
                ("age_group", _ADULTS),
            ),
            EitherOr(
                ("{claim}?", "Which is it: {claim}?"), {"female": "woman", "male": "man"}, ("age_group", _ADULTS)
            ),
            EitherOr(
                ("Is this {claim}?", "Is it {claim}?", "Is the child {claim}?", "Does the photo show {claim}?"),
                {"female": "a girl", "male": "a boy"},
                ("age_group", _CHILDREN),
            ),
            EitherOr(("{claim}?",), {"female": "girl", "male": "boy"}, ("age_group", _CHILDREN)),
        ),
    ),
    "age": Wording(
        phrases=(
            "the age of {who}",
            "how old {who} is",
            "which age group {who} is in",
            "the approximate age of {who}",
            "how old {who} looks",
            "the age bracket of {who}",
            "what age {who} is",
            "which age range {who} falls into",
            "the probable age of {who}",
            "the age",
            "the age group",
            "the age range of {who}",
            "the age category of {who}",
            "roughly how old {who} might be",
            "how many years old {who} seems",
            "in which decade of life {who} is",
            "the likely age of {who}",
            "what age group {who} belongs to",
            "how young or old {who} appears",
            "the years of age of {who}",
        ),
        questions=(
            "Age?",
            "How old?",
            "What age?",
            "Age group?",
            "What age group?",
            "Which age group?",
            "How old {are they}?",
            "What is {their} age?",
            "How old do you think {they} might be?",
            "How old is this person?",
            "How old is the person?",
            "How old is the person in the photo?",
            "What age is this person?",
            "What age is the person in the picture?",
            "What is this person's age?",
            "What is the age of this person?",
            "What is the approximate age?",
            "Roughly how old is this person?",
            "About how old is the person shown?",
            "How old does this person look?",
            "How old does the face look?",
            "How old would you say this person is?",
            "What age would you say?",
            "What age does this person seem to be?",
            "What age range is this face in?",
            "Which age range fits this person?",
            "In which age group is this person?",
            "Can you estimate the age?",
            "Estimate the age of this person.",
            "Guess the age.",
            "Guess how old this person is.",
            "Tell me how old this person looks.",
            "Judge the age of the person.",
        ),
        checks=tuple(_age_checks()),
        either_or=(
            EitherOr(("{claim}?", "Is this {claim}?", "Is it {claim}?", "Does the picture show {claim}?"), _GROWN),
            EitherOr(("Is the age {claim}?", "{claim} years old?", "How old, {claim}?"), _YEARS),
        ),
    ),
    "yaw": Wording(
        phrases=(
            "which way {who} is looking",
            "where {who} is turned to",
            "which way {who} is facing",
            "the direction of the head of {who}",
            "which way the head of {who} is turned",
            "the side that {who} is turned to",
            "where the head of {who} points",
            "the direction in which {who} faces",
            "whether {who} faces left, right or the front",
            "how far {who} has turned away",
            "the orientation of the head",
            "the way that {who} is turned",
            "the head pose to the side",
            "to which side {who} has turned",
        ),
        questions=(
            "Facing which way?",
            "Turned which way?",
            "Head direction?",
            "Direction of the head?",
            "Which way is the face turned?",
            "Which way is the person facing?",
            "Which way is this person turned?",
            "Which way {are they} facing?",
            "Which way {do they} face?",
            "Which way does the face point?",
            "Which way is the head facing?",
            "What way is the head turned?",
            "Which direction is the head turned?",
            "In which direction is the head turned?",
            "In what direction is the face turned?",
            "Which direction is this person facing?",
            "What direction does the face point?",
            "What is the direction of the head?",
            "To which side is the head turned?",
            "To which side is the face turned?",
            "Where is the person facing?",
            "Where is the head turned?",
            "How is the head turned?",
            "How far and which way is the head turned?",
            "Is the head turned, and which way?",
            "Which way has the person turned the head?",
            "Left, right or straight ahead: which way is the face turned?",
            "Tell me which way the head is turned.",
            "Say which way the person is facing.",
            "What is the yaw of the head?",
        ),
        checks=tuple(_yaw_checks()),
        either_or=(
            EitherOr(
                ("Is the face turned {claim}?", "Is the person turned {claim}?", "Does the face point {claim}?"),
                {**_SIDES, "front": "to the front"},
            ),
            EitherOr(
                ("Facing {claim}?", "Is the person facing {claim}?", "Is the head facing {claim}?"),
                {place: words.removeprefix("to the ") for place, words in _SIDES.items()} | {"front": "the camera"},
            ),
        ),
    ),
    "roll": Wording(
        phrases=(
            "which way the head of {who} leans",
            "how the head of {who} is tilted",
            "the tilt of the head of {who}",
            "which way the head of {who} is tilted",
            "the side that the head of {who} leans to",
            "whether the head of {who} is tilted",
            "to which side {who} tilts the head",
            "the lean of the head",
            "the head tilt",
            "how upright {who} holds the head",
            "whether {who} holds the head straight",
            "the sideways tilt of {who}",
        ),
        questions=(
            "Head tilt?",
            "Tilted which way?",
            "Leaning which way?",
            "Which way is the head tilted?",
            "Which way does the head tilt?",
            "Which way is the face tilted?",
            "Which way is the person tilting the head?",
            "Which way {are they} tilting the head?",
            "Which way {do they} lean the head?",
            "What way is the head tilted?",
            "To which side does the head lean?",
            "To which side is the head tilted?",
            "Which side is the head tilted to?",
            "What side is the head leaning to?",
            "In which direction is the head tilted?",
            "In which direction does the head lean?",
            "Which direction is the head leaning?",
            "Is the head tilted, and which way?",
            "Is the head upright or leaning, and which way?",
            "Does the head lean to a side, and to which?",
            "How does the head lean?",
            "How is the face tilted?",
            "How does the person tilt the head?",
            "What is the tilt of the head?",
            "What is the roll of the head?",
            "Left, right or upright: how is the head tilted?",
            "Tell me which way the head leans.",
            "Say how the head is tilted.",
            "Describe the tilt of the head.",
        ),
        checks=tuple(_roll_checks()),
        either_or=(
            EitherOr(("{claim}?", "Is the head {claim}?", "Is the face {claim}?"), {"upright": "upright", **_TILTED}),
            EitherOr(
                ("Does the head lean {claim}?", "Is the head leaning {claim}?", "Is the face tilted {claim}?"),
                {"left": "to the left", "right": "to the right"},
            ),
        ),
    ),
    "light_direction": Wording(
        phrases=(
            "where the light on {who} comes from",
            "the direction that the light on {who} comes from",
            "which side the light on {who} comes from",
            "which way the light falls on {who}",
            "the side that {who} is lit from",
            "the direction of the lighting",
            "the light direction",
            "how the light falls on {who}",
            "from where {who} is lit",
            "whether {who} is lit from a side",
            "where the lamp or window must be",
            "where the illumination comes from",
        ),
        questions=(
            "Light direction?",
            "Direction of the light?",
            "Light from where?",
            "Lit from which side?",
            "Where is the light coming from?",
            "Where does the light on the face come from?",
            "Where does the main light come from?",
            "Where is the light source?",
            "Where is the face lit from?",
            "From where does the light come?",
            "From where does light fall on the face?",
            "Which direction does the light come from?",
            "From which direction does the light come?",
            "From which direction is the face lit?",
            "From which side does the light come?",
            "From which side is the face lit?",
            "What side is the light on?",
            "Which side of the face does the light fall on?",
            "Which side is the light source on?",
            "Which way does the light fall on the face?",
            "What is the direction of the light?",
            "What is the light direction?",
            "What is the main direction of light?",
            "What direction is the lighting from?",
            "How does the light fall on the face?",
            "Is the light even, or from which side?",
            "Does the light come from a side, and which?",
            "Tell me where the light comes from.",
            "Say from which side the light falls.",
            "Describe where the light comes from.",
        ),
        checks=tuple(_light_checks()),
        either_or=(
            EitherOr(
                ("Light {claim}?", "Does the light come {claim}?", "Is the face lit {claim}?"),
                {"from the left": "from the left", "from the right": "from the right"},
            ),
            EitherOr(
                ("Is the light {claim}?", "Is the lighting {claim}?"),
                {"even": "even", "from the left": "from one side", "from the right": "from one side"},
            ),
        ),
    ),
    "picture_exposure": Wording(
        phrases=(
            "how bright {picture} is",
            "how dark or bright {picture} is",
            "the exposure of {picture}",
            "how well {picture} is exposed",
            "whether {picture} is too dark or too bright",
            "the brightness of {picture}",
            "the exposure",
            "whether the exposure of {picture} is right",
            "how light {picture} came out",
            "the exposure quality of {picture}",
        ),
        questions=(
            "Exposure?",
            "Brightness?",
            "How bright?",
            "How bright is the picture?",
            "How bright is the photo?",
            "How bright is this image?",
            "How dark or bright is this photo?",
            "How dark or bright is the picture?",
            "How is the exposure?",
            "How is the picture exposed?",
            "How is the photo exposed?",
            "How is this image exposed?",
            "How was the picture exposed?",
            "How was the photo exposed?",
            "How well is the face exposed?",
            "How well exposed is the photo?",
            "How well exposed is this picture?",
            "What is the exposure?",
            "What is the exposure like?",
            "What is the exposure of the face?",
            "What is the exposure of this image?",
            "What exposure does the photo have?",
            "What is the brightness of the picture?",
            "How would you rate the exposure?",
            "Too dark, too bright or fine?",
            "Is the photo too dark, too bright or about right?",
            "Rate the exposure of the photo.",
            "Judge the exposure of the picture.",
            "Describe the exposure.",
            "Tell me how the face is exposed.",
        ),
        checks=tuple(_exposure_checks()),
        either_or=(
            EitherOr(
                ("{claim}?", "Is the photo {claim}?", "Is the picture {claim}?", "Is this image {claim}?"),
                {"dark": "too dark", "balanced": "well exposed", "overexposed": "too bright"},
            ),
            EitherOr(
                ("Is the photo {claim}?", "Is the picture {claim}?"),
                {"dark": "underexposed", "balanced": "well exposed", "overexposed": "overexposed"},
            ),
        ),
    ),
    "picture_sharpness": Wording(
        phrases=(
            "how sharp {picture} is",
            "the sharpness of {picture}",
            "how blurred {picture} is",
            "how well focused {picture} is",
            "the focus of {picture}",
            "whether {picture} is sharp or blurred",
            "the sharpness",
            "how clear or blurry {picture} looks",
            "how crisp {picture} is",
            "the amount of blur in {picture}",
            "whether {picture} is in focus",
            "the degree of sharpness in {picture}",
        ),
        questions=(
            "Sharpness?",
            "Focus?",
            "How sharp?",
            "How blurry?",
            "How sharp is the photo?",
            "How sharp is this image?",
            "How sharp is the face?",
            "How sharp is the focus?",
            "How sharp does the photo look?",
            "How sharp did the picture turn out?",
            "How clear is the picture?",
            "How clear is the photo?",
            "How crisp is the image?",
            "How is the focus?",
            "How good is the focus on the face?",
            "How well is the face in focus?",
            "How well focused is the photo?",
            "How blurry is the picture?",
            "How blurred is the image?",
            "How blurry does the face look?",
            "How much blur is there?",
            "How much blur does the photo have?",
            "What is the sharpness?",
            "What is the sharpness of the photo?",
            "What is the focus like?",
            "What can you say about the sharpness?",
            "Sharp, soft or blurred?",
            "Rate the sharpness of the picture.",
            "Judge how sharp the face is.",
            "Describe the sharpness of the photo.",
            "Tell me how sharp the picture is.",
        ),
        checks=tuple(_sharpness_checks()),
        either_or=(
            EitherOr(
                ("{claim}?", "Is the photo {claim}?", "Is the image {claim}?", "Is it {claim}?"),
                {"sharp": "sharp", "blurred": "blurry"},
            ),
            EitherOr(
                ("{claim}?", "Is the photo {claim}?", "Is the face {claim}?"),
                {"sharp": "in focus", "blurred": "out of focus"},
            ),
        ),
    ),
    "picture_colors": Wording(
        phrases=(
            "what kind of colors {picture} has",
            "which colors {picture} is in",
            "the colors of {picture}",
            "the colours of {picture}",
            "the color mode of {picture}",
            "whether {picture} is in color or black and white",
            "whether {picture} is a color photo",
            "the color type of {picture}",
            "if {picture} has color",
            "the kind of coloring of {picture}",
            "whether {picture} is tinted",
        ),
        questions=(
            "Colors?",
            "Colours?",
            "Color mode?",
            "Colour mode?",
            "What colours does the picture have?",
            "What colors does the photo have?",
            "What colours does this image have?",
            "What kind of colors does the photo have?",
            "What kind of colours does the picture have?",
            "What sort of color does the image have?",
            "What is the color mode of the photo?",
            "What is the colour mode of the picture?",
            "Which color mode is this picture in?",
            "Which colours is the photo in?",
            "What color type is the picture?",
            "What colour type is the photo?",
            "What are the colors of the image like?",
            "What are the colours of the picture like?",
            "How is the picture colored?",
            "How is the photo coloured?",
            "How are the colours of the photo?",
            "How are the colors of the picture?",
            "What kind of picture is this, as to color?",
            "In terms of colour, what kind of photo is this?",
            "With or without color: which is the picture?",
            "Does the photo have colors, and of what kind?",
            "Is there colour in the picture, and of what kind?",
            "What kind of color does this photograph use?",
            "Which kind of colours does this photograph show?",
            "Judge the colors of the picture.",
            "Describe the colors of the photograph.",
            "Describe the colours of the picture.",
            "Tell me about the colors of the picture.",
            "Tell me about the colours of the photo.",
            "Say what colors the photo is in.",
        ),
        checks=tuple(_color_checks()),
        either_or=(
            EitherOr(
                ("{claim}?", "Is the photo {claim}?", "Is the image {claim}?", "Is it {claim}?"),
                {"color": "in color", "black and white": "in black and white"},
            ),
            EitherOr(
                ("{claim}?", "Is the picture {claim}?", "Is this photo {claim}?"),
                {"color": "in colour", "black and white": "monochrome"},
            ),
            EitherOr(("{claim}?",), {"color": "color", "black and white": "black and white"}),
            EitherOr(
                ("Is this {claim}?", "Do you see {claim}?"),
                {"color": "a colour photo", "black and white": "a black-and-white photo"},
            ),
        ),
    ),
}
