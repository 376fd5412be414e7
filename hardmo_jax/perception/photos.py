"""Reading one photo as an upright 8-bit RGB picture: EXIF orientation, 16 bits, transparency, CMYK.

Sizes are read from the header and bounded before anything is decoded, and a photo whose end is missing is
refused: half a picture would be taken for a whole one. `video` opens files and folders; it shares the limits
and the error of this module.
"""

import dataclasses
import pathlib
import struct

import numpy as np
from jaxtyping import Shaped, UInt8

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

#: Photos and frames with more pixels than this are refused unless the caller allows more.
MAX_PIXELS = 200_000_000

_MAX_PHOTO_BYTES = 1 << 30
#: EXIF orientation: (mirror left-right first, then turn clockwise by degrees). EXIF 2.3, tag 274.
_EXIF_TURNS = {
    1: (False, 0), 2: (True, 0), 3: (False, 180), 4: (True, 180),
    5: (True, 270), 6: (False, 90), 7: (True, 90), 8: (False, 270),
}  # fmt: skip


class MediaError(ValueError):
    """A file is not the photo, folder or video it should be; the message is one line for the user."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhotoHeader:
    """Size as stored, and how to make it upright."""

    width: int
    """Pixels, as stored."""
    height: int
    """Pixels, as stored."""
    is_mirrored: bool
    """Whether to mirror left to right, before the turn."""
    rotation_degrees: int
    """Clockwise turn that makes the picture upright."""
    is_jpeg: bool = False
    """Whether the file is a JPEG."""
    is_tiff: bool = False
    """Whether the file is a TIFF."""
    is_complete: bool = True
    """Whether the end of the file is there, where the format tells."""

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) in pixels once upright."""
        if self.rotation_degrees % 180:
            return self.height, self.width
        return self.width, self.height


def read_photo_file(path: pathlib.Path) -> bytes:
    """Content of a photo file.

    Raises:
        MediaError: If it is empty or too large for a photo.
    """
    num_bytes = path.stat().st_size
    if num_bytes == 0:
        raise MediaError(f"{path}: the file is empty (0 bytes); copy or download it again")
    if num_bytes > _MAX_PHOTO_BYTES:
        raise MediaError(f"{path}: {num_bytes / 1e9:.1f} GB is too large for a photo")
    return path.read_bytes()


def decode_photo(data: bytes, path: pathlib.Path, max_pixels: int) -> UInt8[np.ndarray, "H W 3"]:
    """Decode a photo.

    Args:
        data: The whole file.
        path: Its path, for messages.
        max_pixels: Largest number of pixels.

    Returns:
        Upright 8-bit RGB; 16 bits are divided by 257, transparency is laid over white.

    Raises:
        MediaError: If it is no photo, damaged, cut off or too large.
    """
    import cv2

    header = read_photo_header(data, path)
    check_pixels(header.width, header.height, path, max_pixels)
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
        rgb = turn_upright(rgb, header.is_mirrored, header.rotation_degrees)
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


def read_photo_header(data: bytes, path: pathlib.Path) -> PhotoHeader:
    """Size and orientation without decoding.

    Args:
        data: The whole file.
        path: Its path, for messages.

    Raises:
        MediaError: If the header is damaged or of a format that is not read.
    """
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


def _header(width: int, height: int, orientation: int, **extra: bool) -> PhotoHeader:
    is_mirrored, rotation = _EXIF_TURNS.get(orientation, (False, 0))
    return PhotoHeader(width=width, height=height, is_mirrored=is_mirrored, rotation_degrees=rotation, **extra)


def _png_header(data: bytes) -> PhotoHeader:
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


def _jpeg_header(data: bytes) -> PhotoHeader:
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


def _webp_header(data: bytes) -> PhotoHeader:
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


def check_pixels(width: int, height: int, path: pathlib.Path, max_pixels: int) -> None:
    """Refuse a picture without pixels or with too many, before it is decoded.

    Raises:
        MediaError: If it has fewer than one or more than `max_pixels`.
    """
    if width < 1 or height < 1:
        raise MediaError(f"{path}: its header gives the size {width} x {height}; the file is damaged")
    if width * height > max_pixels:
        raise MediaError(
            f"{path}: {width} x {height} is {width * height / 1e6:.0f} megapixels, more than the limit of "
            f"{max_pixels / 1e6:.3g}; scale it down or raise `max_pixels`"
        )


def turn_upright(image: Shaped[np.ndarray, "..."], is_mirrored: bool, clockwise_degrees: int) -> np.ndarray:
    """Mirror left to right if asked, then turn clockwise by a multiple of 90 degrees."""
    image = image[:, ::-1] if is_mirrored else image
    return np.ascontiguousarray(np.rot90(image, k=-(clockwise_degrees // 90)))
