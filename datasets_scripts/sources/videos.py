"""Videos, which strangers make: opened by FFmpeg's readers of containers alone, and no larger than pictures may be."""

import os
import stat
from typing import Any

from modeling_facemllm.image_loading_facemllm import MAX_PIXELS
from modeling_facemllm.installation import install_command

CONTAINERS = "asf,avi,flv,m4v,matroska,mov,mpeg,mpegts,mpegvideo,ogg"
"""FFmpeg's readers of these: others open the files that a playlist names, or pictures without their limits."""


def open_video(path: str | os.PathLike) -> tuple[Any, Any]:
    """OpenCV, and its capture of a video, which the caller releases.

    Raises:
        ImportError: without OpenCV.
        OSError: when there is no such file.
        ValueError: when it is no video that can be read, or its frames have more pixels than a picture may have.
    """
    cv2 = _opencv()
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):  # opening a pipe would wait for somebody to write into it
        raise ValueError("it is no regular file")
    if not found.st_size:
        raise ValueError("the file is empty")
    video = cv2.VideoCapture(os.fspath(path), cv2.CAP_FFMPEG)
    try:
        if not video.isOpened():
            raise ValueError("OpenCV cannot read this video")
        width, height = (int(video.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MAX_PIXELS:
            raise ValueError(f"it has {width}×{height} pixels, more than {MAX_PIXELS / 1e6:g} megapixels")
    except ValueError:
        video.release()
        raise
    return cv2, video


def _opencv() -> Any:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what is wrong is reported once, by us
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", f"format_whitelist;{CONTAINERS}")
    try:
        import cv2
    except ImportError as error:
        raise ImportError(f"reading videos needs OpenCV: {install_command('detection')}") from error
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # a file that is no video is a warning
    return cv2
