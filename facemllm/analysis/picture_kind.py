"""Whether a picture is a drawing or a photograph, told from its pixels: cheap, without weights, and unsure at times.

A drawing as of `datasets_scripts.synthetic` has areas of one colour with hard borders, on a plain ground. Looked at
with 32 × 32 pixels, that outlives JPEG, resizing and some blur. Weights and error rates: `benchmarks/picture_kind.py`.
"""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from modeling_facemllm.face_detection_facemllm import crop

DRAWINGS, PHOTOGRAPHS = "drawings", "photographs"
SIDE = 32
LARGE = 512  # pixels of a side, above which some of the pixels will do
VISIBLE, HARD = 8, 32  # steps between neighbours, of 255
WEIGHTS = (-3.47, -40.39, -4.88)
BIAS = 43.39
UNSURE = 1.0  # scores nearer to 0 are neither
WARNINGS = {
    DRAWINGS: "these look like photographs; this model knows drawn faces only: use --model photo",
    PHOTOGRAPHS: "these look like drawings; this model knows photographs only, and its answers mean little",
}


def picture_kind(image: Image.Image) -> str | None:
    """`"drawings"`, `"photographs"`, or None where the picture may be either."""
    score = drawing_score(image)
    if abs(score) < UNSURE:
        return None
    return DRAWINGS if score > 0 else PHOTOGRAPHS


def drawing_score(image: Image.Image) -> float:
    """How much a picture is a drawing: above 0 it is one rather than a photograph."""
    return float(np.dot(WEIGHTS, picture_signs(image))) + BIAS


def picture_signs(image: Image.Image) -> np.ndarray:
    """What the score is made of, float64 of shape `(3,)`.

    How uneven the most even quarter of the picture is (log), which share of the visible steps between neighbours is
    soft, and how far the top is from one colour (log).
    """
    if max(image.size) > LARGE:
        image = image.resize((LARGE // 2, LARGE // 2), Image.Resampling.NEAREST)
    pixels = np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32)
    patches = np.lib.stride_tricks.sliding_window_view(pixels.mean(axis=2), (3, 3))
    uneven = np.percentile(patches.std(axis=(2, 3)), 25)
    steps = np.concatenate([np.abs(np.diff(pixels, axis=axis)).max(axis=2).ravel() for axis in (0, 1)])
    soft = ((steps > VISIBLE) & (steps <= HARD)).sum() / max(1, (steps > VISIBLE).sum())
    top = pixels[: SIDE // 6].reshape(-1, 3)
    plain = np.abs(top - np.median(top, axis=0)).mean()
    return np.array([np.log(uneven + 0.3), soft, np.log(plain + 0.3)], dtype=np.float64)


class KindCheck:
    """Warns once, on standard error, when a picture is of another kind than the model's; it may be used by threads.

    Args:
        knows: `config.picture_kind` of the model: None warns never.
        command: who says so.
    """

    def __init__(self, knows: str | None, command: str):
        self._wanted = knows if knows in WARNINGS else None
        self._command, self._lock = command, threading.Lock()

    def look_at(self, image: Image.Image) -> None:
        """Look at one picture, if one may still be warned of."""
        if self._wanted is None or picture_kind(image) in (None, self._wanted):
            return
        with self._lock:
            wanted, self._wanted = self._wanted, None
        if wanted is not None:
            print(f"facemllm {self._command}: {WARNINGS[wanted]}", file=sys.stderr)

    def passing(self, images: Iterable[Image.Image]) -> Iterator[Image.Image]:
        """The same pictures, each looked at as it goes by."""
        for image in images:
            self.look_at(image)
            yield image

    def detecting(self, detect: Callable[[Image.Image], list[Any]]) -> Callable[[Image.Image], list[Any]]:
        """The same detector; the faces that it finds are looked at, not what surrounds them."""

        def detect_and_look(image: Image.Image) -> list[Any]:
            faces = detect(image)
            for face in faces if self._wanted is not None else ():
                self.look_at(crop(image, face.box))
            return faces

        return detect_and_look
