"""`facemllm info`: versions, devices, and what a model folder or export contains, without loading weights."""

import argparse
import contextlib
import importlib.metadata
import json
import math
import os
import platform
from pathlib import Path
from typing import Any

from datasets_scripts.shown_text import in_terminal
from facemllm.cli import UserError
from facemllm.inference.exports import export_file, read_export
from facemllm.inference.model_names import find_model
from facemllm.model_code.comparison import describe_code, read_settings

HELP = (
    "Show the versions and devices that everything runs on and, for a model folder, what is in it. Of an ONNX\n"
    "export, which may be on the Hub too, its record is shown: precision, graphs, what it was exported from."
)
EXAMPLE = "facemllm info quickstart/model --json"

PACKAGES = (
    "facemllm",
    "torch",
    "transformers",
    "trl",
    "datasets",
    "peft",
    "accelerate",
    "huggingface_hub",
    "safetensors",
    "pillow",
    "onnx",
    "onnxruntime",
)
# How model families call the three parts of a vision-language model; the rest is the language model.
_PARTS = {
    "vision_tower": ("vision_tower", "vision_model", "visual"),
    "projector": ("projector", "multi_modal_projector", "connector"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    about = "a model folder, an ONNX export, or a name that facemllm models lists"
    parser.add_argument("model", metavar="MODEL", nargs="?", help=about)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    report = {"versions": versions(), "devices": devices()}
    if args.model is not None:
        args.model = find_model(args.model)
        export = export_file(args.model)
        report["model"] = describe_model(args.model) if export is None else describe_export(args.model, export)
    if args.json:
        print(json.dumps(report, indent=2))
        return 0
    report["versions"] = {name: version or "not installed" for name, version in report["versions"].items()}
    if report["devices"]["accelerators"] is None:
        report["devices"]["accelerators"] = "not looked for: PyTorch is not installed"
    for title, facts in report.items():
        print(title)
        for name, value in facts.items():
            print(in_terminal(f"  {name.replace('_', ' '):<22} {_text(value)}"))
    return 0


def versions() -> dict[str, str | None]:
    """Version of Python and of each package that matters here; None for one that is not installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def devices() -> dict[str, Any]:
    """The processor cores this process may use and each accelerator with its memory in GiB, as PyTorch has them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        import torch
    except ModuleNotFoundError:
        return {"cpu_cores": cores, "accelerators": None}
    accelerators = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        accelerators.append(f"cuda:{index} {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    if torch.backends.mps.is_available():
        accelerators.append("mps")
    return {"cpu_cores": cores, "accelerators": accelerators}


def describe_model(folder: str) -> dict[str, Any]:
    """Architecture, towers, sizes and licence of a model folder, and how old the code is that it carries.

    Raises `UserError` when the folder is missing or holds no model that transformers can describe, and `DamagedModel`
    when a file of it is damaged.
    """
    from transformers import AutoConfig

    import modeling_facemllm
    from facemllm_recipes.model_folder import WHOLE, check_model_folder

    modeling_facemllm.register()
    path = Path(folder).expanduser()
    if not (path / "config.json").is_file():
        raise UserError(f"{folder}: no model folder (it has no config.json); give the folder that training left")
    check_model_folder(path)
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # a configuration may be damaged in any way
        line = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(f"{folder}: config.json cannot be read ({line}); {WHOLE}") from error
    vision = getattr(config, "vision_config", None)
    parameters, dtypes = count_parameters(path)
    # As it is in the file: the configuration that is loaded is today's code's.
    settings = read_settings(path / "config.json")
    code = {"code": describe_code(folder, settings)} if config.model_type == "facemllm" else {}
    return {
        "architecture": (config.architectures or [type(config).__name__])[0],
        "model_type": config.model_type,
        "vision_tower": getattr(vision, "model_type", None),
        "language_model": getattr(getattr(config, "text_config", None), "model_type", None),
        "parameters": parameters,
        "dtype": dtypes,
        "image_size": getattr(config, "image_size", None) or getattr(vision, "image_size", None),
        "tokens_per_image": getattr(config, "num_image_tokens", None),
        "licence": licence(path),
        **code,
    }


def describe_export(model: str, file: Path) -> dict[str, Any]:
    """What the record of an ONNX export and the configuration beside it say of the folder or Hub id `model`.

    `file` is the record, here or in the Hub's cache. Raises `UserError` when one of the two cannot be read.
    """
    from facemllm.inference.hub_names import from_hub

    record = read_export(file)
    if not Path(model).expanduser().is_dir():  # what is missing beside the record is an error below
        from_hub(model, "config.json"), from_hub(model, "README.md")
    config = read_settings(file.parent / "config.json")
    try:
        return {
            "architecture": config["architectures"][0],
            "model_type": config["model_type"],
            "vision_tower": config["vision_config"]["model_type"],
            "language_model": config["text_config"]["model_type"],
            "exported_from": (record["source"] or {}).get("name"),
            "backend": record["backend"],
            "precision": record["precision"],
            "fused_for": record["device"],
            "prompts_at_once": record["batch"],
            "graph_bytes": {name: graph["bytes"] for name, graph in record["graphs"].items()},
            "accuracy": _accuracy(record["precision"], record.get("quality")),
            "image_size": record["model"]["image_size"],
            "tokens_per_image": record["model"]["num_image_tokens"],
            "licence": licence(file.parent),
        }
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"{model}: is no complete export ({error!r}); export the model again") from error


def _accuracy(precision: str, quality: dict[str, Any] | None) -> str:
    if precision == "fp32":
        return "other precisions are compared with this one"
    if not quality:
        return "not measured against fp32"
    lost = "more than 1 point lost in the mean over tasks"
    return "; ".join(
        f"{'' if found['marked'] else 'no '}{lost} ({name}, {found['faces']:,} faces)"
        for name, found in quality.items()
    )


def count_parameters(folder: Path) -> tuple[dict[str, int], list[str]]:
    """Parameters of each part and the dtypes they are stored in, from the headers of the safetensors files.

    Raises `DamagedModel` when the folder has no safetensors weights.
    """
    from safetensors import safe_open

    from facemllm_recipes.model_folder import weight_files

    counts = {"vision_tower": 0, "projector": 0, "language_model": 0}
    dtypes = set()
    for file in weight_files(folder):
        with safe_open(file, framework="numpy") as weights:
            for name in weights.keys():  # noqa: SIM118  (not a dict)
                tensor = weights.get_slice(name)
                counts[_part_of(name)] += math.prod(tensor.get_shape())
                dtypes.add(tensor.get_dtype())
    return {**counts, "total": sum(counts.values())}, sorted(dtypes)


def _part_of(name: str) -> str:
    words = set(name.split(".")[:3])
    return next((part for part, names in _PARTS.items() if words.intersection(names)), "language_model")


def licence(folder: Path) -> str | None:
    """The licence that the model card states, or None."""
    from huggingface_hub import ModelCard

    card = folder / "README.md"
    with contextlib.suppress(ValueError):
        return ModelCard.load(card).data.license if card.is_file() else None
    return None


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_text(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, int):
        return f"{value:,}"
    return "unknown" if value is None else str(value)
