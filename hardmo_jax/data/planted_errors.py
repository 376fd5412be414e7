"""Labels with wrong feet and hands: a share of them is turned to a pose that another person had.

Poses are plausible, as those of real labels are that went wrong: a turn about any axis would be found by its oddness
alone.
"""

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import Bool, Float

#: Poses that are tried for one part.
_TRIES = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlantOptions:
    """How many parts are turned, and how far."""

    share: float = 0.2
    """Of the parts."""
    degrees: tuple[float, float] = (20.0, 70.0)
    """Least and largest angle between the pose that was and the one that is planted."""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or not 0 <= self.degrees[0] < self.degrees[1] <= 180:
            raise ValueError(f"`share` lies in [0, 1] and `degrees` in order within 0 to 180, got {self}")


def plant(
    rng: np.random.Generator,
    rotation: Float[np.ndarray, "N 3"],
    others: Float[np.ndarray, "M 3"],
    options: PlantOptions,
) -> tuple[Float[np.ndarray, "N 3"], Bool[np.ndarray, "N"]]:
    """Turn some of the joints to a pose that others had.

    Args:
        rng: Source of all chance.
        rotation: Axis-angle of a joint of N people.
        others: Of the same joint, of other people.
        options: How many, how far.

    Returns:
        The joints, and which of them were turned. One that no other pose is near enough to stays.
    """
    chosen = rng.random(len(rotation)) < options.share
    planted, is_planted = np.array(rotation), np.zeros(len(rotation), bool)
    low, high = np.radians(options.degrees)
    for row in np.flatnonzero(chosen):
        tried = others[rng.integers(len(others), size=_TRIES)]
        apart = (Rotation.from_rotvec(rotation[row]).inv() * Rotation.from_rotvec(tried)).magnitude()
        fitting = np.flatnonzero((apart >= low) & (apart <= high))
        if len(fitting):
            planted[row], is_planted[row] = tried[fitting[0]], True
    return planted, is_planted
