"""Files read whole, unless they are larger than a cap or no files."""

import os
import stat
from pathlib import Path

from hardmo_jax.safe_pickle.errors import UnsafePickleError

MAX_FILE_BYTES = 1 << 30
"""Default cap on the size of a file; SMPL with 300 coefficients as a text pickle needs about 0.25 GB."""


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
        with path.open("rb") as file:  # Python takes memory for as much as it is asked to read
            data = file.read(min(status.st_size, max_file_bytes) + 1)
    # The size is asked before reading, and the length after it: a file may grow meanwhile.
    if max(status.st_size, len(data)) > max_file_bytes:
        raise UnsafePickleError(
            f"{path.name}: refused: larger than the cap of {max_file_bytes} bytes; "
            "raise max_file_bytes if the file is really meant to be that large"
        )
    return data
