"""Residual terms of a fit: small pure functions of one keypoint or of the parameter vector.

A term returns residuals in standard deviations, never a reduced scalar, so that Adam and
Levenberg-Marquardt share it: the cost is half the sum of squared residuals. The errors of keypoints are made robust
in two ways that belong together: `geman_mcclure` gives the residual whose square is the robust cost, and
`geman_mcclure_weight` what the plain error is weighted with in the normal equations.
"""

import jax.numpy as jnp

from hardmo_jax.array_types import Array, Float
from hardmo_jax.geometry.cameras import MIN_DEPTH


def geman_mcclure(error: Float[Array, "D"], scale: Float[Array, ""]) -> Float[Array, "D"]:
    """Residual whose squared length is the Geman-McClure function of the error's length.

    `|r|^2 = s^2 e^2 / (s^2 + e^2)`: quadratic for errors well below the scale, flat far above it.

    References:
        Geman & McClure, "Statistical methods for tomographic image reconstruction", 1987; used for keypoints by
        Bogo et al., "Keep it SMPL", ECCV 2016, eq. 2.
    """
    return error * scale / jnp.sqrt(scale * scale + jnp.sum(error * error))


def geman_mcclure_weight(error: Float[Array, "D"], scale: Float[Array, ""]) -> Float[Array, ""]:
    """Factor on an error, and on its Jacobian, in iteratively reweighted least squares.

    `s^2 / (s^2 + e^2)`: its square is the derivative of `|r|^2` of `geman_mcclure` by `e^2`, so weighted errors have
    the gradient of the robust cost. Their Gauss-Newton matrix bounds its curvature from above, where that of the
    robust residual vanishes for far errors and steps overshoot: fits need a third of the steps.

    References:
        Holland & Welsch, "Robust regression using iteratively reweighted least-squares", 1977.
    """
    return scale * scale / (scale * scale + jnp.sum(error * error))


def reprojection(
    point_camera: Float[Array, "3"],
    keypoint_2d: Float[Array, "2"],
    focal_length: Float[Array, "2"],
    principal_point: Float[Array, "2"],
    box_side: Float[Array, ""],
) -> Float[Array, "2"]:
    """Reprojection error of one keypoint, in box sides.

    Args:
        point_camera: Fitted keypoint, metres, camera frame.
        keypoint_2d: Measured keypoint, pixels.
        focal_length: Pixels.
        principal_point: Pixels.
        box_side: Longer side of the person's box, pixels.
    """
    depth = jnp.maximum(point_camera[2], MIN_DEPTH)
    pixels = point_camera[:2] / depth * focal_length + principal_point
    return (pixels - keypoint_2d) / box_side


def gaussian(
    value: Float[Array, "*batch D"], mean: Float[Array, "D"], spread: Float[Array, "D"]
) -> Float[Array, "*batch D"]:
    """Deviation from a diagonal Gaussian, standard deviations."""
    return (value - mean) / spread


def outside_limits(
    angle: Float[Array, "*batch D"], low: Float[Array, "D"], high: Float[Array, "D"], spread: float
) -> Float[Array, "*batch D"]:
    """How far angles overstep their limits, in units of `spread`; zero inside. Radians."""
    return (jnp.maximum(angle - high, 0) + jnp.minimum(angle - low, 0)) / spread
