"""`facemllm models`: the models that are at hand by name, what each knows, and how well."""

import argparse
import json
import shutil
import textwrap
from pathlib import Path
from typing import Any

from datasets_scripts.shown_text import in_terminal
from facemllm.cli import UserError
from facemllm.inference.hub_names import is_model_folder
from facemllm.inference.model_names import DEFAULT_MODEL, KnownModel, known_models
from facemllm.model_code.comparison import read_settings

HELP = (
    "List the models that --model knows by name: what each was trained to be asked, its size, its accuracy and its\n"
    "licence. Every other model is named by its folder, or by its Hub id."
)
EXAMPLE = "facemllm models --json"
FIGURES = "figures.json"
"""In a model folder: `{"figures": {task: accuracy}, "data": what they were measured on, "license": …}`."""
WHICH = "Which model? docs/models.md says what else analyze and ask take, with what it knows and costs."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object, with the folders")


def run(args: argparse.Namespace) -> int:
    report = {name: describe_known(known) for name, known in known_models().items()}
    if args.json:
        print(json.dumps(report, indent=2))
        return 0
    print("\n".join([*_table(report), "", WHICH]))
    return 0


def describe_known(known: KnownModel) -> dict[str, Any]:
    """What is known of a model, from the files of its folder; where it is not there, what to do.

    Raises:
        UserError: for a file of the folder that is damaged.
    """
    folder = known.folder
    if not is_model_folder(folder):
        return {"folder": None, "remedy": known.remedy}
    measured = _figures(folder)
    return {
        "folder": str(folder),
        "tasks": list(read_settings(folder / "config.json").get("face_tasks") or ()),
        "bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        "figures": measured.get("figures"),
        "data": measured.get("data"),
        "license": measured.get("license"),
    }


def _figures(folder: Path) -> dict[str, Any]:
    """`figures.json`, else what the model card says."""
    file = folder / FIGURES
    if not file.is_file():
        return _card_figures(folder / "README.md")
    try:
        measured = json.loads(file.read_text(encoding="utf-8"))
        shown = {task: float(value) for task, value in measured["figures"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: is no file of figures ({error!r}); put the one of the release back") from error
    return {**measured, "figures": shown}


def _card_figures(card: Path) -> dict[str, Any]:
    from huggingface_hub import ModelCard

    try:
        about = ModelCard.load(card).data if card.is_file() else None
    except ValueError:  # a card that is no card says nothing
        about = None
    if about is None:
        return {}
    accuracies = [result for result in about.eval_results or () if result.metric_type == "accuracy"]
    figures = {(found.metric_args or {}).get("task", found.metric_name): found.metric_value for found in accuracies}
    return {
        "figures": figures or None,
        "data": accuracies[0].dataset_name if accuracies else None,
        "license": about.license,
    }


def _table(report: dict[str, dict[str, Any]]) -> list[str]:
    lines = [f"{'name':<8}{'size':>10}  {'licence':<14}knows"]
    width = shutil.get_terminal_size((119, 0)).columns
    for name, about in report.items():
        if about["folder"] is None:
            lines.append(f"{name:<8}{'-':>10}  {about['remedy']}")
            continue
        size = f"{about['bytes'] / 1e6:.1f} MB"
        start = f"{name:<8}{size:>10}  {about['license'] or 'not stated':<14}"
        knows = ", ".join(about["tasks"]) or "not stated"
        if name == DEFAULT_MODEL:
            knows += " (taken where no model is named)"
        figures = ", ".join(f"{task} {value:.3f}" for task, value in (about["figures"] or {}).items())
        accuracy = f"accuracy: {figures}" if figures else "accuracy: not measured"
        data = f" ({about['data']})" if figures and about["data"] else ""
        for text in (knows, accuracy + data):
            for line in textwrap.wrap(text, max(width - len(start), 40)):
                lines.append(f"{start}{line}")
                start = " " * len(start)
    return [in_terminal(line) for line in lines]
