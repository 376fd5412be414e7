"""What only clips show: feet that slide, motion that is smoothed away, shapes that change."""

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.geometry.foot_contact import STILL_SPEED
from hardmo_jax.metrics.sample_errors import SampleErrors

#: Points count in `peak_speed_share` if they are faster than this at some time, m/s.
_FAST_SPEED = 3.0


def foot_slide(
    predicted: Float[np.ndarray, "*batch T C 3"],
    truth: Float[np.ndarray, "*batch T C 3"],
    *,
    frames_per_second: float,
) -> SampleErrors:
    """How far points of the feet move from a frame to the next while they stand still in truth, metres a frame.

    Whoever stands before a fixed camera does not move in the camera's frame, so that no ground is needed.

    Args:
        predicted: Points of heels and toes, camera frame, metres.
        truth: The same points.
        frames_per_second: Frame rate.

    Returns:
        Mean over the points that stand, for each frame but the last; valid where one does.

    Raises:
        ValueError: If shapes differ, or the frame rate is not positive.
    """
    if predicted.shape != truth.shape or truth.ndim < 3 or truth.shape[-1] != 3:
        raise ValueError(f"expected points (..., frames, C, 3) twice, got {predicted.shape} and {truth.shape}")
    if not 0 < frames_per_second < np.inf:
        raise ValueError(f"`frames_per_second` must be positive, got {frames_per_second}")
    moved, still = (np.linalg.norm(np.diff(points, axis=-3), axis=-1) for points in (predicted, truth))
    stands = still * frames_per_second < STILL_SPEED
    total = np.where(stands, moved, 0).sum(-1)
    return SampleErrors.of(total / np.maximum(stands.sum(-1), 1), stands.any(-1))


def acceleration_share(predicted: Float[np.ndarray, "*batch T K 3"], truth: Float[np.ndarray, "*batch T K 3"]) -> float:
    """Mean length of accelerations over that of the truth: below one, motion was smoothed away; above, it jitters."""
    ours, theirs = (np.linalg.norm(np.diff(points, n=2, axis=-3), axis=-1) for points in (predicted, truth))
    kept = np.isfinite(ours)
    total = theirs[kept].sum()
    return float(ours[kept].sum() / total) if total > 0 else float("nan")


def peak_speed_share(
    predicted: Float[np.ndarray, "*batch T K 3"],
    truth: Float[np.ndarray, "*batch T K 3"],
    *,
    frames_per_second: float,
) -> float:
    """Median, over points of clips that are fast at some time, of the highest speed over that of the truth.

    Kicks and spins: a filter that takes jitter away takes their peaks too.

    Args:
        predicted: Points of clips, metres.
        truth: The same points.
        frames_per_second: Frame rate.
    """
    ours, theirs = (np.linalg.norm(np.diff(points, axis=-3), axis=-1).max(-2) for points in (predicted, truth))
    kept = (theirs * frames_per_second > _FAST_SPEED) & np.isfinite(ours)
    return float(np.median(ours[kept] / theirs[kept])) if kept.any() else float("nan")
