"""Reading a keypoint file of any kind: which one it is shows by its fields."""

import collections
import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from hardmo_jax.perception.keypoint_files import parsing
from hardmo_jax.perception.keypoint_files.coco import coco_file
from hardmo_jax.perception.keypoint_files.instances import mmpose_file, rtmlib_file
from hardmo_jax.perception.keypoint_files.mediapipe import is_mediapipe, mediapipe_file
from hardmo_jax.perception.keypoint_files.openpose import openpose_file
from hardmo_jax.perception.keypoint_files.parsing import KeypointFileError, Place
from hardmo_jax.perception.keypoint_files.person import KeypointFile
from hardmo_jax.perception.keypoint_files.point_lists import LayoutChoice, PointList, chosen_points
from hardmo_jax.perception.keypoint_files.results import alphapose_file, results_file

_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".JPG", ".JPEG", ".PNG")
#: How OpenPose's files begin.
_OPENPOSE_HEAD = re.compile(rb'\s*\{\s*("version"\s*:\s*[^,{\[]{0,40},\s*)?"people"\s*:')
_KNOWN = (
    "OpenPose (an object with `people`), COCO (`images` and `annotations`), a list of COCO's or AlphaPose's results "
    "(`image_id`, `keypoints`), MMPose (`instances` or `keypoint_scores`), RTMLib (`keypoints` and `scores`) or "
    "MediaPipe (`pose_landmarks`)"
)


def read_keypoint_file(
    path: str | os.PathLike[str], *, layout: LayoutChoice | None = None, max_bytes: int | None = None
) -> KeypointFile:
    """Read a keypoint file that another program wrote.

    Points are put into the `openpose67` layout by their names; points that a file does not give have confidence 0, and
    so have points with a number that is not finite.

    Args:
        path: JSON of OpenPose, COCO, COCO-WholeBody, Halpe, AlphaPose, MMPose, RTMLib or MediaPipe.
        layout: Order of the points, where a file has them in one list and they are others than their number says: the
            name of a layout (`openpose25b`), or the names of the points, with `_` before those that no body has.
        max_bytes: Largest file that is read, `MAX_BYTES` if nothing is said; `MAX_PICTURE_BYTES` is much for one that
            holds one picture.

    Returns:
        People with at least one point and all pictures, also those of which something is wrong
        (`KeypointFile.bad_pictures`), as long as anybody of the file can be read.

    Raises:
        FileNotFoundError: If there is no such file.
        KeypointFileError: If it is none of these, damaged, too large or fuller than any such file is, if nobody in it
            can be read, or if there is no such layout.
    """
    path = pathlib.Path(path)
    chosen = chosen_points(layout)
    if path.stat().st_size > parsing.MAX_PICTURE_BYTES and _OPENPOSE_HEAD.match(parsing.head_of_file(path)):
        raise KeypointFileError(
            f"{path}: {path.stat().st_size} bytes are more than the {parsing.MAX_PICTURE_BYTES} allowed for the one "
            "picture of an OpenPose file"
        )
    content = parsing.read_bounded_json(path, parsing.MAX_BYTES if max_bytes is None else max_bytes)
    return _without_repeated_tracks(_read(content, Place(path), chosen))


def _read(content: Any, place: Place, chosen: PointList | None) -> KeypointFile:
    if isinstance(content, list):
        parsing.check_entries(content, place)
    entries = _entries(content)
    if any(map(is_mediapipe, entries)):
        if chosen is not None:
            raise place.error(f"is MediaPipe's, whose points are known; leave out the layout {chosen.name!r}")
        return mediapipe_file(content, place)
    if isinstance(content, list):
        return _read_list(content, entries, place, chosen)
    if not isinstance(content, Mapping):
        raise KeypointFileError(f"{place.path}: expected {_KNOWN}, got {parsing.describe_value(content)}")
    if "annotations" in content:
        return coco_file(content, place, chosen)
    if "bodies" in content or ("people" in content and str(content.get("version")).startswith("AlphaPose")):
        return alphapose_file({place.path.stem: content}, Place(place.path), chosen)
    if "people" in content:
        return openpose_file(content, place, chosen)
    if "instance_info" in content or "predictions" in content:
        return mmpose_file(content, place, chosen)
    if "keypoints" in content or _is_rtmlib(content.get("frames")):
        return rtmlib_file(content, place, chosen)
    if any(isinstance(value, Mapping) and ("bodies" in value or "people" in value) for value in content.values()):
        return alphapose_file(content, place, chosen)
    fields = ", ".join(parsing.short_text(field) for field in list(content)[:4])
    raise KeypointFileError(f"{place.path}: expected {_KNOWN}, got an object with {fields or 'no fields'}")


def _read_list(content: list[Any], entries: list[Any], place: Place, chosen: PointList | None) -> KeypointFile:
    fields = {field for entry in entries if isinstance(entry, Mapping) for field in entry}
    if "people" in fields:
        return openpose_file(content, place, chosen)
    if "image_id" in fields:
        return results_file(content, place, chosen)
    if _is_rtmlib(content):
        return rtmlib_file(content, place, chosen)
    # MMPose writes an empty list of a photo with nobody in it.
    if "instances" in fields or "keypoints" in fields or all(isinstance(entry, list) for entry in content):
        return mmpose_file(content, place, chosen)
    first = parsing.describe_value(content[0])
    raise KeypointFileError(f"{place.path}: expected {_KNOWN}, got a list that begins with {first}")


def _entries(content: Any) -> list[Any]:
    """What tells of a format: the object, or what is in the list."""
    if isinstance(content, Mapping):
        frames = content.get("frames")
        return [content, *(frames if isinstance(frames, list) else [])]
    return content if isinstance(content, list) else []


def _is_rtmlib(content: Any) -> bool:
    """Whether a list holds frames with the keypoints and scores of all their people."""
    entries = content if isinstance(content, list) else []
    return any(isinstance(entry, Mapping) and "keypoints" in entry and "scores" in entry for entry in entries)


def _without_repeated_tracks(file: KeypointFile) -> KeypointFile:
    """The file without numbers of people, if two in one picture have the same.

    AlphaPose gives everybody the number 0 unless it tracks them.
    """
    counts = collections.Counter((person.picture, person.track_id) for person in file.people)
    if all(count == 1 or track_id is None for (_, track_id), count in counts.items()):
        return file
    people = tuple(dataclasses.replace(person, track_id=None) for person in file.people)
    return dataclasses.replace(file, people=people)


def find_photo(path: str | os.PathLike[str], image_file: str | None) -> pathlib.Path:
    """The picture that a keypoint file speaks of.

    It is looked for beside the file and in a folder `images` there; never outside, whatever the file says.

    Args:
        path: The keypoint file.
        image_file: `FilePerson.image_file`; a name without suffix is tried with those of pictures, and a number also
            as COCO names its pictures, with twelve digits.

    Returns:
        Path of the picture.

    Raises:
        KeypointFileError: If there is none; the message says where it was looked for.
    """
    path = pathlib.Path(path)
    folder = path.parent.resolve()
    names = [image_file, *([image_file.zfill(12)] if image_file.isdecimal() else [])] if image_file else []
    for base in (folder, folder / "images"):
        for name in names:
            for suffix in ("", *_PICTURE_SUFFIXES):
                try:
                    candidate = (base / f"{name}{suffix}").resolve()
                    is_there = candidate.is_relative_to(folder) and candidate.is_file()
                except (OSError, ValueError):
                    # A name no file system takes: too long, or with a NUL in it.
                    continue
                if is_there:
                    return candidate
    raise KeypointFileError(f"{path}: no picture {str(image_file)[:80]!r} beside it or in {folder / 'images'}")
