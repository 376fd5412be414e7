"""Motion that networks over time learn from: runs of captured frames without a gap, with the take of each.

One `.npz` of plain arrays. Takes of the test and validation split are refused, as by `data.pose_pool`.
"""

import dataclasses
import json
import os
import pathlib

import numpy as np

from hardmo_jax.array_types import Float, Int
from hardmo_jax.body.array_files import BodyFileError, read_npz
from hardmo_jax.data import splits
from hardmo_jax.data.pose_pool import JOINTS
from hardmo_jax.labels import provenance

FORMAT_VERSION = 1


class MotionPoolError(ValueError):
    """A file is no pool of motion; the message says what to do."""


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
        if self.take_of.shape != self.run_lengths.shape or len(self.styles) != len(self.takes):
            raise ValueError("each run needs a take, and each take a style")
        if len(self.take_of) and not (self.take_of.min() >= 0 and self.take_of.max() < len(self.takes)):
            raise ValueError(f"`take_of` must count the {len(self.takes)} takes")
        if not 0 < self.frames_per_second < np.inf:
            raise ValueError(f"`frames_per_second` must be positive, got {self.frames_per_second}")
        for style, take in zip(self.styles, self.takes, strict=True):
            if style in splits.STYLES:
                splits.check_takes("train", {style: (take,)})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the pool whole or not at all."""
        meta = {
            "format_version": FORMAT_VERSION, "kind": "motion", "styles": self.styles, "takes": self.takes,
            "frames_per_second": self.frames_per_second,
        }  # fmt: skip
        with provenance.replacing(path) as temporary:
            np.savez(
                temporary,
                meta=np.array(json.dumps(meta)),
                body_pose=self.body_pose.astype(np.float32),
                pelvis=self.pelvis.astype(np.float32),
                run_lengths=self.run_lengths.astype(np.int32),
                take_of=self.take_of.astype(np.int32),
            )


def load_motion_pool(path: str | os.PathLike[str]) -> MotionPool:
    """Read a pool that `MotionPool.save` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        MotionPoolError: If it is damaged, of another kind or version, or holds takes that are not for training.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such pool of motion; `python -m tools.train` makes one")
    try:
        arrays = read_npz(path.read_bytes(), source=path.name)
        meta = json.loads(str(arrays["meta"]))
        if (meta["format_version"], meta["kind"]) != (FORMAT_VERSION, "motion"):
            raise ValueError(f"format {meta['format_version']} of {meta['kind']}")
        return MotionPool(
            body_pose=arrays["body_pose"].astype(np.float64),
            pelvis=arrays["pelvis"].astype(np.float64),
            run_lengths=arrays["run_lengths"],
            take_of=arrays["take_of"],
            styles=tuple(str(style) for style in meta["styles"]),
            takes=tuple(str(take) for take in meta["takes"]),
            frames_per_second=float(meta["frames_per_second"]),
        )
    except (BodyFileError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise MotionPoolError(f"{path}: not a pool of motion ({error}); delete it and train again") from error
