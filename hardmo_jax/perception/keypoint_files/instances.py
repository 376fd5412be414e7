"""People as MMPose saves them, and as people dump those of RTMLib, which saves nothing itself.

Coordinates are pairs and scores stand in a list of their own. MMPose's inferencer writes a list of instances for a
photo, for a video a list of frames that counts from 0; its demo scripts put the same below `instance_info`, with frames
that count from 1.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.perception.keypoint_files import parsing
from hardmo_jax.perception.keypoint_files.parsing import PEAKS, Place
from hardmo_jax.perception.keypoint_files.person import (
    FileContent,
    FilePerson,
    FilePicture,
    KeypointFile,
    MeasuredPoints,
    assemble_person,
)
from hardmo_jax.perception.keypoint_files.point_lists import BY_COUNT, PointList, points_called, points_of_count

#: What dumps call the number of a frame.
FRAME_FIELDS = ("frame_index", "frame", "frame_id", "frame_number", "frameIndex", "frameId", "frame_idx")


def mmpose_file(content: Any, place: Place, chosen: PointList | None) -> KeypointFile:
    """A list of instances, a list of frames with `instances`, a list of lists of instances, or a demo's object.

    Raises:
        KeypointFileError: If it is none of them.
    """
    name, is_demo = place.path.stem, False
    if isinstance(content, Mapping):
        is_demo = "instance_info" in content
        chosen = chosen or _points_of_data_set(content.get("meta_info"))
        field = "instance_info" if is_demo else "predictions"
        content, place = parsing.list_field(content, field, place), place.at(field)
        if is_demo:
            name = re.sub(r"^results_(?=.)", "", name)
    entries = parsing.expect_list(content, place)
    parsing.check_entries(entries, place)
    if all(isinstance(entry, list) for entry in entries) and entries:
        frames = [
            (FilePicture(name=name, frame_index=number if len(entries) > 1 else None), place.at(number), entry)
            for number, entry in enumerate(entries)
        ]
    elif any(isinstance(entry, Mapping) and "instances" in entry for entry in entries):
        frames = _frames(entries, name, place, is_demo=is_demo)
    else:
        frames = [(FilePicture(name=name), place, entries)]
    found = FileContent()
    for picture, at, instances in frames:
        with found.reading(picture):
            for number, instance in enumerate(parsing.expect_list(instances, at)):
                found.add(_instance(instance, picture, at.at(number), chosen))
    return found.as_file("mmpose")


def _frames(entries: list[Any], name: str, place: Place, *, is_demo: bool) -> list[tuple[FilePicture, Place, Any]]:
    numbers = []
    for position, entry in enumerate(entries):
        at = place.at(position)
        number = parsing.parse_count(parsing.expect_object(entry, at).get("frame_id"), at.at("frame_id"))
        if number is None:
            raise at.error("must have a `frame_id` from 0")
        numbers.append(number)
    first = 1 if is_demo and min(numbers) > 0 else 0
    return [
        (
            FilePicture(name=name, frame_index=number - first),
            place.at(position, "instances"),
            entry.get("instances"),
        )
        for position, (number, entry) in enumerate(zip(numbers, entries, strict=True))
    ]


def _points_of_data_set(meta_info: Any) -> PointList | None:
    """Points as the data set of the model names them."""
    names = meta_info.get("keypoint_id2name") if isinstance(meta_info, Mapping) else None
    if not isinstance(names, Mapping):
        return None
    return points_called([names.get(str(number)) for number in range(len(names))], BY_COUNT)


def _instance(instance: Any, picture: FilePicture, place: Place, chosen: PointList | None) -> FilePerson | None:
    entry = parsing.expect_object(instance, place)
    for field in ("keypoints", "keypoint_scores"):
        if field not in entry:
            raise place.error(f"has no `{field}`")
    coordinates = parsing.parse_rows(entry["keypoints"], 2, place.at("keypoints"))
    scores = parsing.parse_numbers(entry["keypoint_scores"], place.at("keypoint_scores"))
    box, at = entry.get("bbox"), place.at("bbox")
    if isinstance(box, list) and len(box) == 1:
        box = box[0]
    return _measured_person(
        coordinates, scores, place, chosen,
        picture=picture,
        bbox=parsing.parse_corners(box, at, has_size=False),
        score=parsing.parse_score(entry.get("bbox_score"), place.at("bbox_score")),
        track_id=parsing.parse_count(entry.get("track_id"), place.at("track_id")),
    )  # fmt: skip


def _measured_person(
    coordinates: Float[np.ndarray, "K 2"],
    scores: Float[np.ndarray, "N"],
    place: Place,
    chosen: PointList | None,
    **fields: Any,
) -> FilePerson | None:
    if len(scores) != len(coordinates):
        raise place.error(f"must have as many scores as keypoints, got {len(scores)} and {len(coordinates)}")
    parsing.check_scores(scores, PEAKS, place)
    points = points_of_count(len(coordinates), BY_COUNT, chosen, place, per_point=2)
    return assemble_person([MeasuredPoints(points, coordinates, scores)], file_layout=points.name, **fields)


def rtmlib_file(content: Any, place: Place, chosen: PointList | None) -> KeypointFile:
    """An object with `keypoints` and `scores` of one picture, or a list of them for the frames of a video.

    Raises:
        KeypointFileError: If it is none of them.
    """
    found = FileContent()
    for picture, at, entry in pictures_of_dump(content, place):
        with found.reading(picture):
            for person in _rtmlib_people(entry, picture, at, chosen) if entry is not None else []:
                found.add(person)
    return found.as_file("rtmlib")


def pictures_of_dump(content: Any, place: Place) -> list[tuple[FilePicture, Place, Any]]:
    """Pictures of what somebody dumped: one object, a list of them for the frames of a video, or a list below `frames`.

    A frame has the number that it says (`FRAME_FIELDS`), else its position. Null stands for a frame with nobody; what
    else is no object is for whoever reads the frame to refuse.

    Raises:
        KeypointFileError: If it is none of them.
    """
    size: Mapping[str, Any] = {}
    if isinstance(content, Mapping) and "frames" in content:
        size = content
        content, place = parsing.list_field(content, "frames", place), place.at("frames")
    if not isinstance(content, list):
        entry = parsing.expect_object(content, place)
        return [(_picture_of_dump(entry, None, {}, place), place, entry)]
    parsing.check_entries(content, place)
    found = []
    for position, entry in enumerate(content):
        at = place.at(position)
        told = entry if isinstance(entry, Mapping) else {}
        found.append((_picture_of_dump(told, position, size, at), at, entry))
    return found


def _picture_of_dump(
    entry: Mapping[str, Any], position: int | None, size: Mapping[str, Any], place: Place
) -> FilePicture:
    field = next((name for name in FRAME_FIELDS if name in entry), None)
    frame_index = position if field is None else parsing.parse_count(entry[field], place.at(field))
    name = next((entry[key] for key in ("file_name", "image", "image_path") if isinstance(entry.get(key), str)), None)
    width, height = (
        next(
            (
                parsing.parse_count(owner[key], place.at(key), least=1)
                for owner in (entry, size)
                for key in (side, f"image_{side}")
                if key in owner
            ),
            None,
        )
        for side in ("width", "height")
    )
    # A picture that is named is none of a video, unless it says so.
    is_photo = name is not None and field is None
    return FilePicture(
        name=place.path.stem if name is None else name,
        frame_index=None if is_photo else frame_index,
        width=width,
        height=height,
    )


def _rtmlib_people(
    entry: Mapping[str, Any], picture: FilePicture, place: Place, chosen: PointList | None
) -> list[FilePerson]:
    parsing.expect_object(entry, place)
    field = "scores" if "scores" in entry else "keypoint_scores"
    if field not in entry:
        raise place.error("has no `scores`")
    people, at = parsing.list_field(entry, "keypoints", place), place.at("keypoints")
    scores = parsing.list_field(entry, field, place)
    if people and _is_pair(people[0]):
        # One person, without the list of all.
        people, scores, at = [people], [scores], place
    if len(people) != len(scores):
        raise place.error(
            f"must have scores of each person, got {len(people)} people and {len(scores)} lists of scores"
        )
    found = []
    for number, (rows, weights) in enumerate(zip(people, scores, strict=True)):
        coordinates = parsing.parse_rows(rows, 2, at.at(number))
        own = parsing.parse_numbers(weights, place.at(field, number))
        person = _measured_person(coordinates, own, at.at(number), chosen, picture=picture)
        if person is not None:
            found.append(person)
    return found


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and not isinstance(value[0], list)
