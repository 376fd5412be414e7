"""Pictures of photos and videos looked at: who is in them, and how the camera of a video moves."""

from collections.abc import Callable, Iterator

import numpy as np

from hardmo_jax.perception import shots, track, video
from hardmo_jax.perception.camera_motion import CameraPath, CameraWatch
from hardmo_jax.perception.people import PeopleSource
from hardmo_jax.perception.quality import QualityOptions, box_qualities
from hardmo_jax.pipelines.sightings import Picture, Sighting

Progress = Callable[[str, int, int | None], None]


def perceive(
    media: video.Media,
    people_source: PeopleSource,
    *,
    watch_camera: bool,
    quality: QualityOptions | None = None,
    limit_frames: int | None = None,
    report: Progress = lambda stage, done, total: None,
) -> tuple[list[Picture], list[Sighting], CameraPath | None]:
    """Look at every picture.

    Args:
        media: Photos or a video.
        people_source: Finds people.
        watch_camera: Look at the background of a video too.
        quality: When there is a reason to doubt how well somebody is seen.
        limit_frames: Pictures at most.
        report: Told the stage, what is done, and of how much.

    Returns:
        Pictures, people in them, and how the background moves, if it was looked at.
    """
    pictures: list[Picture] = []
    watch = CameraWatch() if watch_camera else None
    shown: np.ndarray | None = None
    total = media.frame_count
    if limit_frames is not None:
        total = limit_frames if total is None else min(total, limit_frames)

    def looked_at() -> Iterator[video.Frame]:
        nonlocal shown
        frames = media.frames(stop=limit_frames, on_error="skip" if media.kind == "folder" else "raise")
        for frame in shots.with_shots(frames) if media.kind == "video" else frames:
            height, width = frame.image.shape[:2]
            pictures.append(
                Picture(
                    position=frame.position,
                    source_path=frame.source_path,
                    source_sha256=frame.source_sha256,
                    frame_index=frame.frame_index,
                    time_seconds=frame.time_seconds,
                    width=width,
                    height=height,
                    focal_length_35mm=frame.focal_length_35mm,
                    starts_shot=frame.starts_shot,
                )
            )
            shown = frame.image
            yield frame

    report("perceive", 0, total)
    sightings = []
    for people in people_source.people_of(looked_at(), is_video=media.kind == "video"):
        report("perceive", len(pictures), total)
        if watch is not None and shown is not None:
            watch.step(shown, [person.bbox for person in people])
        # From left to right: the number of a person must not hang on scores, which every option moves.
        ordered = sorted(people, key=lambda person: float(person.bbox[0] + person.bbox[2]))
        qualities = box_qualities(
            ordered, width=pictures[-1].width, height=pictures[-1].height, image=shown, options=quality
        )
        for number, (person, own) in enumerate(zip(ordered, qualities, strict=True)):
            sightings.append(
                Sighting(
                    picture=pictures[-1],
                    track_id=number if person.track_id is None else person.track_id,
                    keypoints_2d=person.keypoints_2d,
                    confidence=person.confidence,
                    keypoints_3d=person.keypoints_3d,
                    confidence_3d=person.confidence_3d,
                    bbox=person.bbox,
                    score=person.score,
                    source=person.source or people_source.source,
                    quality=own,
                )
            )
    return pictures, sightings, None if watch is None else watch.path


def lasting_people(sightings: list[Sighting], num_frames: int, warnings: list[str]) -> list[Sighting]:
    """People of a video without what was taken for one for a moment, which is told."""
    confidences: dict[int, list[np.ndarray]] = {}
    for sighting in sightings:
        confidences.setdefault(sighting.track_id, []).append(sighting.confidence)
    kept = track.lasting_tracks(confidences, num_frames)
    dropped = [one for one in sightings if one.track_id not in kept]
    if dropped:
        frames = sorted({one.picture.frame_index for one in dropped})
        named = ", ".join(map(str, frames[:5])) + (" and others" if frames[5:] else "")
        warnings.append(
            f"{len(confidences) - len(kept)} unsure finds of less than {track.TrackOptions().min_doubtful_length} "
            f"frames are not labelled (frame {named})"
        )
    return [one for one in sightings if one.track_id in kept]
