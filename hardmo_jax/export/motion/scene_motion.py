"""Motion as every exporter of motion takes it: the people of one video or photo, in a world with z up.

The world is that of the labels: z up, the floor at 0, x to the right of the camera, y away from it. `y_up` turns
vectors to the axes of glTF, BVH and most animation programs, in which SMPL rests upright.
"""

import dataclasses
from typing import Literal

import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.export.source_names import ExportError

#: From a world with z up to one with y up: x stays, what was ahead is at -z.
Y_UP_FROM_Z_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])

#: Where the floor of a scene comes from: its labels; the lowest point of anybody, under a camera that is taken as
#: level; one here and the other there; or a file of motion, whose floor is as its author left it.
FloorSource = Literal["labels", "lowest_point", "mixed", "file"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackMotion:
    """One person over consecutive frames, none left out, with one shape."""

    name: str
    """What files of this person are called inside the scene, such as `person_00`; unique in its scene."""
    track_id: int
    """Of the labels."""
    first_frame: int
    """Frame of the scene where it begins."""
    params: BodyParams
    """NumPy arrays with frames along the first axis, betas repeated; world with z up, metres, radians. Rotations are
    as labels have them: a vector may jump by whole turns from a frame to the next."""
    is_labelled: Bool[np.ndarray, "T"]
    """Frames that have a label; the others lie between two that have, and were interpolated."""

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return len(self.is_labelled)

    @property
    def betas(self) -> Float[np.ndarray, "S"]:
        """The one shape."""
        return np.asarray(self.params.betas)[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneCamera:
    """The camera of each frame of a scene."""

    rotation: Float[np.ndarray, "T 3 3"]
    """From camera axes (OpenCV: x right, y down, z forward) to those of the world with z up."""
    position: Float[np.ndarray, "T 3"]
    """In the world, metres."""
    focal_length: Float[np.ndarray, "T 2"]
    """Pixels."""
    principal_point: Float[np.ndarray, "T 2"]
    """Pixels, the centre of the top-left pixel at (0, 0)."""
    image_size: tuple[int, int]
    """Width and height, pixels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneMotion:
    """Everybody in one video, photo or file of motion."""

    name: str
    """Relative path without suffix that files of this scene are called by; unique in an export, never absolute."""
    source_name: str
    """Name of the video, photo or file, without the folders of somebody's disk."""
    body: BodyModel
    """Of all of its people."""
    body_name: str
    """What labels call the body."""
    frames_per_second: float | None
    """None for a photo, which is one frame without a time."""
    num_frames: int
    """Of the scene: every track lies within."""
    first_source_frame: int
    """Frame of the video that frame 0 of the scene is."""
    tracks: tuple[TrackMotion, ...]
    """At least one."""
    camera: SceneCamera | None
    """One row a frame of the scene; None for motion that was read from a file."""
    floor: FloorSource
    """Where the floor comes from."""

    def rate(self, format_name: str) -> float:
        """Frames a second, for a format that must state them.

        Args:
            format_name: For the message.

        Raises:
            ExportError: If there is none.
        """
        if self.frames_per_second is None:
            raise ExportError(
                f"{self.source_name}: its labels have no frame rate, which {format_name} must state; a photo is one "
                "frame, and --fps=30 writes it as a motion of one"
            )
        return self.frames_per_second


def y_up(vectors: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Vectors of a world with z up in one with y up."""
    return np.asarray(vectors) @ Y_UP_FROM_Z_UP.T.astype(vectors.dtype)
