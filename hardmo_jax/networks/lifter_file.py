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
from hardmo_jax.networks import lifter, weight_arrays
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
    arrays = {
        "meta": weight_arrays.description(FORMAT_VERSION, dataclasses.asdict(trained.options), record),
        "error_precision": np.asarray(trained.error_precision, np.float16),
        **weight_arrays.weights_to_arrays(trained.weights),
    }
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
        weights = weight_arrays.weights_from_arrays(arrays, expected)
        precision = weight_arrays.checked_precision(arrays["error_precision"], lifter.NUM_SPREAD)
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
