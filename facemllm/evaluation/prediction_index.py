"""A file of predictions by task and way: read one of them at a time, in memory that holds none of the others."""

from array import array
from collections.abc import Iterator
from pathlib import Path

from facemllm.cli import UserError

from .predictions import Prediction, parse_prediction


class PredictionIndex:
    """Where in the file the predictions of each task and way stand: 16 bytes for each."""

    def __init__(self, path: str | Path) -> None:
        """Reads the file once; a last line that a kill cut off is no prediction. Raises `UserError`."""
        self.path = Path(path)
        self._places: dict[tuple[str, str], tuple[array, array]] = {}
        start = 0
        try:
            with open(path, "rb") as lines:
                for number, line in enumerate(lines, start=1):
                    if line.endswith(b"\n"):
                        entry = parse_prediction(line, path, number)
                        starts, numbers = self._places.setdefault((entry.task, entry.way), (array("Q"), array("Q")))
                        starts.append(start)
                        numbers.append(number)
                    start += len(line)
        except FileNotFoundError as error:
            raise UserError(f"{path}: there is no such file of predictions; run facemllm evaluate first") from error

    @property
    def keys(self) -> list[tuple[str, str]]:
        """`(task, way)` of everything that was asked, in the order in which it first stands in the file."""
        return list(self._places)

    def read(self, task: str, way: str) -> Iterator[Prediction]:
        """The predictions of one task and way, in the file's order."""
        starts, numbers = self._places.get((task, way), ((), ()))
        with open(self.path, "rb") as lines:
            for start, number in zip(starts, numbers, strict=True):
                lines.seek(start)
                yield parse_prediction(lines.readline(), self.path, number)
