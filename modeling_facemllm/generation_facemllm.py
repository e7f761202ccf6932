"""`generate` for prompts with pictures: each row sees its own, whatever release of transformers runs it.

Releases differ in how they repeat `pixel_values` for beams, in which steps they pass them, and in whether they encode
them beforehand. Here pictures follow the image tokens: they are fed to the step whose ids hold their tokens.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers.generation import GenerationMixin, StoppingCriteria, StoppingCriteriaList
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .errors_facemllm import check_context
from .finite_numbers_facemllm import check_finite
from .versions_facemllm import CACHE_NAME, cache_length

PICTURES = ("pixel_values", "mm_encoder_outputs")


class EndOfContext(StoppingCriteria):
    """Ends answers at `length` tokens of the ids that `generate` holds."""

    def __init__(self, length: int):
        self.length = length

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **kwargs) -> torch.BoolTensor:
        return torch.full((len(input_ids),), input_ids.shape[1] >= self.length, device=input_ids.device)


class FaceMLLMGenerationMixin(GenerationMixin):
    """For models with `config.image_token_id`, `config.num_image_tokens` and embeddings for ids.

    `generate` raises [`NoNumbersError`] where the logits are NaN or infinite.
    """

    def generate(
        self, inputs=None, generation_config=None, logits_processor=None, stopping_criteria=None, **kwargs: Any
    ) -> Any:
        """As [`GenerationMixin.generate`]. An answer also ends where the language model reads no further.

        Raises:
            PromptTooLongError: a ValueError, when a prompt is longer than that.
        """
        position_limit = getattr(self.config.get_text_config(), "max_position_embeddings", None)
        ids, embeds = kwargs.get("input_ids", inputs), kwargs.get("inputs_embeds")
        prompt = embeds if embeds is not None else ids
        if position_limit is not None and prompt is not None:
            mask = kwargs.get("attention_mask")
            longest = prompt.shape[1] if mask is None or mask.dim() != 2 else int(mask.sum(-1).max())
            check_context(longest, position_limit)
            held = 0 if ids is None else ids.shape[1]
            # The last token of an answer is not read.
            end = EndOfContext(held + position_limit - longest + 1)
            stopping_criteria = StoppingCriteriaList([*(stopping_criteria or []), end])
        return super().generate(
            inputs, generation_config, logits_processor, stopping_criteria=stopping_criteria, **kwargs
        )

    def prepare_inputs_for_generation(self, input_ids, *args, inputs_embeds=None, **kwargs):
        # `generate` takes `inputs_embeds` only where this signature names them.
        pictures = {name: kwargs.pop(name) for name in PICTURES if kwargs.get(name) is not None}
        model_inputs = super().prepare_inputs_for_generation(input_ids, *args, inputs_embeds=inputs_embeds, **kwargs)
        if not pictures or model_inputs.get("inputs_embeds") is not None:
            return model_inputs | pictures
        images = self._images_per_row(input_ids)
        new = self._images_per_row(model_inputs["input_ids"])
        for name, value in pictures.items():
            given = _number(value)
            if given is None:
                continue
            if given == sum(new):
                model_inputs[name] = value
            elif given == sum(images):  # the whole conversation's: the cache holds the first of each row
                if any(new):
                    model_inputs[name] = _chosen(value, _last_of_each(images, new))
            else:
                where = f"the prompts have room for {sum(new)}"
                if images != new:
                    where = (
                        f"the tokens that the cache does not hold have room for {sum(new)}, the whole conversation "
                        f"for {sum(images)}; pass only the new pictures"
                    )
                raise ValueError(f"Image features and image tokens do not match: {given} pictures are given, {where}")
        return model_inputs

    def _expand_inputs_for_generation(self, expand_size=1, is_encoder_decoder=False, input_ids=None, **model_kwargs):
        pictures = {name: model_kwargs.pop(name) for name in PICTURES if model_kwargs.get(name) is not None}
        if expand_size > 1:
            for name, value in pictures.items():
                if _number(value) is not None:
                    images = self._images_per_row(input_ids, model_kwargs.get("inputs_embeds"))
                    read = cache_length(model_kwargs)
                    if read and sum(images) != _number(value):  # only what the cache does not hold
                        images = self._images_per_row(input_ids[:, read:])
                    if sum(images) != _number(value):
                        raise ValueError(
                            f"Image features and image tokens do not match: {_number(value)} pictures are given, the "
                            f"prompts have room for {sum(images)}; several answers to a prompt need them all"
                        )
                    pictures[name] = _chosen(value, _repeated(images, expand_size))
        input_ids, model_kwargs = super()._expand_inputs_for_generation(
            expand_size=expand_size, is_encoder_decoder=is_encoder_decoder, input_ids=input_ids, **model_kwargs
        )
        return input_ids, model_kwargs | pictures

    def _update_model_kwargs_for_generation(self, outputs, model_kwargs, *args, **kwargs):
        check_finite(self, outputs.logits[:, -1].amax(-1))  # assisted decoding has excluded some already
        model_kwargs = super()._update_model_kwargs_for_generation(outputs, model_kwargs, *args, **kwargs)
        # The cache holds what was seen. An image token among the answers shows nothing.
        if model_kwargs.get(CACHE_NAME) is not None:
            for name in PICTURES:
                model_kwargs.pop(name, None)
        return model_kwargs

    def _images_per_row(
        self, input_ids: torch.LongTensor | None, inputs_embeds: torch.FloatTensor | None = None
    ) -> list[int]:
        """How many pictures each row of ids `(batch, sequence)`, or of embeddings, has tokens for."""
        if inputs_embeds is not None and (input_ids is None or input_ids.numel() == 0):
            image_token = torch.full((1, 1), self.config.image_token_id, device=inputs_embeds.device)
            mask = (inputs_embeds == self.get_input_embeddings()(image_token)).all(-1)
        else:
            mask = input_ids == self.config.image_token_id
        tokens, each = mask.sum(-1).tolist(), self.config.num_image_tokens
        if any(count % each for count in tokens):
            raise ValueError(
                f"Image features and image tokens do not match: a picture takes {each} tokens, and the prompts hold "
                f"{tokens}; take prompts from the processor, and keep the token out of what follows (suppress_tokens)"
            )
        return [count // each for count in tokens]


def _number(pictures: Any) -> int | None:
    """How many pictures these are; None where nothing was encoded."""
    if isinstance(pictures, torch.Tensor):
        return len(pictures)
    image = pictures.get("image")
    return None if image is None or image.pooler_output is None else len(image.pooler_output)


def _chosen(pictures: Any, places: Sequence[int]) -> Any:
    """The pictures at `places`, of pixels or of what they were encoded to."""
    if isinstance(pictures, torch.Tensor):
        return pictures[list(places)]
    features = pictures["image"].pooler_output
    features = features[list(places)] if isinstance(features, torch.Tensor) else [features[place] for place in places]
    return {**pictures, "image": BaseModelOutputWithPooling(pooler_output=features)}


def _repeated(images: Sequence[int], times: int) -> list[int]:
    """Places when each row is repeated: rows of A B and C become A B A B C C."""
    places, start = [], 0
    for count in images:
        places += [*range(start, start + count)] * times
        start += count
    return places


def _last_of_each(images: Sequence[int], new: Sequence[int]) -> list[int]:
    """Places of the last `new` pictures of each row."""
    places, end = [], 0
    for count, wanted in zip(images, new, strict=True):
        end += count
        places += range(end - wanted, end)
    return places
