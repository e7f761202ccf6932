"""A picture of a tar, upright, and how places in it correspond to those in the picture at its URL.

img2dataset writes a picture's pixels as they are stored, most often encoded again and so without the EXIF orientation,
which its json keeps; and, unless `resize_mode no` said otherwise, resized. LAION-Face's detections are in stored
pixels at full size. All that is written here is in pixels of the picture at the URL, full size and upright.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .tars import whole_number

if TYPE_CHECKING:
    from PIL import Image

MAX_SIDE = 2**31 - 1  # of any picture's format
ORIENTATIONS = {  # as exifread, whose words img2dataset writes down, names the values of the EXIF tag
    "Mirrored horizontal": 2,
    "Rotated 180": 3,
    "Mirrored vertical": 4,
    "Mirrored horizontal then rotated 90 CCW": 5,
    "Rotated 90 CW": 6,
    "Mirrored horizontal then rotated 90 CW": 7,
    "Rotated 90 CCW": 8,
}


class BrokenPicture(ValueError):
    """A picture that cannot be used; its text is a reason that is counted."""


@dataclass(frozen=True)
class UprightPicture:
    """An RGB picture turned upright.

    `stored` is the (width, height) of the pixels as the tar has them, `orientation` the EXIF value (1 to 8) by
    which they were turned, `scale` (x, y) how much larger the upright picture at the URL is.
    """

    image: "Image.Image"
    stored: tuple[int, int]
    orientation: int
    scale: tuple[float, float]

    def at_url(self, points: Any) -> np.ndarray:
        """Points of this picture in pixels of the upright picture at the URL; both of shape `(n, 2)`."""
        return np.asarray(points, np.float64).reshape(-1, 2) * self.scale

    def from_detections(self, points: Any) -> np.ndarray:
        """Points in stored pixels of the picture at the URL in pixels of this picture; both of shape `(n, 2)`."""
        scale = self.scale[::-1] if self.orientation >= 5 else self.scale
        x, y = (np.asarray(points, np.float64).reshape(-1, 2) / scale).T
        width, height = self.stored
        turned = {
            1: (x, y),
            2: (width - x, y),
            3: (width - x, height - y),
            4: (x, height - y),
            5: (y, x),
            6: (height - y, x),
            7: (height - y, width - x),
            8: (y, width - x),
        }
        return np.stack(turned[self.orientation], axis=1)


def upright_picture(picture: bytes, meta: Mapping[str, Any]) -> UprightPicture:
    """Decode a picture of a tar with the help of its json. Raises `BrokenPicture` with the reason."""
    image, stored, orientation = decode_upright(picture, _orientation(meta.get("exif")))
    scale = _scale(stored, meta)
    return UprightPicture(image, stored, orientation, scale[::-1] if orientation >= 5 else scale)


def decode_upright(picture: bytes, orientation: int) -> tuple["Image.Image", tuple[int, int], int]:
    """The upright RGB picture, its (width, height) as stored, and the orientation by which it was turned: the file's
    own, or the one that is given where the file has none. Raises `BrokenPicture` with the reason."""
    from modeling_facemllm.image_loading_facemllm import TURNS, exif_orientation, load_image, open_image

    try:
        with open_image(picture, shrink=False) as opened:
            stored, own = opened.size, exif_orientation(opened)
            image = load_image(opened)  # turned already where the file itself has an orientation
    except ValueError:
        raise BrokenPicture("broken picture") from None
    if own != 1 or orientation == 1:
        return image, stored, own
    return image.transpose(TURNS[orientation]), stored, orientation


def changed_since_published(meta: Mapping[str, Any]) -> bool:
    """Whether LAION's table has another size for the picture: then the published detections are of another one."""
    then = whole_number(meta.get("WIDTH")), whole_number(meta.get("HEIGHT"))
    now = whole_number(meta.get("original_width")), whole_number(meta.get("original_height"))
    return None not in (*then, *now) and then != now


def _scale(stored: tuple[int, int], meta: Mapping[str, Any]) -> tuple[float, float]:
    """How much larger the picture at the URL is than the stored one, which may have been resized but not cut."""
    width, height = whole_number(meta.get("original_width")), whole_number(meta.get("original_height"))
    if not width or not height:
        return 1.0, 1.0
    if not 0 < min(width, height) <= max(width, height) <= MAX_SIDE:
        raise BrokenPicture("json with an impossible size")
    scale = width / stored[0], height / stored[1]
    # Sides are rounded to whole pixels: the two scales may differ by what one pixel of the shorter side makes.
    if abs(scale[0] / scale[1] - 1) > 1.5 / min(stored):
        raise BrokenPicture("padded or cropped by the download")
    return scale


def _orientation(exif: Any) -> int:
    """The orientation that img2dataset's json tells of a file that lost it; 1 where it tells nothing."""
    try:
        exif = json.loads(exif) if isinstance(exif, str) else exif
    except (ValueError, RecursionError):
        return 1
    named = exif.get("Image Orientation") if isinstance(exif, dict) else None
    return ORIENTATIONS.get(named, 1) if isinstance(named, str) else 1
