"""A Face-MLLM from its two towers, wherever they are."""

import copy
import os

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from .configuration_facemllm import FaceMLLMVisionConfig
from .projector_facemllm import FaceMLLMProjector
from .prompt_facemllm import IMAGE_TOKEN, prepare_tokenizer
from .vision_facemllm import FaceMLLMVisionModel


def compose(
    model_class: type[PreTrainedModel],
    vision: str | os.PathLike | PretrainedConfig | PreTrainedModel,
    text: str | os.PathLike | PretrainedConfig | PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    image_token_id: int | None,
    dtype: torch.dtype | str | None,
    **config_kwargs,
) -> PreTrainedModel:
    """A `model_class` of two towers, with a new projector: see `FaceMLLMForConditionalGeneration.from_towers`."""
    if tokenizer is None and image_token_id is None and isinstance(text, str):
        tokenizer = AutoTokenizer.from_pretrained(text)
        prepare_tokenizer(tokenizer)
    vision_tower = load_vision_tower(vision, dtype)
    text_model = load_language_model(text, dtype)

    vocab_size = text_model.config.vocab_size
    if tokenizer is not None:
        image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        if image_token_id is None or image_token_id == tokenizer.unk_token_id:
            raise ValueError(
                f"the tokenizer has no {IMAGE_TOKEN!r} token: take the one of FaceMLLMProcessor.from_towers"
            )
        needed = len(tokenizer)
    else:
        image_token_id = vocab_size if image_token_id is None else image_token_id
        needed = image_token_id + 1
    if needed > vocab_size:
        text_model.resize_token_embeddings(needed)

    config = model_class.config_class(
        vision_config=vision_tower.config,
        text_config=text_model.config,
        image_token_id=image_token_id,
        **config_kwargs,
    )
    with torch.device("meta"):  # a 7B model is not initialised twice
        model = model_class(config)
    model.model.vision_tower = vision_tower
    # What AutoModel makes of the configuration. On 4.57 Gemma 3 has no other base than itself, GPT-2 no decoder.
    base = text_model.base_model
    model.model.language_model = base if base is not text_model else text_model.get_decoder()
    model.lm_head = text_model.get_output_embeddings()
    projector = FaceMLLMProjector(config)
    projector.apply(model._init_weights)
    model.model.projector = projector.to(text_model.dtype)
    model.tie_weights()
    model.generation_config = copy.deepcopy(text_model.generation_config)
    if tokenizer is not None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id
        model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model.eval()


def load_vision_tower(
    vision: str | os.PathLike | PretrainedConfig | PreTrainedModel, dtype: torch.dtype | str | None
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
    text: str | os.PathLike | PretrainedConfig | PreTrainedModel, dtype: torch.dtype | str | None
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
