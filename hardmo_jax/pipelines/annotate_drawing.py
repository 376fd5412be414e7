"""Fitted meshes over the pictures that they are of: a PNG a photo, or one video."""

import collections
import dataclasses
import pathlib
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting.result import FitResult, FitStatus
from hardmo_jax.labels import schema
from hardmo_jax.perception import video
from hardmo_jax.pipelines.sightings import Picture, Sighting
from hardmo_jax.rendering import raster
from hardmo_jax.viz import overlay

Progress = Callable[[str, int, int | None], None]
#: Bodies posed at once when drawing.
_DRAWING_BATCH = 8


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


def draw_overlays(
    media: video.Media,
    pictures: list[Picture],
    sightings: list[Sighting],
    result: FitResult | None,
    body: BodyModel,
    renderer: raster.Renderer,
    options: OutputOptions,
    output: pathlib.Path,
    report: Progress,
    *,
    limit_frames: int | None,
) -> None:
    """Meshes over the pictures: a PNG a photo, or one video.

    Args:
        media: What was labelled.
        pictures: Its frames or photos.
        sightings: People in them.
        result: Their fits; None if there is nobody.
        body: The fitted body.
        renderer: Draws meshes.
        options: What is drawn.
        output: Gets `overlay.mp4`, or the folder `overlay`.
        report: Told the stage, what is done, and of how much.
        limit_frames: Frames looked at.
    """
    style = overlay.OverlayStyle(side_by_side=options.side_by_side, show_keypoints=options.show_keypoints)
    faces = np.asarray(body.faces)
    pose_body = jax.jit(lambda model, params: model(params).vertices)
    of_picture: dict[int, list[int]] = {}
    for index, sighting in enumerate(sightings):
        of_picture.setdefault(sighting.picture.position, []).append(index)
    known = {picture.position: picture for picture in pictures}

    def drawn(image: np.ndarray, position: int) -> np.ndarray:
        picture = known[position]
        ids = of_picture.get(position, [])
        vertices = _vertices(pose_body, body, result, ids) if result is not None else []
        people = [
            _overlay_person(sightings[index], FitStatus(int(result.status[index])), posed, faces)
            for index, posed in zip(ids, vertices, strict=True)
            if result is not None
        ]
        return overlay.draw_overlay(
            image,
            people,
            focal_length=np.asarray(picture.camera.focal_length),
            principal_point=np.asarray(picture.camera.principal_point),
            renderer=renderer,
            style=style,
        )

    report("draw", 0, len(pictures))
    if media.kind == "video":
        path = output / "overlay.mp4"
        with overlay.VideoOverlayWriter(path, media.fps or 25.0, max_side=style.max_side * 2) as writer:
            for done, frame in enumerate(media.frames(stop=limit_frames), start=1):
                if frame.position in known:
                    writer.add(drawn(frame.image, frame.position), time_seconds=frame.time_seconds)
                report("draw", done, len(pictures))
        return
    shared_stems = collections.Counter(picture.source_path.stem for picture in pictures)
    for done, picture in enumerate(pictures, start=1):
        image = next(iter(video.open_media(picture.source_path).frames())).image
        path = output / "overlay" / f"{_stem(picture, shared_stems)}.png"
        path.parent.mkdir(exist_ok=True)
        overlay.write_png(path, drawn(image, picture.position))
        report("draw", done, len(pictures))


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
