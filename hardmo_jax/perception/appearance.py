"""What people look like: the colours of their trunk, thighs and shins, by which they are known again."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Float
from hardmo_jax.perception.people import LAYOUT_NAME, PersonKeypoints
from hardmo_jax.skeleton import layouts

_LAYOUT = layouts.get_layout(LAYOUT_NAME)
_CONFIDENT = 0.3
#: Places are sampled so many times along a limb, away from its ends.
_ALONG = np.linspace(0.15, 0.85, 8)
#: Limbs of each place that is compared: the trunk lies between four joints.
_LIMBS = {
    "thighs": tuple((f"{side}_hip", f"{side}_knee") for side in layouts.SIDES),
    "shins": tuple((f"{side}_knee", f"{side}_ankle") for side in layouts.SIDES),
}
_TRUNK = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
NUM_PLACES = 1 + len(_LIMBS)
#: Lightness changes with the light, hue does not.
_LIGHTNESS_WEIGHT = 0.5
#: Difference of colours (CIELAB) at which a likeness has fallen to 1/e.
_DIFFERENCE = 22.0


def colours_of(image: UInt8[np.ndarray, "H W 3"], person: PersonKeypoints) -> Float[np.ndarray, "P 3"]:
    """Mean colours of somebody's trunk, thighs and shins, CIELAB; NaN where they are not seen.

    Args:
        image: RGB.
        person: In it.
    """
    trunk = list(_LAYOUT.indices(_TRUNK))
    places = [np.zeros((0, 2))]
    if person.confidence[trunk].min() >= _CONFIDENT:
        left_high, right_high, left_low, right_low = person.keypoints_2d[trunk].astype(np.float64)
        across, down = np.meshgrid(_ALONG, _ALONG)
        high = left_high + across[..., None] * (right_high - left_high)
        low = left_low + across[..., None] * (right_low - left_low)
        places = [(high + down[..., None] * (low - high)).reshape(-1, 2)]
    for limbs in _LIMBS.values():
        places.append(np.concatenate([_along(person, limb) for limb in limbs]))
    return np.stack([_mean_colour(image, points) for points in places])


def likeness(first: Float[np.ndarray, "P 3"], second: Float[np.ndarray, "P 3"]) -> float | None:
    """How alike two people look, in [0, 1]; None if nothing was seen of both."""
    weights = np.array([_LIGHTNESS_WEIGHT, 1.0, 1.0])
    differences = np.sqrt((weights * np.square(first - second)).sum(-1))
    is_known = np.isfinite(differences)
    if not is_known.any():
        return None
    # The mean of likenesses: where a limb is misplaced or hidden, one place says nothing of the others.
    return float(np.exp(-((differences[is_known] / _DIFFERENCE) ** 2)).mean())


def renewed(before: Float[np.ndarray, "P 3"], now: Float[np.ndarray, "P 3"], share: float) -> Float[np.ndarray, "P 3"]:
    """Colours that are remembered, with a share of what is seen now."""
    mixed = (1 - share) * before + share * now
    return np.where(np.isfinite(mixed), mixed, np.where(np.isfinite(before), before, now))


def _along(person: PersonKeypoints, limb: Sequence[str]) -> Float[np.ndarray, "N 2"]:
    ends = [_LAYOUT.index(joint) for joint in limb]
    if person.confidence[ends].min() < _CONFIDENT:
        return np.zeros((0, 2))
    first, last = person.keypoints_2d[ends].astype(np.float64)
    return first + _ALONG[:, None] * (last - first)


def _mean_colour(image: UInt8[np.ndarray, "H W 3"], points: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "3"]:
    """The mean of pixels, CIELAB; NaN if none is in the picture."""
    import cv2

    height, width = image.shape[:2]
    x, y = np.round(points).astype(int).T if len(points) else (np.zeros(0, int), np.zeros(0, int))
    is_inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    if is_inside.sum() < 3:
        return np.full(3, np.nan)
    pixels = image[y[is_inside], x[is_inside]].astype(np.float32)[None] / 255
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[0].mean(0).astype(np.float64)
