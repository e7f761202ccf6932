"""Questions that a model cannot answer from what it was trained on, so that it learns to say so.

A topic is asked about where no task of the corpus is about it (`Topic.tasks`). Who somebody is and what race they
are stays unanswerable in every corpus; one that is asked for race labels has its own question of them.
`{they}` and `{their}` are pronouns (`claims.with_pronouns`).
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from . import compositions
from .closed_task import STATED_OPTIONS, Pair
from .tasks import TASKS

CANNOT_TELL = (
    "I can't tell from this model's training.",
    "I can't tell: this model wasn't trained to answer that.",
    "I can't tell. That is not among the things this model was trained on.",
)
"""The answers; every one begins with the same three words, and none is an answer of a task."""

STATED_SHARE = 0.75
"""Of the unanswerable questions of `face_tasks`, how many state options, as all of its other questions do."""


@dataclass(frozen=True)
class Topic:
    """Something about a person or a photograph, and how it is asked for.

    `options` are stated with one of the open `questions`; `checks` are of yes or no, or of either or. `tasks` are the
    tasks that are about it, or their groups (`closed_task.Task.group`), `phrases` what is asked for
    (`compositions.py`).
    """

    questions: tuple[str, ...]
    options: tuple[str, ...]
    checks: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()


TOPICS: dict[str, Topic] = {
    "identity": Topic(
        (
            "Who is this?",
            "Who is this person?",
            "Who is in the picture?",
            "What is {their} name?",
            "What is this person called?",
            "Name?",
            "Which celebrity is this?",
            "Whose picture is this?",
            "To whom does the face belong?",
            "Have you seen this person before?",
            "Who might it be?",
        ),
        ("an actor", "a politician", "a singer", "nobody famous"),
        ("Is this person famous?", "Do you know this person?"),
        phrases=(
            "the name of {who}",
            "who {who} is",
            "the identity of {who}",
            "what {who} is called",
            "whose face it is",
            "whose portrait {picture} is",
            "the first name",
            "which famous person {who} resembles",
        ),
    ),
    "race": Topic(
        (
            "What is {their} race?",
            "What race is this person?",
            "Race?",
            "What is {their} ethnicity?",
            "Which ethnic group does this person belong to?",
            "What is this person's skin color?",
        ),
        ("White", "Black", "Asian", "Indian", "Hispanic"),
        ("Is this person white or black?", "Is this person Asian?"),
        ("race",),
        phrases=(
            "the race of {who}",
            "the ethnicity of {who}",
            "which ethnic group {who} belongs to",
            "the skin color of {who}",
            "the skin tone",
            "whether {who} is white or black",
            "the ethnic background",
        ),
    ),
    "religion": Topic(
        ("What is {their} religion?", "Which religion does this person follow?"),
        ("Christian", "Muslim", "Jewish", "Hindu", "none"),
        ("Is this person religious?",),
        phrases=(
            "the religion of {who}",
            "which religion {who} follows",
            "the faith of {who}",
        ),
    ),
    "nationality": Topic(
        (
            "What is {their} nationality?",
            "Which country does this person come from?",
            "What language {do they} speak?",
        ),
        ("American", "French", "Chinese", "Nigerian"),
        ("Is this person American?",),
        ("race",),
        phrases=(
            "the nationality of {who}",
            "which country {who} comes from",
            "the home country of {who}",
            "the language of {who}",
        ),
    ),
    "headwear": Topic(
        (
            "What hat does the person wear?",
            "What kind of hat is it?",
            "What is on {their} head?",
            "What headwear is worn?",
        ),
        ("none", "cap", "hat", "helmet"),
        ("Is the person wearing a hat?", "Is there a cap on {their} head?"),
        ("hat", "headwear"),
        phrases=(
            "what hat {who} wears",
            "the hat of {who}",
            "whether {who} wears a hat",
            "the cap",
            "what {who} has got on the head",
            "the headwear of {who}",
        ),
    ),
    "hair": Topic(
        (
            "What color is {their} hair?",
            "What colour is the hair?",
            "Hair color?",
            "How is {their} hair cut?",
            "What hairstyle does this person have?",
            "Which color is {their} hair?",
            "What color of hair can you see?",
            "Which colour would you call the hair?",
            "What hair does the person have?",
        ),
        ("black", "brown", "blond", "red", "gray"),
        ("Is the hair long or short?", "Is this person blond?", "Does this person have dark hair?"),
        ("hair color", "hair texture", "hairline", "forehead", "fringe"),
        phrases=(
            "the hair color of {who}",
            "the color of the hair of {who}",
            "the hairstyle of {who}",
            "how long the hair of {who} is",
            "which colour the hair has",
            "what color {who} dyed the hair",
            "the hair",
            "the haircut",
        ),
    ),
    "beard": Topic(
        ("What beard does the person have?", "What kind of facial hair is there?"),
        ("none", "stubble", "beard", "mustache"),
        ("Is there a beard?", "Does this person have a moustache?"),
        ("beard", "mustache", "sideburns", "facial_hair", "sideburn_length"),
        phrases=(
            "the beard of {who}",
            "what facial hair {who} has",
            "which kind of beard {who} has",
            "whether {who} has a beard",
            "the moustache",
        ),
    ),
    "eyewear": Topic(
        ("What glasses does the person wear?", "What kind of glasses are they?"),
        ("none", "eyeglasses", "sunglasses"),
        ("Is the person wearing glasses?", "Glasses or no glasses?", "Are those sunglasses?"),
        ("eyewear",),
        phrases=(
            "what glasses {who} wears",
            "the glasses of {who}",
            "whether {who} wears glasses",
            "the eyewear",
            "which kind of glasses {who} has",
        ),
    ),
    "eyes": Topic(
        ("What is {their} eye color?", "What color are {their} eyes?", "What colour do the eyes have?", "Eye colour?"),
        ("brown", "blue", "green", "gray"),
        ("Are the eyes blue or brown?", "Does this person have green eyes?"),
        ("eye color", "eye_color"),
        phrases=(
            "the eye color of {who}",
            "the color of the eyes of {who}",
            "which colour the eyes have",
            "the eyes",
            "what {who} is looking at",
        ),
    ),
    "expression": Topic(
        ("What expression does the person have?", "What is the look on {their} face?", "Facial expression?"),
        ("neutral", "happy", "sad", "angry", "surprised"),
        ("Is the person smiling?", "Is this a happy or a sad face?"),
        ("expression", "valence_arousal", "arousal", "action_units", "smile", "mouth", "smiling"),
        phrases=(
            "the expression of {who}",
            "the facial expression of {who}",
            "what expression {who} shows",
            "whether {who} smiles",
            "the smile",
        ),
    ),
    "emotion": Topic(
        ("What is the person feeling?", "What mood {are they} in?", "What emotion is this?", "What is {their} mood?"),
        ("joy", "sorrow", "rage", "boredom"),
        ("Is this person in love?", "Is the person stressed?"),
        ("expression", "valence_arousal", "arousal", "action_units", "smile"),
        phrases=(
            "the mood of {who}",
            "how {who} feels",
            "the emotion of {who}",
            "what {who} is feeling",
            "whether {who} is happy or sad",
            "the mood",
        ),
    ),
    "clothes": Topic(
        ("What is the person wearing?", "What clothes {do they} wear?", "What colour is the shirt?"),
        ("shirt", "dress", "suit", "sweater"),
        ("Is the person wearing a tie?", "Is there a scarf around the neck?"),
        ("necktie", "neckwear"),
        phrases=(
            "what {who} is wearing",
            "the clothes of {who}",
            "what {who} is dressed in",
            "the shirt of {who}",
            "the colour of the clothes",
            "the outfit",
        ),
    ),
    "jewelry": Topic(
        ("What jewelry does the person wear?", "What jewellery can you see?"),
        ("none", "earrings", "necklace", "piercing"),
        ("Is the person wearing earrings?",),
        ("earrings", "necklace", "ear_jewelry", "facial_jewelry", "neck_jewelry"),
        phrases=(
            "what jewelry {who} wears",
            "the earrings of {who}",
        ),
    ),
    "makeup": Topic(
        ("What makeup does the person wear?", "How much make-up is on {their} face?"),
        ("none", "some", "a lot"),
        ("Is that lipstick?",),
        ("makeup", "lipstick", "lip_color"),
        phrases=(
            "what makeup {who} wears",
            "the makeup of {who}",
        ),
    ),
    "looks": Topic(
        ("How attractive is this person?", "How beautiful is the face?"),
        ("plain", "average", "beautiful"),
        ("Is this person good-looking?",),
        ("attractive",),
        phrases=(
            "how attractive {who} is",
            "the attractiveness of {who}",
        ),
    ),
    "body": Topic(
        ("How tall is this person?", "How much does this person weigh?", "What is {their} height?"),
        ("short", "average", "tall"),
        ("Is this person overweight?",),
        ("chubby",),
        phrases=(
            "the weight of {who}",
            "how tall {who} is",
            "the height of {who}",
        ),
    ),
    "health": Topic(
        ("What illness does this person have?", "How healthy is this person?", "What is {their} state of health?"),
        ("healthy", "ill"),
        ("Is this person sick?", "Is the person pregnant?", "Does this person smoke?"),
        phrases=(
            "the health of {who}",
            "which illness {who} has",
        ),
    ),
    "character": Topic(
        ("How intelligent is this person?", "What kind of character does this person have?"),
        ("friendly", "shy", "honest"),
        ("Can this person be trusted?", "Is this person a criminal?"),
        phrases=(
            "the character of {who}",
            "how trustworthy {who} is",
            "how clever {who} is",
        ),
    ),
    "life": Topic(
        (
            "What is {their} job?",
            "What does this person do for a living?",
            "How much money does this person earn?",
            "Which party does this person vote for?",
        ),
        ("teacher", "doctor", "student", "retired"),
        ("Is this person married?", "Does this person have children?", "Is this person gay?"),
        phrases=(
            "the job of {who}",
            "what {who} does for a living",
            "the profession of {who}",
            "how much money {who} earns",
        ),
    ),
    "contact": Topic(
        (
            "What is {their} phone number?",
            "What is {their} address?",
            "Where does this person live?",
            "What is this person's email?",
            "When is {their} birthday?",
        ),
        ("in a city", "in a village"),
        phrases=(
            "the phone number of {who}",
            "the address of {who}",
            "where {who} lives",
            "the birthday of {who}",
        ),
    ),
    "place": Topic(
        (
            "Where was this photo taken?",
            "What place is this?",
            "In which city was the photo taken?",
            "What is in the background?",
            "Where are we?",
            "Where is the person?",
            "Where was that?",
            "Which place do you see?",
        ),
        ("indoors", "outdoors", "in a studio"),
        ("Is this person outside?",),
        ("surroundings",),
        phrases=(
            "where {picture} was taken",
            "the place in {picture}",
            "what is in the background of {picture}",
            "the city in {picture}",
            "where {who} stands",
            "where it is",
            "the location",
            "which country {picture} is from",
        ),
    ),
    "time": Topic(
        ("When was this photo taken?", "What time of day is it?", "In which year was the picture taken?"),
        ("morning", "noon", "evening"),
        ("Was the photo taken at night?",),
        phrases=(
            "when {picture} was taken",
            "the year of {picture}",
            "what time of day it is in {picture}",
            "the date of {picture}",
        ),
    ),
    "camera": Topic(
        ("Which camera took this picture?", "Who took the photo?", "Who is the photographer?"),
        ("a phone", "a camera"),
        ("Is this a selfie?", "Has the picture been edited?"),
        phrases=(
            "which camera took {picture}",
            "who took {picture}",
            "the camera of {picture}",
            "the photographer of {picture}",
        ),
    ),
}


def open_topics(tasks: Iterable[str]) -> tuple[str, ...]:
    """The topics that none of these tasks, names of `tasks.TASKS`, is about."""
    asked = {name for task in tasks for name in (task, getattr(TASKS.get(task), "group", None))}
    return tuple(name for name, topic in TOPICS.items() if asked.isdisjoint(topic.tasks))


def unanswerable_questions(
    count: int, topics: Sequence[str], rng: random.Random, *, stated: bool = False
) -> list[Pair]:
    """Questions about as many of the topics, each with its answer; with `stated`, most of them state options."""
    return [_asked(TOPICS[name], rng, stated) for name in rng.sample(topics, min(count, len(topics)))]


def count_unanswerable(answerable: int, share: float, turns: int | None, rng: random.Random) -> int:
    """How many unanswerable questions go with so many others, `turns` in all at most: on average exactly the share.

    Where there are more than `turns`, as many of the others have to be left out.
    """
    if turns is not None and answerable > turns * (1 - share):
        expected = turns * share
    else:
        expected = answerable * share / (1 - share)
    return int(expected) + (rng.random() < expected % 1)


def _asked(topic: Topic, rng: random.Random, stated: bool) -> Pair:
    if stated and rng.random() < STATED_SHARE:
        options = ", ".join(rng.sample(topic.options, len(topic.options)))
        question = rng.choice(STATED_OPTIONS).format(question=_worded(topic, topic.questions, rng), options=options)
    else:
        question = _worded(topic, (*topic.questions, *topic.checks), rng)
    return question, rng.choice(CANNOT_TELL)


def _worded(topic: Topic, questions: Sequence[str], rng: random.Random) -> str:
    if topic.phrases and rng.random() < compositions.SHARE:
        return compositions.composed_question(topic.phrases, rng)
    return rng.choice(questions)
