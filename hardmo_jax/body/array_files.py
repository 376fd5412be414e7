"""The package's reader of `.npy` and `.npz` files: under caps, and never unpickling.

Headers are parsed by a pattern instead of by Python, and what an archive declares is compared with what it holds
before anything is unpacked. NumPy's own reader trusts declared shapes and, where told to, unpickles. Arrays come
out read-only and in the byte order of the machine.
"""

import dataclasses
import io
import math
import re
import struct
import zipfile
import zlib

import numpy as np

_MAX_ARCHIVE_MEMBERS = 256
_MAX_DIRECTORY_BYTES = 1 << 20  # of the archive; Python's reader makes an object of every 46 bytes
_MAX_ARRAY_BYTES = 1 << 29  # all arrays of a file together; 300 float64 shape coefficients need 0.1 GB
_MAX_HEADER_BYTES = 10_000
_MAX_RATIO = 1032  # of deflate: two bits say "258 bytes once more"
_MAX_HEAD_BYTES = 12 + _MAX_HEADER_BYTES  # with the signature and the length before it
_NPY_HEADER = re.compile(
    rb"\{\s*'descr':\s*'(?P<descr>[^']{1,32})',\s*'fortran_order':\s*(?P<fortran>True|False),\s*"
    rb"'shape':\s*\((?P<shape>[0-9L, ]{0,200})\),?\s*\}\s*"
)
_NPY_DESCR = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|[SU][1-9][0-9]{0,4})", re.ASCII)
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip member: signature, lengths of its name and of its extra field
_ARCHIVE_ERRORS = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError,
)  # fmt: skip

CONVERT = "convert it to .npz on a machine you trust"
WHERE = "body_models/README.md says where to get one; hm.open_body() needs no file"


class BodyFileError(ValueError):
    """A file is not a body model this package reads, or is a damaged one."""


def read_npz(
    data: bytes | memoryview, *, source: str, keys: tuple[str, ...] | None = None, seal: str | None = None
) -> dict[str, np.ndarray]:
    """Read arrays of an `.npz` archive without ever unpickling.

    Args:
        data: The whole archive.
        source: Name to use in messages.
        keys: Arrays to read if present; None reads all.
        seal: Array whose presence says that the content has a checksum which the caller compares; the archive's own
            checksums are then not computed as well.

    Returns:
        Array by key, without the keys that are absent.

    Raises:
        BodyFileError: If the archive is damaged, names a member twice, is larger than the cap once
            unpacked, or holds objects under one of the keys.
    """
    view = memoryview(data)
    directory = _MemoryFile(view, _MAX_DIRECTORY_BYTES)
    try:
        with zipfile.ZipFile(directory) as archive:
            directory.max_read = len(view)
            return _read_members(archive, view, source, keys, seal)
    except BodyFileError:
        raise
    except _ARCHIVE_ERRORS as error:
        raise BodyFileError(
            f"{source}: damaged or cut-off .npz archive ({_one_line(error)}); download or copy it again"
        ) from error


def read_npy(data: bytes | memoryview, *, source: str) -> np.ndarray:
    """Read one `.npy` array without ever unpickling.

    Raises:
        BodyFileError: If the file is damaged, larger than the cap, or holds objects.
    """
    view = memoryview(data)
    try:
        header = _parse_header(bytes(view[:_MAX_HEAD_BYTES]), len(view), source)
        if header.num_bytes > _MAX_ARRAY_BYTES:
            raise BodyFileError(f"{source}: {header.num_bytes} bytes, more than the cap of {_MAX_ARRAY_BYTES}")
        return _to_array(_copied(view[header.data_offset :]), header, source)
    except BodyFileError:
        raise
    except _ARCHIVE_ERRORS as error:
        raise BodyFileError(f"{source}: damaged .npy file ({_one_line(error)}); download or copy it again") from error


class _MemoryFile(io.RawIOBase):
    """Bytes in memory as a file, without the copy that `BytesIO` makes of a memoryview."""

    def __init__(self, view: memoryview, max_read: int) -> None:
        self.view, self.max_read, self.position = view, max_read, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: len(self.view)}[whence]
        if start + offset < 0:
            raise ValueError("a place before the beginning of the file")
        self.position = start + offset
        return self.position

    def read(self, size: int = -1) -> bytes:
        left = max(len(self.view) - self.position, 0)
        count = left if size is None or size < 0 else min(size, left)
        if count > self.max_read:
            raise ValueError(f"a directory of {count} bytes")
        self.position += count
        return bytes(self.view[self.position - count : self.position])


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


@dataclasses.dataclass(frozen=True)
class _Header:
    """What the header of one `.npy` member declares."""

    dtype: np.dtype
    is_fortran: bool
    shape: tuple[int, ...]
    num_bytes: int
    data_offset: int


def _read_members(
    archive: zipfile.ZipFile, view: memoryview, source: str, keys: tuple[str, ...] | None, seal: str | None
) -> dict[str, np.ndarray]:
    members = archive.infolist()
    if len(members) > _MAX_ARCHIVE_MEMBERS:
        raise BodyFileError(f"{source}: {len(members)} members in one archive; not a body model")
    names = [member.filename for member in members]
    for name in names:
        if names.count(name) > 1:
            raise BodyFileError(f"{source}: the member {name!a} occurs twice; {CONVERT}")
    if not any(name.endswith(".npy") for name in names):
        raise BodyFileError(f"{source}: a zip archive without arrays, not an .npz; {WHERE}")
    wanted = {
        member.filename.removesuffix(".npy"): member
        for member in members
        if member.filename.endswith(".npy") and (keys is None or member.filename.removesuffix(".npy") in keys)
    }
    headers: dict[str, _Header] = {}
    for key, member in wanted.items():
        if member.flag_bits & 1:
            raise BodyFileError(f"{source}: {key!a} is encrypted; unpack it and save it again")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BodyFileError(f"{source}: {key!a} has an unusual compression; save it again")
        if member.file_size > member.compress_size * _MAX_RATIO or member.compress_size > len(view):
            raise BodyFileError(
                f"{source}: {key!a} declares {member.file_size} bytes, more than the file can hold; "
                "download or copy it again"
            )
        if member.compress_type == zipfile.ZIP_STORED:
            head = bytes(_stored(view, member)[:_MAX_HEAD_BYTES])
        else:
            with archive.open(member) as file:
                head = file.read(_MAX_HEAD_BYTES)
        headers[key] = _parse_header(head, member.file_size, f"{source}: {key}")
    total = sum(header.num_bytes for header in headers.values())
    if total > _MAX_ARRAY_BYTES:
        raise BodyFileError(f"{source}: its arrays unpack to {total} bytes, more than the cap of {_MAX_ARRAY_BYTES}")
    arrays = {}
    for key, header in headers.items():
        member = wanted[key]
        if member.compress_type == zipfile.ZIP_STORED:
            stored = _stored(view, member)
            if seal not in wanted and zlib.crc32(stored) != member.CRC:
                raise zipfile.BadZipFile(f"wrong checksum of {member.filename}")
            raw = _copied(stored[header.data_offset :])
        else:
            with archive.open(member) as file:
                file.read(header.data_offset)
                raw = file.read(header.num_bytes + 1)  # one more, so that the archive compares its checksum
        arrays[key] = _to_array(raw, header, member.filename)
    return arrays


def _stored(view: memoryview, member: zipfile.ZipInfo) -> memoryview:
    """Bytes of a member that is not compressed, where they lie."""
    start = member.header_offset
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(view[start : start + _LOCAL_HEADER.size])
    start += _LOCAL_HEADER.size + name_length + extra_length
    end = start + member.compress_size
    if signature != b"PK\x03\x04" or end > len(view):
        raise zipfile.BadZipFile(f"{member.filename} is not where the directory says")
    return view[start:end]


def _copied(raw: memoryview) -> memoryview:
    """The bytes at an aligned place of their own, so that the file's memory can go."""
    return np.frombuffer(raw, np.uint8).copy().data if len(raw) else raw


def _parse_header(head: bytes, file_size: int, where: str) -> _Header:
    if head[:6] != b"\x93NUMPY" or head[6:7] not in (b"\x01", b"\x02", b"\x03"):
        raise BodyFileError(f"{where}: not a NumPy array; {CONVERT}")
    offset = 10 if head[6] == 1 else 12
    length = int.from_bytes(head[8:offset], "little")
    if length > _MAX_HEADER_BYTES:
        raise BodyFileError(f"{where}: a header of {length} bytes; {CONVERT}")
    if offset + length > len(head):
        raise EOFError("cut off inside the header of an array")
    fields = _NPY_HEADER.fullmatch(head[offset : offset + length])
    descr = fields["descr"].decode("latin-1") if fields else ""
    if "O" in descr:
        raise BodyFileError(
            f"{where}: stored as a Python object (a sparse matrix or chumpy array), which .npz files can "
            f"only pickle; store a plain array instead (matrix.toarray(), numpy.array(x)), or load the .pkl"
        )
    if fields is None or not _NPY_DESCR.fullmatch(descr):
        raise BodyFileError(f"{where}: an array type or header this package does not read; {CONVERT}")
    axes = fields["shape"].decode("ascii").replace("L", "").replace(" ", "").split(",")
    shape = tuple(int(axis) for axis in axes if axis)
    dtype = np.dtype(descr)
    num_bytes = math.prod(shape) * dtype.itemsize
    offset += length
    if len(shape) > 8 or max(shape, default=0) > _MAX_ARRAY_BYTES:
        raise BodyFileError(f"{where}: declares the shape {shape}; not a body model")
    if num_bytes != file_size - offset:
        raise BodyFileError(
            f"{where}: declares {num_bytes} bytes of data where the file has {file_size - offset}; "
            "download or copy it again"
        )
    return _Header(dtype, fields["fortran"] == b"True", shape, num_bytes, offset)


def _to_array(raw: bytes | memoryview, header: _Header, name: str) -> np.ndarray:
    if len(raw) != header.num_bytes:
        raise EOFError(f"{len(raw)} of {header.num_bytes} bytes of {name}")
    native = header.dtype.newbyteorder("=")
    if not raw:
        array = np.zeros(header.shape, native)
    elif header.dtype.kind == "U" and np.frombuffer(raw, header.dtype.str[0] + "u4").max() > 0x10FFFF:
        raise ValueError(f"invalid characters in {name}")
    else:
        array = np.frombuffer(raw, header.dtype).reshape(header.shape, order="F" if header.is_fortran else "C")
        array = array.astype(native, copy=False)
    array.setflags(write=False)
    return array
