"""How far the joints of SMPL's bodies bend: one anatomical table, for the fit's prior and for poses made up.

Limits hold per axis-angle component relative to the parent joint in SMPL's rest pose (T-pose, y up, face to +z, left
at +x), and are wide enough for dance and martial arts: splits, high kicks, tiptoe, backbends. They are read off
anatomy, not learnt. The table is given for the left side; the right side is the mirror image, for which axis-angle
(x, y, z) becomes (x, -y, -z). The root has no limits: a body may lie, turn or stand on its head.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.skeleton import layouts, lookup

#: Lowest and highest (x, y, z) by kind of joint, left side, radians.
_LIMITS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "spine1": ((-0.7, -0.6, -0.6), (0.9, 0.6, 0.6)),
    "spine2": ((-0.5, -0.5, -0.4), (0.6, 0.5, 0.4)),
    "spine3": ((-0.5, -0.4, -0.4), (0.5, 0.4, 0.4)),
    "neck": ((-0.8, -0.9, -0.6), (0.8, 0.9, 0.6)),
    "head": ((-0.6, -0.7, -0.5), (0.6, 0.7, 0.5)),
    "jaw": ((-0.05, -0.2, -0.2), (0.7, 0.2, 0.2)),
    "hip": ((-2.7, -1.2, -0.9), (1.2, 1.2, 1.9)),
    "knee": ((-0.05, -0.3, -0.3), (2.7, 0.3, 0.3)),
    "ankle": ((-0.8, -0.7, -0.7), (1.2, 0.7, 0.7)),
    "foot": ((-1.2, -0.15, -0.15), (0.6, 0.15, 0.15)),
    "collar": ((-0.3, -0.5, -0.4), (0.3, 0.5, 0.8)),
    "shoulder": ((-2.2, -2.4, -2.0), (2.2, 1.5, 2.0)),
    "elbow": ((-1.2, -2.8, -0.7), (1.2, 0.05, 0.7)),
    "wrist": ((-1.4, -0.8, -1.5), (1.4, 0.8, 1.5)),
    "hand": ((-0.3, -0.3, -0.6), (0.3, 0.3, 0.3)),
    "knuckle": ((-0.3, -0.4, -1.8), (0.3, 0.4, 0.5)),
    "finger": ((-0.2, -0.2, -1.9), (0.2, 0.2, 0.2)),
    "eyeball": ((-0.6, -0.8, -0.2), (0.6, 0.8, 0.2)),
    "thumb": ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)),
}
_CENTRAL = ("spine1", "spine2", "spine3", "neck", "head", "jaw")
#: All joints that have limits, in the order of the files.
_KNOWN = tuple(dict.fromkeys((*layouts.SMPL_JOINTS[1:], *layouts.SMPLX_JOINTS[1:])))
#: What the mirror image does to the components of an axis-angle vector.
MIRROR_SIGNS = (1.0, -1.0, -1.0)


class JointLimits(NamedTuple):
    """Lowest and highest axis-angle components, radians."""

    low: Float[np.ndarray, "*joints 3"]
    high: Float[np.ndarray, "*joints 3"]


def joint_kind(joint: str) -> tuple[str | None, str]:
    """Side of a joint (None on the middle line) and its kind, under which both sides stand in anatomical tables.

    All first joints of the four fingers are a `knuckle`, the others a `finger`, those of the thumb a `thumb`.

    Raises:
        KeyError: If no joint of SMPL, SMPL-H or SMPL-X after the root has the name.
    """
    if joint not in _KNOWN:
        raise KeyError(lookup.unknown_name("joint", joint, _KNOWN))
    if joint in _CENTRAL:
        return None, joint
    side, _, part = joint.partition("_")
    finger = part.rstrip("123")
    if finger == "thumb":
        return side, "thumb"
    if finger in layouts.FINGERS:
        return side, "knuckle" if part.endswith("1") else "finger"
    return side, part


def joint_limits(joint_names: Sequence[str]) -> JointLimits:
    """Limits of named joints.

    Args:
        joint_names: Joints of SMPL, SMPL-H or SMPL-X without the root, in any order.

    Returns:
        Two arrays of (J, 3).

    Raises:
        KeyError: If a name is none of these joints.
    """
    rows = [_limits_of(joint) for joint in joint_names]
    low, high = (np.array([row[end] for row in rows], np.float64).reshape(-1, 3) for end in range(2))
    return JointLimits(low=low, high=high)


def _limits_of(joint: str) -> tuple[Sequence[float], Sequence[float]]:
    """Lowest and highest components of one joint."""
    side, kind = joint_kind(joint)
    low, high = _LIMITS[kind]
    if side != "right":
        return low, high
    # The x component keeps its sign, so its two limits keep their places.
    return (low[0], -high[1], -high[2]), (high[0], -low[1], -low[2])
