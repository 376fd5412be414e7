"""Pictures of stored labels: where they lie, and the bytes of each as they are handed on."""

import itertools
import json
import os
import pathlib
from collections.abc import Iterator, Sequence

from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines.exports.dataset_pixels import pictures_of_rows


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
    try:
        command = json.loads((labels.parent / "run.json").read_text(encoding="utf-8"))["command"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    named = [str(word).partition("=")[2] for word in command if str(word).startswith(("--input=", "-input="))]
    named += [str(after) for word, after in itertools.pairwise(command) if word in ("--input", "-input")]
    if not named:
        return None
    # Runs write the user's home folder as `~`.
    root = pathlib.Path(named[-1]).expanduser()
    return root if root.is_dir() else root.parent


class LabelledPictures:
    """JPEG of the picture of a label. Frames of a video are decoded once if they are asked for in their order."""

    def __init__(self, rows: Sequence[LabelRow], folder: pathlib.Path) -> None:
        """Look at nothing yet.

        Args:
            rows: All labels whose pictures may be asked for.
            folder: That their paths are relative to.
        """
        self._rows, self._folder = rows, folder
        self._source: tuple[str, str] | None = None
        self._frame = -1
        self._ahead: Iterator[tuple[list[LabelRow], tuple[str, bytes]]] = iter(())

    def __call__(self, row: LabelRow) -> bytes:
        """Upright, without metadata.

        Raises:
            hardmo_jax.export.dataset.dataset_facts.DatasetExportError: If it is not there, or another one than was
                labelled.
            hardmo_jax.perception.video.MediaError: If it cannot be read.
        """
        source = row.source_path, row.source_sha256
        if source != self._source or row.frame_index <= self._frame:
            self._source = source
            own = [one for one in self._rows if (one.source_path, one.source_sha256) == source]
            self._ahead = pictures_of_rows([one for one in own if one.frame_index >= row.frame_index], self._folder)
        for people, (_, data) in self._ahead:
            self._frame = people[0].frame_index
            if self._frame == row.frame_index:
                return data
        # `pictures_of_rows` has told of a frame that is missing; this is one that nobody announced.
        raise KeyError(f"{row.source_path}: frame {row.frame_index} is of none of the labels")
