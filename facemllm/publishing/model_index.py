"""A report's numbers as the Hub shows them: `model-index` in the front matter of a model's card."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from facemllm.cli import UserError
from facemllm.evaluation.report.wording import label_of, task_title, way_title

from .model_card import PIPELINE

REPORT = "report.json"
# What the field names a result by, as the Hub's metric ids; the rest stays in the report.
METRIC_TYPES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced_accuracy",
    "macro_f1": "f1",
    "f1": "f1",
    "mae": "mae",
    "cs@5": "cumulative_score",
}
DELICATE = "race"


def read_reports(folders: Iterable[str | Path]) -> list[dict[str, Any]]:
    """The `report.json` of each folder of `facemllm evaluate --out`. Raises `UserError` if one is not there."""
    reports = []
    for folder in folders:
        path, argument = Path(folder).expanduser() / REPORT, f"--report {folder}"
        try:
            reports.append(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise UserError(f"{argument}: has no {REPORT}; give what facemllm evaluate --out has written") from error
        except ValueError as error:
            raise UserError(f"{argument}: {REPORT} is no JSON ({error}); run facemllm evaluate again") from error
        if not {"dataset", "tasks", "complete", "run"} <= set(reports[-1]):
            raise UserError(f"{argument}: {REPORT} is none of facemllm evaluate; give what its --out has written")
        if not reports[-1]["complete"]:
            raise UserError(f"{argument}: its evaluation is not complete; run facemllm evaluate again to go on")
    return reports


def eval_results(reports: Sequence[Mapping[str, Any]], race: bool = False) -> list[Any]:
    """`huggingface_hub.EvalResult` of each headline number: its 95 % interval and n are in its name and arguments.

    Figures about race go in only with `race`. Those of single groups never do: they need their n beside them.
    """
    return [result for report in reports for result in _results(report, race)]


def _results(report: Mapping[str, Any], race: bool) -> Iterator[Any]:
    from huggingface_hub import EvalResult

    dataset = report["dataset"]
    about = {f"dataset_{key}": dataset.get(key) for key in ("name", "type", "config", "split", "revision")}
    about |= {"task_type": PIPELINE, "task_name": "Face analysis"}
    for task, ways in _tasks(report, race):
        for way, figures in ways.items():
            for metric, entry in figures["metrics"].items():
                if metric not in METRIC_TYPES or entry["value"] is None:
                    continue
                interval = [round(bound, 4) for bound in entry.get("interval") or ()]
                ci = f", 95 % {interval[0]:.3f}–{interval[1]:.3f}" if interval else ""
                spread = {"interval_95": interval} if interval else {}
                yield EvalResult(
                    **about,
                    metric_type=METRIC_TYPES[metric],
                    metric_value=round(entry["value"], 4),
                    metric_name=f"{task_title(task)}: {label_of(metric)} ({way_title(way)}; n = {entry['n']:,}{ci})",
                    metric_args={"task": task, "metric": metric, "way": way, "n": entry["n"], **spread},
                )


def _tasks(report: Mapping[str, Any], race: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The tasks that have results of their own; of attributes their mean."""
    means = report.get("means") or {}
    attributes = {name for figures in means.values() for name in figures["tasks"]}
    for task, ways in report["tasks"].items():
        if task not in attributes and (race or task != DELICATE):
            yield task, ways
    if means:
        yield f"mean of {len(attributes)} attributes", means


def with_results(card: str, results: Sequence[Any], model_name: str) -> str:
    """`card` with `results` in its `model-index`; those of the same task, data and metric are replaced.

    All else in the front matter, and the text below it, stays.

    Raises:
        UserError: when the card's front matter cannot be read.
    """
    from huggingface_hub import ModelCard

    if not results:
        return card
    opened = read_card(card)
    data = opened.data
    new = {_key(result) for result in results}
    kept = [result for result in data.eval_results or () if _key(result) not in new]
    data.model_name = data.model_name or model_name
    data.eval_results = [*kept, *results]
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n{opened.text.lstrip(chr(10))}"))


def read_card(card: str) -> Any:
    """The `ModelCard` of a text, `model-index` parsed. Raises `UserError` for bad front matter."""
    from huggingface_hub import ModelCard

    try:
        return ModelCard(card)
    except Exception as error:  # yaml's own errors have no common base with huggingface_hub's
        line = " ".join(str(error).split())[:200]
        raise UserError(f"README.md: its front matter cannot be read ({line}); mend it first") from error


def _key(result: Any) -> tuple:
    """What a result is about. Results of other makers are distinguished by the name of their metric."""
    about = result.metric_args or {}
    ours = (about.get("task"), about.get("metric"), about.get("way"))
    return (*result.unique_identifier, result.metric_type, *(ours if all(ours) else (result.metric_name,)))
