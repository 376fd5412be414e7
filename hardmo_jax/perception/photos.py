"""Reading one photo as an upright 8-bit RGB picture: EXIF orientation and lens, 16 bits, transparency, CMYK.

Sizes are read from the header and bounded before anything is decoded, and a photo whose end is missing is
refused: half a picture would be taken for a whole one. `video` opens files and folders; it shares the limits
and the error of this module.
"""

import dataclasses
import math
import pathlib
import re
import struct
from collections.abc import Mapping

import numpy as np
from jaxtyping import Shaped, UInt8

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

#: Photos and frames with more pixels than this are refused unless the caller allows more.
MAX_PIXELS = 200_000_000

_MAX_PHOTO_BYTES = 1 << 30
#: Chunks or segments of a photo. One of a gigabyte has 131,000 if they are as small as programs write them.
_MAX_PIECES = 1_000_000
#: What stands before the marker of a segment of a JPEG, in any number.
_FILLING = re.compile(rb"\xff+")
#: Of photos that are transparent or of 16 bits, so that their numbers on the way take little memory.
_ROWS_AT_ONCE = 256
#: EXIF orientation: (mirror left-right first, then turn clockwise by degrees). EXIF 2.3, tag 274.
_EXIF_TURNS = {
    1: (False, 0), 2: (True, 0), 3: (False, 180), 4: (True, 180),
    5: (True, 270), 6: (False, 90), 7: (True, 90), 8: (False, 270),
}  # fmt: skip
#: Tags of EXIF 2.32 (CIPA DC-008), sections 4.6.3 and 4.6.5.
_ORIENTATION, _CAMERA_DIRECTORY = 274, 0x8769
_FOCAL_LENGTH, _FOCAL_LENGTH_35MM = 0x920A, 0xA405
_TAKEN_WIDTH, _TAKEN_HEIGHT = 0xA002, 0xA003
_SENSOR_DENSITY, _SENSOR_UNIT = 0xA20E, 0xA210
_FRACTIONS = (_FOCAL_LENGTH, _SENSOR_DENSITY)
#: Units of the density in millimetres; 4 and 5 are no part of EXIF but written.
_MILLIMETRES = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
#: Diagonal of the film that focal lengths are compared on, millimetres.
FILM_DIAGONAL = math.hypot(36, 24)
#: Lenses outside of these are slips of who wrote the note; 35 mm equivalents, millimetres.
_LEAST_LENS, _LONGEST_LENS = 6.0, 1200.0
#: Diagonals of the sensors behind interchangeable lenses (four thirds, APS-C, APS-H, full frame), millimetres.
_SENSORS = ((20.8, 22.4), (26.0, 29.0), (33.5, 35.5), (42.0, 45.0))
#: Aspect ratios that differ by a larger share are of a picture that was cropped after it was taken.
_SAME_ASPECT = 0.02


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
    focal_length_35mm: float | None = None
    """Focal length by EXIF in millimetres, as if the picture's diagonal were that of 35 mm film (`FILM_DIAGONAL`);
    None where there is no note of it, or none that can hold for this picture."""

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


def encode_jpeg(image: UInt8[np.ndarray, "H W 3"], *, quality: int = 95) -> bytes:
    """An RGB picture as a JPEG file.

    Args:
        image: RGB.
        quality: 1 to 100.
    """
    import cv2

    is_made, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not is_made:
        raise MediaError(f"a picture of shape {image.shape} cannot be written as a JPEG")
    return data.tobytes()


def _to_rgb8(image: np.ndarray, path: pathlib.Path) -> UInt8[np.ndarray, "H W 3"]:
    if image.dtype == np.uint16:
        deep, image = image, np.empty(image.shape, np.uint8)
        for row in range(0, len(deep), _ROWS_AT_ONCE):
            rows = slice(row, row + _ROWS_AT_ONCE)
            image[rows] = (deep[rows].astype(np.uint32) + 128) // 257
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
    laid = np.empty(colour.shape, np.uint8)
    for row in range(0, len(colour), _ROWS_AT_ONCE):
        rows = slice(row, row + _ROWS_AT_ONCE)
        weight = alpha[rows].astype(np.uint32)
        laid[rows] = (colour[rows] * weight + 255 * (255 - weight) + 127) // 255
    return laid


def read_photo_header(data: bytes, path: pathlib.Path) -> PhotoHeader:
    """Size, orientation and lens without decoding.

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
            return _header(abs(width), abs(height), {})
        if data[:4] in (b"II*\0", b"MM\0*"):
            tags = _tiff_tags(data)
            return _header(int(tags[256]), int(tags[257]), tags | _exif_tags(data), is_tiff=True)
    except (struct.error, KeyError, IndexError) as error:
        raise MediaError(f"{path}: its header is damaged; copy or download it again") from error
    if data[4:8] == b"ftyp":
        raise MediaError(f"{path}: not a photo but a video, HEIC or AVIF file; rename it or convert it to JPEG")
    raise MediaError(
        f"{path}: suffix {path.suffix!r} promises a photo but the file begins with {data[:8]!r}; save it as PNG or JPEG"
    )


def _header(width: int, height: int, tags: Mapping[int, float | int], **extra: bool) -> PhotoHeader:
    is_mirrored, rotation = _EXIF_TURNS.get(int(tags.get(_ORIENTATION, 1)), (False, 0))
    return PhotoHeader(
        width=width,
        height=height,
        is_mirrored=is_mirrored,
        rotation_degrees=rotation,
        focal_length_35mm=_focal_length_35mm(tags, width, height),
        **extra,
    )


def _focal_length_35mm(tags: Mapping[int, float | int], width: int, height: int) -> float | None:
    """The lens as EXIF tells it, in millimetres before 35 mm film; None if it tells nothing that can be true.

    Equivalence is by the diagonal of the picture (CIPA DCG-001), which scaling leaves alone and cropping does not.
    """
    if min(width, height) < 1:
        return None
    size = (tags.get(_TAKEN_WIDTH) or width, tags.get(_TAKEN_HEIGHT) or height)
    # Software that turns a picture upright often leaves the size as it was taken, so only the longer over the
    # shorter side counts.
    aspect, aspect_taken = (max(sides) / min(sides) for sides in ((width, height), size))
    if abs(aspect / aspect_taken - 1) > _SAME_ASPECT:
        return None
    equivalent = tags.get(_FOCAL_LENGTH_35MM) or _by_sensor(tags, math.hypot(*size))
    return float(equivalent) if _LEAST_LENS <= equivalent <= _LONGEST_LENS else None


def _by_sensor(tags: Mapping[int, float | int], diagonal_pixels: float) -> float:
    """The same from the focal length itself and the density of pixels on the sensor; 0 where these do not tell.

    Software that scales a picture keeps the density as it was and notes the new size as the one that was taken. The
    sensor then seems to be smaller than any that is built, and with it the angle: only known sensors count.
    """
    unit = _MILLIMETRES.get(int(tags.get(_SENSOR_UNIT, 2)), 0.0)
    density = tags.get(_SENSOR_DENSITY, 0.0)
    sensor = diagonal_pixels * unit / density if density else 0.0
    if not any(low <= sensor <= high for low, high in _SENSORS):
        return 0.0
    return tags.get(_FOCAL_LENGTH, 0.0) / sensor * FILM_DIAGONAL


def _png_header(data: bytes) -> PhotoHeader:
    width, height = struct.unpack_from(">II", data, 16)
    tags, is_complete, offset, pieces = {}, False, 8, 0
    while offset + 12 <= len(data):
        pieces += 1
        _check_pieces(pieces)
        length, kind = struct.unpack_from(">I4s", data, offset)
        if kind == b"eXIf":
            tags = _exif_tags(data[offset + 8 : offset + 8 + length])
        if kind == b"IEND":
            is_complete = True
            break
        offset += 12 + length
    return _header(width, height, tags, is_complete=is_complete)


def _jpeg_header(data: bytes) -> PhotoHeader:
    """Walk the marker segments up to the start of the scan (ITU-T T.81, annex B)."""
    offset, pieces, tags, size = 2, 0, {}, None
    while True:
        offset = data.find(b"\xff", offset)
        filling = _FILLING.match(data, offset) if offset >= 0 else None
        if filling is None:
            raise KeyError("no frame header")
        marker = data[filling.end()]
        offset = filling.end() + 1
        pieces += 1
        _check_pieces(pieces)
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            continue
        (length,) = struct.unpack_from(">H", data, offset)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            size = struct.unpack_from(">HH", data, offset + 3)
        elif marker == 0xE1 and data[offset + 2 : offset + 8] == b"Exif\0\0":
            tags = _exif_tags(data[offset + 8 : offset + length])
        elif marker in (0xDA, 0xD9):
            break
        offset += max(length, 2)
    if size is None:
        raise KeyError("no frame header")
    # Entropy-coded data never contains the end marker, so finding it means that the scan is whole.
    is_complete = data.find(b"\xff\xd9", offset) >= 0
    return _header(size[1], size[0], tags, is_jpeg=True, is_complete=is_complete)


def _webp_header(data: bytes) -> PhotoHeader:
    (riff_bytes,) = struct.unpack_from("<I", data, 4)
    size, tags, offset, pieces = None, {}, 12, 0
    while offset + 8 <= len(data):
        pieces += 1
        _check_pieces(pieces)
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
            tags = _exif_tags(data[body : body + length].removeprefix(b"Exif\0\0"))
        offset = body + length + length % 2
    if size is None:
        raise KeyError("no picture chunk")
    return _header(size[0], size[1], tags, is_complete=len(data) >= riff_bytes + 8)


def _check_pieces(count: int) -> None:
    """Refuse a photo of more pieces than any has: going through them is work of this process."""
    if count > _MAX_PIECES:
        raise KeyError(f"more than {_MAX_PIECES} pieces")


def _exif_tags(data: bytes) -> dict[int, float | int]:
    """Numbers of a block of EXIF: of its first directory and of the one about the camera; damaged ones are left out."""
    try:
        tags = _tiff_tags(data)
    except (struct.error, KeyError):
        return {}
    try:
        # Not followed any further, so directories that point at each other end here.
        return _directory(data, int(tags[_CAMERA_DIRECTORY])) | tags
    except (struct.error, KeyError):
        return tags


def _tiff_tags(data: bytes) -> dict[int, float | int]:
    """Numbers of the first directory (TIFF 6.0, section 2)."""
    (offset,) = struct.unpack_from(_byte_order(data) + "I", data, 4)
    return _directory(data, offset)


def _directory(data: bytes, offset: int) -> dict[int, float | int]:
    """Whole numbers of a directory (places of others among them), and those of its fractions that are of use."""
    order = _byte_order(data)
    (count,) = struct.unpack_from(order + "H", data, offset)
    tags: dict[int, float | int] = {}
    for entry in range(offset + 2, offset + 2 + 12 * count, 12):
        tag, kind, _ = struct.unpack_from(order + "HHI", data, entry)
        if kind in (3, 4, 13):
            (tags[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)
        elif kind == 5 and tag in _FRACTIONS:
            (place,) = struct.unpack_from(order + "I", data, entry + 8)
            if place + 8 <= len(data):
                above, below = struct.unpack_from(order + "II", data, place)
                tags[tag] = above / below if below else 0.0
    return tags


def _byte_order(data: bytes) -> str:
    return {b"II": "<", b"MM": ">"}[data[:2]]


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
