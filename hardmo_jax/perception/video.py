"""Opening photos, folders of photos and videos, and reading them as upright 8-bit RGB frames, one at a time.

Files come from strangers: sizes are read from the header and bounded before anything is decoded, only known
container formats are opened, and nothing is fetched from a network. What is wrong with a file is said in
one line. `photos` reads a single photo; keypoint files are only recognised here, `keypoint_files` reads them.

Frames are upright: the rotation (and mirroring) noted in EXIF or in a video's display matrix is applied.
Pixels that are not square and lens distortion are left as they are.
"""

import dataclasses
import functools
import hashlib
import math
import os
import pathlib
from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.labels import provenance
from hardmo_jax.perception import photos, video_stream
from hardmo_jax.perception.decoders import Decoder, FrameReader, InProcessDecoder
from hardmo_jax.perception.frame_choice import FrameChoice
from hardmo_jax.perception.media_files import KEYPOINT_SUFFIXES, VIDEO_SUFFIXES, files_below, of_pictures
from hardmo_jax.perception.photos import IMAGE_SUFFIXES, MAX_PIXELS, MediaError

MediaKind = Literal["image", "folder", "video", "keypoints"]

_MAX_WARNINGS = 100
#: Frames a second of videos that tell none.
_USUAL_RATE = 25.0
#: Times that agree to this are the same, seconds: far less than there is from a frame to the next.
_SAME_TIME = 1e-3
_UNSUPPORTED = {
    ".heic": "HEIC photo; export it as JPEG first (on an iPhone: Settings, Camera, Formats, Most Compatible)",
    ".heif": "HEIF photo; export it as JPEG first",
    ".avif": "AVIF photo; convert it to JPEG or PNG first",
    ".jp2": "JPEG 2000 photo; convert it to JPEG or PNG first",
    ".psd": "Photoshop document; export it as PNG first",
    ".m3u8": "playlist; save the video itself as an MP4 file first",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frame:
    """One upright picture."""

    image: UInt8[np.ndarray, "H W 3"]
    """RGB, 0 to 255."""
    source_path: pathlib.Path
    """File the picture came from."""
    source_sha256: str
    """SHA-256 of that file, hexadecimal."""
    frame_index: int
    """Number of the frame inside its file, from 0; 0 for a photo."""
    position: int
    """Number of the frame inside the `Media`, from 0."""
    time_seconds: float | None
    """Presentation time since the first frame of the video; None for a photo."""
    focal_length_35mm: float | None = None
    """See `photos.PhotoHeader`; None for frames of a video, which note no lens."""
    starts_shot: bool = False
    """Whether the video cuts to another shot here, see `shots.with_shots`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceFile:
    """What is known of a file without reading all its frames."""

    path: pathlib.Path
    """The file."""
    sha256: str
    """SHA-256 of its content, hexadecimal."""
    num_bytes: int
    """Size of the file."""
    width: int | None
    """Width of the upright picture in pixels; None for keypoint files."""
    height: int | None
    """Height of the upright picture in pixels; None for keypoint files."""
    rotation_degrees: int
    """Clockwise turn that makes the stored picture upright and that `Media.frames` applies."""
    is_mirrored: bool
    """Whether the stored picture is also mirrored left to right, before the turn."""
    focal_length_35mm: float | None = None
    """See `photos.PhotoHeader`; None for videos and keypoint files."""


class Media:
    """A photo, a folder of photos, a video or keypoint files; made by `open_media`."""

    def __init__(
        self,
        *,
        path: pathlib.Path,
        kind: MediaKind,
        paths: tuple[pathlib.Path, ...],
        max_pixels: int,
        video: video_stream.VideoHeader | None = None,
        choice: FrameChoice | None = None,
        decoder: Decoder | None = None,
    ) -> None:
        self.path = path
        """What was opened."""
        self.kind: MediaKind = kind
        """`image`, `folder`, `video` or `keypoints`."""
        self.paths = paths
        """The files, in natural order (`2.jpg` before `10.jpg`)."""
        self.fps = video.fps if video else None
        """Mean frames per second; None for photos and for videos that do not tell."""
        self.truncated = False
        """Whether `frames` met a video that ends before its own header says."""
        self.num_left_out = 0
        """Photos of a folder that are passed over since the others have keypoints and they have none."""
        self._video = video
        self._max_pixels = max_pixels
        self._choice = choice or FrameChoice()
        self._decoder = decoder or InProcessDecoder()
        self._warnings: list[str] = list(video.warnings) if video else []

    @property
    def frame_count(self) -> int | None:
        """Number of frames that `frames` will give as the files announce it; None if they do not."""
        choice = self._choice
        if self._video is None:
            return math.ceil(len(self.paths) / choice.stride)
        if self._video.frame_count is None or choice == FrameChoice():
            return self._video.frame_count
        if not self.fps:
            return None
        end = self._video.frame_count / self.fps
        seconds = min(end, end if choice.end_seconds is None else choice.end_seconds) - choice.start_seconds
        return max(math.ceil(round(seconds * self.fps, 3) / choice.stride), 0)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was odd about the files, one line each; complete once `frames` has run through."""
        return tuple(self._warnings)

    @functools.cached_property
    def files(self) -> tuple[SourceFile, ...]:
        """Checksums, sizes and rotations. Reads every file, without decoding the pictures."""
        return tuple(self._describe(path) for path in self.paths)

    @property
    def sizes(self) -> tuple[tuple[int | None, int | None], ...]:
        """Upright (width, height) of each file in pixels."""
        return tuple((file.width, file.height) for file in self.files)

    @property
    def sha256(self) -> tuple[str, ...]:
        """SHA-256 of each file."""
        return tuple(file.sha256 for file in self.files)

    @property
    def rotations(self) -> tuple[int, ...]:
        """Clockwise turn applied to each file in degrees."""
        return tuple(file.rotation_degrees for file in self.files)

    def frames(
        self,
        start: int = 0,
        stop: int | None = None,
        stride: int = 1,
        *,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> Iterator[Frame]:
        """Decode frames one after the other. Each call begins anew.

        Args:
            start: First frame, of those that are `chosen`.
            stop: Frame before which to stop; None for the end.
            stride: Step between frames.
            on_error: What to do with an unreadable photo of a folder: raise, or note it in `warnings` and go
                on. A video is read as far as it can be decoded in both cases.

        Yields:
            Upright frames in order.

        Raises:
            MediaError: If a photo cannot be read, or the video has no readable frame.
            ValueError: If the range makes no sense.
        """
        if start < 0 or stride < 1 or (stop is not None and stop < start):
            raise ValueError(
                f"frames need 0 <= start <= stop and stride >= 1, got start={start}, stop={stop}, stride={stride}"
            )
        if on_error not in ("raise", "skip"):
            raise ValueError(f"`on_error` must be 'raise' or 'skip', got {on_error!r}")
        if self.kind == "keypoints":
            raise MediaError(f"{self.path}: holds keypoints, no pictures; read it with `keypoint_files`")
        if self.kind == "video":
            return self._video_frames(start, stop, stride)
        positions = range(0, len(self.paths), self._choice.stride)
        return self._photo_frames(positions[start:][: _span(start, stop)][::stride], on_error)

    def frames_around(self, time_seconds: float) -> Iterator[tuple[float, UInt8[np.ndarray, "H W 3"]]]:
        """Upright frames of a video from a time on, without decoding all that is before.

        Args:
            time_seconds: Since the first frame.

        Yields:
            Seconds since the first frame, and the picture; nothing where the video cannot be sought in.
        """
        for time, frame in self._decoder.frames_around(self.path, time_seconds, self._max_pixels):
            # What is decoded on the way there need not become a picture.
            if time < time_seconds - _SAME_TIME:
                continue
            yield time, frame.picture()

    def chosen(self, choice: FrameChoice) -> "Media":
        """The same files, of which `frames` gives those that are chosen.

        Raises:
            MediaError: If times are given and this is no video.
        """
        if self.kind != "video" and (choice.start_seconds > 0 or choice.end_seconds is not None):
            raise MediaError(f"{self.path}: photos have no times; start and end are for videos")
        return self._like_this(kind=self.kind, paths=self.paths, choice=choice)

    def with_photos(self, photos: tuple[pathlib.Path, ...]) -> "Media":
        """The photos that keypoint files speak of, as a folder of them."""
        return self._like_this(kind="folder", paths=photos, choice=self._choice)

    def decoded_by(self, decoder: Decoder) -> "Media":
        """The same files and frames, decoded by somebody else."""
        media = self._like_this(kind=self.kind, paths=self.paths, choice=self._choice)
        media._decoder = decoder
        return media

    def _like_this(self, *, kind: MediaKind, paths: tuple[pathlib.Path, ...], choice: FrameChoice) -> "Media":
        """The same with other frames; what was odd about the files stays told."""
        media = Media(
            path=self.path, kind=kind, paths=paths, max_pixels=self._max_pixels, video=self._video, choice=choice,
            decoder=self._decoder,
        )  # fmt: skip
        media._warnings = list(self._warnings)
        media.num_left_out = self.num_left_out
        return media

    def _photo_frames(self, positions: range, on_error: str) -> Iterator[Frame]:
        for position in positions:
            path = self.paths[position]
            try:
                data = photos.read_photo_file(path)
                image = self._decoder.photo(data, path, self._max_pixels)
                header = photos.read_photo_header(data, path)
            except (MediaError, OSError) as error:
                if on_error == "raise":
                    raise
                self._warn(f"skipped: {error}")
                continue
            yield Frame(
                image=image,
                source_path=path,
                source_sha256=_sha256(data),
                frame_index=0,
                position=position,
                time_seconds=None,
                focal_length_35mm=header.focal_length_35mm,
            )

    def _video_frames(self, start: int, stop: int | None, stride: int) -> Iterator[Frame]:
        header = self._video
        if header is None:
            raise MediaError(f"{self.path}: was not opened as a video")
        source = self.files[0]
        period = 1.0 / (header.fps or _USUAL_RATE)
        reader = self._decoder.video(self.path, self._max_pixels)
        first_time: float | None = None
        last_time = -math.inf
        position = number = passed = -1
        for frame in reader:
            position += 1
            stamp = frame.seconds
            first_time = stamp if first_time is None else first_time
            time = position * period if stamp is None or first_time is None else stamp - first_time
            if time <= last_time:
                self._warn(f"{self.path.name}: frame {position} has no later time than the one before it")
                time = last_time + period
            last_time = time
            if time < self._choice.start_seconds:
                continue
            if self._choice.end_seconds is not None and time >= self._choice.end_seconds:
                break
            passed += 1
            if passed % self._choice.stride:
                continue
            number += 1
            if stop is not None and number >= stop:
                self._tell_damage(reader)
                return
            if number < start or (number - start) % stride:
                continue
            yield Frame(
                image=frame.picture(),
                source_path=self.path,
                source_sha256=source.sha256,
                frame_index=position,
                position=position,
                time_seconds=time,
            )
        if position < 0:
            raise MediaError(f"{self.path}: no frame of this video can be decoded; convert it to H.264 in MP4")
        if number < 0:
            raise MediaError(
                f"{self.path}: no frame from {self._choice.start_seconds:g} s on; the video ends at {last_time:.2f} s"
            )
        self._tell_damage(reader)
        if self._choice.end_seconds is not None and last_time >= self._choice.end_seconds:
            return
        end = reader.end.missing(last_time + period)
        if end is not None:
            self.truncated = True
            self._warn(f"{self.path.name}: cut off after {position + 1} frames; {end}")

    def _tell_damage(self, reader: FrameReader) -> None:
        if reader.num_damaged:
            self._warn(f"{self.path.name}: {reader.num_damaged} damaged packets or frames")

    def _describe(self, path: pathlib.Path) -> SourceFile:
        width = height = focal_length_35mm = None
        is_mirrored, rotation = False, 0
        if self._video:
            width, height = self._video.width, self._video.height
            is_mirrored, rotation = self._video.is_mirrored, self._video.rotation_degrees
            digest, num_bytes = provenance.file_sha256(path), path.stat().st_size
        elif self.kind == "keypoints":
            digest, num_bytes = provenance.file_sha256(path), path.stat().st_size
        else:
            data = photos.read_photo_file(path)
            digest, num_bytes = _sha256(data), len(data)
            header = photos.read_photo_header(data, path)
            width, height = header.upright_size
            is_mirrored, rotation = header.is_mirrored, header.rotation_degrees
            focal_length_35mm = header.focal_length_35mm
        return SourceFile(
            path=path,
            sha256=digest,
            num_bytes=num_bytes,
            width=width,
            height=height,
            rotation_degrees=rotation,
            is_mirrored=is_mirrored,
            focal_length_35mm=focal_length_35mm,
        )

    def _warn(self, message: str) -> None:
        if message not in self._warnings and len(self._warnings) < _MAX_WARNINGS:
            self._warnings.append(message)

    def __repr__(self) -> str:
        return f"Media({self.kind}, {str(self.path)!r}, frames={self.frame_count}, fps={self.fps})"


def open_media(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS, decoder: Decoder | None = None) -> Media:
    """Find out what a path holds and read its header.

    A photo is decoded when its frame is asked for. The first frame of a video is decoded here, which shows
    that it is one and gives its upright size. A folder is read with its subfolders in natural order; hidden
    files and folders, linked folders and files of unknown suffix are left out.

    Args:
        path: Photo, folder of photos, video, JSON keypoint file or folder of those. In a folder of photos files of
            OpenPose that are called after them (`photo_keypoints.json`) take the place of the detector.
        max_pixels: Largest number of pixels of one picture.
        decoder: Who decodes; None is this process, `decoding_process.ProcessDecoder` one that may die.

    Returns:
        The media, with no frame in memory.

    Raises:
        FileNotFoundError: If nothing is there.
        MediaError: If it is none of these, empty, damaged or too large.
    """
    if max_pixels < 1:
        raise ValueError(f"`max_pixels` must be positive, got {max_pixels}")
    path = pathlib.Path(path)
    if path.is_dir():
        return _open_folder(path, max_pixels, decoder)
    if not path.exists():
        raise FileNotFoundError(_missing(path))
    if not path.is_file():
        raise MediaError(f"{path}: expected a file or a folder, found a device or pipe; save it as a file first")
    suffix = path.suffix.lower()
    if suffix in _UNSUPPORTED:
        raise MediaError(f"{path}: {_UNSUPPORTED[suffix]}")
    if suffix not in IMAGE_SUFFIXES + VIDEO_SUFFIXES + KEYPOINT_SUFFIXES:
        raise MediaError(
            f"{path}: suffix {suffix or '(none)'!r} is not known; photos: {' '.join(IMAGE_SUFFIXES)}; "
            f"videos: {' '.join(VIDEO_SUFFIXES)}; keypoints: .json"
        )
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: the file is empty (0 bytes); copy or download it again")
    if suffix in KEYPOINT_SUFFIXES:
        return Media(path=path, kind="keypoints", paths=(path,), max_pixels=max_pixels, decoder=decoder)
    if suffix in VIDEO_SUFFIXES:
        header = (decoder or InProcessDecoder()).video_header(path, max_pixels)
        return Media(path=path, kind="video", paths=(path,), max_pixels=max_pixels, video=header, decoder=decoder)
    photos.check_pixels(*photos.read_photo_header(photos.read_photo_file(path), path).upright_size, path, max_pixels)
    return Media(path=path, kind="image", paths=(path,), max_pixels=max_pixels, decoder=decoder)


def _open_folder(folder: pathlib.Path, max_pixels: int, decoder: Decoder | None) -> Media:
    names = files_below(folder)
    by_kind: dict[str, list[pathlib.Path]] = {"image": [], "video": [], "keypoints": []}
    for entry in names:
        suffix = entry.suffix.lower()
        for kind, suffixes in (
            ("image", IMAGE_SUFFIXES),
            ("video", VIDEO_SUFFIXES),
            ("keypoints", KEYPOINT_SUFFIXES),
        ):
            if suffix in suffixes:
                by_kind[kind].append(entry)
    if by_kind["image"] and (paths := of_pictures(by_kind["keypoints"], by_kind["image"])):
        # OpenPose's files beside its pictures: what was measured already is not measured again.
        media = Media(path=folder, kind="keypoints", paths=paths, max_pixels=max_pixels, decoder=decoder)
        if len(paths) < len(by_kind["image"]):
            media.num_left_out = len(by_kind["image"]) - len(paths)
            media._warn(
                f"{folder.name}: {len(by_kind['image']) - len(paths)} photos without a file of keypoints are left out; "
                "put them into a folder of their own"
            )
        return media
    if by_kind["image"]:
        paths = tuple(by_kind["image"])
        media = Media(path=folder, kind="folder", paths=paths, max_pixels=max_pixels, decoder=decoder)
        if by_kind["video"]:
            media._warn(f"{folder.name}: {len(by_kind['video'])} videos beside the photos are left out")
        if by_kind["keypoints"]:
            media._warn(
                f"{folder.name}: {len(by_kind['keypoints'])} .json files beside the photos are not read, as they are "
                "not called like a photo (`photo_keypoints.json`, `photo.json`); pass a file of keypoints itself"
            )
        return media
    if by_kind["keypoints"]:
        paths = tuple(by_kind["keypoints"])
        return Media(path=folder, kind="keypoints", paths=paths, max_pixels=max_pixels, decoder=decoder)
    if by_kind["video"]:
        raise MediaError(
            f"{folder}: holds {len(by_kind['video'])} videos and no photo; "
            f"pass one video, for example {by_kind['video'][0].relative_to(folder).as_posix()!r}"
        )
    found = f"{len(names)} other files" if names else "nothing"
    raise MediaError(
        f"{folder}: expected photos ({' '.join(IMAGE_SUFFIXES)}), found {found} in this folder and its subfolders"
    )


def _missing(path: pathlib.Path) -> str:
    parent = path.parent
    if not parent.is_dir():
        return f"{path}: no such file; the folder {str(parent)!r} does not exist either"
    wanted = path.name.casefold()
    near = [entry.name for entry in parent.iterdir() if entry.name.casefold() == wanted]
    hint = f"; did you mean {near[0]!r}?" if near else "; check the spelling and the working folder"
    return f"{path}: no such file{hint}"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _span(start: int, stop: int | None) -> int | None:
    return None if stop is None else stop - start
