"""A frame of a video beside itself with bodies over it, and the same bodies seen from their side above a floor grid.

The third picture is what tells wrong depth and tilt: bodies turned by 90 degrees about the vertical, so that what was
the line of sight runs across it, the filming camera at its left. Points are in the frame of that camera, metres.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Real, UInt8

from hardmo_jax.rendering import scene
from hardmo_jax.rendering.scene import Renderer
from hardmo_jax.viz import overlay
from hardmo_jax.viz.overlay import OverlayPerson, OverlayStyle

#: Background of the side view, lines of its floor, and those that run under the middle of the people.
_PAPER, _LINE, _MIDDLE_LINE = (232, 234, 238), (196, 200, 208), (150, 156, 168)
#: Metres between lines of the grid, and how far it reaches from its middle.
_STEP, _REACH = 0.5, 4.0
#: Vertical field of view of the side view, radians: long enough a lens that near limbs do not look large.
_FIELD_OF_VIEW = math.radians(22.0)
#: The side camera stands above the middle of the people by this part of its distance, so that the floor is a plane.
_LIFT = 0.12
#: Part of the picture that people may fill.
_FILLED = 0.82


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SideView:
    """Where people stand, and from where their side is looked at."""

    up: Float[Any, "3"]
    """Unit vector away from the floor, frame of the filming camera."""
    floor: float
    """Height of the floor: the product of `up` with points on it, metres."""
    center: Float[Any, "3"]
    """What the side view looks at: the middle of the people, metres."""
    extent: float
    """Height or width of what must be seen, the larger, metres."""
    reach: float = 0.0
    """How far people stand before the middle, towards the side camera, metres; half of the extent if that is more."""

    def __post_init__(self) -> None:
        up, center = np.asarray(self.up, np.float64), np.asarray(self.center, np.float64)
        length = float(np.linalg.norm(up)) if up.shape == (3,) else 0.0
        if not (math.isfinite(length) and length > 0):
            raise ValueError(f"`up` must be three numbers that are not all zero, got {up.tolist()}")
        if center.shape != (3,) or not np.isfinite(center).all():
            raise ValueError(f"`center` must be three finite numbers, got {center.tolist()}")
        if not (math.isfinite(self.floor) and 0 < self.extent < math.inf and 0 <= self.reach < math.inf):
            raise ValueError(
                f"`floor` must be finite, `extent` positive and `reach` not negative, got {self.floor}, {self.extent} "
                f"and {self.reach}"
            )
        object.__setattr__(self, "up", up / length)
        object.__setattr__(self, "center", center)

    def axes(self) -> Float[np.ndarray, "3 3"]:
        """Rows: right, down and forward of the side camera, in the frame of the filming one."""
        return self._axes

    @functools.cached_property
    def _axes(self) -> Float[np.ndarray, "3 3"]:
        up = np.asarray(self.up)
        # What the filming camera looks along, in the floor; one that looks straight down has its own up instead.
        along = np.array([0.0, 0.0, 1.0]) - up[2] * up
        if np.linalg.norm(along) < 1e-3:
            along = np.array([0.0, -1.0, 0.0]) - up * -up[1]
        right = along / np.linalg.norm(along)
        forward = np.cross(right, -up)
        # Level first, then bent down so that the middle of the people is in the middle of the picture.
        bend = math.atan(_LIFT)
        down = -up * math.cos(bend) - forward * math.sin(bend)
        forward = forward * math.cos(bend) - up * math.sin(bend)
        return np.stack([right, down, forward])

    def distance(self, aspect: float) -> float:
        """From the side camera to the middle of the people, metres.

        Args:
            aspect: Width of the picture by its height.
        """
        nearest = self.extent / (_FILLED * min(1.0, aspect) * 2 * math.tan(_FIELD_OF_VIEW / 2))
        return nearest + max(self.extent / 2, self.reach)

    def seen(self, points: Real[np.ndarray, "N 3"], aspect: float) -> Float[np.ndarray, "N 3"]:
        """Points in the frame of the side camera."""
        moved = (np.asarray(points, np.float64) - self.center) @ self._axes.T
        return moved + np.array([0.0, 0.0, self.distance(aspect)])


def draw_side_by_side(
    image: UInt8[np.ndarray, "H W 3"],
    people: Sequence[OverlayPerson],
    side: SideView | None,
    *,
    focal_length: Real[Any, "2"],
    principal_point: Real[Any, "2"],
    height: int,
    renderer: Renderer,
    show_keypoints: bool = True,
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw the three pictures of a frame, from left to right: as it was, with bodies over it, from their side.

    Args:
        image: RGB; it is not changed.
        people: Who is drawn; their meshes are in the frame of the camera.
        side: Where they stand; None leaves the third picture empty.
        focal_length: (fx, fy) in pixels of `image`.
        principal_point: (cx, cy) in pixels of `image`.
        height: Of the result in pixels; larger images are scaled down, smaller ones stay and the third one with them.
        renderer: Draws meshes.
        show_keypoints: Over the second picture.

    Returns:
        RGB; the third picture is as wide as the others, or as it is high where these are wider.
    """
    scale = min(1.0, height / image.shape[0])
    style = OverlayStyle(
        side_by_side=True,
        show_keypoints=show_keypoints,
        max_side=max(16, min(scene.MAX_SIDE, round(max(image.shape[:2]) * scale))),
    )
    pair = overlay.draw_overlay(
        image, people, focal_length=focal_length, principal_point=principal_point, renderer=renderer, style=style
    )
    size = min(pair.shape[1] // 2, pair.shape[0]), pair.shape[0]
    return np.hstack([pair, draw_side_view(people, side, *size, renderer=renderer)])


def draw_side_view(
    people: Sequence[OverlayPerson], side: SideView | None, width: int, height: int, *, renderer: Renderer
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw bodies from their side above a grid of half metres.

    Args:
        people: Their meshes are in the frame of the filming camera.
        side: Where they stand; None gives an empty picture.
        width: In pixels.
        height: In pixels.
        renderer: Draws meshes.
    """
    paper = np.empty((height, width, 3), np.uint8)
    paper[:] = _PAPER
    if side is None:
        return paper
    aspect = width / height
    focal_length = np.full(2, height / (2 * math.tan(_FIELD_OF_VIEW / 2)))
    principal_point = np.array([(width - 1) / 2, (height - 1) / 2])
    _draw_grid(paper, side, aspect, focal_length[0], principal_point)
    turned = [_turned(person, side, aspect) for person in people if person.vertices_camera is not None]
    return overlay.draw_overlay(
        paper,
        turned,
        focal_length=focal_length,
        principal_point=principal_point,
        renderer=renderer,
        style=OverlayStyle(mesh_opacity=1.0, show_keypoints=False, show_text=False, max_side=scene.MAX_SIDE),
    )


def _turned(person: OverlayPerson, side: SideView, aspect: float) -> OverlayPerson:
    """Somebody's mesh alone, in the frame of the side camera."""
    normals = person.normals_camera
    return OverlayPerson(
        track_id=person.track_id,
        vertices_camera=side.seen(np.asarray(person.vertices_camera), aspect).astype(np.float32),
        faces=person.faces,
        normals_camera=None if normals is None else (np.asarray(normals) @ side.axes().T).astype(np.float32),
        colour=person.colour,
    )


def _draw_grid(
    paper: UInt8[np.ndarray, "H W 3"],
    side: SideView,
    aspect: float,
    focal_length: float,
    principal_point: Float[np.ndarray, "2"],
) -> None:
    """Lines of the floor, which stay in their place when the view moves."""
    import cv2

    up = np.asarray(side.up)
    right, _, forward = side.axes()
    # Level axes of the floor.
    across = right
    along = forward - up * (forward @ up)
    along /= np.linalg.norm(along)
    foot = np.asarray(side.center) + up * (side.floor - up @ np.asarray(side.center))
    for first, second in ((across, along), (along, across)):
        middle = first @ foot
        start = math.ceil((middle - _REACH) / _STEP)
        for number in range(start, math.floor((middle + _REACH) / _STEP) + 1):
            # A whole number of steps from the filming camera, wherever the people are.
            base = foot + first * (number * _STEP - middle)
            ends = side.seen(np.stack([base - second * _REACH, base + second * _REACH]), aspect)
            if not _cut_before_camera(ends):
                continue
            points = ends[:, :2] / ends[:, 2:] * focal_length + principal_point
            if (np.abs(points) > 1e5).any():
                continue
            colour = _MIDDLE_LINE if abs(number * _STEP - middle) < _STEP / 2 else _LINE
            pixels = [(round(float(x) * 16), round(float(y) * 16)) for x, y in points]
            cv2.line(paper, pixels[0], pixels[1], colour, 1, cv2.LINE_AA, 4)


def _cut_before_camera(ends: Float[np.ndarray, "2 3"]) -> bool:
    """Shorten a line to what lies before the camera, in place; whether anything is left."""
    near = 0.1
    if (ends[:, 2] < near).all():
        return False
    for here, there in ((0, 1), (1, 0)):
        if ends[here, 2] < near:
            part = (near - ends[here, 2]) / (ends[there, 2] - ends[here, 2])
            ends[here] += part * (ends[there] - ends[here])
    return True
