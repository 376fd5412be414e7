"""What is known of a pose before the picture is seen: usual angles, and limits of the joints.

Numbers are read off anatomy, not learnt: a diagonal Gaussian over axis-angle components with wide spreads, and
limits that dance and martial arts still fit into (splits, high kicks, tiptoe, backbends). Tables are given for
the left side; the right side is the mirror image, for which axis-angle (x, y, z) becomes (x, -y, -z).

Meaning of the components in SMPL's rest pose (T-pose, y up, face to +z, left at +x): hip x- lifts the thigh
forward; knee x+ bends; ankle x+ points the toes; spine x+ bows; left shoulder z- lowers the arm, y- brings it
forward; left elbow y- bends; left wrist z- bends the palm down; left finger z- curls.
"""

import functools
from typing import NamedTuple

import numpy as np

from hardmo_jax.array_types import Float

#: Shape coefficients are kept within this many standard deviations: beyond it no body of the model is human.
SHAPE_LIMIT = 3.5


class _Angles(NamedTuple):
    """Per component (x, y, z), radians."""

    mean: tuple[float, float, float]
    spread: tuple[float, float, float]
    low: tuple[float, float, float]
    high: tuple[float, float, float]


_CENTRAL = {
    "spine1": _Angles((0.05, 0, 0), (0.20, 0.15, 0.15), (-0.7, -0.6, -0.6), (0.9, 0.6, 0.6)),
    "spine2": _Angles((0.05, 0, 0), (0.15, 0.15, 0.12), (-0.5, -0.5, -0.4), (0.6, 0.5, 0.4)),
    "spine3": _Angles((0.02, 0, 0), (0.12, 0.12, 0.10), (-0.5, -0.4, -0.4), (0.5, 0.4, 0.4)),
    "neck": _Angles((0.05, 0, 0), (0.25, 0.30, 0.20), (-0.8, -0.9, -0.6), (0.8, 0.9, 0.6)),
    "head": _Angles((0.05, 0, 0), (0.20, 0.25, 0.15), (-0.6, -0.7, -0.5), (0.6, 0.7, 0.5)),
    "jaw": _Angles((0.05, 0, 0), (0.15, 0.03, 0.03), (-0.05, -0.2, -0.2), (0.7, 0.2, 0.2)),
}
_LEFT = {
    "hip": _Angles((-0.25, 0.0, 0.08), (0.50, 0.30, 0.30), (-2.7, -1.2, -0.9), (1.2, 1.2, 1.9)),
    "knee": _Angles((0.35, 0, 0), (0.60, 0.10, 0.10), (-0.05, -0.3, -0.3), (2.7, 0.3, 0.3)),
    "ankle": _Angles((0.0, 0, 0), (0.35, 0.25, 0.25), (-0.8, -0.7, -0.7), (1.2, 0.7, 0.7)),
    "foot": _Angles((-0.05, 0, 0), (0.20, 0.05, 0.05), (-1.2, -0.15, -0.15), (0.6, 0.15, 0.15)),
    "collar": _Angles((0, 0, 0), (0.08, 0.15, 0.15), (-0.3, -0.5, -0.4), (0.3, 0.5, 0.8)),
    "shoulder": _Angles((0.0, -0.25, -0.9), (0.55, 0.60, 0.70), (-2.2, -2.4, -2.0), (2.2, 1.5, 2.0)),
    "elbow": _Angles((0.0, -0.55, 0.0), (0.35, 0.70, 0.25), (-1.2, -2.8, -0.7), (1.2, 0.05, 0.7)),
    "wrist": _Angles((0, 0, 0), (0.40, 0.30, 0.40), (-1.4, -0.8, -1.5), (1.4, 0.8, 1.5)),
    "hand": _Angles((0, 0, -0.1), (0.10, 0.10, 0.15), (-0.3, -0.3, -0.6), (0.3, 0.3, 0.3)),
    "knuckle": _Angles((0, 0, -0.25), (0.12, 0.15, 0.45), (-0.3, -0.4, -1.8), (0.3, 0.4, 0.5)),
    "finger": _Angles((0, 0, -0.25), (0.08, 0.08, 0.40), (-0.2, -0.2, -1.9), (0.2, 0.2, 0.2)),
    "eyeball": _Angles((0, 0, 0), (0.15, 0.25, 0.05), (-0.6, -0.8, -0.2), (0.6, 0.8, 0.2)),
    "thumb": _Angles((0, 0, 0), (0.30, 0.30, 0.30), (-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)),
}


class PosePrior(NamedTuple):
    """Arrays of (J, 3) over all joints but the root; radians."""

    mean: Float[np.ndarray, "J 3"]
    spread: Float[np.ndarray, "J 3"]
    low: Float[np.ndarray, "J 3"]
    high: Float[np.ndarray, "J 3"]


def _angles_of(joint: str) -> _Angles:
    """Row of one joint, mirrored for the right side."""
    if joint in _CENTRAL:
        return _CENTRAL[joint]
    side, _, part = joint.partition("_")
    kind = part
    if part.startswith("thumb"):
        kind = "thumb"
    elif part not in _LEFT:
        kind = "knuckle" if part.endswith("1") else "finger"
    row = _LEFT[kind]
    if side == "left":
        return row
    mirror = np.array([1.0, -1.0, -1.0])
    low, high = mirror * np.array(row.high), mirror * np.array(row.low)
    # The x component keeps its sign, so its two limits keep their places.
    low[0], high[0] = row.low[0], row.high[0]
    return _Angles(tuple(mirror * row.mean), row.spread, tuple(low), tuple(high))


@functools.lru_cache(maxsize=8)
def pose_prior(joint_names: tuple[str, ...]) -> PosePrior:
    """Prior over the joints of a model after the root.

    Args:
        joint_names: All joints of the model in file order, root first.
    """
    rows = [_angles_of(joint) for joint in joint_names[1:]]
    columns = [np.array([row[field] for row in rows], np.float32) for field in range(4)]
    for column in columns:
        column.setflags(write=False)
    return PosePrior(*columns)
