"""Where the pictures of stored labels lie."""

import itertools
import os
import pathlib

from hardmo_jax.labels import provenance


def picture_root(labels: pathlib.Path, given: str | os.PathLike[str] | None) -> pathlib.Path | None:
    """Folder that the paths of pictures in labels are relative to; None if nothing says.

    Args:
        labels: File of the labels; the `run.json` beside it tells what was labelled.
        given: By the user, which wins: that folder, or a video in it.

    Raises:
        FileNotFoundError: If the given one is not there.
    """
    if given is not None:
        root = pathlib.Path(given)
        if not root.exists():
            raise FileNotFoundError(f"{root}: no such folder of pictures")
        return root if root.is_dir() else root.parent
    command = provenance.read_run(labels).get("command")
    if not isinstance(command, list):
        return None
    named = [str(word).partition("=")[2] for word in command if str(word).startswith(("--input=", "-input="))]
    named += [str(after) for word, after in itertools.pairwise(command) if word in ("--input", "-input")]
    if not named:
        return None
    # Runs write the user's home folder as `~`.
    root = pathlib.Path(named[-1]).expanduser()
    return root if root.is_dir() else root.parent
