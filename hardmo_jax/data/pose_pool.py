"""Poses that networks and priors learn from, with the take that each comes from.

One `.npz` of plain arrays. Takes of the test and validation split are refused when a pool is made and again when it is
read, so that nothing that was trained on a pool has seen them.
"""

import dataclasses
import os

import numpy as np

from hardmo_jax.array_types import Float, Int
from hardmo_jax.body import learnt_files
from hardmo_jax.data import pool_files
from hardmo_jax.skeleton import layouts

FORMAT_VERSION = 1
JOINTS = layouts.SMPL_JOINTS[:22]


class PosePoolError(ValueError):
    """A file is no pool of poses; the message says what to do."""


_KIND = learnt_files.FileKind(name="a pool of poses", error=PosePoolError, remedy="delete it and train again")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PosePool:
    """N poses of motion capture; world axes, y up."""

    body_pose: Float[np.ndarray, "N 22 3"]
    """Axis-angle of the joints that SMPL and SMPL-H share, root first."""
    styles: tuple[str, ...]
    """Kind of motion of each of the takes."""
    takes: tuple[str, ...]
    """Take: its name within the style."""
    take_of: Int[np.ndarray, "N"]
    """Take that each pose comes from."""

    def __post_init__(self) -> None:
        if self.body_pose.shape[1:] != (len(JOINTS), 3):
            raise ValueError(f"`body_pose` of takes must be (N, {len(JOINTS)}, 3), got {self.body_pose.shape}")
        if not np.isfinite(self.body_pose).all():
            raise ValueError("`body_pose` must be finite")
        pool_files.check_labels(self.styles, self.takes, self.take_of, len(self.body_pose))

    def __len__(self) -> int:
        return len(self.body_pose)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the pool whole or not at all."""
        meta = {"format_version": FORMAT_VERSION, "styles": self.styles, "takes": self.takes}
        pool_files.save_pool(path, meta, body_pose=self.body_pose, take_of=self.take_of)


def load_pose_pool(path: str | os.PathLike[str]) -> PosePool:
    """Read a pool that `PosePool.save` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        PosePoolError: If it is damaged, of another kind or version, or holds takes that are not for training.
    """
    return pool_files.load_pool(path, _KIND, _from_arrays)


def _from_arrays(arrays: dict[str, np.ndarray]) -> PosePool:
    meta = learnt_files.description(arrays, FORMAT_VERSION)
    return PosePool(
        body_pose=arrays["body_pose"].astype(np.float64), take_of=arrays["take_of"], **pool_files.takes_of(meta)
    )
