"""Any labelled corpus as a benchmark: a folder or Hub id that `load_dataset` reads, with the columns of `schema`.

The questions are the canonical ones, options stated; expected answers come from the labels, never from the prose.
"""

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from datasets_scripts.questions.closed_task import Conventions, Task
from datasets_scripts.questions.conversations import TASKS, conventions_of, expand_tasks
from datasets_scripts.questions.tasks import ACTION_UNITS, TASK_GROUPS
from datasets_scripts.schema import CorpusError, LabelledFace, Skipped
from facemllm.cli import UserError

from .baselines import BASELINE_ROWS, constant_answers
from .benchmarks import NAMES, Benchmark, Wanted
from .figures.groups import GROUP_LABELS
from .task_protocols import TaskProtocol, protocols


@dataclass(frozen=True)
class LabelValues:
    """Which values the labels of a corpus have, numbers to one decimal; `digest` is of all ids and labels."""

    values: Mapping[str, frozenset]
    digest: str

    def tasks(self) -> list[str]:
        """The tasks whose labels the corpus holds, less those on request: race is named by who wants it.

        A label with values that the table does not know, such as a drawn face's expression, is none of its tasks. The
        angles of a head are one task where all three are known.
        """
        found = [name for name, task in TASKS.items() if not task.on_request and self.has(name)]
        parts = TASKS["head_pose"].parts if "head_pose" in found else ()
        return [name for name in found if name not in parts]

    def has(self, task: str) -> bool:
        """Whether the corpus has labels of a task that can be evaluated."""
        row = TASKS[task]
        if isinstance(row, Task):
            values = self.values.get(row.label, frozenset())
            if row.bins is not None:
                return any(row.value({row.label: value}) is not None for value in values)
            return bool(values) and values <= set(row.answers)
        if task == "head_pose":
            return all(map(self.has, row.parts))
        return {"age_years": "age", "action_units": "action_units"}.get(task) in self.values

    @property
    def conventions(self) -> Conventions:
        return conventions_of({"expression": value} for value in self.values.get("expression", ()))

    def remedy(self) -> str:
        """What can be asked here, or why nothing can, for a message."""
        if tasks := self.tasks():
            return f"the corpus has {', '.join(tasks)}"
        known = ", ".join(sorted(label.removeprefix("attributes.") for label in self.values))
        return f"the corpus's labels ({known or 'none at all'}) are of no task that can be asked here"


def label_values(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> LabelValues:
    """The values of the labels of `(id, labels)` pairs, which are read once and not held."""
    values: dict[str, set] = {}
    digest = hashlib.sha256()
    for id, labels in rows:
        digest.update(f"{id}\0{sorted((name, str(value)) for name, value in labels.items())}\0".encode())
        for column, value in labels.items():
            if value is None or value == []:
                continue
            if column == "attributes":
                for entry in value:
                    values.setdefault(f"attributes.{entry['name']}", set()).add(entry["value"])
            elif column == "action_units":
                values.setdefault(column, set()).update(entry["unit"] for entry in value)
            else:
                values.setdefault(column, set()).add(round(value, 1) if isinstance(value, float) else value)
    return LabelValues({name: frozenset(found) for name, found in values.items()}, digest.hexdigest()[:16])


def open_corpus(corpus: str, config: str, wanted: Wanted) -> Benchmark:
    """A corpus as a benchmark: its split `validation` unless another is wanted, and all tasks that it has labels of.

    Raises:
        UserError: where there is no such corpus, config or split, no picture in it, or nothing that can be asked.
        CorpusError: for a task without a label.
    """
    from facemllm_recipes.corpora import folders_of, has_image_in

    for option, given in (("root", wanted.root), ("set", wanted.options)):
        if given:
            raise UserError(f"--{option} belongs to a benchmark of a dataset; {_near(corpus)}{corpus} is a corpus")
    split = wanted.split or "validation"
    rows = _load(corpus, config, split)
    rows = rows.select(range(min(wanted.limit or len(rows), len(rows))))
    if not has_image_in(rows).any():
        raise CorpusError(
            f"{corpus}, {split}: none of its {len(rows)} rows carries a picture; build the corpus with them: "
            "facemllm data without --no-images, facemllm annotate with --include-images"
        )
    _check_ids(rows, f"{corpus}, config {config}, split {split}")
    found = label_values(_ids_and_labels(rows))
    tasks = list(wanted.tasks or found.tasks())
    if not tasks:
        raise UserError(f"{corpus}: {found.remedy()}; drawn faces are evaluated with the benchmark synthetic")
    units = sorted(set(ACTION_UNITS) & found.values.get("action_units", frozenset()))
    asked = protocols(_known(tasks, found), found.conventions, units, wanted.ask_age)
    return Benchmark(
        name=Path(corpus).name if Path(corpus).is_dir() else corpus,
        title=f"{Path(corpus).name}, {config}",
        split=split,
        protocol=f"Split {split} of the corpus, pictures as they are in it; questions and options as in "
        "datasets_scripts/questions/tasks.py.",
        tasks=asked,
        faces=lambda: _faces(rows, split),
        places=(tuple(folders_of(corpus)), wanted.image_root),
        count=len(rows),
        majority=lambda: _majority(corpus, config, split, asked),
        settings={
            "config": config,
            "labels": found.digest,
            "pictures": _picture_digest(rows),
            "ask_age": wanted.ask_age,
            "limit": wanted.limit,
        },
        groups=tuple(name for name in GROUP_LABELS if name in found.values and (wanted.race or name != "race")),
    )


def _known(tasks: Sequence[str], found: LabelValues) -> list[str]:
    """The tasks, each with a label in the corpus; words for several of them replaced by those it has."""
    known = []
    for task in tasks:
        if task not in TASKS and task not in TASK_GROUPS:
            raise CorpusError(f"task {task!r} is unknown; {found.remedy()}")
        labelled = [name for name in expand_tasks([task]) if found.has(name)]
        if not labelled:
            raise CorpusError(f"task {task!r} has no label here; {found.remedy()}")
        known += labelled
    return list(dict.fromkeys(known))


def _faces(rows: Any, split: str) -> Iterator[LabelledFace | Skipped]:
    for row in rows:
        if row["image"] is None:
            yield Skipped(str(row["id"]), "row without a picture")
        else:
            yield LabelledFace(str(row["id"]), row["image"], row["labels"] or {}, split, "", "")


def _check_ids(rows: Any, where: str) -> None:
    """Refuse rows that answers, which are kept by id, could not be told apart for."""
    from datasets_scripts.corpus.hashed_names import HashedNames  # NumPy, which `--help` does not need

    seen, missing, repeated, first = HashedNames(), 0, 0, ""
    for part in rows.select_columns(["id"]).iter(batch_size=1000):
        for name in part["id"]:
            if name is None or name == "":
                missing += 1
            elif not seen.add(str(name).encode("utf-8", "surrogatepass")):
                repeated, first = repeated + 1, first or f" (the first is {str(name)[:40]!r})"
    if missing or repeated:
        found = f"of {len(rows):,} rows {missing:,} have no id and {repeated:,} have that of an earlier row{first}"
        raise UserError(f"{where}: {found}: answers are kept by id; give every row an id of its own")


def _ids_and_labels(rows: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for part in rows.select_columns(["id", "labels"]).iter(batch_size=1000):
        yield from zip(part["id"], (labels or {} for labels in part["labels"]), strict=True)


def _picture_digest(rows: Any) -> str:
    """Of the pictures as they are encoded; of those that are no part of the corpus, what their paths lead to."""
    digest = hashlib.sha256()
    for part in rows.select_columns(["image"]).iter(batch_size=100):
        for picture in part["image"]:
            if picture is None:
                continue
            if picture["bytes"] is not None:
                digest.update(picture["bytes"])
                continue
            digest.update(os.fsencode(picture["path"] or ""))
            with contextlib.suppress(OSError):
                found = os.stat(picture["path"])
                digest.update(f"\0{found.st_size}\0{found.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _majority(corpus: str, config: str, split: str, asked: Sequence[TaskProtocol]) -> dict[str, Any]:
    """The baseline from rows spread evenly over the split `train`; empty where the corpus has none."""
    if split == "train":
        return {}
    try:
        rows = _load(corpus, config, "train").select_columns(["id", "labels"])
    except UserError:
        return {}
    spread = rows.select(range(0, len(rows), -(-len(rows) // BASELINE_ROWS)))
    return constant_answers(asked, (labels for _, labels in _ids_and_labels(spread)))


def _near(name: str) -> str:
    near = get_close_matches(name.lower(), NAMES, n=1)
    return f"did you mean {near[0]}? " if near else ""


def _check_choice(corpus: str, config: str, split: str) -> None:
    """Raise `UserError` where the corpus has other configs, or the config has other splits."""
    from datasets import get_dataset_config_names, get_dataset_split_names

    try:
        configs = get_dataset_config_names(corpus)
        splits = get_dataset_split_names(corpus, config) if config in configs else []
    except (ValueError, OSError):  # what else is the matter is said by whoever calls this
        return
    if config not in configs:
        remedy = f"choose with --config, or build it with facemllm data ... --config {config}"
        raise UserError(f"{corpus}: has no config {config}, only {', '.join(configs)}; {remedy}")
    if split not in splits:
        raise UserError(
            f"{corpus}, config {config}: has no split {split}, only {', '.join(splits)}; choose with --split"
        )


def _load(corpus: str, config: str, split: str) -> Any:
    from datasets import Image

    from datasets_scripts.corpus.loading import load_rows
    from facemllm.inference.hub_names import could_be_hub_id

    here = Path(corpus).is_dir()
    if not here and not could_be_hub_id(corpus):
        reason = f"there is no such corpus folder and no benchmark of that name; {_near(corpus)}"
        raise UserError(f"{corpus}: {reason}a Hub id has the form owner/name")
    if not here:
        print(f"{corpus} is no folder here: looking for it on the Hugging Face Hub", file=sys.stderr)
    try:
        rows = load_rows(corpus, config, split)
    except (ValueError, FileNotFoundError, ConnectionError) as error:
        reason = str(error).splitlines()[0]
        if not here:
            raise UserError(f"{corpus}: there is no such folder here; {reason}") from error
        _check_choice(corpus, config, split)
        where = f"{corpus}, config {config}, split {split}"
        raise UserError(f"{where}: {reason} choose with --config and --split") from error
    if missing := ", ".join(name for name in ("id", "image", "labels") if name not in rows.column_names):
        raise UserError(f"{corpus}: has no column {missing}; give a corpus of facemllm data or facemllm annotate")
    if not isinstance(rows.features["labels"], dict):
        raise UserError(f"{corpus}: its column labels holds no labels by name; give a corpus of facemllm data")
    return rows.cast_column("image", Image(decode=False))
