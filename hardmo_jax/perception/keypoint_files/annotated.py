"""COCO annotations as somebody left them in a program for annotators: which points an annotation speaks of at all.

`read_keypoint_file` says what was seen; here a point that was taken away is another thing than one that the program
knows nothing of, as most know nothing of COCO-WholeBody's feet and hands.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from hardmo_jax.perception.keypoint_files import parsing
from hardmo_jax.perception.keypoint_files.coco import (
    LABEL_ID,
    LABEL_VERSION,
    annotation_number,
    coco_fields,
    coco_pictures,
    is_image_id,
    points_by_category,
)
from hardmo_jax.perception.keypoint_files.parsing import Place
from hardmo_jax.perception.keypoint_files.person import FilePicture
from hardmo_jax.perception.keypoint_files.point_lists import LAYOUT, PointList

_LABEL_ID = re.compile(r"[0-9a-f]{32}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnnotatedPerson:
    """One annotation."""

    picture: FilePicture
    """Where the person is."""
    annotation_id: int | None
    """Its number, which programs may give anew."""
    label_id: str | None
    """Of the label that the file was written from, where the program kept it."""
    label_version: int | None
    """Of that label."""
    points: Mapping[str, tuple[float, float] | None]
    """Pixels of the points of `openpose67` that the annotation speaks of; None of those that it says are not seen."""


def read_annotated(path: str | os.PathLike[str], *, max_bytes: int = parsing.MAX_BYTES) -> tuple[AnnotatedPerson, ...]:
    """Read COCO's keypoint annotations. Crowds, and annotations without keypoints, are left out.

    Args:
        path: JSON with `images` and `annotations`; points by number (17, 133 and others), by the names of their
            category, or in COCO-WholeBody's fields.
        max_bytes: Largest file that is read.

    Raises:
        FileNotFoundError: If there is no such file.
        KeypointFileError: If it is no such JSON, too large, or something in it is of another kind.
    """
    path = pathlib.Path(path)
    place = Place(path)
    content = parsing.expect_object(parsing.read_bounded_json(path, max_bytes), place)
    pictures = coco_pictures(content, place)
    named = points_by_category(content.get("categories"), place.at("categories"))
    annotations = parsing.list_field(content, "annotations", place)
    parsing.check_entries(annotations, place.at("annotations"))
    people = []
    for number, annotation in enumerate(annotations):
        at = place.at("annotations", number)
        annotation = parsing.expect_object(annotation, at)
        image_id = annotation.get("image_id")
        if not is_image_id(image_id) or image_id not in pictures:
            raise at.at("image_id").error(f"is {parsing.describe_value(image_id)}, which no image has")
        if annotation.get("iscrowd"):
            continue
        points = _points(annotation, at, named)
        if points:
            label_id, version = _label(annotation.get("attributes"))
            people.append(
                AnnotatedPerson(
                    picture=pictures[image_id],
                    annotation_id=annotation_number(annotation.get("id")),
                    label_id=label_id,
                    label_version=version,
                    points=points,
                )
            )
    return tuple(people)


def _points(
    annotation: Mapping[str, Any], place: Place, named: Mapping[int | str, PointList]
) -> dict[str, tuple[float, float] | None]:
    category, keypoints = annotation.get("category_id"), annotation.get("keypoints")
    own = named.get(category) if is_image_id(category) else None
    if own is not None and isinstance(keypoints, list) and len(keypoints) != 3 * len(own):
        own = None
    found: dict[str, tuple[float, float] | None] = {}
    # Whatever the flags of whole hands and feet say: who adds a point does not know of them.
    for _, points, triples in coco_fields(annotation, place, own, respects_flags=False):
        for row, target in zip(*points.places, strict=True):
            x, y, flag = triples[row]
            is_seen = flag > 0 and np.isfinite([x, y]).all()
            found[LAYOUT.points[target]] = (float(x), float(y)) if is_seen else None
    return found


def _label(attributes: Any) -> tuple[str | None, int | None]:
    """Which label an annotation was; programs may keep numbers as text."""
    if not isinstance(attributes, Mapping):
        return None, None
    label_id = attributes.get(LABEL_ID)
    if not isinstance(label_id, str) or not _LABEL_ID.fullmatch(label_id):
        return None, None
    version = attributes.get(LABEL_VERSION)
    if isinstance(version, str) and re.fullmatch(r"[0-9]{1,9}(\.0)?", version):
        version = int(version.partition(".")[0])
    return label_id, annotation_number(version)
