"""Matrices of numbers and of texts from MATLAB's `.mat` files; a damaged one is no more than a file to skip.

`scipy.io.loadmat` is not made for damaged files, as its documentation says: version 1.17 ends the process with a
segmentation fault at some. So the little that is needed here is read with every length checked: level 5 files (what
MATLAB saves as -v6 and -v7), real numbers and cells of texts, two dimensions.
https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf
"""

import os
import struct
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

HEADER = 128  # bytes; the last four are the version and the order of bytes
ORDERS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}
MATRIX, COMPRESSED = 14, 15
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
NUMERIC_CLASSES = range(6, 16)  # double, single, and the whole numbers; not cells, structures, text, sparse matrices
COMPLEX = 0x800
CELLS, TEXT = 1, 4
WIDE = (4, 17, 18)  # in the file's order of bytes
CHARACTERS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
MAX_BYTES = 16 * 2**20  # of a file, and of what its compressed variables unfold to; one of 300W-LP has some thousand


def read_matlab(
    path: str | os.PathLike, names: tuple[str, ...], texts: tuple[str, ...] = ()
) -> "dict[str, np.ndarray] | str":
    """Those of the real matrices `names` that the file holds, as float64 of two dimensions.

    And those of the cell arrays `texts` in which each cell is a text, as objects.

    Or the reason for none, as `Skipped` counts it. Files of MATLAB 7.3, which are HDF5, and of level 4 count as
    unreadable: none of the data sets here comes in them.
    """
    try:
        if not Path(path).is_file():  # a pipe or a device would be read without an end
            return "missing label file"
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return "missing label file"
    if len(content) > MAX_BYTES:
        return f"label file of more than {MAX_BYTES // 2**20} MiB"
    try:
        order = ORDERS[content[HEADER - 4 : HEADER]]
        return dict(_matrices(memoryview(content)[HEADER:], order, names, texts))
    except (KeyError, ValueError, OverflowError, struct.error, zlib.error):
        return "unreadable label file"


def _matrices(
    data: memoryview, order: str, names: tuple[str, ...], texts: tuple[str, ...]
) -> "Iterator[tuple[str, np.ndarray]]":
    left = MAX_BYTES
    for kind, content in _elements(data, order):
        if kind == COMPRESSED:
            unfolding = zlib.decompressobj()
            unfolded = unfolding.decompress(content, left)
            left -= len(unfolded)
            if not unfolding.eof or left <= 0:
                raise ValueError("a compressed variable is cut off, or too large")
            kind, content = next(_elements(memoryview(unfolded), order), (None, content))
        if kind == MATRIX:
            yield from _matrix(content, order, names)
            yield from _cells(content, order, texts)


def _matrix(data: memoryview, order: str, names: tuple[str, ...]) -> "Iterator[tuple[str, np.ndarray]]":
    """The matrix in this element, if it is a real one of numbers, of two dimensions, and among `names`."""
    import numpy as np

    parts = list(islice(_elements(data, order), 4))  # flags, dimensions, name, real part
    if len(parts) < 4 or bytes(parts[2][1]) not in {name.encode() for name in names}:
        return
    flags, dimensions = np.frombuffer(parts[0][1], f"{order}u4"), np.frombuffer(parts[1][1], f"{order}i4").tolist()
    kind, values = parts[3]
    if not len(flags) or flags[0] & 0xFF not in NUMERIC_CLASSES or flags[0] & COMPLEX or len(dimensions) != 2:
        return
    numbers = np.frombuffer(values, f"{order}{NUMBERS[kind]}")
    if min(dimensions) < 0 or dimensions[0] * dimensions[1] != len(numbers):
        raise ValueError(f"{len(numbers)} numbers for a matrix of {dimensions[0]} x {dimensions[1]}")
    yield bytes(parts[2][1]).decode(), numbers.reshape(dimensions, order="F").astype(np.float64)


def _cells(data: memoryview, order: str, names: tuple[str, ...]) -> "Iterator[tuple[str, np.ndarray]]":
    """The texts of the cell array in this element, if it is one of two dimensions and among `names`."""
    import numpy as np

    head = list(islice(_elements(data, order), 3))
    if len(head) < 3 or bytes(head[2][1]) not in {name.encode() for name in names}:
        return
    flags, dimensions = np.frombuffer(head[0][1], f"{order}u4"), np.frombuffer(head[1][1], f"{order}i4").tolist()
    if not len(flags) or flags[0] & 0xFF != CELLS or len(dimensions) != 2:
        return
    texts = np.array([_text(cell, order) for _, cell in islice(_elements(data, order), 3, None)], dtype=object)
    if min(dimensions) < 0 or dimensions[0] * dimensions[1] != len(texts):
        raise ValueError(f"{len(texts)} cells for an array of {dimensions[0]} x {dimensions[1]}")
    yield bytes(head[2][1]).decode(), texts.reshape(dimensions, order="F")


def _text(data: memoryview, order: str) -> str:
    parts = list(islice(_elements(data, order), 4))  # flags, dimensions, name, characters
    if len(parts) < 4 or len(parts[0][1]) < 4 or struct.unpack(f"{order}I", parts[0][1][:4])[0] & 0xFF != TEXT:
        raise ValueError("a cell that is no text")
    kind, characters = parts[3]
    encoding = CHARACTERS[kind]
    return bytes(characters).decode(
        f"{encoding}-{'le' if order == '<' else 'be'}" if kind in (4, 17, 18) else encoding
    )


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """The kind and the content of each data element; `ValueError` or `struct.error` if one is cut off."""
    place = 0
    while place < len(data):
        kind, length = struct.unpack(f"{order}II", data[place : place + 8])
        start, end = place + 8, place + 8 + length
        if kind >> 16:  # a small element: length and kind in the first four bytes, the content in the other four
            kind, length = kind & 0xFFFF, kind >> 16
            start, end = place + 4, place + 4 + length
            place = place + 8
            if length > 4:
                raise ValueError("a small element of more than four bytes")
        else:
            place = end if kind == COMPRESSED else end + -length % 8
        if end > len(data):
            raise ValueError("an element is cut off")
        yield kind, data[start:end]
