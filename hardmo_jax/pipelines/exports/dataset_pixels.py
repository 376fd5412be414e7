"""Pictures of labels as a data set holds them: those that were labelled, upright, with nothing beside the pixels."""

import hashlib
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.export.dataset.dataset_facts import DatasetExportError, has_licence
from hardmo_jax.export.source_names import is_frame_of_video
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.perception import photos, video

#: Of sources that a message names.
_MOST_NAMED = 3


def check_licences(rows: Sequence[LabelRow]) -> None:
    """Refuse pictures whose licence nobody knows.

    Raises:
        DatasetExportError: With the first of them.
    """
    unknown = list(dict.fromkeys(row.source_path for row in rows if not has_licence(row)))
    if unknown:
        more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
        raise DatasetExportError(
            f"the licence of {len(unknown)} photos or videos is not known ({', '.join(unknown[:_MOST_NAMED])}{more}), "
            "so their pixels are not published; label them with --config.output.licence=..., export without pixels, or "
            "say that you may (--allow_unknown_licence)"
        )


def check_pictures(rows: Sequence[LabelRow], folder: pathlib.Path) -> None:
    """Refuse labels whose pictures are not there, or are other ones, before any work is done.

    Args:
        rows: Labels.
        folder: Folder that their paths are relative to.

    Raises:
        DatasetExportError: If one is missing, lies elsewhere, or has another checksum.
    """
    if not folder.is_dir():
        raise DatasetExportError(
            f"{folder}: no such folder; --pictures is the folder that the paths in the labels are below"
        )
    for source_path, sha256 in dict.fromkeys((row.source_path, row.source_sha256) for row in rows):
        path = _picture_path(folder, source_path)
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise DatasetExportError(
                f"{path}: another file than the one that was labelled (SHA-256 {found[:12]}..., labels say "
                f"{sha256[:12]}...); put that one there, or label this one"
            )


def _picture_path(folder: pathlib.Path, source_path: str) -> pathlib.Path:
    found = (folder / source_path.replace("\\", "/")).resolve()
    if not found.is_relative_to(folder.resolve()):
        raise DatasetExportError(f"a label names {source_path!r}, which is not in {folder}")
    if not found.is_file():
        raise DatasetExportError(
            f"{found}: no such picture; --pictures is the folder that the paths in the labels are below"
        )
    return found


def pictures_of_rows(
    rows: Sequence[LabelRow], folder: pathlib.Path
) -> Iterator[tuple[list[LabelRow], tuple[str, bytes]]]:
    """Labels by picture, each with a name and a JPEG of it.

    Keypoints are pixels of the upright picture, so that is what is encoded; EXIF, XMP, colour profiles and comments
    stay behind, as pixels alone are handed on.

    Args:
        rows: Labels; those of a source stand together, by frame.
        folder: Folder that their paths are relative to.

    Yields:
        Labels of a picture, its name and its bytes.

    Raises:
        DatasetExportError: If a picture is not that of its labels.
        hardmo_jax.perception.video.MediaError: If one cannot be read.
    """
    sources: dict[tuple[str, str], dict[int, list[LabelRow]]] = {}
    for row in rows:
        sources.setdefault((row.source_path, row.source_sha256), {}).setdefault(row.frame_index, []).append(row)
    for (source_path, sha256), frames in sources.items():
        path = _picture_path(folder, source_path)
        first = next(iter(frames.values()))[0]
        images = _video_images(path, set(frames)) if is_frame_of_video(first) else _photo_images(path, sha256)
        left = dict(frames)
        for frame_index, image in images:
            own = left.pop(frame_index, None)
            if own is None:
                continue
            if image.shape[1::-1] != (own[0].image_width, own[0].image_height):
                raise DatasetExportError(
                    f"{path}: frame {frame_index} has {image.shape[1]} x {image.shape[0]} pixels, its labels say "
                    f"{own[0].image_width} x {own[0].image_height}"
                )
            yield own, (f"{sha256[:16]}_{frame_index:06d}.jpg", photos.encode_jpeg(image))
        if left:
            raise DatasetExportError(f"{path} has no frame {min(left)}, which labels name ({len(left)} are missing)")


class LabelledPictures:
    """JPEG of the picture of a label. Frames of a video are decoded once if they are asked for in their order."""

    def __init__(self, rows: Sequence[LabelRow], folder: pathlib.Path) -> None:
        """Look at nothing yet.

        Args:
            rows: All labels whose pictures may be asked for.
            folder: That their paths are relative to.
        """
        self._folder = folder
        self._of_source: dict[tuple[str, str], dict[int, LabelRow]] = {}
        for row in rows:
            self._of_source.setdefault((row.source_path, row.source_sha256), {})[row.frame_index] = row
        self._source: tuple[str, str] | None = None
        self._frame = -1
        self._ahead: Iterator[tuple[list[LabelRow], tuple[str, bytes]]] = iter(())

    def __call__(self, row: LabelRow) -> bytes:
        """Upright, without metadata.

        Raises:
            DatasetExportError: If it is not there, or another one than was labelled.
            hardmo_jax.perception.video.MediaError: If it cannot be read.
        """
        source = row.source_path, row.source_sha256
        if source != self._source or row.frame_index <= self._frame:
            self._source = source
            frames = sorted(frame for frame in self._of_source.get(source, {}) if frame >= row.frame_index)
            self._ahead = pictures_of_rows([self._of_source[source][frame] for frame in frames], self._folder)
        for people, (_, data) in self._ahead:
            self._frame = people[0].frame_index
            if self._frame == row.frame_index:
                return data
        raise DatasetExportError(f"{row.source_path}: frame {row.frame_index} is of none of the labels")


def _video_images(path: pathlib.Path, wanted: set[int]) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 3"]]]:
    for frame in video.open_media(path).frames(stop=max(wanted) + 1):
        if frame.frame_index in wanted:
            yield frame.frame_index, frame.image


def _photo_images(path: pathlib.Path, sha256: str) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 3"]]]:
    data = photos.read_photo_file(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DatasetExportError(f"{path}: changed during the export; run it again")
    yield 0, photos.decode_photo(data, path, video.MAX_PIXELS)
