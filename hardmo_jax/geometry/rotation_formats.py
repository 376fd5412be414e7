"""Rotations as the six numbers that networks put out, in the two layouts of body regressors.

Both are the first two columns of the matrix; what differs is the order of the numbers, which nothing in the data
shows. A wrong guess gives proper rotations that are wrong, so the functions are named after where a layout is used.
"""

import jax.numpy as jnp
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.geometry import rotations

#: Sine, in units of rounding, of the angle below which two vectors count as parallel: what is left of one across
#: the other is then rounding alone.
_PARALLEL_BELOW = 16


def _columns_to_matrix(first: Float[Array, "*batch 3"], second: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """Rotation matrix whose first two columns are two vectors, orthonormalised in this order (Gram-Schmidt)."""
    b1 = rotations.unit_vector(first, jnp.array([1, 0, 0], first.dtype))
    # Without a length the second vector counts as parallel to the first.
    a2 = rotations.unit_vector(second, b1)

    def across(vector):
        return vector - jnp.sum(b1 * vector, -1, keepdims=True) * b1

    # Twice, because of almost parallel vectors the first difference has a rounding error along b1 of its own size.
    left = across(across(a2))
    is_parallel = jnp.sum(left * left, -1, keepdims=True) < (_PARALLEL_BELOW * float(jnp.finfo(left.dtype).eps)) ** 2
    farthest = jnp.argmin(jnp.abs(lax.stop_gradient(b1)), -1)[..., None] == jnp.arange(3)
    left = jnp.where(is_parallel, across(farthest.astype(left.dtype)), left)
    b2 = left / jnp.sqrt(jnp.sum(left * left, -1, keepdims=True))
    return jnp.stack([b1, b2, jnp.cross(b1, b2)], -1)


def rot6d_spin_to_matrix(rot6d: Float[AnyArray, "*batch 6"]) -> Float[Array, "*batch 3 3"]:
    """Rotation matrix of six numbers as SPIN, CLIFF and BEDLAM lay them out: the two columns interleaved.

    The numbers are the rows of a 3 x 2 matrix, `x.view(-1, 3, 2)` there. Its columns a1 and a2 are orthonormalised
    in this order to b1 and b2, and b3 = b1 x b2.

    Args:
        rot6d: (a1x, a2x, a1y, a2y, a1z, a2z); lengths do not matter.

    Returns:
        Orthonormal matrices with determinant one, also for degenerate input, with finite derivatives: a1 of length
        zero counts as (1, 0, 0); a2 of length zero or parallel to b1 counts as the coordinate axis farthest from b1
        (the first of equals). Six zeros give the identity. Derivatives by a vector that was replaced are zero.

    Notes:
        The sources divide by lengths bounded from below, so that degenerate input gives matrices with columns of
        zeros.
        PyTorch3D's 6D are the first two ROWS of the matrix, one after the other: read by it, numbers in the
        layout of `rot6d_hmr2_to_matrix` give the transpose (the inverse rotation), and numbers in this layout
        give nothing of use.

    References:
        Zhou et al., "On the Continuity of Rotation Representations in Neural Networks", CVPR 2019, appendix B.
        Kolotouros et al., "Learning to Reconstruct 3D Human Pose and Shape via Model-fitting in the Loop", ICCV 2019.
    """
    rot6d = jnp.asarray(rot6d)
    return _columns_to_matrix(rot6d[..., 0::2], rot6d[..., 1::2])


def rot6d_hmr2_to_matrix(rot6d: Float[AnyArray, "*batch 6"]) -> Float[Array, "*batch 3 3"]:
    """Rotation matrix of six numbers as ProHMR and HMR 2.0 lay them out: the first column, then the second.

    `x.reshape(-1, 2, 3).permute(0, 2, 1)` there. All else, degenerate input too, is as in `rot6d_spin_to_matrix`.

    Args:
        rot6d: (a1x, a1y, a1z, a2x, a2y, a2z); lengths do not matter.

    Returns:
        Orthonormal matrices with determinant one.

    Notes:
        PyTorch3D's `rotation_6d_to_matrix` reads the same numbers as ROWS and gives the transpose of this.

    References:
        Goel et al., "Humans in 4D: Reconstructing and Tracking Humans with Transformers", ICCV 2023.
    """
    rot6d = jnp.asarray(rot6d)
    return _columns_to_matrix(rot6d[..., :3], rot6d[..., 3:])


def matrix_to_rot6d_spin(matrix: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 6"]:
    """First two columns of a rotation matrix, interleaved: the layout of `rot6d_spin_to_matrix`."""
    return matrix[..., :2].reshape(*matrix.shape[:-2], 6)


def matrix_to_rot6d_hmr2(matrix: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 6"]:
    """First two columns of a rotation matrix, one after the other: the layout of `rot6d_hmr2_to_matrix`."""
    return jnp.concatenate([matrix[..., 0], matrix[..., 1]], -1)
