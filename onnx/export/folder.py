"""An exported folder on disk: graphs with their weights inside or beside them, put in place whole or not at all."""

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx_ir

from facemllm_onnx.export_location import EXPORT_RECORD, GRAPH_FOLDER
from modeling_facemllm.errors_facemllm import ArgumentError

from .transformers_js import write_json, write_transformers_js_files

EXTERNAL_DATA_ABOVE = 1_900_000_000
"""Bytes of weights that still go into the ONNX file itself: a protobuf message ends at 2 GiB."""


class ExportError(ValueError):
    """What was asked cannot be exported; the message says why and what can."""


class ExportArgumentError(ExportError, ArgumentError):
    """An `ExportError` about one argument, in parts."""


def save_graph(model: onnx_ir.Model, path: Path) -> None:
    """Write a graph, its weights beside it in `NAME.onnx_data` where they are larger than `EXTERNAL_DATA_ABOVE`."""
    graphs = [model.graph, *model.graph.subgraphs()]
    weights = sum(value.const_value.nbytes for graph in graphs for value in graph.initializers.values())
    beside = f"{path.name}_data" if weights > EXTERNAL_DATA_ABOVE else None
    onnx_ir.save(model, str(path), external_data=beside)


def graph_files(path: Path) -> list[Path]:
    """The ONNX file and, where it has one, the file of its weights."""
    return [file for file in (path, path.with_name(f"{path.name}_data")) if file.is_file()]


def check_replaceable(out: Path) -> None:
    """Raises `ExportError` when `out` is neither new, empty nor an earlier export, or cannot be written."""
    if Path.cwd().is_relative_to(out.resolve()):
        raise ExportError(f"{out}: is the folder that this runs in, or holds it; name the export's own folder")
    if out.exists() and not (out.is_dir() and ((out / EXPORT_RECORD).is_file() or not any(out.iterdir()))):
        raise ExportError(f"{out}: exists and is no exported model; give a new folder, or remove it first")
    place = next(parent for parent in out.resolve().parents if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise ExportError(f"{out}: cannot be written, {place} is no folder that you may write in; give another one")


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A new folder beside `out` to write into, put in the place of `out` when the block ends without an error."""
    check_replaceable(out)
    out = out.resolve()  # of a link, what it leads to is replaced
    new = out.with_name(f"{out.name}.partial-{uuid.uuid4().hex[:8]}")
    old = out.with_name(f"{new.name}-replaced")
    try:
        new.mkdir(parents=True)
    except OSError as error:
        raise ExportError(f"{out}: cannot be written ({error.strerror}); give another folder") from error
    try:
        yield new
        if out.exists():
            os.replace(out, old)
        try:
            os.replace(new, out)
        except BaseException:
            if old.exists() and not out.exists():
                os.replace(old, out)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def write_side_files(model: Any, processor: Any, folder: Path) -> None:
    """Configuration, generation settings, processor and tokenizer, for Python and for transformers.js; no code."""
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    processor.save_pretrained(folder)
    for code in folder.glob("*.py"):
        code.unlink()
    for settings in folder.glob("*config.json"):
        write_json(settings, json.loads(settings.read_text(encoding="utf-8"), object_hook=_without_code))
    external = {path.stem: len(graph_files(path)) > 1 for path in (folder / GRAPH_FOLDER).glob("*.onnx")}
    write_transformers_js_files(folder, model.config, processor, external)


def _without_code(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without what names a model's Python code, which an export leaves behind."""
    return {key: value for key, value in settings.items() if key not in ("auto_map", "custom_pipelines")}


def describe_graphs(folder: Path) -> dict[str, dict[str, Any]]:
    """Of each graph in `folder/onnx`: its file, its bytes with external data, the axes of its inputs and outputs."""
    described = {}
    for path in sorted((folder / GRAPH_FOLDER).glob("*.onnx")):
        graph = onnx_ir.load(path).graph
        described[path.stem] = {
            "file": f"{GRAPH_FOLDER}/{path.name}",
            "bytes": sum(file.stat().st_size for file in graph_files(path)),
            "inputs": {value.name: _axes(value) for value in graph.inputs},
            "outputs": {value.name: _axes(value) for value in graph.outputs},
        }
    return described


def _axes(value: onnx_ir.Value) -> list[int | str | None]:
    return [dim if isinstance(dim, int) else dim.value for dim in value.shape or ()]


def write_record(record: dict[str, Any], folder: Path) -> None:
    """Write `export.json`."""
    (folder / EXPORT_RECORD).write_text(record_text(record), encoding="utf-8")


def record_text(record: dict[str, Any]) -> str:
    """The text of `export.json`: each list in one line."""
    text = re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), json.dumps(record, indent=2))
    return text.replace("[ ", "[").replace(" ]", "]") + "\n"
