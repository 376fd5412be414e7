"""A trained motion lifter as one `.npz`, as `networks.lifter_file` keeps the lifter."""

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
from hardmo_jax.networks.motion_input import MotionInput
from hardmo_jax.networks.motion_lifter import MotionLifter, MotionLifterOptions, MotionOutput

FORMAT_VERSION = 1
_ASSET = "networks/assets/motion_lifter.npz"


class MotionLifterFileError(ValueError):
    """A file is no motion lifter that this version reads; the message says what to do."""


_KIND = learnt_files.FileKind(
    name="a motion lifter",
    error=MotionLifterFileError,
    remedy="`python -m tools.train --config=configs/train_motion.py` makes one",
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedMotionLifter:
    """Weights and what else was learnt; passes through jit as an argument."""

    weights: Any
    """State of the network."""
    error_precision: Float[AnyArray, "P P"]
    """Inverse covariance of the error of a frame over its predicted spread."""
    options: MotionLifterOptions = dataclasses.field(metadata={"static": True})

    def __call__(self, clip: MotionInput) -> MotionOutput:
        """Guesses of every frame of clips, see `MotionLifter`."""
        return nnx.merge(weight_arrays.structure(MotionLifter, self.options), self.weights)(clip)


def initial_motion_weights(options: MotionLifterOptions, seed: int) -> Any:
    """Untrained weights."""
    return weight_arrays.initial_network(MotionLifter, options, seed)


def save_motion_lifter(path: str | os.PathLike[str], trained: TrainedMotionLifter, record: dict[str, Any]) -> str:
    """Write a motion lifter whole or not at all.

    Args:
        path: `.npz`.
        trained: The motion lifter.
        record: Plain values that say where it comes from: command, seed, minutes, takes, the lifter that it corrects.

    Returns:
        SHA-256 of the file.
    """
    return weight_arrays.save_network(path, trained, FORMAT_VERSION, record)


def read_motion_lifter(data: bytes, *, source: str) -> tuple[TrainedMotionLifter, dict[str, Any]]:
    """A motion lifter and the record of where it comes from.

    Args:
        data: The whole file.
        source: Name to use in messages.

    Raises:
        MotionLifterFileError: If it is damaged, of another kind or version, or does not fit its own description.
    """
    return _KIND.read(data, _from_arrays, source=source)


def _from_arrays(arrays: dict[str, np.ndarray]) -> tuple[TrainedMotionLifter, dict[str, Any]]:
    meta = learnt_files.description(arrays, FORMAT_VERSION)
    width, hidden, gaps = (meta["options"][name] for name in ("width", "hidden", "gaps"))
    if not all(type(value) is int and 0 < value <= 8192 for value in (width, hidden, *gaps)) or len(gaps) > 32:
        raise ValueError(f"{meta['options']} is no motion lifter")
    options = MotionLifterOptions(width=width, hidden=hidden, gaps=tuple(gaps))
    learnt = weight_arrays.network_from_arrays(arrays, MotionLifter, options, lifter.NUM_SPREAD)
    return TrainedMotionLifter(**learnt, options=options), meta["record"]


@functools.lru_cache(maxsize=1)
def packaged_motion_lifter() -> TrainedMotionLifter:
    """The motion lifter that comes with the package.

    Raises:
        FileNotFoundError: If the package was installed without its data.
    """
    return _KIND.read_asset(_ASSET, _from_arrays)[0]
