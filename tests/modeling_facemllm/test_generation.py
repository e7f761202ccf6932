"""`generate`: what transformers' GenerationTesterMixin asks, which no source distribution on PyPI contains."""

import pytest
import torch
import transformers
from packaging.version import Version
from transformers import DynamicCache, GenerationConfig, LogitsProcessor

from modeling_facemllm.errors_facemllm import PromptTooLongError
from modeling_facemllm.versions_facemllm import CACHE_NAME, cache_of

LENGTH = 8


def several(processor, prompts):
    """Prompts of `(question, pictures)`, padded to one length."""
    return processor.apply_chat_template(
        [
            [
                {
                    "role": "user",
                    "content": [
                        *({"type": "image", "image": picture} for picture in pictures),
                        {"type": "text", "text": text},
                    ],
                }
            ]
            for text, pictures in prompts
        ],
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=True,
        processor_kwargs={"padding": True},
    )


@pytest.fixture
def inputs(processor, photo, other_photo):
    """Two prompts of different lengths with one image each."""
    return several(processor, [("Glasses?", [photo]), ("Does this person smile?", [other_photo])])


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
    assert isinstance(cache_of(begun), DynamicCache)
    mask = torch.cat([inputs["attention_mask"], torch.ones(2, 3, dtype=torch.long)], dim=1)
    rest = model.generate(
        input_ids=begun.sequences,
        attention_mask=mask,
        **{CACHE_NAME: cache_of(begun)},
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


@pytest.fixture
def uneven(processor, photo, other_photo):
    """A prompt with two pictures, one with none and one with one."""
    prompts = [("Who is older?", [photo, other_photo]), ("What is a face?", []), ("Glasses?", [other_photo])]
    return several(processor, prompts)


def test_each_of_several_answers_sees_its_own_pictures(model, uneven):
    """Drawn from one token, each is the greedy answer."""
    answers = model.generate(**uneven, do_sample=True, top_k=1, num_return_sequences=3)
    assert torch.equal(answers, greedy_without_generate(model, uneven).repeat_interleave(3, dim=0))


def test_a_beams_score_is_what_the_model_gives_its_text_beside_its_pictures(model, uneven):
    reported = model.generate(
        **uneven,
        num_beams=3,
        num_return_sequences=3,
        return_dict_in_generate=True,
        output_scores=True,
        length_penalty=0,
    )
    mask = torch.cat([uneven["attention_mask"].repeat_interleave(3, dim=0), torch.ones(9, LENGTH).long()], dim=1)
    pictures = uneven["pixel_values"][[0, 1, 0, 1, 0, 1, 2, 2, 2]]
    with torch.no_grad():
        logits = model(input_ids=reported.sequences, attention_mask=mask, pixel_values=pictures).logits
    chosen = logits[:, :-1].log_softmax(-1).gather(-1, reported.sequences[:, 1:, None])[:, -LENGTH:]
    torch.testing.assert_close(reported.sequences_scores, chosen.sum((1, 2)), atol=1e-3, rtol=1e-3)


@pytest.fixture
def conversation(model, processor, photo, other_photo):
    """A first turn about one picture with its cache, and the inputs of the whole with a second turn about another."""
    first = [{"role": "user", "content": [{"type": "image", "image": photo}, {"type": "text", "text": "Smiles?"}]}]
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
    begun = processor.apply_chat_template(first, **options)
    with torch.no_grad():
        cache = cache_of(model(**begun, use_cache=True))
    second = [{"role": "assistant", "content": [{"type": "text", "text": "yes"}]}]
    second.append(
        {"role": "user", "content": [{"type": "image", "image": other_photo}, {"type": "text", "text": "Hat?"}]}
    )
    return cache, processor.apply_chat_template(first + second, add_generation_prompt=True, **options)


@pytest.mark.parametrize("shown", [slice(None), slice(1, None)], ids=["all-pictures", "the-new-one"])
def test_a_cache_is_continued_with_a_new_picture(shown, model, conversation):
    cache, whole = conversation
    expected = model.generate(**whole)
    given = {**whole, "pixel_values": whole["pixel_values"][shown]}
    assert torch.equal(model.generate(**given, **{CACHE_NAME: cache}), expected)


def test_the_new_pictures_alone_are_repeated_beside_a_repeated_cache(model, conversation):
    cache, whole = conversation
    expected = model.generate(**whole, num_beams=2)
    cache.batch_repeat_interleave(2)
    given = {**whole, "pixel_values": whole["pixel_values"][1:]}
    assert torch.equal(model.generate(**given, **{CACHE_NAME: cache}, num_beams=2), expected)


def test_pictures_beside_a_turn_without_one_have_to_be_the_conversations(model, conversation):
    cache, whole = conversation
    length = cache.get_seq_length()
    text_only = {name: whole[name][:, : length + 2] for name in ("input_ids", "attention_mask")}
    text_only["input_ids"][:, length:] = 70
    with pytest.raises(ValueError, match=r"\b3 pictures\b.*\d+"):
        model.generate(**text_only, pixel_values=whole["pixel_values"][[0, 1, 1]], **{CACHE_NAME: cache})


def test_pictures_that_fit_neither_the_new_tokens_nor_the_whole_are_refused(model, conversation):
    cache, whole = conversation
    given = {**whole, "pixel_values": whole["pixel_values"][[0, 1, 1]]}
    with pytest.raises(ValueError, match=r"\b3 pictures\b.*pass only the new pictures"):
        model.generate(**given, **{CACHE_NAME: cache})


@pytest.mark.parametrize("shown", [0, 1, 2])
def test_pictures_that_the_prompt_has_no_tokens_for_are_refused(shown, model, processor, photo):
    """None is left out without a word, however many are missing."""
    prompts = several(processor, [("Who is it?", [photo] * shown)])
    pictures = processor(images=[photo] * 3, return_tensors="pt")["pixel_values"]
    with pytest.raises(ValueError, match=rf"\b3 pictures\b.*\bprompts\b.*\b{shown}\b"):
        model.generate(**{**prompts, "pixel_values": pictures})


def test_an_image_token_among_the_answers_shows_nothing(model, inputs):
    """A model may say the token; the pictures of the prompt are not shown once more for it."""
    single = {key: value[1:] for key, value in inputs.items()}

    class SaysImageToken(LogitsProcessor):
        def __call__(self, input_ids, scores):
            forced = torch.full_like(scores, -torch.inf)
            forced[:, model.config.image_token_id] = 0.0
            return forced

    said = model.generate(**single, logits_processor=[SaysImageToken()])
    assert (said[:, -LENGTH:] == model.config.image_token_id).all()


def test_a_long_prompt_in_chunks_gives_the_same_or_an_error(model, inputs):
    """Only some releases can cut a prompt through a picture: those that encode pictures beforehand."""
    single = {key: value[1:] for key, value in inputs.items()}
    expected = model.generate(**single)
    try:
        chunked = model.generate(**single, prefill_chunk_size=6)
    except ValueError:
        return
    assert torch.equal(chunked, expected)


@pytest.fixture
def narrow(model):
    """A model that reads 40 tokens."""
    model.config.get_text_config().max_position_embeddings = 40
    return model


@pytest.mark.parametrize("given", ["input_ids", "inputs_embeds"])
def test_a_prompt_beyond_the_context_is_refused_with_the_numbers(narrow, given):
    ids = torch.full((1, 41), 5)
    prompt = ids if given == "input_ids" else narrow.get_input_embeddings()(ids)
    with pytest.raises(PromptTooLongError) as caught:
        narrow.generate(**{given: prompt}, attention_mask=torch.ones_like(ids))
    assert (caught.value.tokens, caught.value.position_limit) == (41, 40)


@pytest.mark.parametrize("given", ["input_ids", "inputs_embeds"])
@pytest.mark.parametrize("options", [{}, {"num_beams": 2}, {"stopping_criteria": []}])
def test_an_answer_ends_where_the_model_reads_no_further(narrow, given, options):
    """After 40 tokens were read, one more is written: as the ONNX runtime does."""
    ids, padding = torch.full((2, 39), 5), 2
    mask = torch.ones_like(ids)
    mask[:, :padding] = 0
    prompt = ids if given == "input_ids" else narrow.get_input_embeddings()(ids)
    narrow.generation_config.eos_token_id = None
    out = narrow.generate(**{given: prompt}, attention_mask=mask, max_new_tokens=20, **options)
    assert out.shape[1] - (39 if given == "input_ids" else 0) == 4
    short = narrow.generate(**{given: prompt}, attention_mask=mask, max_new_tokens=2, **options)
    assert short.shape[1] - (39 if given == "input_ids" else 0) == 2
