"""FaceXBench's tables: accuracy overall, per category and sub-category, with interval and n, beside the published.

Everything is computed from the predictions: the text that was generated is read again in both ways each time.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from datasets_scripts.shown_text import in_markdown
from facemllm.evaluation.figures.bootstrap import RESAMPLES, Summed, estimates
from facemllm.evaluation.figures.errors import share
from facemllm.evaluation.predictions import Prediction

from .answers import safe, strict
from .reader import CATEGORIES, IMAGE_KINDS, LETTERS

READINGS = {"scoring": "scoring", "safe": "generation, safe", "strict": "generation, strict"}

PUBLISHED = {  # overall accuracy in %, zero-shot, all 5,000 questions, strict reading
    "random choice": 25.10,
    "human": 70.28,
    "FaceLLM-1B": 38.86,
    "FaceLLM-8B": 56.14,
    "FaceLLM-38B": 60.52,
    "InternVL2-8B": 53.24,
    "Qwen2-VL-7B": 51.58,
    "LLaVA-OneVision-7B": 48.98,
    "GPT-4o": 50.50,
    "Gemini-1.5-Pro": 56.96,
}
PUBLISHED_SOURCE = "arXiv 2501.10360 and arXiv 2507.10300"

WAYS_OF = {"scoring": "scoring", "safe": "generation", "strict": "strict reading"}

Reading = tuple[Prediction, str | None]


def facexbench_section(
    predictions: Iterable[Prediction],
    overlap: Mapping[str, Collection[str]] | None = None,
    counts: Mapping[str, Any] | None = None,
    setting: str = "zero-shot",
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """The figures of a run on FaceXBench, in JSON's types; `facexbench_markdown` writes them out.

    Args:
        overlap: what was to be excluded to the ids of the questions that this removes; the scores are then given with
            and without these questions.
        counts: what the reader read and left out (`FaceXBench.counts`).

    Returns:
        `scores`: reading (`scoring`, `safe`, `strict`) to `all` and, with `overlap`, `without_overlap`
        (None where nothing is left), each with `overall`, `categories` with their `sub_categories`, `images`,
        `letters` (how often each was answered and was right) and `unparsed`.
    """
    drawing = {"resamples": resamples, "seed": seed}
    removed = {id for ids in (overlap or {}).values() for id in ids}
    section: dict[str, Any] = {"setting": setting, "questions": dict(counts or {}), "scores": {}}
    for name, answers in _readings(predictions).items():
        section["scores"][name] = {"all": _table(answers, **drawing)}
        if overlap:
            kept = [answer for answer in answers if answer[0].id not in removed]
            section["scores"][name]["without_overlap"] = _table(kept, **drawing) if kept else None
    if overlap:
        section["overlap"] = {"removed": len(removed), "by": {name: len(ids) for name, ids in overlap.items()}}
    section["published"] = {"overall": PUBLISHED, "source": PUBLISHED_SOURCE}
    return section


def task_figures_of(section: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The overall accuracy, with and without overlap, and each category's, in the shape of other tasks' figures."""
    tasks: dict[str, dict[str, Any]] = {}
    for reading, tables in section["scores"].items():
        table, kept = tables["all"], tables.get("without_overlap")
        cells = {"overall": table["overall"], **({"without_overlap": kept["overall"]} if kept else {})}
        for name, figures in (cells | table["categories"]).items():
            tasks.setdefault(name, {})[WAYS_OF[reading]] = {
                "kind": "options",
                "n": figures["n"],
                "primary": "accuracy",
                "metrics": {"accuracy": {key: figures[key] for key in ("value", "interval", "n")}},
                "unparsed": figures["unparsed"],
                "baseline": {"value": 1 / len(LETTERS)},
            }
    return tasks


def _readings(predictions: Iterable[Prediction]) -> dict[str, list[Reading]]:
    read: dict[str, list[Reading]] = {}
    for entry in predictions:
        if entry.way == "scoring":
            read.setdefault("scoring", []).append((entry, entry.predicted))
            continue
        for name, reading in (("safe", safe), ("strict", strict)):
            read.setdefault(name, []).append((entry, reading(entry.text or "", entry.extra["options"])))
    return read


def _table(answers: Sequence[Reading], **drawing: int) -> dict[str, Any]:
    cells = _accuracies(answers, **drawing)
    return {
        "overall": cells["overall"],
        "categories": {
            category: cells[category] | {"sub_categories": {name: cells[name] for name in names if name in cells}}
            for category, names in CATEGORIES.items()
            if category in cells
        },
        "images": {kind: cells[f"images {kind}"] for kind in IMAGE_KINDS if f"images {kind}" in cells},
        "letters": {
            letter: {
                "answered": sum(given == letter for _, given in answers),
                "right": sum(entry.expected == letter for entry, _ in answers),
            }
            for letter in LETTERS
        },
        "unparsed": cells["overall"]["unparsed"],
    }


def _accuracies(answers: Sequence[Reading], **drawing: int) -> dict[str, dict[str, Any]]:
    """Accuracy with its bootstrap interval, n and unread answers for every cell of the table that has questions."""
    from scipy.sparse import csr_array

    cells: dict[str, int] = {}
    unparsed: Counter[str] = Counter()
    places, values = [], []
    for row, (entry, letter) in enumerate(answers):
        for cell in ("overall", entry.extra["category"], entry.task, f"images {entry.extra['images']}"):
            column = 2 * cells.setdefault(cell, len(cells))
            places += [(row, column), (row, column + 1)]
            values += [float(letter == entry.expected), 1.0]
            unparsed[cell] += letter is None
    rows = csr_array((values, tuple(zip(*places, strict=True))), shape=(len(answers), 2 * len(cells)))
    statistics = {cell: share(slice(2 * number, 2 * number + 1), 2 * number + 1) for cell, number in cells.items()}
    figures = estimates(Summed(rows, statistics), [entry.id for entry, _ in answers], **drawing)
    return {
        cell: {**of, "unparsed": {"count": unparsed[cell], "rate": unparsed[cell] / of["n"]}}
        for cell, of in figures.items()
    }


def facexbench_markdown(section: Mapping[str, Any]) -> Iterator[str]:
    """The lines of the section of `report.md` that `facexbench_section` made the figures of."""
    yield from ("", f"## FaceXBench, {in_markdown(section['setting'])}", "")
    yield from _left_out(section["questions"])
    yield from _scores({name: tables["all"] for name, tables in section["scores"].items()})
    if "overlap" in section:
        by = ", ".join(f"{in_markdown(name)}: {count}" for name, count in section["overlap"]["by"].items())
        title = f"### Without overlap with training data ({by}; {section['overlap']['removed']} removed)"
        yield from ("", title, "")
        kept = {name: tables["without_overlap"] for name, tables in section["scores"].items()}
        yield from _scores(kept) if all(kept.values()) else ["No question is left."]
    yield from ("", "Accuracy in %, its 95 % interval over questions, n. An answer that cannot be read is wrong.", "")
    for name, tables in section["scores"].items():
        letters = tables["all"]["letters"].items()
        answered = ", ".join(f"{letter} {count['answered']} ({count['right']})" for letter, count in letters)
        yield f"- Answers given (and right ones there are), {READINGS[name]}: {answered}."
    published = "; ".join(f"{name} {value:.2f}" for name, value in section["published"]["overall"].items())
    yield (
        f"- Published, zero-shot, all 5,000 questions, strict reading, in % ({section['published']['source']}): "
        f"{published}. A copy that lacks pictures asks fewer questions: compare with care."
    )


def _left_out(counts: Mapping[str, Any]) -> Iterator[str]:
    if not counts:
        return
    line = (
        f"{counts['questions_asked']} of {counts['questions_listed']} questions can be asked; pictures missing: "
        f"{counts['missing_images']}; questions left out for it: {counts['left_out_for_missing_images']}"
    )
    if counts["missing_by_file"]:
        line += f" ({', '.join(f'{in_markdown(name)}: {count}' for name, count in counts['missing_by_file'].items())})"
    for what in ("malformed", "unreadable"):
        if counts.get(what):
            line += f"; {what}: {', '.join(map(in_markdown, counts[what]))}"
    if counts["asked_without_black_placeholder"]:
        line += f"; about no picture, asked without the black one: {counts['asked_without_black_placeholder']}"
    yield from (f"{line}.", "")


def _scores(tables: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One row for each cell, one column for each reading."""
    rows = {name: dict(_cells(table)) for name, table in tables.items()}
    lines = ["| | " + " | ".join(READINGS[name] for name in tables) + " |", "| --- |" + " ---: |" * len(tables)]
    for cell in dict.fromkeys(cell for of in rows.values() for cell in of):
        lines.append(f"| {cell} | " + " | ".join(_cell(of.get(cell)) for of in rows.values()) + " |")
    shares = (f"{100 * table['unparsed']['rate']:.2f} ({table['unparsed']['count']})" for table in tables.values())
    return [*lines, "| answers that cannot be read | " + " | ".join(shares) + " |"]


def _cells(table: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    yield "**overall**", table["overall"]
    for category, figures in table["categories"].items():
        yield f"**{category}**", figures
        for name, of_name in figures["sub_categories"].items():
            yield f"{category}: {name}", of_name
    for kind, figures in table["images"].items():
        yield f"pictures: {kind}", figures


def _cell(figures: Mapping[str, Any] | None) -> str:
    if figures is None or figures["value"] is None:
        return "–"
    low, high = figures["interval"] or (0.0, 1.0)
    return f"{100 * figures['value']:.2f} [{100 * low:.1f}, {100 * high:.1f}] n={figures['n']}"
