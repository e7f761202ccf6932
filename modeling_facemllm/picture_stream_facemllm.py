"""What a pipeline is given: one picture, several, or a stream of them, gone through without being held."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from typing import Any

from PIL import Image

from .image_loading_facemllm import is_array


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
    nothing = object()
    for count, (image, of_it) in enumerate(zip_longest(each_image(images), boxes, fillvalue=nothing)):
        if of_it is nothing:
            raise ValueError(f"detector: boxes of {count} pictures for more: give one entry for each, [] for no face")
        if image is nothing:
            raise ValueError(f"detector: boxes of more pictures than the {count} given: give one entry for each")
        yield image, [] if of_it is None else of_it


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
