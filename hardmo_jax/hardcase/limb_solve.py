"""One limb of one person brought to points that a person placed, by Levenberg-Marquardt on the whole body model.

Unknowns are the rotations of the limb's joints, of which some are free. Unlike `fitting.limb_ends`, which takes feet
and hands for rigid and solves thousands of them, points are those of the body itself, blend shapes and all: somebody
looks at the result, and puts a point where it is to be.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.linalg import cho_factor, cho_solve

from hardmo_jax.array_types import AnyArray, Array, Bool, Float, Int
from hardmo_jax.body.landmarks import PointModel
from hardmo_jax.body.params import BodyParams, split_pose
from hardmo_jax.fitting.pose_mixture import PartPrior, nearest

_HIGHEST = lax.Precision.HIGHEST
_MIN_DEPTH = 0.1
_FIRST_DAMPING, _LEAST_DAMPING = 1e-3, 1e-7
#: Radians.
_LONGEST_STEP = 0.6


@dataclasses.dataclass(frozen=True, kw_only=True)
class LimbSolveOptions:
    """Weights of the solve."""

    placed_spread_pixels: float = 0.5
    """Standard deviation of where a person puts a point, pixels."""
    placed_spread: float = 0.002
    """The same in box sides; the larger of the two counts."""
    placed_3d_spread: float = 0.003
    """Standard deviation of where a person puts a point in space, metres."""
    keypoints_2d_spread: float = 0.018
    """Standard deviation of a keypoint that a detector saw, box sides."""
    robust_scale: float = 0.05
    """Geman-McClure scale of these, box sides: beyond it a detector is not believed."""
    prior: float = 0.15
    """Weight of the prior over the poses of the limb's parts."""
    limit_spread: float = 0.05
    """Overstepping of a joint limit that costs as much as one standard deviation, radians."""
    iterations: int = 20
    """Steps."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Limb:
    """What the pose of one limb of one person is to meet."""

    joints: Int[AnyArray, "L"]
    """Places of the limb's joints in the body."""
    is_free: Bool[AnyArray, "L"]
    """Which of them may turn."""
    former: Float[AnyArray, "L 3"]
    """Rotations before any correction, near which they stay where nothing says otherwise; axis-angle."""
    spread: Float[AnyArray, "L"]
    """How near: standard deviation, radians."""
    low: Float[AnyArray, "L 3"]
    """Joint limits, radians."""
    high: Float[AnyArray, "L 3"]
    keypoints_2d: Float[AnyArray, "K 2"]
    """Pixels."""
    weight: Float[AnyArray, "K"]
    """Of keypoints that a detector saw, its confidence; 0 where it saw none, or a person placed it."""
    is_placed: Bool[AnyArray, "K"]
    """Keypoints that a person placed."""
    keypoints_3d: Float[AnyArray, "K 3"]
    """Where a person placed points in space, camera frame, metres."""
    is_placed_3d: Bool[AnyArray, "K"]
    """Points that a person placed there."""
    box_side: Float[AnyArray, ""]
    """Longer side of the person's box, pixels."""
    focal_length: Float[AnyArray, "2"]
    """Pixels."""
    principal_point: Float[AnyArray, "2"]
    """Pixels."""
    priors: tuple[PartPrior, ...]
    """Over parts of the limb; their entries count within the limb."""


@functools.partial(jax.jit, static_argnames=("family", "options"))
def solve_limb(
    model: PointModel,
    params: BodyParams,
    limb: Limb,
    starts: Float[AnyArray, "S L 3"],
    *,
    family: str,
    options: LimbSolveOptions,
) -> tuple[Float[Array, "L 3"], Float[Array, ""]]:
    """Rotations of the limb's joints that meet best what was placed and seen, and their cost.

    Args:
        model: Keypoints of the body.
        params: Of the person, without batch axes.
        limb: What is to be met.
        starts: Rotations to begin at; the end with the least cost is taken.
        family: Of the body.
        options: Weights.
    """
    shape = limb.former.shape
    free = jnp.repeat(jnp.asarray(limb.is_free, limb.former.dtype), 3)

    def residuals(vector: Float[Array, "V"]) -> Float[Array, "R"]:
        return _residuals(model, params, limb, vector.reshape(shape), family, options)

    def cost_of(vector: Float[Array, "V"]) -> Float[Array, ""]:
        residual = residuals(vector)
        return 0.5 * jnp.dot(residual, residual, precision=_HIGHEST)

    def step(_, state):
        vector, cost, damping = state
        residual, along = jax.linearize(residuals, vector)
        jacobian = jax.vmap(along)(jnp.diag(free)).T
        gradient = jnp.matmul(jacobian.T, residual, precision=_HIGHEST)
        matrix = jnp.matmul(jacobian.T, jacobian, precision=_HIGHEST)
        diagonal = jnp.diagonal(matrix)
        damped = matrix + jnp.diag(damping * (diagonal + 1e-2) + (1 - free))
        candidate = vector - jnp.clip(cho_solve(cho_factor(damped), gradient), -_LONGEST_STEP, _LONGEST_STEP) * free
        then = cost_of(candidate)
        is_better = then < cost
        return (
            jnp.where(is_better, candidate, vector),
            jnp.where(is_better, then, cost),
            jnp.where(is_better, jnp.maximum(0.2 * damping, _LEAST_DAMPING), 8 * damping),
        )

    def from_start(start: Float[Array, "L 3"]) -> tuple[Float[Array, "V"], Float[Array, ""]]:
        vector = jnp.where(free > 0, start.reshape(-1), limb.former.reshape(-1))
        state = (vector, cost_of(vector), jnp.asarray(_FIRST_DAMPING, vector.dtype))
        vector, cost, _ = lax.fori_loop(0, options.iterations, step, state)
        return vector, cost

    # One after the other: LAPACK spreads a batch over threads that wait for each other.
    ends, costs = lax.map(from_start, jnp.asarray(starts))
    best = jnp.argmin(jnp.where(jnp.isfinite(costs), costs, jnp.inf))
    return ends[best].reshape(shape), costs[best]


def _residuals(
    model: PointModel,
    params: BodyParams,
    limb: Limb,
    pose: Float[Array, "L 3"],
    family: str,
    options: LimbSolveOptions,
) -> Float[Array, "R"]:
    """Residuals in standard deviations."""
    whole = jnp.asarray(params.full_pose()).at[limb.joints].set(pose)
    posed = dataclasses.replace(params, global_orient=whole[0], **split_pose(family, whole[1:]))
    points = model(posed)
    depth = jnp.maximum(points[..., 2:], _MIN_DEPTH)
    pixels = points[..., :2] / depth * limb.focal_length + limb.principal_point
    error = (pixels - limb.keypoints_2d) / limb.box_side
    placed_spread = jnp.maximum(options.placed_spread, options.placed_spread_pixels / limb.box_side)
    placed = jnp.where(limb.is_placed[:, None], error / placed_spread, 0.0)
    squared = jnp.sum(error * error, -1) / options.robust_scale**2
    # Geman and McClure's function as a residual: rho(u) = s^2 u / (1 + u).
    seen = error * (limb.weight / options.keypoints_2d_spread / jnp.sqrt(1 + squared))[:, None]
    in_space = (points - limb.keypoints_3d) / options.placed_3d_spread
    in_space = jnp.where(limb.is_placed_3d[:, None], in_space, 0.0)
    near = (pose - limb.former) / limb.spread[:, None]
    over = jnp.maximum(pose - limb.high, 0) + jnp.minimum(pose - limb.low, 0)
    groups = [placed, seen, in_space, near, jnp.where(limb.is_free[:, None], over / options.limit_spread, 0.0)]
    learnt = []
    for prior in limb.priors:
        found = nearest(prior, pose.reshape(1, -1))
        entries = np.array(prior.entries)
        is_free = jnp.repeat(limb.is_free, 3)[entries].any()
        learnt += [
            jnp.where(is_free, options.prior * found.whitened[0], 0.0),
            jnp.where(is_free, options.prior * jnp.sqrt(2 * found.constant), 0.0),
        ]
    return jnp.concatenate([*(group.reshape(-1) for group in groups), *learnt])
