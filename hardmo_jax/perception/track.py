"""Who is who from frame to frame: people are joined by the overlap of their boxes and keypoints, where they would be
now, and by what they look like.

Whoever was hidden is looked for where their way led, the farther round it the longer it is ago, and must look as
before: two people who pass each other keep their numbers unless they are dressed alike. One who comes back after
`max_gap` frames gets a new one.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Float
from hardmo_jax.perception import anchors, appearance
from hardmo_jax.perception.people import PersonKeypoints
from hardmo_jax.skeleton import layouts

_MIN_CONFIDENCE = 0.3
#: Points of the body of which a sighting that is sure trusts half.
_BODY_POINTS = len(layouts.get_layout("openpose25"))
_SURE_CONFIDENCE, _SURE_SHARE = 0.5, 0.5
#: Short tracks are doubted in videos of this many times as many frames.
_LONG_VIDEO = 5
#: A course is believed for so many frames; the pose for fewer.
_LONGEST_COURSE, _SHORT_GAP = 25, 3
#: Share of what is seen now in the speed that is remembered, in the course of those who are lost for longer (of limbs
#: and jumps nothing is left in it), and in colours.
_NEW_SPEED, _NEW_COURSE, _NEW_COLOURS = 0.2, 0.06, 0.1
#: How far from where the course leads somebody may come back, sides of their crop: at once, for each frame more, and at
#: most.
_REACH, _REACH_A_FRAME, _LARGEST_REACH = 0.3, 0.04, 1.2
#: Score of somebody who is at the right place in another pose, and of whom one of two sightings shows no colours.
_PLACE_ALONE, _UNKNOWN_LOOKS = 0.7, 0.6
#: Part of the score that does not hang on looks, of those who were seen just now and of those who are back.
_LOOKS_OF_NOTHING, _LOOKS_OF_NOTHING_BACK = 0.5, 0.2
#: Boxes that overlap less leave the colours alone.
_FREE_OVERLAP = 0.15


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackOptions:
    """When two sightings are one person."""

    max_gap: int = 75
    """Frames that a person may be missing before the number is given up: two seconds and a half of most videos, in
    which somebody who comes back to the same place is the same. The fit over time cuts a track whose keypoints jump."""
    min_similarity: float = 0.25
    """Least similarity of two sightings, in [0, 1], see `similarity`."""
    min_length: int = 1
    """Sightings below which a track is dropped."""
    min_doubtful_length: int = 3
    """Sightings below which a track is dropped if less than half of its body points are trusted on the average, from a
    video of at least five times as many frames: something else that was taken for a person for a moment."""

    def __post_init__(self) -> None:
        if self.max_gap < 0 or min(self.min_length, self.min_doubtful_length) < 1 or not 0 <= self.min_similarity <= 1:
            raise ValueError(f"track options out of range: {self}")


def similarity(first: PersonKeypoints, second: PersonKeypoints) -> float:
    """How well two sightings overlap, in [0, 1]: mean of box overlap and keypoint nearness.

    Keypoints count by a Gaussian of their distance, a tenth of the box's longer side wide; points that
    either sighting does not trust are left out, and without any the boxes decide.
    """
    overlap = float(anchors.box_iou(first.bbox, second.bbox[None])[0])
    weights = np.where(
        np.minimum(first.confidence, second.confidence) >= _MIN_CONFIDENCE,
        first.confidence * second.confidence,
        0.0,
    )
    if weights.sum() <= 0:
        return overlap
    size = max(float((first.bbox[2:] - first.bbox[:2]).max()), float((second.bbox[2:] - second.bbox[:2]).max()), 1.0)
    distance = np.linalg.norm(first.keypoints_2d - second.keypoints_2d, axis=1) / (0.1 * size)
    nearness = float((weights * np.exp(-0.5 * distance**2)).sum() / weights.sum())
    return 0.5 * (overlap + nearness)


@runtime_checkable
class PeopleTracker(Protocol):
    """Whoever gives numbers to people, one frame after the other: `Tracker`, or one of ultralytics."""

    def step(
        self, people: Sequence[PersonKeypoints], image: UInt8[np.ndarray, "H W 3"] | None = None
    ) -> list[PersonKeypoints]:
        """Number the people of the next frame.

        Args:
            people: People of one frame, in any order.
            image: RGB, for those who look at it.

        Returns:
            The same people in the same order, with `track_id` set, from 0 on.
        """
        ...


@dataclasses.dataclass
class _Track:
    """What is remembered of somebody."""

    frame: int
    """In which they were seen last."""
    person: PersonKeypoints
    """As they were seen then."""
    speed: Float[np.ndarray, "2"]
    """Of the middle of their crop, pixels a frame, over the last frames."""
    course: Float[np.ndarray, "2"]
    """The same over the last second."""
    num_steps: int
    """Sightings behind the first one."""
    colours: Float[np.ndarray, "P 3"] | None
    """See `appearance.colours_of`."""


class Tracker:
    """Gives numbers to people by how well they overlap with where somebody would be now, and by what they look like."""

    def __init__(self, options: TrackOptions | None = None) -> None:
        """Start without anybody."""
        self._options = options or TrackOptions()
        self._tracks: dict[int, _Track] = {}
        self._frame = -1
        self._next_id = 0

    def step(
        self, people: Sequence[PersonKeypoints], image: UInt8[np.ndarray, "H W 3"] | None = None
    ) -> list[PersonKeypoints]:
        """Number the people of the next frame.

        Args:
            people: People of one frame, in any order.
            image: RGB, for what people look like; without it only places tell.

        Returns:
            The same people in the same order, with `track_id` set.
        """
        # scipy comes with jax; it is needed here only.
        from scipy import optimize

        self._frame += 1
        self._tracks = {
            number: track
            for number, track in self._tracks.items()
            if self._frame - track.frame <= self._options.max_gap + 1
        }
        colours = [None if image is None else appearance.colours_of(image, person) for person in people]
        known = sorted(self._tracks)
        scores = np.array(
            [
                [self._score(self._tracks[number], person, own) for person, own in zip(people, colours, strict=True)]
                for number in known
            ]
        ).reshape(len(known), len(people))
        ids: list[int | None] = [None] * len(people)
        rows, columns = optimize.linear_sum_assignment(-np.where(scores >= self._options.min_similarity, scores, 0.0))
        for row, column in zip(rows, columns, strict=True):
            if scores[row, column] >= self._options.min_similarity:
                ids[column] = known[row]
        numbered = []
        boxes = np.stack([person.bbox for person in people]) if people else np.zeros((0, 4))
        for place, (person, number) in enumerate(zip(people, ids, strict=True)):
            if number is None:
                number, self._next_id = self._next_id, self._next_id + 1
            others = np.delete(boxes, place, axis=0)
            is_free = not len(others) or float(anchors.box_iou(person.bbox, others).max()) < _FREE_OVERLAP
            person = dataclasses.replace(person, track_id=number)
            self._remember(number, person, colours[place], is_free)
            numbered.append(person)
        return numbered

    def _score(self, track: _Track, person: PersonKeypoints, colours: Float[np.ndarray, "P 3"] | None) -> float:
        """How well somebody fits what is remembered, in [0, 1]."""
        gap = self._frame - track.frame
        shift = track.speed * gap if gap <= _SHORT_GAP else track.course * min(gap, _LONGEST_COURSE)
        last = track.person
        expected = dataclasses.replace(
            last,
            keypoints_2d=(last.keypoints_2d + shift).astype(np.float32),
            bbox=(last.bbox + np.tile(shift, 2)).astype(np.float32),
        )
        # Whoever was seen just now may also have stopped.
        score = max(similarity(expected, person), similarity(last, person) if gap <= _SHORT_GAP else 0.0)
        # Behind a gap the pose is another one, and of whom something hid, other points are trusted in the next frame:
        # where they are is all that place can tell then.
        size = max(last.region.size, person.region.size, 1.0)
        apart = float(np.linalg.norm(np.subtract(person.region.center, last.region.center) - shift))
        reach = size * min(_REACH + _REACH_A_FRAME * (gap - 1), _LARGEST_REACH)
        score = max(score, _PLACE_ALONE * float(np.exp(-((apart / reach) ** 2))))
        alike = None if colours is None or track.colours is None else appearance.likeness(track.colours, colours)
        if alike is None:
            return score if gap <= _SHORT_GAP or colours is None else _UNKNOWN_LOOKS * score
        # Limbs cross and people turn: what is there in the next frame is hardly somebody else.
        anyway = _LOOKS_OF_NOTHING if gap == 1 else _LOOKS_OF_NOTHING_BACK
        return score * (anyway + (1 - anyway) * alike)

    def _remember(
        self, number: int, person: PersonKeypoints, colours: Float[np.ndarray, "P 3"] | None, is_free: bool
    ) -> None:
        track = self._tracks.get(number)
        if track is None:
            still = np.zeros(2)
            self._tracks[number] = _Track(
                frame=self._frame, person=person, speed=still, course=still, num_steps=0, colours=colours
            )
            return
        gap = self._frame - track.frame
        moved = np.subtract(person.region.center, track.person.region.center) / gap
        num_steps = track.num_steps + 1

        def renewed(before: Float[np.ndarray, "2"], share: float) -> Float[np.ndarray, "2"]:
            # Of the first steps the mean.
            share = max(share, 1 / num_steps)
            return (1 - share) * before + share * moved

        remembered = track.colours
        if colours is not None:
            # Of people who overlap the colours may be the other one's.
            if remembered is None:
                remembered = colours
            elif is_free:
                remembered = appearance.renewed(remembered, colours, max(_NEW_COLOURS, 1 / (num_steps + 1)))
        self._tracks[number] = _Track(
            frame=self._frame,
            person=person,
            speed=renewed(track.speed, _NEW_SPEED),
            course=renewed(track.course, _NEW_COURSE),
            num_steps=num_steps,
            colours=remembered,
        )


def assign_tracks(
    people_by_frame: Iterable[Sequence[PersonKeypoints]], options: TrackOptions | None = None
) -> list[list[PersonKeypoints]]:
    """Number the people of a whole video.

    Args:
        people_by_frame: People of each frame.
        options: When two sightings are one person.

    Returns:
        The same people with `track_id` set, less those of tracks that are too short, see `lasting_tracks`.
    """
    options = options or TrackOptions()
    tracker = Tracker(options)
    frames = [tracker.step(people) for people in people_by_frame]
    confidences: dict[int, list[np.ndarray]] = {}
    for people in frames:
        for person in people:
            if person.track_id is not None:
                confidences.setdefault(person.track_id, []).append(person.confidence)
    kept = lasting_tracks(confidences, len(frames), options)
    return [[person for person in people if person.track_id in kept] for people in frames]


def lasting_tracks(
    confidences: Mapping[int, Sequence[Float[np.ndarray, "K"]]], num_frames: int, options: TrackOptions | None = None
) -> set[int]:
    """Numbers of the tracks that are long or sure enough to be people.

    Args:
        confidences: Confidence of the keypoints of each sighting, by track; body points first.
        num_frames: Of the video.
        options: How long tracks must be.
    """
    options = options or TrackOptions()
    is_long_video = num_frames >= _LONG_VIDEO * options.min_doubtful_length

    def is_sure(sightings: Sequence[Float[np.ndarray, "K"]]) -> bool:
        trusted = np.stack(sightings)[:, :_BODY_POINTS] >= _SURE_CONFIDENCE
        return float(trusted.mean()) >= _SURE_SHARE

    return {
        track_id
        for track_id, sightings in confidences.items()
        if len(sightings) >= options.min_length
        and (len(sightings) >= options.min_doubtful_length or not is_long_video or is_sure(sightings))
    }
