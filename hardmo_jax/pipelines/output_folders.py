"""Folders that a job leaves its results in: nothing foreign is replaced, and a run is there whole or not at all."""

import contextlib
import os
import pathlib
import shutil
import time
from collections.abc import Iterator, Sequence

from hardmo_jax.file_locks import lock_file

#: File that a job which works in its folder for long holds locked; it may lie there afterwards.
LOCK = ".lock"
#: Unfinished work that nobody touched for so long is nobody's.
_ABANDONED_SECONDS = 3600.0


class OutputFolderError(ValueError):
    """The output folder holds something this program did not write."""


def check_output_folder(
    output: pathlib.Path,
    source: pathlib.Path,
    own_outputs: Sequence[str],
    *,
    job: str,
    source_lies: str,
    error: type[ValueError] = OutputFolderError,
) -> set[str]:
    """Refuse an output folder whose content must not be replaced.

    Args:
        output: The folder; it may not exist.
        source: What the job reads; it must not lie in there.
        own_outputs: Names that a run of this job leaves.
        job: Its name, for the message.
        source_lies: How the message says that the source lies in the folder, such as `the input clip.mp4 lies`.
        error: Raised.

    Returns:
        What is there.

    Raises:
        ValueError: `error`, if it is a file, holds the source, or anything that no run of the job wrote.
    """
    if output.exists() and not output.is_dir():
        raise error(f"{output} is a file; give a folder as --output_dir, e.g. --output_dir=out/{job}")
    if source.resolve().is_relative_to(output.resolve()):
        raise error(f"{source_lies} in the output folder {output}; give another --output_dir")
    present = {path.name for path in output.iterdir()} if output.exists() else set()
    foreign = sorted(name for name in present - set(own_outputs) if not name.startswith(".writing-"))
    if foreign:
        raise error(f"{output} holds {foreign[0]!r}, which no {job} run wrote; give an empty folder as --output_dir")
    return present


@contextlib.contextmanager
def held_alone(folder: pathlib.Path, *, job: str, error: type[ValueError] = OutputFolderError) -> Iterator[None]:
    """Keep a second job of any process out of a folder while the block runs; a job that is killed lets go.

    Args:
        folder: Made if absent.
        job: Its name, for the message.
        error: Raised.

    Raises:
        ValueError: `error`, if another one is at work there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:
        if not lock_file(file):
            raise error(f"another {job} is at work in {folder}; wait for it, or give another --output_dir")
        yield


def replace_outputs(scratch: pathlib.Path, output: pathlib.Path, own_outputs: Sequence[str]) -> None:
    """Put a complete run where an earlier one was, of which nothing stays.

    Args:
        scratch: Folder on the same disk that holds the run.
        output: Where it goes; made if absent.
        own_outputs: Names that a run leaves, the record last: without it a folder is no complete run.
    """
    output.mkdir(parents=True, exist_ok=True)
    (output / own_outputs[-1]).unlink(missing_ok=True)
    for name in own_outputs:
        old, new = output / name, scratch / name
        aside = scratch / f".former-{name}"
        # Set aside rather than deleted first: a kill in between leaves both in the scratch folder.
        if old.is_dir() and not old.is_symlink():
            os.replace(old, aside)
        elif old.exists() and not new.exists():
            old.unlink()
        if new.exists():
            os.replace(new, old)
        if aside.exists():
            shutil.rmtree(aside)


def sweep_leftovers(folder: pathlib.Path, prefix: str) -> None:
    """Remove what runs that were killed left beside their goals; what is younger than an hour may be somebody's work.

    Args:
        folder: Where runs put their unfinished work; need not exist.
        prefix: Of the names of that.
    """
    if not folder.is_dir():
        return
    for entry in folder.iterdir():
        is_own = entry.name.startswith(prefix) and entry.is_dir() and not entry.is_symlink()
        if is_own and time.time() - entry.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(entry, ignore_errors=True)
