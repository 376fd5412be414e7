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


def plant_stretches(
    rng: np.random.Generator,
    rotation: Float[np.ndarray, "T 3"],
    others: Float[np.ndarray, "M 3"],
    options: PlantOptions,
    *,
    shortest: int,
    longest: int,
) -> tuple[Float[np.ndarray, "T 3"], Bool[np.ndarray, "T"]]:
    """Turn a joint of one clip for stretches of frames: what goes wrong in a video stays wrong for a while.

    A stretch begins with a pose that another had; the turn from the true pose to it stays the same until its end.

    Args:
        rng: Source of all chance.
        rotation: Axis-angle of a joint in frames one after the other.
        others: Of the same joint, of other people.
        options: Which share of all frames, how far.
        shortest: Frames of a stretch.
        longest: Frames of a stretch.
    """
    count, mean = len(rotation), 0.5 * (shortest + longest)
    planted, is_planted = np.array(rotation), np.zeros(count, bool)
    # Of n frames, a stretch begins with this probability where none is.
    begins = options.share / (mean * max(1 - options.share, 1e-9))
    certain = dataclasses.replace(options, share=1.0)
    first = 0
    while first < count:
        if rng.random() >= begins:
            first += 1
            continue
        rows = slice(first, min(first + int(rng.integers(shortest, longest + 1)), count))
        one, is_found = plant(rng, rotation[rows][:1], others, certain)
        if is_found[0]:
            turn = Rotation.from_rotvec(rotation[rows][0]).inv() * Rotation.from_rotvec(one[0])
            planted[rows] = (Rotation.from_rotvec(rotation[rows]) * turn).as_rotvec()
            is_planted[rows] = True
        first = rows.stop
    return planted, is_planted


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
