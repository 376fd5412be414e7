"""The one reader of pickles: arrays and plain values come out, nothing in the file is ever executed.

Old body models and datasets are pickles, and a pickle is a program. This module does not sandbox Python's
unpickler, it does without it: a small stack machine of our own interprets the opcodes. Its objects are inert, a
name such as `numpy.ndarray` is looked up in a closed table of ours, and nothing is imported, called or given
attributes on the file's behalf. `pickle.Unpickler.find_class` was not enough: its BUILD updates instance
dictionaries and hands unchecked state to C code (`ndarray.__setstate__`), it resolves dotted names, it recurses
and it allocates what the file declares. `pickletools.genops` as a pre-scan was rejected too: two parsers can
disagree on one file, and it fails on arrays in the text pickles of Python 2 (protocol 0). There is no second,
looser loader to fall back to.

What can come out: None, bool, int, float, str, bytes, list, tuple, dict, set, NumPy arrays and scalars without
object fields, scipy.sparse csc/csr/coo matrices as `SparseMatrix`, and chumpy arrays as NumPy arrays. A chumpy
expression comes out as an `UnreadChumpy` marker. Python 2 text is read as latin-1, a bytearray as bytes, an
OrderedDict as a dict.

`loads_described` reads pickles of other programs' objects in the same way: such an object comes out as a
`Described`, which says what the file says about it and is nothing else. With `is_lenient`, for checkpoints of
training programs, such objects may also contain themselves, hold entries like a dict or list, and be keys.
"""

import dataclasses
import math
import os
import re
import stat
import struct
from codecs import escape_decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

MAX_FILE_BYTES = 1 << 30
"""Default cap on the size of a file; SMPL with 300 coefficients as a text pickle needs about 0.25 GB."""
MAX_OPCODES = 2_000_000
"""Default cap on the instructions of one pickle; a body model needs a few thousand."""

_MAX_STACK = 1_000_000
_MAX_DEPTH = 64
_MAX_EXPANDED_VALUES = 5_000_000  # counted with repetition: a shared list counts as often as it is met
_MAX_DERIVED_FACTOR = 6  # arrays, decoded text and indices together, as a multiple of the file's size
_DERIVED_SLACK_BYTES = 1 << 20
_BYTES_A_MEMBER = 16
_MAX_DENSE_BYTES = 1 << 28
_MAX_AXES = 32
_MAX_AXIS_PRODUCT = 1 << 40
_MAX_NAME_BYTES = 256
_MAX_DIGITS = 64
_MAX_KEY_MAGNITUDE = 1 << 60  # below the modulus of int hashes, so keys cannot be made to collide

_ADVICE = (
    "only arrays, numbers, text, lists and dicts are read; "
    "if you trust its author, convert it to .npz on a machine you trust"
)
_DAMAGED = "download or copy it again"


class UnsafePickleError(ValueError):
    """The pickle asks for something outside the closed list, or for more than the caps allow."""


class CorruptPickleError(ValueError):
    """The bytes are not a complete, well-formed pickle."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SparseMatrix:
    """A scipy.sparse matrix as plain coordinates, read without scipy."""

    rows: np.ndarray
    """Row index of each stored value, int64, shape `(N,)`."""
    columns: np.ndarray
    """Column index of each stored value, int64, shape `(N,)`."""
    values: np.ndarray
    """Stored values, shape `(N,)`; values at the same place add up."""
    shape: tuple[int, int]
    """Number of rows and columns."""

    def to_dense(self) -> np.ndarray:
        """Spell the matrix out.

        Returns:
            Array of shape `shape` and the type of `values`, in the machine's byte order.

        Raises:
            UnsafePickleError: If the dense array would exceed 256 MiB.
        """
        dtype = self.values.dtype.newbyteorder("=")
        if math.prod(self.shape) * dtype.itemsize > _MAX_DENSE_BYTES:
            raise UnsafePickleError(
                f"refused: a sparse matrix of shape {self.shape} is too large to be made dense "
                f"(cap {_MAX_DENSE_BYTES} bytes); keep it as rows, columns and values"
            )
        dense = np.zeros(self.shape, dtype)
        np.add.at(dense, (self.rows, self.columns), self.values)
        return dense


@dataclasses.dataclass(frozen=True)
class UnreadChumpy:
    """Marker of a chumpy expression whose value is not stored in the file."""

    class_name: str
    """Full name of the chumpy class."""


PERSISTENT_ID = "persistent id"
"""Name of the `Described` of something that the file leaves to whoever reads it."""
WITHIN_ITSELF = "a value that it is within"
"""Name of the `Described` that stands where a described object, or what it is made of, contains itself."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Described:
    """What a pickle says about an object or a name of a program; nothing was imported, made or called for it."""

    name: str
    """Full name of the class or function, or `PERSISTENT_ID`."""
    arguments: tuple[Any, ...] = ()
    """What it would be called with."""
    state: Any = None
    """What would become its attributes, usually a dict."""
    entries: dict[Any, Any] | list[Any] | None = None
    """What it would hold if it is like a dict or a list."""


def load(
    path: str | os.PathLike[str],
    *,
    max_file_bytes: int = MAX_FILE_BYTES,
    max_opcodes: int = MAX_OPCODES,
) -> Any:
    """Read one pickle file without executing anything in it.

    Args:
        path: File to read.
        max_file_bytes: Largest file that is read.
        max_opcodes: Largest number of pickle instructions that is followed.

    Returns:
        The value of the pickle; see the module's text for what it can be made of.

    Raises:
        UnsafePickleError: If the pickle names anything outside the closed list or exceeds a cap.
        CorruptPickleError: If the file is empty, cut off, damaged, or not a pickle.
    """
    data = read_capped(path, max_file_bytes=max_file_bytes)
    return loads(data, source=Path(path).name, max_file_bytes=max_file_bytes, max_opcodes=max_opcodes)


def loads(
    data: bytes,
    *,
    source: str = "pickle",
    max_file_bytes: int = MAX_FILE_BYTES,
    max_opcodes: int = MAX_OPCODES,
) -> Any:
    """Read one pickle from bytes without executing anything in it.

    Args:
        data: The whole pickle; bytes after its end are refused.
        source: Name to use in messages.
        max_file_bytes: Largest `data` that is read.
        max_opcodes: Largest number of pickle instructions that is followed.

    Returns:
        The value of the pickle; see the module's text for what it can be made of.

    Raises:
        UnsafePickleError: If the pickle names anything outside the closed list or exceeds a cap.
        CorruptPickleError: If the data is empty, cut off, damaged, or not a pickle.
    """
    if len(data) > max_file_bytes:
        raise UnsafePickleError(
            f"{source}: refused: {len(data)} bytes, more than the cap of {max_file_bytes}; "
            "raise max_file_bytes if the file is really meant to be that large"
        )
    return _Machine(bytes(data), source, max_opcodes).run()


def loads_described(
    data: bytes,
    *,
    names: re.Pattern[str],
    calls: frozenset[str],
    source: str = "pickle",
    advice: str,
    is_lenient: bool = False,
    max_opcodes: int = MAX_OPCODES,
) -> Any:
    """Read a pickle of another program's objects from bytes without making any of them.

    Args:
        data: The whole pickle; bytes after its end are refused.
        names: Full names of classes and constants that may be described.
        calls: Full names of what may also be described as called.
        source: Name to use in messages.
        advice: What messages of refusal end with.
        is_lenient: Whether all that may be named may be called, hold entries, contain itself and be a key, all in
            description.
        max_opcodes: Largest number of pickle instructions that is followed.

    Returns:
        The value of the pickle: as `loads`, with `Described` in it.

    Raises:
        UnsafePickleError: If the pickle names anything else or exceeds a cap.
        CorruptPickleError: If the data is empty, cut off, damaged, or not a pickle.
    """
    machine = (_LenientMachine if is_lenient else _DescribingMachine)(bytes(data), source, max_opcodes)
    machine.names, machine.calls, machine.advice = names, calls, advice
    return machine.run()


def loads_described_parts(
    data: bytes,
    count: int,
    *,
    names: re.Pattern[str],
    calls: frozenset[str],
    source: str = "pickle",
    advice: str,
    is_lenient: bool = False,
) -> tuple[list[Any], int]:
    """Read the first pickles of data in which several follow each other, and something else follows them.

    Args:
        data: The pickles and whatever comes after them.
        count: How many to read.
        names: As for `loads_described`, and so are the others.
        calls: See there.
        source: See there.
        advice: See there.
        is_lenient: See there.

    Returns:
        Their values, and the place in `data` where the last one ends.

    Raises:
        UnsafePickleError: As `loads_described`.
        CorruptPickleError: As `loads_described`.
    """
    values, position = [], 0
    for _ in range(count):
        machine = (_LenientMachine if is_lenient else _DescribingMachine)(bytes(data), source, MAX_OPCODES)
        machine.names, machine.calls, machine.advice = names, calls, advice
        machine.position, machine.is_followed = position, True
        values.append(machine.run())
        position = machine.position
    return values, position


def read_capped(path: str | os.PathLike[str], *, max_file_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Read a regular file whole, unless it is larger than a cap.

    Args:
        path: File to read.
        max_file_bytes: Largest file that is read.

    Returns:
        The bytes of the file.

    Raises:
        UnsafePickleError: If the file is larger than the cap, or a device or pipe.
    """
    path = Path(path)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise UnsafePickleError(f"{path.name}: refused: not a regular file; copy it to one first")
    data = b""
    if status.st_size <= max_file_bytes:
        with path.open("rb") as file:
            data = file.read(max_file_bytes + 1)
    # The size is asked before reading, and the length after it: a file may grow meanwhile.
    if max(status.st_size, len(data)) > max_file_bytes:
        raise UnsafePickleError(
            f"{path.name}: refused: larger than the cap of {max_file_bytes} bytes; "
            "raise max_file_bytes if the file is really meant to be that large"
        )
    return data


#: First bytes of files that people hand over by mistake.
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x93NUMPY", "a single NumPy .npy array"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG", "a PNG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "a WebP image or AVI video"),
    (b"\x89HDF", "an HDF5 or MATLAB file"),
    (b"MATLAB", "a MATLAB file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"%PDF", "a PDF document"),
    (b"glTF", "a glTF mesh"),
    (b"\x7fELF", "a program"),
    (b"version https://git-lfs", "a git-lfs pointer (run `git lfs pull`)"),
    (b"<", "an HTML or XML page"),
)


def foreign_format(data: bytes) -> str | None:
    """Name what a file is that is not a pickle, judged by its first bytes.

    Args:
        data: Beginning of the file; 512 bytes are enough.

    Returns:
        A phrase such as "a JPEG image", or None if nothing is recognised.
    """
    head = data[:512]
    if head[4:8] == b"ftyp":
        return "an MP4 video or HEIC image"
    for signature, phrase in _SIGNATURES:
        if head.lstrip().startswith(signature):
            return phrase
    if re.match(rb"\s*[\[{]\s*[\[{\"0-9}\]-]", head):
        return "JSON text"
    if head and not head.startswith(b"(") and not re.search(rb"[^\t\n\r -~]", head):
        return "plain text"
    return None


@dataclasses.dataclass(frozen=True)
class _Recipe:
    """An allowed global name: `kind` says what our own code makes of it."""

    kind: str
    name: str


def _brief(value: Any) -> str:
    """Show a value of the file in a message; containers by type only, they may be cyclic or huge."""
    if type(value) in (str, bytes):
        return ascii(value[:60])
    if type(value) in (int, float, bool, type(None)):
        return repr(value)
    if type(value) is tuple and len(value) <= 4 and all(type(item) is int for item in value):
        return repr(value)
    return f"a {type(value).__name__.strip('_').lower()}"


class _DType:
    """A NumPy dtype under construction."""

    __slots__ = ("built", "code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order, self.built = code, "|" if code in _SINGLE_BYTE else "<", False

    def to_numpy(self) -> np.dtype:
        return np.dtype(self.order + self.code)


class _Array:
    """An ndarray under construction; `value` is set by BUILD."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: np.ndarray | None = None


class _Instance:
    """An inert holder for the state of a scipy or chumpy object."""

    __slots__ = ("recipe", "state")

    def __init__(self, recipe: _Recipe) -> None:
        self.recipe = recipe
        self.state: dict[Any, Any] | None = None


_NUMPY_CORES = ("numpy.core", "numpy._core")
_BUILTINS = ("builtins", "__builtin__")
_GLOBALS: dict[tuple[str, str], str] = {
    **{(f"{core}.multiarray", "_reconstruct"): "reconstruct" for core in _NUMPY_CORES},
    **{(f"{core}.multiarray", "scalar"): "scalar" for core in _NUMPY_CORES},
    **{(f"{core}.numeric", "_frombuffer"): "frombuffer" for core in _NUMPY_CORES},
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    ("copy_reg", "_reconstructor"): "reconstructor",
    ("copyreg", "_reconstructor"): "reconstructor",
    ("collections", "OrderedDict"): "dict",
    **{(module, "object"): "object" for module in _BUILTINS},
    **{(module, name): name for module in _BUILTINS for name in ("set", "frozenset", "bytes")},
    **{
        (f"scipy.sparse{inner}", f"{layout}_{suffix}"): layout
        for layout in ("csc", "csr", "coo")
        for inner in ("", f".{layout}", f"._{layout}")
        for suffix in ("matrix", "array")
    },
}
_CHUMPY = re.compile(r"chumpy(\.[A-Za-z_]\w*)* [A-Za-z_]\w*", re.ASCII)
_CHUMPY_ARRAYS = ("chumpy.ch.Ch", "chumpy.Ch")
_CHUMPY_SELECTIONS = ("chumpy.reordering.Select",)
_INSTANCES = ("csc", "csr", "coo", "chumpy")

_DTYPE_CODE = re.compile(r"b1|[iu][1248]|f[248]|c8|c16|[SU][1-9][0-9]{0,5}", re.ASCII)
_SINGLE_BYTE = ("b1", "i1", "u1")
_INTEGER = re.compile(rb"[+-]?[0-9]{1,%d}" % _MAX_DIGITS)
_KEY_TYPES = (str, bytes, int, bool, type(None))
_PLAIN_TYPES = (*_KEY_TYPES, float)


class _Machine:
    """Interprets one pickle; every method named `_op_*` is one instruction."""

    advice = _ADVICE

    @property
    def instructions(self) -> dict[int, Callable[[Any], None]]:
        return _INSTRUCTIONS

    def __init__(self, data: bytes, source: str, max_opcodes: int) -> None:
        self.data, self.source, self.max_opcodes = data, source, max_opcodes
        self.position = 0
        self.is_followed = False
        self.stack: list[Any] = []
        self.outer_stacks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.derived_bytes_left = _MAX_DERIVED_FACTOR * len(data) + _DERIVED_SLACK_BYTES
        self.finished: dict[int, tuple[Any, int]] = {}
        self.in_progress: set[int] = set()

    # ---- failures -----------------------------------------------------------------------------------

    def unsafe(self, found: str) -> UnsafePickleError:
        return UnsafePickleError(f"{self.source}: refused: {found}; {self.advice}")

    def corrupt(self, found: str) -> CorruptPickleError:
        kind = foreign_format(self.data)
        if kind is not None:
            return CorruptPickleError(f"{self.source}: not a pickle but {kind}")
        return CorruptPickleError(f"{self.source}: damaged pickle: {found}; {_DAMAGED}")

    def spend(self, num_bytes: int) -> None:
        """Count memory that is derived from the file's bytes rather than cut out of them."""
        self.derived_bytes_left -= num_bytes
        if self.derived_bytes_left < 0:
            raise self.unsafe("it unpacks to many times its own size")

    # ---- the run ------------------------------------------------------------------------------------

    def run(self) -> Any:
        if not self.data:
            raise CorruptPickleError(f"{self.source}: the file is empty; {_DAMAGED}")
        size, instructions = len(self.data), self.instructions
        for _ in range(self.max_opcodes):
            if self.position >= size:
                raise self.corrupt("it is cut off before its end")
            opcode = self.data[self.position]
            self.position += 1
            if opcode == _STOP:
                return self.stop()
            instruction = instructions.get(opcode)
            if instruction is None:
                raise self.bad_opcode(opcode)
            instruction(self)
            if len(self.stack) > _MAX_STACK or len(self.outer_stacks) > _MAX_STACK:
                raise self.unsafe(f"more than {_MAX_STACK} values wait on its stack")
        raise self.unsafe(f"it has more than {self.max_opcodes} instructions")

    def bad_opcode(self, opcode: int) -> ValueError:
        reason = _FORBIDDEN.get(opcode)
        if reason is not None and foreign_format(self.data) is None:
            return self.unsafe(reason)
        return self.corrupt(f"byte 0x{opcode:02x} at offset {self.position - 1} is no instruction")

    def stop(self) -> Any:
        value = self.pop()
        if self.stack or self.outer_stacks:
            raise self.corrupt("values are left over at its end")
        if self.position != len(self.data) and not self.is_followed:
            raise self.unsafe(f"{len(self.data) - self.position} bytes follow the end of the pickle")
        return self.finish(value, 0)[0]

    # ---- reading ------------------------------------------------------------------------------------

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
        line = self.take_line(_MAX_DIGITS + 8).removesuffix(suffix)
        if not _INTEGER.fullmatch(line):
            raise self.corrupt(f"{line[:40]!r} is no integer")
        return int(line)

    def decode(self, data: bytes, encoding: str) -> str:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError as error:
            raise self.corrupt(f"a text is not valid {encoding}") from error

    # ---- stack and memo -----------------------------------------------------------------------------

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise self.corrupt("it takes a value from an empty stack")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack:
            raise self.corrupt("it looks for a value on an empty stack")
        return self.stack[-1]

    def pop_to_mark(self) -> list[Any]:
        if not self.outer_stacks:
            raise self.corrupt("it looks for a mark that was never set")
        items, self.stack = self.stack, self.outer_stacks.pop()
        return items

    def store(self, index: int) -> None:
        if index < 0:
            raise self.corrupt("it stores at a negative memo index")
        self.memo[index] = self.top()

    def fetch(self, index: int) -> None:
        if index not in self.memo:
            raise self.corrupt(f"it fetches memo entry {index}, which was never stored")
        self.push(self.memo[index])

    # ---- instructions that need more than one line ----------------------------------------------------

    def op_protocol(self) -> None:
        protocol = self.take(1)[0]
        if protocol > 5:
            raise self.corrupt(f"protocol {protocol} is unknown (0 to 5 are read)")

    def op_frame(self) -> None:
        length = self.take_number("<Q")
        if length > len(self.data) - self.position:
            raise self.corrupt(f"it declares a frame of {length} bytes, which is cut off")

    def op_mark(self) -> None:
        self.outer_stacks.append(self.stack)
        self.stack = []

    def op_pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_to_mark()

    def op_int_line(self) -> None:
        start = self.position
        value = self.take_integer_line()
        text = self.data[start : self.position - 1]
        self.push({b"00": False, b"01": True}.get(text, value))

    def op_long(self, size: int) -> None:
        if not 0 <= size <= _MAX_DIGITS:
            raise self.unsafe(f"an integer of {size} bytes")
        self.push(int.from_bytes(self.take(size), "little", signed=True))

    def op_float_line(self) -> None:
        line = self.take_line(_MAX_DIGITS)
        try:
            self.push(float(line))
        except ValueError as error:
            raise self.corrupt(f"{line[:40]!r} is no number") from error

    def op_string_line(self) -> None:
        line = self.take_line()
        if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
            raise self.corrupt("a text is not in quotes")
        try:
            plain = escape_decode(line[1:-1])[0]
        except (ValueError, Warning) as error:  # an unknown escape is a warning to Python, fatal under -W error
            raise self.corrupt("a text has a broken escape sequence") from error
        self.push(plain.decode("latin-1"))

    def op_global_line(self) -> None:
        module = self.decode(self.take_line(_MAX_NAME_BYTES), "utf-8")
        self.push_global(module, self.decode(self.take_line(_MAX_NAME_BYTES), "utf-8"))

    def op_global_stack(self) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise self.unsafe("a global whose name is not text")
        self.push_global(module, name)

    def push_global(self, module: str, name: str) -> None:
        kind = _GLOBALS.get((module, name))
        if kind is None and len(module) + len(name) < _MAX_NAME_BYTES:
            kind = "chumpy" if _CHUMPY.fullmatch(f"{module} {name}") else None
        if kind is None:
            raise self.unsafe(f"it asks for {f'{module}.{name}'[:100]!a}, which could run code")
        self.push(_Recipe(kind, f"{module}.{name}"))

    def op_append(self) -> None:
        self.extend([self.pop()])

    def extend(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is not list:
            raise self.unsafe("it appends to something that is not a list")
        target.extend(items)

    def op_set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.update([key, value])

    def update(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is not dict:
            raise self.unsafe("it sets entries of something that is not a dict")
        self.fill_dict(target, items)

    def fill_dict(self, target: dict[Any, Any], items: list[Any]) -> None:
        if len(items) % 2:
            raise self.corrupt("a dict has a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self.check_key(key)] = value

    def check_key(self, key: Any) -> Any:
        if type(key) not in _KEY_TYPES:
            raise self.unsafe("a dict key or set member that is neither text nor a whole number")
        if type(key) is int and abs(key) >= _MAX_KEY_MAGNITUDE:
            raise self.unsafe("a dict key or set member that is a huge number")
        return key

    def op_dict_from_mark(self) -> None:
        target: dict[Any, Any] = {}
        self.fill_dict(target, self.pop_to_mark())
        self.push(target)

    def op_add_items(self) -> None:
        items = self.pop_to_mark()
        target = self.top()
        if type(target) is not set:
            raise self.unsafe("it adds members to something that is not a set")
        target.update(self.check_key(item) for item in items)

    def op_tuple(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(items)))

    def op_new_object(self) -> None:
        arguments, recipe = self.pop(), self.pop()
        self.push(self.new_instance(recipe, arguments))

    def new_instance(self, recipe: Any, arguments: Any) -> _Instance:
        if type(recipe) is not _Recipe or recipe.kind not in _INSTANCES:
            name = recipe.name if type(recipe) is _Recipe else f"a {type(recipe).__name__}"
            raise self.unsafe(f"it makes an instance of {name}")
        if arguments != ():
            raise self.unsafe(f"it passes arguments to {recipe.name}")
        return _Instance(recipe)

    def op_reduce(self) -> None:
        arguments, recipe = self.pop(), self.pop()
        if type(recipe) is not _Recipe:
            raise self.unsafe(f"it calls a {type(recipe).__name__.strip('_')}")
        if type(arguments) is not tuple:
            raise self.unsafe(f"it calls {recipe.name} with something that is not a tuple")
        maker = _MAKERS.get(recipe.kind)
        if maker is None:
            raise self.unsafe(f"it calls {recipe.name}")
        self.push(maker(self, recipe, arguments))

    def op_build(self) -> None:
        state, target = self.pop(), self.top()
        if type(target) is _Array and target.value is None:
            target.value = self.build_array(state)
        elif type(target) is _DType and not target.built:
            self.build_dtype(target, state)
        elif type(target) is _Instance and target.state is None:
            if type(state) is not dict:
                raise self.unsafe(f"the state of {target.recipe.name} is not a dict")
            target.state = state
        else:
            raise self.unsafe(f"it sets the state of a {type(target).__name__.strip('_')}")

    # ---- what allowed names make --------------------------------------------------------------------

    def make_array_shell(self, recipe: _Recipe, arguments: tuple[Any, ...]) -> _Array:
        kind = arguments[0].kind if arguments and type(arguments[0]) is _Recipe else None
        if kind != "ndarray" or arguments[1:] not in (((0,), b"b"), ((0,), "b")):
            raise self.unsafe(f"{recipe.name} for something that is not a plain array")
        return _Array()

    def make_dtype(self, recipe: _Recipe, arguments: tuple[Any, ...]) -> _DType:
        code, *flags = arguments or (None,)
        if type(code) is not str or not _DTYPE_CODE.fullmatch(code):
            raise self.unsafe(f"the array type {_brief(code)} (object and record arrays are not read)")
        if len(flags) > 2 or any(type(flag) not in (int, bool) for flag in flags):
            raise self.unsafe("an array type with unknown options")
        return _DType(code)

    def build_dtype(self, target: _DType, state: Any) -> None:
        if type(state) is not tuple or (*state[:1], len(state)) not in ((3, 8), (4, 9)):
            raise self.unsafe("the state of an array type is of an unknown version")
        order, fields, (size, _, flags) = state[1], state[2:5], state[5:8]
        if fields != (None, None, None) or state[8:] not in ((), (None,)) or flags not in (0, 8):
            raise self.unsafe("a record, object or annotated array type")
        is_text = target.code[0] in "SU"
        allowed = ("|",) if target.code in _SINGLE_BYTE or target.code[0] == "S" else ("<", ">")
        if type(order) is not str or order not in allowed:
            raise self.unsafe(f"the byte order {_brief(order)} of array type {target.code}")
        if size not in ((target.to_numpy().itemsize,) if is_text else (-1,)):
            raise self.unsafe(f"array type {target.code} declares {_brief(size)} bytes an element")
        target.order, target.built = order, True

    def make_scalar(self, recipe: _Recipe, arguments: tuple[Any, ...]) -> Any:
        if len(arguments) != 2 or type(arguments[0]) is not _DType:
            raise self.unsafe(f"{recipe.name} of something that is not a plain number")
        return self.make_array((), arguments[0], "C", arguments[1])[()]

    def make_array_from_buffer(self, recipe: _Recipe, arguments: tuple[Any, ...]) -> _Array:
        if len(arguments) not in (4, 5):
            raise self.unsafe(f"{recipe.name} with {len(arguments)} arguments")
        raw, dtype, shape, order = arguments[:4]
        axes = arguments[4] if len(arguments) == 5 else None
        made = _Array()
        if order == "K" and axes is not None:
            made.value = self.make_array(shape, dtype, "C", raw)
            if type(axes) is not tuple or any(type(axis) is not int for axis in axes):
                raise self.unsafe("the axes of an array are not a tuple of integers")
            if sorted(axes) != list(range(made.value.ndim)):
                raise self.corrupt("the axes of an array are not a permutation")
            made.value = made.value.transpose(axes)
        elif order in ("C", "F"):
            made.value = self.make_array(shape, dtype, order, raw)
        else:
            raise self.unsafe(f"the memory order {_brief(order)} of an array")
        return made

    def build_array(self, state: Any) -> np.ndarray:
        if type(state) is not tuple or len(state) != 5 or state[0] != 1:
            raise self.unsafe("the state of an array is of an unknown version")
        shape, dtype, is_fortran, raw = state[1:]
        if type(is_fortran) not in (int, bool):
            raise self.unsafe("the memory order of an array is neither true nor false")
        return self.make_array(shape, dtype, "F" if is_fortran else "C", raw)

    def make_array(self, shape: Any, dtype: Any, order: Any, raw: Any) -> np.ndarray:
        """Build an array after checking that the bytes at hand are exactly what it declares."""
        if type(dtype) is not _DType:
            raise self.unsafe("an array whose type is not a NumPy type")
        if type(raw) is str:
            raw = self.encode_latin1(raw)
        if type(raw) is not bytes:
            raise self.unsafe("an array whose content is not bytes (an object array)")
        shape = self.check_shape(shape)
        numpy_dtype = dtype.to_numpy()
        declared = math.prod(shape) * numpy_dtype.itemsize
        if declared != len(raw):
            raise self.unsafe(f"an array of shape {_brief(shape)} needs {declared} bytes and has {len(raw)}")
        self.spend(declared)
        if declared == 0:
            return np.zeros(shape, numpy_dtype)
        if dtype.code == "b1" and np.frombuffer(raw, np.uint8).max() > 1:
            raise self.corrupt("a boolean array holds other values than 0 and 1")
        if dtype.code[0] == "U" and np.frombuffer(raw, dtype.order + "u4").max() > 0x10FFFF:
            raise self.corrupt("a text array holds invalid characters")
        return np.frombuffer(raw, numpy_dtype).reshape(shape, order=order).copy(order="K")

    def check_shape(self, shape: Any) -> tuple[int, ...]:
        if type(shape) is not tuple or len(shape) > _MAX_AXES:
            raise self.unsafe("a shape that is not a short tuple of integers")
        axes = tuple(int(axis) if isinstance(axis, np.integer) else axis for axis in shape)
        if any(type(axis) is not int or axis < 0 for axis in axes):
            raise self.unsafe("a shape with entries that are not whole numbers from 0 on")
        if math.prod(max(axis, 1) for axis in axes) > _MAX_AXIS_PRODUCT:
            raise self.unsafe(f"the huge shape {_brief(axes)}")
        return axes

    def encode_latin1(self, text: str) -> bytes:
        self.spend(len(text))
        try:
            return text.encode("latin-1")
        except UnicodeEncodeError as error:
            raise self.corrupt("raw bytes are written with characters outside latin-1") from error

    def make_bytes_from_text(self, recipe: _Recipe, arguments: tuple[Any, ...]) -> bytes:
        text, *encoding = arguments or (None,)
        if type(text) is not str or encoding not in (["latin1"], ["latin-1"]):
            raise self.unsafe(f"{recipe.name} for anything but latin-1 bytes")
        return self.encode_latin1(text)

    def make_empty_bytes(self, recipe: _Recipe, arguments: tuple[Any, ...]) -> bytes:
        if arguments:
            raise self.unsafe(f"{recipe.name} with arguments")
        return b""

    def make_set(self, recipe: _Recipe, arguments: tuple[Any, ...]) -> set[Any] | frozenset[Any]:
        if len(arguments) > 1 or any(type(items) is not list for items in arguments):
            raise self.unsafe(f"{recipe.name} of something that is not a list")
        self.spend(sum(_BYTES_A_MEMBER * len(items) for items in arguments))
        members = {self.check_key(item) for items in arguments for item in items}
        return frozenset(members) if recipe.kind == "frozenset" else members

    def make_dict(self, recipe: _Recipe, arguments: tuple[Any, ...]) -> dict[Any, Any]:
        if len(arguments) > 1 or any(type(items) is not list for items in arguments):
            raise self.unsafe(f"{recipe.name} of something that is not a list")
        self.spend(sum(_BYTES_A_MEMBER * len(items) for items in arguments))
        made: dict[Any, Any] = {}
        for pair in arguments[0] if arguments else ():
            if type(pair) not in (list, tuple) or len(pair) != 2:
                raise self.unsafe(f"{recipe.name} of something that is not a list of pairs")
            self.fill_dict(made, list(pair))
        return made

    def make_reconstructed(self, recipe: _Recipe, arguments: tuple[Any, ...]) -> _Instance:
        base = arguments[1].kind if len(arguments) == 3 and type(arguments[1]) is _Recipe else None
        if base != "object" or arguments[2] is not None:
            raise self.unsafe(f"{recipe.name} with anything but a class, object and None")
        return self.new_instance(arguments[0], ())

    # ---- from inert values to the result ------------------------------------------------------------

    def finish(self, node: Any, depth: int) -> tuple[Any, int]:
        """Turn an inert value into what the caller gets, with the number of values it expands to."""
        if type(node) in _PLAIN_TYPES or isinstance(node, np.generic):
            return node, 1
        if depth > _MAX_DEPTH:
            raise self.unsafe(f"values nested more than {_MAX_DEPTH} deep")
        if id(node) in self.finished:
            return self.finished[id(node)]
        if id(node) in self.in_progress:
            return self.finish_within_itself(), 1
        self.in_progress.add(id(node))
        value, count = self.finish_new(node, depth)
        if count > _MAX_EXPANDED_VALUES:
            raise self.unsafe(f"it expands to more than {_MAX_EXPANDED_VALUES} values")
        self.in_progress.discard(id(node))
        self.finished[id(node)] = value, count
        return value, count

    def finish_within_itself(self) -> Any:
        raise self.unsafe("a value that contains itself")

    def finish_new(self, node: Any, depth: int) -> tuple[Any, int]:
        if type(node) is list or type(node) is tuple:
            parts = [self.finish(item, depth + 1) for item in node]
            return type(node)(value for value, _ in parts), 1 + sum(count for _, count in parts)
        if type(node) is dict:
            parts = [(key, *self.finish(item, depth + 1)) for key, item in node.items()]
            made = {key: value for key, value, _ in parts}
            return made, 1 + len(parts) + sum(count for _, _, count in parts)
        if type(node) is set or type(node) is frozenset:
            return node, 1 + len(node)
        if type(node) is _Array and node.value is not None:
            return node.value, 1
        if type(node) is _Array:
            raise self.corrupt("an array was announced and never filled")
        if type(node) is _Instance and node.state is None:
            raise self.corrupt(f"a {node.recipe.name} was announced and never filled")
        if type(node) is _Instance and node.recipe.kind == "chumpy":
            return self.finish_chumpy(node, depth), 1
        if type(node) is _Instance:
            return self.finish_sparse(node, depth), 1
        raise self.unsafe(f"a bare {type(node).__name__.strip('_').lower()} as a value")

    def finish_field(self, node: _Instance, names: tuple[str, ...], depth: int) -> Any:
        for name in names:
            if node.state is not None and name in node.state:
                return self.finish(node.state[name], depth + 1)[0]
        raise self.corrupt(f"a {node.recipe.name} lacks its {names[0]!r}")

    def finish_integers(self, value: Any, what: str) -> np.ndarray:
        if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind not in "iu":
            raise self.corrupt(f"the {what} of a stored array are not a list of integers")
        self.spend(8 * value.size)
        return value.astype(np.int64)

    def finish_sparse(self, node: _Instance, depth: int) -> SparseMatrix:
        name, layout = node.recipe.name, node.recipe.kind
        shape = self.finish_field(node, ("_shape", "shape"), depth)
        shape = self.check_shape(shape)
        if len(shape) != 2:
            raise self.unsafe(f"a {name} of shape {_brief(shape)}")
        values = self.finish_field(node, ("data",), depth)
        if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "biufc":
            raise self.corrupt(f"the data of a {name} are not a list of numbers")
        if layout == "coo":
            rows, columns = self.coordinates(node, depth)
        else:
            minor = self.finish_integers(self.finish_field(node, ("indices",), depth), "indices")
            starts = self.finish_integers(self.finish_field(node, ("indptr",), depth), "indptr")
            num_major = shape[1] if layout == "csc" else shape[0]
            if starts.size != num_major + 1 or starts[0] != 0:
                raise self.corrupt(f"the indptr of a {name} does not fit its shape {shape}")
            if not 0 <= starts.min() <= starts.max() <= min(minor.size, values.size):
                raise self.corrupt(f"the indptr of a {name} points outside its data")
            lengths = np.diff(starts)
            if np.any(lengths < 0):
                raise self.corrupt(f"the indptr of a {name} runs backwards")
            used = int(starts[-1])
            self.spend(8 * used)
            minor, values = minor[:used], values[:used]
            major = np.repeat(np.arange(num_major, dtype=np.int64), lengths)
            rows, columns = (minor, major) if layout == "csc" else (major, minor)
        if not rows.size == columns.size == values.size:
            raise self.corrupt(f"the indices and data of a {name} differ in length")
        for indices, size in ((rows, shape[0]), (columns, shape[1])):
            if indices.size and not 0 <= indices.min() <= indices.max() < size:
                raise self.corrupt(f"an index of a {name} lies outside its shape {shape}")
        return SparseMatrix(rows=rows, columns=columns, values=values, shape=(shape[0], shape[1]))

    def coordinates(self, node: _Instance, depth: int) -> tuple[np.ndarray, np.ndarray]:
        if node.state is not None and "coords" in node.state:
            pair = self.finish_field(node, ("coords",), depth)
        else:
            pair = tuple(self.finish_field(node, (name,), depth) for name in ("row", "col"))
        if type(pair) is not tuple or len(pair) != 2:
            raise self.corrupt(f"the coordinates of a {node.recipe.name} are not a pair")
        return self.finish_integers(pair[0], "rows"), self.finish_integers(pair[1], "columns")

    def finish_chumpy(self, node: _Instance, depth: int) -> Any:
        """Read what chumpy stores as an array; an expression of arrays stays unread."""
        name, state = node.recipe.name, node.state or {}
        if name in _CHUMPY_ARRAYS and "x" in state:
            value = self.finish_field(node, ("x",), depth)
            if isinstance(value, (np.ndarray, np.generic, float, int)):
                return np.asarray(value)
        elif name in _CHUMPY_SELECTIONS and {"a", "idxs", "preferred_shape"} <= state.keys():
            source = self.finish_field(node, ("a",), depth)
            if isinstance(source, np.ndarray):
                return self.select(node, source, depth)
        return UnreadChumpy(name)

    def select(self, node: _Instance, source: np.ndarray, depth: int) -> np.ndarray:
        """Pick entries of the flattened source, as chumpy's Select does (MANO and SMPL-H shape bases)."""
        chosen = self.finish_field(node, ("idxs",), depth)
        if isinstance(chosen, np.ndarray) and chosen.flags.c_contiguous:
            chosen = chosen.reshape(-1)
        indices = self.finish_integers(chosen, "idxs")
        shape = self.finish_field(node, ("preferred_shape",), depth)
        shape = self.check_shape(shape)
        if math.prod(shape) != indices.size:
            raise self.corrupt("the shape of a chumpy Select does not fit its indices")
        if indices.size and not 0 <= indices.min() <= indices.max() < source.size:
            raise self.corrupt("a chumpy Select points outside its source")
        self.spend(indices.size * source.dtype.itemsize)
        return source.flat[indices].reshape(shape)


_MAKERS: dict[str, Callable[[_Machine, _Recipe, tuple[Any, ...]], Any]] = {
    "reconstruct": _Machine.make_array_shell,
    "dtype": _Machine.make_dtype,
    "scalar": _Machine.make_scalar,
    "frombuffer": _Machine.make_array_from_buffer,
    "encode": _Machine.make_bytes_from_text,
    "bytes": _Machine.make_empty_bytes,
    "set": _Machine.make_set,
    "frozenset": _Machine.make_set,
    "dict": _Machine.make_dict,
    "reconstructor": _Machine.make_reconstructed,
    **dict.fromkeys(_INSTANCES, _Machine.new_instance),
}

_STOP = ord(".")
_FORBIDDEN: dict[int, str] = {
    **{ord(c): "a persistent id, which an outside program would resolve" for c in "PQ"},
    **{c: "an extension registry code (EXT)" for c in (0x82, 0x83, 0x84)},
    **{ord(c): "an instance of a class by INST or OBJ" for c in "io"},
    0x92: "an instance of a class by NEWOBJ_EX",
    **{c: "a buffer stored outside the file" for c in (0x97, 0x98)},
}
_INSTRUCTIONS: dict[int, Callable[[_Machine], None]] = {
    0x80: _Machine.op_protocol,
    0x95: _Machine.op_frame,
    ord("("): _Machine.op_mark,
    ord("0"): _Machine.op_pop,
    ord("1"): lambda m: m.pop_to_mark().clear(),
    ord("2"): lambda m: m.push(m.top()),
    # memo
    ord("p"): lambda m: m.store(m.take_integer_line()),
    ord("q"): lambda m: m.store(m.take(1)[0]),
    ord("r"): lambda m: m.store(m.take_number("<I")),
    0x94: lambda m: m.store(len(m.memo)),
    ord("g"): lambda m: m.fetch(m.take_integer_line()),
    ord("h"): lambda m: m.fetch(m.take(1)[0]),
    ord("j"): lambda m: m.fetch(m.take_number("<I")),
    # plain values
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("I"): _Machine.op_int_line,
    ord("L"): lambda m: m.push(m.take_integer_line(b"L")),
    ord("J"): lambda m: m.push(m.take_number("<i")),
    ord("K"): lambda m: m.push(m.take(1)[0]),
    ord("M"): lambda m: m.push(m.take_number("<H")),
    0x8A: lambda m: m.op_long(m.take(1)[0]),
    0x8B: lambda m: m.op_long(m.take_number("<i")),
    ord("F"): _Machine.op_float_line,
    ord("G"): lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    # text and bytes; the text of Python 2 is latin-1
    ord("S"): _Machine.op_string_line,
    ord("T"): lambda m: m.push(m.take(m.take_number("<I")).decode("latin-1")),
    ord("U"): lambda m: m.push(m.take(m.take(1)[0]).decode("latin-1")),
    ord("V"): lambda m: m.push(m.decode(m.take_line(), "raw-unicode-escape")),
    ord("X"): lambda m: m.push(m.decode(m.take(m.take_number("<I")), "utf-8")),
    0x8C: lambda m: m.push(m.decode(m.take(m.take(1)[0]), "utf-8")),
    0x8D: lambda m: m.push(m.decode(m.take(m.take_number("<Q")), "utf-8")),
    ord("B"): lambda m: m.push(m.take(m.take_number("<I"))),
    ord("C"): lambda m: m.push(m.take(m.take(1)[0])),
    0x8E: lambda m: m.push(m.take(m.take_number("<Q"))),
    0x96: lambda m: m.push(m.take(m.take_number("<Q"))),
    # containers
    ord("]"): lambda m: m.push([]),
    ord("l"): lambda m: m.push(m.pop_to_mark()),
    ord("a"): _Machine.op_append,
    ord("e"): lambda m: m.extend(m.pop_to_mark()),
    ord(")"): lambda m: m.push(()),
    ord("t"): lambda m: m.push(tuple(m.pop_to_mark())),
    0x85: lambda m: m.op_tuple(1),
    0x86: lambda m: m.op_tuple(2),
    0x87: lambda m: m.op_tuple(3),
    ord("}"): lambda m: m.push({}),
    ord("d"): _Machine.op_dict_from_mark,
    ord("s"): _Machine.op_set_item,
    ord("u"): lambda m: m.update(m.pop_to_mark()),
    0x8F: lambda m: m.push(set()),
    0x90: _Machine.op_add_items,
    0x91: lambda m: m.push(frozenset(m.check_key(item) for item in m.pop_to_mark())),
    # names and what they make
    ord("c"): _Machine.op_global_line,
    0x93: _Machine.op_global_stack,
    ord("R"): _Machine.op_reduce,
    0x81: _Machine.op_new_object,
    ord("b"): _Machine.op_build,
}


class _Object:
    """An object of another program under construction, which stays a description."""

    __slots__ = ("arguments", "entries", "name", "state")

    def __init__(self, name: str, arguments: tuple[Any, ...]) -> None:
        self.name, self.arguments, self.state = name, arguments, None
        self.entries: dict[Any, Any] | list[Any] | None = None


class _DescribingMachine(_Machine):
    """Interprets a pickle of another program's objects; the rest is as strict as for any other pickle."""

    names: re.Pattern[str]
    calls: frozenset[str]

    @property
    def instructions(self) -> dict[int, Callable[[Any], None]]:
        return _DESCRIBING_INSTRUCTIONS

    def push_global(self, module: str, name: str) -> None:
        full = f"{module}.{name}"
        is_described = len(full) < _MAX_NAME_BYTES and (full in self.calls or self.names.fullmatch(full))
        if (module, name) not in _GLOBALS and is_described:
            self.push(_Recipe("described", full))
        else:
            super().push_global(module, name)

    def new_instance(self, recipe: Any, arguments: Any) -> Any:
        if type(recipe) is _Recipe and recipe.kind == "described" and arguments == ():
            return _Object(recipe.name, ())
        return super().new_instance(recipe, arguments)

    def op_reduce(self) -> None:
        arguments, recipe = self.pop(), self.pop()
        if type(recipe) is _Recipe and self.is_callable(recipe) and type(arguments) is tuple:
            self.push(_Object(recipe.name, arguments))
            return
        self.push(recipe)
        self.push(arguments)
        super().op_reduce()

    def is_callable(self, recipe: _Recipe) -> bool:
        return recipe.name in self.calls

    def op_build(self) -> None:
        state, target = self.pop(), self.top()
        if type(target) is _Object and target.state is None:
            target.state = state
        elif type(target) is not dict:  # attributes that somebody gave to an OrderedDict are left out
            self.push(state)
            super().op_build()

    def op_persistent_id(self) -> None:
        self.push(_Object(PERSISTENT_ID, (self.pop(),)))

    def finish_new(self, node: Any, depth: int) -> tuple[Any, int]:
        if type(node) is _Recipe and node.kind == "described":
            return Described(name=node.name), 1
        if type(node) is not _Object:
            return super().finish_new(node, depth)
        arguments, count = self.finish(node.arguments, depth + 1)
        state, more = self.finish(node.state, depth + 1)
        entries, most = self.finish(node.entries, depth + 1)
        found = Described(name=node.name, arguments=arguments, state=state, entries=entries)
        return found, 1 + count + more + most


class _LenientMachine(_DescribingMachine):
    """Interprets a checkpoint of a training program, whose objects are of more kinds; all stay descriptions."""

    def new_instance(self, recipe: Any, arguments: Any) -> Any:
        if type(recipe) is _Recipe and recipe.kind == "described" and type(arguments) is tuple:
            return _Object(recipe.name, arguments)
        return super().new_instance(recipe, arguments)

    def is_callable(self, recipe: _Recipe) -> bool:
        return recipe.kind == "described"

    def extend(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is not _Object or isinstance(target.entries, dict):
            super().extend(items)
            return
        target.entries = [] if target.entries is None else target.entries
        target.entries.extend(items)

    def update(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is not _Object or isinstance(target.entries, list):
            super().update(items)
            return
        target.entries = {} if target.entries is None else target.entries
        self.fill_dict(target.entries, items)

    def check_key(self, key: Any) -> Any:
        if type(key) is _Recipe:  # older programs list callbacks by their class
            return f"class {key.name}"
        if type(key) is tuple and all(type(part) in _KEY_TYPES for part in key):
            return tuple(self.check_key(part) for part in key)
        return super().check_key(key)

    def finish_within_itself(self) -> Any:
        return Described(name=WITHIN_ITSELF)


_DESCRIBING_INSTRUCTIONS: dict[int, Callable[[Any], None]] = {
    **_INSTRUCTIONS,
    ord("Q"): _DescribingMachine.op_persistent_id,
    ord("R"): _DescribingMachine.op_reduce,
    ord("b"): _DescribingMachine.op_build,
}
