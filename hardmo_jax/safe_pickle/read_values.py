"""What comes out of pickles that NumPy and Python have no plain type for: inert records of what the file says."""

import dataclasses
import math
from typing import Any

import numpy as np

from hardmo_jax.safe_pickle.errors import UnsafePickleError

_MAX_DENSE_BYTES = 1 << 28


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SparseMatrix:
    """A scipy.sparse matrix as plain coordinates, read without scipy."""

    rows: np.ndarray
    """Row index of each stored value, int64, shape `(N,)`."""
    columns: np.ndarray
    """Column index of each stored value, int64, shape `(N,)`."""
    values: np.ndarray
    """Stored values, shape `(N,)`; values at the same place add up."""
    shape: tuple[int, int]
    """Number of rows and columns."""

    def to_dense(self) -> np.ndarray:
        """Spell the matrix out.

        Returns:
            Array of shape `shape` and the type of `values`, in the machine's byte order.

        Raises:
            UnsafePickleError: If the dense array would exceed 256 MiB.
        """
        dtype = self.values.dtype.newbyteorder("=")
        if math.prod(self.shape) * dtype.itemsize > _MAX_DENSE_BYTES:
            raise UnsafePickleError(
                f"refused: a sparse matrix of shape {self.shape} is too large to be made dense "
                f"(cap {_MAX_DENSE_BYTES} bytes); keep it as rows, columns and values"
            )
        dense = np.zeros(self.shape, dtype)
        np.add.at(dense, (self.rows, self.columns), self.values)
        return dense


@dataclasses.dataclass(frozen=True)
class UnreadChumpy:
    """Marker of a chumpy expression whose value is not stored in the file."""

    class_name: str
    """Full name of the chumpy class."""


PERSISTENT_ID = "persistent id"
"""Name of the `Described` of something that the file leaves to whoever reads it."""
WITHIN_ITSELF = "a value that it is within"
"""Name of the `Described` that stands where a described object, or what it is made of, contains itself."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Described:
    """What a pickle says about an object or a name of a program; nothing was imported, made or called for it."""

    name: str
    """Full name of the class or function, or `PERSISTENT_ID`."""
    arguments: tuple[Any, ...] = ()
    """What it would be called with."""
    state: Any = None
    """What would become its attributes, usually a dict."""
    entries: dict[Any, Any] | list[Any] | None = None
    """What it would hold if it is like a dict or a list."""
