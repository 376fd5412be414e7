"""The bytes of one pickle: taken piece by piece, never more than are there, and how to say what is wrong with them."""

import re
import struct

from hardmo_jax.safe_pickle.errors import CorruptPickleError, UnsafePickleError
from hardmo_jax.safe_pickle.foreign_formats import foreign_format

MAX_DIGITS = 64
_MAX_DERIVED_FACTOR = 6  # arrays, decoded text and indices together, as a multiple of the file's size
_DERIVED_SLACK_BYTES = 1 << 20
_MAX_CONTAINERS = 4_000_000  # tuples and lists; a dict or a set, which takes more memory, is several
_ADVICE = (
    "only arrays, numbers, text, lists and dicts are read; "
    "if you trust its author, convert it to .npz on a machine you trust"
)
DAMAGED = "download or copy it again"
_INTEGER = re.compile(rb"[+-]?[0-9]{1,%d}" % MAX_DIGITS)


class Tape:
    """Where the reader is in a pickle, and what it may still unpack.

    Args:
        data: From the beginning.
        source: Name to use in messages.
    """

    advice = _ADVICE

    def __init__(self, data: bytes, source: str) -> None:
        self.data, self.source = data, source
        self.position = 0
        self.containers_left = _MAX_CONTAINERS
        self.derived_bytes_left = _MAX_DERIVED_FACTOR * len(data) + _DERIVED_SLACK_BYTES

    def unsafe(self, found: str) -> UnsafePickleError:
        return UnsafePickleError(f"{self.source}: refused: {found}; {self.advice}")

    def corrupt(self, found: str) -> CorruptPickleError:
        kind = foreign_format(self.data)
        if kind is not None:
            return CorruptPickleError(f"{self.source}: not a pickle but {kind}")
        return CorruptPickleError(f"{self.source}: damaged pickle: {found}; {DAMAGED}")

    def spend(self, num_bytes: int) -> None:
        """Count memory that is derived from the file's bytes rather than cut out of them."""
        self.derived_bytes_left -= num_bytes
        if self.derived_bytes_left < 0:
            raise self.unsafe("it unpacks to many times its own size")

    def spend_containers(self, count: int) -> None:
        """Count what takes a hundred bytes of memory and more for a byte of the file."""
        self.containers_left -= count
        if self.containers_left < 0:
            raise self.unsafe(f"it makes more than {_MAX_CONTAINERS} lists and the like")

    def take(self, count: int) -> bytes:
        left = len(self.data) - self.position
        if count > left:
            raise self.corrupt(f"it declares {count} bytes where {left} are left (cut off)")
        self.position += count
        return self.data[self.position - count : self.position]

    def take_number(self, layout: str) -> int:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def take_line(self, limit: int | None = None) -> bytes:
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise self.corrupt("it is cut off inside a line of text")
        if limit is not None and end - self.position > limit:
            raise self.corrupt(f"a line of {end - self.position} bytes where {limit} are the most")
        line = self.data[self.position : end]
        self.position = end + 1
        return line

    def take_integer_line(self, suffix: bytes = b"") -> int:
        line = self.take_line(MAX_DIGITS + 8).removesuffix(suffix)
        if not _INTEGER.fullmatch(line):
            raise self.corrupt(f"{line[:40]!r} is no integer")
        return int(line)

    def decode(self, data: bytes, encoding: str) -> str:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError as error:
            raise self.corrupt(f"a text is not valid {encoding}") from error
