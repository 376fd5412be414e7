"""People of keypoint files and the pictures they are in, and the step from lists of points to a person."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.perception.keypoint_files.parsing import KeypointFileError
from hardmo_jax.perception.keypoint_files.point_lists import LAYOUT, LAYOUT_NAME, PointList

#: Of what coordinates are shares: of MediaPipe's the width and height of the picture, from edge to edge; of OpenPose's
#: (`--keypoint_scale 3`) the place of the last pixel, width - 1 and height - 1.
ShareKind = Literal["of_size", "of_last_pixel"]
#: Averages of two points, which many layouts lack.
MIDDLE_SOURCES = {"neck": ("left_shoulder", "right_shoulder"), "mid_hip": ("left_hip", "right_hip")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilePicture:
    """A photo or a frame of a video that a file speaks of."""

    name: str | None = None
    """As the file names it, or as the file is named: for OpenPose its own name without `_keypoints.json`, for a video
    the name of the video. May be the number of an image in a list of results."""
    frame_index: int | None = None
    """Number of the frame in its video, from 0, where the format tells."""
    width: int | None = None
    """Pixels, where the file tells."""
    height: int | None = None
    """Pixels, where the file tells."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FilePerson:
    """One person of a keypoint file, in the `openpose67` layout."""

    picture: FilePicture
    """Where the person is."""
    keypoints_2d: Float[np.ndarray, "K 2"]
    """Pixels, or shares of the picture; 0 where absent."""
    confidence: Float[np.ndarray, "K"]
    """Weight of each point in [0, 1]; 0 means absent."""
    keypoints_3d: Float[np.ndarray, "K 3"] | None = None
    """Metres, origin midway between the hips, x right, y down, z forward; 0 where absent; of MediaPipe only."""
    confidence_3d: Float[np.ndarray, "K"] | None = None
    """Weight of each 3D point in [0, 1]."""
    bbox: Float[np.ndarray, "4"] | None = None
    """Box as the file gives it, (x_min, y_min, x_max, y_max), in the unit of `keypoints_2d`."""
    score: float | None = None
    """Score of the person in [0, 1], where the file tells."""
    track_id: int | None = None
    """Number of the person in a video, where the file tells."""
    annotation_id: int | None = None
    """Number of the annotation in a COCO file."""
    label_id: str | None = None
    """Of the label that a COCO file was written from, where it tells."""
    label_version: int | None = None
    """Of that label."""
    shares: ShareKind | None = None
    """Of what 2D coordinates are shares, None for pixels; see `in_pixels`."""
    layout: str = LAYOUT_NAME
    """Name of the keypoint layout."""
    file_layout: str
    """What the file held, such as `openpose25`, `halpe136` or `mediapipe33`."""

    @property
    def image_file(self) -> str | None:
        """Name of the picture."""
        return self.picture.name

    def in_pixels(self, width: int, height: int) -> "FilePerson":
        """The person with 2D coordinates in pixels, the centre of the top-left pixel at (0, 0).

        Args:
            width: Of the picture, pixels.
            height: Of the picture, pixels.
        """
        if self.shares is None:
            return self
        size, offset = np.array([width, height], np.float32), np.float32(0.5)
        if self.shares == "of_last_pixel":
            size, offset = size - 1, np.float32(0)
        is_seen = (self.confidence > 0)[:, None]
        return dataclasses.replace(
            self,
            keypoints_2d=np.where(is_seen, self.keypoints_2d * size - offset, 0).astype(np.float32),
            bbox=None if self.bbox is None else self.bbox * np.concatenate([size, size]) - offset,
            shares=None,
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class KeypointFile:
    """What a file holds."""

    format: str
    """`openpose`, `coco`, `coco_results`, `alphapose`, `mmpose`, `rtmlib` or `mediapipe`."""
    people: tuple[FilePerson, ...]
    """People with at least one point, in file order; none of `bad_pictures`."""
    pictures: tuple[FilePicture, ...]
    """Every picture that the file speaks of, also those with nobody in them, in file order."""
    bad_pictures: tuple[tuple[FilePicture, str], ...] = ()
    """Pictures in which something is wrong, with the first such thing as a message of one line; also in `pictures`."""


class FileContent:
    """What was read of a file so far: something wrong in a picture costs its people, not those of others."""

    def __init__(self) -> None:
        self._pictures: dict[FilePicture, None] = {}
        self._people: list[FilePerson] = []
        self._errors: dict[FilePicture, KeypointFileError] = {}

    def speak_of(self, picture: FilePicture) -> None:
        """One more picture, or the same again."""
        self._pictures[picture] = None

    @contextlib.contextmanager
    def reading(self, picture: FilePicture) -> Iterator[None]:
        """Speak of a picture; what turns out to be wrong in it is kept."""
        self.speak_of(picture)
        try:
            yield
        except KeypointFileError as error:
            # Its traceback holds everything that was just read.
            self._errors.setdefault(picture, error.with_traceback(None))

    def add(self, person: FilePerson | None) -> None:
        """One more person, if there is one."""
        if person is not None:
            self._people.append(person)

    def as_file(self, kind: str) -> KeypointFile:
        """Everything that is right.

        Raises:
            KeypointFileError: If something is wrong, and nobody is left: then it is wrong of the whole file.
        """
        people = tuple(person for person in self._people if person.picture not in self._errors)
        if self._errors and not people:
            raise next(iter(self._errors.values()))
        bad = tuple((picture, str(error)) for picture, error in self._errors.items())
        return KeypointFile(format=kind, people=people, pictures=tuple(self._pictures), bad_pictures=bad)


@dataclasses.dataclass(frozen=True)
class MeasuredPoints:
    """A list of points with what was measured of them."""

    points: PointList
    """Which they are."""
    coordinates: Float[np.ndarray, "N D"]
    """Two or three numbers a point; not finite where a program gave up."""
    scores: Float[np.ndarray, "N"]
    """Trust in each; 0 and less, or not finite, means absent."""


def assemble_person(
    parts: Sequence[MeasuredPoints], parts_3d: Sequence[MeasuredPoints] = (), **fields: Any
) -> FilePerson | None:
    """A person of lists of points; None if no point of it was seen.

    Neck and middle of the hips are averaged where no list names them.

    Args:
        parts: Points in the picture; a point in two lists is the later one's.
        parts_3d: Points in metres, as `FilePerson.keypoints_3d`.
        fields: Other fields of `FilePerson`.
    """
    keypoints_2d, confidence = _placed(parts, 2)
    if not confidence.any():
        return None
    if parts_3d:
        fields["keypoints_3d"], fields["confidence_3d"] = _placed(parts_3d, 3)
    return FilePerson(keypoints_2d=keypoints_2d, confidence=confidence, **fields)


def _placed(parts: Sequence[MeasuredPoints], dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates and confidence in the order of `openpose67`; both 0 where absent."""
    coordinates = np.zeros((len(LAYOUT), dimensions), np.float32)
    confidence = np.zeros(len(LAYOUT), np.float32)
    for part in parts:
        rows, targets = map(np.array, part.points.places)
        found, scores = part.coordinates[rows].astype(np.float32), part.scores[rows]
        # One coordinate that is NaN makes the point absent, however sure its score sounds.
        is_seen = np.isfinite(found).all(axis=1) & np.isfinite(scores)
        weights = np.where(is_seen, np.clip(scores, 0, 1), 0).astype(np.float32)
        is_seen = weights > 0
        coordinates[targets[is_seen]], confidence[targets[is_seen]] = found[is_seen], weights[is_seen]
    named = {point for part in parts for point in part.points.points}
    for point, sources in MIDDLE_SOURCES.items():
        at, of = LAYOUT.index(point), list(LAYOUT.indices(sources))
        if point not in named and confidence[of].min() > 0:
            coordinates[at] = coordinates[of].mean(axis=0)
            confidence[at] = confidence[of].min()
    return coordinates, confidence
