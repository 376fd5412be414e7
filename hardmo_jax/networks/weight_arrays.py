"""Weights of a network as named arrays in half precision, and back: checked against the network that they are for."""

import json
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import Float

_PREFIX = "weights."


def weights_to_arrays(weights: Any) -> dict[str, np.ndarray]:
    """Arrays of a file, by the path of each leaf.

    Args:
        weights: State of a network.
    """
    return {f"{_PREFIX}{name}": np.asarray(leaf, np.float16) for name, leaf in named_leaves(weights).items()}


def weights_from_arrays(arrays: Mapping[str, np.ndarray], expected: Any) -> Any:
    """Weights in single precision.

    Args:
        arrays: Of a file.
        expected: State of the same network, whose leaves say shapes.

    Raises:
        KeyError: If an array is missing.
        ValueError: If one is of another shape, or not finite.
    """
    leaves = []
    for name, leaf in named_leaves(expected).items():
        array = arrays[f"{_PREFIX}{name}"]
        if array.shape != leaf.shape or array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ValueError(f"weights {name!r} must be finite numbers of shape {leaf.shape}, got {array.shape}")
        leaves.append(jnp.asarray(array, jnp.float32))
    return jax.tree.unflatten(jax.tree.structure(expected), leaves)


def checked_precision(array: np.ndarray, size: int) -> Float[np.ndarray, "P P"]:
    """The matrix of a file that says how errors hang together.

    Raises:
        ValueError: If it is of another size, not finite, or not positive definite.
    """
    precision = array.astype(np.float32)
    if precision.shape != (size, size) or not np.isfinite(precision).all():
        raise ValueError(f"`error_precision` must be finite and {size} x {size}, got {precision.shape}")
    if np.linalg.eigvalsh(0.5 * (precision + precision.T).astype(np.float64))[0] <= 0:
        raise ValueError("`error_precision` must be positive definite")
    return precision


def description(version: int, options: Mapping[str, Any], record: Mapping[str, Any]) -> np.ndarray:
    """The text of a file that says what it is."""
    return np.array(json.dumps({"format_version": version, "options": options, "record": record}, sort_keys=True))


def named_leaves(weights: Any) -> dict[str, Any]:
    """Leaves by their path."""
    return {
        ".".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(weights)
    }
