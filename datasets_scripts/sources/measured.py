"""A folder of anybody's photographs, without labels: what is measured on each is what is asked about it.

And the same measured labels beside those of another dataset. What is measured, and how, is in `measuring.py`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from datasets_scripts.schema import CorpusArgumentError, CorpusError, LabelledFace, Skipped
from modeling_facemllm.image_loading_facemllm import UnreadableImage, load_image

from .measuring import MEASURED_TASKS, measure_face, with_measured
from .reading import FaceReader, file_hash, list_files, list_hash, need

if TYPE_CHECKING:
    from modeling_facemllm.face_detection_facemllm import Face, FaceDetector

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
MIN_SCORE = 0.8  # of a face: what is fainter is rarely one, and its landmarks are poor
UNMEASURED = "no measured labels, as the labelled face was not found for certain"
MAX_OTHER_SHARE = 0.5  # of the largest face's area: where another has more, nothing says which one the labels are of


@dataclass(frozen=True)
class MeasuredPhotos(FaceReader):
    """The photographs of a folder and of the folders in it, each of which shows exactly one face.

    `detector` is yunet, which comes with the package, its ONNX file, or a Hub repository that has it. `license` is the
    Hub's name of the terms of your pictures, such as `cc-by-4.0`.
    """

    NAME = "measured"
    TITLE = "photographs"
    SPLITS = ("train",)
    TERMS = "The pictures are their owners'; whoever built the corpus said which licence they are under."
    URL = None  # they are whose folder it is
    TASKS = MEASURED_TASKS
    LAYOUT = f"Pictures ({', '.join(SUFFIXES)}), in folders of any depth. There is no label file. All are split train."
    HUB_NAME: ClassVar[re.Pattern] = re.compile(r"[a-z0-9][a-z0-9.\-]{0,60}")

    detector: str = "yunet"
    license: str = "unknown"

    def _check_layout(self) -> None:
        if not self.HUB_NAME.fullmatch(self.license):
            raise CorpusArgumentError("license", self.license, "give the Hub's name of it, such as cc-by-4.0 or other")
        need(self.root, ".", what="photographs")
        if not self._files:
            raise CorpusError(f"{self.root} has no {', '.join(SUFFIXES)}: give a folder of photographs")
        _ = self._weights

    def describe(self) -> dict[str, Any]:
        """What the faces depend on: the names of the files, and the detector by its content."""
        return {**super().describe(), "detector": file_hash(self._weights)}

    @cached_property
    def _files(self) -> tuple[str, ...]:
        return tuple(list_files(self.root, SUFFIXES))

    @cached_property
    def _weights(self) -> str:
        return find_weights("detector", self.detector)

    def _labels_digest(self) -> str:
        return list_hash(self._files)

    def _rows(self) -> Iterable[str]:
        return self._files

    def _face(self, row: str) -> LabelledFace | Skipped:
        face = self._labelled(row, row, {})
        if isinstance(face, Skipped):
            return face
        try:
            picture = load_image(face.image)
        except UnreadableImage:
            return Skipped(face.id, "unreadable image")
        found = _detector(self._weights).detect(picture)
        if len(found) != 1:
            return Skipped(face.id, "several faces" if found else "no face")
        labels = measure_face(picture, found[0].landmarks)
        image = {**face.image, "path": row.rpartition("/")[2].encode(errors="backslashreplace").decode()}
        places = {"box": list(found[0].box), "landmarks": found[0].landmarks.tolist()}
        return replace(face, image=image, labels=labels, **places)


@dataclass(frozen=True)
class MeasuredToo:
    """The faces of another reader with measured labels beside its own, which stay where both have one.

    `weights` is YuNet's ONNX file. A picture on which the labelled face is not found for certain keeps its own labels,
    and the remark `UNMEASURED`.
    """

    reader: FaceReader
    weights: str

    def __len__(self) -> int:
        return len(self.reader)

    def faces(self, start: int = 0, stop: int | None = None) -> Iterator[LabelledFace | Skipped]:
        """As the reader's own."""
        for face in self.reader.faces(start, stop):
            yield face if isinstance(face, Skipped) else self._measured(face)

    def describe(self) -> dict[str, Any]:
        """What the faces depend on: the reader's own, and the detector by its content."""
        return {**self.reader.describe(), "measured": file_hash(self.weights)}

    def _measured(self, face: LabelledFace) -> LabelledFace | Skipped:
        try:
            picture = load_image(face.image)
        except UnreadableImage:
            return Skipped(face.id, "unreadable image")
        found = the_face(_detector(self.weights).detect(picture), face.box)
        if found is None:
            return replace(face, remark=UNMEASURED)
        return replace(face, labels=with_measured(face.labels, measure_face(picture, found.landmarks)))


def the_face(found: Sequence["Face"], box: Sequence[float] | None = None) -> "Face | None":
    """The one that a picture's labels are of: in `box` where there is one, else the largest by far; None if unsure."""
    if box is not None:
        x0, y0, x1, y1 = box
        middles = [((face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2) for face in found]
        inside = [face for face, (x, y) in zip(found, middles, strict=True) if x0 < x < x1 and y0 < y < y1]
        return inside[0] if len(inside) == 1 else None
    *others, largest = sorted(found, key=_area) or [None]
    return largest if all(_area(other) <= MAX_OTHER_SHARE * _area(largest) for other in others) else None


def find_weights(argument: str, path_or_id: str) -> str:
    """The path of YuNet's weights; `CorpusError` about `argument` where there are none, or OpenCV is missing."""
    from modeling_facemllm.face_detection_facemllm import FaceDetector

    try:
        return FaceDetector.from_pretrained(path_or_id).weights
    except (ImportError, OSError, ValueError) as error:
        raise CorpusArgumentError(argument, path_or_id, f"{error}") from error


def _area(face: "Face") -> float:
    return (face.box[2] - face.box[0]) * (face.box[3] - face.box[1])


@lru_cache(maxsize=1)
def _detector(weights: str) -> "FaceDetector":
    """A process's own detector, on one core: the processes share out the others."""
    import cv2

    from modeling_facemllm.face_detection_facemllm import FaceDetector

    cv2.setNumThreads(1)
    return FaceDetector(weights, min_score=MIN_SCORE)
