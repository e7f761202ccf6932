"""The model: images take their tokens' places, and however it is run, it gives the same answer."""

import copy
import json

import pytest
import torch
from transformers import AutoModelForImageTextToText

from modeling_facemllm import FaceMLLMConfig, FaceMLLMForConditionalGeneration, FaceMLLMModel, FaceMLLMVisionModel
from modeling_facemllm.projector_facemllm import pixel_shuffle


def tensors(processor, messages, **kwargs):
    return processor.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True, **kwargs
    )


@pytest.fixture
def inputs(processor, question, photo):
    return tensors(processor, question, images=photo)


def close(one, other, atol=1e-4):
    torch.testing.assert_close(one, other, atol=atol, rtol=1e-4)


# Images


def test_pixel_shuffle_merges_neighbours():
    grid = torch.arange(16.0).reshape(1, 16, 1)  # 4×4, row by row
    merged = pixel_shuffle(grid, 2)
    assert merged[0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


@pytest.mark.parametrize(("factor", "tokens"), [(1, 16), (2, 4), (4, 1)])
def test_an_image_gives_as_many_features_as_the_configuration_says(vision_config, text_config, factor, tokens):
    config = FaceMLLMConfig(vision_config=vision_config, text_config=text_config, pixel_shuffle_factor=factor)
    features = FaceMLLMModel(config).eval().get_image_features(torch.randn(2, 3, 32, 32))
    assert features.pooler_output.shape == (2, tokens, 32)
    assert config.num_image_tokens == tokens


def test_the_answer_depends_on_the_image_and_on_the_order_of_images(model, processor, photo, other_photo):
    two = [
        {"role": "user", "content": [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "Same person?"}]}
    ]
    one_way, other_way = (
        model(**tensors(processor, two, images=images)).logits[:, -1]
        for images in ([photo, other_photo], [other_photo, photo])
    )
    assert (one_way - other_way).abs().max() > 1e-3


def test_features_can_be_encoded_once_and_reused(model, inputs):
    with torch.no_grad():
        encoded = model.get_image_features(inputs["pixel_values"])
        again = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            mm_encoder_outputs={"image": encoded},
        )
        close(again.logits, model(**inputs).logits)
        with pytest.raises(ValueError, match=r"\bpixel_values\b.*\bmm_encoder_outputs\b"):
            model(**inputs, mm_encoder_outputs={"image": encoded})


def test_hidden_layers_can_be_concatenated(vision_config, text_config):
    config = FaceMLLMConfig(vision_config=vision_config, text_config=text_config, vision_feature_layer=[-2, -1])
    model = FaceMLLMModel(config).eval()
    assert model.projector.linear_1.in_features == 2 * vision_config.hidden_size
    assert model.get_image_features(torch.randn(1, 3, 32, 32)).pooler_output.shape == (1, 16, 32)


@pytest.mark.parametrize("change", ["fewer images", "more images", "fewer tokens"])
def test_images_and_tokens_must_agree(model, inputs, change):
    if change == "fewer images":
        inputs["input_ids"] = torch.cat([inputs["input_ids"]] * 2)
        inputs["attention_mask"] = torch.cat([inputs["attention_mask"]] * 2)
    elif change == "more images":
        inputs["pixel_values"] = torch.cat([inputs["pixel_values"]] * 2)
    else:
        inputs["input_ids"][inputs["input_ids"] == model.config.image_token_id] = 5
    with pytest.raises(ValueError, match="Image features and image tokens do not match"):
        model(**inputs)


def test_an_image_of_the_wrong_size_is_refused(model, inputs):
    inputs["pixel_values"] = torch.zeros(1, 3, 48, 48)
    with pytest.raises(ValueError, match=r"pixel_values .*48×48.*32×32"):
        model(**inputs)


# Ways of running it


def test_a_left_padded_batch_answers_as_each_prompt_alone(model, processor, question, photo, other_photo):
    long = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Does this person smile?"}]}]
    text_only = [{"role": "user", "content": "Hello"}]
    batch = tensors(
        processor,
        [question, long, text_only],
        images=[[photo], [other_photo], []],
        processor_kwargs={"padding": True},
    )
    alone = [
        tensors(processor, question, images=photo),
        tensors(processor, long, images=other_photo),
        tensors(processor, text_only),
    ]
    with torch.no_grad():
        logits = model(**batch).logits[:, -1]
        for row, single in zip(logits, alone, strict=True):
            close(row, model(**single).logits[0, -1])
    answers = model.generate(**batch, max_new_tokens=8, do_sample=False)[:, batch["input_ids"].shape[1] :]
    for answer, single in zip(answers, alone, strict=True):
        expected = model.generate(**single, max_new_tokens=8, do_sample=False)[0, single["input_ids"].shape[1] :]
        assert answer[: len(expected)].tolist() == expected.tolist()


def test_text_alone_goes_without_the_tower(model, processor):
    model.model.vision_tower = None
    inputs = tensors(processor, [{"role": "user", "content": "Hello"}])
    assert model.generate(**inputs, max_new_tokens=3, do_sample=False).shape[1] > inputs["input_ids"].shape[1]


def test_embeddings_may_replace_ids(model, inputs):
    embeddings = model.get_input_embeddings()(inputs["input_ids"])
    rest = {key: inputs[key] for key in ("attention_mask", "pixel_values")}
    with torch.no_grad():
        close(model(inputs_embeds=embeddings, **rest).logits, model(**inputs).logits)
        with pytest.raises(ValueError, match=r"\binput_ids\b.*\binputs_embeds\b"):
            model(**inputs, inputs_embeds=embeddings)
    by_ids = model.generate(**inputs, max_new_tokens=6, do_sample=False)[:, inputs["input_ids"].shape[1] :]
    assert (
        model.generate(inputs_embeds=embeddings, **rest, max_new_tokens=6, do_sample=False).tolist() == by_ids.tolist()
    )


def test_eager_attention_is_sdpa(model, inputs):
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    assert eager.model.language_model.config._attn_implementation == "eager"
    with torch.no_grad():
        close(eager(**inputs).logits, model(**inputs).logits)
        outputs = eager(**inputs, output_attentions=True, output_hidden_states=True)
    assert len(outputs.attentions) == 2
    assert len(outputs.hidden_states) == 3


def test_only_the_wanted_logits_are_computed(model, inputs):
    with torch.no_grad():
        close(model(**inputs, logits_to_keep=2).logits, model(**inputs).logits[:, -2:])


def test_no_attention_mask_means_no_padding(model, inputs):
    with torch.no_grad():
        bare = model(input_ids=inputs["input_ids"], pixel_values=inputs["pixel_values"])
        close(bare.logits, model(**inputs).logits)


# Training


def test_gradient_checkpointing_changes_neither_loss_nor_gradients(model, inputs):
    model.train()
    plain = model(**inputs, labels=inputs["input_ids"]).loss
    plain.backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    assert all(grad.abs().sum() > 0 for name, grad in expected.items() if "projector" in name)
    model.zero_grad()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    assert model.is_gradient_checkpointing
    saved = model(**inputs, labels=inputs["input_ids"]).loss
    saved.backward()
    close(saved, plain)
    for name, parameter in model.named_parameters():
        close(parameter.grad, expected[name])


def test_the_projector_alone_can_be_trained(model, inputs):
    model.requires_grad_(False)
    model.model.projector.requires_grad_(True)
    model.train()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    assert all(parameter.grad is not None for parameter in model.model.projector.parameters())


def test_the_loss_counts_labelled_tokens_only(model, inputs):
    labels = torch.full_like(inputs["input_ids"], -100)
    labels[:, -3:] = inputs["input_ids"][:, -3:]
    with torch.no_grad():
        outputs = model(**inputs, labels=labels)
    expected = torch.nn.functional.cross_entropy(outputs.logits[0, -4:-1], labels[0, -3:])
    close(outputs.loss, expected)


def test_the_base_model_and_the_head_are_where_trainers_look(model, inputs):
    assert model.base_model is model.model
    with torch.no_grad():
        hidden = model.base_model(**inputs).last_hidden_state
        close(model.get_output_embeddings()(hidden), model(**inputs).logits)
    assert model.get_decoder() is model.model.language_model


# Folders


@pytest.mark.parametrize("tied", [True, False])
def test_saving_and_loading_keeps_ties_and_answers(vision_config, text_config, processor, inputs, tmp_path, tied):
    text_config.tie_word_embeddings = tied
    model = FaceMLLMForConditionalGeneration.from_towers(
        vision_config, text_config, tokenizer=processor.tokenizer, pixel_shuffle_factor=2
    )
    with torch.no_grad():
        expected = model(**inputs).logits
    model.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["model.safetensors"]
    assert not list(tmp_path.glob("*.bin"))
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert type(loaded) is FaceMLLMForConditionalGeneration
    assert (loaded.lm_head.weight is loaded.get_input_embeddings().weight) == tied
    with torch.no_grad():
        close(loaded(**inputs).logits, expected)


@pytest.mark.parametrize("device_map", ["cpu", "auto"])
def test_a_device_map_places_the_parts(model, inputs, tmp_path, device_map):
    model.save_pretrained(tmp_path)
    loaded = FaceMLLMForConditionalGeneration.from_pretrained(tmp_path, device_map=device_map)
    with torch.no_grad():
        close(loaded(**inputs.to(loaded.device)).logits.cpu(), model(**inputs.to("cpu")).logits)


def test_buffers_that_are_not_saved_are_there_after_loading(model, tmp_path):
    """transformers 5 loads on the meta device, where what `__init__` computed is lost."""
    model.save_pretrained(tmp_path)
    loaded = FaceMLLMForConditionalGeneration.from_pretrained(tmp_path)
    expected, saved = dict(model.named_buffers()), model.state_dict()
    unsaved = [name for name in expected if name not in saved]
    assert any("inv_freq" in name for name in unsaved)
    for name, buffer in loaded.named_buffers():
        close(buffer, expected[name])


def test_the_end_of_a_turn_ends_the_answer(model, processor, tmp_path):
    model.save_pretrained(tmp_path)
    generation = json.loads((tmp_path / "generation_config.json").read_text())
    assert generation["eos_token_id"] == processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert generation["pad_token_id"] == processor.tokenizer.pad_token_id


def test_bf16_is_kept(model, inputs, tmp_path):
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    loaded = FaceMLLMForConditionalGeneration.from_pretrained(tmp_path, dtype="auto")
    assert loaded.dtype == torch.bfloat16
    with torch.no_grad():
        assert loaded(**inputs).logits.dtype == torch.bfloat16


def test_the_tower_alone_is_a_folder_of_its_own(vision_config, tmp_path):
    tower = FaceMLLMVisionModel(vision_config).eval()
    tower.save_pretrained(tmp_path)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = tower(pixels).last_hidden_state
        close(FaceMLLMVisionModel.from_pretrained(tmp_path)(pixels).last_hidden_state, expected)
    assert expected.shape == (2, 16, 16)


def test_the_towers_attention_weights_explain_its_output(vision_config):
    tower = FaceMLLMVisionModel(vision_config).eval()
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        outputs = tower(pixels, output_attentions=True, output_hidden_states=True)
        close(outputs.last_hidden_state, tower(pixels).last_hidden_state)
    assert [weights.shape for weights in outputs.attentions] == [(2, 2, 16, 16)] * 2
    close(outputs.attentions[0].sum(-1), torch.ones(2, 2, 16))
    assert len(outputs.hidden_states) == 3
