"""An export behind transformers' interfaces: what PyTorch's model answers there, it answers."""

import pytest
import torch
from transformers import AutoProcessor, pipeline

from facemllm.inference.answering import answer_prompts
from facemllm_onnx.transformers_model import ONNXFaceMLLM
from modeling_facemllm.closed_questions_facemllm import ClosedQuestion
from modeling_facemllm.pipeline_facemllm import FaceAnalysisPipeline
from modeling_facemllm.scoring_facemllm import score_options

QUESTION = "Is this a face?"


@pytest.fixture(params=["onnx_folder", "onnx_batch_folder"], ids=["for one row", "for several"])
def exported(request):
    """The model on ONNX Runtime, from each kind of export."""
    return ONNXFaceMLLM.from_pretrained(request.getfixturevalue(request.param), provider="cpu", threads=1)


def asked(question, *images):
    return [{"role": "user", "content": [*({"type": "image", "image": one} for one in images), said(question)]}]


def said(text):
    return {"type": "text", "text": text}


def inputs_of(processor, messages):
    return processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )


def test_a_batch_of_unequal_prompts_gets_the_models_answers(exported, model, processor, pictures):
    prompts = [(QUESTION, pictures[:1]), ("And these two, which are wider?", pictures[1:]), ("Who?", [])]
    answers = answer_prompts(exported, processor, prompts, 8)
    assert answers == answer_prompts(model, processor, prompts, 8)
    assert len(set(answers)) == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"do_sample": True, "temperature": 1.3, "top_k": 30, "top_p": 0.9},
        {"num_beams": 3, "num_return_sequences": 2},
        {"do_sample": False, "repetition_penalty": 1.5, "no_repeat_ngram_size": 2},
        {"do_sample": False, "use_cache": False},
    ],
    ids=["sampling", "beams", "processors of logits", "no cache"],
)
def test_generate_is_transformers_own(exported, model, processor, pictures, settings):
    inputs = inputs_of(processor, asked(QUESTION, pictures[0]))
    tokens = []
    for network in (model, exported):
        torch.manual_seed(0)
        tokens.append(network.generate(**inputs, max_new_tokens=6, **settings))
    assert torch.equal(*tokens)


def test_the_pipeline_for_images_and_text_takes_it(exported, model, processor, pictures):
    answers = [
        pipeline("image-text-to-text", model=network, processor=processor, device=network.device)(
            text=asked(QUESTION, pictures[0]), max_new_tokens=6, return_full_text=False
        )[0]["generated_text"]
        for network in (model, exported)
    ]
    assert answers[0] == answers[1]


def test_the_pipeline_for_faces_gives_the_rows_of_the_model(exported, model, processor, pictures):
    options = {"detector": "none", "tasks": ["gender", "age"], "questions": [QUESTION, "Who?"], "max_new_tokens": 6}
    theirs, ours = (
        FaceAnalysisPipeline(model=network, processor=processor, device=network.device, **options)(pictures)
        for network in (model, exported)
    )
    for [face], [same] in zip(theirs, ours, strict=True):
        assert same["answers"] == face["answers"]
        assert (same["box"], same["tasks"].keys()) == (face["box"], face["tasks"].keys())
        for name, answer in face["tasks"].items():
            assert same["tasks"][name]["label"] == answer["label"]
            assert same["tasks"][name]["scores"] == pytest.approx(answer["scores"], abs=1e-4)


def test_scoring_is_the_graphs_with_the_arguments_of_the_models(exported, model, processor, pictures):
    questions = [ClosedQuestion(QUESTION, ("yes", "no", "perhaps"))]
    options = {"pack_tokens": 40, "batch_size": 2}
    theirs, ours = (score_options(network, processor, pictures, questions, **options) for network in (model, exported))
    assert [face[0] for face in ours] == [pytest.approx(face[0], abs=1e-4) for face in theirs]


def test_what_needs_logits_before_the_last_is_refused(exported, processor, pictures):
    inputs = inputs_of(processor, asked(QUESTION, pictures[0]))
    with pytest.raises(ValueError, match="assisted generation"):
        exported.generate(**inputs, max_new_tokens=6, prompt_lookup_num_tokens=2)
    with pytest.raises(ValueError, match=r"logits_to_keep=3: .*last position"):
        exported(**inputs, logits_to_keep=3)
    with pytest.raises(ValueError, match=r"labels: .*last position"):
        exported(**inputs, labels=inputs["input_ids"])


def test_rows_padded_on_the_right_are_refused_by_a_decoder_for_one_row(fused_folder):
    exported = ONNXFaceMLLM.from_pretrained(fused_folder, provider="cpu", threads=1)
    with pytest.raises(ValueError, match=r"attention_mask: .*padded on the left"):
        exported(input_ids=torch.tensor([[5, 6], [7, 7]]), attention_mask=torch.tensor([[1, 1], [1, 0]]))


def test_more_than_the_model_reads_is_refused_by_a_decoder_for_one_row(fused_folder):
    exported = ONNXFaceMLLM.from_pretrained(fused_folder, provider="cpu", threads=1)
    with pytest.raises(ValueError, match=r"\b513 tokens\b.*\b512 at most"):
        exported(input_ids=torch.full((1, 513), 5))


def test_pictures_and_their_tokens_have_to_be_as_many(exported, processor, pictures):
    inputs = inputs_of(processor, asked(QUESTION, pictures[0]))
    inputs["pixel_values"] = inputs["pixel_values"].repeat(2, 1, 1, 1)
    with pytest.raises(ValueError, match="Image features and image tokens do not match"):
        exported(**inputs)


def test_it_stays_on_its_device(exported):
    assert exported.to("cpu") is exported
    with pytest.raises(ValueError, match=r"device='cuda'.*\bcpu\b.*device=model\.device"):
        exported.to("cuda")


def test_a_saved_pipeline_is_the_export(onnx_folder, processor, tmp_path):
    exported = ONNXFaceMLLM.from_pretrained(onnx_folder, provider="cpu", threads=1)
    FaceAnalysisPipeline(model=exported, processor=processor, device=exported.device).save_pretrained(tmp_path)
    again = ONNXFaceMLLM.from_pretrained(tmp_path, provider="cpu", threads=1)
    assert again.runtime.record == exported.runtime.record
    assert AutoProcessor.from_pretrained(tmp_path).chat_template == processor.chat_template
