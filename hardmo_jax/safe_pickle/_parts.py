"""Values under construction: inert, and never what the file calls them."""

from typing import Any

import numpy as np

from hardmo_jax.safe_pickle._allowed_names import Recipe

SINGLE_BYTE = ("b1", "i1", "u1")
KEY_TYPES = (str, bytes, int, bool, type(None))
PLAIN_TYPES = (*KEY_TYPES, float)


def brief(value: Any) -> str:
    """Show a value of the file in a message; containers by type only, they may be cyclic or huge."""
    if type(value) in (str, bytes):
        return ascii(value[:60])
    if type(value) in (int, float, bool, type(None)):
        return repr(value)
    if type(value) is tuple and len(value) <= 4 and all(type(item) is int for item in value):
        return repr(value)
    return f"a {type(value).__name__.lower()}"


class DType:
    """A NumPy dtype under construction."""

    __slots__ = ("built", "code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order, self.built = code, "|" if code in SINGLE_BYTE else "<", False

    def to_numpy(self) -> np.dtype:
        return np.dtype(self.order + self.code)


class Array:
    """An ndarray under construction; `value` is set by BUILD."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: np.ndarray | None = None


class Instance:
    """An inert holder for the state of a scipy or chumpy object."""

    __slots__ = ("recipe", "state")

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.state: dict[Any, Any] | None = None
