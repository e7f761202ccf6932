"""Models answer in two ways, face by face in the order given; a stub answers with a known accuracy."""

import shutil

import pytest
import torch

from facemllm.cli import UserError
from facemllm.evaluation.answerers import FaceMLLMAnswerer, GenericAnswerer, load_answerer
from facemllm.evaluation.answers import AskedFace, AskedQuestion
from facemllm.evaluation.stub_answerer import Known, StubAnswerer
from facemllm.inference.answering import answer
from facemllm.inference.loading import load_model
from modeling_facemllm.errors_facemllm import NoNumbersError
from tests.recipes.tiny_internvl import write_internvl

GENDER = AskedQuestion("gender", "What is the gender of this person? Options: female, male.", ("female", "male"))
HAT = AskedQuestion("hat", "What is on the head?", ("none", "cap", "beanie"), max_new_tokens=4)
POSE = AskedQuestion("head_pose", "What is the pose of the head?", max_new_tokens=4)


@pytest.fixture(scope="module")
def faces():
    from datasets_scripts.synthetic.faces import draw_face, sample_labels

    pictures = [draw_face(sample_labels(index, 0, "test"), index, 0, "test") for index in range(3)]
    asked = [(GENDER, HAT), (HAT,), (HAT, GENDER)]
    return [
        AskedFace(str(index), (picture,), questions)
        for index, (picture, questions) in enumerate(zip(pictures, asked, strict=True))
    ]


@pytest.fixture(scope="module")
def face_mllm(tiny_model):
    return load_answerer("torch", str(tiny_model), device="cpu", batch_size=2)


def test_a_face_mllm_gives_each_question_of_each_face_its_options_probabilities(face_mllm, faces):
    answers = list(face_mllm.answer(faces, "scoring"))
    assert [[tuple(given.probabilities) for given in of_face] for of_face in answers] == [
        [question.options for question in face.questions] for face in faces
    ]
    assert all(sum(given.probabilities.values()) == pytest.approx(1) for of_face in answers for given in of_face)


def test_scored_in_one_pass_or_each_alone_the_probabilities_are_the_same(face_mllm, faces):
    packed = list(face_mllm.answer(faces, "scoring"))
    alone = list(GenericAnswerer(face_mllm.model, face_mllm.processor).answer(faces, "scoring"))
    for of_face, of_face_alone in zip(packed, alone, strict=True):
        for given, given_alone in zip(of_face, of_face_alone, strict=True):
            assert given.probabilities == pytest.approx(given_alone.probabilities, abs=1e-4)


@pytest.mark.parametrize("kind", [FaceMLLMAnswerer, GenericAnswerer])
def test_what_is_written_is_what_the_model_writes_when_asked_alone(kind, face_mllm, faces):
    model, processor = face_mllm.model, face_mllm.processor
    asked = [AskedFace(face.id, face.images, (HAT, POSE)) for face in faces]
    answers = list(kind(model, processor, batch_size=2).answer(asked, "generation"))
    for face, of_face in zip(asked, answers, strict=True):
        for question, given in zip(face.questions, of_face, strict=True):
            assert given.text == answer(model, processor, face.images, question.text, max_new_tokens=4)


def test_faces_are_answered_batch_by_batch_so_that_a_kill_loses_one(face_mllm, faces, monkeypatch):
    encoded = []
    encode = face_mllm.model.get_image_features
    monkeypatch.setattr(face_mllm.model, "get_image_features", lambda *given: encoded.append(1) or encode(*given))
    asked = [AskedFace(face.id, face.images, (HAT, POSE)) for face in faces]
    for number, _ in enumerate(face_mllm.answer(asked, "generation")):
        assert len(encoded) == 1 + number // face_mllm.batch_size


def test_questions_about_no_picture_or_several_are_answered_too(face_mllm, faces):
    several = AskedFace("two", (*faces[0].images, *faces[1].images), (HAT,))
    none = AskedFace("none", (), (HAT, GENDER))
    for way in ("scoring", "generation"):
        assert [len(given) for given in face_mllm.answer([several, none], way)] == [1, 2]


def test_any_image_text_to_text_model_answers_in_both_ways(internvl, faces):
    answerer = load_answerer("torch", internvl, device="cpu")
    assert type(answerer) is GenericAnswerer
    (scored, *_), (written, *_) = answerer.answer(faces[:1], "scoring"), answerer.answer(faces[:1], "generation")
    assert sum(scored[1].probabilities.values()) == pytest.approx(1)
    assert written[1].text == answer(answerer.model, answerer.processor, faces[0].images, HAT.text, max_new_tokens=4)


def test_broken_weights_end_an_evaluation(face_mllm, faces):
    head = face_mllm.model.get_output_embeddings().weight.data
    kept = head.clone()
    head.fill_(float("nan"))
    try:
        for way in ("scoring", "generation"):
            with pytest.raises(NoNumbersError):
                list(face_mllm.answer(faces, way))
    finally:
        head.copy_(kept)


def test_broken_weights_of_other_makers_models_end_an_evaluation(internvl, faces):
    answerer = load_answerer("torch", internvl, device="cpu")
    answerer.model.get_output_embeddings().weight.data.fill_(float("inf"))
    for way in ("scoring", "generation"):
        with pytest.raises(NoNumbersError, match=r"embed_tokens\.weight"):
            list(answerer.answer(faces[:1], way))
    with pytest.raises(NoNumbersError, match=r"embed_tokens\.weight"):
        answer(answerer.model, answerer.processor, faces[0].images, HAT.text, max_new_tokens=4)


@pytest.fixture(scope="module")
def internvl(tmp_path_factory):
    return write_internvl(tmp_path_factory.mktemp("internvl"))


@pytest.fixture(scope="module")
def adapter(internvl, tmp_path_factory):
    """A LoRA adapter of the tiny InternVL that changes its answers."""
    from peft import LoraConfig, get_peft_model

    model, _ = load_model(internvl, "cpu")
    model.name_or_path = internvl
    torch.manual_seed(0)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=r".*language_model.*q_proj"))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    folder = tmp_path_factory.mktemp("adapter")
    adapted.save_pretrained(folder)
    return folder


def test_an_adapter_is_put_on_its_base_whichever_of_both_is_named(internvl, adapter, faces):
    def scores(model, **options):
        answerer = load_answerer("torch", str(model), device="cpu", **options)
        return next(answerer.answer(faces[:1], "scoring"))[0].probabilities["female"]

    with_adapter = scores(internvl, adapter=str(adapter))
    assert with_adapter == pytest.approx(scores(adapter)) and with_adapter != pytest.approx(scores(internvl))


def test_what_is_no_adapter_is_told(internvl, adapter, tmp_path):
    with pytest.raises(UserError, match=r"--adapter .*adapter_config\.json\b.*PEFT adapter"):
        load_model(internvl, "cpu", adapter=tmp_path)
    with pytest.raises(UserError, match=r"adapter.*give the base model.*--adapter"):
        load_model(adapter, "cpu", adapter=adapter)
    shutil.copytree(adapter, tmp_path / "orphan")
    config = tmp_path / "orphan/adapter_config.json"
    config.write_text(config.read_text().replace(f'"{internvl}"', "null"))
    with pytest.raises(UserError, match=r"orphan: .*base model.*give BASE --adapter"):
        load_model(tmp_path / "orphan", "cpu")
    with pytest.raises(UserError, match=r"--backend tpu: .*torch, onnx"):
        load_answerer("tpu", internvl)


def stub_faces(count):
    known = {
        str(index): Known({"gender": "female"}, {"gender": ("female", "male")[index % 2]}) for index in range(count)
    }
    return known, [AskedFace(id, (), (GENDER,)) for id in known]


def test_a_stub_is_right_at_the_rate_of_each_group_and_the_same_each_time():
    known, faces = stub_faces(2000)
    stub = StubAnswerer(known, rate=0.5, rates={("gender", "female"): 0.9})
    written = [given.text for (given,) in stub.answer(faces, "generation")]
    right = [text == "female" for text in written]
    assert sum(right[::2]) / 1000 == pytest.approx(0.9, abs=0.03)
    assert sum(right[1::2]) / 1000 == pytest.approx(0.5, abs=0.05)
    assert written == [given.text for (given,) in stub.answer(faces, "generation")]


def test_a_stub_is_as_sure_as_it_is_told_and_babbles_as_often():
    known, faces = stub_faces(1000)
    sure = [given.probabilities for (given,) in StubAnswerer(known, confidence=0.7).answer(faces, "scoring")]
    assert {max(probabilities.values()) for probabilities in sure} == {0.7}
    texts = [given.text for (given,) in StubAnswerer(known, babble=0.2).answer(faces, "generation")]
    assert sum(text not in GENDER.options for text in texts) / 1000 == pytest.approx(0.2, abs=0.04)
