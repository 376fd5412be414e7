"""Motion that networks over time learn from: runs of captured frames without a gap, with the take of each.

One `.npz` of plain arrays. Takes of the test and validation split are refused, as by `data.pose_pool`.
"""

import dataclasses
import os

import numpy as np

from hardmo_jax.array_types import Float, Int
from hardmo_jax.body import learnt_files
from hardmo_jax.data import pool_files
from hardmo_jax.data.pose_pool import JOINTS

FORMAT_VERSION = 1


class MotionPoolError(ValueError):
    """A file is no pool of motion; the message says what to do."""


_KIND = learnt_files.FileKind(name="a pool of motion", error=MotionPoolError, remedy="delete it and train again")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionPool:
    """R runs of N frames in all, one after the other; world axes, y up."""

    body_pose: Float[np.ndarray, "N 22 3"]
    """Axis-angle of the joints that SMPL and SMPL-H share, root first."""
    pelvis: Float[np.ndarray, "N 3"]
    """Place of the pelvis, in leg lengths."""
    run_lengths: Int[np.ndarray, "R"]
    """Frames of each run."""
    take_of: Int[np.ndarray, "R"]
    """Take that each run comes from."""
    styles: tuple[str, ...]
    """Kind of motion of each of the takes."""
    takes: tuple[str, ...]
    """Take: its name within the style."""
    frames_per_second: float

    def __post_init__(self) -> None:
        count = len(self.body_pose)
        if self.body_pose.shape[1:] != (len(JOINTS), 3) or self.pelvis.shape != (count, 3):
            raise ValueError(
                f"`body_pose` must be (N, {len(JOINTS)}, 3) and `pelvis` (N, 3), got {self.body_pose.shape} and "
                f"{self.pelvis.shape}"
            )
        if not (np.isfinite(self.body_pose).all() and np.isfinite(self.pelvis).all()):
            raise ValueError("`body_pose` and `pelvis` must be finite")
        if self.run_lengths.min(initial=1) < 1 or self.run_lengths.sum() != count:
            raise ValueError(f"`run_lengths` must be positive and add up to {count} frames")
        if not 0 < self.frames_per_second < np.inf:
            raise ValueError(f"`frames_per_second` must be positive, got {self.frames_per_second}")
        pool_files.check_labels(self.styles, self.takes, self.take_of, len(self.run_lengths))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the pool whole or not at all."""
        meta = {
            "format_version": FORMAT_VERSION, "kind": "motion", "styles": self.styles, "takes": self.takes,
            "frames_per_second": self.frames_per_second,
        }  # fmt: skip
        arrays = {name: getattr(self, name) for name in ("body_pose", "pelvis", "run_lengths", "take_of")}
        pool_files.save_pool(path, meta, **arrays)


def load_motion_pool(path: str | os.PathLike[str]) -> MotionPool:
    """Read a pool that `MotionPool.save` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        MotionPoolError: If it is damaged, of another kind or version, or holds takes that are not for training.
    """
    return pool_files.load_pool(path, _KIND, _from_arrays)


def _from_arrays(arrays: dict[str, np.ndarray]) -> MotionPool:
    meta = learnt_files.description(arrays, FORMAT_VERSION)
    if meta["kind"] != "motion":
        raise ValueError(f"it is of the kind {meta['kind']!r}, expected 'motion'")
    return MotionPool(
        body_pose=arrays["body_pose"].astype(np.float64),
        pelvis=arrays["pelvis"].astype(np.float64),
        run_lengths=arrays["run_lengths"],
        take_of=arrays["take_of"],
        frames_per_second=float(meta["frames_per_second"]),
        **pool_files.takes_of(meta),
    )
