"""RAF-DB, basic expressions (Li, Deng and Du, CVPR 2017): 15,339 faces, one of seven expressions each.

http://www.whdeng.cn/RAF/model1.html
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from datasets_scripts.schema import LabelledFace, Skipped

from .protocol import DatasetProtocol
from .reading import MAX_PLACE, FaceReader, need, text_lines

_NAMES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
EXPRESSIONS = dict(zip("1234567", _NAMES, strict=True))
NAME = re.compile(r"((?:train|test)_\d+)(?:_aligned)?\.jpg")


@dataclass(frozen=True)
class RAFDB(FaceReader):
    """One split of RAF-DB: its aligned pictures of 100 pixels a side, or with `aligned=False` the originals.

    Originals come with the box of the face, where `Annotation/boundingbox` is there.
    """

    NAME = "raf_db"
    TITLE = "RAF-DB"
    SPLITS = ("train", "test")
    TERMS = "On request, for non-commercial research and education only; no picture may be passed on."
    URL = "http://www.whdeng.cn/RAF/model1.html"
    TASKS = ("expression",)
    LABEL_FILES = (
        (
            "EmoLabel/list_patition_label.txt",
            "EmoLabel/list_partition_label.txt",
            "basic/EmoLabel/list_patition_label.txt",
            "basic/EmoLabel/list_partition_label.txt",
        ),
    )
    LAYOUT = (
        "EmoLabel/list_patition_label.txt (spelled so), with the pictures Image/aligned/train_00001_aligned.jpg or "
        "Image/original/train_00001.jpg, in the folder or in basic/ below it; the split is the official one, in the "
        "pictures' names"
    )
    PROTOCOL = DatasetProtocol(
        "test",
        ("expression",),
        "Official test pictures, aligned, seven basic expressions; compound ones are not read.",
        official_rows=3_068,
    )

    aligned: bool = True

    def _check_layout(self) -> None:
        need(self._base, "Image/aligned" if self.aligned else "Image/original", what=self.TITLE)

    @cached_property
    def _base(self) -> Path:
        return self._label_files()[0].parents[1]

    def _rows(self) -> Iterator[list[str]]:
        """The fields of the split's lines; a line whose name has no split is `train`'s, to be skipped there."""
        rows = (fields for line in text_lines(*self._label_files()) if (fields := line.split()))
        return (row for row in rows if row[0].startswith("test_") == (self.split == "test"))

    def _key(self, row: list[str]) -> str:
        name = NAME.fullmatch(row[0])
        return name[1] if name else row[0]

    def _face(self, row: list[str]) -> LabelledFace | Skipped:
        name = NAME.fullmatch(row[0])
        if name is None or len(row) != 2:
            return Skipped(f"{self.NAME}/{row[0]}", "malformed name")
        key = self._key(row)
        if row[1] not in EXPRESSIONS:
            return Skipped(f"{self.NAME}/{key}", f"undefined label {row[1]!r}")
        file = f"Image/aligned/{key}_aligned.jpg" if self.aligned else f"Image/original/{key}.jpg"
        path = (self._base / file).relative_to(self.root).as_posix()
        box = None if self.aligned else self._box(key)
        return self._labelled(key, path, {"expression": EXPRESSIONS[row[1]]}, box=box)

    def _box(self, key: str) -> list[float] | None:
        """`[x0, y0, x1, y1]` in pixels of the original picture; None without a sound file of it."""
        path = self._base / f"Annotation/boundingbox/{key}_boundingbox.txt"
        try:
            x0, y0, x1, y1 = (float(number) for number in " ".join(text_lines(path)).split())
        except (FileNotFoundError, ValueError):
            return None
        sound = -MAX_PLACE < x0 < x1 < MAX_PLACE and -MAX_PLACE < y0 < y1 < MAX_PLACE
        return [x0, y0, x1, y1] if sound else None
