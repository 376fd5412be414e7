"""Frames of a track in which somebody seen in part would be metres from where they were a moment ago.

A detector that sees half of a person squeezes a whole one into what it sees. A body of known size is then far away, and
its keypoints agree with each other. What does not agree is the way there and back: nobody moves like that.
"""

import numpy as np

from hardmo_jax.array_types import Bool, Float, Int

#: Largest acceleration that lasts, m/s^2: sprinters at the start reach it.
_ACCELERATION = 10.0
#: Largest speed towards the camera or from it that is taken to go on, m/s, and the time it is seen from, seconds.
_SPEED, _SPEED_SECONDS = 4.0, 0.4
#: Distances are off by this share in any case.
_SLACK = 0.08
#: Frames that are well seen within this time say where somebody is, seconds.
_LONGEST = 1.5


def stray_frames(
    depth: Float[np.ndarray, "T"], is_sure: Bool[np.ndarray, "T"], frames_per_second: float
) -> Bool[np.ndarray, "T"]:
    """Which frames are farther from those around them than anybody moves.

    Args:
        depth: Of the root of one person of one shape, metres before the camera; frames without a break.
        is_sure: Frames in which the person is well seen; none of them is ever a stray.
        frames_per_second: Of the track.

    Notes:
        Between two sure frames somebody who accelerates by a all the way leaves the straight line between them by
        a t (T - t) / 2. Where only one is near, people go on as they went there, and leave that way by a t^2 / 2. Where
        none is, nothing is said. Depths that are no number stray.
    """
    depth = np.asarray(depth, np.float64)
    at, sure = np.arange(len(depth)), np.flatnonzero(np.asarray(is_sure) & np.isfinite(depth))
    if not len(sure):
        return np.zeros(len(depth), bool)
    place = np.searchsorted(sure, at)
    before, after = sure[np.maximum(place - 1, 0)], sure[np.minimum(place, len(sure) - 1)]
    since, until = (at - before) / frames_per_second, (after - at) / frames_per_second
    has_before, has_after = (since > 0) & (since <= _LONGEST), (until > 0) & (until <= _LONGEST)
    has_both = has_before & has_after
    share = since / np.where(has_both, since + until, 1.0)
    between = depth[before] * (1 - share) + depth[after] * share
    ahead = depth[before] + _speeds(depth, sure, frames_per_second, back=True)[before] * since
    behind = depth[after] - _speeds(depth, sure, frames_per_second, back=False)[after] * until
    expected = np.where(has_both, between, np.where(has_before, ahead, behind))
    time = np.where(has_both, since * until, np.where(has_before, since, until) ** 2)
    reach = 0.5 * _ACCELERATION * time
    with np.errstate(invalid="ignore"):
        is_near = np.abs(depth - expected) <= _SLACK * np.abs(expected) + reach
    return ~is_near & (has_before | has_after) & ~np.asarray(is_sure)


def _speeds(
    depth: Float[np.ndarray, "T"], sure: Int[np.ndarray, "S"], frames_per_second: float, *, back: bool
) -> Float[np.ndarray, "T"]:
    """Speed in depth at each sure frame, by the sure ones before it (or after it), m/s; zero elsewhere."""
    reach = max(1, round(_SPEED_SECONDS * frames_per_second))
    speeds = np.zeros(len(depth))
    for place, frame in enumerate(sure):
        some = sure[max(place - reach, 0) : place + 1] if back else sure[place : place + reach + 1]
        some = some[np.abs(some - frame) <= reach]
        if len(some) > 2:
            speeds[frame] = np.polyfit((some - frame) / frames_per_second, depth[some], 1)[0]
    return np.clip(speeds, -_SPEED, _SPEED)
