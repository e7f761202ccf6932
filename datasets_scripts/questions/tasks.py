"""How every label is asked about and answered, in one table: `TASKS`, by the name of the task.

A new label is a new row here, or in `attribute_tasks.py` if it is an attribute; its canonical question and its options
are in the model's table. A new dataset is a reader in `sources/` that names the rows it has labels for. Left and right
are the viewer's.
"""

from collections.abc import Mapping
from typing import Any

from datasets_scripts.schema import AGE_EDGES, AGE_GROUPS
from modeling_facemllm import face_task_table_facemllm as table

from .attribute_tasks import ATTRIBUTE_TASKS
from .claims import Claim
from .closed_task import NO_WORDING, Task, closed_task
from .measured_tasks import NumberTask, PartsTask, UnitsTask
from .wordings import WORDINGS

AnyTask = Task | NumberTask | PartsTask | UnitsTask


def _age_ranges() -> tuple[Claim, ...]:
    """Claims at the edges of the age groups, so that every one of them is exactly true or exactly false."""
    ranges = [Claim("an infant", AGE_GROUPS[:1], AGE_GROUPS[1:]), Claim("a child", AGE_GROUPS[:2], AGE_GROUPS[3:])]
    ranges.append(Claim("an adult", AGE_GROUPS[3:], AGE_GROUPS[:2]))
    for edge, years in enumerate(AGE_EDGES, start=1):
        ranges.append(Claim(f"younger than {years}", AGE_GROUPS[:edge], AGE_GROUPS[edge:]))
        ranges.append(Claim(f"{years} or older", AGE_GROUPS[edge:], AGE_GROUPS[:edge]))
    return tuple(ranges)


_RACES = {"Latino or Hispanic": "Latino_Hispanic"}  # the label's spelling of an option

PEOPLE: dict[str, Task] = {
    "gender": closed_task(
        "gender",
        "Which gender does this person appear to have?",
        "What gender is the person in this picture?",
        "Judging by the face, what is this person's gender?",
        claims={"female": ("female",), "male": ("male",)},
        wording=WORDINGS["gender"],
    ),
    "age": closed_task(
        "age",
        "How old is this person, roughly?",
        "Which age group does this person belong to?",
        "About how many years old is the person in this picture?",
        "Judging by the face, how old is this person?",
        label="age_group",
        values=dict(zip(table.RANGED["age"][2], AGE_GROUPS, strict=True)),
        claims={
            "0-2": ("a baby", "0 to 2 years old"),
            "3-9": ("3 to 9 years old", "between 3 and 9"),
            "10-19": ("10 to 19 years old", "an adolescent"),
            "20-29": ("in their twenties", "20 to 29 years old"),
            "30-39": ("in their thirties", "30 to 39 years old"),
            "40-49": ("in their forties", "40 to 49 years old"),
            "50-59": ("in their fifties", "50 to 59 years old"),
            "60-69": ("in their sixties", "60 to 69 years old"),
            "more than 70": ("at least 70 years old", "over 69 years old"),
        },
        ranges=_age_ranges(),
        ordered=True,
        group="age",
        wording=WORDINGS["age"],
    ),
    "race": closed_task(
        "race",
        "Which of the race labels of the data set fits this face?",
        values=_RACES,
        statement="An annotator would label this face {claim}.",
        checks=("Would an annotator label this face {claim}?",),
        claims={_RACES.get(option, option): (option,) for option in table.CLOSED_QUESTIONS["race"][1]},
        on_request=True,
    ),
}

AGE_IN_YEARS = NumberTask(
    label="age",
    questions=(
        table.AGE_IN_YEARS,
        "How many years old is this person?",
        "What is the age in years of the person in this picture?",
    ),
    form=table.WHOLE_NUMBER,
    statements=("{number}.", "{number} years old.", "This person is {number} years old."),
    comparisons=(
        ("Is this person older than {number}?", True),
        ("Is this person younger than {number}?", False),
        ("Is the person in the picture more than {number} years old?", True),
    ),
    margins=(2, 20),
    group="age",
)

EXPRESSION: dict[str, AnyTask] = {
    "expression": closed_task(
        "expression",
        "What is the facial expression of this person?",
        "How would an annotator label the expression of this face?",
        "What does the expression of this face look like?",
        statement="This face shows {claim}.",
        checks=("Does this face show {claim}?", "Would an annotator say that this face shows {claim}?"),
        claims={
            "neutral": ("no particular expression", "a neutral expression"),
            "happiness": ("happiness", "a happy expression"),
            "sadness": ("sadness", "a sad expression"),
            "surprise": ("surprise", "a surprised expression"),
            "fear": ("fear", "a fearful expression"),
            "disgust": ("disgust", "a disgusted expression"),
            "anger": ("anger", "an angry expression"),
            "contempt": ("contempt", "a contemptuous expression"),
        },
        extra=("contempt",),
        group="expression",
    ),
    "valence": closed_task(
        "valence",
        "What is the valence of this expression?",
        statement="The expression is {claim}.",
        checks=("Is the expression of this face {claim}?",),
        claims={
            "negative": ("negative", "unpleasant"),
            "neutral": ("neutral", "of neutral valence"),
            "positive": ("positive", "pleasant"),
        },
        bins={"negative": (-1, -0.25), "neutral": (-0.25, 0.25), "positive": (0.25, 1.01)},
        ordered=True,
        group="expression",
    ),
    "arousal": closed_task(
        "arousal",
        "What is the arousal of this expression?",
        statement="The expression is {claim}.",
        checks=("Is the expression of this face {claim}?",),
        claims={"calm": ("calm",), "moderate": ("moderately excited",), "excited": ("very excited",)},
        bins={"calm": (-1, 0.0), "moderate": (0.0, 0.5), "excited": (0.5, 1.01)},
        ordered=True,
        group="arousal",
    ),
}


def _angle(name: str, wording: str, values: Mapping[str, str] | None = None, **row: Any) -> Task:
    """An angle's row: the model's table says where the bins meet; the outermost hold whatever lies beyond."""
    ranges = table.RANGED[name][2]
    edges = [low for low, _ in ranges.values()][1:]
    bounds = zip(ranges, (-180, *edges), (*edges, 180.1), strict=True)
    bins = {(values or {}).get(option, option): (low, high) for option, low, high in bounds}
    further = WORDINGS.get(name, NO_WORDING)
    return closed_task(name, wording, values=values, bins=bins, ordered=True, group=name, wording=further, **row)


_CHECK_POSE = ("Is the head {claim}?", "Would you say that the head is {claim}?")

HEAD_POSE: dict[str, AnyTask] = {  # the signs of the angles: sources/head_pose.py
    "yaw": _angle(
        "yaw",
        "Where does the nose point?",
        values={
            "far to the right": "right profile",
            "to the right": "right",
            "to the front": "front",
            "to the left": "left",
            "far to the left": "left profile",
        },
        statement="The head is turned {claim}.",
        checks=("Is the head turned {claim}?", "Is this head turned {claim}?"),
        claims={
            "right profile": ("far to the right",),
            "right": ("moderately to the right",),
            "front": ("to the front",),
            "left": ("moderately to the left",),
            "left profile": ("far to the left",),
        },
    ),
    "pitch": _angle(
        "pitch",
        "How is the head nodded?",
        statement="The head is {claim}.",
        checks=_CHECK_POSE,
        claims={"down": ("lowered",), "level": ("level",), "up": ("raised",)},
    ),
    "roll": _angle(
        "roll",
        "How is the head tilted?",
        statement="The head is {claim}.",
        checks=_CHECK_POSE,
        claims={"left": ("tilted to the left",), "upright": ("upright",), "right": ("tilted to the right",)},
    ),
}

ACTION_UNITS = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    11: "nasolabial deepener",
    12: "lip corner puller",
    13: "cheek puffer",
    14: "dimpler",
    15: "lip corner depressor",
    16: "lower lip depressor",
    17: "chin raiser",
    18: "lip pucker",
    20: "lip stretcher",
    22: "lip funneler",
    23: "lip tightener",
    24: "lip pressor",
    25: "lips part",
    26: "jaw drop",
    27: "mouth stretch",
    28: "lip suck",
}

TOGETHER: dict[str, AnyTask] = {
    "head_pose": PartsTask(
        parts=HEAD_POSE,
        questions=("What is the pose of the head?", "How is the head held?", "Where does this face point?"),
        numbers_form=(
            "Give yaw, pitch and roll in degrees: positive is to the left for yaw, up for pitch, clockwise for roll."
        ),
        decimals=0,
        group="head_pose",
    ),
    "valence_arousal": PartsTask(
        parts={name: EXPRESSION[name] for name in ("valence", "arousal")},
        questions=("What are the valence and arousal of this expression?", "Rate the expression of this face."),
        numbers_form="Give valence and arousal from -1 to 1.",
        decimals=1,
        group="expression",
    ),
    "action_units": UnitsTask(
        names=ACTION_UNITS,
        questions=(
            "Which facial action units are active?",
            "Which action units of FACS does this face show?",
            "Which of these facial action units can be seen?",
        ),
        form="List them, or say none: {units}.",
        checks=("Is the {name} (AU{unit}) active?", "Does this face show the {name}, action unit {unit}?"),
        group="action_units",
    ),
}

TASKS: dict[str, AnyTask] = {
    **PEOPLE,
    "age_years": AGE_IN_YEARS,
    **EXPRESSION,
    **HEAD_POSE,
    **TOGETHER,
    **ATTRIBUTE_TASKS,
}
"""Every task by name, in the order in which they are listed."""

TASK_GROUPS = {"attributes": tuple(ATTRIBUTE_TASKS)}
"""Words that stand for several tasks: those of them are asked whose label is known."""
