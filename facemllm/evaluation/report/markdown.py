"""An evaluation's report as text for a researcher: results first, then every task, then how it was measured."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from datasets_scripts.shown_text import in_code, in_markdown
from facemllm.evaluation.registry import FOLDERS, load_folder

from .wording import (
    POINTS,
    WAYS,
    data_title,
    is_share,
    number,
    own_label,
    plot_name,
    with_interval,
)
from .wording import group_of as raw_group_of
from .wording import label_of as raw_label_of
from .wording import task_title as raw_task_title

WORST_SHOWN = 10
"""Intersections in the text; all of them are in `report.json`."""


def markdown(report: Mapping[str, Any]) -> str:
    """The text of `report.md`."""
    attributes = list(dict.fromkeys(name for means in report["means"].values() for name in means["tasks"]))
    notices = [line for notice in report["notices"] for line in ("", f"> {notice}")]
    own = _own_module(report)
    tasks = {} if own else {task: ways for task, ways in report["tasks"].items() if task not in attributes}
    lines = [
        *_head(report),
        *(own.report_lines(report) if own else _results(report, attributes)),
        *notices,
        *(line for task, ways in tasks.items() for line in _task(task, ways, report["plots"])),
        *_attributes(report, attributes),
        *_protocol(report),
    ]
    return "\n".join(lines) + "\n"


def task_title(name: str) -> str:
    return in_markdown(raw_task_title(name))


def label_of(name: str) -> str:
    return in_markdown(raw_label_of(name))


def group_of(label: str, value: str) -> str:
    return in_markdown(raw_group_of(label, value))


def _own_module(report: Mapping[str, Any]) -> ModuleType | None:
    """The module of a benchmark that makes its own figures; None for any other."""
    name = report["run"].get("benchmark")
    return load_folder(name) if name in FOLDERS else None


def _head(report: Mapping[str, Any]) -> Iterator[str]:
    counts, run = report["counts"], report["run"]
    yield f"# {in_markdown(data_title(report['dataset']))}"
    if not report["complete"]:
        yield from ("", "**Not complete:** the run goes on or was interrupted; these are the predictions so far.")
    yield ""
    yield f"- Model: {in_code(report['model'])}"
    if "faces" in counts:
        own = _own_module(report)
        yield f"- {own.ITEMS.capitalize() if own else 'Faces'}: {counts['faces']:,}"
    for key, what in (("unreadable", "Could not be read"), ("left_out", "Left out by the protocol")):
        if reasons := counts.get(key):
            listed = (
                f"{in_markdown(reason)}: {count:,}" for reason, count in sorted(reasons.items(), key=lambda r: -r[1])
            )
            yield f"- {what}, in no figure: {'; '.join(listed)}"
    if counts.get("unlabelled"):
        yield f"- Without a label for any task: {counts['unlabelled']:,}"
    if run.get("command"):
        yield f"- Command: {in_code(run['command'])}"


def _results(report: Mapping[str, Any], attributes: Sequence[str]) -> Iterator[str]:
    rows = []
    for task, ways in report["tasks"].items():
        for way, figures in ways.items() if task not in attributes else ():
            name, baseline = figures["primary"], figures["baseline"] or {}
            entry = figures["metrics"][name]
            without_looking = number(name, baseline.get("value"))
            if is_share(name) and "answer" in baseline:
                without_looking += (
                    f" (always “{in_markdown(baseline['answer'])}”)" if isinstance(baseline["answer"], str) else ""
                )
            unread = _unread(figures) if way == "generation" else "–"
            cells = [task_title(task), WAYS[way], label_of(name) + _unit(figures["kind"]), with_interval(name, entry)]
            rows.append([*cells, f"{entry['n']:,}", without_looking, unread])
    for way, means in report["means"].items():
        for name in ("accuracy", "balanced_accuracy"):
            entry = means["metrics"][name]
            cells = [f"{len(means['tasks'])} attributes, mean", WAYS[way], label_of(name), with_interval(name, entry)]
            baseline = _mean_baseline(report, way, "value" if name == "accuracy" else "chance")
            rows.append([*cells, f"{entry['n']:,}", baseline, _unread(means) if way == "generation" else "–"])
    yield from ("", "## Results", "")
    header = ["task", "answers", "metric", "value [95 %]", "n", "without looking", "unread answers"]
    yield from _table(header, rows, left=3)


def _mean_baseline(report: Mapping[str, Any], way: str, key: str) -> str:
    """The mean of the attributes' baselines; always the same answer has a balanced accuracy of chance."""
    names = report["means"][way]["tasks"]
    values = [(report["tasks"][name][way]["baseline"] or {}).get(key) for name in names]
    return number("accuracy", None if None in values else sum(values) / len(values))


def _task(task: str, ways: Mapping[str, Any], plots: Mapping[str, str]) -> Iterator[str]:
    yield from ("", f"## {task_title(task)}", "")
    yield from _metrics(ways)
    for part, title in (("classes", "By option"), ("units", "By action unit")):
        if any(figures.get(part) for figures in ways.values()):
            yield from ("", f"### {title}", "")
            yield from _parts(ways, part)
    for way, figures in ways.items():
        if never := _never_answered(figures):
            yield from ("", f"Never answered ({WAYS[way]}): {', '.join(map(in_markdown, never))}.")
        if figures.get("calibration"):
            yield from ("", _calibration(figures["calibration"]))
    for file, shown in plots.items():
        if file.rpartition("-")[0].endswith(f"-{plot_name(task)}"):
            yield from ("", f"![{in_markdown(shown)}]({file})")
    if any((figures.get("groups") or {}).get("by") for figures in ways.values()):
        yield from ("", f"### {task_title(task)} by group")
        yield from _groups(task, ways)


def _metrics(ways: Mapping[str, Any]) -> Iterator[str]:
    names = dict.fromkeys(name for figures in ways.values() for name in figures["metrics"])
    unit = _unit(next(iter(ways.values()))["kind"])
    rows = []
    for name in names:
        cells = (_cell(name, figures["metrics"].get(name)) for figures in ways.values())
        rows.append([label_of(name) + ("" if is_share(name) else unit), *cells])
    rows.append(["unread answers", *(_unread(figures) for figures in ways.values())])
    yield from _table(["metric", *(WAYS[way] for way in ways)], rows)


def _parts(ways: Mapping[str, Any], part: str) -> Iterator[str]:
    names = dict.fromkeys(name for figures in ways.values() for name in figures[part])
    metrics = ("recall", "f1") if part == "classes" else ("f1", "balanced_accuracy")
    rows = []
    for name in names:
        found = [(metric, figures[part].get(name, {}).get(metric)) for figures in ways.values() for metric in metrics]
        cells = (_cell(metric, entry, n=metric == metrics[0]) for metric, entry in found)
        rows.append([in_markdown(name if part == "classes" else f"AU{name}"), *cells])
    header = [f"{label_of(metric)}, {WAYS[way]}" for way in ways for metric in metrics]
    yield from _table(["option" if part == "classes" else "unit", *header], rows)


def _never_answered(figures: Mapping[str, Any]) -> list[str]:
    """Options that some face has and no answer named: what a mean over all faces does not show."""
    confusion = figures.get("confusion") or {"labels": (), "counts": ()}
    answered = [sum(column) for column in zip(*confusion["counts"], strict=True)]
    known = [sum(row) for row in confusion["counts"]]
    return [label for place, label in enumerate(confusion["labels"]) if known[place] and not answered[place]]


def _calibration(calibration: Mapping[str, Any]) -> str:
    metrics = calibration["metrics"]
    shown = ", ".join(f"{label_of(name)} {with_interval(name, metrics[name])}" for name in ("ece", "brier", "nll"))
    text = f"Calibration of the options' probabilities (n = {calibration['n']:,}): {shown}."
    if (expected := calibration["expected_ece"]) is not None:
        text += f" A perfectly calibrated model with so many faces has an ECE of {expected:.3f}."
    return text


def _groups(task: str, ways: Mapping[str, Any]) -> Iterator[str]:
    tables = {way: figures["groups"] for way, figures in ways.items() if figures.get("groups")}
    first = next(iter(tables.values()))
    metric = first["metric"]
    for label in first["by"]:
        yield ""
        by_way = [table["by"].get(label, {}) for table in tables.values()]
        rows = [
            [group_of(label, group), *(_group_cell(metric, by.get(group)) for by in by_way)]
            for group in first["by"][label]
        ]
        yield from _table([label_of(label), *(f"{label_of(metric)}, {WAYS[way]}" for way in tables)], rows)
        if label == own_label(task):
            yield ""
            yield f"The groups here are the task's own options: these are their recalls, under {label_of(label)}."
    yield ""
    rows = []
    for labels in first["gap"]:
        gaps = (_gap(metric, table["gap"].get(labels)) for table in tables.values())
        rows.append([" × ".join(map(label_of, labels.split(" × "))), *gaps])
    yield from _table(["gap between best and worst", *(WAYS[way] for way in tables)], rows)
    for way, table in tables.items():
        yield from ("", f"**{WAYS[way].capitalize()}.** {_worst(table)}")
        yield from _crossed(table)


def _crossed(table: Mapping[str, Any]) -> Iterator[str]:
    """The worst of the intersections of two labels and of all, which are too small where few faces have labels."""
    metric, minimum = table["metric"], table["minimum"]
    able = [entry for entry in table["intersections"] if entry["value"] is not None and not entry["small"]]
    able.sort(key=lambda entry: entry["value"], reverse=not table["higher_is_better"])
    if able:
        labels = list(table["by"])
        yield from ("", f"The worst of {len(able)} intersections with {minimum} faces or more:", "")
        rows = [
            [*(group_of(label, entry["groups"].get(label, "–")) for label in labels), _group_cell(metric, entry)]
            for entry in able[:WORST_SHOWN]
        ]
        yield from _table([*map(label_of, labels), label_of(metric)], rows, left=len(labels))
    if small := sum(entry["small"] for entry in table["intersections"]):
        yield from ("", f"{small} more intersections have fewer than {minimum} faces: they stand in report.json.")


def _worst(table: Mapping[str, Any]) -> str:
    sentences = []
    for name, key in (("Worst group", "worst"), ("Worst intersection", "worst_intersection")):
        if found := table.get(key):
            groups = ", ".join(f"{label_of(label)} {group_of(label, of)}" for label, of in found["groups"].items())
            sentences.append(f"{name}: {groups}, {_group_cell(table['metric'], found)}.")
    return " ".join(sentences) or "No two groups are large enough to be compared."


def _gap(metric: str, gap: Mapping[str, Any] | None) -> str:
    if gap is None:
        return "–"
    note = f"{gap['groups']} groups"
    if equal := gap["if_equal"]:
        mean, most = (number(metric, equal[name], POINTS) for name in ("mean", "p95"))
        note += f"; chance: mean {mean}, 95 % below {most}"
    return f"{_bold(with_interval(metric, gap, POINTS), gap)} ({note})"


def _bold(text: str, gap: Mapping[str, Any]) -> str:
    """`text` in bold where the gap is larger than chance makes it in 95 % of cases."""
    return f"**{text}**" if gap["if_equal"] and gap["value"] > gap["if_equal"]["p95"] else text


def _attributes(report: Mapping[str, Any], attributes: Sequence[str]) -> Iterator[str]:
    for way, means in report["means"].items():
        tasks = {name: report["tasks"][name][way] for name in attributes if name in means["tasks"]}
        yield from ("", f"## Attributes, {WAYS[way]}", "")
        by_group = list(_with_groups(tasks.values()))
        labels = list(dict.fromkeys(label for table in by_group for label in table["by"]))
        scored = any(entry.get("calibration") for entry in tasks.values())
        rows = [
            [
                task_title(name),
                *(with_interval(metric, entry["metrics"][metric]) for metric in ("accuracy", "balanced_accuracy")),
                number("macro_f1", entry["metrics"]["macro_f1"]["value"]),
                f"{entry['n']:,}",
                number("accuracy", (entry["baseline"] or {}).get("value")),
                _unread(entry),
                *([_short_ece(entry)] if scored else []),
                *(_short_gap(entry, label) for label in labels),
            ]
            for name, entry in tasks.items()
        ]
        header = ["attribute", "accuracy [95 %]", "balanced accuracy [95 %]", "macro F1", "n", "majority", "unread"]
        header += ["ECE (if calibrated)"] if scored else []
        yield from _table([*header, *(f"gap by {label_of(label)}" for label in labels)], rows)
        if labels:
            yield ""
            yield (
                "A gap is that in accuracy between the best and the worst group of "
                f"{by_group[0]['minimum']} faces or more; in brackets, what chance exceeds in 5 % of cases. Bold gaps "
                "are larger than that."
            )
        for file, shown in report["plots"].items():
            if file.split("/")[-1] in (f"attributes-{way}.png", f"attribute_gaps-{way}.png"):
                yield from ("", f"![{in_markdown(shown)}]({file})")


def _with_groups(tasks: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The figures by group of those tasks that have any."""
    return (entry["groups"] for entry in tasks if (entry.get("groups") or {}).get("by"))


def _short_ece(entry: Mapping[str, Any]) -> str:
    if not (found := entry["calibration"]):
        return "–"
    return f"{number('ece', found['metrics']['ece']['value'])} ({number('ece', found['expected_ece'])})"


def _short_gap(entry: Mapping[str, Any], label: str) -> str:
    gap = (entry.get("groups") or {"gap": {}})["gap"].get(label)
    if gap is None:
        return "–"
    equal = f" ({number('accuracy', gap['if_equal']['p95'], POINTS)})" if gap["if_equal"] else ""
    return _bold(number("accuracy", gap["value"], POINTS), gap) + equal


def _protocol(report: Mapping[str, Any]) -> Iterator[str]:
    drawing = report["intervals"]
    yield from ("", "## How it was measured", "")
    if report.get("protocol"):
        yield from (in_markdown(report["protocol"]), "")
    used = {way for ways in report["tasks"].values() for way in ways}
    if "scoring" in used:
        yield (
            "- *Options scored*: the likeliest of the stated options by the model's own probabilities, and for ages "
            "and angles the mean under them; nothing is parsed."
        )
    if "generation" in used:
        yield (
            "- *Generated*: the model writes and its text is read. An answer that cannot be read counts as wrong in "
            "shares, and is left out of errors in years and degrees; its rate stands beside them."
        )
    every = [figures for ways in report["tasks"].values() for figures in ways.values()]
    people = max((figures.get("people") or 0 for figures in every), default=0)
    drawn = "faces (all answers about a face together)"
    if people:
        drawn = f"the {people:,} people (all pictures of a person together)"
    yield (
        f"- Intervals: {100 * drawing['confidence']:.0f} %, percentile bootstrap, {drawing['resamples']:,} resamples "
        f"of {drawn}, seed {drawing['seed']}."
    )
    baselines = [figures.get("baseline") for figures in every]
    if sources := sorted({baseline["source"] for baseline in baselines if baseline and "source" in baseline}):
        source = in_markdown(" or ".join(sources))
        yield f"- *Without looking*: the best constant answer, taken from the labels of the {source}."
    if table := next(_with_groups(every), None):
        yield (
            f"- Groups: those with fewer than {table['minimum']} faces are marked as small and take part in neither "
            "worst group nor gap. The largest of many differences is large by chance alone: *chance* is the gap to "
            "expect, and the one exceeded in 5 % of cases, if all groups were equal; bold gaps are larger than that. "
            "The interval of a gap heeds that the pair was picked, that of a worst group does not."
        )
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    revision = f", facemllm at commit {report['git_revision']}" if report["git_revision"] else ""
    yield f"- Versions: {versions}{revision}."


def _unit(kind: str) -> str:
    return {"number": ", years", "angles": ", degrees"}.get(kind, "")


def _unread(figures: Mapping[str, Any]) -> str:
    unread = figures["unparsed"]
    return f"{number('accuracy', unread['rate'])} ({unread['count']:,})" if unread["count"] else "0"


def _cell(metric: str, entry: Mapping[str, Any] | None, n: bool = True) -> str:
    if entry is None:
        return "–"
    return with_interval(metric, entry) + (f", n = {entry['n']:,}" if n else "")


def _group_cell(metric: str, entry: Mapping[str, Any] | None) -> str:
    return _cell(metric, entry) + (" (small)" if entry and entry["small"] else "")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "|".join("---" if place < left else "--:" for place in range(len(header))) + "|"
    for row in rows:
        yield "| " + " | ".join(re.sub(r"(?<!\\)\|", r"\|", cell) for cell in row) + " |"
