"""Pictures of photos and videos looked at: who is in them, and how the camera of a video moves."""

import collections
import concurrent.futures
import dataclasses
from collections.abc import Callable, Generator, Iterator, Sequence

import numpy as np

from hardmo_jax.perception import shots, track, video
from hardmo_jax.perception.camera_motion import CameraPath, CameraWatch
from hardmo_jax.perception.people import PeopleSource, PersonKeypoints
from hardmo_jax.perception.quality import QualityOptions, box_qualities
from hardmo_jax.perception.read_ahead import read_ahead
from hardmo_jax.pipelines.regress_people import PeopleRegressor
from hardmo_jax.pipelines.sightings import Picture, Sighting
from hardmo_jax.pipelines.stage_rates import WAITING, StageClock

Progress = Callable[[str, int, int | None], None]
#: Frames that are decoded before they are looked at.
_FRAMES_AHEAD = 4
#: People of photos that are fitted together.
PEOPLE_OF_A_TAKE = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class Take:
    """Pictures that are labelled together: one shot of a video, or some of many photos."""

    pictures: list[Picture]
    """In order."""
    sightings: list[Sighting]
    """People in them, in the same order."""
    camera_path: CameraPath | None
    """How the background moves, if it was looked at."""


def perceive(
    media: video.Media,
    people_source: PeopleSource,
    *,
    watch_camera: bool,
    quality: QualityOptions | None = None,
    limit_frames: int | None = None,
    regressor: PeopleRegressor | None = None,
    has_somebody: concurrent.futures.Future[bool] | None = None,
    clock: StageClock | None = None,
    report: Progress = lambda stage, done, total: None,
    skip_positions: int = 0,
) -> Generator[Take]:
    """Look at every picture; they are decoded in a thread of their own.

    Args:
        media: Photos or a video.
        people_source: Finds people.
        watch_camera: Look at the background of a video too.
        quality: When there is a reason to doubt how well somebody is seen.
        limit_frames: Pictures at most.
        regressor: Asked about everybody, if there is one.
        has_somebody: Told true when the first person is seen, and false at the end if nobody was.
        clock: Told how long reading (`decode`), looking (`perceive`) and asking (`regress`) take.
        report: Told the stage, what is done, and of how much.
        skip_positions: Pictures before this position are read, so that shots are found as ever, and not looked at: they
            are known. A shot must begin there.

    Yields:
        The shots of a video one after the other, each as soon as it has ended; of photos some at a time.
    """
    is_video = media.kind == "video"
    clock = clock or StageClock()
    total = media.frame_count
    if limit_frames is not None:
        total = limit_frames if total is None else min(total, limit_frames)
    frames = media.frames(stop=limit_frames, on_error="skip" if media.kind == "folder" else "raise")
    frames = clock.timed("decode", shots.with_shots(frames) if is_video else frames)
    if skip_positions:
        frames = (frame for frame in frames if frame.position >= skip_positions)
    frames = clock.timed(WAITING, read_ahead(frames, _FRAMES_AHEAD))
    shown: collections.deque[tuple[Picture, np.ndarray]] = collections.deque()

    def looked_at() -> Iterator[video.Frame]:
        for frame in frames:
            shown.append((_picture(frame), frame.image))
            yield frame

    report("perceive", 0, total)
    pictures: list[Picture] = []
    sightings: list[Sighting] = []
    watch: CameraWatch | None = None
    done = 0

    def take() -> Take:
        told = sightings
        if regressor is not None:
            with clock.at("regress"):
                answers = regressor.answers()
            told = [dataclasses.replace(one, regressed=answer) for one, answer in zip(sightings, answers, strict=True)]
        return Take(pictures=pictures, sightings=told, camera_path=None if watch is None else watch.path)

    try:
        for people in clock.timed("perceive", people_source.people_of(looked_at(), is_video=is_video)):
            picture, image = shown.popleft()
            is_full = not is_video and len(sightings) + len(people) > PEOPLE_OF_A_TAKE
            if pictures and (picture.starts_shot or is_full):
                yield take()
                pictures, sightings, watch = [], [], None
            with clock.at("perceive"):
                if watch_camera:
                    watch = watch or CameraWatch()
                    watch.step(image, [person.bbox for person in people])
                found = sightings_of_people(picture, image, people, people_source.source, quality)
            if regressor is not None:
                with clock.at("regress"):
                    regressor.look(image, found)
            sightings += found
            if found and has_somebody is not None and not has_somebody.done():
                has_somebody.set_result(True)
            pictures.append(picture)
            done += 1
            report("perceive", done, total)
    finally:
        if has_somebody is not None and not has_somebody.done():
            has_somebody.set_result(False)
        frames.close()
    if pictures:
        yield take()


def _picture(frame: video.Frame) -> Picture:
    height, width = frame.image.shape[:2]
    return Picture(
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


def sightings_of_people(
    picture: Picture,
    image: np.ndarray,
    people: Sequence[PersonKeypoints],
    source: str,
    quality: QualityOptions | None,
) -> list[Sighting]:
    """People of one picture, from left to right, with how well each is seen.

    Args:
        picture: That they are in.
        image: Its pixels.
        people: Who was found.
        source: What measures their keypoints.
        quality: When there is a reason to doubt how well somebody is seen.
    """
    # From left to right: the number of a person must not hang on scores, which every option moves.
    ordered = sorted(people, key=lambda person: float(person.bbox[0] + person.bbox[2]))
    qualities = box_qualities(ordered, width=picture.width, height=picture.height, image=image, options=quality)
    return [
        Sighting(
            picture=picture,
            track_id=number if person.track_id is None else person.track_id,
            keypoints_2d=person.keypoints_2d,
            confidence=person.confidence,
            keypoints_3d=person.keypoints_3d,
            confidence_3d=person.confidence_3d,
            bbox=person.bbox,
            score=person.score,
            source=person.source or source,
            quality=own,
        )
        for number, (person, own) in enumerate(zip(ordered, qualities, strict=True))
    ]


def lasting_people(sightings: list[Sighting], num_frames: int) -> tuple[list[Sighting], list[Sighting]]:
    """People of a shot, and what was taken for one for a moment only."""
    confidences: dict[int, list[np.ndarray]] = {}
    for sighting in sightings:
        confidences.setdefault(sighting.track_id, []).append(sighting.confidence)
    kept = track.lasting_tracks(confidences, num_frames)
    return [one for one in sightings if one.track_id in kept], [one for one in sightings if one.track_id not in kept]


def unsure_warning(dropped: Sequence[Sighting]) -> str:
    """What is said of those who were seen for a moment only."""
    frames = sorted({one.picture.frame_index for one in dropped})
    named = ", ".join(map(str, frames[:5])) + (" and others" if frames[5:] else "")
    count = len({one.track_id for one in dropped})
    return (
        f"{count} unsure finds of less than {track.TrackOptions().min_doubtful_length} frames are not labelled "
        f"(frame {named})"
    )
