"""Files that `torch.save` wrote, read without torch: nothing in them is made, imported or called.

Such a file is a zip archive of a pickle and the bytes of its tensors; before torch 1.6 it was a few pickles with the
bytes after them. Objects come out as `safe_pickle.Described`, and their tensors as NumPy arrays, one by one, when they
are asked for. A list of allowed classes would not be enough, neither with Python's unpickler nor with torch's
(`weights_only=True`): both let the file call what is on the list, and a YOLO model that is called with an architecture
of the file's choice evaluates Python text out of it.
"""

import dataclasses
import io
import math
import os
import pathlib
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from hardmo_jax import safe_pickle
from hardmo_jax.safe_pickle import Described

_MAX_PICKLE_BYTES = 64 << 20
#: Of an archive: names and places of its members, a hundred bytes each.
_MAX_DIRECTORY_BYTES = 4 << 20
_MAX_AXES = 8
#: Of a tensor's shape, strides and numbers.
_MAX_NUMBER = 1 << 40
#: Tensors may share numbers, but not have the file read over and over: all that is read, in sizes of the file.
_MOST_READ = 4
_TENSOR, _PARAMETER = "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"
_OLD_TENSOR = "torch._utils._rebuild_tensor"
_DTYPES = {
    "torch.FloatStorage": "<f4",
    "torch.DoubleStorage": "<f8",
    "torch.HalfStorage": "<f2",
    # NumPy has none; the two bytes are the upper ones of a float32.
    "torch.BFloat16Storage": "<u2",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1",
    "torch.BoolStorage": "?",
}
#: First bytes of files from before torch 1.6: a pickle of one number.
_OLD_START = re.compile(rb"\x80[\x02-\x05]\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19\.")
#: Pickles of such a file: that number, its version, the machine, the value, and the names of the storages.
_OLD_PICKLES = 5
#: What a damaged archive may end in.
_ARCHIVE_ERRORS = (
    *(KeyError, ValueError, EOFError, OSError, NotImplementedError, RuntimeError, struct.error, zlib.error),
    *(zipfile.BadZipFile, OverflowError),
)


class TorchFileError(ValueError):
    """A file is none that can be used here; the message says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What the objects of a kind of file may be named after. All of it stays a description."""

    names: re.Pattern[str]
    """Full names of classes and constants."""
    calls: frozenset[str]
    """Full names of what may be called."""
    is_lenient: bool = False
    """Whether all names may be called and hold entries, see `safe_pickle.loads_described`."""


#: What makes tensors of numbers, in any file.
TENSOR_CALLS = frozenset((_TENSOR, _OLD_TENSOR, _PARAMETER, "torch.Size", "torch.device"))
#: What checkpoints of training programs name harmlessly of Python's own modules.
_PLAIN = {
    "argparse": "Namespace",
    "collections": "Counter|OrderedDict|defaultdict|deque",
    "datetime": "date|datetime|time|timedelta|timezone",
    "decimal": "Decimal",
    "enum": r"\w+",
    "fractions": "Fraction",
    "functools": "partial",
    r"pathlib(\._local)?": "(Pure)?(Posix|Windows)?Path",
    "typing": r"\w+",
    "uuid": "SafeUUID|UUID",
    "__builtin__|builtins": (
        "bool|bytearray|bytes|complex|dict|float|frozenset|int|list|long|object|set|slice|str|tuple|unicode"
    ),
}
_PLAIN_NAMES = "|".join(rf"({module})\.({names})" for module, names in _PLAIN.items())
#: Modules of Python 2, which Python 3 takes for its own when it unpickles.
_PYTHON_2 = (
    "Queue SocketServer StringIO UserDict UserList UserString __builtin__ _winapi _winreg anydbm asynchat asyncore "
    "cPickle cStringIO commands cookielib copy_reg dbhash distutils dumbdbm exceptions httplib imp itertools lib2to3 "
    "md5 msvcrt new nt os2 popen2 posix rfc822 robotparser sets sha smtpd urllib2 urlparse winreg xmlrpclib"
)
_STANDARD = "|".join(sorted({*sys.stdlib_module_names, *_PYTHON_2.split()}))
#: Of a training program: whatever packages its objects come from. Python's own modules are left out, although nothing
#: would be run: a file that asks for one of these (`os.system`, `builtins.eval`) is an attack, and should be told.
CHECKPOINT = Vocabulary(
    names=re.compile(rf"{_PLAIN_NAMES}|(?!({_STANDARD})\.)[^\W\d]\w*(\.\w+)+", re.ASCII),
    calls=TENSOR_CALLS,
    is_lenient=True,
)


class _CappedReads(io.RawIOBase):
    """A file of which only so much is read at once: a directory makes objects of ten times its size."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file, self.most = file, most

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        if size > self.most:
            raise ValueError(f"a directory of {size} bytes, where {self.most} are the most")
        return self._file.read(size)


class TorchFile:
    """What is in one file. To be closed, or used in a `with`."""

    def __init__(self, path: str | os.PathLike[str], *, vocabulary: Vocabulary, advice: str, max_bytes: int) -> None:
        """Read everything but the tensors.

        Args:
            path: The `.pt`, `.pth` or `.ckpt` file.
            vocabulary: What it may name.
            advice: What to do instead, for messages about files that are refused.
            max_bytes: Largest file that is read.

        Raises:
            FileNotFoundError: If there is no such file.
            TorchFileError: If it is too large, none of torch, damaged, or names anything but tensors and models.
        """
        self.path = pathlib.Path(path)
        if self.path.is_dir():
            raise TorchFileError(f"{self.path}: a folder; give the checkpoint file in it")
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no such file")
        if self.path.stat().st_size > max_bytes:
            raise TorchFileError(f"{self.path}: larger than {max_bytes} bytes, the most that is read")
        self._left = _MOST_READ * self.path.stat().st_size
        self._kept: tuple[str, bytes] = ("", b"")
        self._archive: zipfile.ZipFile | None = None
        self._places: dict[str, tuple[int, int]] = {}
        self._file = self.path.open("rb")
        try:
            self.root: Any = self._read_old(vocabulary, advice) if self._is_old() else self._read(vocabulary, advice)
            """Value of the pickle, with `Described` in it."""
        except BaseException as error:
            self._file.close()
            if isinstance(error, safe_pickle.UnsafePickleError | safe_pickle.CorruptPickleError):
                raise TorchFileError(str(error)) from error
            raise

    def _is_old(self) -> bool:
        head = self._file.read(32)
        self._file.seek(0)
        return _OLD_START.match(head) is not None

    def _read(self, vocabulary: Vocabulary, advice: str) -> Any:
        """Value of a zip archive."""
        try:
            reads: Any = _CappedReads(self._file, _MAX_DIRECTORY_BYTES)
            self._archive = zipfile.ZipFile(reads)
            reads.most = sys.maxsize
        except _ARCHIVE_ERRORS as error:
            self._file.seek(0)
            head = self._file.read(512)
            if "a directory of" in str(error):
                raise TorchFileError(f"{self.path}: refused: an archive with {error}") from error
            kind = safe_pickle.foreign_format(head) or "damaged, or older than torch 0.4"
            if not head or head.startswith(b"PK\x03\x04"):
                kind = "a zip archive that is cut off or damaged" if head else "empty"
                raise TorchFileError(f"{self.path}: {kind}: copy or download it again") from error
            raise TorchFileError(f"{self.path}: not a file of torch ({kind}); {advice}") from error
        members = self._archive.namelist()
        roots = [name[: -len("data.pkl")] for name in members if _is_root(name)]
        if len(roots) != 1:
            raise TorchFileError(f"{self.path}: a zip archive, but not one of torch; {advice}")
        self._folder = roots[0]
        order = self._member("byteorder", 16) if f"{self._folder}byteorder" in members else b"little"
        if order.strip() != b"little":
            raise TorchFileError(f"{self.path}: written on a big-endian machine; {advice}")
        return safe_pickle.loads_described(
            self._member("data.pkl", _MAX_PICKLE_BYTES),
            source=str(self.path),
            advice=advice,
            **_parts_of(vocabulary),
        )

    def _read_old(self, vocabulary: Vocabulary, advice: str) -> Any:
        """Value of a file from before torch 1.6, in which storages follow the pickles one after the other."""
        head = self._file.read(_MAX_PICKLE_BYTES)
        (_, version, machine, root, keys), end = safe_pickle.loads_described_parts(
            head, _OLD_PICKLES, source=str(self.path), advice=advice, **_parts_of(vocabulary)
        )
        if version != 1001 or not isinstance(machine, dict) or machine.get("little_endian") is not True:
            raise TorchFileError(f"{self.path}: of version {version!r}, or written on a big-endian machine; {advice}")
        if not isinstance(keys, list) or any(type(key) is not str for key in keys):
            raise TorchFileError(f"{self.path}: its storages have no names; {advice}")
        sizes = dict(_storage_sizes(root))
        size = self.path.stat().st_size
        for key in keys:
            if key not in sizes:
                raise TorchFileError(f"{self.path}: it holds numbers of no tensor, or of an unknown kind; {advice}")
            self._file.seek(end)
            prefix = self._file.read(8)
            count = struct.unpack("<q", prefix)[0] if len(prefix) == 8 else -1
            num_bytes = count * sizes[key]
            if count < 0 or end + 8 + num_bytes > size:
                raise TorchFileError(
                    f"{self.path}: cut off or damaged: {size} bytes, and its numbers go on; copy or download it again"
                )
            self._places[key] = (end + 8, num_bytes)
            end += 8 + num_bytes
        return root

    def __enter__(self) -> "TorchFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def array(self, value: Any, *, max_values: int) -> np.ndarray:
        """The numbers of a tensor or parameter.

        Args:
            value: Its description.
            max_values: Most values it may have; a file can claim more than it holds.

        Raises:
            TorchFileError: If it is no tensor, or not one that the bytes of the file can fill.
        """
        if isinstance(value, Described) and value.name == _PARAMETER and value.arguments:
            value = value.arguments[0]
        try:
            if value.name not in (_TENSOR, _OLD_TENSOR):
                raise ValueError(value.name)
            storage, start, shape, strides = value.arguments[:4]
            if storage.name != safe_pickle.PERSISTENT_ID:
                raise ValueError(storage.name)
            ((kind, storage_class, key, _, count, *view),) = storage.arguments
            if view not in ([], [None]):
                raise ValueError("a view of other numbers")
            stored = _DTYPES[storage_class.name]
            shape, strides = _whole_numbers(shape), _whole_numbers(strides)
            (start, count) = _whole_numbers((start, count))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise TorchFileError(f"{self.path}: a tensor of an unknown kind ({error})") from error
        last = start + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=False))
        is_empty = 0 in shape
        if kind != "storage" or len(shape) != len(strides) or not (is_empty or last < count):
            raise TorchFileError(f"{self.path}: a tensor that reaches beyond its numbers")
        # Also of an empty one: NumPy counts the axes that have a length.
        if math.prod(size for size in shape if size) > max(max_values, 1):
            raise TorchFileError(f"{self.path}: a tensor of shape {shape}, where at most {max_values} values belong")
        if type(key) is not str or not re.fullmatch(r"[0-9]{1,20}", key):
            raise TorchFileError(f"{self.path}: a tensor kept under {ascii(key)[:60]}")
        itemsize = np.dtype(stored).itemsize
        raw = self._numbers(key, count * itemsize)
        if len(raw) != count * itemsize:
            raise TorchFileError(f"{self.path}: {len(raw)} bytes of data/{key} where {count * itemsize} belong")
        numbers = np.frombuffer(raw, stored)
        if is_empty:
            return np.zeros(shape, stored)
        view = np.lib.stride_tricks.as_strided(
            numbers[start:], shape, [stride * itemsize for stride in strides], writeable=False
        )
        if storage_class.name == "torch.BFloat16Storage":
            return (view.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return view.copy()

    def _numbers(self, key: str, num_bytes: int) -> bytes:
        """Bytes of a storage; the last one is kept for tensors that share it."""
        if self._kept[0] != key or len(self._kept[1]) != num_bytes:
            self._left -= num_bytes
            if self._left < 0:
                raise TorchFileError(f"{self.path}: its tensors read several times the bytes of the file")
            self._kept = ("", b"")  # not two at once
            self._kept = (key, self._storage(key, num_bytes))
        return self._kept[1]

    def _storage(self, key: str, num_bytes: int) -> bytes:
        if self._archive is not None:
            return self._member(f"data/{key}", num_bytes)
        start, stored = self._places.get(key, (0, 0))
        if stored > num_bytes:
            raise TorchFileError(f"{self.path}: {stored} bytes of data/{key} where {num_bytes} belong")
        self._file.seek(start)
        return self._file.read(min(stored, num_bytes))

    def _member(self, name: str, max_bytes: int) -> bytes:
        archive: Any = self._archive
        try:
            entry = archive.getinfo(self._folder + name)
            # torch compresses nothing, so that nothing can unpack to more than its size.
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > max_bytes:
                raise TorchFileError(f"{self.path}: {name} is compressed or larger than {max_bytes} bytes")
            with archive.open(entry) as file:
                return file.read(max_bytes)
        except _ARCHIVE_ERRORS as error:
            if isinstance(error, TorchFileError):
                raise
            raise TorchFileError(f"{self.path}: {name} is missing or damaged ({ascii(str(error))[:200]})") from error


def _parts_of(vocabulary: Vocabulary) -> dict[str, Any]:
    return {field.name: getattr(vocabulary, field.name) for field in dataclasses.fields(vocabulary)}


def _storage_sizes(root: Any) -> Iterator[tuple[str, int]]:
    """Bytes of a value, by the name of the storage, of all that the value names."""
    waiting, seen = [root], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Described):
            match value.arguments:
                case ((_, Described(name=kind), str(key), _, _, *_),) if kind in _DTYPES:
                    yield key, np.dtype(_DTYPES[kind]).itemsize
            waiting += [value.arguments, value.state, value.entries]
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value


def _is_root(name: str) -> bool:
    return re.fullmatch(r"[^/]+/data\.pkl", name) is not None


def _whole_numbers(values: Any) -> tuple[int, ...]:
    if isinstance(values, Described) and values.name == "torch.Size":
        (values,) = values.arguments
    if type(values) is not tuple or len(values) > _MAX_AXES:
        raise ValueError("its shape is not made of whole numbers")
    if any(type(one) is not int or not 0 <= one <= _MAX_NUMBER for one in values):
        raise ValueError("its shape is not made of whole numbers")
    return values
