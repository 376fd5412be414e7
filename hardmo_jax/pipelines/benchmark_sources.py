"""How near sources of keypoints come to known points, alone and fused: on annotated photos and on rendered people.

The packaged models are looked at as they are. What a user's own models would add is stood for by two sources that are
drawn about the truth: one that is good at bodies and poor at feet and hands, and takes one leg for the other now and
then, and one of which the opposite holds. They say so by their names, and only of rendered people. Calibrations are
measured on other people than those of the table.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hardmo_jax.perception import calibration, crops
from hardmo_jax.perception.calibration import PartCalibration
from hardmo_jax.perception.fuse import FusionOptions
from hardmo_jax.perception.fused_source import FusedSource, OtherPeople
from hardmo_jax.perception.people import LAYOUT_NAME, PeopleSource, PersonKeypoints
from hardmo_jax.perception.video import Frame
from hardmo_jax.pipelines.known_pictures import KnownPerson, KnownPicture, SourceErrors, errors_of_source
from hardmo_jax.skeleton import flips, layouts

_LAYOUT = layouts.get_layout(LAYOUT_NAME)
_THRESHOLD = 0.05
#: Finer: hands and feet of the best sources are all within the other.
_FINE_THRESHOLD = 0.02
#: Spread of drawn points by kind of part, box sides.
_DRAWN = {
    "drawn: good bodies": {"body": 0.008, "foot": 0.035, "hand": 0.030},
    "drawn: good feet and hands": {"body": 0.030, "foot": 0.010, "hand": 0.008},
}
#: A point's own spread is drawn about that of its kind: logarithmic spread.
_UNEVEN = 0.6
_LOST, _LEGS_EXCHANGED = 0.05, 0.1


class Replayed:
    """A source that says of each picture what was said before."""

    def __init__(self, source: str, people: Sequence[list[PersonKeypoints]]) -> None:
        self.source, self._people = source, people
        self.unusable: frozenset[int | str] = frozenset()
        self.warnings: tuple[str, ...] = ()

    def people_of(self, frames: Iterable[Frame], *, is_video: bool) -> Iterator[list[PersonKeypoints]]:
        """See `people.PeopleSource`."""
        return (self._people[frame.position] for frame in frames)


def remembered(source: PeopleSource, pictures: Sequence[KnownPicture]) -> Replayed:
    """What a source says of pictures, which are numbered from 0."""
    frames = (picture.frame for picture in pictures)
    return Replayed(source.source, list(source.people_of(frames, is_video=False)))


def drawn_source(name: str, pictures: Sequence[KnownPicture], seed: int) -> Replayed:
    """A source whose points are drawn about the truth; its confidence tells how wide.

    Args:
        name: Of `_DRAWN`.
        pictures: Of people whose keypoints are known.
        seed: Of the numbers drawn.
    """
    rng = np.random.default_rng(seed)
    kinds = [calibration.kind_of(point) for point in _LAYOUT.points]
    usual = np.array([_DRAWN[name].get(kind or "body", 0.03) for kind in kinds])
    return Replayed(name, [[_drawn(person, usual, rng) for person in picture.people] for picture in pictures])


def _drawn(person: KnownPerson, usual: np.ndarray, rng: np.random.Generator) -> PersonKeypoints:
    known = person.keypoints_2d[person.confidence > 0]
    bbox = np.concatenate([known.min(0), known.max(0)]).astype(np.float32)
    side = float((bbox[2:] - bbox[:2]).max())
    spread = usual * np.exp(_UNEVEN * rng.normal(size=len(usual)))
    points = person.keypoints_2d + side * spread[:, None] * rng.normal(size=(len(usual), 2))
    confidence = np.where(rng.random(len(usual)) < _LOST, 0, np.exp(-spread / 0.05))
    if rng.random() < _LEGS_EXCHANGED:
        order = np.array(flips.leg_permutation(_LAYOUT))
        points, confidence = points[order], confidence[order]
    return PersonKeypoints(
        keypoints_2d=points.astype(np.float32),
        confidence=np.where(person.confidence > 0, confidence, 0).astype(np.float32),
        keypoints_3d=np.zeros((len(usual), 3), np.float32),
        confidence_3d=np.zeros(len(usual), np.float32),
        bbox=bbox,
        detector_bbox=bbox,
        score=None,
        region=crops.SquareRegion(center=(0.0, 0.0), size=side),
    )


def compare_sources(
    sources: Mapping[str, PeopleSource], pictures: Sequence[KnownPicture], *, of: str
) -> list[dict[str, Any]]:
    """Rows of the table: how near each source comes.

    Args:
        sources: By the name they get in the table.
        pictures: Numbered from 0.
        of: What the pictures are called.
    """
    rows = []
    for name, source in sources.items():
        start = time.perf_counter()
        row = _row(name, errors_of_source(source, pictures), of)
        rows.append({**row, "seconds_a_picture": (time.perf_counter() - start) / len(pictures)})
    return rows


def compare_fusion(
    sources: Mapping[str, PeopleSource],
    calibrating: Sequence[KnownPicture],
    pictures: Sequence[KnownPicture],
    *,
    report: Callable[[str], None] = lambda text: None,
) -> tuple[list[dict[str, Any]], dict[str, dict[str, PartCalibration]]]:
    """The same of rendered people, with sources that are drawn, and of pairs of all of them fused.

    Args:
        sources: Models, by the name they get in the table.
        calibrating: Pictures on which calibrations are measured, numbered from 0.
        pictures: Others, for the table.
        report: Told what is being measured.

    Returns:
        Rows, and calibrations by the names of the table.
    """
    told: dict[str, Replayed] = {}
    known: dict[str, dict[str, PartCalibration]] = {}
    rows = []
    for number, name in enumerate([*sources, *_DRAWN]):
        report(name)
        if name in sources:
            before = remembered(sources[name], calibrating)
            own = remembered(sources[name], pictures)
        else:
            before, own = (drawn_source(name, some, 7 * number + at) for at, some in enumerate((calibrating, pictures)))
        known[name] = errors_of_source(before, calibrating).calibrated()
        told[name] = Replayed(name, own._people)
        rows.append(_row(name, errors_of_source(told[name], pictures), "rendered"))
    for body in told:
        for other in told:
            if body == other:
                continue
            parts: Any = {kind: OtherPeople(told[other]) for kind in ("foot", "hand")}
            fused = FusedSource(told[body], parts, options=FusionOptions(), calibrations=known)
            row = _row(f"{body} + feet and hands: {other}", errors_of_source(fused, pictures), "rendered, fused")
            rows.append({**row, "sources": [body, other]})
    return rows, known


def _row(name: str, errors: SourceErrors, of: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "pictures": of, "source": name, "found": errors.num_found, "known": len(errors.distance),
        "others": errors.num_others,
    }  # fmt: skip
    for threshold in (_THRESHOLD, _FINE_THRESHOLD):
        for kind, (share, count) in errors.pck(threshold).items():
            row[f"{kind}_pck_{threshold:g}"] = share
            row[f"{kind}_points"] = count
    return row


def numbered(pictures: Iterable[KnownPicture]) -> list[KnownPicture]:
    """Pictures whose positions count from 0."""
    return [
        dataclasses.replace(picture, frame=dataclasses.replace(picture.frame, position=place))
        for place, picture in enumerate(pictures)
    ]
