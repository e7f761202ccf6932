"""What a pipeline is given: one picture, several, or a stream of them, gone through without being held."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from PIL import Image


def holds_several(images: Any) -> bool:
    """Whether this is several pictures: not one path, URL, image or array of less than four dimensions."""
    if isinstance(images, (str, bytes, bytearray, os.PathLike, Mapping, Image.Image)):
        return False
    if is_array(images):
        return images.ndim == 4
    return isinstance(images, Iterable) or (hasattr(images, "__getitem__") and hasattr(images, "__len__"))


def each_image(images: Any) -> Iterator[Any]:
    """The pictures one by one; a single one is one of them."""
    if not holds_several(images):
        return iter([images])
    # torch's data sets have no `__iter__`, and need not say where they end.
    return iter(images) if isinstance(images, Iterable) else (images[number] for number in range(len(images)))


def with_boxes(images: Any, boxes: Any, single: bool) -> Iterator[tuple[Any, Any]]:
    """Each image with the boxes of its faces. Raises `ValueError` where there are more of one than of the other."""
    if single:
        yield images, boxes
        return
    given = iter(boxes)
    nothing = object()
    count = 0
    for image in each_image(images):
        of_it = next(given, nothing)
        if of_it is nothing:
            raise ValueError(f"detector: boxes of {count} pictures for more: give one entry for each, [] for no face")
        count += 1
        yield image, [] if of_it is None else of_it
    if next(given, nothing) is not nothing:
        raise ValueError(f"detector: boxes of more pictures than the {count} given: give one entry for each")


def read_ahead(prepare: Callable[[Any], Any], inputs: Iterable[Any], threads: int) -> Iterator[Any]:
    """`map`, by several threads a few steps ahead of who takes the results."""
    if not threads:
        yield from map(prepare, inputs)
        return
    with ThreadPoolExecutor(threads) as pool:
        begun: deque = deque()
        try:
            for one in inputs:
                begun.append(pool.submit(prepare, one))
                if len(begun) > 2 * threads:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()


def is_array(value: Any) -> bool:
    """Whether this is NumPy's or torch's."""
    return isinstance(value, (np.ndarray, torch.Tensor))


__all__ = ["each_image", "holds_several", "is_array", "read_ahead", "with_boxes"]
