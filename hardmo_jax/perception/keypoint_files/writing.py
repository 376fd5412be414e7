"""Keypoints as OpenPose and COCO-WholeBody have them: each file is written whole or not at all.

What is written is read back as it was, to the last bit of a float32, by `read_keypoint_file`: BODY_25 and its two hands
are the points of `openpose67`; in COCO's files two fields of ours (`openpose67_scores`, `middle_kpts`), which other
programs pass over, keep what visibility flags and COCO's points leave out.
"""

import itertools
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hardmo_jax import whole_files
from hardmo_jax.array_types import Float
from hardmo_jax.perception.keypoint_files.coco import (
    LABEL_ID,
    LABEL_VERSION,
    MIDDLE,
    MIDDLE_FIELD,
    SCORES_FIELD,
    WHOLEBODY_FIELDS,
    flags_of,
)
from hardmo_jax.perception.keypoint_files.parsing import MAX_COORDINATE, KeypointFileError
from hardmo_jax.perception.keypoint_files.person import FilePerson, FilePicture
from hardmo_jax.perception.keypoint_files.point_lists import COCO17, HANDS, LAYOUT, PointList, point_list
from hardmo_jax.skeleton import layouts

#: Fields of an OpenPose person that hold points, in OpenPose's order; None is empty.
_OPENPOSE_FIELDS: Mapping[str, PointList | None] = {
    "pose_keypoints_2d": point_list("openpose25"),
    "face_keypoints_2d": None,
    "hand_left_keypoints_2d": HANDS["left"],
    "hand_right_keypoints_2d": HANDS["right"],
    "pose_keypoints_3d": None,
    "face_keypoints_3d": None,
    "hand_left_keypoints_3d": None,
    "hand_right_keypoints_3d": None,
}
_NUM_FACE_POINTS = 68
#: Body, feet and hands in one list.
_NAMED = point_list("coco_wholebody65")
#: Points that programs for annotators join by lines.
_LINES = (
    ("left_ear", "left_eye", "nose", "right_eye", "right_ear"),
    ("left_shoulder", "right_shoulder"),
    ("left_hip", "right_hip"),
    *(
        tuple(f"{side}_{point}" for point in line)
        for side in layouts.SIDES
        for line in (
            ("shoulder", "elbow", "wrist", "hand_root"),
            ("shoulder", "hip", "knee", "ankle", "heel"),
            ("ankle", "big_toe", "small_toe"),
            *(
                ("hand_root", *(f"{finger}{link}" for link in (1, 2, 3)), f"{finger}_tip")
                for finger in ("thumb", "index", "middle", "ring", "pinky")
            ),
        )
    ),
)
_PERSON_CATEGORY = 1


def write_openpose(folder: str | os.PathLike[str], name: str, people: Sequence[FilePerson]) -> pathlib.Path:
    """Write the people of one picture as OpenPose 1.7 does: `name_keypoints.json`, BODY_25 and both hands.

    Boxes and scores have no place there.

    Args:
        folder: Where the file goes; made if absent.
        name: Of the picture, without suffix; may lie in subfolders (`day_1/clip_000000000012`).
        people: In pixels. Those without a point are left out, as OpenPose leaves them out.

    Returns:
        The file.

    Raises:
        KeypointFileError: If the name leads out of the folder, or coordinates are shares, not finite or wild.
    """
    path = _path_inside(pathlib.Path(folder), name)
    content = {"version": 1.3, "people": [_openpose_entry(person) for person in people if person.confidence.any()]}
    return _write_json(path, content)


def _openpose_entry(person: FilePerson) -> dict[str, Any]:
    _check_pixels(person)
    entry: dict[str, Any] = {"person_id": [-1 if person.track_id is None else person.track_id]}
    for field, points in _OPENPOSE_FIELDS.items():
        entry[field] = [] if points is None else _triples(person, points, person.confidence)
    return entry


def write_coco_wholebody(
    path: str | os.PathLike[str], pictures: Sequence[FilePicture], people: Sequence[FilePerson]
) -> pathlib.Path:
    """Write people of pictures as one COCO-WholeBody annotation file, without faces.

    Visibility is 2 for confidences above 0.5, 1 for those above 0, else 0. A person without a box gets that of the
    points.

    Args:
        path: Where the file goes.
        pictures: All pictures, also those with nobody in them; each with a name of its own and its size.
        people: In pixels, each in one of the pictures. Those without a point are left out. Annotations are numbered
            from 1 where they have no number.

    Returns:
        The file.

    Raises:
        KeypointFileError: If a picture has no name or no size, two have the same name, a person is in none of them, two
            are one annotation, or coordinates are shares, not finite or wild.
    """
    return _write_coco(path, pictures, people, COCO17, _wholebody_fields)


def write_coco_named(
    path: str | os.PathLike[str], pictures: Sequence[FilePicture], people: Sequence[FilePerson]
) -> pathlib.Path:
    """Write people of pictures as COCO keypoints with feet and hands in one list, for programs for annotators.

    Most of these know nothing of COCO-WholeBody's fields; they ask the category for the names of the points. The points
    are those of `coco_wholebody65`: body, feet and hands. All else is as in `write_coco_wholebody`.

    Args:
        path: Where the file goes.
        pictures: All pictures, each with a name of its own and its size.
        people: In pixels, each in one of the pictures.

    Returns:
        The file.

    Raises:
        KeypointFileError: As of `write_coco_wholebody`.
    """
    return _write_coco(path, pictures, people, _NAMED, lambda person, flags: {})


def _write_coco(
    path: str | os.PathLike[str],
    pictures: Sequence[FilePicture],
    people: Sequence[FilePerson],
    points: PointList,
    further_fields: Callable[[FilePerson, Float[np.ndarray, "K"]], dict[str, Any]],
) -> pathlib.Path:
    """COCO's file of pictures, people with `points` as `keypoints` and further fields, and their category."""
    path = pathlib.Path(path)
    ids: dict[FilePicture, int] = {}
    names: set[str] = set()
    images = []
    for picture in pictures:
        if not picture.name or picture.width is None or picture.height is None:
            raise KeypointFileError(f"{path}: COCO's pictures need a name and a size, got {picture}")
        if picture.name in names:
            raise KeypointFileError(f"{path}: two pictures are called {picture.name!r}")
        names.add(picture.name)
        ids[picture] = len(ids) + 1
        image = {
            "id": ids[picture], "file_name": picture.name, "width": picture.width, "height": picture.height
        }  # fmt: skip
        images.append(image if picture.frame_index is None else image | {"frame_index": picture.frame_index})
    annotations, numbers = [], {}
    for person in people:
        if person.picture not in ids:
            raise KeypointFileError(f"{path}: nobody said how large the picture {person.image_file!r} of a person is")
        if person.confidence.any():
            number = len(annotations) + 1 if person.annotation_id is None else person.annotation_id
            if numbers.setdefault(number, person) is not person:
                raise KeypointFileError(f"{path}: two people are the annotation {number}")
            annotations.append(_annotation(person, number, ids[person.picture], points, further_fields))
    category = {
        "id": _PERSON_CATEGORY, "name": "person", "supercategory": "person", "keypoints": list(points.points),
        "skeleton": _lines_of(points),
    }  # fmt: skip
    content = {
        "info": {"description": f"COCO keypoints; {SCORES_FIELD}: confidences by name of {LAYOUT.name}"},
        "licenses": [], "images": images, "annotations": annotations, "categories": [category],
    }  # fmt: skip
    return _write_json(path, content)


def _annotation(
    person: FilePerson,
    annotation_id: int,
    image_id: int,
    points: PointList,
    further_fields: Callable[[FilePerson, Float[np.ndarray, "K"]], dict[str, Any]],
) -> dict[str, Any]:
    _check_pixels(person)
    flags = flags_of(person.confidence)
    seen = person.keypoints_2d[person.confidence > 0]
    box = _sized(np.concatenate([seen.min(0), seen.max(0)]) if person.bbox is None else person.bbox)
    entry: dict[str, Any] = {
        "id": annotation_id, "image_id": image_id, "category_id": _PERSON_CATEGORY, "iscrowd": 0, "segmentation": [],
        "bbox": box, "area": box[2] * box[3], "keypoints": _triples(person, points, flags),
        "num_keypoints": int((flags[list(points.places[1])] > 0).sum()),
        **further_fields(person, flags),
        MIDDLE_FIELD: _triples(person, MIDDLE, flags), SCORES_FIELD: person.confidence.tolist(),
    }  # fmt: skip
    if person.score is not None:
        entry["score"] = person.score
    if person.track_id is not None:
        entry["track_id"] = person.track_id
    if person.label_id is not None:
        # Where programs for annotators keep what they do not know, and one of them at least gives it back.
        entry["attributes"] = {LABEL_ID: person.label_id, LABEL_VERSION: person.label_version}
    return entry


def _wholebody_fields(person: FilePerson, flags: Float[np.ndarray, "K"]) -> dict[str, Any]:
    """What COCO-WholeBody adds to an annotation."""
    fields: dict[str, Any] = {
        "face_kpts": [0] * (3 * _NUM_FACE_POINTS), "face_valid": False, "face_box": [0.0] * 4,
    }  # fmt: skip
    for field, points in WHOLEBODY_FIELDS.items():
        part, of = field.removesuffix("_kpts"), list(points.places[1])
        is_seen = flags[of] > 0
        fields[field] = _triples(person, points, flags)
        fields[f"{part}_valid"] = bool(is_seen.any())
        if points in HANDS.values():
            own = person.keypoints_2d[of][is_seen]
            fields[f"{part}_box"] = _sized(np.concatenate([own.min(0), own.max(0)])) if len(own) else [0.0] * 4
    return fields


def _lines_of(points: PointList) -> list[list[int]]:
    """COCO's skeleton of the points that a list has: pairs of their numbers, from 1."""
    number_of = {name: number for number, name in enumerate(points.points, start=1)}
    pairs = [pair for line in _LINES for pair in itertools.pairwise(line)]
    return [[number_of[a], number_of[b]] for a, b in pairs if a in number_of and b in number_of]


def _triples(person: FilePerson, points: PointList, weights: Float[np.ndarray, "K"]) -> list[float]:
    """x, y and weight of each point, one after the other; zeros where absent."""
    rows = list(points.places[1])
    is_seen = (person.confidence[rows] > 0)[:, None]
    # Lists of float32 numbers as Python floats are exact, and are read back as the same float32.
    table = np.concatenate([person.keypoints_2d[rows], weights[rows][:, None]], axis=1)
    return np.where(is_seen, table, 0).ravel().tolist()


def _sized(box: Float[np.ndarray, "4"]) -> list[float]:
    """Corners as COCO's x, y, width and height."""
    x_min, y_min, x_max, y_max = map(float, box)
    return [x_min, y_min, x_max - x_min, y_max - y_min]


def _check_pixels(person: FilePerson) -> None:
    if person.shares is not None:
        raise KeypointFileError(
            f"people of {person.image_file!r} have its shares as coordinates; take `in_pixels(width, height)`"
        )
    numbers = (person.keypoints_2d[person.confidence > 0], person.confidence, person.bbox)
    if not all(value is None or (np.abs(value) < MAX_COORDINATE).all() for value in numbers):
        raise KeypointFileError(
            f"a person of {person.image_file!r} has coordinates that are not finite and below {MAX_COORDINATE:g}"
        )


def _path_inside(folder: pathlib.Path, name: str) -> pathlib.Path:
    """File of a picture; a name that may come from a stranger's file must not lead out of the folder."""
    parts = name.split("/")
    is_plain = name.isprintable() and "\\" not in name and not pathlib.PureWindowsPath(name).anchor
    if not is_plain or any(part.strip(" .") == "" for part in parts):
        raise KeypointFileError(f"{folder}: no file can be named after the picture {name[:80]!r}; give it a plain name")
    path = folder / f"{name}_keypoints.json"
    if not path.resolve().is_relative_to(folder.resolve()):
        raise KeypointFileError(f"{folder}: the name {name[:80]!r} leads out of the folder, through a link")
    return path


def _write_json(path: pathlib.Path, content: Any) -> pathlib.Path:
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    with whole_files.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
