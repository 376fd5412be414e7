"""People in pictures, before they are fitted: what perception or a file of keypoints hands on."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from hardmo_jax.array_types import Bool
from hardmo_jax.fitting.stages import PartWeights
from hardmo_jax.geometry import cameras
from hardmo_jax.observations import Observations
from hardmo_jax.perception import video
from hardmo_jax.perception.quality import BoxQuality
from hardmo_jax.recovery.part_evidence import part_evidence
from hardmo_jax.skeleton import layouts

#: Of the keypoints of sightings.
LAYOUT = "openpose67"
#: What the source of keypoints says of frames in which nobody was found.
FILLED_SOURCE = "none, filled in"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One photo or frame: where it came from, without its pixels."""

    position: int
    source_path: pathlib.Path
    source_sha256: str
    frame_index: int
    time_seconds: float | None
    width: int
    height: int
    starts_shot: bool = False
    """Whether the video cuts to another shot here."""
    focal_length_35mm: float | None = None
    """By EXIF, millimetres before 35 mm film; see `photos.PhotoHeader`."""
    field_of_view_degrees: float | None = None
    """Across the diagonal, by the camera that was chosen; None is a focal length equal to the diagonal."""
    camera_source: str = "diagonal"
    """Where that camera comes from, as the label says it."""

    @property
    def camera(self) -> cameras.Camera:
        """The camera of fit, label and drawing."""
        return cameras.camera_from_image_size(self.width, self.height, field_of_view_degrees=self.field_of_view_degrees)

    @property
    def vertical_field_of_view_degrees(self) -> float:
        """Angle from the top of the picture to its bottom."""
        return math.degrees(2 * math.atan(0.5 * self.height / float(self.camera.focal_length[1])))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RegressedPerson:
    """What a regressor says of one person; see `networks.regressor_output.RegressorOutput`."""

    global_orient: np.ndarray
    body_pose: np.ndarray
    betas: np.ndarray
    weak_camera: np.ndarray
    box_center: np.ndarray
    """Of the crop, pixels of the picture."""
    box_size: float
    """Its side, pixels; its height where it is no square."""
    told_focal_length: float | None = None
    """Of the picture's camera, before which the orientation is, as the network was told, pixels (CLIFF); None where it
    is before that of the crop."""
    features: np.ndarray | None = None
    """What the backbone saw, where the network's density of poses is to be a prior of the fit."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """One person in one picture."""

    picture: Picture
    track_id: int
    keypoints_2d: np.ndarray
    confidence: np.ndarray
    keypoints_3d: np.ndarray | None
    confidence_3d: np.ndarray | None
    bbox: np.ndarray
    score: float | None
    source: str
    quality: BoxQuality | None = None
    """How well the person is seen; None where nobody was."""
    regressed: RegressedPerson | None = None
    """What a network says of the person, if one was asked."""
    evidence_by_part: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What each part rests on, once the person is fitted."""
    spread_by_part: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Metres; see `recovery.part_evidence`."""


def to_observations(sightings: list[Sighting]) -> Observations:
    """All people of a job as one batch."""
    views = [sighting.picture.camera for sighting in sightings]
    has_3d = all(sighting.keypoints_3d is not None for sighting in sightings)
    return Observations(
        keypoints_2d=np.stack([sighting.keypoints_2d for sighting in sightings]),
        confidence=np.stack([sighting.confidence for sighting in sightings]),
        keypoints_3d=np.stack([s.keypoints_3d for s in sightings]) if has_3d else None,  # pyright: ignore[reportCallIssue, reportArgumentType]
        confidence_3d=np.stack([s.confidence_3d for s in sightings]) if has_3d else None,  # pyright: ignore[reportCallIssue, reportArgumentType]
        bbox=np.stack([sighting.bbox for sighting in sightings]),
        camera=cameras.Camera(
            focal_length=np.stack([np.asarray(view.focal_length) for view in views]),
            principal_point=np.stack([np.asarray(view.principal_point) for view in views]),
        ),
        layout=LAYOUT,
    )


def without_unweighted_parts(observations: Observations, weights: PartWeights) -> Observations:
    """People of whom nobody saw the feet or hands, if these weigh nothing: the lifter would see them all the same.

    That is what a detector of COCO's 17 points says of a person, which most published labels were made from.
    """
    ignored = _is_ignored(observations.layout, weights)
    confidences = {
        name: np.where(ignored, 0, np.asarray(values))
        for name in ("confidence", "confidence_3d")
        if (values := getattr(observations, name)) is not None
    }
    return dataclasses.replace(observations, **confidences) if ignored.any() else observations


def _is_ignored(layout: str, weights: PartWeights) -> Bool[np.ndarray, "K"]:
    """Points of feet or hands where these weigh nothing."""
    factors = {"foot": weights.feet, "hand": weights.hands}
    kinds = [(layouts.part_of(point) or "").partition("_")[2] for point in layouts.get_layout(layout).points]
    return np.array([factors.get(kind, 1) == 0 for kind in kinds], bool)


@runtime_checkable
class PictureOrigin(Protocol):
    """What is known of a video or of photos without opening them; a `video.Media` is one."""

    @property
    def path(self) -> pathlib.Path:
        """The file, or the folder of photos."""
        ...

    @property
    def kind(self) -> video.MediaKind:
        """`image`, `folder` or `video`."""
        ...

    @property
    def fps(self) -> float | None:
        """Mean frames a second; None for photos and for videos that do not tell."""
        ...

    @property
    def frame_count(self) -> int | None:
        """Pictures that will be looked at, as far as the files announce it."""
        ...


def relative_source(media: PictureOrigin, picture: Picture) -> str:
    """Path of a picture below what was labelled; nothing of the user's folders above it is written down."""
    root = media.path if media.path.is_dir() else media.path.parent
    path = picture.source_path.resolve()
    root = root.resolve()
    return (path.relative_to(root) if path.is_relative_to(root) else pathlib.Path(path.name)).as_posix()


def as_read(sightings: list[Sighting], order: np.ndarray) -> list[Sighting]:
    """People with left and right as the fit took them, which the source of their keypoints then says.

    Where nobody was found nothing was exchanged.
    """
    straight = np.arange(order.shape[-1])

    def read(sighting: Sighting, own: np.ndarray) -> Sighting:
        if np.array_equal(own, straight) or sighting.source == FILLED_SOURCE:
            return sighting
        arrays = {
            name: getattr(sighting, name)[own]
            for name in ("keypoints_2d", "confidence", "keypoints_3d", "confidence_3d")
            if getattr(sighting, name) is not None
        }
        return dataclasses.replace(sighting, **arrays, source=f"{sighting.source}, sides exchanged")

    return [read(sighting, own) for sighting, own in zip(sightings, order, strict=True)]


def with_evidence(
    sightings: list[Sighting],
    *,
    frames_per_second: float | None,
    longest_gap_seconds: float,
    part_weights: PartWeights | None = None,
) -> list[Sighting]:
    """People with what each of their parts rests on.

    Args:
        sightings: Of one person, frame by frame, or of people who have nothing to do with each other.
        frames_per_second: Of a track; None for people by themselves.
        longest_gap_seconds: Over which parts are carried.
        part_weights: Of the fit: it rests on nothing that weighs nothing. None: on all that was seen.
    """
    if not sightings:
        return []
    confidence = np.stack([sighting.confidence for sighting in sightings])
    found = part_evidence(
        layouts.get_layout(LAYOUT),
        np.where(_is_ignored(LAYOUT, part_weights or PartWeights()), 0, confidence),
        frames_per_second=frames_per_second,
        longest_gap_seconds=longest_gap_seconds,
    )
    return [
        dataclasses.replace(
            sighting,
            evidence_by_part={part: words[row] for part, words in found.status.items()},
            spread_by_part={part: float(spreads[row]) for part, spreads in found.spread.items()},
        )
        for row, sighting in enumerate(sightings)
    ]
