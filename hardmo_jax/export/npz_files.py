"""Files of plain arrays, as the formats of others want them."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from hardmo_jax.array_types import Shaped
from hardmo_jax.whole_files import replacing


def write_npz(
    path: str | os.PathLike[str], arrays: Mapping[str, Shaped[np.ndarray, "..."]], *, is_compressed: bool
) -> pathlib.Path:
    """Write arrays to an `.npz`, whole or not at all.

    Args:
        path: File to write, exactly so named; an earlier one is replaced.
        arrays: By key; none holds Python objects, so that they are read with `allow_pickle=False`.
        is_compressed: Smaller and slower: for motion, and not for sets of thousands of people.

    Returns:
        The path.
    """
    named: dict[str, Any] = dict(arrays)
    with replacing(path) as temporary, temporary.open("wb") as file:
        (np.savez_compressed if is_compressed else np.savez)(file, **named)
    return pathlib.Path(path)
