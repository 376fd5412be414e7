"""What every network that looks at a picture of a person puts out, whatever is within."""

import dataclasses
from typing import Literal

import jax

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.geometry import rotation_formats

#: Order of the six numbers of a rotation, named after where it is used; see `geometry.rotation_formats`.
Rot6dLayout = Literal["spin", "hmr2"]
_TO_MATRIX = {
    "spin": rotation_formats.rot6d_spin_to_matrix,
    "hmr2": rotation_formats.rot6d_hmr2_to_matrix,
}
_FROM_MATRIX = {
    "spin": rotation_formats.matrix_to_rot6d_spin,
    "hmr2": rotation_formats.matrix_to_rot6d_hmr2,
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class RegressorOutput:
    """Bodies that a network sees in crops.

    Batch axes lead: one for the crops, and one more for the samples of each where a network draws several. There are
    23 joints of SMPL besides the root, or 21 of SMPL-X, and as many betas as the network has.
    """

    global_orient: Float[AnyArray, "*batch 3 3"]
    """Rotation matrix of the root in the axes of the camera (x right, y down, z forward)."""
    body_pose: Float[AnyArray, "*batch J 3 3"]
    """Rotation matrices of the other joints, relative to their parents."""
    betas: Float[AnyArray, "*batch S"]
    """Shape, standard deviations."""
    weak_camera: Float[AnyArray, "*batch 3"]
    """(s, tx, ty) of the crop: scale without unit, shifts in metres."""
    rot6d: Float[AnyArray, "*batch N 6"] | None = None
    """The six numbers of every rotation, root first, in the layout of the network, before they are orthonormalised."""
    log_prob: Float[AnyArray, "*batch"] | None = None
    """Logarithm of the density of the pose, of networks that have one."""


def output_of_rot6d(
    rot6d: Float[AnyArray, "*batch N"],
    betas: Float[AnyArray, "*batch S"],
    weak_camera: Float[AnyArray, "*batch 3"],
    layout: Rot6dLayout,
    *,
    log_prob: Float[Array, "*batch"] | None = None,
) -> RegressorOutput:
    """Bodies of the numbers that heads put out.

    Args:
        rot6d: Six numbers a joint, root first.
        betas: Shape, standard deviations.
        weak_camera: (s, tx, ty) of the crop.
        layout: Order of the six numbers.
        log_prob: Logarithm of the density of the pose.

    Raises:
        ValueError: If there is no such layout.
    """
    if layout not in _TO_MATRIX:
        raise ValueError(f"`layout` must be one of {', '.join(_TO_MATRIX)}, got {layout!r}")
    numbers = rot6d.reshape(*rot6d.shape[:-1], -1, 6)
    matrices = _TO_MATRIX[layout](numbers)
    return RegressorOutput(
        global_orient=matrices[..., 0, :, :],
        body_pose=matrices[..., 1:, :, :],
        betas=betas,
        weak_camera=weak_camera,
        rot6d=numbers,
        log_prob=log_prob,
    )


def rot6d_of_matrices(matrices: Float[AnyArray, "*batch 3 3"], layout: Rot6dLayout) -> Float[Array, "*batch 6"]:
    """The six numbers that stand for rotations.

    Args:
        matrices: Rotations.
        layout: Order of the six numbers.
    """
    return _FROM_MATRIX[layout](matrices)
