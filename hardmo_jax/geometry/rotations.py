"""Rotations: axis-angle and matrices, with derivatives of every order finite at the identity.

Right-handed, active rotations of column vectors. Both branches of every `where` are finite, so that reverse
and forward mode stay finite at angle zero, alone or in a row of a batch.
"""

import jax.numpy as jnp
from jax import lax

from hardmo_jax.array_types import Array, Float

#: Squared angle below which the series are used: there the closed forms lose digits to cancellation.
_SERIES_BELOW = 0.25
# Taylor coefficients in the squared angle. Eight terms leave an error under 1e-16 at the switch.
_SINE_OVER_ANGLE = (1.0, -1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800, 1 / 6227020800)
_ONE_MINUS_COSINE_OVER_SQUARE = (
    1 / 2, -1 / 24, 1 / 720, -1 / 40320, 1 / 3628800, -1 / 479001600, 1 / 87178291200,
)  # fmt: skip
_ANGLE_MINUS_SINE_OVER_CUBE = (
    1 / 6, -1 / 120, 1 / 5040, -1 / 362880, 1 / 39916800, -1 / 6227020800, 1 / 1307674368000,
)  # fmt: skip


def _polynomial(coefficients: tuple[float, ...], x: Float[Array, "..."]) -> Float[Array, "..."]:
    value = jnp.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value


def _angle_functions(
    squared_angle: Float[Array, "*batch"],
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"], Float[Array, "*batch"]]:
    """sin(a)/a, (1 - cos(a))/a^2 and (a - sin(a))/a^3 of a squared angle."""
    is_small = squared_angle < _SERIES_BELOW
    small = jnp.where(is_small, squared_angle, 0.0)
    large = jnp.where(is_small, 1.0, squared_angle)
    angle = jnp.sqrt(large)
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    return (
        jnp.where(is_small, _polynomial(_SINE_OVER_ANGLE, small), sine / angle),
        jnp.where(is_small, _polynomial(_ONE_MINUS_COSINE_OVER_SQUARE, small), (1 - cosine) / large),
        jnp.where(is_small, _polynomial(_ANGLE_MINUS_SINE_OVER_CUBE, small), (angle - sine) / (angle * large)),
    )


def compose(outer: Float[Array, "*#batch 3 3"], inner: Float[Array, "*#batch 3 N"]) -> Float[Array, "*#batch 3 N"]:
    """Product of 3 x 3 matrices with matrices of three rows, as multiplications and sums.

    Not `jnp.matmul`: on accelerators that rounds its inputs by default, and XLA 0.10 for the CPU fails to
    compile it under nested `vmap` ("Expected instruction to have shape equal to").
    """
    return jnp.sum(outer[..., :, :, None] * inner[..., None, :, :], -2)


def rotate(matrix: Float[Array, "*#batch 3 3"], vector: Float[Array, "*#batch 3"]) -> Float[Array, "*#batch 3"]:
    """Vectors turned by matrices."""
    return jnp.sum(matrix * vector[..., None, :], -1)


def skew(vector: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """Matrix of the cross product: `skew(a) @ b == cross(a, b)`."""
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    zero = jnp.zeros_like(x)
    rows = [jnp.stack(row, -1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    return jnp.stack(rows, -2)


def axis_angle_to_matrix(axis_angle: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """Rotation matrix of an axis-angle vector (Rodrigues' formula).

    Args:
        axis_angle: Axis times angle, radians; any angle.

    Returns:
        Orthonormal matrices with determinant one.

    Notes:
        No constant is added to the angle, as common PyTorch implementations do: the value at zero is exact.
    """
    squared_angle = jnp.sum(axis_angle * axis_angle, -1)
    sine, cosine, _ = _angle_functions(squared_angle)
    outer = axis_angle[..., :, None] * axis_angle[..., None, :]
    # R = cos(a) I + sinc(a) [w] + (1 - cos(a))/a^2 w w^T, with cos(a) = 1 - a^2 (1 - cos(a))/a^2.
    diagonal = (1 - squared_angle * cosine)[..., None, None] * jnp.eye(3, dtype=axis_angle.dtype)
    return diagonal + sine[..., None, None] * skew(axis_angle) + cosine[..., None, None] * outer


def left_jacobian(axis_angle: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """How a change of an axis-angle vector turns the rotation, seen from the outside.

    `exp(w + d) = exp(left_jacobian(w) @ d) exp(w)` to first order in `d`.

    References:
        Sola et al., "A micro Lie theory for state estimation in robotics", 2018, eq. 145.
    """
    squared_angle = jnp.sum(axis_angle * axis_angle, -1)
    sine, cosine, cubic = _angle_functions(squared_angle)
    outer = axis_angle[..., :, None] * axis_angle[..., None, :]
    return (
        sine[..., None, None] * jnp.eye(3, dtype=axis_angle.dtype)
        + cosine[..., None, None] * skew(axis_angle)
        + cubic[..., None, None] * outer
    )


def matrix_to_axis_angle(matrix: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 3"]:
    """Axis-angle vector of a rotation matrix, with an angle in [0, pi].

    The matrix is read as a unit quaternion first (the branch with the largest component, so that angles near
    pi keep their digits). At exactly pi the sign of the axis is arbitrary.

    Args:
        matrix: Orthonormal matrices with determinant one.

    Returns:
        Axis times angle, radians.

    References:
        Shepperd, "Quaternion from rotation matrix", 1978.
    """
    m = [[matrix[..., i, j] for j in range(3)] for i in range(3)]
    # Squares of the quaternion's components times four; the largest is at least one.
    squares = jnp.stack(
        [
            1 + m[0][0] + m[1][1] + m[2][2],
            1 + m[0][0] - m[1][1] - m[2][2],
            1 - m[0][0] + m[1][1] - m[2][2],
            1 - m[0][0] - m[1][1] + m[2][2],
        ],
        -1,
    )
    a, b, c = m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]
    d, e, f = m[1][0] + m[0][1], m[2][0] + m[0][2], m[2][1] + m[1][2]
    candidates = jnp.stack(
        [
            jnp.stack([squares[..., 0], a, b, c], -1),
            jnp.stack([a, squares[..., 1], d, e], -1),
            jnp.stack([b, d, squares[..., 2], f], -1),
            jnp.stack([c, e, f, squares[..., 3]], -1),
        ],
        -2,
    )
    largest = jnp.argmax(lax.stop_gradient(squares), -1)
    quaternion = jnp.take_along_axis(candidates, largest[..., None, None], -2)[..., 0, :]
    quaternion = quaternion / jnp.sqrt(jnp.sum(quaternion * quaternion, -1, keepdims=True))
    # q and -q are the same rotation: the one with w >= 0 has its angle in [0, pi].
    quaternion = quaternion * jnp.where(quaternion[..., :1] < 0, -1.0, 1.0)
    w, xyz = quaternion[..., 0], quaternion[..., 1:]
    squared_sine = jnp.sum(xyz * xyz, -1)
    is_small = squared_sine < 1e-8
    sine = jnp.sqrt(jnp.where(is_small, 1.0, squared_sine))
    angle_over_sine = 2 * jnp.arctan2(sine, jnp.where(is_small, 1.0, w)) / sine
    # asin(s)/s = 1 + s^2/6 + ...; times two because the quaternion holds half the angle.
    series = 2 + squared_sine / 3
    return xyz * jnp.where(is_small, series, angle_over_sine)[..., None]
