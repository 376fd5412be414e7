"""Lists of results: COCO's, which most models are scored by, COCO-WholeBody's, and AlphaPose's.

AlphaPose's default file is such a list with names of files, `box` and `idx`; its other two (`--format cmu`, `open`) are
objects by the names of pictures.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hardmo_jax.perception.keypoint_files import parsing
from hardmo_jax.perception.keypoint_files.coco import coco_fields, coco_layout_name, is_image_id
from hardmo_jax.perception.keypoint_files.parsing import ALPHAPOSE_SCORES, PEAKS, Place
from hardmo_jax.perception.keypoint_files.person import (
    FileContent,
    FilePerson,
    FilePicture,
    KeypointFile,
    MeasuredPoints,
    assemble_person,
)
from hardmo_jax.perception.keypoint_files.point_lists import (
    OPENPOSE_MPI15,
    PointList,
    point_list,
    points_of_count,
)

#: Greatest score of a person by AlphaPose: mean and 1.25 times the maximum of those of the points, and the box's.
_MAX_ALPHAPOSE_SUM = 3.25
#: AlphaPose takes what stands in the place of the 18th point for the neck: with Halpe's points the top of the head.
_ALPHAPOSE18 = PointList(
    "alphapose18",
    tuple("_neck" if point == "neck" else point for point in point_list("openpose18").points),
)
_ALPHAPOSE_BY_COUNT = {len(points): points for points in (OPENPOSE_MPI15, _ALPHAPOSE18)}


def results_file(content: list[Any], place: Place, chosen: PointList | None) -> KeypointFile:
    """A list of objects with `image_id` and `keypoints`.

    Raises:
        KeypointFileError: If it is not that.
    """
    entries = [
        (place.at(number), parsing.expect_object(entry, place.at(number))) for number, entry in enumerate(content)
    ]
    names = []
    for at, entry in entries:
        if not is_image_id(entry.get("image_id")):
            raise at.at("image_id").error(
                f"must be the number or name of an image, got {parsing.describe_value(entry.get('image_id'))}"
            )
        names.append(str(entry["image_id"]))
    is_alphapose = any(_is_alphapose(entry) for _, entry in entries)
    frames = _frames_of_names(names) if is_alphapose else {}
    found = FileContent()
    pictures = {name: FilePicture(name=name, frame_index=frames.get(name)) for name in names}
    for (at, entry), name in zip(entries, names, strict=True):
        with found.reading(pictures[name]):
            found.add(_result_person(entry, pictures[name], at, chosen, is_alphapose=is_alphapose))
    return found.as_file("alphapose" if is_alphapose else "coco_results")


def _result_person(
    entry: Mapping[str, Any], picture: FilePicture, place: Place, chosen: PointList | None, *, is_alphapose: bool
) -> FilePerson | None:
    if "keypoints" not in entry:
        raise place.error("has no `keypoints`; a list of boxes alone says too little")
    parts = []
    for field, points, triples in coco_fields(entry, place, chosen):
        parsing.check_scores(triples[:, 2], ALPHAPOSE_SCORES if is_alphapose else PEAKS, place.at(field))
        parts.append(MeasuredPoints(points, triples[:, :2], triples[:, 2]))
    box_field = "box" if "box" in entry else "bbox"
    return assemble_person(
        parts,
        picture=picture,
        bbox=parsing.parse_corners(entry.get(box_field), place.at(box_field), has_size=True),
        score=parsing.parse_score(
            entry.get("score"), place.at("score"), most=_MAX_ALPHAPOSE_SUM if is_alphapose else 1.0
        ),
        track_id=_track_number(entry, place),
        file_layout=coco_layout_name(parts),
    )


def _is_alphapose(entry: Mapping[str, Any]) -> bool:
    """Whether AlphaPose wrote a result: by its own fields, or by a score that is a sum, of a named picture."""
    score = entry.get("score")
    is_sum = type(score) is float and score > 1
    return "box" in entry or "idx" in entry or (isinstance(entry["image_id"], str) and is_sum)


def _track_number(entry: Mapping[str, Any], place: Place) -> int | None:
    """AlphaPose's `idx`, which is a number, or a list of those that were merged; or a `track_id`."""
    field = "idx" if "idx" in entry else "track_id"
    value = entry.get(field)
    for _ in range(2):
        if isinstance(value, list):
            value = value[0] if value else None
    return parsing.parse_count(value, place.at(field))


def _frames_of_names(names: Iterable[str]) -> dict[str, int]:
    """Frames by name, if all names are those that AlphaPose gives to the frames of a video: `0.jpg`, `1.jpg`."""
    frames = {}
    for name in names:
        found = re.fullmatch(r"(0|[1-9][0-9]{0,8})\.jpg", name)
        if not found:
            return {}
        frames[name] = int(found[1])
    return frames


def alphapose_file(content: Mapping[str, Any], place: Place, chosen: PointList | None) -> KeypointFile:
    """Objects with `bodies` (`--format cmu`) or `people` (`--format open`), by the names of pictures.

    Raises:
        KeypointFileError: If it is not that.
    """
    parsing.check_entries(content, place)
    frames = _frames_of_names(content)
    found = FileContent()
    for name, entry in content.items():
        picture = FilePicture(name=name, frame_index=frames.get(name))
        with found.reading(picture):
            for person in _people_of_picture(
                parsing.expect_object(entry, place.at(name)), picture, place.at(name), chosen
            ):
                found.add(person)
    return found.as_file("alphapose")


def _people_of_picture(
    entry: Mapping[str, Any], picture: FilePicture, place: Place, chosen: PointList | None
) -> Iterator[FilePerson | None]:
    field, points_field = ("bodies", "joints") if "bodies" in entry else ("people", "pose_keypoints_2d")
    for number, body in enumerate(parsing.list_field(entry, field, place)):
        at = place.at(field, number)
        body = parsing.expect_object(body, at)
        if points_field not in body:
            raise at.error(f"has no `{points_field}`")
        triples = parsing.parse_triples(body[points_field], at.at(points_field))
        if triples is None:
            continue
        points = points_of_count(len(triples), _ALPHAPOSE_BY_COUNT, chosen, at.at(points_field))
        parsing.check_scores(triples[:, 2], ALPHAPOSE_SCORES, at.at(points_field))
        part = MeasuredPoints(points, triples[:, :2], triples[:, 2])
        yield assemble_person([part], picture=picture, file_layout=points.name)
