"""Rotated square regions of a picture: cutting them out and carrying points back.

A region's own coordinates are fractions: (0, 0) at the corner that is top left after cutting, (1, 1) at the
opposite one. Picture coordinates are pixels, x right, y down, the centre of the top-left pixel at (0, 0), so
that the picture's edges lie at -0.5. Angles are radians from the picture's x axis towards its y axis
(clockwise on the screen).
"""

import dataclasses
import functools
import math

import numpy as np

from hardmo_jax.array_types import Float

#: A crop never shrinks its source by more than this at once: stronger shrinking starts from a smaller
#: copy of the picture, since bilinear sampling would skip pixels.
MAX_SHRINK = 2.0
#: Regions are kept at least this large (pixels), so that no map is singular.
MIN_REGION_SIZE = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class SquareRegion:
    """A square in the picture, turned by an angle."""

    center: tuple[float, float]
    """(x, y) in pixels."""
    size: float
    """Side in pixels."""
    angle: float = 0.0
    """Direction of the region's x axis in the picture, radians."""

    def axes(self) -> Float[np.ndarray, "2 2"]:
        """Region's x and y axes as columns, picture coordinates, unit length."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return np.array([[cos, -sin], [sin, cos]])

    def to_image(self, points: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch 2"]:
        """Points in fractions of the region, as pixels of the picture."""
        return np.asarray(self.center) + self.size * (np.asarray(points, np.float64) - 0.5) @ self.axes().T

    def from_image(self, points: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch 2"]:
        """Points in pixels of the picture, as fractions of the region."""
        size = max(self.size, MIN_REGION_SIZE)
        return (np.asarray(points, np.float64) - np.asarray(self.center)) @ self.axes() / size + 0.5

    def shifted(self, x: float, y: float) -> "SquareRegion":
        """Region moved along its own axes, by fractions of its side."""
        center = self.to_image(np.array([0.5 + x, 0.5 + y]))
        return dataclasses.replace(self, center=(float(center[0]), float(center[1])))

    def scaled(self, factor: float) -> "SquareRegion":
        """Region of another size about the same centre."""
        return dataclasses.replace(self, size=self.size * factor)


def affine_image_from_crop(region: SquareRegion, crop_size: int) -> Float[np.ndarray, "2 3"]:
    """Matrix from pixels of the cut-out square to pixels of the picture.

    Args:
        region: The square.
        crop_size: Side of the cut-out in pixels.

    Returns:
        `M` with `image_xy = M @ (crop_x, crop_y, 1)`; both sides count pixel centres from 0.
    """
    linear = region.axes() * (region.size / crop_size)
    # Pixel u covers the fractions u / S to (u + 1) / S; its centre is at (u + 0.5) / S.
    offset = np.asarray(region.center) + linear @ np.full(2, 0.5 - 0.5 * crop_size)
    return np.concatenate([linear, offset[:, None]], axis=1)


def affine_crop_from_image(region: SquareRegion, crop_size: int) -> Float[np.ndarray, "2 3"]:
    """Inverse of `affine_image_from_crop`."""
    forward = affine_image_from_crop(region, crop_size)
    linear = region.axes().T * (crop_size / max(region.size, MIN_REGION_SIZE))
    return np.concatenate([linear, -linear @ forward[:, 2:]], axis=1)


class ImagePyramid:
    """A picture with smaller copies of itself, from which regions are cut without aliasing."""

    def __init__(self, image: np.ndarray) -> None:
        """Keep a picture.

        Args:
            image: RGB, 8 bits a channel, (H, W, 3).

        Raises:
            ValueError: If it is not such a picture.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise ValueError(f"`image` must be a non-empty (H, W, 3) uint8 array, got {image.shape} {image.dtype}")
        self.height, self.width = image.shape[:2]
        self._levels = [np.ascontiguousarray(image)]

    @property
    def image(self) -> np.ndarray:
        """The picture itself."""
        return self._levels[0]

    @functools.cached_property
    def whole(self) -> SquareRegion:
        """Smallest upright square that holds the whole picture (letterbox)."""
        return SquareRegion(
            center=(0.5 * (self.width - 1), 0.5 * (self.height - 1)), size=float(max(self.height, self.width))
        )

    def _level(self, number: int) -> np.ndarray:
        import cv2

        while len(self._levels) <= number:
            height, width = self._levels[-1].shape[:2]
            half = (max(1, (width + 1) // 2), max(1, (height + 1) // 2))
            self._levels.append(cv2.resize(self._levels[-1], half, interpolation=cv2.INTER_AREA))
        return self._levels[number]

    def cut(
        self, region: SquareRegion, crop_size: int, *, replicate_border: bool = False
    ) -> Float[np.ndarray, "S S 3"]:
        """Cut a region out.

        Args:
            region: The square; it may reach beyond the picture.
            crop_size: Side of the result in pixels.
            replicate_border: Continue the picture's edge pixels outwards instead of black.

        Returns:
            RGB in [0, 1].
        """
        import cv2

        shrink = region.size / crop_size
        number = max(0, math.ceil(math.log2(shrink / MAX_SHRINK))) if shrink > 0 else 0
        number = min(number, int(math.log2(max(self.height, self.width))))
        level = self._level(number)
        matrix = affine_image_from_crop(region, crop_size)
        # Same maths on the smaller copy: an edge-to-edge scale, about edges at -0.5.
        scale = np.array([level.shape[1] / self.width, level.shape[0] / self.height])
        matrix = matrix * scale[:, None]
        matrix[:, 2] += 0.5 * scale - 0.5
        crop = cv2.warpAffine(
            level,
            matrix,
            (crop_size, crop_size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE if replicate_border else cv2.BORDER_CONSTANT,
            borderValue=(0, 0, 0),
        )
        return crop.astype(np.float32) / 255.0


def region_from_axis(start: Float[np.ndarray, "2"], end: Float[np.ndarray, "2"], *, size: float) -> SquareRegion:
    """Region about `start` in which the direction from `start` to `end` points straight up.

    Args:
        start: Pixels, the region's centre.
        end: Pixels.
        size: Side in pixels.

    Returns:
        The region, with its angle in [-pi, pi).
    """
    along = np.asarray(end, np.float64) - np.asarray(start, np.float64)
    # Up in the region is -y, that is the direction (sin(angle), -cos(angle)) in the picture.
    angle = math.atan2(along[0], -along[1])
    return SquareRegion(center=(float(start[0]), float(start[1])), size=float(size), angle=angle)
