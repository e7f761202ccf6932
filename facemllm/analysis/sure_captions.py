"""Captions that a model can stand by: of each picture's labels, those are left out that the model is not sure of."""

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets_scripts.corpus.loading import load_rows
from datasets_scripts.corpus.writing import write_corpus
from datasets_scripts.questions.captions import caption_turns
from datasets_scripts.questions.closed_task import Task
from datasets_scripts.questions.conversations import conventions_of
from datasets_scripts.questions.tasks import TASKS
from datasets_scripts.schema import CorpusArgumentError, CorpusError, Skipped, assistant_turn, user_turn
from modeling_facemllm.face_task_table_facemllm import ON_REQUEST

if TYPE_CHECKING:
    from datasets import Dataset

    from modeling_facemllm import FaceAnalysisPipeline

BATCH = 32
LOOKED_AT = 1000  # rows whose labels say what can be asked
DESCRIPTION = """\
The captions of the corpus {corpus}, written anew. A label is stated where the model {model} gives its most probable
answer a probability of {sure:g} or more, and left out where it does not. The labels themselves stay in the rows."""


def build_sure(
    corpus: str,
    model: str,
    analyze: "FaceAnalysisPipeline",
    out: str,
    *,
    sure: float,
    limit: int | None,
    **options: Any,
) -> dict[str, Any]:
    """A corpus in `out` with the config `captions` and the split `train` of `corpus`; the report of `write_corpus`.

    Args:
        model: what the model that `analyze` asks is called, for the card.
        limit: rows at most, chosen at random.
        options: goes to `write_corpus`.

    Raises:
        CorpusError: when there is no such corpus or config, and as `write_corpus` does.
    """
    if not 0 < sure <= 1:
        raise CorpusArgumentError("sure", sure, "give a probability, more than 0 and at most 1")
    try:
        rows = load_rows(corpus, "captions", "train")
    except (ValueError, OSError) as error:
        raise CorpusError(f"{corpus}: {error}") from None
    if limit is not None and limit < len(rows):
        rows = rows.shuffle(seed=options.get("seed", 0)).take(limit)
    seed, first = options.pop("seed", 0), rows[0]
    records = SureCaptions(rows, analyze, sure, seed)
    return write_corpus(
        {"captions": {"train": lambda: iter(records)}},
        out,
        name=f"{Path(corpus).name}, captions that a model is sure of",
        license=first["license"],
        description=DESCRIPTION.format(corpus=Path(corpus).name, model=Path(model).name, sure=sure),
        build={"corpus": str(corpus), "model": model, "sure": sure, "limit": limit, "seed": seed},
        **options,
    )


class SureCaptions:
    """The rows of a corpus with new captions, as `write_corpus` takes records.

    A caption states a label only where the model's most probable answer has the probability `sure` at least: whatever
    the answer is, since the label is right and what is hard to see should not be said. Labels that the model is not
    asked about stay.
    """

    def __init__(self, rows: "Dataset", analyze: "FaceAnalysisPipeline", sure: float, seed: int = 0):
        self.rows, self.analyze, self.sure, self.seed = rows, analyze, sure, seed
        labels = rows.select_columns("labels")[:LOOKED_AT]["labels"]
        self.conventions = conventions_of(labels)
        # A model whose stage stated no options yet names no tasks; it may be asked what the labels can answer.
        named = getattr(analyze.model.config, "face_tasks", None) or [name for name in TASKS if name not in ON_REQUEST]
        self.tasks = [
            name
            for name in named
            if isinstance(row := TASKS.get(name), Task)
            and any(row.value(face, self.conventions) is not None for face in labels)
        ]
        if not self.tasks:
            raise CorpusError("no label of this corpus answers what the model can be asked; give another --model")

    def __iter__(self) -> Iterator[dict[str, Any] | Skipped]:
        for start in range(0, len(self.rows), BATCH):
            batch = list(self.rows.select(range(start, min(start + BATCH, len(self.rows)))))
            seen = [row for row in batch if row["image"] is not None]
            pictures = [row["image"].convert("RGB") for row in seen]
            found = self.analyze(pictures, detector="none", tasks=self.tasks, batch_size=BATCH) if pictures else []
            by_id = {row["id"]: faces[0]["tasks"] for row, faces in zip(seen, found, strict=True)}
            yield from (self._record(row, by_id.get(row["id"])) for row in batch)

    def _record(self, row: Mapping[str, Any], answers: Mapping[str, Any] | None) -> dict[str, Any] | Skipped:
        if answers is None:
            return Skipped(row["id"], "no picture")
        unsure = {TASKS[name].label for name, told in answers.items() if told["score"] < self.sure}
        labels = {name: value for name, value in row["labels"].items() if name not in unsure}
        labels["attributes"] = [
            entry for entry in labels.get("attributes") or () if f"attributes.{entry['name']}" not in unsure
        ]
        pair = caption_turns(labels, random.Random(f"{self.seed}/sure/{row['id']}"), self.conventions)
        if pair is None:
            return Skipped(row["id"], "nothing that the model is sure of")
        question, answer = pair
        return {**row, "messages": [user_turn(question, image=True), assistant_turn(answer)]}
