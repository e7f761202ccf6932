"""FairFace in lmms-eval: the faces of a corpus that `facemllm data fairface` built, asked as `evaluate` asks them.

The environment variable FACEMLLM_FAIRFACE names the corpus folder. The YAML files name what this module holds.
"""

import os
from pathlib import Path
from typing import Any

from datasets_scripts.questions.conversations import canonical_question, expected_answer
from facemllm.evaluation.answer_parsing import parse_option

Doc = dict[str, Any]


def images(doc: Doc) -> list[Any]:
    """The picture of the face."""
    return [doc["image"].convert("RGB")]


class Asked:
    """One task of FairFace as lmms-eval's hooks need it."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.text, self.options = canonical_question(task)

    def question(self, doc: Doc) -> str:
        """The canonical question, options stated."""
        return self.text

    def choices(self, doc: Doc) -> list[str]:
        """The options in their order."""
        return list(self.options)

    def target(self, doc: Doc) -> str:
        """The right option."""
        return expected_answer(self.task, doc["labels"])

    def labelled(self, rows: Any) -> Any:
        """The rows of a `datasets.Dataset` whose label is known. `SystemExit` where that is none."""
        known = [row for row, labels in enumerate(rows["labels"]) if expected_answer(self.task, labels) is not None]
        if not known:
            asked = "race; build it with --race, for auditing" if self.task == "race" else self.task
            raise SystemExit(f"FACEMLLM_FAIRFACE: none of the corpus's {len(rows)} faces has a label for {asked}")
        return rows.select(known)

    def figures(self, doc: Doc, results: list[str]) -> dict[str, float]:
        """Whether the written answer is the right option, and whether it could not be read."""
        found = parse_option(results[0], self.options)
        return {
            "accuracy": float(found is not None and found[0] == self.target(doc)),
            "unparsed": float(found is None),
        }


def data_files() -> dict[str, Any]:
    """What `load_dataset("parquet", ...)` reads: the validation split alone.

    Raises:
        SystemExit: where there is none. lmms-eval would try an error five times, and end with "RetryError".
    """
    folder, shards = Path(os.environ.get("FACEMLLM_FAIRFACE", "corpora/fairface")), "face_tasks/validation-*.parquet"
    if not any(folder.glob(shards)):
        remedy = "give one of facemllm data fairface"
        raise SystemExit(f"FACEMLLM_FAIRFACE={folder}: holds no face_tasks/validation; {remedy}")
    return {"data_files": {"validation": str(folder / shards)}}


def __getattr__(name: str) -> Any:
    """`DATA_FILES`, `gender_question`, `age_figures`: a YAML file can only name what a module holds."""
    if name == "DATA_FILES":
        return data_files()
    task, _, hook = name.partition("_")
    if task in ("gender", "age", "race") and hook in ("question", "choices", "target", "labelled", "figures"):
        return getattr(Asked(task), hook)
    raise AttributeError(f"module {__name__} has no attribute {name}")
