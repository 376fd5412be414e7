"""Bodies of one source with the feet and hands of others, picture by picture; see `fuse`."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from hardmo_jax.perception import estimate_top_down, fuse
from hardmo_jax.perception.calibration import Calibrations, known_of
from hardmo_jax.perception.fuse import FusionOptions, Seen
from hardmo_jax.perception.keypoints_onnx import OnnxKeypointModel
from hardmo_jax.perception.people import LAYOUT_NAME, PeopleSource, PersonKeypoints
from hardmo_jax.perception.person_boxes import PersonBox, grown_box
from hardmo_jax.perception.video import Frame
from hardmo_jax.skeleton import layouts

PartKind = Literal["foot", "hand"]
_LAYOUT = layouts.get_layout(LAYOUT_NAME)
#: Boxes of a detector are this much larger than those of points at each end.
_BOX_MARGIN = 0.08


@runtime_checkable
class PartSource(Protocol):
    """Whoever sees feet or hands of people whose bodies are known already."""

    source: str
    """What measures the keypoints."""
    people: PeopleSource | None
    """If it finds people by itself: asked for those of every picture beside the source of bodies."""

    def sightings(
        self, frame: Frame, bodies: list[PersonKeypoints], own: list[PersonKeypoints], most_apart: float
    ) -> list[PersonKeypoints | None]:
        """The same people by this source, as far as it saw them.

        Args:
            frame: The picture.
            bodies: People in it.
            own: What `people` said of the picture, if there is one.
            most_apart: Distance up to which two sightings are one person, box sides.
        """
        ...


class OtherPeople:
    """A source that finds people by itself: who is who is told by where their bodies are."""

    def __init__(self, people: PeopleSource) -> None:
        self.people: PeopleSource | None = people
        self.source = people.source

    def sightings(
        self, frame: Frame, bodies: list[PersonKeypoints], own: list[PersonKeypoints], most_apart: float
    ) -> list[PersonKeypoints | None]:
        """See `PartSource`."""
        found: list[PersonKeypoints | None] = [None] * len(bodies)
        sides = [fuse.box_side(person.bbox) for person in bodies]
        pairs = fuse.same_people(list(map(_seen, bodies)), list(map(_seen, own)), sides, _LAYOUT, most_apart)
        for body, other in pairs:
            found[body] = own[other]
        return found


class SamePeople:
    """A top-down model that looks into the boxes of people who were found already."""

    def __init__(self, keypoints: OnnxKeypointModel) -> None:
        self.people: PeopleSource | None = None
        self.source = f"onnx:{keypoints.name}"
        self._keypoints = keypoints
        self._sources = estimate_top_down.sources_of_points(keypoints.layout)

    def sightings(
        self, frame: Frame, bodies: list[PersonKeypoints], own: list[PersonKeypoints], most_apart: float
    ) -> list[PersonKeypoints | None]:
        """See `PartSource`."""
        boxes = [PersonBox(bbox=grown_box(person.bbox, _BOX_MARGIN), score=1.0) for person in bodies]
        found: list[PersonKeypoints | None] = []
        looks = estimate_top_down.points_in_boxes(frame.image, boxes, self._keypoints)
        for person, look in zip(bodies, looks, strict=True):
            if look is None:
                found.append(None)
                continue
            points, confidence = estimate_top_down.in_layout_of_people(look, self._sources)
            nothing = np.zeros(len(confidence), np.float32)
            found.append(
                dataclasses.replace(
                    person, keypoints_2d=points, confidence=confidence, confidence_3d=nothing, source=self.source
                )
            )
        return found


class FusedSource:
    """People of one source with parts of others; see `people.PeopleSource`."""

    def __init__(
        self,
        bodies: PeopleSource,
        parts: Mapping[PartKind, PartSource],
        *,
        options: FusionOptions,
        calibrations: Calibrations | None = None,
    ) -> None:
        """Put sources together.

        Args:
            bodies: Who is there, and all that no other source is named for.
            parts: Other sources of feet and hands.
            options: When they are believed.
            calibrations: What confidences of sources are worth, by `source`; parts for which one of the two is missing
                are taken from the named source wherever it saw enough.
        """
        named = "".join(f"; {kind}: {part.source}" for kind, part in parts.items())
        self.source = f"{bodies.source}{named}"
        self._bodies, self._parts, self._options = bodies, dict(parts), options
        self._calibrations = calibrations or {}

    @property
    def unusable(self) -> frozenset[int | str]:
        """Pictures so far of which one of the sources measured nothing that could be used."""
        return frozenset().union(*(source.unusable for source in self._all()))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was odd so far, a line each."""
        return tuple(dict.fromkeys(warning for source in self._all() for warning in source.warnings))

    def people_of(self, frames: Iterable[Frame], *, is_video: bool) -> Iterator[list[PersonKeypoints]]:
        """People of pictures; see `people.PeopleSource`."""
        # Every source pulls one picture for each that it tells of, so all go through the pictures side by side.
        waiting: list[collections.deque[Frame]] = [collections.deque() for _ in self._all()]
        told = [
            iter(source.people_of(_drained(queue), is_video=is_video))
            for source, queue in zip(self._all(), waiting, strict=True)
        ]
        for frame in frames:
            for queue in waiting:
                queue.append(frame)
            people = [next(one) for one in told]
            yield self._fused(frame, people[0], people[1:])
        # Behind the last picture sources say what was wrong with all of them.
        for one in told:
            next(one, None)

    def _all(self) -> list[PeopleSource]:
        return [self._bodies, *(part.people for part in self._parts.values() if part.people is not None)]

    def _fused(
        self, frame: Frame, bodies: list[PersonKeypoints], others: list[list[PersonKeypoints]]
    ) -> list[PersonKeypoints]:
        if not bodies:
            return bodies
        by_itself = iter(others)
        # As they were before parts of others joined in: calibrations go by these.
        names = [body.source or self._bodies.source for body in bodies]
        for kind, part in self._parts.items():
            own = next(by_itself) if part.people is not None else []
            found = part.sightings(frame, bodies, own, self._options.most_apart)
            bodies = [
                body if other is None else self._with_parts(body, other, kind, (name, other.source or part.source))
                for body, other, name in zip(bodies, found, names, strict=True)
            ]
        # Whoever got nothing of the others is told to be the first one's alone.
        return [
            body if body.source is not None else dataclasses.replace(body, source=name)
            for body, name in zip(bodies, names, strict=True)
        ]

    def _with_parts(
        self, body: PersonKeypoints, other: PersonKeypoints, kind: PartKind, sources: tuple[str, str]
    ) -> PersonKeypoints:
        """A person with the feet or hands of another sighting."""
        seen, side_length = _seen(body), fuse.box_side(body.bbox)
        theirs = fuse.with_sides_of(seen, _seen(other), _LAYOUT, side_length)
        calibrations = (known_of(self._calibrations, sources[0]), known_of(self._calibrations, sources[1]))
        taken = []
        for part in (f"{side}_{kind}" for side in layouts.SIDES):
            made = fuse.with_part_of(seen, theirs, part, _LAYOUT, side_length, self._options, calibrations)
            if made is not None:
                seen = made
                taken.append(part)
        if not taken:
            return body
        is_taken = np.array([layouts.part_of(point) in taken for point in _LAYOUT.points])
        return dataclasses.replace(
            body,
            keypoints_2d=seen.keypoints_2d,
            confidence=seen.confidence,
            # Depths of the first source belong to its own points.
            confidence_3d=np.where(is_taken, 0, body.confidence_3d).astype(np.float32),
            source=f"{body.source or self._bodies.source}; {', '.join(taken)}: {sources[1]}",
        )


def _drained(queue: "collections.deque[Frame]") -> Iterator[Frame]:
    """What stands in a queue whenever it is asked; an empty one is the end."""
    while queue:
        yield queue.popleft()


def _seen(person: PersonKeypoints) -> Seen:
    return Seen(keypoints_2d=person.keypoints_2d, confidence=person.confidence)
