"""Answers in batches are the answers one by one."""

import pytest
from PIL import Image

from datasets_scripts.synthetic.faces import draw_face, sample_labels
from facemllm.cli import UserError
from facemllm.evaluation.answer_parsing import normalize
from facemllm.inference.answering import answer
from facemllm.inference.loading import load_model, pick_device
from modeling_facemllm.answering_facemllm import answer_about, encode_faces

QUESTION = "What is the expression?"


@pytest.fixture(scope="module")
def model_and_processor(tiny_model):
    return load_model(tiny_model, "cpu")


@pytest.fixture(scope="module")
def faces():
    return [draw_face(sample_labels(index, 0, "test"), index, 0, "test") for index in range(5)]


def test_a_batch_answers_like_one_prompt_at_a_time(model_and_processor, faces):
    model, processor = model_and_processor
    features = encode_faces(model, processor, faces, batch_size=2)
    asked = [(place, question) for place in range(len(faces)) for question in (QUESTION, "How old is the person?")]
    batched = answer_about(model, processor, features, asked, max_new_tokens=6, batch_size=3)
    assert batched == [answer(model, processor, [faces[place]], question, 6) for place, question in asked]


def test_answers_depend_on_the_face(model_and_processor, faces):
    model, processor = model_and_processor
    features = encode_faces(model, processor, [faces[0], Image.new("RGB", (64, 64))])
    assert not features[0].allclose(features[1])


@pytest.mark.parametrize(
    "text,normal", [(" Yes. ", "yes"), ("Middle-aged", "middle-aged"), ("a  cap", "a cap"), ("", "")]
)
def test_case_spaces_and_a_full_stop_do_not_count(text, normal):
    assert normalize(text) == normal


def test_an_unknown_device_is_told_in_our_words():
    with pytest.raises(UserError, match=r"--device toaster: .*\bcpu\b") as caught:
        pick_device("toaster")
    assert len(str(caught.value)) < 119
