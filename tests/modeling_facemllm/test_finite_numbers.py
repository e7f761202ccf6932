"""NaN and infinite weights: whatever a model is asked, it refuses, and the weight is named."""

import logging
import math

import pytest
import torch

from modeling_facemllm.answering_facemllm import answer_about, encode_faces
from modeling_facemllm.closed_questions_facemllm import ClosedQuestion
from modeling_facemllm.errors_facemllm import NoNumbersError
from modeling_facemllm.finite_numbers_facemllm import FiniteLogits
from modeling_facemllm.pipeline_facemllm import FaceAnalysisPipeline
from modeling_facemllm.scoring_facemllm import option_log_likelihoods, score_each_alone, score_options
from tests.modeling_facemllm.test_generation import several

SMILE = ClosedQuestion("Smile?", ("yes", "no"))
TOKENS = {"max_new_tokens": 4, "pad_token_id": 1}


def _generate(model, processor, photo, **options):
    return model.generate(**several(processor, [("Glasses?", [photo])]), **TOKENS, **options)


def _answer(model, processor, photo):
    return answer_about(model, processor, encode_faces(model, processor, [photo]), [(0, "Glasses?")], 4, 1)


def _analyze(model, processor, photo):
    pipeline = FaceAnalysisPipeline(model=model, processor=processor)
    return pipeline(photo, detector="none", questions=["Glasses?"], tasks=[], on_error="return")


def _score(score):
    return lambda model, processor, photo: score(model, processor, [photo], [SMILE])


WAYS = {
    "greedy": lambda *parts: _generate(*parts, do_sample=False),
    "drawn": lambda *parts: _generate(*parts, do_sample=True),
    "beams": lambda *parts: _generate(*parts, do_sample=False, num_beams=2),
    "answers": _answer,
    "pipeline": _analyze,
    "packed": _score(score_options),
    "likelihoods": _score(option_log_likelihoods),
    "alone": _score(score_each_alone),
}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("way", WAYS)
def test_a_broken_weight_is_named_in_every_way_of_asking(model, processor, photo, caplog, way, value):
    with torch.no_grad():
        model.model.projector.linear_2.weight[0, 0] = value
    logging.getLogger("transformers").addHandler(caplog.handler)
    with pytest.raises(NoNumbersError) as caught:
        WAYS[way](model, processor, photo)
    assert caught.value.tensor == "model.projector.linear_2.weight"
    assert "get the weights again" in str(caught.value)
    assert not [message for message in caplog.messages if "one by one" in message]


def test_where_all_weights_are_numbers_the_number_type_is_named(model, processor, photo):
    with torch.no_grad():
        model.model.projector.linear_2.weight.fill_(torch.finfo(torch.float32).max)
    with pytest.raises(NoNumbersError, match="float32 overflows: take a wider number type") as caught:
        _generate(model, processor, photo, do_sample=False)
    assert caught.value.tensor is None


def test_tokens_that_are_excluded_are_no_broken_numbers(model):
    excluded = torch.tensor([[0.0, -math.inf]])
    assert torch.equal(FiniteLogits(model)(None, excluded), excluded)
    with pytest.raises(NoNumbersError):
        FiniteLogits(model)(None, torch.tensor([[0.0, math.inf]]))


def test_weights_that_are_not_used_are_not_looked_at(model, processor, photo):
    model.register_buffer("unused", torch.tensor(math.nan))
    for way in WAYS.values():
        way(model, processor, photo)
