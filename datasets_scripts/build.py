"""The corpora that can be built: each a reader, its configs and splits, and what its card says."""

import inspect
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets_scripts.corpus.writing import write_corpus
from datasets_scripts.questions.conversations import DEFAULT_TURNS, AskedFaces, expand_tasks
from datasets_scripts.questions.unanswerable import CANNOT_TELL
from datasets_scripts.questions.zero_shot import ZERO_SHOT, attributes_of, tasks_of_side
from datasets_scripts.schema import CorpusArgumentError, CorpusError, NothingUsable
from datasets_scripts.sources.measured import MeasuredToo, find_weights
from datasets_scripts.sources.measuring import MEASURED_TASKS
from datasets_scripts.sources.readers import UNLABELLED, configs_of, conventions_of_reader, own_options, reader_of
from datasets_scripts.sources.reading import FaceReader
from datasets_scripts.synthetic import records as synthetic

DESCRIPTION = """\
Captions and questions with answers about the faces of [{title}]({url}){citation}. The words were made from the labels
by templates (`datasets_scripts/questions/tasks.py`), about: {tasks}. The pictures are as the dataset has them: nothing
was cropped, and no file encoded again; frames of videos are JPEG."""

OWN_PHOTOGRAPHS_DESCRIPTION = """\
Captions and questions with answers about the faces of photographs from a folder of whoever built this corpus. No
dataset is behind them, and no person labelled them. The words were made by templates
(`datasets_scripts/questions/tasks.py`) from what was measured on the pictures, about: {tasks}. The pictures are the
files as they were: nothing was cropped, and no file encoded again."""

ZERO_SHOT_DESCRIPTION = """\
In the config `zero_shot`, rows of `train` ask about some attributes, rows of the other splits about others, of which
`train` says nothing (`datasets_scripts/questions/zero_shot.py`). The other configs do tell of them: a model to be
tested on attributes it has never been asked about is trained on no other config of this corpus."""

YUNET = "[YuNet](https://github.com/opencv/opencv_zoo/tree/main/models/face_detection_yunet)"

MEASURED_DESCRIPTION = """\
These labels were measured{where}: {tasks}. They come from the pictures and the landmarks that {yunet} found on them
(`datasets_scripts/sources/measuring.py`), not from a person. They are coarse. Where a measure was near a threshold,
the label is unknown."""

UNANSWERABLE_DESCRIPTION = """\
In the configs `vqa` and `face_tasks`, {percent:g} % of the questions are about what no task of this corpus answers,
names among them (`datasets_scripts/questions/unanswerable.py`). Their answer is that the model cannot tell:
"{answer}" Do not mix this corpus with one that does answer them."""

SYNTHETIC_DESCRIPTION = """\
Drawn faces with exact labels, captions in varied wording and questions with answers, for learning how a face model is
trained and for testing that it can be. Two attributes are held out: their words occur in captions and in text-only
questions, never in a question about a picture. The config `zero_shot` asks about them in validation and test, and
about others, with nothing said of these, in train."""


def build_corpus(
    name: str,
    root: str | os.PathLike,
    out: str | os.PathLike,
    *,
    configs: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    turns: int = DEFAULT_TURNS,
    seed: int = 0,
    limit: int | None = None,
    options: Mapping[str, Any] | None = None,
    options_by_split: Mapping[str, Mapping[str, Any]] | None = None,
    measure: str | None = None,
    unanswerable: float = 0.0,
    **corpus_options: Any,
) -> dict[str, Any]:
    """The dataset `name` that `readers.py` has a reader of, from its folder `root`, as a corpus in `out`.

    Args:
        configs, splits: all that the dataset has, unless named; `zero_shot` only where `tasks` has attributes of
            the side of each split.
        tasks: what is asked about (`tasks.TASKS`, or a word for several such as `attributes`); the reader's
            `TASKS` unless named, and what `measure` measures. Only where `race` is among them are race labels read,
            asked about and written.
        turns: questions about a face at most; with 1, each face is asked one.
        limit: rows at most that are read of each split.
        options, options_by_split: the reader's own settings, for all splits and for single ones.
        measure: `"yunet"`, its ONNX file, or a Hub repository with it: labels that can be measured on the pictures are
            added to the dataset's own.
        unanswerable: the share of questions, in `vqa` and `face_tasks`, that no task answers (0 to 0.5).
        corpus_options: goes to `write_corpus`, whose report is returned.

    Raises:
        CorpusError: for a name, split, config, task or option that the dataset does not have, for a folder that is
            not the dataset's, for a split without any row, for `out` and `root` one inside the other, and as
            `write_corpus` does.
    """
    reader = reader_of(name)
    splits = _known("split", splits, reader.SPLITS, reader)
    tasks = default_tasks(reader, measure is not None) if tasks is None else tuple(tasks)
    weights = None if measure is None else find_weights("measure", measure)
    configs = configs_to_build(reader, configs, splits, tasks)
    if "race" in tasks and not reader.ASKS_RACE:
        raise CorpusArgumentError(
            "tasks", ", ".join(tasks), f"{reader.TITLE} has no race labels to ask about: leave race out"
        )
    for split in options_by_split or {}:
        if split not in splits:
            given = ", ".join((options_by_split or {})[split])
            remedy = f"that split is not built; the splits are {', '.join(splits)}"
            raise CorpusArgumentError(given, split, remedy)
    keep_apart(root, out)

    def read(split: str) -> FaceReader:
        settings = {**(options or {}), **(options_by_split or {}).get(split, {})}
        _known("option", tuple(settings), tuple(own_options(reader)), reader)
        race = {"race": "race" in tasks} if reader.ASKS_RACE else {}
        return reader(os.fspath(root), split, limit=limit, **race, **settings)

    faces = {split: read(split) for split in splits}
    sources = faces if weights is None else {split: MeasuredToo(own, weights) for split, own in faces.items()}
    records = {
        config: {
            split: AskedFaces(
                sources[split], config, tasks, seed, turns, conventions_of_reader(faces[split]), unanswerable
            )
            for split in splits
        }
        for config in configs
    }
    filled = [split for split in splits if len(faces[split])]
    for split in splits:
        if split not in filled:
            remedy = (
                f"name the splits to build with splits= (--split {' '.join(filled)})" if filled else "see its layout"
            )
            kind = CorpusError if filled else NothingUsable
            raise kind(f"{split} of {reader.TITLE} in {root} has no row; {remedy}")
    measured = measure is not None or name in UNLABELLED
    corpus_options = {
        "description": describe_corpus(reader, configs, tasks, measured=measured, unanswerable=unanswerable),
        "name": f"{reader.TITLE} conversations",
        "license_link": reader.URL if reader.LICENSE == "other" else None,
        "notices": [f"{reader.TITLE}: {reader.TERMS}"],
        **corpus_options,
    }
    return write_corpus(records, out, license=faces[splits[0]].license, people=True, **corpus_options)


def default_tasks(reader: type[FaceReader], measured: bool = False) -> tuple[str, ...]:
    """What is asked about a dataset's faces unless tasks are named; with `measured`, measured labels too."""
    return (*reader.TASKS, *(task for task in MEASURED_TASKS if measured and task not in reader.TASKS))


def configs_to_build(
    reader: type[FaceReader], configs: Sequence[str] | None, splits: Sequence[str], tasks: Sequence[str]
) -> tuple[str, ...]:
    """`configs`, or, unless named, all that the dataset has with these splits and tasks.

    Raises `CorpusError` for a config that it does not have, and for `zero_shot` where no task is left for a split.
    """
    named, asked = configs is not None, expand_tasks(tasks)
    configs = _known("config", configs, configs_of(reader), reader)
    without = [split for split in splits if not tasks_of_side(asked, split)]
    if ZERO_SHOT not in configs or not without:
        return configs
    if named:
        side = ", ".join(attributes_of(without[0])[:3])
        raise CorpusArgumentError(
            "config",
            ZERO_SHOT,
            f"none of the tasks {', '.join(tasks)} is on the side of {without[0]} ({side}, ...; "
            "datasets_scripts/questions/zero_shot.py has both sides): name one, or leave the config out",
        )
    return tuple(config for config in configs if config != ZERO_SHOT)


def keep_apart(root: str | os.PathLike, out: str | os.PathLike) -> None:
    """Raise `CorpusError` where a dataset's folder and that of its corpus are one, or one holds the other."""
    source, target = Path(root).resolve(), Path(out).resolve()
    if source == target:
        raise CorpusArgumentError("out", str(out), "this is the dataset's own folder; give another")
    for inner, outer, holds in ((target, source, "is inside"), (source, target, "holds")):
        if outer in inner.parents:
            raise CorpusArgumentError(
                "out", str(out), f"it {holds} the dataset's folder {root}; give a folder apart from it"
            )


def describe_corpus(
    reader: type[FaceReader],
    configs: Sequence[str],
    tasks: Sequence[str],
    *,
    measured: bool = False,
    unanswerable: float = 0.0,
) -> str:
    """What the card of a corpus says it is, in Markdown."""
    # "CelebA (Liu et al., ...): ..."
    first_line = (inspect.getdoc(inspect.getmodule(reader)) or "").partition("\n")[0]
    citation = re.search(r" \([^)]*\d{4}[^)]*\)", first_line)
    own = reader.NAME in UNLABELLED
    description = (OWN_PHOTOGRAPHS_DESCRIPTION if own else DESCRIPTION).format(
        title=reader.TITLE,
        url=reader.URL,
        citation=citation[0] if citation else "",
        tasks=", ".join(task.replace("_", " ") for task in tasks),
    )
    if measured:
        names = ", ".join(task.replace("_", " ") for task in MEASURED_TASKS)
        where = "" if own else ", where the dataset has none of its own"
        description += f"\n\n{MEASURED_DESCRIPTION.format(where=where, tasks=names, yunet=YUNET)}"
    if unanswerable and {"vqa", "face_tasks"} & set(configs):
        filled = UNANSWERABLE_DESCRIPTION.format(percent=100 * unanswerable, answer=CANNOT_TELL[0])
        description += f"\n\n{filled}"
    return f"{description}\n\n{ZERO_SHOT_DESCRIPTION}" if ZERO_SHOT in configs else description


def build_synthetic(
    out: str | os.PathLike,
    *,
    counts: Mapping[str, int],
    configs: Sequence[str] = synthetic.CONFIGS,
    seed: int = 0,
    size: int = 64,
    **corpus_options: Any,
) -> dict[str, Any]:
    """The drawn faces as a corpus in `out`; what was counted, as `write_corpus` returns it.

    `counts` is the number of faces of each split (`train`, `validation`, `test`; those with 0 are left out),
    the same faces in every config; `size` the side of the pictures in pixels. `corpus_options` goes to
    `write_corpus`.
    Raises `CorpusError` for an unknown config or split, and what `write_corpus` raises.
    """
    records = {
        config: {
            split: synthetic.DrawnFaces(config, split, count, seed, size) for split, count in counts.items() if count
        }
        for config in configs
    }
    corpus_options = {"description": SYNTHETIC_DESCRIPTION, "name": "Drawn faces", **corpus_options}
    return write_corpus(records, out, license="apache-2.0", people=False, **corpus_options)


def _known(what: str, given: Sequence[str] | None, known: Sequence[str], reader: type[FaceReader]) -> tuple[str, ...]:
    """`given`, or all that are known; `CorpusError` for one that is not."""
    for name in given or ():
        if name not in known:
            remedy = f"give one that {reader.TITLE} has: {', '.join(known)}" if known else "leave it out"
            raise CorpusArgumentError(what, name, remedy)
    return tuple(known if given is None else given)
