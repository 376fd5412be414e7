"""What the motion lifter sees of a clip: what the lifter saw and guessed frame by frame, before one camera.

Each frame has a camera of its own that looks at the person (`networks.lifter_input`). Over time the turns of these
cameras would look like turns of the person, so that roots and places are carried into one camera for the clip, which
looks at the person's middle over all frames.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Bool, Float
from hardmo_jax.geometry import rotation_formats, rotations
from hardmo_jax.geometry.cameras import MIN_DEPTH, Camera
from hardmo_jax.networks import lifter, lifter_input
from hardmo_jax.networks.lifter import LifterOutput
from hardmo_jax.networks.lifter_file import TrainedLifter

_HIGHEST = lax.Precision.HIGHEST
_NUM_BODY = len(lifter.BODY_JOINTS)
#: Of the spread: place, root, shape, then the body's joints; fingers are left out.
_NUM_SPREAD = 6 + lifter.NUM_BETAS + 3 * (_NUM_BODY - 1)
#: Numbers of the guess: rotations, place, fingers, shape, spread.
NUM_GUESS = 6 * _NUM_BODY + 3 + 3 * len(lifter.HAND_JOINTS) + lifter.NUM_BETAS
#: Then the features of the picture, the turn of the camera, the logarithm of the size, and whether anybody is there.
NUM_FEATURES = NUM_GUESS + _NUM_SPREAD + lifter_input.NUM_FEATURES + 3 + 1 + 1


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionInput:
    """Clips before one camera each."""

    features: Float[AnyArray, "B T F"]
    """Of every frame; the guess in frames without a person lies between those of the frames around."""
    guess: LifterOutput
    """The lifter's first guess of every frame (batch axes B, T; one guess), in the clip's camera."""
    is_there: Bool[AnyArray, "B T"]
    """Whether anything was found."""
    exists: Bool[AnyArray, "B T"]
    """False beyond the ends of a clip, where frames only fill up an array."""
    rotation: Float[AnyArray, "B 3 3"]
    """From the axes of the real camera to those of the clip's camera."""
    size: Float[AnyArray, "B"]
    """Unit of places: root mean square distance of keypoints from their middle, at distance one from the camera."""


def encode_clip(
    trained: TrainedLifter,
    keypoints_2d: Float[AnyArray, "B T 65 2"],
    confidence: Float[AnyArray, "B T 65"],
    camera: Camera,
    exists: Bool[AnyArray, "B T"] | None = None,
) -> MotionInput:
    """Ask the lifter about every frame, and put what it says before one camera a clip.

    Args:
        trained: The lifter.
        keypoints_2d: Pixels, in the layout of the lifter; finite.
        confidence: In [0, 1]; 0 where nothing was found. Frames may have no point at all.
        camera: One a frame (B, T) or a clip (B, 1).
        exists: False for frames that only fill up the arrays, which have no points; None if there are none.
    """
    batch = jnp.shape(keypoints_2d)[:2]
    seen = lifter_input.encode(keypoints_2d, confidence, camera)
    flat = trained(seen.features.reshape(-1, seen.features.shape[-1]))
    found = jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), flat)
    is_there = jnp.max(jnp.asarray(confidence), -1) > 0
    share = is_there / jnp.maximum(_mean_over_time(is_there.astype(seen.size.dtype)) * batch[1], 1)[:, None]
    sight = seen.rotation[..., 2, :]
    middle = jnp.einsum("bt,bti->bi", share, sight, precision=_HIGHEST)
    # Nobody in any frame: straight ahead.
    middle = jnp.where(jnp.max(is_there, 1, keepdims=True), middle, jnp.array([0.0, 0.0, 1.0]))
    rotation = lifter_input.looking_at(middle[:, :2] / jnp.maximum(middle[:, 2:], MIN_DEPTH))
    log_size = jnp.log(seen.size)
    size = jnp.exp(jnp.einsum("bt,bt->b", share, log_size, precision=_HIGHEST))
    turn = rotations.compose(rotation[:, None], jnp.swapaxes(seen.rotation, -1, -2))
    turns = found.rotations[:, :, 0]
    turns = turns.at[:, :, 0].set(rotations.compose(turn, turns[:, :, 0]))
    guess = LifterOutput(
        log_weights=jnp.zeros((*batch, 1), turns.dtype),
        rotations=turns[:, :, None],
        places=_moved(found.places[:, :, 0], turn, seen.size, size[:, None])[:, :, None],
        hands=found.hands,
        betas=found.betas,
        log_spread=found.log_spread,
    )
    guess = _filled(guess, is_there)
    known = is_there[..., None].astype(turns.dtype)
    parts = [
        rotation_formats.matrix_to_rot6d_hmr2(guess.rotations[:, :, 0]).reshape(*batch, -1),
        guess.places[:, :, 0],
        guess.hands.reshape(*batch, -1),
        guess.betas,
        guess.log_spread[..., :_NUM_SPREAD],
        seen.features * known,
        rotations.matrix_to_axis_angle(turn) * known,
        ((log_size - jnp.log(size)[:, None])[..., None]) * known,
        known,
    ]
    return MotionInput(
        features=jnp.concatenate(parts, -1),
        guess=guess,
        is_there=is_there,
        exists=jnp.ones_like(is_there) if exists is None else jnp.asarray(exists),
        rotation=rotation,
        size=size,
    )


def _moved(
    places: Float[Array, "B T 3"],
    turn: Float[Array, "B T 3 3"],
    size: Float[Array, "B T"],
    new_size: Float[Array, "B 1"],
) -> Float[Array, "B T 3"]:
    """Places before another camera, in its unit."""
    ray = jnp.concatenate([places[..., :2] * size[..., None], jnp.ones_like(places[..., :1])], -1)
    ray = rotations.rotate(turn, ray)
    ahead = jnp.maximum(ray[..., 2:], MIN_DEPTH)
    depth = places[..., 2:] + jnp.log(ahead) + jnp.log(new_size / size)[..., None]
    return jnp.concatenate([ray[..., :2] / ahead / new_size[..., None], depth], -1)


def _filled(guess: LifterOutput, is_there: Bool[Array, "B T"]) -> LifterOutput:
    """Guesses of frames without a person from those of the frames around, by their distance in time."""
    length = is_there.shape[1]
    at = jnp.arange(length)
    before = lax.cummax(jnp.where(is_there, at, -1), axis=1)
    after = lax.cummin(jnp.where(is_there, at, length), axis=1, reverse=True)
    # Before the first and after the last frame with a person: the nearest one.
    first = jnp.where(before < 0, jnp.minimum(after, length - 1), before)
    second = jnp.where(after >= length, first, after)
    share = (at - first) / jnp.maximum(second - first, 1)

    def between(leaf: Float[Array, "B T ..."]) -> Float[Array, "B T ..."]:
        wide = (..., *[None] * (leaf.ndim - 2))
        one, other = (jnp.take_along_axis(leaf, index[wide], 1) for index in (first, second))
        return one + (other - one) * share[wide].astype(leaf.dtype)

    filled = jax.tree.map(between, guess)
    # Halfway between two rotations, made a rotation again.
    turns = rotation_formats.rot6d_hmr2_to_matrix(rotation_formats.matrix_to_rot6d_hmr2(filled.rotations))
    turns = jnp.where(is_there[..., None, None, None, None], guess.rotations, turns)
    return dataclasses.replace(filled, rotations=turns)


def _mean_over_time(values: Float[Array, "B T"]) -> Float[Array, "B"]:
    """A product, not a sum over an axis: those go wrong in jaxlib 0.10.2 (`rotations.rotate`)."""
    length = values.shape[1]
    return jnp.matmul(values, jnp.full(length, np.float32(1 / length), values.dtype), precision=_HIGHEST)
