"""A trained lifter as one `.npz`: weights in half precision, how its errors hang together, and where it comes from."""

import dataclasses
import functools
import os
from typing import Any

import jax
import numpy as np
from flax import nnx

from hardmo_jax.array_types import AnyArray, Float
from hardmo_jax.body import learnt_files
from hardmo_jax.networks import lifter, weight_arrays
from hardmo_jax.networks.lifter import Lifter, LifterOptions, LifterOutput

FORMAT_VERSION = 1
_ASSET = "networks/assets/lifter.npz"


class LifterFileError(ValueError):
    """A file is no lifter that this version reads; the message says what to do."""


_KIND = learnt_files.FileKind(
    name="a lifter",
    error=LifterFileError,
    remedy="`python -m tools.train --config=configs/train_lifter.py` makes one",
)


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
        return nnx.merge(weight_arrays.structure(Lifter, self.options), self.weights)(features)

    @functools.cached_property
    def weights_sha256(self) -> str:
        """Checksum of the weights, wherever they come from."""
        return weight_arrays.weights_sha256(self.weights)


def initial_weights(options: LifterOptions, seed: int) -> Any:
    """Untrained weights."""
    return weight_arrays.initial_network(Lifter, options, seed)


def save_lifter(path: str | os.PathLike[str], trained: TrainedLifter, record: dict[str, Any]) -> str:
    """Write a lifter whole or not at all.

    Args:
        path: `.npz`.
        trained: The lifter.
        record: Plain values that say where it comes from: command, seed, minutes, takes.

    Returns:
        SHA-256 of the file.
    """
    return weight_arrays.save_network(path, trained, FORMAT_VERSION, record)


def read_lifter(data: bytes, *, source: str) -> tuple[TrainedLifter, dict[str, Any]]:
    """A lifter and the record of where it comes from.

    Args:
        data: The whole file.
        source: Name to use in messages.

    Raises:
        LifterFileError: If it is damaged, of another kind or version, or does not fit its own description.
    """
    return _KIND.read(data, _from_arrays, source=source)


def _from_arrays(arrays: dict[str, np.ndarray]) -> tuple[TrainedLifter, dict[str, Any]]:
    meta = learnt_files.description(arrays, FORMAT_VERSION)
    if not all(type(value) is int for value in meta["options"].values()):
        raise ValueError("its options must be whole numbers")
    options = LifterOptions(**meta["options"])
    if options.width > 8192 or max(options.blocks, options.guesses) > 64:
        raise ValueError(f"{options} is no lifter")
    learnt = weight_arrays.network_from_arrays(arrays, Lifter, options, lifter.NUM_SPREAD)
    return TrainedLifter(**learnt, options=options), meta["record"]


@functools.lru_cache(maxsize=1)
def packaged_lifter() -> TrainedLifter:
    """The lifter that comes with the package.

    Raises:
        FileNotFoundError: If the package was installed without its data.
    """
    return _KIND.read_asset(_ASSET, _from_arrays)[0]
