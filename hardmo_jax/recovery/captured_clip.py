"""Takes of the shared motion capture as SMPL poses, with what is known of each frame."""

import dataclasses
import pathlib

import numpy as np

from hardmo_jax.array_types import Bool, Float, Int
from hardmo_jax.body.model import BodyModel
from hardmo_jax.data import staging
from hardmo_jax.data.sources.clip import MotionFileError
from hardmo_jax.data.sources.read_motion import read_motion
from hardmo_jax.recovery.retarget import retarget
from hardmo_jax.skeleton import joint_limits, layouts

#: Rates that headers state, and the true ones (readme of the mirror of CMU's files).
_TRUE_RATES = {"salsa": {120.0: 60.0}}
#: Salsa takes N and N + 15 are the two partners of one dance.
_PARTNER_STEP = 15

#: Joints of a captured pose: those that SMPL and SMPL-H share.
JOINTS = layouts.SMPL_JOINTS[:22]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoundnessOptions:
    """When a captured frame counts as that of a human being. Markers get mixed up, and then feet or heads turn round.

    Angles beyond the limits of `skeleton.joint_limits`, degrees. The criterion looks at the capture alone, not at what
    a fit makes of it. Wrists do not count: benchmarks draw them from a prior.
    """

    feet_within_degrees: float = 5.0
    """Ankles and toes."""
    others_within_degrees: float = 20.0
    """All other joints."""

    def __post_init__(self) -> None:
        if not min(self.feet_within_degrees, self.others_within_degrees) >= 0:
            raise ValueError("angles beyond the joint limits must not be negative")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CapturedClip:
    """A take as SMPL poses."""

    style: str
    take: str
    dance: str
    """The take, or the dance that it shares with a partner."""
    body_pose: Float[np.ndarray, "T 22 3"]
    """Axis-angle of `JOINTS`, root first."""
    pelvis: Float[np.ndarray, "T 3"]
    """Place of the pelvis in the world (y up), in leg lengths."""
    frames: Int[np.ndarray, "T"]
    """Frames in the file, counted from 0."""
    seconds: Float[np.ndarray, "T"]
    """Time of each frame in the file."""
    is_sound: Bool[np.ndarray, "T"]
    """Whether the capture shows a human being, see `SoundnessOptions`."""

    def group(self, at: int) -> str:
        """Frames of one group depend on each other: those of one dance within a second."""
        return f"{self.style}-{self.dance}-{int(self.seconds[at])}"


def read_captured_clip(
    path: pathlib.Path, style: str, body: BodyModel, *, frames_per_second: float, soundness: SoundnessOptions
) -> CapturedClip:
    """Read a take and turn it into SMPL.

    Args:
        path: File of motion capture, at full rate or thinned; its name is the take.
        style: `martial`, `indian` or `salsa`.
        body: The 24 joints of SMPL.
        frames_per_second: Rate to thin to.
        soundness: Which frames count.

    Raises:
        hardmo_jax.data.sources.clip.MotionFileError: If the file is damaged or holds no motion.
        hardmo_jax.recovery.retarget.RetargetError: If its skeleton is of no known convention.
    """
    clip = read_motion(path)
    true_rate = _TRUE_RATES.get(style, {}).get(round(clip.frames_per_second, 1))
    if true_rate is not None:
        clip = dataclasses.replace(clip, frames_per_second=true_rate)
    rate, numbers = clip.frames_per_second, np.arange(clip.num_frames)
    clip = clip.at_rate(frames_per_second)
    numbers = numbers[:: round(rate / clip.frames_per_second)]
    # The first frame of these files is the pose that the converter calls rest, not motion. Thinned before it is
    # dropped, a file at full rate gives the frames that a thinned copy of it gives.
    if clip.num_frames < 2:
        raise MotionFileError(f"{path}: expected motion after the first frame, which is a rest pose; got none")
    numbers = numbers[1:]
    found = retarget(clip.frames(np.arange(1, clip.num_frames)), body)
    betas = np.asarray(found.params.betas)[0]
    body_pose = np.asarray(found.params.full_pose(), np.float64)[:, : len(JOINTS)]
    take = path.stem
    is_partner = style == "salsa" and take.isdigit() and int(take) > _PARTNER_STEP
    return CapturedClip(
        style=style,
        take=take,
        dance=f"{int(take) - _PARTNER_STEP:02d}" if is_partner else take,
        body_pose=body_pose,
        pelvis=np.asarray(body.joints(found.params), np.float64)[:, 0] / staging.leg_length(body, betas),
        frames=numbers,
        seconds=numbers / rate,
        is_sound=_is_sound(body_pose, soundness),
    )


def _is_sound(body_pose: Float[np.ndarray, "T 22 3"], soundness: SoundnessOptions) -> Bool[np.ndarray, "T"]:
    limits = joint_limits.joint_limits(JOINTS[1:])
    pose = body_pose[:, 1:]
    beyond = np.rad2deg(np.maximum(limits.low - pose, pose - limits.high)).max(axis=-1)
    parts = [joint.partition("_")[2] for joint in JOINTS[1:]]
    allowed = [
        soundness.feet_within_degrees if part in ("ankle", "foot") else soundness.others_within_degrees
        for part in parts
    ]
    counts = np.array([part != "wrist" for part in parts])
    return np.all((beyond <= allowed) | ~counts, axis=-1)
