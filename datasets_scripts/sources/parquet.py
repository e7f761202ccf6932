"""Rows of Parquet files with pictures in them, as `datasets` writes such files.

Label columns are read for themselves, a batch at a time. The pictures of a row group are opened only when one of them
is asked for, and then read forward. So neither the number of rows nor the size of a row group costs memory.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datasets_scripts.schema import CorpusError

LABEL_ROWS, PICTURE_ROWS = 4096, 64  # that are decoded at once
BATCH_BYTES = 1 << 26  # of pictures that are decoded at once, if the file's own sizes are true; one is in any case
BUFFER = 1 << 20  # bytes of a column that are read at once: without it, a row group's whole column is


class GroupPictures:
    """The pictures of one row group; the struct column `image` has each one's file in its field `bytes`."""

    def __init__(self, path: Path, group: int):
        self._path, self._group = path, group
        self._batches: Iterator[Any] | None = None
        self._batch: Any = None
        self._begin = self._end = 0

    def read(self, index: int) -> bytes | None:
        """The picture's file of a row of the group, None where it has none; quickest in the order of the rows.

        Raises `CorpusError` for a damaged file.
        """
        with _readable(self._path):
            if self._batches is None or index < self._begin:
                file = _opened(self._path)
                rows = _picture_rows(file.metadata.row_group(self._group))
                self._batches = file.iter_batches(rows, row_groups=[self._group], columns=["image.bytes"])
                self._begin = self._end = 0
            while index >= self._end:
                self._batch = next(self._batches).column("image")
                self._begin, self._end = self._end, self._end + len(self._batch)
            picture = self._batch[index - self._begin].as_py()
        return picture and picture["bytes"]


def parquet_rows(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """The rows of a file: each column's text, and `picture`, whose two parts are a `GroupPictures` and an index.

    Numbers of classes become the names that `datasets` wrote into the file's schema. Null becomes the empty text, and
    an `optional` column that is not there is left out.
    Raises `CorpusError` for a column that is missing, there twice or of another type, classes without names, and a
    damaged file.
    """
    with _readable(path):
        file = _opened(path)
        columns = [*needed, *(name for name in optional if name in file.schema_arrow.names)]
        names = _check_columns(path, file.schema_arrow, columns)
        groups = file.num_row_groups
    for group in range(groups):
        pictures, index = GroupPictures(path, group), 0
        batches = file.iter_batches(LABEL_ROWS, row_groups=[group], columns=columns)
        while True:
            with _readable(path):
                batch = next(batches, None)
                found = None if batch is None else batch.to_pylist()
            if found is None:
                break
            for row in found:
                yield {**{name: _text(row[name], names.get(name)) for name in columns}, "picture": (pictures, index)}
                index += 1


def _picture_rows(group: Any) -> int:
    """How many pictures of a row group are decoded at once: a few bytes of Parquet may be gigabytes of zeros."""
    columns = [group.column(number) for number in range(group.num_columns)]
    size = sum(max(0, each.total_uncompressed_size) for each in columns if each.path_in_schema == "image.bytes")
    return max(1, min(PICTURE_ROWS, BATCH_BYTES * group.num_rows // max(1, size)))


def _opened(path: Path) -> Any:
    from pyarrow.parquet import ParquetFile

    return ParquetFile(path, buffer_size=BUFFER)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError, StopIteration) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = str(error).strip().partition("\n")[0][:200] or "its pages end too early"
        raise CorpusError(f"{path} is no Parquet file that can be read: {reason}; copy it anew") from error


def _check_columns(path: Path, schema: Any, columns: Sequence[str]) -> dict[str, list[str]]:
    """The names of the classes of each column that has numbers of classes."""
    from pyarrow import types

    if missing := [name for name in (*columns, "image") if name not in schema.names]:
        raise CorpusError(f"{path}: no column {', '.join(missing)}; it has {', '.join(schema.names)[:500] or 'none'}")
    if repeated := [name for name in (*columns, "image") if schema.names.count(name) > 1]:
        raise CorpusError(f"{path}: more than one column {', '.join(repeated)}; write the file with one of each name")
    image = schema.field("image").type
    if not types.is_struct(image) or not any(
        part.name == "bytes" and (types.is_binary(part.type) or types.is_large_binary(part.type)) for part in image
    ):
        raise CorpusError(f"{path}: image is {str(image)[:80]}; give a struct whose field bytes is the picture's file")
    names = {}
    for name in columns:
        kind = schema.field(name).type
        kind = kind.value_type if types.is_dictionary(kind) else kind
        if types.is_integer(kind):
            names[name] = _class_names(schema.metadata or {}, name)
            if not names[name]:
                remedy = "write texts, or save the file with datasets and ClassLabel"
                raise CorpusError(f"{path}: {name} has numbers, and the schema does not name them; {remedy}")
        elif not (types.is_string(kind) or types.is_large_string(kind)):
            raise CorpusError(f"{path}: {name} is {str(kind)[:80]}; give texts, or numbers of a ClassLabel")
    return names


def _class_names(metadata: Mapping[bytes, bytes], column: str) -> list[str]:
    """The names of a `datasets.ClassLabel`, which stand in the schema's metadata under `huggingface`."""
    try:
        names = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"][column]["names"]
        "".join(names).encode()  # texts, without halves of surrogate pairs
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    return names if isinstance(names, list) else []


def _text(value: Any, names: Sequence[str] | None) -> str:
    if value is None or names is None:
        return value or ""
    return names[value] if 0 <= value < len(names) else str(value)
