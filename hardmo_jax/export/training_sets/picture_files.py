"""What the bytes of a JPEG or PNG say of themselves: kind, size, and whether they are to be turned to be looked at.

Enough of the headers to see that a picture is the one that its labels were made on. No pixel is decoded.
"""

import dataclasses
import struct

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_EXIF = b"Exif\0\0"
_APP1, _END, _SCAN = 0xE1, 0xD9, 0xDA
#: Starts of frames; among their numbers are three other markers.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))
_ORIENTATION, _UPRIGHT = 274, 1


@dataclasses.dataclass(frozen=True, slots=True)
class PictureHeader:
    """Of a picture in a file."""

    suffix: str
    """`jpg` or `png`."""
    width: int
    """Pixels, as stored."""
    height: int
    is_upright: bool
    """Whether it is stored as it is looked at: programs disagree about pictures that EXIF says to turn."""


def picture_header(data: bytes) -> PictureHeader | None:
    """Header of a JPEG or PNG; None for anything else, and for one that is damaged there.

    Args:
        data: The whole file.
    """
    try:
        if data.startswith(_PNG):
            width, height = struct.unpack(">II", data[16:24])
            header = PictureHeader("png", width, height, True)
        elif data.startswith(_JPEG):
            header = _jpeg_header(data)
        else:
            return None
    except (struct.error, IndexError):
        return None
    return header if header is not None and header.width and header.height else None


def _jpeg_header(data: bytes) -> PictureHeader | None:
    position, is_upright = len(_JPEG), True
    while True:
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:  # markers may be filled up
            position += 1
            continue
        position += 2
        if marker in _WITHOUT_LENGTH:
            continue
        if marker in (_END, _SCAN):
            return None
        (length,) = struct.unpack(">H", data[position : position + 2])
        content = data[position + 2 : position + length]
        if marker == _APP1 and content.startswith(_EXIF):
            is_upright = _orientation(content.removeprefix(_EXIF)) == _UPRIGHT
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", content[1:5])
            return PictureHeader("jpg", width, height, is_upright)
        position += length


def _orientation(tiff: bytes) -> int:
    """Of EXIF 2.3, tag 274; upright where nothing is told, and where it cannot be read."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return _UPRIGHT
    try:
        (start,) = struct.unpack(order + "I", tiff[4:8])
        (count,) = struct.unpack(order + "H", tiff[start : start + 2])
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack(order + "HHIH", tiff[entry : entry + 10])
            if tag == _ORIENTATION:
                return value if 1 <= value <= 8 else _UPRIGHT
    except struct.error:
        pass
    return _UPRIGHT
