"""Keypoints that another program wrote: OpenPose JSON and COCO or COCO-WholeBody annotations.

Files are size-bounded, read as JSON only, and every number is checked; what does not fit ends in a
`KeypointFileError` of one line that names the file and what was expected there. Points are put into the
`openpose67` layout; points that a file does not give have confidence 0.
"""

import dataclasses
import json
import math
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.skeleton import layouts

LAYOUT_NAME = "openpose67"
_LAYOUT = layouts.get_layout(LAYOUT_NAME)
_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".JPG", ".JPEG", ".PNG")
#: Files larger than this are refused.
MAX_BYTES = 1 << 30
#: An OpenPose file holds one picture.
MAX_OPENPOSE_BYTES = 64 << 20
#: Coordinates beyond this (pixels) are no coordinates.
_MAX_COORDINATE = 1e6
_SIDES = layouts.SIDES
_FEET = tuple(f"{side}_{point}" for side in _SIDES for point in ("big_toe", "small_toe", "heel"))
#: Field of an OpenPose person, and the points it holds.
_OPENPOSE_FIELDS = {
    "pose_keypoints_2d": layouts.get_layout("openpose25").points,
    "hand_left_keypoints_2d": layouts.get_layout("left_hand21").points,
    "hand_right_keypoints_2d": layouts.get_layout("right_hand21").points,
}
#: Field of a COCO annotation, and the points it holds; all but the first are COCO-WholeBody's.
_COCO_FIELDS = {
    "keypoints": layouts.get_layout("coco17").points,
    "foot_kpts": _FEET,
    "lefthand_kpts": layouts.get_layout("left_hand21").points,
    "righthand_kpts": layouts.get_layout("right_hand21").points,
}
#: Averages of two points, which COCO lacks.
MIDDLE_SOURCES = {"neck": ("left_shoulder", "right_shoulder"), "mid_hip": ("left_hip", "right_hip")}
#: COCO's visibility flag to confidence: 0 absent, 1 labelled but hidden, 2 visible.
_COCO_CONFIDENCE = {0: 0.0, 1: 0.5, 2: 1.0}


class KeypointFileError(ValueError):
    """A keypoint file does not hold what it should."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilePerson:
    """One person of a keypoint file, in the `openpose67` layout."""

    image_file: str | None
    """Picture as the file names it; for OpenPose the picture's name without its suffix."""
    keypoints_2d: Float[np.ndarray, "K 2"]
    """Pixels; 0 where absent."""
    confidence: Float[np.ndarray, "K"]
    """Weight of each point in [0, 1]; 0 means absent."""
    bbox: Float[np.ndarray, "4"] | None
    """Box as the file gives it, (x_min, y_min, x_max, y_max) in pixels."""
    annotation_id: int | None = None
    """Number of the annotation in a COCO file."""
    layout: str = LAYOUT_NAME
    """Name of the keypoint layout."""


def read_openpose(path: str | os.PathLike[str]) -> list[FilePerson]:
    """Read the JSON file that OpenPose writes for one picture.

    Args:
        path: File such as `0001_keypoints.json`, with `pose_keypoints_2d` in BODY_25 order and, if they were
            looked for, `hand_left_keypoints_2d` and `hand_right_keypoints_2d`.

    Returns:
        People with at least one point, in file order.

    Raises:
        FileNotFoundError: If there is no such file.
        KeypointFileError: If it is not such a file.
    """
    path = pathlib.Path(path)
    content = _read_json(path, MAX_OPENPOSE_BYTES)
    entries = _list(content, "people", path, "the file")
    image_file = re.sub(r"_keypoints$", "", path.stem)
    people = []
    for number, entry in enumerate(entries):
        where = f"people[{number}]"
        if not isinstance(entry, Mapping):
            raise KeypointFileError(f"{path}: {where} must be an object, got {_kind(entry)}")
        if "pose_keypoints_2d" not in entry:
            raise KeypointFileError(f"{path}: {where} has no `pose_keypoints_2d`")
        keypoints_2d, confidence = _empty()
        for field, points in _OPENPOSE_FIELDS.items():
            triples = _triples(entry.get(field), len(points), path, f"{where}.{field}")
            if triples is None:
                continue
            _check_confidence(triples[:, 2], path, f"{where}.{field}")
            _place(keypoints_2d, confidence, points, triples[:, :2], triples[:, 2])
        if (confidence > 0).any():
            people.append(
                FilePerson(image_file=image_file, keypoints_2d=keypoints_2d, confidence=confidence, bbox=None)
            )
    return people


def read_coco(path: str | os.PathLike[str]) -> list[FilePerson]:
    """Read a COCO keypoint annotation file, with the fields of COCO-WholeBody if it has them.

    `foot_kpts`, `lefthand_kpts` and `righthand_kpts` are used where they stand; their `*_valid` flags are
    respected. COCO knows no neck and no middle of the hips: they are averaged. Crowds are left out.

    Args:
        path: File with `images` and `annotations`.

    Returns:
        People with at least one point, in file order.

    Raises:
        FileNotFoundError: If there is no such file.
        KeypointFileError: If it is not such a file.
    """
    path = pathlib.Path(path)
    content = _read_json(path, MAX_BYTES)
    names: dict[Any, str] = {}
    for number, image in enumerate(_list(content, "images", path, "the file")):
        if not isinstance(image, Mapping) or not isinstance(image.get("file_name"), str) or not _is_id(image.get("id")):
            raise KeypointFileError(f"{path}: images[{number}] must have an `id` and a `file_name`")
        names[image["id"]] = image["file_name"]
    people = []
    for number, annotation in enumerate(_list(content, "annotations", path, "the file")):
        where = f"annotations[{number}]"
        if not isinstance(annotation, Mapping):
            raise KeypointFileError(f"{path}: {where} must be an object, got {_kind(annotation)}")
        if annotation.get("iscrowd"):
            continue
        if not _is_id(annotation.get("image_id")) or annotation["image_id"] not in names:
            raise KeypointFileError(f"{path}: {where}.image_id is {annotation.get('image_id')!r}, which no image has")
        person = _coco_person(annotation, names[annotation["image_id"]], path, where)
        if person is not None:
            people.append(person)
    return people


def read_keypoints(path: str | os.PathLike[str]) -> list[FilePerson]:
    """Read a keypoint file of either kind; which one it is shows by its fields.

    Raises:
        FileNotFoundError: If there is no such file.
        KeypointFileError: If it is neither.
    """
    path = pathlib.Path(path)
    content = _read_json(path, MAX_BYTES)
    if isinstance(content, Mapping) and "people" in content:
        return read_openpose(path)
    if isinstance(content, Mapping) and "annotations" in content:
        return read_coco(path)
    raise KeypointFileError(
        f"{path}: expected OpenPose JSON (an object with `people`) or COCO JSON (with `images` and `annotations`)"
    )


def find_photo(path: str | os.PathLike[str], image_file: str | None) -> pathlib.Path:
    """The picture that a keypoint file speaks of.

    It is looked for beside the file and in a folder `images` there; never outside, whatever the file says.

    Args:
        path: The keypoint file.
        image_file: `FilePerson.image_file`; a name without suffix is tried with those of pictures.

    Returns:
        Path of the picture.

    Raises:
        KeypointFileError: If there is none; the message says where it was looked for.
    """
    path = pathlib.Path(path)
    folder = path.parent.resolve()
    if image_file:
        for base in (folder, folder / "images"):
            for suffix in ("", *_PICTURE_SUFFIXES):
                try:
                    candidate = (base / f"{image_file}{suffix}").resolve()
                    is_there = candidate.is_relative_to(folder) and candidate.is_file()
                except (OSError, ValueError):
                    # A name no file system takes: too long, or with a NUL in it.
                    continue
                if is_there:
                    return candidate
    raise KeypointFileError(f"{path}: no picture {str(image_file)[:80]!r} beside it or in {folder / 'images'}")


def _coco_person(annotation: Mapping[str, Any], image_file: str, path: pathlib.Path, where: str) -> FilePerson | None:
    keypoints_2d, confidence = _empty()
    for field, points in _COCO_FIELDS.items():
        if annotation.get(field.replace("_kpts", "_valid"), True) is False:
            continue
        triples = _triples(annotation.get(field), len(points), path, f"{where}.{field}")
        if triples is None:
            continue
        weights = _coco_weights(triples[:, 2], path, f"{where}.{field}", flags_only=field == "keypoints")
        _place(keypoints_2d, confidence, points, triples[:, :2], weights)
    if not (confidence > 0).any():
        return None
    for point, sources in MIDDLE_SOURCES.items():
        at, of = _LAYOUT.index(point), list(_LAYOUT.indices(sources))
        if confidence[of].min() > 0:
            keypoints_2d[at] = keypoints_2d[of].mean(axis=0)
            confidence[at] = confidence[of].min()
    annotation_id = annotation.get("id")
    return FilePerson(
        image_file=image_file,
        keypoints_2d=keypoints_2d,
        confidence=confidence,
        bbox=_coco_box(annotation.get("bbox"), path, f"{where}.bbox"),
        annotation_id=annotation_id if isinstance(annotation_id, int) else None,
    )


def _coco_weights(
    flags: Float[np.ndarray, "K"], path: pathlib.Path, where: str, *, flags_only: bool
) -> Float[np.ndarray, "K"]:
    """Confidence from visibility flags, or from the certainties in [0, 1] that COCO-WholeBody also uses."""
    is_flags = bool(np.isin(flags, tuple(_COCO_CONFIDENCE)).all())
    if flags_only and not is_flags:
        raise KeypointFileError(f"{path}: {where} must have visibility 0, 1 or 2")
    if is_flags and (flags_only or flags.max() > 1):
        return np.array([_COCO_CONFIDENCE[int(flag)] for flag in flags])
    _check_confidence(flags, path, where)
    return np.minimum(flags, 1.0)


def _coco_box(value: Any, path: pathlib.Path, where: str) -> Float[np.ndarray, "4"] | None:
    """COCO's (x, y, width, height) as corners."""
    if value is None:
        return None
    if not (isinstance(value, Sequence) and len(value) == 4 and all(_is_coordinate(number) for number in value)):
        raise KeypointFileError(f"{path}: {where} must be [x, y, width, height] in pixels")
    x, y, width, height = (float(number) for number in value)
    if width < 0 or height < 0:
        raise KeypointFileError(f"{path}: {where} has a negative size")
    return np.array([x, y, x + width, y + height], np.float32)


def _read_json(path: pathlib.Path, max_bytes: int) -> Any:
    size = path.stat().st_size
    if size > max_bytes:
        raise KeypointFileError(f"{path}: {size} bytes are more than the {max_bytes} allowed")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise KeypointFileError(f"{path}: expected JSON: {reason}") from error


def _list(content: Any, field: str, path: pathlib.Path, where: str) -> list[Any]:
    value = content.get(field) if isinstance(content, Mapping) else None
    if not isinstance(value, list):
        raise KeypointFileError(f"{path}: {where} must be an object with a list `{field}`")
    return value


def _triples(value: Any, count: int, path: pathlib.Path, where: str) -> Float[np.ndarray, "K 3"] | None:
    """Flat list of x, y and confidence or flag; None if the field is absent or empty."""
    if value is None or value == []:
        return None
    if not isinstance(value, list) or len(value) != 3 * count:
        got = f"{len(value)}" if isinstance(value, list) else _kind(value)
        raise KeypointFileError(f"{path}: {where} must hold {3 * count} numbers ({count} points), got {got}")
    if not all(_is_coordinate(number) for number in value):
        raise KeypointFileError(f"{path}: {where} must hold finite numbers")
    return np.array(value, np.float64).reshape(count, 3)


def _check_confidence(values: np.ndarray, path: pathlib.Path, where: str) -> None:
    # OpenPose's certainties overshoot 1 by a few hundredths.
    if (values < 0).any() or (values > 1.5).any():
        raise KeypointFileError(f"{path}: {where} must have confidences in [0, 1]")


def _place(
    keypoints_2d: np.ndarray,
    confidence: np.ndarray,
    points: tuple[str, ...],
    coordinates: np.ndarray,
    weights: np.ndarray,
) -> None:
    for point, coordinate, weight in zip(points, coordinates, weights, strict=True):
        if weight > 0 and point in _LAYOUT.points:
            at = _LAYOUT.index(point)
            keypoints_2d[at], confidence[at] = coordinate, min(float(weight), 1.0)


def _empty() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((len(_LAYOUT), 2), np.float32), np.zeros(len(_LAYOUT), np.float32)


def _is_coordinate(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and abs(value) < _MAX_COORDINATE
    )


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
