"""Questions in, generated answers out: for one prompt (streamed) or for one question about many faces (batched)."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin, TextStreamer


def user_message(question: str, images: Sequence[Any] = ()) -> dict[str, Any]:
    """A user's turn as chat templates read it: the images first, then the question."""
    parts = [{"type": "image", "image": image} for image in images]
    return {"role": "user", "content": [*parts, {"type": "text", "text": question}]}


@torch.inference_mode()
def answer(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    images: Sequence[Image.Image],
    question: str,
    max_new_tokens: int = 256,
    streamer: TextStreamer | None = None,
) -> str:
    """The model's greedy answer to one question about any number of images; `streamer` gets it token by token."""
    inputs = processor.apply_chat_template(
        [user_message(question, images)],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    ).to(model.device, dtype=model.dtype)
    tokens = model.generate(**inputs, do_sample=False, max_new_tokens=max_new_tokens, streamer=streamer)
    return processor.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()


@torch.inference_mode()
def answer_prompts(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    prompts: Sequence[tuple[str, Sequence[Image.Image]]],
    max_new_tokens: int,
) -> list[str]:
    """The greedy answers to many prompts at once, each a question and its images; padded on the left."""
    tokenizer = processor.tokenizer
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    # transformers 5 takes them apart, and warns where they are not; 4.57 knows only the mixture.
    apart = "processor_kwargs" in inspect.signature(ProcessorMixin.apply_chat_template).parameters
    padding = {"processor_kwargs": {"padding": True}} if apart else {"padding": True}
    inputs = processor.apply_chat_template(
        [[user_message(question, images)] for question, images in prompts],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        **padding,
    ).to(model.device, dtype=model.dtype)
    tokens = model.generate(**inputs, do_sample=False, max_new_tokens=max_new_tokens)
    texts = processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.strip() for text in texts]


@torch.inference_mode()
def encode_faces(
    model: PreTrainedModel, processor: ProcessorMixin, images: Sequence[Image.Image], batch_size: int = 64
) -> torch.Tensor:
    """What the vision tower and the projector of a Face-MLLM see: float `(faces, image tokens, hidden size)`."""
    features = []
    for start in range(0, len(images), batch_size):
        pictures = list(images[start : start + batch_size])
        pixel_values = torch.as_tensor(processor.image_processor(images=pictures, return_tensors="pt")["pixel_values"])
        features.append(model.get_image_features(pixel_values.to(model.device, model.dtype)).pooler_output)
    return torch.cat(features)


@torch.inference_mode()
def answer_each(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    features: torch.Tensor,
    question: str,
    max_new_tokens: int = 8,
    batch_size: int = 128,
) -> list[str]:
    """The greedy answers of a Face-MLLM to one question about each of many faces.

    The faces are encoded before, once for all questions. Every prompt has the same tokens, so there is nothing to pad.

    Args:
        features: what `encode_faces` returned, `(faces, image tokens, hidden size)`.
    """
    face = Image.new("RGB", (8, 8))
    prompt = processor.apply_chat_template(
        [user_message(question, [face])],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )["input_ids"].to(model.device)
    words = model.get_input_embeddings()(prompt)
    image_positions = (prompt == processor.image_token_id).unsqueeze(-1)
    answers = []
    for faces in features.split(batch_size):
        inputs_embeds = words.expand(len(faces), -1, -1).masked_scatter(image_positions, faces.to(words.dtype))
        tokens = model.generate(
            inputs_embeds=inputs_embeds,
            attention_mask=torch.ones(inputs_embeds.shape[:2], dtype=torch.long, device=model.device),
            do_sample=False,
            max_new_tokens=max_new_tokens,
        )
        answers += processor.batch_decode(tokens, skip_special_tokens=True)
    return [text.strip() for text in answers]
