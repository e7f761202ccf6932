"""Labels to conversations: nothing unknown is asked, nothing false is answered, race only when asked for."""

import random

import pytest

from datasets_scripts.questions.captions import describe_person
from datasets_scripts.questions.conversations import (
    CONFIGS,
    DEFAULT_TASKS,
    TASKS,
    Task,
    canonical_question,
    expected_answer,
    make_conversation,
)
from datasets_scripts.schema import CorpusError, make_record, validate_record
from datasets_scripts.sources import fairface

WOMAN = {"age_group": "20-29", "gender": "female", "race": "White"}


def texts(config, labels, seed, tasks=DEFAULT_TASKS):
    made = make_conversation(config, labels, random.Random(seed), tasks)
    return [turn["content"][-1]["text"] for turn in made[1]]


def pairs(config, labels, seeds=200, tasks=DEFAULT_TASKS):
    for seed in range(seeds):
        told = texts(config, labels, seed, tasks)
        yield from zip(told[::2], told[1::2], strict=True)


@pytest.mark.parametrize("config", CONFIGS)
def test_conversations_are_sound_records_with_the_picture_in_the_first_turn(config):
    task, messages = make_conversation(config, WOMAN, random.Random(0))
    image = {"bytes": b"x", "path": "1.jpg"}
    origin = {"split": "train", "source": "s", "license": "l"}
    validate_record(make_record(id="1", image=image, messages=messages, task=task, labels=WOMAN, **origin))


@pytest.mark.parametrize("config", CONFIGS)
def test_the_wording_follows_the_seed_and_varies_with_it(config):
    assert texts(config, WOMAN, 1) == texts(config, WOMAN, 1)
    assert len({tuple(texts(config, WOMAN, seed)) for seed in range(50)}) > 20


def test_the_wording_of_a_seed_stays_from_version_to_version():
    told = [text for config in CONFIGS for text in texts(config, WOMAN, 7)]
    assert told == [
        "Who can be seen here?",
        "A woman between 20 and 29 years old.",
        "What is the age group of this person?",
        "20 to 29 years old.",
        "Quick question: could you say the apparent gender of the subject?",
        "This person is female.",
        "Choose among male, female. Quick question: could you say the apparent gender of the subject?",
        "female",
        "Choose among 0-2, 3-9, 10-19, 20-29, 30-39, 40-49, 50-59, 60-69, 70 or older. "
        "What is the age group of this person?",
        "20-29",
    ]


@pytest.mark.parametrize(
    ("age_group", "gender", "words"),
    [
        ("0-2", "female", {"a baby girl", "an infant girl"}),
        ("0-2", None, {"a baby", "an infant"}),
        ("3-9", "male", {"a boy between 3 and 9 years old", "a young boy", "a little boy"}),
        ("20-29", "female", {"a woman in her twenties", "a woman between 20 and 29 years old"}),
        ("more than 70", "male", {"a man aged 70 or older", "a man of at least 70 years"}),
        (None, "male", {"a male person"}),
        (None, None, {None}),
    ],
)
def test_captions_call_people_by_natural_words(age_group, gender, words):
    labels = {"age_group": age_group, "gender": gender}
    assert {describe_person(labels, random.Random(seed)) for seed in range(50)} == words


def test_fairface_spelling_of_the_oldest_group_never_reaches_the_words():
    for config in CONFIGS:
        for question, answer in pairs(config, {"age_group": "more than 70", "gender": "male"}):
            assert "more than 70" not in question + answer


def test_an_unknown_label_is_never_asked_about():
    for config in ("vqa", "face_tasks"):
        told = " ".join(question for question, _ in pairs(config, {"gender": "female"}))
        assert "old" not in told and "twenties" not in told and "age" not in told.replace("image", "")


def test_a_face_without_a_known_label_gives_no_conversation():
    for config in CONFIGS:
        assert make_conversation(config, {"expression": None}, random.Random(0)) is None


def test_race_is_asked_about_only_by_name():
    for config in CONFIGS:
        for question, answer in pairs(config, WOMAN):
            assert not any(word in question + answer for word in ("race", "White", "Black", "annotator"))
    asked = [question for question, _ in pairs("face_tasks", WOMAN, tasks=["race"])]
    assert all("race label" in question for question in asked)


@pytest.mark.parametrize("task", ["gender", "age", "race"])
def test_face_tasks_state_the_options_and_answer_with_one_of_them(task):
    options = set(TASKS[task].answers.values())
    for value, right in TASKS[task].answers.items():
        for question, answer in pairs("face_tasks", {TASKS[task].label: value}, seeds=20, tasks=[task]):
            assert all(option in question for option in options)
            assert answer == right


@pytest.mark.parametrize("age_group", TASKS["age"].answers)
def test_yes_and_no_are_true_of_the_age_group_and_equally_frequent(age_group):
    claims = TASKS["age"].claims_by_question
    given = {"Yes": 0, "No": 0}
    for question, answer in pairs("vqa", {"age_group": age_group}, seeds=300):
        if not answer.startswith(("Yes", "No.")):
            continue
        claim = claims[question]
        yes = answer.startswith("Yes")
        assert age_group in (claim.true_for if yes else claim.false_for)
        given["Yes" if yes else "No"] += 1
    assert 0.4 < given["Yes"] / sum(given.values()) < 0.6


@pytest.mark.parametrize("race", TASKS["race"].answers)
def test_basic_questions_on_a_label_without_ranges_are_true(race):
    words = TASKS["race"].answers[race]
    for question, answer in pairs("vqa", {"race": race}, tasks=["race"]):
        if answer.startswith(("Yes", "No.")):
            claimed = question.removeprefix("Would an annotator label this face ").rstrip("?")
            assert answer.startswith("Yes") == (claimed == words)
        else:
            assert words in answer


def test_a_row_that_claims_only_some_values_is_refused():
    with pytest.raises(CorpusError, match=r"\bexpression\b.*\bclaims\b.*\banswers\b"):
        Task("expression", {"happy": "happy", "sad": "sad"}, ("?",), claims={"happy": ("happy",)})


def test_a_label_of_two_values_is_asked_about_once_in_a_conversation():
    assert all(len(texts("vqa", {"gender": "male"}, seed)) == 2 for seed in range(50))


def test_evaluation_gets_the_canonical_question_and_the_expected_answer():
    question, options = canonical_question("age")
    assert question.startswith("What is the age group of this person? Options: 0-2, 3-9")
    assert options[-1] == "70 or older"
    assert expected_answer("age", {"age_group": "more than 70"}) == "70 or older"
    assert expected_answer("gender", {"gender": None}) is None


def test_the_canonical_question_is_one_that_training_asks():
    asked = {question for question, _ in pairs("face_tasks", WOMAN, seeds=1000)}
    assert {canonical_question("age")[0], canonical_question("gender")[0]} <= asked


def test_the_table_knows_every_label_that_fairface_gives():
    assert tuple(TASKS["age"].answers) == fairface.AGE_GROUPS
    assert set(TASKS["gender"].answers) == {name.lower() for name in fairface.GENDERS}
    assert tuple(TASKS["race"].answers) == fairface.RACES


def test_one_row_is_enough_for_an_attribute_an_angle_or_an_action_unit():
    beard = Task("attributes.beard", {"yes": "yes", "no": "no"}, ("Does this person have a beard?",))
    assert beard.value({"attributes": [{"name": "beard", "value": "yes"}]}) == "yes"
    assert beard.value({"attributes": []}) is None
    turned = Task("yaw", {"left": "left", "right": "right"}, ("?",), bins={"left": (-180, 0), "right": (0, 181)})
    assert turned.value({"yaw": -20.0}) == "left"
    smile = Task("action_units.12", {"yes": "yes", "no": "no"}, ("?",), bins={"no": (0, 2), "yes": (2, 6)})
    assert smile.value({"action_units": [{"unit": 12, "intensity": 2.0}]}) == "yes"


@pytest.mark.parametrize("config", CONFIGS)
def test_a_value_that_the_table_lacks_is_refused(config):
    with pytest.raises(CorpusError, match=r"labels\.age_group = '0-3'.*\b0-2, 3-9\b"):
        make_conversation(config, {"age_group": "0-3"}, random.Random(0))


def test_an_unknown_task_or_config_is_refused():
    with pytest.raises(CorpusError, match=r"tasks='mood'.*\btasks\.py\b.*facemllm data NAME --help"):
        canonical_question("mood")
    with pytest.raises(CorpusError, match=r"config='chat'.*captions, vqa, face_tasks"):
        make_conversation("chat", WOMAN, random.Random(0))
