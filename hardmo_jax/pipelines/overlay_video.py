"""A video of labels: as it was filmed, with the bodies over it, and the bodies from their side; with its sound."""

import dataclasses
import itertools
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Literal

import jax
import numpy as np

from hardmo_jax.array_types import Array, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.labels import provenance, store
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.labels.store_places import labels_below
from hardmo_jax.perception import video
from hardmo_jax.perception.read_ahead import read_ahead
from hardmo_jax.pipelines.annotate_options import load_body_option
from hardmo_jax.pipelines.body_of_labels import body_option_of_labels
from hardmo_jax.pipelines.label_rows import params_of_labels, split_by_body
from hardmo_jax.pipelines.labelled_video import (
    OverlayVideoError,
    frames_of_run,
    open_labelled_video,
    rows_of_one_video,
)
from hardmo_jax.pipelines.side_views import side_views
from hardmo_jax.pipelines.stage_rates import WAITING, StageClock
from hardmo_jax.rendering import raster, scene
from hardmo_jax.viz import overlay
from hardmo_jax.viz.side_by_side import draw_side_by_side
from hardmo_jax.viz.video_sound import add_sound
from hardmo_jax.whole_files import replacing

Progress = Callable[[str, int, int | None], None]
#: Bodies posed at once, meshes and frames that are ready before they are drawn.
_POSED_AT_ONCE, _MESHES_AHEAD, _FRAMES_AHEAD = 16, 24, 6
#: Sides of the pictures, pixels.
_LEAST_HEIGHT = 64
_UNFINISHED = ".overlay-"
#: Vertices and their normals.
_Mesh = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OverlayVideoOptions:
    """What is drawn."""

    height: int = 720
    """Of the pictures in pixels; smaller videos are not scaled up."""
    show_keypoints: bool = True
    """Draw the keypoints that were fitted to over the second picture."""
    renderer: Literal["auto", "gl", "painter"] = "auto"
    """OpenGL, the painter that needs none, or OpenGL where there is one."""
    quality: int = 20
    """Constant rate factor of x264, 0 to 51: smaller is larger and better."""
    start_seconds: float | None = None
    """Where to begin; None as the labels' run did."""
    end_seconds: float | None = None
    """And to end."""

    def __post_init__(self) -> None:
        if not _LEAST_HEIGHT <= self.height <= scene.MAX_SIDE:
            raise OverlayVideoError(
                f"the height of the pictures must be {_LEAST_HEIGHT} to {scene.MAX_SIDE} pixels, got {self.height}"
            )
        if not 0 <= self.quality <= 51:
            raise OverlayVideoError(f"the quality must be 0 (lossless) to 51, got {self.quality}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OverlayVideoSummary:
    """What was written."""

    path: pathlib.Path
    num_frames: int
    num_people: int
    """Bodies drawn, over all frames."""
    frames_per_second: float
    """Of drawing."""
    stages: dict[str, float]
    """Frames a second of each stage by itself."""
    renderer: str
    sound: str | None
    """`copied`, `encoded as aac`, or None where there is none."""
    warnings: tuple[str, ...]


def write_overlay_video(
    labels: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    options: OverlayVideoOptions | None = None,
    pictures: str | os.PathLike[str] | None = None,
    source: str | None = None,
    body: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> OverlayVideoSummary:
    """Draw the labels of one video, whole or not at all.

    Frames keep their times, and those without people are shown as they are. Labels of a run that looked at a part of
    the video give a video of that part.

    Args:
        labels: File of labels, or folder with them.
        output: MP4 file to write.
        options: What is drawn.
        pictures: Folder of the video, or the video; None takes what `run.json` beside the labels says, else the same
            file beside or above the labels.
        source: Which of several videos, as the labels name it; None if there is one.
        body: File of the body model of the labels; None takes what `run.json` says, else the open body.
        progress: Called as work goes on.

    Raises:
        FileNotFoundError: If there are no labels, or the given pictures are not there.
        OverlayVideoError: If they are of photos, of several videos, of another video than the one that is there, or
            the output cannot be a video.
        hardmo_jax.perception.video.MediaError: If the video cannot be read.
    """
    options = options or OverlayVideoOptions()
    report = progress or (lambda stage, done, total: None)
    path = labels_below(labels)
    folder = path if path.is_dir() else path.parent
    target = pathlib.Path(output)
    if target.suffix.lower() != ".mp4":
        raise OverlayVideoError(f"{target}: the video is an MP4 file; give a name that ends in .mp4")
    rows = rows_of_one_video(store.latest_labels(store.read_labels(path).rows), path, source)
    media = open_labelled_video(rows, folder / "labels.parquet", pictures, target)
    run = provenance.read_run(folder / "labels.parquet")
    model = load_body_option(body_option_of_labels(rows, run, body))
    own, others = split_by_body([row for row in rows if row.is_usable], model)
    warnings = []
    if others:
        warnings.append(f"{len(others)} labels are of another body ({others[0].body_model}) and drawn without it")
    choice, limit = frames_of_run(run, options.start_seconds, options.end_seconds)
    media = media.chosen(choice)
    renderer = raster.choose_renderer(options.renderer)
    if renderer.reason:
        warnings.append(f"drawn without OpenGL: {renderer.reason}")
    target.parent.mkdir(parents=True, exist_ok=True)
    clock, begun = StageClock(("decode", "pose", "draw", "encode", "sound")), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=target.parent) as scratch:
        silent = pathlib.Path(scratch) / "pictures.mp4"
        drawn = _draw(media, limit, rows, own, model, renderer, options, silent, clock, report)
        is_part = limit is not None or choice.end_seconds is not None
        seconds = time.perf_counter() - begun
        with clock.at("sound"), replacing(target) as temporary:
            sound = add_sound(
                silent,
                media.path,
                temporary,
                start_seconds=drawn.first_time,
                end_seconds=drawn.end_time if is_part else None,
            )
    return OverlayVideoSummary(
        path=target,
        num_frames=drawn.num_frames,
        num_people=drawn.num_people,
        frames_per_second=drawn.num_frames / seconds,
        stages={rate.stage: rate.frames_per_second for rate in clock.rates(drawn.num_frames)},
        renderer=renderer.name,
        sound=sound,
        warnings=(*warnings, *media.warnings),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Drawn:
    num_frames: int
    num_people: int
    first_time: float
    end_time: float
    """Of the last frame, when it ends."""


def _draw(
    media: video.Media,
    limit: int | None,
    rows: Sequence[LabelRow],
    own: Sequence[LabelRow],
    body: BodyModel,
    renderer: raster.Renderer,
    options: OverlayVideoOptions,
    silent: pathlib.Path,
    clock: StageClock,
    report: Progress,
) -> _Drawn:
    """The pictures without the sound: frames are read and bodies posed in threads while others are drawn."""
    of_frame: dict[int, list[LabelRow]] = {}
    for row in sorted(rows, key=lambda row: (row.frame_index, row.track_id)):
        of_frame.setdefault(row.frame_index, []).append(row)
    with_body: dict[int, list[LabelRow]] = {}
    for row in own:
        with_body.setdefault(row.frame_index, []).append(row)
    rate = media.fps or 25.0
    views = side_views(with_body, body, frames_per_second=rate)
    in_order = [row for index in sorted(of_frame) for row in of_frame[index]]
    has_body = {row.label_id for row in own}
    faces = np.asarray(body.faces)
    total = media.frame_count if limit is None else min(limit, media.frame_count or limit)
    frames = clock.timed(WAITING, read_ahead(clock.timed("decode", media.frames(stop=limit)), _FRAMES_AHEAD))
    bodies = (row for row in in_order if row.label_id in has_body)
    meshes = clock.timed(WAITING, read_ahead(clock.timed("pose", _posed_meshes(bodies, body)), _MESHES_AHEAD))
    num_frames = num_people = 0
    first_time, last_shown = 0.0, -overlay.LEAST_STEP_SECONDS
    upcoming = next(meshes, None)
    writer = overlay.VideoOverlayWriter(silent, rate, max_side=scene.MAX_SIDE, quality=options.quality)
    report("draw", 0, total)
    try:
        with writer:
            for frame in frames:
                frame_time = frame.time_seconds or 0.0
                if num_frames == 0:
                    first_time = frame_time
                people = []
                here = of_frame.get(frame.frame_index, [])
                # Labels of frames that are passed over are not drawn.
                while upcoming is not None and upcoming[0].frame_index < frame.frame_index:
                    upcoming = next(meshes, None)
                for row in here:
                    mesh = None
                    if upcoming is not None and upcoming[0].label_id == row.label_id:
                        mesh = upcoming[1]
                        upcoming = next(meshes, None)
                    people.append(_person(row, mesh, faces))
                camera = here[0] if here else None
                height, width = frame.image.shape[:2]
                with clock.at("draw"):
                    picture = draw_side_by_side(
                        frame.image,
                        people,
                        views.get(frame.frame_index),
                        focal_length=np.ones(2) if camera is None else camera.focal_length,
                        principal_point=np.array([width / 2, height / 2]) if camera is None else camera.principal_point,
                        height=options.height,
                        renderer=renderer,
                        show_keypoints=options.show_keypoints,
                    )
                with clock.at("encode"):
                    last_shown = max(frame_time - first_time, last_shown + overlay.LEAST_STEP_SECONDS)
                    writer.add(picture, time_seconds=last_shown)
                num_frames += 1
                num_people += sum(person.vertices_camera is not None for person in people)
                report("draw", num_frames, total)
            if num_frames == 0:
                raise video.MediaError(f"{media.path}: no frame of it can be read")
    finally:
        frames.close()
        meshes.close()
    report("draw", num_frames, num_frames)
    return _Drawn(
        num_frames=num_frames,
        num_people=num_people,
        first_time=first_time,
        end_time=first_time + last_shown + 1 / rate,
    )


def _person(row: LabelRow, mesh: _Mesh | None, faces: np.ndarray) -> overlay.OverlayPerson:
    return overlay.OverlayPerson(
        track_id=row.track_id,
        vertices_camera=None if mesh is None else mesh[0],
        faces=None if mesh is None else faces,
        normals_camera=None if mesh is None else mesh[1],
        keypoints_2d=row.keypoints_2d,
        confidence=row.keypoint_confidence,
        layout=row.keypoint_layout,
        bbox=row.bbox,
        text="filled" if row.status == "FILLED" else "" if row.is_usable else row.status,
    )


def _posed_meshes(rows: Iterable[LabelRow], body: BodyModel) -> Generator[tuple[LabelRow, _Mesh | None]]:
    """Labels in the same order with their meshes; a fixed number at a time, so that one program serves all."""
    faces = np.asarray(body.faces)
    left = iter(rows)
    while waiting := list(itertools.islice(left, _POSED_AT_ONCE)):
        padded = waiting + waiting[:1] * (_POSED_AT_ONCE - len(waiting))
        vertices = np.asarray(_vertices(body, params_of_labels(padded, body)))
        for row, own in zip(waiting, vertices, strict=False):
            yield row, (own, scene.vertex_normals(own, faces)) if np.isfinite(own).all() else None


@jax.jit
def _vertices(body: BodyModel, params: BodyParams) -> Float[Array, "N V 3"]:
    return body(params).vertices
