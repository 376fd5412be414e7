"""A trained motion lifter as one `.npz`, as `networks.lifter_file` keeps the lifter."""

import dataclasses
import functools
import os
import re
from typing import Any

import jax
import numpy as np
from flax import nnx

from hardmo_jax.array_types import AnyArray, Float
from hardmo_jax.body import learnt_files
from hardmo_jax.networks import lifter, weight_arrays
from hardmo_jax.networks.lifter_file import TrainedLifter
from hardmo_jax.networks.motion_input import MotionInput
from hardmo_jax.networks.motion_lifter import MotionLifter, MotionLifterOptions, MotionOutput

FORMAT_VERSION = 1
_ASSET = "networks/assets/motion_lifter.npz"
_LIFTER_DIGEST = "lifter_weights_sha256"


class MotionLifterFileError(ValueError):
    """A file is no motion lifter that this version reads; the message says what to do."""


class OtherLifterError(ValueError):
    """A motion lifter is used with a lifter that it was not trained on; the message says what to do."""


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
    lifter_weights_sha256: str | None = dataclasses.field(default=None, metadata={"static": True})
    """Checksum of the weights of the lifter whose guesses it corrects; None if that is not known."""

    def __call__(self, clip: MotionInput) -> MotionOutput:
        """Guesses of every frame of clips, see `MotionLifter`."""
        return nnx.merge(weight_arrays.structure(MotionLifter, self.options), self.weights)(clip)

    def check_lifter(self, trained: TrainedLifter) -> None:
        """Refuse a lifter that makes other errors than those that were learnt.

        Raises:
            OtherLifterError: If it is not the one that this was trained on.
        """
        expected, found = self.lifter_weights_sha256, trained.weights_sha256
        if expected not in (None, found):
            raise OtherLifterError(
                f"this motion lifter corrects the lifter whose weights have the SHA-256 {expected}, and the one that "
                f"is given has {found}: pass the two that belong together, or train a motion lifter on this lifter "
                "(`python -m tools.train --config=configs/train_motion.py --lifter=FILE`)"
            )


def initial_motion_weights(options: MotionLifterOptions, seed: int) -> Any:
    """Untrained weights."""
    return weight_arrays.initial_network(MotionLifter, options, seed)


def save_motion_lifter(path: str | os.PathLike[str], trained: TrainedMotionLifter, record: dict[str, Any]) -> str:
    """Write a motion lifter whole or not at all.

    Args:
        path: `.npz`.
        trained: The motion lifter.
        record: Plain values that say where it comes from: command, seed, minutes, takes. The lifter that it corrects
            is added.

    Returns:
        SHA-256 of the file.
    """
    if trained.lifter_weights_sha256 is not None:
        record = {**record, _LIFTER_DIGEST: trained.lifter_weights_sha256}
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
    record = meta["record"]
    digest = record.get(_LIFTER_DIGEST)
    if not (digest is None or (isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest))):
        raise ValueError(f"`{_LIFTER_DIGEST}` must be 64 hexadecimal digits, got {str(digest)[:80]!r}")
    return TrainedMotionLifter(**learnt, options=options, lifter_weights_sha256=digest), record


@functools.lru_cache(maxsize=1)
def packaged_motion_lifter() -> TrainedMotionLifter:
    """The motion lifter that comes with the package.

    Raises:
        FileNotFoundError: If the package was installed without its data.
    """
    return _KIND.read_asset(_ASSET, _from_arrays)[0]
