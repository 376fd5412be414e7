"""What a motion lifter is trained on: every frame as a lifter is, how people move from frame to frame, and feet."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Bool, Float
from hardmo_jax.body.params import BodyParams
from hardmo_jax.networks.lifter import LifterOutput
from hardmo_jax.networks.motion_input import MotionInput
from hardmo_jax.networks.motion_lifter import MotionOutput
from hardmo_jax.training import lifter_loss
from hardmo_jax.training.lifter_loss import LossOptions, Skeleton

_HIGHEST = lax.Precision.HIGHEST


@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionLossOptions:
    """Weights."""

    frame: LossOptions = LossOptions()
    """Of what is asked of every frame."""
    velocity: float = 20.0
    """Of joints from the pelvis, a metre a frame."""
    travel: float = 4.0
    """Of the pelvis, a metre a frame."""
    contact: float = 0.1
    velocity_floor: float = 0.003
    """Metres a frame below which errors count by their square."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionTarget:
    """Truth of clips."""

    params: BodyParams
    """Batch axes B, T; axes of the real camera."""
    stands: Bool[AnyArray, "B T 4"]
    """Whether each of `layouts.CONTACT_POINTS` stands."""


def with_one_shape(found: LifterOutput) -> LifterOutput:
    """Guesses of frames of clips (B, T) whose people have the mean of their shapes in all frames."""
    length = found.betas.shape[1]
    mean = jnp.einsum("bts,t->bs", found.betas, np.full(length, 1 / length, np.float32), precision=_HIGHEST)
    return dataclasses.replace(found, betas=jnp.broadcast_to(mean[:, None], found.betas.shape))


def motion_loss(
    skeleton: Skeleton, clip: MotionInput, found: MotionOutput, target: MotionTarget, options: MotionLossOptions
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Mean loss of clips, and what it is made of."""
    batch = clip.is_there.shape
    guess = with_one_shape(found.guess)
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), guess)
    rotation, size = (jnp.repeat(part, batch[1], 0) for part in (clip.rotation, clip.size))
    params = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), target.params)
    truth = lifter_loss.make_target(skeleton, params, rotation, size)
    total, parts = lifter_loss.lifter_loss(skeleton, flat, truth, options.frame)
    joints = skeleton(flat.rotations[:, 0], flat.betas)
    moved = _steps(joints.reshape(*batch, -1, 3)) - _steps(truth.joints.reshape(*batch, -1, 3))
    velocity = _mean(lifter_loss.lengths(_rows(moved), options.velocity_floor))
    travel = _steps(_pelvis(flat.places[:, 0], size).reshape(*batch, 1, 3))
    travel -= _steps(_pelvis(truth.places, size).reshape(*batch, 1, 3))
    travel = _mean(lifter_loss.lengths(_rows(travel), options.velocity_floor))
    contact = _mean(optax.sigmoid_binary_cross_entropy(found.contact_logits, target.stands.astype(jnp.float32)))
    total += options.velocity * velocity + options.travel * travel + options.contact * contact
    del parts["best_joints_mm"]
    return total, parts | {"velocity_mm": 1000 * velocity, "travel_mm": 1000 * travel, "contact": contact}


def error_vectors(
    skeleton: Skeleton, clip: MotionInput, found: MotionOutput, target: MotionTarget
) -> Float[Array, "N P"]:
    """Errors of all frames over their predicted spreads, in the order of `LifterOutput.log_spread`."""
    length = clip.is_there.shape[1]
    guess = with_one_shape(found.guess)
    flat, params = (
        jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree) for tree in (guess, target.params)
    )
    rotation, size = (jnp.repeat(part, length, 0) for part in (clip.rotation, clip.size))
    error = lifter_loss.error_vector(flat, lifter_loss.make_target(skeleton, params, rotation, size))
    return error * jnp.exp(-flat.log_spread)


def _pelvis(places: Float[Array, "N 3"], size: Float[Array, "N"]) -> Float[Array, "N 3"]:
    """Pelvis in metres from its place in units of size."""
    depth = jnp.exp(places[:, 2:]) / size[:, None]
    return jnp.concatenate([places[:, :2] * size[:, None], jnp.ones_like(depth)], -1) * depth


def _steps(points: Float[Array, "B T N 3"]) -> Float[Array, "B T-1 N 3"]:
    return points[:, 1:] - points[:, :-1]


def _rows(steps: Float[Array, "B T N 3"]) -> Float[Array, "M N 3"]:
    return steps.reshape(-1, *steps.shape[2:])


def _mean(values: Float[Array, "..."]) -> Float[Array, ""]:
    """A product, not a sum over an axis: those go wrong in jaxlib 0.10.2 (`rotations.rotate`)."""
    flat = values.reshape(-1)
    return jnp.matmul(flat, jnp.full(flat.shape, np.float32(1 / flat.size)), precision=_HIGHEST)
