"""Which files a folder holds, by their names: photos, videos, keypoints, in the order in which people count them."""

import os
import pathlib
import re

from hardmo_jax.perception.photos import IMAGE_SUFFIXES

VIDEO_SUFFIXES = (
    ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".3gp",
    ".gif",
)  # fmt: skip
KEYPOINT_SUFFIXES = (".json",)


def videos_of_folder(path: pathlib.Path) -> list[pathlib.Path]:
    """The videos of a folder that holds no photos, in natural order; anything else is itself."""
    if not path.is_dir():
        return [path]
    files = files_below(path)
    if any(file.suffix.lower() in IMAGE_SUFFIXES for file in files):
        return [path]
    return [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES] or [path]


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorting key by which `frame2` comes before `frame10`, whatever the case of letters."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part)


def of_pictures(files: list[pathlib.Path], pictures: list[pathlib.Path]) -> tuple[pathlib.Path, ...]:
    """The files of keypoints that are called after the pictures beside them.

    OpenPose calls them `photo_keypoints.json`, MMPose `photo.json`.
    """
    names = {(picture.parent, picture.stem) for picture in pictures}
    return tuple(path for path in files if (path.parent, path.stem.removesuffix("_keypoints")) in names)


def files_below(folder: pathlib.Path) -> list[pathlib.Path]:
    """Files of a folder and its subfolders in natural order; hidden ones and linked folders are passed over."""
    found = []
    for place, subfolders, names in os.walk(folder, followlinks=False):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [pathlib.Path(place) / name for name in names if not name.startswith(".")]
    files = [path for path in found if path.is_file()]
    return sorted(files, key=lambda path: [(natural_key(part), part) for part in path.relative_to(folder).parts])
