"""All residuals of one person's fit, with and without their Jacobian."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.body import landmarks
from hardmo_jax.fitting import priors, terms, variables
from hardmo_jax.fitting.stages import Stage

#: Geman-McClure scale of 3D keypoints, metres: beyond it a 3D point is taken for an error of its estimator.
ROBUST_SCALE_3D = 0.25


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """Observations of people, normalised and weighted: the constants of their fits. Batch axes lead."""

    keypoints_2d: Float[AnyArray, "*batch K 2"] | None
    """Pixels."""
    weight_2d: Float[AnyArray, "*batch K"] | None
    """Weight of each point's residual over its standard deviation in box sides; 0 if unused."""
    keypoints_3d: Float[AnyArray, "*batch K 3"] | None
    """Metres, camera axes."""
    weight_3d: Float[AnyArray, "*batch K"] | None
    """Weight of each point's residual over its standard deviation in metres; 0 if unused."""
    is_hand: Float[AnyArray, "*batch K"]
    """1 for finger points, else 0."""
    focal_length: Float[AnyArray, "*batch 2"]
    """Pixels."""
    principal_point: Float[AnyArray, "*batch 2"]
    """Pixels."""
    box_side: Float[AnyArray, "*batch"]
    """Pixels."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Prior:
    """Arrays of the prior over the parameter vector, without translation and orientation."""

    mean: Float[AnyArray, "Q"]
    spread: Float[AnyArray, "Q"]
    low: Float[AnyArray, "Q"]
    high: Float[AnyArray, "Q"]
    limit_spread: float = dataclasses.field(metadata={"static": True})
    num_betas: int = dataclasses.field(metadata={"static": True})


def make_prior(layout: variables.Layout, joint_names: tuple[str, ...], limit_spread: float, dtype: np.dtype) -> Prior:
    """Prior for a body: unit Gaussians with limits over the shape, `priors.pose_prior` over the pose."""
    pose = priors.pose_prior(joint_names)
    zeros, ones = np.zeros(layout.num_betas), np.ones(layout.num_betas)
    far = np.full(layout.num_betas, priors.SHAPE_LIMIT)
    return Prior(
        mean=np.concatenate([zeros, pose.mean.ravel()]).astype(dtype),
        spread=np.concatenate([ones, pose.spread.ravel()]).astype(dtype),
        low=np.concatenate([-far, pose.low.ravel()]).astype(dtype),
        high=np.concatenate([far, pose.high.ravel()]).astype(dtype),
        limit_spread=limit_spread,
        num_betas=layout.num_betas,
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class StageWeights:
    """The numbers of a stage as arrays, so that one compiled step serves all stages."""

    is_stage_start: Float[AnyArray, "*steps"]
    """1 in the first row of a stage, where the weights change, else 0."""
    free: Float[AnyArray, "*steps P"]
    """1 for entries of the vector that move, else 0."""
    keypoints_2d: Float[AnyArray, "*steps"]
    keypoints_3d: Float[AnyArray, "*steps"]
    hands: Float[AnyArray, "*steps"]
    pose_prior: Float[AnyArray, "*steps"]
    shape_prior: Float[AnyArray, "*steps"]
    joint_limits: Float[AnyArray, "*steps"]
    robust_scale: Float[AnyArray, "*steps"]


def stage_schedule(stages: tuple[Stage, ...], layout: variables.Layout, dtype: np.dtype) -> StageWeights:
    """Weights of every iteration of the stages, stacked along a leading axis; one row more a stage to begin it."""
    names = ("keypoints_2d", "keypoints_3d", "hands", "pose_prior", "shape_prior", "joint_limits", "robust_scale")
    rows = [stage for stage in stages for _ in range(stage.iterations + 1)]
    is_start = [row == 0 for stage in stages for row in range(stage.iterations + 1)]
    return StageWeights(
        is_stage_start=np.array(is_start, dtype),
        free=np.stack([layout.group_mask(stage.free) for stage in rows]).astype(dtype),
        **{name: np.array([getattr(stage, name) for stage in rows], dtype) for name in names},
    )


def residuals(
    model: landmarks.PointModel,
    prior: Prior,
    evidence: Evidence,
    weights: StageWeights,
    orient: Float[AnyArray, "3 3"],
    vector: Float[AnyArray, "P"],
) -> Float[Array, "R"]:
    """All residuals of one person, in standard deviations."""
    points = variables.keypoints(model, orient, vector)
    blocks = []
    for frame in _frames(evidence):
        error, _, weight, scale = _point_errors(evidence, weights, points, frame)
        blocks.append(_robust(error, weight, scale))
    return jnp.concatenate([*blocks, *_prior_blocks(prior, weights, vector)])


def cost(residual: Float[Array, "R"]) -> Float[Array, ""]:
    """Half the sum of squares."""
    return 0.5 * jnp.sum(residual * residual)


def normal_equations(
    model: landmarks.PointModel,
    prior: Prior,
    evidence: Evidence,
    weights: StageWeights,
    orient: Float[AnyArray, "3 3"],
    vector: Float[AnyArray, "P"],
) -> tuple[Float[Array, "P P"], Float[Array, "P"], Float[Array, ""]]:
    """Gauss-Newton matrix, gradient and cost of one person.

    Errors of keypoints are differentiated with respect to their one point, chained with the exact Jacobian of the
    points and reweighted (`terms.geman_mcclure_weight`); residuals of the priors touch one entry of the vector each,
    so they only add to the diagonal.
    """
    points, jacobian = variables.keypoints_and_jacobian(model, orient, vector)
    matrix = jnp.zeros((vector.size, vector.size), vector.dtype)
    gradient = jnp.zeros_like(vector)
    total = jnp.zeros((), vector.dtype)
    for frame in _frames(evidence):
        error, by_point, weight, scale = _point_errors(evidence, weights, points, frame)
        total += cost(_robust(error, weight, scale))
        weight *= jax.vmap(terms.geman_mcclure_weight, in_axes=(0, None))(error, scale)
        columns = jacobian if frame != "centred" else _centre(jacobian, evidence)
        rows = jnp.matmul(by_point * weight[:, None, None], columns, precision=jax.lax.Precision.HIGHEST)
        rows = rows.reshape(-1, vector.size)
        matrix += jnp.matmul(rows.T, rows, precision=jax.lax.Precision.HIGHEST)
        gradient += jnp.matmul((error * weight[:, None]).ravel(), rows, precision=jax.lax.Precision.HIGHEST)
    ones = jnp.ones_like(vector)
    for block, slope in zip(*jax.jvp(lambda v: _prior_blocks(prior, weights, v), (vector,), (ones,)), strict=True):
        # Entries of a prior block and of the vector's tail correspond one to one.
        diagonal = jnp.concatenate([jnp.zeros(vector.size - block.size, vector.dtype), slope])
        value = jnp.concatenate([jnp.zeros(vector.size - block.size, vector.dtype), block])
        matrix += jnp.diag(diagonal * diagonal)
        gradient += diagonal * value
        total += cost(block)
    return matrix, gradient, total


def _centre_weights(evidence: Evidence) -> Float[Array, "K"]:
    """Weights that sum to one, by which the centre of the 3D keypoints is taken."""
    square = jnp.square(jnp.asarray(evidence.weight_3d))
    return square / jnp.maximum(jnp.sum(square), 1e-12)


def _centre(values: Float[Array, "K ..."], evidence: Evidence) -> Float[Array, "K ..."]:
    """Values minus their weighted mean."""
    return values - jnp.tensordot(_centre_weights(evidence), values, axes=1, precision=jax.lax.Precision.HIGHEST)


def _frames(evidence: Evidence) -> tuple[str, ...]:
    """Kinds of keypoint residuals. 3D keypoints are absolute only if nothing else says where the person is."""
    frames = ()
    if evidence.keypoints_2d is not None:
        frames += ("image",)
    if evidence.keypoints_3d is not None:
        frames += ("centred" if frames else "camera",)
    return frames


def _point_errors(
    evidence: Evidence, weights: StageWeights, points: Float[Array, "K 3"], frame: str
) -> tuple[Float[Array, "K D"], Float[Array, "K D 3"], Float[Array, "K"], Float[Array, ""]]:
    """Errors of the keypoints in a frame, their derivatives by the points, their weights, and their robust scale."""
    of_hands = 1 + evidence.is_hand * (weights.hands - 1)
    if frame == "image":

        def error(point, keypoint):
            return terms.reprojection(
                point, keypoint, evidence.focal_length, evidence.principal_point, evidence.box_side
            )

        inputs = (points, jnp.asarray(evidence.keypoints_2d))
        value, by_point = jax.vmap(error)(*inputs), jax.vmap(jax.jacfwd(error))(*inputs)
        weight, scale = evidence.weight_2d * weights.keypoints_2d, weights.robust_scale
    else:
        target = jnp.asarray(evidence.keypoints_3d)
        value = points - target if frame == "camera" else _centre(points - target, evidence)
        by_point = jnp.broadcast_to(jnp.eye(3, dtype=points.dtype), (*points.shape, 3))
        weight, scale = evidence.weight_3d * weights.keypoints_3d, jnp.asarray(ROBUST_SCALE_3D, points.dtype)
    return value, by_point, weight * of_hands, jnp.asarray(scale)


def _robust(error: Float[Array, "K D"], weight: Float[Array, "K"], scale: Float[Array, ""]) -> Float[Array, "R"]:
    """Robust residuals of keypoints, of which the cost is half the sum of squares."""
    robust = jax.vmap(terms.geman_mcclure, in_axes=(0, None))(error, scale)
    return (robust * weight[:, None]).ravel()


def _prior_blocks(
    prior: Prior, weights: StageWeights, vector: Float[Array, "P"]
) -> tuple[Float[Array, "Q"], Float[Array, "Q2"]]:
    """Residuals of the priors, each the length of a tail of the vector."""
    tail = vector[6:]
    is_shape = np.arange(tail.size) < prior.num_betas
    strength = jnp.where(is_shape, weights.shape_prior, weights.pose_prior)
    limits = terms.outside_limits(tail, prior.low, prior.high, prior.limit_spread)
    return terms.gaussian(tail, prior.mean, prior.spread) * strength, limits * weights.joint_limits
