"""Videos of people recovered frame by frame and over time, side by side: before the camera, and from the side, where
depth, floating and sliding show; and a sheet of some frames of each.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Float, Int
from hardmo_jax.rendering import scene
from hardmo_jax.rendering.scene import Renderer
from hardmo_jax.viz import overlay
from hardmo_jax.viz.overlay import OverlayPerson
from hardmo_jax.viz.recovery_sheet import PAPER, TRUTH_COLOUR, written

#: Axes of the view from the side, from those of the world: x to the camera's right, y away from it, z up.
_SIDE_AXES = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
#: From camera axes to the world's where no floor is known.
_UPRIGHT = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
#: Metres from which people are seen from the side: far, so that all are of one size.
_SIDE_DISTANCE = 30.0
_MARGIN = 1.15
#: Share of what people reach that is left out at either end, so that one frame gone astray does not make all small.
_ASTRAY = 2.0
_SIDE_OPACITY = 0.75
_SIDE_SHARE = 0.6
_TITLE_HEIGHT = 26
_FLOOR = (150, 140, 130)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MotionFrame:
    """One frame."""

    index: int
    """Number in its source."""
    people: tuple[tuple[OverlayPerson, ...], ...]
    """Everybody in each way, camera frame, with the keypoints that were fitted to."""
    time_seconds: float | None = None
    """Since the first frame; None for even steps."""
    truth: Float[np.ndarray, "V 3"] | None = None
    """Drawn in green in the view from the side, moved by one shift for the whole clip."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MotionClip:
    """Frames one after the other, of one camera."""

    name: str
    ways: tuple[str, ...]
    frames: tuple[MotionFrame, ...]
    frames_per_second: float
    faces: Int[np.ndarray, "F 3"]
    image_size: tuple[int, int]
    """Width and height in pixels."""
    focal_length: Float[np.ndarray, "2"]
    principal_point: Float[np.ndarray, "2"]
    rotation: Float[np.ndarray, "3 3"] | None = None
    """From camera axes to a world with z up, see `recovery.ground.Ground`; None for the camera's own."""
    camera_height: float = 0.0
    """Metres above the floor; only with a rotation."""


class MotionDrawing:
    """Draws frames of a clip, all in the same cut and size."""

    def __init__(self, clip: MotionClip, renderer: Renderer, *, is_cut: bool, area: int) -> None:
        """Set up.

        Args:
            clip: What is drawn.
            renderer: Draws meshes.
            is_cut: Show only where people are, instead of the whole picture.
            area: Of the picture of one way, pixels.
        """
        self.clip, self.renderer = clip, renderer
        low, high = _reach(clip) if is_cut else (np.zeros(2), np.array(clip.image_size, np.float64))
        width = self.width = max(16, round(np.sqrt(area * (high[0] - low[0]) / (high[1] - low[1]))))
        self._scale = width / (high[0] - low[0])
        self._shift = -self._scale * low
        self.height = max(16, round(self._scale * (high[1] - low[1])))
        self.side_height = max(self.height // 2, round(_SIDE_SHARE * width)) if not is_cut else self.height
        self._from_side = _sides(clip)
        self._focus, self._pixels_per_metre = _side_window(self._from_side, width, self.side_height)

    def before_camera(self, at: int, way: int, image: UInt8[np.ndarray, "H W 3"] | None) -> UInt8[np.ndarray, "h w 3"]:
        """Everybody of frame `at` in one way over the picture, or on paper without one."""
        import cv2

        size = (self.width, self.height)
        if image is None:
            paper = np.full((self.height, self.width, 3), PAPER, np.uint8)
        else:
            matrix = np.array([[self._scale, 0, self._shift[0]], [0, self._scale, self._shift[1]]])
            shrunk = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_AREA, borderValue=(PAPER,) * 3)
            paper = np.ascontiguousarray(shrunk)
        people = [
            dataclasses.replace(
                person,
                keypoints_2d=None
                if person.keypoints_2d is None
                else np.asarray(person.keypoints_2d) * self._scale + self._shift,
                bbox=None,
            )
            for person in self.clip.frames[at].people[way]
        ]
        return overlay.draw_overlay(
            paper,
            people,
            focal_length=self.clip.focal_length * self._scale,
            principal_point=self.clip.principal_point * self._scale + self._shift,
            renderer=self.renderer,
            style=overlay.OverlayStyle(max_side=max(self.width, self.height)),
        )

    def from_side(self, at: int, way: int) -> UInt8[np.ndarray, "h w 3"]:
        """Everybody of frame `at` in one way from the side, the truth behind, the floor as a line if it is known."""
        width, height = self.width, self.side_height
        picture = np.full((height, width, 3), float(PAPER))
        focus = self._focus
        if self.clip.rotation is not None:
            row = round(height / 2 - focus[1] * self._pixels_per_metre)
            if 0 <= row < height:
                picture[row : row + 2] = _FLOOR
        view = scene.View(
            focal_length=np.full(2, self._pixels_per_metre * _SIDE_DISTANCE),
            principal_point=np.array([width / 2, height / 2]),
            width=width,
            height=height,
        )
        side = self._from_side[at]
        layers = [([(side.truth + self._truth_shift(way), TRUTH_COLOUR)] if side.truth is not None else [], 1.0)]
        layers.append((list(side.people[way]), 1.0 if side.truth is None else _SIDE_OPACITY))
        for bodies, opacity in layers:
            meshes = [
                scene.Mesh(
                    vertices_camera=points + np.array([-focus[0], -focus[1], _SIDE_DISTANCE]),
                    faces=self.clip.faces,
                    colour=colour,
                )
                for points, colour in bodies
            ]
            if meshes:
                drawn = self.renderer.render(meshes, view).astype(np.float64)
                cover = opacity * drawn[..., 3:] / 255
                picture = drawn[..., :3] * cover + picture * (1 - cover)
        return picture.astype(np.uint8)

    def _truth_shift(self, way: int) -> Float[np.ndarray, "3"]:
        """What moves the truth to where this way has the person, usually."""
        apart = [
            points.mean(0) - side.truth.mean(0)
            for side in self._from_side
            if side.truth is not None
            for points, _ in side.people[way][:1]
        ]
        return np.median(apart, axis=0) if apart else np.zeros(3)


def draw_motion_frame(
    drawing: MotionDrawing, at: int, image: UInt8[np.ndarray, "H W 3"] | None
) -> UInt8[np.ndarray, "h w 3"]:
    """One frame of the video: a way beside the other, the view from the side of each below it."""
    clip = drawing.clip
    columns = [
        np.concatenate(
            [
                written(f"{way}   {clip.frames[at].index}", drawing.width, _TITLE_HEIGHT),
                drawing.before_camera(at, number, image),
                drawing.from_side(at, number),
            ]
        )
        for number, way in enumerate(clip.ways)
    ]
    return np.concatenate(columns, axis=1)


def draw_motion_sheet(
    drawing: MotionDrawing, rows: Sequence[int], images: Iterable[UInt8[np.ndarray, "H W 3"] | None]
) -> UInt8[np.ndarray, "h w 3"]:
    """Some frames as columns: each way before the camera, then each way from the side.

    Args:
        drawing: Of the clip.
        rows: Which of its frames.
        images: Their pictures; None draws on paper, as where a licence does not let them be shown.
    """
    ways = drawing.clip.ways
    texts = [*((way, drawing.height) for way in ways), *((f"{way}, side", drawing.side_height) for way in ways)]
    label = 150
    labels = [written("", label, _TITLE_HEIGHT), *(written(text, label, height) for text, height in texts)]
    columns = [np.concatenate(labels)]
    for at, image in zip(rows, images, strict=True):
        pictures = [written(str(drawing.clip.frames[at].index), drawing.width, _TITLE_HEIGHT)]
        pictures += [drawing.before_camera(at, way, image) for way in range(len(ways))]
        pictures += [drawing.from_side(at, way) for way in range(len(ways))]
        columns.append(np.concatenate(pictures))
    sheet = np.concatenate(columns, axis=1)
    return np.concatenate([written(drawing.clip.name, sheet.shape[1], _TITLE_HEIGHT), sheet])


@dataclasses.dataclass(frozen=True, eq=False)
class _Side:
    """People of a frame with the axes of the view from the side: right, down, away; metres."""

    people: tuple[tuple[tuple[np.ndarray, tuple[float, float, float]], ...], ...]
    truth: np.ndarray | None


def _sides(clip: MotionClip) -> list[_Side]:
    axes = _SIDE_AXES @ (_UPRIGHT if clip.rotation is None else clip.rotation)
    lift = np.array([0.0, -clip.camera_height if clip.rotation is not None else 0.0, 0.0])

    def turned(points: np.ndarray) -> np.ndarray:
        return np.asarray(points, np.float64) @ axes.T + lift

    return [
        _Side(
            tuple(
                tuple(
                    (turned(one.vertices_camera), one.mesh_colour) for one in people if one.vertices_camera is not None
                )
                for people in frame.people
            ),
            None if frame.truth is None else turned(frame.truth),
        )
        for frame in clip.frames
    ]


def _side_window(sides: list[_Side], width: int, height: int) -> tuple[Float[np.ndarray, "2"], float]:
    """What the views from the side look at, and pixels a metre: the same in all, so that ways can be compared."""
    everybody = [points[:, :2] for side in sides for people in side.people for points, _ in people]
    if not everybody:
        return np.zeros(2), 0.5 * min(width, height)
    low = np.percentile([points.min(0) for points in everybody], _ASTRAY, axis=0)
    high = np.percentile([points.max(0) for points in everybody], 100 - _ASTRAY, axis=0)
    span = _MARGIN * (high - low)
    return 0.5 * (low + high), float(min(width / span[0], height / span[1]))


def _reach(clip: MotionClip) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"]]:
    """Corners of what people cover in the whole clip, pixels."""
    boxes = []
    for person in (person for frame in clip.frames for people in frame.people for person in people):
        if person.vertices_camera is not None and (np.asarray(person.vertices_camera)[:, 2] > scene.NEAR).all():
            points = np.asarray(person.vertices_camera, np.float64)
            pixels = points[:, :2] / points[:, 2:] * clip.focal_length + clip.principal_point
            boxes.append((pixels.min(0), pixels.max(0)))
    if not boxes:
        return np.zeros(2), np.array(clip.image_size, np.float64)
    low = np.percentile([box[0] for box in boxes], _ASTRAY, axis=0)
    high = np.percentile([box[1] for box in boxes], 100 - _ASTRAY, axis=0)
    middle, half = 0.5 * (low + high), np.maximum(0.5 * _MARGIN * (high - low), 4.0)
    # No thinner than two to one, so that titles and views from the side have room.
    half = np.maximum(half, half[::-1] / 2)
    return middle - half, middle + half
