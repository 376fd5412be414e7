"""Rigid alignment of point sets, without a call to LAPACK, so that it may run inside any batch and any thread."""

import jax.numpy as jnp
from jax import lax

from hardmo_jax.array_types import Array, Float
from hardmo_jax.geometry import rotations

#: Squarings of the matrix whose dominant eigenvector is the rotation: 2^12 power iterations.
_SQUARINGS = 12


def best_rotation(
    source: Float[Array, "K 3"], target: Float[Array, "K 3"], weights: Float[Array, "K"]
) -> Float[Array, "3 3"]:
    """Rotation R that brings centred points nearest to others: it minimises `sum w |R (s - s0) - (t - t0)|^2`.

    Args:
        source: Points that are turned.
        target: Where they should go.
        weights: Non-negative, not all zero.

    Returns:
        A proper rotation. Where several are equally good (points on a line) one of them, or one between them.

    References:
        Horn, "Closed-form solution of absolute orientation using unit quaternions", 1987: the quaternion is the
        eigenvector of the largest eigenvalue of a symmetric 4 x 4 matrix; here by repeated squaring.
    """
    weights = weights / jnp.sum(weights)
    source = source - jnp.matmul(weights, source, precision=lax.Precision.HIGHEST)
    target = target - jnp.matmul(weights, target, precision=lax.Precision.HIGHEST)
    s = jnp.matmul((source * weights[:, None]).T, target, precision=lax.Precision.HIGHEST)
    matrix = jnp.array(
        [
            [s[0, 0] + s[1, 1] + s[2, 2], s[1, 2] - s[2, 1], s[2, 0] - s[0, 2], s[0, 1] - s[1, 0]],
            [s[1, 2] - s[2, 1], s[0, 0] - s[1, 1] - s[2, 2], s[0, 1] + s[1, 0], s[2, 0] + s[0, 2]],
            [s[2, 0] - s[0, 2], s[0, 1] + s[1, 0], s[1, 1] - s[0, 0] - s[2, 2], s[1, 2] + s[2, 1]],
            [s[0, 1] - s[1, 0], s[2, 0] + s[0, 2], s[1, 2] + s[2, 1], s[2, 2] - s[0, 0] - s[1, 1]],
        ]
    )

    def scaled(square):
        return square / jnp.maximum(jnp.sqrt(jnp.sum(square * square)), jnp.finfo(square.dtype).tiny)

    # Shifted by its norm all eigenvalues are positive, and the largest stays the largest.
    matrix = scaled(matrix) + jnp.eye(4, dtype=matrix.dtype)
    matrix = lax.fori_loop(
        0, _SQUARINGS, lambda _, m: scaled(jnp.matmul(m, m, precision=lax.Precision.HIGHEST)), scaled(matrix)
    )
    # Its columns are multiples of the eigenvector; the longest is the most precise.
    quaternion = matrix[:, jnp.argmax(jnp.diagonal(matrix))]
    return rotations.quaternion_to_matrix(quaternion)
