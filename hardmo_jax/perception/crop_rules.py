"""Which part of a picture each regressor sees, and how it wants it: box, size, way of sampling, normalisation.

Networks are trained on crops of one kind, and numbers move when the crop does. A rule says everything that
differs between them; `crop_sampling` does what it says. Boxes are in pixels, the centre of the top-left pixel at
(0, 0). The published demos hand over the edges of detectors (half a pixel more): the person then sits half a pixel
elsewhere in the crop, which no network sees, and the places that come back are right in this package's pixels.
"""

import dataclasses
import difflib
import math
from typing import Literal, get_args

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.geometry.crop_cameras import CropBox

#: How the box becomes the network's picture.
#: `warp`: affine map of the picture as it is, bilinear, black outside.
#: `blurred_warp`: the same, and large boxes are blurred before, so that shrinking does not skip pixels.
#: `pillow`: corners cut off to whole pixels, black outside, then Pillow's bilinear resize, which averages.
#: `linear`: corners rounded to whole pixels, black outside, then OpenCV's bilinear resize, which skips pixels.
Sampling = Literal["warp", "blurred_warp", "pillow", "linear"]

#: Of the pictures that backbones were trained on (ImageNet), red, green, blue in [0, 1].
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CropRule:
    """How one family of networks cuts people out."""

    name: str
    size: tuple[int, int]
    """(height, width) of what the network takes, pixels."""
    growth: float
    """Sides of the crop over those of the person's box."""
    aspect: tuple[int, int] | None
    """(width, height) to which the box is widened or heightened before its longer side counts; None is a square."""
    sampling: Sampling
    stretches_contrast: bool = False
    """Whether the darkest and the brightest value of the crop become 0 and 255 first."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Taken off red, green, blue in [0, 1]."""
    std: tuple[float, float, float] = IMAGENET_STD
    """Divides what is left."""

    def __post_init__(self) -> None:
        if self.sampling not in get_args(Sampling):
            raise ValueError(f"unknown sampling {self.sampling!r}; known: {', '.join(get_args(Sampling))}")
        if self.sampling in ("warp", "blurred_warp") and self.size[0] != self.size[1]:
            raise ValueError(f"`{self.sampling}` makes square pictures, got {self.size}")
        numbers = (*self.size, self.growth, *(self.aspect or ()), *self.std)
        if not all(number > 0 for number in numbers):
            raise ValueError(f"sizes, growth, aspect and std must be positive, got {self}")


#: 4DHumans as its demo runs it: the detector's box as it is, and a square picture of which the network itself
#: takes the middle columns. For checkpoints whose `model_config.yaml` has no BBOX_SHAPE that is not the one which
#: `load_hmr2` fills in, take `dataclasses.replace(HMR2, aspect=None)`.
HMR2 = CropRule(name="hmr2", size=(256, 256), growth=1.0, aspect=(192, 256), sampling="blurred_warp")
#: HMR as SPIN made it public in PyTorch, and all that was trained by its loader.
HMR = CropRule(name="hmr", size=(224, 224), growth=1.2, aspect=None, sampling="pillow", stretches_contrast=True)
#: ProHMR: boxes about keypoints grown by 1.2.
PROHMR = CropRule(name="prohmr", size=(224, 224), growth=1.2, aspect=None, sampling="warp")
#: CLIFF as published by Huawei: the size of its boxes is their height.
CLIFF = CropRule(name="cliff", size=(256, 192), growth=1.1, aspect=(3, 4), sampling="linear")
#: CLIFF as BEDLAM trains it: SPIN's corners of whole pixels, without its stretched contrast. The published loader
#: shrinks by scikit-image's Gaussian and bilinear filter, for which Pillow's triangle stands here; both average.
BEDLAM_CLIFF = CropRule(name="bedlam_cliff", size=(224, 224), growth=1.2, aspect=None, sampling="pillow")
#: HMR with HRNet, trained by SPIN's loader.
HARDMO_HMR = dataclasses.replace(HMR, name="hardmo_hmr")

_RULES = {rule.name: rule for rule in (HMR2, HMR, PROHMR, CLIFF, BEDLAM_CLIFF, HARDMO_HMR)}

#: Boxes with a side below this hold nothing to see, pixels.
LEAST_SIDE = 2.0
#: Boxes this many times larger than the picture show a person of no more than a few pixels.
MOST_TIMES_LARGER = 16.0


def crop_rule(name: str) -> CropRule:
    """Rule of a family of networks by its name: hmr2, hmr, prohmr, cliff, bedlam_cliff, hardmo_hmr.

    Raises:
        KeyError: If there is none; the message names the closest.
    """
    if name in _RULES:
        return _RULES[name]
    close = difflib.get_close_matches(name, _RULES, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise KeyError(f"no crops are known for {name!r}; known: {', '.join(_RULES)}{hint}")


def crop_boxes(bbox: Float[np.ndarray, "N 4"], rule: CropRule) -> CropBox:
    """Parts of a picture that a network is shown of people.

    Args:
        bbox: (x_min, y_min, x_max, y_max) of people, pixels; see `box_faults` for those that are none.
        rule: Of the network.

    Returns:
        Middle, and side of the square (height where the crop is higher than wide), float32 as published.
    """
    bbox = np.asarray(bbox, np.float32)
    low, high = bbox[:, :2], bbox[:, 2:]
    # Published loaders keep boxes as shares of 200 pixels; the last digit comes from there.
    width, height = ((high - low) / np.float32(200) * np.float32(200)).T
    if rule.aspect is not None:
        across, upright = np.array(rule.aspect, np.float32)
        width, height = np.maximum(width, height * across / upright), np.maximum(height, width * upright / across)
    size = np.maximum(width, height) * np.float32(rule.growth)
    return CropBox(center=(low + high) / 2, size=size)


def box_faults(bbox: Float[np.ndarray, "N 4"], rule: CropRule, *, width: int, height: int) -> tuple[str | None, ...]:
    """What is wrong with boxes of people, in words; None where nothing is.

    Args:
        bbox: (x_min, y_min, x_max, y_max), pixels.
        rule: Of the network.
        width: Of the picture, pixels.
        height: Of the picture, pixels.
    """
    bbox = np.asarray(bbox, np.float64)
    found: list[str | None] = [_own_fault(box, width, height) for box in bbox]
    usable = [place for place, fault in enumerate(found) if fault is None]
    boxes = crop_boxes(bbox[usable].astype(np.float32), rule)
    for place, center, size in zip(usable, np.asarray(boxes.center), np.asarray(boxes.size), strict=True):
        found[place] = crop_fault(center, float(size), rule, width=width, height=height)
    return tuple(found)


def crop_fault(
    center: Float[np.ndarray, "2"], size: float | int, rule: CropRule, *, width: int, height: int
) -> str | None:
    """What is wrong with one crop; None if nothing is. For the arguments see `CropBox` and `box_faults`."""
    if not (np.isfinite(center).all() and math.isfinite(size)):
        return f"not a number: middle {np.asarray(center).tolist()}, side {size}"
    if size < LEAST_SIDE:
        return f"a side of {size:g} pixels, less than {LEAST_SIDE:g}"
    if size > MOST_TIMES_LARGER * max(width, height):
        return f"a side of {size:g} pixels, more than {MOST_TIMES_LARGER:g} times the picture of {width} x {height}"
    if rule.sampling in ("warp", "blurred_warp"):
        low, high = center - 0.5 * size, center + 0.5 * size
        is_outside = bool((high < 0).any() or (low > np.array([width - 1, height - 1])).any())
    else:
        low, high = whole_pixels(center, size, rule)
        is_outside = bool((np.minimum(high, [width, height]) <= np.maximum(low, 0)).any())
    return f"no pixel of the picture of {width} x {height} is in it" if is_outside else None


def whole_pixels(center: Float[np.ndarray, "2"], size: float | int, rule: CropRule) -> tuple[np.ndarray, np.ndarray]:
    """First pixel of a crop, and the one after its last, (x, y), by the rules that cut at whole pixels.

    The published code maps the corners of the network's picture back by the inverse of a matrix, and then cuts off
    (towards zero) or rounds what comes out. Where a corner lies on a whole pixel the last digit of that inverse
    decides, so it is the same steps here.

    Args:
        center: Middle, pixels of the picture.
        size: Height of the crop in pixels of the picture.
        rule: `pillow` cuts off, `linear` rounds halves to even.
    """
    height, width = rule.size
    # The loaders keep the size as a share of 200 pixels.
    upright = 200 * (float(size) / 200)
    across = upright / (height / width)
    x, y = float(center[0]), float(center[1])
    crop_from_image = np.array(
        [
            [width / across, 0, width * (-x / across + 0.5)],
            [0, height / upright, height * (-y / upright + 0.5)],
            [0, 0, 1],
        ]
    )
    image_from_crop = np.linalg.inv(crop_from_image)
    corners = np.stack([(image_from_crop @ corner)[:2] for corner in ([0.0, 0.0, 1.0], [width, height, 1.0])])
    whole = (np.trunc(corners) if rule.sampling == "pillow" else np.rint(corners)).astype(np.int64)
    return whole[0], whole[1]


def _own_fault(box: Float[np.ndarray, "4"], width: int, height: int) -> str | None:
    """What is wrong with a box, whatever the rule."""
    if not np.isfinite(box).all():
        return f"not a number: {box.tolist()}"
    if (box[2:] - box[:2] <= 0).any():
        return f"no width or no height: {box.tolist()}"
    if (box[2:] < -0.5).any() or (box[:2] > np.array([width, height]) - 0.5).any():
        return f"outside of the picture of {width} x {height}: {box.tolist()}"
    return None
