"""A trained motion lifter as one `.npz`, as `networks.lifter_file` keeps the lifter."""

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
from hardmo_jax.networks.motion_input import MotionInput
from hardmo_jax.networks.motion_lifter import MotionLifter, MotionLifterOptions, MotionOutput

FORMAT_VERSION = 1
_ASSET = "motion_lifter.npz"


class MotionLifterFileError(ValueError):
    """A file is no motion lifter that this version reads; the message says what to do."""


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
        return nnx.merge(_structure(self.options), self.weights)(clip)


@functools.lru_cache(maxsize=8)
def _structure(options: MotionLifterOptions) -> Any:
    """The network without its arrays."""
    return nnx.split(nnx.eval_shape(lambda: MotionLifter(options, rngs=nnx.Rngs(0))))[0]


def initial_motion_weights(options: MotionLifterOptions, seed: int) -> Any:
    """Untrained weights."""
    return nnx.split(MotionLifter(options, rngs=nnx.Rngs(seed)))[1]


def save_motion_lifter(path: str | os.PathLike[str], trained: TrainedMotionLifter, record: dict[str, Any]) -> str:
    """Write a motion lifter whole or not at all.

    Args:
        path: `.npz`.
        trained: The motion lifter.
        record: Plain values that say where it comes from: command, seed, minutes, takes, the lifter that it corrects.

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


def read_motion_lifter(data: bytes, *, source: str) -> tuple[TrainedMotionLifter, dict[str, Any]]:
    """A motion lifter and the record of where it comes from.

    Args:
        data: The whole file.
        source: Name to use in messages.

    Raises:
        MotionLifterFileError: If it is damaged, of another kind or version, or does not fit its own description.
    """
    try:
        arrays = read_npz(data, source=source)
        meta = json.loads(str(arrays["meta"]))
        if meta["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format {meta['format_version']}, this version reads {FORMAT_VERSION}")
        width, hidden, gaps = (meta["options"][name] for name in ("width", "hidden", "gaps"))
        if not all(type(value) is int and 0 < value <= 8192 for value in (width, hidden, *gaps)) or len(gaps) > 32:
            raise ValueError(f"{meta['options']} is no motion lifter")
        options = MotionLifterOptions(width=width, hidden=hidden, gaps=tuple(gaps))
        expected = nnx.split(nnx.eval_shape(lambda: MotionLifter(options, rngs=nnx.Rngs(0))))[1]
        weights = weight_arrays.weights_from_arrays(arrays, expected)
        precision = weight_arrays.checked_precision(arrays["error_precision"], lifter.NUM_SPREAD)
        record = meta["record"]
    except (BodyFileError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise MotionLifterFileError(
            f"{source}: not a motion lifter ({error}); `python -m tools.train --config=configs/train_motion.py` makes "
            "one"
        ) from error
    return TrainedMotionLifter(weights=weights, error_precision=jnp.asarray(precision), options=options), record


@functools.lru_cache(maxsize=1)
def packaged_motion_lifter() -> TrainedMotionLifter:
    """The motion lifter that comes with the package.

    Raises:
        FileNotFoundError: If the package was installed without its data.
    """
    asset = resources.files("hardmo_jax").joinpath("networks", "assets", _ASSET)
    if not asset.is_file():
        raise FileNotFoundError(
            f"the package lacks networks/assets/{_ASSET}; reinstall hardmo_jax, or train one with "
            "`python -m tools.train --config=configs/train_motion.py`"
        )
    return read_motion_lifter(asset.read_bytes(), source=_ASSET)[0]
