"""Cameras of crops: the weak camera that networks give, and translations before the crop's and the picture's camera.

Networks of HMR's kind see a person in a crop and give a weak camera (s, tx, ty): a point at (x, y) metres from the
root of the body lies at (x + tx, y + ty) s / 2 crop sides from the middle of the crop. Two pinhole cameras go with
it. That of the crop has a long lens (5000 pixels at the resolution of the network) and looks along +z through the
middle of the crop. That of the picture is any `Camera`; the crop only says where in the picture the person is.
Points are in metres with OpenCV axes in both. Boxes are in pixels of the picture, in the picture's own coordinates.

The published code puts the principal point of a picture at half its width and height, this package half a pixel
before (`cameras`). Both are a `Camera` here, and the formulas are the same: `hmr2_camera` and `cliff_camera` are those
of the published code.
"""

import dataclasses

import jax
import jax.numpy as jnp

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.geometry.cameras import MIN_DEPTH, Camera

#: Focal length of HMR's crop camera, pixels at the resolution of the network.
CROP_FOCAL_LENGTH = 5000.0
#: Added to a scale before it divides, as published.
_LEAST_SCALE = 1e-9


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class CropBox:
    """The part of a picture that a network saw, or a batch of them."""

    center: Float[AnyArray, "*batch 2"]
    """(x, y) of the middle, pixels of the picture."""
    size: Float[AnyArray, "*batch"]
    """Side in pixels of the picture; the height where the crop is no square (CLIFF)."""


def crop_transl(
    weak_camera: Float[AnyArray, "*batch 3"],
    *,
    crop_size: float | int,
    focal_length: float | int = CROP_FOCAL_LENGTH,
) -> Float[Array, "*batch 3"]:
    """Translation before the crop's own camera.

    Args:
        weak_camera: (s, tx, ty); `s` without unit, `tx` and `ty` in metres.
        crop_size: Side of the crop in pixels of the network.
        focal_length: Of the crop camera, in the same pixels.

    Returns:
        (tx, ty, 2 f / (crop_size s + 1e-9)) in metres, frame of the crop camera. A scale below zero gives a person
        behind the camera, as published: nothing is clamped.

    Raises:
        ValueError: If the crop size or the focal length is not positive.

    References:
        Kanazawa et al., "End-to-end Recovery of Human Shape and Pose", CVPR 2018, section 3.1, for the weak camera.
        Kolotouros et al., "Learning to Reconstruct 3D Human Pose and Shape via Model-fitting in the Loop", ICCV 2019,
        for the depth that stands for its scale.
    """
    _check_crop_camera(crop_size, focal_length)
    scale, place = _split(weak_camera)
    depth = 2 * focal_length / (crop_size * scale + _LEAST_SCALE)
    return jnp.concatenate([place, depth], -1)


def weak_camera_from_crop_transl(
    transl: Float[AnyArray, "*batch 3"],
    *,
    crop_size: float | int,
    focal_length: float | int = CROP_FOCAL_LENGTH,
) -> Float[Array, "*batch 3"]:
    """Inverse of `crop_transl`; the depth must not be zero.

    Raises:
        ValueError: If the crop size or the focal length is not positive.
    """
    _check_crop_camera(crop_size, focal_length)
    transl = jnp.asarray(transl)
    scale = (2 * focal_length / transl[..., 2:] - _LEAST_SCALE) / crop_size
    return jnp.concatenate([scale, transl[..., :2]], -1)


def full_transl(weak_camera: Float[AnyArray, "*batch 3"], box: CropBox, camera: Camera) -> Float[Array, "*batch 3"]:
    """Translation before the camera of the whole picture.

    A person there is as large and at the same place in the picture as the weak camera says, at the depth of the root.
    Points nearer or farther than the root differ from what the network saw: its lens is longer.

    Args:
        weak_camera: (s, tx, ty); `s` without unit, `tx` and `ty` in metres.
        box: Of the crop.
        camera: Of the picture; its batch axes broadcast.

    Returns:
        Metres, frame of the picture's camera: depth 2 f / (b s + 1e-9) for a box of side b, and in the plane tx and
        ty plus the way from the principal point to the middle of the box at that depth. As in `crop_transl`,
        nothing is clamped.

    References:
        Li et al., "CLIFF: Carrying Location Information in Full Frames", ECCV 2022, equation 3. Goel et al., "Humans
        in 4D: Reconstructing and Tracking Humans with Transformers", ICCV 2023: its demo takes the same
        formula, with `hmr2_camera`.

    Notes:
        Published is one focal length for both axes. Where fx and fy differ, the depth is from their geometric mean,
        so that the area of the person is kept, and each axis has its own way to the middle of the box.
    """
    scale, place = _split(weak_camera)
    depth = 2 * _mean_focal_length(camera) / (jnp.asarray(box.size)[..., None] * scale + _LEAST_SCALE)
    return jnp.concatenate([place + _ray_through(box, camera) * depth, depth], -1)


def weak_camera_from_full_transl(
    transl: Float[AnyArray, "*batch 3"], box: CropBox, camera: Camera
) -> Float[Array, "*batch 3"]:
    """Inverse of `full_transl`; neither the depth nor the side of the box may be zero."""
    transl = jnp.asarray(transl)
    depth = transl[..., 2:]
    scale = (2 * _mean_focal_length(camera) / depth - _LEAST_SCALE) / jnp.asarray(box.size)[..., None]
    return jnp.concatenate([scale, transl[..., :2] - _ray_through(box, camera) * depth], -1)


def project_to_crop(
    points: Float[AnyArray, "*batch K 3"],
    transl: Float[AnyArray, "*#batch 3"],
    *,
    crop_size: float | int,
    focal_length: float | int = CROP_FOCAL_LENGTH,
) -> Float[Array, "*batch K 2"]:
    """Where points lie in the crop, by the crop's own camera.

    Args:
        points: Metres, about the body's own origin.
        transl: Of the body, frame of the crop camera (`crop_transl`).
        crop_size: Side of the crop in pixels of the network.
        focal_length: Of the crop camera, in the same pixels.

    Returns:
        Crop units as HMR2 and ProHMR use them: -0.5 and 0.5 at the edges, 0 in the middle. SPIN's and CLIFF's are
        twice these.

    Raises:
        ValueError: If the crop size or the focal length is not positive.

    Notes:
        Depths below `cameras.MIN_DEPTH` are clamped, as in `cameras.project_points`; the published code divides by
        whatever they are.
    """
    _check_crop_camera(crop_size, focal_length)
    moved = jnp.asarray(points) + jnp.asarray(transl)[..., None, :]
    return moved[..., :2] / jnp.maximum(moved[..., 2:], MIN_DEPTH) * (focal_length / crop_size)


def full_from_crop(points: Float[AnyArray, "*batch K 2"], box: CropBox) -> Float[Array, "*batch K 2"]:
    """Pixels of the picture of points in crop units (-0.5 to 0.5)."""
    return jnp.asarray(points) * jnp.asarray(box.size)[..., None, None] + jnp.asarray(box.center)[..., None, :]


def crop_from_full(points: Float[AnyArray, "*batch K 2"], box: CropBox) -> Float[Array, "*batch K 2"]:
    """Inverse of `full_from_crop`."""
    return (jnp.asarray(points) - jnp.asarray(box.center)[..., None, :]) / jnp.asarray(box.size)[..., None, None]


def hmr2_camera(
    image_size: Float[AnyArray, "*batch 2"],
    *,
    crop_size: float | int = 256,
    focal_length: float | int = CROP_FOCAL_LENGTH,
) -> Camera:
    """Camera that the demo of 4DHumans takes for a picture: the crop camera's angle of view over the longer side.

    Args:
        image_size: (width, height) in pixels.
        crop_size: Side of the crop in pixels of the network.
        focal_length: Of the crop camera.

    Raises:
        ValueError: If the crop size or the focal length is not positive.
    """
    _check_crop_camera(crop_size, focal_length)
    image_size = jnp.asarray(image_size)
    longer = jnp.maximum(image_size[..., :1], image_size[..., 1:])
    return Camera(
        focal_length=jnp.broadcast_to(focal_length / crop_size * longer, image_size.shape),
        principal_point=image_size / 2,
    )


def cliff_camera(image_size: Float[AnyArray, "*batch 2"]) -> Camera:
    """Camera that CLIFF takes for a picture: the focal length is the diagonal.

    Args:
        image_size: (width, height) in pixels.

    Notes:
        Half a pixel from `cameras.camera_from_image_size`, as told at the top of this file.
    """
    image_size = jnp.asarray(image_size)
    return Camera(
        focal_length=jnp.broadcast_to(jnp.hypot(image_size[..., :1], image_size[..., 1:]), image_size.shape),
        principal_point=image_size / 2,
    )


def _split(weak_camera: Float[AnyArray, "*batch 3"]) -> tuple[Float[Array, "*batch 1"], Float[Array, "*batch 2"]]:
    weak_camera = jnp.asarray(weak_camera)
    return weak_camera[..., :1], weak_camera[..., 1:]


def _mean_focal_length(camera: Camera) -> Float[Array, "*batch 1"]:
    focal_length = jnp.asarray(camera.focal_length)
    # Equal ones are themselves, without a rounding more.
    first, second = focal_length[..., :1], focal_length[..., 1:]
    return first * jnp.sqrt(second / first)


def _ray_through(box: CropBox, camera: Camera) -> Float[Array, "*batch 2"]:
    """Middle of the box at depth one."""
    return (jnp.asarray(box.center) - jnp.asarray(camera.principal_point)) / jnp.asarray(camera.focal_length)


def _check_crop_camera(crop_size: float | int, focal_length: float | int) -> None:
    if not (crop_size > 0 and focal_length > 0):
        raise ValueError(f"crop size and focal length must be positive, got {crop_size} and {focal_length}")
