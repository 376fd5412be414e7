"""Gauss-Newton matrices of people's keypoint errors, in factors, and the damped step that they give.

A matrix of 169 unknowns is 114 kB a person; its factors are a fifth of that and cheap to make. The matrix itself
exists for one person at a time, while its equations are solved.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Float, Int
from hardmo_jax.body import kinematics
from hardmo_jax.body.landmarks import PointModel
from hardmo_jax.fitting import elimination, variables
from hardmo_jax.fitting import motion as motion_module
from hardmo_jax.fitting.motion import Motion
from hardmo_jax.fitting.pose_mixture import PartPrior

_HIGHEST = lax.Precision.HIGHEST
#: Floor of the damping's scale: keeps directions that nothing measures (a hidden toe) from being singular.
_LEAST_DIAGONAL = 1e-3


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Pull:
    """What correlated priors add to the matrix, in terms of matrices that all people share (`PullMatrices`)."""

    components: Int[Array, "*batch N"] | None
    """Component of each mixture."""
    strength: Float[Array, "*batch N"] | None
    """Factor on their inverse covariances."""
    scale: Float[Array, "*batch P"] | None
    """Factor on rows and columns of the precision of guesses."""
    axes: Float[Array, "*batch 3 3"] | None
    """Turns the entries of the root."""
    density: Float[Array, "*batch E E"] | None = None
    """Of a density, each person's own, by the entries that it speaks of."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PullMatrices:
    """Inverse covariances of priors, the same for all people."""

    parts: tuple[PartPrior, ...]
    pose_start: int
    """Entry of the vector at which the pose begins."""
    guess: Float[AnyArray, "P P"] | None
    density_entries: tuple[int, ...] = ()
    """Entries of the vector that a density speaks of."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class NormalEquations:
    """Gauss-Newton matrix and gradient of each person, and the cost.

    The matrix is

    `mask * tree_left^T [tree_right; I of the betas] + rows_left^T rows_right + diag(diagonal) + pull`

    in its lower triangle, where the mask holds pairs of entries of which one moves what hangs on the other.
    """

    tree_left: Float[Array, "*batch L P"]
    tree_right: Float[Array, "*batch 6 P"]
    rows_left: Float[Array, "*batch R P"]
    rows_right: Float[Array, "*batch R P"]
    diagonal: Float[Array, "*batch P"]
    gradient: Float[Array, "*batch P"]
    cost: Float[Array, "*batch"]
    pull: Pull | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PointForces:
    """What errors of keypoints ask of the keypoints: their gradient, and the precision of each."""

    gradient: Float[Array, "K 3 B"]
    """Derivative of the cost by each point, per metre."""
    precision: Float[Array, "K 3 3 B"]
    """Gauss-Newton matrix of the cost by each point, per square metre."""


def gather(model: PointModel, moved: Motion, forces: PointForces) -> NormalEquations:
    """Normal equations of errors of single keypoints, with cost zero and an empty diagonal."""
    rigid = motion_module.is_rigid(model)
    below = jnp.asarray(motion_module.below(model), moved.points.dtype)
    precision, force = forces.precision[rigid], forces.gradient[rigid][:, :, None]
    points, twists, by_betas = moved.rigid[:, :, None], moved.twists, moved.rigid_by_betas
    num_betas, batch = by_betas.shape[2:]

    # Of each point [-[p]x, I]^T W [-[p]x, I], then what it makes of the betas and of the force, summed over the
    # points that hang on each joint.
    turning = kinematics.cross(points, precision, 1)
    push = jnp.concatenate([kinematics.product(precision, by_betas), force], 2)
    # One product each: put together they would be copied twice.
    of_points = (
        kinematics.cross(jnp.swapaxes(points, 1, 2), turning, 2), turning, precision,
        kinematics.cross(points, push, 1), push,
    )  # fmt: skip
    by_turn, turning, by_move, torque, thrust = (
        jnp.tensordot(below, part, axes=1, precision=_HIGHEST) for part in of_points
    )
    angular, linear = twists[:, :3], twists[:, 3:]
    wrench = jnp.concatenate(
        [
            kinematics.product(by_turn, angular) + kinematics.product(turning, linear),
            kinematics.product(jnp.swapaxes(turning, 1, 2), angular) + kinematics.product(by_move, linear),
        ],
        1,
    )
    load = jnp.concatenate([torque, thrust], 1)
    met = [load[:, k, :, None] * twists[:, k, None] for k in range(6)]
    met = met[0] + met[1] + met[2] + met[3] + met[4] + met[5]
    of_betas = jnp.einsum("kiab,kicb->bca", by_betas, push, precision=_HIGHEST)
    tree_left = jnp.concatenate(
        [
            _columns(wrench, jnp.moveaxis(load[0, :, :num_betas], -1, 0)),
            _columns(met[:, :num_betas], of_betas[:, :num_betas]),
        ],
        1,
    )
    gradient = _columns(met[:, num_betas:], of_betas[:, num_betas:])[:, 0]
    skinned = moved.skinned_by_vector
    weighted = kinematics.product(forces.precision[~rigid], skinned)
    gradient += jnp.einsum("kipb,kib->bp", skinned, forces.gradient[~rigid], precision=_HIGHEST)
    return NormalEquations(
        tree_left=tree_left,
        tree_right=_columns(twists, jnp.zeros((batch, 6, num_betas), twists.dtype)),
        rows_left=_rows(skinned),
        rows_right=_rows(weighted),
        diagonal=jnp.zeros_like(gradient),
        gradient=gradient,
        cost=jnp.zeros((batch,), gradient.dtype),
    )


def combined(model: PointModel, moved: Motion, coefficients: Float[Array, "K N B"]) -> Float[Array, "B N 3 P"]:
    """Derivative of weighted sums of keypoints by the vector."""
    rigid = motion_module.is_rigid(model)
    below = jnp.asarray(motion_module.below(model), moved.points.dtype)
    of_rigid = coefficients[rigid]
    first = jnp.tensordot(below, of_rigid[:, :, None] * moved.rigid[:, None], axes=1, precision=_HIGHEST)
    total = jnp.tensordot(below, of_rigid, axes=1, precision=_HIGHEST)
    angular, linear = moved.twists[:, None, :3], moved.twists[:, None, 3:]
    by_joints = kinematics.cross(angular, first[:, :, :, None], 2) + total[:, :, None, None] * linear
    by_betas = jnp.einsum("knb,kiab->bnia", of_rigid, moved.rigid_by_betas, precision=_HIGHEST)
    num_sums, batch = coefficients.shape[1:]
    flat = by_joints.reshape(len(by_joints), num_sums * 3, 3, batch)
    rows = _columns(flat, by_betas.reshape(batch, num_sums * 3, -1))
    skinned = jnp.einsum("knb,kipb->bnip", coefficients[~rigid], moved.skinned_by_vector, precision=_HIGHEST)
    return rows.reshape(skinned.shape) + skinned


def matrix(
    equations: NormalEquations, model: PointModel, shared: PullMatrices | None = None
) -> Float[Array, "*batch P P"]:
    """The symmetric matrices.

    Args:
        equations: In factors.
        model: Body points.
        shared: Matrices of priors, where the equations hold a pull.
    """
    lower = _lower(equations, _mask(model))
    if shared is not None and equations.pull is not None:
        add = functools.partial(_pulled, shared=shared, size=lower.shape[-1])
        for _ in equations.diagonal.shape[:-1]:
            add = jax.vmap(add)
        lower += add(equations.pull)
    lower = jnp.tril(lower)
    return lower + jnp.tril(lower, -1).swapaxes(-1, -2)


def damped_step(
    equations: NormalEquations,
    model: PointModel,
    shared: PullMatrices | None,
    damping: Float[Array, ""],
    free: Float[Array, "P"],
    reach: Float[Array, "P"],
) -> tuple[Float[Array, "P"], Float[Array, ""]]:
    """Solution of one person's damped normal equations in the free entries, and the decrease that it predicts.

    Args:
        equations: Of one person.
        model: Body points.
        shared: Matrices of priors, where the equations hold a pull.
        damping: Of Marquardt: this share of the diagonal is added to it.
        free: 1 for entries that may move, else 0.
        reach: The most that an entry may change. A step with a longer entry is shortened as a whole: so far out
            the linear model is wrong, but its direction is good.
    """
    pull = equations.pull
    equations = dataclasses.replace(equations, pull=None)
    held = jax.tree.map(lambda leaf: leaf * free if leaf.ndim else leaf, equations)
    num_betas = equations.tree_left.shape[-2] - 6
    rows = jnp.concatenate([held.rows_left * held.rows_right, held.tree_left[:6] * held.tree_right])
    diagonal = held.diagonal + jnp.matmul(jnp.ones(len(rows), rows.dtype), rows, precision=_HIGHEST)
    betas = jnp.diagonal(held.tree_left[6:, 6 : 6 + num_betas])
    diagonal += jnp.pad(betas, (6, free.size - 6 - num_betas))
    lower = _lower(held, _mask(model))
    if shared is not None and pull is not None:
        added = _pulled(pull, shared=shared, size=free.size) * free[:, None]
        diagonal += jnp.diagonal(added)
        lower += added
    scale = jnp.maximum(diagonal, _LEAST_DIAGONAL) * free
    lower = lower * free + jnp.diag(damping * scale + (1 - free))
    # With the gradient as one more row, whose pivot is large enough for anything, the factor's last row is the
    # gradient solved forwards: a solve less, which costs as much as a quarter of the factor.
    bordered = jnp.pad(lower, ((0, 1), (0, 1))).at[-1].set(jnp.append(held.gradient, elimination.LARGE_PIVOT))
    factor = lax.linalg.cholesky(bordered, symmetrize_input=False)
    half = factor[-1, :-1, None]
    change = -lax.linalg.triangular_solve(factor[:-1, :-1], half, left_side=True, lower=True, transpose_a=True)[:, 0]
    change *= free
    share = 1 / jnp.maximum(1, jnp.max(jnp.abs(change) / reach))
    slope, damped = -jnp.sum(held.gradient * change), damping * jnp.sum(scale * change * change)
    # Of the whole step s^T H s = slope - damped.
    predicted = share * slope - 0.5 * share * share * (slope - damped)
    return share * change, predicted


def _pulled(pull: Pull, *, shared: PullMatrices, size: int) -> Float[Array, "P P"]:
    """The pull on one person as a matrix."""
    total: Array | float = 0.0
    if pull.components is not None and pull.strength is not None:
        blocks = [
            jnp.asarray(part.precisions)[pull.components[place]].ravel() * pull.strength[place]
            for place, part in enumerate(shared.parts)
        ]
        entries = tuple(part.entries for part in shared.parts)
        # A look-up, not a scatter a part: those are slow on a CPU.
        flat = jnp.concatenate([*blocks, jnp.zeros(1, blocks[0].dtype)])
        total += flat[_block_places(entries, shared.pose_start, size)]
    if shared.guess is not None and pull.scale is not None and pull.axes is not None:
        guess = shared.guess * pull.scale * pull.scale[:, None]
        columns = jnp.matmul(guess[:, 3:6], pull.axes, precision=_HIGHEST)
        guess = jnp.concatenate([guess[:, :3], columns, guess[:, 6:]], 1)
        rows = jnp.matmul(pull.axes.T, guess[3:6], precision=_HIGHEST)
        total += jnp.concatenate([guess[:3], rows, guess[6:]], 0)
    if pull.density is not None:
        flat = jnp.append(pull.density.ravel(), 0)
        total += flat[_block_places((shared.density_entries,), 0, size)]
    return jnp.broadcast_to(total, (size, size))


@functools.lru_cache(maxsize=16)
def _block_places(entries: tuple[tuple[int, ...], ...], pose_start: int, size: int) -> np.ndarray:
    """Where each entry of the matrix stands among all blocks laid out one after the other; the last place is zero."""
    places = np.full((size, size), sum(len(block) ** 2 for block in entries), np.int32)
    first = 0
    for block in entries:
        at = pose_start + np.array(block)
        places[np.ix_(at, at)] = first + np.arange(len(block) ** 2).reshape(len(block), -1)
        first += len(block) ** 2
    return places


def _lower(equations: NormalEquations, mask: np.ndarray) -> Float[Array, "*batch P P"]:
    """The matrix; its upper triangle is meaningless."""
    num_betas, size = equations.tree_left.shape[-2] - 6, equations.diagonal.shape[-1]
    eye = jnp.eye(num_betas, size, 6, dtype=equations.diagonal.dtype)
    batch = equations.diagonal.shape[:-1]
    right = jnp.concatenate([equations.tree_right, jnp.broadcast_to(eye, (*batch, *eye.shape))], -2)
    left = jnp.swapaxes(equations.tree_left, -1, -2)
    lower = jnp.matmul(left, right, precision=_HIGHEST) * mask
    if equations.rows_left.shape[-2]:
        rows = jnp.swapaxes(equations.rows_left, -1, -2)
        lower += jnp.matmul(rows, equations.rows_right, precision=_HIGHEST)
    return lower + equations.diagonal[..., None] * jnp.eye(size, dtype=lower.dtype)


def _mask(model: PointModel) -> np.ndarray:
    """Pairs (row, column) of entries, where the column's moves all that the row's moves. The betas pair with all."""
    layout = variables.Layout.of(model.body)
    joints = kinematics.ancestor_mask(model.body.parents)
    blocks = np.pad(joints, ((1, 0), (1, 0)), constant_values=False)
    blocks[:, 0] = True
    tree = np.kron(blocks, np.ones((3, 3), bool))
    place = np.r_[0:6, layout.pose_start : layout.size]
    mask = np.ones((layout.size, layout.size), bool)
    mask[np.ix_(place, place)] = tree
    return mask.astype(np.float32)


def _columns(of_joints: Float[Array, "J1 N 3 B"], of_betas: Float[Array, "B N C"]) -> Float[Array, "B N P"]:
    """Columns of the vector, in its order, from those of the translation and the joints, and those of the shape."""
    joints = jnp.transpose(of_joints, (3, 1, 0, 2))
    joints = joints.reshape(*joints.shape[:2], 3 * joints.shape[2])
    return jnp.concatenate([joints[..., :6], of_betas, joints[..., 6:]], -1)


def _rows(by_vector: Float[Array, "S 3 P B"]) -> Float[Array, "B R P"]:
    """One row a coordinate."""
    return jnp.moveaxis(by_vector.reshape(-1, *by_vector.shape[2:]), -1, 0)
