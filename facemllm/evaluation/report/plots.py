"""The plots of an evaluation's report, drawn with matplotlib without touching its global state.

Colours are of Okabe and Ito's palette, made for colour-blind readers; no plot depends on colour alone. Shares with
intervals are dots, whose axis may begin above 0; bars begin at 0.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from facemllm.evaluation.figures.errors import ANGLES, wrapped
from facemllm.evaluation.predictions import PredictionIndex, TaskSpec

from .wording import WAYS, data_title, group_of, is_share, label_of, own_label, plot_name, task_title

BLUE, ORANGE, GREEN, INK, SOFT, LIGHT = "#0072B2", "#D55E00", "#009E73", "#1d2433", "#667085", "#d0d5dd"
MAX_CLASSES = 20  # beyond which the cells of a confusion matrix carry no numbers
MAX_GROUPS = 40  # rows of a plot of groups
UNPARSED = "unparsed"


def draw_plots(
    report: Mapping[str, Any], specs: Mapping[str, TaskSpec], index: PredictionIndex, folder: Path
) -> dict[str, str]:
    """Draw every plot of a report into `folder`; file name to what it shows."""
    drawn: dict[str, str] = {}

    def save(figure: Figure | None, name: str, shown: str) -> None:
        if figure is not None:
            figure.savefig(folder / f"{name}.png", dpi=130)
            drawn[f"{name}.png"] = shown

    attributes = {name for means in report["means"].values() for name in means["tasks"]}
    where = data_title(report["dataset"])
    for task, ways in report["tasks"].items():
        if task in attributes:
            continue
        for way, figures in ways.items():
            about, name = f"{task_title(task)}, {WAYS[way]}", f"{plot_name(task)}-{way}"
            title = _plain(f"{about}\n{where}")
            save(confusion(figures, title), f"confusion-{name}", f"Confusion matrix: {about}")
            save(calibration(figures, title), f"calibration-{name}", f"Reliability diagram: {about}")
            save(groups(figures, title, own_label(task)), f"groups-{name}", f"By group: {about}")
            if specs[task].kind in ("number", "angles"):
                answers = index.read(task, way)
                read = [(answer.expected, answer.predicted) for answer in answers if answer.predicted is not None]
                draw = age_errors if specs[task].kind == "number" else pose_errors
                save(draw(read, figures, title), f"errors-{name}", f"Errors: {about}")
            if specs[task].kind == "units":
                save(units(figures, title), f"units-{name}", f"By action unit: {about}")
    for way in report["means"]:
        shown = {name: report["tasks"][name][way] for name in report["means"][way]["tasks"]}
        title = _plain(f"Attributes, {WAYS[way]}\n{where}")
        save(attribute_scores(shown, title), f"attributes-{way}", f"Accuracy of the attributes, {WAYS[way]}")
        save(attribute_gaps(shown, title), f"attribute_gaps-{way}", f"Gaps of the attributes, {WAYS[way]}")
    return drawn


def confusion(figures: Mapping[str, Any], title: str) -> Figure | None:
    """Rows are the labels, each as shares of its own faces; a cell shows its share and its count."""
    if not figures.get("confusion"):
        return None
    rows, columns = figures["confusion"]["labels"], list(figures["confusion"]["columns"])
    counts = np.array(figures["confusion"]["counts"], float)
    if not counts[:, -1].any():
        counts, columns = counts[:, :-1], columns[:-1]
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    numbered = len(rows) <= MAX_CLASSES
    cell = 0.75 if numbered else 0.22
    figure = _figure(3.4 + cell * len(columns), 2.1 + cell * max(len(rows), 2))
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    shown = ["unread" if name == UNPARSED else _wrap(name) for name in columns]
    axes.set_xticks(range(len(columns)), shown, rotation=45, ha="right")
    labelled = [f"{_wrap(name)}  (n = {int(n):,})" for name, n in zip(rows, totals[:, 0], strict=True)]
    axes.set_yticks(range(len(rows)), labelled)
    axes.set(xlabel="answered", ylabel="labelled")
    for row, column in np.ndindex(*counts.shape) if numbered else ():
        if counts[row, column]:
            ink = "white" if shares[row, column] > 0.55 else INK
            text = f"{100 * shares[row, column]:.0f} %\n{int(counts[row, column]):,}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=ink)
    if columns[-1] == UNPARSED:
        axes.axvline(len(columns) - 1.5, color=INK, linewidth=1)
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    bar.set_label("share of the row", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    _finish(axes, title, grid=None)
    return figure


def calibration(figures: Mapping[str, Any], title: str) -> Figure | None:
    """How often the likeliest option was right, by how probable it was said to be; below, how many those are."""
    if not figures.get("calibration"):
        return None
    found, bins = figures["calibration"], [entry for entry in figures["calibration"]["bins"] if entry["n"]]
    figure = _figure(5.4, 6.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.plot([0, 1], [0, 1], color=SOFT, linestyle="--", linewidth=1, label="perfectly calibrated")
    believed, right = ([entry[key] for entry in bins] for key in ("confidence", "accuracy"))
    above.errorbar(
        believed, right, _around(bins, "accuracy"), fmt="o", color=BLUE, markersize=5, capsize=3, linewidth=1.2,
        label="15 bins of equal width, 95 %",
    )  # fmt: skip
    above.set(ylabel="share of right answers", xlim=(0, 1.02), ylim=(0, 1.02))
    above.legend(loc="upper left", fontsize=9, frameon=False)
    ece, brier = (found["metrics"][name]["value"] for name in ("ece", "brier"))
    note = f"n = {found['n']:,}\nECE {ece:.3f}\n(a calibrated model's: {found['expected_ece']:.3f})\nBrier {brier:.3f}"
    above.text(0.98, 0.04, note, transform=above.transAxes, ha="right", va="bottom", fontsize=9, color=INK)
    _finish(above, title, grid="both")
    edges, counts = ([entry[key] for entry in found["bins"]] for key in ("low", "n"))
    below.bar(edges, counts, width=0.94 / len(edges), align="edge", color=BLUE)
    for low, count in zip(edges, counts, strict=True):
        if count:
            middle = low + 0.47 / len(edges)
            below.text(middle, count, f" {count:,}", ha="center", va="bottom", fontsize=7, color=INK, rotation=90)
    what = "answers" if figures["kind"] == "units" else "faces"
    below.set(xlabel="probability of the likeliest option", ylabel=what, ylim=(0, max(counts) * 1.65))
    _finish(below, "", grid="y")
    return figure


def groups(figures: Mapping[str, Any], title: str, own: str | None = None) -> Figure | None:
    """The primary metric of every group with its interval and number of faces, against that of all faces.

    Args:
        own: the label that the task itself asks for, by whose groups accuracies are recalls.
    """
    table = figures.get("groups") or {}
    rows: list[tuple[str, Mapping[str, Any] | None]] = []
    for label, entries in table.get("by", {}).items():
        rows.append((label_of(label) + (" (what was asked: recall)" if label == own else ""), None))
        rows += [(group_of(label, value), entry) for value, entry in entries.items()]
    crossed = table.get("intersections", ())
    finest = max((len(entry["groups"]) for entry in crossed), default=0)
    crossed = [entry for entry in crossed if len(entry["groups"]) == finest]
    if crossed and len(rows) + len(crossed) < MAX_GROUPS:
        rows.append((" × ".join(label_of(label) for label in crossed[0]["groups"]), None))
        rows += [(", ".join(group_of(*pair) for pair in entry["groups"].items()), entry) for entry in crossed]
    small = any(entry["small"] for _, entry in rows if entry and entry["value"] is not None)
    metric = figures["primary"]
    better = "higher" if table.get("higher_is_better") else "lower"
    hollow = f" · hollow: fewer than {table['minimum']} faces" if small else ""
    label = f"{label_of(metric)} with 95 % interval, {better} is better\ndashed: all faces{hollow}"
    return _dots(rows, label, title, figures["metrics"][metric], share=is_share(metric))


def age_errors(pairs: Sequence[tuple[float, float]], figures: Mapping[str, Any], title: str) -> Figure | None:
    """Estimated against true ages, and the cumulative score: how many faces are at most k years off."""
    if not pairs:
        return None
    truth, estimate = np.array(pairs, float).T
    figure = _figure(10.4, 4.6)
    left, right = figure.subplots(1, 2)
    top = max(truth.max(), estimate.max()) + 2
    # Without the palest blues: a single face is to be seen on white.
    blues = ListedColormap(colormaps["Blues"](np.linspace(0.25, 1, 256)))
    cells = left.hist2d(truth, estimate, bins=np.arange(-0.5, top + 1, 2), cmap=blues, norm="log", cmin=1)
    left.plot([0, top], [0, top], color=ORANGE, linestyle="--", linewidth=1, label="right to the year")
    left.set(xlabel="true age, years", ylabel="estimated age, years", xlim=(-1, top), ylim=(-1, top), aspect="equal")
    left.legend(loc="upper left", fontsize=9, frameon=False)
    bar = figure.colorbar(cells[3], ax=left, fraction=0.045)
    bar.set_label("faces in a cell of 2 × 2 years (log scale)", fontsize=9)
    _finish(left, title, grid=None)
    scores = {int(name[3:]): entry for name, entry in figures["metrics"].items() if name.startswith("cs@")}
    years = sorted(scores)
    right.plot(years, [scores[year]["value"] for year in years], "o-", color=BLUE, markersize=4)
    if all(scores[year]["interval"] for year in years):
        low, high = np.array([scores[year]["interval"] for year in years]).T
        right.fill_between(years, low, high, color=BLUE, alpha=0.2, linewidth=0)
    mae = figures["metrics"]["mae"]
    unread = figures["unparsed"]["count"]
    note = f"n = {figures['n']:,}\nMAE {mae['value']:.2f} years"
    note += f"\n{unread:,} unread answers\ncount as wrong here" if unread else ""
    right.text(0.97, 0.05, note, transform=right.transAxes, ha="right", va="bottom", fontsize=9, color=INK)
    right.set(xlabel="k, years", ylabel="share of faces at most k years off", ylim=(0, 1.02), xticks=years)
    _finish(right, "Cumulative score, with 95 % interval", grid="both")
    return figure


def pose_errors(pairs: Sequence[tuple[Mapping, Mapping]], figures: Mapping[str, Any], title: str) -> Figure | None:
    """The share of faces whose error in each angle is at most so many degrees."""
    if not pairs:
        return None
    figure = _figure(6.4, 4.6)
    axes = figure.add_subplot()
    for angle, colour, line in zip(ANGLES, (BLUE, ORANGE, GREEN), ("-", "--", ":"), strict=True):
        truth, given = (np.array([entry[side].get(angle, np.nan) for entry in pairs], float) for side in (0, 1))
        errors = np.sort(np.abs(wrapped(given - truth)))
        errors = errors[np.isfinite(errors)]
        label = f"{angle}: mean {figures['metrics'][f'{angle}_mae']['value']:.1f}°"
        axes.plot(errors, np.arange(1, len(errors) + 1) / len(errors), line, color=colour, label=label)
    unread = figures["unparsed"]["count"]
    left_out = f", {unread:,} unread answers left out" if unread else ""
    axes.set(xlabel="error, degrees", xlim=(0, 40), ylim=(0, 1.02))
    axes.set_ylabel(f"share of faces (n = {len(pairs):,}{left_out})")
    axes.legend(loc="lower right", fontsize=9, frameon=False)
    _finish(axes, title, grid="both")
    return figure


def units(figures: Mapping[str, Any], title: str) -> Figure | None:
    """F1 of every action unit with its interval."""
    rows = [(f"AU{unit}", entry["f1"]) for unit, entry in figures.get("units", {}).items()]
    return _dots(rows, "F1, with 95 % interval · dashed: mean", title, figures["metrics"]["f1"])


def attribute_scores(tasks: Mapping[str, Mapping[str, Any]], title: str) -> Figure | None:
    """Accuracy of every attribute with its interval, beside what the majority answer would reach."""
    tasks = dict(sorted(tasks.items(), key=lambda item: -(item[1]["metrics"]["accuracy"]["value"] or 0)))
    rows = [(task_title(name), figures["metrics"]["accuracy"]) for name, figures in tasks.items()]
    marks = [(figures.get("baseline") or {}).get("value") for figures in tasks.values()]
    label = "accuracy, with 95 % interval · orange bar: always the majority answer"
    return _dots(rows, label, title, marks=marks)


def attribute_gaps(tasks: Mapping[str, Mapping[str, Any]], title: str) -> Figure | None:
    """The gap between the best and the worst group of every attribute, by label, and what chance alone would make."""
    tables = [figures.get("groups", {}) for figures in tasks.values()]
    labels = list(dict.fromkeys(label for table in tables for label in table.get("by", ())))
    if not labels:
        return None
    names = sorted(tasks)
    figure = _figure(3 + 3.4 * len(labels), 1.8 + 0.24 * len(names))
    for axes, label in zip(figure.subplots(1, len(labels), sharey=True, squeeze=False)[0], labels, strict=True):
        for place, name in enumerate(names):
            gap = tasks[name]["groups"]["gap"].get(label)
            if gap is None:
                continue
            if gap["if_equal"]:
                axes.barh(place, gap["if_equal"]["p95"], height=0.7, color=LIGHT)
            axes.plot(gap["value"], place, "o", color=BLUE, markersize=5)
        axes.set_yticks(range(len(names)), [_plain(task_title(name)) for name in names])
        axes.set(ylim=(len(names) - 0.5, -0.5), xlabel="gap in accuracy\ngrey: what chance alone reaches (95 %)")
        axes.set_xlim(left=0)
        _finish(axes, _plain(f"by {label_of(label)}"), grid="x")
    figure.suptitle(title, fontsize=11, color=INK, x=0.01, ha="left")
    return figure


def _dots(
    rows: Sequence[tuple[str, Mapping[str, Any] | None]],
    label: str,
    title: str,
    whole: Mapping[str, Any] | None = None,
    marks: Sequence[float | None] = (),
    share: bool = True,
) -> Figure | None:
    """A dot with its interval and n in each row, hollow for a small group; a row without figures is a heading.

    Args:
        whole: the figure of all rows, a dashed line.
        marks: of each row the value that an orange bar shows.
        share: whether values are shares of 1, and not errors.
    """
    drawn = {place: entry for place, (_, entry) in enumerate(rows) if entry and entry["value"] is not None}
    if not drawn:
        return None
    figure = _figure(8.2, 1.9 + 0.27 * len(rows))
    axes = figure.add_subplot()
    if whole and whole["value"] is not None:
        axes.axvline(whole["value"], color=SOFT, linestyle="--", linewidth=1)
    for place, entry in drawn.items():
        axes.errorbar(
            entry["value"], place, xerr=_around([entry], "value"), fmt="o", color=BLUE,
            markerfacecolor="white" if entry.get("small") else BLUE, markersize=6, capsize=3, linewidth=1.3,
        )  # fmt: skip
    marked = {place: mark for place, mark in enumerate(marks) if mark is not None}
    axes.plot(list(marked.values()), list(marked), "|", color=ORANGE, markersize=11, markeredgewidth=2)
    axes.set_yticks(
        range(len(rows)), [_plain(f"{name}  (n = {entry['n']:,})" if entry else name) for name, entry in rows]
    )
    for tick, (_, entry) in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("normal" if entry else "bold")
    axes.set(xlabel=label, ylim=(len(rows) - 0.5, -0.5))
    axes.set_xlim(_limits([*drawn.values(), *([whole] if whole else ())], marked.values(), share))
    _finish(axes, title, grid="x")
    return figure


def _around(entries: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """Distances from values to the ends of their intervals, shape `(2, entries)`; 0 without an interval."""
    values = np.array([entry[name] for entry in entries])
    low, high = np.array([entry.get("interval") or (entry[name], entry[name]) for entry in entries]).T
    # A percentile interval need not hold its own estimate; matplotlib takes no negative lengths.
    return np.maximum(0.0, [values - low, high - values])


def _limits(entries: Sequence[Mapping[str, Any]], marks: Iterable[float], share: bool) -> tuple[float, float]:
    """Round limits around all values, intervals and marks: shares within 0 and 1, errors from 0 on."""
    ends = [end for entry in entries for end in (*(entry["interval"] or ()), entry["value"]) if end is not None]
    ends += marks
    if not share:
        return 0.0, max(ends) * 1.08 or 1.0
    low, high = np.floor(10 * min(ends) - 0.2) / 10, np.ceil(10 * max(ends) + 0.2) / 10
    return max(-0.01, low), min(1.01, high)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _wrap(text: str) -> str:
    return textwrap.fill(_plain(text).replace("_", " "), 16)


def _plain(text: str) -> str:
    """Text in which matplotlib finds no formula."""
    return text.replace("$", r"\$")


def _finish(axes: Axes, title: str, grid: str | None) -> None:
    if title:
        axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, colors=INK)
    axes.xaxis.label.set(fontsize=9, color=INK)
    axes.yaxis.label.set(fontsize=9, color=INK)
    if grid:
        axes.grid(axis=grid, color="#e4e7ec", linewidth=0.8)
        axes.set_axisbelow(True)
