"""Motion capture of one person as every reader gives it: a skeleton with its own names, and its rotations over time."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from hardmo_jax.array_types import Float


class MotionFileError(ValueError):
    """A motion capture file that cannot be read; the message says where, what was expected and what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionClip:
    """A skeleton and its motion. World axes: y up, metres; a skeleton at rest looks along +z, its left at +x.

    Ends of bones that have no rotation of their own (BVH's `End Site`) are joints named `<parent>_end`.
    """

    name: str
    """Name of the take, from the file."""
    joint_names: tuple[str, ...]
    """Joints as the file calls them, parents first."""
    parents: tuple[int, ...]
    """Parent of each joint, -1 for the root."""
    offsets: Float[np.ndarray, "J 3"]
    """Place of each joint at rest in the frame of its parent, metres; zero for the root."""
    rotations: Float[np.ndarray, "T J 3 3"]
    """Rotation of each joint relative to its parent; the identity at rest."""
    translations: Float[np.ndarray, "T J 3"]
    """Place of each joint in the frame of its parent over time, metres: the root's path, and `offsets` for bones that
    do not stretch."""
    frames_per_second: float
    """Frames a second of the motion, which a file can state wrongly."""

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return len(self.rotations)

    def rest_positions(self) -> Float[np.ndarray, "J 3"]:
        """Joints at rest, metres, the root at the origin."""
        places = np.zeros_like(self.offsets)
        for joint, parent in enumerate(self.parents[1:], start=1):
            places[joint] = places[parent] + self.offsets[joint]
        return places

    def world_motion(self) -> tuple[Float[np.ndarray, "T J 3 3"], Float[np.ndarray, "T J 3"]]:
        """Rotation from rest and place of every joint in the world, metres."""
        rotations, places = self.rotations.copy(), self.translations.copy()
        for joint, parent in enumerate(self.parents[1:], start=1):
            places[:, joint] = places[:, parent] + np.einsum("tij,tj->ti", rotations[:, parent], places[:, joint])
            rotations[:, joint] = rotations[:, parent] @ rotations[:, joint]
        return rotations, places

    def frames(self, frame_ids: Sequence[int] | np.ndarray) -> "MotionClip":
        """The same clip with some of its frames; the rate is kept as it is."""
        ids = np.asarray(frame_ids)
        return dataclasses.replace(self, rotations=self.rotations[ids], translations=self.translations[ids])

    def at_rate(self, frames_per_second: float) -> "MotionClip":
        """Every n-th frame, for the n that comes nearest to a rate; never a frame that was not captured.

        Raises:
            ValueError: If the rate is not positive.
        """
        if not (frames_per_second > 0 and math.isfinite(frames_per_second)):
            raise ValueError(f"`frames_per_second` must be positive, got {frames_per_second}")
        step = max(1, round(self.frames_per_second / frames_per_second))
        thinned = self.frames(np.arange(0, self.num_frames, step))
        return dataclasses.replace(thinned, frames_per_second=self.frames_per_second / step)
