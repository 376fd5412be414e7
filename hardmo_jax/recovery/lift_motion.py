"""The motion lifter's guesses of a track as body parameters, one shape for all frames, and which feet stand."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import AnyArray, Array, Bool, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.fitting.guess import Guess
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.networks import lifter_input, motion_input
from hardmo_jax.networks.lifter_file import TrainedLifter, packaged_lifter
from hardmo_jax.networks.motion_lifter_file import TrainedMotionLifter, packaged_motion_lifter
from hardmo_jax.observations import ObservationError, Observations, check_track
from hardmo_jax.recovery import lift as lifting
from hardmo_jax.recovery.lift import Lifted

#: Frames whose answers are kept of a piece of a long track; on both sides as many more are seen as can matter.
_FRAMES_AT_ONCE = 128
#: Frames a second below and above which tracks are shown in another way, and the rate that is aimed at.
_SLOWEST, _FASTEST, USUAL_RATE = 20.0, 70.0, 30.0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class LiftedMotion:
    """Guesses of the T frames of a track."""

    guess: Guess
    """For `fit_motion`; betas are the same in all frames."""
    stands: Float[AnyArray, "T 4"]
    """Probability that each of `layouts.CONTACT_POINTS` stands on the ground."""


def lift_motion(
    body: BodyModel,
    observations: Observations,
    *,
    frames_per_second: float = 30.0,
    trained: TrainedLifter | None = None,
    trained_motion: TrainedMotionLifter | None = None,
) -> LiftedMotion:
    """Guess the bodies of one person's track.

    The motion lifter knows 20 to 70 frames a second. Slower tracks are shown to it with keypoints halfway between
    those of the frames, faster ones as several tracks that take turns.

    Args:
        body: As of `lift`.
        observations: Of T frames, 2D keypoints with a camera; frames in which nothing was found have confidence zero.
        frames_per_second: Frame rate.
        trained: None takes the lifter of the package.
        trained_motion: None takes the motion lifter of the package, which was trained on that lifter.

    Raises:
        ObservationError: If there are no 2D keypoints, no camera, no frames, more than one batch axis, or the frame
            rate is not positive.
        OtherLifterError: If the motion lifter was trained on another lifter.
    """
    trained, trained_motion = trained or packaged_lifter(), trained_motion or packaged_motion_lifter()
    trained_motion.check_lifter(trained)
    if observations.keypoints_2d is None or observations.camera is None:
        raise ObservationError("lifting needs `keypoints_2d` and `camera`")
    if "left_hip" not in body.joint_names:
        raise ObservationError(f"{body.name} is a single hand; people are lifted to a whole body")
    check_track(observations, frames_per_second)
    count = observations.batch_shape[0]
    keypoints_2d = np.asarray(observations.keypoints_2d)
    confidence = observations.confidence
    confidence = np.ones(keypoints_2d.shape[:-1]) if confidence is None else np.asarray(confidence)
    points, confidence = lifter_input.from_layout(keypoints_2d, np.clip(confidence, 0, 1), observations.layout)
    camera = [
        np.broadcast_to(np.asarray(value), (count, 2)).astype(np.float32)
        for value in (observations.camera.focal_length, observations.camera.principal_point)
    ]
    clip = (points.astype(np.float32), confidence.astype(np.float32), *camera)
    between = max(1, round(USUAL_RATE / frames_per_second)) if frames_per_second < _SLOWEST else 1
    turns = round(frames_per_second / USUAL_RATE) if frames_per_second > _FASTEST else 1
    found = []
    for turn in range(min(turns, count)):
        own = _with_frames_between(tuple(part[turn::turns] for part in clip), between)
        found.append(jax.tree.map(lambda leaf: leaf[::between], _lift_clip(body, own, trained, trained_motion)))
    lifted, stands = found[0]
    if len(found) > 1:
        order = np.argsort(np.concatenate([np.arange(turn, count, turns) for turn in range(len(found))]))
        lifted, stands = jax.tree.map(lambda *leaves: np.concatenate(leaves)[order], *found)
    return LiftedMotion(guess=_with_one_shape(body, lifted, trained_motion), stands=stands)


def _with_frames_between(clip: tuple[np.ndarray, ...], factor: int) -> tuple[np.ndarray, ...]:
    """Keypoints, confidences and cameras with frames between those that were seen; what either lacks is missing."""
    count = len(clip[0])
    if factor == 1 or count < 2:
        return clip
    at = np.arange((count - 1) * factor + 1) / factor
    before = np.minimum(at.astype(int), count - 2)
    share = (at - before).astype(np.float32)
    points, confidence, *camera = (
        part[before] * (1 - share).reshape(-1, *[1] * (part.ndim - 1))
        + part[before + 1] * share.reshape(-1, *[1] * (part.ndim - 1))
        for part in clip
    )
    is_between = ((share > 0) & (share < 1))[:, None]
    is_lacking = np.minimum(clip[1][before], clip[1][before + 1]) <= 0
    return points, np.where(is_between & is_lacking, 0, confidence), *camera


def _lift_clip(
    body: BodyModel, clip: tuple[np.ndarray, ...], trained: TrainedLifter, trained_motion: TrainedMotionLifter
) -> tuple[Lifted, np.ndarray]:
    """Guesses of frames one after the other, piece by piece."""
    points, confidence, *camera = clip
    count = len(points)
    bare, knows_shape = lifting.bare(body), lifting.has_known_shape(body)
    reach = trained_motion.options.reach
    size = _size(count, _FRAMES_AT_ONCE + 2 * reach)
    is_long = count > size
    pieces = []
    for first in range(0, count, _FRAMES_AT_ONCE if is_long else count):
        begin = max(first - reach, 0) if is_long else 0
        at = np.arange(begin, begin + size)
        exists = at < count
        rows = np.minimum(at, count - 1)
        seen = np.where(exists[:, None], confidence[rows], 0)
        found = _lifted_motion(
            trained, trained_motion, bare, points[rows], seen, *(part[rows] for part in camera), exists,
            knows_shape=knows_shape,
        )  # fmt: skip
        kept = slice(first - begin, (min(first + _FRAMES_AT_ONCE, count) if is_long else count) - begin)
        pieces.append(jax.tree.map(lambda leaf, at=kept: np.asarray(leaf)[at], found))
    return pieces[0] if len(pieces) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)


def _size(count: int, longest: int) -> int:
    """Frames of the array for a track: few sizes are ever compiled."""
    size = 16
    while size < count:
        size *= 2
    return size if size <= longest / 2 else longest


@functools.partial(jax.jit, static_argnames=("knows_shape",))
def _lifted_motion(
    trained: TrainedLifter,
    trained_motion: TrainedMotionLifter,
    body: BodyModel,
    points: Float[Array, "T 65 2"],
    confidence: Float[Array, "T 65"],
    focal_length: Float[Array, "T 2"],
    principal_point: Float[Array, "T 2"],
    exists: Bool[Array, "T"],
    *,
    knows_shape: bool,
) -> tuple[Lifted, Float[Array, "T 4"]]:
    camera = Camera(focal_length=focal_length[None], principal_point=principal_point[None])
    clip = motion_input.encode_clip(trained, points[None], confidence[None], camera, exists[None])
    found = trained_motion(clip)
    guess = jax.tree.map(lambda leaf: leaf[0], found.guess)
    count = len(points)
    rotation, size = jnp.repeat(clip.rotation, count, 0), jnp.repeat(clip.size, count, 0)
    lifted = lifting.as_params(body, guess, rotation, size, knows_shape=knows_shape)
    return lifted, jax.nn.sigmoid(found.contact_logits[0])


def _with_one_shape(body: BodyModel, lifted: Lifted, trained_motion: TrainedMotionLifter) -> Guess:
    """The guess of every frame with the mean shape of all of them, its pelvis where it was."""
    guess = lifting.guess_of(lifted, lifting.precision_for(body, np.asarray(trained_motion.error_precision)))
    mean = np.asarray(guess.params.betas, np.float64).mean(0)
    return dataclasses.replace(guess, params=with_betas(body, guess.params, mean))


def with_betas(body: BodyModel, params: BodyParams, betas: Float[np.ndarray, "C"]) -> BodyParams:
    """Bodies of T frames with another shape, their pelvis where it was."""
    basis = np.asarray(body.joint_shape_basis, np.float64)[: body.num_betas, 0]
    transl = np.asarray(params.transl) + (np.asarray(params.betas, np.float64) - betas) @ basis
    dtype = np.asarray(params.betas).dtype
    shape = np.broadcast_to(betas, np.shape(params.betas)).astype(dtype)
    return dataclasses.replace(params, betas=shape, transl=transl.astype(dtype))
