"""What callers pass, checked: each wrong argument is named with its value and what to give instead."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

PROMPTS = ("image_features", "inputs_embeds")
"""Keywords that are no matter of how an answer is generated."""


def check_whole_number(name: str, value: Any, least: int = 1) -> None:
    """Raises ValueError for what is no whole number, or one below `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}={value!r}: give a whole number, {least} or more")


def check_messages(messages: Any) -> None:
    """Raises ValueError for what is neither a list of chat messages nor a list of conversations."""
    if _are_messages(messages) or (_is_list(messages) and all(map(_are_messages, messages))):
        return
    shown = repr(messages)
    raise ValueError(
        f"messages={shown if len(shown) <= 60 else shown[:60] + '…'}: pass messages, as "
        '[{"role": "user", "content": "…"}], or use ask(images, question)'
    )


def check_names(unknown: Iterable[str], method: Callable) -> None:
    """Raises TypeError that names the first unknown argument, and that of the method's keywords that may be meant."""
    for name in unknown:
        parameters = inspect.signature(method).parameters.values()
        known = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.name not in PROMPTS]
        meant = get_close_matches(name, known, n=1, cutoff=0.8)
        remedy = (
            f"do you mean {meant[0]}?"
            if meant
            else f"there are {', '.join(known)}; beams and what else transformers' generate does: "
            "facemllm_onnx.transformers_model.ONNXFaceMLLM"
        )
        raise TypeError(f"{name}: no argument of the ONNX runtime; {remedy}")


def checked_prompt(
    input_ids: Any, attention_mask: Any, pixel_values: Any, image_features: Any, inputs_embeds: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Of the arguments of `generate_tokens` the token ids or, without them, the embeddings; and the mask, int64.

    Raises:
        ValueError: when they do not fit together.
    """
    if (input_ids is None) == (inputs_embeds is None):
        raise ValueError("give either input_ids or inputs_embeds")
    if pixel_values is not None and image_features is not None:
        raise ValueError("give either pixel_values or image_features")
    if input_ids is None and not (pixel_values is None and image_features is None):
        raise ValueError("inputs_embeds hold the images already: give no pixel_values and no image_features")
    given = np.asarray(inputs_embeds if input_ids is None else input_ids)
    if given.dtype.kind in "OSU":
        raise ValueError("generate_tokens takes numbers, as the processor gives them: for messages use generate")
    if given.ndim != (3 if input_ids is None else 2) or 0 in given.shape:
        wanted = "(batch, length, hidden)" if input_ids is None else "(batch, length)"
        raise ValueError(f"the prompt has shape {given.shape}: give {wanted}, none of them 0")
    mask = np.asarray(np.ones(given.shape[:2]) if attention_mask is None else attention_mask, dtype=np.int64)
    if mask.shape != given.shape[:2]:
        raise ValueError(f"attention_mask has shape {mask.shape} for a prompt of {given.shape[:2]}; give the prompt's")
    if not (np.isin(np.diff(mask, axis=1), (0, 1)).all() and (mask[:, -1] == 1).all() and mask.min() >= 0):
        raise ValueError("attention_mask: prompts have to be padded on the left, with 0 there and 1 elsewhere")
    return given, mask


def _are_messages(value: Any) -> bool:
    return _is_list(value) and all(isinstance(one, dict) or hasattr(one, "content") for one in value)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and len(value) > 0
