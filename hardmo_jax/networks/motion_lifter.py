"""The motion lifter: the lifter's guesses of the frames of a clip to better ones, and which points of the feet stand.

A residual network of convolutions over time with growing gaps (Pavllo et al., "3D human pose estimation in video with
temporal convolutions and semi-supervised training", CVPR 2019), with these deviations: it corrects guesses of a whole
body (rotations, place, shape, hands) instead of lifting keypoints to joints; every frame has an answer, not the middle
one of a window; layers are normalised by their root mean square; the spread of its own error is an output, and so is
foot contact. What a frame is told reaches `reach` frames, so that a long clip in pieces that overlap by that much gives
what it gives as a whole, but for the camera of the piece.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Bool, Float
from hardmo_jax.geometry import rotation_formats
from hardmo_jax.networks import lifter, motion_input
from hardmo_jax.networks.lifter import LifterOutput, normalised
from hardmo_jax.networks.motion_input import MotionInput
from hardmo_jax.skeleton import layouts

_NUM_TURNS = 6 * len(lifter.BODY_JOINTS)
_NUM_HANDS = 3 * len(lifter.HAND_JOINTS)
#: Frames on either side that a convolution looks at, in steps of its gap.
_TAPS = 2
#: Logarithms of spreads are kept between these.
_LOG_SPREAD = (-6.0, 1.0)
_SPREAD_WIDTH = 192


@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionLifterOptions:
    """Size of the network."""

    width: int = 304
    hidden: int = 608
    gaps: tuple[int, ...] = (1, 2, 4, 8)
    """Frames between the taps of each block's convolution."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.hidden < 1 or not self.gaps or min(self.gaps) < 1:
            raise ValueError(f"`width`, `hidden` and `gaps` must be positive, got {self}")

    @property
    def reach(self) -> int:
        """Frames on either side that an answer depends on."""
        return _TAPS * sum(self.gaps)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionOutput:
    """What is said of every frame, in the clip's camera."""

    guess: LifterOutput
    """Batch axes B, T; one guess."""
    contact_logits: Float[AnyArray, "B T 4"]
    """Logarithmic odds that each of `layouts.CONTACT_POINTS` stands on the ground."""


class MotionLifter(nnx.Module):
    """The network; see the module."""

    def __init__(self, options: MotionLifterOptions, *, rngs: nnx.Rngs) -> None:
        self.options = options
        width = options.width
        self.first = nnx.Linear(motion_input.NUM_FEATURES, width, precision=lax.Precision.HIGHEST, rngs=rngs)
        self.blocks = nnx.List([_Block(options, gap, rngs) for gap in options.gaps])
        self.scale = nnx.Param(jnp.ones(width))
        # Answers start at the lifter's guesses.
        small = nnx.initializers.variance_scaling(0.01, "fan_in", "normal")
        outputs = _NUM_TURNS + 3 + _NUM_HANDS + lifter.NUM_BETAS + len(layouts.CONTACT_POINTS)
        self.last = nnx.Linear(width, outputs, kernel_init=small, precision=lax.Precision.HIGHEST, rngs=rngs)
        self.spread_first = nnx.Linear(width, _SPREAD_WIDTH, precision=lax.Precision.HIGHEST, rngs=rngs)
        self.spread_last = nnx.Linear(
            _SPREAD_WIDTH, lifter.NUM_SPREAD, kernel_init=small, precision=lax.Precision.HIGHEST, rngs=rngs
        )

    def __call__(self, clip: MotionInput) -> MotionOutput:
        """Guesses of every frame of clips."""
        hidden = self.first(clip.features)
        for block in self.blocks:
            hidden = block(hidden, clip.exists)
        hidden = normalised(hidden) * self.scale[...]
        change = self.last(hidden)
        spread = self.spread_last(nnx.silu(self.spread_first(lax.stop_gradient(hidden))))
        ends = np.cumsum([_NUM_TURNS, 3, _NUM_HANDS, lifter.NUM_BETAS])
        turns, places, hands, betas, contact = jnp.split(change, ends, -1)
        before, batch = clip.guess, change.shape[:2]
        turns = turns.reshape(*batch, 1, -1, 6) + rotation_formats.matrix_to_rot6d_hmr2(before.rotations)
        low, high = _LOG_SPREAD
        guess = LifterOutput(
            log_weights=jnp.zeros_like(before.log_weights),
            rotations=rotation_formats.rot6d_hmr2_to_matrix(turns),
            places=before.places + places[:, :, None],
            hands=before.hands + hands.reshape(before.hands.shape),
            betas=before.betas + betas,
            log_spread=jnp.clip(before.log_spread + spread, low, high),
        )
        return MotionOutput(guess=guess, contact_logits=contact)


class _Block(nnx.Module):
    """A convolution over time, then two layers, each beside a straight way."""

    def __init__(self, options: MotionLifterOptions, gap: int, rngs: nnx.Rngs) -> None:
        self.gap = gap
        width = options.width
        small = nnx.initializers.variance_scaling(0.1, "fan_in", "normal")
        highest = lax.Precision.HIGHEST
        self.scales = nnx.List([nnx.Param(jnp.ones(width)) for _ in range(2)])
        taps = 2 * _TAPS + 1
        self.over_time = nnx.Linear(taps * width, width, kernel_init=small, precision=highest, rngs=rngs)
        self.first = nnx.Linear(width, options.hidden, precision=highest, rngs=rngs)
        self.second = nnx.Linear(options.hidden, width, kernel_init=small, precision=highest, rngs=rngs)

    def __call__(self, hidden: Float[Array, "B T W"], exists: Bool[AnyArray, "B T"]) -> Float[Array, "B T W"]:
        seen = normalised(hidden) * self.scales[0][...] * exists[..., None]
        margin = _TAPS * self.gap
        # Before the beginning and after the end is nothing: zeros.
        wide = jnp.pad(seen, ((0, 0), (margin, margin), (0, 0)))
        length = hidden.shape[1]
        taps = [wide[:, first : first + length] for first in range(0, 2 * margin + 1, self.gap)]
        hidden += nnx.silu(self.over_time(jnp.concatenate(taps, -1)))
        seen = normalised(hidden) * self.scales[1][...]
        return hidden + self.second(nnx.silu(self.first(seen)))
