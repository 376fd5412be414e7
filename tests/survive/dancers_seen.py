"""The two dancers of the demo as a detector sees them, and how they are fitted over time."""

import pathlib

import numpy as np

from hardmo_jax.body import landmarks
from hardmo_jax.body.pieces import project_in_pieces
from hardmo_jax.fitting.fit_motion import MotionOptions
from hardmo_jax.geometry import cameras
from hardmo_jax.pipelines import demo_clip
from hardmo_jax.pipelines.annotate_tracks import FittedTracks, VideoFitOptions, fit_tracks
from hardmo_jax.pipelines.sightings import LAYOUT, Picture, Sighting
from hardmo_jax.recovery.lift_and_fit import FROM_LIFTER
from hardmo_jax.recovery.starts import StartOptions
from hardmo_jax.skeleton import layouts
from tests.fitting import tracks

FRAMES = 48


def dancers_seen(body) -> list[Sighting]:
    """The two dancers of the demo, with what a detector gets wrong."""
    truth = demo_clip.packaged_truth()
    model, is_supported = landmarks.point_model(body, layouts.get_layout(LAYOUT))
    camera = cameras.Camera(
        focal_length=np.full((len(truth.frame), 2), truth.focal_length, np.float32),
        principal_point=np.full((len(truth.frame), 2), (tracks.WIDTH / 2, tracks.HEIGHT / 2), np.float32),
    )
    _, pixels = project_in_pieces(model, camera, truth.params)
    pixels = pixels + np.random.default_rng(0).normal(scale=1.5, size=pixels.shape)
    found = []
    for at, own, points in zip(truth.frame, truth.dancer, pixels, strict=True):
        if at >= FRAMES:
            break
        kept = points[is_supported]
        found.append(
            Sighting(
                picture=picture(int(at)), track_id=int(own), confidence=is_supported.astype(np.float32),
                keypoints_2d=np.where(is_supported[:, None], points, 0).astype(np.float32), keypoints_3d=None,
                confidence_3d=None, bbox=np.concatenate([kept.min(0), kept.max(0)]).astype(np.float32), score=0.9,
                source="made up",
            )
        )  # fmt: skip
    return found


def picture(at, seconds=None) -> Picture:
    """A frame of the demo; `seconds` where it is at another time than its number says."""
    return Picture(
        position=at, source_path=pathlib.Path("clip.mp4"), source_sha256="0" * 64, frame_index=at,
        time_seconds=at / demo_clip.FRAMES_PER_SECOND if seconds is None else seconds,
        width=tracks.WIDTH, height=tracks.HEIGHT,
    )  # fmt: skip


def fit_dancers(body, sightings, *, window_frames=16, frames_per_second=None) -> FittedTracks:
    """Fit everybody of some sightings, from the lifter."""
    pictures = {one.picture.position: one.picture for one in sightings}
    return fit_tracks(
        body, [pictures[at] for at in sorted(pictures)], sightings, start=StartOptions(second_look=False),
        options=VideoFitOptions.of(FROM_LIFTER), report=lambda *_: None, frames_per_second=frames_per_second,
        motion=MotionOptions(window_frames=window_frames, overlap_frames=window_frames // 4),
    )  # fmt: skip


def points_of(fitted: FittedTracks) -> dict[tuple[int, int], np.ndarray]:
    """Points by person and frame, metres."""
    points = np.asarray(fitted.result.keypoints_3d)
    return {(one.track_id, one.picture.position): own for one, own in zip(fitted.sightings, points, strict=True)}
