"""`generate`: what transformers' GenerationTesterMixin asks, which no source distribution on PyPI contains."""

import pytest
import torch
import transformers
from packaging.version import Version
from transformers import DynamicCache, GenerationConfig

LENGTH = 8


@pytest.fixture
def inputs(processor, question, photo, other_photo):
    """Two prompts of different lengths with one image each."""
    longer = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Does this person smile?"}]}]
    return processor.apply_chat_template(
        [question, longer],
        images=[[photo], [other_photo]],
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=True,
        processor_kwargs={"padding": True},
    )


@pytest.fixture
def model(model):
    model.generation_config = GenerationConfig(pad_token_id=1, max_new_tokens=LENGTH, do_sample=False)
    return model


def greedy_without_generate(model, inputs) -> torch.Tensor:
    """The plain definition: the whole prompt, images included, is run again for every token."""
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    for _ in range(LENGTH):
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=mask, pixel_values=inputs["pixel_values"]).logits
        ids = torch.cat([ids, logits[:, -1].argmax(-1, keepdim=True)], dim=1)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
    return ids


def test_greedy_search_is_the_plain_definition(model, inputs):
    expected = greedy_without_generate(model, inputs)
    assert len(set(expected[:, -LENGTH:].flatten().tolist())) > 4  # a constant answer would prove nothing
    assert torch.equal(model.generate(**inputs), expected)
    assert torch.equal(model.generate(**inputs, use_cache=False), expected)


def test_the_image_is_encoded_once(model, inputs):
    calls = []
    model.model.vision_tower.register_forward_hook(lambda *_: calls.append(1))
    model.generate(**inputs)
    assert len(calls) == 1


def test_a_static_cache_gives_the_same(model, inputs):
    assert torch.equal(
        model.generate(**inputs, cache_implementation="static", disable_compile=True), model.generate(**inputs)
    )


def test_eager_attention_gives_the_same(model, inputs):
    expected = model.generate(**inputs)
    model.set_attn_implementation("eager")
    assert torch.equal(model.generate(**inputs), expected)


def test_one_beam_is_greedy_and_more_are_at_least_as_likely(model, inputs):
    def log_probability(sequences):
        with torch.no_grad():
            mask = torch.cat([inputs["attention_mask"], torch.ones(2, LENGTH, dtype=torch.long)], dim=1)
            logits = model(input_ids=sequences, attention_mask=mask, pixel_values=inputs["pixel_values"]).logits
        chosen = logits[:, :-1].log_softmax(-1).gather(-1, sequences[:, 1:, None])[:, -LENGTH:]
        return chosen.sum((1, 2))

    greedy, beams = model.generate(**inputs), model.generate(**inputs, num_beams=4)
    assert (log_probability(beams) >= log_probability(greedy) - 1e-4).all()
    reported = model.generate(
        **inputs, num_beams=4, return_dict_in_generate=True, output_scores=True, length_penalty=0
    )
    torch.testing.assert_close(reported.sequences_scores, log_probability(reported.sequences), atol=1e-3, rtol=1e-3)


def test_several_answers_per_prompt(model, inputs):
    torch.manual_seed(0)
    answers = model.generate(**inputs, do_sample=True, top_k=20, num_return_sequences=3)
    assert answers.shape[0] == 6
    assert torch.equal(answers[0, : inputs["input_ids"].shape[1]], inputs["input_ids"][0])
    beams = model.generate(**inputs, num_beams=3, num_return_sequences=3)
    assert beams.shape[0] == 6


def test_sampling_follows_its_seed(model, inputs):
    def sample(seed):
        torch.manual_seed(seed)
        return model.generate(**inputs, do_sample=True)

    assert torch.equal(sample(1), sample(1))
    assert not torch.equal(sample(1), sample(2))


def test_speculation_from_the_prompt_gives_the_same(model, inputs):
    """Image tokens are suppressed, or the prompt's own would be proposed as the answer's next words."""
    model.generation_config.suppress_tokens = [model.config.image_token_id]
    model.generation_config.eos_token_id = 2
    single = {key: value[1:] for key, value in inputs.items()}
    assert torch.equal(model.generate(**single, prompt_lookup_num_tokens=2), model.generate(**single))


def test_an_assistant_model_gives_the_same(model, inputs):
    single = {key: value[1:] for key, value in inputs.items()}
    assert torch.equal(model.generate(**single, assistant_model=model), model.generate(**single))


def test_generation_can_be_continued_from_its_cache(model, inputs):
    expected = model.generate(**inputs)
    begun = model.generate(**inputs, max_new_tokens=3, return_dict_in_generate=True)
    assert isinstance(begun.past_key_values, DynamicCache)
    mask = torch.cat([inputs["attention_mask"], torch.ones(2, 3, dtype=torch.long)], dim=1)
    rest = model.generate(
        input_ids=begun.sequences,
        attention_mask=mask,
        past_key_values=begun.past_key_values,
        max_new_tokens=LENGTH - 3,
    )
    assert torch.equal(rest, expected)


@pytest.mark.skipif(
    Version(transformers.__version__) < Version("5.2"),
    reason="before 5.2 transformers repeats the last of the positions given, for every model",
)
def test_explicit_positions_change_nothing(model, inputs):
    positions = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    assert torch.equal(model.generate(**inputs, position_ids=positions), model.generate(**inputs))


@pytest.mark.parametrize("num_beams", [1, 3])
def test_embeddings_instead_of_ids(model, inputs, num_beams):
    embeddings = model.get_input_embeddings()(inputs["input_ids"])
    rest = {key: inputs[key] for key in ("attention_mask", "pixel_values")}
    expected = model.generate(**inputs, num_beams=num_beams)[:, inputs["input_ids"].shape[1] :]
    assert torch.equal(model.generate(inputs_embeds=embeddings, **rest, num_beams=num_beams), expected)


def test_everything_asked_for_is_returned(model, inputs):
    model.set_attn_implementation("eager")
    output = model.generate(
        **inputs,
        return_dict_in_generate=True,
        output_scores=True,
        output_logits=True,
        output_attentions=True,
        output_hidden_states=True,
    )
    assert len(output.scores) == len(output.logits) == len(output.attentions) == len(output.hidden_states) == LENGTH
    assert output.logits[0].shape == (2, model.config.text_config.vocab_size)
    assert len(output.attentions[0]) == 2


def test_a_streamer_sees_every_token(model, inputs):
    class Recorder:
        def __init__(self):
            self.tokens = []

        def put(self, value):
            self.tokens += value.flatten().tolist()

        def end(self):
            self.tokens.append("end")

    single, recorder = {key: value[1:] for key, value in inputs.items()}, Recorder()
    expected = model.generate(**single, streamer=recorder)
    assert recorder.tokens == [*expected[0].tolist(), "end"]
