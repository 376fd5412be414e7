"""Clips of people recovered frame by frame and over time: those of videos, and those whose truth is known."""

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np

from hardmo_jax.array_types import Int
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.data import hard_set
from hardmo_jax.data.hard_set import HardSet
from hardmo_jax.fitting.fit_motion import MotionOptions
from hardmo_jax.fitting.result import FitResult, FitStatus
from hardmo_jax.labels import schema
from hardmo_jax.perception import video
from hardmo_jax.perception.people import PeopleSource
from hardmo_jax.pipelines.annotate_tracks import VideoFitOptions, fit_tracks
from hardmo_jax.pipelines.perceiving import lasting_people, perceive
from hardmo_jax.pipelines.sightings import LAYOUT, Picture, Sighting, as_read, to_observations
from hardmo_jax.recovery.ground import Ground, GroundError, estimate_ground
from hardmo_jax.recovery.lift_and_fit import lift_and_fit
from hardmo_jax.recovery.recover_motion import recover_motion, weights_of_frames
from hardmo_jax.recovery.starts import StartOptions
from hardmo_jax.rendering.scene import Renderer
from hardmo_jax.viz import motion_sheet, overlay
from hardmo_jax.viz.motion_sheet import MotionClip, MotionDrawing, MotionFrame
from hardmo_jax.viz.overlay import OverlayPerson

WAYS = ("every frame by itself", "over time")
#: Areas of the picture of one way, pixels: in videos, and on sheets.
_VIDEO_AREA, _SHEET_AREA = 300_000, 11_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """How people are recovered."""

    start: StartOptions = StartOptions()
    """Of frames by themselves."""
    fit: VideoFitOptions
    """Weights."""
    motion: MotionOptions = MotionOptions()
    """How frames are tied together."""


def clip_of_video(
    media: video.Media, body: BodyModel, options: ClipOptions, estimator: PeopleSource
) -> MotionClip | None:
    """Everybody of a video, as `pipelines.annotate` sees them; None if nobody was found.

    Posed meshes of all frames are held, so this is for clips of seconds.

    Args:
        media: The video.
        body: Whole body.
        options: How people are recovered.
        estimator: Looks at pictures.

    Raises:
        hardmo_jax.perception.video.MediaError: If it is no video, or cannot be read.
    """
    if media.kind != "video":
        raise video.MediaError(f"{media.path}: only videos are drawn over time, this is of kind {media.kind!r}")
    pictures: list[Picture] = []
    ways: list[dict[int, list[OverlayPerson]]] = [{}, {}]
    grounds: list[Ground | None] = []
    for take in perceive(media, estimator, watch_camera=True):
        pictures += take.pictures
        sightings, _ = lasting_people(take.sightings, len(take.pictures))
        if not sightings:
            continue
        single = lift_and_fit(body, to_observations(sightings), start=options.start, options=options.fit)
        together = fit_tracks(
            body, take.pictures, sightings, start=options.start, options=options.fit, motion=options.motion,
            report=lambda *_: None, camera_path=take.camera_path,
        )  # fmt: skip
        ways[0] |= _people_of_frames(body, single.result, as_read(sightings, np.asarray(single.keypoint_order)))
        ways[1] |= _people_of_frames(body, together.result, together.sightings)
        grounds.append(together.ground)
    if not grounds:
        return None
    view = pictures[0].camera
    return MotionClip(
        name=media.path.stem,
        ways=WAYS,
        frames=tuple(
            MotionFrame(
                index=picture.frame_index,
                time_seconds=picture.time_seconds,
                people=tuple(tuple(way.get(picture.position, ())) for way in ways),
            )
            for picture in pictures
        ),
        frames_per_second=media.fps or 25.0,
        faces=np.asarray(body.faces),
        image_size=(pictures[0].width, pictures[0].height),
        focal_length=np.asarray(view.focal_length, np.float64),
        principal_point=np.asarray(view.principal_point, np.float64),
        # Each shot has a floor of its own; a clip is drawn on one.
        **_floor(grounds[0] if len(grounds) == 1 else None),
    )


def clip_of_window(found: HardSet, window: int, body: BodyModel, options: ClipOptions) -> MotionClip:
    """One clip of a benchmark, with its truth.

    Args:
        found: Set of clips.
        window: Number of the clip in the set.
        body: Body of the set.
        options: How people are recovered.

    Raises:
        HardSetError: If the body is another one.
    """
    some = found.select(np.flatnonzero(found.windows == window))
    truth = hard_set.truth_vertices(some, body)
    single = lift_and_fit(body, some.observations(), start=options.start, options=options.fit)
    together = recover_motion(
        body,
        some.observations(),
        frames_per_second=some.frames_per_second,
        camera_is_fixed=options.fit.camera_is_fixed is not False,  # cameras of benchmarks are
        options=weights_of_frames(options.fit),
        motion_options=options.motion,
    )
    try:
        ground = estimate_ground(body, jax.tree.map(np.asarray, together.result.params), together.stands)
    except GroundError:
        ground = None
    meshes = [_meshes(body, recovered.result) for recovered in (single, together)]

    def person(at: int, mesh: list[np.ndarray | None]) -> OverlayPerson:
        return OverlayPerson(
            vertices_camera=mesh[at],
            faces=None if mesh[at] is None else np.asarray(body.faces),
            keypoints_2d=np.asarray(some.keypoints_2d[at], np.float64),
            confidence=np.asarray(some.confidence[at], np.float64),
            layout=some.layout,
        )

    return MotionClip(
        name=f"{found.name.rpartition('/')[2]}_{some.styles[0]}_{some.takes[0]}_{int(some.frames[0])}",
        ways=WAYS,
        frames=tuple(
            MotionFrame(
                index=int(some.frames[at]), people=tuple((person(at, mesh),) for mesh in meshes), truth=truth[at]
            )
            for at in range(len(some))
        ),
        frames_per_second=some.frames_per_second,
        faces=np.asarray(body.faces),
        image_size=some.image_size,
        focal_length=np.asarray(some.assumed_camera.focal_length[0], np.float64),
        principal_point=np.asarray(some.assumed_camera.principal_point[0], np.float64),
        **_floor(ground),
    )


def windows_of_styles(found: HardSet, count: int, *, share: float = 0.5) -> Int[np.ndarray, "N"]:
    """`count` clips of each style, evenly spaced over those that the set has; `share` of a space before the first."""
    styles = list(dict.fromkeys(found.styles))
    picked = []
    for style in styles:
        own = np.unique(found.windows[np.array([name == style for name in found.styles])])
        own = own[own >= 0]
        some = min(count, len(own))
        picked += [int(own[int((at + share) * len(own) / some)]) for at in range(some)]
    return np.array(picked, np.int64)


def write_clip(
    clip: MotionClip,
    folder: pathlib.Path,
    renderer: Renderer,
    *,
    media: video.Media | None = None,
    sheet_frames: int = 8,
    is_shown: bool = True,
) -> tuple[pathlib.Path, pathlib.Path]:
    """Write the video of a clip and its sheet.

    Args:
        clip: What is drawn.
        folder: Gets `NAME.mp4` and `NAME.png`.
        renderer: Draws meshes.
        media: Where the pictures come from; None draws on paper.
        sheet_frames: Columns of the sheet, evenly spaced.
        is_shown: Show the pictures on the sheet too; only their people otherwise.

    Returns:
        The two files.
    """

    def images() -> Iterable[np.ndarray | None]:
        if media is None:
            return (None for _ in clip.frames)
        return (frame.image for frame in media.frames())

    folder.mkdir(parents=True, exist_ok=True)
    drawing = MotionDrawing(clip, renderer, is_cut=media is None, area=_VIDEO_AREA)
    path = folder / f"{clip.name}.mp4"
    with overlay.VideoOverlayWriter(path, clip.frames_per_second) as writer:
        for at, (frame, image) in enumerate(zip(clip.frames, images(), strict=False)):
            writer.add(motion_sheet.draw_motion_frame(drawing, at, image), time_seconds=frame.time_seconds)
    columns = np.unique(np.linspace(0, len(clip.frames) - 1, sheet_frames).round().astype(int)).tolist()
    some = [image if is_shown and at in columns else None for at, image in enumerate(images())]
    drawing = MotionDrawing(clip, renderer, is_cut=True, area=_SHEET_AREA)
    sheet = motion_sheet.draw_motion_sheet(drawing, columns, [some[at] for at in columns])
    return path, overlay.write_png(folder / f"{clip.name}.png", sheet)


def _people_of_frames(
    body: BodyModel, result: FitResult, sightings: Sequence[Sighting]
) -> dict[int, list[OverlayPerson]]:
    """People to draw by the position of their frame."""
    faces = np.asarray(body.faces)
    people: dict[int, list[OverlayPerson]] = {}
    for one, mesh, status in zip(sightings, _meshes(body, result), np.asarray(result.status), strict=True):
        people.setdefault(one.picture.position, []).append(
            OverlayPerson(
                track_id=one.track_id,
                vertices_camera=mesh,
                faces=None if mesh is None else faces,
                keypoints_2d=np.asarray(one.keypoints_2d, np.float64),
                confidence=np.asarray(one.confidence, np.float64),
                layout=LAYOUT,
                text="filled"
                if status == FitStatus.FILLED
                else ""
                if mesh is not None
                else FitStatus(int(status)).name,
            )
        )
    return people


def _meshes(body: BodyModel, result: FitResult) -> list[np.ndarray | None]:
    """Vertices of everybody; None where the fit failed."""
    params: BodyParams = jax.tree.map(np.asarray, result.params)
    vertices = np.asarray(in_pieces(body, params).vertices, np.float32)
    return [
        mesh if FitStatus(int(status)).name not in schema.FAILED_STATUSES and np.isfinite(mesh).all() else None
        for mesh, status in zip(vertices, np.asarray(result.status), strict=True)
    ]


def _floor(ground: Ground | None) -> dict[str, Any]:
    return {} if ground is None else {"rotation": ground.rotation, "camera_height": ground.camera_height}
