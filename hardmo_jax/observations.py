"""What was measured of one or many people: keypoints with their confidence, and the camera that saw them.

The typed hand-over from perception (or a keypoint file, or another project) to the fit. Left and right are
the person's own; coordinates are full-image pixels, x right, y down, the centre of the top-left pixel at
(0, 0); 3D keypoints are metres in the axes of an OpenCV camera (x right, y down, z forward).
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from hardmo_jax.array_types import AnyArray, Float
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.skeleton import layouts


class ObservationError(ValueError):
    """Observations that cannot be fitted; the message says why and what to pass instead."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Observations:
    """Keypoints of a batch of people. Every array is optional except that one kind must be there."""

    keypoints_2d: Float[AnyArray, "*batch K 2"] | None = None
    """Image points in pixels of the full image."""
    confidence: Float[AnyArray, "*batch K"] | None = None
    """Weight of each 2D point in [0, 1]; 0 means absent."""
    keypoints_3d: Float[AnyArray, "*batch K 3"] | None = None
    """Points in metres, camera axes. Beside 2D keypoints only their positions relative to each other count; alone
    they are absolute positions in the camera frame."""
    confidence_3d: Float[AnyArray, "*batch K"] | None = None
    """Weight of each 3D point in [0, 1]."""
    bbox: Float[AnyArray, "*batch 4"] | None = None
    """Person box (x_min, y_min, x_max, y_max) in pixels; derived from the keypoints if absent."""
    camera: Camera | None = None
    """Camera of the picture; needed by anything that projects."""
    layout: str = dataclasses.field(default="openpose25", metadata={"static": True})
    """Name of the keypoint layout in `skeleton.layouts`."""

    def __post_init__(self) -> None:
        # Inside jax transformations the leaves may be tracers, None or placeholders: check real arrays only.
        arrays = {
            "keypoints_2d": (self.keypoints_2d, 2),
            "keypoints_3d": (self.keypoints_3d, 3),
        }
        for name, (array, last) in arrays.items():
            shape = getattr(array, "shape", None)
            if not shape:
                continue
            count = len(layouts.get_layout(self.layout))
            if len(shape) < 2 or shape[-1] != last or shape[-2] != count:
                raise ObservationError(
                    f"`{name}` must end in ({count}, {last}) for layout {self.layout!r}, got {tuple(shape)}; "
                    "pass `layout=` for another keypoint order and the confidence as its own array"
                )

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Leading axes: the people."""
        keypoints = self.keypoints_2d if self.keypoints_2d is not None else self.keypoints_3d
        if keypoints is None:
            raise ObservationError("observations hold neither `keypoints_2d` nor `keypoints_3d`")
        return tuple(keypoints.shape[:-2])


def check_track(observations: Observations, frames_per_second: Any) -> None:
    """Refuse what is no track of one person.

    Raises:
        ObservationError: If there are no frames, not exactly one batch axis, or the frame rate is no positive number.
    """
    batch = observations.batch_shape
    if len(batch) != 1:
        raise ObservationError(f"a track has one batch axis, its frames, got batch shape {batch}")
    if batch[0] == 0:
        raise ObservationError("a track needs one frame or more, got none: its keypoints have a first axis of length 0")
    # A size of one by any library is a number; text that looks like one is not.
    is_number = np.ndim(frames_per_second) == 0 and np.asarray(frames_per_second).dtype.kind in "iuf"
    if not is_number or not 0 < float(frames_per_second) < np.inf:
        raise ObservationError(f"`frames_per_second` must be a positive number, got {frames_per_second!r}")
