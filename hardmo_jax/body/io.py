"""Body-model files to NumPy arrays: what is published, `.npz` or `.pkl`, and what `tools.prepare_body` writes.

Everything is read into memory once, under caps, by readers that execute nothing: pickles by
`hardmo_jax.safe_pickle`, archives by `array_files`, which never unpickles. No jax here.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from hardmo_jax import safe_pickle
from hardmo_jax.body import compact, files, published
from hardmo_jax.body.array_files import WHERE, BodyFileError, read_npy, read_npz
from hardmo_jax.body.arrays import BodyArrays, check_shape, frozen, number_array
from hardmo_jax.body.families import HAND_SIDES


def load_arrays(
    path: str | os.PathLike[str],
    *,
    num_betas: int | None = 10,
    num_expression: int | None = None,
    gender: str | None = None,
    side: str | None = None,
    max_file_bytes: int = safe_pickle.MAX_FILE_BYTES,
) -> BodyArrays:
    """Read a body-model file as published.

    Format and family are told by the content, not by the name. Two things are not in published files and are read
    off the name or given: the gender, and the side of a MANO hand.

    Args:
        path: A `.npz` or `.pkl` file as published, or as converted from one.
        num_betas: Number of shape coefficients to keep; None keeps all that the file has.
        num_expression: Number of expression coefficients of SMPL-X to keep; None keeps up to ten.
        gender: `neutral`, `female` or `male`; None reads it off the name.
        side: `left` or `right`, of MANO; None reads it off the name.
        max_file_bytes: Largest file that is read.

    Returns:
        Checked arrays in the precision of the file (float32 or float64).

    Raises:
        FileNotFoundError: If nothing is at `path`.
        IsADirectoryError: If `path` is a folder; `files.find_body_file` searches one.
        BodyFileError: If the file is no such model, is damaged, or has fewer coefficients than asked for.
        UnsafePickleError: If a pickle asks for more than arrays and plain values.
        ValueError: If gender or side is unknown or contradicts the file's name.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder where a body-model file is meant")
    gender = files.checked_gender(path, gender)
    if side not in (None, *HAND_SIDES):
        raise ValueError(f"side must be one of {', '.join(HAND_SIDES)} or None, got {side!r}")
    named_side = files.side_of_name(path)
    if side and named_side and side != named_side:
        raise ValueError(f"{path} is a {named_side} hand by its name, and side={side!r} was asked for")
    data = files.read_file(path, max_file_bytes)
    if data[:4] == b"PK\x03\x04":
        arrays = read_npz(data, source=path.name, keys=(*published.KEYS, *compact.KEYS))
        if compact.FORMAT_KEY in arrays:
            return _from_compact(arrays, path, num_betas, num_expression, gender, side)
    else:
        arrays = _read_pickle(data, path.name, max_file_bytes)
    if not isinstance(arrays, dict):
        raise BodyFileError(
            f"{path.name} holds a {type(arrays).__name__}, not the dict of arrays of a body model; {WHERE}"
        )
    return published.from_published(
        arrays,
        data,
        source=path.name,
        num_betas=num_betas,
        num_expression=num_expression,
        gender=gender,
        side=side or named_side,
    )


def load_matrix(
    path: str | os.PathLike[str], *, max_file_bytes: int = safe_pickle.MAX_FILE_BYTES
) -> Float[np.ndarray, "K V"]:
    """Read one matrix: a `.npy`, or a pickle that holds one array or sparse matrix.

    Raises:
        FileNotFoundError: If nothing is at `path`.
        BodyFileError: If the file holds anything else, or numbers that are not finite.
        UnsafePickleError: If a pickle asks for more than arrays and plain values.
    """
    path = Path(path)
    data = files.read_file(path, max_file_bytes)
    value = (
        read_npy(data, source=path.name) if data[:6] == b"\x93NUMPY" else _read_pickle(data, path.name, max_file_bytes)
    )
    matrix = number_array(value, "the matrix", path.name)
    check_shape(matrix, ("K", "V"), "the matrix", path.name)
    return frozen(matrix.astype(np.float64))


def _read_pickle(data: bytes, source: str, max_file_bytes: int) -> Any:
    kind = safe_pickle.foreign_format(data)
    if kind is not None:
        raise BodyFileError(
            f"{source} is {kind}, not a body model; a .npz or .pkl file as published is expected; {WHERE}"
        )
    try:
        return safe_pickle.loads(data, source=source, max_file_bytes=max_file_bytes)
    except safe_pickle.CorruptPickleError as error:
        raise BodyFileError(f"{error}; a published .npz or .pkl file is expected") from error


def _from_compact(
    stored: dict[str, np.ndarray],
    path: Path,
    num_betas: int | None,
    num_expression: int | None,
    gender: str,
    side: str | None,
) -> BodyArrays:
    """Arrays of a compact file, which knows its gender and side itself."""
    arrays = compact.from_compact(stored, path.name, num_betas=num_betas, num_expression=num_expression)
    if gender != "unknown" and gender != arrays.gender:
        raise ValueError(f"{path} holds a {arrays.gender} model, and {gender!r} was asked for or is in its name")
    if side is not None and not arrays.family.endswith(side):
        raise ValueError(f"{path} holds {arrays.family}, and side={side!r} was asked for")
    return arrays
