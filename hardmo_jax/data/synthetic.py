"""People made up for tests, benchmarks and training: hard dance and martial poses, and motion through them.

Key poses stand in one table by joint names; samples lie between two of them, with noise, in either mirror image, and
with the wrists and fingers of `hand_poses`. All interpolation is done in rotation vectors about the rest pose, not by
slerp: the joint limits are a box there, so that everything between two poses within the limits is within them too,
and no path flips over at half a turn. The root, which has no limits, is a turn about the vertical after the lean of
the key poses.

World axes: y up; a body in rest faces +z. Bodies have no place in the world: whoever needs the feet on the floor puts
them there. The same seed gives the same people, as far as the float64 functions of a platform agree.
"""

import dataclasses
from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

import numpy as np
from scipy import interpolate
from scipy.spatial import transform

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.data import hand_poses
from hardmo_jax.skeleton import flips, joint_limits, layouts

Style = Literal["dance", "martial"]

#: Axis-angle components (x, y, z) of a joint in degrees.
_Angles = tuple[float | int, float | int, float | int]


class KeyPose(NamedTuple):
    """One authored pose."""

    style: Style
    """What it belongs to."""
    hand: str
    """Shape of both hands, a key of `hand_poses.HAND_SHAPES`."""
    angles: Mapping[str, _Angles]
    """Degrees by joint name; joints left out stay at rest."""


def _both(part: str, x: float | int, y: float | int, z: float | int) -> dict[str, _Angles]:
    """The same movement on both sides; the mirror image of (x, y, z) is (x, -y, -z)."""
    return {f"left_{part}": (x, y, z), f"right_{part}": (x, -y, -z)}


#: The poses samples are made of. Rotations are relative to the parent joint, from the T-pose: hip x- lifts the thigh
#: forward, y+ turns the left leg out and z+ spreads it, knee x+ bends, ankle x+ points the foot, foot x- lifts the
#: toes, spine x- leans back, left shoulder z- lowers the arm and y- brings it forward, left elbow y- bends, left wrist
#: z+ lifts the hand. The pelvis is relative to the world, before the turn about the vertical. One-sided poses are
#: written for one side; samples mirror half of them.
KEY_POSES: Mapping[str, KeyPose] = {
    "arabesque": KeyPose("dance", "ballet", {
        "pelvis": (32, 0, 0), "left_hip": (58, 30, 26), "right_hip": (-33, -31, 8), "spine1": (-22, 0, 0),
        "left_knee": (3, 0, 0), "right_knee": (2, 0, 0), "spine2": (-16, 0, 0), "left_ankle": (54, 0, 0),
        "spine3": (-12, 0, 0), "left_foot": (12, 0, 0), "neck": (-6, 0, 0), "left_shoulder": (18, 24, 0),
        "right_shoulder": (3, 82, 3), "left_elbow": (0, -12, 0), "right_elbow": (0, 10, 0), "left_wrist": (0, 5, 18),
        "right_wrist": (0, 0, 12),
    }),
    "grand jete split": KeyPose("dance", "ballet", {
        "pelvis": (16, 0, 0), "left_hip": (-110, 18, -19), "right_hip": (68, -24, -25), "spine1": (-14, 0, 0),
        "left_knee": (2, 0, 0), "right_knee": (4, 0, 0), "spine2": (-12, 0, 0), **_both("ankle", 56, 0, 0),
        "spine3": (-8, 0, 0), **_both("foot", 12, 0, 0), "neck": (-6, 0, 0), "left_collar": (0, 0, 10),
        "left_shoulder": (-6, -76, -9), "right_shoulder": (18, -4, -9), "left_elbow": (0, -10, 0),
        "right_elbow": (0, 12, 0), "right_wrist": (0, 0, 15),
    }),
    "attitude": KeyPose("dance", "ballet", {
        "pelvis": (14, -6, 0), "left_hip": (36, 50, 64), "right_hip": (-15, -31, 4), "spine1": (-14, 0, 0),
        "left_knee": (72, 0, 0), "right_knee": (2, 0, 0), "spine2": (-10, 0, 0), "left_ankle": (52, 0, 0),
        "right_ankle": (48, 0, 0), "spine3": (-8, 4, 0), "left_foot": (10, 0, 0), "right_foot": (-48, 0, 0),
        "neck": (-2, 18, 0), "left_collar": (0, 0, 24), "left_shoulder": (-59, -47, 15), "right_shoulder": (17, 9, 9),
        "left_elbow": (0, -48, 0), "right_elbow": (0, 25, 0), "left_wrist": (0, 0, -15),
    }),
    "plie releve": KeyPose("dance", "ballet", {
        **_both("hip", -43, 62, 33), **_both("knee", 51, 0, 0), **_both("ankle", 50, 0, 0),
        **_both("foot", -50, 0, 0), "neck": (-3, 0, 0), **_both("shoulder", 1, -17, -11), **_both("elbow", 0, -32, 0),
        **_both("wrist", -20, 0, -15),
    }),
    "spin retire": KeyPose("dance", "ballet", {
        "left_hip": (0, 32, 1), "right_hip": (-70, -68, -33), "left_knee": (2, 0, 0), "right_knee": (117, 0, 0),
        "left_ankle": (50, 0, 0), "right_ankle": (54, 0, 0), "left_foot": (-50, 0, 0), "right_foot": (12, 0, 0),
        "neck": (0, 34, 0), "head": (0, 18, 0), **_both("shoulder", 17, -50, -27), **_both("elbow", 0, -87, 0),
        **_both("wrist", 0, 0, -20),
    }),
    "salsa step": KeyPose("dance", "relaxed", {
        "pelvis": (4, 12, -10), "left_hip": (-27, -1, 12), "right_hip": (3, -29, 3), "spine1": (0, -8, 9),
        "left_knee": (46, 0, 0), "right_knee": (4, 0, 0), "spine2": (0, -8, 6), "left_ankle": (34, 0, 0),
        "spine3": (0, -4, 4), "left_foot": (-20, 0, 0), "neck": (0, -12, 0), "left_collar": (0, 0, 22),
        "left_shoulder": (-80, -10, 23), "right_shoulder": (-25, 17, 27), "left_elbow": (0, -91, 0),
        "right_elbow": (0, 60, 0), "left_wrist": (0, 0, -30), "right_wrist": (0, 0, -30),
    }),
    "aramandi": KeyPose("dance", "mudra", {
        **_both("hip", -46, 62, 32), "spine1": (-4, 0, 0), **_both("knee", 83, 0, 0), **_both("ankle", -26, 0, 0),
        **_both("shoulder", 0, -8, -5), **_both("elbow", 0, -49, 0), **_both("wrist", 0, 0, 25),
    }),
    "nataraja": KeyPose("dance", "knife hand", {
        "left_hip": (-78, 56, -51), "right_hip": (-33, -41, -15), "spine1": (0, 8, 4), "left_knee": (58, 0, 0),
        "right_knee": (49, 0, 0), "spine2": (0, 6, 2), "left_ankle": (-15, 0, 0), "right_ankle": (-16, 0, 0),
        "left_foot": (-20, 0, 0), "neck": (0, 10, 0), "left_shoulder": (3, -115, 12),
        "right_shoulder": (-71, -11, 41), "left_elbow": (0, -31, 0), "right_elbow": (0, 110, 0),
        "left_wrist": (0, 0, -55), "right_wrist": (0, 0, -35),
    }),
    "deep lunge": KeyPose("dance", "open", {
        "pelvis": (10, 0, 0), "left_hip": (-91, 4, 3), "right_hip": (47, -4, -7), "spine1": (-8, 0, 0),
        "left_knee": (79, 0, 0), "right_knee": (4, 0, 0), "spine2": (-6, 0, 0), "right_ankle": (-6, 0, 0),
        "right_foot": (-52, 0, 0), "neck": (-12, 0, 0), "left_collar": (0, 0, 14), "left_shoulder": (-49, -67, 22),
        "right_shoulder": (72, -38, 51), "left_elbow": (0, -8, 0), "right_elbow": (0, 6, 0), "left_wrist": (0, 0, 20),
    }),
    "breakdance freeze": KeyPose("dance", "open", {
        "pelvis": (158, 0, 25), "left_hip": (15, -20, 50), "right_hip": (-37, -19, -20), "spine1": (8, 10, 0),
        "left_knee": (12, 0, 0), "right_knee": (123, 0, 0), "spine2": (8, 8, 0), "left_ankle": (40, 0, 0),
        "right_ankle": (-10, 0, 0), "neck": (-20, 0, 0), "left_collar": (0, 0, 6), "left_shoulder": (-101, -98, -34),
        "right_shoulder": (-90, 46, -21), "left_elbow": (0, -46, 0), "right_elbow": (0, 45, 0),
        **_both("wrist", 0, 0, 72),
    }),
    "floor split": KeyPose("dance", "ballet", {
        "pelvis": (12, 0, 0), **_both("hip", -72, 50, 62), "spine1": (-4, 0, -22), **_both("knee", 1, 0, 0),
        "spine2": (-4, 0, -18), **_both("ankle", 56, 0, 0), "spine3": (0, 0, -14), **_both("foot", 14, 0, 0),
        "neck": (0, 0, -14), "right_collar": (0, 0, -22), "left_shoulder": (44, -45, 39),
        "right_shoulder": (-83, 18, -13), "left_elbow": (0, -30, 0), "right_elbow": (0, 37, 0),
        "right_wrist": (0, 0, 20),
    }),
    "backbend": KeyPose("dance", "open", {
        "pelvis": (-34, 0, 0), **_both("hip", 4, 2, 6), "spine1": (-34, 0, 0), **_both("knee", 59, 0, 0),
        "spine2": (-26, 0, 0), **_both("ankle", -28, 0, 0), "spine3": (-22, 0, 0), "neck": (-30, 0, 0),
        **_both("collar", 0, 0, 22), "head": (-16, 0, 0), **_both("shoulder", -126, -76, -6),
        **_both("elbow", 0, -12, 0), **_both("wrist", 0, 0, 50),
    }),
    "knee hinge": KeyPose("dance", "open", {
        "pelvis": (-46, 0, 0), **_both("hip", 1, -6, 7), "spine1": (-8, 0, 0), **_both("knee", 132, 0, 0),
        "spine2": (-4, 0, 0), **_both("ankle", 62, 0, 0), **_both("foot", 10, 0, 0), "neck": (14, 0, 0),
        "head": (8, 0, 0), **_both("shoulder", -4, -41, -44), **_both("elbow", 0, -10, 0), **_both("wrist", 0, 0, 30),
    }),
    "front kick": KeyPose("martial", "fist", {
        "pelvis": (-16, 0, 0), "left_hip": (-85, 5, -3), "right_hip": (9, -12, -5), "spine1": (14, 0, 0),
        "left_knee": (4, 0, 0), "right_knee": (16, 0, 0), "spine2": (8, 0, 0), "left_ankle": (38, 0, 0),
        "right_ankle": (-8, 0, 0), "left_foot": (-44, 0, 0), "neck": (6, 0, 0), **_both("shoulder", -28, -23, -73),
        **_both("elbow", 0, -112, 0),
    }),
    "side kick": KeyPose("martial", "fist", {
        "pelvis": (0, -20, 42), "left_hip": (19, -2, 63), "right_hip": (-21, -35, -38), "spine1": (0, 0, -8),
        "left_knee": (2, 0, 0), "right_knee": (10, 0, 0), "spine2": (0, 4, -6), "left_ankle": (-14, 0, -16),
        "right_ankle": (-4, 0, 0), "left_foot": (-8, 0, 0), "neck": (0, 38, -14), "head": (0, 14, -6),
        "left_shoulder": (-55, 22, -58), "right_shoulder": (-2, 48, 40), "left_elbow": (0, -44, 0),
        "right_elbow": (0, 115, 0),
    }),
    "roundhouse kick": KeyPose("martial", "fist", {
        "pelvis": (-6, -52, 34), "left_hip": (-32, -25, 83), "right_hip": (-19, -30, -30), "spine1": (0, 10, -8),
        "left_knee": (24, 0, 0), "right_knee": (10, 0, 0), "spine2": (0, 10, -6), "left_ankle": (50, 0, 0),
        "spine3": (0, 6, 0), "left_foot": (14, 0, 0), "right_foot": (-20, 0, 0), "neck": (0, 30, -10),
        "head": (0, 10, 0), "left_shoulder": (-3, 33, -70), "right_shoulder": (-6, 54, 52), "left_elbow": (0, -35, 0),
        "right_elbow": (0, 107, 0),
    }),
    "high crescent kick": KeyPose("martial", "fist", {
        "pelvis": (-20, 0, 4), "left_hip": (-128, 21, 7), "right_hip": (15, -23, -12), "spine1": (18, 0, 0),
        "left_knee": (3, 0, 0), "right_knee": (8, 0, 0), "spine2": (12, 0, 0), "left_ankle": (-14, 0, 0),
        "right_ankle": (6, 0, 0), "left_foot": (-12, 0, 0), "right_foot": (-10, 0, 0), "neck": (8, 0, 0),
        "left_shoulder": (-8, 3, -26), "right_shoulder": (-48, 13, 59), "left_elbow": (0, -30, 0),
        "right_elbow": (0, 111, 0),
    }),
    "horse stance": KeyPose("martial", "fist", {
        **_both("hip", -52, 40, 33), **_both("knee", 65, 0, 0), **_both("ankle", -12, 0, 0),
        **_both("shoulder", 24, 31, -69), **_both("elbow", 0, -134, 0),
    }),
    "bow stance punch": KeyPose("martial", "fist", {
        "pelvis": (4, 8, 0), "left_hip": (-64, 2, 1), "right_hip": (32, -37, -26), "spine1": (0, 8, 0),
        "left_knee": (60, 0, 0), "right_knee": (4, 0, 0), "spine2": (0, 8, 0), "right_ankle": (-32, 0, 0),
        "neck": (0, -14, 0), "right_collar": (0, 12, 0), "left_shoulder": (34, 8, -63),
        "right_shoulder": (-19, 57, 2), "left_elbow": (0, -134, 0), "right_elbow": (0, 5, 0),
    }),
    "cat stance": KeyPose("martial", "knife hand", {
        "pelvis": (2, -14, 0), "left_hip": (-53, 20, 9), "right_hip": (-47, -9, -12), "spine1": (0, 4, 0),
        "left_knee": (58, 0, 0), "right_knee": (71, 0, 0), "left_ankle": (46, 0, 0), "right_ankle": (-22, 0, 0),
        "left_foot": (-40, 0, 0), "neck": (0, 10, 0), "left_shoulder": (-46, -24, -63),
        "right_shoulder": (10, 33, 68), "left_elbow": (0, -73, 0), "right_elbow": (0, 91, 0),
        "left_wrist": (0, 0, 40), "right_wrist": (0, 0, -45),
    }),
    "crane stance": KeyPose("martial", "beak", {
        "left_hip": (-107, 3, 2), "right_hip": (-1, -11, -1), "left_knee": (114, 0, 0), "right_knee": (5, 0, 0),
        "left_ankle": (46, 0, 0), **_both("collar", 0, 0, 14), **_both("shoulder", -88, -10, 1),
        **_both("elbow", 0, -39, 0), **_both("wrist", 0, 0, -70),
    }),
    "low sweep": KeyPose("martial", "open", {
        "pelvis": (30, 0, 6), "left_hip": (-72, 58, 30), "right_hip": (-106, -18, -40), "spine1": (14, -8, 0),
        "left_knee": (2, 0, 0), "right_knee": (122, 0, 0), "spine2": (8, -6, 0), "left_ankle": (-8, 0, 0),
        "right_ankle": (10, 0, 0), "left_foot": (-10, 0, 0), "right_foot": (-46, 0, 0), "neck": (-20, 14, 0),
        "left_shoulder": (-76, 15, -24), "right_shoulder": (-22, 77, 23), "left_elbow": (0, -73, 0),
        "right_elbow": (0, 14, 0), "left_wrist": (0, 0, 30), "right_wrist": (0, 0, -68),
    }),
    "flying kick": KeyPose("martial", "fist", {
        "pelvis": (0, -28, 24), "left_hip": (6, 16, 71), "right_hip": (-63, -7, 23), "spine1": (0, 4, -6),
        "left_knee": (2, 0, 0), "right_knee": (143, 0, 0), "spine2": (0, 6, -4), "left_ankle": (-12, 0, -14),
        "right_ankle": (40, 0, 0), "left_foot": (-6, 0, 0), "right_foot": (6, 0, 0), "neck": (0, 34, -10),
        "head": (0, 14, 0), "left_shoulder": (-44, 6, -33), "right_shoulder": (-11, 37, 51),
        "left_elbow": (0, -30, 0), "right_elbow": (0, 109, 0),
    }),
    "knife-hand block": KeyPose("martial", "knife hand", {
        "pelvis": (2, -32, 0), "left_hip": (-42, 47, 21), "right_hip": (-37, -5, -16), "spine1": (0, 6, 0),
        "left_knee": (42, 0, 0), "right_knee": (48, 0, 0), "spine2": (0, 6, 0), "left_ankle": (-4, 0, 0),
        "right_ankle": (-18, 0, 0), "neck": (0, 14, 0), "left_shoulder": (-58, -13, -52),
        "right_shoulder": (26, 57, 58), "left_elbow": (0, -78, 0), "right_elbow": (0, 101, 0),
        "left_wrist": (-30, 0, 5), "right_wrist": (-60, 0, 0),
    }),
    "double punch": KeyPose("martial", "fist", {
        "pelvis": (6, 0, 0), "left_hip": (-58, 8, 4), "right_hip": (28, -27, -20), "spine1": (6, 0, 0),
        "left_knee": (53, 0, 0), "right_knee": (6, 0, 0), "right_ankle": (-30, 0, 0), "neck": (-4, 0, 0),
        **_both("collar", 0, -10, 0), "left_shoulder": (-42, -62, -45), "right_shoulder": (1, 67, -44),
        "left_elbow": (0, -20, 0), "right_elbow": (0, 8, 0),
    }),
    "crouch guard": KeyPose("martial", "fist", {
        "pelvis": (26, -24, 0), "left_hip": (-87, 33, 32), "right_hip": (-68, -4, -23), "spine1": (16, 6, 0),
        "left_knee": (97, 0, 0), "right_knee": (73, 0, 0), "spine2": (12, 4, 0), "left_ankle": (-28, 0, 0),
        "spine3": (6, 0, 0), "right_foot": (-46, 0, 0), "neck": (-18, 10, 0), "head": (-10, 0, 0),
        "left_shoulder": (-96, -54, -53), "right_shoulder": (-47, 65, 45), "left_elbow": (0, -78, 0),
        "right_elbow": (0, 130, 0),
    }),
}  # fmt: skip

#: Standard deviations of what is added to a key pose, degrees: every component of body joints, the toes (whose range
#: is small), and the lean of the root.
JOINT_NOISE = 8.0
TOE_NOISE = 5.0
LEAN_NOISE = 6.0
#: Mean speed of the joint (or the turn of the root) that turns furthest between two key poses of a window, degrees a
#: second, slowest and fastest: a kick of 130 degrees takes 0.3 to 0.6 s. Monotone cubics peak below 3 times the mean.
PACE: Mapping[Style, tuple[float, float]] = {"dance": (110.0, 300.0), "martial": (220.0, 440.0)}
#: Seconds that no move between two key poses is shorter than.
SHORTEST_MOVE = 0.3
#: Seconds that a pose is held, longest, and the share of poses that are held at all.
LONGEST_HOLD: Mapping[Style, float] = {"dance": 0.6, "martial": 0.5}
HOLD_CHANCE = 0.4
#: Noise of a held pose against its beginning, degrees: nobody stands still.
HOLD_NOISE = 2.0
#: Standard deviation of the turn about the vertical from one pose to the next, degrees, and the share of whole spins.
TURN_SPREAD: Mapping[Style, float] = {"dance": 50.0, "martial": 35.0}
SPIN_CHANCE: Mapping[Style, float] = {"dance": 0.15, "martial": 0.06}

_JOINTS = layouts.SMPLH_JOINTS
_WRISTS = [_JOINTS.index(f"{side}_wrist") for side in layouts.SIDES]
_FINGERS = [[_JOINTS.index(joint) for joint in layouts.MANO_JOINTS[side][1:]] for side in layouts.SIDES]
_OTHER_SIDE = [_JOINTS.index(flips.mirrored_point(joint)) for joint in _JOINTS]
_MIRROR = np.array(joint_limits.MIRROR_SIGNS)
_LIMITS = joint_limits.joint_limits(_JOINTS[1:])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SynthPoses:
    """Independent people in hard poses."""

    full_pose: Float[np.ndarray, "N 52 3"]
    """Axis-angle of the joints of SMPL-H, root first, radians."""
    styles: tuple[Style, ...]
    """By person."""
    key_poses: tuple[tuple[str, str], ...]
    """The two key poses that each person is between; they may be the same."""
    fractions: Float[np.ndarray, "N"]
    """How far from the first to the second, 0 to 1."""
    is_mirrored: Bool[np.ndarray, "N"]
    """Whether the person is the mirror image of what the table says."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SynthMotion:
    """Independent people who move from one hard pose to the next."""

    full_pose: Float[np.ndarray, "W time 52 3"]
    """Axis-angle of the joints of SMPL-H, root first, radians. The vector of the root may jump by a whole turn from
    one frame to the next; its rotation does not."""
    frames_per_second: float
    """Frame rate."""
    styles: tuple[Style, ...]
    """By window."""
    key_poses: tuple[tuple[str, ...], ...]
    """By window, the key poses in order; the first may lie before the window and the last after it."""
    is_mirrored: Bool[np.ndarray, "W"]
    """Whether the window is the mirror image of what the table says."""


def key_pose(name: str) -> Float[np.ndarray, "52 3"]:
    """A pose of `KEY_POSES` without noise, axis-angle of the joints of SMPL-H, radians.

    Raises:
        KeyError: If there is no such pose.
    """
    if name not in KEY_POSES:
        raise KeyError(f"unknown key pose {name!r}; known: {', '.join(KEY_POSES)}")
    row = KEY_POSES[name]
    pose = np.zeros((len(_JOINTS), 3))
    for side, joints in zip(layouts.SIDES, _FINGERS, strict=True):
        pose[joints] = hand_poses.pose_of_hand_shape(row.hand, side)
    for joint, angles in row.angles.items():
        pose[_JOINTS.index(joint)] = np.radians(angles)
    # Tables are written in whole degrees, limits are not.
    return _within_limits(pose)


def mirror_pose(full_pose: Float[np.ndarray, "*batch 52 3"]) -> Float[np.ndarray, "*batch 52 3"]:
    """The pose in the mirror: sides exchanged, axis-angle (x, y, z) becomes (x, -y, -z).

    Args:
        full_pose: Axis-angle of the joints of SMPL-H.
    """
    return full_pose[..., _OTHER_SIDE, :] * _MIRROR


def sample_hard_poses(seed: int, num: int, style: Style | None = None) -> SynthPoses:
    """Draw people in hard poses, somewhere between two key poses of one style.

    The fraction between the poses is eased, so that most people are near one of them. Wrists and fingers are those
    of `hand_poses.sample_hand_poses`, whatever the body does; bodies face anywhere.

    Args:
        seed: The same seed gives the same people.
        num: How many, 1 or more.
        style: None for either, half and half.

    Returns:
        The people, within the joint limits.

    Raises:
        KeyError: If there is no such style.
        ValueError: If `num` is less than 1.
    """
    if num < 1:
        raise ValueError(f"num must be 1 or more, got {num}")
    rng = np.random.default_rng(seed)
    styles = _choose_styles(rng, style, num)
    pairs = [tuple(rng.choice(_poses_of(one), size=2).tolist()) for one in styles]
    uniform = rng.random(num)
    fractions = uniform**2 * (3 - 2 * uniform)
    is_mirrored = rng.random(num) < 0.5
    first, second = (np.stack([key_pose(pair[end]) for pair in pairs]) for end in range(2))
    pose = first + fractions[:, None, None] * (second - first)
    pose = _within_limits(pose + _noise(rng, num))
    pose = np.where(is_mirrored[:, None, None], mirror_pose(pose), pose)
    # After the mirror: hands are drawn for both sides alike, and so is the direction that people face.
    pose[:, 0] = _turned(pose[:, 0], rng.uniform(-np.pi, np.pi, num))
    _put_hands(pose, hand_poses.sample_hand_poses(rng, num))
    return SynthPoses(
        full_pose=pose, styles=styles, key_poses=tuple(pairs), fractions=fractions, is_mirrored=is_mirrored
    )


def sample_hard_motion(
    seed: int, num_windows: int, num_frames: int, frames_per_second: float | int, style: Style | None = None
) -> SynthMotion:
    """Draw people who move through key poses of one style: moves at the pace of `PACE`, holds, turns and spins.

    Joints follow monotone cubics in time through the key poses (each with noise of its own): velocity has no jumps,
    and no joint goes beyond the poses it moves between. Hands are those of `hand_poses.smooth_hand_poses`.

    Args:
        seed: The same seed gives the same people.
        num_windows: How many people, 1 or more.
        num_frames: Frames of each, 1 or more.
        frames_per_second: Frame rate.
        style: None for either, half and half.

    Returns:
        The windows, within the joint limits in every frame.

    Raises:
        KeyError: If there is no such style.
        ValueError: If a number is less than 1 or the frame rate is not positive.
    """
    times = hand_poses.frame_times(num_windows, num_frames, frames_per_second)
    rng = np.random.default_rng(seed)
    styles = _choose_styles(rng, style, num_windows)
    is_mirrored = rng.random(num_windows) < 0.5
    pose = np.empty((num_windows, num_frames, len(_JOINTS), 3))
    turn = np.empty((num_windows, num_frames))
    names = []
    for window, one in enumerate(styles):
        pose[window], turn[window], visited = _move_through_poses(rng, one, times)
        names.append(visited)
    pose = np.where(is_mirrored[:, None, None, None], mirror_pose(pose), pose)
    pose[..., 0, :] = _turned(pose[..., 0, :], turn)
    _put_hands(pose, hand_poses.smooth_hand_poses(rng, num_windows, num_frames, frames_per_second))
    return SynthMotion(
        full_pose=pose,
        frames_per_second=float(frames_per_second),
        styles=styles,
        key_poses=tuple(names),
        is_mirrored=is_mirrored,
    )


def _poses_of(style: Style) -> list[str]:
    return [name for name, row in KEY_POSES.items() if row.style == style]


def _choose_styles(rng: np.random.Generator, style: str | None, num: int) -> tuple[Style, ...]:
    """One style a person."""
    known: tuple[Style, ...] = get_args(Style)
    if style is None:
        return tuple(known[index] for index in rng.integers(len(known), size=num))
    for one in known:
        if one == style:
            return (one,) * num
    raise KeyError(f"unknown style {style!r}; known: {', '.join(known)}, or None for either")


def _noise(rng: np.random.Generator, num: int) -> Float[np.ndarray, "N 52 3"]:
    """What makes two people in one pose different, radians."""
    spread = np.full((len(_JOINTS), 3), JOINT_NOISE)
    spread[[joint.endswith("_foot") for joint in _JOINTS]] = TOE_NOISE
    # Hinges: a knee has no play but in its own direction.
    spread[[joint.endswith("_knee") for joint in _JOINTS], 1:] = HOLD_NOISE
    spread[0] = LEAN_NOISE
    return np.radians(spread) * rng.standard_normal((num, len(_JOINTS), 3))


def _within_limits(pose: Float[np.ndarray, "*batch 52 3"]) -> Float[np.ndarray, "*batch 52 3"]:
    """Nearest pose within the limits of the joints; the root has none."""
    return np.concatenate([pose[..., :1, :], np.clip(pose[..., 1:, :], *_LIMITS)], axis=-2)


def _turned(lean: Float[np.ndarray, "*batch 3"], turn: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch 3"]:
    """The root's rotation vector after a turn about the vertical, radians."""
    vertical = np.stack([np.zeros_like(turn), turn, np.zeros_like(turn)], axis=-1).reshape(-1, 3)
    rotation = transform.Rotation.from_rotvec(vertical) * transform.Rotation.from_rotvec(lean.reshape(-1, 3))
    return rotation.as_rotvec().reshape(lean.shape)


def _put_hands(pose: Float[np.ndarray, "*batch 52 3"], hands: hand_poses.HandPoses) -> None:
    """Write wrists and fingers into full poses."""
    pose[..., _WRISTS, :] = hands.wrists
    for side, joints in enumerate(_FINGERS):
        pose[..., joints, :] = hands.fingers[..., side, :, :]


def _move_through_poses(
    rng: np.random.Generator, style: Style, times: Float[np.ndarray, "time"]
) -> tuple[Float[np.ndarray, "time 52 3"], Float[np.ndarray, "time"], tuple[str, ...]]:
    """Poses and turn about the vertical of one window, and the names of its key poses."""
    names, keys, keys_at, turns = _key_frames(rng, style, float(times[-1]))
    pose = interpolate.PchipInterpolator(keys_at, keys)(times)
    turn = interpolate.PchipInterpolator(keys_at, turns)(times)
    return pose, turn, names


def _key_frames(
    rng: np.random.Generator, style: Style, seconds: float
) -> tuple[tuple[str, ...], Float[np.ndarray, "K 52 3"], Float[np.ndarray, "K"], Float[np.ndarray, "K"]]:
    """Names, poses, times and turns of key frames that begin before second 0 and end after the window."""
    known = _poses_of(style)
    names = [str(rng.choice(known))]
    poses = [_within_limits(key_pose(names[0]) + _noise(rng, 1)[0])]
    # Windows begin anywhere in the first move, not always in a pose.
    at = [0.0]
    turns = [rng.uniform(-np.pi, np.pi)]
    start = None
    while start is None or at[-1] - start <= seconds:
        if rng.random() < HOLD_CHANCE:
            sway = np.radians(HOLD_NOISE) * rng.standard_normal((len(_JOINTS), 3))
            poses.append(_within_limits(poses[-1] + sway))
            # Not at once: swaying is no twitch.
            at.append(at[-1] + rng.uniform(0.15, LONGEST_HOLD[style]))
            turns.append(turns[-1])
        names.append(str(rng.choice([name for name in known if name != names[-1]])))
        poses.append(_within_limits(key_pose(names[-1]) + _noise(rng, 1)[0]))
        spin = rng.choice((-2 * np.pi, 2 * np.pi)) if rng.random() < SPIN_CHANCE[style] else 0.0
        turn = spin + np.radians(TURN_SPREAD[style]) * rng.standard_normal()
        furthest = max(np.linalg.norm(poses[-1] - poses[-2], axis=-1).max(), abs(turn))
        at.append(at[-1] + max(SHORTEST_MOVE, furthest / np.radians(rng.uniform(*PACE[style]))))
        turns.append(turns[-1] + turn)
        if start is None:
            start = rng.uniform(0.0, at[-1])
    return tuple(names), np.stack(poses), np.array(at) - start, np.array(turns)
