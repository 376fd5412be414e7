"""Body-model files to NumPy arrays: what is published, `.npz` or `.pkl`, and what `tools.prepare_body` writes.

Everything is read into memory once, under caps, by readers that execute nothing: pickles by
`hardmo_jax.safe_pickle`, archives by `array_files`, which never unpickles. No jax here.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from hardmo_jax import safe_pickle
from hardmo_jax.body import compact, files, published
from hardmo_jax.body.array_files import WHERE, BodyFileError, read_npy, read_npz
from hardmo_jax.body.arrays import BodyArrays, frozen, keep_coefficients, shaped_array
from hardmo_jax.body.families import FAMILIES

_MODEL = "a .npz or .pkl file as published is expected"
_MATRIX = "a .npy or .pkl file with one matrix is expected"


def load_arrays(
    path: str | os.PathLike[str],
    *,
    num_betas: int | None = 10,
    num_expression: int | None = None,
    family: str | None = None,
    gender: str | None = None,
    side: str | None = None,
    max_file_bytes: int = safe_pickle.MAX_FILE_BYTES,
) -> BodyArrays:
    """Read a body-model file with the coefficients that are asked for.

    Args:
        path: A `.npz` or `.pkl` file as published, as converted from one, or as written by `tools.prepare_body`.
        num_betas: Number of shape coefficients to keep; None keeps all that the file has.
        num_expression: Number of expression coefficients of SMPL-X to keep; None keeps up to ten.
        family: As of `read_arrays`.
        gender: As of `read_arrays`.
        side: As of `read_arrays`.
        max_file_bytes: Largest file that is read.

    Returns:
        Checked arrays in the precision of the file (float32 or float64).

    Raises:
        BodyFileError: If the file has fewer coefficients than asked for; and all that `read_arrays` raises.
        ValueError: If a number of coefficients makes no sense; and all that `read_arrays` raises.
    """
    arrays, is_compact = _read(Path(path), family, gender, side, max_file_bytes)
    hint = ", or prepare the published file again with --num_betas=all --num_expression=all" if is_compact else ""
    return keep_coefficients(
        arrays, num_betas=num_betas, num_expression=num_expression, source=Path(path).name, hint=hint
    )


def read_arrays(
    path: str | os.PathLike[str],
    *,
    family: str | None = None,
    gender: str | None = None,
    side: str | None = None,
    max_file_bytes: int = safe_pickle.MAX_FILE_BYTES,
) -> BodyArrays:
    """Read a body-model file with every coefficient that it has.

    Format and family are told by the content, not by the name. Two things are not in published files and are read
    off the name or given: the gender, and the side of a MANO hand.

    Args:
        path: A `.npz` or `.pkl` file as published, as converted from one, or as written by `tools.prepare_body`.
        family: `smpl`, `smplh`, `smplx` or `mano` if the file must be one; None takes what it is.
        gender: `neutral`, `female` or `male`; None reads it off the name.
        side: `left` or `right`, of MANO; None reads it off the name.
        max_file_bytes: Largest file that is read.

    Returns:
        Checked arrays in the precision of the file (float32 or float64).

    Raises:
        FileNotFoundError: If nothing is at `path`.
        IsADirectoryError: If `path` is a folder; `files.find_body_file` searches one.
        BodyFileError: If the file is no such model, or is damaged.
        UnsafePickleError: If a pickle asks for more than arrays and plain values.
        ValueError: If family, gender or side is unknown, or contradicts the name or the content of the file.
    """
    return _read(Path(path), family, gender, side, max_file_bytes)[0]


def load_matrix(
    path: str | os.PathLike[str], *, max_file_bytes: int = safe_pickle.MAX_FILE_BYTES
) -> Float[np.ndarray, "K V"]:
    """Read one matrix: a `.npy`, or a pickle that holds one array or sparse matrix.

    Raises:
        FileNotFoundError: If nothing is at `path`.
        IsADirectoryError: If `path` is a folder.
        BodyFileError: If the file holds anything else, or numbers that are not finite.
        UnsafePickleError: If a pickle asks for more than arrays and plain values.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no regressor at {path}; {_MATRIX}")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder where a regressor is meant; {_MATRIX}")
    data = files.read_file(path, max_file_bytes)
    if data[:6] == b"\x93NUMPY":
        value = read_npy(data, source=path.name)
    else:
        value = _read_pickle(data, path.name, f"a regressor; {_MATRIX}")
    matrix = shaped_array(value, ("K", "V"), "the matrix", path.name)
    return frozen(matrix.astype(np.float64))


def _read(
    path: Path, family: str | None, gender: str | None, side: str | None, max_file_bytes: int
) -> tuple[BodyArrays, bool]:
    """The whole model, and whether the file is one of our own."""
    if path.is_dir():
        raise IsADirectoryError(
            f"{path} is a folder where a body-model file is meant; give the file, or let hm.load_body search"
        )
    files.check_words(family, gender, side)
    gender = files.checked_gender(path, gender)
    named_side = files.side_of_name(path)
    if side and named_side and side != named_side:
        raise ValueError(
            f"{path} is a {named_side} hand by its name, and side={side!r} was asked for; leave side out or rename it"
        )
    data = files.read_file(path, max_file_bytes)
    is_compact = False
    if data[:4] == b"PK\x03\x04":
        keys = (*published.KEYS, *compact.KEYS)
        stored = read_npz(data, source=path.name, keys=keys, seal=compact.FORMAT_KEY)
        is_compact = compact.FORMAT_KEY in stored
    else:
        stored = _read_pickle(data, path.name, f"a body model; {_MODEL}; {WHERE}")
    if not isinstance(stored, dict):
        raise BodyFileError(
            f"{path.name} holds a {type(stored).__name__}, not the dict of arrays of a body model; {WHERE}"
        )
    if is_compact:
        arrays = _with_gender(compact.from_compact(stored, path.name), gender, path)
    else:
        arrays = published.from_published(stored, data, source=path.name, gender=gender, side=side or named_side)
    base, _, held_side = arrays.family.partition("_")
    title = FAMILIES[arrays.family].title
    if family not in (None, base):
        raise BodyFileError(
            f"{path} is a {title} model ({len(arrays.parents)} joints), and family={family!r} was asked for; give "
            f"family={base!r} or another file"
        )
    if side not in (None, held_side):
        raise ValueError(f"{path} holds {title}, and side={side!r} was asked for; leave side out or give another file")
    return arrays, is_compact


def _with_gender(arrays: BodyArrays, gender: str, path: Path) -> BodyArrays:
    """A model of one of our own files, which knows its gender unless the published file did not say."""
    if gender in ("unknown", arrays.gender):
        return arrays
    if arrays.gender == "unknown":
        return dataclasses.replace(arrays, gender=gender)
    raise ValueError(
        f"{path} holds a {arrays.gender} model, and {gender!r} was asked for or is in its name; leave gender out or "
        "rename it"
    )


def _read_pickle(data: memoryview, source: str, expected: str) -> Any:
    kind = safe_pickle.foreign_format(bytes(data[:512]))
    if kind is not None:
        raise BodyFileError(f"{source} is {kind}, not {expected}")
    try:
        return safe_pickle.loads(bytes(data), source=source, max_file_bytes=len(data))
    except safe_pickle.CorruptPickleError as error:
        raise BodyFileError(f"{error}, if it is {expected}") from error
