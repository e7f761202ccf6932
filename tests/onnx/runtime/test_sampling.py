"""Tokens are drawn from the distribution that transformers draws from."""

import re

import numpy as np
import pytest
import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from facemllm_onnx.runtime.sampling import Sampling, TokenChooser, next_token_probabilities

ROWS, VOCAB_SIZE = 3, 50


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(0, 3, (ROWS, VOCAB_SIZE)).astype(np.float32)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.5, "top_k": 0},
        {"top_k": 7},
        {"top_k": 1000, "top_p": 0.8},
        {"temperature": 2.0, "top_k": 12, "top_p": 0.6},
        {"top_k": 0, "top_p": 0.0},
    ],
)
def test_the_probabilities_are_those_of_transformers(logits, settings):
    sampling = Sampling(**settings)
    steps = LogitsProcessorList([TemperatureLogitsWarper(float(sampling.temperature))])
    if sampling.top_k:
        steps.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        steps.append(TopPLogitsWarper(sampling.top_p))
    expected = steps(None, torch.from_numpy(logits)).softmax(-1).numpy()
    for row, of_row in zip(logits, expected, strict=True):
        tokens, probabilities = next_token_probabilities(row, sampling)
        assert np.array_equal(tokens, np.flatnonzero(of_row))
        assert np.allclose(probabilities, of_row[tokens], rtol=1e-5, atol=0)


@pytest.mark.parametrize("top_p", [0.0, 0.5])
def test_tokens_that_are_all_as_probable_leave_one_or_more(top_p):
    tokens, probabilities = next_token_probabilities(np.zeros(7, np.float32), Sampling(top_k=0, top_p=top_p))
    assert len(tokens) == max(1, round(7 * top_p)) and np.isclose(probabilities.sum(), 1)


def test_draws_follow_the_probabilities(logits):
    sampling = Sampling(do_sample=True, temperature=1.5, top_k=10)
    draws, expected = 4000, np.zeros(VOCAB_SIZE)
    tokens, probabilities = next_token_probabilities(logits[0], sampling)
    expected[tokens] = probabilities
    choose = TokenChooser(sampling, np.zeros((1, 0), int), VOCAB_SIZE, [np.random.SeedSequence(0)])
    counts = np.bincount([choose(logits[:1])[0] for _ in range(draws)], minlength=VOCAB_SIZE)
    assert not counts[expected == 0].any()
    errors = np.sqrt(expected * (1 - expected) / draws)
    assert (np.abs(counts / draws - expected) <= 4 * errors).all()


def test_the_penalty_counts_the_prompt_and_each_new_token(logits):
    prompt = np.array([[-1, 3, 4], [5, 5, 6], [7, 8, 9]])  # -1: padding
    choose = TokenChooser(Sampling(repetition_penalty=1.8), prompt, VOCAB_SIZE, [None] * ROWS)
    said = [[token for token in row if token >= 0] for row in prompt.tolist()]
    theirs = RepetitionPenaltyLogitsProcessor(1.8)
    for _ in range(5):
        expected = [
            int(theirs(torch.tensor([row]), torch.from_numpy(logits[[index]].copy())).argmax())
            for index, row in enumerate(said)
        ]
        assert choose(logits).tolist() == expected
        for row, token in zip(said, expected, strict=True):
            row.append(token)


def test_settings_come_from_the_generation_config_and_from_the_caller():
    config = {"do_sample": True, "temperature": 0.6, "top_k": None, "eos_token_id": 2}
    sampling = Sampling.from_config(config).changed(top_p=0.9, temperature=None)
    assert sampling == Sampling(do_sample=True, temperature=0.6, top_k=50, top_p=0.9)


def test_what_transformers_would_heed_besides_is_said(caplog):
    Sampling.from_config({"num_beams": 4, "min_p": 0.1, "no_repeat_ngram_size": 0, "max_length": 20})
    (said,) = caplog.messages
    assert "num_beams=4, min_p=0.1," in said and "no_repeat" not in said


def test_what_has_no_effect_on_a_greedy_answer_is_said(caplog):
    greedy = Sampling()
    greedy.changed(do_sample=True, temperature=0.7)
    greedy.changed(do_sample=False, temperature=1.0)
    assert not caplog.messages
    greedy.changed(temperature=0.7, top_p=0.9)
    (said,) = caplog.messages
    assert re.fullmatch(r"temperature=0\.7, top_p=0\.9: .*do_sample=True", said)
