"""Which labels are drawn as a video, where that video is, and which of its frames they are of."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from hardmo_jax.labels import provenance
from hardmo_jax.labels.schema import LabelError, LabelRow
from hardmo_jax.perception import video
from hardmo_jax.perception.frame_choice import FrameChoice
from hardmo_jax.pipelines.labelled_pictures import picture_root

#: Letters of a name that a message shows.
_LONGEST_SHOWN = 100


class OverlayVideoError(LabelError):
    """Labels of which no overlay video can be made; the message says what to do."""


def rows_of_one_video(rows: Sequence[LabelRow], path: pathlib.Path, source: str | None) -> list[LabelRow]:
    """Labels of one video.

    Raises:
        OverlayVideoError: If there is none, or it is not known which.
    """
    if not rows:
        raise OverlayVideoError(f"{path}: no label is in it; `tools.annotate` makes some")
    videos = list(dict.fromkeys(row.source_path for row in rows if row.time_seconds is not None))
    if not videos:
        raise OverlayVideoError(
            f"{path}: labels of photos, of which no video can be made; their overlays are written by tools.annotate "
            "(--config.output.overlay=True), and tools.view shows them from all sides"
        )
    if source is None and len(videos) > 1:
        named = ", ".join(videos[:5]) + (" and others" if videos[5:] else "")
        raise OverlayVideoError(f"{path}: labels of {len(videos)} videos ({named}); name one as --source={videos[0]}")
    if source is not None and source not in videos:
        raise OverlayVideoError(f"{path}: no labels of a video {source}; there are {', '.join(videos[:5])}")
    own = [row for row in rows if row.source_path == (source or videos[0])]
    if len({row.source_sha256 for row in own}) > 1:
        raise OverlayVideoError(
            f"{path}: labels of several files that are all called {own[0].source_path}; label the video again by itself"
        )
    return own


def open_labelled_video(
    rows: Sequence[LabelRow], labels: pathlib.Path, given: str | os.PathLike[str] | None, target: pathlib.Path
) -> video.Media:
    """The file that labels are of.

    Args:
        rows: Labels of one video.
        labels: Their file. Without `given` the video is where the run beside it says, else beside or above it.
        given: Folder of the video, or the video.
        target: What will be written.

    Raises:
        FileNotFoundError: If the given one is not there.
        OverlayVideoError: If nobody knows where it is, it is another one, or would be replaced.
    """
    name = rows[0].source_path
    root = picture_root(labels, given)
    if given is None and not (root is not None and _inside(root, name)):
        # The clip of a demo lies above its labels, and folders are moved as a whole.
        near = (place for place in (labels.parent, labels.parent.parent) if _holds(place, rows[0]))
        root = next(near, root)
    if root is None:
        raise OverlayVideoError(f"nothing says where the video {name} is; give its folder as --pictures")
    path = _inside(root, name)
    if path is None:
        shown = name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}..."
        raise OverlayVideoError(
            f"the video of the labels, {shown!r}, is not in the folder {root}; give the folder of it as --pictures"
        )
    if target.resolve() == path:
        raise OverlayVideoError(f"{target} is the video of the labels; give another --output")
    media = video.open_media(path)
    if media.kind != "video" or media.sha256[0] != rows[0].source_sha256:
        raise OverlayVideoError(
            f"{path} is another file than the one that was labelled; give the folder of that as --pictures, or label "
            "this one"
        )
    return media


def _inside(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """A file in a folder, by a name that may be a stranger's; None if none is there, or it leads out of the folder."""
    try:
        path = (folder / name).resolve()
        return path if path.is_relative_to(folder.resolve()) and path.is_file() else None
    except (OSError, ValueError):  # a name that no file can have
        return None


def _holds(folder: pathlib.Path, row: LabelRow) -> bool:
    """Whether the very file that was labelled lies in a folder."""
    path = _inside(folder, row.source_path)
    return path is not None and provenance.file_sha256(path) == row.source_sha256


def frames_of_run(
    run: dict[str, Any], start_seconds: float | None, end_seconds: float | None
) -> tuple[FrameChoice, int | None]:
    """Which frames the labels' run looked at, and how many, with what the user says otherwise."""
    config = run.get("config")
    config = config if isinstance(config, dict) else {}
    frames, limit = config.get("frames"), config.get("limit_frames")
    frames = frames if isinstance(frames, dict) else {}
    found: dict[str, Any] = {"start_seconds": 0.0, "end_seconds": None, "stride": 1}
    for name in found:
        value = frames.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = value
    if start_seconds is not None or end_seconds is not None:
        limit = None
        found |= {"start_seconds": start_seconds or 0.0, "end_seconds": end_seconds}
    try:
        choice = FrameChoice(**found)
    except (TypeError, ValueError) as error:
        raise OverlayVideoError(str(error)) from error
    return choice, limit if isinstance(limit, int) and limit > 0 else None
