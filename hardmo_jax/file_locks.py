"""Locks that a process holds on open files, and lets go of when it ends, however that is."""

import contextlib
import os
import pathlib
import time
from collections.abc import Iterator
from typing import IO

_RETRY_SECONDS = 0.02


def lock_file(file: IO[str]) -> bool:
    """Lock an open file until it is closed; False if somebody else has. True on disks that know no locks."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True


@contextlib.contextmanager
def held_lock(path: pathlib.Path, *, patience_seconds: float) -> Iterator[bool]:
    """Hold a lock file while the block runs; it is made for that, and taken away at the end.

    Yields False, and holds nothing, if somebody else does not let go in time.

    Args:
        path: The lock file, in a folder that is there.
        patience_seconds: How long others are waited for.

    Raises:
        OSError: If nothing can be written there.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        with path.open("a") as file:
            if lock_file(file) and _is_still_there(file, path):
                try:
                    yield True
                finally:
                    # Before it is let go: afterwards it may be somebody else's. Windows keeps files that are open.
                    with contextlib.suppress(OSError):
                        path.unlink()
                return
        if time.monotonic() >= deadline:
            yield False
            return
        time.sleep(_RETRY_SECONDS)


def can_lock(path: pathlib.Path) -> bool:
    """Whether locks keep others out on the disk of a lock file that is held: not all network disks do."""
    with path.open("a") as file:
        return not lock_file(file)


def _is_still_there(file: IO[str], path: pathlib.Path) -> bool:
    """Whether a locked file is the one that others find: the one before may have taken it away."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
