"""Fitted meshes over the pictures that they are of: a PNG a photo, or one video."""

import collections
import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Generator
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting.result import FitResult, FitStatus
from hardmo_jax.labels import schema
from hardmo_jax.perception import video
from hardmo_jax.perception.read_ahead import read_ahead
from hardmo_jax.pipelines.sightings import Picture, Sighting
from hardmo_jax.pipelines.stage_rates import WAITING, StageClock
from hardmo_jax.rendering import raster
from hardmo_jax.viz import overlay

Progress = Callable[[str, int, int | None], None]
#: Bodies posed at once when drawing.
_DRAWING_BATCH = 8
#: Frames that are decoded before they are drawn on.
_FRAMES_AHEAD = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is written."""

    overlay: bool = True
    """Draw the fitted meshes over the pictures."""
    renderer: Literal["auto", "gl", "painter"] = "auto"
    """OpenGL, the painter that needs none, or OpenGL where there is one."""
    side_by_side: bool = True
    """Put the untouched picture beside the overlay."""
    show_keypoints: bool = True
    """Draw the keypoints that were fitted to."""
    part_scores: bool = True
    """Say in each label how probably its feet and hands are wrong: one more fit a person."""
    category: str | None = None
    """Class of the motion, e.g. `ballet`; written to every label."""
    licence: str | None = None
    """Licence of the pictures; written to every label."""


class OverlayDrawer:
    """Draws take after take: a PNG a photo, or one video. Used as a context manager, in one thread."""

    def __init__(
        self,
        media: video.Media,
        body: BodyModel,
        renderer: raster.Renderer,
        options: OutputOptions,
        output: pathlib.Path,
        *,
        limit_frames: int | None,
        clock: StageClock,
        report: Progress,
    ) -> None:
        """Set up; nothing is read or written yet.

        Args:
            media: What is labelled; it is decoded once more, in a thread of its own.
            body: The fitted body.
            renderer: Draws meshes.
            options: What is drawn.
            output: Gets `overlay.mp4`, or the folder `overlay`.
            limit_frames: Frames looked at.
            clock: Told how long drawing takes.
            report: Told the stage, what is done, and of how much.
        """
        self._media = media
        self._body = body
        self._renderer = renderer
        self._output = output
        self._limit_frames = limit_frames
        self._clock = clock
        self._report = report
        self._style = overlay.OverlayStyle(side_by_side=options.side_by_side, show_keypoints=options.show_keypoints)
        self._faces = np.asarray(body.faces)
        self._pose_body = jax.jit(lambda model, params: model(params).vertices)
        self._done = 0
        self._first_time: float | None = None
        self._last_time = -overlay.LEAST_STEP_SECONDS
        self._stems: collections.Counter[str] = collections.Counter(path.stem for path in media.paths)
        self._open = contextlib.ExitStack()
        self._writer: overlay.VideoOverlayWriter | None = None
        self._frames: Generator[video.Frame] | None = None

    def __enter__(self) -> "OverlayDrawer":
        if self._media.kind == "video":
            self._writer = overlay.VideoOverlayWriter(
                self._output / "overlay.mp4", self._media.fps or 25.0, max_side=self._style.max_side * 2
            )
            self._open.enter_context(self._writer)
            frames = self._clock.timed("decode again", self._media.frames(stop=self._limit_frames))
            self._frames = self._clock.timed(WAITING, read_ahead(frames, _FRAMES_AHEAD))
            self._open.callback(self._frames.close)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        with self._clock.at("draw"):
            self._open.__exit__(kind, error, trace)

    def draw(self, pictures: list[Picture], sightings: list[Sighting], result: FitResult | None) -> None:
        """Draw the people of a take; takes come in order.

        Args:
            pictures: Frames or photos.
            sightings: People in them.
            result: Their fits; None if there is nobody.
        """
        of_picture: dict[int, list[int]] = {}
        for index, sighting in enumerate(sightings):
            of_picture.setdefault(sighting.picture.position, []).append(index)
        for picture in pictures:
            with self._clock.at("draw"):
                image = self._image(picture)
                drawn = self._drawn(image, picture, sightings, result, of_picture.get(picture.position, []))
                if self._writer is not None:
                    self._writer.add(drawn, time_seconds=self._shown_at(picture))
                else:
                    path = self._output / "overlay" / f"{_stem(picture, self._stems)}.png"
                    path.parent.mkdir(exist_ok=True)
                    overlay.write_png(path, drawn)
            self._done += 1
            self._report("draw", self._done, None)

    def _image(self, picture: Picture) -> UInt8[np.ndarray, "H W 3"]:
        if self._frames is None:
            return next(iter(video.open_media(picture.source_path).frames())).image
        frame = next((frame for frame in self._frames if frame.position == picture.position), None)
        if frame is None:
            raise video.MediaError(
                f"{self._media.path}: frame {picture.frame_index} could be decoded to look at it, and not to draw on "
                "it; did the file change? run again, or with --config.output.overlay=False"
            )
        return frame.image

    def _shown_at(self, picture: Picture) -> float | None:
        """Seconds from the first frame that is drawn; what the file says later than the one before, however little."""
        if picture.time_seconds is None:
            return None
        if self._first_time is None:
            self._first_time = picture.time_seconds
        self._last_time = max(picture.time_seconds - self._first_time, self._last_time + overlay.LEAST_STEP_SECONDS)
        return self._last_time

    def _drawn(
        self, image: np.ndarray, picture: Picture, sightings: list[Sighting], result: FitResult | None, ids: list[int]
    ) -> UInt8[np.ndarray, "H W 3"]:
        """A picture with its people."""
        people = []
        if result is not None:
            people = [
                _overlay_person(sightings[index], FitStatus(int(result.status[index])), posed, self._faces)
                for index, posed in zip(ids, _vertices(self._pose_body, self._body, result, ids), strict=True)
            ]
        return overlay.draw_overlay(
            image,
            people,
            focal_length=np.asarray(picture.camera.focal_length),
            principal_point=np.asarray(picture.camera.principal_point),
            renderer=self._renderer,
            style=self._style,
        )


def _stem(picture: Picture, shared_stems: collections.Counter[str]) -> str:
    """File name of an overlay: the photo's stem, with its suffix and number where photos share a stem."""
    path = picture.source_path
    if shared_stems[path.stem] == 1:
        return path.stem
    return f"{path.stem}_{path.suffix.lstrip('.')}_{picture.position}"


def _vertices(
    pose_body: Callable[..., jax.Array], body: BodyModel, result: FitResult, ids: list[int]
) -> list[np.ndarray]:
    """Posed meshes of some people, a fixed number at a time so that one program serves all."""
    posed: list[np.ndarray] = []
    for first in range(0, len(ids), _DRAWING_BATCH):
        chunk = ids[first : first + _DRAWING_BATCH]
        padded = jnp.array(chunk + chunk[:1] * (_DRAWING_BATCH - len(chunk)))
        params = jax.tree.map(lambda leaf, rows=padded: leaf[rows], result.params)
        posed += list(np.asarray(pose_body(body, params))[: len(chunk)])
    return posed


def _overlay_person(
    sighting: Sighting, status: FitStatus, vertices: np.ndarray, faces: np.ndarray
) -> overlay.OverlayPerson:
    """A person to draw; a mesh only where the fit is usable."""
    is_usable = status.name not in schema.FAILED_STATUSES and bool(np.isfinite(vertices).all())
    return overlay.OverlayPerson(
        track_id=sighting.track_id,
        vertices_camera=vertices if is_usable else None,
        faces=faces if is_usable else None,
        keypoints_2d=sighting.keypoints_2d,
        confidence=sighting.confidence,
        bbox=sighting.bbox,
        text="filled" if status is FitStatus.FILLED else "" if is_usable else status.name,
    )
