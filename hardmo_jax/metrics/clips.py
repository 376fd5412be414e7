"""What only clips show: feet that slide, motion that is smoothed away, shapes that change."""

import dataclasses

import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.geometry.foot_contact import STILL_SPEED
from hardmo_jax.metrics.sample_errors import SampleErrors

#: Points count in `peak_speed_share` if they are faster than this at some time, m/s.
_FAST_SPEED = 3.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipShare:
    """One number of all clips, and what it was taken of."""

    value: float
    """NaN without anything to take it of."""
    num_counted: int
    """Frames or clips."""
    num_left_out: int
    """Those whose prediction is no number somewhere."""

    @classmethod
    def of(cls, value: float, is_counted: Bool[np.ndarray, "*batch"]) -> "ClipShare":
        """A value with its counts."""
        counted = int(np.sum(is_counted))
        return cls(value=value, num_counted=counted, num_left_out=int(np.size(is_counted)) - counted)


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


def acceleration_share(
    predicted: Float[np.ndarray, "*batch T K 3"], truth: Float[np.ndarray, "*batch T K 3"]
) -> ClipShare:
    """Mean length of accelerations over that of the truth: below one, motion was smoothed away; above, it jitters.

    Args:
        predicted: Points of clips, metres. A frame counts if all of its points, and those of the frames before and
            after, are numbers.
        truth: The same points.
    """
    ours, theirs = (np.linalg.norm(np.diff(points, n=2, axis=-3), axis=-1) for points in (predicted, truth))
    kept = np.asarray(np.isfinite(ours).all(-1))
    total = theirs[kept].sum()
    share = float(ours[kept].sum() / total) if total > 0 else float("nan")
    return ClipShare.of(share, kept)


def peak_speed_share(
    predicted: Float[np.ndarray, "*batch T K 3"],
    truth: Float[np.ndarray, "*batch T K 3"],
    *,
    frames_per_second: float,
) -> ClipShare:
    """Median, over points of clips that are fast at some time, of the highest speed over that of the truth.

    Kicks and spins: a filter that takes jitter away takes their peaks too.

    Args:
        predicted: Points of clips, metres. A clip counts if all of its points are numbers.
        truth: The same points.
        frames_per_second: Frame rate.
    """
    ours, theirs = (np.linalg.norm(np.diff(points, axis=-3), axis=-1).max(-2) for points in (predicted, truth))
    kept = np.asarray(np.isfinite(predicted).all((-1, -2, -3)))
    is_fast = (theirs * frames_per_second > _FAST_SPEED) & kept[..., None]
    share = float(np.median(ours[is_fast] / theirs[is_fast])) if is_fast.any() else float("nan")
    return ClipShare.of(share, kept)


def shape_spread(betas: Float[np.ndarray, "*batch T B"]) -> ClipShare:
    """Mean standard deviation of shape coefficients over the frames of a clip; zero where each has one shape.

    Args:
        betas: Shape coefficients. A clip counts if all of its frames have numbers.
    """
    kept = np.asarray(np.isfinite(betas).all((-1, -2)))
    spread = float(betas[kept].std(axis=-2).mean()) if kept.any() and betas.shape[-1] else float("nan")
    return ClipShare.of(spread, kept)
