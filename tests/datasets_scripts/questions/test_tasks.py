"""The table of questions: every row reads well, what is said is true, and no answer gives another one away."""

import random
import re
from collections import Counter

import pytest

from datasets_scripts.questions.attribute_table import ATTRIBUTES
from datasets_scripts.questions.attribute_tasks import ATTRIBUTE_TASKS
from datasets_scripts.questions.closed_task import Task
from datasets_scripts.questions.conversations import (
    Conventions,
    canonical_question,
    expected_answer,
    make_conversation,
)
from datasets_scripts.questions.measured_tasks import NumberTask
from datasets_scripts.questions.tasks import ACTION_UNITS, TASKS
from datasets_scripts.schema import CorpusError
from datasets_scripts.sources import celeba, maad_face
from datasets_scripts.sources.head_pose import HeadPose
from datasets_scripts.sources.reading import attribute_name

WITH_CONTEMPT = Conventions(extra_values=("contempt",))
CLOSED = {name: row for name, row in TASKS.items() if isinstance(row, Task)}
FACE = {
    "gender": "female",
    "age": 34.0,
    "age_group": "30-39",
    "expression": "happiness",
    "attributes": {name: ("yes", "no", "no")[number % 3] for number, name in enumerate(ATTRIBUTE_TASKS)
                   if ATTRIBUTE_TASKS[name].says_yes_or_no},
}  # fmt: skip


def pairs(config, labels, tasks, seeds=100, **settings):
    """Question and answer of every turn of `seeds` conversations."""
    for conversation in conversations(config, labels, tasks, seeds, **settings):
        yield from conversation


def conversations(config, labels, tasks, seeds=100, **settings):
    for seed in range(seeds):
        _, messages = make_conversation(config, labels, random.Random(seed), tasks, **settings)
        texts = [turn["content"][-1]["text"] for turn in messages]
        yield list(zip(texts[::2], texts[1::2], strict=True))


@pytest.mark.parametrize("row", CLOSED.values(), ids=CLOSED)
def test_every_text_of_a_row_reads_as_a_sentence(row):
    assert row.questions and all(re.match(r"[A-Z].*[^ ]\?$", question) for question in row.questions)
    if row.claims:
        told = [*row.checks, row.statement]
        assert all(text.count("{claim}") == 1 for text in told) and row.statement.endswith(".")
    else:
        assert row.says_yes_or_no


def test_no_question_belongs_to_two_tasks():
    asked = Counter(question for row in TASKS.values() for question in getattr(row, "questions", ()))
    assert [question for question, count in asked.items() if count > 1] == []


@pytest.mark.parametrize("reader", [celeba, maad_face])
def test_every_attribute_of_a_dataset_has_a_row(reader):
    names = {attribute_name(name) for name in reader.ATTRIBUTES} - {"male", "asian", "white", "black"}
    assert names <= set(ATTRIBUTE_TASKS)


def test_every_attribute_of_the_annotators_has_a_row_that_knows_its_options():
    for name, attribute in ATTRIBUTES.items():
        row = TASKS[name] if not attribute.label else next(r for r in CLOSED.values() if r.label == attribute.label)
        assert set(attribute.options) == set(row.answers)


def test_what_only_a_judgement_decides_is_asked_as_the_annotators_judgement():
    for name in ("attractive", "big_nose", "big_lips", "chubby", "narrow_eyes"):
        assert all("annotator" in question for question in TASKS[name].questions)


@pytest.mark.parametrize("value", ["yes", "no"])
def test_an_attribute_is_answered_as_its_label_says(value):
    for name, row in ATTRIBUTE_TASKS.items():
        if row.says_yes_or_no:
            labels = {"attributes": {name: value}}
            assert {answer for _, answer in pairs("face_tasks", labels, [name], seeds=3)} == {value}
            assert {answer for _, answer in pairs("vqa", labels, [name], seeds=3)} == {f"{value.capitalize()}."}


@pytest.mark.parametrize("name", [name for name, row in CLOSED.items() if row.claims and row.bins is None])
def test_yes_no_and_either_or_questions_are_true_of_the_label(name):
    row = TASKS[name]
    claims = row.claims_by_question
    said = {value: {words.lower() for words in row.claims[value]} for value in row.answers}
    for either in row.wording.either_or:
        for value, words in either.words.items():
            said[value].add(words.lower())
    column, _, key = row.label.partition(".")
    for value in row.answers:
        labels = {column: {key: value} if key else value}
        for question, answer in pairs("vqa", labels, [name], seeds=20, conventions=WITH_CONTEMPT):
            if answer.startswith(("Yes", "No.")):
                assert claims[question].holds(value, labels) is (answer[0] == "Y")
            else:
                assert any(words in answer.lower() for words in said[value])


def test_turns_bound_the_questions_of_a_conversation():
    for turns in (1, 3, 8):
        for config in ("vqa", "face_tasks"):
            told = conversations(config, FACE, ("gender", "age", "attributes"), seeds=20, turns=turns)
            assert {len(conversation) for conversation in told} == {turns}


def test_one_task_at_a_time_is_named_in_the_task_column():
    named = {make_conversation("face_tasks", FACE, random.Random(n), ("attributes",), turns=1)[0] for n in range(300)}
    assert len(named) > 20 and named <= set(ATTRIBUTE_TASKS)


def test_attributes_of_yes_and_of_no_are_asked_about_equally_often():
    attributes = {name: "yes" if name in ("smiling", "bangs", "goatee", "chubby", "bald") else "no"
                  for name in FACE["attributes"]}  # fmt: skip
    for conversation in conversations("face_tasks", {"attributes": attributes}, ("attributes",), turns=8):
        assert 3 <= sum(answer == "yes" for _, answer in conversation) <= 5


def test_no_answer_of_a_conversation_gives_another_away():
    hair = {name: "yes" if name == "black_hair" else "no" for name in ("black_hair", "blond_hair", "gray_hair")}
    labels = {"age": 71.0, "age_group": "more than 70", "attributes": {**hair, "young": "no", "senior": "yes"}}
    for conversation in conversations("face_tasks", labels, ("age", "age_years", "attributes")):
        questions = [question.lower() for question, _ in conversation]
        assert len(questions) == 2 and sum("hair" in question for question in questions) == 1


def test_which_tasks_are_asked_depends_on_the_seed_alone():
    tasks = ("gender", "attributes")
    first, second = (list(conversations("vqa", FACE, tasks, turns=4)) for _ in range(2))
    assert first == second and len({str(conversation) for conversation in first}) > 90


def test_contempt_is_stated_and_claimed_only_where_the_source_has_it():
    usual = str(list(pairs("face_tasks", {"expression": "anger"}, ["expression"])))
    usual += str(list(pairs("vqa", {"expression": "anger"}, ["expression"])))
    assert "contempt" not in usual and "disgust" in usual
    told = str(list(pairs("face_tasks", {"expression": "anger"}, ["expression"], conventions=WITH_CONTEMPT)))
    assert "contempt" in told
    assert len(canonical_question("expression")[1]) == 7
    assert len(canonical_question("expression", WITH_CONTEMPT)[1]) == 8
    with pytest.raises(
        CorpusError, match=r"labels\.expression = 'contempt'.*Conventions\(extra_values=\('contempt',\)\)"
    ):
        expected_answer("expression", {"expression": "contempt"})


@pytest.mark.parametrize(
    ("pose", "words"),
    [
        (HeadPose(0, 0, 0), "to the front, level, upright"),
        (HeadPose(30, 20, 25), "to the left, up, right"),
        (HeadPose(-80, -20, -25), "far to the right, down, left"),
    ],
)
def test_a_pose_in_words_is_as_the_viewer_sees_it(pose, words):
    answers = {answer for _, answer in pairs("face_tasks", pose._asdict(), ["head_pose"])}
    assert answers == {words, f"yaw {pose.yaw}, pitch {pose.pitch}, roll {pose.roll}"}


def test_a_pose_without_all_three_angles_is_not_asked_about():
    assert make_conversation("face_tasks", {"yaw": 3.0, "pitch": 4.0}, random.Random(0), ["head_pose"]) is None


def test_valence_and_arousal_are_numbers_of_one_decimal():
    assert expected_answer("valence_arousal", {"valence": -0.04, "arousal": 0.26}) == "valence 0.0, arousal 0.3"


def test_an_age_in_years_is_a_whole_number_and_comparisons_are_true_and_balanced():
    assert expected_answer("age_years", {"age": 34.0}) == "34" and isinstance(TASKS["age_years"], NumberTask)
    given = Counter()
    for question, answer in pairs("vqa", {"age": 34.0}, ["age_years"], seeds=400):
        if answer in ("Yes.", "No."):
            number = int(re.search(r"\d+", question)[0])
            assert (answer == "Yes.") == (
                number < 34 if "than" in question and "younger" not in question else number > 34
            )
            given[answer] += 1
        else:
            assert "34" in answer
    assert 0.4 < given["Yes."] / given.total() < 0.6


def test_action_units_are_listed_by_number_with_the_names_of_facs():
    labels = {"action_units": {12: 3.0, 6: 2.0, 4: 1.0, 25: 0.0}}
    assert expected_answer("action_units", labels) == "AU6 cheek raiser, AU12 lip corner puller"
    assert expected_answer("action_units", {"action_units": {4: 0.0}}) == "none"
    for question, _ in pairs("face_tasks", labels, ["action_units"], seeds=5):
        assert "AU4 brow lowerer, AU6 cheek raiser, AU12 lip corner puller, AU25 lips part" in question
        assert "AU1 " not in question


def test_a_unit_of_intensity_one_is_present_only_where_one_means_present():
    labels = {"action_units": {4: 1.0, 12: 0.0}}
    assert expected_answer("action_units", labels) == "none"
    assert expected_answer("action_units", labels, Conventions(present_from=1)) == "AU4 brow lowerer"


def test_units_that_are_active_and_others_are_asked_about_equally_often():
    units = {unit: 5.0 * (unit in (6, 12, 25)) for unit in ACTION_UNITS}
    for conversation in conversations("vqa", {"action_units": units}, ["action_units"]):
        assert sorted(answer for _, answer in conversation) == ["No.", "No.", "Yes.", "Yes."]
        for question, answer in conversation:
            assert (answer == "Yes.") == (units[int(re.search(r"(?:AU|unit )(\d+)", question)[1])] > 0)


@pytest.mark.parametrize(
    ("task", "remedy"),
    [
        ("attribute", "attributes"),
        ("wearing_hats", "wearing_hat"),
        ("mood", r"datasets_scripts/questions/tasks\.py"),
    ],
)
def test_an_unknown_task_is_told_with_those_that_are_like_it(task, remedy):
    with pytest.raises(CorpusError, match=rf"tasks='{task}'.*\b{remedy}\b"):
        make_conversation("vqa", FACE, random.Random(0), [task])
