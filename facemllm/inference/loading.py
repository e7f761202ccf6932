"""Any image-text-to-text model and its processor: a folder or Hub id, an adapter merged in, or an ONNX export."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel, ProcessorMixin

from facemllm.cli import UserError

from .exports import is_onnx_export, load_onnx_model
from .hub_names import ADAPTER, check_model_name, could_be_hub_id


def pick_device(name: str = "auto") -> torch.device:
    """The device called `name`; `auto` is the first accelerator, else the CPU. Raises `UserError`."""
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
    `trust_remote_code`. A PEFT adapter is merged into the weights of `model`; `model` may also be the folder of
    an adapter, whose base is then the one that its `adapter_config.json` names. An ONNX export runs on ONNX Runtime,
    behind the methods of the model that was exported.

    Raises:
        UserError: when there is no such model or adapter, it is of another kind, or it would run code that is not
            trusted.
    """
    import modeling_facemllm
    from facemllm_recipes.internvl import load_processor

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
        processor = load_processor(name, **options)
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


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
