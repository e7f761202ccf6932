"""CelebA (Liu et al., ICCV 2015): 202,599 aligned faces with 40 binary attributes and an official split.

https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, zip_longest
from pathlib import Path, PurePosixPath
from typing import ClassVar

from datasets_scripts.schema import CorpusError, LabelledFace, Skipped

from .protocol import ALIGNED, NAMELESS, DatasetProtocol
from .reading import FaceReader, gender_and_attributes, need, text_lines

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

    NAME: ClassVar[str] = "celeba"
    TITLE: ClassVar[str] = "CelebA"
    SPLITS: ClassVar[tuple[str, ...]] = tuple(PARTITIONS.values())
    TERMS: ClassVar[str] = "For non-commercial research only; the pictures may not be passed on."
    URL: ClassVar[str] = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
    TASKS: ClassVar[tuple[str, ...]] = ("gender", "attributes")
    LAYOUT: ClassVar[str] = (
        "list_attr_celeba.txt and list_eval_partition.txt (also in Anno/ and Eval/, or as Kaggle's .csv), with the "
        "pictures in img_align_celeba/ (also in Img/, or nested twice); the official partition is the split"
    )
    PROTOCOL: ClassVar[DatasetProtocol] = DatasetProtocol(
        "test",
        ("gender", "attributes"),
        f"Official test partition. {ALIGNED} {NAMELESS} Male is the task gender.",
        official_rows=19_962,
    )

    def _check_layout(self) -> None:
        self._partition_file()
        _ = self._picture_folder
        header = self._header()
        if header[0] is None:
            return
        rows = sum(1 for line in text_lines(self._attribute_file()) if line.strip()) - 2
        if rows != header[0]:
            raise CorpusError(
                f"{self._attribute_file()}: its first line says {header[0]} rows, but there are {rows}: "
                "the file is cut off or was edited; get it again, and read fewer rows with limit"
            )

    def _attribute_file(self) -> Path:
        names = ("list_attr_celeba.txt", "Anno/list_attr_celeba.txt", "list_attr_celeba.csv")
        return need(self.root, *names, what=self.TITLE)

    def _partition_file(self) -> Path:
        names = ("list_eval_partition.txt", "Eval/list_eval_partition.txt", "list_eval_partition.csv")
        return need(self.root, *names, what=self.TITLE)

    @cached_property
    def _picture_folder(self) -> str:
        names = ("img_align_celeba/img_align_celeba", "Img/img_align_celeba", "img_align_celeba")
        return need(self.root, *names, what=self.TITLE).relative_to(self.root).as_posix()

    def _label_files(self) -> list[Path]:
        return [self._attribute_file(), self._partition_file()]

    def _header(self) -> tuple[int | None, list[str], int]:
        """How many rows the file says it has (Kaggle's does not), the attributes' names, and the header's lines."""
        path = self._attribute_file()
        first, second = (line.replace(",", " ").split() for line in [*islice(text_lines(path), 2), "", ""][:2])
        counted = len(first) == 1 and first[0].isdigit()
        names = second if counted else first[1:]
        if sorted(names) != sorted(ATTRIBUTES):
            wrong = sorted(set(ATTRIBUTES) ^ set(names))
            raise CorpusError(f"{path}: its header does not name CelebA's 40 attributes; see {', '.join(wrong[:3])}")
        return (int(first[0]) if counted else None), names, 2 if counted else 1

    def _rows(self, start: int, stop: int | None) -> Iterator[tuple[list[str], list[str]]]:
        _, names, lines = self._header()
        return islice(((names, row) for row in self._split_rows(lines)), start, stop)

    def _split_rows(self, header_lines: int) -> Iterator[list[str]]:
        """The fields of the attribute file's lines whose picture the partition file puts into this split."""
        rows = islice(_fields(self._attribute_file()), header_lines, None)
        partition = (fields for fields in _fields(self._partition_file()) if fields[0] != "image_id")
        for number, (row, place) in enumerate(zip_longest(rows, partition), start=1):
            if row is None or place is None or row[0] != place[0]:
                names = [fields[0] if fields else "nothing" for fields in (row, place)]
                raise CorpusError(
                    f"{self._partition_file()}: row {number} is about {names[1]}, but that of "
                    f"{self._attribute_file().name} about {names[0]}: the two files must list the same pictures"
                )
            if len(place) != 2 or place[1] not in PARTITIONS:
                raise CorpusError(
                    f"{self._partition_file()}: row {number} has {' '.join(place)!r}, not a file and 0-2"
                )
            if PARTITIONS[place[1]] == self.split:
                yield row

    def _face(self, row: tuple[list[str], list[str]]) -> LabelledFace | Skipped:
        names, (file, *values) = row
        key = PurePosixPath(file.replace("\\", "/")).stem
        if len(values) != len(names) or not set(values) <= {"1", "-1"}:
            return Skipped(f"{self.NAME}/{key}", "values other than forty of 1 and -1")
        known = {name: value == "1" for name, value in zip(names, values, strict=True)}
        return self._labelled(key, f"{self._picture_folder}/{file}", gender_and_attributes(known))


def _fields(path: Path) -> Iterator[list[str]]:
    """The fields of each line that has any, whether blanks or commas separate them."""
    return (fields for line in text_lines(path) if (fields := line.replace(",", " ").split()))
