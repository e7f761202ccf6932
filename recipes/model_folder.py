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
PICKLES = ("*.bin", "*.pth", "*.pt", "*.ckpt", "*.pkl", "*.bin.index.json")
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
        _check_ends(folder / "generation_config.json")
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
    for name, kind in {"auto_map": dict, "custom_pipelines": dict, "architectures": list}.items():
        if not isinstance(config.get(name) or kind(), kind):
            raise DamagedModel(f"{path}: {name} is {config[name]!r} and no {kind.__name__}; {WHOLE}")
    tasks = config.get("face_tasks") or {}
    if not isinstance(tasks, dict) or not all(
        isinstance(task, dict) and "question" in task for task in tasks.values()
    ):
        raise DamagedModel(f"{path}: face_tasks is no object of tasks with a question each; {WHOLE}")


def _check_ends(path: Path) -> None:
    settings = read_object(path)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        ids = settings.get(name)
        if not all(one is None or isinstance(one, int) for one in (ids if isinstance(ids, list) else [ids])):
            raise DamagedModel(f"{path}: {name} is {ids!r} and no number of a token; {WHOLE}")


def _check_tokenizer(path: Path) -> None:
    if not path.is_file():
        return
    from tokenizers import Tokenizer

    try:
        Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more specific
        raise DamagedModel(f"{path}: cannot be read as a tokenizer ({error}); {WHOLE}") from error
