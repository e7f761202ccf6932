"""Any image-text-to-text model and its processor: a folder or Hub id, an adapter merged in, or an ONNX export."""

import re
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel, ProcessorMixin
from transformers.utils import logging

from facemllm.cli import UserError
from facemllm_recipes.model_folder import (
    WHOLE,
    DamagedModel,
    check_model_folder,
    check_pictures,
    check_settings,
    check_size,
    read_object,
    stored_shapes,
)

from .answering import user_message
from .exports import is_onnx_export, load_onnx_model
from .hub_names import ADAPTER, check_model_name, could_be_hub_id
from .model_names import DEFAULT_MODEL, find_model


def pick_device(name: str = "auto") -> torch.device:
    """The device called `name`; `auto` is the first accelerator, else the CPU. Raises `UserError`."""
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return accelerator if accelerator is not None else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:  # which lists twenty kinds
        raise UserError(f"--device {name}: there is no such device; give auto, cpu, cuda, cuda:1 or mps") from error
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = re.split(r"\n|\. ", str(error).strip())[0]  # advice about drivers and debugging follows
        raise UserError(f"--device {name}: not usable here ({reason}); try cpu or auto") from error
    return device


def load_model(
    model: str | Path = DEFAULT_MODEL,
    device: str = "auto",
    trust_remote_code: bool = False,
    adapter: str | Path | None = None,
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Load an image-text-to-text model, by a known name or from a folder or the Hub, with its processor.

        model, processor = load_model("photo")  # ready to generate, on the first accelerator or the CPU

    Face-MLLM folders run on the installed package's code. Code that comes with any other folder or id is run only with
    `trust_remote_code`. A PEFT adapter is merged into the weights of `model`; `model` may also be the folder of
    an adapter, whose base is then the one that its `adapter_config.json` names. An ONNX export runs on ONNX Runtime,
    behind the methods of the model that was exported.

    Raises:
        UserError: when there is no such model or adapter, it is of another kind, or it would run code that is not
            trusted.
        DamagedModel: for a folder with a damaged file, or with weights as a pickle, and as `check_pictures`.
    """
    import modeling_facemllm
    from facemllm_recipes.internvl import load_processor

    modeling_facemllm.register()
    model, adapter = _base_and_adapter(find_model(model), adapter)
    check_model_name(model)
    if is_onnx_export(model):
        if adapter is not None:
            raise UserError(f"--adapter {adapter}: {model} is an ONNX export; export the adapter's folder instead")
        return load_onnx_model(model, device)
    path = Path(model).expanduser()
    name = str(path) if path.is_dir() else str(model)
    options = {"trust_remote_code": trust_remote_code}
    if path.is_dir():
        check_settings(path)
    verbosity = logging.get_verbosity()
    try:
        # First, because it says when code would have to be trusted; AutoProcessor would only find nothing.
        AutoConfig.from_pretrained(name, **options)
        if path.is_dir():
            check_size(path, stored_shapes(path), AutoModelForImageTextToText, **options)
        processor = load_processor(name, **options)
        options |= {"output_loading_info": True, "use_safetensors": True, "ignore_mismatched_sizes": True}
        logging.set_verbosity(logging.CRITICAL)  # its table of keys that do not fit becomes one line below
        network, found = AutoModelForImageTextToText.from_pretrained(name, dtype="auto", **options)
    except DamagedModel:
        raise
    except Exception as error:  # a folder or repository may be damaged in any way, and hold any code
        if "trust_remote_code" in str(error):
            raise UserError(
                f"{model} brings its own Python code: read it, then allow it to run with --trust-remote-code"
            ) from error
        reason = f"cannot load it as an image-text-to-text model: {_one_line(error)}"
        raise UserError(f"{model}: {reason}; give one that was saved whole") from error
    finally:
        logging.set_verbosity(verbosity)
    if found["mismatched_keys"]:
        first = min(key if isinstance(key, str) else key[0] for key in found["mismatched_keys"])
        raise UserError(f"{model}: its config.json gives {first} another shape than its weights; {WHOLE}")
    if missing := sorted(found["missing_keys"]):
        raise UserError(
            f"{model}: has no weights for {missing[0]} ({len(missing)} missing), which would be random numbers; give "
            "a folder that was saved whole"
        )
    if not hasattr(processor, "apply_chat_template") or not hasattr(processor, "tokenizer"):
        raise UserError(f"{model}: has no processor for chat with images; give a vision-language chat model")
    _check_chat(model, network, processor)
    check_pictures(model, network.config, processor)
    if adapter is not None:
        network = _merge(network, adapter)
    return network.to(pick_device(device)).eval(), processor


def _check_chat(model: str | Path, network: PreTrainedModel, processor: ProcessorMixin) -> None:
    """Refuse a chat template that fails, and another image token than the model's. Templates are strangers' code."""
    try:
        processor.apply_chat_template([user_message("?")], add_generation_prompt=True)
    except Exception as error:
        raise UserError(f"{model}: its chat template fails: {_one_line(error)}; {WHOLE}") from error
    of_model, of_processor = (getattr(part, "image_token_id", None) for part in (network.config, processor))
    if network.config.model_type == "facemllm" and of_model != of_processor:
        raise UserError(
            f"{model}: image_token_id is {of_model} in its config.json and {of_processor} in its tokenizer; {WHOLE}"
        )


def _base_and_adapter(model: str | Path, adapter: str | Path | None) -> tuple[str | Path, str | Path | None]:
    folder = Path(model).expanduser()
    is_adapter = (folder / ADAPTER).is_file() and not (folder / "config.json").is_file()
    if not is_adapter:
        return model, adapter
    if adapter is not None:
        raise UserError(f"{model} is an adapter itself: give the base model, and one adapter with --adapter")
    base = read_object(folder / ADAPTER).get("base_model_name_or_path")
    if not base:
        raise UserError(f"{model}: its adapter_config.json names no base model; give BASE --adapter {model}")
    return base, folder


def _merge(network: PreTrainedModel, adapter: str | Path) -> PreTrainedModel:
    from peft import PeftModel

    folder = Path(adapter).expanduser()
    if not (folder / ADAPTER).is_file() and not could_be_hub_id(str(adapter)):
        raise UserError(f"--adapter {adapter}: has no adapter_config.json; give the folder of a PEFT adapter")
    if folder.is_dir():
        check_model_folder(folder)
    try:
        merged = PeftModel.from_pretrained(network, str(folder if folder.is_dir() else adapter))
    except Exception as error:  # an adapter may be damaged in any way
        raise UserError(
            f"--adapter {adapter}: does not fit the model ({_one_line(error)}); give its own base"
        ) from error
    return merged.merge_and_unload()


def _one_line(error: BaseException) -> str:
    kind, line = type(error).__name__, " ".join(str(error).split())[:300]
    if line and isinstance(error, (OSError, ValueError, ImportError, RuntimeError)):
        return line
    return f"{kind}: {line}" if line else kind
