"""A model folder looked at before it is loaded: a damaged file is named, and no pickle is opened.

Libraries answer to such files with errors of every kind, and to a configuration that lacks a part with a model of the
default size. No weights are read here, only their names and shapes.
"""

import json
import math
from pathlib import Path
from typing import Any

SETTINGS = (
    "config.json",
    "generation_config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "adapter_config.json",
)
"""JSON objects that transformers and PEFT read."""
WEIGHTS = ("model.safetensors", "adapter_model.safetensors")
INDEX = "model.safetensors.index.json"
FLAGS = ("output_hidden_states", "output_attentions", "use_cache", "return_dict")
"""Settings that a model reads at each call."""
PICKLES = ("*.bin", "*.pth", "*.pt", "*.ckpt", "*.pkl", "*.bin.index.json")
MAX_ENLARGED = 4
"""A processor that crops makes a picture larger before, by a margin."""
SAFE = 'convert them where you trust them, with from_pretrained(…) and save_pretrained("NEW"), and give NEW'
WHOLE = "give a folder that was saved whole, or get it again"

Shapes = dict[str, list[int]]


class DamagedModel(ValueError):
    """A file of a model folder that cannot be used: its path, what is wrong, and what to do."""


def check_model_folder(folder: Path) -> Shapes:
    """The shapes of the tensors in a folder, by name, after a look at all of its files.

    Raises:
        DamagedModel: as `check_settings` and `weight_files`, and for weights that are cut off.
    """
    check_settings(folder)
    return stored_shapes(folder)


def check_settings(folder: Path) -> None:
    """Raises `DamagedModel` for settings that are no JSON object or lack a part, and for a damaged tokenizer."""
    for name in SETTINGS:
        if (folder / name).is_file():
            read_object(folder / name)
    if (folder / "config.json").is_file():
        _check_config(folder / "config.json")
    if (folder / "generation_config.json").is_file():
        _check_generation(folder / "generation_config.json")
    _check_tokenizer(folder / "tokenizer.json")


def stored_shapes(folder: Path) -> Shapes:
    """The shape of each tensor in a folder's weights. Raises `DamagedModel` as `weight_files` and `read_shapes`."""
    return {name: shape for file in weight_files(folder) for name, shape in read_shapes(file).items()}


def check_size(folder: Path, shapes: Shapes, auto_class: Any, **trust: bool) -> None:
    """Refuse a configuration of a larger model than the weights are: the rest would be random, and take its memory.

    Args:
        shapes: those of the tensors in `folder`.
        auto_class: the class of transformers that is to load it.

    Raises:
        DamagedModel: when the model has more than twice as many numbers as the folder.
    """
    import torch
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, **trust)
    if getattr(config, "quantization_config", None) is not None:  # several numbers are one
        return
    stored = sum(math.prod(shape) for shape in shapes.values())
    for part in (config, *(getattr(config, name, None) for name in config.sub_configs)):
        layers = getattr(part, "num_hidden_layers", None)
        if isinstance(layers, int) and layers > len(shapes):
            raise DamagedModel(
                f"{folder / 'config.json'}: num_hidden_layers is {layers}, and the weights are {len(shapes)} tensors; "
                f"{WHOLE}"
            )
    with torch.device("meta"):
        wanted = sum(parameter.numel() for parameter in auto_class.from_config(config, **trust).parameters())
    if wanted > 2 * stored:
        raise DamagedModel(
            f"{folder / 'config.json'}: describes a model of {wanted:,} numbers, and the weights are {stored:,}; "
            f"{WHOLE}"
        )


def check_pictures(name: str | Path, config: Any, processor: Any) -> None:
    """Refuse a processor that makes of a picture what the model does not take; a grey one is tried.

    Args:
        name: the model's folder or Hub id.
        config, processor: those of the model. Only those of Face-MLLM are looked at.

    Raises:
        DamagedModel: when it fails, or what comes out has another size, takes other tokens or is no number.
    """
    import torch
    from PIL import Image

    if config.model_type != "facemllm":
        return
    side, reason = config.image_size, None
    try:
        settings = processor.image_processor.to_dict()
        sizes = [settings.get(key) for key in ("size", "crop_size")]
        largest = max((edge for size in sizes if isinstance(size, dict) for edge in size.values() if edge), default=0)
        if largest > MAX_ENLARGED * side:
            reason = f"makes pictures of {largest} pixels"
        else:
            picture = Image.new("RGB", (64, 64), "gray")
            pixels = torch.as_tensor(processor.image_processor(images=[picture], return_tensors="pt")["pixel_values"])
            height, width = pixels.shape[-2:]
            if (height, width) != (side, side):
                reason = f"makes pictures of {height}×{width} pixels"
            elif not pixels.isfinite().all():
                reason = "makes NaN or infinite numbers of a picture"
            elif processor.num_image_tokens != config.num_image_tokens:
                reason = f"gives a picture {processor.num_image_tokens} tokens"
    except Exception as error:  # as many as there are wrong settings
        reason = f"cannot read a picture ({' '.join(str(error).split())[:200] or type(error).__name__})"
    if reason is not None:
        takes = f"the model takes {side}×{side} pixels, as {config.num_image_tokens} tokens"
        raise DamagedModel(f"{name}: its processor {reason}, and {takes}; {WHOLE}")


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `DamagedModel` for anything else."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedModel(f"{path}: is no JSON ({error}); save the model again, or get the file again") from error
    if not isinstance(settings, dict):
        raise DamagedModel(f"{path}: is no JSON object but a {type(settings).__name__}; save the model again")
    return settings


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that hold the weights of a model or an adapter.

    Raises:
        DamagedModel: when there are none or only pickles, and for an index of files that are missing or elsewhere.
    """
    for name in WEIGHTS:
        if (folder / name).is_file():
            return [folder / name]
    if (folder / INDEX).is_file():
        named = read_object(folder / INDEX).get("weight_map")
        if not isinstance(named, dict) or not named or not all(_is_plain(name) for name in named.values()):
            raise DamagedModel(f"{folder / INDEX}: its weight_map names no files of the folder; {WHOLE}")
        files = [folder / name for name in sorted(set(named.values()))]
        for file in files:
            if not file.is_file():
                raise DamagedModel(f"{file}: is missing, and {INDEX} names it; {WHOLE}")
        return files
    if pickles := sorted(path.name for pattern in PICKLES for path in folder.glob(pattern)):
        raise DamagedModel(
            f"{folder / pickles[0]}: weights as a pickle, which runs code when it is opened; {SAFE} (safetensors)"
        )
    raise DamagedModel(f"{folder}: holds no *.safetensors weights; {WHOLE}")


def read_shapes(path: Path) -> Shapes:
    """The shape of each tensor in a safetensors file, from its header. Raises `DamagedModel` for a damaged file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as opened:
            return {name: opened.get_slice(name).get_shape() for name in opened.keys()}  # noqa: SIM118  (not a dict)
    except (OSError, ValueError, SafetensorError) as error:
        raise DamagedModel(f"{path}: is cut off or no safetensors file ({error}); {WHOLE}") from error


def _is_plain(name: Any) -> bool:
    return isinstance(name, str) and name.endswith(".safetensors") and Path(name).name == name


def _check_config(path: Path) -> None:
    config = read_object(path)
    if not isinstance(config.get("model_type"), str):
        raise DamagedModel(f"{path}: model_type is {config.get('model_type')!r} and no text; {WHOLE}")
    for part in ("vision_config", "text_config") if config["model_type"] == "facemllm" else ():
        if not isinstance(config.get(part), dict) or not isinstance(config[part].get("model_type"), str):
            raise DamagedModel(f"{path}: {part} is no object with a model_type; {WHOLE}")
    for part in (config, config.get("vision_config"), config.get("text_config")):
        _check_flags(path, part if isinstance(part, dict) else {})
    for name, kind in {"auto_map": dict, "custom_pipelines": dict, "architectures": list}.items():
        if not isinstance(config.get(name) or kind(), kind):
            raise DamagedModel(f"{path}: {name} is {config[name]!r} and no {kind.__name__}; {WHOLE}")
    tasks = config.get("face_tasks") or {}
    if not isinstance(tasks, dict) or not all(
        isinstance(task, dict) and "question" in task for task in tasks.values()
    ):
        raise DamagedModel(f"{path}: face_tasks is no object of tasks with a question each; {WHOLE}")


def _check_generation(path: Path) -> None:
    settings = read_object(path)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        ids = settings.get(name)
        if ids is not None and not all(_is_token(one) for one in (ids if isinstance(ids, list) else [ids])):
            raise DamagedModel(f"{path}: {name} is {ids!r} and no number of a token; {WHOLE}")
    _check_flags(path, settings)


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and -(2**31) <= value < 2**31


def _check_flags(path: Path, settings: dict[str, Any]) -> None:
    for name in FLAGS:
        if not isinstance(settings.get(name), bool | None):
            raise DamagedModel(f"{path}: {name} is {settings[name]!r} and neither true nor false; {WHOLE}")


def _check_tokenizer(path: Path) -> None:
    if not path.is_file():
        return
    from tokenizers import Tokenizer

    try:
        Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more specific
        raise DamagedModel(f"{path}: cannot be read as a tokenizer ({error}); {WHOLE}") from error
