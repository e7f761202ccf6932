"""Biwi Kinect Head Pose (Fanelli, Dantone, Gall, Fossati and Van Gool, IJCV 2013): 24 recordings of 20 people.

`hpdb/NN/frame_XXXXX_rgb.png` (640x480) with `frame_XXXXX_pose.txt`: a 3x3 rotation, an empty line, and the head's
centre in millimetres. The recordings' people: `biwi_kinect_head_pose.py` of Hugging Face's datasets library.
https://huggingface.co/datasets/ETHZurich/biwi_kinect_head_pose

The rotation is in the axes of the depth camera. `rgb.cal` holds the colour camera: its 3x3 matrix, four distortion
coefficients, then rotation and translation from the depth camera. That rotation is about one degree; it is left out of
the angles here, as in every published figure. What zero is was set by a template fitted to each person, not by the
model behind 300W-LP: expect a constant difference of some degrees, in pitch above all, between the two data sets
(https://github.com/pcr-upm/opal23_headpose/issues/2).
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from datasets_scripts.schema import CorpusArgumentError, CorpusError, LabelledFace, Skipped

from .head_pose import ANGLE_BEYOND, is_rotation, pose_from_rotation
from .protocol import Crop, DatasetProtocol, folder_of
from .reading import MAX_PLACE, FaceReader, list_hash, need
from .w300_lp import file_size

PEOPLE = {  # recording: person; four were recorded twice
    **{f"{number:02d}": f"F{number:02d}" for number in range(1, 7)},
    **{f"{number:02d}": f"M{number - 6:02d}" for number in range(7, 15)},
    **{"15": "F03", "16": "M09", "17": "M10", "18": "F05", "19": "M11", "20": "M12"},
    **{"21": "F02", "22": "M01", "23": "M13", "24": "M14"},
}
TEST_PEOPLE = ("F02", "F06", "M01", "M06", "M10", "M14")  # ours: eight recordings, as many as FSA-Net's random split
PROTOCOLS = ("by_person", "all_test")
FACE_HALF_SIZE = 120.0  # millimetres from the head's centre to the sides of the box, which holds hair and chin
Matrix = Sequence[Sequence[float]]


@dataclass(frozen=True)
class BIWI(FaceReader):
    """BIWI by one of two protocols.

    `by_person`: 16 recordings of 14 people to train on, 8 recordings of 6 others to test on. The usual protocol of
    this kind (FSA-Net) divides the 24 recordings 16 to 8 at random, with no seed given, so that people are on both
    sides; figures are comparable in kind, not in detail. `all_test`: all 24 recordings are the split `test`, for a
    model that was trained on 300W-LP, which is Hopenet's protocol and the more usual one.

    The picture is the whole frame. `box` is a square of 24 cm a side around the head's centre, seen by the colour
    camera; None where there is no `rgb.cal`.
    """

    NAME = "biwi"
    TITLE = "Biwi Kinect Head Pose"
    SPLITS = ("train", "test")
    TERMS = "For non-commercial use such as university research and education."
    URL = "https://huggingface.co/datasets/ETHZurich/biwi_kinect_head_pose"
    TASKS = ("head_pose",)
    LAYOUT = (
        "The unpacked kinect_head_pose_db.tgz: hpdb/NN/frame_XXXXX_rgb.png and frame_XXXXX_pose.txt for the "
        "recordings 01 to 24, with rgb.cal in each; the folder hpdb itself will do. Split by person (our "
        "choice): train has 16 recordings, test 02, 06, 07, 12, 17, 21, 22 and 24; or all 24 are test, with protocol "
        "all_test."
    )
    PROTOCOL = DatasetProtocol(
        "test",
        ("head_pose",),
        "Six people that train does not hold; Hopenet's protocol, all 24 recordings, is protocol=all_test. Cut to a "
        "square of 24 cm around the head's centre; frames without rgb.cal are shown whole.",
        crop=Crop(margin=0.0),
        person=lambda id: PEOPLE[folder_of(id)],  # who is in the recording 02 of biwi/02/frame_00003
    )

    protocol: str = "by_person"

    def _check_layout(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise CorpusArgumentError("protocol", self.protocol, f"give {' or '.join(PROTOCOLS)}")
        if self.protocol == "all_test" and self.split != "test":
            remedy = "with protocol='all_test' all of BIWI is test: give test, or protocol='by_person'"
            raise CorpusArgumentError("split", self.split, remedy)
        need(self.root, "hpdb", *PEOPLE, what="BIWI, with hpdb in it")
        if not any((self._database / recording).is_dir() for recording in self._recordings):
            folders = ", ".join(self._recordings)
            remedy = "unpack the archive again, or give another split"
            raise CorpusError(f"{self._database} has none of the folders of {self.split} ({folders}): {remedy}")

    @property
    def _database(self) -> Path:
        inner = Path(self.root) / "hpdb"
        return inner if inner.is_dir() else Path(self.root)

    @property
    def _recordings(self) -> tuple[str, ...]:
        if self.protocol == "all_test":
            return tuple(PEOPLE)
        side = self.split == "test"
        return tuple(recording for recording, person in PEOPLE.items() if (person in TEST_PEOPLE) == side)

    @cached_property
    def _frames(self) -> tuple[str, ...]:
        """`NN/frame_XXXXX` for each frame with a picture or a pose; `NN` for a recording that is not there."""
        return tuple(frame for recording in self._recordings for frame in _frames(self._database, recording))

    @cached_property
    def _cameras(self) -> dict[str, tuple[Matrix, Matrix, Sequence[float]] | None]:
        return {recording: read_camera(self._database / recording / "rgb.cal") for recording in self._recordings}

    def _rows(self) -> Iterable[str]:
        return self._frames

    def _labels_digest(self) -> str:
        """Names and sizes: there are over 15,000 pose files."""
        return list_hash(f"{frame} {file_size(self._database / f'{frame}_pose.txt')}" for frame in self._frames)

    def _face(self, frame: str) -> LabelledFace | Skipped:
        key = f"{self.NAME}/{frame}"
        recording, _, name = frame.partition("/")
        if not name:
            return Skipped(key, "missing recording")
        try:
            text = (self._database / f"{frame}_pose.txt").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return Skipped(key, "missing pose file")
        pose_and_centre = read_pose(text)
        if pose_and_centre is None:
            return Skipped(key, "malformed pose file")
        rotation, centre = pose_and_centre
        pose = pose_from_rotation(rotation)
        if not pose.is_within_range:
            return Skipped(key, ANGLE_BEYOND)
        labels = {**pose._asdict(), "gender": "female" if PEOPLE[recording].startswith("F") else "male"}
        camera = self._cameras[recording]
        box = None if camera is None else face_box(centre, *camera)
        inner = "hpdb/" if self._database != Path(self.root) else ""
        return self._labelled(frame, f"{inner}{frame}_rgb.png", labels, box=box)


def read_pose(text: str) -> tuple[Matrix, Sequence[float]] | None:
    """Rotation (3x3) and head centre (millimetres) of a `_pose.txt`, or None if it holds anything else."""
    try:
        numbers = _numbers(text)
    except ValueError:
        return None
    if [len(row) for row in numbers] != [3, 3, 3, 3] or not is_rotation(numbers[:3]):
        return None
    return numbers[:3], numbers[3]


def read_camera(path: str | os.PathLike) -> tuple[Matrix, Matrix, Sequence[float]] | None:
    """Camera matrix, rotation and translation (millimetres) from the depth camera of `rgb.cal`; None without it."""
    try:
        numbers = _numbers(Path(path).read_text(encoding="utf-8", errors="replace"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if [len(row) for row in numbers[:8]] != [3, 3, 3, 4, 3, 3, 3, 3] or not is_rotation(numbers[4:7]):
        return None
    return numbers[:3], numbers[4:7], numbers[7]


def face_box(centre: Sequence[float], matrix: Matrix, rotation: Matrix, translation: Sequence[float]) -> list | None:
    """`[x0, y0, x1, y1]` in pixels of the colour picture around a head's centre; None behind the camera."""
    x, y, z = (
        sum(a * b for a, b in zip(row, centre, strict=True)) + t for row, t in zip(rotation, translation, strict=True)
    )
    if not z > FACE_HALF_SIZE:
        return None
    across, down = matrix[0][0] * x / z + matrix[0][2], matrix[1][1] * y / z + matrix[1][2]
    width, height = matrix[0][0] * FACE_HALF_SIZE / z, matrix[1][1] * FACE_HALF_SIZE / z
    box = [across - width, down - height, across + width, down + height]
    return box if max(map(abs, box)) < MAX_PLACE and box[0] < box[2] and box[1] < box[3] else None


def _numbers(text: str) -> list[list[float]]:
    return [[float(word) for word in line.split()] for line in text.splitlines() if line.strip()]


def _frames(database: Path, recording: str) -> Sequence[str]:
    try:
        with os.scandir(database / recording) as entries:
            found = (re.fullmatch(r"(frame_\d+)_(?:rgb\.png|pose\.txt)", entry.name) for entry in entries)
            return sorted({f"{recording}/{match[1]}" for match in found if match})
    except (FileNotFoundError, NotADirectoryError):
        return [recording]
