"""What of a folder is the model, and whether anybody else could load it: looked at before anything is published."""

import ast
import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemllm.cli import UserError
from facemllm.inference.exports import checked_export
from facemllm.model_code.comparison import read_settings
from facemllm_onnx.export_location import EXPORT_RECORD

ADAPTER_CONFIG = "adapter_config.json"
_MODEL = ("*.safetensors", "*.safetensors.index.json", "*config.json", "*.py", "*.jinja")
_TOKENIZER = ("tokenizer.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json")
_EXPORT = ("*.onnx", "*.onnx_data", EXPORT_RECORD)
MODEL_FILES = (*_MODEL, *_TOKENIZER, "vocab.*", "merges.txt", *_EXPORT)
BESIDE = ("README.md", "LICENSE*", "NOTICE*", "run.json", "loss.png")  # in the model's own folder only
MODEL_FOLDERS = ("adapter", "additional_chat_templates", "onnx", "transformers.js")
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


def is_model_file(path: str) -> bool:
    """Whether what lies at `path` in a folder or repository is read when the model is loaded, by its name."""
    parent, _, name = path.rpartition("/")
    return parent in ("", *MODEL_FOLDERS) and _is_one_of(name, MODEL_FILES)


def open_model_folder(folder: str | Path, trust_remote_code: bool = False) -> ModelFolder:
    """The model in `folder`, after a look at whether it loads: no weights are read, only their names and shapes.
    Of an ONNX export, each graph is loaded.

    Raises:
        UserError: for no folder, a training checkpoint, an unfinished run, weights that do not fit the configuration,
            code that is named and not there, and graphs that are missing, cut off or do not load.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; give the one that training left")
    _check_finished(folder)
    files, others = _sort(folder)
    if EXPORT_RECORD in files:
        return ModelFolder(folder, files, others, None, checked_export(folder))
    if ADAPTER_CONFIG in files and "config.json" not in files:
        return ModelFolder(folder, files, others, _check_adapter(folder, files))
    _check_code(folder, files)
    _check_weights(folder, trust_remote_code)
    return ModelFolder(folder, files, others, None)


def _is_one_of(name: str, patterns: tuple[str, ...]) -> bool:
    return not name.startswith(".") and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _sort(folder: Path) -> tuple[list[str], list[str]]:
    """The model's files, and the others: whole folders by their name and a slash."""
    files, others = [], []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name in MODEL_FOLDERS:
            inside = [f"{path.name}/{entry.name}" for entry in sorted(path.iterdir())]
            files += [name for name in inside if is_model_file(name) and (folder / name).is_file()]
            others += [name for name in inside if name not in files]
        elif path.is_file() and (is_model_file(path.name) or _is_one_of(path.name, BESIDE)):
            files.append(path.name)
        elif path.name != "__pycache__":
            others.append(path.name + ("/" if path.is_dir() else ""))
    return files, others


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
    from safetensors import SafetensorError, safe_open

    config = read_settings(folder / ADAPTER_CONFIG)
    weights = "adapter_model.safetensors"
    if weights not in files:
        raise UserError(f"{folder}: has {ADAPTER_CONFIG} and no {weights}")
    try:
        with safe_open(folder / weights, framework="numpy") as opened:
            empty = not list(opened.keys())
    except SafetensorError as error:
        raise UserError(f"{folder / weights}: cannot be read: {error}") from error
    if empty:
        raise UserError(f"{folder / weights}: holds no weights")
    return str(config.get("base_model_name_or_path") or "")


def _check_code(folder: Path, files: list[str]) -> None:
    """Every module that the configurations name is there and compiles, with all it imports from its own folder."""
    named = {
        module for name in files if name.endswith("config.json") for module in _modules(read_settings(folder / name))
    }
    seen: set[str] = set()
    while named - seen:
        module = sorted(named - seen)[0]
        seen.add(module)
        path = folder / f"{module}.py"
        if not path.is_file():
            raise UserError(f"{folder}: its code needs {path.name}, which is not there; save the model again")
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: is no Python that can be run ({error})") from error
        named |= {
            (node.module or alias.name).split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.level == 1
            for alias in node.names
        }


def _modules(config: Any) -> Iterator[str]:
    """Modules of the folder itself in `auto_map` and `custom_pipelines`; `owner/name--module` is elsewhere."""
    classes = list((config.get("auto_map") or {}).values())
    classes += [pipeline.get("impl") for pipeline in (config.get("custom_pipelines") or {}).values()]
    for entry in classes:
        for name in entry if isinstance(entry, list) else [entry]:
            if name and "--" not in name:
                yield name.split(".")[0]


def _check_weights(folder: Path, trust_remote_code: bool) -> None:
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging

    import modeling_facemllm

    modeling_facemllm.register()
    options = {"trust_remote_code": trust_remote_code}
    logging.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)  # its table of keys that do not fit becomes one line below
    try:
        AutoProcessor.from_pretrained(folder, **options)
        # On the meta device: a model of 38 B parameters is checked in the memory of a small one.
        options |= {"device_map": "meta", "use_safetensors": True, "ignore_mismatched_sizes": True}
        _, loaded = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True, **options)
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        if "trust_remote_code" in str(error):
            raise UserError(
                f"{folder}: brings its own Python code: read it, then allow it to run with --trust-remote-code"
            ) from error
        raise UserError(f"{folder}: does not load as an image-text-to-text model: {line}") from error
    finally:
        logging.set_verbosity(verbosity)
    for what, keys in (("missing", loaded["missing_keys"]), ("of another shape", loaded["mismatched_keys"])):
        if keys:
            first = min(key if isinstance(key, str) else key[0] for key in keys)
            raise UserError(
                f"{folder}: its weights do not fit its config.json ({first} is {what}, one of {len(keys)})"
            )
