"""What a quickstart found: `report.json`, a table for the terminal, and what its page says before the evaluation."""

from collections.abc import Iterator, Mapping
from typing import Any

from datasets_scripts.shown_text import in_code
from datasets_scripts.synthetic.text import HELD_OUT

StageResults = Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]
"""Stage name to what its `run.json` and the `report.json` of its evaluation hold, first stage first."""


def summarize(
    stages: StageResults, *, required: float, seconds: float, peak_memory_bytes: int, seed: int, model: str
) -> dict[str, Any]:
    """What `report.json` holds: the last stage's accuracies beside their baselines, and each stage's."""
    results = {name: attribute_results(evaluation) for name, (_, evaluation) in stages.items()}
    last_run, last = list(stages.values())[-1][0], list(results.values())[-1]
    accuracy = mean(last)
    return {
        "mean_accuracy": accuracy,
        "majority_accuracy": mean(last, "majority"),
        "required_accuracy": required,
        "passed": accuracy >= required,
        "per_attribute": {name: entry for name, entry in last.items() if name not in HELD_OUT},
        "per_stage": {name: _stage(run, results[name]) for name, (run, _) in stages.items()},
        "zero_shot": {
            name: entry | {"emerged": above_baselines(entry)} for name, entry in last.items() if name in HELD_OUT
        },
        "scoring": "an answer counts if the generated text is the expected value, or mentions it and no other value",
        "seconds": round(seconds, 1),
        "peak_memory_bytes": peak_memory_bytes,
        "seed": seed,
        "model": model,
        "parameters": last_run["parameters"],
        "versions": last_run.get("versions"),
    }


def attribute_results(evaluation: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Of each attribute in a report on drawn faces its `accuracy`, `interval` (95 %), `n`, `majority` and `chance`."""
    results = {}
    for name, ways in evaluation["tasks"].items():
        accuracy, baseline = ways["generation"]["metrics"]["accuracy"], ways["generation"]["baseline"]
        results[name] = {
            "accuracy": round(accuracy["value"], 4),
            "interval": [round(bound, 4) for bound in accuracy["interval"]],
            "n": accuracy["n"],
            "majority": round(baseline["value"], 4),
            "chance": round(baseline["chance"], 4),
        }
    return results


def mean(results: Mapping[str, Mapping[str, Any]], key: str = "accuracy", held_out: bool = False) -> float:
    """The mean of `key` over the trained attributes, or over those held out."""
    values = [entry[key] for name, entry in results.items() if (name in HELD_OUT) == held_out]
    return round(sum(values) / len(values), 4) if values else float("nan")


def above_baselines(entry: Mapping[str, Any]) -> bool:
    """Whether the whole interval of an attribute lies above both chance and the majority baseline."""
    return entry["interval"][0] > max(entry["chance"], entry["majority"])


def _stage(run: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "mean_accuracy": mean(results),
        "zero_shot_accuracy": mean(results, held_out=True),
        "per_attribute": {name: entry["accuracy"] for name, entry in results.items()},
        "trained": [part for part, count in run["parameters"].items() if count["trainable"]],
        "steps": run["steps"],
        "train_seconds": run["train_seconds"],
        "questions_per_second": run["questions_per_second"],
        "loss": [[entry["step"], entry["loss"]] for entry in run["loss_history"]],
    }


def table(report: Mapping[str, Any]) -> str:
    """The accuracies as text for a terminal."""
    header, *rows = _rows(report)
    trained = len(report["per_attribute"]) + 1
    lines = ["accuracy on held-out faces, after each stage", "", _line(header), *map(_line, rows[:trained])]
    lines += ["", "never asked about a picture", *map(_line, rows[trained:])]
    return "\n".join([*lines, "", verdict(report), zero_shot_verdict(report)])


def _line(cells: list[str]) -> str:
    name, *after, interval, majority, chance = cells
    return f"{name:<14}{''.join(f'{cell:>9}' for cell in after)}{interval:>15}{majority:>10}{chance:>8}"


def _rows(report: Mapping[str, Any]) -> Iterator[list[str]]:
    """The header, the trained attributes, their mean, the held-out attributes; a column for each stage."""
    stages = report["per_stage"]
    yield ["attribute", *(name.split("_")[0] for name in stages), "95 %", "majority", "chance"]

    def row(name: str, entry: Mapping[str, Any]) -> list[str]:
        after = (f"{stage['per_attribute'][name]:.3f}" for stage in stages.values())
        low, high = entry["interval"]
        return [name, *after, f"{low:.2f}-{high:.2f}", f"{entry['majority']:.3f}", f"{entry['chance']:.2f}"]

    yield from (row(*item) for item in report["per_attribute"].items())
    means = (f"{stage['mean_accuracy']:.3f}" for stage in stages.values())
    yield ["mean", *means, "", f"{report['majority_accuracy']:.3f}", ""]
    yield from (row(*item) for item in report["zero_shot"].items())


def verdict(report: Mapping[str, Any]) -> str:
    """One sentence: was the required accuracy reached."""
    reached = "reached" if report["passed"] else "MISSED"
    return (
        f"Mean accuracy {report['mean_accuracy']:.3f}: the required {report['required_accuracy']:.2f} is {reached} "
        f"(majority baseline {report['majority_accuracy']:.3f})."
    )


def zero_shot_verdict(report: Mapping[str, Any]) -> str:
    """One sentence: which held-out attributes the model answers above chance and majority."""
    words = {True: [], False: []}
    for name, entry in report["zero_shot"].items():
        words[entry["emerged"]].append(f"{name.replace('_', ' ')} {entry['accuracy']:.2f}")
    parts = []
    if words[True]:
        parts.append(f"emerged for {' and '.join(words[True])}")
    if words[False]:
        parts.append(f"did not emerge for {' and '.join(words[False])}")
    return f"Zero-shot answers {'; '.join(parts)} (95 % interval against chance and majority)."


def markdown(report: Mapping[str, Any], size: int) -> str:
    """What the page says of the training, as Markdown: `loss.png` of each stage is named as the run's folder has it.

    Args:
        size: side of the drawn pictures in pixels.
    """
    minutes, rest = divmod(round(report["seconds"]), 60)
    facts = {
        "mean accuracy": f"{report['mean_accuracy']:.1%}",
        "majority baseline": f"{report['majority_accuracy']:.1%}",
        **{f"{name.replace('_', ' ')}, zero-shot": f"{e['accuracy']:.1%}" for name, e in report["zero_shot"].items()},
        "minutes in all": f"{minutes}:{rest:02d}",
        "peak memory": f"{report['peak_memory_bytes'] / 2**30:.1f} GiB",
        "parameters": f"{sum(part['total'] for part in report['parameters'].values()) / 1e6:.1f} M",
    }
    header, *rows = _rows(report)
    for row in rows:
        row[0] = row[0].replace("_", " ") + (" (zero-shot)" if row[0] in HELD_OUT else "")
    lines = [
        "# A face MLLM, trained in three stages",
        f"Drawn faces of {size} pixels, seed {report['seed']}. The model is in {in_code(report['model'])}.",
        f"{verdict(report)} {zero_shot_verdict(report)}",
        *_table([list(facts), list(facts.values())]),
        "## Accuracy after each stage",
        f"On {max(entry['n'] for entry in report['per_attribute'].values())} held-out faces. The mean is that of the "
        "attributes that were trained; those marked zero-shot were never asked about a picture in training. "
        "Zero-shot has emerged where the whole interval lies above both baselines, chance and majority.",
        *_table([header, *rows]),
        "## Training",
        *(f"![Loss of {stage}](stages/{stage}/loss.png)" for stage in report["per_stage"]),
        "## What it answers",
        "The first held-out faces, not chosen ones; four of each face's questions, drawn at random.",
    ]
    return "\n".join(lines)


def _table(rows: list[list[str]]) -> Iterator[str]:
    for place, row in enumerate(rows):
        yield f"| {' | '.join(row)} |"
        if not place:
            yield f"|---{'|--:' * (len(row) - 1)}|"
