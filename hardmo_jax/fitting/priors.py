"""What is known of a pose before the picture is seen: usual angles, and limits of the joints.

Numbers are read off anatomy, not learnt: a diagonal Gaussian over axis-angle components with wide spreads, and the
limits of `skeleton.joint_limits`, which dance and martial arts still fit into. The table is given for the left side;
the right side is the mirror image, for which axis-angle (x, y, z) becomes (x, -y, -z).

Meaning of the components in SMPL's rest pose (T-pose, y up, face to +z, left at +x): hip x- lifts the thigh
forward; knee x+ bends; ankle x+ points the toes; spine x+ bows; left shoulder z- lowers the arm, y- brings it
forward; left elbow y- bends; left wrist z- bends the palm down; left finger z- curls.
"""

import functools
from typing import NamedTuple

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.skeleton import joint_limits

#: Shape coefficients are kept within this many standard deviations: beyond it no body of the model is human.
SHAPE_LIMIT = 3.5


#: Mean and spread of (x, y, z) by kind of joint, left side, radians.
_USUAL: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "spine1": ((0.05, 0, 0), (0.20, 0.15, 0.15)),
    "spine2": ((0.05, 0, 0), (0.15, 0.15, 0.12)),
    "spine3": ((0.02, 0, 0), (0.12, 0.12, 0.10)),
    "neck": ((0.05, 0, 0), (0.25, 0.30, 0.20)),
    "head": ((0.05, 0, 0), (0.20, 0.25, 0.15)),
    "jaw": ((0.05, 0, 0), (0.15, 0.03, 0.03)),
    "hip": ((-0.25, 0.0, 0.08), (0.50, 0.30, 0.30)),
    "knee": ((0.35, 0, 0), (0.60, 0.10, 0.10)),
    "ankle": ((0.0, 0, 0), (0.35, 0.25, 0.25)),
    "foot": ((-0.05, 0, 0), (0.20, 0.05, 0.05)),
    "collar": ((0, 0, 0), (0.08, 0.15, 0.15)),
    "shoulder": ((0.0, -0.25, -0.9), (0.55, 0.60, 0.70)),
    "elbow": ((0.0, -0.55, 0.0), (0.35, 0.70, 0.25)),
    "wrist": ((0, 0, 0), (0.40, 0.30, 0.40)),
    "hand": ((0, 0, -0.1), (0.10, 0.10, 0.15)),
    "knuckle": ((0, 0, -0.25), (0.12, 0.15, 0.45)),
    "finger": ((0, 0, -0.25), (0.08, 0.08, 0.40)),
    "eyeball": ((0, 0, 0), (0.15, 0.25, 0.05)),
    "thumb": ((0, 0, 0), (0.30, 0.30, 0.30)),
}


class PosePrior(NamedTuple):
    """Arrays of (J, 3) over all joints but the root; radians."""

    mean: Float[np.ndarray, "J 3"]
    spread: Float[np.ndarray, "J 3"]
    low: Float[np.ndarray, "J 3"]
    high: Float[np.ndarray, "J 3"]


def _usual_angles(joint: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of one joint, mirrored for the right side."""
    side, kind = joint_limits.joint_kind(joint)
    mean, spread = _USUAL[kind]
    signs = joint_limits.MIRROR_SIGNS if side == "right" else (1.0, 1.0, 1.0)
    return np.multiply(signs, mean), np.array(spread)


@functools.lru_cache(maxsize=8)
def pose_prior(joint_names: tuple[str, ...]) -> PosePrior:
    """Prior over the joints of a model after the root.

    Args:
        joint_names: All joints of the model in file order, root first.
    """
    joints = joint_names[1:]
    mean, spread = np.array([_usual_angles(joint) for joint in joints]).reshape(-1, 2, 3).swapaxes(0, 1)
    columns = [column.astype(np.float32) for column in (mean, spread, *joint_limits.joint_limits(joints))]
    for column in columns:
        column.setflags(write=False)
    return PosePrior(*columns)
