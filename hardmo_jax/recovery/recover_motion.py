"""Bodies of one person's track: the motion lifter's guesses of all frames, then one fit of all of them together."""

import dataclasses

import jax
import numpy as np

from hardmo_jax.array_types import AnyArray, Float, Int
from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting import evidence
from hardmo_jax.fitting.fit_motion import MotionOptions, fit_motion
from hardmo_jax.fitting.result import FitResult
from hardmo_jax.fitting.stages import FitOptions
from hardmo_jax.networks.lifter_file import TrainedLifter
from hardmo_jax.networks.motion_lifter_file import TrainedMotionLifter
from hardmo_jax.observations import ObservationError, Observations
from hardmo_jax.recovery.lift import seen_by_the_fit
from hardmo_jax.recovery.lift_and_fit import FROM_LIFTER
from hardmo_jax.recovery.lift_motion import lift_motion
from hardmo_jax.recovery.starts import read_as
from hardmo_jax.recovery.track_sides import settle_sides

#: Frames a second of tracks that are recovered over time. Slower ones hardly show motion.
SLOWEST, FASTEST = 6.0, 300.0


#: How firmly a frame of a track is held to its guess, over a frame by itself: neighbours hold it too.
_GUESS_SHARE = 7 / 9


def weights_of_frames(options: FitOptions) -> FitOptions:
    """Options of a fit from the lifter as those of the frames of a track: its last stage, with the shape held."""
    last = options.refine[-1]
    free = tuple(group for group in last.free if group != "betas")
    plain = {field.name: getattr(options, field.name) for field in dataclasses.fields(FitOptions)}
    stage = dataclasses.replace(last, iterations=1, free=free, shape_prior=0.0, guess=_GUESS_SHARE * last.guess)
    return FitOptions(**{**plain, "refine": (stage,)})


#: Weights of the frames of a track.
FROM_MOTION = weights_of_frames(FROM_LIFTER)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecoveredMotion:
    """A track and what is known of its feet."""

    result: FitResult
    """Of all frames; betas are the same in all."""
    stands: Float[AnyArray, "T 4"]
    """Probability that each of `layouts.CONTACT_POINTS` stands on the ground."""
    keypoint_order: Int[AnyArray, "T K"]
    """Which measured keypoint was taken for each point of the layout: others than its own in frames in which left and
    right were taken for exchanged."""


def recover_motion(
    body: BodyModel,
    observations: Observations,
    *,
    frames_per_second: float,
    camera_is_fixed: bool = True,
    options: FitOptions = FROM_MOTION,
    motion_options: MotionOptions | None = None,
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
        trained: None takes the lifter of the package.
        trained_motion: None takes the motion lifter of the package.

    Raises:
        ObservationError: As `hm.fit`, and if there is not exactly one batch axis, or the frame rate is out of range.
    """
    if not SLOWEST <= frames_per_second <= FASTEST:
        raise ObservationError(
            f"`frames_per_second` must be {SLOWEST:g} to {FASTEST:g}, got {frames_per_second}; `hm.lift_and_fit` fits "
            "frames one by one"
        )
    evidence.flatten(observations)  # what is wrong is refused before it is changed
    observations = seen_by_the_fit(_without_nan(observations), options.min_confidence)
    if observations.bbox is not None:
        box = np.broadcast_to(observations.bbox, (*observations.batch_shape, 4))
        observations = dataclasses.replace(observations, bbox=box)
    networks = {"frames_per_second": frames_per_second, "trained": trained, "trained_motion": trained_motion}
    lifted = lift_motion(body, observations, **networks)
    camera = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (*observations.batch_shape, 2)), observations.camera)
    observations = dataclasses.replace(observations, camera=camera)
    order = settle_sides(body, observations, lifted.guess.params)
    if (order != np.arange(order.shape[1])).any():
        observations = read_as(observations, np.arange(len(order)), order)
        lifted = lift_motion(body, observations, **networks)
    stands = np.asarray(lifted.stands)
    result = fit_motion(
        body,
        observations,
        lifted.guess,
        frames_per_second=frames_per_second,
        stands=stands if camera_is_fixed else None,
        options=options,
        motion_options=motion_options,
    )
    return RecoveredMotion(result=result, stands=stands, keypoint_order=order)


def _without_nan(observations: Observations) -> Observations:
    """Keypoints that are not numbers as keypoints that were not found."""
    points = np.asarray(observations.keypoints_2d)
    if observations.keypoints_2d is None or np.isfinite(points).all():
        return observations
    is_number = np.asarray(np.isfinite(points).all(-1))
    confidence = np.ones(is_number.shape) if observations.confidence is None else np.asarray(observations.confidence)
    return dataclasses.replace(
        observations,
        keypoints_2d=np.where(is_number[..., None], points, 0),
        confidence=np.where(is_number, confidence, 0),
    )
