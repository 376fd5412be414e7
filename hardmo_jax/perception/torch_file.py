"""Files that `torch.save` wrote, read without torch: nothing in them is made, imported or called.

Such a file is a zip archive of a pickle and the bytes of its tensors. Objects come out as `safe_pickle.Described`, and
their tensors as NumPy arrays when they are asked for. A list of allowed classes would not be enough, neither with
Python's unpickler nor with torch's (`weights_only=True`): both let the file call what is on the list, and a YOLO model
that is called with an architecture of the file's choice evaluates Python text out of it.
"""

import math
import os
import pathlib
import re
import struct
import zipfile
import zlib
from typing import Any

import numpy as np

from hardmo_jax import safe_pickle
from hardmo_jax.safe_pickle import Described

#: The largest YOLO has 0.3 GB, four times as much with the state of its training.
MAX_BYTES = 2 << 30
_MAX_PICKLE_BYTES = 64 << 20
_MAX_AXES = 8
#: Of a tensor's shape, strides and numbers.
_MAX_NUMBER = 1 << 40
#: Tensors may share numbers, but not have the file read over and over: all that is read, in sizes of the file.
_MOST_READ = 4
#: What stands in checkpoints of YOLO. All of it stays a description.
_NAMES = re.compile(
    r"(torch\.nn\.modules|ultralytics)(\.[A-Za-z]\w*)+"
    r"|torch\.(Size|[A-Z]\w*Storage|(u?int|float|bfloat|complex)[0-9]+|half|double|long|bool)",
    re.ASCII,
)
_TENSOR, _PARAMETER = "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"
#: A head of older files keeps a method of its class, which is written down as a call of `getattr`.
_CALLS = frozenset(
    (
        *(_TENSOR, _PARAMETER, "torch.Size", "torch.device", "__builtin__.getattr", "builtins.getattr"),
        *(f"pathlib{part}.{system}Path" for part in ("", "._local") for system in ("Posix", "Windows", "PurePosix")),
    )
)
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
#: What a damaged archive may end in.
_ARCHIVE_ERRORS = (
    *(KeyError, ValueError, EOFError, OSError, NotImplementedError, RuntimeError, struct.error, zlib.error),
    *(zipfile.BadZipFile, OverflowError),
)


class TorchFileError(ValueError):
    """A file is none that can be used here; the message says why."""


class TorchFile:
    """What is in one file. To be closed, or used in a `with`."""

    def __init__(self, path: str | os.PathLike[str], *, advice: str, max_bytes: int = MAX_BYTES) -> None:
        """Read everything but the tensors.

        Args:
            path: The `.pt` or `.pth` file.
            advice: What to do instead, for messages about files that are refused.
            max_bytes: Largest file that is read.

        Raises:
            FileNotFoundError: If there is no such file.
            TorchFileError: If it is too large, none of torch, damaged, or names anything but tensors and models.
        """
        self.path = pathlib.Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no such file")
        if self.path.stat().st_size > max_bytes:
            raise TorchFileError(f"{self.path}: larger than {max_bytes} bytes, the most that is read")
        self._left = _MOST_READ * self.path.stat().st_size
        self._kept: tuple[str, bytes] = ("", b"")
        try:
            self._archive = zipfile.ZipFile(self.path)
        except _ARCHIVE_ERRORS as error:
            with self.path.open("rb") as file:
                kind = safe_pickle.foreign_format(file.read(512)) or "damaged, or older than torch 1.6"
            raise TorchFileError(f"{self.path}: not a file of torch ({kind}); {advice}") from error
        try:
            (self._folder,) = (name[: -len("data.pkl")] for name in self._archive.namelist() if _is_root(name))
            order = (
                self._member("byteorder", 16) if f"{self._folder}byteorder" in self._archive.namelist() else b"little"
            )
            if order.strip() != b"little":
                raise TorchFileError(f"{self.path}: written on a big-endian machine; {advice}")
            self.root: Any = safe_pickle.loads_described(
                self._member("data.pkl", _MAX_PICKLE_BYTES),
                names=_NAMES,
                calls=_CALLS,
                source=str(self.path),
                advice=advice,
            )
            """Value of the pickle, with `Described` in it."""
        except (safe_pickle.UnsafePickleError, safe_pickle.CorruptPickleError) as error:
            self._archive.close()
            raise TorchFileError(str(error)) from error
        except ValueError as error:
            self._archive.close()
            if isinstance(error, TorchFileError):
                raise
            raise TorchFileError(f"{self.path}: a zip archive, but not one of torch; {advice}") from error

    def __enter__(self) -> "TorchFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

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
            if value.name != _TENSOR:
                raise ValueError(value.name)
            storage, start, shape, strides = value.arguments[:4]
            if storage.name != safe_pickle.PERSISTENT_ID:
                raise ValueError(storage.name)
            ((kind, storage_class, key, _, count),) = storage.arguments
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
        if type(key) is not str or not re.fullmatch(r"[0-9]{1,9}", key):
            raise TorchFileError(f"{self.path}: a tensor kept under {key!r}")
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
            self._kept = (key, self._member(f"data/{key}", num_bytes))
        return self._kept[1]

    def _member(self, name: str, max_bytes: int) -> bytes:
        try:
            entry = self._archive.getinfo(self._folder + name)
            # torch compresses nothing, so that nothing can unpack to more than its size.
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > max_bytes:
                raise TorchFileError(f"{self.path}: {name} is compressed or larger than {max_bytes} bytes")
            with self._archive.open(entry) as file:
                return file.read(max_bytes)
        except _ARCHIVE_ERRORS as error:
            if isinstance(error, TorchFileError):
                raise
            raise TorchFileError(f"{self.path}: {name} is missing or damaged ({ascii(str(error))[:200]})") from error


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
