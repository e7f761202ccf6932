"""Which models have the cache of the decoder's graph: keys and values of all tokens, of one shape in every layer."""

from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from facemllm_onnx.export_location import first_line
from modeling_facemllm.versions_facemllm import cache_of

from .folder import ExportError
from .wrappers import LENGTH, cache_shape

ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}
LENGTH_DEPENDENT_ROTATIONS = {"dynamic", "longrope"}


def check_exportable(model: PreTrainedModel) -> None:
    """Find out before anything is traced, by the configuration and by asking the model for the cache of a few tokens.

    Raises:
        ExportError: when it is no Face-MLLM, or its language model keeps something else than keys and values.
    """
    if model.config.model_type != "facemllm":
        raise ExportError(f"a {model.config.model_type} model is no Face-MLLM, and only those are exported: give one")
    text = model.config.text_config
    others = sorted(set(getattr(text, "layer_types", None) or ()) - ATTENTION)
    if others or not hasattr(text, "num_attention_heads"):
        kind = f"{', '.join(others)} in its layers" if others else "no attention"
        raise _refusal(text, f"has {kind}: its state is no cache of keys and values")
    if getattr(text, "hidden_size_per_layer_input", None):
        raise _refusal(text, "has embeddings of its own in every layer, beside those that images take the place of")
    changing = sorted(_rotations(text) & LENGTH_DEPENDENT_ROTATIONS)
    if changing:  # a traced graph has those of its sample inputs' length, and is right for short prompts
        raise _refusal(text, f"rotates positions by {', '.join(changing)} scaling, which changes with the length")
    layers, heads, head_size = cache_shape(text)
    try:
        found = _cache_of_a_few_tokens(model)
    except Exception as error:  # models of other kinds fail at whatever they look for in a cache
        reason = first_line(error)
        raise _refusal(text, f"does not read embeddings with a cache of keys and values ({reason})") from error
    wanted = [((1, heads, LENGTH, head_size),) * 2] * layers
    if found != wanted:
        odd = next((shapes for shapes in found if shapes != wanted[0]), f"{len(found)} layers")
        raise _refusal(text, f"keeps keys and values of {odd}, not of {wanted[0]} in each of {layers} layers")


def _refusal(text_config: Any, reason: str) -> ExportError:
    return ExportError(
        f"the language model ({text_config.model_type}) {reason}; it cannot be exported: run it with PyTorch"
    )


def _rotations(text_config: Any) -> set[str]:
    """The types of rotary embeddings in a configuration of transformers 5 (of each kind of layer too) or 4.57."""
    settings = getattr(text_config, "rope_parameters", None) or getattr(text_config, "rope_scaling", None) or {}
    kinds = [settings, *(value for value in settings.values() if isinstance(value, dict))]
    return {kind[key] for kind in kinds for key in ("rope_type", "type") if key in kind}


@torch.inference_mode()
def _cache_of_a_few_tokens(model: PreTrainedModel) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The shapes of each layer's keys and values."""
    embeds = model.get_input_embeddings()(torch.zeros(1, LENGTH, dtype=torch.long, device=model.device))
    cache = cache_of(model(inputs_embeds=embeds, cache=DynamicCache(), use_cache=True))
    return [(tuple(layer.keys.shape), tuple(layer.values.shape)) for layer in cache.layers]
