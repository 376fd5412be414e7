"""A sampled prior of wrists and fingers: how dancers and fighters hold their hands, written down as a distribution.

Motion capture of whole bodies lacks hands, and hands are where labels fail most. The numbers below are read off
anatomy and practice, not learnt, and are the whole distribution: two tables of the left hand, a law of spread, and the
limits of `skeleton.joint_limits`. The right hand is drawn on its own from the mirror image, for which axis-angle
(x, y, z) becomes (x, -y, -z).

Components of the left side in SMPL's rest pose (palm down, thumb to the front): wrist x+ turns the palm backwards
(pronation), y+ bends it to the little finger (ulnar), z+ lifts the hand (extension); finger z- curls, y- spreads
towards the thumb; thumb x+ brings it below the palm, y+ lays it along the hand, z+ lifts it away from the palm.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import interpolate, special

from hardmo_jax.array_types import Float
from hardmo_jax.skeleton import joint_limits, layouts

#: (x, y, z) in degrees.
_Angles = tuple[float | int, float | int, float | int]


class WristHold(NamedTuple):
    """One way to hold the left wrist: a Gaussian over axis-angle components, cut off at the joint limits."""

    weight: float
    """Share of the hands that are held so."""
    mean: _Angles
    """Degrees: twist of the forearm, ulnar deviation, extension."""
    spread: _Angles
    """Standard deviations before the cut, degrees."""


class HandShape(NamedTuple):
    """One shape of the left hand: its mean pose, degrees."""

    weight: float
    """Share of the hands that have it."""
    curls: Mapping[str, _Angles]
    """Curl (positive) of the three joints of each finger, from the palm outwards."""
    fan: float | int
    """Angle at the knuckle between index finger and straight ahead; the others follow by `FAN_SHARES`."""
    thumb: tuple[_Angles, _Angles, _Angles]
    """Axis-angle of the three joints of the thumb."""


#: How wrists are held. Weights add up to 1.
WRIST_HOLDS: Mapping[str, WristHold] = {
    "straight": WristHold(0.35, (0, 0, 3), (18, 7, 9)),
    "easy": WristHold(0.27, (-5, 4, 12), (28, 12, 22)),
    "palm push": WristHold(0.15, (0, 2, 70), (18, 8, 11)),
    "hanging": WristHold(0.13, (0, 6, -50), (22, 10, 16)),
    "sideways": WristHold(0.10, (0, 26, 8), (25, 9, 14)),
}


def _four(first: _Angles) -> dict[str, _Angles]:
    """The same curl of all four fingers."""
    return dict.fromkeys(("index", "middle", "ring", "pinky"), first)


_STRAIGHT, _CURLED = (2, 2, 0), (78, 96, 60)
_THUMB_OUT = ((0, -18, 8), (0, -6, 0), (0, -4, 0))
_THUMB_ALONG = ((8, 34, -4), (0, 14, 0), (0, 10, 0))
_THUMB_OVER = ((42, 26, -10), (10, 34, 0), (0, 42, 0))
#: Shapes of hands. Weights add up to 1.
HAND_SHAPES: Mapping[str, HandShape] = {
    "open": HandShape(0.16, _four((-2, 3, 0)), 15, _THUMB_OUT),
    "relaxed": HandShape(
        0.22,
        {"index": (14, 24, 12), "middle": (20, 28, 14), "ring": (25, 30, 15), "pinky": (28, 30, 15)},
        4, ((16, 8, 0), (0, 10, 0), (0, 12, 0)),
    ),
    "fist": HandShape(0.20, _four(_CURLED), -3, _THUMB_OVER),
    "knife hand": HandShape(0.12, _four(_STRAIGHT), -6, _THUMB_ALONG),
    "ballet": HandShape(
        0.10,
        {"index": (4, 8, 4), "middle": (28, 20, 8), "ring": (20, 18, 8), "pinky": (6, 10, 5)},
        6, ((30, 24, -6), (0, 8, 0), (0, 6, 0)),
    ),
    "claw": HandShape(0.06, _four((-10, 62, 48)), 14, ((14, -10, 4), (0, 16, 0), (0, 36, 0))),
    "point": HandShape(0.04, _four(_CURLED) | {"index": _STRAIGHT}, 0, _THUMB_OVER),
    "mudra": HandShape(
        0.06,
        {"index": (48, 52, 24), "middle": (4, 4, 2), "ring": (-2, 4, 2), "pinky": (-8, 4, 2)},
        8, ((44, 14, -6), (6, 14, 0), (0, 22, 0)),
    ),
    "beak": HandShape(0.04, _four((58, 18, 10)), -10, ((52, 26, -12), (4, 14, 0), (0, 8, 0))),
}  # fmt: skip

#: Share of the fan that each finger takes, towards the thumb.
FAN_SHARES: Mapping[str, float] = {"index": -1.0, "middle": -0.15, "ring": 0.55, "pinky": 1.15}
#: Standard deviations in degrees of what is added to a shape: curl of all fingers together, of one finger, and of one
#: joint; the fan; the sideways angle of a knuckle, twist and sideways angle of the other joints; and each component
#: of the thumb. Curls of two fingers of a hand are thus correlated by 144 / (144 + 49 + 9) = 0.71.
COMMON_CURL_SPREAD = 12.0
FINGER_CURL_SPREAD = 7.0
JOINT_CURL_SPREAD = 3.0
FAN_SPREAD = 4.0
SIDEWAYS_SPREAD = 2.0
TWIST_SPREAD = 2.0
THUMB_SPREAD = 7.0

#: Seconds from one hand pose to the next in a window, shortest and longest.
CHANGE_SECONDS = (0.35, 1.2)
#: Chance that a hand keeps its shape and hold from one pose to the next: hands change more seldom than bodies.
KEEP_CHANCE = 0.5

_MIRROR = np.array(joint_limits.MIRROR_SIGNS)
_WRIST_LIMITS = joint_limits.joint_limits(["left_wrist"])
_FINGER_LIMITS = joint_limits.joint_limits(layouts.MANO_JOINTS["left"][1:])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class HandPoses:
    """Wrists and fingers of both hands, axis-angle relative to the parent joint, radians."""

    wrists: Float[np.ndarray, "*batch 2 3"]
    """Left and right wrist relative to the forearm."""
    fingers: Float[np.ndarray, "*batch 2 15 3"]
    """Finger joints of the left and the right hand in the order of MANO, relative to the flat hand."""

    def mirrored(self) -> "HandPoses":
        """The hands in the mirror."""
        return HandPoses(wrists=self.wrists[..., ::-1, :] * _MIRROR, fingers=self.fingers[..., ::-1, :, :] * _MIRROR)


def sample_hand_poses(rng: np.random.Generator, num: int) -> HandPoses:
    """Draw wrists and fingers of independent people; the two hands of a person are independent as well.

    Args:
        rng: Source of the random numbers.
        num: How many people, 1 or more.

    Returns:
        Poses with one leading axis, within the joint limits.

    Raises:
        ValueError: If `num` is less than 1.
    """
    if num < 1:
        raise ValueError(f"num must be 1 or more, got {num}")
    holds = _choose(rng, [hold.weight for hold in WRIST_HOLDS.values()], (num, 2))
    shapes = _choose(rng, [shape.weight for shape in HAND_SHAPES.values()], (num, 2))
    return _hands(_sample_wrists(rng, holds), _sample_fingers(rng, shapes))


def pose_of_hand_shape(shape: str, side: str) -> Float[np.ndarray, "15 3"]:
    """Mean finger pose of a shape of `HAND_SHAPES`, axis-angle in MANO's order, radians.

    Args:
        shape: Key of `HAND_SHAPES`.
        side: `left` or `right`.

    Raises:
        KeyError: If there is no such shape or side.
    """
    if shape not in HAND_SHAPES:
        raise KeyError(f"unknown hand shape {shape!r}; known: {', '.join(HAND_SHAPES)}")
    if side not in layouts.SIDES:
        raise KeyError(f"unknown side {side!r}; known: {', '.join(layouts.SIDES)}")
    pose = _shape_means()[list(HAND_SHAPES).index(shape)]
    return pose if side == "left" else pose * _MIRROR


def smooth_hand_poses(
    rng: np.random.Generator, num_windows: int, num_frames: int, frames_per_second: float | int
) -> HandPoses:
    """Draw hands that move: poses of the same distribution at random times, and a smooth way between them.

    Half of the poses keep the shape and the hold of the one before (`KEEP_CHANCE`), so that hands rest now and then.
    Rotation vectors are interpolated by monotone cubics: no overshoot, hence within the limits, and no jump of
    velocity.

    Args:
        rng: Source of the random numbers.
        num_windows: How many people, 1 or more.
        num_frames: Frames of each, 1 or more.
        frames_per_second: Frame rate.

    Returns:
        Poses with leading axes of windows and frames.

    Raises:
        ValueError: If a number is less than 1 or the frame rate is not positive.
    """
    times = frame_times(num_windows, num_frames, frames_per_second)
    # Each window starts somewhere between its first two poses, else all would rest in the first frame.
    num_keys = 3 + int(np.ceil(times[-1] / CHANGE_SECONDS[0]))
    wrists = np.empty((num_windows, num_frames, 2, 3))
    fingers = np.empty((num_windows, num_frames, 2, 15, 3))
    for window in range(num_windows):
        for side in range(2):
            gaps = rng.uniform(*CHANGE_SECONDS, num_keys - 1)
            keys_at = np.concatenate([[0.0], np.cumsum(gaps)]) - rng.uniform(0, CHANGE_SECONDS[0])
            keeps = rng.random(num_keys) < KEEP_CHANCE
            holds = _choose(rng, [hold.weight for hold in WRIST_HOLDS.values()], (num_keys, 1))
            shapes = _choose(rng, [shape.weight for shape in HAND_SHAPES.values()], (num_keys, 1))
            for key in range(1, num_keys):
                if keeps[key]:
                    holds[key], shapes[key] = holds[key - 1], shapes[key - 1]
            for values, into in ((_sample_wrists(rng, holds), wrists), (_sample_fingers(rng, shapes), fingers)):
                into[window, :, side] = interpolate.PchipInterpolator(keys_at, values[:, 0])(times)
    return _hands(wrists, fingers)


def frame_times(num_windows: int, num_frames: int, frames_per_second: float | int) -> Float[np.ndarray, "time"]:
    """Seconds from the first frame of a window, after a check of the three numbers that describe windows.

    Raises:
        ValueError: If a number is less than 1 or the frame rate is not positive and finite.
    """
    for name, number in (("num_windows", num_windows), ("num_frames", num_frames)):
        if number < 1:
            raise ValueError(f"{name} must be 1 or more, got {number}")
    if not 0 < frames_per_second < np.inf:
        raise ValueError(f"frames_per_second must be positive, got {frames_per_second}")
    return np.arange(num_frames) / float(frames_per_second)


def _choose(rng: np.random.Generator, weights: list[float], shape: tuple[int, ...]) -> np.ndarray:
    """Rows of a table, by weight."""
    return rng.choice(len(weights), size=shape, p=np.array(weights) / np.sum(weights))


def _hands(wrists: np.ndarray, fingers: np.ndarray) -> HandPoses:
    """Two left hands become a left and a right one."""
    signs = np.stack([np.ones(3), _MIRROR])
    return HandPoses(wrists=wrists * signs, fingers=fingers * signs[:, None])


def _sample_wrists(rng: np.random.Generator, holds: np.ndarray) -> np.ndarray:
    """Left wrists of given holds, radians."""
    rows = list(WRIST_HOLDS.values())
    mean = np.radians([row.mean for row in rows])[holds]
    spread = np.radians([row.spread for row in rows])[holds]
    # By the inverse distribution function: cut at the limits without heaps of samples upon them.
    low, high = (special.ndtr((limit[0] - mean) / spread) for limit in _WRIST_LIMITS)
    normal = special.ndtri(low + (high - low) * rng.random(mean.shape))
    return np.clip(mean + spread * normal, *_WRIST_LIMITS)


def _sample_fingers(rng: np.random.Generator, shapes: np.ndarray) -> np.ndarray:
    """Left fingers of given shapes, radians, MANO's order."""
    pose = np.degrees(_shape_means()[shapes])
    batch = shapes.shape
    curl = (
        COMMON_CURL_SPREAD * rng.standard_normal((*batch, 1, 1))
        + FINGER_CURL_SPREAD * rng.standard_normal((*batch, 4, 1))
        + JOINT_CURL_SPREAD * rng.standard_normal((*batch, 4, 3))
    )
    shares = np.array([FAN_SHARES[finger] for finger in layouts.MANO_FINGERS[:4]])
    fan = FAN_SPREAD * rng.standard_normal((*batch, 1)) * shares
    sideways = fan + SIDEWAYS_SPREAD * rng.standard_normal((*batch, 4))
    twist = TWIST_SPREAD * rng.standard_normal((*batch, 4, 3, 2))
    # Views of the four fingers and of the thumb, which is MANO's last finger.
    fingers, thumb = pose[..., :12, :].reshape(*batch, 4, 3, 3), pose[..., 12:, :]
    twist[..., 0, 1] = sideways
    fingers[..., :2] += twist
    fingers[..., 2] -= curl
    thumb += THUMB_SPREAD * rng.standard_normal(thumb.shape)
    pose = np.concatenate([fingers.reshape(*batch, 12, 3), thumb], axis=-2)
    return np.clip(np.radians(pose), *_FINGER_LIMITS)


def _shape_means() -> np.ndarray:
    """Left finger pose of every shape, radians."""
    poses = np.zeros((len(HAND_SHAPES), 5, 3, 3))
    for row, shape in enumerate(HAND_SHAPES.values()):
        for finger, curls in shape.curls.items():
            place = layouts.MANO_FINGERS.index(finger)
            poses[row, place, :, 2] = -np.array(curls)
            poses[row, place, 0, 1] = FAN_SHARES[finger] * shape.fan
        poses[row, layouts.MANO_FINGERS.index("thumb")] = shape.thumb
    return np.radians(poses.reshape(-1, 15, 3))
