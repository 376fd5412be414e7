"""Who is who from frame to frame: people are joined by the overlap of their boxes and keypoints.

No appearance is used: two people who change places behind each other may change their numbers, and one who
comes back after `max_gap` frames gets a new one.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Float
from hardmo_jax.perception import anchors
from hardmo_jax.perception.people import PersonKeypoints
from hardmo_jax.skeleton import layouts

_MIN_CONFIDENCE = 0.3
#: Points of the body of which a sighting that is sure trusts half.
_BODY_POINTS = len(layouts.get_layout("openpose25"))
_SURE_CONFIDENCE, _SURE_SHARE = 0.5, 0.5
#: Short tracks are doubted in videos of this many times as many frames.
_LONG_VIDEO = 5


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


class Tracker:
    """Gives numbers to people by how well they overlap."""

    def __init__(self, options: TrackOptions | None = None) -> None:
        """Start without anybody."""
        self._options = options or TrackOptions()
        self._last: dict[int, tuple[int, PersonKeypoints]] = {}
        self._frame = -1
        self._next_id = 0

    def step(
        self, people: Sequence[PersonKeypoints], image: UInt8[np.ndarray, "H W 3"] | None = None
    ) -> list[PersonKeypoints]:
        """Number the people of the next frame.

        Args:
            people: People of one frame, in any order.
            image: Not looked at.

        Returns:
            The same people in the same order, with `track_id` set.
        """
        # scipy comes with jax; it is needed here only.
        from scipy import optimize

        self._frame += 1
        self._last = {
            track_id: seen
            for track_id, seen in self._last.items()
            if self._frame - seen[0] <= self._options.max_gap + 1
        }
        known = sorted(self._last)
        scores = np.array(
            [[similarity(self._last[track_id][1], person) for person in people] for track_id in known]
        ).reshape(len(known), len(people))
        ids: list[int | None] = [None] * len(people)
        rows, columns = optimize.linear_sum_assignment(-np.where(scores >= self._options.min_similarity, scores, 0.0))
        for row, column in zip(rows, columns, strict=True):
            if scores[row, column] >= self._options.min_similarity:
                ids[column] = known[row]
        numbered = []
        for person, track_id in zip(people, ids, strict=True):
            if track_id is None:
                track_id, self._next_id = self._next_id, self._next_id + 1
            person = dataclasses.replace(person, track_id=track_id)
            self._last[track_id] = (self._frame, person)
            numbered.append(person)
        return numbered


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
