"""AffectNet (Mollahosseini, Hasani and Mahoor, 2017): expression, valence and arousal of faces found on the web.

http://mohammadmahoor.com/affectnet/
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from datasets_scripts.schema import LabelledFace, Skipped

from .protocol import Crop, DatasetProtocol
from .reading import FaceReader, csv_rows, list_files, list_hash, need

EXPRESSIONS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
NO_EXPRESSION = (8, 9, 10)  # "none", "uncertain", "no face"
MAX_ARRAY_BYTES = 2**16  # of a file of labels: landmarks have 136 numbers
UNDEFINED = -2.0  # valence and arousal of a picture that has none
BOX = ("face_x", "face_y", "face_width", "face_height")
COLUMNS = ("subDirectory_filePath", *BOX, "facial_landmarks", "expression", "valence", "arousal")
CSV_FILES = {"train": "training.csv", "validation": "validation.csv"}
FOLDERS = {"train": "train_set", "validation": "val_set"}


@dataclass(frozen=True)
class AffectNet(FaceReader):
    """One split of AffectNet, in the layout of CSV files or in that of one `.npy` file per picture and label.

    Which of the two it is, is seen in the folder. Neither has a test split: AffectNet's was never given out. In the
    second layout the labels count by their files' names, not by their content, when builds are compared.
    """

    NAME = "affectnet"
    TITLE = "AffectNet"
    SPLITS = tuple(CSV_FILES)
    TERMS = "Under a signed licence, for non-commercial research only; no picture may be passed on."
    URL = "http://mohammadmahoor.com/affectnet/"
    TASKS = ("expression", "valence_arousal")
    PICTURE_FOLDERS = (
        "Manually_Annotated_Images",
        "Manually_Annotated/Manually_Annotated_Images",
        "Manually_Annotated_compressed/Manually_Annotated_Images",
    )
    LAYOUT = (
        "either Manually_Annotated_file_lists/training.csv and validation.csv with pictures in "
        "Manually_Annotated_Images/, or train_set/ and val_set/, each with images/ID.jpg and "
        "annotations/ID_exp.npy, ID_val.npy, ID_aro.npy, ID_lnd.npy; the official split"
    )
    EXTRA_VALUES = ("contempt",)
    PROTOCOL = DatasetProtocol(
        "validation",
        ("expression",),
        "Official validation pictures (the test set was never given out), eight expressions with contempt; rows "
        "labelled none, uncertain or no face are left out. Cut to the given box where there is one.",
        crop=Crop(margin=0.25),
    )

    def _check_layout(self) -> None:
        if self._set is None:
            super()._check_layout()
            return
        for folder in ("annotations", "images"):
            need(self._set, folder, what=f"{self.TITLE}, whose {self._set.name} has annotations and images")

    @cached_property
    def _set(self) -> Path | None:
        """The folder of `.npy` files; None in the layout of CSV files."""
        folder = Path(self.root) / FOLDERS[self.split]
        return folder if folder.is_dir() else None

    @cached_property
    def _ids(self) -> tuple[str, ...]:
        """Every picture that has an image, or the label of an expression, or both."""
        images = (path.rpartition(".")[0] for path in list_files(self._set / "images", (".jpg",)))
        labels = (path.removesuffix("_exp.npy") for path in list_files(self._set / "annotations", ("_exp.npy",)))
        return tuple(sorted({*images, *labels}, key=lambda name: (len(name), name)))

    def _label_files(self) -> list[Path]:
        name = CSV_FILES[self.split]
        return [need(self.root, f"Manually_Annotated_file_lists/{name}", name, what=self.TITLE)]

    def _labels_digest(self) -> str:
        return super()._labels_digest() if self._set is None else list_hash(self._ids)

    def _rows(self) -> Iterable[Any]:
        if self._set is not None:
            return self._ids
        (path,) = self._label_files()
        needed = ("subDirectory_filePath", "expression", "valence", "arousal")
        return csv_rows(path, needed, COLUMNS)

    def _key(self, row: Any) -> str:
        if isinstance(row, str):
            return row
        file = _file(row)
        return file.rpartition(".")[0] or file

    def _face(self, row: Any) -> LabelledFace | Skipped:
        return self._face_of_arrays(row) if isinstance(row, str) else self._face_of_row(row)

    def _face_of_row(self, row: dict[str, str]) -> LabelledFace | Skipped:
        file, key = _file(row), self._key(row)
        labels = read_labels(row["expression"], row["valence"], row["arousal"])
        if isinstance(labels, str):
            return Skipped(f"{self.NAME}/{key}", labels)
        corner = _numbers(row.get(name) for name in BOX)
        box = [corner[0], corner[1], corner[0] + corner[2], corner[1] + corner[3]] if corner else None
        landmarks = _points(_numbers((row.get("facial_landmarks") or "").split(";")))
        sound_box = box if box and box[0] < box[2] and box[1] < box[3] else None
        return self._labelled(key, f"{self._picture_folder}/{file}", labels, box=sound_box, landmarks=landmarks)

    def _face_of_arrays(self, key: str) -> LabelledFace | Skipped:
        arrays = {name: self._array(key, name) for name in ("exp", "val", "aro", "lnd")}
        if arrays["exp"] is None:
            return Skipped(f"{self.NAME}/{self._set.name}/{key}", "no label of the expression")
        labels = read_labels(*(arrays[name][0] if arrays[name] else UNDEFINED for name in ("exp", "val", "aro")))
        if isinstance(labels, str):
            return Skipped(f"{self.NAME}/{self._set.name}/{key}", labels)
        folder = self._set.name
        return self._labelled(
            f"{folder}/{key}", f"{folder}/images/{key}.jpg", labels, landmarks=_points(arrays["lnd"])
        )

    def _array(self, key: str, name: str) -> list[float] | None:
        """The numbers in `ID_NAME.npy`, which may be stored as text; None without a sound file."""
        import numpy as np

        path = self._set / f"annotations/{key}_{name}.npy"
        if not path.is_file() or path.stat().st_size > MAX_ARRAY_BYTES:
            return None
        try:
            values = np.load(path, mmap_mode="r", allow_pickle=False)  # a size that the file does not have is an error
            numbers = values.astype(float).ravel().tolist()
        except OSError:
            raise
        except Exception:  # as many as there are ways to damage a header, which is Python's text
            return None
        return numbers if numbers and all(abs(number) < 1e6 for number in numbers) else None  # nor NaN


def _file(row: dict[str, str]) -> str:
    return row["subDirectory_filePath"].strip().replace("\\", "/")


def read_labels(expression: Any, valence: Any, arousal: Any) -> dict[str, Any] | str:
    """The labels that AffectNet's numbers mean, undefined ones left out; or the reason to skip the picture."""
    numbers = _numbers((expression, valence, arousal))
    if numbers is None or not numbers[0].is_integer():
        return "label that is no number"
    number, *affect = numbers
    if number in NO_EXPRESSION:
        return "not an expression"
    if not 0 <= number < len(EXPRESSIONS):
        return "undefined label"
    if any(value != UNDEFINED and not -1 <= value <= 1 for value in affect):
        return "valence or arousal out of range"
    named = zip(("valence", "arousal"), affect, strict=True)
    return {"expression": EXPRESSIONS[int(number)], **{name: value for name, value in named if value != UNDEFINED}}


def _numbers(texts: Any) -> list[float] | None:
    """The numbers that all of these texts are; None if one is not (`NULL`, say)."""
    try:
        numbers = [float(text) for text in texts]
    except (TypeError, ValueError):
        return None
    return numbers if all(abs(number) < 1e6 for number in numbers) else None


def _points(numbers: list[float] | None) -> list[list[float]] | None:
    """x, y, x, y, … in pixels as 68 points; None for anything else."""
    return [numbers[i : i + 2] for i in range(0, 136, 2)] if numbers and len(numbers) == 136 else None
