"""`FaceMLLMForONNX` writes what the PyTorch model writes."""

import threading

import numpy as np
import pytest
import torch

from facemllm_onnx import FaceMLLMForONNX
from facemllm_onnx.runtime.sessions import ProviderUnavailable
from modeling_facemllm.errors_facemllm import PromptTooLongError


def _user(text, images=0):
    return [{"role": "user", "content": [*[{"type": "image"}] * images, {"type": "text", "text": text}]}]


PROMPTS = {"text": _user("Hello?"), "one image": _user("Glasses?", 1), "two images": _user("Who is older?", 2)}


@pytest.fixture(scope="module", params=["one", "any"])
def runtime(request):
    """The model as loaded from the fused folder, and from that for batches."""
    folder = request.getfixturevalue({"one": "onnx_folder", "any": "onnx_batch_folder"}[request.param])
    return FaceMLLMForONNX.from_pretrained(folder, provider="cpu", threads=1)


@pytest.fixture(scope="module")
def batch_runtime(onnx_batch_folder):
    return FaceMLLMForONNX.from_pretrained(onnx_batch_folder, provider="cpu", threads=1)


def _inputs(runtime, name, pictures):
    images = pictures[: {"text": 0, "one image": 1, "two images": 2}[name]]
    return runtime.processor.apply_chat_template(
        PROMPTS[name], images=images, tokenize=True, add_generation_prompt=True
    )


def _batch(runtime, pictures):
    """Prompts of different lengths in one batch."""
    images = [[], pictures[:1], pictures[1:]]
    return runtime.processor.apply_chat_template(
        list(PROMPTS.values()), images=images, tokenize=True, add_generation_prompt=True
    )


def _pytorch(model, inputs, **options):
    tensors = {name: torch.from_numpy(values) for name, values in inputs.items()}
    with torch.no_grad():
        tokens = model.generate(**tensors, max_new_tokens=24, **{"do_sample": False} | options)
    return tokens[:, inputs["input_ids"].shape[1] :].numpy()


@pytest.mark.parametrize("name", PROMPTS)
def test_greedy_tokens_are_those_of_pytorch(runtime, model, pictures, name):
    inputs = _inputs(runtime, name, pictures)
    assert np.array_equal(runtime.generate_tokens(**inputs, max_new_tokens=24), _pytorch(model, inputs))


def test_a_batch_of_different_lengths_gives_the_tokens_of_pytorch(runtime, model, pictures):
    inputs = _batch(runtime, pictures)
    assert not inputs["attention_mask"].all()
    assert np.array_equal(runtime.generate_tokens(**inputs, max_new_tokens=24), _pytorch(model, inputs))


def test_the_repetition_penalty_is_that_of_transformers(runtime, model, pictures):
    inputs, penalty = _batch(runtime, pictures), {"repetition_penalty": 1.7}
    tokens = runtime.generate_tokens(**inputs, max_new_tokens=24, **penalty)
    assert np.array_equal(tokens, _pytorch(model, inputs, **penalty))
    assert not np.array_equal(tokens, _pytorch(model, inputs))


def test_a_row_that_has_ended_is_padded(runtime, model, pictures):
    inputs = _batch(runtime, pictures)
    free = runtime.generate_tokens(**inputs, max_new_tokens=24)
    end = int(free[0, 3])
    tokens = runtime.generate_tokens(**inputs, max_new_tokens=24, stop=end)
    ends = [*np.atleast_1d(model.generation_config.eos_token_id).tolist(), end]
    assert np.array_equal(tokens, _pytorch(model, inputs, eos_token_id=ends))
    assert (tokens[0, 4:] == runtime.pad_token_id).all()


def test_images_may_come_encoded_and_prompts_embedded(runtime, pictures):
    inputs = _inputs(runtime, "one image", pictures)
    expected = runtime.generate_tokens(**inputs, max_new_tokens=8)
    features = runtime.encode_images(pictures[0])
    ids = inputs["input_ids"]
    assert np.array_equal(runtime.generate_tokens(ids, image_features=features, max_new_tokens=8), expected)
    embeds = runtime.embed(ids)
    embeds[ids == runtime.image_token_id] = features[0]
    assert np.array_equal(runtime.generate_tokens(inputs_embeds=embeds, max_new_tokens=8), expected)


def test_encoded_images_and_embeddings_are_those_of_pytorch(runtime, model, processor, pictures):
    pixel_values = processor.image_processor(pictures, return_tensors="pt")["pixel_values"]
    ids = np.array([[3, 4, 5]])
    with torch.no_grad():
        features = model.get_image_features(pixel_values).pooler_output
        embeddings = model.get_input_embeddings()(torch.from_numpy(ids))
    assert np.allclose(runtime.encode_images(pictures), features, atol=1e-5)
    assert np.array_equal(runtime.embed(ids), embeddings)


def test_a_streamed_answer_is_the_answer(runtime, pictures):
    question = {"messages": PROMPTS["one image"], "images": pictures[:1], "max_new_tokens": 24}
    answer = runtime.generate(**question)
    pieces = list(runtime.generate(**question, stream=True))
    assert "".join(pieces) == answer and len(pieces) > 1
    assert runtime.ask(pictures[0], "Glasses?", max_new_tokens=24) == answer


def test_an_answer_ends_before_a_stop_string(runtime, pictures):
    question = {"messages": PROMPTS["one image"], "images": pictures[:1], "max_new_tokens": 24}
    answer = runtime.generate(**question)
    stop = answer[6:8]
    cut = answer[: answer.index(stop)]
    assert runtime.generate(**question, stop=[stop]) == cut
    assert "".join(runtime.generate(**question, stop=stop, stream=True)) == cut
    written = runtime.generate_tokens(**_inputs(runtime, "one image", pictures), max_new_tokens=24, stop=stop)
    assert written.shape[1] < 24


def test_a_batch_of_conversations_gives_a_list_of_answers(runtime, pictures):
    images = [[], pictures[:1], pictures[1:]]
    answers = runtime.generate(list(PROMPTS.values()), images=images, max_new_tokens=8)
    alone = [runtime.generate(*pair, max_new_tokens=8) for pair in zip(PROMPTS.values(), images, strict=True)]
    assert answers == alone


def test_a_seed_gives_the_same_draw_again_for_each_row(runtime, batch_runtime, pictures):
    inputs = _batch(runtime, pictures)
    draw = {"do_sample": True, "temperature": 2.0, "top_k": 0, "max_new_tokens": 12}
    first = runtime.generate_tokens(**inputs, seed=1, **draw)
    assert np.array_equal(runtime.generate_tokens(**inputs, seed=1, **draw), first)
    assert not np.array_equal(runtime.generate_tokens(**inputs, seed=2, **draw), first)
    # A folder for one row at a time draws what one for batches does.
    assert np.array_equal(batch_runtime.generate_tokens(**inputs, seed=1, **draw), first)


def test_calls_may_overlap(runtime, pictures):
    expected = {name: runtime.generate(PROMPTS[name], _images(name, pictures), max_new_tokens=24) for name in PROMPTS}
    found, streams = {}, {}
    for name in PROMPTS:
        stream = runtime.generate(PROMPTS[name], _images(name, pictures), max_new_tokens=24, stream=True)
        streams[name] = [next(stream, ""), stream]

    def answer(name):
        found[name] = runtime.generate(PROMPTS[name], _images(name, pictures), max_new_tokens=24)

    threads = [threading.Thread(target=answer, args=[name]) for name in PROMPTS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected
    assert {name: first + "".join(rest) for name, (first, rest) in streams.items()} == expected


def _images(name, pictures):
    return pictures[: sum(part["type"] == "image" for part in PROMPTS[name][0]["content"])]


def test_an_answer_ends_where_the_model_reads_no_further(onnx_folder):
    runtime = FaceMLLMForONNX.from_pretrained(onnx_folder, provider="cpu", threads=1, max_length=20)
    runtime.end_token_ids = ()
    prompt = np.full((1, 17), 5)
    assert runtime.generate_tokens(prompt, max_new_tokens=100).shape == (1, 4)
    with pytest.raises(ValueError, match=r"\b21 tokens\b.*max_length=20\b.*\b512 at most"):
        runtime.generate_tokens(np.full((1, 21), 5))
    with pytest.raises(PromptTooLongError) as caught:
        runtime.generate_tokens(np.full((1, 513), 5))
    assert (caught.value.tokens, caught.value.position_limit) == (513, 512)
    with pytest.raises(ValueError, match=r"max_length=513: .*\b1 to 512 tokens"):
        FaceMLLMForONNX.from_pretrained(onnx_folder, provider="cpu", max_length=513)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_ids": np.ones((1, 3), int), "temperature": 0.0}, r"temperature=0\.0: .*above 0"),
        ({"input_ids": np.ones((1, 3), int), "temperature": "hot"}, "temperature='hot': .*number"),
        ({"input_ids": np.ones((1, 3), int), "seed": -1}, "seed=-1: .*0 or more"),
        ({"input_ids": np.ones((1, 3), int), "top_p": 1.5}, r"top_p=1\.5: .*from 0 to 1"),
        ({"input_ids": np.ones((1, 3), int), "top_k": -1}, "top_k=-1: .*0 for all tokens"),
        ({"input_ids": np.ones((1, 3), int), "repetition_penalty": 0}, "repetition_penalty=0: .*above 0"),
        ({"input_ids": np.ones((1, 3), int), "max_new_tokens": 0}, "max_new_tokens=0: .*1 or more"),
        (
            {"input_ids": np.ones((1, 3), int), "max_new_tokens": 2.5},
            r"max_new_tokens=2\.5: .*whole number, 1 or more",
        ),
        ({"input_ids": np.ones((1, 3), int), "stop": ["", 3]}, r"stop=\['', 3\]: .*strings and token ids"),
        (
            {"input_ids": np.ones((1, 3), int), "attention_mask": np.array([[1, 1, 0]])},
            "attention_mask: .*padded on the left",
        ),
        (
            {"input_ids": np.ones((1, 3), int), "attention_mask": np.array([[True, False, True]])},
            "attention_mask: .*padded on the left",
        ),
        ({"input_ids": np.ones((1, 3), int), "attention_mask": np.ones((1, 4))}, "attention_mask"),
        ({"input_ids": np.ones((1, 0), int)}, "shape"),
        ({"input_ids": np.full((1, 3), -1)}, "input_ids: .*whole numbers from 0"),
        ({"input_ids": np.full((1, 3), 10**6)}, "input_ids: .*whole numbers from 0"),
        ({"input_ids": np.full((1, 3), 1.5)}, "input_ids: .*whole numbers from 0"),
        (
            {"input_ids": np.ones((1, 3), int), "pixel_values": np.ones((1, 3, 8, 8))},
            r"pixel_values .*\(1, 3, 8, 8\): .*\b3, 32, 32\b",
        ),
        ({"inputs_embeds": np.ones((1, 3, 5))}, r"inputs_embeds .*\(1, 3, 5\): "),
        (
            {"inputs_embeds": np.ones((1, 3, 32)), "pixel_values": np.ones((1, 3, 32, 32))},
            "inputs_embeds .*give no pixel_values",
        ),
        (
            {"input_ids": np.ones((1, 3), int), "image_features": np.ones((1, 4, 32))},
            "Image features and image tokens",
        ),
        ({}, "input_ids or inputs_embeds"),
    ],
)
def test_wrong_arguments_are_named(batch_runtime, arguments, message):
    with pytest.raises(ValueError, match=message):
        batch_runtime.generate_tokens(**arguments)


@pytest.mark.parametrize("messages", ["Hello?", None, [], 3, [3], ["Hello?"], {"role": "user", "content": "Hello?"}])
def test_what_holds_no_messages_is_refused(batch_runtime, messages):
    with pytest.raises(ValueError, match=r"messages=.*: .*\"role\": \"user\".*ask\(images, question\)"):
        batch_runtime.generate(messages)


@pytest.mark.parametrize("messages", ["Hello?", PROMPTS["text"]])
def test_messages_are_no_tokens(batch_runtime, messages):
    with pytest.raises(ValueError, match=r"\bgenerate\b"):
        batch_runtime.generate_tokens(messages)


@pytest.mark.parametrize("question", [None, 3, ["Hello?"]])
def test_a_question_has_to_be_a_text(batch_runtime, pictures, question):
    with pytest.raises(ValueError, match=r"question=.*ask\(None, question\)"):
        batch_runtime.ask(pictures[0], question)


def test_a_question_in_the_place_of_the_image_is_told_where_it_belongs(batch_runtime):
    with pytest.raises(ValueError, match=r"ask\(None, question\)"):
        batch_runtime.ask("Hello?")


@pytest.mark.parametrize(("name", "message"), [("dosample", "do_sample"), ("num_beams", "ONNXFaceMLLM")])
def test_an_unknown_argument_is_answered_with_those_that_there_are(batch_runtime, name, message):
    with pytest.raises(TypeError, match=f"^{name}: .*{message}"):
        batch_runtime.ask(None, "Hello?", **{name: 4})


@pytest.mark.parametrize(
    "wrong", [{"threads": "a"}, {"threads": 1.5}, {"threads": 0}, {"max_length": "a"}, {"max_length": 1.5}]
)
def test_a_setting_that_is_no_whole_number_is_named(onnx_folder, wrong):
    [(name, value)] = wrong.items()
    with pytest.raises(ValueError, match=f"{name}={value!r}: .*whole number, 1 or more"):
        FaceMLLMForONNX.from_pretrained(onnx_folder, provider="cpu", **wrong)


def test_cuda_that_is_not_there_is_an_error_and_never_the_cpu(onnx_folder):
    with pytest.raises(ProviderUnavailable, match='pip install "onnxruntime-gpu'):
        FaceMLLMForONNX.from_pretrained(onnx_folder, provider="cuda")
    assert FaceMLLMForONNX.from_pretrained(onnx_folder, provider="auto", threads=1).provider == "cpu"
    with pytest.raises(ValueError, match=r"provider='tpu'.*auto, cpu, cuda"):
        FaceMLLMForONNX.from_pretrained(onnx_folder, provider="tpu")
