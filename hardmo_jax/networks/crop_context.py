"""Where in its picture a crop lies, for networks that are told: what looks turned in a crop may only stand aside."""

import dataclasses

import jax
import jax.numpy as jnp

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.geometry.crop_cameras import CropBox


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class CropContext:
    """Of N crops; an argument of compiled code."""

    box: CropBox
    """Where they lie, pixels of the picture."""
    image_size: Float[AnyArray, "N 2"]
    """(width, height) of the picture, pixels."""
    focal_length: Float[AnyArray, "N"]
    """Of the camera of the picture, pixels."""


def diagonal_context(box: CropBox, image_size: Float[AnyArray, "N 2"]) -> CropContext:
    """The context of pictures of which no camera is known: the focal length is the diagonal.

    Args:
        box: Of N crops, pixels of the picture.
        image_size: (width, height) of the picture, pixels.

    References:
        Kissos et al., "Beyond Weak Perspective for Monocular 3D Human Pose Estimation", ECCV Workshops 2020; CLIFF
        takes it over.
    """
    size = jnp.asarray(image_size)
    return CropContext(box=box, image_size=size, focal_length=jnp.hypot(size[..., 0], size[..., 1]))


def box_over_focal_length(context: CropContext) -> Float[Array, "N 3"]:
    """(x, y) of the middle of the box from the middle of the picture, and its side, by the focal length.

    References:
        Li et al., "CLIFF: Carrying Location Information in Full Frames", ECCV 2022, section 3.2.
    """
    from_middle = jnp.asarray(context.box.center) - jnp.asarray(context.image_size) / 2
    numbers = jnp.concatenate([from_middle, jnp.asarray(context.box.size)[..., None]], -1)
    return numbers / jnp.asarray(context.focal_length)[..., None]
