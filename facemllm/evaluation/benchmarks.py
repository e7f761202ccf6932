"""The benchmarks: a split of a dataset in its distributed layout, the tasks asked of it, and the protocol in words."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args, get_origin

from datasets_scripts.questions.conversations import expand_tasks
from datasets_scripts.questions.zero_shot import UNSEEN
from datasets_scripts.schema import CorpusError, LabelledFace, Skipped
from datasets_scripts.sources.protocol import Crop, DatasetProtocol
from datasets_scripts.sources.readers import READERS, conventions_of_reader, own_options, reader_of
from datasets_scripts.sources.reading import FaceReader
from facemllm.cli import UserError

from .baselines import constant_answers, sample_labels
from .figures.groups import GROUP_LABELS
from .registry import FOLDERS
from .task_protocols import AgeQuestion, DrawnAttribute, TaskProtocol, protocols

ZERO_SHOT_ATTRIBUTES, SYNTHETIC = "zero_shot_attributes", "synthetic"
LOOKED_AT = 2000
"""Rows in which a task that is named must have a label: all hundreds of one person may lack an attribute."""


@dataclass(frozen=True)
class Benchmark:
    """A benchmark that has been opened: whose faces, which tasks, and what the figures depend on.

    Attributes:
        faces: reads the faces in a fixed order, a picture at a time; `Skipped` says why a row gives none.
        count: how many rows `faces` reads.
        majority: reads the training split for the baseline's constant answers, none where it has none.
        settings: what the data are, in JSON's types: predictions of other data are not mixed with these.
        crop: None shows each picture whole.
        person: the code of the person in a face's id, where the dataset has many pictures of each: they are no
            independent evidence, and intervals are drawn by person. None where nothing is known of that.
        places: `folders` and `root` of `load_listed_image`, for pictures that faces only name.
        people: False for drawn faces, which are nobody's: all that is asked of them are attributes.
    """

    name: str
    title: str
    split: str
    protocol: str
    tasks: tuple[TaskProtocol, ...]
    faces: Callable[[], Iterator[LabelledFace | Skipped]]
    count: int
    majority: Callable[[], dict[str, Any]]
    settings: Mapping[str, Any]
    crop: Crop | None = None
    person: Callable[[str], str] | None = None
    groups: tuple[str, ...] = ("age_group", "gender")
    people: bool = True
    places: tuple[tuple[str, ...], str | None] = ((), None)

    def groups_of(self, labels: Mapping[str, Any]) -> dict[str, str]:
        """The groups that a face belongs to, of those that the tables are made for."""
        return {name: labels[name] for name in self.groups if labels.get(name) is not None}


NAMES = (*READERS, ZERO_SHOT_ATTRIBUTES, SYNTHETIC, *FOLDERS)
"""The words that name a benchmark on the command line; any other is a corpus."""


@dataclass(frozen=True)
class Wanted:
    """What a user asked of a benchmark beyond its name; None is the benchmark's own choice.

    `race` makes group tables of race labels, where the data have them; it is a task only where `tasks` names it. `own`
    are the values of the options that only this benchmark has.
    """

    root: str | None = None
    split: str | None = None
    tasks: tuple[str, ...] | None = None
    race: bool = True
    limit: int | None = None
    ask_age: AgeQuestion = "years"
    options: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)
    image_root: str | None = None


def open_benchmark(name: str, wanted: Wanted) -> Benchmark:
    """The benchmark `name` of `NAMES` (none of `FOLDERS`), found and checked; no picture is read yet.

    Raises:
        UserError: where `wanted` and the benchmark do not fit.
        CorpusError: where `wanted.root` is not the dataset's folder.
    """
    if name == SYNTHETIC:
        return open_synthetic(wanted)
    if wanted.root is None:
        raise UserError(f"{name} needs --root DIR: the dataset's folder as it is distributed")
    if name == ZERO_SHOT_ATTRIBUTES:
        return _open_zero_shot(wanted)
    return _open_dataset(name, wanted, READERS[name].PROTOCOL)


def _open_dataset(name: str, wanted: Wanted, dataset: DatasetProtocol) -> Benchmark:
    reader = reader_of(name)
    names = expand_tasks(dataset.tasks if wanted.tasks is None else wanted.tasks)
    if "race" in names and not reader.ASKS_RACE:
        raise UserError(f"--tasks race: {reader.TITLE} has no race labels; leave it out")
    race = reader.ASKS_RACE and (wanted.race or "race" in names)
    options = {**_options(reader, wanted.options), **({"race": True} if race else {})}
    split = wanted.split or dataset.split
    faces = reader(wanted.root, split, limit=wanted.limit, **options)
    if not len(faces):
        raise UserError(f"{wanted.root}: the split {split} of {reader.TITLE} has no row; name another with --split")
    asked = protocols(names, conventions_of_reader(faces), dataset.units or (0,), wanted.ask_age)
    _check_labels(faces, [task for task in asked if task.spec.name in (wanted.tasks or ())])
    return Benchmark(
        name=name,
        title=reader.TITLE,
        split=split,
        protocol=_in_words(dataset, faces, wanted.options),
        tasks=asked,
        faces=faces.faces,
        count=len(faces),
        majority=lambda: _majority(faces, asked),
        settings={"dataset": faces.describe(), "ask_age": wanted.ask_age},
        crop=dataset.crop,
        person=dataset.person,
        groups=GROUP_LABELS if race else GROUP_LABELS[:2],
    )


def _in_words(dataset: DatasetProtocol, faces: FaceReader, options: Mapping[str, str]) -> str:
    """The protocol in a report's words, with what the user chose instead, and how much of the split there was."""
    chosen = [] if faces.split == dataset.split else [f"split {faces.split}"]
    chosen += [f"{name}={value}" for name, value in options.items()]
    words = f"{dataset.note} Here instead: {', '.join(chosen)}." if chosen else dataset.note
    if faces.split != dataset.split or dataset.official_rows is None:
        return words
    try:
        rows = len(faces if faces.limit is None else replace(faces, limit=None))
    except CorpusError:  # a file that is cut off may be read up to a limit
        return words
    official = f"the official split {dataset.official_rows:,}"
    return f"{words} The folder's labels have {rows:,} rows of this split, {official}."


def _check_labels(faces: FaceReader, named: Sequence[TaskProtocol]) -> None:
    """Refuse a task by its name that the first rows have no label of, before a model is loaded."""
    missing, looked = list(named), 0
    for face in faces.faces(0, LOOKED_AT) if named else ():
        if isinstance(face, LabelledFace):
            looked += 1
            missing = [task for task in missing if task.expected(face.labels) is None]
        if not missing:
            return
    if looked:
        remedy = f"{faces.TITLE} has {', '.join(faces.TASKS)}"
        raise UserError(f"--tasks {missing[0].spec.name}: no label of it in the first {looked} faces; {remedy}")


def _majority(faces: FaceReader, asked: Sequence[TaskProtocol]) -> dict[str, Any]:
    """The baseline from the training split; empty where there is none that can be read."""
    if "train" not in faces.SPLITS or faces.split == "train":
        return {}
    try:
        return constant_answers(asked, sample_labels(replace(faces, split="train", limit=None)))
    except CorpusError:
        return {}


def _open_zero_shot(wanted: Wanted) -> Benchmark:
    """The unseen attributes on the dataset whose folder `wanted.root` is."""
    refused = []
    for name, dataset in ((name, reader.PROTOCOL) for name, reader in READERS.items()):
        if "attributes" not in dataset.tasks:
            continue
        tasks = wanted.tasks or ("attributes",)
        names = tuple(task for task in expand_tasks(tasks) if task in UNSEEN)
        if not names:
            raise UserError(f"--tasks {' '.join(tasks)}: none is unseen; those are {', '.join(UNSEEN)}")
        note = "Attributes that the config zero_shot does not train on (datasets_scripts/questions/zero_shot.py). "
        unseen = replace(dataset, tasks=names, note=note + dataset.note)
        try:
            opened = _open_dataset(name, replace(wanted, tasks=None), unseen)
        except CorpusError as error:
            refused.append(str(error))
            continue
        return replace(opened, name=ZERO_SHOT_ATTRIBUTES, title=f"Unseen attributes of {opened.title}")
    raise UserError(f"{wanted.root} is the folder of no dataset with attributes: {refused[0]}")


def open_synthetic(wanted: Wanted) -> Benchmark:
    """Drawn faces, made as they are asked about; options `seed` and `size`."""
    from datasets_scripts.synthetic.faces import ATTRIBUTES, draw_face
    from datasets_scripts.synthetic.faces import sample_labels as draw_labels
    from datasets_scripts.synthetic.records import SPLITS

    if wanted.root is not None:
        raise UserError(f"--root {wanted.root}: drawn faces are made on the spot; leave it out")
    if unknown := set(wanted.options) - {"seed", "size"}:
        raise UserError(f"--set {min(unknown)}: give seed or size, which drawn faces have")
    seed, size = (_whole(wanted.options, name, usual) for name, usual in (("seed", 0), ("size", 64)))
    if not 16 <= size <= 4096:
        raise UserError(f"--set size={size}: give 16 to 4096, the side of the pictures in pixels")
    split, count = wanted.split or "test", wanted.limit or 500
    if split not in SPLITS:
        raise UserError(f"--split {split}: give one that drawn faces have: {', '.join(SPLITS)}")
    known = [attribute.name for attribute in ATTRIBUTES]
    for name in wanted.tasks or ():
        if name not in known:
            raise UserError(f"--tasks {name}: give some that drawn faces have: {', '.join(known)}")
    asked = tuple(DrawnAttribute(name) for name in wanted.tasks or known)

    def faces() -> Iterator[LabelledFace]:
        for index in range(count):
            drawn = draw_labels(index, seed, split)
            labels = {"attributes": {name: value for name, value in drawn.items() if value is not None}}
            picture = draw_face(drawn, index, seed, split, size)
            yield LabelledFace(f"synthetic-{seed}-{split}-{index}", picture, labels, split, "synthetic", "Apache-2.0")

    def majority() -> dict[str, Any]:
        return constant_answers(asked, ({"attributes": draw_labels(index, seed, "train")} for index in range(2000)))

    held_out = ", ".join(attribute.name for attribute in ATTRIBUTES if attribute.held_out)
    return Benchmark(
        name=SYNTHETIC,
        title="Drawn faces",
        split=split,
        protocol=f"Faces drawn on the spot, of label combinations that train does not hold; the corpus of drawn faces "
        f"never asks about {held_out} in training.",
        tasks=asked,
        faces=faces,
        count=count,
        majority=majority,
        settings={"dataset": {"name": SYNTHETIC, "seed": seed, "size": size, "count": count}},
        groups=(),
        people=False,
    )


def _options(reader: type[FaceReader], given: Mapping[str, str]) -> dict[str, Any]:
    """The reader's own settings out of `NAME=VALUE` words."""
    fields = own_options(reader)
    options = {}
    for name, text in given.items():
        if name not in fields:
            raise UserError(f"--set {name}={text}: {reader.TITLE} has {', '.join(fields) or 'no settings of its own'}")
        kinds = [kind for kind in get_args(fields[name].type) or (fields[name].type,) if kind is not type(None)]
        if get_origin(fields[name].type) is tuple:
            options[name] = tuple(text.split(","))
        elif bool in kinds:
            if text.lower() not in ("true", "false"):
                raise UserError(f"--set {name}={text}: give true or false")
            options[name] = text.lower() == "true"
        else:
            options[name] = _whole(given, name, 0) if int in kinds else text
    return options


def _whole(given: Mapping[str, str], name: str, usual: int) -> int:
    try:
        return int(given.get(name, usual))
    except ValueError:
        raise UserError(f"--set {name}={given[name]}: give a whole number") from None
