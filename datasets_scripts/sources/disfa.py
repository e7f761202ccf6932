"""DISFA (Mavadati, Mahoor, Bartlett, Trinh and Cohn, IEEE TAC 2013): 12 action units of 27 people, frame by frame.

`ActionUnit_Labels/SN001/SN001_au1.txt` has lines `frame,intensity` (frames from 1, intensity 0 to 5), one file for
each unit; the frames are those of `Videos_LeftCamera/LeftVideoSN001_comp.avi` (1024x768, 20 a second, 4,845 frames).
http://mohammadmahoor.com/disfa/
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from datasets_scripts.schema import CorpusArgumentError, CorpusError, LabelledFace, Skipped

from .action_units import CodedFrame, CodedRecordings
from .protocol import ALIGNED, DatasetProtocol, folder_of
from .reading import MAX_DIGITS, need, read_picture, text_lines
from .videos import open_video

UNITS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
LABELS = "ActionUnit_Labels"
CAMERAS = {"left": "Left", "right": "Right"}
JPEG_QUALITY = 95


@dataclass(frozen=True)
class DISFA(CodedRecordings):
    """DISFA's frames with the intensity (0 to 5) of every unit coded in them.

    Intensity is kept as it is; 2 and more counts as present in published figures, which are about
    the units 1, 2, 4, 6, 9, 12, 25 and 26. A unit whose file lacks a frame is unknown there, not absent.

    Frames come from the videos of `camera` and are stored as JPEG files of quality 95. With `frames`, a folder of
    pictures taken from the videos (`SN001/17.png`, with any number of leading zeros), they are those files' own
    bytes; `first_frame` is the number of a video's first picture: 0 as ME-GraphAU counts, 1 as the labels do. Left
    out, it is 0 where a folder has a picture 0, else 1.

    `fold` (1, 2 or 3) says which third of the people is tested on; `every` = 10 reads one frame in ten only.
    """

    NAME = "disfa"
    TITLE = "DISFA"
    TERMS = "On request, by an agreement that its authors have you sign; for research only."
    URL = "http://mohammadmahoor.com/disfa/"
    LAYOUT = (
        "ActionUnit_Labels/SN001/SN001_au1.txt (frame,intensity) and so on for 27 people and 12 units, with "
        "Videos_LeftCamera/LeftVideoSN001_comp.avi; or, with frames=FOLDER, pictures FOLDER/SN001/1.png in place of "
        "the videos. Three folds that share no person; fold 1 trains on 18 people and tests on 9."
    )
    PROTOCOL = DatasetProtocol(
        "test",
        ("action_units",),
        f"Fold 1 of 3; the published figure is the mean of the three. Intensity 2 and more is present. Frames of the "
        f"left camera. {ALIGNED}",
        units=(1, 2, 4, 6, 9, 12, 25, 26),
        person=folder_of,
    )
    PARTS = tuple(
        tuple(f"SN{number:03d}" for number in part)
        for part in (
            (2, 10, 1, 26, 27, 32, 30, 9, 16),
            (13, 18, 11, 28, 12, 6, 31, 21, 24),
            (3, 29, 23, 25, 8, 5, 7, 17, 4),
        )
    )  # tool/DISFA_image_label_process.py of https://github.com/CVI-SZU/ME-GraphAU

    frames: str | None = None
    first_frame: int | None = None
    camera: str = "left"

    def _check_layout(self) -> None:
        if self.camera not in CAMERAS:
            raise CorpusArgumentError("camera", self.camera, f"give {' or '.join(CAMERAS)}")
        if self.first_frame not in (None, 0, 1):
            raise CorpusArgumentError(
                "first_frame", self.first_frame, "give 0 or 1, the number of a folder's first picture"
            )
        labels = need(self.root, LABELS, what="DISFA")
        if self.frames is None:
            need(
                self.root, *self._video_folders, what="DISFA, or that of its extracted frames with frames= (--frames)"
            )
        elif not Path(self.frames).is_dir():
            remedy = "there is no such folder; give the one that has SN001 and so on"
            raise CorpusArgumentError("frames", self.frames, remedy)
        if not any((labels / person).is_dir() for person in self.people):
            people = ", ".join(self.people)
            remedy = "unpack them there, or give another fold"
            raise CorpusError(f"{labels} has none of {people}, which fold {self.fold} needs: {remedy}")

    @property
    def _video_folders(self) -> tuple[str, str]:
        """Both spellings are met with: the archive's name is one, the folder's in it the other."""
        side = CAMERAS[self.camera]
        return f"Videos_{side}Camera", f"Video_{side}Camera"

    def _label_files(self) -> Sequence[Path]:
        files = [_label_file(self.root, person, unit) for person in self.people for unit in UNITS]
        return [file for file in files if file.is_file()]

    def describe(self) -> dict[str, Any]:
        """As every reader's; of `frames` only whether it is given, not where it lies."""
        return {**super().describe(), "frames": self.frames is not None}

    def _recordings(self) -> Sequence[str]:
        return self.people

    def _coded(self, person: str) -> Sequence[CodedFrame | Skipped]:
        units: dict[int, dict[int, float]] = {}
        for unit in UNITS:
            for frame, intensity in read_intensities(_label_file(self.root, person, unit)).items():
                units.setdefault(frame, {})[unit] = intensity
        if not units:
            return [Skipped(f"{self.NAME}/{person}", "missing label files")]
        return [CodedFrame(person, frame, units[frame]) for frame in sorted(units)]

    def faces(self, start: int = 0, stop: int | None = None) -> Iterator[LabelledFace | Skipped]:
        """A face, or the reason for none, for each row `start` to `stop`; a video is decoded from its start."""
        with ExitStack() as opened:
            person, video = None, None
            for row in self._read(start, stop):
                if isinstance(row, Skipped):
                    yield row
                    continue
                if self.frames is None and row.recording != person:
                    opened.close()
                    person, video = row.recording, opened.enter_context(VideoFrames(self._video(row.recording)))
                yield self._frame_face(row, video)

    def _frame_face(self, row: CodedFrame, video: "VideoFrames | None") -> LabelledFace | Skipped:
        key = f"{row.recording}/{row.number:04d}"
        known = {unit: intensity for unit, intensity in row.units.items() if 0 <= intensity <= 5}
        if video is not None:
            picture = video.read(row.number) if known else ""
            path = f"{video.path.relative_to(self.root).as_posix()}#frame={row.number}"
        else:
            path = self._frames(self.frames, row.recording, self.first_frame).get(row.number, "")
            picture = read_picture(self.frames, path) if path else "missing image"
        return self._coded_face(key, picture, path, known, {})

    def _video(self, person: str) -> Path:
        """The person's video: `_comp` is also spelled `_Comp`."""
        folder = need(self.root, *self._video_folders, what="DISFA")
        name = f"{CAMERAS[self.camera]}Video{person}_comp.avi"
        return next((file for file in folder.iterdir() if file.name.lower() == name.lower()), folder / name)


class VideoFrames:
    """Frames of one video as JPEG files of quality 95, the first frame being number 1.

    Frames are decoded in order: asking for a later one passes over those between without converting them, asking for
    an earlier one begins anew. There is no seeking, which in AVI files is not exact with every codec.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self._opencv: Any = None
        self._capture: Any = None
        self._decoded = 0  # the number of the frame last taken from the video

    def read(self, number: int) -> bytes | str:
        """The frame `number`, or the reason why there is none, as `Skipped` counts it."""
        if self._capture is None or number <= self._decoded:
            self.close()
            if not self.path.is_file():
                return "missing video"
            try:
                self._opencv, self._capture = open_video(self.path)
            except ValueError:
                return "unreadable video"
            self._decoded = 0
        while self._decoded < number - 1:
            if not self._capture.grab():
                return "video ends before its labels"
            self._decoded += 1
        is_there, pixels = self._capture.read()
        if not is_there:
            return "video ends before its labels"
        self._decoded = number
        quality = [self._opencv.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        return bytes(self._opencv.imencode(".jpg", pixels, quality)[1])

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
        self._capture = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def read_intensities(path: str | os.PathLike) -> dict[int, float]:
    """Intensities by frame from a file of lines `frame,intensity`; none if there is no such file.

    An intensity that cannot be read is -1, which is none. Raises `CorpusError` if a frame's number cannot be read.
    """
    intensities = {}
    try:
        for number, line in enumerate(text_lines(path), 1):
            frame, _, intensity = (part.strip() for part in line.partition(","))
            if not line.strip():
                continue
            if not frame.isdecimal() or len(frame) > MAX_DIGITS:
                raise CorpusError(
                    f"{path}, line {number}: {line[:40]!r} is not frame,intensity; unpack the file again"
                )
            intensities[int(frame)] = (
                float(intensity) if intensity.isdecimal() and len(intensity) <= MAX_DIGITS else -1.0
            )
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return intensities


def _label_file(root: str, person: str, unit: int) -> Path:
    return Path(root) / LABELS / person / f"{person}_au{unit}.txt"
