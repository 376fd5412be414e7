"""When a point of a foot stands: it hardly moves, and nothing of the body is far below it."""

import numpy as np

from hardmo_jax.array_types import Bool, Float

#: A foot that stands still in a capture moves by some centimetres a second: markers shake, shoes slip, and a body of
#: other proportions slides a little. Median of still feet of MocapHard: 0.06 m/s.
STILL_SPEED = 0.15
#: A foot that is held in the air is still as well, but higher than the other one by more than this.
LOW_HEIGHT = 0.08
#: Whoever stands on hands, head or back has both feet still in the air. More is allowed than between feet: a captured
#: hand that rests on the floor is some centimetres below it on a body of other proportions.
LOW_OVER_BODY = 0.15
#: At the top of a jump both feet are still for a moment: something of the body was far lower shortly before, and will
#: be shortly after. On stairs it is one of both. Seconds.
LOW_WITHIN = 0.25


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
    points: Float[np.ndarray, "*batch T N 3"],
    body_points: Float[np.ndarray, "*batch T K 3"],
    up: Float[np.ndarray, "3"],
    frames_per_second: float,
) -> Bool[np.ndarray, "*batch T N"]:
    """Which of the points of both feet stand on the ground.

    They hardly move, are about as low as the lowest of them, and not far above the lowest point of the body, now or
    both within `LOW_WITHIN` seconds before and after: what holds a handstand or somebody who lies is not the feet.

    Args:
        points: Heels and toes of both feet, metres.
        body_points: All that is known of the body, hands, head and knees at least, metres; the feet among them or not.
        up: Unit vector away from the ground.
        frames_per_second: Frame rate.

    Raises:
        ValueError: If there are not as many frames of the body as of the feet.
    """
    points, body_points = np.asarray(points, np.float64), np.asarray(body_points, np.float64)
    if points.shape[:-2] != body_points.shape[:-2]:
        raise ValueError(f"feet are of {points.shape[:-2]} frames, the body of {body_points.shape[:-2]}")
    height, body_height = points @ up, body_points @ up
    lowest_foot = height.min(axis=-1)
    lowest = np.minimum(lowest_foot, body_height.min(axis=-1))
    reach = round(LOW_WITHIN * frames_per_second)
    lowest = np.maximum(_lowest_before(lowest, reach), _lowest_before(lowest[..., ::-1], reach)[..., ::-1])
    is_low = height - lowest_foot[..., None] < LOW_HEIGHT
    is_lowest = height - lowest[..., None] < LOW_OVER_BODY
    return (point_speeds(points, frames_per_second) < STILL_SPEED) & is_low & is_lowest


def _lowest_before(heights: Float[np.ndarray, "*batch T"], reach: int) -> Float[np.ndarray, "*batch T"]:
    """Lowest of the heights of each frame and of up to `reach` frames before it."""
    wide = np.pad(heights, [*[(0, 0)] * (heights.ndim - 1), (reach, 0)], mode="edge")
    return np.lib.stride_tricks.sliding_window_view(wide, reach + 1, axis=-1).min(axis=-1)
