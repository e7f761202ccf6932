"""The one convention of head poses, against what the sources of the data sets themselves compute."""

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from datasets_scripts.sources.head_pose import (
    HeadPose,
    is_rotation,
    pose_from_parameters,
    pose_from_rotation,
)
from tests.datasets_scripts.sources.rotations import rotation_from_pose

FACE = {  # a face as 300W-LP's model has it: x to the right of the picture, y up, z towards the viewer
    "nose": (0.0, 0.0, 1.0),
    "left eye in the picture": (-0.4, 0.3, 0.7),
    "right eye in the picture": (0.4, 0.3, 0.7),
    "top": (0.0, 1.2, 0.0),
    "chin": (0.0, -1.0, 0.5),
}
SIDE = 200  # pixels of the picture that the face is drawn in
SINGLE_TURNS = [
    HeadPose(*angles) for angles in ((40, 0, 0), (-70, 0, 0), (0, 35, 0), (0, -50, 0), (0, 0, 80), (0, 0, -20))
]


def random_poses(count=200, seed=0):
    generator = np.random.default_rng(seed)
    angles = generator.uniform((-89, -99, -99), (89, 99, 99), (count, 3))
    return [HeadPose(*map(float, row)) for row in angles]


def drawn_by_matlab(pose):
    """Pixels of the face's points, by RotationMatrix.m of 300W-LP and its flip of y."""
    phi, gamma, theta = (math.radians(angle) for angle in (pose.pitch, pose.yaw, pose.roll))
    r_x = [[1, 0, 0], [0, math.cos(phi), math.sin(phi)], [0, -math.sin(phi), math.cos(phi)]]
    r_y = [[math.cos(gamma), 0, -math.sin(gamma)], [0, 1, 0], [math.sin(gamma), 0, math.cos(gamma)]]
    r_z = [[math.cos(theta), math.sin(theta), 0], [-math.sin(theta), math.cos(theta), 0], [0, 0, 1]]
    rotation = np.array(r_x) @ np.array(r_y) @ np.array(r_z)
    points = {name: 50 * rotation @ point for name, point in FACE.items()}
    return {name: (SIDE / 2 + x, SIDE + 1 - (SIDE / 2 + y)) for name, (x, y, _) in points.items()}


def drawn_by_rotation(pose):
    """The same pixels by this package's rotation, whose axes are those of a camera: y down, z away."""
    rotation = np.array(rotation_from_pose(pose))
    points = {name: 50 * rotation @ (x, -y, -z) for name, (x, y, z) in FACE.items()}
    return {name: (SIDE / 2 + x, SIDE + 1 - SIDE / 2 + y) for name, (x, y, _) in points.items()}


def taken_apart_by_hopenet(rotation):
    """Yaw, pitch, roll as `BIWI` in Hopenet's `datasets.py` has them."""
    (a, _, _), (b, _, _), (c, d, e) = rotation
    angles = math.atan2(-c, math.hypot(d, e)), -math.atan2(d, e), math.atan2(b, a)
    return [math.degrees(angle) for angle in angles]


def test_a_positive_yaw_points_the_nose_to_the_left_edge_of_the_picture():
    points = drawn_by_matlab(HeadPose(30, 0, 0))
    assert points["nose"][0] == pytest.approx(SIDE / 2 - 50 * math.sin(math.radians(30)))
    assert points["nose"][0] < (points["left eye in the picture"][0] + points["right eye in the picture"][0]) / 2


def test_a_positive_pitch_looks_up():
    points = drawn_by_matlab(HeadPose(0, 30, 0))
    level = drawn_by_matlab(HeadPose(0, 0, 0))
    assert points["nose"][1] < level["nose"][1]  # rows of a picture count downwards
    assert (
        points["nose"][1] - points["left eye in the picture"][1]
        < level["nose"][1] - level["left eye in the picture"][1]
    )


def test_a_positive_roll_tilts_the_head_clockwise():
    points = drawn_by_matlab(HeadPose(0, 0, 30))
    assert points["top"][0] > SIDE / 2 > points["chin"][0]
    assert points["right eye in the picture"][1] > points["left eye in the picture"][1]


@pytest.mark.parametrize("pose", [*SINGLE_TURNS, *random_poses(20)], ids=str)
def test_the_rotation_draws_what_the_code_of_300w_lp_draws(pose):
    ours, theirs = drawn_by_rotation(pose), drawn_by_matlab(pose)
    assert all(ours[name] == pytest.approx(theirs[name]) for name in FACE)


@pytest.mark.parametrize("pose", random_poses(20, seed=1), ids=str)
def test_the_rotation_draws_the_axes_that_hopenet_draws(pose):
    pitch, yaw, roll = math.radians(pose.pitch), -math.radians(pose.yaw), math.radians(pose.roll)
    sin, cos = math.sin, math.cos
    right = cos(yaw) * cos(roll), cos(pitch) * sin(roll) + cos(roll) * sin(pitch) * sin(yaw)
    down = -cos(yaw) * sin(roll), cos(pitch) * cos(roll) - sin(pitch) * sin(yaw) * sin(roll)
    forward = sin(yaw), -cos(yaw) * sin(pitch)
    rotation = np.array(rotation_from_pose(pose))
    for axis, ends in ((rotation[:, 0], right), (rotation[:, 1], down), (-rotation[:, 2], forward)):
        assert axis[:2] == pytest.approx(ends)


def test_the_rotation_is_of_right_handed_turns_about_the_axes_x_y_z():
    for pose in random_poses():
        expected = Rotation.from_euler("XYZ", [-pose.pitch, pose.yaw, pose.roll], degrees=True).as_matrix()
        assert np.allclose(rotation_from_pose(pose), expected)


def test_a_rotation_gives_the_pose_it_was_made_from():
    for pose in random_poses():
        assert pose_from_rotation(rotation_from_pose(pose)) == pytest.approx(pose)


def test_a_rotation_of_quarter_turn_yaw_gives_a_pose_of_the_same_rotation():
    for yaw in (90, -90):
        rotation = rotation_from_pose(HeadPose(yaw, 20, 30))
        pose = pose_from_rotation(rotation)
        assert pose.yaw == pytest.approx(yaw) and pose.roll == 0
        assert np.allclose(rotation_from_pose(pose), rotation)


def test_a_mirrored_face_has_the_same_pitch_and_the_opposite_yaw_and_roll():
    mirror = np.diag([-1, 1, 1])
    for pose in random_poses(20):
        mirrored = mirror @ np.array(rotation_from_pose(pose)) @ mirror
        assert pose_from_rotation(mirrored) == pytest.approx((-pose.yaw, pose.pitch, -pose.roll))


def test_a_real_rotation_of_biwi_gives_the_angles_that_fsa_nets_formula_gives():
    # hpdb/01/frame_00501_pose.txt and its angles: https://github.com/natanielruiz/deep-head-pose/issues/39
    rotation = [[0.45684, -0.404949, -0.792031], [-0.103806, 0.860022, -0.499587], [0.883471, 0.310449, 0.350856]]
    assert pose_from_rotation(rotation) == pytest.approx((-52.37571, -54.919936, 41.554203), abs=1e-4)


@pytest.mark.parametrize("pose", SINGLE_TURNS, ids=str)
def test_turns_about_one_axis_are_what_hopenets_formula_for_biwi_gives(pose):
    assert pose_from_rotation(rotation_from_pose(pose)) == pytest.approx(
        taken_apart_by_hopenet(rotation_from_pose(pose))
    )


def test_parameters_are_pitch_yaw_roll_in_radians():
    assert pose_from_parameters([math.pi / 6, -math.pi / 4, 0.1, 250.0, 250.0, -70.0, 0.001]) == pytest.approx(
        (-45, 30, math.degrees(0.1))
    )


@pytest.mark.parametrize(
    ("angles", "within"),
    [((99, -99, 0), True), ((99.1, 0, 0), False), ((0, -120, 0), False), ((0, 0, math.nan), False)],
)
def test_angles_beyond_99_degrees_are_out_of_range(angles, within):
    assert HeadPose(*angles).is_within_range is within


@pytest.mark.parametrize(
    "rows",
    [
        np.diag([1, 1, -1]).tolist(),
        np.diag([2, 2, 2]).tolist(),
        np.zeros((3, 3)).tolist(),
        [[1, 0, 0], [0, 1, 0], [0, 0, math.nan]],
        [[1, 0, 0], [0, 1, 0]],
        [[1, 0], [0, 1], [0, 0]],
    ],
    ids=["mirrored", "scaled", "zeros", "not a number", "two rows", "two columns"],
)
def test_what_is_no_rotation_is_refused(rows):
    assert not is_rotation(rows)
    with pytest.raises(ValueError, match="3x3 rotation"):
        pose_from_rotation(rows)
