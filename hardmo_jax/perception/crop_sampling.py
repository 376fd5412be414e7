"""From a picture to the pixels that a network sees of one person, number by number as the published loaders do it.

Everything here looks only at the part of the picture that the crop needs: a small box costs little in a large
picture, and gives what the whole picture would.
"""

import numpy as np
import scipy.sparse
from jaxtyping import UInt8

from hardmo_jax.array_types import Float, Int
from hardmo_jax.perception import crop_rules
from hardmo_jax.perception.crop_rules import CropRule

#: Boxes are blurred from where they shrink by twice this.
_BLURRED_ABOVE = 1.1
#: scikit-image cuts its Gaussian off here, standard deviations.
_KERNEL_REACH = 4.0
#: OpenCV's fixed-point positions: bits of a coordinate, and of the fraction that is kept of it.
_POSITION_BITS, _FRACTION_BITS = 10, 5
#: OpenCV's maps cannot count further than this.
_MOST_PIXELS = 32_000
#: Bits of Pillow's fixed-point weights.
_WEIGHT_BITS = 22
#: Rows that are resized at once: a strip of a large picture in double precision stays small.
_ROWS_AT_ONCE = 256


def sample_crop(
    image: UInt8[np.ndarray, "H W 3"], center: Float[np.ndarray, "2"], size: float | int, rule: CropRule
) -> Float[np.ndarray, "h w 3"]:
    """What a network sees of a person, before normalisation.

    Args:
        image: RGB.
        center: Middle of the crop, pixels of the picture.
        size: Side of the crop (height, where it is higher than wide), pixels of the picture.
        rule: How.

    Returns:
        Values from 0 to 255, of the rule's height and width. Black outside of the picture.
    """
    if rule.sampling == "warp":
        return _warped(image, center, size, rule.size[0])
    if rule.sampling == "blurred_warp":
        return _blurred_and_warped(image, center, size, rule.size[0])
    return _resized(image, center, size, rule)


def affine_from_box(center: Float[np.ndarray, "2"], size: float | int, crop_size: int) -> Float[np.ndarray, "2 3"]:
    """Matrix from pixels of the picture to pixels of the crop, by the three points that published loaders take.

    The middle of the box falls on pixel `crop_size / 2`, half a pixel right of and below the middle of the crop. The
    points are float32, which shows in the last digits.
    """
    import cv2

    half, middle = np.float32(size) * np.float32(0.5), np.float32(0.5 * crop_size)
    corners = np.array([[0, 0], [0, 1], [1, 0]], np.float32)
    points = (np.asarray(center, np.float64) + half * corners).astype(np.float32)
    return cv2.getAffineTransform(points, middle + middle * corners)


def _warped(
    image: UInt8[np.ndarray, "H W 3"], center: Float[np.ndarray, "2"], size: float | int, crop_size: int
) -> Float[np.ndarray, "h w 3"]:
    """The picture itself under the affine map. OpenCV reads only what it needs of it, and rounds to whole values."""
    import cv2

    matrix = affine_from_box(center, size, crop_size)
    if max(image.shape[:2]) > _MOST_PIXELS:
        low, high = _part(center, size, image, reach=2)
        image = np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
        matrix[:, 2] += matrix[:, :2] @ low
    crop = cv2.warpAffine(image, matrix, (crop_size, crop_size), flags=cv2.INTER_LINEAR)
    return crop.astype(np.float32)


def _blurred_and_warped(
    image: UInt8[np.ndarray, "H W 3"], center: Float[np.ndarray, "2"], size: float | int, crop_size: int
) -> Float[np.ndarray, "h w 3"]:
    """As `_warped`, after a Gaussian blur by half of what the box shrinks by beyond two.

    The published code blurs the whole picture in double precision, for which OpenCV takes another way than for bytes:
    positions are rounded to 1/32 of a pixel. That shows (two grey values at edges), so it is done here as well; by a
    map of those positions, which can count from any corner.
    """
    import cv2

    shrink = float(np.float32(size) / np.float32(crop_size) / np.float32(2))
    if not shrink > _BLURRED_ABOVE:
        return _warped(image, center, size, crop_size)
    spread = (shrink - 1) / 2
    reach = int(_KERNEL_REACH * spread + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / spread) ** 2)
    kernel /= kernel.sum()
    low, high = _part(center, size, image, reach=reach + 2)
    part = image[low[1] : high[1], low[0] : high[0]]
    blurred = cv2.sepFilter2D(part, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
    horizontal, vertical = _positions(affine_from_box(center, size, crop_size), crop_size)
    bits = _FRACTION_BITS
    horizontal, vertical = horizontal - (low[0] << bits), vertical - (low[1] << bits)
    whole = np.empty((crop_size, crop_size, 2), np.int16)
    whole[..., 0], whole[..., 1] = horizontal >> bits, (vertical >> bits)[:, None]
    within = (1 << bits) - 1
    fractions = (((vertical & within) << bits)[:, None] + (horizontal & within)).astype(np.uint16)
    return cv2.remap(blurred, whole, fractions, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def _positions(matrix: Float[np.ndarray, "2 3"], crop_size: int) -> tuple[Int[np.ndarray, "S"], Int[np.ndarray, "S"]]:
    """Column and row of the picture from which each column and row of the crop comes, in 1/32 of a pixel.

    Rounded as OpenCV does: along a row the step and the start each for itself, down the columns their sum.
    """
    import cv2

    (step_x, _, start_x), (_, step_y, start_y) = cv2.invertAffineTransform(matrix)
    count, unit = np.arange(crop_size), 1 << _POSITION_BITS
    horizontal = np.rint(step_x * count * unit).astype(np.int64) + np.rint(start_x * unit).astype(np.int64)
    vertical = np.rint((step_y * count + start_y) * unit).astype(np.int64)
    dropped = _POSITION_BITS - _FRACTION_BITS
    half = 1 << (dropped - 1)
    return (horizontal + half) >> dropped, (vertical + half) >> dropped


def _part(
    center: Float[np.ndarray, "2"], size: float | int, image: UInt8[np.ndarray, "H W 3"], *, reach: int
) -> tuple[Int[np.ndarray, "2"], Int[np.ndarray, "2"]]:
    """First pixel of the picture that a crop needs, and the one after its last, (x, y)."""
    shape = np.array(image.shape[1::-1])
    low = np.floor(np.asarray(center, np.float64) - 0.5 * float(size)).astype(np.int64) - reach
    high = np.ceil(np.asarray(center, np.float64) + 0.5 * float(size)).astype(np.int64) + reach + 1
    low = np.clip(low, 0, shape - 1)
    return low, np.clip(high, low + 1, shape)


def _resized(
    image: UInt8[np.ndarray, "H W 3"], center: Float[np.ndarray, "2"], size: float | int, rule: CropRule
) -> Float[np.ndarray, "h w 3"]:
    """Whole pixels of the picture, black beyond it, resized.

    The black is never made: weights on it are left out.
    """
    first, last = crop_rules.whole_pixels(np.asarray(center), size, rule)
    shape = np.array(image.shape[1::-1])
    low, high = np.maximum(first, 0), np.minimum(last, shape)
    part = image[low[1] : high[1], low[0] : high[0]]
    if rule.stretches_contrast:
        part = _stretched(part, has_black=bool((first < 0).any() or (last > shape).any()))
    weights_of = _pillow_weights if rule.sampling == "pillow" else _linear_weights
    across, down = (
        weights_of(
            int(last[axis] - first[axis]), rule.size[1 - axis], int(low[axis] - first[axis]), part.shape[1 - axis]
        )
        for axis in (0, 1)
    )
    is_rounded = rule.sampling == "pillow"
    strips = [
        _along_rows(across, part[row : row + _ROWS_AT_ONCE], is_rounded) for row in range(0, len(part), _ROWS_AT_ONCE)
    ]
    turned = np.concatenate(strips).swapaxes(0, 1)
    return np.ascontiguousarray(_along_rows(down, turned, is_rounded).swapaxes(0, 1)).astype(np.float32)


def _along_rows(
    weights: scipy.sparse.csr_array, image: np.ndarray, is_rounded: bool
) -> Float[np.ndarray, "H w 3"] | UInt8[np.ndarray, "H w 3"]:
    """Each row of an image resized. Whole weights and values in double precision are exact."""
    height, width, _ = image.shape
    columns = image.swapaxes(0, 1).reshape(width, height * 3).astype(weights.dtype)
    resized = (weights @ columns).reshape(-1, height, 3).swapaxes(0, 1)
    if not is_rounded:
        return resized
    return np.clip(np.floor(resized * 0.5**_WEIGHT_BITS + 0.5), 0, 255).astype(np.uint8)


def _stretched(part: UInt8[np.ndarray, "H W 3"], *, has_black: bool) -> UInt8[np.ndarray, "H W 3"]:
    """Darkest and brightest value of a crop to 0 and 255, as `scipy.misc.imresize` did to pictures of floats."""
    darkest, brightest = 0 if has_black else int(part.min()), int(part.max())
    table = (np.arange(256) - darkest) * (255.0 / ((brightest - darkest) or 1))
    return (np.clip(table, 0, 255) + 0.5).astype(np.uint8)[part]


def _pillow_weights(length: int, count: int, start: int, kept: int) -> scipy.sparse.csr_array:
    """Pillow's bilinear filter from `length` pixels to `count`, whole numbers, for `kept` pixels from `start` on.

    A triangle over each new pixel that grows with the shrinking, its weights normalised and rounded to 1 / 2^22.
    """
    scale = length / count
    widened = max(scale, 1.0)
    middles = (np.arange(count) + 0.5) * scale
    first = np.maximum((middles - widened + 0.5).astype(np.int64), 0)
    end = np.minimum((middles + widened + 0.5).astype(np.int64), length)
    places = first[:, None] + np.arange((end - first).max())
    weights = np.maximum(1 - np.abs((places - middles[:, None] + 0.5) * (1 / widened)), 0)
    weights[places >= end[:, None]] = 0
    total = np.zeros(count)
    for column in weights.T:
        total += column
    whole = np.floor(weights / np.where(total > 0, total, 1)[:, None] * 2**_WEIGHT_BITS + 0.5)
    return _kept(places, whole, start, kept)


def _linear_weights(length: int, count: int, start: int, kept: int) -> scipy.sparse.csr_array:
    """OpenCV's bilinear resize from `length` pixels to `count`, for `kept` pixels from `start` on."""
    middles = (np.arange(count) + 0.5) * (length / count) - 0.5
    first = np.floor(middles).astype(np.int64)
    fraction = (middles - first).astype(np.float32)
    fraction[(first < 0) | (first >= length - 1)] = 0
    first = np.clip(first, 0, length - 1)
    places = np.stack([first, np.minimum(first + 1, length - 1)], 1)
    return _kept(places, np.stack([1 - fraction, fraction], 1), start, kept)


def _kept(
    places: Int[np.ndarray, "S T"], weights: Float[np.ndarray, "S T"], start: int, kept: int
) -> scipy.sparse.csr_array:
    """Weights of those places that lie in the picture, counted from `start`."""
    rows = np.broadcast_to(np.arange(len(places))[:, None], places.shape)
    is_kept = (places >= start) & (places < start + kept) & (weights != 0)
    entries = (weights[is_kept], (rows[is_kept], places[is_kept] - start))
    return scipy.sparse.csr_array(entries, shape=(len(places), kept))
