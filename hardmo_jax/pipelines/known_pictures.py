"""Pictures of people whose keypoints are known, and how near a source of keypoints comes to them."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.metrics import keypoints as keypoint_metrics
from hardmo_jax.perception import calibration, fuse, load_source, video
from hardmo_jax.perception.fuse import Seen
from hardmo_jax.perception.keypoint_files import (
    FilePerson,
    FilePicture,
    KeypointFileError,
    find_photo,
    read_keypoint_file,
)
from hardmo_jax.perception.people import LAYOUT_NAME, PeopleSource, PersonKeypoints
from hardmo_jax.perception.source_options import PerceptionOptions
from hardmo_jax.perception.video import Frame
from hardmo_jax.skeleton import layouts

_LAYOUT = layouts.get_layout(LAYOUT_NAME)
#: Distance of body points up to which somebody who was found is somebody who is known, box sides.
_MOST_APART = 0.2
#: Truth counts above this confidence, as COCO's points that were marked and seen.
_TRUE = 0.5
#: Points of somebody who was not found lie this far off, box sides.
_MISSED = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class KnownPerson:
    """Where the keypoints of somebody truly are."""

    keypoints_2d: Float[np.ndarray, "K 2"]
    """Pixels, in the layout of perception."""
    confidence: Float[np.ndarray, "K"]
    """0 where that is not known."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class KnownPicture:
    """A picture of people whose keypoints are known."""

    frame: Frame
    """Its pixels."""
    people: tuple[KnownPerson, ...]
    """All of whom something is known."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceErrors:
    """How near a source came to people whose keypoints are known; N of them, found or not."""

    distance: Float[np.ndarray, "N K"]
    """From the truth, box sides; NaN where the truth is not known; 1 where the source gave no point."""
    confidence: Float[np.ndarray, "N K"]
    """Of the source; 0 where it gave none."""
    num_found: int
    """People of these whom the source found."""
    num_others: int
    """Finds that are nobody of whom something is known."""
    source: str
    """What measured the points, as labels say it."""

    def pck(self, threshold: float) -> dict[str, tuple[float | None, int]]:
        """Share of the points of each kind of part that lie nearer than a threshold, and how many are known.

        Args:
            threshold: Of the longest side of the tight box of the true points, times 1.2.
        """
        kinds = [calibration.kind_of(point) for point in _LAYOUT.points]
        found = {}
        for kind in calibration.KINDS:
            own = self.distance[:, [one == kind for one in kinds]]
            is_known = np.isfinite(own)
            hits = own[is_known] < threshold * keypoint_metrics.USUAL_BOX_SCALE
            found[kind] = (float(hits.mean()) if is_known.any() else None, int(is_known.sum()))
        return found

    def calibrated(self) -> dict[str, calibration.PartCalibration]:
        """What the confidences of the source are worth, by kind of part."""
        return calibration.measured(self.confidence, self.distance, _LAYOUT)


def pictures_of_file(path: str | os.PathLike[str]) -> Iterator[KnownPicture]:
    """Photos beside a file of annotations, with the people in it.

    Args:
        path: Such as COCO-WholeBody's.

    Raises:
        KeypointFileError: If it is no file of keypoints, or none of its photos is there.
        hardmo_jax.perception.video.MediaError: If a photo cannot be read.
    """
    path = pathlib.Path(path)
    file = read_keypoint_file(path)
    if file.bad_pictures:
        raise KeypointFileError(file.bad_pictures[0][1])
    num_found, missing = 0, None
    people_of: dict[FilePicture, list[FilePerson]] = {}
    for person in file.people:
        people_of.setdefault(person.picture, []).append(person)
    for picture in file.pictures:
        try:
            photo = find_photo(path, picture.name)
        except KeypointFileError as error:
            missing = missing or error
            continue
        num_found += 1
        frame = next(iter(video.open_media(photo).frames()))
        height, width = frame.image.shape[:2]
        own = [person.in_pixels(width, height) for person in people_of.get(picture, [])]
        people = tuple(KnownPerson(keypoints_2d=one.keypoints_2d, confidence=one.confidence) for one in own)
        yield KnownPicture(frame=dataclasses.replace(frame, position=num_found - 1), people=people)
    if not num_found:
        raise missing or KeypointFileError(f"{path}: speaks of no picture")


def errors_of_source(source: PeopleSource, pictures: Iterable[KnownPicture]) -> SourceErrors:
    """Let a source look at pictures, and compare.

    Args:
        source: Looks at each by itself.
        pictures: Of people whose keypoints are known.
    """
    truths: list[tuple[KnownPerson, ...]] = []

    def frames() -> Iterator[Frame]:
        for picture in pictures:
            truths.append(picture.people)
            yield picture.frame

    distances, confidences, num_found, num_others = [], [], 0, 0
    name = source.source
    for found in source.people_of(frames(), is_video=False):
        pairs = _pairs(truths[-1], found)
        for known, person in pairs:
            distances.append(_distances(known, person))
            confidences.append(np.zeros(len(_LAYOUT)) if person is None else person.confidence)
            num_found += person is not None
        num_others += len(found) - sum(person is not None for _, person in pairs)
        name = next((person.source for person in found if person.source is not None), name)
    size = (0, len(_LAYOUT))
    return SourceErrors(
        distance=np.stack(distances) if distances else np.zeros(size),
        confidence=np.stack(confidences) if confidences else np.zeros(size),
        num_found=num_found,
        num_others=num_others,
        source=name,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasuredSource:
    """A source that was measured."""

    errors: SourceErrors
    """How near it came."""
    calibrations: dict[str, calibration.PartCalibration]
    """What its confidences are worth, by kind of part."""

    @property
    def source(self) -> str:
        """What measured the points, as labels say it."""
        return self.errors.source


def calibrate_source(
    truth: str | os.PathLike[str],
    output: pathlib.Path,
    *,
    options: PerceptionOptions,
    model_folder: str | os.PathLike[str],
    progress: Callable[[str, int, int | None], None] | None = None,
) -> MeasuredSource:
    """Measure a source on photos whose keypoints are known, and put what its confidences are worth into a file.

    Args:
        truth: Keypoint file beside its photos.
        output: File of calibrations; other sources in it are kept.
        options: Which source.
        model_folder: Where the packaged perception models are.
        progress: Told the stage, what is done, and of how much.

    Raises:
        KeypointFileError: If the truth is no file of keypoints, or none of its photos is there, or nobody in them was
            found with enough points to measure by.
        hardmo_jax.perception.calibration.CalibrationError: If the output is there and is no file of calibrations.
        FileNotFoundError, ImportError: As `load_source.load_source`.
    """
    report = progress or (lambda stage, done, total: None)
    if pathlib.Path(truth).is_dir():
        raise KeypointFileError(f"{truth}: expected a keypoint file beside its photos, got a folder")
    kept = calibration.read_calibrations(output) if output.exists() else {}
    source = load_source.load_source(model_folder, options)

    def told() -> Iterator[KnownPicture]:
        for place, picture in enumerate(pictures_of_file(truth)):
            report("measure", place, None)
            yield picture

    errors = errors_of_source(source, told())
    found = errors.calibrated()
    if not found:
        raise KeypointFileError(
            f"{truth}: {errors.num_found} of {len(errors.distance)} people were found, with too few points to measure "
            "by; give more pictures"
        )
    for kind, own in found.items():
        kept.setdefault(calibration.measurer_of(errors.source, kind), {})[kind] = own
    calibration.write_calibrations(output, kept)
    return MeasuredSource(errors=errors, calibrations=found)


def _pairs(
    known: tuple[KnownPerson, ...], found: list[PersonKeypoints]
) -> list[tuple[KnownPerson, PersonKeypoints | None]]:
    """Everybody who is known, with who was found there."""
    truths = [Seen(keypoints_2d=one.keypoints_2d, confidence=one.confidence) for one in known]
    others = [Seen(keypoints_2d=one.keypoints_2d, confidence=one.confidence) for one in found]
    sides = [_side(one) for one in known]
    pairs = dict(fuse.same_people(truths, others, sides, _LAYOUT, _MOST_APART))
    return [(one, found[pairs[place]] if place in pairs else None) for place, one in enumerate(known)]


def _side(person: KnownPerson) -> float:
    side = keypoint_metrics.tight_box_side(person.keypoints_2d, person.confidence, 0.0)
    return max(float(side), 1.0) if np.isfinite(side) else 1.0


def _distances(known: KnownPerson, person: PersonKeypoints | None) -> Float[np.ndarray, "K"]:
    is_known = known.confidence > _TRUE
    if person is None:
        return np.where(is_known, _MISSED, np.nan)
    apart = np.linalg.norm(person.keypoints_2d.astype(np.float64) - known.keypoints_2d, axis=-1) / _side(known)
    return np.where(is_known, np.where(person.confidence > 0, apart, _MISSED), np.nan)
