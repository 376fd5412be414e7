"""A disk that fails on cue: every call of one process that touches a folder is counted, and any of them can fail.

What is counted: `os.open`, `os.write`, `os.fsync`, `os.ftruncate`, `os.truncate`, `os.replace`, `os.rename`, `os.link`,
`os.mkdir`, `os.rmdir`, `os.unlink`, `os.remove`, `os.utime`, `os.stat`, `os.lstat`, `os.scandir`, `os.listdir`, and of
files that `open` (so `pathlib`) or pyarrow's Parquet reader and writer opened: the opening, each read, each write and
each truncation. pyarrow writes by itself, below Python; here it is given a Python file instead, so that its writes are
seen too. To close or lock a file is not counted: neither loses anything that was not lost before.

A power cut is a failure after which nothing happens any more, and after which data that was not synced is gone, and
perhaps names as well: whoever forgets a sync is found out.
"""

import builtins
import contextlib
import dataclasses
import errno
import io
import os
import pathlib
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from unittest import mock

import pyarrow.parquet as pq
from pyarrow.parquet import core

#: Kinds of calls that change something.
CHANGES = frozenset(
    {"create", "write", "fsync", "truncate", "rename", "link", "mkdir", "rmdir", "unlink", "utime"}
)  # fmt: skip
#: Those that need room on the disk.
NEEDS_ROOM = frozenset({"create", "write", "mkdir", "link"})
#: What can be done to a call.
FAULTS = ("io_error", "no_space", "short_write", "killed", "cut_data", "cut_names")


class PowerCut(BaseException):
    """The process is gone: nothing that it does from here on happens."""


@dataclasses.dataclass(frozen=True)
class Call:
    """One call that was counted."""

    kind: str
    path: str


@dataclasses.dataclass(frozen=True)
class Fault:
    """What happens to which call."""

    kind: str
    number: int
    """Of the call, from 0."""


def faults_of(calls: list[Call]) -> Iterator[Fault]:
    """Every fault that each of some calls can have."""
    for number, call in enumerate(calls):
        yield Fault("io_error", number)
        if call.kind in NEEDS_ROOM:
            yield Fault("no_space", number)
        if call.kind == "write":
            yield Fault("short_write", number)
        if call.kind in CHANGES:
            yield Fault("killed", number)
            yield Fault("cut_data", number)
            yield Fault("cut_names", number)


class FaultLayer:
    """What stands between a process and a folder; used by `active`."""

    def __init__(
        self,
        root: pathlib.Path,
        fault: Fault | None = None,
        *,
        scratch: pathlib.Path | None = None,
        syncs: bool = False,
    ) -> None:
        """Set up.

        Args:
            root: Calls that touch what is below it are counted.
            fault: What fails, if anything.
            scratch: Where files that a cut brings back are kept meanwhile; needed for `cut_names`.
            syncs: Whether what is synced is synced in truth too, which takes most of the time.
        """
        self.root = os.path.abspath(root)
        self.fault, self.calls, self.happened = fault, list[Call](), False
        self.missed: list[str] = []
        """What the interpreter told of that went by uncounted."""
        self.num_bytes_written = 0
        self._scratch, self.syncs = scratch, syncs
        self._is_dead, self._is_full = False, False
        self._depth = 0
        self._folders: dict[int, str] = {}
        #: By inode: a name of the file and what of it was synced. Of one that is not here all was.
        self._unsynced: dict[int, tuple[str, bytes]] = {}
        self._synced: dict[int, bytes] = {}
        #: How to undo what was done to names, by folder, since it was synced.
        self._names: list[tuple[str, Callable[[], None]]] = []

    # Counting and failing ---------------------------------------------------------------------------------------

    def counts(self, path: object, dir_fd: int | None = None) -> str | None:
        """The full name of what a call touches, if it is below the folder."""
        if isinstance(path, int):
            return self._folders.get(path)
        if not isinstance(path, str | bytes | os.PathLike):
            return None
        name = os.fsdecode(path)
        if dir_fd is not None:
            folder = self._folders.get(dir_fd)
            return None if folder is None else os.path.join(folder, name)
        name = os.path.abspath(name)
        return name if name == self.root or name.startswith(self.root + os.sep) else None

    def enter(self, kind: str, path: str) -> str | None:
        """Count a call; a fault of it that it must do itself is returned, others are raised."""
        if self._is_dead:
            raise PowerCut
        number = len(self.calls)
        self.calls.append(Call(kind, path))
        if self._is_full and kind in NEEDS_ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        if self.fault is None or self.fault.number != number:
            return None
        self.happened = True
        what = self.fault.kind
        if what == "io_error":
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        if what == "no_space":
            self._is_full = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        if what in ("killed", "cut_data", "cut_names"):
            self._is_dead = True
            raise PowerCut
        return what

    @contextlib.contextmanager
    def done(self) -> Iterator[None]:
        """The call itself, which the interpreter may tell of."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def told(self, event: str, arguments: tuple) -> None:
        """The interpreter tells of a call; one that nobody counted was missed."""
        if self._depth or not event.startswith(("open", "os.", "shutil.")) or event in ("os.walk", "os.chdir"):
            return
        if event.startswith("shutil.") or not arguments:
            return
        for path in arguments[:2]:
            if isinstance(path, str | bytes | os.PathLike) and self.counts(path) is not None:
                self.missed.append(f"{event} {path!s}")
                return

    # What a power cut leaves -------------------------------------------------------------------------------------

    def lose(self) -> None:
        """Take away what was not synced, if the fault was a cut."""
        if self.fault is None or not self.happened or self.fault.kind not in ("cut_data", "cut_names"):
            return
        if self.fault.kind == "cut_names":
            for _, undo in reversed(self._names):
                undo()
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(folder, name)
                inode = os.stat(path).st_ino
                if inode in self._unsynced:
                    # In place, so that it is the same file.
                    with io.FileIO(path, "r+") as file:
                        file.truncate(0)
                        file.write(self._unsynced[inode][1])

    def before_change(self, path: str, handle: int | None = None) -> None:
        """A file is about to be written to."""
        inode = _REAL["stat"](path).st_ino if handle is None else os.fstat(handle).st_ino
        if inode not in self._unsynced:
            if inode not in self._synced:
                with self.done(), io.FileIO(path) as file:
                    self._synced[inode] = file.readall()
            self._unsynced[inode] = (path, self._synced[inode])

    def synced(self, handle: int, path: str) -> None:
        """A file or folder is on disk."""
        if _is_folder(path):
            self._names = [(folder, undo) for folder, undo in self._names if folder != path]
            return
        inode = os.fstat(handle).st_ino
        self._unsynced.pop(inode, None)
        self._synced.pop(inode, None)

    def undo_by(self, path: str, undo: Callable[[], None]) -> None:
        """What brings a name back to what it was."""
        self._names.append((os.path.dirname(path), undo))

    def keep(self, path: str) -> str | None:
        """A second name of a file that is about to lose its own."""
        if self._scratch is None or not _exists(path):
            return None
        kept = os.path.join(self._scratch, f"{len(self.calls)}_{len(self._names)}")
        _REAL["link"](path, kept)
        return kept

    # Files ---------------------------------------------------------------------------------------------------------

    def open(self, path, mode="r", buffering=-1, encoding=None, errors=None, newline=None, **others):
        """In the place of `open`."""
        name = None if isinstance(path, int) else self.counts(path)
        if name is None:
            return _OPEN(path, mode, buffering, encoding, errors, newline, **others)
        raw = _File(self, name, mode.replace("t", "").replace("b", ""))
        if buffering == 0:
            return raw
        if "+" in mode:
            file = io.BufferedRandom(raw)
        else:
            file = io.BufferedReader(raw) if "r" in mode else io.BufferedWriter(raw)
        return file if "b" in mode else io.TextIOWrapper(file, encoding, errors, newline)


_OPEN = io.open
#: As they are without a layer.
_REAL = {
    name: getattr(os, name)
    for name in (
        "open", "write", "fsync", "ftruncate", "truncate", "replace", "rename", "link", "mkdir", "rmdir", "unlink",
        "remove", "utime", "stat", "lstat", "scandir", "listdir", "close",
    )
}  # fmt: skip


def _exists(path: str) -> bool:
    try:
        _REAL["lstat"](path)
    except FileNotFoundError:
        return False
    return True


def _is_folder(path: str) -> bool:
    return stat.S_ISDIR(_REAL["stat"](path).st_mode)


class _File(io.FileIO):
    """A file of which each call is counted."""

    def __init__(self, layer: FaultLayer, path: str, mode: str) -> None:
        self._layer = None
        is_new = not _exists(path)
        layer.enter("create" if is_new and "r" not in mode else "open", path)
        if not is_new and "w" in mode:
            layer.before_change(path)
        with layer.done():
            super().__init__(path, mode)
        self._layer, self._path = layer, path
        if is_new:
            _created(layer, path)

    def write(self, data):
        """Write, or less of it."""
        return _write(self._layer, self._path, self.fileno(), super().write, data)

    def readinto(self, buffer):
        """Read some."""
        self._layer.enter("read", self._path)
        return super().readinto(buffer)

    def readall(self):
        """Read the rest."""
        self._layer.enter("read", self._path)
        return super().readall()

    def truncate(self, size=None):
        """Cut."""
        self._layer.enter("truncate", self._path)
        self._layer.before_change(self._path)
        with self._layer.done():
            return super().truncate(size)


def _created(layer: FaultLayer, path: str) -> None:
    inode = _REAL["stat"](path).st_ino
    layer._unsynced.pop(inode, None)
    layer._synced[inode] = b""

    def undo():
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    layer.undo_by(path, undo)


def _write(layer: FaultLayer, path: str, handle: int, write, data) -> int:
    what = layer.enter("write", path)
    layer.before_change(path, handle)
    if what == "short_write":
        layer._is_full = True
        data = bytes(data)[: max(len(data) // 2, 1)]
    count = write(data)
    layer.num_bytes_written += count
    return count


class _Sink:
    """What pyarrow writes to: it expects that all of a piece is taken, as its own files do."""

    def __init__(self, file: _File) -> None:
        self._file = file
        self.closed = False

    def write(self, data) -> int:
        data, written = bytes(data), 0
        while written < len(data):
            written += self._file.write(data[written:])
        return written

    def flush(self) -> None:
        pass

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self.closed = True
        self._file.close()


def _arrow_classes(layer: FaultLayer):
    class ParquetWriter(core.ParquetWriter):
        def __init__(self, where, schema, **options):
            path = layer.counts(where)
            self._sink = None if path is None else _Sink(_File(layer, path, "w"))
            super().__init__(where if self._sink is None else self._sink, schema, **options)

        def close(self):
            try:
                super().close()
            finally:
                if self._sink is not None:
                    self._sink.close()

    class ParquetFile(core.ParquetFile):
        def __init__(self, source, **options):
            path = layer.counts(source)
            super().__init__(source if path is None else layer.open(path, "rb"), **options)
            self._close_source = True

    return ParquetWriter, ParquetFile


# Names ---------------------------------------------------------------------------------------------------------------


def _os_functions(layer: FaultLayer) -> dict[str, Callable]:
    real = _REAL

    def simple(name: str, kind: str) -> Callable:
        def call(path=".", *arguments, dir_fd=None, **options):
            known = layer.counts(path, dir_fd)
            given = options if dir_fd is None else options | {"dir_fd": dir_fd}
            if known is not None and not layer._depth:
                layer.enter(kind, known)
            with layer.done():
                return real[name](path, *arguments, **given)

        return call

    def open_(path, flags, mode=0o777, *, dir_fd=None):
        known = layer.counts(path, dir_fd)
        if known is None or layer._depth:
            return real["open"](path, flags, mode, dir_fd=dir_fd)
        is_new = bool(flags & os.O_CREAT) and not _exists(known)
        layer.enter("create" if is_new else "open", known)
        with layer.done():
            handle = real["open"](path, flags, mode, dir_fd=dir_fd)
        layer._folders[handle] = known
        if is_new:
            _created(layer, known)
        return handle

    def close(handle):
        layer._folders.pop(handle, None)
        return real["close"](handle)

    def write(handle, data):
        known = layer.counts(handle)
        if known is None:
            return real["write"](handle, data)
        return _write(layer, known, handle, lambda some: real["write"](handle, some), data)

    def fsync(handle):
        handle = handle if isinstance(handle, int) else handle.fileno()
        known = layer.counts(handle) or _name_of(handle, layer)
        if known is not None:
            layer.enter("fsync", known)
        if known is None or layer.syncs:
            real["fsync"](handle)
        if known is not None:
            layer.synced(handle, known)

    def move(name: str) -> Callable:
        def call(source, goal, **options):
            before, after = layer.counts(source, options.get("src_dir_fd")), layer.counts(goal)
            if before is None or after is None or layer._depth:
                return real[name](source, goal, **options)
            layer.enter("rename", after)
            with layer.done():
                kept = layer.keep(after)
                real[name](source, goal, **options)

            def undo():
                with contextlib.suppress(FileNotFoundError):
                    real["replace"](after, before)
                if kept is not None:
                    real["link"](kept, after)

            layer.undo_by(after, undo)
            return None

        return call

    def remove(path, *, dir_fd=None):
        known = layer.counts(path, dir_fd)
        given = {} if dir_fd is None else {"dir_fd": dir_fd}
        if known is None or layer._depth:
            return real["unlink"](path, **given)
        layer.enter("unlink", known)
        with layer.done():
            kept = layer.keep(known)
            real["unlink"](path, **given)

        def undo():
            if kept is not None:
                with contextlib.suppress(FileExistsError, FileNotFoundError):
                    real["link"](kept, known)

        layer.undo_by(known, undo)
        return None

    def mkdir(path, mode=0o777, *, dir_fd=None):
        known = layer.counts(path, dir_fd)
        if known is None or layer._depth:
            return real["mkdir"](path, mode, dir_fd=dir_fd)
        layer.enter("mkdir", known)
        with layer.done():
            real["mkdir"](path, mode, dir_fd=dir_fd)
        if known != layer.root:
            layer.undo_by(known, lambda: shutil.rmtree(known, ignore_errors=True))
        return None

    def rmdir(path, *, dir_fd=None):
        known = layer.counts(path, dir_fd)
        given = {} if dir_fd is None else {"dir_fd": dir_fd}
        if known is not None:
            layer.enter("rmdir", known)
        with layer.done():
            real["rmdir"](path, **given)

        def undo():
            with contextlib.suppress(FileExistsError):
                real["mkdir"](known)

        if known is not None:
            layer.undo_by(known, undo)

    kinds = {"truncate": "truncate", "ftruncate": "truncate", "utime": "utime", "link": "link"}
    kinds |= dict.fromkeys(("stat", "lstat", "scandir", "listdir"), "look")
    made = {name: simple(name, kind) for name, kind in kinds.items()}
    made |= {"open": open_, "close": close, "write": write, "fsync": fsync, "mkdir": mkdir,
             "rmdir": rmdir}  # fmt: skip
    return made | {"replace": move("replace"), "rename": move("rename"), "unlink": remove, "remove": remove}


def _name_of(handle: int, layer: FaultLayer) -> str | None:
    with contextlib.suppress(OSError):
        return layer.counts(os.readlink(f"/proc/self/fd/{handle}"))
    return None


_ACTIVE: list[FaultLayer] = []
_IS_HOOKED = [False]


def _hook(event: str, arguments: tuple) -> None:
    if _ACTIVE and event.startswith(("open", "os.")):
        _ACTIVE[-1].told(event, arguments)


@contextlib.contextmanager
def active(layer: FaultLayer, *, broken: str | None = None) -> Iterator[FaultLayer]:
    """Put a layer between this process and its folder while the block runs.

    Args:
        layer: The layer.
        broken: Of a build that is broken on purpose: `no_fsync` or `no_rename`.
    """
    if not _IS_HOOKED[0]:
        _IS_HOOKED[0] = True
        sys.addaudithook(_hook)
    functions = _os_functions(layer)
    if broken == "no_fsync":
        functions["fsync"] = lambda handle: None
    if broken == "no_rename":
        functions["replace"] = functions["rename"] = lambda source, goal: _written_in_place(layer, source, goal)
    writer, reader = _arrow_classes(layer)
    with contextlib.ExitStack() as stack:
        for name, function in functions.items():
            stack.enter_context(mock.patch.object(os, name, function))
        for module in (builtins, io):
            stack.enter_context(mock.patch.object(module, "open", layer.open))
        for module in (pq, core):
            stack.enter_context(mock.patch.object(module, "ParquetWriter", writer))
            stack.enter_context(mock.patch.object(module, "ParquetFile", reader))
        _ACTIVE.append(layer)
        try:
            yield layer
        finally:
            _ACTIVE.remove(layer)
    layer.lose()


def _written_in_place(layer: FaultLayer, source, goal) -> None:
    """What a build does that forgot why files are renamed."""
    if _is_folder(os.fspath(source)):
        _REAL["replace"](source, goal)
        return
    with layer.open(source, "rb") as file:
        content = file.read()
    with layer.open(goal, "wb", 0) as file:
        for first in range(0, max(len(content), 1), max(len(content) // 2, 1)):
            file.write(content[first : first + max(len(content) // 2, 1)])
    os.unlink(source)
