"""Rotations: axis-angle, matrices and quaternions, with finite derivatives everywhere.

Right-handed, active rotations of column vectors. Quaternions are (w, x, y, z) with Hamilton's product, so that the
product of two quaternions, like that of two matrices, turns by the right one first. Both branches of every `where`
are finite, so that reverse and forward mode stay finite at angles zero and pi and for input without a direction,
alone or in a row of a batch.
"""

import jax.numpy as jnp
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Float

#: Squared angle below which the series are used: there the closed forms lose digits to cancellation.
_SERIES_BELOW = 0.25
# Taylor coefficients in the squared angle. Seven terms leave an error under 1e-16 at the switch.
_SINE_OVER_ANGLE = (1.0, -1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800, 1 / 6227020800)
_ONE_MINUS_COSINE_OVER_SQUARE = (
    1 / 2, -1 / 24, 1 / 720, -1 / 40320, 1 / 3628800, -1 / 479001600, 1 / 87178291200,
)  # fmt: skip
_ANGLE_MINUS_SINE_OVER_CUBE = (
    1 / 6, -1 / 120, 1 / 5040, -1 / 362880, 1 / 39916800, -1 / 6227020800, 1 / 1307674368000,
)  # fmt: skip

#: Squared sine below which the arc sine is a series: the derivatives of `arctan2(s, w) / s` lose digits by 1/s^2.
_ARCSINE_SERIES_BELOW = 1 / 64
# asin(s)/s in the squared sine. Eight terms leave an error under 1e-16 at the switch.
_ARCSINE_OVER_SINE = (1.0, 1 / 6, 3 / 40, 5 / 112, 35 / 1152, 63 / 2816, 231 / 13312, 143 / 10240)


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
    first, second, third = (outer[..., :, k, None] * inner[..., None, k, :] for k in range(3))
    return first + second + third


def rotate(matrix: Float[Array, "*#batch 3 3"], vector: Float[Array, "*#batch 3"]) -> Float[Array, "*#batch 3"]:
    """Vectors turned by matrices.

    Three products and not a sum over an axis: with something added to it, XLA of jaxlib 0.10.2 for the CPU compiles
    that sum wrongly from about 32,768 numbers on (jax issue 39103).
    """
    first, second, third = (matrix[..., k] * vector[..., k, None] for k in range(3))
    return first + second + third


def skew(vector: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """Matrix of the cross product: `skew(a) @ b == cross(a, b)`."""
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    zero = jnp.zeros_like(x)
    rows = [jnp.stack(row, -1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    return jnp.stack(rows, -2)


def rotation_entries(
    x: Float[Array, "*shape"], y: Float[Array, "*shape"], z: Float[Array, "*shape"]
) -> tuple[tuple[Float[Array, "*shape"], ...], ...]:
    """Entries of the rotation matrix of an axis-angle vector, row by row (Rodrigues' formula).

    For callers that keep the entries apart, in arrays of any shape; `axis_angle_to_matrix` is the same as one array.

    Args:
        x: First component of axis times angle, radians; any angle.
        y: Second component.
        z: Third component.

    Notes:
        No constant is added to the angle, as common PyTorch implementations do: the value at zero is exact.
    """
    squared_angle = x * x + y * y + z * z
    sine, cosine, _ = _angle_functions(squared_angle)
    # R = cos(a) I + sinc(a) [w] + (1 - cos(a))/a^2 w w^T, with cos(a) = 1 - a^2 (1 - cos(a))/a^2.
    diagonal = 1 - squared_angle * cosine
    sx, sy, sz = sine * x, sine * y, sine * z
    cx, cy, cz = cosine * x, cosine * y, cosine * z
    return (
        (diagonal + cx * x, cx * y - sz, cx * z + sy),
        (cx * y + sz, diagonal + cy * y, cy * z - sx),
        (cx * z - sy, cy * z + sx, diagonal + cz * z),
    )


def axis_angle_to_matrix(axis_angle: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """Rotation matrix of an axis-angle vector.

    Args:
        axis_angle: Axis times angle, radians; any angle.

    Returns:
        Orthonormal matrices with determinant one.
    """
    rows = rotation_entries(axis_angle[..., 0], axis_angle[..., 1], axis_angle[..., 2])
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


def left_jacobian_entries(
    x: Float[Array, "*shape"], y: Float[Array, "*shape"], z: Float[Array, "*shape"]
) -> tuple[tuple[Float[Array, "*shape"], ...], ...]:
    """Entries of `left_jacobian`, row by row, for callers that keep them apart, as `rotation_entries`.

    Args:
        x: First component of axis times angle, radians.
        y: Second component.
        z: Third component.
    """
    sine, cosine, cubic = _angle_functions(x * x + y * y + z * z)
    cx, cy, cz = cosine * x, cosine * y, cosine * z
    tx, ty, tz = cubic * x, cubic * y, cubic * z
    return (
        (sine + tx * x, tx * y - cz, tx * z + cy),
        (tx * y + cz, sine + ty * y, ty * z - cx),
        (tx * z - cy, ty * z + cx, sine + tz * z),
    )


def left_jacobian(axis_angle: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """How a change of an axis-angle vector turns the rotation, seen from the outside.

    `exp(w + d) = exp(left_jacobian(w) @ d) exp(w)` to first order in `d`.

    References:
        Sola et al., "A micro Lie theory for state estimation in robotics", 2018, eq. 145.
    """
    rows = left_jacobian_entries(axis_angle[..., 0], axis_angle[..., 1], axis_angle[..., 2])
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


def unit_vector(vector: Float[AnyArray, "*batch N"], instead: Float[Array, "*#batch N"]) -> Float[Array, "*batch N"]:
    """Vectors brought to length one.

    Args:
        vector: Of any length whose numbers are finite: they are scaled to their largest before they are squared.
        instead: Taken for vectors that have no length, and brought to length one.

    Returns:
        Unit vectors. Derivatives by a vector that was replaced are zero.

    Notes:
        To have no length is to have no component above the cube root of the smallest normal number (2e-13 in
        float32), below which second derivatives overflow.
    """
    # In float32 at least: half precision has no room for the squares.
    given = jnp.asarray(vector)
    vector = given.astype(jnp.promote_types(given.dtype, jnp.float32))
    limits = jnp.finfo(vector.dtype)
    largest = jnp.max(jnp.abs(lax.stop_gradient(vector)), -1, keepdims=True)
    is_short = largest < float(limits.tiny) ** (1 / 3)
    # Bounded because XLA multiplies by the inverse, and the inverse of the largest numbers underflows.
    scale = jnp.where(is_short, 1.0, jnp.minimum(largest, 2.0 ** (limits.maxexp - 4)))
    scaled = jnp.where(is_short, instead, vector / scale)
    return (scaled / jnp.sqrt(jnp.sum(scaled * scaled, -1, keepdims=True))).astype(given.dtype)


def _with_positive_scalar(quaternion: Float[Array, "*batch 4"]) -> Float[Array, "*batch 4"]:
    """The one of q and -q whose first component other than zero is positive."""
    w, x, y, z = (quaternion[..., i] for i in range(4))
    is_negative = (w < 0) | (w == 0) & ((x < 0) | (x == 0) & ((y < 0) | (y == 0) & (z < 0)))
    return quaternion * jnp.where(is_negative, -1.0, 1.0)[..., None]


def matrix_to_quaternion(matrix: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 4"]:
    """Unit quaternion (w, x, y, z) of a rotation matrix, with w >= 0.

    Read off the row of `4 q q^T` with the largest diagonal entry, so that angles near pi keep their digits. At
    exactly pi, where w is zero, the first component other than zero is positive.

    Args:
        matrix: Orthonormal matrices with determinant one. Any other of moderate numbers gives a unit quaternion too; it
            is not projected first, and how it differs from a rotation acts through the one row that is read.

    Returns:
        Quaternions of length one.

    References:
        Shepperd, "Quaternion from rotation matrix", 1978.
    """
    m = [[matrix[..., i, j] for j in range(3)] for i in range(3)]
    # Squares of the quaternion's components times four. Their sum is four: the largest is at least one.
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
    is_largest = jnp.argmax(lax.stop_gradient(squares), -1)[..., None] == jnp.arange(4)
    quaternion = jnp.sum(jnp.where(is_largest[..., None], candidates, 0.0), -2)
    quaternion = quaternion / jnp.sqrt(jnp.sum(quaternion * quaternion, -1, keepdims=True))
    return _with_positive_scalar(quaternion)


def _short_way_to_axis_angle(quaternion: Float[AnyArray, "*batch 4"]) -> Float[Array, "*batch 3"]:
    """Axis-angle vectors of unit quaternions with w >= 0."""
    w, xyz = quaternion[..., 0], quaternion[..., 1:]
    squared_sine = jnp.sum(xyz * xyz, -1)
    is_small = squared_sine < _ARCSINE_SERIES_BELOW
    sine = jnp.sqrt(jnp.where(is_small, 1.0, squared_sine))
    closed_form = jnp.arctan2(sine, jnp.where(is_small, 1.0, w)) / sine
    series = _polynomial(_ARCSINE_OVER_SINE, jnp.where(is_small, squared_sine, 0.0))
    # Times two because the quaternion holds half the angle.
    return xyz * (2 * jnp.where(is_small, series, closed_form))[..., None]


def matrix_to_axis_angle(matrix: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 3"]:
    """Axis-angle vector of a rotation matrix, with an angle in [0, pi] up to rounding.

    The matrix is read as a quaternion first; see `matrix_to_quaternion`. At exactly pi the first component of the
    axis other than zero is positive; rounding near pi may give the opposite axis.

    Args:
        matrix: Orthonormal matrices with determinant one.

    Returns:
        Axis times angle, radians.
    """
    return _short_way_to_axis_angle(matrix_to_quaternion(matrix))


def axis_angle_to_quaternion(axis_angle: Float[Array, "*batch 3"]) -> Float[Array, "*batch 4"]:
    """Unit quaternion (w, x, y, z) of an axis-angle vector: (cos(a/2), axis sin(a/2)).

    Args:
        axis_angle: Axis times angle, radians; any angle.

    Returns:
        Quaternions of length one. The sign follows the angle smoothly, so that w < 0 between pi and 3 pi.
    """
    half = 0.5 * axis_angle
    squared_half = jnp.sum(half * half, -1)
    sine, cosine, _ = _angle_functions(squared_half)
    return jnp.concatenate([(1 - squared_half * cosine)[..., None], sine[..., None] * half], -1)


def _unit_quaternion(quaternion: Float[AnyArray, "*batch 4"]) -> Float[Array, "*batch 4"]:
    return unit_vector(quaternion, jnp.array([1, 0, 0, 0], quaternion.dtype))


def quaternion_to_axis_angle(quaternion: Float[AnyArray, "*batch 4"]) -> Float[Array, "*batch 3"]:
    """Axis-angle vector of a quaternion (w, x, y, z), with an angle in [0, pi] up to rounding.

    Args:
        quaternion: Of any length; q and -q give the same, also at exactly pi, where the first component of the axis
            other than zero is positive. Zero counts as the identity, with zero derivatives.

    Returns:
        Axis times angle, radians.
    """
    return _short_way_to_axis_angle(_with_positive_scalar(_unit_quaternion(quaternion)))


def quaternion_to_matrix(quaternion: Float[AnyArray, "*batch 4"]) -> Float[Array, "*batch 3 3"]:
    """Rotation matrix of a quaternion (w, x, y, z).

    Args:
        quaternion: Of any length: it is normalised, and derivatives along its length are zero. Zero counts as the
            identity, with zero derivatives.

    Returns:
        Orthonormal matrices with determinant one.
    """
    unit = _unit_quaternion(quaternion)
    w, x, y, z = (unit[..., i] for i in range(4))
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


def quaternion_multiply(
    outer: Float[Array, "*#batch 4"], inner: Float[Array, "*#batch 4"]
) -> Float[Array, "*#batch 4"]:
    """Hamilton's product of quaternions (w, x, y, z): of unit ones, the rotation by `inner` and then by `outer`.

    Lengths multiply; nothing is normalised and no sign is chosen.
    """
    a, b, c, d = (outer[..., i] for i in range(4))
    w, x, y, z = (inner[..., i] for i in range(4))
    return jnp.stack(
        [
            a * w - b * x - c * y - d * z,
            a * x + b * w + c * z - d * y,
            a * y - b * z + c * w + d * x,
            a * z + b * y - c * x + d * w,
        ],
        -1,
    )


def quaternion_conjugate(quaternion: Float[Array, "*batch 4"]) -> Float[Array, "*batch 4"]:
    """(w, -x, -y, -z): of a unit quaternion, the inverse rotation."""
    return jnp.concatenate([quaternion[..., :1], -quaternion[..., 1:]], -1)
