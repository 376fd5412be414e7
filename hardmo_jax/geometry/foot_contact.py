"""When a point of a foot stands: it hardly moves, and nothing of the feet is far below it."""

import numpy as np

from hardmo_jax.array_types import Bool, Float

#: A foot that stands still in a capture moves by some centimetres a second: markers shake, shoes slip, and a body of
#: other proportions slides a little. Median of still feet of MocapHard: 0.06 m/s.
STILL_SPEED = 0.15
#: A foot that is held in the air is still as well, but higher than the other one by more than this.
LOW_HEIGHT = 0.08


def point_speeds(
    points: Float[np.ndarray, "*batch T N 3"], frames_per_second: float
) -> Float[np.ndarray, "*batch T N"]:
    """Speed of points over the frames before and after, m/s; over one of them at the ends.

    Args:
        points: Metres. A single frame has speed zero.
        frames_per_second: Frame rate.
    """
    points = np.asarray(points, np.float64)
    if points.shape[-3] < 2:
        return np.zeros(points.shape[:-1])
    return np.linalg.norm(np.gradient(points, 1 / frames_per_second, axis=-3), axis=-1)


def standing_points(
    points: Float[np.ndarray, "*batch T N 3"], up: Float[np.ndarray, "3"], frames_per_second: float
) -> Bool[np.ndarray, "*batch T N"]:
    """Which of the points of both feet stand on the ground.

    Args:
        points: Heels and toes of both feet, metres.
        up: Unit vector away from the ground.
        frames_per_second: Frame rate.
    """
    height = np.asarray(points, np.float64) @ up
    is_low = height - height.min(axis=-1, keepdims=True) < LOW_HEIGHT
    return (point_speeds(points, frames_per_second) < STILL_SPEED) & is_low
