"""The vector a fit solves for, and the body's keypoints as a function of it, with their Jacobian.

One person at a time; callers `vmap`. The vector holds, in this order, the translation, a rotation vector that
turns the start orientation from the outside, the shape, and the axis-angle rotations of all joints but the
root. Turning the start orientation, instead of the axis-angle of the root itself, keeps people who face the
camera (a turn by pi in camera axes) away from the singular point of axis-angle.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import lax

from hardmo_jax.array_types import Array, Bool, Float
from hardmo_jax.body import kinematics, skinning
from hardmo_jax.body.families import FAMILIES
from hardmo_jax.body.landmarks import PointModel
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams, split_pose
from hardmo_jax.geometry import rotations

_HIGHEST = lax.Precision.HIGHEST


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """Where each group of parameters stands in the vector."""

    num_betas: int
    family: str
    num_joints: int

    @classmethod
    def of(cls, body: BodyModel) -> "Layout":
        """Layout for a body model."""
        return cls(num_betas=body.num_betas, family=body.family, num_joints=body.num_joints)

    @property
    def size(self) -> int:
        """Length of the vector."""
        return 6 + self.num_betas + 3 * (self.num_joints - 1)

    @property
    def pose_start(self) -> int:
        """First entry of the joint rotations."""
        return 6 + self.num_betas

    def group_mask(self, groups: tuple[str, ...]) -> Bool[np.ndarray, "P"]:
        """Entries that belong to any of the named groups."""
        ranges = {"transl": [(0, 3)], "global_orient": [(3, 6)], "betas": [(6, self.pose_start)], "hand_pose": []}
        start = self.pose_start
        for field, count in FAMILIES[self.family].pose_groups:
            group = "hand_pose" if field.endswith("hand_pose") else field
            ranges.setdefault(group, []).append((start, start + 3 * count))
            start += 3 * count
        mask = np.zeros(self.size, bool)
        for group in groups:
            for first, stop in ranges[group]:
                mask[first:stop] = True
        return mask

    def to_params(self, vector: Float[Array, "*batch P"], orient: Float[Array, "*batch 3 3"]) -> BodyParams:
        """Body parameters of a vector and the start orientation it turns."""
        batch = vector.shape[:-1]
        pose = vector[..., self.pose_start :].reshape(*batch, self.num_joints - 1, 3)
        turn = rotations.axis_angle_to_matrix(vector[..., 3:6])
        return BodyParams(
            betas=vector[..., 6 : self.pose_start],
            global_orient=rotations.matrix_to_axis_angle(rotations.compose(turn, orient)),
            transl=vector[..., :3],
            expression=jnp.zeros((*batch, 0), vector.dtype) if FAMILIES[self.family].expression_start else None,
            **split_pose(self.family, pose),
        )

    def from_params(self, params: BodyParams) -> tuple[Float[Array, "*batch P"], Float[Array, "*batch 3 3"]]:
        """Vector and start orientation of body parameters."""
        batch = params.batch_shape
        pose = params.full_pose()[..., 1:, :].reshape(*batch, -1)
        vector = jnp.concatenate([params.transl, jnp.zeros_like(params.transl), params.betas, pose], -1)
        return vector, rotations.axis_angle_to_matrix(params.global_orient)


def keypoints(model: PointModel, orient: Float[Array, "3 3"], vector: Float[Array, "P"]) -> Float[Array, "K 3"]:
    """Keypoints of one person in metres, camera frame."""
    return _forward(model, orient, vector)[0]


def keypoints_and_jacobian(
    model: PointModel, orient: Float[Array, "3 3"], vector: Float[Array, "P"]
) -> tuple[Float[Array, "K 3"], Float[Array, "K 3 P"]]:
    """Keypoints and their exact derivative with respect to the vector.

    Written out instead of differentiated: turning joint `a` moves a point `p` that hangs on it by
    `omega x (p - x_a)`, so all columns come from one masked product, which costs a few forward passes where
    forward-mode differentiation costs one a column.

    References:
        The geometric Jacobian of robotics, e.g. Siciliano et al., "Robotics", 2009, section 3.1.
    """
    points, state = _forward(model, orient, vector)
    body = model.body
    weights, moved = state["weights"], state["moved"]
    # moved[n, k]: point n as carried by joint k. Per ancestor a: weighted sum over the joints k below a.
    descends = jnp.asarray(kinematics.ancestor_mask(body.parents), vector.dtype)
    weighted = weights[:, None, :] * jnp.swapaxes(moved, 1, 2)
    carried = jnp.matmul(weighted, descends, precision=_HIGHEST)
    share = jnp.matmul(weights, descends, precision=_HIGHEST)
    arms = jnp.swapaxes(carried, 1, 2) - share[..., None] * state["joints"][None]
    arms = jnp.tensordot(model.regressor, arms, axes=1, precision=_HIGHEST)

    # A change d of the axis-angle of joint a turns everything below by G_parent(a) left_jacobian(a) d.
    angles = jnp.concatenate([vector[None, 3:6], vector[Layout.of(body).pose_start :].reshape(-1, 3)])
    tangent = rotations.left_jacobian(angles)
    parents = np.array(body.parents)
    above = jnp.concatenate([jnp.eye(3, dtype=vector.dtype)[None], state["rotations"][parents[1:]]])
    axes = rotations.compose(above, tangent)
    # column c of joint a: axes[a, :, c] x arms[k, a]
    by_angle = jnp.cross(jnp.swapaxes(axes, -1, -2)[None], arms[:, :, None, :], axis=-1)

    by_beta = _shape_jacobian(body, state)
    if body.pose_basis_planar is not None:
        by_angle += _pose_blend_jacobian(model, state, tangent)
    by_beta = jnp.tensordot(model.regressor, by_beta, axes=1, precision=_HIGHEST)
    by_translation = jnp.sum(model.regressor, -1)[:, None, None] * jnp.eye(3, dtype=vector.dtype)
    by_angle = jnp.moveaxis(by_angle.reshape(by_angle.shape[0], -1, 3), -1, 1)
    jacobian = jnp.concatenate([by_translation, by_angle[..., :3], by_beta, by_angle[..., 3:]], -1)
    return points, jacobian


def _forward(
    model: PointModel, orient: Float[Array, "3 3"], vector: Float[Array, "P"]
) -> tuple[Float[Array, "K 3"], dict[str, Array]]:
    """Keypoints, and what the Jacobian is made of."""
    body = model.body
    start = Layout.of(body).pose_start
    betas = vector[6:start]
    turn = rotations.axis_angle_to_matrix(vector[3:6])
    local = rotations.axis_angle_to_matrix(vector[start:].reshape(-1, 3))
    local = jnp.concatenate([rotations.compose(turn, orient)[None], local])
    rest_joints = skinning.shape_joints(body.joint_template, body.joint_shape_basis, betas)
    global_rotations, joints = kinematics.joint_transforms(body.parents, local, rest_joints)

    vertices = skinning.shape_vertices(body.template_planar, body.shape_basis_planar, betas)
    if body.pose_basis_planar is not None:
        vertices += skinning.pose_offsets(body.pose_basis_planar, skinning.pose_features(local))
    # A joint is a point that hangs on its parent, so joints and landmarks are treated alike.
    parents = np.array(body.parents)
    joint_weights = np.zeros((len(parents), len(parents)), np.float32)
    joint_weights[np.arange(len(parents)), np.maximum(parents, 0)] = 1
    weights = jnp.concatenate([jnp.asarray(joint_weights, vector.dtype), body.skinning_weights])
    rest = jnp.concatenate([rest_joints, vertices.T])
    # R_k (p - t_k) + x_k for every point and joint, as one product.
    turned = jnp.matmul(rest, global_rotations.reshape(-1, 3).T, precision=_HIGHEST)
    shift = joints - rotations.rotate(global_rotations, rest_joints)
    moved = turned.reshape(len(rest), -1, 3) + shift[None]
    points = jnp.sum(weights[..., None] * moved, 1)
    points = jnp.matmul(model.regressor, points, precision=_HIGHEST)
    points += jnp.sum(model.regressor, -1, keepdims=True) * vector[:3]
    state = {
        "rotations": global_rotations,
        "local": local,
        "joints": joints,
        "weights": weights,
        "moved": moved,
    }
    return points, state


def _shape_jacobian(body: BodyModel, state: dict[str, Array]) -> Float[Array, "N 3 S"]:
    """Derivative of joints and landmarks with respect to the shape."""
    rotations_global, weights = state["rotations"], state["weights"]
    basis = jnp.moveaxis(body.joint_shape_basis, 0, -1)
    parents = np.array(body.parents)
    # Joint positions: x_j = x_parent + G_parent (t_j - t_parent), and t is linear in betas.
    step = basis[1:] - basis[parents[1:]]
    step = rotations.compose(rotations_global[parents[1:]], step)
    step = jnp.concatenate([basis[:1], step])
    descends = jnp.asarray(kinematics.ancestor_mask(body.parents), step.dtype)
    joints = jnp.tensordot(descends, step, axes=1, precision=_HIGHEST)
    # Point n carried by joint k: x_k + G_k (v_n - t_k).
    fixed = joints - rotations.compose(rotations_global, basis)
    landmark_basis = jnp.transpose(body.shape_basis_planar, (2, 1, 0))
    rest = jnp.concatenate([basis, landmark_basis])
    blended = jnp.einsum("nk,kij->nij", weights, rotations_global, precision=_HIGHEST)
    return jnp.tensordot(weights, fixed, axes=1, precision=_HIGHEST) + jnp.matmul(blended, rest, precision=_HIGHEST)


def _pose_blend_jacobian(
    model: PointModel, state: dict[str, Array], tangent: Float[Array, "J 3 3"]
) -> Float[Array, "K J 3 3"]:
    """Derivative of the keypoints through the pose blend shapes; last axes are the angle and the coordinate."""
    body = model.body
    if body.pose_basis_planar is None:
        raise ValueError("the body has no pose blend shapes")
    num_joints = body.num_joints
    # d R / d angle_c = skew(tangent[:, c]) R
    turn = rotations.skew(jnp.swapaxes(tangent[1:], -1, -2))
    change = jnp.matmul(turn, state["local"][1:, None], precision=_HIGHEST)
    change = change.reshape(num_joints - 1, 3, 9)
    basis = body.pose_basis_planar.reshape(num_joints - 1, 9, 3, -1)
    vertices = jnp.einsum("jcq,jqil->ljci", change, basis, precision=_HIGHEST)
    blended = jnp.einsum("lk,kih->lih", body.skinning_weights, state["rotations"], precision=_HIGHEST)
    turned = jnp.einsum("lih,ljch->ljci", blended, vertices, precision=_HIGHEST)
    landmarks_only = model.regressor[:, num_joints:]
    moved = jnp.einsum("kl,ljci->kjci", landmarks_only, turned, precision=_HIGHEST)
    return jnp.concatenate([jnp.zeros_like(moved[:, :1]), moved], 1)
