"""Poses back to rotations: what the readers undo."""

import math

from datasets_scripts.sources.head_pose import HeadPose


def rotation_from_pose(pose: HeadPose) -> list[list[float]]:
    """The 3x3 rotation from head to camera axes: `Rx(-pitch) @ Ry(yaw) @ Rz(roll)`."""
    a, b, c = math.radians(-pose.pitch), math.radians(pose.yaw), math.radians(pose.roll)
    (sin_a, cos_a), (sin_b, cos_b), (sin_c, cos_c) = ((math.sin(angle), math.cos(angle)) for angle in (a, b, c))
    return [
        [cos_b * cos_c, -cos_b * sin_c, sin_b],
        [cos_a * sin_c + sin_a * sin_b * cos_c, cos_a * cos_c - sin_a * sin_b * sin_c, -sin_a * cos_b],
        [sin_a * sin_c - cos_a * sin_b * cos_c, sin_a * cos_c + cos_a * sin_b * sin_c, cos_a * cos_b],
    ]
