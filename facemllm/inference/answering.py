"""Questions in, greedy answers out: for one prompt (streamed) or for many (batched)."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from transformers import LogitsProcessorList, PreTrainedModel, ProcessorMixin, TextStreamer

from modeling_facemllm.finite_numbers_facemllm import FiniteLogits
from modeling_facemllm.user_texts_facemllm import chat_inputs


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
    """The model's greedy answer to one question about any number of images; `streamer` gets it token by token.

    Raises:
        NoNumbersError: when the model's numbers are NaN or infinite.
        PromptTooLongError: when the question is longer than the model reads.
    """
    inputs = chat_inputs(processor, [user_message(question, images)], add_generation_prompt=True, return_tensors="pt")
    inputs = inputs.to(model.device, dtype=model.dtype)
    options = {"do_sample": False, "logits_processor": LogitsProcessorList([FiniteLogits(model)])}
    tokens = model.generate(**inputs, **options, max_new_tokens=max_new_tokens, streamer=streamer)
    return processor.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()


@torch.inference_mode()
def answer_prompts(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    prompts: Sequence[tuple[str, Sequence[Image.Image]]],
    max_new_tokens: int,
) -> list[str]:
    """The greedy answers to many prompts at once, each a question and its images; padded on the left.

    Raises:
        NoNumbersError: when the model's numbers are NaN or infinite.
    """
    tokenizer = processor.tokenizer
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    # transformers 5 takes them apart, and warns where they are not; 4.57 knows only the mixture.
    apart = "processor_kwargs" in inspect.signature(ProcessorMixin.apply_chat_template).parameters
    padding = {"processor_kwargs": {"padding": True}} if apart else {"padding": True}
    inputs = chat_inputs(
        processor,
        [[user_message(question, images)] for question, images in prompts],
        add_generation_prompt=True,
        return_tensors="pt",
        **padding,
    ).to(model.device, dtype=model.dtype)
    options = {"do_sample": False, "logits_processor": LogitsProcessorList([FiniteLogits(model)])}
    tokens = model.generate(**inputs, **options, max_new_tokens=max_new_tokens)
    texts = processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.strip() for text in texts]
