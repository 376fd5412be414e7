"""Poses and shapes of motion capture as 4DHumans' discriminator learns from them.

An `.npz` of `body_pose` (N, 72), axis-angle with the root first, and `betas` (N, 10).
"""

import os

import numpy as np

from hardmo_jax.array_types import Float, Int
from hardmo_jax.data.published.npz_rows import NpzRows, number_rows
from hardmo_jax.data.training_records import TrainingDataError

_POSE, _ROOT, _BETAS = 72, 3, 10


class MocapPoses:
    """Bodies by number.

    Args:
        path: The `.npz`.

    Raises:
        FileNotFoundError: If there is none.
        TrainingDataError: If it lacks a field, a shape is another one, or a number is none.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        file = NpzRows(path)
        found = file.read(("body_pose", "betas"))
        if "betas" not in found:
            raise file.place.error("betas", "among the arrays", ", ".join(sorted(file.names)[:20]))
        self._pose = number_rows(found, "body_pose", ((_POSE,),), file.place)
        self._betas = number_rows(found, "betas", ((_BETAS,),), file.place)
        for name, values in (("body_pose", self._pose), ("betas", self._betas)):
            if not np.isfinite(values).all():
                raise TrainingDataError(f"{path}: `{name}` holds numbers that are none")

    def __len__(self) -> int:
        return len(self._pose)

    def rows(self, rows: Int[np.ndarray, "M"]) -> tuple[Float[np.ndarray, "M 69"], Float[np.ndarray, "M 10"]]:
        """Rotations of the 23 joints after the root, axis-angle, and betas."""
        return np.asarray(self._pose[rows, _ROOT:], np.float64), np.asarray(self._betas[rows], np.float64)
