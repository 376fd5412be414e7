"""Pictures by which a person judges a label: the mesh over the photo, keypoints, boxes, as PNG or video.

Everything is given in pixels of the original picture and in the frame of its camera; scaling down for the
result happens here. Left is drawn cool, right warm, the middle white; the person's own left and right.
"""

import colorsys
import concurrent.futures
import dataclasses
import fractions
import itertools
import math
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Real, Shaped, UInt8

from hardmo_jax.labels import provenance
from hardmo_jax.rendering import raster, scene
from hardmo_jax.rendering.scene import Renderer
from hardmo_jax.skeleton import layouts

#: Mesh colours by track: easy to tell apart, also for colour-blind eyes (after Okabe and Ito, softened).
TRACK_COLOURS = (
    (0.62, 0.80, 0.96),
    (0.98, 0.78, 0.50),
    (0.60, 0.88, 0.72),
    (0.94, 0.68, 0.80),
    (0.96, 0.91, 0.58),
    (0.74, 0.68, 0.94),
    (0.96, 0.63, 0.52),
    (0.78, 0.83, 0.85),
)
LEFT_COLOUR = (40, 200, 255)
RIGHT_COLOUR = (255, 120, 40)
MIDDLE_COLOUR = (255, 255, 255)

_BONES = (
    ("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"), ("shoulder", "hip"),
    ("ankle", "heel"), ("ankle", "big_toe"), ("big_toe", "small_toe"), ("hand_root", "wrist"),
)  # fmt: skip
_CROSS_BONES = (("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"))
_TICKS_PER_SECOND = 90_000
#: Frames of a video are at least so far apart.
LEAST_STEP_SECONDS = 2 / _TICKS_PER_SECOND
_INK = np.array([18, 22, 30], np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class OverlayPerson:
    """What is drawn of one person; every part is optional."""

    track_id: int = 0
    """Number that the person keeps through a video; chooses the colour."""
    vertices_camera: Float[Any, "V 3"] | None = None
    """Posed mesh in the camera frame, metres."""
    faces: Int[Any, "F 3"] | None = None
    """Vertex indices of the mesh."""
    normals_camera: Float[Any, "V 3"] | None = None
    """Unit vectors of the mesh in the camera frame, if they are known already."""
    keypoints_2d: Real[Any, "K 2"] | None = None
    """Pixels of the original picture."""
    confidence: Real[Any, "K"] | None = None
    """In [0, 1]; all 1 if absent."""
    layout: str = "openpose67"
    """Layout of the keypoints in `skeleton.layouts`."""
    bbox: Real[Any, "4"] | None = None
    """(x_min, y_min, x_max, y_max) in pixels of the original picture."""
    text: str = ""
    """Short words beside the person, such as the status of the fit."""
    colour: tuple[float, float, float] | None = None
    """Mesh colour in [0, 1]; by `track_id` if absent."""

    @property
    def mesh_colour(self) -> tuple[float, float, float]:
        """Colour of the mesh."""
        return self.colour if self.colour is not None else track_colour(self.track_id)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OverlayStyle:
    """How an overlay looks."""

    mesh_opacity: float = 0.85
    """0 leaves the photo alone, 1 hides what is behind the mesh."""
    show_keypoints: bool = True
    """Draw dots, and thin bones between them."""
    show_box: bool = False
    """Draw the box of each person."""
    show_text: bool = True
    """Write track and text of people that have a text or a shown box."""
    side_by_side: bool = False
    """Put the untouched photo on the left."""
    max_side: int = 1280
    """Longest side of the photo in the result, in pixels; larger photos are scaled down."""
    min_confidence: float = 0.2
    """Keypoints below this are left out."""

    def __post_init__(self) -> None:
        if not 0 <= self.mesh_opacity <= 1:
            raise ValueError(f"`mesh_opacity` must be in [0, 1], got {self.mesh_opacity}")
        if not 16 <= self.max_side <= scene.MAX_SIDE:
            raise ValueError(f"`max_side` must be 16 to {scene.MAX_SIDE} pixels, got {self.max_side}")


def track_colour(track_id: int) -> tuple[float, float, float]:
    """Colour of a track; the first eight are chosen by hand, later ones step round the circle of hues."""
    if 0 <= track_id < len(TRACK_COLOURS):
        return TRACK_COLOURS[track_id]
    hue = track_id * 0.618034 % 1.0
    return colorsys.hls_to_rgb(hue, 0.72, 0.6)


def draw_overlay(
    image: UInt8[np.ndarray, "H W 3"],
    people: Sequence[OverlayPerson],
    *,
    focal_length: Real[Any, "2"],
    principal_point: Real[Any, "2"],
    renderer: Renderer | None = None,
    style: OverlayStyle | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw people over their photo.

    Args:
        image: RGB; it is not changed.
        people: What to draw; meshes hide each other by depth.
        focal_length: (fx, fy) in pixels of `image`.
        principal_point: (cx, cy) in pixels of `image`.
        renderer: None for `raster.choose_renderer("auto")`; pass one for many pictures.
        style: How it looks.

    Returns:
        RGB, no side longer than `style.max_side` (twice the width with `side_by_side`).
    """
    style = style or OverlayStyle()
    image = _checked_image(image)
    photo = _shrink(image, style.max_side)
    height, width = photo.shape[:2]
    scale = np.array([width / image.shape[1], height / image.shape[0]])
    view = scene.View(
        focal_length=np.asarray(focal_length, np.float64).reshape(2) * scale,
        principal_point=(np.asarray(principal_point, np.float64).reshape(2) + 0.5) * scale - 0.5,
        width=width,
        height=height,
    )
    picture = photo.copy()
    meshes = [
        scene.Mesh(
            vertices_camera=person.vertices_camera,
            faces=person.faces,
            colour=person.mesh_colour,
            normals=person.normals_camera,
        )
        for person in people
        if person.vertices_camera is not None and person.faces is not None
    ]
    if meshes and style.mesh_opacity > 0:
        rgba = (renderer or raster.choose_renderer()).render(meshes, view)
        picture = _blend(picture, rgba, style.mesh_opacity)
    for person in people:
        _draw_marks(picture, person, scale, view, style)
    return np.hstack([photo, picture]) if style.side_by_side else picture


def _checked_image(image: Shaped[np.ndarray, "..."]) -> UInt8[np.ndarray, "H W 3"]:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"`image` must be RGB uint8 of shape (H, W, 3), got {image.dtype} {image.shape}")
    return image


def _shrink(image: UInt8[np.ndarray, "H W 3"], max_side: int) -> UInt8[np.ndarray, "h w 3"]:
    import cv2

    longest = max(image.shape[:2])
    if longest <= max_side:
        return image
    size = [max(1, round(side * max_side / longest)) for side in (image.shape[1], image.shape[0])]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _blend(
    picture: UInt8[np.ndarray, "H W 3"], rgba: UInt8[np.ndarray, "H W 4"], opacity: float
) -> UInt8[np.ndarray, "H W 3"]:
    """Mesh over photo, with a thin darker line along its outline."""
    import cv2

    left, top, width, height = cv2.boundingRect(cv2.extractChannel(rgba, 3))
    if width == 0:
        return picture
    box = slice(max(top - 3, 0), top + height + 3), slice(max(left - 3, 0), left + width + 3)
    cover = rgba[box][..., 3].astype(np.float32) / 255
    # The line is where a slightly blurred coverage passes one half: smooth, and as wide everywhere.
    soft = cv2.GaussianBlur(cover, (0, 0), 1.1)
    line = np.maximum(1 - np.abs(soft - 0.5) * 2.6, 0) * (0.55 * min(1.0, opacity * 1.5))
    weight = cover * opacity
    mesh = cv2.cvtColor(rgba[box], cv2.COLOR_RGBA2RGB)
    blended = cv2.blendLinear(np.ascontiguousarray(picture[box]), mesh, 1 - weight, weight)
    ink = np.broadcast_to(_INK.astype(np.uint8), blended.shape).copy()
    result = picture.copy()
    result[box] = cv2.blendLinear(blended, ink, 1 - line, line)
    return result


# Keypoints, boxes, text ----------------------------------------------------------------------------------


def _draw_marks(
    picture: UInt8[np.ndarray, "H W 3"],
    person: OverlayPerson,
    scale: Float[np.ndarray, "2"],
    view: scene.View,
    style: OverlayStyle,
) -> None:
    points = is_shown = None
    if person.keypoints_2d is not None:
        points, is_shown = _shown_keypoints(person, scale, style.min_confidence)
    if points is not None and is_shown is not None and style.show_keypoints:
        _draw_keypoints(picture, person, points, is_shown)
    has_box = style.show_box and person.bbox is not None
    has_text = style.show_text and bool(person.text or has_box)
    if not has_box and not has_text:
        return
    box = None
    if person.bbox is not None:
        box = (np.asarray(person.bbox, np.float64).reshape(2, 2) + 0.5) * scale - 0.5
    elif points is not None and is_shown is not None and is_shown.any():
        box = np.stack([points[is_shown].min(axis=0), points[is_shown].max(axis=0)])
    elif person.vertices_camera is not None:
        box = _mesh_box(np.asarray(person.vertices_camera), view)
    if box is None or not np.isfinite(box).all():
        return
    if has_box:
        _draw_box(picture, box, person.mesh_colour)
    if has_text:
        words = f"{person.track_id} {person.text}" if person.text else str(person.track_id)
        _draw_text(picture, words, box, person.mesh_colour)


def _mesh_box(vertices: Float[np.ndarray, "V 3"], view: scene.View) -> Float[np.ndarray, "2 2"] | None:
    """Corners of what the camera sees of a mesh, None if that is nothing."""
    vertices = vertices[vertices[:, 2] > scene.NEAR].astype(np.float64)
    if not len(vertices):
        return None
    points = vertices[:, :2] / vertices[:, 2:] * view.focal_length + view.principal_point
    return np.stack([points.min(axis=0), points.max(axis=0)])


def _shown_keypoints(
    person: OverlayPerson, scale: Float[np.ndarray, "2"], min_confidence: float
) -> tuple[Float[np.ndarray, "K 2"], Shaped[np.ndarray, "K"]]:
    count = len(layouts.get_layout(person.layout))
    keypoints = np.asarray(person.keypoints_2d, np.float64)
    if keypoints.shape != (count, 2):
        raise ValueError(f"`keypoints_2d` must be ({count}, 2) for layout {person.layout!r}, got {keypoints.shape}")
    confidence = np.ones(count) if person.confidence is None else np.asarray(person.confidence, np.float64)
    if confidence.shape != (count,):
        raise ValueError(f"`confidence` must be ({count},), got {confidence.shape}")
    points = (keypoints + 0.5) * scale - 0.5
    is_near = (np.abs(points) < 1e5).all(axis=1)  # false for what is not finite, too
    return points, (confidence >= min_confidence) & (confidence > 0) & is_near


def _side_colour(name: str) -> tuple[int, int, int]:
    if name.startswith("left_"):
        return LEFT_COLOUR
    return RIGHT_COLOUR if name.startswith("right_") else MIDDLE_COLOUR


def _bones(layout: layouts.KeypointLayout) -> Iterable[tuple[str, str]]:
    """Pairs of names of a layout between which a line is drawn."""
    names = set(layout.points)
    pairs = [*_CROSS_BONES]
    for side in layouts.SIDES:
        pairs += [(f"{side}_{first}", f"{side}_{second}") for first, second in _BONES]
        for finger in layouts.FINGERS:
            chain = [f"{side}_hand_root", *(f"{side}_{finger}{joint}" for joint in (1, 2, 3))]
            pairs += itertools.pairwise([*chain, f"{side}_{finger}_tip"])
    return [pair for pair in pairs if names.issuperset(pair)]


def _draw_keypoints(
    picture: UInt8[np.ndarray, "H W 3"],
    person: OverlayPerson,
    points: Float[np.ndarray, "K 2"],
    is_shown: Shaped[np.ndarray, "K"],
) -> None:
    import cv2

    layout = layouts.get_layout(person.layout)
    if not is_shown.any():
        return
    # Sizes follow the person, so that a distant dancer is not covered by dots.
    extent = float(np.ptp(points[is_shown], axis=0).max())
    radius = min(max(extent / 130, 1.6), max(picture.shape[:2]) / 200)

    def pixel(position: np.ndarray) -> tuple[int, int]:
        return round(float(position[0]) * 16), round(float(position[1]) * 16)

    for first, second in _bones(layout):
        start, end = layout.index(first), layout.index(second)
        if is_shown[start] and is_shown[end]:
            is_cross = first.partition("_")[0] != second.partition("_")[0]
            colour = MIDDLE_COLOUR if is_cross else _side_colour(first)
            is_hand = (layouts.part_of(second) or "").endswith("_hand")
            ends = pixel(points[start]), pixel(points[end])
            width = 1 if is_hand else max(1, round(radius * 0.45))
            cv2.line(picture, *ends, (20, 20, 20), width + 1, cv2.LINE_AA, 4)
            cv2.line(picture, *ends, colour, width, cv2.LINE_AA, 4)
    for name, position, shown in zip(layout.points, points, is_shown, strict=True):
        if not shown:
            continue
        is_hand = (layouts.part_of(name) or "").endswith("_hand")
        size = max(1.0, radius * (0.55 if is_hand else 1.0))
        center = pixel(position)
        cv2.circle(picture, center, round((size + 0.9) * 16), (20, 20, 20), -1, cv2.LINE_AA, 4)
        cv2.circle(picture, center, round(size * 16), _side_colour(name), -1, cv2.LINE_AA, 4)


def _bytes(colour: Sequence[float]) -> tuple[int, int, int]:
    red, green, blue = (round(255 * float(channel)) for channel in colour)
    return red, green, blue


def _draw_box(picture: UInt8[np.ndarray, "H W 3"], box: Float[np.ndarray, "2 2"], colour: Sequence[float]) -> None:
    import cv2

    width = max(1, round(max(picture.shape[:2]) / 640))
    corners = [(int(x), int(y)) for x, y in np.clip(np.round(box), -1e5, 1e5)]
    cv2.rectangle(picture, corners[0], corners[1], (20, 20, 20), width + 2, cv2.LINE_AA)
    cv2.rectangle(picture, corners[0], corners[1], _bytes(colour), width, cv2.LINE_AA)


def _draw_text(
    picture: UInt8[np.ndarray, "H W 3"], text: str, box: Float[np.ndarray, "2 2"], colour: Sequence[float]
) -> None:
    """Words on a dark plate above the box, moved so that they lie inside the picture."""
    import cv2

    height, width = picture.shape[:2]
    scale = max(0.4, max(height, width) / 2000)
    text = "".join(letter if " " <= letter <= "~" else "?" for letter in text)[:60]
    (text_width, text_height), baseline = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    margin = round(4 * scale) + 2
    left = int(np.clip(box[0, 0], margin, max(margin, width - text_width - margin)))
    bottom = int(np.clip(box[0, 1] - baseline - margin, text_height + margin, height - baseline - margin))
    plate = (
        slice(max(bottom - text_height - margin, 0), max(bottom + baseline + margin, 0)),
        slice(max(left - margin, 0), left + text_width + margin),
    )
    picture[plate] = (picture[plate] * 0.35 + _INK * 0.65).astype(np.uint8)
    cv2.putText(picture, text, (left, bottom), cv2.FONT_HERSHEY_SIMPLEX, scale, _bytes(colour), 1, cv2.LINE_AA)


# Files ---------------------------------------------------------------------------------------------------


def write_png(path: str | os.PathLike[str], image: UInt8[np.ndarray, "H W 3"]) -> pathlib.Path:
    """Write an RGB picture as PNG, completely or not at all; the path may hold any letters."""
    import cv2

    image = _checked_image(image)
    is_written, data = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 4])
    if not is_written:
        raise ValueError(f"{path}: OpenCV cannot encode a picture of shape {image.shape} as PNG")
    with provenance.replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())
    return pathlib.Path(path)


class VideoOverlayWriter:
    """Writes frames to an H.264 MP4 that browsers play from the first byte.

    Used as a context manager; the file appears under its name when the block ends normally and not at all
    when it raises. The first frame sets the size (made even by repeating the last row or column); later
    frames of another size are scaled into it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        fps: float | int | fractions.Fraction,
        *,
        max_side: int = 1280,
        quality: int = 20,
    ) -> None:
        """Set up; nothing is written before the first frame.

        Args:
            path: File ending in `.mp4`.
            fps: Frames per second.
            max_side: Longest side in pixels; larger frames are scaled down.
            quality: Constant rate factor of x264, 0 (lossless) to 51; about 18 looks like the source.
        """
        self.path = pathlib.Path(path)
        if self.path.suffix.lower() != ".mp4":
            raise ValueError(f"{path}: the video is an MP4 file, so its name must end in .mp4")
        if not math.isfinite(fps) or not 0 < fps <= 1000:
            raise ValueError(f"`fps` must be positive and at most 1000, got {fps}")
        self.fps = fractions.Fraction(fps).limit_denominator(1001)
        self.max_side = max_side
        self.quality = quality
        self.num_frames = 0
        self._size: tuple[int, int] | None = None
        self._last_tick = -1
        self._container: Any = None
        self._stream: Any = None
        self._replacing: Any = None
        self._encoder = concurrent.futures.ThreadPoolExecutor(1, "encode")
        self._encoding: concurrent.futures.Future[None] | None = None

    def __enter__(self) -> "VideoOverlayWriter":
        self._replacing = provenance.replacing(self.path)
        self._temporary = self._replacing.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        try:
            try:
                if kind is None and self.num_frames == 0:
                    raise ValueError(f"{self.path}: no frame was added, so there is no video to write")
                if kind is None:
                    self._finish_frame()
                    self._mux(self._stream.encode(None))
            finally:
                self._encoder.shutdown()
                if self._container is not None:
                    self._container.close()
        except BaseException as failure:
            self._replacing.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._replacing.__exit__(kind, error, trace)

    def add(self, image: UInt8[np.ndarray, "H W 3"], time_seconds: float | None = None) -> None:
        """Append a frame.

        Args:
            image: RGB.
            time_seconds: When it is shown; None for one frame period after the one before. Videos of
                variable rate keep their pace by it.

        Raises:
            ValueError: If it is no picture, or the time does not grow.
        """
        import av

        if self._replacing is None:
            raise ValueError("add frames inside `with VideoOverlayWriter(...) as writer:`")
        picture = _shrink(_checked_image(image), self.max_side)
        if self._size is None:
            self._open(picture.shape[1], picture.shape[0])
        tick = self._tick(time_seconds)
        frame = av.VideoFrame.from_ndarray(self._fitted(picture), format="rgb24")
        frame.pts = tick
        frame.time_base = fractions.Fraction(1, _TICKS_PER_SECOND)
        # One frame is encoded while the next one is drawn.
        self._finish_frame()
        self._encoding = self._encoder.submit(self._encode, frame)
        self._last_tick = tick
        self.num_frames += 1

    def _encode(self, frame: Any) -> None:
        self._mux(self._stream.encode(frame))

    def _finish_frame(self) -> None:
        """Wait for the frame that is being encoded, and raise what went wrong with it."""
        if self._encoding is not None:
            encoding, self._encoding = self._encoding, None
            encoding.result()

    def _tick(self, time_seconds: float | None) -> int:
        if time_seconds is None:
            period = _TICKS_PER_SECOND / self.fps
            return 0 if self._last_tick < 0 else self._last_tick + max(1, round(period))
        if not math.isfinite(time_seconds) or round(time_seconds * _TICKS_PER_SECOND) <= self._last_tick:
            last = self._last_tick / _TICKS_PER_SECOND
            raise ValueError(f"`time_seconds` must grow from frame to frame, got {time_seconds} after {last:.4f}")
        return round(time_seconds * _TICKS_PER_SECOND)

    def _open(self, width: int, height: int) -> None:
        import av

        self._size = width + width % 2, height + height % 2
        self._container = av.open(str(self._temporary), mode="w", format="mp4", options={"movflags": "+faststart"})
        stream = self._container.add_stream("libx264", rate=self.fps)
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = fractions.Fraction(1, _TICKS_PER_SECOND)
        stream.time_base = fractions.Fraction(1, _TICKS_PER_SECOND)
        stream.options = {"crf": str(self.quality), "preset": "veryfast"}
        self._stream = stream

    def _fitted(self, picture: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """Picture in the size of the video."""
        import cv2

        width, height = self._size or (0, 0)
        missing = height - picture.shape[0], width - picture.shape[1]
        if missing in {(0, 0), (0, 1), (1, 0), (1, 1)}:
            picture = np.pad(picture, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
            return np.ascontiguousarray(picture)
        scale = min(width / picture.shape[1], height / picture.shape[0])
        size = [max(1, round(side * scale)) for side in (picture.shape[1], picture.shape[0])]
        resized = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        canvas = np.zeros((height, width, 3), np.uint8)
        top, left = (height - resized.shape[0]) // 2, (width - resized.shape[1]) // 2
        canvas[top : top + resized.shape[0], left : left + resized.shape[1]] = resized
        return canvas

    def _mux(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            self._container.mux(packet)
