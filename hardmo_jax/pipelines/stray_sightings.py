"""Sightings that put somebody half hidden where nobody could have gone, taken for frames in which nobody was seen."""

import dataclasses

import numpy as np

from hardmo_jax.array_types import Bool
from hardmo_jax.fitting.result import FitResult, FitStatus
from hardmo_jax.pipelines.sightings import FILLED_SOURCE, Sighting
from hardmo_jax.recovery.stray_frames import stray_frames

#: Reasons of which the detector's keypoints may be those of a smaller person.
_SEEN_IN_PART = frozenset({"truncated", "occluded", "few_points"})
_FAILED = (FitStatus.DIVERGED, FitStatus.NONFINITE)


def strays_of(track: list[Sighting], result: FitResult, frames_per_second: float) -> Bool[np.ndarray, "T"]:
    """Which sightings of a track are not to be believed: seen in part, and far from where the person was.

    Args:
        track: Every frame from the first to the last.
        result: Their fit, of one shape.
        frames_per_second: Of the track.
    """
    is_found = np.array([one.source != FILLED_SOURCE for one in track])
    in_part = np.array([_is_seen_in_part(one) for one in track])
    status = np.asarray(result.status)
    has_fit = np.isin(status, (FitStatus.CONVERGED, FitStatus.MAX_STEPS, FitStatus.NO_BETTER))
    is_sure = is_found & ~in_part & has_fit
    depth = np.asarray(result.params.transl, np.float64)[:, 2]
    is_far = stray_frames(depth, is_sure, frames_per_second)
    # What explained nothing of somebody half hidden is no better than nothing.
    has_failed = np.isin(status, _FAILED) & bool(is_sure.any())
    return is_found & in_part & (is_far | has_failed)


def absorbed(pieces: list[list[Sighting]], *, shortest: int, longest_gap: int) -> list[list[Sighting]]:
    """Pieces of one track, without bits in which somebody seen in part is suddenly elsewhere.

    Args:
        pieces: In the order of frames.
        shortest: Bits of fewer frames go to the piece before them, as frames in which nobody was seen.
        longest_gap: Unless so many frames lie between.
    """
    kept: list[list[Sighting]] = []
    for piece in pieces:
        is_bit = len(piece) < shortest and all(_is_seen_in_part(one) for one in piece)
        before = kept[-1] if kept and len(kept[-1]) >= shortest else None
        gap = 0 if before is None else piece[0].picture.position - before[-1].picture.position
        if is_bit and before is not None and gap <= longest_gap:
            before += [unseen(one) for one in piece]
        else:
            kept.append(list(piece))
    return kept


def _is_seen_in_part(sighting: Sighting) -> bool:
    return sighting.quality is not None and bool(_SEEN_IN_PART & set(sighting.quality.reasons))


def unseen(sighting: Sighting) -> Sighting:
    """The same place and time, with nobody seen."""
    points_3d, confidence_3d = sighting.keypoints_3d, sighting.confidence_3d
    return dataclasses.replace(
        sighting,
        keypoints_2d=np.zeros_like(sighting.keypoints_2d),
        confidence=np.zeros_like(sighting.confidence),
        keypoints_3d=None if points_3d is None else np.zeros_like(points_3d),
        confidence_3d=None if confidence_3d is None else np.zeros_like(confidence_3d),
        score=None,
        source=FILLED_SOURCE,
        regressed=None,
    )
