"""Whatever a photo comes as (file, URL, bytes, base64, array, PIL image) → an upright RGB PIL image."""

import base64
import binascii
import io
import os
import sys
import urllib.request
from typing import Any

import numpy as np
from PIL import Image, ImageOps

URL_TIMEOUT = 30.0  # seconds without an answer before a download is given up
EXIF_ORIENTATION = 0x0112


def load_image(source: Any, *, timeout: float = URL_TIMEOUT) -> Image.Image:
    """Read one image as 8-bit RGB, turned upright as its EXIF orientation says.

    Transparency is laid over white; palette, grayscale and CMYK images are converted; 16 bits are scaled to 8.

    Args:
        source: `PIL.Image.Image`; path (`str` or `os.PathLike`); `http(s)` URL; `data:image/…` URL or bare base64;
            `bytes`; a mapping with `bytes` or `path` (an undecoded `datasets.Image`); NumPy array or torch tensor of
            shape `(H, W)`, `(H, W, C)` or `(C, H, W)` with 1, 3 or 4 channels. Integers count to 255 (`uint16` to
            65535), floats to 1 or to 255. Where both layouts fit, an array is read as `(H, W, C)` and a tensor as
            `(C, H, W)`.
        timeout: seconds that a server may stay silent.

    Raises:
        ValueError: when the source is no image, cannot be read or is broken; the message names it.
        TypeError: when the source is of a type that never holds an image.
    """
    if is_array(source):
        return _to_rgb(_from_array(source))
    name = _name(source)
    try:
        return _to_rgb(_open(source, timeout))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot read the image {name}: {error}") from error


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


def _name(source) -> str:
    if isinstance(source, Image.Image):
        return repr(getattr(source, "filename", "") or f"{source.mode} {source.width}×{source.height}")
    if isinstance(source, (bytes, bytearray)):
        return f"of {len(source)} bytes"
    if isinstance(source, dict):
        return repr(source.get("path") or "in a mapping")
    text = os.fspath(source) if isinstance(source, os.PathLike) else source
    return repr(text if len(text) <= 200 else text[:60] + "…") if isinstance(text, str) else repr(type(source))


def _open(source, timeout: float) -> Image.Image:
    if isinstance(source, Image.Image):
        return source
    if isinstance(source, dict):
        found = source["bytes"] if source.get("bytes") is not None else source.get("path")
        if found is None:
            keys = ", ".join(map(str, source))
            raise TypeError(f"a mapping of {keys} is no image: pass the picture in it, or one with bytes or path")
        source = found
    if isinstance(source, (bytes, bytearray)):
        return Image.open(io.BytesIO(source))
    if isinstance(source, os.PathLike):
        return Image.open(source)
    if not isinstance(source, str):
        raise TypeError(
            f"{type(source).__name__} is no image: pass a PIL image, path, URL, bytes, base64, NumPy array or tensor"
        )
    if source.startswith(("http://", "https://")):
        # Some hosts refuse Python's default agent.
        request = urllib.request.Request(source, headers={"User-Agent": "facemllm"})
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return Image.open(io.BytesIO(response.read()))
    if not source.startswith("data:") and os.path.isfile(source):
        return Image.open(source)
    try:
        encoded = source.partition(",")[2] if source.startswith("data:") else source
        decoded = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise ValueError("no such file, and neither an http(s) URL nor base64")
    return Image.open(io.BytesIO(decoded))


def _to_rgb(image: Image.Image) -> Image.Image:
    if 0 in image.size:
        raise ValueError("it has no pixels")
    if image.getexif().get(EXIF_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    image.load()
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        deep = np.asarray(image)
        # Pillow opens 16-bit files in a 32-bit mode too.
        image = _from_array(deep if deep.dtype.kind == "f" or deep.max(initial=0) <= 255 else deep.astype(np.uint16))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


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
    return np.rint(array / (top / 255)).astype(np.uint8)
