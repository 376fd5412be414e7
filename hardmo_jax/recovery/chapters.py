"""Long tracks, chapter by chapter, so that little more than what is given and taken is held in memory.

A track is read twice: once for all that is one in it (left and right by the cheapest path, the shape by windows that
are spread over it), once for the bodies. Chapters see as many frames beyond their ends as the lifter does, so that its
guesses hardly differ from those of the whole track; their fits are blended where they meet.
"""

import contextlib
import ctypes
import dataclasses
import math

import jax
import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import Float, Int
from hardmo_jax.body import landmarks
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import project_in_pieces
from hardmo_jax.fitting.guess import Guess
from hardmo_jax.fitting.result import FitResult
from hardmo_jax.observations import Observations
from hardmo_jax.recovery.lift_motion import USUAL_RATE, with_betas
from hardmo_jax.recovery.starts import read_as
from hardmo_jax.recovery.track_recovery import RecoveredMotion, TrackRecovery
from hardmo_jax.recovery.track_sides import cheapest_readings, reading_costs
from hardmo_jax.skeleton import layouts

#: Frames of a chapter; tracks of fewer are recovered at once.
CHAPTER_FRAMES = 2048
#: Windows of frames, evenly spread, that tell the shape of a long track.
_SHAPE_WINDOWS = 16
#: Frames over which a chapter takes over from the one before.
_BLENDED = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Part:
    """Frames of a track with those around them."""

    rows: Int[np.ndarray, "N"]
    """In the track."""
    own: slice
    """Those that were asked for, among the rows."""
    observations: Observations
    """Ready for the fit."""


def recover_in_chapters(recovery: TrackRecovery, observations: Observations) -> RecoveredMotion:
    """Recover a track of any length, of more frames than `CHAPTER_FRAMES`.

    Args:
        recovery: What it is recovered with.
        observations: Of T frames.

    Raises:
        ObservationError: As `hm.fit`.
    """
    count = observations.batch_shape[0]
    chapters = [(first, min(first + CHAPTER_FRAMES, count)) for first in range(0, count, CHAPTER_FRAMES)]
    costs, betas = [], np.zeros(recovery.body.num_betas)
    for first, last in chapters:
        part = _part(recovery, observations, first, last)
        params = recovery.lift(part.observations, part.rows).guess.params
        costs.append(reading_costs(recovery.body, part.observations, params)[part.own])
        betas += (last - first) / count * np.asarray(params.betas[0], np.float64)
    order = cheapest_readings(layouts.get_layout(observations.layout), np.concatenate(costs))
    betas = _shape(recovery, observations, order, betas)
    _give_memory_back()
    # The shape stands, so that its steps are for the rest.
    motion_options = recovery.motion_options
    steps = motion_options.shape_iterations + motion_options.iterations
    motion_options = dataclasses.replace(motion_options, shape_share=0.0, shape_iterations=0, iterations=steps)
    result, stands = None, np.zeros((count, len(layouts.CONTACT_POINTS)), np.float32)
    for first, last in chapters:
        part = _part(recovery, observations, first, last, order)
        lifted = recovery.lift(part.observations, part.rows)
        guess = dataclasses.replace(lifted.guess, params=with_betas(recovery.body, lifted.guess.params, betas))
        standing = np.asarray(lifted.stands)
        found = recovery.fit(part.observations, guess, standing, motion_options=motion_options)
        stands[first:last] = standing[part.own]
        found = jax.tree.map(np.asarray, found)
        if result is None:
            result = jax.tree.map(lambda leaf: np.zeros((count, *leaf.shape[1:]), leaf.dtype), found)
        _take_over(recovery.body, observations.layout, result, found, part)
        _give_memory_back()
    if result is None:
        raise ValueError("a track without frames has no chapters")
    return RecoveredMotion(result=result, stands=stands, keypoint_order=order)


def _give_memory_back() -> None:
    """Return what is free to the system, where the C library can: it keeps what the arrays of each chapter took."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _part(
    recovery: TrackRecovery,
    observations: Observations,
    first: int,
    last: int,
    order: Int[np.ndarray, "T K"] | None = None,
) -> _Part:
    """Some frames, with as many around them as can matter, read as the order says."""
    count = observations.batch_shape[0]
    faster = max(1.0, recovery.frames_per_second / USUAL_RATE)
    reach = math.ceil(recovery.trained_motion.options.reach * faster) + recovery.motion_options.overlap_frames
    rows = np.arange(max(first - reach, 0), min(last + reach, count))

    def of_frames(leaf: np.ndarray | None, axes: int) -> np.ndarray | None:
        """Rows of an array that may be the same for all frames."""
        return leaf if leaf is None or np.ndim(leaf) <= axes or len(leaf) != count else np.asarray(leaf)[rows]

    some = recovery.ready(
        dataclasses.replace(
            observations,
            keypoints_2d=of_frames(observations.keypoints_2d, 2),
            confidence=of_frames(observations.confidence, 1),
            keypoints_3d=of_frames(observations.keypoints_3d, 2),
            confidence_3d=of_frames(observations.confidence_3d, 1),
            bbox=of_frames(observations.bbox, 1),
            camera=jax.tree.map(lambda leaf: of_frames(leaf, 1), observations.camera),
        )
    )
    if order is not None:
        some = read_as(some, np.arange(len(rows)), order[rows])
    return _Part(rows=rows, own=slice(first - int(rows[0]), last - int(rows[0])), observations=some)


def _shape(
    recovery: TrackRecovery,
    observations: Observations,
    order: Int[np.ndarray, "T K"],
    betas: Float[np.ndarray, "C"],
) -> Float[np.ndarray, "C"]:
    """The shape that windows of the track settle on."""
    motion_options = recovery.motion_options
    if not motion_options.shape_share or not len(betas):
        return betas
    count, size = observations.batch_shape[0], motion_options.window_frames
    windows, guesses, stands = [], [], []
    for first in np.linspace(0, count - size, _SHAPE_WINDOWS).round().astype(int).tolist():
        part = _part(recovery, observations, first, first + size, order)
        lifted = recovery.lift(part.observations, part.rows)
        windows.append(jax.tree.map(lambda leaf, at=part.own: np.asarray(leaf)[at], part.observations))
        stands.append(np.asarray(lifted.stands)[part.own])
        guesses.append(_rows_of(lifted.guess, part.own))
    precision = guesses[0].precision
    params, spread, axes = (
        jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        for parts in zip(*((guess.params, guess.spread, guess.axes) for guess in guesses), strict=True)
    )
    guess = Guess(params=with_betas(recovery.body, params, betas), spread=spread, precision=precision, axes=axes)
    together = jax.tree.map(lambda *leaves: np.concatenate(leaves), *windows)
    is_continued = np.arange(len(spread)) % size > 0
    found = recovery.fit(together, guess, np.concatenate(stands), is_continued=is_continued)
    return np.asarray(found.params.betas[0], np.float64)


def _rows_of(guess: Guess, rows: slice) -> Guess:
    params, spread, axes = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], (guess.params, guess.spread, guess.axes))
    return dataclasses.replace(guess, params=params, spread=spread, axes=axes)


def _take_over(body: BodyModel, layout: str, result: FitResult, found: FitResult, part: _Part) -> None:
    """Write a chapter into the result of the whole track."""
    begin = int(part.rows[part.own.start])
    # The end reaches into the next chapter, which takes over from there.
    taken = slice(part.own.start, min(part.own.stop + _BLENDED, len(part.rows)))
    rows = part.rows[taken]
    meeting = rows[: _BLENDED if begin else 0]
    before = jax.tree.map(lambda leaf: leaf[meeting], result.params)
    for frames, some in zip(jax.tree.leaves(result), jax.tree.leaves(found), strict=True):
        frames[rows] = some[taken]
    if not len(meeting):
        return
    now = jax.tree.map(lambda leaf: leaf[meeting], result.params)
    ramp = (np.arange(len(meeting), dtype=before.transl.dtype) + 0.5) / _BLENDED
    # Where either has no numbers the newer one stands.
    leaves = [*jax.tree.leaves(before), *jax.tree.leaves(now)]
    is_sound = np.all([np.isfinite(leaf).reshape(len(leaf), -1).all(-1) for leaf in leaves], 0)
    if not is_sound.any():
        return
    rows, (before, now) = meeting[is_sound], jax.tree.map(lambda leaf: leaf[is_sound], (before, now))
    blended = _blended(before, now, (ramp * ramp * (3 - 2 * ramp))[is_sound])
    for frames, some in zip(jax.tree.leaves(result.params), jax.tree.leaves(blended), strict=True):
        frames[rows] = some
    model, is_supported = landmarks.point_model(body, layouts.get_layout(layout))
    points, pixels = project_in_pieces(model, *jax.tree.map(lambda leaf: leaf[rows], (result.camera, result.params)))
    for frames, placed in ((result.keypoints_3d, points), (result.keypoints_2d, pixels)):
        np.asarray(frames)[rows] = np.where(is_supported[:, None], placed, np.nan)


def _blended(before: BodyParams, now: BodyParams, share: Float[np.ndarray, "N"]) -> BodyParams:
    """Between two estimates of the same frames: along the shortest turn of each joint."""

    def turned(start: Float[np.ndarray, "N *joints 3"], end: Float[np.ndarray, "N *joints 3"]) -> np.ndarray:
        first, last = (Rotation.from_rotvec(pose.reshape(-1, 3)) for pose in (start, end))
        way = (first.inv() * last).as_rotvec().reshape(end.shape) * share.reshape(-1, *[1] * (end.ndim - 1))
        return (first * Rotation.from_rotvec(way.reshape(-1, 3))).as_rotvec().reshape(end.shape).astype(end.dtype)

    names = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose")
    ends = {name: end for name in names if (end := getattr(now, name)) is not None}
    poses = {name: turned(getattr(before, name), end) for name, end in ends.items()}
    transl = before.transl + share[:, None] * (now.transl - before.transl)
    return dataclasses.replace(now, transl=transl, **poses)
