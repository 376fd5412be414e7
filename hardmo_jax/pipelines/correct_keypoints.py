"""Keypoints of labels that somebody moved in a program for annotators, found in the COCO file that it gave back.

`tools.export --format=coco_named` writes which label each annotation is. Programs that forget it number annotations
anew or keep the numbers; in the end a person is known by the points that nobody moved.
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.export.source_names import ExportError
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.perception.keypoint_files import MIDDLE_SOURCES, AnnotatedPerson, read_annotated
from hardmo_jax.pipelines.exports.export_keypoints import exported_picture, number_of_label
from hardmo_jax.skeleton import layouts

#: Points closer than this to where they were exported were not moved, pixels.
TOLERANCE = 0.5
#: The same of files of whole numbers, which programs round or cut.
TOLERANCE_OF_WHOLE_NUMBERS = 1.5
#: An annotation that says nothing of its label is the one of which at least this share of points, and this many, are
#: where it has them.
_LEAST_SHARE, _LEAST_SAME = 0.5, 4
_LAYOUT = layouts.get_layout("openpose67")


class KeypointCorrectionError(ValueError):
    """A file of keypoints that says nothing of the labels; the message says why."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MovedPoints:
    """What somebody changed of the keypoints of one label."""

    label_id: str
    label_version: int
    """Newest version of the label."""
    keypoints_2d: Float[np.ndarray, "67 2"]
    """Of that version, with the placed points where they were put; pixels."""
    placed: tuple[str, ...]
    """Points that were moved or added, by their names in the layout."""
    removed: tuple[str, ...]
    """Points that were taken away: they are not seen in the picture."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MovedKeypoints:
    """What somebody changed in a file."""

    labels: tuple[MovedPoints, ...]
    """Those with a change, in the order of the file."""
    num_annotations: int
    num_matched: int
    """Annotations of labels, changed or not."""
    tolerance: float
    """Pixels up to which a point was not moved."""
    notes: tuple[str, ...]
    """What of the file could not be used, and why."""


def moved_points(path: str | os.PathLike[str], rows: Sequence[LabelRow]) -> MovedKeypoints:
    """Find what somebody changed of exported keypoints.

    A point was moved if it is neither where it was exported nor where the newest version has it: a file is not taken in
    twice. Neck and middle of the hips, means of others that annotators never see, are not looked at.

    Args:
        path: COCO keypoints, as a program for annotators wrote them.
        rows: Labels with the versions that were exported.

    Raises:
        FileNotFoundError: If there is no such file.
        hardmo_jax.perception.keypoint_files.KeypointFileError: If it holds no COCO keypoints.
        KeypointCorrectionError: If none of its pictures is one of the labels, or one has another size there.
    """
    people = read_annotated(path)
    labels = _ExportedLabels(rows)
    # Means of others are in a field that programs do not know, and round to nothing.
    numbers = [
        number
        for person in people
        for name, place in person.points.items()
        if place is not None and name not in MIDDLE_SOURCES
        for number in place
    ]
    is_whole = all(number == round(number) for number in numbers)
    tolerance = TOLERANCE_OF_WHOLE_NUMBERS if numbers and is_whole else TOLERANCE
    matched, notes = _matched(people, labels, tolerance, pathlib.Path(path))
    found = [
        _moved(person, labels.versions[label_id], tolerance) for person, label_id in matched if label_id is not None
    ]
    return MovedKeypoints(
        labels=tuple(one for one in found if one.placed or one.removed),
        num_annotations=len(people),
        num_matched=len(found),
        tolerance=tolerance,
        notes=tuple(notes),
    )


class _ExportedLabels:
    """Labels by the pictures that they are exported with."""

    def __init__(self, rows: Sequence[LabelRow]) -> None:
        self.versions: dict[str, list[LabelRow]] = {}
        for row in sorted(rows, key=lambda row: row.label_version):
            self.versions.setdefault(row.label_id, []).append(row)
        self._by_picture: dict[str, list[str]] = {}
        self._names: dict[str, set[str]] = {}
        for label_id, versions in self.versions.items():
            try:
                name = str(exported_picture(versions[-1]).name)
            except ExportError:
                continue  # never exported
            self._by_picture.setdefault(name, []).append(label_id)
            self._names.setdefault(_last_name(name), set()).add(name)

    def of_picture(self, name: str) -> list[str]:
        """Labels of a picture; also if a program left its folders out, or put others before it, and none is alike."""
        if name in self._by_picture:
            return self._by_picture[name]
        alike = self._names.get(_last_name(name), set())
        return self._by_picture[next(iter(alike))] if len(alike) == 1 else []


def _last_name(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


def _matched(
    people: Sequence[AnnotatedPerson], labels: _ExportedLabels, tolerance: float, path: pathlib.Path
) -> tuple[list[tuple[AnnotatedPerson, str | None]], list[str]]:
    """Which label each annotation is, None where nobody knows, and what is to be told."""
    by_picture: dict[str, list[int]] = {}
    for place, person in enumerate(people):
        by_picture.setdefault(str(person.picture.name), []).append(place)
    found: dict[int, str] = {}
    notes, num_known = [], 0
    for name, places in by_picture.items():
        own = labels.of_picture(name)
        if not own:
            notes.append(f"picture {name!r}: no label is of it")
            continue
        num_known += 1
        picture, row = people[places[0]].picture, labels.versions[own[0]][-1]
        if (picture.width or row.image_width, picture.height or row.image_height) != (
            row.image_width,
            row.image_height,
        ):
            raise KeypointCorrectionError(
                f"{path}: picture {name!r} is of {picture.width} x {picture.height} pixels there, and of "
                f"{row.image_width} x {row.image_height} in the labels; annotate pictures of their own size"
            )
        named, twice = _by_name({place: people[place] for place in places}, own)
        found |= named
        for label_id in twice:
            notes.append(f"picture {name!r}: two annotations are the label {label_id}; leave one of them")
        left = [place for place in places if place not in found and people[place].label_id not in twice]
        free = [label_id for label_id in own if label_id not in found.values() and label_id not in twice]
        found |= _by_points({place: people[place] for place in left}, free, labels, tolerance)
        notes += [
            f"picture {name!r}, annotation {people[place].annotation_id}: is no label; neither people whom nobody "
            "labelled nor those of whom most points were moved are taken in"
            for place in left
            if place not in found
        ]
    if people and not num_known:
        first = next(iter(by_picture))
        raise KeypointCorrectionError(
            f"{path}: none of its {len(by_picture)} pictures is one of the labels, not {first!r} for one; give the "
            "labels that were exported as --labels"
        )
    return [(person, found.get(place)) for place, person in enumerate(people)], notes


def _by_name(people: dict[int, AnnotatedPerson], own: Sequence[str]) -> tuple[dict[int, str], list[str]]:
    """Annotations that say which label they are, or have its number; and labels that several claim to be."""
    numbers = {number_of_label(label_id): label_id for label_id in own}
    claims: dict[str, list[int]] = {}
    for place, person in people.items():
        # A person copied to another picture still has the name of the label that it was copied from.
        claimed = person.label_id if person.label_id in own else None
        if person.label_id is None and person.annotation_id is not None:
            claimed = numbers.get(person.annotation_id)
        if claimed is not None:
            claims.setdefault(claimed, []).append(place)
    named = {places[0]: label_id for label_id, places in claims.items() if len(places) == 1}
    return named, [label_id for label_id, places in claims.items() if len(places) > 1]


def _by_points(
    people: dict[int, AnnotatedPerson], free: Sequence[str], labels: _ExportedLabels, tolerance: float
) -> dict[int, str]:
    """Annotations that have most of their points where a label has them, those with the most first."""
    points = {place: _Places(person) for place, person in people.items()}
    counts = sorted(
        (-max(points[place].num_at(row, tolerance) for row in labels.versions[label_id]), place, label_id)
        for place in people
        for label_id in free
    )
    found: dict[int, str] = {}
    for count, place, label_id in counts:
        is_same = -count >= max(_LEAST_SAME, _LEAST_SHARE * points[place].is_seen.sum())
        if is_same and place not in found and label_id not in found.values():
            found[place] = label_id
    return found


class _Places:
    """Where an annotation has points, in the order of a layout; without means of others."""

    def __init__(self, person: AnnotatedPerson, layout: layouts.KeypointLayout = _LAYOUT) -> None:
        told = [person.points.get(name) if name not in MIDDLE_SOURCES else None for name in layout.points]
        self.pixels = np.array([place or (np.nan, np.nan) for place in told])
        self.is_seen = np.array([place is not None for place in told])
        self.is_told = np.array([name in person.points and name not in MIDDLE_SOURCES for name in layout.points])

    def are_at(self, row: LabelRow, tolerance: float) -> Bool[np.ndarray, "67"]:
        """Which points a label has there, too."""
        apart = np.linalg.norm(self.pixels - row.keypoints_2d, axis=-1)
        return self.is_seen & (row.keypoint_confidence > 0) & (np.nan_to_num(apart, nan=np.inf) <= tolerance)

    def num_at(self, row: LabelRow, tolerance: float) -> int:
        """How many."""
        return int(self.are_at(row, tolerance).sum())


def _moved(person: AnnotatedPerson, versions: Sequence[LabelRow], tolerance: float) -> MovedPoints:
    newest = versions[-1]
    exported = [row for row in versions if row.label_version == person.label_version]
    # Where nobody knows which version was exported, a point of any of them is as it was.
    known = [newest, *(exported or versions)]
    layout = layouts.get_layout(newest.keypoint_layout)
    places = _Places(person, layout)
    is_placed = places.is_seen & ~np.any([places.are_at(row, tolerance) for row in known], axis=0)
    was_seen = np.all([row.keypoint_confidence > 0 for row in known], axis=0)
    is_removed = places.is_told & ~places.is_seen & was_seen
    return MovedPoints(
        label_id=newest.label_id,
        label_version=newest.label_version,
        keypoints_2d=np.where(is_placed[:, None], places.pixels, newest.keypoints_2d).astype(np.float32),
        placed=tuple(name for name, is_own in zip(layout.points, is_placed, strict=True) if is_own),
        removed=tuple(name for name, is_own in zip(layout.points, is_removed, strict=True) if is_own),
    )
