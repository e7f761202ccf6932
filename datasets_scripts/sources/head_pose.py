"""Head pose, in the one convention that every reader converts to: yaw, pitch and roll in degrees, as the viewer sees.

The convention is that of 300W-LP and AFLW2000, which Hopenet, FSA-Net and 6DRepNet report in. All angles are zero for
a face that looks straight into the camera, upright. For the viewer of the picture:

==========  ======================================================  ===============================
angle       positive                                                negative
==========  ======================================================  ===============================
`yaw`     the nose points to the left edge of the picture: the    the nose points to the right
            person turned the head to their own right
`pitch`   the face looks up                                       the face looks down
`roll`    the head is tilted clockwise in the picture: its top    the head is tilted
            moves to the right edge                                 counter-clockwise
==========  ======================================================  ===============================

So `pitch` keeps its sign when a picture is mirrored; `yaw` and `roll` change theirs.

With camera axes x to the right of the picture, y down and z away from the camera, and head axes that are the same when
all angles are zero (the face looks along -z), the rotation from head to camera is `Rx(-pitch) @ Ry(yaw) @ Rz(roll)`,
where `Rx`, `Ry` and `Rz` are the right-handed rotations. Pitch is thus about the camera's own x axis, and the
nose tip lies `sin(yaw)` of the nose's distance from the head's centre to the left, whatever the pitch.

Sources: `RotationMatrix.m` in the folder `Code` of 300W-LP (`R_x(pitch) R_y(yaw) R_z(roll)`, left-handed, with y
up and z towards the viewer: the same rotation in other axes); `draw_axis` in Hopenet's `utils.py`
(https://github.com/natanielruiz/deep-head-pose), which draws it; `TYY_create_db_biwi.py` of FSA-Net
(https://github.com/shamangary/FSA-Net), which takes BIWI's matrices apart in this order. Hopenet's own `datasets.py`
takes BIWI's apart as `Rz(roll) @ Ry(yaw) @ Rx(-pitch)`: the same angles for rotations about one axis, others where
several are large (by more than 20 degrees at the extremes). BIWI figures of papers that followed it differ for that.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

LARGEST_ANGLE = 99.0  # degrees; Hopenet's bins end there, and everyone after it left out what lies beyond
ANGLE_BEYOND = "angle beyond ±99°"
ROTATION_TOLERANCE = 0.01  # of each element of R Rᵀ against the identity; BIWI's files have six digits


class HeadPose(NamedTuple):
    """Yaw, pitch and roll in degrees, as the module says."""

    yaw: float
    pitch: float
    roll: float

    @property
    def is_within_range(self) -> bool:
        """Whether no angle lies beyond ±99 degrees, as in every published protocol; False for what is no number."""
        return all(abs(angle) <= LARGEST_ANGLE for angle in self)


def pose_from_parameters(parameters: Sequence[float]) -> HeadPose:
    """The pose in `Pose_Para` of 300W-LP and AFLW2000: pitch, yaw, roll in radians, then what is not read here."""
    pitch, yaw, roll = (math.degrees(float(angle)) for angle in parameters[:3])
    return HeadPose(yaw, pitch, roll)


def pose_from_rotation(rotation: Sequence[Sequence[float]]) -> HeadPose:
    """The pose of a 3x3 rotation from head to camera axes, yaw within ±90 degrees.

    At a yaw of exactly ±90 degrees pitch and roll are about the same axis; all of it is then given as pitch.
    Raises `ValueError` for what is no rotation: reflections, scalings, shears, other shapes.
    """
    rows = [[float(element) for element in row] for row in rotation]
    if not is_rotation(rows):
        raise ValueError(f"{rows} is not a 3x3 rotation matrix")
    across = math.hypot(rows[0][0], rows[0][1])
    yaw = math.atan2(rows[0][2], across)
    if across < 1e-6:
        pitch, roll = math.atan2(-rows[2][1], rows[1][1]), 0.0
    else:
        pitch, roll = math.atan2(rows[1][2], rows[2][2]), math.atan2(-rows[0][1], rows[0][0])
    return HeadPose(math.degrees(yaw), math.degrees(pitch), math.degrees(roll))


def is_rotation(rows: Sequence[Sequence[float]]) -> bool:
    """Whether these are the rows of a 3x3 rotation matrix, up to rounding: orthonormal and right-handed."""
    if len(rows) != 3 or any(len(row) != 3 for row in rows):
        return False
    for i, row in enumerate(rows):
        for j, other in enumerate(rows):
            product = sum(x * y for x, y in zip(row, other, strict=True))
            if not abs(product - (i == j)) <= ROTATION_TOLERANCE:  # so that NaN is refused too
                return False
    (a, b, c), (d, e, f), (g, h, i) = rows
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) > 0
