"""A person as perception hands it on, who hands people on, and the step from there to the input of a fit."""

import abc
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Float
from hardmo_jax.observations import Observations
from hardmo_jax.perception import crops, shots
from hardmo_jax.perception.video import Frame

LAYOUT_NAME = "openpose67"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PersonKeypoints:
    """One person in one picture, in the `openpose67` layout."""

    keypoints_2d: Float[np.ndarray, "K 2"]
    """Pixels of the full picture, x right, y down, the centre of the top-left pixel at (0, 0)."""
    confidence: Float[np.ndarray, "K"]
    """Trust in each point, in [0, 1]; 0 means absent, 0.5 and more trustworthy."""
    keypoints_3d: Float[np.ndarray, "K 3"]
    """Metres, origin midway between the hips, camera axes (x right, y down, z forward)."""
    confidence_3d: Float[np.ndarray, "K"]
    """Trust in each 3D point, in [0, 1]."""
    bbox: Float[np.ndarray, "4"]
    """Tight box round the points that are trusted, (x_min, y_min, x_max, y_max) in pixels."""
    detector_bbox: Float[np.ndarray, "4"]
    """Box of the detector, or of the body crop where the person was followed; clipped to the picture."""
    score: float | None
    """Probability that this is a person, in [0, 1]; None if the source does not tell."""
    region: crops.SquareRegion
    """Crop for another look at this person."""
    track_id: int | None = None
    """Number of the person in a video."""
    layout: str = LAYOUT_NAME
    """Name of the keypoint layout."""
    source: str | None = None
    """What measured this one's keypoints, if that is not what its source says of all."""


@runtime_checkable
class PeopleSource(Protocol):
    """Whoever says who is in pictures, and where their keypoints are: a model, another program's file, or several."""

    source: str
    """What measures the keypoints, as labels say it."""

    @property
    def unusable(self) -> frozenset[int | str]:
        """Pictures so far of which nothing was measured, or nothing that could be used: their position, or what is said
        of a picture that is not there."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was odd so far, a line each."""
        ...

    def people_of(self, frames: Iterable[Frame], *, is_video: bool) -> Iterator[list[PersonKeypoints]]:
        """People of pictures, one list for each, in order.

        Args:
            frames: Pictures; each is asked for when the people of the one before it are known.
            is_video: Whether they are frames of a video, whose people get numbers (`track_id`).
        """
        ...


class PixelSource(abc.ABC):
    """A source that looks at nothing but the pixels."""

    source: str
    """What measures the keypoints, as labels say it."""

    @property
    def unusable(self) -> frozenset[int | str]:
        """None: pixels can always be looked at."""
        return frozenset()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Nothing is odd about pixels."""
        return ()

    @abc.abstractmethod
    def __call__(self, image: UInt8[np.ndarray, "H W 3"]) -> list[PersonKeypoints]:
        """People of one picture, best first.

        Args:
            image: RGB.
        """

    @abc.abstractmethod
    def track(self, frames: Iterable[np.ndarray]) -> Iterator[list[PersonKeypoints]]:
        """People of a video, followed from frame to frame.

        Args:
            frames: RGB pictures in order of time.
        """

    def people_of(self, frames: Iterable[Frame], *, is_video: bool) -> Iterator[list[PersonKeypoints]]:
        """People of pictures; see `PeopleSource`. In a video nobody is followed into another shot."""
        if not is_video:
            return (self(frame.image) for frame in frames)
        return numbered_on(self.track(frame.image for frame in shot) for shot in shots.in_shots(frames))


def numbered_on(people_of_shots: Iterable[Iterable[list[PersonKeypoints]]]) -> Iterator[list[PersonKeypoints]]:
    """People of shots one after the other, with numbers that go on where those of the shot before end.

    Args:
        people_of_shots: Of each shot the people of each frame, with numbers from 0 on.
    """
    first = 0
    for people_of_frames in people_of_shots:
        following = first
        for people in people_of_frames:
            numbered = [
                person if person.track_id is None else dataclasses.replace(person, track_id=person.track_id + first)
                for person in people
            ]
            following = max([following, *(one.track_id + 1 for one in numbered if one.track_id is not None)])
            yield numbered
        first = following


def observations_from_people(people: Sequence[PersonKeypoints]) -> Observations:
    """Stack people into the input of a fit; the camera is left to the caller.

    Raises:
        ValueError: If there is nobody.
    """
    if not people:
        raise ValueError("no people to make observations of")
    return Observations(
        keypoints_2d=np.stack([person.keypoints_2d for person in people]),
        confidence=np.stack([person.confidence for person in people]),
        keypoints_3d=np.stack([person.keypoints_3d for person in people]),
        confidence_3d=np.stack([person.confidence_3d for person in people]),
        bbox=np.stack([person.bbox for person in people]),
        layout=LAYOUT_NAME,
    )
