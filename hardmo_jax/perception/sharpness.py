"""How sharp a person is in a picture: the width of the blur over the body, whatever its contrast and brightness.

An edge that is blurred by s pixels loses a share of its gradient when it is blurred once more by s0: its squared
gradient, summed across it, falls by sqrt(s^2 + s0^2) / s (Zhuo and Sim, "Defocus map estimation from a single image",
Pattern Recognition 2011, there of the gradient on the edge). So the ratio tells s, and contrast cancels. The ratio is
taken over all of the body, and in the direction in which it is least: motion blurs along its way only.
"""

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Bool, Float

#: Longer side in pixels that boxes are shrunk to: there a person's head is about 34 pixels and 3 % of it one pixel.
PATCH_SIDE = 256
#: Blur that is added, pixels of the patch: well above what is looked for, well below a limb's width.
_ADDED_BLUR = 1.5
#: Gradient of a picture of one colour, squared grey levels a pixel: without it nothing would be divided by nothing.
_NO_GRADIENT = 1e-4
#: Blur that is told at most, pixels of the patch: beyond it the ratio says nothing more.
_MOST_BLUR = 20.0
#: Pixels of a patch, and of a body in it, of which nothing can be told.
_LEAST_SIDE, _LEAST_PIXELS = 8, 50
#: Width of limbs and radius of the head, as part of the longer side of the box.
_LIMB_WIDTH, _HEAD_RADIUS = 0.11, 0.08


def body_sharpness(
    image: UInt8[np.ndarray, "H W 3"],
    bbox: Float[np.ndarray, "4"],
    bones: Float[np.ndarray, "B 2 2"],
    head: Float[np.ndarray, "2"] | None,
) -> float | None:
    """Sharpness of one person: one over the blur's standard deviation, in the direction that is blurred most.

    Larger boxes are shrunk to `PATCH_SIDE` first, since what matters is the blur before the size of the body; smaller
    ones are taken as they are.

    Args:
        image: RGB.
        bbox: Of the person, (x_min, y_min, x_max, y_max) in pixels.
        bones: Ends of the limbs that were seen, pixels: what lies around them is looked at, since a sharp background
            says nothing of a person who moved. Without any the whole box is.
        head: Its middle, pixels; None where it was not seen.

    Returns:
        One over pixels of the patch; about 1.9 for a sharp photo, 0.05 where there is no edge at all. None where the
        box has too few pixels inside the picture.
    """
    import cv2

    height, width = image.shape[:2]
    side = float(np.max(bbox[2:] - bbox[:2]))
    low = np.clip(np.floor(bbox[:2] - 0.03 * side), 0, (width, height)).astype(int)
    high = np.clip(np.ceil(bbox[2:] + 0.03 * side) + 1, 0, (width, height)).astype(int)
    if min(high - low) < _LEAST_SIDE:
        return None
    grey = cv2.cvtColor(image[low[1] : high[1], low[0] : high[0]], cv2.COLOR_RGB2GRAY)
    scale = min(1.0, PATCH_SIDE / side)
    if scale < 1:
        size = np.maximum(np.round(scale * (high - low)).astype(int), _LEAST_SIDE)
        grey = cv2.resize(grey, (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA)
    to_patch = np.array(grey.shape[::-1]) / (high - low)
    is_body = _body_mask(
        grey.shape, (bones - low) * to_patch, None if head is None else (head - low) * to_patch, scale * side
    )
    before = grey.astype(np.float32)
    after = cv2.GaussianBlur(before, (0, 0), _ADDED_BLUR)
    share = np.linalg.solve(_gradients(after, is_body), _gradients(before, is_body))
    # The least ratio over all directions v of (v A v) / (v B v).
    ratio = max(float(np.linalg.eigvals(share).real.min()), 1.0)
    return max(float(np.sqrt(ratio**2 - 1)) / _ADDED_BLUR, 1 / _MOST_BLUR)


def _gradients(patch: Float[np.ndarray, "h w"], is_body: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "2 2"]:
    """Mean of the products of the gradient's two directions over the body."""
    import cv2

    along_x = cv2.Scharr(patch, cv2.CV_32F, 1, 0, scale=1 / 32)[is_body].astype(np.float64)
    along_y = cv2.Scharr(patch, cv2.CV_32F, 0, 1, scale=1 / 32)[is_body].astype(np.float64)
    both = np.stack([along_x, along_y])
    return both @ both.T / both.shape[1] + _NO_GRADIENT * np.eye(2)


def _body_mask(
    shape: tuple[int, ...],
    bones: Float[np.ndarray, "B 2 2"],
    head: Float[np.ndarray, "2"] | None,
    side: float,
) -> Bool[np.ndarray, "h w"]:
    """Pixels of a patch near the limbs and the head; all of them if these are too few."""
    import cv2

    mask = np.zeros(shape, np.uint8)
    # OpenCV draws to 16 bits; far ends of limbs that leave the picture are brought near.
    bones = np.clip(np.round(bones), -8000, 8000).astype(int)
    for begin, end in bones.tolist():
        cv2.line(mask, begin, end, 1, max(3, round(_LIMB_WIDTH * side)))
    if head is not None:
        at = np.clip(np.round(head), -8000, 8000).astype(int).tolist()
        cv2.circle(mask, at, max(2, round(_HEAD_RADIUS * side)), 1, -1)
    found = mask.astype(bool)
    return found if found.sum() >= _LEAST_PIXELS else np.ones(shape, bool)
