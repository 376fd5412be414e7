"""Bodies of one person's track: the motion lifter's guesses of all frames, then one fit of all of them together."""

import dataclasses

import numpy as np

from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting.fit_motion import MotionOptions
from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.fitting.stages import FitOptions
from hardmo_jax.networks.lifter_file import TrainedLifter, packaged_lifter
from hardmo_jax.networks.motion_lifter_file import TrainedMotionLifter, packaged_motion_lifter
from hardmo_jax.observations import ObservationError, Observations, check_track
from hardmo_jax.recovery.chapters import CHAPTER_FRAMES, recover_in_chapters
from hardmo_jax.recovery.lift_and_fit import FROM_LIFTER
from hardmo_jax.recovery.regressor_start import RegressorStart
from hardmo_jax.recovery.track_recovery import RecoveredMotion, TrackRecovery

#: Frames a second of tracks that are recovered over time. Slower ones hardly show motion.
SLOWEST, FASTEST = 6.0, 300.0


#: How firmly a frame of a track is held to its guess, over a frame by itself: neighbours hold it too.
_GUESS_SHARE = 7 / 9
#: Share of failed frames from which a network's answers of a track are given up.
_FAILED_SHARE = 0.5


def weights_of_frames(options: FitOptions) -> FitOptions:
    """Options of a fit from the lifter as those of the frames of a track: its last stage, with the shape held."""
    last = options.refine[-1]
    free = tuple(group for group in last.free if group != "betas")
    plain = {field.name: getattr(options, field.name) for field in dataclasses.fields(FitOptions)}
    stage = dataclasses.replace(last, iterations=1, free=free, shape_prior=0.0, guess=_GUESS_SHARE * last.guess)
    return FitOptions(**{**plain, "refine": (stage,)})


#: Weights of the frames of a track.
FROM_MOTION = weights_of_frames(FROM_LIFTER)


def recover_motion(
    body: BodyModel,
    observations: Observations,
    *,
    frames_per_second: float,
    camera_is_fixed: bool = True,
    options: FitOptions = FROM_MOTION,
    motion_options: MotionOptions | None = None,
    regressed: RegressorStart | None = None,
    trained: TrainedLifter | None = None,
    trained_motion: TrainedMotionLifter | None = None,
) -> RecoveredMotion:
    """Recover the bodies of one person's track, with one shape, smooth motion and feet that stay.

    Args:
        body: Model with landmarks, see `hm.fit`.
        observations: 2D keypoints with a camera, of T frames one after the other, without a cut. Frames in which
            nothing was found have confidence zero everywhere, and come out as `FILLED`.
        frames_per_second: Frame rate, from `SLOWEST` to `FASTEST`.
        camera_is_fixed: Lock standing feet. Before a camera that moves they do not stay where they are.
        options: Weights of each frame.
        motion_options: How frames are tied together.
        regressed: What a regressor says of the T frames, from which the fit starts in place of the lifter's guesses;
            these stay for frames of which it says nothing, and for when feet stand.
        trained: None takes the lifter of the package.
        trained_motion: None takes the motion lifter of the package.

    Raises:
        ObservationError: As `hm.fit`, and if there is not exactly one batch axis, or the frame rate is out of range.
    """
    check_track(observations, frames_per_second)
    if not SLOWEST <= frames_per_second <= FASTEST:
        raise ObservationError(
            f"`frames_per_second` must be {SLOWEST:g} to {FASTEST:g}, got {frames_per_second}; `hm.lift_and_fit` fits "
            "frames one by one"
        )
    if regressed is not None and (len(regressed.is_usable),) != tuple(observations.batch_shape):
        raise ObservationError(
            f"a regressor's answers are one a frame: got {len(regressed.is_usable)} for frames of shape "
            f"{observations.batch_shape}"
        )
    recovery = TrackRecovery(
        body=body,
        frames_per_second=frames_per_second,
        camera_is_fixed=camera_is_fixed,
        options=options,
        motion_options=motion_options or MotionOptions(),
        regressed=regressed,
        trained=trained or packaged_lifter(),
        trained_motion=trained_motion or packaged_motion_lifter(),
    )
    found = _recovered(recovery, observations)
    if regressed is None:
        return found
    # Frames of which a network's answers explain nothing begin at the lifter's guess; where that is most of a track,
    # all of them do.
    is_judged = np.isin(found.result.status, (FitStatus.NO_EVIDENCE, FitStatus.FILLED), invert=True)
    has_failed = np.isin(found.result.status, (FitStatus.DIVERGED, FitStatus.NONFINITE)) & regressed.is_usable
    if not has_failed.any():
        return dataclasses.replace(found, is_from_lifter=~regressed.is_usable)
    is_usable = regressed.is_usable & ~has_failed
    if has_failed[is_judged].mean() > _FAILED_SHARE:
        is_usable = np.zeros_like(is_usable)
    others = dataclasses.replace(regressed, is_usable=is_usable) if is_usable.any() else None
    found = _recovered(dataclasses.replace(recovery, regressed=others), observations)
    return dataclasses.replace(found, is_from_lifter=~is_usable)


def _recovered(recovery: TrackRecovery, observations: Observations) -> RecoveredMotion:
    """A track of any length."""
    batch = observations.batch_shape
    if len(batch) == 1 and batch[0] > CHAPTER_FRAMES:
        return recover_in_chapters(recovery, observations)
    return recovery.recover(observations)
