"""Feet of written dance and martial poses on other people's legs, of which one can carry them.

Motion capture seldom stands on tiptoe or turns its feet in. An ankle of another pose belongs to another shin: on a bent
knee a pointed foot points at nothing, and with two of them people seem to hang. The lower foot is therefore one of
several that were drawn whose toes lie on the floor best; the other may be anything.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import Float, Int
from hardmo_jax.data import synthetic
from hardmo_jax.skeleton import layouts

#: Written poses of which the lower foot is chosen.
_CANDIDATES = 8
_JOINTS = layouts.SMPLH_JOINTS
#: At rest a leg hangs down and a foot points at +z; the side of the sole is x.
_DOWN, _FORWARD, _ASIDE = np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])
#: Sines up to which toes and the width of a sole lie on the floor.
_FLAT = 0.3


def with_sampled_feet(rng: np.random.Generator, full_pose: Float[np.ndarray, "N 52 3"]) -> Float[np.ndarray, "N 52 3"]:
    """Poses with ankles and toes of written poses, each foot of another one.

    Args:
        rng: Source of all randomness.
        full_pose: Axis-angle of SMPL-H's joints, world axes, y up.

    Returns:
        The same poses with other feet.
    """
    count, sampled = len(full_pose), np.array(full_pose)
    carrying = lower_side(full_pose)
    for number, side in enumerate(layouts.SIDES):
        feet = [_JOINTS.index(f"{side}_{joint}") for joint in ("ankle", "foot")]
        drawn = synthetic.sample_hard_poses(int(rng.integers(1 << 31)), count * _CANDIDATES).full_pose[:, feet]
        drawn = drawn.reshape(count, _CANDIDATES, 2, 3)
        tilts = np.stack([sole_tilt(full_pose, side, drawn[:, place]) for place in range(_CANDIDATES)], axis=1)
        # Of those that lie flat the first, which is any.
        best = np.argmin(np.maximum(tilts, _FLAT), axis=1)
        chosen = np.where(carrying == number, best, 0)
        sampled[:, feet] = drawn[np.arange(count), chosen]
    return sampled


def lower_side(full_pose: Float[np.ndarray, "N 52 3"]) -> Int[np.ndarray, "N"]:
    """Which ankle is lower, as a place in `SIDES`, were thighs as long as shins."""
    reach = []
    for side in layouts.SIDES:
        thigh, shin = _turns(full_pose, side)
        reach.append((thigh.apply(_DOWN) + shin.apply(_DOWN))[:, 1])
    return np.argmin(np.stack(reach), axis=0)


def sole_tilt(
    full_pose: Float[np.ndarray, "N 52 3"], side: str, feet: Float[np.ndarray, "N 2 3"]
) -> Float[np.ndarray, "N"]:
    """How far feet are from standing: the larger sine of the slopes of the toes, and of the sole from side to side.

    Args:
        full_pose: Poses that the legs are of, world axes, y up.
        side: Of the foot.
        feet: Rotations of ankle and toes, axis-angle.
    """
    _, shin = _turns(full_pose, side)
    ankle = shin * Rotation.from_rotvec(feet[:, 0])
    toes = ankle * Rotation.from_rotvec(feet[:, 1])
    # Feet that stand on their instep or on their heel have flat toes at most where those are bent as none are.
    slope = np.maximum(np.abs(toes.apply(_FORWARD)[:, 1]), np.abs(ankle.apply(_ASIDE)[:, 1]))
    is_upside_down = toes.apply(_DOWN)[:, 1] > 0
    return np.where(is_upside_down, 1.0, slope)


def _turns(full_pose: Float[np.ndarray, "N 52 3"], side: str) -> tuple[Rotation, Rotation]:
    """Of thigh and shin, from rest to the world."""
    pelvis, hip, knee = (
        Rotation.from_rotvec(full_pose[:, _JOINTS.index(name)]) for name in ("pelvis", f"{side}_hip", f"{side}_knee")
    )
    return pelvis * hip, pelvis * hip * knee
