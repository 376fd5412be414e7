"""Poses that networks and priors learn from, with the take that each comes from.

One `.npz` of plain arrays. Takes of the test and validation split are refused when a pool is made and again when it is
read, so that nothing that was trained on a pool has seen them.
"""

import dataclasses
import json
import os
import pathlib

import numpy as np

from hardmo_jax.array_types import Float, Int
from hardmo_jax.body.array_files import BodyFileError, read_npz
from hardmo_jax.data import splits
from hardmo_jax.labels import provenance
from hardmo_jax.skeleton import layouts

FORMAT_VERSION = 1
JOINTS = layouts.SMPL_JOINTS[:22]


class PosePoolError(ValueError):
    """A file is no pool of poses; the message says what to do."""


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
        if self.body_pose.shape[1:] != (len(JOINTS), 3) or self.take_of.dtype.kind != "i" or self.take_of.ndim != 1:
            raise ValueError(
                f"`body_pose` must be (N, {len(JOINTS)}, 3) and `take_of` whole numbers (N,), got "
                f"{self.body_pose.shape} and {self.take_of.shape} of {self.take_of.dtype}"
            )
        if len(self.styles) != len(self.takes) or len(self.take_of) != len(self.body_pose):
            raise ValueError(
                f"{len(self.body_pose)} poses of {len(self.takes)} takes, but {len(self.take_of)} and "
                f"{len(self.styles)} labels of them"
            )
        if len(self.take_of) and not (self.take_of.min() >= 0 and self.take_of.max() < len(self.takes)):
            raise ValueError(f"`take_of` must count the {len(self.takes)} takes")
        if not np.isfinite(self.body_pose).all():
            raise ValueError("`body_pose` must be finite")
        for style, take in zip(self.styles, self.takes, strict=True):
            if style in splits.STYLES:
                splits.check_takes("train", {style: (take,)})

    def __len__(self) -> int:
        return len(self.body_pose)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the pool whole or not at all."""
        meta = {"format_version": FORMAT_VERSION, "styles": self.styles, "takes": self.takes}
        with provenance.replacing(path) as temporary:
            np.savez(
                temporary,
                meta=np.array(json.dumps(meta)),
                body_pose=self.body_pose.astype(np.float32),
                take_of=self.take_of.astype(np.int32),
            )


def load_pose_pool(path: str | os.PathLike[str]) -> PosePool:
    """Read a pool that `PosePool.save` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        PosePoolError: If it is damaged, of another kind or version, or holds takes that are not for training.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such pool of poses; `python -m tools.train` makes one")
    try:
        arrays = read_npz(path.read_bytes(), source=path.name)
        meta = json.loads(str(arrays["meta"]))
        if meta["format_version"] != FORMAT_VERSION:
            raise PosePoolError(f"{path}: format {meta['format_version']}, this version reads {FORMAT_VERSION}")
        return PosePool(
            body_pose=arrays["body_pose"].astype(np.float64),
            styles=tuple(str(style) for style in meta["styles"]),
            takes=tuple(str(take) for take in meta["takes"]),
            take_of=arrays["take_of"],
        )
    except PosePoolError:
        raise
    except (BodyFileError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise PosePoolError(f"{path}: not a pool of poses ({error}); delete it and train again") from error
