"""Questions in, generated answers out: for one prompt (streamed) or for one question about many faces (batched)."""

import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    PreTrainedModel,
    ProcessorMixin,
    TextStreamer,
)

from facemllm.cli import UserError
from facemllm.inference.hub_names import ADAPTER, check_model_name, could_be_hub_id
from facemllm.onnx_model import is_onnx_export, load_onnx_model


def pick_device(name: str = "auto") -> torch.device:
    """The device called ``name``; ``auto`` is the first accelerator, else the CPU. Raises ``UserError``."""
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return accelerator if accelerator is not None else torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"--device {name}: not usable here ({_first_line(error)}); try cpu or auto") from error
    return device


def load_model(
    model: str | Path, device: str = "auto", trust_remote_code: bool = False, adapter: str | Path | None = None
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Load the image-text-to-text model in a folder or under a Hub id, with its processor, ready to generate.

    Face-MLLM folders run on the installed package's code. Code that comes with any other folder or id is run only with
    ``trust_remote_code``. A PEFT adapter is merged into the weights of ``model``; ``model`` may also be the folder of
    an adapter, whose base is then the one that its ``adapter_config.json`` names. An ONNX export runs on ONNX Runtime,
    behind the methods of the model that was exported.

    Raises:
        UserError: when there is no such model or adapter, it is of another kind, or it would run code that is not
            trusted.
    """
    import modeling_facemllm
    from facemllm_recipes import internvl

    modeling_facemllm.register()
    model, adapter = _base_and_adapter(model, adapter)
    check_model_name(model)
    if is_onnx_export(model):
        if adapter is not None:
            raise UserError(f"--adapter {adapter}: {model} is an ONNX export; export the adapter's folder instead")
        return load_onnx_model(model, device)
    path = Path(model).expanduser()
    name = str(path) if path.is_dir() else str(model)
    options = {"trust_remote_code": trust_remote_code}
    try:
        # First, because it says when code would have to be trusted; AutoProcessor would only find nothing.
        AutoConfig.from_pretrained(name, **options)
        if internvl.needed_for(name, **options):
            processor = internvl.load_picture_processor(name)
        else:
            processor = AutoProcessor.from_pretrained(name, **options)
        network, found = AutoModelForImageTextToText.from_pretrained(
            name, dtype="auto", output_loading_info=True, **options
        )
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        if "trust_remote_code" in str(error):
            raise UserError(
                f"{model} brings its own Python code: read it, then allow it to run with --trust-remote-code"
            ) from error
        raise UserError(f"{model}: cannot load it as an image-text-to-text model: {_first_line(error)}") from error
    if missing := sorted(found["missing_keys"]):
        raise UserError(
            f"{model}: has no weights for {missing[0]} ({len(missing)} missing), which would be random numbers; give "
            "a folder that was saved whole"
        )
    if not hasattr(processor, "apply_chat_template") or not hasattr(processor, "tokenizer"):
        raise UserError(f"{model}: has no processor for chat with images; give a vision-language chat model")
    if adapter is not None:
        network = _merge(network, adapter)
    return network.to(pick_device(device)).eval(), processor


def _base_and_adapter(model: str | Path, adapter: str | Path | None) -> tuple[str | Path, str | Path | None]:
    folder = Path(model).expanduser()
    is_adapter = (folder / ADAPTER).is_file() and not (folder / "config.json").is_file()
    if not is_adapter:
        return model, adapter
    if adapter is not None:
        raise UserError(f"{model} is an adapter itself: give the base model, and one adapter with --adapter")
    base = json.loads((folder / ADAPTER).read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not base:
        raise UserError(f"{model}: its adapter_config.json names no base model; give BASE --adapter {model}")
    return base, folder


def _merge(network: PreTrainedModel, adapter: str | Path) -> PreTrainedModel:
    from peft import PeftModel

    folder = Path(adapter).expanduser()
    if not (folder / ADAPTER).is_file() and not could_be_hub_id(str(adapter)):
        raise UserError(f"--adapter {adapter}: has no adapter_config.json; give the folder of a PEFT adapter")
    try:
        merged = PeftModel.from_pretrained(network, str(folder if folder.is_dir() else adapter))
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"--adapter {adapter}: does not fit the model: {_first_line(error)}") from error
    return merged.merge_and_unload()


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
    """The model's greedy answer to one question about any number of images; ``streamer`` gets it token by token."""
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
    """What the vision tower and the projector of a Face-MLLM see: float ``(faces, image tokens, hidden size)``."""
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
        features: what ``encode_faces`` returned, ``(faces, image tokens, hidden size)``.
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


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
