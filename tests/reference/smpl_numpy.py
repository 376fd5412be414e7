"""Plain NumPy oracle of SMPL in float64.

Written from Loper et al., "SMPL: A Skinned Multi-Person Linear Model", SIGGRAPH Asia 2015; the
numbers in the docstrings are equations of that paper. One function per stage, one body at a
time, loops where the paper has sums: slow, and easy to check by reading. Metres and radians.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class SmplIntermediates:
    """Every stage of one evaluation."""

    shaped_vertices: np.ndarray
    """(V, 3) metres: template plus shape offsets."""
    rest_joints: np.ndarray
    """(J, 3) metres, from the shaped vertices."""
    rotation_matrices: np.ndarray
    """(J, 3, 3): each joint relative to its parent."""
    pose_offsets: np.ndarray
    """(V, 3) metres; zero without a pose basis."""
    global_transforms: np.ndarray
    """(J, 4, 4): joint frame to model frame, translation not added."""
    joints: np.ndarray
    """(J, 3) metres: posed joints, translation added."""
    vertices: np.ndarray
    """(V, 3) metres: skinned vertices, translation added."""


def shaped_vertices(v_template, shape_basis, betas):
    """Add the shape offsets to the template (Eq. 8).

    Args:
        v_template: (V, 3) metres.
        shape_basis: (V, 3, S) metres per unit of beta.
        betas: (S,), or fewer than the basis has; the rest count as zero.

    Returns:
        (V, 3) metres.
    """
    betas = np.asarray(betas, np.float64)
    basis = np.asarray(shape_basis, np.float64)[..., : len(betas)]
    return np.asarray(v_template, np.float64) + basis @ betas


def rest_joints(joint_regressor, vertices):
    """Regress the joints from shaped vertices (Eq. 10).

    Args:
        joint_regressor: (J, V) dense.
        vertices: Shaped vertices (V, 3) metres.

    Returns:
        (J, 3) metres.
    """
    return np.asarray(joint_regressor, np.float64) @ np.asarray(vertices, np.float64)


def rotation_matrix(axis_angle):
    """Turn one axis-angle vector (3,) in radians into a matrix (3, 3) by Rodrigues (Eq. 1)."""
    axis_angle = np.asarray(axis_angle, np.float64)
    angle = np.linalg.norm(axis_angle)
    if angle == 0.0:
        return np.eye(3)
    x, y, z = axis_angle / angle
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * skew + (1.0 - np.cos(angle)) * skew @ skew


def rotation_matrices(pose):
    """Turn a pose (J, 3) of axis-angle vectors into matrices (J, 3, 3)."""
    return np.stack([rotation_matrix(row) for row in np.asarray(pose).reshape(-1, 3)])


def pose_offsets(pose_basis, rotations, num_vertices):
    """Evaluate the pose blend shapes, which are linear in R - I without the root (Eq. 9).

    Args:
        pose_basis: (V, 3, 9 (J - 1)) metres, or None for a body without pose blend shapes.
        rotations: (J, 3, 3) relative to the parent, the root first.
        num_vertices: V, for the zero offsets when there is no basis.

    Returns:
        (V, 3) metres.
    """
    if pose_basis is None:
        return np.zeros((num_vertices, 3))
    features = (rotations[1:] - np.eye(3)).ravel()
    return np.asarray(pose_basis, np.float64) @ features


def global_transforms(rotations, joints, parents):
    """Chain the joints along the kinematic tree (Eq. 4).

    Args:
        rotations: (J, 3, 3) relative to the parent.
        joints: Rest joints (J, 3) metres.
        parents: J parent indices, parents before children; the root's is negative.

    Returns:
        (J, 4, 4): joint frame to model frame.
    """
    transforms = np.zeros((len(joints), 4, 4))
    for j, parent in enumerate(parents):
        local = np.eye(4)
        local[:3, :3] = rotations[j]
        local[:3, 3] = joints[j] if parent < 0 else joints[j] - joints[parent]
        transforms[j] = local if parent < 0 else transforms[parent] @ local
    return transforms


def skinned_vertices(transforms, joints, vertices, skinning_weights):
    """Blend the joints' rigid motions, rest pose taken out (Eqs. 2, 3, 5).

    Args:
        transforms: Global transforms (J, 4, 4).
        joints: Rest joints (J, 3) metres.
        vertices: Rest vertices with shape and pose offsets (V, 3) metres.
        skinning_weights: (V, J) dense, rows sum to one.

    Returns:
        (V, 3) metres.
    """
    result = np.zeros_like(np.asarray(vertices, np.float64))
    for j, transform in enumerate(transforms):
        moved = (vertices - joints[j]) @ transform[:3, :3].T + transform[:3, 3]
        result += np.asarray(skinning_weights, np.float64)[:, j : j + 1] * moved
    return result


def smpl(
    v_template,
    shape_basis,
    joint_regressor,
    skinning_weights,
    parents,
    *,
    betas,
    pose,
    translation=(0.0, 0.0, 0.0),
    pose_basis=None,
) -> SmplIntermediates:
    """Evaluate SMPL for one body and return all stages (Eq. 6).

    Args:
        v_template: (V, 3) metres.
        shape_basis: (V, 3, S) metres.
        joint_regressor: (J, V) dense.
        skinning_weights: (V, J) dense.
        parents: J parent indices; the root's is negative.
        betas: At most S shape coefficients.
        pose: (J, 3) axis-angle in radians relative to the parent, the root first.
        translation: (3,) metres, added last.
        pose_basis: (V, 3, 9 (J - 1)) metres, or None.

    Returns:
        All stages.
    """
    shaped = shaped_vertices(v_template, shape_basis, betas)
    joints = rest_joints(joint_regressor, shaped)
    rotations = rotation_matrices(pose)
    offsets = pose_offsets(pose_basis, rotations, len(shaped))
    transforms = global_transforms(rotations, joints, parents)
    skinned = skinned_vertices(transforms, joints, shaped + offsets, skinning_weights)
    translation = np.asarray(translation, np.float64)
    return SmplIntermediates(
        shaped_vertices=shaped,
        rest_joints=joints,
        rotation_matrices=rotations,
        pose_offsets=offsets,
        global_transforms=transforms,
        joints=transforms[:, :3, 3] + translation,
        vertices=skinned + translation,
    )
