"""The report of an evaluation: every figure of `predictions.jsonl`, as JSON, as text, as one page and as plots.

Predicting and scoring are apart: the report can be written again whenever a metric changes, without the model.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from datasets_scripts.files import package_versions, replacing_folder, write_json, write_text
from facemllm.cli import UserError
from facemllm.evaluation.figures.bootstrap import CONFIDENCE, RESAMPLES
from facemllm.evaluation.figures.columns import options_of
from facemllm.evaluation.figures.task_figures import group_figures, mean_figures, task_figures
from facemllm.evaluation.predict import PREDICTIONS, RUN, read_run
from facemllm.evaluation.predictions import WAYS, PredictionIndex, TaskSpec, read_predictions
from facemllm.evaluation.registry import FOLDERS, load_folder
from facemllm.inference.hub_names import could_be_hub_id

from .wording import data_title

REPORT, TEXT, PAGE, PLOTS = "report.json", "report.md", "report.html", "plots"
PACKAGES = ("facemllm", "torch", "transformers", "datasets", "evaluate", "numpy", "scipy")
ATTRIBUTES = "attributes."
NOTHING_YET = "holds no prediction yet; run facemllm evaluate to the end"

RACE_NOTICE = (
    "Race is a label for auditing data and models. Categorising people by race from biometric data is a prohibited "
    "practice in the European Union (AI Act, Art. 5)."
)
EXPRESSION_NOTICE = (
    "An expression is what a face shows, not what a person feels. Inferring emotions at work or in schools is a "
    "prohibited practice in the European Union (AI Act, Art. 5)."
)
GROUP_NOTICE = (
    "Age groups, gender and race are the dataset's labels: mostly other people's guesses about a person, and binary "
    "where the dataset's gender is."
)


def write_report(
    out: str | Path, *, resamples: int = RESAMPLES, seed: int = 0, progress: bool = True, plots: bool = True
) -> dict[str, Any]:
    """Write `report.json`, `report.md`, `report.html` and `plots/` beside the predictions; each replaces an old one.

    Tasks are read one after the other, so what is held in memory is the largest task's predictions. `plots` False
    leaves the plots out, for a report that is only printed.

    Returns:
        What `report.json` holds: `dataset`, `model`, `protocol`, `counts`, `intervals`, `versions`,
        `git_revision`, `notices`, `run` (`run.json`), `tasks`: task to way to `task_figures`, with
        `groups` (`group_figures`); `means`: way to `mean_figures` of the attributes; `plots`: file to
        what it shows; the figures of a benchmark of `FOLDERS` are its own (`registry`).

    Raises:
        UserError: when `out` holds no predictions, or they do not fit its `run.json`.
    """
    from tqdm import tqdm

    from .plots import draw_plots

    out = Path(out)
    run = read_run(out)
    if run is None:
        raise UserError(f"{out}: has no {RUN}; give a folder that facemllm evaluate --out has written")
    drawing = {"resamples": resamples, "seed": seed}
    specs = {entry["name"]: TaskSpec.from_json(entry) for entry in run["tasks"]}
    if run.get("benchmark") in FOLDERS:
        if not (predictions := list(read_predictions(out / PREDICTIONS))):
            raise UserError(f"{out / PREDICTIONS}: {NOTHING_YET}")
        report = _described(run, drawing, specs)
        report |= load_folder(run["benchmark"]).report_figures(predictions, run, **drawing)
        return _write(out, report)
    index = PredictionIndex(out / PREDICTIONS)
    asked = _in_order(index.keys, specs, out)
    tasks: dict[str, dict[str, Any]] = {}
    for name, way in tqdm(asked, desc="figures", unit="task", disable=not progress):
        majority = (run.get("majority") or {}).get(name)
        try:
            figures = task_figures(specs[name], index.read(name, way), majority=majority, **drawing)
            if run.get("groups"):
                figures["groups"] = group_figures(specs[name], index.read(name, way), tuple(run["groups"]), **drawing)
        except ValueError as error:
            raise UserError(f"{out / PREDICTIONS}, task {name}: {error}") from error
        tasks.setdefault(name, {})[way] = figures
    report = _described(run, drawing, tasks)
    report |= {"tasks": tasks, "means": _means(asked, specs, index, run, drawing)}
    return _write(out, report, partial(draw_plots, report, specs, index) if plots else None)


def _write(out: Path, report: dict[str, Any], draw: Callable[[Path], dict[str, str]] | None = None) -> dict[str, Any]:
    """The same figures three times: as JSON, as Markdown and as a page that needs no other file. Plots come first."""
    from .markdown import markdown
    from .page import page, section

    # Drawn beside the old plots, whose place they take: none of an earlier report stays.
    with replacing_folder(out / PLOTS) as folder:
        drawn = draw(folder) if draw else {}
    report["plots"] = {f"{PLOTS}/{name}": shown for name, shown in drawn.items()}
    text = markdown(report)
    write_json(out / REPORT, report)
    write_text(out / TEXT, text)
    write_text(out / PAGE, page(data_title(report["dataset"]), [section(text, out)]))
    return report


def _described(run: Mapping[str, Any], drawing: Mapping[str, Any], tasks: Iterable[str]) -> dict[str, Any]:
    """What a report says of the run beside its figures."""
    from facemllm_recipes.run_folder import git_revision

    return {
        "model": (run.get("settings") or {}).get("model"),
        "dataset": _dataset(run),
        "protocol": run.get("protocol"),
        "complete": run.get("status") == "complete",
        "counts": run.get("counts") or {},
        "intervals": {
            "method": "percentile bootstrap over faces, over people where predictions name them",
            "confidence": CONFIDENCE,
            **drawing,
        },
        "versions": package_versions(*PACKAGES),
        "git_revision": git_revision(),
        "notices": _notices(tasks, run.get("groups") or (), people=run.get("people", True)),
        "run": run,
    }


def _in_order(keys: Iterable[tuple[str, str]], specs: Mapping[str, TaskSpec], out: Path) -> list[tuple[str, str]]:
    """The tasks in the order of `run.json`, scoring before generation."""
    keys = set(keys)
    if unknown := sorted(name for name, _ in keys if name not in specs):
        raise UserError(f"{out / PREDICTIONS}: holds task {unknown[0]!r}, which {RUN} does not name")
    if not keys:
        raise UserError(f"{out / PREDICTIONS}: {NOTHING_YET}")
    return [(name, way) for name in specs for way in WAYS if (name, way) in keys]


def _dataset(run: Mapping[str, Any]) -> dict[str, Any]:
    """What was evaluated on, as `model-index` names it."""
    settings = run.get("settings") or {}
    limit, benchmark = settings.get("limit"), str(run.get("benchmark"))
    name = run.get("title") or benchmark
    part = f"{limit} {load_folder(benchmark).ITEMS}" if benchmark in FOLDERS else f"first {limit}"
    return {
        "name": f"{name}, {part}" if limit else name,
        # A corpus's Hub id says where it is; on which disk it lay is nobody's business.
        "type": benchmark if could_be_hub_id(benchmark) else Path(benchmark).name,
        "config": settings.get("config"),
        "split": settings.get("split"),
        "revision": settings.get("revision"),
    }


def _notices(tasks: Iterable[str], groups: Iterable[str], people: bool) -> list[str]:
    if not people:
        return ["Drawn faces only: this says nothing of how the model answers about photographs."]
    notices = [GROUP_NOTICE] if groups or {"age", "age_years", "gender", "race"} & set(tasks) else []
    notices += [RACE_NOTICE] if "race" in tasks or "race" in groups else []
    return notices + ([EXPRESSION_NOTICE] if "expression" in tasks else [])


def _means(
    asked: Iterable[tuple[str, str]],
    specs: Mapping[str, TaskSpec],
    index: PredictionIndex,
    run: Mapping[str, Any],
    drawing: Mapping[str, Any],
) -> dict[str, Any]:
    """The mean over the attributes, by way, where there are two or more.

    Attributes are tasks of which there are many of a kind: forty yes-or-no questions are shown in one table.
    """
    attributes = {
        name
        for name, spec in specs.items()
        if options_of(spec) and (name.startswith(ATTRIBUTES) or spec.kind == "binary" or not run.get("people", True))
    }
    means = {}
    for way in WAYS:
        names = [name for name, asked_way in asked if asked_way == way and name in attributes]
        if len(names) > 1:
            means[way] = mean_figures({name: (specs[name], index.read(name, way)) for name in names}, **drawing)
    return means
