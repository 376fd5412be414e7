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
#: Frames of a shot that are fitted together, so that memory does not grow with its length, and of which two takes of
#: one shot share: one to two seconds.
LONGEST_TAKE, _OVERLAP = 1000, 60
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
    kept: tuple[int, int] | None = None
    """First of the pictures that are labelled by this take, and the one behind the last; None is all of them. The
    others are labelled by the take before or behind, and looked at so that motion does not end between the two."""
    ends_shot: bool = True
    """Whether what follows has nothing to do with it."""

    @property
    def kept_pictures(self) -> list[Picture]:
        """Those that are labelled by this take."""
        return self.pictures if self.kept is None else self.pictures[slice(*self.kept)]


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
    longest_take: int = LONGEST_TAKE,
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
        longest_take: Pictures of a take of a video.

    Yields:
        The shots of a video one after the other, each as soon as it has ended; a longer one in takes that overlap. Of
        photos some at a time.
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
    gathered = _Gathered()
    # Of a take that is cut off in the middle of a shot the last frames are the first ones of the next.
    overlap = min(_OVERLAP, longest_take // 2)
    following: _Gathered | None = None
    done = 0

    try:
        for people in clock.timed("perceive", people_source.people_of(looked_at(), is_video=is_video)):
            picture, image = shown.popleft()
            is_full = not is_video and len(gathered.sightings) + len(people) > PEOPLE_OF_A_TAKE
            if gathered.pictures and (picture.starts_shot or is_full):
                gathered.ask(regressor, clock)
                yield gathered.take()
                gathered, following = _Gathered(), None
            elif is_video and len(gathered.pictures) == longest_take:
                gathered.ask(regressor, clock)
                following = following or _Gathered()
                following.take_over(gathered, overlap)
                yield gathered.take(leaves=overlap - overlap // 2)
                gathered, following = following, None
            if is_video and len(gathered.pictures) == longest_take - overlap:
                following = _Gathered()
            with clock.at("perceive"):
                if watch_camera:
                    for one in (gathered, following):
                        if one is not None:
                            one.watch_camera(image, people)
                found = sightings_of_people(picture, image, people, people_source.source, quality)
            if regressor is not None:
                with clock.at("regress"):
                    regressor.look(image, found)
            gathered.sightings += found
            if found and has_somebody is not None and not has_somebody.done():
                has_somebody.set_result(True)
            gathered.pictures.append(picture)
            done += 1
            report("perceive", done, total)
    finally:
        if has_somebody is not None and not has_somebody.done():
            has_somebody.set_result(False)
        frames.close()
    if gathered.pictures:
        gathered.ask(regressor, clock)
        yield gathered.take()


class _Gathered:
    """What has been seen of a take so far."""

    def __init__(self) -> None:
        self.pictures: list[Picture] = []
        self.sightings: list[Sighting] = []
        self._num_asked = 0
        self._kept_from = 0
        self._watch: CameraWatch | None = None

    def watch_camera(self, image: np.ndarray, people: Sequence[PersonKeypoints]) -> None:
        """Look at the background of the next frame."""
        self._watch = self._watch or CameraWatch()
        self._watch.step(image, [person.bbox for person in people])

    def ask(self, regressor: PeopleRegressor | None, clock: StageClock) -> None:
        """Put the answers of a network beside those of whom it was not told yet."""
        if regressor is None:
            return
        with clock.at("regress"):
            answers = regressor.answers()
        asked = self.sightings[self._num_asked :]
        self.sightings[self._num_asked :] = [
            dataclasses.replace(one, regressed=answer) for one, answer in zip(asked, answers, strict=True)
        ]
        self._num_asked = len(self.sightings)

    def take_over(self, before: "_Gathered", count: int) -> None:
        """Begin with the last frames of the take before, of which the second half is labelled here."""
        self.pictures = before.pictures[-count:] if count else []
        positions = {picture.position for picture in self.pictures}
        self.sightings = [one for one in before.sightings if one.picture.position in positions]
        self._num_asked, self._kept_from = len(self.sightings), count // 2

    def take(self, leaves: int | None = None) -> Take:
        """All that was gathered.

        Args:
            leaves: Frames at its end that the next take labels; None where a shot ends.
        """
        end = len(self.pictures) - (leaves or 0)
        is_whole = leaves is None and self._kept_from == 0
        return Take(
            pictures=self.pictures,
            sightings=self.sightings,
            camera_path=None if self._watch is None else self._watch.path,
            kept=None if is_whole else (self._kept_from, end),
            ends_shot=leaves is None,
        )


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
