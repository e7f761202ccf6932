"""The charts of a report, drawn with matplotlib without touching its global state."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

MODEL, ZERO_SHOT, BASELINE, INK, SOFT = "#2f6fde", "#e07b1f", "#98a2b3", "#1d2433", "#667085"
RIGHT, WRONG = "#0f7a4d", "#b42318"


def stages(report: Mapping[str, Any]) -> Figure:
    """Mean accuracy after each stage, of the trained and of the held-out attributes."""
    figure = _figure(5.6, 3.4)
    _draw_stages(figure.add_subplot(), report)
    return figure


def losses(report: Mapping[str, Any]) -> Figure:
    """Training loss over the steps of all stages, one after the other."""
    figure = _figure(5.6, 3.4)
    _draw_losses(figure.add_subplot(), report)
    return figure


def attributes(report: Mapping[str, Any]) -> Figure:
    """Accuracy of each attribute with its interval, beside the majority baseline."""
    figure = _figure(11.4, 4.6)
    _draw_attributes(figure.add_subplot(), report)
    return figure


def overview(
    report: Mapping[str, Any], examples: Sequence[Mapping[str, Any]], faces: Path, headline: str, shown: int = 6
) -> Figure:
    """Everything on one page: the three charts and the first example faces with their answers."""
    figure = _figure(13, 13.2)
    grid = GridSpec(4, 6, figure=figure, height_ratios=[3.1, 3.9, 1.7, 1.7])
    figure.suptitle(headline, fontsize=13, color=INK, x=0.01, ha="left")
    _draw_stages(figure.add_subplot(grid[0, :3]), report)
    _draw_losses(figure.add_subplot(grid[0, 3:]), report)
    _draw_attributes(figure.add_subplot(grid[1, :]), report)
    for position, example in enumerate(examples[:shown]):
        row, column = divmod(position, 3)
        _draw_example(figure.add_subplot(grid[2 + row, 2 * column : 2 * column + 2]), example, faces)
    return figure


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _clean(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#d0d5dd")
    axes.tick_params(colors=SOFT, labelsize=9)
    axes.set_axisbelow(True)


def _label(stage: str) -> str:
    name, _, topic = stage.partition("_")
    number = name.removeprefix("stage")
    return f"{number} {topic.replace('_', ' ')}" if topic else stage


def _draw_stages(axes: Axes, report: Mapping[str, Any]) -> None:
    results = list(report["per_stage"].values())
    positions = range(len(results))
    for key, color, name, shift in (
        ("mean_accuracy", MODEL, "trained attributes", -0.18),
        ("zero_shot_accuracy", ZERO_SHOT, "held-out attributes", 0.18),
    ):
        values = [result[key] for result in results]
        bars = axes.bar([position + shift for position in positions], values, width=0.34, color=color, label=name)
        axes.bar_label(bars, fmt="%.2f", fontsize=8.5, color=INK, padding=2)
    axes.axhline(report["majority_accuracy"], color=BASELINE, linestyle="--", linewidth=1.2, label="majority baseline")
    axes.set(ylim=(0, 1.08), xticks=list(positions), xticklabels=[_label(stage) for stage in report["per_stage"]])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3)
    _clean(axes, "Accuracy on held-out faces after each stage")


def _draw_losses(axes: Axes, report: Mapping[str, Any]) -> None:
    start = 0
    for stage, result in report["per_stage"].items():
        if result["loss"]:
            steps, values = zip(*result["loss"], strict=True)
            axes.plot([start + step for step in steps], values, color=MODEL, linewidth=1.4)
        axes.text(
            start, 1.0, f" {_label(stage)}", transform=axes.get_xaxis_transform(), fontsize=8.5, color=SOFT, va="top"
        )
        if start:
            axes.axvline(start, color="#d0d5dd", linewidth=1)
        start += result["steps"]
    axes.set(xlim=(0, max(start, 1)), xlabel="step", ylabel="loss")
    axes.set_ylim(bottom=0)
    axes.xaxis.label.set_color(SOFT)
    axes.yaxis.label.set_color(SOFT)
    _clean(axes, "Training loss (each stage learns from other texts)")


def _draw_attributes(axes: Axes, report: Mapping[str, Any]) -> None:
    entries = [(name, entry, MODEL) for name, entry in report["per_attribute"].items()]
    entries.sort(key=lambda item: -item[1]["accuracy"])
    entries += [(name, entry, ZERO_SHOT) for name, entry in report["zero_shot"].items()]
    for position, (_, entry, color) in enumerate(entries):
        low, high = entry["interval"]
        accuracy = entry["accuracy"]
        whiskers = [[max(0, accuracy - low)], [max(0, high - accuracy)]]
        axes.bar(position, accuracy, width=0.62, color=color)
        axes.errorbar(position, accuracy, yerr=whiskers, color=INK, linewidth=1, capsize=2)
        axes.text(position, high + 0.02, f"{accuracy:.2f}", ha="center", fontsize=8.5, color=INK)
        axes.plot([position - 0.4, position + 0.4], [entry["majority"]] * 2, color="white", linewidth=4)
        axes.plot([position - 0.4, position + 0.4], [entry["majority"]] * 2, color=INK, linewidth=1.6)
    names = [name.replace("_", " ") for name, _, _ in entries]
    axes.set_xticks(range(len(entries)), names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set(ylim=(0, 1.12), xlim=(-0.6, len(entries) - 0.4), yticks=[0, 0.25, 0.5, 0.75, 1])
    for color, name in ((MODEL, "trained"), (ZERO_SHOT, "held out: never asked about a picture")):
        axes.bar(0, 0, color=color, label=name)
    axes.plot([], [], color=INK, linewidth=1.6, label="majority baseline")
    axes.legend(fontsize=8.5, frameon=False, ncols=3, loc="upper right", bbox_to_anchor=(1, 1.13))
    _clean(axes, "Accuracy of each attribute")


def _draw_example(axes: Axes, example: Mapping[str, Any], faces: Path) -> None:
    from PIL import Image

    axes.set_axis_off()
    picture = axes.inset_axes((0, 0, 0.4, 1), anchor="NW")
    with Image.open(faces / example["file"]) as face:
        picture.imshow(face.convert("RGB"), interpolation="lanczos")
    picture.set_axis_off()
    for position, turn in enumerate(example["turns"]):
        y = 0.99 - position / max(4, len(example["turns"]))
        question = turn["question"] + (" (zero-shot)" if turn["held_out"] else "")
        answer = textwrap.shorten(turn["answer"], 26, placeholder=" …")
        if not turn["right"]:
            answer += f" (expected {turn['expected']})"
        # Out of the layout: a long sentence must not squeeze the charts.
        axes.text(0.43, y, question, fontsize=7.5, color=SOFT, va="top", in_layout=False)
        mark, color = ("✓", RIGHT) if turn["right"] else ("✗", WRONG)
        axes.text(0.43, y - 0.1, f"{mark} {answer}", fontsize=8.5, color=color, va="top", in_layout=False)
