"""Files within an uncompressed tar by their places: nothing is unpacked, and names are nothing but names.

Python's reader keeps every member and reads headers as long as they say they are; this one keeps none, and bounds them.
"""

import dataclasses
import os
from collections.abc import Iterator
from typing import BinaryIO

from hardmo_jax import safe_pickle
from hardmo_jax.data.training_records import TrainingDataError

_BLOCK = 512
#: Of the headers that carry long names, and how many of them stand before one file.
_MAX_EXTENSION_BYTES, _MAX_EXTENSIONS = 1 << 16, 8
_FILES, _EMPTY = b"\x000" + b"7", b"123456"
_GNU_NAME, _GNU_LINK, _PAX, _PAX_GLOBAL, _GNU_SPARSE = b"L", b"K", (b"x", b"X"), b"g", b"S"


@dataclasses.dataclass(frozen=True, slots=True)
class TarMember:
    """A file within a tar."""

    name: str
    """As the tar says; it may be anything, also a way out of a folder."""
    header_offset: int
    """Where its headers begin."""
    offset: int
    """Where it begins."""
    size: int
    """Its length, bytes."""


def tar_members(path: str | os.PathLike[str]) -> Iterator[TarMember]:
    """Files of a tar in their order.

    Raises:
        FileNotFoundError: If there is no such file.
        TrainingDataError: If it is no uncompressed tar, cut off or damaged.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        position = 0
        while (found := _next_member(file, position, size, str(path))) is not None:
            member, position = found
            yield member


def tar_member_at(path: str | os.PathLike[str], header_offset: int, *, max_bytes: int) -> tuple[TarMember, bytes]:
    """The file whose headers begin at a place, and its content.

    Raises:
        FileNotFoundError: If there is no such tar.
        TrainingDataError: If there is none at that place any more, or it is longer than that.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        found = _next_member(file, header_offset, size, str(path))
        if found is None:
            raise TrainingDataError(f"{path}: there is no file at {header_offset} any more; the tar was changed")
        return found[0], tar_content(file, found[0], str(path), max_bytes=max_bytes)


def tar_content(file: BinaryIO, member: TarMember, path: str, *, max_bytes: int) -> bytes:
    """Content of a file within an open tar.

    Raises:
        TrainingDataError: If it is longer than that.
    """
    if member.size > max_bytes:
        raise TrainingDataError(
            f"{path}: {member.name[:200]!a} must be at most {max_bytes} bytes long, got {member.size}"
        )
    file.seek(member.offset)
    return file.read(member.size)


def _next_member(file: BinaryIO, position: int, size: int, path: str) -> tuple[TarMember, int] | None:
    """The first file whose headers begin at a place or behind it, and where the next begin; None at the end."""
    start, name, length, extensions = position, None, None, 0
    while True:
        file.seek(position)
        block = file.read(_BLOCK)
        if not block.strip(b"\0"):
            if not block and extensions:
                raise _damage(path, position, "it is cut off")
            return None
        kind, declared = _kind_and_size(block, position, path)
        stored = 0 if kind in _EMPTY else declared
        after = position + _BLOCK + -(-stored // _BLOCK) * _BLOCK
        if position + _BLOCK + stored > size:
            raise _damage(path, position, f"it is cut off: {stored} bytes are declared and {size} is its length")
        if kind in (_GNU_NAME, _GNU_LINK, *_PAX, _PAX_GLOBAL):
            extensions += 1
            if declared > _MAX_EXTENSION_BYTES or extensions > _MAX_EXTENSIONS:
                raise _damage(path, position, "headers of a file are longer than any name")
            content = file.read(declared)
            if kind == _GNU_NAME:
                name = _text(content)
            elif kind in _PAX:
                fields = _pax_fields(content, position, path)
                name = fields.get(b"path", name)
                length = fields.get(b"size", length)
        elif kind in _FILES:
            if length is not None and length != str(declared):
                raise _damage(path, position, "files beyond 8 GB are not read")
            name = name if name is not None else _ustar_name(block)
            return TarMember(name, start, position + _BLOCK, declared), after
        elif kind == _GNU_SPARSE:
            raise _damage(path, position, "a sparse file; make the tar without --sparse")
        else:  # folders and links
            start, name, length, extensions = after, None, None, 0
        position = after


def _kind_and_size(block: bytes, position: int, path: str) -> tuple[bytes, int]:
    """Kind and length of what a header announces, after a comparison with its checksum."""
    if len(block) < _BLOCK:
        raise _not_tar(block, path) if position == 0 else _damage(path, position, "it is cut off inside a header")
    written = _octal(block[148:156])
    rest = block[:148] + b" " * 8 + block[156:]
    if written is None or (written != sum(rest) and written != sum(byte - 256 * (byte > 127) for byte in rest)):
        raise _not_tar(block, path) if position == 0 else _damage(path, position, "a header has a wrong checksum")
    field = block[124:136]
    declared = int.from_bytes(field[1:], "big") if field[0] == 0x80 else _octal(field)
    if declared is None:
        raise _damage(path, position, "a header has no length")
    return block[156:157], declared


def _not_tar(block: bytes, path: str) -> TrainingDataError:
    kind = safe_pickle.foreign_format(block)
    found = f"got {kind}" if kind else "its first block is none"
    return TrainingDataError(f"{path}: must be an uncompressed tar, {found}; unpack it if it is compressed")


def _damage(path: str, position: int, what: str) -> TrainingDataError:
    return TrainingDataError(f"{path}: damaged tar at byte {position}: {what}; download or copy it again")


def _octal(field: bytes) -> int | None:
    digits = field.split(b"\0")[0].strip()
    return int(digits or b"0", 8) if not digits.strip(b"01234567") else None


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("utf-8", "backslashreplace")


def _ustar_name(block: bytes) -> str:
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    name = _text(block[:100])
    return f"{prefix}/{name}" if prefix else name


def _pax_fields(content: bytes, position: int, path: str) -> dict[bytes, str]:
    """`path` and `size` of an extended header: lines that begin with their own length."""
    fields, start = {}, 0
    while start < len(content):
        digits = content[start : start + 8].split(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        key, equals, value = content[start + len(digits) + 1 : start + length].partition(b"=")
        if not 0 < length <= len(content) - start or not equals:
            raise _damage(path, position, "an extended header is malformed")
        if key in (b"path", b"size"):
            fields[key] = _text(value.removesuffix(b"\n"))
        start += length
    return fields
