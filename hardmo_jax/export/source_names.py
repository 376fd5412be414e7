"""What files and rows of an export are called after: photos and videos, without the folders of somebody's disk."""

import functools
import pathlib

from hardmo_jax.labels.schema import LabelRow

#: A folder of this name, wherever it lies, is followed by the name of somebody.
_FOLDERS_OF_USERS = ("home", "users")


class ExportError(ValueError):
    """Labels that cannot be exported, or a folder that must not be replaced; the message says what to do."""


@functools.lru_cache(maxsize=1024)
def published_source(source_path: str) -> pathlib.PurePosixPath:
    """Path of a photo or video as the world may see it: below what was labelled, or the name alone.

    Args:
        source_path: Of a label. Where it is absolute, leads out of the labelled folder or through somebody's home,
            where the file lies is nobody's business.

    Raises:
        ExportError: If no file can be named after it.
    """
    text = source_path.replace("\\", "/")
    path = pathlib.PurePosixPath(text)
    folders = [folder.casefold() for folder in path.parts[:-1]]
    is_private = ".." in path.parts or path.is_absolute() or bool(pathlib.PureWindowsPath(text).anchor)
    if is_private or text.startswith("~") or any(name in folders for name in _FOLDERS_OF_USERS):
        path = pathlib.PurePosixPath(pathlib.PureWindowsPath(path.name).name)
    if path.name in ("", "..") or "\0" in text:
        raise ExportError(f"no file can be named after the labelled picture {source_path!r}; rename it")
    return path


def is_frame_of_video(row: LabelRow) -> bool:
    """Whether the picture of a label is one of many in its file."""
    return row.fps is not None or row.time_seconds is not None


def published_picture(row: LabelRow) -> pathlib.PurePosixPath:
    """Path of the picture of a label: that of a photo, or `clip_000000000012.jpg` for a frame, as OpenPose counts.

    Raises:
        ExportError: If no file can be named after it.
    """
    path = published_source(row.source_path)
    return path.with_name(f"{path.stem}_{row.frame_index:012d}.jpg") if is_frame_of_video(row) else path
