"""Cameras of pictures that nobody calibrated: given, noted by the photo, solved over a clip, or assumed."""

import collections
import dataclasses
import math
from typing import Any, Literal, get_args

import numpy as np

from hardmo_jax.body.model import BodyModel
from hardmo_jax.perception import photos
from hardmo_jax.pipelines.sightings import Picture, Sighting, to_observations
from hardmo_jax.recovery import focal_length

CameraSource = Literal["auto", "exif", "field_of_view", "diagonal", "solve"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraOptions:
    """Where the focal length of a camera nobody calibrated comes from."""

    source: CameraSource = "auto"
    """`field_of_view` is the given one; `exif` what the photo notes of its lens; `diagonal` a focal length equal to the
    diagonal; `solve` that of a video, from how the people in it look; `auto` the given one, else EXIF, else the
    diagonal. A photo without a note that can be used, and a video that does not tell, have the diagonal."""
    field_of_view_degrees: float | None = None
    """Angle across the image diagonal, if it is known."""

    def __post_init__(self) -> None:
        angle = self.field_of_view_degrees
        if self.source not in get_args(CameraSource):
            raise ValueError(f"unknown `source` {self.source!r}; known: {', '.join(get_args(CameraSource))}")
        if angle is not None and not 0 < angle < 180:
            raise ValueError(f"`field_of_view_degrees` must be in (0, 180), got {angle}")
        if angle is not None and self.source not in ("auto", "field_of_view"):
            raise ValueError(
                f"`field_of_view_degrees` {angle:g} and `source` {self.source!r} contradict each other: leave the "
                "angle out, or set `source` to 'field_of_view'"
            )
        if angle is None and self.source == "field_of_view":
            raise ValueError("`source` 'field_of_view' needs `field_of_view_degrees`, the angle across the diagonal")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraUse:
    """The cameras of one source."""

    source: str
    """`exif`, `field_of_view`, `diagonal` or `solved`."""
    num_pictures: int
    vertical_field_of_view_degrees: tuple[float, float]
    """Narrowest and widest."""


def with_cameras(
    pictures: list[Picture],
    sightings: list[Sighting],
    body: BodyModel,
    options: CameraOptions,
    *,
    is_video: bool,
    record: dict[str, Any],
    warnings: list[str],
) -> tuple[list[Picture], list[Sighting]]:
    """Pictures, and people in them, with the camera that everything after this takes from the picture.

    Args:
        pictures: Photos, or frames of one shot.
        sightings: People in them.
        body: That `solve` looks for.
        options: Where cameras come from.
        is_video: Whether the pictures have one camera.
        record: Gets what was solved.
        warnings: Gets what is told the user.
    """
    source: str = options.source
    if source == "solve" and not is_video:
        warnings.append(
            "one photo does not tell its focal length, so `camera.source` 'solve' is for videos; 'auto' was taken"
        )
        source = "auto"
    if source == "solve":
        angle = _solved_field_of_view(sightings, body, record, warnings)
        chosen = {picture.position: (angle, "diagonal" if angle is None else "solved") for picture in pictures}
    else:
        chosen = {picture.position: _noted_field_of_view(picture, options, source) for picture in pictures}

    def with_camera(picture: Picture) -> Picture:
        angle, found = chosen[picture.position]
        return dataclasses.replace(picture, field_of_view_degrees=angle, camera_source=found)

    known = {picture.position: with_camera(picture) for picture in pictures}
    return list(known.values()), [
        dataclasses.replace(sighting, picture=known[sighting.picture.position]) for sighting in sightings
    ]


def with_noted_camera(picture: Picture, options: CameraOptions) -> Picture:
    """A picture with the camera that it tells by itself; the diagonal where only a clip would tell it.

    Args:
        picture: As it was read.
        options: Where cameras come from.
    """
    angle, found = _noted_field_of_view(picture, options, options.source)
    return dataclasses.replace(picture, field_of_view_degrees=angle, camera_source=found)


def _noted_field_of_view(picture: Picture, options: CameraOptions, source: str) -> tuple[float | None, str]:
    """Angle across the diagonal that the user or the photo tells, or None, and where it comes from."""
    if options.field_of_view_degrees is not None:
        return options.field_of_view_degrees, "field_of_view"
    if source in ("auto", "exif") and picture.focal_length_35mm is not None:
        return _diagonal_angle(picture.focal_length_35mm / photos.FILM_DIAGONAL), "exif"
    return None, "diagonal"


def _solved_field_of_view(
    sightings: list[Sighting], body: BodyModel, record: dict[str, Any], warnings: list[str]
) -> float | None:
    """Angle across the diagonal that the people of a video tell; None if they do not. They have the diagonal so far."""
    if not sightings:
        return None
    # Frames of one person within a second err alike.
    moments = [(sighting.track_id, int(sighting.picture.time_seconds or 0)) for sighting in sightings]
    numbers = {moment: number for number, moment in enumerate(dict.fromkeys(moments))}
    solved = focal_length.solve_focal_length(
        body, to_observations(sightings), groups=np.array([numbers[moment] for moment in moments])
    )
    record["solved_focal_length"] = {
        "is_determined": solved.is_determined,
        "reason": solved.reason,
        "estimate_over_diagonal": solved.estimate,
        "log_spread": solved.log_spread if math.isfinite(solved.log_spread) else None,
        "distance": solved.distance if math.isfinite(solved.distance) else None,
        "num_people": solved.num_people,
    }
    if not solved.is_determined:
        warnings.append(f"the focal length is assumed to be the diagonal: {solved.reason}")
        return None
    return _diagonal_angle(solved.scale)


def _diagonal_angle(share: float) -> float:
    """Degrees that a focal length of this share of the diagonal sees across it."""
    return math.degrees(2 * math.atan(0.5 / share))


def exif_warning(pictures: list[Picture], options: CameraOptions) -> str | None:
    """What is said of photos that note no lens, where that was to tell their cameras; None if all do."""
    num_without = sum(picture.camera_source == "diagonal" for picture in pictures)
    if options.source != "exif" or not num_without:
        return None
    return (
        f"{num_without} of {len(pictures)} pictures have no EXIF focal length that can be used; their focal length is "
        "assumed to be the diagonal"
    )


def camera_uses(pictures: list[Picture]) -> tuple[CameraUse, ...]:
    """Pictures counted by where their camera comes from, the most frequent first."""
    counts = collections.Counter(picture.camera_source for picture in pictures)
    uses = []
    for source, count in counts.most_common():
        angles = [p.vertical_field_of_view_degrees for p in pictures if p.camera_source == source]
        uses.append(
            CameraUse(source=source, num_pictures=count, vertical_field_of_view_degrees=(min(angles), max(angles)))
        )
    return tuple(uses)
