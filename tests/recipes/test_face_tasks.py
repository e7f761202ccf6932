"""A trained model's configuration says what it was asked about faces; what nobody asked is not in it."""

import json
import random
from pathlib import Path

import pytest

from datasets_scripts.questions.conversations import make_conversation
from datasets_scripts.schema import assistant_turn, user_turn
from datasets_scripts.synthetic.records import DrawnFaces
from facemllm_recipes.face_tasks import face_tasks_in
from facemllm_recipes.sft import train
from modeling_facemllm.face_tasks_facemllm import face_tasks
from tests.recipes.tiny import picture_record, write_corpus

TABLE = face_tasks()
FACE = {
    "age": 34,
    "age_group": "30-39",
    "gender": "female",
    "expression": "happiness",
    "race": "White",
    "yaw": 3,
    "pitch": 1,
    "roll": 0,
    "attributes": {"eyeglasses": "yes", "headwear": "cap"},
}


def asked(tasks, config="face_tasks", **labels):
    drawn = (make_conversation(config, FACE | labels, random.Random(seed), tasks) for seed in range(40))
    return [conversation[1] for conversation in drawn]


@pytest.mark.parametrize(
    "tasks", [("gender", "age"), ("attributes",), ("age_years",), ("race",), ("head_pose",), ("expression", "gender")]
)
def test_what_is_asked_is_noted_as_the_table_has_it(tasks):
    noted = face_tasks(face_tasks_in(asked(tasks)))
    several = {"attributes": {"eyeglasses", "headwear"}, "head_pose": {"yaw", "pitch", "roll"}}
    assert set(noted) == set().union(*(several.get(name, {name}) for name in tasks))
    for name, task in noted.items():
        assert (task.question, task.options, task.kind) == (
            TABLE[name].question,
            TABLE[name].options,
            TABLE[name].kind,
        )
        assert task.ranges == TABLE[name].ranges
        assert task.on_request == (name == "race")


def test_years_are_asked_on_request_where_groups_are_too():
    assert face_tasks_in(asked(["age_years", "age"]))["age_years"]["on_request"]


def test_an_option_that_only_some_sources_have_is_noted_where_it_is_stated():
    stated = "Which expression does this face show? Options: neutral, happiness, anger, contempt."
    (task,) = face_tasks_in([[user_turn(stated, image=True), assistant_turn("anger")]]).values()
    assert task["options"] == [*TABLE["expression"].options, "contempt"] and "contempt" in task["question"]


@pytest.mark.parametrize("config", ["captions", "vqa"])
def test_captions_and_open_questions_are_no_closed_ones(config):
    assert face_tasks_in(asked(("gender", "age"), config)) == {}


@pytest.mark.parametrize("config", ["vqa", "face_tasks"])
def test_questions_that_the_model_learns_to_decline_are_no_tasks(config):
    drawn = (make_conversation(config, FACE, random.Random(seed), ["age"], unanswerable=0.5) for seed in range(400))
    assert set(face_tasks_in(messages for _, messages in drawn)) <= {"age"}


def test_an_open_question_that_drawn_faces_are_asked_too_makes_no_photograph_a_drawn_face():
    posed = [make_conversation("vqa", {"yaw": 0.0, "roll": 0.0}, random.Random(n), ("yaw", "roll")) for n in range(60)]
    assert "Which way is the head turned?" in str(posed)
    assert face_tasks_in(messages for _, messages in posed) == {}


def test_drawn_faces_are_asked_about_in_their_own_words_and_held_out_attributes_are_not():
    noted = face_tasks_in(record["messages"] for record in DrawnFaces("face_tasks", "train", 40, 0, 16).records(0, 40))
    assert noted["glasses"] == {
        "question": "What glasses does the person wear?",
        "options": ["none", "eyeglasses", "sunglasses"],
        "kind": "attribute",
    }
    assert {"hair_color", "background"}.isdisjoint(noted) and len(noted) > 10
    assert face_tasks_in(record["messages"] for record in DrawnFaces("text", "train", 40, 0, 16).records(0, 40)) == {}


def test_a_trained_model_names_its_tasks_and_keeps_those_of_earlier_stages(make_recipe, tmp_path):
    def corpus(question, name):
        records = [picture_record(number, turns=1) for number in range(8)]
        for record in records:
            record["messages"] = [user_turn(question, image=True), assistant_turn("yes")]
        return write_corpus(records, tmp_path / name)

    def tasks_after(**recipe):
        run = make_recipe(trainer={"max_steps": 1}, **recipe)
        train(run)
        return json.loads((Path(run.output_dir) / "config.json").read_text())["face_tasks"]

    hat = corpus("Does this person wear a hat? Options: yes, no.", "hat")
    smile = corpus("Is this person smiling? Choose one of: no, yes.", "smile")
    assert list(tasks_after(data=[{"path": hat}])) == ["wearing_hat"]
    later = tasks_after(
        model={"base": str(tmp_path / "run"), "trainable": ["all"]},
        data=[{"path": smile}],
        output_dir=str(tmp_path / "later"),
    )
    assert set(later) == {"wearing_hat", "smiling"}
