"""What a fit gives back."""

import dataclasses
import enum

import jax

from hardmo_jax.array_types import AnyArray, Float, Int
from hardmo_jax.body.params import BodyParams
from hardmo_jax.geometry.cameras import Camera


class FitStatus(enum.IntEnum):
    """How the fit of one person ended."""

    CONVERGED = 0
    """The cost stopped falling: the last stage ended by itself (`Stage.converged_below`)."""
    MAX_STEPS = 1
    """The iterations ran out while the cost was still falling; the parameters are usable."""
    DIVERGED = 2
    """The result does not explain the keypoints, or is no human body in front of the camera (which 3D keypoints alone
    do not have: they may be anywhere); do not use it."""
    NONFINITE = 3
    """An input or a result was not finite; the parameters are the best finite ones seen."""
    NO_EVIDENCE = 4
    """Too few usable keypoints; the parameters are those of the priors and of residuals of the user alone, in a track
    those of a guess far from all frames in which the person was seen: do not use them."""
    NO_BETTER = 5
    """A start was given, and all that the stages led to was worse by the objective of the last one: the parameters are
    those of the start, as usable as it was."""
    FILLED = 6
    """A frame of a track in which too little was found: the parameters lie between those of the frames around it. It is
    a human body in front of the camera, and the person was seen shortly before or after
    (`MotionOptions.longest_gap_seconds`)."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class FitResult:
    """Fits of a batch of people, or of the frames of one person's track.

    Of `hm.fit` and `hm.lift_and_fit` nothing of one person depends on another. Of `hm.fit_motion` and
    `hm.recover_motion` the batch axis is time: every frame depends on those around it, and all have one shape.
    """

    params: BodyParams
    """Best finite parameters, camera frame (OpenCV axes), metres and radians."""
    camera: Camera | None
    """Camera the parameters live in front of; None if only 3D keypoints were given."""
    keypoints_2d: Float[AnyArray, "*batch K 2"] | None
    """The fitted body's keypoints in the layout of the observations, pixels; NaN where the body lacks the point."""
    keypoints_3d: Float[AnyArray, "*batch K 3"]
    """The same points in metres, camera frame; NaN where the body lacks the point."""
    status: Int[AnyArray, "*batch"]
    """`FitStatus` of each person."""
    error_by_part: dict[str, Float[AnyArray, "*batch"]]
    """Median distance of confident keypoints by part, in box sides (metres if only 3D was given); NaN without any."""
    loss_history: Float[AnyArray, "*batch steps"]
    """Cost of the objective, which only falls within a stretch of steps; those of different stretches are of different
    objectives and cannot be compared. Of single people it is their own best cost after each row of the refining stages,
    one row more a stage than steps; rows that were not needed repeat the cost before them. Of a track it is the summed
    cost of the piece of frames that a frame was solved in, the same for all of its frames: at the start and after each
    step before the shape was settled, then the same after it."""
