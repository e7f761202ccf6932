"""The three parts of a Face-MLLM as torch modules with the inputs and outputs of their graphs, and sample inputs;
and the number types of its weights.

Shared by what exports them: a part takes the model apart and adds no computation.
"""

from typing import Any

import torch
from torch import nn
from transformers import DynamicCache, PreTrainedModel

from modeling_facemllm.versions_facemllm import CACHE_NAME

from .precisions import FloatPrecision

BATCH, LENGTH, PAST = 2, 3, 5
"""Sizes to trace with. A varying axis has at least 2, or it would be taken for a fixed one."""


class VisionEncoder(nn.Module):
    """`pixel_values (images, channels, height, width)` to projected features `(images, image_tokens, hidden)`."""

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model, self.config = model, model.config

    def forward(self, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"image_features": self.model.get_image_features(pixel_values).pooler_output}


class TokenEmbeddings(nn.Module):
    """`input_ids (batch, length)` to `inputs_embeds (batch, length, hidden)`."""

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.embeddings, self.config = model.get_input_embeddings(), model.config

    def forward(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"inputs_embeds": self.embeddings(input_ids)}


class Decoder(nn.Module):
    """Embeddings and the cache of what precedes them, to the last position's logits and the grown cache."""

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.language_model = model.get_decoder()  # first: transformers' exporter casts inputs to the first weight
        self.model, self.config = model, model.config

    def forward(
        self,
        inputs_embeds: torch.Tensor,
        attention_mask: torch.Tensor,
        position_ids: torch.Tensor,
        past_key_values: DynamicCache,
    ) -> dict[str, Any]:
        outputs = self.model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            cache=past_key_values,
            use_cache=True,
            logits_to_keep=1,
        )
        return {"logits": outputs.logits, "past_key_values": getattr(outputs, CACHE_NAME)}


def vision_inputs(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Two random images of the model's size."""
    side, channels = model.config.image_size, model.config.vision_config.num_channels
    return {"pixel_values": torch.randn(BATCH, channels, side, side, dtype=model.dtype, device=model.device)}


def embedding_inputs(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Two short rows of token ids."""
    return {"input_ids": torch.ones(BATCH, LENGTH, dtype=torch.long, device=model.device)}


def decoder_inputs(model: PreTrainedModel, batch: int) -> dict[str, Any]:
    """`LENGTH` new positions after `PAST` cached ones; in a batch, the first row is padded on the left.

    The mask hides something: transformers leaves a mask of ones only out of the traced graph.
    """
    text = model.config.text_config
    kind = {"dtype": model.get_decoder().dtype, "device": model.device}
    layers, heads, head_size = cache_shape(text)
    cache = DynamicCache()
    for layer in range(layers):
        states = (torch.randn(batch, heads, PAST, head_size, **kind) for _ in range(2))
        cache.update(*states, layer)
    mask = torch.ones(batch, PAST + LENGTH, dtype=torch.long, device=model.device)
    if batch > 1:
        mask[0, 0] = 0
    positions = torch.arange(PAST, PAST + LENGTH, device=model.device).expand(batch, LENGTH).clone()
    return {
        "inputs_embeds": torch.randn(batch, LENGTH, text.hidden_size, **kind),
        "attention_mask": mask,
        "position_ids": positions,
        "past_key_values": cache,
    }


def cache_shape(text_config: Any) -> tuple[int, int, int]:
    """Layers, key-value heads and the size of a head of a language model."""
    heads = text_config.num_attention_heads
    return (
        text_config.num_hidden_layers,
        getattr(text_config, "num_key_value_heads", None) or heads,
        getattr(text_config, "head_dim", None) or text_config.hidden_size // heads,
    )


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
