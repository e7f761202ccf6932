"""What of a folder is the model, and whether anybody else could load it: looked at before anything is published."""

import fnmatch
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemllm.cli import UserError
from facemllm.inference.exports import checked_export
from facemllm.model_code.comparison import read_settings
from facemllm_onnx.export_location import EXPORT_RECORD
from facemllm_recipes.model_folder import WHOLE, check_model_folder, check_pictures

from .own_files import FOLDERS, own_files

ADAPTER_CONFIG = "adapter_config.json"
STATE_OF_TRAINING = ("trainer_state.json", "optimizer*", "scheduler.pt", "scaler.pt", "rng_state*.pth", "global_step*")


@dataclass(frozen=True)
class ModelFolder:
    """A model that loads; `files` are its paths within `folder`, `others` what lies beside it.

    `adapter_base` is what an adapter says it was trained on; None for a whole model. `export` is the record of an
    ONNX export; None for a model of PyTorch.
    """

    folder: Path
    files: list[str]
    others: list[str]
    adapter_base: str | None
    export: dict[str, Any] | None = None


def open_model_folder(folder: str | Path, trust_remote_code: bool = False) -> ModelFolder:
    """The model in `folder`, after a look at whether it loads: no weights are read, only their names and shapes.
    Of an ONNX export, each graph is loaded.

    Raises:
        UserError: for no folder, a training checkpoint, an unfinished run, weights that do not fit the configuration,
            code that is named and not there, graphs that are missing, cut off or do not load, and files that lie
            outside the folder, behind a link.
        DamagedModel: for a damaged file, or weights as a pickle.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; give the one that training left")
    _check_finished(folder)
    files = own_files(folder)
    others = _others(folder, files)
    if EXPORT_RECORD in files:
        return ModelFolder(folder, files, others, None, checked_export(folder))
    if ADAPTER_CONFIG in files and "config.json" not in files:
        return ModelFolder(folder, files, others, _check_adapter(folder, files))
    check_model_folder(folder)
    _check_weights(folder, trust_remote_code)
    return ModelFolder(folder, files, others, None)


def _is_one_of(name: str, patterns: tuple[str, ...]) -> bool:
    return not name.startswith(".") and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _others(folder: Path, files: Collection[str]) -> list[str]:
    """What lies in the folder and is none of the model's `files`: whole folders by their name and a slash."""
    others = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name in FOLDERS:
            inside = [f"{path.name}/{entry.name}" for entry in sorted(path.iterdir())]
            others += [name for name in inside if name not in files]
        elif path.name not in files and path.name != "__pycache__":
            others.append(path.name + ("/" if path.is_dir() else ""))
    return others


def _check_finished(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    state = sorted(name for name in names if _is_one_of(name, STATE_OF_TRAINING))
    if state:
        raise UserError(
            f"{folder}: is a training checkpoint ({state[0]}); give the run's own folder, with the finished model"
        )
    if "recipe.json" in names and "run.json" not in names:
        raise UserError(f"{folder}: its run is not finished (no run.json); run facemllm train again to go on")
    if not names & {"config.json", ADAPTER_CONFIG}:
        raise UserError(f"{folder}: has no config.json; give the folder that training or quickstart left")


def _check_adapter(folder: Path, files: list[str]) -> str:
    config = read_settings(folder / ADAPTER_CONFIG)
    weights = "adapter_model.safetensors"
    if weights not in files:
        raise UserError(f"{folder}: has {ADAPTER_CONFIG} and no {weights}; save the adapter again")
    if not check_model_folder(folder):
        raise UserError(f"{folder / weights}: holds no weights; save the adapter again")
    return str(config.get("base_model_name_or_path") or "")


def _check_weights(folder: Path, trust_remote_code: bool) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging

    import modeling_facemllm

    modeling_facemllm.register()
    options = {"trust_remote_code": trust_remote_code}
    logging.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)  # its table of keys that do not fit becomes one line below
    try:
        processor = AutoProcessor.from_pretrained(folder, **options)
        # On the meta device: a model of 38 B parameters is checked in the memory of a small one.
        options |= {"device_map": "meta", "use_safetensors": True, "ignore_mismatched_sizes": True}
        model, loaded = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True, **options)
    except Exception as error:  # a folder may be damaged in any way
        line = " ".join(str(error).split())[:300] or type(error).__name__
        if "trust_remote_code" in str(error):
            raise UserError(
                f"{folder}: brings its own Python code: read it, then allow it to run with --trust-remote-code"
            ) from error
        raise UserError(f"{folder}: does not load as an image-text-to-text model: {line}; {WHOLE}") from error
    finally:
        logging.set_verbosity(verbosity)
    check_pictures(folder, model.config, processor)
    for what, keys in (("missing", loaded["missing_keys"]), ("of another shape", loaded["mismatched_keys"])):
        if keys:
            first = min(key if isinstance(key, str) else key[0] for key in keys)
            raise UserError(
                f"{folder}: its weights do not fit its config.json ({first} is {what}, one of {len(keys)}); {WHOLE}"
            )
