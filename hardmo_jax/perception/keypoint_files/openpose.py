"""OpenPose's JSON of one picture, and what other programs write in its form.

Pose2Sim writes Halpe's and COCO-WholeBody's points so, editors of ControlNet poses a list of pictures with
`canvas_width` and `canvas_height`.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.perception.keypoint_files import parsing
from hardmo_jax.perception.keypoint_files.parsing import CERTAINTIES, PEAKS, Place
from hardmo_jax.perception.keypoint_files.person import (
    FileContent,
    FilePerson,
    FilePicture,
    KeypointFile,
    MeasuredPoints,
    assemble_person,
)
from hardmo_jax.perception.keypoint_files.point_lists import (
    HANDS,
    OPENPOSE_BY_COUNT,
    PointList,
    point_list,
    points_of_count,
)

_FACE70 = point_list("face70")
#: Points of a pose, by the name of their field in OpenPose 1.2 and later, 1.0, and before.
_POSE_FIELDS = ("pose_keypoints_2d", "pose_keypoints", "body_parts")


def frame_of_name(name: str) -> int | None:
    """Number of the frame of a video that OpenPose named a file after: 12 for `clip_000000000012`."""
    found = re.search(r"_([0-9]{12})$", name)
    number = int(found[1]) if found else None
    return number if number is not None and number <= parsing.MAX_COUNT else None


def openpose_file(content: Any, place: Place, chosen: PointList | None) -> KeypointFile:
    """One picture, or a list of the frames of a video.

    Raises:
        KeypointFileError: If it is not that.
    """
    name = re.sub(r"_keypoints$", "", place.path.stem)
    if isinstance(content, list):
        entries = [(place.at(index), entry, index) for index, entry in enumerate(content)]
    else:
        entries = [(place, content, frame_of_name(name))]
    found = FileContent()
    for at, entry, frame_index in entries:
        told = entry if isinstance(entry, Mapping) else {}
        picture = FilePicture(
            name=name,
            frame_index=frame_index if len(entries) > 1 or not isinstance(content, list) else None,
            width=parsing.parse_count(told.get("canvas_width"), at.at("canvas_width"), least=1),
            height=parsing.parse_count(told.get("canvas_height"), at.at("canvas_height"), least=1),
        )
        with found.reading(picture):
            for person in _openpose_people(parsing.expect_object(entry, at), picture, at, chosen):
                found.add(person)
    return found.as_file("openpose")


def _openpose_people(
    content: Mapping[str, Any], picture: FilePicture, place: Place, chosen: PointList | None
) -> list[FilePerson]:
    """People of one object with `people`.

    Raises:
        KeypointFileError: If something in it is wrong.
    """
    people = []
    for number, entry in enumerate(parsing.list_field(content, "people", place)):
        at = place.at("people", number)
        entry = parsing.expect_object(entry, at)
        field = next((name for name in _POSE_FIELDS if name in entry), None)
        if field is None:
            raise at.error(f"has no `{_POSE_FIELDS[0]}`")
        person = _openpose_person(entry, field, picture, at, chosen)
        if person is not None:
            people.append(person)
    return people


def _openpose_person(
    entry: Mapping[str, Any], field: str, picture: FilePicture, place: Place, chosen: PointList | None
) -> FilePerson | None:
    parts = []
    triples = parsing.parse_triples(entry.get(field), place.at(field))
    if triples is not None:
        points = points_of_count(len(triples), OPENPOSE_BY_COUNT, chosen, place.at(field))
        # Points of top-down models are not OpenPose's own, and neither are their scores.
        is_own = points.name.startswith("openpose")
        parsing.check_scores(triples[:, 2], CERTAINTIES if is_own else PEAKS, place.at(field))
        parts.append(MeasuredPoints(points, triples[:, :2], triples[:, 2]))
    others = {f"hand_{side}": HANDS[side] for side in HANDS} | {"face": _FACE70}
    for name, points in others.items():
        at = place.at(field.replace("pose", name, 1)) if "pose" in field else place.at(f"{name}_keypoints")
        triples = parsing.parse_triples(entry.get(str(at.steps[-1])), at)
        if triples is None:
            continue
        points = points_of_count(len(triples), {len(points): points}, None, at)
        parsing.check_scores(triples[:, 2], CERTAINTIES, at)
        if name != "face":
            parts.append(MeasuredPoints(points, triples[:, :2], triples[:, 2]))
    return assemble_person(
        parts,
        picture=picture,
        track_id=_person_number(entry.get("person_id"), place.at("person_id")),
        shares="of_last_pixel" if _are_shares(parts, place) else None,
        file_layout=parts[0].points.name if parts else "",
    )


def _person_number(value: Any, place: Place) -> int | None:
    """OpenPose's number of a tracked person, a list of one; -1 is nobody's."""
    if isinstance(value, list):
        value = value[0] if value else None
    return parsing.parse_count(value, place)


def _are_shares(parts: list[MeasuredPoints], place: Place) -> bool:
    """Whether coordinates are shares (`--keypoint_scale 3`): then the whole person is within one pixel.

    Raises:
        KeypointFileError: If they run from -1 to 1, which nobody asks OpenPose for to measure in pixels.
    """
    seen: list[Float[np.ndarray, "N 2"]] = [part.coordinates[part.scores > 0] for part in parts]
    points = np.concatenate(seen) if seen else np.zeros((0, 2))
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) <= 2 or (np.abs(points) > 1).any() or np.ptp(points) == 0:
        return False
    if (points < 0).any():
        raise place.error(
            "has coordinates from -1 to 1, OpenPose's `--keypoint_scale 4`; run it with `--keypoint_scale 0` (pixels) "
            "or `--keypoint_scale 3` (0 to 1)"
        )
    return True
