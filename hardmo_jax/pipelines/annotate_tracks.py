"""People of a video, track by track: all frames of one person together, and frames in between in which it was lost.

A track is cut where its keypoints jump or time does: what follows is another scene or another person, whatever the
tracker says. What is left of less than `SHORTEST` frames is fitted frame by frame.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.fitting.fit_motion import MotionOptions
from hardmo_jax.fitting.result import FitResult, FitStatus
from hardmo_jax.fitting.stages import FitOptions
from hardmo_jax.perception.camera_motion import CameraMotion, CameraPath, judge_motion
from hardmo_jax.pipelines.fit_pieces import fit_in_pieces, fit_in_windows
from hardmo_jax.pipelines.perceiving import LONGEST_TAKE
from hardmo_jax.pipelines.regress_people import start_of_sightings
from hardmo_jax.pipelines.sightings import (
    FILLED_SOURCE,
    LAYOUT,
    Picture,
    Sighting,
    as_read,
    to_observations,
    with_evidence,
    without_unweighted_parts,
)
from hardmo_jax.pipelines.stray_sightings import absorbed, strays_of, unseen
from hardmo_jax.recovery.ground import Ground, GroundError, estimate_ground
from hardmo_jax.recovery.lift_and_fit import Recovered, lift_and_fit
from hardmo_jax.recovery.recover_motion import FASTEST, SLOWEST, recover_motion, weights_of_frames
from hardmo_jax.recovery.regressor_start import rows_of_start
from hardmo_jax.recovery.starts import StartOptions
from hardmo_jax.recovery.track_recovery import RecoveredMotion
from hardmo_jax.skeleton import layouts

Progress = Callable[[str, int, int | None], None]

#: Frames of the shortest track that is fitted over time.
SHORTEST = 5
#: A median jump of the keypoints from a frame to the next beyond this, in box sides, is a cut: hands and feet of
#: dancers are faster, but not half of all points. Longer gaps allow more, up to the second number.
_JUMP, _LONGEST_JUMP = 0.3, 0.8
#: So is a change of size by this factor, over longer gaps by up to the second one.
_GROWTH, _LONGEST_GROWTH = 1.6, 2.5
#: Confidence of keypoints that are asked about jumps, and how many must be there.
_CONFIDENT, _LEAST_POINTS = 0.4, 4
#: Time that passes between two frames, in usual steps, beyond which they do not follow each other.
_LONGEST_STEP = 3.0
#: Distance of standing feet from a plane, metres, beyond which there is no floor.
_LARGEST_RESIDUAL = 0.15
#: Locked feet that move faster than this, metres a second, in a quarter of the steps in which they should stand. Before
#: fixed cameras that quarter is faster than 0.02 to 0.03, before one that turns by 2 degrees a second than 0.1.
_SLIDING, _SLIDING_PERCENTILE = 0.06, 75
#: Probability from which a point of a foot is said to stand.
_STANDS = 0.5
#: Time over which a foot's speed is taken, seconds, and how many speeds must be there.
_STEP_SECONDS, _LEAST_STEPS = 1 / 15, 20
#: What to do about feet that do not stay.
_UNLOCK = "if the camera moves, give --config.fit.camera_is_fixed=False: no foot is locked then, and no floor reported"


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoFitOptions(FitOptions):
    """Options of the fit of a job."""

    temporal: bool = True
    """Frames of a person in a video are fitted together; else each by itself."""
    camera_is_fixed: Literal["auto", True, False] = "auto"
    """Feet that stand stay where they are, and the floor is reported. Before a camera that moves neither is so. `auto`
    takes a camera to move if the background does (`perception.camera_motion`), and to be fixed if that is not known."""
    longest_take: int = LONGEST_TAKE
    """Frames of a shot that are fitted together; those of a longer one by takes that overlap, each with its floor."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.longest_take < 2 * SHORTEST:
            raise ValueError(f"`longest_take` must be {2 * SHORTEST} or more, got {self.longest_take}")

    @classmethod
    def of(
        cls,
        options: FitOptions,
        *,
        temporal: bool = True,
        camera_is_fixed: Literal["auto", True, False] = "auto",
        longest_take: int = LONGEST_TAKE,
    ) -> "VideoFitOptions":
        """The same options, for a job."""
        return cls(
            temporal=temporal,
            camera_is_fixed=camera_is_fixed,
            longest_take=longest_take,
            **{field.name: getattr(options, field.name) for field in dataclasses.fields(FitOptions)},
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraUsed:
    """How the camera of a video was taken to stand."""

    is_fixed: bool
    """Whether feet were locked for it."""
    motion: CameraMotion | None
    """What the background says; None if nobody asked it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FittedTracks:
    """Everybody of a video."""

    sightings: list[Sighting]
    """By frame, then by track; with those that were filled in."""
    result: FitResult
    """In the same order."""
    ground: Ground | None
    """The floor, where somebody stands before a camera that is taken to be fixed."""
    warnings: tuple[str, ...]
    """What may be wrong, such as a camera that was taken to be fixed and seems to move."""
    camera: CameraUsed
    """Whether the camera was taken to be fixed, and why."""
    num_from_lifter: int = 0
    """People whose fit starts from the lifter's guess though a network was asked."""


def fit_tracks(
    body: BodyModel,
    pictures: list[Picture],
    sightings: list[Sighting],
    *,
    frames_per_second: float | None = None,
    start: StartOptions,
    options: VideoFitOptions,
    motion: MotionOptions,
    report: Progress,
    camera_path: CameraPath | None = None,
) -> FittedTracks:
    """Fit everybody of a video over time.

    Args:
        body: Model with landmarks.
        pictures: Frames of the video, in order.
        sightings: People in them, one or more.
        frames_per_second: None takes the usual step from a frame to the next.
        start: Of frames that are fitted by themselves.
        options: Weights, and whether the camera is fixed.
        motion: How frames are tied together.
        report: Told the stage, what is done, and of how much.
        camera_path: Where the background of each frame is; without it `auto` takes a fixed camera.

    Raises:
        hardmo_jax.pipelines.fit_pieces.FitMemoryError: If memory runs out even for the smallest batch or window.
    """
    rate = frame_rate(pictures) if frames_per_second is None else frames_per_second
    camera = _camera_used(options, camera_path, rate)
    is_locked = camera.is_fixed and bool(np.isfinite(motion.lock_spread))
    warnings: list[str] = []
    if not SLOWEST <= rate <= FASTEST:
        warnings.append(
            f"people are followed at {SLOWEST:g} to {FASTEST:g} frames a second, here are {rate:.3g}: every frame "
            "was fitted by itself"
        )
    total, done = len(sightings), 0
    report("fit", 0, total)
    found: list[tuple[list[Sighting], FitResult]] = []
    standing: list[tuple[BodyParams, np.ndarray]] = []
    speeds: list[np.ndarray] = []
    num_from_lifter = num_strays = num_halved = 0
    for track in _tracks(sightings):
        longest_gap = round(motion.longest_gap_seconds * rate)
        for piece in absorbed(cut_track(track), shortest=SHORTEST, longest_gap=longest_gap):
            if len(piece) >= SHORTEST and not warnings:
                filled = _without_gaps(piece, pictures)
                recovered, windows = _recover(body, filled, rate, camera, options, motion)
                is_stray = strays_of(filled, recovered.result, rate)
                if is_stray.any():
                    num_strays += int(is_stray.sum())
                    filled = [unseen(one) if strays else one for one, strays in zip(filled, is_stray, strict=True)]
                    recovered, windows = _recover(body, filled, rate, camera, options, windows)
                num_halved += windows is not motion
                result = recovered.result
                num_from_lifter += _asked_in_vain(filled, recovered.is_from_lifter)
                filled = as_read(filled, np.asarray(recovered.keypoint_order))
                filled = with_evidence(
                    filled,
                    frames_per_second=rate,
                    longest_gap_seconds=motion.longest_gap_seconds,
                    part_weights=options.part_weights,
                )
                found.append((_with_boxes(filled, result), result))
                is_sound = np.isin(result.status, (FitStatus.CONVERGED, FitStatus.MAX_STEPS, FitStatus.NO_BETTER))
                stands = np.asarray(recovered.stands) * is_sound[:, None]
                standing.append((result.params, stands))
                speeds.append(_standing_speeds(np.asarray(result.keypoints_3d), stands, rate))
            else:
                single = _fit_frames(body, piece, start, options)
                num_from_lifter += _asked_in_vain(piece, single.is_from_lifter)
                read = as_read(piece, np.asarray(single.keypoint_order))
                read = with_evidence(
                    read,
                    frames_per_second=None,
                    longest_gap_seconds=motion.longest_gap_seconds,
                    part_weights=options.part_weights,
                )
                found.append((read, jax.tree.map(np.asarray, single.result)))
            done += len(piece)
            report("fit", done, total)
    everybody = [sighting for piece, _ in found for sighting in piece]
    result = _joined([result for _, result in found])
    found.clear()
    order = sorted(range(len(everybody)), key=lambda at: (everybody[at].picture.position, everybody[at].track_id))
    if order != list(range(len(order))):
        result = jax.tree.map(lambda leaf: leaf[np.array(order)], result)
    if num_strays:
        warnings.append(
            f"{num_strays} sightings of people half hidden lay farther from the frames around them than anybody moves: "
            "they are filled in from these"
        )
    if num_halved:
        warnings.append(
            f"memory did not suffice for windows of {motion.window_frames} frames (--config.motion.window_frames): "
            f"{num_halved} tracks were fitted in shorter ones"
        )
    ground = None
    if is_locked:
        ground, doubts = _ground(body, standing)
        warnings += [*doubts, *_sliding_warnings(speeds)]
        if camera.motion is not None and camera.motion.moves is None:
            warnings.append(
                "the background does not tell whether the camera moves (no texture, or people hide it), so it is taken "
                f"to stand still; {_UNLOCK}"
            )
    return FittedTracks(
        sightings=[everybody[at] for at in order],
        result=result,
        warnings=tuple(warnings),
        ground=ground,
        camera=camera,
        num_from_lifter=num_from_lifter,
    )


def _recover(
    body: BodyModel,
    filled: list[Sighting],
    frames_per_second: float,
    camera: CameraUsed,
    options: VideoFitOptions,
    motion: MotionOptions,
) -> tuple[RecoveredMotion, MotionOptions]:
    """One person in every frame from the first to the last, and the options with the windows that memory allowed."""
    observations = without_unweighted_parts(to_observations(filled), options.part_weights)
    regressed = start_of_sightings(body, filled, observations.camera)

    def fit_track(windows: MotionOptions) -> RecoveredMotion:
        found = recover_motion(
            body,
            observations,
            regressed=regressed,
            frames_per_second=frames_per_second,
            camera_is_fixed=camera.is_fixed,
            options=weights_of_frames(options),
            motion_options=windows,
        )
        # JAX answers before it is done: memory that runs out is told by whoever reads the numbers.
        return dataclasses.replace(found, result=jax.tree.map(np.asarray, found.result))

    return fit_in_windows(motion, fit_track)


def _fit_frames(body: BodyModel, piece: list[Sighting], start: StartOptions, options: VideoFitOptions) -> Recovered:
    """Every frame of a piece by itself, some at a time."""
    alone = without_unweighted_parts(to_observations(piece), options.part_weights)
    regressed = start_of_sightings(body, piece, alone.camera)

    def fit_some(first: int, end: int) -> Recovered:
        own = None if regressed is None else rows_of_start(regressed, np.arange(first, end))
        some = without_unweighted_parts(to_observations(piece[first:end]), options.part_weights)
        return lift_and_fit(body, some, start=start, options=options, regressed=own)

    return fit_in_pieces(len(piece), options.max_batch, fit_some)


def _asked_in_vain(sightings: list[Sighting], is_from_lifter: Any) -> int:
    """People who were seen, and whose fit starts from the lifter's guess though a network was asked."""
    if is_from_lifter is None:
        return 0
    is_seen = np.array([sighting.source != FILLED_SOURCE for sighting in sightings])
    return int((np.asarray(is_from_lifter) & is_seen).sum())


def _camera_used(options: VideoFitOptions, path: CameraPath | None, frames_per_second: float) -> CameraUsed:
    """Whether the camera is taken to be fixed."""
    found = None if path is None else judge_motion(path, frames_per_second)
    is_fixed = options.camera_is_fixed
    if is_fixed == "auto":
        is_fixed = found is None or not found.moves
    return CameraUsed(is_fixed=bool(is_fixed), motion=found)


def camera_record(camera: CameraUsed) -> dict[str, Any]:
    """How the camera stands as `run.json` holds it; motion is in shares of the picture's width."""
    record: dict[str, Any] = {"is_taken_to_be_fixed": camera.is_fixed}
    if camera.motion is not None:
        values = dataclasses.asdict(camera.motion)
        # JSON has no NaN.
        record |= {name: None if value is None or value != value else value for name, value in values.items()}
    return record


def ground_record(ground: Ground) -> dict[str, Any]:
    """The floor as `run.json` holds it: how to get from the camera's frame to the world (metres, z up)."""
    return {
        "rotation": ground.rotation.tolist(),
        "translation": ground.translation.tolist(),
        "up_spread_degrees": ground.up_spread_degrees,
        "height_residual": ground.height_residual,
        "num_stances": ground.num_stances,
    }


def _ground(body: BodyModel, standing: list[tuple[BodyParams, np.ndarray]]) -> tuple[Ground | None, list[str]]:
    """The floor that all people of the video stand on, if anybody stands, and what to say if there is none."""
    if not standing:
        return None, []
    params = jax.tree.map(lambda *leaves: np.concatenate(leaves), *[params for params, _ in standing])
    try:
        ground = estimate_ground(body, params, np.concatenate([stands for _, stands in standing]))
    except GroundError:
        return None, []
    # Feet that lie on no plane are those of several scenes, or before a camera that moves.
    if ground.height_residual < _LARGEST_RESIDUAL:
        return ground, []
    return None, [
        f"feet that stand lie on no floor (root mean square distance {100 * ground.height_residual:.0f} cm): several "
        f"scenes, distances that are off, or a camera that moves; none is reported; {_UNLOCK}"
    ]


def _standing_speeds(
    keypoints_3d: Float[np.ndarray, "T K 3"], stands: Float[np.ndarray, "T 4"], frames_per_second: float
) -> Float[np.ndarray, "S"]:
    """Speeds of points of feet for as long as they are said to stand, m/s, of steps of about `_STEP_SECONDS`."""
    points = keypoints_3d[:, list(layouts.get_layout(LAYOUT).indices(layouts.CONTACT_POINTS))]
    step = max(1, round(_STEP_SECONDS * frames_per_second))
    if len(points) <= step:
        return np.zeros(0)
    is_standing = np.lib.stride_tricks.sliding_window_view(stands >= _STANDS, step + 1, axis=0).all(-1)
    speeds = np.linalg.norm(points[step:] - points[:-step], axis=-1) * frames_per_second / step
    return speeds[is_standing & np.isfinite(speeds)]


def _sliding_warnings(speeds: list[Float[np.ndarray, "S"]]) -> list[str]:
    """What to say if feet that are locked move all the same."""
    everything = np.concatenate([np.zeros(0), *speeds])
    if len(everything) < _LEAST_STEPS:
        return []
    fast = float(np.percentile(everything, _SLIDING_PERCENTILE))
    if fast <= _SLIDING:
        return []
    return [f"feet that are held to the floor move all the same, by {100 * fast:.0f} cm/s: {_UNLOCK}"]


def frame_rate(pictures: list[Picture]) -> float:
    """Frames a second by the usual time from a frame to the next; 25 where frames have no times."""
    times = np.array([np.nan if picture.time_seconds is None else picture.time_seconds for picture in pictures])
    steps = np.diff(times)
    steps = steps[np.isfinite(steps) & (steps > 0)]
    return float(1 / np.median(steps)) if len(steps) else 25.0


def cut_track(track: list[Sighting]) -> list[list[Sighting]]:
    """Pieces of a track that can be one person in one scene.

    Args:
        track: Sightings of one number, in the order of frames.
    """
    rate = frame_rate([sighting.picture for sighting in track])
    positions = np.array([sighting.picture.position for sighting in track])
    usual = float(np.median(np.diff(positions))) if len(track) > 1 else 1.0
    pieces, clear = [[track[0]]], track[0]
    for before, now in itertools.pairwise(track):
        gap = max(now.picture.position - before.picture.position, 1)
        # With the last sighting that tells where the person was: people are exchanged behind each other, where few
        # points are sure.
        since = max(now.picture.position - clear.picture.position, 1)
        if _jumps(clear, now, since) or _is_late(before.picture, now.picture, gap, rate * usual):
            pieces.append([])
            clear = now
        if (now.confidence >= _CONFIDENT).sum() >= _LEAST_POINTS:
            clear = now
        pieces[-1].append(now)
    return pieces


def _is_late(before: Picture, now: Picture, gap: int, rate: float) -> bool:
    """Whether more time has passed than the frames between tell."""
    if before.time_seconds is None or now.time_seconds is None:
        return False
    return (now.time_seconds - before.time_seconds) * rate > _LONGEST_STEP * gap


def _jumps(before: Sighting, now: Sighting, gap: int) -> bool:
    """Whether half of the keypoints are somewhere else, or the person is of another size."""
    sides = [max(float(np.max(sighting.bbox[2:] - sighting.bbox[:2])), 1.0) for sighting in (before, now)]
    kept = np.minimum(before.confidence, now.confidence) >= _CONFIDENT
    if kept.sum() < _LEAST_POINTS:
        return False
    apart = np.median(np.linalg.norm((now.keypoints_2d - before.keypoints_2d)[kept], axis=-1)) / max(sides)
    spreads = [np.sqrt(np.square(s.keypoints_2d[kept] - s.keypoints_2d[kept].mean(0)).sum(-1).mean())
               for s in (before, now)]  # fmt: skip
    growth = max(spreads) / max(min(spreads), 1.0)
    slack = 1 + 0.25 * (gap - 1)
    return bool(apart > min(_JUMP * slack, _LONGEST_JUMP) or growth > min(_GROWTH**slack, _LONGEST_GROWTH))


def _tracks(sightings: list[Sighting]) -> list[list[Sighting]]:
    """Sightings by number, each in the order of frames."""
    tracks: dict[int, list[Sighting]] = {}
    for sighting in sorted(sightings, key=lambda sighting: sighting.picture.position):
        tracks.setdefault(sighting.track_id, []).append(sighting)
    return list(tracks.values())


def _without_gaps(piece: list[Sighting], pictures: list[Picture]) -> list[Sighting]:
    """Every frame from the first to the last; where the person was not found nothing is confident."""
    by_position = {sighting.picture.position: sighting for sighting in piece}
    at = np.array(sorted(by_position))
    boxes = np.stack([by_position[position].bbox for position in at])
    first = piece[0]
    filled = []
    for picture in pictures:
        if not at[0] <= picture.position <= at[-1]:
            continue
        sighting = by_position.get(picture.position)
        if sighting is None:
            box = [np.interp(picture.position, at, boxes[:, side]) for side in range(4)]
            sighting = dataclasses.replace(
                unseen(first), picture=picture, bbox=np.array(box, first.bbox.dtype), quality=None
            )
        filled.append(sighting)
    return filled


def _with_boxes(filled: list[Sighting], result: FitResult) -> list[Sighting]:
    """Sightings in which nobody was found with the box of the fitted keypoints."""
    boxed = []
    for sighting, points, status in zip(filled, np.asarray(result.keypoints_2d), result.status, strict=True):
        if sighting.source == FILLED_SOURCE and status == FitStatus.FILLED and np.isfinite(points).any():
            box = np.concatenate([np.nanmin(points, 0), np.nanmax(points, 0)])
            sighting = dataclasses.replace(sighting, bbox=box.astype(sighting.bbox.dtype))
        boxed.append(sighting)
    return boxed


def _joined(results: list[FitResult]) -> FitResult:
    """Results of all pieces, whose histories may be of different lengths."""
    if len(results) == 1:
        return results[0]
    longest = max(result.loss_history.shape[-1] for result in results)

    def padded(result: FitResult) -> FitResult:
        history = np.asarray(result.loss_history)
        wide = np.concatenate([history, np.repeat(history[:, -1:], longest - history.shape[-1], 1)], 1)
        return dataclasses.replace(result, loss_history=wide)

    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *map(padded, results))
