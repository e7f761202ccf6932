"""What `ProcessorMixin` of transformers 5 does and that of 4.57 lacks. Nothing else here knows of versions: when
transformers 5 becomes the floor, this file goes and `ProcessorBase` is `ProcessorMixin`."""

import json
from pathlib import Path

import transformers
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessingKwargs, ProcessorMixin
from transformers.utils.chat_template_utils import render_jinja_template


class ProcessorOf457(ProcessorMixin):
    """Calls the same hooks in the same order as transformers 5, for text and images."""

    attributes = ["image_processor", "tokenizer"]
    image_processor_class = "AutoImageProcessor"
    tokenizer_class = "AutoTokenizer"

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
        # 4.57 looks the spans of the prompt up in the prompt with its image tokens expanded; here they are shifted.
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


ProcessorBase = ProcessorMixin if hasattr(ProcessorMixin, "get_text_with_replacements") else ProcessorOf457


def default_image_processor(image_size: int):
    """SigLIP's image processor on PIL: a square of `image_size` pixels, scaled to [-1, 1]."""
    name = "SiglipImageProcessorPil" if hasattr(transformers, "SiglipImageProcessorPil") else "SiglipImageProcessor"
    return getattr(transformers, name)(size={"height": image_size, "width": image_size}, do_convert_rgb=True)


def make_tokenizer_portable(folder: str | Path) -> None:
    """Write `tokenizer_config.json` so that 4.57 reads what 5 saved; 5 reads both."""
    path = Path(folder) / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(config.get("extra_special_tokens"), list):
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


__all__ = ["ProcessorBase", "default_image_processor", "make_tokenizer_portable"]
