"""The motion lifter's guesses of a track as body parameters, one shape for all frames, and which feet stand."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import AnyArray, Array, Bool, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting.guess import Guess
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.networks import lifter_input, motion_input
from hardmo_jax.networks.lifter_file import TrainedLifter, packaged_lifter
from hardmo_jax.networks.motion_lifter_file import TrainedMotionLifter, packaged_motion_lifter
from hardmo_jax.observations import ObservationError, Observations
from hardmo_jax.recovery import lift as lifting
from hardmo_jax.recovery.lift import Lifted

#: Frames whose answers are kept of a piece of a long track; on both sides as many more are seen as can matter.
_FRAMES_AT_ONCE = 128


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
    trained: TrainedLifter | None = None,
    trained_motion: TrainedMotionLifter | None = None,
) -> LiftedMotion:
    """Guess the bodies of one person's track.

    Args:
        body: As of `lift`.
        observations: Of T frames, 2D keypoints with a camera; frames in which nothing was found have confidence zero.
            Frames should be 1/25 to 1/60 of a second apart.
        trained: None takes the lifter of the package.
        trained_motion: None takes the motion lifter of the package, which was trained on that lifter.

    Raises:
        ObservationError: If there are no 2D keypoints, no camera, no frames, or more than one batch axis.
    """
    trained, trained_motion = trained or packaged_lifter(), trained_motion or packaged_motion_lifter()
    if observations.keypoints_2d is None or observations.camera is None:
        raise ObservationError("lifting needs `keypoints_2d` and `camera`")
    if "left_hip" not in body.joint_names:
        raise ObservationError(f"{body.name} is a single hand; people are lifted to a whole body")
    batch = observations.batch_shape
    if len(batch) != 1 or batch[0] == 0:
        raise ObservationError(f"a track has one batch axis, its frames, got {batch}")
    count = batch[0]
    keypoints_2d = np.asarray(observations.keypoints_2d)
    confidence = observations.confidence
    confidence = np.ones(keypoints_2d.shape[:-1]) if confidence is None else np.asarray(confidence)
    points, confidence = lifter_input.from_layout(keypoints_2d, np.clip(confidence, 0, 1), observations.layout)
    camera = [
        np.broadcast_to(np.asarray(value), (count, 2)).astype(np.float32)
        for value in (observations.camera.focal_length, observations.camera.principal_point)
    ]
    bare, knows_shape = lifting.bare(body), lifting.has_known_shape(body)
    reach = trained_motion.options.reach
    size = _size(count, _FRAMES_AT_ONCE + 2 * reach)
    pieces = []
    for first in range(0, count, _FRAMES_AT_ONCE if count > size else count):
        begin = max(first - reach, 0) if count > size else 0
        at = np.arange(begin, begin + size)
        exists = at < count
        rows = np.minimum(at, count - 1)
        seen = np.where(exists[:, None], confidence[rows], 0)
        lifted, stands = jax.tree.map(
            np.asarray,
            _lifted_motion(
                trained, trained_motion, bare, points[rows].astype(np.float32), seen.astype(np.float32),
                *(part[rows] for part in camera), exists, knows_shape=knows_shape,
            ),
        )  # fmt: skip
        kept = slice(first - begin, min(first + _FRAMES_AT_ONCE, count) - begin if count > size else count)
        pieces.append(jax.tree.map(lambda leaf, at=kept: leaf[at], (lifted, stands)))
    lifted, stands = jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)
    return LiftedMotion(guess=_with_one_shape(body, lifted, trained_motion), stands=stands)


def _size(count: int, longest: int) -> int:
    """Frames of the array for a track: few sizes are ever compiled."""
    size = 16
    while size < count:
        size *= 2
    return size if size <= longest else longest


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
    params = guess.params
    betas = np.asarray(params.betas, np.float64)
    mean = betas.mean(0)
    basis = np.asarray(body.joint_shape_basis, np.float64)[: body.num_betas, 0]
    transl = np.asarray(params.transl) + (betas - mean) @ basis
    shape = np.broadcast_to(mean, betas.shape).astype(np.asarray(params.betas).dtype)
    return dataclasses.replace(
        guess, params=dataclasses.replace(params, betas=shape, transl=transl.astype(shape.dtype))
    )
