"""Levenberg-Marquardt that brings points of a body to given places, many people at once, each alone.

Unknowns are a turn of every joint in world axes, the translation and, if asked for, the shape. With turns in world axes
the Gauss-Newton matrix needs the derivative of no rotation: it is put together from one product of the points' lever
arms with each other. The derivative of pose blend shapes is left out: millimetres beside the decimetres of an arm.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.linalg import cho_factor, cho_solve

from hardmo_jax.array_types import AnyArray, Array, Bool, Float, Int
from hardmo_jax.body import kinematics
from hardmo_jax.body.model import BodyModel
from hardmo_jax.geometry import rotations

_HIGHEST = lax.Precision.HIGHEST
_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-4, 1e-7, 1e3
#: A step that is to lower the cost by less than this share of it, or than this, is the last.
_SMALL_SHARE, _SMALL_COST = 1e-3, 1e-6
#: The largest turn of a step, radians.
_REACH = 0.6


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class FittedPoints:
    """Some nodes of a body as skinned points: vertices, and joints that one bone carries. Planar, as in `skinning`."""

    template: Float[Array, "3 K"]
    """Places at rest, metres."""
    shape_basis: Float[Array, "C 3 K"]
    """Displacement by each coefficient of shape and expression, metres."""
    pose_basis: Float[Array, "P 3 K"] | None
    """Pose blend shapes, metres."""
    weights: Float[Array, "J K"]
    """Share of each joint in moving each point."""
    joint_template: Float[Array, "J 3"]
    """Joints at rest, metres."""
    joint_basis: Float[Array, "C J 3"]
    """Their displacement by each coefficient, metres."""
    parents: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    """Parent of each joint, -1 for the root."""

    @classmethod
    def of(cls, body: BodyModel, nodes: Int[np.ndarray, "K"]) -> "FittedPoints":
        """Nodes of a body: its vertices, then its joints."""
        is_joint = nodes >= body.num_vertices
        vertices, joints = np.where(is_joint, 0, nodes), np.where(is_joint, nodes - body.num_vertices, 0)

        def chosen(of_joints: Array, of_vertices: Array) -> Array:
            return jnp.where(is_joint, jnp.swapaxes(of_joints[..., joints, :], -1, -2), of_vertices[..., vertices])

        basis = body.pose_basis_planar
        carried = jnp.eye(body.num_joints, dtype=body.skinning_planar.dtype)[:, joints]
        return cls(
            template=chosen(body.joint_template, body.template_planar),
            shape_basis=chosen(body.joint_shape_basis, body.shape_basis_planar),
            pose_basis=None if basis is None else jnp.where(is_joint, 0.0, basis[..., vertices]),
            weights=jnp.where(is_joint, carried, body.skinning_planar[:, vertices]),
            joint_template=body.joint_template,
            joint_basis=body.joint_shape_basis,
            parents=body.parents,
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class PointPose:
    """What is solved for."""

    local: Float[AnyArray, "B J 3 3"]
    """Rotations relative to the parent."""
    transl: Float[AnyArray, "B 3"]
    """Translation, metres."""
    coefficients: Float[AnyArray, "B C"]
    """Shape, then expression."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class PointTask:
    """What it is solved by."""

    precision: Float[AnyArray, "K"]
    """One over the variance of a coordinate of each point, per square metre; zero for points that do not count."""
    pull: Float[AnyArray, "J"]
    """One over the variance of each joint's rotation in the world about that of the start, per square radian."""
    free_joints: Float[AnyArray, "J"]
    """1 for joints that may turn, else 0."""
    free_transl: Float[AnyArray, ""]
    """1 if the body may move, else 0."""
    free_coefficients: Float[AnyArray, "C"]
    """1 for coefficients that may change, else 0."""
    ridge: Float[AnyArray, ""]
    """Precision of the coefficients about zero."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class PosedPoints:
    """Points of posed bodies, and what moves them."""

    turned: Float[Array, "B J 3 3"]
    """Rotation of each joint in the world."""
    joints: Float[Array, "B J 3"]
    """Joints before the translation, metres."""
    carried: Float[Array, "B J KC"]
    """Share of each joint in each point's place, metres; coordinates and points along one axis."""
    places: Float[Array, "B 3 K"]
    """The points, metres."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class _Equations:
    matrix: Float[Array, "B N N"]
    gradient: Float[Array, "B N"]
    cost: Float[Array, "B"]
    turned: Float[Array, "B J 3 3"]


def pose_points(points: FittedPoints, pose: PointPose, offsets: Float[AnyArray, "B 3 K"]) -> PosedPoints:
    """Points of posed bodies.

    Args:
        points: Of the body at rest.
        pose: One row a body.
        offsets: How far the points are moved on the body at rest, before it is posed, metres.
    """
    local, coefficients = jnp.asarray(pose.local), jnp.asarray(pose.coefficients)
    rest_joints = points.joint_template + jnp.einsum(
        "bc,cjx->bjx", coefficients, points.joint_basis, precision=_HIGHEST
    )
    turned, joints = kinematics.joint_transforms(points.parents, local, rest_joints)
    rest = points.template + jnp.einsum("bc,cxk->bxk", coefficients, points.shape_basis, precision=_HIGHEST) + offsets
    if points.pose_basis is not None:
        change = local[:, 1:] - jnp.eye(3, dtype=rest.dtype)
        features = change.reshape(change.shape[0], 9 * change.shape[1])
        rest = rest + jnp.einsum("bp,pxk->bxk", features, points.pose_basis, precision=_HIGHEST)
    shift = joints - jnp.einsum("bjxy,bjy->bjx", turned, rest_joints, precision=_HIGHEST)
    batch, num_joints = local.shape[:2]
    moved = jnp.matmul(turned.reshape(batch, 3 * num_joints, 3), rest, precision=_HIGHEST)
    moved = moved.reshape(batch, num_joints, 3, -1) + shift[..., None]
    carried = (moved * points.weights[:, None]).reshape(batch, num_joints, -1)
    ones = jnp.ones((1, num_joints), carried.dtype)
    places = jnp.matmul(ones, carried, precision=_HIGHEST).reshape(rest.shape) + pose.transl[..., None]
    return PosedPoints(turned=turned, joints=joints, carried=carried, places=places)


def _equations(
    points: FittedPoints,
    task: PointTask,
    goals: Array,
    offsets: Array,
    start_turned: Array,
    pose: PointPose,
    *,
    with_shape: bool,
) -> _Equations:
    """Gauss-Newton matrix and gradient over turns of the joints, translation, and coefficients."""
    posed = pose_points(points, pose, offsets)
    below = jnp.asarray(kinematics.ancestor_mask(points.parents).T, posed.places.dtype)  # [a, j]: a turns j
    batch, num_joints = posed.joints.shape[:2]
    size, eye = 3 * num_joints, jnp.eye(3, dtype=below.dtype)
    scale = jnp.sqrt(jnp.asarray(task.precision))
    # Lever arms: from each joint to what of each point hangs on it.
    hanging = jnp.matmul(below, points.weights, precision=_HIGHEST)
    arms = jnp.matmul(below, posed.carried, precision=_HIGHEST).reshape(batch, num_joints, 3, -1)
    arms = ((arms - hanging[:, None] * posed.joints[..., None]) * scale).reshape(batch, size, -1)
    apart = (posed.places - goals) * scale
    field = apart[:, None]
    if with_shape:
        field = jnp.concatenate([field, _by_coefficients(points, posed.turned) * scale], 1)
    num_fields = field.shape[1]
    unit = jnp.broadcast_to(scale, (batch, 1, scale.shape[0]))
    columns = jnp.concatenate([arms, unit, field.reshape(batch, 3 * num_fields, -1)], 1)
    gram = jnp.einsum("bik,bjk->bij", arms, columns, precision=_HIGHEST)
    by_arms = gram[:, :, :size].reshape(batch, num_joints, 3, num_joints, 3)
    traces = by_arms[:, :, 0, :, 0] + by_arms[:, :, 1, :, 1] + by_arms[:, :, 2, :, 2]
    pull = jnp.asarray(task.pull)
    traces += jnp.matmul(below * pull, below.T, precision=_HIGHEST)
    # [a]x^T [b]x = (a . b) I - b a^T, and what pulls the joints below both.
    turning = traces[:, :, None, :, None] * eye[:, None] - jnp.swapaxes(by_arms, 2, 4)
    by_unit = gram[:, :, size].reshape(batch, num_joints, 3)
    by_field = gram[:, :, size + 1 :].reshape(batch, num_joints, 3, num_fields, 3)
    torques = [by_field[:, :, k - 2, :, k - 1] - by_field[:, :, k - 1, :, k - 2] for k in range(3)]
    torques = jnp.stack(torques, 2).reshape(batch, size, num_fields)
    deviation = jnp.einsum("bjxz,bjyz->bjxy", posed.turned, start_turned, precision=_HIGHEST)
    deviation = rotations.matrix_to_axis_angle(deviation)
    back = jnp.einsum("aj,bjx->bax", below * pull, deviation, precision=_HIGHEST).reshape(batch, size)

    thrust = jnp.einsum("k,bfxk->bxf", scale, field, precision=_HIGHEST)
    moving = jnp.broadcast_to(jnp.dot(scale, scale, precision=_HIGHEST) * eye, (batch, 3, 3))
    blocks = [[turning.reshape(batch, size, size), rotations.skew(by_unit).reshape(batch, size, 3)], [moving]]
    gradient = [torques[:, :, 0] + back, thrust[:, :, 0]]
    cost = jnp.einsum("bxk,bxk->b", apart, apart, precision=_HIGHEST)
    cost += jnp.einsum("j,bjx,bjx->b", pull, deviation, deviation, precision=_HIGHEST)
    if with_shape:
        flat, coefficients = field.reshape(batch, num_fields, -1), jnp.asarray(pose.coefficients)
        of_shape = jnp.einsum("bfn,bgn->bfg", flat[:, 1:], flat, precision=_HIGHEST)
        blocks[0].append(torques[:, :, 1:])
        blocks[1].append(thrust[:, :, 1:])
        blocks.append([of_shape[:, :, 1:] + task.ridge * jnp.eye(num_fields - 1, dtype=below.dtype)])
        gradient.append(of_shape[:, :, 0] + task.ridge * coefficients)
        cost += task.ridge * jnp.einsum("bc,bc->b", coefficients, coefficients, precision=_HIGHEST)
    rows = [
        [jnp.swapaxes(blocks[column][row - column], 1, 2) for column in range(row)] + blocks[row]
        for row in range(len(blocks))
    ]
    matrix = jnp.concatenate([jnp.concatenate(row, 2) for row in rows], 1)
    return _Equations(matrix=matrix, gradient=jnp.concatenate(gradient, 1), cost=cost, turned=posed.turned)


def _by_coefficients(points: FittedPoints, turned: Float[Array, "B J 3 3"]) -> Float[Array, "B C 3 K"]:
    """Derivative of the points by the coefficients: bones grow, and the surface on them."""
    parents = np.array(points.parents)
    below = jnp.asarray(kinematics.ancestor_mask(points.parents), turned.dtype)
    bones = points.joint_basis[:, 1:] - points.joint_basis[:, parents[1:]]
    grown = jnp.einsum("bjxy,cjy->bcjx", turned[:, parents[1:]], bones, precision=_HIGHEST)
    root = jnp.broadcast_to(points.joint_basis[:, :1], (len(turned), *points.joint_basis[:, :1].shape))
    joints = jnp.einsum("ja,bcax->bcjx", below, jnp.concatenate([root, grown], 2), precision=_HIGHEST)
    shift = joints - jnp.einsum("bjxy,cjy->bcjx", turned, points.joint_basis, precision=_HIGHEST)
    blended = jnp.einsum("jk,bjxy->bxyk", points.weights, turned, precision=_HIGHEST)
    surface = [blended[:, None, :, y] * points.shape_basis[:, None, y] for y in range(3)]
    return surface[0] + surface[1] + surface[2] + jnp.einsum("jk,bcjx->bcxk", points.weights, shift, precision=_HIGHEST)


def _stepped(points: FittedPoints, pose: PointPose, turned: Array, step: Array, *, with_shape: bool) -> PointPose:
    """The pose after turns in world axes, a move, and a change of coefficients."""
    batch, num_joints = turned.shape[:2]
    size = 3 * num_joints
    upright = jnp.broadcast_to(jnp.eye(3, dtype=turned.dtype), (batch, 1, 3, 3))
    outer = jnp.concatenate([upright, turned[:, np.array(points.parents[1:], np.int64)]], 1)
    turns = step[:, :size].reshape(batch, num_joints, 3)
    inward = jnp.einsum("bjyx,bjy->bjx", outer, turns, precision=_HIGHEST)
    coefficients = jnp.asarray(pose.coefficients)
    if with_shape:
        coefficients = coefficients + step[:, size + 3 :]
    return PointPose(
        local=rotations.compose(rotations.axis_angle_to_matrix(inward), jnp.asarray(pose.local)),
        transl=pose.transl + step[:, size : size + 3],
        coefficients=coefficients,
    )


def _solved(equations: _Equations, free: Array, damping: Array, num_turns: int) -> tuple[Array, Array]:
    """Damped steps, and the decrease of the cost that the quadratic model expects of them."""

    def one(item: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        matrix, gradient, lift = item
        diagonal = jnp.diagonal(matrix) * free
        scale = jnp.where(free > 0, lax.rsqrt(jnp.maximum(diagonal, 1e-6)), 0.0)
        scaled = matrix * scale[:, None] * scale + jnp.diag(1 - free + lift + 1e-7)
        step = -scale * cho_solve(cho_factor(scaled), scale * gradient)
        longest = jnp.max(jnp.abs(step[:num_turns]))
        step = step * jnp.minimum(1.0, _REACH / jnp.maximum(longest, 1e-9))
        bent = jnp.matmul(matrix, step, precision=_HIGHEST)
        return step, -jnp.dot(step, 2 * gradient + bent, precision=_HIGHEST)

    items = (equations.matrix, equations.gradient, damping)
    # One after the other on a CPU: LAPACK spreads a batch over threads that wait for each other.
    return lax.platform_dependent(*items, cpu=lambda *x: lax.map(one, x), default=lambda *x: jax.vmap(one)(x))


def solve_points(
    points: FittedPoints,
    task: PointTask,
    goals: Float[AnyArray, "B 3 K"],
    offsets: Float[AnyArray, "B 3 K"],
    start: PointPose,
    start_turned: Float[AnyArray, "B J 3 3"],
    *,
    with_shape: bool,
    max_steps: int,
) -> tuple[PointPose, Bool[Array, "B"]]:
    """Bring points to their goals. To be called inside of `jax.jit`.

    Args:
        points: Of the body.
        task: Weights and what is free.
        goals: Where the points should be, metres.
        offsets: As of `pose_points`.
        start: Where to begin.
        start_turned: Rotations in the world that joints are pulled to.
        with_shape: Whether coefficients are solved for.
        max_steps: Steps at most.

    Returns:
        Best poses seen, and whether each settled.
    """
    free = jnp.concatenate([jnp.repeat(jnp.asarray(task.free_joints), 3), jnp.broadcast_to(task.free_transl, 3)])
    if with_shape:
        free = jnp.concatenate([free, jnp.asarray(task.free_coefficients)])
    num, num_turns = len(goals), 3 * len(points.parents)
    goals, offsets, start_turned = jnp.asarray(goals), jnp.asarray(offsets), jnp.asarray(start_turned)
    start = jax.tree.map(jnp.asarray, start)

    def chosen(is_first: Array, first: Any, second: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.where(is_first.reshape(-1, *[1] * (a.ndim - 1)), a, b), first, second)

    def advance(state: tuple[Any, ...]) -> tuple[Any, ...]:
        """Judge the candidate, then make the next one."""
        candidate, pose, equations, damping, is_done, count = state
        made = _equations(points, task, goals, offsets, start_turned, candidate, with_shape=with_shape)
        made = dataclasses.replace(made, matrix=made.matrix * free[:, None] * free, gradient=made.gradient * free)
        is_better = (made.cost < equations.cost) & ~is_done & jnp.all(jnp.isfinite(made.gradient), 1)
        pose, equations = chosen(is_better, (candidate, made), (pose, equations))
        damping = jnp.where(count == 0, damping, jnp.where(is_better, damping / 10, damping * 10))
        damping = jnp.maximum(damping, _LEAST_DAMPING)
        step, hope = _solved(equations, free, damping, num_turns)
        # Little to hope for says something where the step was hardly damped.
        is_small = hope <= jnp.where(damping <= 1, _SMALL_SHARE * equations.cost, 0.0) + _SMALL_COST
        candidate = _stepped(points, pose, equations.turned, step, with_shape=with_shape)
        return candidate, pose, equations, damping, is_done | is_small | (damping > _MOST_DAMPING), count + 1

    entries = free.shape[0]
    dtype = goals.dtype
    nothing = _Equations(
        matrix=jnp.zeros((num, entries, entries), dtype),
        gradient=jnp.zeros((num, entries), dtype),
        cost=jnp.full((num,), jnp.inf, dtype),
        turned=start_turned,
    )
    state = (start, start, nothing, jnp.full((num,), _FIRST_DAMPING, dtype), jnp.zeros((num,), bool), 0)
    _, pose, _, _, is_done, _ = lax.while_loop(
        lambda state: (state[-1] <= max_steps) & ~jnp.all(state[4]), advance, state
    )
    return pose, is_done
