"""People of a picture as the inputs of a regressor: boxes to normalised crops, and where in the picture they lie."""

import dataclasses

import jax
import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Float
from hardmo_jax.geometry.crop_cameras import CropBox
from hardmo_jax.perception import crop_rules, crop_sampling
from hardmo_jax.perception.crop_rules import CropRule


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class RegressorCrops:
    """N people as a network takes them. Several pictures are joined leaf by leaf."""

    image: Float[np.ndarray, "N H W 3"]
    """RGB, float32, mean taken off and divided by the deviation of the rule."""
    box: CropBox
    """Where they lie, pixels of the picture."""
    image_size: Float[np.ndarray, "N 2"]
    """(width, height) of the picture, pixels."""


def cut_people(image: np.ndarray, bbox: np.ndarray, rule: CropRule) -> RegressorCrops:
    """Cut people out of a picture by their boxes.

    Args:
        image: RGB, bytes, (H, W, 3).
        bbox: (x_min, y_min, x_max, y_max) of N people, pixels, (N, 4). Those of
            `crop_rules.box_faults` must be left out before.
        rule: Of the network.

    Raises:
        ValueError: If the picture is no RGB picture of bytes, or a box has a fault; all of them are named.
    """
    _check_image(image)
    bbox = np.asarray(bbox)
    if bbox.ndim != 2 or bbox.shape[1] != 4:
        raise ValueError(f"`bbox` must be (N, 4), got {bbox.shape}")
    height, width = image.shape[:2]
    _refuse(crop_rules.box_faults(bbox, rule, width=width, height=height))
    return _cut(image, crop_rules.crop_boxes(bbox, rule), rule)


def cut_boxes(image: np.ndarray, box: CropBox, rule: CropRule) -> RegressorCrops:
    """Cut parts of a picture out that are known as such, as from a file of training data: nothing is grown.

    Args:
        image: RGB, bytes, (H, W, 3).
        box: Middle and side of N crops, pixels (SPIN's files hold the side over 200).
        rule: Of the network.

    Raises:
        ValueError: As `cut_people`.
    """
    _check_image(image)
    height, width = image.shape[:2]
    centers, sizes = np.asarray(box.center), np.asarray(box.size)
    _refuse(
        tuple(
            crop_rules.crop_fault(center, float(size), rule, width=width, height=height)
            for center, size in zip(centers, sizes, strict=True)
        )
    )
    return _cut(image, CropBox(center=centers, size=sizes), rule)


def _cut(image: UInt8[np.ndarray, "H W 3"], box: CropBox, rule: CropRule) -> RegressorCrops:
    mean, std = (255 * np.array(values, np.float64) for values in (rule.mean, rule.std))
    crops = np.empty((len(box.size), *rule.size, 3), np.float32)
    for crop, center, size in zip(crops, box.center, box.size, strict=True):
        crop[:] = crop_sampling.sample_crop(image, center, float(size), rule)
        crop -= mean.astype(np.float32)
        crop /= std.astype(np.float32)
    height, width = image.shape[:2]
    image_size = np.broadcast_to(np.array([width, height], np.float32), (len(crops), 2)).copy()
    return RegressorCrops(image=crops, box=box, image_size=image_size)


def _check_image(image: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(
            f"`image` must be RGB bytes, (H, W, 3) uint8 and not empty, got {image.shape} {image.dtype}; "
            "a grey picture is repeated three times first"
        )


def _refuse(faults: tuple[str | None, ...]) -> None:
    told = [f"box {place}: {fault}" for place, fault in enumerate(faults) if fault is not None]
    if told:
        raise ValueError("boxes that cannot be cut out: " + "; ".join(told))
