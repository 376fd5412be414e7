"""Trained networks as named arrays in half precision, and back: checked against the network that they are for."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hardmo_jax.array_types import Float
from hardmo_jax.body import learnt_files

_PREFIX = "weights."


def save_network(path: str | os.PathLike[str], trained: Any, version: int, record: Mapping[str, Any]) -> str:
    """Write a trained network whole or not at all.

    Args:
        path: `.npz`.
        trained: Its `weights`, `error_precision` and `options` are written.
        version: Of the format.
        record: Plain values that say where it comes from.

    Returns:
        SHA-256 of the file.
    """
    about = {"format_version": version, "options": dataclasses.asdict(trained.options), "record": record}
    arrays = {
        "meta": learnt_files.text(about),
        "error_precision": np.asarray(trained.error_precision, np.float16),
        **{f"{_PREFIX}{name}": np.asarray(leaf, np.float16) for name, leaf in named_leaves(trained.weights).items()},
    }
    return learnt_files.save(path, arrays)


def network_from_arrays(
    arrays: Mapping[str, np.ndarray], network: Callable[..., nnx.Module], options: Hashable, num_spread: int
) -> dict[str, Any]:
    """`weights` and `error_precision` of a file, in single precision.

    Args:
        arrays: Of a file.
        network: Class of the network.
        options: Of the network.
        num_spread: Rows of `error_precision`.

    Raises:
        KeyError: If an array is missing.
        ValueError: If one is of another shape or not finite, or the precision is not positive definite.
    """
    expected = _blank(network, options)[1]
    leaves = [
        jnp.asarray(learnt_files.numbers(arrays, f"{_PREFIX}{name}", leaf.shape), jnp.float32)
        for name, leaf in named_leaves(expected).items()
    ]
    weights = jax.tree.unflatten(jax.tree.structure(expected), leaves)
    return {"weights": weights, "error_precision": jnp.asarray(_checked_precision(arrays, num_spread))}


def _checked_precision(arrays: Mapping[str, np.ndarray], size: int) -> Float[np.ndarray, "P P"]:
    precision = learnt_files.numbers(arrays, "error_precision", (size, size)).astype(np.float32)
    if np.linalg.eigvalsh(0.5 * (precision + precision.T).astype(np.float64))[0] <= 0:
        raise ValueError("`error_precision` must be positive definite")
    return precision


def initial_network(network: Callable[..., nnx.Module], options: Hashable, seed: int) -> Any:
    """Untrained weights."""
    return nnx.split(network(options, rngs=nnx.Rngs(seed)))[1]


@functools.lru_cache(maxsize=16)
def structure(network: Callable[..., nnx.Module], options: Hashable) -> Any:
    """A network without its arrays."""
    return _blank(network, options)[0]


def _blank(network: Callable[..., nnx.Module], options: Hashable) -> tuple[Any, Any]:
    """A network without its arrays, and their shapes."""
    return nnx.split(nnx.eval_shape(lambda: network(options, rngs=nnx.Rngs(0))))


def weights_sha256(weights: Any) -> str:
    """Checksum of weights in single precision."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(weights):
        digest.update(np.asarray(leaf, np.float32).tobytes())
    return digest.hexdigest()


def named_leaves(weights: Any) -> dict[str, Any]:
    """Leaves by their path."""
    return {
        ".".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(weights)
    }
