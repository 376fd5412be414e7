"""How far frames of a track are from those that saw the person."""

import numpy as np

from hardmo_jax.array_types import AnyArray, Bool, Float


def frames_from(
    is_seen: Bool[np.ndarray, "T"], is_continued: Bool[AnyArray, "T"] | None = None
) -> Float[np.ndarray, "T"]:
    """Frames from each frame to the nearest one that was seen, without a cut between; infinite if there is none.

    Args:
        is_seen: Which were.
        is_continued: Whether a frame follows the one before it without a cut; None if all do.
    """
    at = np.arange(len(is_seen))
    cuts = np.zeros(len(at), bool) if is_continued is None else ~np.asarray(is_continued, bool)
    scene = np.cumsum(cuts)
    seen = np.flatnonzero(is_seen)
    if not len(seen):
        return np.full(len(at), np.inf)
    after = np.searchsorted(seen, at)
    beside = np.stack([seen[np.maximum(after - 1, 0)], seen[np.minimum(after, len(seen) - 1)]])
    return np.where(scene[beside] == scene, np.abs(beside - at), np.inf).min(0)
