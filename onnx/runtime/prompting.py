"""Chat messages and photos → tokens and pixels, as transformers' processor makes them, without transformers.

The tokenizer is the file `tokenizer.json`, read by the library that transformers reads it with; the chat template is
run by Jinja in the same sandbox and with the same functions.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import numpy as np
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from modeling_facemllm.chat_messages_facemllm import (
    check_images_per_prompt,
    fill_images,
    image_mismatch,
    image_parts,
    plain_conversations,
)
from modeling_facemllm.image_loading_facemllm import load_images
from modeling_facemllm.user_texts_facemllm import variables_as_text

from .picture_preprocessing import PicturePreprocessor
from .record import read_json

SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class ONNXTokenizer:
    """`tokenizer.json` with what `tokenizer_config.json` says of its special tokens.

    Raises:
        ValueError: when a file of the folder is missing or broken.
    """

    def __init__(self, folder: Path):
        config = read_json(folder, "tokenizer_config.json")
        path = folder / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing more specific
            raise ValueError(f"{path}: cannot read it as a tokenizer ({error}); export the model again") from error
        # What was set when the file was saved; here the caller decides.
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.special_tokens_map = {
            name: config[name]["content"] if isinstance(config[name], dict) else config[name]
            for name in SPECIAL_TOKENS
            if config.get(name) is not None
        }
        for name in ("bos_token", "eos_token", "pad_token"):
            setattr(self, name, token := self.special_tokens_map.get(name))
            setattr(self, f"{name}_id", None if token is None else self._tokenizer.token_to_id(token))
        template = folder / "chat_template.jinja"
        self.chat_template = (
            template.read_text(encoding="utf-8") if template.is_file() else config.get("chat_template")
        )

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The library's own tokenizer, under the name that transformers gives it."""
        return self._tokenizer

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def __call__(self, text: str | Sequence[str], add_special_tokens: bool = True) -> dict[str, list]:
        """`input_ids` of one text, or of several as lists of lists."""
        encodings = self._tokenizer.encode_batch(
            [text] if isinstance(text, str) else list(text), add_special_tokens=add_special_tokens
        )
        rows = [encoding.ids for encoding in encodings]
        return {"input_ids": rows[0] if isinstance(text, str) else rows}

    def decode(self, token_ids: Sequence[int] | np.ndarray, skip_special_tokens: bool = False) -> str:
        return self._tokenizer.decode([int(token) for token in token_ids], skip_special_tokens=skip_special_tokens)


class ONNXProcessor:
    """The image processor, the tokenizer and the chat template of an exported folder.

    Args:
        folder: with `processor_config.json`, `tokenizer.json`, `tokenizer_config.json` and the chat template.

    Raises:
        ValueError: when a file is missing or broken, or the preparation of pictures is unknown here.
    """

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        config = read_json(folder, "processor_config.json", ("num_image_tokens",))
        self.folder = folder
        self.tokenizer = ONNXTokenizer(folder)
        self.chat_template = self.tokenizer.chat_template
        settings = config.get("image_processor") or read_json(folder, "preprocessor_config.json")
        if not isinstance(settings, dict) or not isinstance(config["num_image_tokens"], int):
            raise ValueError(
                f"{folder / 'processor_config.json'}: image_processor has to be an object, and num_image_tokens a "
                "whole number; export the model again"
            )
        self.image_processor = PicturePreprocessor(settings)
        self.image_token: str = config.get("image_token", "<image>")
        self.num_image_tokens: int = config["num_image_tokens"]
        self.image_token_id: int = self.tokenizer.backend_tokenizer.token_to_id(self.image_token)

    def __call__(
        self, images: Any = None, text: str | Sequence[str] | None = None, *, add_special_tokens: bool = True
    ) -> dict[str, np.ndarray]:
        """Images and prompts → the model's inputs, as NumPy arrays.

        Args:
            images: one image, a list, or a list for each prompt.
            text: one prompt or several, with one image token in each image's place.

        Returns:
            `input_ids` and `attention_mask`, int64 `(prompts, length)`, shorter prompts padded on the left; and, where
            there are images, `pixel_values`, float32 `(images, 3, height, width)`.

        Raises:
            ValueError: "Image features and image tokens do not match …", when their numbers differ.
        """
        inputs = {}
        pictures = [] if images is None else load_images(images)
        if text is not None:
            prompts = [text] if isinstance(text, str) else list(text)
            check_images_per_prompt(images, prompts, self.image_token)
            tokens = sum(prompt.count(self.image_token) for prompt in prompts)
            if tokens != len(pictures):
                raise ValueError(image_mismatch(self.image_token, tokens, len(pictures)))
            expanded = [
                prompt.replace(self.image_token, self.image_token * self.num_image_tokens) for prompt in prompts
            ]
            inputs |= self.pad(self.tokenizer(expanded, add_special_tokens=add_special_tokens)["input_ids"])
        if pictures:
            inputs |= self.image_processor(pictures)
        return inputs

    def pad(self, rows: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
        """`input_ids` and `attention_mask`, int64 `(rows, longest row)`, padded on the left."""
        longest = max(map(len, rows))
        input_ids = np.full((len(rows), longest), self.tokenizer.pad_token_id or 0, dtype=np.int64)
        attention_mask = np.zeros_like(input_ids)
        for index, row in enumerate(rows):
            input_ids[index, longest - len(row) :] = row
            attention_mask[index, longest - len(row) :] = 1
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def apply_chat_template(
        self,
        conversation: Sequence,
        chat_template: str | None = None,
        images: Any = None,
        *,
        tokenize: bool = False,
        add_generation_prompt: bool = False,
        **variables: Any,
    ) -> Any:
        """Turn messages, images included, into a prompt or, with `tokenize`, into the model's inputs.

        With `tokenize`, special tokens come from the template alone: what a text holds of them, the image token
        included, is tokenised as text. Who means them renders without, and calls the processor with the prompt.

        Args:
            conversation: messages or a batch of them; see `FaceMLLMProcessor.apply_chat_template`.
            chat_template: Jinja template to use instead of the folder's.
            images: the images of the parts that hold none, in order.
            **variables: what else the template reads.

        Returns:
            A text, or a list of them for a batch; with `tokenize` what `__call__` returns.

        Raises:
            ValueError: when images and parts differ in number, there is no template, or it refuses the messages.
        """
        conversations, batched = plain_conversations(conversation)
        if images is not None:
            fill_images(conversations, images)
        template = chat_template or self.chat_template
        if not template:
            raise ValueError(
                f"{self.folder}: has no chat template, which messages need: put the model's chat_template.jinja there"
            )
        reader = self
        if tokenize:
            conversations, variables, reader = variables_as_text(self, conversations, variables, template)
        prompts = [
            _render(
                template,
                messages=_plain_data(messages),
                add_generation_prompt=add_generation_prompt,
                **{"tools": None, "documents": None} | self.tokenizer.special_tokens_map | _plain_data(variables),
            )
            for messages in conversations
        ]
        if not tokenize:
            return prompts if batched else prompts[0]
        pictures = [[part.get("image") for part in image_parts(messages)] for messages in conversations]
        if any(picture is None for group in pictures for picture in group):
            raise ValueError("an image part holds no image: put one under 'image', or pass images=")
        bos = self.tokenizer.bos_token
        return reader(
            images=pictures if any(pictures) else None,
            text=prompts,
            # A template that writes the first token itself gets no other.
            add_special_tokens=not (bos is not None and prompts[0].startswith(bos)),
        )

    def decode(self, token_ids: Sequence[int] | np.ndarray, skip_special_tokens: bool = False) -> str:
        """The text of a row of tokens."""
        return self.tokenizer.decode(token_ids, skip_special_tokens)

    def batch_decode(self, rows: Sequence | np.ndarray, skip_special_tokens: bool = False) -> list[str]:
        """The texts of rows of tokens."""
        return [self.decode(row, skip_special_tokens) for row in rows]


class _GenerationBlock(jinja2.ext.Extension):
    """`{% generation %}`, which marks what is trained on; it writes what is in it."""

    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        # A block of its own, as in transformers: what is set inside is not known behind it.
        return jinja2.nodes.CallBlock(self.call_method("_same"), [], [], body)

    def _same(self, caller: Callable[[], str]) -> str:
        return caller()


class _Namespace(jinja2.utils.Namespace):
    """What `namespace()` gives a template, without names by which Python's own machinery is reached."""

    def __init__(*args: Any, **values: Any):  # `self` may be the name of a value
        itself, args = args[0], args[1:]
        found = dict(*args, **values)
        for name in found:
            _check_name(name)
        jinja2.utils.Namespace.__init__(itself, found)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: str) -> None:
    if str(name).startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a chat template may not store {name!r} on a namespace")


def _render(template: str, **variables: Any) -> str:
    try:
        return _compiled(template).render(**variables)
    except Exception as error:  # a template is a stranger's code
        raise ValueError(f"the chat template refuses these messages: {error}") from error


@lru_cache(maxsize=8)
def _compiled(template: str) -> jinja2.Template:
    """What transformers' `_compile_jinja_template` gives a template, its functions and their defaults included."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda layout: datetime.now().strftime(layout)
    # Templates of the Hub are strangers' code: of the types behind these names they get no more than what they need.
    environment.globals["dict"] = lambda *args, **values: dict(*args, **values)
    environment.globals["namespace"] = _Namespace
    return environment.from_string(template)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False) -> str:
    # Jinja's own escapes what HTML would misread.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _plain_data(value: Any) -> Any:
    """What a template may see: JSON's types; of anything else, such as a picture, the name of its type."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Mapping):
        return {key: _plain_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain_data(item) for item in value)
    return f"<{type(value).__name__}>"
