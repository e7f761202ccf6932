"""Greedy answers about faces that are encoded once, however many questions are asked about them."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin

from .closed_questions_facemllm import question_messages
from .packed_scoring_facemllm import device_of_inputs


@torch.no_grad()
def encode_faces(
    model: PreTrainedModel, processor: ProcessorMixin, images: Sequence[Any], batch_size: int = 64
) -> torch.Tensor:
    """What the vision tower and the projector of a Face-MLLM see: float `(faces, image tokens, hidden size)`."""
    features = []
    for start in range(0, len(images), batch_size):
        pictures = list(images[start : start + batch_size])
        pixels = torch.as_tensor(processor.image_processor(images=pictures, return_tensors="pt")["pixel_values"])
        features.append(model.get_image_features(pixels.to(device_of_inputs(model), model.dtype)).pooler_output)
    return torch.cat(features)


@torch.no_grad()
def answer_about(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    features: torch.Tensor,
    asked: Sequence[tuple[int, str]],
    max_new_tokens: int,
    batch_size: int,
) -> list[str]:
    """The greedy answers of a Face-MLLM to questions about encoded faces, `batch_size` of them at once.

    Args:
        features: what `encode_faces` returned, `(faces, image tokens, hidden size)`.
        asked: for each answer the face's place among `features`, and the question.
    """
    questions = list(dict.fromkeys(question for _, question in asked))
    blank = Image.new("RGB", (8, 8))
    prompts = processor.apply_chat_template(
        [question_messages(question, [blank]) for question in questions],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True, "padding_side": "left"},
    ).to(device_of_inputs(model))
    words = model.get_input_embeddings()(prompts["input_ids"])
    image_tokens = (prompts["input_ids"] == model.config.image_token_id).unsqueeze(-1)
    row_of = {question: row for row, question in enumerate(questions)}
    answers: list[str] = []
    for start in range(0, len(asked), batch_size):
        part = asked[start : start + batch_size]
        faces, rows = [place for place, _ in part], [row_of[question] for _, question in part]
        tokens = model.generate(
            inputs_embeds=words[rows].masked_scatter(image_tokens[rows], features[faces].to(words.dtype)),
            attention_mask=prompts["attention_mask"][rows],
            do_sample=False,
            max_new_tokens=max_new_tokens,
        )
        answers += [text.strip() for text in processor.batch_decode(tokens, skip_special_tokens=True)]
    return answers
