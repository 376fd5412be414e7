"""Parts of linear systems solved away by Cholesky's factorisation alone.

Triangular solves with many right sides take several times as long as a factorisation on a CPU (jaxlib 0.10.2). But the
rows of a factor below its first block are what such a solve gives, so that right sides are put there.
"""

import jax.numpy as jnp
from jax import lax

from hardmo_jax.array_types import Array, Float

_HIGHEST = lax.Precision.HIGHEST
#: Larger than anything that is subtracted from it.
LARGE_PIVOT = 1e30


def eliminated(
    block: Float[Array, "F F"], below: Float[Array, "G F"]
) -> tuple[Float[Array, "F F"], Float[Array, "G F"]]:
    """Lower factor L of a positive definite block, and B L^-T of the rows B below it, by one factorisation of both."""
    size, rows = len(block), len(below)
    corner = LARGE_PIVOT * jnp.eye(rows, dtype=block.dtype)
    whole = jnp.block([[block, jnp.zeros((size, rows), block.dtype)], [below, corner]])
    factor = lax.linalg.cholesky(whole, symmetrize_input=False)
    return factor[:size, :size], factor[size:, :size]


def inverse(matrix: Float[Array, "E E"]) -> Float[Array, "E E"]:
    """Inverse of a positive definite matrix."""
    _, half = eliminated(matrix, jnp.eye(len(matrix), dtype=matrix.dtype))
    return jnp.matmul(half, half.T, precision=_HIGHEST)
