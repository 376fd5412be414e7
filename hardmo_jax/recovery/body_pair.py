"""The two fits of a conversion between bodies: of the shapes at rest, and of the frames with those shapes."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import AnyArray, Array, Bool, Float, Int
from hardmo_jax.body.model import BodyModel, BodyOutput
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.fitting import threads
from hardmo_jax.recovery import body_correspondence
from hardmo_jax.recovery.body_correspondence import Correspondence
from hardmo_jax.recovery.point_fit import FittedPoints, PointPose, PointTask, pose_points, solve_points
from hardmo_jax.skeleton import layouts

_HIGHEST = lax.Precision.HIGHEST
#: Frames solved at once: their lever arms stay near the cache.
_FRAMES_AT_ONCE = 32
#: Shapes up to which each is solved by itself: nearly always there is one, which is not filled up to a group.
_FEW_SHAPES = 4
#: Precision of the betas about zero where surfaces are fitted, which leaves them free, and where only landmarks are.
_SURFACE_RIDGE, _LANDMARK_RIDGE = 1e-3, 1.0
#: Share of a hand's joints in moving a point from which it says nothing of the body, where hands differ in kind.
_LEAST_HAND_SHARE = 0.01
_STEPS_AT_REST = 60


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BodyPair:
    """What all frames have in common."""

    source: BodyModel
    target: BodyModel
    shared: Correspondence
    rotation_spread_degrees: float
    """Standard deviation of a joint's rotation in the world about that carried over."""
    max_steps: int
    """Steps of a frame's fit at most."""
    points: FittedPoints
    """Of the target."""
    seen: BodyModel
    """The source with the vertices only that fitted points use."""
    seen_weights: Any
    """Fitted points from the nodes of `seen`; `(K, nodes)`."""
    counterparts: tuple[tuple[int, ...], ...]
    """Of each joint of the target, the joints of the source that turn it."""
    folds_hands: bool
    """Whether one body has fingers and the other has one joint a hand."""

    @classmethod
    def of(
        cls,
        source: BodyModel,
        target: BodyModel,
        shared: Correspondence,
        *,
        rotation_spread_degrees: float,
        max_steps: int,
    ) -> "BodyPair":
        """Look up what the two bodies have of each other."""
        weights = shared.weights[shared.fitted]
        used = np.unique(weights.indices)
        vertices = used[used < source.num_vertices]
        kept = np.concatenate([vertices, source.num_vertices + np.arange(source.num_joints)])
        counterparts = tuple(_counterparts(source, name) for name in target.joint_names)
        has_hand = ["left_hand" in body.joint_names for body in (source, target)]
        return cls(
            source=source,
            target=target,
            shared=shared,
            rotation_spread_degrees=rotation_spread_degrees,
            max_steps=max_steps,
            points=FittedPoints.of(target, shared.nodes[shared.fitted]),
            seen=source.subset(vertices),
            seen_weights=weights[:, kept],
            counterparts=counterparts,
            folds_hands=has_hand[0] != has_hand[1],
        )

    def goals(self, params: BodyParams) -> Float[np.ndarray, "N 3 K"]:
        """Where fitted points of the source are, planar."""
        places = combine_nodes(self.seen_weights, in_pieces(self.seen, params))
        return np.ascontiguousarray(np.swapaxes(places, 1, 2), self.dtype)

    @property
    def dtype(self) -> np.dtype:
        """Type that the target computes in."""
        return np.dtype(self.target.joint_template.dtype)


def _counterparts(source: BodyModel, name: str) -> tuple[int, ...]:
    """Joints of the source that turn a joint of the target: its namesake, or those of the hand that it is part of."""
    if name in source.joint_names:
        return (source.joint_names.index(name),)
    side, _, part = name.partition("_")
    if part == "hand":
        names = [f"{side}_{finger}1" for finger in layouts.FINGERS]
    elif any(part.startswith(finger) for finger in layouts.FINGERS):
        names = [f"{side}_hand"]
    else:
        names = []
    return tuple(source.joint_names.index(one) for one in names if one in source.joint_names)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RestingBodies:
    """What is known of each shape, from bodies at rest."""

    betas: Float[np.ndarray, "U S"]
    turned: Float[np.ndarray, "U J 3 3"]
    """World rotation of each joint of the target where the source rests."""
    root: Float[np.ndarray, "U 3"]
    """Root of the target, as it rests, from the origin."""
    root_apart: Float[np.ndarray, "U 3"]
    """From the root of the resting source to that of the target, metres."""
    offsets: Float[np.ndarray, "U 3 K"]
    """What is left between the bodies there, on the target at rest, metres."""


def fit_resting(pair: BodyPair, betas: Float[np.ndarray, "U S"]) -> RestingBodies:
    """Shape and resting pose of the target for each shape of the source."""
    target, count = pair.target, len(betas)
    still = dataclasses.replace(jax.tree.map(np.asarray, BodyParams.rest(pair.source, batch=(count,))), betas=betas)
    goals = pair.goals(still)
    is_landmarks = pair.shared.kind == "landmarks"
    is_shape = np.arange(target.num_betas + target.num_expression) < target.num_betas
    task = _task(pair, ridge=_LANDMARK_RIDGE if is_landmarks else _SURFACE_RIDGE, free_coefficients=is_shape)
    start = (goals - np.asarray(pair.points.template)).mean(axis=-1)

    def fit(rows: Int[np.ndarray, "B"]) -> Any:
        fitted = _rest_fit(pair.points, task, goals[rows], start[rows], with_shape=bool(is_shape.any()))
        return jax.tree.map(np.asarray, fitted)

    size = 1 if count <= _FEW_SHAPES else _FRAMES_AT_ONCE
    coefficients, transl, turned, offsets = _in_groups(fit, count, size)
    basis = np.asarray(target.joint_shape_basis[:, 0], np.float64)
    root = np.asarray(target.joint_template[0], np.float64) + coefficients @ basis
    theirs = in_pieces(pair.seen, still).joints[:, 0]
    return RestingBodies(
        betas=coefficients[:, : target.num_betas],
        turned=turned,
        root=root,
        root_apart=root + transl - theirs,
        offsets=offsets,
    )


@jax.jit(static_argnames=("with_shape",))
def _rest_fit(
    points: FittedPoints,
    task: PointTask,
    goals: Float[AnyArray, "B 3 K"],
    transl: Float[AnyArray, "B 3"],
    *,
    with_shape: bool,
) -> tuple[Float[Array, "B C"], Float[Array, "B 3"], Float[Array, "B J 3 3"], Float[Array, "B 3 K"]]:
    """Shape, place and resting pose, and what they leave."""
    count, (num_joints, num_coefficients) = len(goals), (len(points.parents), len(points.joint_basis))
    upright = jnp.broadcast_to(jnp.eye(3, dtype=goals.dtype), (count, num_joints, 3, 3))
    nothing = jnp.zeros(goals.shape, goals.dtype)
    start = PointPose(local=upright, transl=transl, coefficients=jnp.zeros((count, num_coefficients), goals.dtype))
    pose, _ = solve_points(
        points, task, goals, nothing, start, upright, with_shape=with_shape, max_steps=_STEPS_AT_REST
    )
    posed = pose_points(points, pose, nothing)
    blended = jnp.einsum("jk,bjxy->bxyk", points.weights, posed.turned, precision=_HIGHEST)
    apart = goals - posed.places
    offsets = [blended[:, y] * apart[:, y, None] for y in range(3)]
    return pose.coefficients, pose.transl, posed.turned, offsets[0] + offsets[1] + offsets[2]


def _task(pair: BodyPair, *, ridge: float, free_coefficients: Bool[np.ndarray, "C"]) -> PointTask:
    """Weights of a fit of everything that the source can speak of."""
    dtype = pair.dtype
    return PointTask(
        precision=(pair.shared.spread**-2.0).astype(dtype),
        pull=np.full(pair.target.num_joints, np.deg2rad(pair.rotation_spread_degrees) ** -2, dtype),
        free_joints=np.array([len(joints) > 0 for joints in pair.counterparts], dtype),
        free_transl=np.ones((), dtype),
        free_coefficients=free_coefficients.astype(dtype),
        ridge=np.asarray(ridge, dtype),
    )


def _tasks(pair: BodyPair, num_coefficients: int) -> tuple[PointTask, ...]:
    """Fits of a frame, one after the other."""
    whole = _task(pair, ridge=0.0, free_coefficients=np.zeros(num_coefficients, bool))
    if not pair.folds_hands:
        return (whole,)
    # What a hand cannot follow must not turn the wrist: the body first, then the hands on it.
    of_hands = body_correspondence.hand_joints(pair.target)
    share = np.asarray(pair.points.weights).T @ of_hands
    counts = {False: share < _LEAST_HAND_SHARE, True: share >= 0.5}
    return tuple(
        dataclasses.replace(
            whole,
            precision=np.where(counts[hands], whole.precision, 0).astype(pair.dtype),
            free_joints=np.where(of_hands == hands, whole.free_joints, 0).astype(pair.dtype),
            free_transl=np.asarray(not hands, pair.dtype),
        )
        for hands in (False, True)
    )


def fit_frames(
    pair: BodyPair, rest: RestingBodies, clips: BodyParams, which: Int[np.ndarray, "N"]
) -> tuple[BodyParams, Bool[np.ndarray, "N"]]:
    """Parameters of every row at the origin, and whether its fit settled."""
    target, dtype, count = pair.target, pair.dtype, len(which)
    goals = pair.goals(clips)
    pose = np.asarray(clips.full_pose(), np.float64)
    local, world = _carried(pair, rest, which, pose)
    # The root of the target stays where it was on the source's pelvis.
    theirs = in_pieces(pair.seen, clips).joints[:, 0].astype(np.float64)
    turn = Rotation.from_rotvec(pose[:, 0]).as_matrix()
    transl = theirs + np.einsum("nxy,ny->nx", turn, rest.root_apart[which]) - rest.root[which]
    expression = np.zeros((count, target.num_expression), dtype)
    if clips.expression is not None:
        num = min(target.num_expression, clips.expression.shape[-1])
        expression[:, :num] = clips.expression[:, :num]
    betas = rest.betas[which]
    start = PointPose(local=local, transl=transl, coefficients=np.concatenate([betas, expression], axis=-1))
    start = jax.tree.map(lambda leaf: leaf.astype(dtype), start)
    world = world.astype(dtype)
    tasks = _tasks(pair, start.coefficients.shape[1])

    def fit(rows: Int[np.ndarray, "B"]) -> Any:
        pose = jax.tree.map(lambda leaf: leaf[rows], start)
        is_settled = np.ones(len(rows), bool)
        for task in tasks:
            pose, is_done = jax.tree.map(
                np.asarray,
                _frame_fit(
                    pair.points, task, goals[rows], rest.offsets[which[rows]], pose, world[rows],
                    max_steps=pair.max_steps,
                ),
            )  # fmt: skip
            is_settled &= is_done
        return pose.local, pose.transl, is_settled

    local, transl, is_settled = _in_groups(fit, count, _FRAMES_AT_ONCE)
    # What overflowed has no rotations; its translation says so.
    is_finite = np.isfinite(local).all(axis=(1, 2, 3))
    local = np.where(is_finite[:, None, None, None], local, np.eye(3))
    transl = np.where(is_finite[:, None], transl, np.nan)
    vectors = Rotation.from_matrix(local.reshape(-1, 3, 3)).as_rotvec().reshape(*local.shape[:2], 3)
    for joint, joints in enumerate(pair.counterparts):
        if len(joints) == 1 and pair.source.joint_names[joints[0]] == target.joint_names[joint]:
            vectors[:, joint] = _nearest_turn(vectors[:, joint], pose[:, joints[0]])
    made = BodyParams.from_full_pose(
        target,
        vectors.astype(dtype),
        betas=betas.astype(dtype),
        transl=transl.astype(dtype),
        expression=expression if target.family == "smplx" else None,
    )
    return jax.tree.map(np.asarray, made), is_settled


@jax.jit(static_argnames=("max_steps",))
def _frame_fit(
    points: FittedPoints,
    task: PointTask,
    goals: Float[AnyArray, "B 3 K"],
    offsets: Float[AnyArray, "B 3 K"],
    start: PointPose,
    world: Float[AnyArray, "B J 3 3"],
    *,
    max_steps: int,
) -> tuple[PointPose, Bool[Array, "B"]]:
    """Poses of some frames whose shape is known."""
    return solve_points(points, task, goals, offsets, start, world, with_shape=False, max_steps=max_steps)


def _carried(
    pair: BodyPair, rest: RestingBodies, which: Int[np.ndarray, "N"], pose: Float[np.ndarray, "N I 3"]
) -> tuple[Float[np.ndarray, "N J 3 3"], Float[np.ndarray, "N J 3 3"]]:
    """Rotations of the target's joints, relative to the parent and in the world, where they are those of the source."""
    source, target = pair.source, pair.target
    own = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(*pose.shape[:2], 3, 3)
    theirs = own.copy()
    for joint, parent in enumerate(source.parents[1:], start=1):
        theirs[:, joint] = theirs[:, parent] @ own[:, joint]
    still = np.asarray(rest.turned, np.float64)[which]
    world, local = np.empty_like(still), np.empty_like(still)
    for joint, (parent, joints) in enumerate(zip(target.parents, pair.counterparts, strict=True)):
        if joints:
            world[:, joint] = _proper(theirs[:, list(joints)].mean(axis=1)) @ still[:, joint]
        else:
            world[:, joint] = world[:, parent] @ np.swapaxes(still[:, parent], -1, -2) @ still[:, joint]
        local[:, joint] = world[:, joint] if parent < 0 else np.swapaxes(world[:, parent], -1, -2) @ world[:, joint]
    return local, world


def _proper(matrices: Float[np.ndarray, "*batch 3 3"]) -> Float[np.ndarray, "*batch 3 3"]:
    """Nearest rotations, in float64; NaN where something is not finite."""
    matrices = np.asarray(matrices, np.float64)
    is_finite = np.isfinite(matrices).all(axis=(-2, -1), keepdims=True)
    left, _, right = np.linalg.svd(np.where(is_finite, matrices, np.eye(3)))
    left = left.copy()
    left[..., -1] *= np.asarray(np.sign(np.linalg.det(left @ right)))[..., None]
    return np.where(is_finite, left @ right, np.nan)


def _nearest_turn(vectors: Float[np.ndarray, "N 3"], like: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    """The axis-angle vectors of the same rotations that are nearest to others: what is smooth there stays smooth."""
    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    length = np.linalg.norm(like, axis=-1, keepdims=True)
    # Near no turn at all the axis is that of the others.
    axis = np.where(angle > 1e-6, vectors / np.maximum(angle, 1e-12), like / np.maximum(length, 1e-12))
    turns = np.round((np.sum(axis * like, axis=-1, keepdims=True) - angle) / (2 * np.pi))
    return vectors + axis * (turns * 2 * np.pi)


def combine_nodes(weights: Any, output: BodyOutput) -> Float[np.ndarray, "N M 3"]:
    """Points made of vertices and joints."""
    nodes = np.concatenate([np.asarray(output.vertices), np.asarray(output.joints)], axis=1)
    count, num_nodes, _ = nodes.shape
    flat = weights.astype(nodes.dtype) @ np.ascontiguousarray(nodes.transpose(1, 0, 2)).reshape(num_nodes, 3 * count)
    return flat.reshape(-1, count, 3).transpose(1, 0, 2)


def _in_groups(fit: Any, count: int, size: int) -> Any:
    """Fits of a few rows at a time, on all cores; one program whatever their number."""
    groups = [np.minimum(np.arange(first, first + size), max(count - 1, 0)) for first in range(0, max(count, 1), size)]
    parts = threads.on_cores(fit, groups)
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)
