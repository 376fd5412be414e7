"""Tars of samples as WebDataset reads them, the same bytes for the same samples, and pickles that old NumPy reads.

Files of one sample have one key up to their first dot and follow each other. A tar is written under a temporary name
and renamed; a sample is kept in memory only while it is written.
"""

import io
import os
import pathlib
import pickletools
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pickle import Pickler
from typing import Any

from hardmo_jax import whole_files
from hardmo_jax.export.training_sets.picture_files import picture_header
from hardmo_jax.export.training_sets.training_labels import TrainingExportError
from hardmo_jax.labels.schema import LabelRow

#: Key, and pairs of an ending and the content of that file.
Sample = tuple[str, list[tuple[str, bytes]]]
PictureOf = Callable[[LabelRow], bytes]
#: Protocol of pickles: names of functions are lines of text, and bytes are bytes.
_PROTOCOL = 3
_NEW_CORE, _OLD_CORE = b"numpy._core", b"numpy.core"


def write_sample_tars(
    samples: Iterable[Sample], folder: str | os.PathLike[str], *, samples_per_tar: int
) -> list[pathlib.Path]:
    """Write samples in their order to `000000.tar`, `000001.tar` and so on.

    Args:
        samples: With keys of their own; taken one at a time.
        folder: Is made; without tars.
        samples_per_tar: The last one has fewer.

    Returns:
        The tars. If a sample raises, none is left.

    Raises:
        TrainingExportError: If the folder holds tars, which would be taken for more of these.
        ValueError: If a tar would hold less than a sample.
    """
    if samples_per_tar < 1:
        raise ValueError(f"`samples_per_tar` must be at least 1, got {samples_per_tar}")
    place = pathlib.Path(folder)
    found = sorted(place.glob("*.tar"))
    if found:
        raise TrainingExportError(
            f"{place} holds {len(found)} tars already, such as {found[0].name}; name a folder without tars, or remove "
            "them"
        )
    written: list[pathlib.Path] = []
    waiting = iter(samples)
    first = next(waiting, None)
    try:
        while first is not None:
            path = place / f"{len(written):06d}.tar"
            with whole_files.replacing(path) as temporary:
                first = _write_tar(temporary, first, waiting, samples_per_tar)
            written.append(path)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    return written


def _write_tar(path: pathlib.Path, first: Sample, others: Iterator[Sample], count: int) -> Sample | None:
    """Write a sample and those after it; returns the first that finds no room."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        sample: Sample | None = first
        for _ in range(count):
            if sample is None:
                break
            key, files = sample
            for ending, content in files:
                member = tarfile.TarInfo(f"{key}.{ending}")  # of nobody, and of no time
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            sample = next(others, None)
    return sample


def stored_picture(row: LabelRow, picture_of: PictureOf) -> tuple[str, bytes]:
    """Ending and bytes of the picture of a label, for a sample.

    Args:
        row: The label.
        picture_of: Gives the bytes of the picture, upright, of the size that the label says.

    Raises:
        TrainingExportError: If it is no JPEG or PNG, of another size, or to be turned by its EXIF.
    """
    data = picture_of(row)
    told = f"the picture of {row.source_path!r}, frame {row.frame_index},"
    header = picture_header(data)
    if header is None:
        raise TrainingExportError(f"{told} must be a JPEG or PNG, got {data[:8]!r}; encode it as JPEG")
    if not header.is_upright:
        raise TrainingExportError(
            f"{told} is to be turned by its EXIF, which readers of tars do not; encode it upright"
        )
    if (header.width, header.height) != (row.image_width, row.image_height):
        raise TrainingExportError(
            f"{told} must be {row.image_width} x {row.image_height} pixels as its label says, got {header.width} x "
            f"{header.height}; give the picture that was labelled, upright"
        )
    return header.suffix, data


def plain_pickle(value: Any) -> bytes:
    """A pickle of lists, dicts, texts, numbers and NumPy arrays, the same bytes for equal values.

    NumPy 2 names functions of its own by a module that versions before 1.26 do not have, and which training code of
    2023 runs on; these go by the name that all versions know.
    """
    file = io.BytesIO()
    pickler = Pickler(file, _PROTOCOL)
    pickler.fast = True  # equal objects and one object twice are written alike
    pickler.dump(value)
    data = file.getvalue()
    pieces, done = [], 0
    for instruction, name, position in pickletools.genops(data):
        if (
            instruction.name == "GLOBAL"
            and isinstance(name, str)
            and name.encode().startswith(_NEW_CORE)
            and position is not None
        ):
            start = position + 1  # behind the letter of the instruction
            pieces += [data[done:start], _OLD_CORE]
            done = start + len(_NEW_CORE)
    return b"".join([*pieces, data[done:]])
