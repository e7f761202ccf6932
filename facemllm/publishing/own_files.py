"""Which files of a folder are the model: those that loading it reads, by the names that its code and index give."""

import ast
import fnmatch
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from facemllm.cli import UserError
from facemllm.model_code.comparison import PLACES, read_settings
from facemllm_onnx.export_location import EXPORT_RECORD, GRAPH_FOLDER
from facemllm_recipes.model_folder import INDEX, SETTINGS, weight_files

TOKENIZER = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt")
TEMPLATES = ("chat_template.jinja", "chat_template.json")
NAMES = (*SETTINGS, *TOKENIZER, *TEMPLATES)
TEMPLATE_FOLDER = "additional_chat_templates"
FOLDERS = ("adapter", TEMPLATE_FOLDER, GRAPH_FOLDER, "transformers.js")
BESIDE = ("README.md", *(f"{name}{end}" for name in ("LICENSE", "NOTICE") for end in ("", ".md", ".txt")))
OF_TRAINING = ("run.json", "loss.png")
LOADED = ("*.safetensors", INDEX, "*_facemllm.py", "*.jinja", "*.onnx", "*.onnx_data", EXPORT_RECORD, *NAMES)
"""What a repository may hold of an earlier version of a model."""


def own_files(folder: Path) -> list[str]:
    """The paths of the model's files within `folder`, sorted; a file that is there and not among them stays here.

    Raises:
        UserError: for code that is named and not there or no Python, and for files that lie outside the folder.
        DamagedModel: for weights that are missing or pickled, and settings that are no JSON object.
    """
    names = [*NAMES, *BESIDE, *OF_TRAINING, "transformers.js/config.json"]
    names += [f"{TEMPLATE_FOLDER}/{path.name}" for path in folder.glob(f"{TEMPLATE_FOLDER}/*.jinja")]
    if (folder / EXPORT_RECORD).is_file():
        names.append(EXPORT_RECORD)
        for graph in read_settings(folder / EXPORT_RECORD).get("graphs") or ():
            names += [f"{GRAPH_FOLDER}/{graph}.onnx", f"{GRAPH_FOLDER}/{graph}.onnx_data"]
    else:
        for place in PLACES if any((folder / "adapter" / name).is_file() for name in SETTINGS) else ("",):
            files = [*(folder / place / name for name in (*NAMES, INDEX)), *weight_files(folder / place)]
            names += [f"{place}{file.name}" for file in files]
            names += [f"{place}{module}.py" for module in _modules(folder / place)]
    files = sorted({name for name in names if (folder / name).is_file()})
    check_inside(folder, files)
    return files


def check_inside(folder: Path, names: Iterable[str]) -> None:
    """Raises `UserError` for a file that lies elsewhere: behind a link, or above the folder."""
    root = folder.resolve()
    for name in names:
        if not (found := (folder / name).resolve()).is_relative_to(root):
            remedy = "put a copy in its place, or remove it"
            raise UserError(f"{folder / name}: leads out of the folder, to {found}; {remedy}")


def is_loaded(path: str) -> bool:
    """Whether a file at `path` of a repository would be read when a model is loaded from there, by its name."""
    parent, _, name = path.rpartition("/")
    return parent in ("", *FOLDERS) and any(fnmatch.fnmatchcase(name, pattern) for pattern in LOADED)


def _modules(folder: Path) -> set[str]:
    """The modules that the settings in `folder` name, and those that these import from beside them."""
    named = {
        module
        for name in SETTINGS
        if (folder / name).is_file()
        for module in _named_modules(read_settings(folder / name))
    }
    seen: set[str] = set()
    while named - seen:
        module = sorted(named - seen)[0]
        seen.add(module)
        path = folder / f"{module}.py"
        if not module.isidentifier() or not path.is_file():
            raise UserError(f"{folder}: its code needs {module}.py, which is not there; save the model again")
        check_inside(folder, [path.name])
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError, RecursionError) as error:
            raise UserError(f"{path}: is no Python that can be run ({error}); save the model again") from error
        named |= {
            (node.module or alias.name).split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.level == 1
            for alias in node.names
        }
    return seen


def _named_modules(settings: dict[str, Any]) -> Iterator[str]:
    """Modules of the folder itself in `auto_map` and `custom_pipelines`; `owner/name--module` is elsewhere."""
    classes = _values(settings.get("auto_map"))
    classes += [entry.get("impl") for entry in _values(settings.get("custom_pipelines")) if isinstance(entry, dict)]
    for entry in classes:
        for name in entry if isinstance(entry, list) else [entry]:
            if isinstance(name, str) and name and "--" not in name:
                yield name.split(".")[0]


def _values(table: Any) -> list[Any]:
    return list(table.values()) if isinstance(table, dict) else []
