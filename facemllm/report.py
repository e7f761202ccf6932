"""What a quickstart found: `report.json`, a table for the terminal, and one page with charts and example answers."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets_scripts.files import replacing, write_json, write_text
from facemllm.evaluation.drawn_faces import above_baselines, mean
from facemllm.report_page import page

StageResults = Mapping[str, tuple[Mapping[str, Any], Mapping[str, Mapping[str, Any]]]]
"""Stage name to what its `run.json` and its `evaluation.json` hold, first stage first."""

_KEPT = ("accuracy", "interval", "n", "majority", "chance")


def summarize(
    stages: StageResults, *, required: float, seconds: float, peak_memory_bytes: int, seed: int, model: str
) -> dict[str, Any]:
    """What `report.json` holds: the last stage's accuracies beside their baselines, and each stage's."""
    last = list(stages.values())[-1][1]
    accuracy = mean(last)
    return {
        "mean_accuracy": accuracy,
        "majority_accuracy": mean(last, "majority"),
        "required_accuracy": required,
        "passed": accuracy >= required,
        "per_attribute": {
            name: {key: entry[key] for key in _KEPT} for name, entry in last.items() if not entry["held_out"]
        },
        "per_stage": {name: _stage(run, evaluation) for name, (run, evaluation) in stages.items()},
        "zero_shot": {
            name: {key: entry[key] for key in _KEPT} | {"emerged": above_baselines(entry)}
            for name, entry in last.items()
            if entry["held_out"]
        },
        "scoring": "an answer counts only if the normalised generated text equals the expected value",
        "seconds": round(seconds, 1),
        "peak_memory_bytes": peak_memory_bytes,
        "seed": seed,
        "model": model,
        "parameters": list(stages.values())[-1][0]["parameters"],
        "versions": list(stages.values())[-1][0].get("versions"),
    }


def _stage(run: Mapping[str, Any], evaluation: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "mean_accuracy": mean(evaluation),
        "zero_shot_accuracy": mean(evaluation, held_out=True),
        "per_attribute": {name: entry["accuracy"] for name, entry in evaluation.items()},
        "trained": [part for part, count in run["parameters"].items() if count["trainable"]],
        "steps": run["steps"],
        "train_seconds": run["train_seconds"],
        "questions_per_second": run["questions_per_second"],
        "loss": [[entry["step"], entry["loss"]] for entry in run["loss_history"]],
    }


def table(report: Mapping[str, Any]) -> str:
    """The accuracies as text for a terminal."""
    stages = list(report["per_stage"])
    short = [stage.split("_")[0] for stage in stages]
    head = (
        f"{'attribute':<14}" + "".join(f"{name:>9}" for name in short) + f"{'95 %':>15}{'majority':>10}{'chance':>8}"
    )
    lines = ["accuracy on held-out faces, after each stage", "", head]

    def row(name: str, entry: Mapping[str, Any]) -> str:
        after = "".join(f"{report['per_stage'][stage]['per_attribute'][name]:>9.3f}" for stage in stages)
        low, high = entry["interval"]
        return f"{name:<14}{after}{low:>9.2f}-{high:.2f} {entry['majority']:>10.3f}{entry['chance']:>8.2f}"

    lines += [row(name, entry) for name, entry in report["per_attribute"].items()]
    means = "".join(f"{report['per_stage'][stage]['mean_accuracy']:>9.3f}" for stage in stages)
    lines += [f"{'mean':<14}{means}{'':>14} {report['majority_accuracy']:>10.3f}", "", "never asked about a picture"]
    lines += [row(name, entry) for name, entry in report["zero_shot"].items()]
    lines += ["", verdict(report), zero_shot_verdict(report)]
    return "\n".join(lines)


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


def write(report: Mapping[str, Any], examples: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write `report.html` and `report.png` and then, last, `report.json` into `out`.

    Args:
        examples: what `quickstart.examples.answer_examples` returned; its pictures lie in `out / "faces"`.
    """
    from facemllm import report_charts

    charts = {
        "stages": report_charts.stages(report),
        "attributes": report_charts.attributes(report),
        "loss": report_charts.losses(report),
    }
    pictures = {name: _png(figure) for name, figure in charts.items()}
    sentences = (verdict(report), zero_shot_verdict(report))
    write_text(out / "report.html", page(report, sentences, pictures, examples, out / "faces"))
    overview = report_charts.overview(report, examples, out / "faces", verdict(report))
    with replacing(out / "report.png") as file:
        file.write(_png(overview, dpi=130))
    write_json(out / "report.json", report)


def _png(figure: Any, dpi: int = 200) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, facecolor="white")
    return file.getvalue()
