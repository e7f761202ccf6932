"""CelebA (Liu et al., ICCV 2015): 202,599 aligned faces with 40 binary attributes and an official split.

https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path, PurePosixPath

from datasets_scripts.schema import CorpusError, LabelledFace, Skipped

from .protocol import ALIGNED, NAMELESS, DatasetProtocol
from .reading import FaceReader, gender_and_attributes, text_lines

# fmt: off
ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
    "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses",
    "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes",
    "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns", "Smiling",
    "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace",
    "Wearing_Necktie", "Young",
)
# fmt: on
PARTITIONS = {"0": "train", "1": "validation", "2": "test"}


@dataclass(frozen=True)
class CelebA(FaceReader):
    """One split of CelebA's aligned pictures.

    Who a picture shows (`identity_CelebA.txt`) is not read, and neither are the boxes: they are of the pictures
    before alignment. The attribute file and the partition file are read side by side, a line at a time.
    """

    NAME = "celeba"
    TITLE = "CelebA"
    SPLITS = tuple(PARTITIONS.values())
    TERMS = "For non-commercial research only; the pictures may not be passed on."
    URL = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
    TASKS = ("gender", "attributes")
    LABEL_FILES = (
        ("list_attr_celeba.txt", "Anno/list_attr_celeba.txt", "list_attr_celeba.csv"),
        ("list_eval_partition.txt", "Eval/list_eval_partition.txt", "list_eval_partition.csv"),
    )
    PICTURE_FOLDERS = ("img_align_celeba/img_align_celeba", "Img/img_align_celeba", "img_align_celeba")
    LAYOUT = (
        "list_attr_celeba.txt and list_eval_partition.txt (also in Anno/ and Eval/, or as Kaggle's .csv), with the "
        "pictures in img_align_celeba/ (also in Img/, or nested twice); the official partition is the split"
    )
    PROTOCOL = DatasetProtocol(
        "test",
        ("gender", "attributes"),
        f"Official test partition. {ALIGNED} {NAMELESS} Male is the task gender.",
        official_rows=19_962,
    )

    def _check_layout(self) -> None:
        super()._check_layout()
        counted, _, _ = self._header()
        if counted is None:
            return
        path = self._label_files()[0]
        rows = sum(1 for line in text_lines(path) if line.strip()) - 2
        if rows != counted:
            raise CorpusError(
                f"{path}: its first line says {counted} rows, but there are {rows}: "
                "the file is cut off or was edited; get it again, and read fewer rows with limit"
            )

    def _header(self) -> tuple[int | None, list[str], int]:
        """How many rows the file says it has (Kaggle's does not), the attributes' names, and the header's lines."""
        path = self._label_files()[0]
        first, second = (line.replace(",", " ").split() for line in [*islice(text_lines(path), 2), "", ""][:2])
        counted = len(first) == 1 and re.fullmatch("[0-9]{1,18}", first[0]) is not None
        names = second if counted else first[1:]
        if sorted(names) != sorted(ATTRIBUTES):
            wrong = sorted(set(ATTRIBUTES) ^ set(names))
            raise CorpusError(
                f"{path}: its header does not name CelebA's 40 attributes (see {', '.join(wrong[:3])}); get it again"
            )
        return (int(first[0]) if counted else None), names, 2 if counted else 1

    def _rows(self) -> Iterator[tuple[list[str], list[str]]]:
        """The attributes' names, and the fields of each line whose picture the partition file puts into this split."""
        attribute_file, partition_file = self._label_files()
        _, columns, header_lines = self._header()
        rows = islice(_fields(attribute_file), header_lines, None)
        partition = (fields for fields in _fields(partition_file) if fields[0] != "image_id")
        for number, (row, place) in enumerate(zip_longest(rows, partition), start=1):
            if row is None or place is None or row[0] != place[0]:
                names = [fields[0] if fields else "nothing" for fields in (row, place)]
                raise CorpusError(
                    f"{partition_file}: row {number} is about {names[1]}, but that of "
                    f"{attribute_file.name} about {names[0]}: the two files must list the same pictures; "
                    "get both again"
                )
            if len(place) != 2 or place[1] not in PARTITIONS:
                raise CorpusError(
                    f"{partition_file}: row {number} has {' '.join(place)!r}, not a file and 0-2; get it again"
                )
            if PARTITIONS[place[1]] == self.split:
                yield columns, row

    def _key(self, row: tuple[list[str], list[str]]) -> str:
        return PurePosixPath(row[1][0].replace("\\", "/")).stem

    def _face(self, row: tuple[list[str], list[str]]) -> LabelledFace | Skipped:
        names, (file, *values) = row
        key = self._key(row)
        if len(values) != len(names) or not set(values) <= {"1", "-1"}:
            return Skipped(f"{self.NAME}/{key}", "values other than forty of 1 and -1")
        known = {name: value == "1" for name, value in zip(names, values, strict=True)}
        return self._labelled(key, f"{self._picture_folder}/{file}", gender_and_attributes(known))


def _fields(path: Path) -> Iterator[list[str]]:
    """The fields of each line that has any, whether blanks or commas separate them."""
    return (fields for line in text_lines(path) if (fields := line.replace(",", " ").split()))
