"""What number type a model's weights are exported in."""

import torch
from torch import nn
from transformers import PreTrainedModel


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


def cast_to_bfloat16(model: PreTrainedModel) -> None:
    """Language model and head in bfloat16, vision tower and projector in float32, in place.

    ONNX Runtime has no convolution in bfloat16, on any device, and every vision tower has one.
    """
    for part in (model.model.vision_tower, model.model.projector):
        cast_weights(part, torch.float32)
    for part in (model.get_decoder(), model.get_output_embeddings()):
        cast_weights(part, torch.bfloat16)
