"""Photos → `pixel_values`, with Pillow and NumPy alone: the same numbers, to the bit, as transformers' PIL image
processors give."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from modeling_facemllm.image_loading_facemllm import load_images

KNOWN_PROCESSORS = ("SiglipImageProcessor", "CLIPImageProcessor", "BitImageProcessor", "ViTImageProcessor")
"""What these do is resize, center-crop, rescale and normalize; they differ only in their settings. `Fast` and `Pil`
behind a name say on which library transformers does it."""


class PicturePreprocessor:
    """Prepares photos as the settings of an image processor say.

    Args:
        settings: `image_processor` of `processor_config.json`, or `preprocessor_config.json`, as `save_pretrained`
            writes them.

    Raises:
        ValueError: when the settings are those of an image processor that does something else.
    """

    def __init__(self, settings: Mapping[str, Any]):
        name = str(settings.get("image_processor_type") or settings.get("feature_extractor_type"))
        if name.removesuffix("Fast").removesuffix("Pil") not in KNOWN_PROCESSORS:
            raise ValueError(
                f"image_processor_type={name!r}: pictures are prepared here as {', '.join(KNOWN_PROCESSORS)} do"
            )
        if settings.get("do_pad"):
            raise ValueError(f"do_pad={settings['do_pad']}: the ONNX runtime does not pad pictures")
        self.settings = dict(settings)

    def __call__(self, images: Any, return_tensors: str | None = "np", **changes: Any) -> dict[str, np.ndarray]:
        """Prepare photos.

        Args:
            images: one image, a list, or nested lists; see `load_image` for what may be an image.
            return_tensors: `"np"`; the name is that of transformers' image processors.
            changes: settings for this call, such as `size`.

        Returns:
            `pixel_values`, float32 `(images, 3, height, width)`.

        Raises:
            ValueError: when an image cannot be read, or the settings leave the images of different sizes.
        """
        if return_tensors not in ("np", None):
            raise ValueError(f"return_tensors={return_tensors!r}: the ONNX runtime gives NumPy arrays, 'np'")
        settings = self.settings | changes
        prepared = [_prepare(image, settings) for image in load_images(images)]
        if len({image.shape for image in prepared}) > 1:
            raise ValueError(
                f"size={settings.get('size')} leaves images of different sizes: crop or resize to a square"
            )
        return {"pixel_values": np.stack(prepared)}


def _prepare(image: Image.Image, settings: Mapping[str, Any]) -> np.ndarray:
    if settings.get("do_resize"):
        height, width = _target_size(image.height, image.width, settings["size"])
        # Also where it has that size already, as transformers does; Pillow then copies.
        image = image.resize((width, height), resample=settings["resample"])
    if settings.get("do_center_crop"):
        height, width = settings["crop_size"]["height"], settings["crop_size"]["width"]
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))  # what lies outside a smaller picture is black
    pixels = np.asarray(image)
    if settings.get("do_rescale"):
        # In double precision and rounded once: a product in float32 would differ in the last bit.
        pixels = (pixels.astype(np.float64) * settings["rescale_factor"]).astype(np.float32)
    if settings.get("do_normalize"):
        pixels = pixels.astype(np.float32, copy=False)
        pixels = (pixels - np.float32(settings["image_mean"])) / np.float32(settings["image_std"])
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)


def _target_size(height: int, width: int, size: int | Mapping[str, int]) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    if size.get("height") and size.get("width"):
        return size["height"], size["width"]
    shortest = size.get("shortest_edge")
    if not shortest or size.get("longest_edge"):
        raise ValueError(f"size={dict(size)}: give height and width, or shortest_edge")
    long = int(shortest * max(height, width) / min(height, width))
    return (long, shortest) if width <= height else (shortest, long)
