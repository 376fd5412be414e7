"""Locks that a process holds on open files, and lets go of when it ends, however that is."""

import os
from typing import IO


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
