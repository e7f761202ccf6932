"""The two towers that a Face-MLLM is composed of, from wherever they are."""

import os

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from .configuration_facemllm import FaceMLLMVisionConfig
from .vision_facemllm import FaceMLLMVisionModel


def load_vision_tower(
    vision: str | os.PathLike | PretrainedConfig | PreTrainedModel, dtype: torch.dtype | str | None = None
) -> PreTrainedModel:
    """The vision tower of an id, a folder, a configuration (random weights) or a model; of a whole CLIP, its part."""
    vision = os.fspath(vision) if isinstance(vision, os.PathLike) else vision
    if isinstance(vision, PreTrainedModel):
        return getattr(vision, "vision_model", vision) if hasattr(vision.config, "vision_config") else vision
    from_weights = isinstance(vision, str)
    if from_weights:
        config_dict, _ = PretrainedConfig.get_config_dict(vision)
        if config_dict.get("model_type") == FaceMLLMVisionConfig.model_type:
            return FaceMLLMVisionModel.from_pretrained(vision, dtype=dtype or "auto")
        config = AutoConfig.from_pretrained(vision)
    else:
        config = vision
    config = getattr(config, "vision_config", config)
    if from_weights:
        return AutoModel.from_pretrained(vision, config=config, dtype=dtype or "auto")
    if config.model_type == FaceMLLMVisionConfig.model_type:
        return FaceMLLMVisionModel._from_config(config)
    return AutoModel.from_config(config)


def load_language_model(
    text: str | os.PathLike | PretrainedConfig | PreTrainedModel, dtype: torch.dtype | str | None = None
) -> PreTrainedModel:
    """The causal language model of an id, a folder, a configuration (random weights) or a model.

    Raises:
        ValueError: when it already sees images, rescales its logits, or has no plain linear head.
    """
    text = os.fspath(text) if isinstance(text, os.PathLike) else text
    config = text.config if isinstance(text, PreTrainedModel) else text
    config = AutoConfig.from_pretrained(text) if isinstance(text, str) else config
    if getattr(config, "vision_config", None) is not None:
        raise ValueError(
            f"text={config.model_type!r} already sees images: train it directly (`base:` in a recipe), or name a "
            "plain causal language model"
        )
    for name in ("logit_scale", "logits_scaling"):
        if getattr(config, name, 1.0) not in (None, 1.0):
            raise ValueError(
                f"text={config.model_type!r} rescales its logits ({name}={getattr(config, name)}), which this head "
                "does not: take another causal language model"
            )
    if isinstance(text, str):
        text = AutoModelForCausalLM.from_pretrained(text, dtype=dtype or "auto")
    elif not isinstance(text, PreTrainedModel):
        text = AutoModelForCausalLM.from_config(config)
    head = text.get_output_embeddings()
    if head is None or getattr(head, "bias", None) is not None:
        raise ValueError(
            f"text={config.model_type!r} has {'no' if head is None else 'a biased'} language-modelling head: take a "
            "causal language model with a plain linear one"
        )
    return text
