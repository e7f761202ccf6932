"""Whatever a photo comes as (file, URL, bytes, base64, array, PIL image) → an upright RGB PIL image."""

import base64
import binascii
import contextlib
import io
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from .url_fetching_facemllm import FETCH_TIMEOUT, MAX_BYTES, fetch, without_password

MAX_PIXELS = 100_000_000
"""Pixels of a picture, after a larger JPEG was decoded at a half, a quarter or an eighth of its size."""
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
"""What is opened, whatever a file is called. Others are not: for PostScript, Pillow would start Ghostscript."""
EXIF_ORIENTATION = 0x0112
WHOLE_SIZE = "facemllm_whole_size"
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How a picture is turned upright, by its EXIF orientation."""
_STRIP_PIXELS = 1 << 22
_HEIF_BRANDS = (b"heic", b"heim", b"heis", b"heix", b"hevc", b"hevm", b"hevs", b"hevx", b"mif1", b"msf1")


class UnreadableImage(ValueError):
    """A picture that cannot be had: its `name`, and the `reason` in one line without it."""

    def __init__(self, name: str, reason: str):
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        return f"cannot read the image {self.name}: {self.reason}"


def load_image(
    source: Any,
    *,
    timeout: float = FETCH_TIMEOUT,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
    private_hosts: bool = True,
    halve_above: int | None = None,
) -> Image.Image:
    """Read one image as 8-bit RGB, turned upright as its EXIF orientation says.

    Transparency is laid over white; palette, grayscale and CMYK images are converted; 16 bits are scaled to 8. Of an
    animation it is the first picture. What else its EXIF says does not matter, nor what a file is called.

    Args:
        source: `PIL.Image.Image`; path (`str` or `os.PathLike`) of a regular file; `http(s)` URL; `data:image/…` URL
            or bare base64; `bytes`; a mapping with `bytes` or `path` (an undecoded `datasets.Image`); NumPy array or
            torch tensor of shape `(H, W)`, `(H, W, C)` or `(C, H, W)` with 1, 3 or 4 channels. Integers count to 255
            (`uint16` to 65535), floats to 1 or to 255. Where both layouts fit, an array is read as `(H, W, C)` and a
            tensor as `(C, H, W)`.
        timeout: seconds that a URL may take in all.
        max_pixels: pixels that it may have. A JPEG that has more is decoded at a half, a quarter or an eighth of its
            size, if that is enough.
        max_bytes: bytes that it may have while it is encoded.
        private_hosts: whether a URL's host may be on a private network: False for a URL that your user did not type.
        halve_above: pixels above which width and height are halved, as often as it takes; the whole picture is then
            held once, as its file has it.

    Raises:
        UnreadableImage: a `ValueError`, whatever is wrong; it names the source and the reason.
    """
    with _unreadable(source):
        if is_array(source):
            return _to_rgb(_from_array(source), halve_above)
        limits = {"timeout": timeout, "max_pixels": max_pixels, "max_bytes": max_bytes, "private_hosts": private_hosts}
        with open_image(source, **limits) as image:
            return _to_rgb(image, halve_above)


@contextlib.contextmanager
def open_image(
    source: Any,
    *,
    timeout: float = FETCH_TIMEOUT,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
    private_hosts: bool = True,
    shrink: bool = True,
) -> Iterator[Image.Image]:
    """A picture before it is decoded: its format and size are known, and `load_image` reads it.

    Args and errors are those of `load_image`, but for arrays, and for `shrink`: False refuses a JPEG that would have
    to be decoded at a part of its size.
    """
    with _unreadable(source):
        if isinstance(source, Image.Image):
            image = _checked(source, max_pixels)
        else:
            image = _open(_encoded(source, timeout, max_bytes, private_hosts), max_pixels, shrink)
    if image is source:
        yield image
        return
    with image:
        yield image


def exif_orientation(image: Image.Image) -> int:
    """The EXIF orientation of an opened picture, 1 to 8; 1 where there is none, or none that can be read."""
    try:
        found = image.getexif().get(EXIF_ORIENTATION)
        return found if found in TURNS else 1
    except Exception:  # as many as there are ways to damage EXIF
        return 1


def upright_size(image: Image.Image) -> tuple[int, int]:
    """The (width, height) that an opened picture has when it is turned upright, also if it is decoded smaller."""
    size = image.info.get(WHOLE_SIZE, image.size)
    return size[::-1] if exif_orientation(image) >= 5 else size


def load_listed_image(
    source: Any, folders: Iterable[str | os.PathLike] = (), *, root: str | os.PathLike | None = None, **limits: Any
) -> Image.Image:
    """Read the picture of a row, whose writer is a stranger: its own bytes, or a file where its reader allows one.

    Args:
        source: as `load_image` takes it, without URLs.
        folders: where an absolute path may lead: those that the rows themselves lie in.
        root: the folder that relative paths count from, and must not leave; None where nobody named one.
        limits: as in `load_image`.

    Raises:
        UnreadableImage: as `load_image`, and for a URL and for a path, or a link, that leads anywhere else.
    """
    named = source.get("path") if isinstance(source, dict) and source.get("bytes") is None else source
    if isinstance(named, os.PathLike) or (isinstance(named, str) and not named.startswith("data:")):
        with _unreadable(named):
            named = _allowed(os.fspath(named), folders, root)
    return load_image(named, **limits)


def _allowed(path: str, folders: Iterable[str | os.PathLike], root: str | os.PathLike | None) -> Path:
    if "://" in path:
        raise ValueError("a URL in a row is not fetched")
    if not os.path.isabs(path) and root is None:
        raise ValueError("a row's relative path needs the folder that it counts from, image_root")
    place = Path(path if root is None else os.path.join(root, path)).resolve()
    for folder in (*folders, *([] if root is None else [root])):
        allowed = Path(folder).resolve()
        # A snapshot in the Hub's cache is links into `blobs` beside `snapshots`.
        blobs = [above.parent / "blobs" for above in (allowed, *allowed.parents) if above.name == "snapshots"]
        if any(place.is_relative_to(one) for one in (allowed, *blobs)):
            return place
    raise ValueError("a row's path leads only to where the rows lie, or below image_root")


@contextlib.contextmanager
def _unreadable(source: Any) -> Iterator[None]:
    """Whatever the block raises becomes `UnreadableImage`: decoders fail in many ways."""
    try:
        yield
    except UnreadableImage:
        raise
    except Exception as error:
        raise UnreadableImage(_name(source), _reason(error)) from error


def load_images(images: Any, *, keep_arrays: bool = False) -> list:
    """Read one image, a batch or any nesting of lists into a flat list, in order.

    Args:
        images: see [`load_image`]; an array of four dimensions is a batch of images.
        keep_arrays: leave NumPy arrays and tensors as they are.
    """
    array = is_array(images)
    if isinstance(images, (list, tuple)) or (array and images.ndim == 4):
        return [loaded for image in images for loaded in load_images(image, keep_arrays=keep_arrays)]
    return [images if array and keep_arrays else load_image(images)]


def _name(source: Any) -> str:
    if isinstance(source, Image.Image):
        return repr(getattr(source, "filename", "") or f"{source.mode} {source.width}×{source.height}")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"of {len(source)} bytes"
    if isinstance(source, dict):
        return repr(source.get("path") or "in a mapping")
    if is_array(source):
        return f"in an array of shape {'×'.join(str(side) for side in source.shape)}"
    text = os.fspath(source) if isinstance(source, os.PathLike) else source
    if not isinstance(text, str):
        return repr(type(source))
    return repr(without_password(text) if len(text) <= 200 else text[:60] + "…")


def _reason(error: BaseException) -> str:
    """Why it failed, in one line."""
    if isinstance(error, UnidentifiedImageError):
        return f"it is no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:300] or type(error).__name__


def _encoded(source: Any, timeout: float, max_bytes: int, private_hosts: bool) -> bytes:
    """The bytes of the picture's file."""
    if isinstance(source, dict):
        found = source["bytes"] if source.get("bytes") is not None else source.get("path")
        if found is None:
            keys = ", ".join(map(str, source))
            raise ValueError(f"a mapping of {keys} is no image: pass the picture in it, or one with bytes or path")
        source = found
    if isinstance(source, (bytes, bytearray, memoryview)):
        if len(source) > max_bytes:
            raise ValueError(f"it has {len(source):,} bytes, more than {max_bytes:,}")
        return bytes(source)
    if isinstance(source, os.PathLike):
        return read_image_file(source, max_bytes)
    if not isinstance(source, str):
        raise ValueError(
            f"{type(source).__name__} is no image: pass a PIL image, path, URL, bytes, base64, NumPy array or tensor"
        )
    if source[:8].lower().startswith(("http://", "https://")):
        return fetch(source, timeout=timeout, max_bytes=max_bytes, private_hosts=private_hosts)
    if not source.startswith("data:") and os.path.lexists(source):
        return read_image_file(source, max_bytes)
    if len(source) > 2 * max_bytes:
        raise ValueError(f"it has {len(source):,} letters, more than base64 of {max_bytes:,} bytes has")
    try:
        encoded = source.partition(",")[2] if source.startswith("data:") else source
        decoded = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise ValueError("no such file, and neither an http(s) URL nor base64")
    return decoded


def read_image_file(path: str | os.PathLike, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file. Raises `ValueError` for another kind of file and a longer one, and `OSError`."""
    # Not blocking: opening a pipe would wait for somebody to write into it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("it is no regular file")
    with open(os.open(path, flags), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no regular file")
        if found.st_size > max_bytes:
            raise ValueError(f"it has {found.st_size:,} bytes, more than {max_bytes:,}")
        return file.read(max_bytes)


def _open(encoded: bytes, max_pixels: int, shrink: bool) -> Image.Image:
    if not encoded:
        raise ValueError("the file is empty")
    Image.init()
    if encoded[4:8] == b"ftyp" and encoded[8:12] in _HEIF_BRANDS and b"avif" not in encoded[:64]:
        _learn_heif()
    if not encoded.startswith(b"\xff\xd8\xff"):
        known = [name for name in FORMATS if name in Image.OPEN]
        return _checked(Image.open(io.BytesIO(encoded), formats=known), max_pixels)
    image = Image.OPEN["JPEG"][0](io.BytesIO(encoded), "")  # `Image.open` has a limit of its own
    width, height = image.size
    # A progressive one is decoded whole before it is made smaller.
    if width * height > max_pixels and shrink and "progressive" not in image.info:
        image.info[WHOLE_SIZE] = image.size
        smaller = ((width // part, height // part) for part in (2, 4, 8))
        image.draft(None, next((size for size in smaller if size[0] * size[1] <= max_pixels), None))
    return _checked(image, max_pixels)


def _learn_heif() -> None:
    if "HEIF" not in Image.OPEN:
        try:
            import pillow_heif
        except ImportError:
            raise ValueError("reading HEIF needs one package more: pip install pillow-heif") from None
        pillow_heif.register_heif_opener()


def _checked(image: Image.Image, max_pixels: int) -> Image.Image:
    """The picture, if it may be decoded: one that is already may have any size."""
    if 0 in image.size:
        raise ValueError("it has no pixels")
    if getattr(image, "fp", None) is not None:
        if image.format not in FORMATS:
            raise ValueError(f"it is of the format {image.format}; known are {', '.join(FORMATS)}")
        if image.width * image.height > max_pixels:
            raise ValueError(f"it has {image.width}×{image.height} pixels, more than {max_pixels / 1e6:g} megapixels")
    return image


def _to_rgb(image: Image.Image, halve_above: int | None = None) -> Image.Image:
    orientation = _load(image)
    if image.mode == "F" or image.mode.startswith("I"):
        deep = np.asarray(image)
        # Pillow opens 16-bit files in a 32-bit mode too.
        image = _from_array(deep if deep.dtype.kind == "f" or deep.max(initial=0) <= 255 else deep.astype(np.uint16))
    part = 1
    while halve_above is not None and image.width * image.height > halve_above * part**2:
        part *= 2
    if part > 1 or _is_transparent(image):
        image = _by_strips(image, part)
    if orientation in TURNS:
        image = image.transpose(TURNS[orientation])
        image.info = {}  # the orientation stands there still
    return image if image.mode == "RGB" else image.convert("RGB")


def _is_transparent(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _by_strips(image: Image.Image, part: int) -> Image.Image:
    """The picture as RGB over white, at `1 / part` of its sides: of a large one, several copies would be too much."""
    result = Image.new("RGB", (-(-image.width // part), -(-image.height // part)))
    rows = max(1, _STRIP_PIXELS // image.width // part) * part
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        if _is_transparent(image):
            strip = strip.convert("RGBA")
            strip = Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip)
        strip = strip.convert("RGB")
        result.paste(strip if part == 1 else strip.reduce(part), (0, top // part))
    return result


def _load(image: Image.Image) -> int:
    """Decode the pixels, and return the orientation from which they are still to be turned.

    Pillow itself turns a TIFF and then writes its EXIF anew, which one impossible tag prevents.
    """
    if image.format != "TIFF" or not getattr(image, "tile", None):
        image.load()
        return exif_orientation(image)
    orientation = exif_orientation(image)
    try:
        if orientation in TURNS:
            del image.getexif()[EXIF_ORIENTATION]
        image.load()
    except Exception:
        if image.tile:  # not even the pixels are there
            raise
    return orientation


def is_array(value: Any) -> bool:
    """Whether this is NumPy's or torch's."""
    return isinstance(value, np.ndarray) or _is_tensor(value)


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")  # nobody holds a tensor who has not imported torch; others do without it here
    return torch is not None and isinstance(value, torch.Tensor)


def _from_array(array) -> Image.Image:
    channels_first = _is_tensor(array)
    if channels_first:
        array = array.detach().cpu()
        array = (array.float() if array.is_floating_point() else array).numpy()
    shape = "×".join(str(side) for side in array.shape)
    if array.ndim == 2:
        array = array[:, :, None]
    first, last = (array.ndim == 3 and array.shape[axis] in (1, 3, 4) for axis in (0, -1))
    if not (first or last) or array.size == 0:
        raise ValueError(
            f"an array of shape {shape} is no image: pass (H, W), (H, W, C) or (C, H, W) with C of 1, 3, 4"
        )
    if first and (channels_first or not last):
        array = array.transpose(1, 2, 0)
    array = _to_uint8(array, shape)
    if array.shape[-1] == 1:
        array = array.repeat(3, axis=-1)
    return Image.fromarray(np.ascontiguousarray(array))


def _to_uint8(array: np.ndarray, shape: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    low, high = array.min(), array.max()
    top = 65535 if array.dtype == np.uint16 else 255
    if not (low >= 0 and high <= top):  # also true for NaN
        raise ValueError(
            f"an image array of shape {shape} and type {array.dtype} goes from {low} to {high}, not from 0 to {top}: "
            "pass the picture itself, before normalisation, or set do_rescale=False to have it taken as it is"
        )
    if array.dtype.kind == "f":
        return np.rint(array * 255 if high <= 1 else array).astype(np.uint8)
    if top == 255:
        return array.astype(np.uint8)
    whole, rest = array // 257, array % 257
    return (whole + (rest > 128)).astype(np.uint8)
