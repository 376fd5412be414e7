"""A trained lifter as one `.npz`: weights in half precision, how its errors hang together, and where it comes from."""

import dataclasses
import functools
import json
import os
from importlib import resources
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hardmo_jax.array_types import AnyArray, Float
from hardmo_jax.body.array_files import BodyFileError, read_npz
from hardmo_jax.labels import provenance
from hardmo_jax.networks import lifter
from hardmo_jax.networks.lifter import Lifter, LifterOptions, LifterOutput

FORMAT_VERSION = 1
_ASSET = "lifter.npz"


class LifterFileError(ValueError):
    """A file is no lifter that this version reads; the message says what to do."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedLifter:
    """Weights and what else was learnt; passes through jit as an argument."""

    weights: Any
    """State of the network."""
    error_precision: Float[AnyArray, "P P"]
    """Inverse covariance of the first guess's error over its predicted spread, of people drawn anew from the takes of
    training."""
    options: LifterOptions = dataclasses.field(metadata={"static": True})

    def __call__(self, features: Float[AnyArray, "*batch F"]) -> LifterOutput:
        """Guesses of people, see `Lifter`."""
        return nnx.merge(_structure(self.options), self.weights)(features)


@functools.lru_cache(maxsize=8)
def _structure(options: LifterOptions) -> Any:
    """The network without its arrays."""
    return nnx.split(nnx.eval_shape(lambda: Lifter(options, rngs=nnx.Rngs(0))))[0]


def initial_weights(options: LifterOptions, seed: int) -> Any:
    """Untrained weights."""
    return nnx.split(Lifter(options, rngs=nnx.Rngs(seed)))[1]


def save_lifter(path: str | os.PathLike[str], trained: TrainedLifter, record: dict[str, Any]) -> str:
    """Write a lifter whole or not at all.

    Args:
        path: `.npz`.
        trained: The lifter.
        record: Plain values that say where it comes from: command, seed, minutes, takes.

    Returns:
        SHA-256 of the file.
    """
    meta = {"format_version": FORMAT_VERSION, "options": dataclasses.asdict(trained.options), "record": record}
    arrays = {"meta": np.array(json.dumps(meta, sort_keys=True))}
    arrays["error_precision"] = np.asarray(trained.error_precision, np.float16)
    for name, leaf in _named(trained.weights).items():
        arrays[f"weights.{name}"] = np.asarray(leaf, np.float16)
    with provenance.replacing(path) as temporary:
        np.savez(temporary, **arrays)  # pyright: ignore[reportArgumentType]
    return provenance.file_sha256(path)


def read_lifter(data: bytes, *, source: str) -> tuple[TrainedLifter, dict[str, Any]]:
    """A lifter and the record of where it comes from.

    Args:
        data: The whole file.
        source: Name to use in messages.

    Raises:
        LifterFileError: If it is damaged, of another kind or version, or does not fit its own description.
    """
    try:
        arrays = read_npz(data, source=source)
        meta = json.loads(str(arrays["meta"]))
        if meta["format_version"] != FORMAT_VERSION:
            raise LifterFileError(
                f"{source}: format {meta['format_version']}, this version reads {FORMAT_VERSION}; train it again"
            )
        if not all(type(value) is int for value in meta["options"].values()):
            raise ValueError("its options must be whole numbers")
        options = LifterOptions(**meta["options"])
        if options.width > 8192 or max(options.blocks, options.guesses) > 64:
            raise ValueError(f"{options} is no lifter")
        expected = nnx.split(nnx.eval_shape(lambda: Lifter(options, rngs=nnx.Rngs(0))))[1]
        leaves = {}
        for name, leaf in _named(expected).items():
            array = arrays[f"weights.{name}"]
            if array.shape != leaf.shape or array.dtype.kind != "f" or not np.isfinite(array).all():
                raise ValueError(f"weights {name!r} must be finite numbers of shape {leaf.shape}, got {array.shape}")
            leaves[name] = jnp.asarray(array, jnp.float32)
        precision = arrays["error_precision"].astype(np.float32)
        if precision.shape != (lifter.NUM_SPREAD,) * 2 or not np.isfinite(precision).all():
            raise ValueError(f"`error_precision` must be finite and square, got {precision.shape}")
        if np.linalg.eigvalsh(0.5 * (precision + precision.T).astype(np.float64))[0] <= 0:
            raise ValueError("`error_precision` must be positive definite")
        order = jax.tree.structure(expected)
        weights = jax.tree.unflatten(order, [leaves[name] for name in _named(expected)])
        record = meta["record"]
    except LifterFileError:
        raise
    except (BodyFileError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise LifterFileError(f"{source}: not a lifter ({error}); `python -m tools.train` makes one") from error
    return TrainedLifter(weights=weights, error_precision=jnp.asarray(precision), options=options), record


@functools.lru_cache(maxsize=1)
def packaged_lifter() -> TrainedLifter:
    """The lifter that comes with the package.

    Raises:
        FileNotFoundError: If the package was installed without its data.
    """
    asset = resources.files("hardmo_jax").joinpath("networks", "assets", _ASSET)
    if not asset.is_file():
        raise FileNotFoundError(
            f"the package lacks networks/assets/{_ASSET}; reinstall hardmo_jax, or train one with "
            "`python -m tools.train --config=configs/train_lifter.py`"
        )
    return read_lifter(asset.read_bytes(), source=_ASSET)[0]


def _named(weights: Any) -> dict[str, Any]:
    """Leaves by their path."""
    return {
        ".".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(weights)
    }
