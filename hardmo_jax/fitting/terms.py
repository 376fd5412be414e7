"""Residual terms of a fit: small pure functions of one keypoint or of the parameter vector.

A term returns residuals in standard deviations, never a reduced scalar, so that Adam and
Levenberg-Marquardt share it: the cost is half the sum of squared residuals. Robustness is part of the residual.
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


def reprojection(
    point_camera: Float[Array, "3"],
    keypoint_2d: Float[Array, "2"],
    focal_length: Float[Array, "2"],
    principal_point: Float[Array, "2"],
    box_side: Float[Array, ""],
    robust_scale: Float[Array, ""],
) -> Float[Array, "2"]:
    """Robust reprojection error of one keypoint, in box sides.

    Args:
        point_camera: Fitted keypoint, metres, camera frame.
        keypoint_2d: Measured keypoint, pixels.
        focal_length: Pixels.
        principal_point: Pixels.
        box_side: Longer side of the person's box, pixels.
        robust_scale: Geman-McClure scale, box sides.
    """
    depth = jnp.maximum(point_camera[2], MIN_DEPTH)
    pixels = point_camera[:2] / depth * focal_length + principal_point
    return geman_mcclure((pixels - keypoint_2d) / box_side, robust_scale)


def position_3d(
    point: Float[Array, "3"], keypoint_3d: Float[Array, "3"], robust_scale: Float[Array, ""]
) -> Float[Array, "3"]:
    """Robust distance of one 3D keypoint, metres."""
    return geman_mcclure(point - keypoint_3d, robust_scale)


def gaussian(value: Float[Array, "D"], mean: Float[Array, "D"], spread: Float[Array, "D"]) -> Float[Array, "D"]:
    """Deviation from a diagonal Gaussian, standard deviations."""
    return (value - mean) / spread


def outside_limits(
    angle: Float[Array, "D"], low: Float[Array, "D"], high: Float[Array, "D"], spread: float
) -> Float[Array, "D"]:
    """How far angles overstep their limits, in units of `spread`; zero inside. Radians."""
    return (jnp.maximum(angle - high, 0) + jnp.minimum(angle - low, 0)) / spread
