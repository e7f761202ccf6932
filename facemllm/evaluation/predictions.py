"""What a model answered, item by item: one JSON line each, from which every figure can be computed again."""

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from datasets_scripts.files import Busy, Journal
from facemllm.cli import UserError

Kind = Literal["options", "binary", "number", "angles", "units"]
Way = Literal["scoring", "generation"]

WAYS: tuple[Way, ...] = ("scoring", "generation")


@dataclass(frozen=True)
class TaskSpec:
    """What one task asks for, as far as its figures depend on it.

    Attributes:
        kind: `options` is one of a closed set (expression, gender, age group, race, attributes with several
            values), `binary` yes or no, `number` an age in years, `angles` yaw, pitch and roll in degrees,
            `units` the action units that are active.
        options: the closed set in its order; `("yes", "no")` for `binary`.
        ordered: whether neighbours among the options are near misses, as age groups are.
        bins: for age groups, the ages in years `[low, high)` that each option stands for.
    """

    name: str
    kind: Kind
    options: tuple[str, ...] = ()
    ordered: bool = False
    bins: Mapping[str, tuple[float, float]] | None = None

    def as_json(self) -> dict[str, Any]:
        """A plain dict, as `run.json` holds it."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "TaskSpec":
        bins = entry.get("bins")
        return cls(
            name=entry["name"],
            kind=entry["kind"],
            options=tuple(entry.get("options") or ()),
            ordered=bool(entry.get("ordered")),
            bins=None if bins is None else {name: (low, high) for name, (low, high) in bins.items()},
        )


@dataclass(frozen=True)
class Prediction:
    """One answer to one question about one item.

    Attributes:
        id: the face's (or the question's) id; several tasks and both ways share it.
        expected, predicted: a str for `options` and `binary`, a float for `number`, `{"yaw": degrees, ...}`
            for `angles`, `{"12": True, ...}` for `units`; `predicted` is None where it could not be read.
        probabilities: option to probability where the model was scored.
        text: what the model wrote where it generated.
        groups: the item's groups, such as `{"gender": "female", "age_group": "20-29"}`.
        extra: what only one benchmark knows, such as a category.
    """

    id: str
    task: str
    way: Way
    expected: Any
    predicted: Any | None
    probabilities: dict[str, float] | None = None
    text: str | None = None
    groups: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


def read_predictions(path: str | Path) -> Iterator[Prediction]:
    """The predictions of a file, in its order; a last line that a kill cut off is no prediction.

    Raises:
        UserError: when there is no such file, or a line before the last is not a prediction.
    """
    return (entry for _, _, entry in _placed(path))


def _placed(path: str | Path) -> Iterator[tuple[int, int, Prediction]]:
    """Where the line of each prediction starts, its number, and the prediction."""
    start = 0
    try:
        with open(path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.endswith(b"\n"):
                    yield start, number, parse_prediction(line, path, number)
                start += len(line)
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file of predictions; run facemllm evaluate --out first") from error


def parse_prediction(line: bytes, path: str | Path, number: int) -> Prediction:
    """The prediction of one line; `UserError` names the file and the line's number if it is none."""
    try:
        return Prediction(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}, line {number}: is no prediction ({error}); remove that line") from error


class PredictionIndex:
    """A file of predictions, read one task and way at a time: 16 bytes are held for each prediction."""

    def __init__(self, path: str | Path) -> None:
        """Reads the file once; a last line that a kill cut off is no prediction. Raises `UserError`."""
        self.path = Path(path)
        self._places: dict[tuple[str, str], tuple[array, array]] = {}
        for start, number, entry in _placed(path):
            starts, numbers = self._places.setdefault((entry.task, entry.way), (array("Q"), array("Q")))
            starts.append(start)
            numbers.append(number)

    @property
    def keys(self) -> list[tuple[str, str]]:
        """`(task, way)` of everything that was asked, in the order in which it first occurs in the file."""
        return list(self._places)

    def read(self, task: str, way: str) -> Iterator[Prediction]:
        """The predictions of one task and way, in the file's order."""
        starts, numbers = self._places.get((task, way), ((), ()))
        with open(self.path, "rb") as lines:
            for start, number in zip(starts, numbers, strict=True):
                lines.seek(start)
                yield parse_prediction(lines.readline(), self.path, number)


class PredictionLog(AbstractContextManager):
    """Predictions appended to a file as they come; opening it again goes on where it stopped.

    A line torn by a kill is cut off when the file is opened. Of each line eight bytes are held in memory, so that
    `(id, task, way) in log` says what need not be asked again. No second process writes to the file meanwhile.
    """

    def __init__(self, path: str | Path) -> None:
        """Raises `UserError` where another process writes the file, or a line of it is no prediction."""
        from datasets_scripts.corpus.hashed_names import HashedNames  # NumPy, which `--help` does not need

        self._done = HashedNames()
        try:
            self._journal = Journal(path)
        except Busy as error:
            raise UserError(f"{path}: another process writes this file; wait for it, or take another --out") from error
        try:
            for number, (_, line) in enumerate(self._journal.lines(), start=1):
                entry = parse_prediction(line, path, number)
                self._done.add(_key(entry.id, entry.task, entry.way))
        except UserError:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._done)

    def __contains__(self, key: tuple[str, str, str]) -> bool:
        """Whether `(id, task, way)` has been answered."""
        return _key(*key) in self._done

    def append(self, predictions: Iterable[Prediction]) -> None:
        """Write a batch; when this returns it is on the disk. What is there already is not written twice."""
        self._journal.append(
            *(vars(entry) for entry in predictions if self._done.add(_key(entry.id, entry.task, entry.way)))
        )

    def close(self) -> None:
        self._journal.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def _key(id: str, task: str, way: str) -> bytes:
    return f"{way}\0{task}\0{id}".encode("utf-8", "surrogatepass")
