"""Pictures of people who are trained on: photos, photos in tars, and frames of videos, which are taken out once."""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterable

import numpy as np

from hardmo_jax.data.training_records import PixelReference, TrainingDataError
from hardmo_jax.perception import photos, video
from hardmo_jax.whole_files import file_sha256, replacing

_MAX_MEMBER_BYTES = 1 << 28

Progress = Callable[[str, int, int | None], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelReader:
    """Reads pictures; hashable, and usable from many threads."""

    frames: pathlib.Path
    """Folder of frames of videos, see `take_out_frames`."""

    def __call__(self, reference: PixelReference) -> np.ndarray:
        """RGB, upright.

        Raises:
            TrainingDataError: If there is no picture, it is damaged, or another one than was labelled.
        """
        try:
            path = pathlib.Path(reference.path)
            if reference.frame_index is not None:
                path = frame_path(self.frames, path, reference.frame_index)
            if reference.member_offset is None:
                data = photos.read_photo_file(path)
            else:
                data = _member(path, reference.member_offset, reference.member_bytes or 0)
            # Frames were taken out of a video whose checksum was looked at then.
            is_photo = reference.frame_index is None and reference.member_offset is None
            if is_photo and reference.sha256 not in (None, hashlib.sha256(data).hexdigest()):
                raise TrainingDataError(f"{path}: another photo than the one that was labelled, by its checksum")
            return photos.decode_photo(data, path, video.MAX_PIXELS)
        except (OSError, video.MediaError) as error:
            raise TrainingDataError(f"no pixels: {error}") from error


def _member(path: pathlib.Path, offset: int, num_bytes: int) -> bytes:
    if not 0 < num_bytes <= _MAX_MEMBER_BYTES:
        raise TrainingDataError(f"{path}: a photo of {num_bytes} bytes")
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(num_bytes)
    if len(data) < num_bytes:
        raise TrainingDataError(f"{path}: cut off: a photo of {num_bytes} bytes at {offset} has {len(data)}")
    return data


def frame_path(folder: pathlib.Path, source: pathlib.Path, frame_index: int) -> pathlib.Path:
    """Where a frame of a video is kept: by the video's name, size and time, so that another one is another folder."""
    told = source.stat()
    return folder / f"{source.stem[:60]}_{told.st_size:x}_{int(told.st_mtime):x}" / f"{frame_index:07d}.jpg"


def take_out_frames(
    references: Iterable[PixelReference], folder: pathlib.Path, *, progress: Progress = lambda stage, done, total: None
) -> int:
    """Keep the frames of videos that people are trained on as photos: a loader cannot wait for a decoder to get there.

    What is there is not taken out again.

    Args:
        references: Of all people.
        folder: Where frames go, some 100 to 500 kB each.
        progress: Told the stage, frames done, and of how many.

    Returns:
        Frames that were taken out.

    Raises:
        TrainingDataError: If a video cannot be read, has no such frame, or is another one than was labelled.
    """
    wanted: dict[str, set[int]] = {}
    checksums: dict[str, str] = {}
    for reference in references:
        if reference.frame_index is not None:
            wanted.setdefault(reference.path, set()).add(reference.frame_index)
            if reference.sha256 is not None:
                checksums[reference.path] = reference.sha256
    total, done = sum(map(len, wanted.values())), 0
    for name, indices in wanted.items():
        source = pathlib.Path(name)
        try:
            if name in checksums and file_sha256(source) != checksums[name]:
                raise TrainingDataError(
                    f"{source}: another video than the one that was labelled, by its checksum; put that one there, or "
                    "label this one"
                )
            missing = {index for index in indices if not frame_path(folder, source, index).is_file()}
            done += len(indices) - len(missing)
            if not missing:
                continue
            frame_path(folder, source, 0).parent.mkdir(parents=True, exist_ok=True)
            for frame in video.open_media(source).frames(stop=max(missing) + 1):
                if frame.frame_index not in missing:
                    continue
                missing.discard(frame.frame_index)
                data = photos.encode_jpeg(frame.image)
                with replacing(frame_path(folder, source, frame.frame_index)) as scratch:
                    scratch.write_bytes(data)
                done += 1
                progress("frames", done, total)
        except (OSError, video.MediaError) as error:
            raise TrainingDataError(f"labels name {source}, which cannot be read: {error}") from error
        if missing:
            raise TrainingDataError(
                f"{source} has no frame {min(missing)} ({len(missing)} are missing): it is another video than the one "
                f"that was labelled, {os.fspath(source)}"
            )
    return done
