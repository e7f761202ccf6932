"""What of a model bitsandbytes can hold in 4 bits."""

import copy
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import logging

logger = logging.get_logger(__name__)

BLOCK = 64
"""Neighbouring weights that share a scale; kernels on CPUs want rows of whole blocks."""


def without_broken_rows(model_class: type[PreTrainedModel], config: PretrainedConfig, quantization: Any) -> Any:
    """`quantization` with those linear layers among `llm_int8_skip_modules` whose rows are no whole blocks.

    Args:
        quantization (`BitsAndBytesConfig`): as the caller gave it; it stays as it is.
    """
    with torch.device("meta"):
        layers = model_class(config).named_modules()
    odd = {
        name: layer.in_features for name, layer in layers if isinstance(layer, nn.Linear) and layer.in_features % BLOCK
    }
    if not odd:
        return quantization
    widths = ", ".join(str(width) for width in sorted(set(odd.values())))
    logger.warning_once(
        f"4 bits take rows of whole blocks of {BLOCK} weights: {len(odd)} layers of width {widths} stay unquantized"
    )
    quantization = copy.deepcopy(quantization)
    quantization.llm_int8_skip_modules = [*(quantization.llm_int8_skip_modules or ["lm_head"]), *odd]
    return quantization


__all__ = ["without_broken_rows"]
