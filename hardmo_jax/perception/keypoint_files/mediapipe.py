"""Results of MediaPipe's pose and holistic landmarkers, as people dump them to JSON.

Points are shares of the picture's width and height; world points are metres before the person, origin midway between
the hips, x right, y down, z away from the camera, which are the axes of `FilePerson.keypoints_3d`. The confidence of a
point is its visibility, times its presence where that is told. MediaPipe measures no visibility of hands: their points
have confidence 1, and so have those of a body that is dumped without.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.perception.keypoint_files import parsing
from hardmo_jax.perception.keypoint_files.instances import pictures_of_dump
from hardmo_jax.perception.keypoint_files.parsing import CERTAINTIES, Place
from hardmo_jax.perception.keypoint_files.person import (
    FileContent,
    FilePerson,
    FilePicture,
    KeypointFile,
    MeasuredPoints,
    assemble_person,
)
from hardmo_jax.perception.keypoint_files.point_lists import HANDS, PointList, point_list

_BODY = PointList("mediapipe33", point_list("blazepose33").points)
#: Fields in Python, in JavaScript's holistic landmarker, and in its pose landmarker.
_BODY_FIELDS = ("pose_landmarks", "poseLandmarks", "landmarks")
_WORLD_FIELDS = ("pose_world_landmarks", "poseWorldLandmarks", "world_landmarks", "worldLandmarks")
_HAND_FIELDS = {side: (f"{side}_hand_landmarks", f"{side}HandLandmarks") for side in HANDS}
_COORDINATES = ("x", "y", "z")
_CERTAINTIES = ("visibility", "presence")
_NUMBERS: tuple[str, ...] = (*_COORDINATES, *_CERTAINTIES)


def is_mediapipe(entry: Any) -> bool:
    """Whether an object is a result of MediaPipe."""
    # A result of somebody else may have landmarks of a face beside its keypoints.
    return isinstance(entry, Mapping) and "keypoints" not in entry and any(field in entry for field in _BODY_FIELDS)


def mediapipe_file(content: Any, place: Place) -> KeypointFile:
    """A result, or a list of them for the frames of a video.

    Raises:
        KeypointFileError: If it is not that.
    """
    found = FileContent()
    for picture, at, entry in pictures_of_dump(content, place):
        with found.reading(picture):
            for person in _people(parsing.expect_object(entry, at), picture, at) if entry is not None else []:
                found.add(person)
    return found.as_file("mediapipe")


def _people(entry: Mapping[str, Any], picture: FilePicture, place: Place) -> list[FilePerson]:
    bodies = _lists_of_landmarks(entry, _BODY_FIELDS, _BODY, place)
    worlds = _lists_of_landmarks(entry, _WORLD_FIELDS, _BODY, place, dimensions=3)
    hands = {side: _lists_of_landmarks(entry, _HAND_FIELDS[side], HANDS[side], place) for side in HANDS}
    for name, lists in {"world landmarks": worlds, **{f"{side} hands": found for side, found in hands.items()}}.items():
        # Nobody says whose hand one is if there are several people.
        if lists and bodies and len(lists) != len(bodies):
            raise place.error(f"must have as many {name} as people, got {len(lists)} and {len(bodies)}")
    people = []
    for number, body in enumerate(bodies):
        parts = [body, *(found[number] for found in hands.values() if found)]
        person = assemble_person(
            parts, worlds[number : number + 1], picture=picture, shares="of_size", file_layout=_BODY.name
        )
        if person is not None:
            people.append(person)
    return people


def _lists_of_landmarks(
    entry: Mapping[str, Any], fields: tuple[str, ...], points: PointList, place: Place, *, dimensions: int = 2
) -> list[MeasuredPoints]:
    """Landmarks of each person; none if the field is absent, null or empty."""
    field = next((name for name in fields if name in entry), None)
    value = None if field is None else _unwrapped(entry[field])
    if field is None or value is None or value == []:
        return []
    at = place.at(field)
    value = parsing.expect_list(value, at)
    first = _unwrapped(value[0])
    is_one = not isinstance(first, list) or not first or not isinstance(first[0], Mapping | list)
    lists = [(at, value)] if is_one else [(at.at(number), _unwrapped(one)) for number, one in enumerate(value)]
    found = []
    for where, landmarks in lists:
        landmarks = parsing.expect_list(landmarks, where)
        if len(landmarks) != len(points):
            raise where.error(f"must hold {len(points)} landmarks, got {len(landmarks)}")
        found.append(_landmarks(landmarks, points, where, dimensions))
    return found


def _unwrapped(value: Any) -> Any:
    """A list of landmarks, which protocol buffers have below `landmark`."""
    return value["landmark"] if isinstance(value, Mapping) and "landmark" in value else value


def _landmarks(landmarks: list[Any], points: PointList, place: Place, dimensions: int) -> MeasuredPoints:
    table = np.full((len(landmarks), len(_NUMBERS)), np.nan)
    is_told = np.zeros(table.shape, bool)
    for number, landmark in enumerate(landmarks):
        at = place.at(number)
        if isinstance(landmark, list):
            # [x, y, z], and maybe visibility and presence.
            if not len(_COORDINATES) <= len(landmark) <= table.shape[1]:
                raise at.error(f"must hold x, y, z and maybe visibility, got {parsing.describe_value(landmark)}")
            values: Mapping[str, Any] = dict(zip(_NUMBERS, landmark, strict=False))
        else:
            values = parsing.expect_object(landmark, at)
        told = [name for name in _NUMBERS if values.get(name) is not None]
        missing = [name for name in _COORDINATES[:dimensions] if name not in told]
        if missing:
            raise at.error(f"has no `{missing[0]}`")
        columns = [_NUMBERS.index(name) for name in told]
        table[number, columns] = parsing.parse_numbers([values[name] for name in told], at)
        is_told[number, columns] = True
    parsing.check_coordinates(table[:, : len(_COORDINATES)], place)
    return MeasuredPoints(points, table[:, :dimensions], _confidence(table, is_told, points, place))


def _confidence(
    table: Float[np.ndarray, "N 5"], is_told: np.ndarray, points: PointList, place: Place
) -> Float[np.ndarray, "N"]:
    """Visibility times presence, of those that are told; 1 if neither is."""
    confidence = np.ones(len(table))
    for column, name in enumerate(_CERTAINTIES, len(_COORDINATES)):
        values = table[:, column]
        parsing.check_scores(values, CERTAINTIES, place)
        # Protocol buffers fill what was not measured with zeros: all of a hand's, and the presence by older versions.
        may_be_blank = points is not _BODY or name == "presence"
        if not is_told[:, column].any() or (may_be_blank and not (values[is_told[:, column]] != 0).any()):
            continue
        # A point without, among others that have it, is not trusted.
        confidence = confidence * np.where(is_told[:, column], values, 0)
    return confidence
