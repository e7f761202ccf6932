"""Everything that differs between releases of transformers, and nothing else; each thing says for which releases.

`docs/versions.md` says how a new release is tried. The folder of a model carries this file, so what it says of
releases is what was known when the folder was saved.
"""

import dataclasses
import inspect
import json
import warnings
from pathlib import Path
from typing import Any

import transformers
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from transformers import PreTrainedModel, modeling_rope_utils
from transformers.cache_utils import Cache
from transformers.feature_extraction_utils import BatchFeature
from transformers.modeling_outputs import BaseModelOutputWithPast

# 5.4 to 5.8 put a placeholder in its place at the top of the library where torchvision is missing.
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.processing_utils import ProcessingKwargs, ProcessorMixin
from transformers.utils import logging
from transformers.utils.chat_template_utils import render_jinja_template

try:  # 5.x
    from transformers.utils import torch_compilable_check
except ImportError:  # 4.57

    def torch_compilable_check(condition, message: str):
        if not condition:
            raise ValueError(message)


logger = logging.get_logger(__name__)

OLDEST_TESTED = "4.57.6"
NEWEST_TESTED = "5.24.0"
KNOWN_WRONG = {
    "==5.3.0": (None, "a tied output head of remote code is left without weights, and every answer is wrong"),
    ">=5.4,<5.12": ("dinov3_vit", "the language model beside a DINOv3 tower is left without its weights"),
}
"""Releases that answer wrongly: for which vision tower (None: for every one), and how."""
TESTED = f">={OLDEST_TESTED},<={NEWEST_TESTED},!=5.3.0"

CACHE_NAMES = ("cache", "past_key_values")
"""5.24 renamed `past_key_values` to `cache`; both are listed wherever the library looks a name up."""

CACHE_NAME = next(
    name for name in CACHE_NAMES if name in {field.name for field in dataclasses.fields(BaseModelOutputWithPast)}
)
"""The name that the library's own outputs have, and its language models take."""


AUTO_MODELS = tuple(
    getattr(transformers, name)
    for name in ("AutoModel", "AutoModelForImageTextToText", "AutoModelForCausalLM", "AutoModelForMultimodalLM")
    if hasattr(transformers, name)
)
"""The auto classes that load the whole model; 4.57 has no `AutoModelForMultimodalLM`."""


class UnsupportedTransformers(ImportError):
    """The installed release of transformers is known to be wrong for a model, or too old."""


def check_transformers(vision_tower: str | None = None, installed: str = transformers.__version__) -> None:
    """Warn once of a release newer than the newest tested; refuse one that answers wrongly.

    Args:
        vision_tower: the `model_type` of the model's vision tower.
        installed: the release that is asked about.

    Raises:
        UnsupportedTransformers: for a release older than the oldest tested, and for those known to be wrong.
    """
    release = Version(Version(installed).base_version)
    for releases, (tower, reason) in KNOWN_WRONG.items():
        if tower in (None, vision_tower) and release in SpecifierSet(releases):
            raise UnsupportedTransformers(
                f"transformers {installed} cannot run this model: {reason}. Install another release: "
                f'pip install -U "transformers{TESTED}"'
            )
    if release < Version(OLDEST_TESTED):
        raise UnsupportedTransformers(
            f"transformers {installed} is older than {OLDEST_TESTED}, the oldest release that this model runs on: "
            f'pip install -U "transformers{TESTED}"'
        )
    if release > Version(NEWEST_TESTED):
        logger.warning_once(
            f"transformers {installed} is newer than {NEWEST_TESTED}, the newest release that this model was tested "
            f'on; if it fails or answers wrongly: pip install "transformers{TESTED}"'
        )


def remedy() -> str:
    """What to do where the installed release is the likely cause of wrong answers."""
    return f'transformers {transformers.__version__} may be the cause: pip install "transformers{TESTED}"'


def given_cache(past_key_values: Cache | None, cache: Cache | None) -> Cache | None:
    """The cache that `forward` was given under one of its names. Raises `ValueError` for two different ones."""
    if past_key_values is not None and cache is not None and past_key_values is not cache:
        raise ValueError("cache and past_key_values are two names of one argument: give one of them")
    if past_key_values is not None and CACHE_NAME == "cache":
        warnings.warn("`past_key_values` is deprecated: since transformers 5.24 it is `cache`", FutureWarning, 3)
    return past_key_values if cache is None else cache


def cache_of(output: Any) -> Cache | None:
    """The cache in a model's output, under the name that this output gives it."""
    return next((getattr(output, name) for name in CACHE_NAMES if getattr(output, name, None) is not None), None)


def cache_length(arguments: dict[str, Any]) -> int:
    """Tokens that the cache among the arguments of `generate` holds; 0 without one."""
    cache = next((arguments[name] for name in CACHE_NAMES if arguments.get(name) is not None), None)
    return 0 if cache is None else int(cache.get_seq_length())


def cache_argument(model: Any, cache: Cache | None) -> dict[str, Cache | None]:
    """`cache` as a keyword argument under the name in the signature of `model.forward`."""
    parameters = inspect.signature(model.forward).parameters
    return {next((name for name in CACHE_NAMES if name in parameters), CACHE_NAME): cache}


def without_head(model: PreTrainedModel) -> PreTrainedModel:
    """The model that gives hidden states. In 4.57 `base_model` of the library's own vision-language models is all."""
    return model.model if model.base_model is model else model.base_model


def adapt_rope(config: dict) -> None:
    """5.x saves rotary embeddings as `rope_parameters`, which 4.57 would silently pass over: give it its own names."""
    rope = config.get("rope_parameters")
    if not rope or hasattr(modeling_rope_utils, "RopeParameters"):
        return
    if "sliding_attention" in rope:  # one set for each kind of layer
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    config["rope_theta"] = rope["rope_theta"]
    if rope.get("rope_type", "default") != "default":
        config["rope_scaling"] = {name: value for name, value in rope.items() if name != "rope_theta"}


class ModelOf457(PreTrainedModel):
    """4.57: weights on the disk. It takes no whole model as one device, and loses one of two tied weights."""

    @classmethod
    def from_pretrained(cls, *args, device_map=None, **kwargs):
        if device_map in ("disk", {"": "disk"}):
            device_map = {"model": "disk", "lm_head": "disk"}
        return super().from_pretrained(*args, device_map=device_map, **kwargs)

    @classmethod
    def _load_pretrained_model(cls, model, *args, **kwargs):
        *loaded, on_disk, errors = super()._load_pretrained_model(model, *args, **kwargs)
        for tied, source in (model._tied_weights_keys or {}).items():
            if source in (on_disk or {}):
                on_disk.setdefault(tied, on_disk[source])
        return *loaded, on_disk, errors


ModelBase = PreTrainedModel if hasattr(PreTrainedModel, "get_expanded_tied_weights_keys") else ModelOf457


class ProcessorUpTo517(ProcessorMixin):
    """4.57 to 5.17: calls the same hooks in the same order as later releases, for text and images."""

    attributes = ["image_processor", "tokenizer"]
    image_processor_class = "AutoImageProcessor"
    tokenizer_class = "AutoTokenizer"

    @staticmethod
    def get_possibly_dynamic_module(module_name):
        if module_name == "AutoImageProcessor":
            return AutoImageProcessor
        return ProcessorMixin.get_possibly_dynamic_module(module_name)

    def __call__(self, images=None, text=None, videos=None, audio=None, **kwargs) -> BatchFeature:
        text = [text] if isinstance(text, str) else text
        images, text, *_ = self.prepare_inputs_layout(images, text, videos, audio, **kwargs)
        self.validate_inputs(images=images, text=text, **kwargs)
        merged = self._merge_kwargs(ProcessingKwargs, tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs)
        text_kwargs = merged["text_kwargs"]
        return_tensors = text_kwargs.pop("return_tensors", None)
        return_types = text_kwargs.pop("return_mm_token_type_ids", False)

        features = {}
        if text is not None:
            if images:
                replacement = self.replace_image_token({}, 0)
                text = [sample.replace(self.image_token, replacement) for sample in text]
            features.update(self.tokenizer(text, **text_kwargs))
            self._check_special_mm_tokens(text, features, modalities=["image"])
            if return_types:
                features["mm_token_type_ids"] = [
                    [int(token == self.image_token_id) for token in row] for row in features["input_ids"]
                ]
        if images:
            features.update(self.image_processor(images, **merged["images_kwargs"]))
        return BatchFeature(features, tensor_type=return_tensors)

    def prepare_inputs_layout(self, images=None, text=None, videos=None, audio=None, **kwargs):
        return images, text, videos, audio

    def validate_inputs(self, images=None, text=None, videos=None, audio=None, **kwargs):
        if images is None and text is None:
            raise ValueError(f"You need to provide at least one input to call {type(self).__name__}")

    def apply_chat_template(self, conversation, chat_template=None, processor_kwargs=None, **kwargs):
        kwargs.update(processor_kwargs or {})
        wants_mask = kwargs.pop("return_assistant_tokens_mask", False)
        if not (wants_mask and kwargs.get("tokenize") and kwargs.get("return_dict")):
            return super().apply_chat_template(conversation, chat_template, **kwargs)
        if kwargs.get("continue_final_message"):
            raise ValueError("continue_final_message is not compatible with return_assistant_tokens_mask.")
        # The library looks the spans up in the prompt with its image tokens expanded; here they are shifted.
        batched = isinstance(conversation[0], (list, tuple))
        features = super().apply_chat_template(conversation, chat_template, return_offsets_mapping=True, **kwargs)
        prompts, spans = render_jinja_template(
            conversations=conversation if batched else [conversation],
            chat_template=chat_template or self.chat_template,
            return_assistant_tokens_mask=True,
            **{**self.tokenizer.special_tokens_map, **kwargs},
        )
        features["assistant_masks"] = [
            self._assistant_mask(prompt, spans_of_prompt, offsets_of_prompt)
            for prompt, spans_of_prompt, offsets_of_prompt in zip(
                prompts, spans, features.pop("offset_mapping"), strict=True
            )
        ]
        features.convert_to_tensors(tensor_type=kwargs.get("return_tensors"))
        return features

    def _assistant_mask(self, prompt: str, spans: list[tuple[int, int]], offsets) -> list[int]:
        gained = len(self.image_token) * (self.num_image_tokens - 1)
        shifted = [[char + prompt[:char].count(self.image_token) * gained for char in span] for span in spans]
        return [int(any(start < high and end > low for low, high in shifted)) for start, end in offsets]


# From 5.10 on the library has these hooks; up to 5.17 its mask of the assistant's tokens is off by the image tokens.
ProcessorBase = ProcessorMixin if Version(transformers.__version__) >= Version("5.18") else ProcessorUpTo517


def pil_image_processor(name: str) -> type:
    """The image processor of this name that works on PIL: since 5.4 the plain name is torchvision's."""
    return getattr(transformers, f"{name}Pil", None) or getattr(transformers, name)


def default_image_processor(image_size: int):
    """SigLIP's image processor on PIL: a square of `image_size` pixels, scaled to [-1, 1]."""
    size = {"height": image_size, "width": image_size}
    return pil_image_processor("SiglipImageProcessor")(size=size, do_convert_rgb=True)


def make_tokenizer_portable(folder: str | Path) -> None:
    """Write `tokenizer_config.json` so that 4.57 reads what 5 saved; 5 reads both."""
    path = Path(folder) / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(config.get("extra_special_tokens"), list):
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
