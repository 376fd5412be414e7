"""Reading photos, folders of photos and videos as upright 8-bit RGB frames, one at a time.

Files come from strangers: sizes are read from the header and bounded before anything is decoded, only known
container formats are opened, and nothing is fetched from a network. What is wrong with a file is said in
one line. Keypoint files are only recognised here; `keypoint_files` reads them.

Frames are upright: the rotation (and mirroring) noted in EXIF or in a video's display matrix is applied.
Pixels that are not square and lens distortion are left as they are.
"""

import dataclasses
import functools
import hashlib
import math
import os
import pathlib
import re
import struct
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from jaxtyping import Shaped, UInt8

from hardmo_jax.labels import provenance

MediaKind = Literal["image", "folder", "video", "keypoints"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
VIDEO_SUFFIXES = (
    ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".3gp",
    ".gif",
)  # fmt: skip
KEYPOINT_SUFFIXES = (".json",)

#: Photos and frames with more pixels than this are refused unless the caller allows more.
MAX_PIXELS = 200_000_000

_MAX_PHOTO_BYTES = 1 << 30
_MAX_WARNINGS = 100
# Playlist formats (hls, concat, dash) name other files and addresses, so they are not among these.
_DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,asf,flv,gif"
#: EXIF orientation: (mirror left-right first, then turn clockwise by degrees). EXIF 2.3, tag 274.
_EXIF_TURNS = {
    1: (False, 0), 2: (True, 0), 3: (False, 180), 4: (True, 180),
    5: (True, 270), 6: (False, 90), 7: (True, 90), 8: (False, 270),
}  # fmt: skip
_UNSUPPORTED = {
    ".heic": "HEIC photo; export it as JPEG first (on an iPhone: Settings, Camera, Formats, Most Compatible)",
    ".heif": "HEIF photo; export it as JPEG first",
    ".avif": "AVIF photo; convert it to JPEG or PNG first",
    ".jp2": "JPEG 2000 photo; convert it to JPEG or PNG first",
    ".psd": "Photoshop document; export it as PNG first",
    ".m3u8": "playlist; save the video itself as an MP4 file first",
}


class MediaError(ValueError):
    """A file is not the photo, folder or video it should be; the message is one line for the user."""


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


class Media:
    """A photo, a folder of photos, a video or keypoint files; made by `open_media`."""

    def __init__(
        self,
        *,
        path: pathlib.Path,
        kind: MediaKind,
        paths: tuple[pathlib.Path, ...],
        max_pixels: int,
        video: "_VideoHeader | None" = None,
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
        self._video = video
        self._max_pixels = max_pixels
        self._warnings: list[str] = list(video.warnings) if video else []

    @property
    def frame_count(self) -> int | None:
        """Number of frames as the files announce it; None if they do not."""
        return self._video.frame_count if self._video else len(self.paths)

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
            start: First position.
            stop: Position before which to stop; None for the end.
            stride: Step between positions.
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
        return self._photo_frames(range(start, len(self.paths))[: _span(start, stop)][::stride], on_error)

    def _photo_frames(self, positions: range, on_error: str) -> Iterator[Frame]:
        for position in positions:
            path = self.paths[position]
            try:
                data = _read_photo_file(path)
                image = _decode_photo(data, path, self._max_pixels)
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
            )

    def _video_frames(self, start: int, stop: int | None, stride: int) -> Iterator[Frame]:
        header = self._video
        if header is None:
            raise MediaError(f"{self.path}: was not opened as a video")
        source = self.files[0]
        period = 1.0 / header.fps if header.fps else 0.0
        reader = _VideoReader(self.path, self._max_pixels)
        first_time: float | None = None
        last_time = -math.inf
        position = -1
        for frame in reader:
            position += 1
            if stop is not None and position >= stop:
                return
            stamp = None if frame.pts is None else float(frame.pts * frame.time_base)
            first_time = stamp if first_time is None else first_time
            time = position * period if stamp is None or first_time is None else stamp - first_time
            if time <= last_time:
                self._warn(f"{self.path.name}: frame {position} has no later time than the one before it")
                time = last_time + period
            last_time = time
            if position < start or (position - start) % stride:
                continue
            yield Frame(
                image=_upright_video_frame(frame, self.path, self._max_pixels),
                source_path=self.path,
                source_sha256=source.sha256,
                frame_index=position,
                position=position,
                time_seconds=time,
            )
        if position < 0:
            raise MediaError(f"{self.path}: no frame of this video can be decoded; convert it to H.264 in MP4")
        if reader.num_damaged:
            self._warn(f"{self.path.name}: {reader.num_damaged} damaged packets or frames")
        end = reader.missing_end(last_time + period)
        if end is not None:
            self.truncated = True
            self._warn(f"{self.path.name}: cut off after {position + 1} frames; {end}")

    def _describe(self, path: pathlib.Path) -> SourceFile:
        width = height = None
        is_mirrored, rotation = False, 0
        if self._video:
            width, height = self._video.width, self._video.height
            is_mirrored, rotation = self._video.is_mirrored, self._video.rotation_degrees
            digest, num_bytes = provenance.file_sha256(path), path.stat().st_size
        elif self.kind == "keypoints":
            digest, num_bytes = provenance.file_sha256(path), path.stat().st_size
        else:
            data = _read_photo_file(path)
            digest, num_bytes = _sha256(data), len(data)
            header = _photo_header(data, path)
            width, height = header.upright_size
            is_mirrored, rotation = header.is_mirrored, header.rotation_degrees
        return SourceFile(
            path=path,
            sha256=digest,
            num_bytes=num_bytes,
            width=width,
            height=height,
            rotation_degrees=rotation,
            is_mirrored=is_mirrored,
        )

    def _warn(self, message: str) -> None:
        if message not in self._warnings and len(self._warnings) < _MAX_WARNINGS:
            self._warnings.append(message)

    def __repr__(self) -> str:
        return f"Media({self.kind}, {str(self.path)!r}, frames={self.frame_count}, fps={self.fps})"


def open_media(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Media:
    """Find out what a path holds and read its header.

    A photo is decoded when its frame is asked for. The first frame of a video is decoded here, which shows
    that it is one and gives its upright size. In a folder, hidden files and files of unknown suffix are left
    out, sub-folders are not entered, and the order is natural.

    Args:
        path: Photo, folder of photos, video, JSON keypoint file or folder of those.
        max_pixels: Largest number of pixels of one picture.

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
        return _open_folder(path, max_pixels)
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
        return Media(path=path, kind="keypoints", paths=(path,), max_pixels=max_pixels)
    if suffix in VIDEO_SUFFIXES:
        header = _video_header(path, max_pixels)
        return Media(path=path, kind="video", paths=(path,), max_pixels=max_pixels, video=header)
    _check_pixels(*_photo_header(_read_photo_file(path), path).upright_size, path, max_pixels)
    return Media(path=path, kind="image", paths=(path,), max_pixels=max_pixels)


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorting key by which `frame2` comes before `frame10`, whatever the case of letters."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part)


def _open_folder(folder: pathlib.Path, max_pixels: int) -> Media:
    names = _files_below(folder)
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
    if by_kind["image"]:
        paths = tuple(by_kind["image"])
        media = Media(path=folder, kind="folder", paths=paths, max_pixels=max_pixels)
        if by_kind["video"]:
            media._warn(f"{folder.name}: {len(by_kind['video'])} videos beside the photos are left out")
        return media
    if by_kind["keypoints"]:
        paths = tuple(by_kind["keypoints"])
        return Media(path=folder, kind="keypoints", paths=paths, max_pixels=max_pixels)
    if by_kind["video"]:
        raise MediaError(
            f"{folder}: holds {len(by_kind['video'])} videos and no photo; "
            f"pass one video, for example {by_kind['video'][0].name!r}"
        )
    found = f"{len(names)} other files" if names else "nothing"
    raise MediaError(f"{folder}: expected photos ({' '.join(IMAGE_SUFFIXES)}), found {found} in this folder")


def _files_below(folder: pathlib.Path) -> list[pathlib.Path]:
    """Files of a folder and its subfolders in natural order; hidden ones and linked folders are passed over."""
    found = []
    for place, subfolders, names in os.walk(folder, followlinks=False):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [pathlib.Path(place) / name for name in names if not name.startswith(".")]
    files = [path for path in found if path.is_file()]
    return sorted(files, key=lambda path: [(natural_key(part), part) for part in path.relative_to(folder).parts])


def _missing(path: pathlib.Path) -> str:
    parent = path.parent
    if not parent.is_dir():
        return f"{path}: no such file; the folder {str(parent)!r} does not exist either"
    wanted = path.name.casefold()
    near = [entry.name for entry in parent.iterdir() if entry.name.casefold() == wanted]
    hint = f"; did you mean {near[0]!r}?" if near else "; check the spelling and the working folder"
    return f"{path}: no such file{hint}"


def _span(start: int, stop: int | None) -> int | None:
    return None if stop is None else stop - start


def _check_pixels(width: int, height: int, path: pathlib.Path, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise MediaError(f"{path}: its header gives the size {width} x {height}; the file is damaged")
    if width * height > max_pixels:
        raise MediaError(
            f"{path}: {width} x {height} is {width * height / 1e6:.0f} megapixels, more than the limit of "
            f"{max_pixels / 1e6:.3g}; scale it down or raise `max_pixels`"
        )


def _turn(image: Shaped[np.ndarray, "..."], is_mirrored: bool, clockwise_degrees: int) -> np.ndarray:
    """Mirror left to right if asked, then turn clockwise by a multiple of 90 degrees."""
    image = image[:, ::-1] if is_mirrored else image
    return np.ascontiguousarray(np.rot90(image, k=-(clockwise_degrees // 90)))


# Photos --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class _PhotoHeader:
    """Size as stored, and how to make it upright."""

    width: int
    height: int
    is_mirrored: bool
    rotation_degrees: int
    is_jpeg: bool = False
    is_tiff: bool = False
    is_complete: bool = True

    @property
    def upright_size(self) -> tuple[int, int]:
        if self.rotation_degrees % 180:
            return self.height, self.width
        return self.width, self.height


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read_photo_file(path: pathlib.Path) -> bytes:
    num_bytes = path.stat().st_size
    if num_bytes == 0:
        raise MediaError(f"{path}: the file is empty (0 bytes); copy or download it again")
    if num_bytes > _MAX_PHOTO_BYTES:
        raise MediaError(f"{path}: {num_bytes / 1e9:.1f} GB is too large for a photo")
    return path.read_bytes()


def _decode_photo(data: bytes, path: pathlib.Path, max_pixels: int) -> UInt8[np.ndarray, "H W 3"]:
    """Upright 8-bit RGB; 16 bits are divided by 257, transparency is laid over white."""
    import cv2

    header = _photo_header(data, path)
    _check_pixels(header.width, header.height, path, max_pixels)
    if not header.is_complete:
        raise MediaError(f"{path}: the photo is cut off (its end is missing); copy or download it again")
    # JPEG has no alpha; the colour flag lets OpenCV turn grey and CMYK into BGR.
    flags = cv2.IMREAD_COLOR if header.is_jpeg else cv2.IMREAD_UNCHANGED
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise MediaError(f"{path}: cannot be decoded ({error.err}); save it again as PNG or JPEG") from error
    if image is None:
        raise MediaError(f"{path}: cannot be decoded; the file is damaged, copy or download it again")
    rgb = _to_rgb8(image, path)
    # OpenCV makes TIFF upright by itself, whatever the flags say.
    if not header.is_tiff and rgb.shape[:2] == (header.height, header.width):
        rgb = _turn(rgb, header.is_mirrored, header.rotation_degrees)
    if rgb.shape[1::-1] != header.upright_size:
        raise MediaError(
            f"{path}: decoded to {rgb.shape[1]} x {rgb.shape[0]} although its header says "
            f"{header.upright_size[0]} x {header.upright_size[1]}; save it again as PNG or JPEG"
        )
    return rgb


def _to_rgb8(image: np.ndarray, path: pathlib.Path) -> UInt8[np.ndarray, "H W 3"]:
    if image.dtype == np.uint16:
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if image.dtype != np.uint8:
        raise MediaError(f"{path}: pixels of type {image.dtype} have no fixed white; save it with 8 or 16 bits")
    image = image[..., None] if image.ndim == 2 else image
    channels = image.shape[2]
    if channels == 1:
        return np.repeat(image, 3, axis=2)
    if channels == 2:
        return _over_white(np.repeat(image[..., :1], 3, axis=2), image[..., 1:])
    if channels == 3:
        return np.ascontiguousarray(image[..., ::-1])
    if channels == 4:
        return _over_white(image[..., 2::-1], image[..., 3:])
    raise MediaError(f"{path}: a picture of {channels} channels; save it as RGB")


def _over_white(colour: UInt8[np.ndarray, "H W 3"], alpha: UInt8[np.ndarray, "H W 1"]) -> UInt8[np.ndarray, "H W 3"]:
    if (alpha == 255).all():
        return np.ascontiguousarray(colour)
    weight = alpha.astype(np.uint32)
    return ((colour * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)


def _photo_header(data: bytes, path: pathlib.Path) -> _PhotoHeader:
    """Size and orientation without decoding."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png_header(data)
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg_header(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_header(data)
        if data.startswith(b"BM"):
            width, height = struct.unpack_from("<ii", data, 18)
            return _header(abs(width), abs(height), 1)
        if data[:4] in (b"II*\0", b"MM\0*"):
            tags = _tiff_tags(data)
            return _header(tags[256], tags[257], tags.get(274, 1), is_tiff=True)
    except (struct.error, KeyError, IndexError) as error:
        raise MediaError(f"{path}: its header is damaged; copy or download it again") from error
    if data[4:8] == b"ftyp":
        raise MediaError(f"{path}: not a photo but a video, HEIC or AVIF file; rename it or convert it to JPEG")
    raise MediaError(
        f"{path}: suffix {path.suffix!r} promises a photo but the file begins with {data[:8]!r}; save it as PNG or JPEG"
    )


def _header(width: int, height: int, orientation: int, **extra: bool) -> _PhotoHeader:
    is_mirrored, rotation = _EXIF_TURNS.get(orientation, (False, 0))
    return _PhotoHeader(width=width, height=height, is_mirrored=is_mirrored, rotation_degrees=rotation, **extra)


def _png_header(data: bytes) -> _PhotoHeader:
    width, height = struct.unpack_from(">II", data, 16)
    orientation, is_complete, offset = 1, False, 8
    while offset + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, offset)
        if kind == b"eXIf":
            orientation = _exif_orientation(data[offset + 8 : offset + 8 + length])
        if kind == b"IEND":
            is_complete = True
            break
        offset += 12 + length
    return _header(width, height, orientation, is_complete=is_complete)


def _jpeg_header(data: bytes) -> _PhotoHeader:
    """Walk the marker segments up to the start of the scan (ITU-T T.81, annex B)."""
    offset, orientation, size = 2, 1, None
    while True:
        while data[offset] != 0xFF:
            offset += 1
        while data[offset] == 0xFF:
            offset += 1
        marker = data[offset]
        offset += 1
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            continue
        (length,) = struct.unpack_from(">H", data, offset)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            size = struct.unpack_from(">HH", data, offset + 3)
        elif marker == 0xE1 and data[offset + 2 : offset + 8] == b"Exif\0\0":
            orientation = _exif_orientation(data[offset + 8 : offset + length])
        elif marker in (0xDA, 0xD9):
            break
        offset += max(length, 2)
    if size is None:
        raise KeyError("no frame header")
    # Entropy-coded data never contains the end marker, so finding it means that the scan is whole.
    is_complete = data.find(b"\xff\xd9", offset) >= 0
    return _header(size[1], size[0], orientation, is_jpeg=True, is_complete=is_complete)


def _webp_header(data: bytes) -> _PhotoHeader:
    (riff_bytes,) = struct.unpack_from("<I", data, 4)
    size, orientation, offset = None, 1, 12
    while offset + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, offset)
        body = offset + 8
        if kind == b"VP8X":
            size = tuple(1 + int.from_bytes(data[body + at : body + at + 3], "little") for at in (4, 7))
        elif kind == b"VP8 " and size is None:
            size = tuple(value & 0x3FFF for value in struct.unpack_from("<HH", data, body + 6))
        elif kind == b"VP8L" and size is None:
            (bits,) = struct.unpack_from("<I", data, body + 1)
            size = (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
        elif kind == b"EXIF":
            orientation = _exif_orientation(data[body : body + length].removeprefix(b"Exif\0\0"))
        offset = body + length + length % 2
    if size is None:
        raise KeyError("no picture chunk")
    return _header(size[0], size[1], orientation, is_complete=len(data) >= riff_bytes + 8)


def _exif_orientation(data: bytes) -> int:
    """Orientation noted in a block of EXIF; damaged notes count as upright."""
    try:
        return _tiff_tags(data).get(274, 1)
    except (struct.error, KeyError):
        return 1


def _tiff_tags(data: bytes) -> dict[int, int]:
    """Short and long integer tags of the first directory (TIFF 6.0, section 2)."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    (offset,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, offset)
    tags = {}
    for entry in range(offset + 2, offset + 2 + 12 * count, 12):
        tag, kind, _ = struct.unpack_from(order + "HHI", data, entry)
        if kind in (3, 4):
            (tags[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)
    return tags


# Videos --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class _VideoHeader:
    """What the container and the first frame tell."""

    width: int
    height: int
    is_mirrored: bool
    rotation_degrees: int
    fps: float | None
    frame_count: int | None
    warnings: tuple[str, ...]


class _VideoReader:
    """Iterates over the decoded frames of the first video stream and notes what is missing."""

    def __init__(self, path: pathlib.Path, max_pixels: int) -> None:
        self.path = path
        self.max_pixels = max_pixels
        self.num_damaged = 0
        self._num_packets = 0
        self._num_announced = 0
        self._duration: float | None = None
        self._failure: str | None = None

    def __iter__(self) -> Iterator[Any]:
        import av
        import av.error

        with _open_container(self.path) as container:
            stream = _video_stream(container, self.path, self.max_pixels)
            stream.thread_type = "AUTO"
            self._num_announced = _announced_frames(container, stream)
            if len(container.streams) == 1 and container.duration:
                self._duration = container.duration / av.time_base
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                except av.error.FFmpegError as error:
                    self._failure = str(error.strerror or error)
                    return
                if packet is None:
                    return
                self._num_packets += packet.size > 0
                try:
                    frames = packet.decode()
                except av.error.EOFError:
                    return
                except av.error.FFmpegError:
                    self.num_damaged += 1
                    continue
                for frame in frames:
                    self.num_damaged += bool(getattr(frame, "is_corrupt", False) or packet.is_corrupt)
                    yield frame

    def missing_end(self, end_seconds: float) -> str | None:
        """Why the stream counts as cut off, or None if it is whole.

        Args:
            end_seconds: End of the last decoded frame.
        """
        if self._failure is not None:
            return f"the rest cannot be read ({self._failure})"
        if self._num_announced > self._num_packets:
            return f"its header announces {self._num_announced} frames"
        # Containers without a frame count give a duration, which may be rounded or padded a little.
        if (
            not self._num_announced
            and self._duration is not None
            and self._duration - end_seconds > max(0.25, 0.05 * self._duration)
        ):
            return f"its header announces {self._duration:.1f} s"
        return None


def _open_container(path: pathlib.Path) -> Any:
    import av
    import av.error

    options = {"format_whitelist": _DEMUXERS}
    try:
        # An absolute path can be no address, option or pipe.
        return av.open(str(path.absolute()), mode="r", options=options, metadata_errors="replace")
    except av.error.FFmpegError as error:
        with path.open("rb") as file:
            begin = file.read(12)
        reason = str(error.strerror or error)
        hint = (
            "its index is missing, as in a recording or download that was cut off; copy or download it again"
            if begin[4:8] == b"ftyp"
            else f"the file begins with {begin!r}; convert it to H.264 in MP4"
        )
        raise MediaError(f"{path}: is not a video that can be read ({reason}): {hint}") from error


def _video_stream(container: Any, path: pathlib.Path, max_pixels: int) -> Any:
    from av.stream import Disposition

    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        raise MediaError(f"{path}: holds no moving picture (only sound, or cut off); pass a whole video")
    stream = streams[0]
    context = stream.codec_context
    if context is None:
        raise MediaError(f"{path}: its picture format is unknown or its header cut off; convert it to H.264 in MP4")
    # A stream may leave its size to the first packet: zero is not an error yet.
    if context.width and context.height:
        _check_pixels(context.width, context.height, path, max_pixels)
    context.options = {"max_pixels": str(max_pixels)}
    return stream


def _announced_frames(container: Any, stream: Any) -> int:
    """Number of frames by the index of the MP4 family, 0 if unknown; other containers only estimate it."""
    return stream.frames if container.format.name.startswith("mov") else 0


def _video_header(path: pathlib.Path, max_pixels: int) -> _VideoHeader:
    import av.error

    reader = _VideoReader(path, max_pixels)
    try:
        frame = next(iter(reader), None)
    except av.error.FFmpegError as error:
        raise MediaError(f"{path}: cannot be decoded ({error.strerror}); convert it to H.264 in MP4") from error
    if frame is None:
        raise MediaError(f"{path}: no frame of this video can be decoded; convert it to H.264 in MP4")
    _check_pixels(frame.width, frame.height, path, max_pixels)
    is_mirrored, rotation = _display_turn(frame)
    width, height = (frame.height, frame.width) if rotation % 180 else (frame.width, frame.height)
    warnings = []
    with _open_container(path) as container:
        stream = _video_stream(container, path, max_pixels)
        rate = stream.average_rate or stream.guessed_rate
        fps = float(rate) if rate else 0.0
        ratio = stream.sample_aspect_ratio
        count = _announced_frames(container, stream)
    if not 0 < fps <= 1000:
        warnings.append(f"{path.name}: tells no usable frame rate")
        fps = None
    if ratio and ratio != 1:
        warnings.append(f"{path.name}: pixels are not square ({ratio}); pictures are left unstretched")
    return _VideoHeader(
        width=width,
        height=height,
        is_mirrored=is_mirrored,
        rotation_degrees=rotation,
        fps=fps,
        frame_count=count or None,
        warnings=tuple(warnings),
    )


def _display_turn(frame: Any) -> tuple[bool, int]:
    """Mirroring and clockwise turn of the display matrix, to the nearest 90 degrees.

    The matrix maps stored to shown positions, x right, y down, row vectors, 16.16 fixed point (ISO/IEC
    14496-12, section 6.2.2).
    """
    for data in frame.side_data:
        if data.type.name != "DISPLAYMATRIX":
            continue
        a, b, _, c, d = struct.unpack_from("=5i", bytes(data))
        is_mirrored = a * d - b * c < 0
        if is_mirrored:
            a, b = -a, -b
        return is_mirrored, round(math.degrees(math.atan2(b, a)) / 90) * 90 % 360
    return False, 0


def _upright_video_frame(frame: Any, path: pathlib.Path, max_pixels: int) -> UInt8[np.ndarray, "H W 3"]:
    _check_pixels(frame.width, frame.height, path, max_pixels)
    return _turn(frame.to_ndarray(format="rgb24"), *_display_turn(frame))
