"""Which faces of a photo are analysed: those that a detector or the caller says, as pictures of one face each."""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from .errors_facemllm import ArgumentError
from .face_detection_facemllm import (
    ARCFACE_POINTS,
    ARCFACE_SIDE,
    Face,
    FaceDetector,
    align,
    crop,
    crop_box,
    similarity_transform,
)

NO_DETECTOR = "none"
DETECTORS = "'yunet', 'none' (each picture is one face), the path or Hub id of YuNet's .onnx, a function, or boxes"


@dataclass
class FoundFace:
    """One face of a photo and the picture of it that the model sees, `None` once it has been seen."""

    face: Face
    picture: Image.Image | None
    aligned: bool


@dataclass(frozen=True)
class FaceChoice:
    """Which of a photo's faces are taken, and how they are cut out.

    Attributes:
        align: turn and scale a face to ArcFace's five points, where they are known.
        margin: what is shown around the face: share of its box's longer side, on each side.
        on_no_face: `"skip"` gives none, `"whole"` the whole picture as one face, `"raise"` an error.
        max_faces: the largest ones are kept, in the order in which they were found.
        min_score: fainter ones are dropped; faces without a score are kept.
        side: of aligned pictures, in pixels.
    """

    align: bool = False
    margin: float = 0.25
    on_no_face: str = "skip"
    max_faces: int | None = None
    min_score: float | None = None
    side: int = 224

    def faces_of(self, image: Image.Image, found: Any) -> list[FoundFace]:
        """The faces of an upright picture, given what a detector said: see [`read_faces`].

        Raises:
            ValueError: when there is none and `on_no_face` is `"raise"`, and for boxes that are none.
        """
        faces = [
            face
            for face in read_faces(found, image.size)
            if self.min_score is None or face.score is None or face.score >= self.min_score
        ]
        if self.max_faces is not None and len(faces) > self.max_faces:
            largest = sorted(range(len(faces)), key=lambda number: -_area(faces[number].box))[: self.max_faces]
            faces = [faces[number] for number in sorted(largest)]
        if faces:
            return [self._cut_out(image, face) for face in faces]
        if self.on_no_face == "raise":
            raise ValueError("no face was found, and on_no_face='raise'; 'skip' or 'whole' go on")
        return [whole_picture(image)] if self.on_no_face == "whole" else []

    def _cut_out(self, image: Image.Image, face: Face) -> FoundFace:
        if self.align and face.landmarks is not None:
            # As much is shown as in the crop, which ends where the photo does: what lies beyond would be black.
            left, top, right, bottom = crop_box(image.size, face.box, self.margin)
            turn = similarity_transform(face.landmarks, ARCFACE_POINTS)
            shown = min(right - left, bottom - top) * math.hypot(turn[0, 0], turn[1, 0])
            margin = (shown / ARCFACE_SIDE - 1) / 2
            return FoundFace(face, align(image, face.landmarks, self.side, margin), True)
        return FoundFace(face, crop(image, face.box, self.margin), False)


def whole_picture(image: Image.Image) -> FoundFace:
    """A picture that is one face as it is."""
    box = (0.0, 0.0, float(image.width), float(image.height))
    return FoundFace(Face(box, landmarks=None, score=None), image, False)


def load_detector(detector: Any, min_score: float | None = None) -> Callable[[Image.Image], Any] | None:
    """The function that finds faces in a picture; None where each picture is one face.

    Args:
        detector: `"yunet"`, `"none"`, path or Hub id of YuNet's weights, a function, or an object with `detect`.
        min_score: YuNet's; its own default where absent.

    Raises:
        ValueError: when there is no such detector or it cannot be had; the message says what would do.
    """
    if isinstance(detector, (str, os.PathLike)):
        if detector == NO_DETECTOR:
            return None
        options = {} if min_score is None else {"min_score": min_score}
        try:
            return FaceDetector.from_pretrained(detector, **options).detect
        except (OSError, ImportError, ValueError) as error:
            remedy = f"{error}; or give 'none' where each picture is one face"
            raise ArgumentError("detector", os.fspath(detector), remedy) from error
    detect = getattr(detector, "detect", detector)
    if not callable(detect):
        raise ArgumentError("detector", detector, f"give {DETECTORS}")
    return detect


def is_boxes(detector: Any) -> bool:
    """Whether a `detector=` argument is places of faces, not something that finds them."""
    return (
        isinstance(detector, Iterable)
        and not isinstance(detector, (str, os.PathLike))
        and not callable(getattr(detector, "detect", detector))
    )


def read_faces(given: Any, size: tuple[int, int]) -> list[Face]:
    """What a detector or a caller says about the faces of one picture.

    Args:
        given: a face or a list of them, None for none. A face is `[x0, y0, x1, y1]` or `[x0, y0, x1, y1, score]` in
            pixels, a mapping with `box` and perhaps `landmarks` and `score` (or `detection_score`, as this pipeline's
            results have it), or an object with those attributes, such as [`Face`].
        size: width and height of the upright picture; boxes are cut off at its edges.

    Raises:
        ValueError: for anything else, an empty box, or one outside the picture.
    """
    if given is None:
        return []
    given = _listed(given)
    if isinstance(given, Mapping) or hasattr(given, "box") or _are_numbers(given):
        given = [given]
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes)):
        raise ValueError(f"faces={given!r}: give a list of boxes [x0, y0, x1, y1]")
    return [_read_face(face, size) for face in given]


def _read_face(given: Any, size: tuple[int, int]) -> Face:
    if isinstance(given, Mapping):
        box, landmarks = given.get("box"), given.get("landmarks")
        score = given.get("score", given.get("detection_score"))
    elif hasattr(given, "box"):
        box, landmarks, score = given.box, getattr(given, "landmarks", None), getattr(given, "score", None)
    else:
        box, landmarks, score = given, None, None
    box = _listed(box)
    if not _are_numbers(box):
        raise ValueError(f"box={box!r}: give four finite numbers, [x0, y0, x1, y1]")
    x0, y0, x1, y1, *last = (float(number) for number in box)
    score = last[0] if last and score is None else score
    inside = (max(x0, 0.0), max(y0, 0.0), min(x1, float(size[0])), min(y1, float(size[1])))
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        sides = ", ".join(f"{side:g}" for side in (x0, y0, x1, y1))
        raise ValueError(f"box=[{sides}]: it is empty, or outside the picture of {size[0]}×{size[1]} pixels")
    if landmarks is not None:
        landmarks = np.asarray(_listed(landmarks), dtype=np.float32)
        if landmarks.shape != (5, 2) or not np.isfinite(landmarks).all():
            raise ValueError(f"landmarks of shape {landmarks.shape}: give 5 finite points, [[x, y], ...], or None")
    return Face(inside, landmarks, None if score is None else float(score))


def _listed(given: Any) -> Any:
    """Arrays and tensors, wherever they lie, as lists; all else as it is."""
    return given.tolist() if hasattr(given, "tolist") else given


def _are_numbers(given: Any) -> bool:
    if not isinstance(given, Sequence) or isinstance(given, (str, bytes)) or len(given) not in (4, 5):
        return False
    try:
        return all(np.ndim(number) == 0 and math.isfinite(number) for number in given)
    except TypeError:
        return False


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
