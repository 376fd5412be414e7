"""The body's keypoints as a function of the vector of a fit, and how they move with it to first order.

The derivative is written out, not differentiated, and kept in factors. Turning joint `a` moves a point `p` that hangs
on it by `omega x (p - x_a) = [-[p]x, I] (omega, x_a x omega)`: a matrix of the point alone times a twist of the joint
alone. All that a joint's columns of a Gauss-Newton matrix need of the points below it is then one 6 x 6 matrix, and
nobody multiplies a Jacobian of 200 rows with itself (`normal_equations`).

People stand on the innermost axis: every entry of the small matrices is a contiguous run over them, which is several
times as fast on a CPU as products of 3 x 3 matrices.

References:
    Featherstone, "Rigid Body Dynamics Algorithms", 2008: spatial vectors, and the composite-rigid-body algorithm of
    chapter 6, whose inertias are here the precisions of keypoints.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Bool, Float
from hardmo_jax.body import kinematics, skinning
from hardmo_jax.body.landmarks import PointModel
from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting import variables

_HIGHEST = lax.Precision.HIGHEST


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Motion:
    """Keypoints of a batch of people, and what makes their derivative by the vector.

    Keypoints are of two kinds: `rigid` ones are fixed in the frame of one joint, `skinned` ones are not.
    """

    points: Float[Array, "K 3 B"]
    """Metres, camera frame."""
    rigid: Float[Array, "R 3 B"]
    """The rigid keypoints, relative to the translation."""
    twists: Float[Array, "J1 6 3 B"]
    """Of the translation, then of the three angles of each joint: angular part, then linear part."""
    rigid_by_betas: Float[Array, "R 3 C B"]
    """Derivative of the rigid keypoints by the shape."""
    skinned_by_vector: Float[Array, "S 3 P B"]
    """Derivative of the skinned keypoints by the whole vector."""


def is_rigid(model: PointModel) -> Bool[np.ndarray, "K"]:
    """Which keypoints are fixed in the frame of one joint."""
    return np.array(model.carrier_of, int) >= 0


def below(model: PointModel) -> Bool[np.ndarray, "J1 R"]:
    """Which of the rigid keypoints move with the translation (row 0) and with each joint."""
    carriers = np.array(model.carrier_of, int)[is_rigid(model)]
    moves = kinematics.ancestor_mask(model.body.parents)[carriers].T
    return np.concatenate([np.ones_like(moves[:1]), moves])


@dataclasses.dataclass(frozen=True)
class _Pose:
    """Kinematics of the batch."""

    angles: Float[Array, "J 3 B"]
    local: Float[Array, "J 3 3 B"]
    rest_joints: Float[Array, "J 3 B"]
    rotations: Float[Array, "J 3 3 B"]
    joints: Float[Array, "J 3 B"]
    betas: Float[Array, "C B"]
    features: Float[Array, "D B"]
    transl: Float[Array, "3 B"]


def keypoints(
    model: PointModel, orient: Float[AnyArray, "B 3 3"], vector: Float[AnyArray, "B P"]
) -> Float[Array, "B K 3"]:
    """Keypoints in metres, camera frame.

    Args:
        model: Body points.
        orient: Start orientation of each person, which the vector turns.
        vector: `variables.Layout`.
    """
    pose = _pose(model.body, orient, vector)
    body = model.body
    transforms = skinning.skinning_transforms(pose.rest_joints, pose.rotations, pose.joints)
    vertices = skinning.pose_small(
        pose.features, transforms, body.template_planar, body.blend_basis, body.skinning_planar
    )
    nodes = jnp.concatenate([jnp.moveaxis(pose.joints, -1, 0), vertices], 1)
    rigid = nodes[:, np.array(model.node_of, int)[is_rigid(model)]]
    points = _in_order(model, rigid, _mixture(model, nodes, axis=1), axis=1)
    # Keypoints that the body lacks stay at the origin.
    return points + jnp.sum(model.regressor, -1)[:, None] * pose.transl.T[:, None]


def joints(body: BodyModel, orient: Float[AnyArray, "B 3 3"], vector: Float[AnyArray, "B P"]) -> Float[Array, "B J 3"]:
    """All joints of the body in metres, camera frame; arguments as of `keypoints`."""
    pose = _pose(body, orient, vector)
    return jnp.moveaxis(pose.joints + pose.transl, -1, 0)


def motion(model: PointModel, orient: Float[AnyArray, "B 3 3"], vector: Float[AnyArray, "B P"]) -> Motion:
    """Keypoints and their derivative; arguments as of `keypoints`."""
    body, pose = model.body, _pose(model.body, orient, vector)
    # A change d of the axis-angle of joint a turns all below it by G_parent(a) left_jacobian(a) d.
    tangents = kinematics.left_jacobians(pose.angles)
    parents = np.array(body.parents[1:], int)
    turned = kinematics.product(pose.rotations[parents], tangents[1:])
    axes = jnp.concatenate([tangents[:1], turned])
    linear = kinematics.cross(pose.joints[:, :, None], axes, 1)
    eye = jnp.broadcast_to(jnp.eye(3, dtype=vector.dtype)[None, :, :, None], (1, 3, 3, vector.shape[0]))
    translation = jnp.concatenate([jnp.zeros_like(eye), eye], 1)
    joints_by_betas = _joints_by_betas(body, pose)
    rigid, rigid_by_betas = _rigid(model, pose, joints_by_betas)
    skinned, skinned_by_vector = _skinned(model, pose, axes, tangents, joints_by_betas)
    share = jnp.sum(model.regressor, -1)[:, None, None]
    return Motion(
        points=_in_order(model, rigid, skinned, axis=0) + share * pose.transl,
        rigid=rigid,
        twists=jnp.concatenate([translation, jnp.concatenate([axes, linear], 1)]),
        rigid_by_betas=rigid_by_betas,
        skinned_by_vector=skinned_by_vector,
    )


def _pose(body: BodyModel, orient: Float[AnyArray, "B 3 3"], vector: Float[AnyArray, "B P"]) -> _Pose:
    layout = variables.Layout.of(body)
    entries = jnp.asarray(vector).T
    angles = entries[layout.pose_start :].reshape(body.num_joints - 1, 3, -1)
    angles = jnp.concatenate([entries[None, 3:6], angles])
    local = kinematics.local_rotations(angles)
    root = kinematics.product(local[:1], jnp.moveaxis(jnp.asarray(orient), 0, -1)[None])
    local = jnp.concatenate([root, local[1:]])
    betas = entries[6 : layout.pose_start]
    shift = jnp.tensordot(body.joint_shape_basis, betas, axes=((0,), (0,)), precision=_HIGHEST)
    rest_joints = body.joint_template[..., None] + shift
    rotations, joints = kinematics.chain(body.parents, local, rest_joints)
    features = betas
    if body.pose_basis_planar is not None:
        offsets = local[1:] - jnp.eye(3, dtype=local.dtype)[..., None]
        features = jnp.concatenate([betas, offsets.reshape(9 * (body.num_joints - 1), -1)])
    return _Pose(angles, local, rest_joints, rotations, joints, betas, features, entries[:3])


def _skinned_regressor(model: PointModel) -> Float[Array, "S N"]:
    """The skinned keypoints from `mixed_joints` and the vertices."""
    rows = model.regressor[~is_rigid(model)]
    joints = rows[:, np.array(model.mixed_joints, int)]
    return jnp.concatenate([joints, rows[:, model.body.num_joints :]], 1)


def _mixture(model: PointModel, nodes: Array, *, axis: int) -> Array:
    """The skinned keypoints from all joints and vertices, which stand along an axis."""
    used = np.concatenate([np.array(model.mixed_joints, int), np.arange(model.body.num_joints, nodes.shape[axis])])
    mixed = jnp.tensordot(
        _skinned_regressor(model), jnp.take(nodes, used, axis), axes=((1,), (axis,)), precision=_HIGHEST
    )
    return jnp.moveaxis(mixed, 0, axis)


def _in_order(model: PointModel, rigid: Array, skinned: Array, *, axis: int) -> Array:
    """Keypoints of both kinds in the order of the layout."""
    both = np.concatenate([np.flatnonzero(is_rigid(model)), np.flatnonzero(~is_rigid(model))])
    return jnp.take(jnp.concatenate([rigid, skinned], axis), np.argsort(both), axis=axis)


def _rigid(
    model: PointModel, pose: _Pose, joints_by_betas: Float[Array, "J 3 C B"]
) -> tuple[Float[Array, "R 3 B"], Float[Array, "R 3 C B"]]:
    """The rigid keypoints, relative to the translation, and their derivative by the shape."""
    body = model.body
    nodes, carriers = np.array(model.node_of, int)[is_rigid(model)], np.array(model.carrier_of, int)[is_rigid(model)]
    is_vertex = nodes >= body.num_joints
    vertices, bones = nodes[is_vertex] - body.num_joints, carriers[is_vertex]
    basis = jnp.moveaxis(body.joint_shape_basis, 0, -1)
    by_betas = jnp.moveaxis(body.shape_basis_planar[:, :, vertices], 2, 0).swapaxes(1, 2)
    arms = jnp.tensordot(by_betas, pose.betas, axes=1, precision=_HIGHEST)
    arms += body.template_planar[:, vertices].T[..., None] - pose.rest_joints[bones]
    turned = kinematics.turn(pose.rotations[bones], arms)
    turned_by_betas = kinematics.product(pose.rotations[bones], (by_betas - basis[bones])[..., None])
    joints = pose.joints[carriers]
    order = np.cumsum(is_vertex) * is_vertex

    def with_arms(at_joint: Array, arm: Array) -> Array:
        # Row 0, no arm, for the keypoints that are joints.
        return at_joint + jnp.concatenate([jnp.zeros_like(arm[:1]), arm])[order] if len(vertices) else at_joint

    return with_arms(joints, turned), with_arms(joints_by_betas[carriers], turned_by_betas)


def _joints_by_betas(body: BodyModel, pose: _Pose) -> Float[Array, "J 3 C B"]:
    """Derivative of the posed joints with respect to the shape.

    x_j = x_parent + G_parent (t_j - t_parent), where the rest joints t are linear in the betas.
    """
    basis = jnp.moveaxis(body.joint_shape_basis, 0, -1)
    parents = np.array(body.parents[1:], int)
    step = kinematics.product(pose.rotations[parents], (basis[1:] - basis[parents])[..., None])
    step = jnp.concatenate([jnp.broadcast_to(basis[:1, ..., None], (1, *basis.shape[1:], step.shape[-1])), step])
    descends = jnp.asarray(kinematics.ancestor_mask(body.parents), step.dtype)
    return jnp.tensordot(descends, step, axes=1, precision=_HIGHEST)


def _skinned(
    model: PointModel,
    pose: _Pose,
    axes: Float[Array, "J 3 3 B"],
    tangents: Float[Array, "J 3 3 B"],
    joints_by_betas: Float[Array, "J 3 C B"],
) -> tuple[Float[Array, "S 3 B"], Float[Array, "S 3 P B"]]:
    """Keypoints made of vertices, relative to the translation, and their derivative by the vector."""
    body, regressor = model.body, _skinned_regressor(model)
    batch, num_joints = pose.joints.shape[-1], body.num_joints
    if not len(regressor):
        empty = jnp.zeros((0, 3, batch), regressor.dtype)
        return empty, jnp.zeros((0, 3, variables.Layout.of(body).size, batch), regressor.dtype)
    descends = jnp.asarray(kinematics.ancestor_mask(body.parents), regressor.dtype)
    mixed = np.array(model.mixed_joints, int)
    weights = body.skinning_weights
    offsets = jnp.tensordot(body.blend_basis, pose.features, axes=((0,), (0,)), precision=_HIGHEST)
    rest = jnp.swapaxes(body.template_planar[..., None] + offsets, 0, 1)

    # carried[a, n]: node n by as much as joint a carries it, which is through all joints below a.
    shift = pose.joints - kinematics.turn(pose.rotations, pose.rest_joints)
    moved = [pose.rotations[:, None, :, k] * rest[None, :, k, None] for k in range(3)]
    moved = (moved[0] + moved[1] + moved[2] + shift[:, None]) * weights.T[..., None, None]
    carried = jnp.tensordot(descends, moved, axes=((0,), (0,)), precision=_HIGHEST)
    share = jnp.matmul(descends.T, weights.T, precision=_HIGHEST)
    if mixed.size:
        hangs = descends[mixed].T
        carried = jnp.concatenate([hangs[..., None, None] * pose.joints[mixed], carried], 1)
        share = jnp.concatenate([hangs, share], 1)
    carried = jnp.tensordot(regressor, carried, axes=((1,), (1,)), precision=_HIGHEST)
    share = jnp.matmul(regressor, share.T, precision=_HIGHEST)
    points = carried[:, 0]
    arms = carried - share[..., None, None] * pose.joints
    by_angles = kinematics.cross(axes[None], arms[:, :, :, None], 2)

    # The same blend of rotations turns what the blend shapes add to a vertex.
    blended = jnp.tensordot(weights, pose.rotations, axes=1, precision=_HIGHEST)
    by_vertex = regressor[:, mixed.size :]
    if body.pose_basis_planar is not None:
        moved = kinematics.product(blended, _rest_by_angles(body, pose, tangents))
        moved = jnp.tensordot(by_vertex, moved, axes=1, precision=_HIGHEST)
        moved = jnp.swapaxes(moved.reshape(len(moved), 3, num_joints - 1, 3, batch), 1, 2)
        by_angles += jnp.pad(moved, ((0, 0), (1, 0), (0, 0), (0, 0), (0, 0)))
    basis = jnp.moveaxis(body.joint_shape_basis, 0, -1)[..., None]
    fixed = joints_by_betas - kinematics.product(pose.rotations, basis)
    vertex_basis = jnp.transpose(body.shape_basis_planar, (2, 1, 0))[..., None]
    by_betas = jnp.tensordot(weights, fixed, axes=1, precision=_HIGHEST) + kinematics.product(blended, vertex_basis)
    by_betas = jnp.tensordot(by_vertex, by_betas, axes=1, precision=_HIGHEST)
    if mixed.size:
        by_betas += jnp.tensordot(regressor[:, : mixed.size], joints_by_betas[mixed], axes=1, precision=_HIGHEST)

    by_transl = jnp.sum(regressor, -1)[:, None, None, None] * jnp.eye(3, dtype=regressor.dtype)[..., None]
    by_transl = jnp.broadcast_to(by_transl, (len(regressor), 3, 3, batch))
    by_angles = jnp.swapaxes(by_angles, 1, 2).reshape(len(regressor), 3, 3 * num_joints, batch)
    return points, jnp.concatenate([by_transl, by_angles[:, :, :3], by_betas, by_angles[:, :, 3:]], 2)


def _rest_by_angles(body: BodyModel, pose: _Pose, tangents: Float[Array, "J 3 3 B"]) -> Float[Array, "V 3 Q B"]:
    """Derivative of rest-pose vertices, through the pose blend shapes, by the angles of all joints but the root."""
    basis = body.blend_basis[-9 * (body.num_joints - 1) :].reshape(body.num_joints - 1, 9, 3, -1)
    # d R / d angle_c = skew(tangent[:, c]) R, column by column of R
    change = kinematics.cross(tangents[1:, :, :, None], pose.local[1:, :, None], 1)
    change = jnp.transpose(change, (0, 1, 3, 2, 4)).reshape(len(basis), 9, 3, -1)
    by_angles = jnp.einsum("jqiv,jqcb->vijcb", basis, change, precision=_HIGHEST)
    return by_angles.reshape(*by_angles.shape[:2], -1, by_angles.shape[-1])
