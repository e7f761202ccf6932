"""NaN and infinite numbers are refused where they come out; only then are the weights looked through for them."""

from itertools import chain

import torch
from torch import nn
from transformers import LogitsProcessor, PreTrainedModel

from .errors_facemllm import NoNumbersError

WIDE_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Number types that hold NaN and are no quantizer's."""


class FiniteLogits(LogitsProcessor):
    """For `generate` of any model: leaves the logits as they are, and refuses what is no number.

    Raises:
        NoNumbersError: when called with such logits. Minus infinity excludes a token and is none of them.
    """

    def __init__(self, model: PreTrainedModel):
        self.model = model

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        check_finite(self.model, scores.amax(-1))
        return scores


def check_finite(model: PreTrainedModel, numbers: torch.Tensor) -> None:
    """Raises `NoNumbersError` where one of the numbers that a model computed is NaN or infinite."""
    if not numbers.isfinite().all():
        raise no_numbers(model)


def no_numbers(model: PreTrainedModel) -> NoNumbersError:
    """What to raise for the numbers of a model; its weights are read for it."""
    if getattr(model, "is_exported", False):
        return model.no_numbers()
    name = getattr(model, "name_or_path", "") or type(model).__name__
    return NoNumbersError(name, str(model.dtype).removeprefix("torch."), broken_weight(model))


def broken_weight(model: nn.Module) -> str | None:
    """The first weight that holds NaN or infinity; those that are offloaded or quantized are not looked at."""
    for name, weight in chain(model.named_parameters(), model.named_buffers()):
        if weight.dtype in WIDE_TYPES and weight.device.type != "meta" and not weight.isfinite().all():
            return name
    return None
