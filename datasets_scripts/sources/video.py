"""Frames of a video by number, decoded one after the other."""

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

JPEG_QUALITY = 95


class VideoFrames:
    """Frames of one video as JPEG files of quality 95, the first frame being number 1.

    Frames are decoded in order: asking for a later one passes over those between without converting them, asking for
    an earlier one begins anew. There is no seeking, which in AVI files is not exact with every codec.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self._capture: Any = None
        self._decoded = 0  # the number of the frame last taken from the video

    def read(self, number: int) -> bytes | str:
        """The frame `number`, or the reason why there is none, as `Skipped` counts it."""
        import cv2

        if self._capture is None or number <= self._decoded:
            self.close()
            if not self.path.is_file():
                return "missing video"
            self._capture, self._decoded = cv2.VideoCapture(str(self.path)), 0
        if not self._capture.isOpened():
            return "unreadable video"
        while self._decoded < number - 1:
            if not self._capture.grab():
                return "video ends before its labels"
            self._decoded += 1
        is_there, pixels = self._capture.read()
        if not is_there:
            return "video ends before its labels"
        self._decoded = number
        return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1])

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
        self._capture = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
