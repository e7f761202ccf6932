"""The wordings of the eight tasks: many, distinct, true of the labels, and some that nobody trains on."""

import re
from collections import Counter
from itertools import product

import pytest

from datasets_scripts.questions import held_out
from datasets_scripts.questions.claims import spoken_forms
from datasets_scripts.questions.closed_task import CANONICAL_SHARE
from datasets_scripts.questions.compositions import composed_questions
from datasets_scripts.questions.tasks import TASKS
from datasets_scripts.questions.unanswerable import TOPICS
from datasets_scripts.questions.wordings import WORDINGS
from datasets_scripts.sources.measuring import MEASURED_TASKS
from datasets_scripts.synthetic.text import WORDING as DRAWN
from tests.datasets_scripts.questions.asked_faces import pairs, plain, rows, stated_options

PRONOUNS = {"she", "her", "he", "his"}
CHECKS_TOO = ("blurry", "color_photo", "baby", "child")
"""Attributes whose own question is a check of one of the eight tasks; they are not asked of the same face."""


def everything_asked(name):
    """Each text that asks about a task and is no template."""
    task = TASKS[name]
    questions = {form for question in task.all_questions for form in spoken_forms(question)}
    return {plain(text) for text in (*questions, *task.claims_by_question, *held_out.TASKS[name])}


@pytest.fixture(scope="module")
def asked():
    return {config: [pairs(row) for row in rows(config)] for config in ("vqa", "face_tasks")}


def test_every_task_of_a_measured_fairface_has_wordings_and_others_that_are_held_out():
    assert set(WORDINGS) == set(held_out.TASKS) == {"gender", "age", *MEASURED_TASKS}


@pytest.mark.parametrize("name", WORDINGS)
def test_a_task_has_25_distinct_open_wordings_after_its_canonical_one(name):
    assert len({plain(text) for text in WORDINGS[name].questions}) >= 25
    assert TASKS[name].all_questions[0] == TASKS[name].questions[0]


@pytest.mark.parametrize("name", WORDINGS)
def test_a_wording_reads_as_a_sentence_and_stands_once(name):
    texts = [*TASKS[name].all_questions, *held_out.TASKS[name]]
    assert [text for text, count in Counter(texts).items() if count > 1] == []
    assert all(re.fullmatch(r"[A-Z][^.?]*[.?]", text) for text in texts)
    whole = Counter(claim.text for claim in WORDINGS[name].checks)
    assert max(whole.values()) == 1


@pytest.mark.parametrize("name", WORDINGS)
def test_no_wording_asks_about_two_tasks(name):
    others = set().union(*(everything_asked(other) for other in WORDINGS if other != name))
    for other in TASKS.keys() - {*WORDINGS, *CHECKS_TOO}:
        others |= {plain(text) for text in getattr(TASKS[other], "questions", ())}
    assert not everything_asked(name) & others


@pytest.mark.parametrize("name", WORDINGS)
def test_a_dozen_wordings_are_held_out(name):
    others = {plain(text) for text in held_out.TASKS[name]}
    trained = {plain(form) for text in TASKS[name].all_questions for form in spoken_forms(text)}
    assert len(others) >= 12 and not others & trained


def test_no_held_out_wording_is_in_a_conversation(asked):
    others = {plain(text) for texts in held_out.TASKS.values() for text in texts}
    questions = {question for conversations in asked.values() for turns in conversations for question, _ in turns}
    together = "\n".join(map(plain, questions))
    assert not any(wording in together for wording in others)


def test_a_composed_question_asks_about_one_thing_alone_and_is_not_held_out():
    others = {plain(text) for texts in (*held_out.TASKS.values(), *held_out.TOPICS.values()) for text in texts}
    about = {}
    for name, row in (*WORDINGS.items(), *TOPICS.items()):
        questions = set(composed_questions(row.phrases))
        assert len(questions) >= 200 and all(re.fullmatch(r"[A-Z][^.?]*[.?]", text) for text in questions), name
        asked = "\n".join(map(plain, questions))
        assert not any(other in asked for other in others), name
        assert all(about.setdefault(plain(text), name) == name for text in questions)


def test_half_of_the_other_wordings_are_composed(asked):
    composed = {text for row in WORDINGS.values() for text in composed_questions(row.phrases)}
    fixed = {text for name in WORDINGS for text in TASKS[name].all_questions[1:]}
    questions = [question for turns in asked["vqa"] for question, _ in turns]
    found = [sum(question in among for question in questions) for among in (composed, fixed)]
    assert 0.4 < found[0] / sum(found) < 0.6


def test_every_wording_is_asked(asked):
    questions = " ".join(question for turns in asked["face_tasks"] for question, _ in turns)
    for name in WORDINGS:
        assert all(any(form in questions for form in spoken_forms(text)) for text in TASKS[name].all_questions)


def test_the_canonical_question_is_a_quarter_of_them_or_more(asked):
    canonical = TASKS["yaw"].questions[0]
    turned = [question for turns in asked["face_tasks"] for question, _ in turns if "far to the left" in question]
    share = sum(canonical in question for question in turned) / len(turned)
    assert CANONICAL_SHARE - 0.02 < share < CANONICAL_SHARE + 0.08


def test_both_spellings_of_color_are_asked(asked):
    for conversations in asked.values():
        texts = " ".join(question for turns in conversations for question, _ in turns)
        assert "color" in texts and "colour" in texts


@pytest.mark.parametrize("name", WORDINGS)
def test_yes_and_no_are_equally_frequent(name):
    answers = Counter(
        answer.partition(".")[0]
        for row in rows("vqa", (name,))
        for question, answer in pairs(row)
        if question in TASKS[name].claims_by_question
    )
    assert set(answers) == {"Yes", "No"}
    assert 0.45 < answers["Yes"] / sum(answers.values()) < 0.55


@pytest.mark.parametrize("name", WORDINGS)
def test_yes_and_no_are_true_of_the_labels(name):
    task = TASKS[name]
    for row in rows("vqa", (name,)):
        labels = {
            **row["labels"],
            "attributes": {entry["name"]: entry["value"] for entry in row["labels"]["attributes"]},
        }
        for question, answer in pairs(row):
            if question in task.claims_by_question:
                claim = task.claims_by_question[question]
                assert claim.holds(task.value(labels), labels) is answer.startswith("Yes")


@pytest.mark.parametrize("name", WORDINGS)
def test_no_answer_gives_a_later_one_away(name):
    task = TASKS[name]
    for row in rows("vqa", (name,)):
        possible = list(task.answers)
        for question, answer in pairs(row):
            assert len(possible) > 1, pairs(row)
            claim = task.claims_by_question.get(question)
            if claim is not None:
                assert claim.is_open(possible), pairs(row)
                possible = [value for value in possible if claim.could_be(value, answer.startswith("Yes"))]


def test_a_stated_question_is_answered_with_one_of_its_options(asked):
    for turns in asked["face_tasks"]:
        assert all(answer in stated_options(question) for question, answer in turns)


@pytest.mark.parametrize("name", WORDINGS)
def test_an_either_or_question_is_answered_with_the_right_one_of_the_two(name):
    said = {}
    for either in WORDINGS[name].either_or:
        for question, one, other in product(either.questions, either.words.values(), either.words.values()):
            text = question.format(claim=f"{one} or {other}")
            said[text[0].upper() + text[1:]] = either.words
    found = 0
    for row in rows("vqa", (name,)):
        for question, answer in pairs(row):
            if question in said:
                value = TASKS[name].value(row["labels"])
                assert answer.lower() == f"{said[question][value]}."
            found += question in said
    assert found > 100


@pytest.mark.parametrize(
    ("noun", "gender", "age_group", "right"),
    [
        ("man", "male", "30-39", True),
        ("man", "male", "3-9", False),
        ("man", "male", "10-19", None),
        ("man", "female", "10-19", False),
        ("man", "male", None, None),
        ("girl", "female", "3-9", True),
        ("girl", "female", "40-49", False),
        ("girl", "female", "20-29", None),
        ("boy", "female", "3-9", False),
    ],
)
def test_man_and_boy_are_said_of_the_right_age_alone(noun, gender, age_group, right):
    claim = TASKS["gender"].claims_by_question[f"Is this a {noun}?"]
    assert claim.holds(gender, {"gender": gender, "age_group": age_group}) is right


def test_nobody_is_called_a_teenager(asked):
    assert not any("teen" in plain(text) for turns in asked["vqa"] for pair in turns for text in pair)


def test_she_and_he_are_said_where_no_later_answer_tells_the_gender():
    seen = set()
    for row in rows("face_tasks", ("gender", "age")):
        gender = {"female": "she", "male": "he"}[row["labels"]["gender"]]
        (first, _), (second, _) = pairs(row)
        said = [PRONOUNS & set(plain(question).split()) for question in (first, second)]
        if "female" in second:
            assert not said[0]
        seen |= said[1]
        assert said[1] <= {gender, {"she": "her", "he": "his"}[gender]}
    assert seen == PRONOUNS


def test_every_drawn_attribute_has_a_question_that_no_photograph_is_asked():
    shared = {text for name in WORDINGS for text in TASKS[name].all_questions}
    assert all(set(wording.questions) - shared for wording in DRAWN.values())
