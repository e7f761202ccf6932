"""AFLW2000-3D (Zhu, Lei, Liu, Shi and Li, CVPR 2016): the first 2,000 faces of AFLW with fitted angles; a test set.

One folder with `imageNNNNN.jpg` and `imageNNNNN.mat`.
http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm
"""

from dataclasses import dataclass
from pathlib import Path

from datasets_scripts.schema import CorpusError

from .protocol import ALIGNED, DatasetProtocol
from .reading import need
from .w300_lp import PoseParameterFaces


@dataclass(frozen=True)
class AFLW2000(PoseParameterFaces):
    """AFLW2000-3D: 2,000 pictures, of which 1,969 have no angle beyond ±99 degrees, as every published figure has it.

    The landmarks are the 68 of `pt3d_68`, hidden ones included; `pt2d` has AFLW's own 21, some of them missing.
    """

    NAME = "aflw2000"
    TITLE = "AFLW2000-3D"
    SPLITS = ("test",)
    TERMS = "For research only, as AFLW, whose pictures from Flickr may not be passed on."
    URL = "http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm"
    TASKS = ("head_pose",)
    LAYOUT = (
        "The unpacked AFLW2000: imageNNNNN.jpg and imageNNNNN.mat (Pose_Para: pitch, yaw, roll in radians; pt3d_68: "
        "68 landmarks). The folder Code is not read. All of it is the split test."
    )
    PROTOCOL = DatasetProtocol(
        "test",
        ("head_pose",),
        f"All pictures but those with an angle beyond ±99°, as published. {ALIGNED}",
        official_rows=2_000,
    )
    LANDMARKS = ("pt3d_68", "pt2d")

    def _check_layout(self) -> None:
        need(self.root, ".", what="AFLW2000")
        if not any(Path(self.root).glob("image*.mat")):
            raise CorpusError(
                f"{self.root} has no image*.mat: give the folder of AFLW2000, with the .mat beside the .jpg"
            )

    def _folders(self) -> tuple[str, ...]:
        return ("",)
