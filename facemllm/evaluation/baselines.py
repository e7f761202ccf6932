"""What a model that does not look would best say: the same constant answer for every face, per task."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from datasets_scripts.schema import LabelledFace
from datasets_scripts.sources.reading import FaceReader

from .figures.task_figures import most_frequent
from .task_protocols import TaskProtocol

BASELINE_ROWS = 20_000
SLICES = 20


def constant_answers(protocols: Sequence[TaskProtocol], labels: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """For each task with a label the constant answer with the best figure, in the shape of `Prediction.expected`.

    The most frequent option (the first in the alphabet of several), the median of numbers and of each angle. Action
    units have none: every unit active is best for F1 whatever the training split holds. Labels are counted as they
    come, never held, and not read at all where nothing is counted.
    """
    counted = [protocol for protocol in protocols if protocol.spec.kind != "units"]
    counts: dict[tuple[str, str], Counter] = defaultdict(Counter)
    for face in labels if counted else ():
        for protocol in counted:
            expected = protocol.expected(face)
            parts = expected if isinstance(expected, Mapping) else {"": expected}
            for part, value in parts.items():
                if value is not None:
                    counted_as = round(value, 1) if isinstance(value, float) else value
                    counts[protocol.spec.name, part][counted_as] += 1
    answers: dict[str, Any] = {}
    for (task, part), count in counts.items():
        best = _best(count)
        answers[task] = {**answers.get(task, {}), part: best} if part else best
    return answers


def sample_labels(reader: FaceReader, rows: int = BASELINE_ROWS) -> Iterator[Mapping[str, Any]]:
    """The labels of at most `rows` rows, in slices spread evenly over the reader's split."""
    total = len(reader)
    slices = SLICES if total > rows else 1
    for number in range(slices):
        start = number * total // slices
        yield from (
            face.labels for face in reader.faces(start, start + rows // slices) if isinstance(face, LabelledFace)
        )


def _best(count: Counter) -> Any:
    if not isinstance(next(iter(count)), float):
        return most_frequent(count)
    values = sorted(count)
    passed = accumulate(count[value] for value in values)
    return next(value for value, rows in zip(values, passed, strict=True) if 2 * rows >= count.total())
