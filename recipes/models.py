"""The model of a recipe: composed of towers or loaded, with exactly the named parts trainable."""

import contextlib
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel

from .internvl import load_processor
from .model_folder import WHOLE, DamagedModel, check_model_folder, check_pictures, check_size
from .packaged import tower_folder
from .recipe import TRAINABLE, ModelRecipe
from .strict import RecipeError

# What other families call the same part.
_ATTRIBUTES = {
    "vision_tower": ("vision_tower", "vision_model", "visual"),
    "projector": ("projector", "multi_modal_projector", "connector"),
    "language_model": ("language_model",),
}


def load_model(recipe: ModelRecipe) -> tuple[PreTrainedModel, Any]:
    """The model of `recipe` and its processor; nothing is frozen or wrapped yet.

    Composing draws the projector's weights from torch's random state: seed it before. Raises `RecipeError` when a
    part cannot be had or the parts do not fit.
    """
    import modeling_facemllm
    from modeling_facemllm.finite_numbers_facemllm import broken_weight

    modeling_facemllm.register()
    # Trained parts are raised to trainable_dtype afterwards, so frozen ones alone decide what the weights cost.
    kwargs = {"dtype": getattr(torch, recipe.dtype)}
    if recipe.attn_implementation is not None:
        kwargs["attn_implementation"] = recipe.attn_implementation
    try:
        if recipe.base:
            base = str(Path(recipe.base).expanduser()) if Path(recipe.base).expanduser().exists() else recipe.base
            trust = {"trust_remote_code": recipe.trust_remote_code}
            _check_folder(base, AutoModelForImageTextToText, **trust)
            processor = load_processor(base, **trust)
            model = AutoModelForImageTextToText.from_pretrained(base, use_safetensors=True, **trust, **kwargs)
            check_pictures(base, model.config, processor)
        else:
            model, processor = _compose(recipe, kwargs)
        if (weight := broken_weight(model)) is not None:
            source = recipe.base or f"{recipe.vision} and {recipe.text}"
            raise DamagedModel(f"{source}: the weight {weight} holds NaN or infinity; {WHOLE}")
    except RecipeError:
        raise
    except DamagedModel as error:
        raise RecipeError(f"model: {error}") from error
    except Exception as error:  # what is named may be damaged in any way, and hold any code
        source = recipe.base or f"{recipe.vision} and {recipe.text}"
        reason = " ".join(str(error).split())[:400] or type(error).__name__
        raise RecipeError(f"model: cannot load {source}: {reason}") from error
    for name in ("face_margin", "picture_kind"):
        if getattr(recipe, name) is not None:
            setattr(model.config, name, getattr(recipe, name))
    if not hasattr(processor, "image_processor") or not hasattr(processor, "tokenizer"):
        raise RecipeError(f"model: {recipe.base!r} has no processor for images and text; give a vision-language model")
    return model, processor


def _check_folder(name: str, auto_class: type, **trust: bool) -> None:
    folder = Path(name).expanduser()
    if folder.is_dir():
        check_size(folder, check_model_folder(folder), auto_class, **trust)


def _compose(recipe: ModelRecipe, kwargs: dict) -> tuple[PreTrainedModel, Any]:
    from modeling_facemllm import FaceMLLMForConditionalGeneration, FaceMLLMProcessor

    shared = {"pixel_shuffle_factor": recipe.pixel_shuffle_factor, "image_size": recipe.image_size}
    if recipe.vision_feature_select_strategy is not None:
        shared["vision_feature_select_strategy"] = recipe.vision_feature_select_strategy
    layer = {} if recipe.vision_feature_layer is None else {"vision_feature_layer": recipe.vision_feature_layer}
    vision, text = tower_folder(recipe.vision, "model.vision"), tower_folder(recipe.text, "model.text")
    _check_folder(vision, AutoModel)
    _check_folder(text, AutoModelForCausalLM)
    processor = FaceMLLMProcessor.from_towers(vision, text, **shared)
    model = FaceMLLMForConditionalGeneration.from_towers(
        vision, text, tokenizer=processor.tokenizer, dtype=kwargs["dtype"], **shared, **layer
    )
    if "attn_implementation" in kwargs:
        model.set_attn_implementation(kwargs["attn_implementation"])
    return model, processor


def part_name(model: PreTrainedModel, part: str) -> str:
    """Where `part` (`vision_tower`, `projector` or `language_model`) sits in `model`, as a module path."""
    for name in (prefix + attribute for attribute in _ATTRIBUTES[part] for prefix in ("model.", "")):
        with contextlib.suppress(AttributeError):
            model.get_submodule(name)
            return name
    raise RecipeError(f"model.trainable: {type(model).__name__} has no {part}; it cannot be trained or frozen by name")


def part_of(model: PreTrainedModel, parameter: str) -> str:
    """The part that a parameter's name belongs to; the output head counts as the language model's."""
    parts = (part for part in ("vision_tower", "projector") if parameter.startswith(part_name(model, part) + "."))
    return next(parts, "language_model")


def set_trainable(model: PreTrainedModel, recipe: ModelRecipe) -> None:
    """Freeze everything but the parts named in `recipe.trainable`, and hold those in `recipe.trainable_dtype`."""
    wanted = TRAINABLE if "all" in recipe.trainable else tuple(recipe.trainable)
    dtype = getattr(torch, recipe.trainable_dtype)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(model, name) in wanted)
        if parameter.requires_grad and parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)


def add_lora(model: PreTrainedModel, recipe: ModelRecipe) -> nn.Module:
    """`model` with adapters on every linear layer of the language model; fully trained parts travel with them.

    The layers are named by a regular expression anchored at the language model: short names such as `q_proj` would
    reach into the vision tower too.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    prefix = part_name(model, recipe.lora.target)
    modules = model.get_submodule(prefix).named_modules()
    kinds = {name.rpartition(".")[2] for name, module in modules if name and isinstance(module, nn.Linear)}
    if not kinds:
        raise RecipeError(f"model.lora.target: {prefix} of {type(model).__name__} has no linear layers")
    config = LoraConfig(
        r=recipe.lora.r,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        bias="none",
        task_type=TaskType.CAUSAL_LM,
        target_modules=rf"{re.escape(prefix)}\..*\.({'|'.join(map(re.escape, sorted(kinds)))})",
        modules_to_save=[part_name(model, part) for part in recipe.trainable] or None,
    )
    return get_peft_model(model, config)


def parameter_table(model: nn.Module) -> dict[str, dict[str, int]]:
    """How many parameters each part has in `total` and `trainable`, adapters under the part they adapt."""
    from peft import PeftModel

    base = model.get_base_model() if isinstance(model, PeftModel) else model
    counts = {part: {"total": 0, "trainable": 0} for part in TRAINABLE}
    for name, parameter in base.named_parameters():
        row = counts[part_of(base, name)]
        row["total"] += parameter.numel()
        row["trainable"] += parameter.numel() if parameter.requires_grad else 0
    return counts
