"""The lifter: whole-body 2D keypoints of one picture to several guesses of the body behind them.

A residual network over a vector of all keypoints (Martinez et al., "A simple yet effective baseline for 3d human pose
estimation", ICCV 2017), with these deviations: it puts out rotations (6D), shape and place of a SMPL-H body instead of
joints; confidences are part of the input and any keypoint may be missing; there are several guesses with weights, of
which the first is trained as the best one and the others by winner-takes-all; the spread of the first guess's
error is an output too; and layers are normalised by their root mean square, without statistics of a batch.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.geometry import rotation_formats
from hardmo_jax.networks import lifter_input
from hardmo_jax.skeleton import layouts

NUM_BETAS = 10
#: Joints with a rotation of their own in every guess: those of SMPL-H before the fingers, root first.
BODY_JOINTS = layouts.SMPLH_JOINTS[: layouts.SMPLH_JOINTS.index("left_index1")]
#: Finger joints, the same in all guesses.
HAND_JOINTS = layouts.SMPLH_JOINTS[len(BODY_JOINTS) :]
_NUM_GUESS = 6 * len(BODY_JOINTS) + 3
#: Entries of the spread: place, turn of the root, shape, then all other joints.
NUM_SPREAD = 6 + NUM_BETAS + 3 * (len(layouts.SMPLH_JOINTS) - 1)
_SPREAD_WIDTH = 256
_NORM_FLOOR = 1e-6
#: Logarithms of spreads are kept between these: nobody is certain to half a degree, nor more lost than lost.
_LOG_SPREAD = (-5.0, 1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LifterOptions:
    """Size of the network."""

    width: int = 704
    blocks: int = 3
    """Residual blocks of two layers each."""
    guesses: int = 4
    """Guesses a person."""

    def __post_init__(self) -> None:
        for name in ("width", "blocks", "guesses"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class LifterOutput:
    """Guesses in the frame of `LifterInput`: axes of the camera that looks at the person, place in units of size."""

    log_weights: Float[AnyArray, "*batch H"]
    """Logarithm of the probability that a guess is the best one."""
    rotations: Float[AnyArray, "*batch H 22 3 3"]
    """Of `BODY_JOINTS`, relative to the parent joint; the root in the axes of the camera."""
    places: Float[AnyArray, "*batch H 3"]
    """Place of the pelvis: image point in sizes from the middle, logarithm of size times depth (metres)."""
    hands: Float[AnyArray, "*batch 30 3"]
    """Axis-angle of `HAND_JOINTS`."""
    betas: Float[AnyArray, "*batch S"]
    """Shape."""
    log_spread: Float[AnyArray, "*batch P"]
    """Logarithm of the standard deviation of the first guess's error: place (in its own units), rotation vector of
    the root, shape, axis-angle of all other joints."""


class Lifter(nnx.Module):
    """The network; see the module."""

    def __init__(self, options: LifterOptions, *, rngs: nnx.Rngs) -> None:
        self.options = options
        width, guesses = options.width, options.guesses
        self.first = nnx.Linear(lifter_input.NUM_FEATURES, width, precision=lax.Precision.HIGHEST, rngs=rngs)
        self.blocks = nnx.List([_Block(width, rngs) for _ in range(options.blocks)])
        self.scale = nnx.Param(jnp.ones(width))
        # Guesses start near the rest pose, upright before the camera, and different from each other.
        small = nnx.initializers.variance_scaling(0.01, "fan_in", "normal")
        outputs = guesses * (_NUM_GUESS + 1) + 3 * len(HAND_JOINTS) + NUM_BETAS
        self.last = nnx.Linear(width, outputs, kernel_init=small, precision=lax.Precision.HIGHEST, rngs=rngs)
        self.spread_first = nnx.Linear(width, _SPREAD_WIDTH, precision=lax.Precision.HIGHEST, rngs=rngs)
        self.spread_last = nnx.Linear(
            _SPREAD_WIDTH, NUM_SPREAD, kernel_init=small, precision=lax.Precision.HIGHEST, rngs=rngs
        )

    def __call__(self, features: Float[AnyArray, "*batch F"]) -> LifterOutput:
        """Guesses of people.

        Args:
            features: Of `lifter_input.encode`.
        """
        hidden = self.first(features)
        for block in self.blocks:
            hidden = block(hidden)
        hidden = normalised(hidden) * self.scale[...]
        return self._read(self.last(hidden), self.spread_last(nnx.silu(self.spread_first(lax.stop_gradient(hidden)))))

    def _read(self, outputs: Float[Array, "*batch O"], spread: Float[Array, "*batch P"]) -> LifterOutput:
        batch, guesses = outputs.shape[:-1], self.options.guesses
        ends = np.cumsum([guesses, guesses * 6 * len(BODY_JOINTS), guesses * 3, 3 * len(HAND_JOINTS)])
        weights, turns, places, hands, betas = jnp.split(outputs, ends, -1)
        turns = turns.reshape(*batch, guesses, len(BODY_JOINTS), 6) + _rest_rotations()
        low, high = _LOG_SPREAD
        return LifterOutput(
            log_weights=jax.nn.log_softmax(weights, -1),
            rotations=rotation_formats.rot6d_hmr2_to_matrix(turns),
            places=places.reshape(*batch, guesses, 3),
            hands=hands.reshape(*batch, len(HAND_JOINTS), 3),
            betas=betas,
            log_spread=low + (high - low) * jax.nn.sigmoid(spread + 1.0),
        )


class _Block(nnx.Module):
    """Two layers beside a straight way."""

    def __init__(self, width: int, rngs: nnx.Rngs) -> None:
        self.scale = nnx.Param(jnp.ones(width))
        self.first = nnx.Linear(width, width, precision=lax.Precision.HIGHEST, rngs=rngs)
        small = nnx.initializers.variance_scaling(0.1, "fan_in", "normal")
        self.second = nnx.Linear(width, width, kernel_init=small, precision=lax.Precision.HIGHEST, rngs=rngs)

    def __call__(self, hidden: Float[Array, "*batch W"]) -> Float[Array, "*batch W"]:
        return hidden + self.second(nnx.silu(self.first(normalised(hidden) * self.scale[...])))


def normalised(hidden: Float[Array, "*batch W"]) -> Float[Array, "*batch W"]:
    """Zhang & Sennrich, "Root mean square layer normalization", 2019.

    A matrix product, not a sum over an axis: those go wrong in jaxlib 0.10.2 (`rotations.rotate`).
    """
    width = hidden.shape[-1]
    mean_square = jnp.matmul(
        hidden * hidden, jnp.full((width, 1), 1 / width, hidden.dtype), precision=lax.Precision.HIGHEST
    )
    return hidden * lax.rsqrt(mean_square + _NORM_FLOOR)


def _rest_rotations() -> Float[np.ndarray, "22 6"]:
    """6D rotations at rest: joints not turned, the root upright and facing the camera, whose y points down."""
    rest = np.tile(np.array([1.0, 0, 0, 0, 1, 0], np.float32), (len(BODY_JOINTS), 1))
    rest[0] = (1, 0, 0, 0, -1, 0)
    return rest
