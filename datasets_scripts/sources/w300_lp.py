"""300W-LP (Zhu, Lei, Liu, Shi and Li, CVPR 2016): 300W's faces turned to large poses, with the angles of each.

Eight folders, `AFW`, `HELEN`, `IBUG`, `LFPW` and the mirrored copy `..._Flip` of each, with a `.jpg` and a
`.mat` of the same name per picture: 122,450 in all. http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from datasets_scripts.schema import CorpusArgumentError, CorpusError, LabelledFace, Skipped

from .head_pose import ANGLE_BEYOND, pose_from_parameters
from .matlab import read_matlab
from .protocol import ALIGNED, DatasetProtocol
from .reading import MAX_PLACE, FaceReader, list_hash, need

if TYPE_CHECKING:
    import numpy as np

FOLDERS = ("AFW", "AFW_Flip", "HELEN", "HELEN_Flip", "IBUG", "IBUG_Flip", "LFPW", "LFPW_Flip")


@dataclass(frozen=True)
class PoseParameterFaces(FaceReader):
    """Folders of pictures with a `.mat` beside each, as the authors of 3DDFA distribute 300W-LP and AFLW2000-3D.

    A row is a name that has a `.jpg` or a `.mat`; where one of both is missing, that is counted.
    """

    LANDMARKS: ClassVar[tuple[str, ...]]  # the arrays of points (at least 2 x points), the first that is there is read

    def _folders(self) -> tuple[str, ...]:
        """The folders below `root` that hold pictures; an empty name is `root` itself."""
        raise NotImplementedError

    @cached_property
    def _names(self) -> tuple[str, ...]:
        """The pictures' paths without suffix, sorted within each folder."""
        return tuple(name for folder in self._folders() for name in _stems(Path(self.root), folder))

    def _rows(self) -> Iterable[str]:
        return self._names

    def _labels_digest(self) -> str:
        """Names and sizes: the contents of 122,450 `.mat` files take minutes to read."""
        return list_hash(f"{name} {file_size(Path(self.root) / f'{name}.mat')}" for name in self._names)

    def _face(self, name: str) -> LabelledFace | Skipped:
        key = f"{self.NAME}/{name}"
        if not (Path(self.root) / f"{name}.jpg").is_file():
            return Skipped(key, "missing image")
        arrays = read_matlab(Path(self.root) / f"{name}.mat", ("Pose_Para", *self.LANDMARKS))
        if isinstance(arrays, str):
            return Skipped(key, arrays)
        parameters = arrays.get("Pose_Para")
        if parameters is None or parameters.shape[0] != 1 or parameters.shape[1] < 3 or not _all_finite(parameters):
            return Skipped(key, "malformed label file")
        pose = pose_from_parameters(parameters[0].tolist())
        if not pose.is_within_range:
            return Skipped(key, ANGLE_BEYOND)
        points = next((arrays[array] for array in self.LANDMARKS if array in arrays), None)
        landmarks, box = (None, None) if points is None else read_landmarks(points)
        return self._labelled(name, f"{name}.jpg", pose._asdict(), landmarks=landmarks, box=box)


@dataclass(frozen=True)
class W300LP(PoseParameterFaces):
    """300W-LP, which has no split: all of it is trained on, AFLW2000 and BIWI are what is tested on.

    `folders` names the folders that are read; without it all eight must be there. Pictures whose names differ in the
    last number only are turned copies of one photograph, and a `_Flip` folder holds the same ones mirrored: split by
    photograph, never by picture, if you split it.
    """

    NAME = "300w_lp"
    TITLE = "300W-LP"
    SPLITS = ("train",)
    TERMS = (
        "For research only, as the databases it was made from (AFW, HELEN, IBUG, LFPW of 300W) allow; the pictures "
        "may not be passed on."
    )
    URL = "http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm"
    TASKS = ("head_pose",)
    LAYOUT = (
        "The unpacked 300W-LP: the folders AFW, HELEN, IBUG, LFPW and AFW_Flip, HELEN_Flip, IBUG_Flip, LFPW_Flip, "
        "each with NAME.jpg and NAME.mat (Pose_Para: pitch, yaw, roll in radians; pt2d: 68 landmarks). The folders "
        "landmarks and Code are not read. All of it is the split train."
    )
    PROTOCOL = DatasetProtocol(
        "train", ("head_pose",), f"Training data: figures here are of how well a model fits. {ALIGNED}"
    )
    LANDMARKS = ("pt2d",)

    folders: tuple[str, ...] = FOLDERS

    def _check_layout(self) -> None:
        unknown = [folder for folder in self.folders if folder not in FOLDERS]
        if unknown or not self.folders:
            raise CorpusArgumentError("folders", tuple(self.folders), f"give one or more of {', '.join(FOLDERS)}")
        need(self.root, *FOLDERS, what="300W-LP")
        for folder in self.folders:
            if not (Path(self.root) / folder).is_dir():
                remedy = "unpack the whole of 300W-LP, or name the folders you have with folders= (--folders)"
                raise CorpusError(f"there is no folder {Path(self.root) / folder}: {remedy}")

    def describe(self) -> dict[str, Any]:
        """As every reader's, in JSON's types."""
        return {**super().describe(), "folders": list(self.folders)}

    def _folders(self) -> tuple[str, ...]:
        return tuple(self.folders)


def read_landmarks(points: "np.ndarray") -> tuple[list[list[float]] | None, list[float] | None]:
    """Landmarks as `[[x, y], ...]` and the box `[x0, y0, x1, y1]` around them, from a matrix of 2 or 3 rows.

    Values stay as the files have them, in MATLAB's count (the first pixel is 1). A point at (-1, -1) is one that was
    not seen: it is left out of the box, and the landmarks are then None, as their order gives them their meaning.
    """
    if len(points) < 2 or not _all_finite(points):
        return None, None
    pairs = points[:2].T.tolist()
    seen = [pair for pair in pairs if pair != [-1, -1]]
    if not seen:
        return None, None
    box = [min(x for x, _ in seen), min(y for _, y in seen), max(x for x, _ in seen), max(y for _, y in seen)]
    return (pairs if len(seen) == len(pairs) else None), (box if box[0] < box[2] and box[1] < box[3] else None)


def file_size(path: str | os.PathLike) -> int | None:
    """The size of a file in bytes; None if it is not there."""
    try:
        return os.stat(path).st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def _all_finite(matrix: "np.ndarray") -> bool:
    import numpy as np

    return bool((np.abs(matrix) <= MAX_PLACE).all())  # NaN is refused, too


def _stems(root: Path, folder: str) -> Sequence[str]:
    with os.scandir(root / folder) as entries:
        names = {entry.name for entry in entries if entry.name.endswith((".jpg", ".mat"))}
    prefix = f"{folder}/" if folder else ""
    return sorted({f"{prefix}{name[:-4]}" for name in names if not name.startswith(".")})
