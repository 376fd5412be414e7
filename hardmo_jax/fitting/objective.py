"""All residuals of people's fits, alone and as Gauss-Newton equations."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import AnyArray, Array, Float, Int
from hardmo_jax.body import landmarks
from hardmo_jax.fitting import motion, normal_equations, pose_density, pose_mixture, priors, terms, variables
from hardmo_jax.fitting.evidence import Evidence, GuessRows, UserResidual
from hardmo_jax.fitting.normal_equations import NormalEquations, Pull
from hardmo_jax.fitting.pose_density import DensityRows, SharedDensity
from hardmo_jax.fitting.pose_mixture import Mixture, PartPrior
from hardmo_jax.fitting.stages import Stage
from hardmo_jax.geometry import rotations

_HIGHEST = jax.lax.Precision.HIGHEST
#: Geman-McClure scale of 3D keypoints, metres: beyond it a 3D point is taken for an error of its estimator.
ROBUST_SCALE_3D = 0.25


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Prior:
    """Arrays of the prior over the parameter vector, without translation and orientation."""

    mean: Float[AnyArray, "Q"]
    spread: Float[AnyArray, "Q"]
    low: Float[AnyArray, "Q"]
    high: Float[AnyArray, "Q"]
    parts: tuple[PartPrior, ...] = ()
    """Mixtures over the parts of the body; `spread` is infinite for entries that have one."""
    guess_precision: Float[AnyArray, "P P"] | None = None
    """Inverse covariance of the error of guesses in their spreads; None where nobody has a guess."""
    guess_factor: Float[AnyArray, "P P"] | None = None
    """Upper triangular U with U^T U that matrix."""
    density: SharedDensity | None = None
    """Of a density given from outside, which stands in for the rest at its joints."""
    limit_spread: float = dataclasses.field(metadata={"static": True})
    num_betas: int = dataclasses.field(metadata={"static": True})
    num_fingers: int = dataclasses.field(default=0, metadata={"static": True})
    """Entries of fingers, which stand last in the vector."""

    def mean_vector(self) -> Float[np.ndarray, "P"]:
        """The vector of the mean pose and shape, at the origin and not turned."""
        mean = np.asarray(self.mean)
        return np.concatenate([np.zeros(6, mean.dtype), mean])


def make_prior(
    layout: variables.Layout,
    joint_names: tuple[str, ...],
    limit_spread: float,
    dtype: np.dtype,
    *,
    mixtures: dict[str, Mixture] | None = None,
    guess_precision: Float[np.ndarray, "P P"] | None = None,
) -> Prior:
    """Prior for a body: unit Gaussians with limits over the shape, mixtures over the parts of the body that have one.

    Args:
        layout: Of the vector.
        joint_names: Of the body, root first.
        limit_spread: See `FitOptions.joint_limit_spread`.
        dtype: Of the body.
        mixtures: Learnt priors by part; joints without one have the written Gaussian of `priors.pose_prior`.
        guess_precision: See `Prior`.
    """
    pose = priors.pose_prior(joint_names)
    zeros, ones = np.zeros(layout.num_betas), np.ones(layout.num_betas)
    far = np.full(layout.num_betas, priors.SHAPE_LIMIT)
    parts = pose_mixture.part_priors(mixtures or {}, joint_names, dtype)
    mean, spread = pose.mean.ravel().astype(np.float64), pose.spread.ravel().astype(np.float64)
    for part in parts:
        entries = np.array(part.entries)
        spread[entries] = np.inf
        mean[entries] = part.mean  # where fits start
    low, high = pose.low.ravel(), pose.high.ravel()
    factor = None if guess_precision is None else np.linalg.cholesky(guess_precision).T.astype(dtype)
    return Prior(
        mean=np.concatenate([zeros, np.clip(mean, low, high)]).astype(dtype),
        spread=np.concatenate([ones, spread]).astype(dtype),
        low=np.concatenate([-far, low]).astype(dtype),
        high=np.concatenate([far, high]).astype(dtype),
        parts=parts,
        guess_precision=None if guess_precision is None else guess_precision.astype(dtype),
        guess_factor=factor,
        limit_spread=limit_spread,
        num_betas=layout.num_betas,
        num_fingers=int(layout.group_mask(("hand_pose",)).sum()),
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class StageWeights:
    """The numbers of a stage as arrays, so that one compiled step serves all stages."""

    is_stage_start: Float[AnyArray, "*steps"]
    """1 in the first row of a stage, where the weights change, else 0."""
    is_last: Float[AnyArray, "*steps"]
    """1 in the last row of a stage."""
    next_stage: Int[AnyArray, "*steps"]
    """Row that begins the stage after this one; for the last stage the number of rows, padding included."""
    free: Float[AnyArray, "*steps P"]
    """1 for entries of the vector that move, else 0."""
    keypoints_2d: Float[AnyArray, "*steps"]
    keypoints_3d: Float[AnyArray, "*steps"]
    hands: Float[AnyArray, "*steps"]
    pose_prior: Float[AnyArray, "*steps"]
    hand_prior: Float[AnyArray, "*steps"]
    shape_prior: Float[AnyArray, "*steps"]
    joint_limits: Float[AnyArray, "*steps"]
    guess: Float[AnyArray, "*steps"]
    pose_density: Float[AnyArray, "*steps"]
    robust_scale: Float[AnyArray, "*steps"]
    converged_below: Float[AnyArray, "*steps"]


def stage_schedule(
    stages: tuple[Stage, ...], layout: variables.Layout, dtype: np.dtype, *, num_rows: int | None = None
) -> StageWeights:
    """Weights of every iteration of the stages, stacked along a leading axis; one row more a stage to begin it.

    Args:
        stages: One after the other.
        layout: Of the vector.
        dtype: Of the weights.
        num_rows: Repeats the last row up to this number, so that schedules of several lengths have one shape.
    """
    names = (
        "keypoints_2d", "keypoints_3d", "hands", "pose_prior", "hand_prior", "shape_prior", "joint_limits", "guess",
        "pose_density", "robust_scale",
    )  # fmt: skip
    lengths = [stage.iterations + 1 for stage in stages]
    ends = np.cumsum(lengths)
    num_rows = num_rows or int(ends[-1])
    lengths[-1] += num_rows - int(ends[-1])
    rows = [stage for stage, length in zip(stages, lengths, strict=True) for _ in range(length)]
    next_stage = np.repeat(np.append(ends[:-1], num_rows), lengths)
    is_start = np.isin(np.arange(num_rows), [0, *ends[:-1]])
    return StageWeights(
        is_stage_start=is_start.astype(dtype),
        next_stage=next_stage.astype(np.int32),
        is_last=np.isin(np.arange(num_rows), ends - 1).astype(dtype),
        free=np.stack([layout.group_mask(stage.free) for stage in rows]).astype(dtype),
        **{name: np.array([getattr(stage, name) for stage in rows], dtype) for name in (*names, "converged_below")},
    )


def residuals(
    model: landmarks.PointModel,
    prior: Prior,
    evidence: Evidence,
    weights: StageWeights,
    orient: Float[AnyArray, "B 3 3"],
    vector: Float[AnyArray, "B P"],
) -> Float[Array, "B R"]:
    """All residuals of each person, in standard deviations."""
    points = motion.keypoints(model, orient, vector)
    blocks = []
    for frame in _frames(evidence):
        error, _, weight, scale = _point_errors(evidence, weights, points, frame)
        blocks.append(_robust(error, weight, scale))
    blocks += [_of_user(model, extra, orient, jnp.asarray(vector)) for extra in evidence.residuals]
    blocks += _prior_blocks(prior, evidence, weights, vector)
    for part in prior.parts:
        strength = _strength(part, prior, evidence, weights)[:, None]
        near = pose_mixture.nearest(part, _pose(prior, vector))
        blocks += [near.whitened * strength, jnp.sqrt(2 * near.constant)[:, None] * strength]
    if prior.guess_factor is not None and evidence.guess is not None:
        apart = _from_guess(evidence.guess, vector)
        blocks.append(jnp.einsum("pq,bq->bp", prior.guess_factor, apart, precision=_HIGHEST) * weights.guess[:, None])
    if prior.density is not None and evidence.density is not None:
        strength, moved = _density_strength(evidence.density, weights), _moved(prior.density, vector)
        blocks.append(pose_density.density_residuals(prior.density, evidence.density, strength, orient, moved))
    return jnp.concatenate(blocks, -1)


def _strength(part: PartPrior, prior: Prior, evidence: Evidence, weights: StageWeights) -> Float[Array, "B"]:
    """Weight of a part's prior."""
    strength = weights.pose_prior * weights.hand_prior if part.is_hand else jnp.asarray(weights.pose_prior)
    entries = tuple(6 + prior.num_betas + entry for entry in part.entries)
    if prior.density is not None and evidence.density is not None and prior.density.speaks_of(entries):
        strength = jnp.where(_density_strength(evidence.density, weights) > 0, 0, strength)
    return strength


def _density_strength(density: DensityRows, weights: StageWeights) -> Float[Array, "B"]:
    """Factor on the residuals of each person's density."""
    return density.weight * jnp.asarray(weights.pose_density)


def _moved(density: SharedDensity, vector: Float[AnyArray, "B P"]) -> Float[Array, "B E"]:
    """Entries that a density speaks of."""
    return jnp.asarray(vector)[:, np.array(density.entries)]


def _pose(prior: Prior, vector: Float[AnyArray, "B P"]) -> Float[Array, "B Q"]:
    """Axis-angle of all joints but the root."""
    return jnp.asarray(vector)[:, 6 + prior.num_betas :]


def _from_guess(guess: GuessRows, vector: Float[AnyArray, "B P"]) -> Float[Array, "B P"]:
    """How far people are from their guesses, in standard deviations, turns in the axes of the guess."""
    apart = jnp.asarray(vector) - guess.mean
    turn = rotations.rotate(jnp.asarray(guess.axes), apart[:, 3:6])
    apart = jnp.concatenate([apart[:, :3], turn, apart[:, 6:]], -1)
    return apart * guess.inverse_spread


def cost(residual: Float[Array, "B R"]) -> Float[Array, "B"]:
    """Half the sum of squares."""
    return 0.5 * jnp.sum(residual * residual, -1)


def equations(
    model: landmarks.PointModel,
    prior: Prior,
    evidence: Evidence,
    weights: StageWeights,
    orient: Float[AnyArray, "B 3 3"],
    vector: Float[AnyArray, "B P"],
) -> NormalEquations:
    """Gauss-Newton equations and cost of each person.

    Errors of keypoints are differentiated with respect to their one point, chained with the exact motion of the
    points and reweighted (`terms.geman_mcclure_weight`); residuals of the priors touch one entry of the vector each,
    so they only add to the diagonal.
    """
    moved = motion.motion(model, orient, vector)
    points = jnp.moveaxis(moved.points, -1, 0)
    total, force, precision, centred = jnp.zeros(len(vector), vector.dtype), 0, 0, None
    for frame in _frames(evidence):
        error, by_point, weight, scale = _point_errors(evidence, weights, points, frame)
        total += cost(_robust(error, weight, scale))
        weight *= jax.vmap(jax.vmap(terms.geman_mcclure_weight, (0, None)))(error, scale)
        # (D, 3, K, B) and (D, K, B): people innermost, as in the motion
        by_point, error = jnp.transpose(by_point, (2, 3, 1, 0)), jnp.transpose(error, (2, 1, 0))
        square = jnp.square(weight).T
        pull = error * square
        if frame == "centred":
            centre = _centre_weights(evidence).T
            # A matrix product, not a sum: those go wrong in jaxlib 0.10.2 (`rotations.rotate`).
            drift = jnp.einsum("dkb,kb->db", error, square, precision=_HIGHEST)
            pull -= centre * drift[:, None]
            centred = jnp.stack([centre, square], 1)
        force += sum(by_point[d] * pull[d] for d in range(len(pull)))
        precision += sum(by_point[d, :, None] * by_point[d, None] * square for d in range(len(pull)))
    forces = normal_equations.PointForces(
        gradient=jnp.swapaxes(jnp.asarray(force), 0, 1), precision=jnp.moveaxis(jnp.asarray(precision), 2, 0)
    )
    result = normal_equations.gather(model, moved, forces)
    if centred is not None:
        result = _without_centre(result, normal_equations.combined(model, moved, centred), centred[:, 1])
    for extra in evidence.residuals:
        result, added = _with_user(model, result, extra, orient, vector)
        total += added
    ones = jnp.ones_like(vector)
    diagonal, gradient = result.diagonal, result.gradient
    blocks = jax.jvp(lambda v: _prior_blocks(prior, evidence, weights, v), (vector,), (ones,))
    for block, slope in zip(*blocks, strict=True):
        # Entries of a prior block and of the vector's tail correspond one to one.
        front = ((0, 0), (vector.shape[-1] - block.shape[-1], 0))
        diagonal += jnp.pad(slope * slope, front)
        gradient += jnp.pad(slope * block, front)
        total += cost(block)
    pull, pulled, paid = _pull(prior, evidence, weights, orient, vector)
    return dataclasses.replace(result, diagonal=diagonal, gradient=gradient + pulled, cost=total + paid, pull=pull)


def _pull(
    prior: Prior,
    evidence: Evidence,
    weights: StageWeights,
    orient: Float[AnyArray, "B 3 3"],
    vector: Float[Array, "B P"],
) -> tuple[Pull, Float[Array, "B P"], Float[Array, "B"]]:
    """What mixtures, guesses and densities add to the equations: their part of the matrix, gradient and cost."""
    size, components = vector.shape[-1], []
    gradient, paid = jnp.zeros_like(vector), jnp.zeros(len(vector), vector.dtype)
    strengths = []
    if prior.parts:
        columns = np.full(size, -1)
        slopes = []
        for part in prior.parts:
            near = pose_mixture.nearest(part, _pose(prior, vector))
            strength = jnp.square(_strength(part, prior, evidence, weights))
            components.append(near.component)
            strengths.append(strength)
            first = sum(slope.shape[-1] for slope in slopes)
            columns[6 + prior.num_betas + np.array(part.entries)] = first + np.arange(len(part.entries))
            slopes.append(near.gradient * strength[:, None])
            paid += strength * (cost(near.whitened) + near.constant)
        slopes.append(jnp.zeros_like(vector[:, :1]))
        gradient += jnp.concatenate(slopes, -1)[:, columns]
    scale = axes = None
    if prior.guess_precision is not None and evidence.guess is not None:
        apart = _from_guess(evidence.guess, vector)
        met = jnp.einsum("pq,bq->bp", prior.guess_precision, apart, precision=_HIGHEST)
        share = jnp.square(weights.guess)
        paid += 0.5 * share * jnp.einsum("bp,bp->b", apart, met, precision=_HIGHEST)
        slope = met * evidence.guess.inverse_spread
        axes = jnp.asarray(evidence.guess.axes)
        turned = rotations.rotate(jnp.swapaxes(axes, -1, -2), slope[:, 3:6])
        slope = jnp.concatenate([slope[:, :3], turned, slope[:, 6:]], -1)
        gradient += share[:, None] * slope
        scale = evidence.guess.inverse_spread * weights.guess[:, None]
    block = None
    if prior.density is not None and evidence.density is not None:
        strength, moved = _density_strength(evidence.density, weights), _moved(prior.density, vector)
        told = pose_density.density_equations(prior.density, evidence.density, strength, jnp.asarray(orient), moved)
        block, paid = told.matrix, paid + told.cost
        gradient = gradient.at[:, np.array(prior.density.entries)].add(told.gradient)
    pull = Pull(
        components=jnp.stack(components, -1) if components else None,
        strength=jnp.stack(strengths, -1) if strengths else None,
        scale=scale,
        axes=axes,
        density=block,
    )
    return pull, gradient, paid


def _of_user(
    model: landmarks.PointModel,
    extra: UserResidual,
    orient: Float[AnyArray, "B 3 3"],
    vector: Float[Array, "B P"],
) -> Float[Array, "B R"]:
    """Residuals of the user for each person."""
    params = variables.Layout.of(model.body).to_params(vector, jnp.asarray(orient))
    return jax.vmap(extra.function)(params, motion.joints(model.body, orient, vector), extra.data)


def _with_user(
    model: landmarks.PointModel,
    result: NormalEquations,
    extra: UserResidual,
    orient: Float[AnyArray, "B 3 3"],
    vector: Float[AnyArray, "B P"],
) -> tuple[NormalEquations, Float[Array, "B"]]:
    """The equations with residuals of the user, and the cost of these; forward mode, one pass a parameter."""
    vector = jnp.asarray(vector)

    def along(direction: Float[Array, "P"]) -> tuple[Array, Array]:
        tangent = jnp.broadcast_to(direction, vector.shape)
        return jax.jvp(lambda v: _of_user(model, extra, orient, v), (vector,), (tangent,))

    value, rows = jax.vmap(along, out_axes=(None, -1))(jnp.eye(vector.shape[-1], dtype=vector.dtype))
    gradient = jnp.einsum("brp,br->bp", rows, value, precision=_HIGHEST)
    result = dataclasses.replace(
        result,
        rows_left=jnp.concatenate([result.rows_left, rows], 1),
        rows_right=jnp.concatenate([result.rows_right, rows], 1),
        gradient=result.gradient + gradient,
    )
    return result, cost(value)


def _without_centre(
    result: NormalEquations, sums: Float[Array, "B 2 3 P"], square: Float[Array, "K B"]
) -> NormalEquations:
    """The equations of errors whose weighted mean is taken off, from those of the errors themselves.

    With J the derivative of the points, c the weights of the mean and w the squared weights of the errors, let
    C = sum c J, S = sum w J and W = sum w. Then sum w (J - C)^T (J - C) is
    sum w J^T J + W (C - S / W)^T (C - S / W) - S^T S / W.
    """
    mass = jnp.maximum(jnp.matmul(jnp.ones(len(square), square.dtype), square, precision=_HIGHEST), 1e-12)[
        :, None, None
    ]
    centre, share = sums[:, 0], sums[:, 1] / mass
    added = jnp.concatenate([centre - share, share], 1) * jnp.sqrt(mass)
    sign = jnp.repeat(jnp.array([1, -1], added.dtype), 3)[:, None]
    return dataclasses.replace(
        result,
        rows_left=jnp.concatenate([result.rows_left, added], 1),
        rows_right=jnp.concatenate([result.rows_right, added * sign], 1),
    )


def _centre_weights(evidence: Evidence) -> Float[Array, "B K"]:
    """Weights that sum to one, by which the centre of the 3D keypoints is taken."""
    square = jnp.square(jnp.asarray(evidence.weight_3d))
    return square / jnp.maximum(jnp.sum(square, -1, keepdims=True), 1e-12)


def _frames(evidence: Evidence) -> tuple[str, ...]:
    """Kinds of keypoint residuals. 3D keypoints are absolute only if nothing else says where the person is."""
    frames = ()
    if evidence.keypoints_2d is not None:
        frames += ("image",)
    if evidence.keypoints_3d is not None:
        frames += ("centred" if frames else "camera",)
    return frames


def _point_errors(
    evidence: Evidence, weights: StageWeights, points: Float[Array, "B K 3"], frame: str
) -> tuple[Float[Array, "B K D"], Float[Array, "B K D 3"], Float[Array, "B K"], Float[Array, "B"]]:
    """Errors of the keypoints in a frame, their derivatives by the points, their weights, and their robust scale."""
    of_hands = 1 + evidence.is_hand * (weights.hands[:, None] - 1)
    if frame == "image":
        over_points = functools.partial(jax.vmap, in_axes=(0, 0, None, None, None))
        camera = (evidence.focal_length, evidence.principal_point, evidence.box_side)
        inputs = (points, jnp.asarray(evidence.keypoints_2d), *camera)
        value = jax.vmap(over_points(terms.reprojection))(*inputs)
        by_point = jax.vmap(over_points(jax.jacfwd(terms.reprojection)))(*inputs)
        weight, scale = evidence.weight_2d * weights.keypoints_2d[:, None], weights.robust_scale
    else:
        value = points - jnp.asarray(evidence.keypoints_3d)
        if frame == "centred":
            mean = jnp.einsum("bk,bkd->bd", _centre_weights(evidence), value, precision=_HIGHEST)
            value -= mean[:, None]
        by_point = jnp.broadcast_to(jnp.eye(3, dtype=points.dtype), (*points.shape, 3))
        weight = evidence.weight_3d * weights.keypoints_3d[:, None]
        scale = jnp.full(len(points), ROBUST_SCALE_3D, points.dtype)
    return value, by_point, weight * of_hands, jnp.asarray(scale)


def _robust(error: Float[Array, "B K D"], weight: Float[Array, "B K"], scale: Float[Array, "B"]) -> Float[Array, "B R"]:
    """Robust residuals of keypoints, of which the cost is half the sum of squares."""
    robust = jax.vmap(jax.vmap(terms.geman_mcclure, (0, None)))(error, scale) * weight[..., None]
    return robust.reshape(len(error), -1)


def _prior_blocks(
    prior: Prior, evidence: Evidence, weights: StageWeights, vector: Float[AnyArray, "B P"]
) -> tuple[Float[Array, "B Q"], Float[Array, "B Q2"]]:
    """Residuals of the priors, each the length of a tail of the vector."""
    tail = jnp.asarray(vector)[:, 6:]
    is_shape = np.arange(tail.shape[-1]) < prior.num_betas
    # Fingers stand last in all families.
    is_finger = np.arange(tail.shape[-1]) >= tail.shape[-1] - prior.num_fingers
    of_pose = jnp.where(is_finger, (weights.pose_prior * weights.hand_prior)[:, None], weights.pose_prior[:, None])
    strength = jnp.where(is_shape, weights.shape_prior[:, None], of_pose)
    if prior.density is not None and evidence.density is not None:
        is_its_own = np.isin(np.arange(6, 6 + tail.shape[-1]), prior.density.entries)
        is_told = _density_strength(evidence.density, weights) > 0
        strength = jnp.where(is_told[:, None] & is_its_own, 0, strength)
    limits = terms.outside_limits(tail, prior.low, prior.high, prior.limit_spread)
    return terms.gaussian(tail, prior.mean, prior.spread) * strength, limits * weights.joint_limits[:, None]
