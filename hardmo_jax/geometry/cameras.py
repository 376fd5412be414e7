"""The camera of a picture, and projection by it.

One convention: OpenCV axes (x right, y down, z forward), pixels of the full image, no lens distortion,
the centre of the top-left pixel at (0, 0). Points arrive in the camera frame, in metres.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import AnyArray, Array, Float

#: Points nearer than this (metres) are projected as if they were this far, so that gradients stay finite.
MIN_DEPTH = 0.05


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Camera:
    """Pinhole camera of one picture, or of a batch of them."""

    focal_length: Float[AnyArray, "*batch 2"]
    """(fx, fy) in pixels of the full image."""
    principal_point: Float[AnyArray, "*batch 2"]
    """(cx, cy) in pixels of the full image."""


def camera_from_image_size(width: int, height: int, *, field_of_view_degrees: float | int | None = None) -> Camera:
    """Camera for a picture of which only the size is known.

    Args:
        width: Image width in pixels.
        height: Image height in pixels.
        field_of_view_degrees: Angle seen across the image diagonal. None takes the focal length equal to
            the diagonal in pixels (a diagonal angle of 53.1 degrees), as CLIFF does.

    Returns:
        Camera with the principal point at the image centre.

    Raises:
        ValueError: If a size is not positive or the angle is outside (0, 180).

    References:
        Li et al., "CLIFF: Carrying Location Information in Full Frames", ECCV 2022, section 3.2.
    """
    if width <= 0 or height <= 0:
        raise ValueError(f"image size must be positive, got {width} x {height}")
    diagonal = math.hypot(width, height)
    if field_of_view_degrees is None:
        focal_length = diagonal
    elif 0 < field_of_view_degrees < 180:
        focal_length = 0.5 * diagonal / math.tan(math.radians(0.5 * field_of_view_degrees))
    else:
        raise ValueError(f"`field_of_view_degrees` must be in (0, 180), got {field_of_view_degrees}")
    return Camera(
        focal_length=np.full((2,), focal_length, np.float32),
        principal_point=np.array([0.5 * (width - 1), 0.5 * (height - 1)], np.float32),
    )


def project_points(camera: Camera, points_camera: Float[AnyArray, "*batch K 3"]) -> Float[Array, "*batch K 2"]:
    """Image position of points given in the camera frame.

    Args:
        camera: Camera whose batch axes broadcast against those of the points.
        points_camera: Metres, OpenCV axes.

    Returns:
        Pixels of the full image.

    Notes:
        Depth below `MIN_DEPTH` is clamped; the gradient with respect to depth is zero there.
    """
    points_camera = jnp.asarray(points_camera)
    depth = jnp.maximum(points_camera[..., 2:3], MIN_DEPTH)
    focal_length = jnp.asarray(camera.focal_length)[..., None, :]
    principal_point = jnp.asarray(camera.principal_point)[..., None, :]
    return points_camera[..., :2] / depth * focal_length + principal_point
