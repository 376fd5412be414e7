"""From inert values to what the caller gets: bounded in depth and number, with places that are checked."""

import math
from typing import Any

import numpy as np

from hardmo_jax.safe_pickle._allowed_names import CHUMPY_ARRAYS, CHUMPY_SELECTIONS
from hardmo_jax.safe_pickle._making import Maker
from hardmo_jax.safe_pickle._parts import PLAIN_TYPES, Array, Instance, brief
from hardmo_jax.safe_pickle.read_values import SparseMatrix, UnreadChumpy

_MAX_DEPTH = 64
_MAX_EXPANDED_VALUES = 5_000_000  # counted with repetition: a shared list counts as often as it is met


class Finisher(Maker):
    """A pickle whose values are turned into results.

    Args:
        data: The pickle.
        source: Name to use in messages.
    """

    def __init__(self, data: bytes, source: str) -> None:
        super().__init__(data, source)
        self.finished: dict[int, tuple[Any, int]] = {}
        self.in_progress: set[int] = set()

    def finish(self, node: Any, depth: int) -> tuple[Any, int]:
        """Turn an inert value into what the caller gets, with the number of values it expands to."""
        if type(node) in PLAIN_TYPES or isinstance(node, np.generic):
            return node, 1
        if depth > _MAX_DEPTH:
            raise self.unsafe(f"values nested more than {_MAX_DEPTH} deep")
        if id(node) in self.finished:
            return self.finished[id(node)]
        if id(node) in self.in_progress:
            return self.finish_within_itself(), 1
        self.in_progress.add(id(node))
        value, count = self.finish_new(node, depth)
        if count > _MAX_EXPANDED_VALUES:
            raise self.unsafe(f"it expands to more than {_MAX_EXPANDED_VALUES} values")
        self.in_progress.discard(id(node))
        self.finished[id(node)] = value, count
        return value, count

    def finish_within_itself(self) -> Any:
        raise self.unsafe("a value that contains itself")

    def finish_new(self, node: Any, depth: int) -> tuple[Any, int]:
        if type(node) is list or type(node) is tuple:
            parts = [self.finish(item, depth + 1) for item in node]
            return type(node)(value for value, _ in parts), 1 + sum(count for _, count in parts)
        if type(node) is dict:
            parts = [(key, *self.finish(item, depth + 1)) for key, item in node.items()]
            made = {key: value for key, value, _ in parts}
            return made, 1 + len(parts) + sum(count for _, _, count in parts)
        if type(node) is set or type(node) is frozenset:
            return node, 1 + len(node)
        if type(node) is Array and node.value is not None:
            return node.value, 1
        if type(node) is Array:
            raise self.corrupt("an array was announced and never filled")
        if type(node) is Instance and node.state is None:
            raise self.corrupt(f"a {node.recipe.name} was announced and never filled")
        if type(node) is Instance and node.recipe.kind == "chumpy":
            return self.finish_chumpy(node, depth), 1
        if type(node) is Instance:
            return self.finish_sparse(node, depth), 1
        raise self.unsafe(f"a bare {type(node).__name__.lower()} as a value")

    def finish_field(self, node: Instance, names: tuple[str, ...], depth: int) -> Any:
        for name in names:
            if node.state is not None and name in node.state:
                return self.finish(node.state[name], depth + 1)[0]
        raise self.corrupt(f"a {node.recipe.name} lacks its {names[0]!r}")

    def finish_integers(self, value: Any, what: str) -> np.ndarray:
        if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind not in "iu":
            raise self.corrupt(f"the {what} of a stored array are not a list of integers")
        self.spend(8 * value.size)
        return value.astype(np.int64)

    def finish_sparse(self, node: Instance, depth: int) -> SparseMatrix:
        name, layout = node.recipe.name, node.recipe.kind
        shape = self.finish_field(node, ("_shape", "shape"), depth)
        shape = self.check_shape(shape)
        if len(shape) != 2:
            raise self.unsafe(f"a {name} of shape {brief(shape)}")
        values = self.finish_field(node, ("data",), depth)
        if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "biufc":
            raise self.corrupt(f"the data of a {name} are not a list of numbers")
        if layout == "coo":
            rows, columns = self.coordinates(node, depth)
        else:
            minor = self.finish_integers(self.finish_field(node, ("indices",), depth), "indices")
            starts = self.finish_integers(self.finish_field(node, ("indptr",), depth), "indptr")
            num_major = shape[1] if layout == "csc" else shape[0]
            if starts.size != num_major + 1 or starts[0] != 0:
                raise self.corrupt(f"the indptr of a {name} does not fit its shape {shape}")
            if not 0 <= starts.min() <= starts.max() <= min(minor.size, values.size):
                raise self.corrupt(f"the indptr of a {name} points outside its data")
            lengths = np.diff(starts)
            if np.any(lengths < 0):
                raise self.corrupt(f"the indptr of a {name} runs backwards")
            used = int(starts[-1])
            self.spend(8 * used)
            minor, values = minor[:used], values[:used]
            major = np.repeat(np.arange(num_major, dtype=np.int64), lengths)
            rows, columns = (minor, major) if layout == "csc" else (major, minor)
        if not rows.size == columns.size == values.size:
            raise self.corrupt(f"the indices and data of a {name} differ in length")
        for indices, size in ((rows, shape[0]), (columns, shape[1])):
            if indices.size and not 0 <= indices.min() <= indices.max() < size:
                raise self.corrupt(f"an index of a {name} lies outside its shape {shape}")
        return SparseMatrix(rows=rows, columns=columns, values=values, shape=(shape[0], shape[1]))

    def coordinates(self, node: Instance, depth: int) -> tuple[np.ndarray, np.ndarray]:
        if node.state is not None and "coords" in node.state:
            pair = self.finish_field(node, ("coords",), depth)
        else:
            pair = tuple(self.finish_field(node, (name,), depth) for name in ("row", "col"))
        if type(pair) is not tuple or len(pair) != 2:
            raise self.corrupt(f"the coordinates of a {node.recipe.name} are not a pair")
        return self.finish_integers(pair[0], "rows"), self.finish_integers(pair[1], "columns")

    def finish_chumpy(self, node: Instance, depth: int) -> Any:
        """Read what chumpy stores as an array; an expression of arrays stays unread."""
        name, state = node.recipe.name, node.state or {}
        if name in CHUMPY_ARRAYS and "x" in state:
            value = self.finish_field(node, ("x",), depth)
            if isinstance(value, (np.ndarray, np.generic, float, int)):
                return np.asarray(value)
        elif name in CHUMPY_SELECTIONS and {"a", "idxs", "preferred_shape"} <= state.keys():
            source = self.finish_field(node, ("a",), depth)
            if isinstance(source, np.ndarray):
                return self.select(node, source, depth)
        return UnreadChumpy(name)

    def select(self, node: Instance, source: np.ndarray, depth: int) -> np.ndarray:
        """Pick entries of the flattened source, as chumpy's Select does (MANO and SMPL-H shape bases)."""
        chosen = self.finish_field(node, ("idxs",), depth)
        if isinstance(chosen, np.ndarray) and chosen.flags.c_contiguous:
            chosen = chosen.reshape(-1)
        indices = self.finish_integers(chosen, "idxs")
        shape = self.finish_field(node, ("preferred_shape",), depth)
        shape = self.check_shape(shape)
        if math.prod(shape) != indices.size:
            raise self.corrupt("the shape of a chumpy Select does not fit its indices")
        if indices.size and not 0 <= indices.min() <= indices.max() < source.size:
            raise self.corrupt("a chumpy Select points outside its source")
        self.spend(indices.size * source.dtype.itemsize)
        return source.flat[indices].reshape(shape)
