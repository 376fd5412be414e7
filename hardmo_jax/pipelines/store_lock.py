"""One writer at a time for a label file: whoever reads it, changes something and writes it back holds it meanwhile."""

import contextlib
import os
import pathlib
import time
from collections.abc import Iterator
from typing import IO

from hardmo_jax.pipelines.output_folders import lock_file

#: How long a store is waited for; nobody holds one for longer than it takes to read and write it.
PATIENCE_SECONDS = 30.0
_RETRY_SECONDS = 0.02


class StoreBusyError(ValueError):
    """Somebody else writes to a label file, and does not stop."""


@contextlib.contextmanager
def held_store(path: str | os.PathLike[str], *, patience_seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Keep other writers of any process away from a label file while the block runs; one that is killed lets go.

    The file itself may be absent, its folder must be there. What holds it lies beside it under a name that all jobs
    take for unfinished work, and goes at the end.

    Args:
        path: The label file.
        patience_seconds: How long another writer is waited for.

    Raises:
        StoreBusyError: If it does not let go in that time.
        OSError: If nothing can be written in its folder.
    """
    path = pathlib.Path(path)
    lock = path.with_name(f".writing-{path.name}.lock")
    deadline = time.monotonic() + patience_seconds
    while True:
        with lock.open("a") as file:
            if lock_file(file) and _is_still_there(file, lock):
                try:
                    yield
                finally:
                    # Before it is let go: afterwards it may be somebody else's. Windows keeps files that are open.
                    with contextlib.suppress(OSError):
                        lock.unlink()
                return
        if time.monotonic() >= deadline:
            raise StoreBusyError(
                f"{path}: another job has been writing to it for {patience_seconds:g} s; wait for it, or stop it"
            )
        time.sleep(_RETRY_SECONDS)


def _is_still_there(file: IO[str], lock: pathlib.Path) -> bool:
    """Whether a locked file is the one that others find: the one before may have taken it away."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), lock.stat())
    except FileNotFoundError:
        return False
