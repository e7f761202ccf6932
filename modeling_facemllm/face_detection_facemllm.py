"""The faces of a photo: found with YuNet, aligned to ArcFace's five points, cropped with a margin.

Detection needs OpenCV (`pip install opencv-python-headless`), imported when the first detector is made, and YuNet's
weights: those that the package carries, a path or a Hub repository. Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level
Face Detector", 2023.

All places are in pixels of the upright picture: a photo with an EXIF orientation is turned first, in every function
here, so that what `detect` gives fits `align` and `crop` of the same photo.
"""

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .image_loading_facemllm import load_image

YUNET_NAME = "yunet"
YUNET = "opencv/face_detection_yunet"
YUNET_FILE = "face_detection_yunet_2023mar.onnx"
# The package facemllm lies beside this one, in a clone as in site-packages. Beside a model folder's copy of this file
# there is nothing, so that a folder finds the same faces whatever else is installed.
PACKAGED_YUNET = Path(__file__).parent.parent / "facemllm" / "models" / "yunet" / "yunet_s_640_640.onnx"
# Both measured on FairFace: YuNet's scores fall from 0.94 to 0.7 where a face is wider than about 500 pixels, so that
# a small copy of the picture is looked at besides the larger one, in which the small faces are.
OVERVIEW_SIDE = 320
DETECTION_SIDE = 640
SMALL_FACES_SIDE = 1920
SHARPNESS_SIDE = 128
REMEDY = f"give the path of {YUNET_FILE}, or a Hub repository that has it, such as {YUNET!r}"
# Where ArcFace has eyes, nose and corners of the mouth in 112 × 112 pixels (insightface, `arcface_dst`).
ARCFACE_SIDE = 112
ARCFACE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


@dataclass(frozen=True, eq=False)
class Face:
    """One face of a picture, in pixels of the upright picture.

    Attributes:
        box: `(x0, y0, x1, y1)`, inside the picture.
        landmarks: float32 array of shape `(5, 2)`: right eye, left eye, tip of the nose, right and left corner of the
            mouth, as the person has them: right is on the picture's left. None where a box is all that is known.
        score: YuNet's, from 0 to 1; None where nobody looked for the face.
    """

    box: tuple[float, float, float, float]
    landmarks: np.ndarray | None
    score: float | None


class FaceDetector:
    """YuNet on the CPU. One instance may be used from several threads, which then wait for each other; it can be
    pickled, and is loaded again in the process that gets it.

    Args:
        weights: path of YuNet's ONNX file.
        min_score: fainter detections are dropped. At 0.6, 99 % of FairFace's faces are found, and something in 2 % of
            the same pictures cut into tiles and shuffled; at 0.8, 98 % and 0.1 %.
        max_side: the longer side, in pixels, to which larger pictures are scaled down to be searched.
        small_faces: search pictures at up to 1920 pixels: finds faces a third as large, and takes up to ten times as
            long. Has effect only where it is more than `max_side`.

    Raises:
        ImportError: without OpenCV.
        OSError: when there is no such file.
        ValueError: when the file is no YuNet.
    """

    def __init__(
        self,
        weights: str | os.PathLike,
        *,
        min_score: float = 0.6,
        max_side: int = DETECTION_SIDE,
        small_faces: bool = False,
    ):
        if not 0 < min_score <= 1:
            raise ValueError(f"min_score={min_score}: give more than 0 and at most 1")
        if max_side < 32:
            raise ValueError(f"max_side={max_side}: give 32 pixels or more")
        self.weights = os.fspath(weights)
        self.min_score = min_score
        self.max_side = max(max_side, SMALL_FACES_SIDE) if small_faces else max_side
        self._load()

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | os.PathLike = YUNET_NAME,
        *,
        filename: str = YUNET_FILE,
        revision: str = "main",
        **options,
    ) -> "FaceDetector":
        """A detector from an ONNX file, a folder with `filename`, or a Hub repository with it; the options are those
        of the class. `"yunet"` is the package's file, and where this code was copied from it, OpenCV's on the Hub.

        Raises:
            OSError: when the weights are neither there nor can be fetched; the message says what was tried. A name
                that can only be a path (`x.onnx`, `./x`, `a/b/c`) is not looked for on the Hub.
        """
        path_or_id = yunet_weights() if path_or_id == YUNET_NAME else path_or_id
        path = os.path.expanduser(os.fspath(path_or_id))
        if os.path.isdir(path):
            path = os.path.join(path, filename)
        elif not os.path.isfile(path):
            name = os.fspath(path_or_id)
            if name.endswith(".onnx") or name.count("/") != 1 or name.startswith((".", "/", "~")):
                raise FileNotFoundError(f"there is no file or folder {name!r}: {REMEDY}")
            path = _fetch(name, filename, revision)
        return cls(path, **options)

    def detect(self, image: Any) -> list[Face]:
        """The faces of one picture, the surest first; an empty list where there is none.

        Faces lying on their side (more than about 60° from upright) are mostly missed.

        Args:
            image: whatever [`load_image`] reads; arrays are RGB.

        Raises:
            ValueError: when the image cannot be read.
        """
        cv2 = _opencv()
        image = load_image(image)
        width, height = image.size
        longer = max(height, width)
        if (smaller := longer // (4 * self.max_side)) > 1:  # NumPy's copy of a huge picture would be the largest one
            image = image.reduce(smaller)
        pixels = np.asarray(image)
        found = [self._search(cv2, pixels, side) for side in {min(longer, OVERVIEW_SIDE), min(longer, self.max_side)}]
        rows = np.concatenate(found)
        rows[:, 0:14:2] *= width
        rows[:, 1:14:2] *= height
        rows = rows[np.argsort(-rows[:, 14], kind="stable")]
        faces: list[Face] = []
        for row in rows:
            x, y, w, h = row[:4]
            left, top, right, bottom = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
            box = (float(left), float(top), float(right), float(bottom))
            if right <= left or bottom <= top or any(_same_face(box, face.box) for face in faces):
                continue
            faces.append(Face(box, row[4:14].reshape(5, 2).astype(np.float32), float(row[14])))
        return faces

    def _search(self, cv2, pixels: np.ndarray, side: int) -> np.ndarray:
        """YuNet's rows `(faces, 15)`: x, y, width, height, five points, score, as shares of the picture's sides."""
        height, width = pixels.shape[:2]
        scale = side / max(height, width)
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        with self._lock:
            self._network.setInputSize(pixels.shape[1::-1])
            _, rows = self._network.detect(pixels)
        if rows is None:
            return np.zeros((0, 15))
        rows = rows.astype(np.float64)
        rows[:, 0:14:2] /= pixels.shape[1]
        rows[:, 1:14:2] /= pixels.shape[0]
        return rows[np.isfinite(rows).all(axis=1)]

    def _load(self) -> None:
        cv2 = _opencv()
        if not os.path.isfile(self.weights):
            raise FileNotFoundError(f"there are no YuNet weights {self.weights!r}: give the path of {YUNET_FILE}")
        logging = cv2.utils.logging
        level = logging.setLogLevel(logging.LOG_LEVEL_ERROR)  # OpenCV 5 warns of what no one has asked it for
        try:
            network = cv2.FaceDetectorYN.create(self.weights, "", (320, 320), self.min_score, 0.3, 5000)
            network.detect(np.zeros((320, 320, 3), np.uint8))
        except cv2.error as error:
            raise ValueError(f"OpenCV {cv2.__version__} cannot run {self.weights!r} as YuNet: {REMEDY}") from error
        finally:
            logging.setLogLevel(level)
        self._network = network
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_network", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._load()


def yunet_weights() -> str:
    """What `"yunet"` names: the path of the package's file where it is there, else OpenCV's repository on the Hub."""
    return str(PACKAGED_YUNET) if PACKAGED_YUNET.is_file() else YUNET


def align(image: Any, landmarks: Any, size: int = 112, margin: float = 0.0) -> Image.Image:
    """The face turned, scaled and shifted so that its five points come nearest to ArcFace's, `size` × `size` pixels.

    What lies outside the photo is black.

    Args:
        image: whatever [`load_image`] reads.
        landmarks: array of shape `(5, 2)` in pixels, ordered as in [`Face`].
        margin: what is shown around ArcFace's square: that share of it, on each side; negative for a part of it.

    Raises:
        ValueError: for another shape, or points that all lie in one place.
    """
    image = load_image(image)
    target = (ARCFACE_POINTS + ARCFACE_SIDE * margin) * (size / (ARCFACE_SIDE * (1 + 2 * margin)))
    matrix = similarity_transform(landmarks, target)
    # A transform takes one pixel for each of the result's: a face much larger than the result is reduced before it.
    factor = int(1 / np.hypot(matrix[0, 0], matrix[1, 0]))
    if factor > 1:
        image = image.reduce(factor)
        points = (np.asarray(landmarks, dtype=np.float64) + 0.5) / factor - 0.5
        matrix = similarity_transform(points, target)
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    # Points are where pixels have their centres; Pillow counts from a pixel's corner.
    inverse[:, 2] += 0.5 - inverse[:, :2].sum(axis=1) * 0.5
    return image.transform((size, size), Image.Transform.AFFINE, inverse.ravel(), Image.Resampling.BICUBIC)


def similarity_transform(source: Any, target: Any) -> np.ndarray:
    """The rotation, scale and shift that takes `source` nearest to `target`: float64 of shape `(2, 3)`.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", TPAMI 1991.
    """
    source, target = (np.asarray(points, dtype=np.float64) for points in (source, target))
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 2 or not np.isfinite(source).all():
        raise ValueError(f"landmarks of shape {source.shape}: give {len(target)} finite points, [[x, y], ...]")
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    spread = ((source - source_mean) ** 2).sum() / len(source)
    if spread < 1e-12:
        raise ValueError("the landmarks all lie in one place: no face can be aligned by them")
    left, strengths, right = np.linalg.svd((target - target_mean).T @ (source - source_mean) / len(source))
    signs = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])  # a rotation, never a mirror image
    rotation = (left * signs) @ right
    scale = (strengths * signs).sum() / spread
    return np.hstack([scale * rotation, (target_mean - scale * rotation @ source_mean)[:, None]])


def crop_box(size: tuple[int, int], box: Any, margin: float = 0.25, square: bool = True) -> tuple[int, int, int, int]:
    """The part of a picture of `size` (width, height) that `crop` cuts out: `(x0, y0, x1, y1)` in whole pixels.

    Raises:
        ValueError: for an empty box or one that lies outside the picture.
    """
    x0, y0, x1, y1 = (float(side) for side in box)
    if not (x0 < x1 and y0 < y1) or x1 <= 0 or y1 <= 0 or x0 >= size[0] or y0 >= size[1]:
        raise ValueError(f"box={tuple(box)}: it is empty, or outside the picture of {size[0]}×{size[1]} pixels")
    width, height = x1 - x0, y1 - y0
    extra = 2 * margin * max(width, height)
    width, height = (max(width, height) + extra,) * 2 if square else (width + extra, height + extra)
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    left, top = max(0, round(x - width / 2)), max(0, round(y - height / 2))
    right, bottom = min(size[0], round(x + width / 2)), min(size[1], round(y + height / 2))
    return left, top, max(right, left + 1), max(bottom, top + 1)


def crop(image: Any, box: Any, margin: float = 0.25) -> Image.Image:
    """A square around the middle of a face's box, with `margin`: that share of its longer side, on each side.

    It is cut off at the edges of the photo, never padded, so that a face at an edge gives less than a square.

    Raises:
        ValueError: for an empty box or one that lies outside the picture.
    """
    image = load_image(image)
    return image.crop(crop_box(image.size, box, margin))


def sharpness(image: Any, box: Any = None) -> float:
    """How sharp a picture is, or the part of it in `box`: the variance of the Laplacian at 128 pixels' longer side.

    Brought to one size, faces of all sizes can be compared; a smaller one is enlarged, and so counts as less sharp.

    Raises:
        ImportError: without OpenCV.
        ValueError: for an empty box or one that lies outside the picture.
    """
    cv2 = _opencv()
    image = load_image(image)
    if box is not None:
        image = image.crop(crop_box(image.size, box, margin=0, square=False))
    gray = np.asarray(image.convert("L"))
    scale = SHARPNESS_SIDE / max(gray.shape)
    size = tuple(max(1, round(side * scale)) for side in gray.shape[::-1])
    gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return float(cv2.Laplacian(gray, cv2.CV_64F).var())


def _same_face(box: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether two boxes overlap by more than 0.4 of their union."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    if width <= 0 or height <= 0:
        return False
    areas = [(sides[2] - sides[0]) * (sides[3] - sides[1]) for sides in (box, other)]
    return width * height > 0.4 * (sum(areas) - width * height)


def _fetch(repository: str, filename: str, revision: str) -> str:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return hf_hub_download(repository, filename, revision=revision)
    except HFValidationError as error:
        raise OSError(f"{repository!r} is neither a file nor the name of a Hub repository: {REMEDY}") from error
    except LocalEntryNotFoundError as error:
        raise OSError(
            f"cannot fetch {filename} from {repository!r} (no connection, not in the cache): give the path of "
            f"{filename}"
        ) from error
    except HfHubHTTPError as error:
        reason = str(error).strip().splitlines()[0]
        raise OSError(f"cannot fetch {filename} from {repository!r} ({reason}): {REMEDY}") from error


def _opencv():
    try:
        import cv2
    except ImportError as error:
        raise ImportError("finding faces needs OpenCV: pip install opencv-python-headless") from error
    if not hasattr(cv2, "FaceDetectorYN"):
        raise ImportError(
            f"OpenCV {cv2.__version__} has no YuNet: pip install --upgrade opencv-python-headless (4.5.4 or newer)"
        )
    return cv2
