"""What the JSON files of an export say, checked: a damaged one is named with what is wrong in it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facemllm_onnx.export_location import EXPORT_RECORD, GRAPH_FOLDER

FORMAT = 1
RECORDED = ("format", "batch", "cache", "device", "graphs", "model", "precision", "versions")
CONFIGURED = ("text_config", "image_token_id")
GENERATION = "generation_config.json"

_COUNTS = ("cache.layers", "cache.kv_heads", "cache.head_dim", "model.hidden_size", "model.vocab_size")
_CHOICES = {"batch": ("one", "any"), "device": ("cpu", "cuda"), "cache.dtype": ("float32", "float16", "bfloat16")}


def read_json(folder: Path, name: str, needed: Sequence[str] = ()) -> dict[str, Any]:
    """A JSON object of an exported folder. Raises ValueError when it is missing, broken or lacks what is `needed`."""
    try:
        settings = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{folder}: has no {name}; give a folder that `facemllm export` wrote") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{folder / name}: cannot read it: {error}; export the model again") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{folder / name}: holds no JSON object; export the model again")
    if lacking := [key for key in needed if key not in settings]:
        raise ValueError(f"{folder}: {name} says nothing of {', '.join(lacking)}: export the model again")
    return settings


def read_record(folder: Path) -> dict[str, Any]:
    """`export.json`. Raises ValueError when it is missing or damaged, or of a format that is not read here."""
    record = read_json(folder, EXPORT_RECORD, RECORDED)
    if record["format"] != FORMAT:
        written = f"{EXPORT_RECORD} says format {record['format']}"
        raise ValueError(f"{folder}: {written}, this runtime reads {FORMAT}: export the model again")
    wrong = {key: "an object" for key in ("cache", "graphs", "model", "versions") if not isinstance(record[key], dict)}
    if record.get("source") is not None and not isinstance(record["source"], dict):
        wrong["source"] = "an object"
    wrong |= {} if isinstance(record["precision"], str) else {"precision": "a text"}
    _refuse(folder, record, wrong)
    wrong = {key: "a whole number above 0" for key in _COUNTS if not _is_count(_at(record, key), 1)}
    wrong |= {
        key: "a whole number"
        for key in ("model.image_token_id", "model.num_image_tokens")
        if not _is_count(_at(record, key), 0)
    }
    if record["model"].get("max_position_embeddings") is not None:
        positions = "model.max_position_embeddings"
        wrong |= {} if _is_count(_at(record, positions), 1) else {positions: "a whole number above 0"}
    wrong |= {key: " or ".join(among) for key, among in _CHOICES.items() if _at(record, key) not in among}
    wrong |= {
        f"graphs.{name}": f"an object with file, bytes and inputs of {GRAPH_FOLDER}/{name}.onnx"
        for name, graph in record["graphs"].items()
        if not _is_graph(name, graph)
    }
    _refuse(folder, record, wrong)
    return record


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json`, its `text_config` an object. Raises ValueError when it is missing or damaged."""
    config = read_json(folder, "config.json", CONFIGURED)
    wrong = {} if isinstance(config["text_config"], dict) else {"text_config": "an object"}
    wrong |= {} if _is_count(config["image_token_id"], 0) else {"image_token_id": "a whole number"}
    tasks = config.get("face_tasks") or {}
    if not isinstance(tasks, dict) or not all(
        isinstance(task, dict) and "question" in task for task in tasks.values()
    ):
        wrong["face_tasks"] = "an object of tasks with a question each"
    _refuse(folder, config, wrong, "config.json")
    return config


def read_generation_config(folder: Path) -> dict[str, Any]:
    """`generation_config.json`, nothing where there is none. Raises ValueError when it is damaged."""
    if not (folder / GENERATION).is_file():
        return {}
    config = read_json(folder, GENERATION)
    ends = config.get("eos_token_id") or []
    if not all(_is_count(one, 0) for one in (ends if isinstance(ends, list) else [ends])):
        _refuse(folder, config, {"eos_token_id": "a whole number, or a list of them"}, GENERATION)
    if config.get("pad_token_id") is not None and not _is_count(config["pad_token_id"], 0):
        _refuse(folder, config, {"pad_token_id": "a whole number"}, GENERATION)
    return config


def check_graph(session: Any, path: Path, record: Mapping[str, Any]) -> None:
    """Raises ValueError when a loaded graph is not the one that the record describes."""
    inputs = {tensor.name: tensor.shape for tensor in session.get_inputs()}
    described = record["graphs"].get(path.stem)
    if described is None or set(described["inputs"]) != set(inputs):
        raise ValueError(f"{path}: is another graph than {EXPORT_RECORD} describes; export the model again")
    sizes = record["cache"]
    for name, shape in inputs.items():
        heads = (shape[1], shape[3]) if name.startswith("past_key_values.") and len(shape) == 4 else ()
        wanted = (sizes["kv_heads"], sizes["head_dim"])
        if any(isinstance(found, int) and found != want for found, want in zip(heads, wanted, strict=False)):
            raise ValueError(
                f"{path}: has keys of {list(heads)} heads and numbers, {EXPORT_RECORD} says {list(wanted)}; export "
                "the model again"
            )


def _refuse(folder: Path, settings: Mapping[str, Any], wrong: Mapping[str, str], name: str = EXPORT_RECORD) -> None:
    for key, wanted in wrong.items():
        shown = repr(_at(settings, key))
        shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
        raise ValueError(f"{folder / name}: {key} is {shown} and not {wanted}; export the model again")


def _at(settings: Any, path: str) -> Any:
    for key in path.split("."):
        settings = settings.get(key) if isinstance(settings, dict) else None
    return settings


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**31


def _is_graph(name: str, graph: Any) -> bool:
    return (
        isinstance(graph, dict)
        and graph.get("file") == f"{GRAPH_FOLDER}/{name}.onnx"
        and isinstance(graph.get("bytes"), int)
        and isinstance(graph.get("inputs"), dict)
    )
