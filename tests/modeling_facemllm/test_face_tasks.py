"""What a face can be asked: worded as the corpora word it, race only where it is named, numbers from distributions."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from modeling_facemllm import FaceMLLMConfig
from modeling_facemllm.face_tasks_facemllm import FaceTask, choose_tasks, face_tasks
from tests.refusals import refuses

TABLE = face_tasks()
DEFAULT = ("gender", "age", "expression")
IN_SEVERAL_PARTS = {"head_pose", "valence_arousal", "action_units"}  # their parts are asked one by one


def names(*asked):
    return [task.name for task in choose_tasks(asked, TABLE, DEFAULT)]


def test_the_corpora_ask_all_that_is_asked_in_analysis():
    from datasets_scripts.questions.conversations import TASKS

    assert set(TASKS) - set(TABLE) == IN_SEVERAL_PARTS and set(TABLE) <= set(TASKS)


def test_the_table_that_the_corpora_read_needs_neither_torch_nor_transformers():
    program = "import sys, modeling_facemllm.face_task_table_facemllm\n"
    program += "sys.exit(len({'torch', 'transformers'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_race_and_attractiveness_are_asked_only_where_they_are_named():
    for several in (("all",), ("attributes",), ("pose",), None):
        asked = choose_tasks(several, TABLE, DEFAULT)
        assert not {"race", "attractive", "attractive_man", "attractive_woman"} & {task.name for task in asked}
    assert names("race") == ["race"]
    assert names("all", "race")[-1] == "race"
    own = face_tasks({"race": {"question": "Race?", "options": ["a", "b"], "on_request": False}})
    assert own["race"].on_request


def test_words_for_several_tasks_stand_for_each_of_them_once():
    assert names("pose", "gender", "yaw") == ["yaw", "pitch", "roll", "gender"]
    assert len(names("attributes")) > 100 and {"eyeglasses", "headwear"} <= set(names("attributes"))
    assert [task.name for task in choose_tasks(None, TABLE, DEFAULT)] == list(DEFAULT)
    assert [task.name for task in choose_tasks("age", TABLE, DEFAULT)] == ["age"]


def test_a_closed_question_of_one_s_own_may_stand_among_the_names():
    scarf = {"name": "scarf", "question": "Is there a scarf?", "options": ["yes", "no"]}
    own = FaceTask("scarf", "Is there a scarf?", ("yes", "no"))
    assert choose_tasks(["gender", scarf], TABLE, DEFAULT) == [TABLE["gender"], own]
    with pytest.raises(ValueError, match=r"'scarf': options=\['yes'\].*two or more"):
        choose_tasks([scarf | {"options": ["yes"]}], TABLE, DEFAULT)


def test_two_different_tasks_of_one_name_are_refused():
    own = {"name": "gender", "question": "Man or woman?", "options": ["man", "woman"]}
    assert [task.question for task in choose_tasks([own, own], TABLE, DEFAULT)] == ["Man or woman?"]
    for names in (["gender", own], [own, "gender"], [own, "all"], [own, own | {"options": ["woman", "man"]}]):
        with pytest.raises(ValueError, match=r"tasks: .*'gender'.*another name"):
            choose_tasks(names, TABLE, DEFAULT)


@pytest.mark.parametrize(
    ("asked", "remedy"),
    [
        (["eyeglases"], ["'eyeglases'", "eyeglasses"]),
        (["identity"], ["'identity'", "gender, expression, ", ", attributes, pose, all"]),
        ([3], ["3", "gender, expression, "]),
        ([["age"]], ["['age']", "age"]),
        (3, ["a list of names"]),
    ],
)
def test_an_unknown_task_is_named_with_those_that_there_are(asked, remedy):
    with refuses("tasks", asked, *remedy):
        choose_tasks(asked, TABLE, DEFAULT)


def test_age_is_the_expectation_over_the_groups_with_a_central_interval():
    age = TABLE["age"]
    certain = [float(option == "20-29") for option in age.options]
    assert age.estimate(certain) == (25, 21, 29)
    torn = [0.5 * (option in ("20-29", "40-49")) for option in age.options]
    assert age.estimate(torn) == (35, 22, 48)  # a fifth and four fifths of the halves


def test_age_in_years_needs_no_ranges_and_is_never_negative():
    years = TABLE["age_years"]
    assert years.estimate([float(option == "34") for option in years.options]) == pytest.approx((34, 33.6, 34.4))
    assert years.estimate([float(option == "0") for option in years.options]) == pytest.approx((0, 0, 0.4))


def test_angles_are_negative_on_one_side_and_positive_on_the_other():
    yaw = TABLE["yaw"]
    left, right = (
        yaw.estimate([float(option == to) for option in yaw.options]) for to in ("to the left", "to the right")
    )
    assert left == pytest.approx((35, 19, 51)) and right == pytest.approx((-35, -51, -19))


def test_a_task_without_ranges_gives_no_number():
    assert TABLE["gender"].estimate([0.5, 0.5]) is None
    assert (
        face_tasks({"age": {"question": "?", "options": ["young", "old"], "kind": "age"}})["age"].estimate([1, 0])
        is None
    )


def test_a_model_says_in_its_configuration_what_it_is_asked():
    described = {"hat": {"question": "What hat?", "options": ["none", "cap"], "kind": "attribute"}}
    config = FaceMLLMConfig(face_tasks=json.loads(json.dumps(described)))
    assert face_tasks(config.face_tasks) == {"hat": FaceTask("hat", "What hat?", ("none", "cap"), "attribute")}


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({}, r"=\{\}: .*question, options"),
        ({"a": "What?"}, "'a': 'What\\?'.*question and options"),
        ({"": {"question": "?", "options": ["b", "c"]}}, "'': .*give a name"),
        ({"a": {"question": "", "options": ["b", "c"]}}, "'a': question='': .*words"),
        ({"a": {"question": "?", "options": ["b"]}}, r"'a': options=\['b'\]: .*two or more"),
        ({"a": {"question": "?", "options": ["b", "b"]}}, r"'a': options=\['b', 'b'\]: .*different"),
        ({"a": {"question": "?", "options": [1, 2]}}, r"'a': options=\[1, 2\]: .*texts"),
        ({"a": {"question": "?", "options": ["b", "c"], "kind": "colour"}}, "'a': kind='colour'.*age"),
        (
            {"a": {"question": "?", "options": ["b", "c"], "kind": "age", "ranges": [[0, 1]]}},
            r"'a': ranges=\[\[0, 1\]\]: .*\[low, high\].*\b2 options",
        ),
        (
            {"a": {"question": "?", "options": ["b", "c"], "kind": "age", "ranges": [0, 1]}},
            r"'a': ranges=\[0, 1\]: .*\[low, high\].*\b2 options",
        ),
        (
            {"a": {"question": "?", "options": ["b", "c"], "kind": "attribute", "ranges": [[0, 1], [1, 2]]}},
            "'a': ranges .*kind='attribute'.*age or angle",
        ),
        ({"a": {"question": "?", "options": ["b", "c"], "range": [[0, 1], [1, 2]]}}, "'a': 'range'.*ranges"),
    ],
)
def test_a_wrong_description_is_named(described, message):
    with pytest.raises(ValueError, match=rf"^config\.face_tasks.*{message}"):
        face_tasks(described)
