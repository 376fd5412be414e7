"""COCO keypoint annotations, with the fields of COCO-WholeBody, or with longer lists such as Halpe's 136 points."""

from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.perception.keypoint_files import parsing
from hardmo_jax.perception.keypoint_files.parsing import CERTAINTIES, Place
from hardmo_jax.perception.keypoint_files.person import (
    FileContent,
    FilePerson,
    FilePicture,
    KeypointFile,
    MeasuredPoints,
    assemble_person,
)
from hardmo_jax.perception.keypoint_files.point_lists import (
    BY_COUNT,
    COCO17,
    COCO_WHOLEBODY133,
    HANDS,
    LAYOUT,
    PointList,
    points_called,
    points_of_count,
)
from hardmo_jax.skeleton import layouts

#: Fields that COCO-WholeBody adds, and the points they hold.
WHOLEBODY_FIELDS = {
    "foot_kpts": PointList(
        "foot6", tuple(f"{side}_{point}" for side in layouts.SIDES for point in ("big_toe", "small_toe", "heel"))
    ),
    "lefthand_kpts": HANDS["left"],
    "righthand_kpts": HANDS["right"],
}
#: Field of ours: neck and middle of the hips, which COCO lacks.
MIDDLE_FIELD, MIDDLE = "middle_kpts", PointList("middle2", ("neck", "mid_hip"))
#: Field of ours: confidences of the points of `openpose67`, of which visibility flags keep little.
SCORES_FIELD = f"{LAYOUT.name}_scores"
#: Attributes of ours: which label a person is.
LABEL_ID, LABEL_VERSION = "label_id", "label_version"
#: Visibility flag to confidence: 0 absent, 1 labelled but hidden, 2 visible.
_CONFIDENCE_OF_FLAG = {0: 0.0, 1: 0.5, 2: 1.0}
#: Greatest number of an annotation.
_MAX_ID = 2**63 - 1


def flags_of(confidence: Float[np.ndarray, "K"]) -> Float[np.ndarray, "K"]:
    """Visibility flags of confidences, such that those of flags are these flags again."""
    return np.where(confidence > _CONFIDENCE_OF_FLAG[1], 2.0, np.where(confidence > 0, 1.0, 0.0))


def coco_file(content: Mapping[str, Any], place: Place, chosen: PointList | None) -> KeypointFile:
    """A file with `images` and `annotations`. Crowds are left out.

    Raises:
        KeypointFileError: If it is not that.
    """
    pictures = coco_pictures(content, place)
    names_by_category = points_by_category(content.get("categories"), place.at("categories"))
    found = FileContent()
    for picture in pictures.values():
        found.speak_of(picture)
    annotations = parsing.list_field(content, "annotations", place)
    parsing.check_entries(annotations, place.at("annotations"))
    for number, annotation in enumerate(annotations):
        at = place.at("annotations", number)
        annotation = parsing.expect_object(annotation, at)
        if annotation.get("iscrowd"):
            continue
        image_id, category = annotation.get("image_id"), annotation.get("category_id")
        if not is_image_id(image_id) or image_id not in pictures:
            raise at.at("image_id").error(f"is {parsing.describe_value(image_id)}, which no image has")
        points = chosen
        if points is None and is_image_id(category) and isinstance(annotation.get("keypoints"), list):
            named = names_by_category.get(category)
            points = named if named and 3 * len(named) == len(annotation["keypoints"]) else None
        with found.reading(pictures[image_id]):
            found.add(_annotated_person(annotation, pictures[image_id], at, points))
    return found.as_file("coco")


def is_image_id(value: Any) -> TypeGuard[int | str]:
    """Whether a value may be the number of an image: COCO has whole numbers, other data sets text."""
    return isinstance(value, int | str) and not isinstance(value, bool)


def annotation_number(value: Any) -> int | None:
    """Number of an annotation; None of what is none."""
    is_number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_ID
    return value if is_number else None


def coco_pictures(content: Mapping[str, Any], place: Place) -> dict[int | str, FilePicture]:
    """Pictures of a file by their numbers.

    Raises:
        KeypointFileError: If there is no list of them, or one is none.
    """
    pictures: dict[int | str, FilePicture] = {}
    images = parsing.list_field(content, "images", place)
    parsing.check_entries(images, place.at("images"))
    for number, image in enumerate(images):
        at = place.at("images", number)
        if not isinstance(image, Mapping) or not isinstance(image.get("file_name"), str):
            raise at.error("must be an object with an `id` and a `file_name`")
        if not is_image_id(image.get("id")):
            raise at.error(f"must have an `id` that is a number or text, got {parsing.describe_value(image.get('id'))}")
        picture = FilePicture(
            name=image["file_name"],
            frame_index=parsing.parse_count(image.get("frame_index"), at.at("frame_index")),
            width=parsing.parse_count(image.get("width"), at.at("width"), least=1),
            height=parsing.parse_count(image.get("height"), at.at("height"), least=1),
        )
        if pictures.setdefault(image["id"], picture) != picture:
            raise at.error(f"has the `id` {parsing.short_text(image['id'])} of another image")
    return pictures


def points_by_category(categories: Any, place: Place) -> dict[int | str, PointList]:
    """Points that categories name, where they are understood."""
    found = {}
    for category in categories if isinstance(categories, list) else []:
        if isinstance(category, Mapping) and isinstance(category.get("keypoints"), list):
            points = points_called(category["keypoints"], BY_COUNT)
            if points is not None and is_image_id(category.get("id")):
                found[category["id"]] = points
    return found


def _annotated_person(
    annotation: Mapping[str, Any], picture: FilePicture, place: Place, points: PointList | None
) -> FilePerson | None:
    scores = _own_scores(annotation, place)
    parts = []
    for field, own, triples in coco_fields(annotation, place, points):
        is_body = field == "keypoints"
        # Flags alone where confidences stand beside them, or where COCO says so.
        flags_only = scores is not None or (is_body and len(own) == len(COCO17))
        weights = _weights(triples[:, 2], place.at(field), flags_only=flags_only)
        parts.append(MeasuredPoints(own, triples[:, :2], weights))
    person = assemble_person(
        parts,
        picture=picture,
        bbox=parsing.parse_corners(annotation.get("bbox"), place.at("bbox"), has_size=True),
        score=parsing.parse_score(annotation.get("score"), place.at("score")),
        track_id=parsing.parse_count(annotation.get("track_id"), place.at("track_id")),
        annotation_id=annotation_number(annotation.get("id")),
        file_layout=coco_layout_name(parts),
    )
    if person is not None and scores is not None:
        # Where somebody edited the flags meanwhile, they count.
        told = np.array([_CONFIDENCE_OF_FLAG[int(flag)] for flag in flags_of(scores)], np.float32)
        np.copyto(person.confidence, scores, where=told == person.confidence)
    return person


def _own_scores(annotation: Mapping[str, Any], place: Place) -> Float[np.ndarray, "K"] | None:
    """Confidences that `write_coco_wholebody` keeps beside the flags."""
    if annotation.get(SCORES_FIELD) is None:
        return None
    at = place.at(SCORES_FIELD)
    scores = parsing.parse_numbers(annotation[SCORES_FIELD], at)
    if len(scores) != len(LAYOUT) or not ((scores >= 0) & (scores <= 1)).all():
        raise at.error(f"must hold {len(LAYOUT)} confidences in [0, 1]")
    return scores.astype(np.float32)


def coco_fields(
    annotation: Mapping[str, Any], place: Place, points: PointList | None, *, respects_flags: bool = True
) -> list[tuple[str, PointList, Float[np.ndarray, "K 3"]]]:
    """Fields of an annotation or a result, the points they hold, and their numbers; absent ones are left out.

    Args:
        annotation: With `keypoints`, and maybe COCO-WholeBody's fields.
        place: Of it.
        points: What `keypoints` holds, if not what its length says.
        respects_flags: Whether fields whose `*_valid` flag says that they are not are left out, too.

    Raises:
        KeypointFileError: If a list has another length, or something in it is no number.
    """
    found = []
    for field in ("keypoints", *WHOLEBODY_FIELDS, MIDDLE_FIELD):
        is_valid = annotation.get(field.replace("_kpts", "_valid"), True)
        if respects_flags and field != "keypoints" and is_valid is not None and not is_valid:
            continue
        at = place.at(field)
        triples = parsing.parse_triples(annotation.get(field), at)
        if triples is None:
            continue
        if field == "keypoints":
            own = points_of_count(len(triples), BY_COUNT, points, at)
        else:
            own = MIDDLE if field == MIDDLE_FIELD else WHOLEBODY_FIELDS[field]
            own = points_of_count(len(triples), {len(own): own}, None, at)
        found.append((field, own, triples))
    return found


def coco_layout_name(parts: list[MeasuredPoints]) -> str:
    """What a person of these fields held."""
    names = [part.points.name for part in parts]
    is_whole = any(part.points in WHOLEBODY_FIELDS.values() for part in parts) and COCO17.name in names
    return COCO_WHOLEBODY133.name if is_whole else next(iter(names), "")


def _weights(flags: Float[np.ndarray, "K"], place: Place, *, flags_only: bool) -> Float[np.ndarray, "K"]:
    """Confidence from visibility flags, or from the certainties in [0, 1] that COCO-WholeBody also uses.

    Longer lists hold both: flags of a body and certainties of a face.
    """
    is_flag = np.isin(flags, tuple(_CONFIDENCE_OF_FLAG)) | ~np.isfinite(flags)
    if flags_only and not is_flag.all():
        raise place.error(f"must have visibility 0, 1 or 2, got {flags[~is_flag][0]:g}")
    finite = flags[np.isfinite(flags)]
    if is_flag.all() and (flags_only or finite.max(initial=0) > 1):
        return np.array([_CONFIDENCE_OF_FLAG[int(flag)] if np.isfinite(flag) else 0.0 for flag in flags])
    parsing.check_scores(np.where(flags == max(_CONFIDENCE_OF_FLAG), 1.0, flags), CERTAINTIES, place)
    return flags
