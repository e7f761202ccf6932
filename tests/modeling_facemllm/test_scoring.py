"""Scoring: what the packed pass says is what the model says to one question at a time."""

import random

import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from modeling_facemllm import FaceMLLMForConditionalGeneration
from modeling_facemllm.scoring_facemllm import ClosedQuestion, option_log_likelihoods

TEXT = {
    "vocab_size": 256,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
    "bos_token_id": None,
    "eos_token_id": 2,
    "pad_token_id": 1,
}
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


def likelihoods_by_definition(model, processor, images, question, system=None, end_of_turn=True) -> list[float]:
    """Each option on a whole prompt of its own: no cache, no mask, no batch."""
    parts = [*({"type": "image", "image": image} for image in images), {"type": "text", "text": question.text}]
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": parts})
    inputs = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    prompt, values = inputs["input_ids"], []
    for option in question.options:
        answer = processor.tokenizer(option + "<|im_end|>" * end_of_turn, return_tensors="pt")["input_ids"]
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


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("text", LANGUAGE_MODELS.values(), ids=LANGUAGE_MODELS)
def test_a_packed_pass_is_the_definition(text, attention, vision_config, processor, photo, other_photo, caplog):
    """Faces with questions of their own, without and with several images, in one pass and cut into many."""
    rng = random.Random(f"{text.model_type} {attention}")
    model = compose(text, vision_config, processor)
    if attention == "sdpa" and not model.get_decoder()._supports_sdpa:
        pytest.skip(f"{text.model_type} has eager attention only in this transformers")
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
