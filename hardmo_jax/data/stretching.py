"""How far joints go beyond what was captured: what `pose_mixing` and `motion_mixing` share."""

from typing import Any

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.data.pose_pool import JOINTS
from hardmo_jax.skeleton import joint_limits, layouts

LIMITS = joint_limits.joint_limits(JOINTS[1:])
LIMBS = tuple(
    [JOINTS.index(f"{side}_{joint}") for joint in limb]
    for side in layouts.SIDES
    for limb in (("collar", "shoulder", "elbow"), ("hip", "knee", "ankle", "foot"))
)
WRISTS = [JOINTS.index(f"{side}_wrist") for side in layouts.SIDES]
_ANKLES = [JOINTS.index(f"{side}_ankle") for side in layouts.SIDES]
_TOES = [JOINTS.index(f"{side}_foot") for side in layouts.SIDES]
_KNEES = [JOINTS.index(f"{side}_knee") for side in layouts.SIDES]


def check_shares(options: Any, names: tuple[str, ...]) -> None:
    """Refuse options of mixing whose probabilities or `style_shares` are none.

    Args:
        options: Of poses or of motion.
        names: Its probabilities.

    Raises:
        ValueError: If one is out of range.
    """
    for name in names:
        if not 0 <= getattr(options, name) <= 1:
            raise ValueError(f"`{name}` is a probability and must be in [0, 1], got {getattr(options, name)}")
    if not options.style_shares or min(share for _, share in options.style_shares) < 0:
        raise ValueError(f"`style_shares` must be there and not negative, got {options.style_shares}")


def named_styles(styles: tuple[str, ...], shares: tuple[tuple[str, float], ...]) -> np.ndarray:
    """Styles as shares name them: `other` is all that is not named."""
    return np.array([style if style in dict(shares) else "other" for style in styles])


def person_factor(rng: np.random.Generator, count: int, share: float) -> Float[np.ndarray, "N 1 1"]:
    """By how much the noise of a person is larger than that of others; zero for those who have none."""
    return np.exp(rng.normal(0, 0.6, (count, 1, 1))) * (rng.random((count, 1, 1)) < share)


def joint_spread(degrees: float) -> Float[np.ndarray, "22 3"]:
    """Noise of the axes of all joints: knees hardly turn but in their hinge."""
    spread = np.full((len(JOINTS), 3), degrees)
    spread[_KNEES, 1:] *= 0.3
    return spread


def free_ends(options: Any) -> tuple[tuple[list[int], float, Float[np.ndarray, "3"]], ...]:
    """Joints of feet that move further, the share of people in whom they do, and degrees of the three axes."""
    return (
        (_ANKLES, options.free_ankle, np.array([1.0, 0.6, 0.6]) * options.ankle_degrees),
        (_TOES, options.free_toes, np.array([options.toe_degrees, 2.0, 2.0])),
    )
