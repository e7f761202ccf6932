"""The words of a report for tasks, ways, metrics and groups, and how its numbers are written."""

import re
from collections.abc import Mapping
from typing import Any

from datasets_scripts.questions.tasks import PEOPLE

WAYS = {"scoring": "options scored", "generation": "generated"}

_LABELS = {
    "accuracy": "accuracy",
    "accuracy_within_one": "accuracy, neighbours too",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "f1": "F1",
    "mae": "MAE",
    "mean_error": "mean error",
    "bucket_accuracy": "bucket accuracy",
    "bucket_accuracy_within_one": "bucket accuracy, neighbours too",
    "yaw_mae": "yaw MAE",
    "pitch_mae": "pitch MAE",
    "roll_mae": "roll MAE",
    "ece": "ECE",
    "adaptive_ece": "adaptive ECE",
    "brier": "Brier score",
    "nll": "NLL, nats",
}
_TITLES = {"age": "Age group", "age_years": "Age in years", "action_units": "Action units", "head_pose": "Head pose"}
_OPTIONS = {task.label: task.answers for task in PEOPLE.values()}
POINTS = "points"
_NO_SHARES = {"ece", "adaptive_ece", "brier", "nll"}


def data_title(dataset: Mapping[str, Any]) -> str:
    """What was evaluated on: its name, and its split where it has one."""
    return ", ".join(str(dataset[key]) for key in ("name", "split") if dataset.get(key))


def task_title(name: str) -> str:
    """`attributes.wearing_hat` is "Wearing hat"."""
    words = name.removeprefix("attributes.").replace("_", " ")
    return _TITLES.get(name, words[:1].upper() + words[1:])


def plot_name(task: str) -> str:
    """A task's name in the names of its plots: `attributes_wearing_hat`; no path comes of any name."""
    return re.sub(r"[^\w-]", "_", task)[:100]


def own_label(task: str) -> str:
    """The group label whose groups are the options of a task."""
    return {"age": "age_group"}.get(task, task)


def way_title(way: str) -> str:
    """A way to answer in words; a benchmark's own readings have their names."""
    return WAYS.get(way, way)


def label_of(name: str) -> str:
    """A metric's or group label's name in words."""
    return _LABELS.get(name, name.replace("cs@", "CS@").replace("_", " "))


def group_of(label: str, value: str) -> str:
    """A group in the words of the options: "70 or older" is what the label "more than 70" is asked as."""
    return _OPTIONS.get(label, {}).get(value, value)


def is_share(metric: str) -> bool:
    """Whether a metric is a share of 1, and not an error in years or degrees or a score of probabilities."""
    return metric not in _NO_SHARES and not metric.endswith(("mae", "mean_error"))


def number(metric: str, value: float | None, unit: str = "%") -> str:
    """A value of a metric: shares as percentages; a difference between shares has the unit `POINTS`."""
    if value is None:
        return "–"
    if metric in _NO_SHARES:
        return f"{value:.3f}"
    return f"{100 * value:.1f} {unit}" if is_share(metric) else f"{value:.2f}"


def with_interval(metric: str, entry: Mapping[str, Any], unit: str = "%") -> str:
    """A value with its 95 % interval in brackets."""
    if not entry.get("interval"):
        return number(metric, entry["value"], unit)
    low, high = (number(metric, end, unit).removesuffix(f" {unit}") for end in entry["interval"])
    return f"{number(metric, entry['value'], unit)} [{low}, {high}]"
