"""A benchmark asked of an answerer: predictions written as they come, so that a rerun asks only what is missing.

A folder of predictions has `predictions.jsonl` and `run.json`, which says whose answers to what they are. It is
written before the first question and again at the end, then with `"status": "complete"`.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets_scripts.files import first_in, read_claim, read_json, write_json
from datasets_scripts.schema import LabelledFace, Skipped
from datasets_scripts.sources.reading import REPEATED
from facemllm.cli import NothingDone, UserError

from .answers import AskedFace
from .predictions import Prediction, PredictionLog, Way
from .registry import OpenedBenchmark

if TYPE_CHECKING:
    from PIL import Image

    from .answers import Answerer
    from .benchmarks import Benchmark
    from .task_protocols import TaskProtocol

RUN, PREDICTIONS = "run.json", "predictions.jsonl"
FACES_AT_ONCE = 64
SECONDS_BETWEEN_WRITES = 1.0
UNDECODABLE = "unreadable image"
NO_ID = "row without an id"


@dataclass
class Counts:
    """What became of a benchmark's rows.

    `unreadable` are pictures that could not be had, by the reason; `left_out` rows that the protocol leaves out;
    `unlabelled` faces with no label of any task.
    """

    faces: int = 0
    unlabelled: int = 0
    unreadable: Counter = field(default_factory=Counter)
    left_out: Counter = field(default_factory=Counter)

    def skip(self, reason: str) -> None:
        of_picture = "image" in reason or "video" in reason
        (self.unreadable if of_picture else self.left_out)[reason] += 1

    def as_json(self) -> dict[str, Any]:
        reasons = {name: dict(getattr(self, name).most_common()) for name in ("unreadable", "left_out")}
        return {"faces": self.faces, "unlabelled": self.unlabelled, **reasons}


def read_run(out: Path) -> dict[str, Any] | None:
    """What `run.json` of a folder of predictions says; None where there is none.

    Raises:
        UserError: where it cannot be read, or is that of a training.
    """
    try:
        run = read_json(out / RUN)
    except ValueError as error:
        raise UserError(f"{error}; take another --out") from error
    if run is not None and not {"settings", "status", "tasks"} <= run.keys():
        raise UserError(f"{out / RUN} is not of an evaluation; take another --out")
    return run


def run_into(
    out: Path,
    settings: Mapping[str, Any],
    ways: Sequence[Way],
    ask: Callable[[PredictionLog, Sequence[Way]], Mapping[str, Any]],
    **described: Any,
) -> dict[str, Any]:
    """Ask what is missing in `out` and write down that the run is complete; what its `run.json` then holds.

    `described` goes into `run.json` too. Another way to answer may be added to a run; all else must be the same.

    Args:
        ask: asks what the log does not hold, in these ways, and returns what goes into `run.json` (`counts`,
            `majority`). It is not called where nothing can be missing, so it may load the model.

    Raises:
        UserError: where `out` holds predictions of other settings, or anything without saying whose.
    """
    read_run(out)  # where it is not of an evaluation, the message says so
    try:
        earlier = read_claim(
            out / RUN,
            settings,
            lambda run: {name: value for name, value in run["settings"].items() if name != "ways"},
        )
    except ValueError as error:
        raise UserError(f"{error}; take another --out, or delete that folder") from error
    if earlier is None and (other := first_in(out)):
        raise UserError(f"{out}: holds {other}, and no {RUN} that says whose; take another --out")
    if earlier is not None:
        done = earlier["settings"]["ways"]
        if earlier["status"] == "complete" and set(ways) <= set(done) and (out / PREDICTIONS).exists():
            return earlier
        ways = [*done, *(way for way in ways if way not in done)]
    run = {"status": "running", **described, "settings": {**settings, "ways": list(ways)}}
    write_json(out / RUN, run)
    with PredictionLog(out / PREDICTIONS) as log:
        found = ask(log, run["settings"]["ways"])
    run |= {"status": "complete", **found}
    write_json(out / RUN, run)
    return run


def run_benchmark(
    out: Path,
    benchmark: OpenedBenchmark,
    load: Callable[[], "Answerer"],
    settings: Mapping[str, Any],
    ways: Sequence[Way] | None = None,
) -> dict[str, Any]:
    """Ask a benchmark into `out`, by default in its own way; what its `run.json` then holds.

    Args:
        load: loads the model; it is not called where nothing can be missing.
        settings: whose answers these are (`model`, `weights`, …), and `benchmark`, the name that the user gave.

    Raises:
        UserError: as `run_into`; of that, `NothingDone` where nothing could be asked.
    """
    asked = {**settings, **benchmark.settings}
    run = run_into(out, asked, ways or benchmark.default_ways, partial(benchmark.ask, load), **benchmark.described)
    if benchmark.noted:
        run = {**run, **benchmark.noted}
        write_json(out / RUN, run)
    return run


def opened(benchmark: "Benchmark", command: str | None = None) -> OpenedBenchmark:
    """A benchmark on faces with labels, as the command asks any benchmark."""

    def ask(load_answerer: "Callable[[], Answerer]", log: PredictionLog, ways: Sequence[Way]) -> dict[str, Any]:
        answerer = load_answerer()
        counts = predict(benchmark, answerer, ways, log)
        if not counts.faces:
            reasons = ", ".join(f"{reason}: {n:,}" for reason, n in (counts.unreadable + counts.left_out).items())
            raise NothingDone(f"{benchmark.title}: no face could be asked about ({reasons or 'none has a label'})")
        return {"counts": counts.as_json(), "majority": benchmark.majority(), "answerer": answerer.describe()}

    specs = [task.spec for task in benchmark.tasks]
    return OpenedBenchmark(
        settings={"split": benchmark.split, "tasks": [spec.name for spec in specs], **benchmark.settings},
        described={
            "benchmark": benchmark.name,
            "title": benchmark.title,
            "protocol": benchmark.protocol,
            "tasks": [spec.as_json() for spec in specs],
            "groups": list(benchmark.groups),
            "people": benchmark.people,
            "command": command,
        },
        ask=ask,
    )


def predict(benchmark: "Benchmark", answerer: "Answerer", ways: Sequence[Way], log: PredictionLog) -> Counts:
    """Ask everything that `log` does not hold, `FACES_AT_ONCE` faces at a time.

    Answers are kept by id: a row without one, or with that of an earlier row, is left out and counted.
    """
    from tqdm import tqdm

    counts = Counts()
    rows = _with_ids_of_their_own(benchmark.faces())
    with tqdm(total=benchmark.count, desc=benchmark.title, unit="face") as bar:
        while part := list(islice(rows, FACES_AT_ONCE)):
            _predict_part(benchmark, answerer, ways, log, part, counts)
            bar.update(len(part))
    return counts


def _with_ids_of_their_own(rows: Iterator[LabelledFace | Skipped]) -> Iterator[LabelledFace | Skipped]:
    from datasets_scripts.corpus.hashed_names import HashedNames  # NumPy, which `--help` does not need

    seen = HashedNames()
    for row in rows:
        if isinstance(row, Skipped):
            yield row
        elif not row.id:
            yield Skipped("", NO_ID)
        else:
            yield row if seen.add(row.id.encode("utf-8", "surrogatepass")) else Skipped(row.id, REPEATED)


def _predict_part(
    benchmark: "Benchmark",
    answerer: "Answerer",
    ways: Sequence[Way],
    log: PredictionLog,
    rows: Sequence[LabelledFace | Skipped],
    counts: Counts,
) -> None:
    pending: dict[Way, list[_Pending]] = {way: [] for way in ways}
    for row in rows:
        if isinstance(row, Skipped):
            counts.skip(row.reason)
            continue
        known = [(task, task.expected(row.labels)) for task in benchmark.tasks]
        known = [(task, expected) for task, expected in known if expected is not None]
        if not known:
            counts.unlabelled += 1
            continue
        missing = {way: [pair for pair in known if (row.id, pair[0].spec.name, way) not in log] for way in ways}
        if any(missing.values()):
            picture = _picture(row, benchmark)
            if picture is None:
                counts.unreadable[UNDECODABLE] += 1
                continue
            groups = benchmark.groups_of(row.labels)
            person = {"person": benchmark.person(row.id)} if benchmark.person is not None else {}
            for way, tasks in missing.items():
                if tasks:
                    pending[way].append(_Pending(row.id, picture, groups, person, tasks, way))
        counts.faces += 1
    for way, faces in pending.items():
        answered = zip(faces, answerer.answer([face.asked() for face in faces], way), strict=True)
        _write_as_they_come(log, (prediction for face, answers in answered for prediction in face.read(answers)))


@dataclass(frozen=True)
class _Pending:
    """A face and the tasks that it has yet to be asked in one way."""

    id: str
    picture: "Image.Image"
    groups: dict[str, str]
    person: dict[str, str]
    tasks: Sequence[tuple["TaskProtocol", Any]]
    way: Way

    def asked(self) -> AskedFace:
        questions = [task.questions(self.way, expected) for task, expected in self.tasks]
        return AskedFace(self.id, (self.picture,), tuple(question for asked in questions for question in asked))

    def read(self, answers: Sequence[Any]) -> Iterator[Prediction]:
        rest = iter(answers)
        for task, expected in self.tasks:
            own = list(islice(rest, len(task.questions(self.way, expected))))
            reading = task.read(self.way, own, expected)
            found = {**vars(reading), "extra": {**self.person, **reading.extra}}
            yield Prediction(self.id, task.spec.name, self.way, expected, groups=self.groups, **found)


def _picture(face: LabelledFace, benchmark: "Benchmark") -> "Image.Image | None":
    """The picture as it is shown, upright; None where it cannot be decoded."""
    from modeling_facemllm.face_detection_facemllm import crop
    from modeling_facemllm.image_loading_facemllm import load_listed_image

    folders, root = benchmark.places
    try:
        picture = load_listed_image(face.image, folders, root=root)
    except ValueError:
        return None
    if benchmark.crop is None or face.box is None:
        return picture
    try:
        return crop(picture, face.box, benchmark.crop.margin)
    except ValueError:  # the box lies outside the picture
        return picture


def _write_as_they_come(log: PredictionLog, predictions: Iterator[Prediction]) -> None:
    waiting, written = [], time.monotonic()
    for prediction in predictions:
        waiting.append(prediction)
        if time.monotonic() - written >= SECONDS_BETWEEN_WRITES:
            log.append(waiting)
            waiting, written = [], time.monotonic()
    log.append(waiting)
