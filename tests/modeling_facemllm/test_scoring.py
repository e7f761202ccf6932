"""Scoring: what the packed pass says is what the model says to one question at a time."""

import json
import random
import re

import pytest
import torch
import transformers
from tokenizers import Tokenizer
from transformers import (
    MODEL_MAPPING,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from modeling_facemllm import FaceMLLMForConditionalGeneration
from modeling_facemllm.closed_questions_facemllm import QuestionTokenizer
from modeling_facemllm.errors_facemllm import PromptTooLongError
from modeling_facemllm.scoring_facemllm import (
    ClosedQuestion,
    option_log_likelihoods,
    score_each_alone,
    score_options,
)
from tests import tiny

TEXT = {**tiny.TEXT, "bos_token_id": None, "eos_token_id": 2, "pad_token_id": 1}
WINDOW = 12  # shorter than any prompt
LANGUAGE_MODELS = {
    "qwen2": Qwen2Config(**TEXT),
    "qwen2-window": Qwen2Config(**TEXT, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1),
    "qwen3-tied": Qwen3Config(**TEXT, tie_word_embeddings=True),
    "llama": LlamaConfig(**TEXT),
    "mistral-window": MistralConfig(**TEXT, sliding_window=WINDOW),
    "gemma2-window-softcap": Gemma2Config(**TEXT, sliding_window=WINDOW, final_logit_softcapping=5.0),
    "gemma3-window": Gemma3TextConfig(
        **TEXT, sliding_window=WINDOW, layer_types=["sliding_attention", "full_attention"]
    ),
    "gpt2-absolute-positions": GPT2Config(
        vocab_size=256,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=512,
        initializer_range=0.2,
        bos_token_id=2,
        eos_token_id=2,
    ),
}
AGE = ClosedQuestion("Age?", ("1", "10", "100", "adult"))
SMILE = ClosedQuestion("Does this person smile?", ("yes", "no"))
GLASSES = ClosedQuestion("Does this person wear glasses?", ("yes", "no", "sunglasses"))


def compose(text, vision_config, processor):
    return FaceMLLMForConditionalGeneration.from_towers(
        vision_config, text, tokenizer=processor.tokenizer, pixel_shuffle_factor=2
    )


def likelihoods_by_definition(model, processor, images, question, end="<|im_end|>") -> list[float]:
    """Each option on a whole prompt of its own: no cache, no mask, no batch."""
    parts = [*({"type": "image", "image": image} for image in images), {"type": "text", "text": question.text}]
    messages = [{"role": "user", "content": parts}]
    inputs = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    prompt, values = inputs["input_ids"], []
    for option in question.options:
        answer = processor.tokenizer(option + end, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logits = model(
                input_ids=torch.cat([prompt, answer], dim=1),
                pixel_values=inputs["pixel_values"] if images else None,
                use_cache=False,
            ).logits
        predicting = logits[0, prompt.shape[1] - 1 : -1].double().log_softmax(-1)
        values.append(predicting.gather(-1, answer[0, :, None]).sum().item())
    return values


def assert_close(values, expected, tolerance=1e-4):
    torch.testing.assert_close(
        torch.tensor(values, dtype=torch.float64), torch.tensor(expected), atol=tolerance, rtol=0, check_dtype=False
    )


def random_question(rng: random.Random) -> ClosedQuestion:
    text = " ".join(rng.sample(["Is", "this", "face", "hat", "old", "wide", "eyes"], k=rng.randint(1, 3))) + "?"
    pool = ["a", "ab", "abc", "b", "yes", "yes and no", "no", "none", "10", "1", "100", "grey hair"]
    return ClosedQuestion(text, tuple(rng.sample(pool, rng.randint(2, 4))))


@pytest.mark.parametrize(
    "text,attention",
    [
        pytest.param(text, attention, id=f"{name}-{attention}")
        for name, text in LANGUAGE_MODELS.items()
        for attention in ("sdpa", "eager")
        if attention == "eager" or MODEL_MAPPING[type(text)]._supports_sdpa
    ],
)
def test_a_packed_pass_is_the_definition(text, attention, vision_config, processor, photo, other_photo, caplog):
    """Faces with questions of their own, without and with several images, in one pass and cut into many."""
    rng = random.Random(f"{text.model_type} {attention}")
    model = compose(text, vision_config, processor)
    model.set_attn_implementation(attention)
    images = [photo, None, other_photo, [photo, other_photo], photo]
    questions = [[random_question(rng) for _ in range(rng.randint(1, 3))] for _ in images[:-1]] + [[]]
    expected = [
        [
            likelihoods_by_definition(model, processor, group, question)
            for group in [one if isinstance(one, list) else [one] if one else []]
            for question in theirs
        ]
        for one, theirs in zip(images, questions, strict=True)
    ]
    for pack_tokens, batch_size in ((2048, 3), (40, 1), (1, 2)):
        values = option_log_likelihoods(
            model, processor, images, questions, pack_tokens=pack_tokens, batch_size=batch_size
        )
        for theirs, right in zip(values, expected, strict=True):
            for value, by_definition in zip(theirs, right, strict=True):
                assert_close(value, by_definition)
    assert "one by one" not in caplog.text


def test_faces_with_the_same_questions_share_one_row(model, processor, photo, other_photo):
    questions = [AGE, SMILE, GLASSES]
    values = option_log_likelihoods(model, processor, [photo, other_photo, photo], questions)
    for image, theirs in zip([photo, other_photo, photo], values, strict=True):
        for question, value in zip(questions, theirs, strict=True):
            assert_close(value, likelihoods_by_definition(model, processor, [image], question))
    assert abs(values[0][1][0] - values[1][1][0]) > 1e-3  # the face matters, or nothing was tested


def test_probabilities_are_the_softmax_of_the_likelihoods(model, processor, photo):
    likelihoods = option_log_likelihoods(model, processor, [photo], [AGE, GLASSES])
    probabilities = model.score_options(processor, [photo], [AGE, GLASSES])
    for value, likelihood in zip(probabilities[0], likelihoods[0], strict=True):
        assert_close(value, torch.tensor(likelihood).softmax(-1).tolist())
        assert sum(value) == pytest.approx(1) and all(type(number) is float for number in value)


def test_the_image_is_encoded_once_and_the_prefix_read_once(model, processor, photo):
    encoded, lengths = [], []
    model.model.vision_tower.register_forward_hook(lambda *_: encoded.append(1))
    model.get_decoder().layers[0].register_forward_hook(lambda _, args, output: lengths.append(args[0].shape[1]))
    questions = [ClosedQuestion(f"Question {number}?", ("yes", "no")) for number in range(6)]
    score_options(model, processor, [photo], questions, pack_tokens=50)
    passes = len(lengths)
    score_options(model, processor, [photo], questions, pack_tokens=50)  # nothing is left to be compared
    assert len(encoded) == 2
    prefix, *rows = lengths[passes:]
    assert len(rows) > 2 and max(rows) <= 50
    assert prefix == 1 + len("user\n") + processor.num_image_tokens + len("\nQuestion ")


def test_the_head_runs_only_where_a_token_is_predicted(model, processor, photo):
    rows = []
    model.lm_head.register_forward_hook(lambda _, args, output: rows.append(args[0].shape[0]))
    score_options(model, processor, [photo], [SMILE, GLASSES])
    beginnings = {"", "y", "ye", "yes", "n", "no"}  # a token is a byte, and the turn's end predicts nothing
    assert sum(rows) == len(beginnings) + len(beginnings) + len("sunglasses")


def test_dropout_is_off_and_the_modes_of_all_modules_stay(vision_config, processor, photo):
    model = compose(LlamaConfig(**TEXT, attention_dropout=0.5), vision_config, processor)
    expected = score_options(model, processor, [photo], [SMILE, AGE])
    model.train()
    model.model.vision_tower.eval()
    assert score_options(model, processor, [photo], [SMILE, AGE]) == expected
    assert model.training and model.get_decoder().training and not model.model.vision_tower.training
    assert all(parameter.grad_fn is None for parameter in model.parameters())


def test_attention_that_takes_no_such_mask_is_exchanged_for_the_call(model, processor, photo):
    expected = score_options(model, processor, [photo], [SMILE, AGE])
    config = model.get_decoder().config
    config._attn_implementation = "flex_attention"
    assert score_options(model, processor, [photo], [SMILE, AGE]) == expected
    assert config._attn_implementation == "flex_attention"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_agrees_as_far_as_it_goes(dtype, model, processor, photo):
    expected = score_options(model, processor, [photo], [SMILE, AGE, GLASSES])
    for value, right in zip(
        score_options(model.to(dtype), processor, [photo], [SMILE, AGE, GLASSES])[0], expected[0], strict=True
    ):
        assert_close(value, right, tolerance=0.1)


SLOW_WAY = {
    "a mask is not read": transformers.BloomConfig(
        vocab_size=256, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.2, eos_token_id=2, pad_token_id=1
    ),
    "a window of its own": transformers.GPTNeoConfig(
        vocab_size=256,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=WINDOW,
        initializer_range=0.2,
        max_position_embeddings=512,
        bos_token_id=2,
        eos_token_id=2,
    ),
    "linear attention": transformers.Qwen3NextConfig(
        **TEXT,
        layer_types=["linear_attention", "full_attention"],
        linear_num_key_heads=2,
        linear_num_value_heads=2,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        num_experts=0,
        decoder_sparse_step=1,
    ),
}


@pytest.mark.parametrize("text", SLOW_WAY.values(), ids=SLOW_WAY)
def test_what_cannot_be_packed_is_scored_one_by_one_and_said_so(
    text, vision_config, processor, photo, other_photo, caplog
):
    model = compose(text, vision_config, processor)
    questions = [SMILE, AGE, GLASSES]
    values = option_log_likelihoods(model, processor, [photo, other_photo], questions)
    assert "one by one" in caplog.text
    for image, theirs in zip([photo, other_photo], values, strict=True):
        for question, value in zip(questions, theirs, strict=True):
            assert_close(value, likelihoods_by_definition(model, processor, [image], question))


def test_a_row_is_compared_at_a_face_that_has_tokens_in_it(vision_config, processor, photo, other_photo):
    model = compose(SLOW_WAY["a window of its own"], vision_config, processor)
    asked = [ClosedQuestion("Age?", ("1", "2")), ClosedQuestion("Age?", ("one", "two", "ten"))]
    # Without a token that ends a turn, nothing is read of the first face's answers.
    model.generation_config.eos_token_id = processor.tokenizer.eos_token = None
    values = option_log_likelihoods(model, processor, [photo, other_photo], [[one] for one in asked])
    for image, question, (value,) in zip([photo, other_photo], asked, values, strict=True):
        assert_close(value, likelihoods_by_definition(model, processor, [image], question, end=""))


def test_each_question_alone_gives_the_same(model, processor, photo, other_photo):
    images, questions = [photo, [photo, other_photo], None], [SMILE, AGE, GLASSES]
    packed = score_options(model, processor, images, questions)
    alone = score_each_alone(model, processor, images, questions, batch_size=2)
    for theirs, right in zip(packed, alone, strict=True):
        for value, expected in zip(theirs, right, strict=True):
            assert_close(value, expected)


def test_an_answer_that_melts_into_the_prompt_is_tokenised_by_itself(processor):
    """Merges across the border would change the prompt that `generate` sees."""
    processor.chat_template = (
        "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}"
        "{% if messages[-1].role == 'assistant' %}<|im_end|>{% endif %}"
    )
    backend = json.loads(processor.tokenizer.backend_tokenizer.to_str())
    backend["model"]["vocab"]["oy"] = len(processor.tokenizer) + 1
    backend["model"]["merges"] = [["o", "y"]]
    tokenizer = type(processor.tokenizer)(tokenizer_object=Tokenizer.from_str(json.dumps(backend)))
    tokenizer.eos_token = "<|im_end|>"
    processor.tokenizer = tokenizer
    asked = QuestionTokenizer(processor)(ClosedQuestion("so", ("yes", "no")), 0)
    assert tokenizer.convert_ids_to_tokens(asked.prompt) == ["s", "o"]
    assert [tokenizer.convert_ids_to_tokens(answer) for answer in asked.answers] == [
        ["y", "e", "s", "<|im_end|>"],
        ["n", "o", "<|im_end|>"],
    ]


def test_another_tokenizer_in_the_same_processor_gives_its_own_tokens(processor):
    before = QuestionTokenizer(processor)(SMILE, 0)
    backend = json.loads(processor.tokenizer.backend_tokenizer.to_str())
    tokens = backend["model"]["vocab"]
    tokens["y"], tokens["n"] = tokens["n"], tokens["y"]
    settings = {"tokenizer_object": Tokenizer.from_str(json.dumps(backend)), "eos_token": "<|im_end|>"}
    processor.tokenizer = type(processor.tokenizer)(**settings)
    after = QuestionTokenizer(processor)(SMILE, 0)
    assert [answer[0] for answer in after.answers] == [answer[0] for answer in before.answers][::-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size=0: .*1 or more"),
        ({"pack_tokens": 0}, "pack_tokens=0: .*1 or more"),
        ({"images": "photo.png"}, "images=str: .*list"),
        ({"questions": [[SMILE], [SMILE]]}, r"questions .*\b2 lists\b.*\b1 faces: .*one for each"),
        ({"questions": SMILE}, "questions=ClosedQuestion: .*list"),
        ({"questions": ["Smile?"]}, "questions .*ClosedQuestion: .*options"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(arguments, message, model, processor, photo):
    arguments = {"images": [photo], "questions": [SMILE]} | arguments
    with pytest.raises(ValueError, match=message):
        score_options(model, processor, **arguments)


@pytest.mark.parametrize("score", [score_options, score_each_alone])
def test_a_question_beyond_the_context_is_refused_with_the_numbers(score, model, processor, photo):
    """What is read is the prompt and all but the last token of the longest option."""
    asked = QuestionTokenizer(processor)(GLASSES, 1)
    read = len(asked.prompt) + processor.num_image_tokens - 1 + len("sunglasses")
    config = model.config.get_text_config()
    config.max_position_embeddings = read
    assert score(model, processor, [photo], [SMILE, GLASSES])
    config.max_position_embeddings = read - 1
    with pytest.raises(PromptTooLongError, match=re.escape(GLASSES.text)) as caught:
        score(model, processor, [photo], [SMILE, GLASSES])
    assert (caught.value.tokens, caught.value.position_limit) == (read, read - 1)


@pytest.mark.parametrize("options", [("yes",), ("yes", "yes"), ("yes", ""), ("yes", 1), "yes"])
def test_a_closed_question_has_two_or_more_distinct_texts(options):
    with pytest.raises(ValueError, match=r"options\b.*'Smile\?'"):
        ClosedQuestion("Smile?", options)


def test_a_prompt_that_is_too_long_does_not_make_the_others_slow(vision_config, processor, photo):
    model = compose(LANGUAGE_MODELS["gpt2-absolute-positions"], vision_config, processor)
    with pytest.raises(PromptTooLongError):
        score_options(model, processor, [photo], [ClosedQuestion("Smile? " * 100, ("yes", "no"))])
    encoded = []
    model.model.vision_tower.register_forward_hook(lambda *_: encoded.append(1))
    score_options(model, processor, [photo], [SMILE, AGE])
    assert len(encoded) == 1


def test_nothing_asked_is_nothing_answered(model, processor, photo):
    assert score_options(model, processor, [], [SMILE]) == []
    assert score_options(model, processor, [photo], []) == [[]]


def test_adapters_of_peft_are_seen(model, processor, photo):
    import peft

    plain = option_log_likelihoods(model, processor, [photo], [SMILE])[0][0]
    tuned = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    value = option_log_likelihoods(tuned, processor, [photo], [SMILE])[0][0]
    assert_close(value, likelihoods_by_definition(tuned, processor, [photo], SMILE))
    assert abs(value[0] - plain[0]) > 1e-3
    assert tuned.score_options(processor, [photo], [SMILE]) == score_options(tuned, processor, [photo], [SMILE])


def test_learned_prompts_of_peft_are_refused(model, processor, photo):
    import peft

    config = peft.PromptTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=2, token_dim=32, num_layers=2, num_attention_heads=4
    )
    with pytest.raises(ValueError, match=r"model: .*PROMPT_TUNING.*take an adapter such as LoRA"):
        score_options(peft.get_peft_model(model, config), processor, [photo], [SMILE])
