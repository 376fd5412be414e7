"""Files that are written whole or not at all, and their checksums."""

import contextlib
import hashlib
import os
import pathlib
import secrets
from collections.abc import Iterator


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content as 64 lower-case hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Write a file completely or not at all.

    Yields a temporary name in the same folder with the same suffix. When the block ends normally the
    content is flushed to disk and renamed over `path`; when it raises, the temporary file is removed and an
    earlier `path` stays as it was. Missing parent folders are made, see `make_folders`.

    Args:
        path: Where the file shall stand in the end.
    """
    target = pathlib.Path(path)
    make_folders(target.parent)
    temporary = target.parent / f".writing-{secrets.token_hex(8)}{target.suffix}"
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        sync_file(temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_file(target.parent)


def make_folders(folder: pathlib.Path) -> None:
    """Make a folder and those above it that are missing, each on disk under its name.

    A file that is synced in a folder that is not may be gone with it after a power cut.
    """
    missing = []
    above = folder
    while not above.is_dir() and above != above.parent:
        missing.append(above)
        above = above.parent
    folder.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        sync_file(made.parent)


def sync_file(path: pathlib.Path) -> None:
    """Flush a file or, where the system allows it, a folder entry to disk."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
