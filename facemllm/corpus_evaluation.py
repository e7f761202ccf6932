"""Accuracy of a model's generated answers on a labelled corpus, task by task and group by group.

The questions are the canonical ones of ``datasets_scripts.questions``, options stated. An answer counts only if the
normalised generated text equals the expected option. Expected answers come from the labels, never from the prose.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from datasets_scripts.questions import TASKS, canonical_question, conventions_of, expected_answer
from datasets_scripts.schema import CorpusError
from datasets_scripts.task import USUAL, Conventions, Task
from facemllm.evaluation.drawn_faces import interval

GROUP_LABELS = ("age_group", "gender", "race")
FACES_AT_ONCE = 512


def tasks_of(labels: Sequence[Mapping[str, Any]]) -> list[str]:
    """The tasks with closed options whose labels a corpus holds, less those on request: race is named by who wants it.

    A label with values that the table does not know, such as a drawn face's expression, is none of its tasks.
    """
    values = _values_by_label(labels)
    conventions = conventions_of(labels)
    return [
        name
        for name, task in TASKS.items()
        if isinstance(task, Task) and not task.on_request and _fits(task, values.get(task.label, ()), conventions)
    ]


def _values_by_label(labels: Sequence[Mapping[str, Any]]) -> dict[str, set]:
    values: dict[str, set] = {}
    for face in labels:
        for column, value in face.items():
            if column == "attributes":
                pairs = [(f"attributes.{entry['name']}", entry["value"]) for entry in value or ()]
            else:
                pairs = [] if value is None or column == "action_units" else [(column, value)]
            for label, known in pairs:
                values.setdefault(label, set()).add(known)
    return values


def _fits(task: Task, values: Collection[Any], conventions: Conventions) -> bool:
    if task.bins is None:
        return bool(values) and set(values) <= set(task.answers)
    return any(task.value({task.label: value}, conventions) is not None for value in values)


def majority_answers(labels: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> dict[str, str]:
    """The most frequent expected answer of each task: what a model that does not look would best say.

    Raises:
        CorpusError: when there is no such task, or it has no label at all here.
    """
    majority = {}
    conventions = conventions_of(labels)
    for task in tasks:
        if task not in TASKS:
            raise CorpusError(f"task {task!r} is unknown; {_what_it_has(labels)}")
        answers = (expected_answer(task, face, conventions) for face in labels)
        counts = Counter(answer for answer in answers if answer is not None)
        if not counts:
            raise CorpusError(f"task {task!r} has no label here; {_what_it_has(labels)}")
        majority[task] = min(counts, key=lambda answer, counts=counts: (-counts[answer], answer))
    return majority


def _what_it_has(labels: Sequence[Mapping[str, Any]]) -> str:
    tasks = tasks_of(labels)
    if tasks:
        return f"the corpus has {', '.join(tasks)}"
    known = ", ".join(sorted(label.removeprefix("attributes.") for label in _values_by_label(labels)))
    return f"the corpus's labels ({known or 'none at all'}) are of no task that can be asked here"


def with_pictures(rows: Any, where: str) -> tuple[Any, int]:
    """The rows of a ``datasets.Dataset`` that hold a picture, and how many do not. No picture is read.

    Raises:
        CorpusError: when none of them does.
    """
    import numpy as np

    from recipes.corpora import has_image_in

    held = has_image_in(rows)
    if not held.any():
        raise CorpusError(
            f"{where}: none of its {len(rows)} rows carries a picture; build the corpus with them: facemllm data "
            "without --no-images, facemllm annotate with --include-images"
        )
    missing = int(np.count_nonzero(~held))
    return (rows.select(np.flatnonzero(held)) if missing else rows), missing


def answer_corpus(
    model: Any,
    processor: Any,
    rows: Any,
    tasks: Sequence[str],
    batch_size: int = 128,
    conventions: Conventions = USUAL,
) -> Iterator[dict[str, Any]]:
    """Ask every task's question about every face that has its label.

    Args:
        rows: a ``datasets.Dataset`` of records; pictures are decoded ``FACES_AT_ONCE`` at a time.

    Yields:
        One dict per question: ``id``, ``task``, ``expected``, ``answer`` (normalised) and the face's ``groups``.
    """
    from tqdm import tqdm

    from facemllm.answering import answer_each, encode_faces
    from facemllm.evaluation.answer_parsing import normalize

    with tqdm(total=len(rows), desc="asking", unit="face") as bar:
        for start in range(0, len(rows), FACES_AT_ONCE):
            part = rows[start : start + FACES_AT_ONCE]
            pictures = [picture.convert("RGB") for picture in part["image"]]
            features = encode_faces(model, processor, pictures)
            for task in tasks:
                expected = [expected_answer(task, labels, conventions) for labels in part["labels"]]
                known = [index for index, answer in enumerate(expected) if answer is not None]
                if not known:
                    continue
                question, _ = canonical_question(task, conventions)
                given = answer_each(model, processor, features[known], question, batch_size=batch_size)
                for index, answer in zip(known, given, strict=True):
                    labels = part["labels"][index]
                    yield {
                        "id": part["id"][index],
                        "task": task,
                        "expected": normalize(expected[index]),
                        "answer": normalize(answer),
                        "groups": {name: labels[name] for name in GROUP_LABELS if labels[name] is not None},
                    }
            bar.update(len(pictures))


def score(
    predictions: Sequence[Mapping[str, Any]], majority: Mapping[str, str], conventions: Conventions = USUAL
) -> dict[str, dict[str, Any]]:
    """Accuracy of each task with its 95 % Wilson interval and n, beside the majority baseline and per group.

    Returns:
        For each task ``accuracy``, ``interval``, ``n``, ``majority``, ``unparsed`` (the share of answers that are no
        option at all), ``confusion`` and ``groups``: the same figures for every value of every group label known.
    """
    from facemllm.evaluation.answer_parsing import normalize

    report = {}
    for task, answer in majority.items():
        asked = [entry for entry in predictions if entry["task"] == task]
        options = {normalize(option) for option in canonical_question(task, conventions)[1]}
        groups = sorted({pair for entry in asked for pair in entry["groups"].items()})
        confusion: dict[str, Counter] = {}
        for entry in asked:
            confusion.setdefault(entry["expected"], Counter())[entry["answer"]] += 1
        report[task] = _figures(asked, normalize(answer)) | {
            "unparsed": round(sum(entry["answer"] not in options for entry in asked) / max(1, len(asked)), 4),
            "confusion": {expected: dict(counts.most_common()) for expected, counts in sorted(confusion.items())},
            "groups": {
                name: {
                    value: _figures([e for e in asked if e["groups"].get(name) == value], normalize(answer))
                    for group, value in groups
                    if group == name
                }
                for name in dict.fromkeys(group for group, _ in groups)
            },
        }
    return report


def _figures(asked: Sequence[Mapping[str, Any]], majority: str) -> dict[str, Any]:
    right = sum(entry["answer"] == entry["expected"] for entry in asked)
    low, high = interval(right, len(asked))
    return {
        "accuracy": round(right / max(1, len(asked)), 4),
        "interval": [round(low, 4), round(high, 4)],
        "n": len(asked),
        "majority": round(sum(entry["expected"] == majority for entry in asked) / max(1, len(asked)), 4),
    }
