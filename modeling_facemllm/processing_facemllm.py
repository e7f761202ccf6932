"""Processor of Face-MLLM: photos and chat messages → tensors."""

import copy
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.configuration_utils import PretrainedConfig
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_utils import ImageInput
from transformers.processing_utils import MultiModalData, ProcessingKwargs, Unpack

from .chat_messages_facemllm import check_images_per_prompt, fill_images, image_mismatch, plain_conversations
from .configuration_facemllm import FaceMLLMConfig, FaceMLLMVisionConfig
from .errors_facemllm import ArgumentError
from .image_loading_facemllm import load_images
from .prompt_facemllm import CHAT_TEMPLATE, IMAGE_TOKEN, prepare_tokenizer
from .user_texts_facemllm import variables_as_text
from .versions_facemllm import (
    AutoImageProcessor,
    ProcessorBase,
    check_transformers,
    default_image_processor,
    make_tokenizer_portable,
)

if TYPE_CHECKING:  # not needed here: transformers 4.57 copies from a folder only what an entry file names
    from .url_fetching_facemllm import fetch  # noqa: F401

AUTO_MAP = {"AutoProcessor": "processing_facemllm.FaceMLLMProcessor"}


class FaceMLLMProcessor(ProcessorBase):
    r"""An image processor and a tokenizer in one: any number of photos and a conversation → the model's inputs.

    Images may be PIL images, paths, URLs, bytes, base64, NumPy arrays or tensors; they are turned upright (EXIF),
    converted to RGB (transparency over white) and resized to the square that the vision tower takes.

    Args:
        image_processor ([`BaseImageProcessor`]): image processor of the vision tower.
        tokenizer ([`PreTrainedTokenizerBase`]): tokenizer of the language model; knows `image_token` as one token.
        num_image_tokens (`int`): tokens that one image takes in the prompt, [`FaceMLLMConfig.num_image_tokens`].
        image_token (`str`, *optional*, defaults to `"<image>"`): placeholder of an image in the text.
        chat_template (`str`, *optional*): Jinja template that turns messages into a prompt.

    Raises:
        ValueError: when `num_image_tokens` is no positive number or the tokenizer splits `image_token`.
    """

    _auto_class = "AutoProcessor"

    def __init__(
        self,
        image_processor=None,
        tokenizer=None,
        num_image_tokens=None,
        image_token=IMAGE_TOKEN,
        chat_template=None,
        **kwargs,
    ):
        check_transformers()
        if num_image_tokens is not None and not (isinstance(num_image_tokens, int) and num_image_tokens > 0):
            raise ArgumentError("num_image_tokens", num_image_tokens, "give the tokens of an image, 1 or more")
        tokenizer.model_input_names = ["input_ids", "attention_mask"]  # no token_type_ids on 4.57
        self.num_image_tokens = num_image_tokens
        self.image_token = image_token
        image_token_ids = tokenizer.encode(image_token, add_special_tokens=False)
        if len(image_token_ids) != 1:
            raise ValueError(
                f"the tokenizer splits image_token={image_token!r} into {len(image_token_ids)} tokens: add it as a "
                "special token first, or use `FaceMLLMProcessor.from_towers`"
            )
        self.image_token_id = image_token_ids[0]
        self.auto_map = dict(AUTO_MAP)
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    @classmethod
    def from_towers(
        cls,
        vision: str | os.PathLike | PretrainedConfig | Any,
        text: str | os.PathLike | PreTrainedTokenizerBase,
        *,
        pixel_shuffle_factor: int = 1,
        vision_feature_select_strategy: str = "default",
        image_size: int | None = None,
        image_processor=None,
        chat_template: str | None = None,
        **kwargs,
    ) -> "FaceMLLMProcessor":
        """Compose the processor of a vision tower and a language model.

        The tokenizer (a copy, when one is passed) is made ready by [`prepare_tokenizer`].

        Args:
            vision: id or path of the vision tower, or its configuration or model. Its folder's image processor is
                used; the project's own tower and configurations go with SigLIP's (a square in [-1, 1]).
            text: id or path of the language model, or a tokenizer.
            pixel_shuffle_factor: as in [`FaceMLLMConfig`].
            vision_feature_select_strategy: as in [`FaceMLLMConfig`].
            image_size: as in [`FaceMLLMConfig`]; the model has to be composed with the same one.
            image_processor: a ready image processor, instead of the folder's; its size is set to `image_size`.
            chat_template: Jinja template; ChatML with `{% generation %}` marks where absent.
            **kwargs: for both `from_pretrained` (`revision`, `token`, `cache_dir`, `trust_remote_code`, …).

        Raises:
            ValueError: when the factor does not divide the tower's grid or the strategy does not suit it.
        """
        config = FaceMLLMConfig(
            vision_config=_vision_config(vision, **kwargs),
            image_size=image_size,
            vision_feature_select_strategy=vision_feature_select_strategy,
            pixel_shuffle_factor=pixel_shuffle_factor,
        )
        if image_processor is None:
            image_processor = _image_processor(vision, config, **kwargs)
        tokenizer = (
            copy.deepcopy(text)
            if isinstance(text, PreTrainedTokenizerBase)
            else AutoTokenizer.from_pretrained(text, **kwargs)
        )
        template = chat_template or CHAT_TEMPLATE
        prepare_tokenizer(tokenizer, template)
        return cls(
            _resized(image_processor, config.image_size),
            tokenizer,
            num_image_tokens=config.num_image_tokens,
            chat_template=template,
        )

    def __call__(
        self, images: ImageInput | None = None, text: str | list[str] | None = None, **kwargs: Unpack[ProcessingKwargs]
    ) -> BatchFeature:
        """Images and prompts → `input_ids` and `attention_mask` of shape `(prompts, sequence)`, and `pixel_values` of
        shape `(images, 3, height, width)`.

        Args:
            images: one image, a list, or a list per prompt; see [`load_image`] for what may be an image.
            text: one prompt or several, with one `image_token` in each image's place.
            **kwargs: `return_tensors`, `padding`, `images_kwargs`, `text_kwargs`, … as in [`ProcessorMixin`].

        Raises:
            ValueError: "Image features and image tokens do not match …", when their numbers differ; and when an image
                cannot be read.
        """
        return super().__call__(images=images, text=text, **kwargs)

    def prepare_inputs_layout(self, images=None, text=None, videos=None, audio=None, **kwargs):
        """Load the images into one flat list. Arrays stay as they are with `do_rescale=False` or `input_data_format`,
        which say that the caller has prepared them."""
        if videos is not None or audio is not None:
            raise ValueError(f"{type(self).__name__} takes images and text, no videos and no audio; leave those out")
        if images is not None:
            if text is not None:
                check_images_per_prompt(images, text, self.image_token)
            options = {**kwargs, **kwargs.get("images_kwargs", {})}
            prepared = options.get("do_rescale") is False or options.get("input_data_format") is not None
            images = load_images(images, keep_arrays=prepared) or None
        return super().prepare_inputs_layout(images=images, text=text, **kwargs)

    def validate_inputs(self, images=None, text=None, videos=None, audio=None, **kwargs):
        """Refuse prompts whose placeholders and images differ in number."""
        if text is not None and all(isinstance(sample, str) for sample in text):
            tokens, given = sum(sample.count(self.image_token) for sample in text), len(images or [])
            if tokens != given:
                raise ValueError(image_mismatch(self.image_token, tokens, given))
        super().validate_inputs(images=images, text=text, videos=videos, audio=audio, **kwargs)

    def replace_image_token(self, image_inputs: dict, image_idx: int, **kwargs) -> str:
        if self.num_image_tokens is None:
            raise ValueError(
                "num_image_tokens=None: how many tokens an image takes is unknown; `FaceMLLMProcessor.from_towers` "
                "reckons it from the vision tower"
            )
        return self.image_token * self.num_image_tokens

    def _get_num_multimodal_tokens(self, image_sizes=None, **kwargs) -> MultiModalData:
        """Size prompts without loading images, as vLLM does.

        Args:
            image_sizes (`list[list[int]]`, *optional*): height and width of each image, in pixels.
        """
        if image_sizes is None:
            return MultiModalData()
        return MultiModalData(
            num_image_tokens=[self.num_image_tokens] * len(image_sizes), num_image_patches=[1] * len(image_sizes)
        )

    def apply_chat_template(self, conversation, chat_template=None, images=None, **kwargs):
        """Turn messages, images included, into a prompt or, with `tokenize=True, return_dict=True`, into tensors.

        Special tokens come from the template alone: what a text holds of them, `image_token` included, is tokenised as
        text. Who means them renders with `tokenize=False` and calls the processor with the prompt.

        Args:
            conversation: messages, or a batch of them: `{"role": …, "content": …}` where the content is a string or a
                list of `{"type": "text", "text": …}` and `{"type": "image"}`. An image part holds its image under
                `image`, `url`, `path` or `base64`, or nothing, and then takes the next one of `images`. Keys whose
                value is `None` count as absent.
            chat_template: Jinja template to use instead of the processor's.
            images: the images of the parts that hold none, in order: one image, a list, or a list per conversation.
            **kwargs: `tokenize`, `return_dict`, `return_tensors`, `add_generation_prompt`,
                `return_assistant_tokens_mask`, `continue_final_message`, `processor_kwargs`, … as in
                [`ProcessorMixin.apply_chat_template`].

        Raises:
            ValueError: when `images` and the parts that need one differ in number; and as [`as_text`].
        """
        conversations, batched = plain_conversations(conversation)
        kwargs.pop("sanitize_control_tokens", None)  # what newer releases offer is always done
        if kwargs.get("processor_kwargs") and "images" in kwargs["processor_kwargs"]:
            kwargs["processor_kwargs"] = dict(kwargs["processor_kwargs"])
            images = kwargs["processor_kwargs"].pop("images")
        if images is not None:
            fill_images(conversations, images)
        reader = self
        if kwargs.get("tokenize"):
            conversations, kwargs, reader = variables_as_text(self, conversations, kwargs, chat_template)
        return super(FaceMLLMProcessor, reader).apply_chat_template(
            conversations if batched else conversations[0], chat_template=chat_template, **kwargs
        )

    def save_pretrained(self, save_directory, push_to_hub: bool = False, **kwargs):
        """Save processor, tokenizer, chat template and this code; `AutoProcessor` loads the folder on its own."""
        written = super().save_pretrained(save_directory, **({} if push_to_hub else kwargs))
        make_tokenizer_portable(save_directory)
        if push_to_hub:  # saves once more, into a folder of its own
            self.push_to_hub(kwargs.pop("repo_id", Path(save_directory).name), **kwargs)
        return written


def _vision_config(vision, **kwargs) -> PretrainedConfig | dict:
    if isinstance(vision, (str, os.PathLike)):
        # As a dict, so that the project's own tower needs neither registration nor trust.
        return FaceMLLMConfig(vision_config=PretrainedConfig.get_config_dict(vision, **kwargs)[0]).vision_config
    config = getattr(vision, "config", vision)
    if not isinstance(config, PretrainedConfig):
        raise ValueError(
            f"vision={type(vision).__name__}: pass the id or path of a vision tower, its configuration or the model; "
            "a ready image processor goes into image_processor="
        )
    return getattr(config, "vision_config", config)


def _image_processor(vision, config: FaceMLLMConfig, **kwargs):
    if isinstance(vision, (str, os.PathLike)):
        try:
            return AutoImageProcessor.from_pretrained(vision, **kwargs)
        except (OSError, ValueError):
            if config.vision_config.model_type != FaceMLLMVisionConfig.model_type:
                raise
    return default_image_processor(config.image_size)


def _resized(image_processor, side: int):
    """Set the square that comes out, keeping the processor's own method: plain resizing, or resizing and cropping."""
    settings = image_processor.to_dict()
    square = {"height": side, "width": side}
    if settings.get("do_center_crop"):
        old_size, old_crop = settings.get("size") or {}, settings.get("crop_size") or {}
        edge = old_size.get("shortest_edge")
        margin = edge / old_crop["height"] if edge and old_crop.get("height") else 1.0
        settings["crop_size"] = square
        settings["size"] = {"shortest_edge": round(side * margin)} if edge else square
    else:
        settings["size"] = square
    return type(image_processor).from_dict(settings)
