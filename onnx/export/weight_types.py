"""What number type a model's weights are exported in."""

import torch
from torch import nn
from transformers import PreTrainedModel

from .precisions import FloatPrecision


def cast_weights(module: nn.Module, dtype: torch.dtype) -> None:
    """`module.to(dtype)` but for buffers that are computed and not saved, as `from_pretrained` leaves them.

    The frequencies of rotary positions are such: in 16 bits they would take far positions for others.
    """
    computed = [
        (part, name, part._buffers[name])
        for part in module.modules()
        for name in part._non_persistent_buffers_set
        if part._buffers.get(name) is not None
    ]
    module.to(dtype)
    for part, name, buffer in computed:
        part._buffers[name] = buffer


def cast_model(model: PreTrainedModel, precision: FloatPrecision) -> None:
    """Language model and head in the type of a precision, vision tower and projector in theirs, in place."""
    dtype = getattr(torch, precision.dtype)
    vision_dtype = getattr(torch, precision.vision_dtype or precision.dtype)
    for part in (model.model.vision_tower, model.model.projector):
        cast_weights(part, vision_dtype)
    for part in (model.get_decoder(), model.get_output_embeddings()):
        cast_weights(part, dtype)
