"""Conversations → token ids with a mask of the assistant's tokens, and batches of them with their pictures.

Tokenising happens once, before training: the chat template costs more than a training step of a small model, and TRL's
vision collator would pay it for every question again. Pictures stay encoded until the collator needs them.

Worked example, one picture and two questions (`█` is scored, `·` is not)::

    <|im_start|>user\\n<image>Hat?<|im_end|>\\n<|im_start|>assistant\\nNo.<|im_end|>\\n<|im_start|>user\\nAge?…assistant\\nYoung.<|im_end|>\\n
    ····································································██████████████·······························████████████████·

Every answer learns to end itself; no question, system text or image placeholder is ever scored.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from datasets import Features, List, Value
from PIL import Image
from torch.nn.utils.rnn import pad_sequence
from transformers.utils import logging
from transformers.utils.chat_template_utils import render_jinja_template

from modeling_facemllm.image_loading_facemllm import load_listed_image
from modeling_facemllm.user_texts_facemllm import as_text

from .strict import RecipeError

logger = logging.get_logger(__name__)

TOKEN_FEATURES = Features(
    {
        "input_ids": List(Value("int32")),  # one placeholder per picture; the collator expands it
        "scored": List(Value("bool")),  # true for the assistant's tokens, end of turn included
        "num_images": Value("int32"),
        "num_turns": Value("int32"),  # assistant turns: the questions answered in the conversation
        "length": Value("int32"),  # tokens after the placeholders are expanded
        "problem": Value("string"),  # why the conversation cannot be trained on; null if it can
    }
)


def image_expansion(processor: Any, image_kwargs: dict | None = None) -> list[int]:
    """The token ids that one picture's placeholder becomes, as the processor itself writes them.

    Raises `RecipeError` if their number depends on the size of the picture.
    """
    found = []
    for size in ((48, 48), (192, 96)):
        blank = Image.new("RGB", size)
        ids = processor(images=blank, text=processor.image_token, add_special_tokens=False, **(image_kwargs or {}))
        found.append(np.asarray(ids["input_ids"]).reshape(-1).tolist())
    if found[0] != found[1]:
        raise RecipeError(
            f"model: {type(processor).__name__} gives {len(found[0])} or {len(found[1])} tokens depending on the size "
            "of the picture; set model.image_processor so that every picture has the same number"
        )
    return found[0]


@dataclass
class ConversationTokenizer:
    """Batched `Dataset.map` function: the columns of `TOKEN_FEATURES` from `messages` and `has_image`.

    A template with `{% generation %}` marks the assistant's tokens itself; for one without, each answer is found by
    rendering the conversation up to it and past it.
    """

    processor: Any
    expansion: list[int]
    max_length: int | None = None

    def __post_init__(self) -> None:
        self.template = self.processor.chat_template or self.processor.tokenizer.chat_template
        if self.template is None:
            raise RecipeError(f"model: {type(self.processor).__name__} has no chat template; save one with the model")

    def __call__(self, batch: dict[str, list]) -> dict[str, list]:
        conversations = [plain_messages(messages) for messages in batch["messages"]]
        rows = self._tokenize(conversations)
        for row, has_image in zip(rows, batch["has_image"], strict=True):
            row["problem"] = self._problem(row, has_image)
        return {name: [row[name] for row in rows] for name in TOKEN_FEATURES}

    def _tokenize(self, conversations: list[list[dict]]) -> list[dict]:
        # Rendered and tokenised as text; no special token comes from a corpus.
        conversations, reader = as_text(self.processor, conversations, self.template)
        tokenizer = reader.tokenizer
        if "{% generation" in self.template.replace("{%-", "{%"):
            texts, spans = self._render(conversations, return_assistant_tokens_mask=True)
        else:
            texts, spans = zip(*map(self._spans_by_prefix, conversations), strict=True)
        bos = tokenizer.bos_token
        encoded = tokenizer(
            list(texts),
            add_special_tokens=not (bos and texts[0].startswith(bos)),
            return_offsets_mapping=True,
            return_attention_mask=False,
        )
        rows = []
        for messages, ids, offsets, turns in zip(
            conversations, encoded["input_ids"], encoded["offset_mapping"], spans, strict=True
        ):
            start, end = np.asarray(offsets, dtype=np.int64).reshape(-1, 2).T
            scored = np.zeros(len(ids), dtype=bool)
            for first, last in turns:
                scored |= (start >= first) & (end <= last) & (end > start)
            images = sum(part["type"] == "image" for message in messages for part in message["content"])
            length = len(ids) + images * (len(self.expansion) - 1)
            row = {"input_ids": ids, "scored": scored.tolist(), "num_images": images, "num_turns": len(turns)}
            rows.append(row | {"length": length})
        return rows

    def _render(self, conversations: list[list[dict]], **options: bool) -> tuple[list[str], list]:
        options |= self.processor.tokenizer.special_tokens_map
        return render_jinja_template(conversations=conversations, chat_template=self.template, **options)

    def _spans_by_prefix(self, messages: list[dict]) -> tuple[str, list[tuple[int, int]]]:
        """The rendered text and the characters of each answer, for a template without `{% generation %}`."""
        text, spans = self._render([messages])[0][0], []
        for position, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self._render([messages[:position]], add_generation_prompt=True)[0][0]
            after = self._render([messages[: position + 1]])[0][0].rstrip()
            if not (text.startswith(before) and text.startswith(after) and len(before) < len(after)):
                raise RecipeError(
                    "model: the chat template has no {% generation %} marks and renders an answer differently in the "
                    "middle of a conversation, so the answers cannot be found in it; add the marks to the template"
                )
            spans.append((len(before), len(after)))
        return text, spans

    def _problem(self, row: dict, has_image: bool) -> str | None:
        placeholders = row["input_ids"].count(self.processor.image_token_id)
        if row["num_images"] > int(has_image):
            return "its turns speak of a picture that the row does not hold"
        if placeholders != row["num_images"]:
            return f"the chat template writes {placeholders} image placeholders for its {row['num_images']} pictures"
        if not any(row["scored"]):
            return "it has no answer to learn from"
        if self.max_length is not None and row["length"] > self.max_length:
            return f"it is longer than max_length ({self.max_length} tokens)"
        return None


def plain_messages(messages: list[dict]) -> list[dict]:
    """`messages` with every content as a list of parts, without the nulls that typed columns carry."""
    turns = []
    for message in messages:
        content = message["content"]
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        parts = [
            {"type": p["type"], "text": p["text"]} if p["type"] == "text" else {"type": p["type"]} for p in content
        ]
        turns.append({"role": message["role"], "content": parts})
    return turns


@dataclass
class ConversationCollator:
    """Rows of `TOKEN_FEATURES` with an encoded `image` → one right-padded batch for the model.

    Returns `input_ids`, `attention_mask` and `labels` (int64, `(batch, tokens)`; labels are -100 off the
    answers), `pixel_values` (float32, `(pictures, 3, height, width)`), and two counts for the trainer, int64 of
    shape `(batch,)`: `num_turns` (answers scored) and `num_unreadable`.

    `places` are the `folders` and the `root` of `load_listed_image`, by the rows' column `corpus`. `least_view` is the
    share of a picture's sides that is shown at least, always the same part of the same row.

    A picture that cannot be read leaves its row in the batch with no label and a blank picture: nothing is learned
    from it, the order of the data stays the same, and the run goes on. A batch without pictures gets one blank,
    unscored row, so that every process runs the same modules: sharded training would wait forever otherwise.
    """

    processor: Any
    expansion: list[int]
    image_kwargs: dict = field(default_factory=dict)
    unreadable_images: str = "skip"
    places: Sequence[tuple[Sequence[str], str | None]] = (((), None),)
    least_view: float = 1.0

    def __post_init__(self) -> None:
        tokenizer = self.processor.tokenizer
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        self.pad_token_id = 0 if pad is None else pad
        self.image_token_id = self.processor.image_token_id
        self.blank_image = Image.new("RGB", (64, 64))

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        sequences, labels, images, unreadable = [], [], [], []
        for row in rows:
            image, failed = None, False
            if row["num_images"]:
                image, failed = self._image(row)
                images.append(image)
            ids = np.asarray(row["input_ids"], dtype=np.int64)
            targets = np.where(np.asarray(row["scored"]) & (not failed), ids, -100)
            sequences.append(self._expand(ids, ids, self.expansion))
            labels.append(self._expand(targets, ids, -100))
            unreadable.append(int(failed))
        if not images:
            images.append(self.blank_image)
            sequences.append(torch.tensor(self.expansion))
            labels.append(torch.full_like(sequences[-1], -100))
        pixels = self.processor.image_processor(images, return_tensors="pt", **self.image_kwargs)
        turns = [row["num_turns"] * (not failed) for row, failed in zip(rows, unreadable, strict=True)]
        return {
            "input_ids": pad_sequence(sequences, batch_first=True, padding_value=self.pad_token_id),
            "attention_mask": pad_sequence([torch.ones_like(ids) for ids in sequences], batch_first=True),
            "labels": pad_sequence(labels, batch_first=True, padding_value=-100),
            "num_turns": torch.tensor(turns),
            "num_unreadable": torch.tensor(unreadable),
            "pixel_values": pixels["pixel_values"],
        }

    def _image(self, row: dict) -> tuple[Image.Image, bool]:
        try:
            folders, root = self.places[row.get("corpus", 0)]
            image = load_listed_image(row["image"], folders, root=root)
            return random_view(image, self.least_view, random.Random(str(row.get("id")))), False
        except ValueError as error:
            message = f"picture of row {row.get('id')!r} cannot be read: {error}"
            if self.unreadable_images == "raise":
                raise RecipeError(f"{message}; mend the corpus, or set unreadable_images: skip") from error
            logger.warning(f"{message}; the row is not learned from")
            return self.blank_image, True

    def _expand(self, values: np.ndarray, ids: np.ndarray, fill: list[int] | int) -> torch.Tensor:
        """`values` with the expansion's room in place of each image placeholder of `ids`, filled with `fill`."""
        placeholder = ids == self.image_token_id
        repeats = np.where(placeholder, len(self.expansion), 1)
        expanded, room = np.repeat(values, repeats), np.repeat(placeholder, repeats)
        expanded[room] = np.resize(fill, room.sum())
        return torch.from_numpy(expanded)


def random_view(image: Image.Image, least: float, rng: random.Random) -> Image.Image:
    """A part of a picture, of the same shape, whose sides are `least` to 1 of its own; with 1 the picture itself."""
    if least == 1:
        return image
    share = least + (1 - least) * rng.random()
    width, height = (max(1, round(side * share)) for side in image.size)
    left, top = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
    return image.crop((left, top, left + width, top + height))
