"""What a keypoint detector makes of true image points: errors, confidences, and the ways in which it fails.

A declared model, not a measured one: its numbers are part of every benchmark made with it. All lengths are shares of
the longest side of the person's box.
"""

import dataclasses

import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.skeleton import flips, layouts

#: Confidence falls by 1/e over an error of this share of the box side.
_CONFIDENCE_REACH = 0.06
_CONFIDENCE_SPREAD = 0.15
_LOWEST_CONFIDENCE = 0.05
#: Points that are lost when a limb is: what lies beyond shoulder or hip.
_LIMBS = ("left_arm", "right_arm", "left_leg", "right_leg")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectorNoise:
    """How a detector errs. Lengths are shares of the longest side of the person's box."""

    body_spread: float = 0.010
    """Standard deviation of a body point along each axis."""
    extremity_spread: float = 0.015
    """The same of points of hands and feet."""
    person_log_spread: float = 0.4
    """Some people are found worse than others: logarithm of a factor on both spreads, one a person."""
    missing: float = 0.05
    """Probability that a point is not found."""
    gross: float = 0.02
    """Probability that a point is somewhere else altogether."""
    gross_reach: float = 0.35
    """How far away, uniform along each axis."""
    swap_all: float = 0.0
    """Probability that left and right of a person are exchanged."""
    swap_legs: float = 0.0
    """Probability that left and right leg are."""
    lose_limb: float = 0.0
    """Probability that one arm or leg is not found at all."""
    cut: float = 0.0
    """Probability that the picture ends inside the person: what lies beyond the border is not found."""
    cut_share: tuple[float, float] = (0.15, 0.45)
    """Share of the box beyond the border, between these."""
    frame_correlation: float = 0.0
    """Correlation of a point's error from one frame to the next; 0 draws every frame anew."""

    def __post_init__(self) -> None:
        for name in ("missing", "gross", "swap_all", "swap_legs", "lose_limb", "cut"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` is a probability and must be in [0, 1], got {getattr(self, name)}")
        for name in ("body_spread", "extremity_spread", "person_log_spread", "gross_reach"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"`{name}` must be a finite number and not negative, got {getattr(self, name)}")
        if self.swap_all + self.swap_legs > 1:
            raise ValueError(
                "`swap_all` and `swap_legs` exclude each other and must not add up to more than 1, got "
                f"{self.swap_all} and {self.swap_legs}"
            )
        if not 0 <= self.frame_correlation < 1:
            raise ValueError(f"`frame_correlation` must be in [0, 1), got {self.frame_correlation}")
        if not 0 <= self.cut_share[0] <= self.cut_share[1] < 1:
            raise ValueError(f"`cut_share` must be an interval within [0, 1), got {self.cut_share}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Detections:
    """Keypoints as a detector would give them."""

    keypoints_2d: Float[np.ndarray, "N T K 2"]
    """Pixels; points that were not found are at the origin."""
    confidence: Float[np.ndarray, "N T K"]
    """In [0, 1]; 0 for points that were not found."""
    border: Float[np.ndarray, "N 4"]
    """(x_min, y_min, x_max, y_max) of the picture in pixels: what lies beyond was not seen."""


def detect(
    rng: np.random.Generator,
    keypoints_2d: Float[np.ndarray, "N T K 2"],
    layout: layouts.KeypointLayout,
    noise: DetectorNoise,
    *,
    image_size: tuple[int, int],
) -> Detections:
    """Draw what a detector finds of people whose keypoints are known.

    Args:
        rng: Source of all randomness.
        keypoints_2d: True points of N people in T frames each, pixels. What is drawn once a person (its factor, a
            lost limb, a border) holds for all of its frames.
        layout: Which points these are.
        noise: How the detector errs.
        image_size: Width and height in pixels; points outside of the picture are not found.

    Returns:
        Detected points with confidences. Occlusion by the person's own body is not modelled.
    """
    keypoints_2d = np.asarray(keypoints_2d, np.float64)
    num_people, num_frames, num_points, _ = keypoints_2d.shape
    is_extremity = np.array([(layouts.part_of(point) or "body") != "body" for point in layout.points])
    low, high = keypoints_2d.min(axis=2), keypoints_2d.max(axis=2)
    side = (high - low).max(axis=-1)[..., None, None]

    spread = np.where(is_extremity, noise.extremity_spread, noise.body_spread)[:, None]
    factor = np.exp(rng.normal(0.0, noise.person_log_spread, (num_people, 1, 1, 1)))
    error = _correlated(rng, keypoints_2d.shape, noise.frame_correlation) * spread * factor
    is_gross = rng.random((num_people, num_frames, num_points)) < noise.gross
    elsewhere = rng.uniform(-noise.gross_reach, noise.gross_reach, keypoints_2d.shape)
    error = np.where(is_gross[..., None], elsewhere, error)
    chance = np.exp(-np.linalg.norm(error, axis=-1) / _CONFIDENCE_REACH)
    confidence = chance + rng.normal(0.0, _CONFIDENCE_SPREAD, chance.shape)
    confidence = np.clip(confidence, _LOWEST_CONFIDENCE, 1.0)

    found = rng.random(confidence.shape) >= noise.missing
    found &= ~lost_limbs(rng, layout, noise.lose_limb, num_people)[:, None]
    detected = keypoints_2d + error * side
    order = _swapped_order(rng, layout, noise, num_people, num_frames)
    detected = np.take_along_axis(detected, order[..., None], axis=2)
    confidence, found = np.take_along_axis(confidence, order, axis=2), np.take_along_axis(found, order, axis=2)
    border = _borders(rng, low, high, noise, image_size)
    found &= np.all((detected >= border[:, None, None, :2]) & (detected <= border[:, None, None, 2:]), axis=-1)
    return Detections(
        keypoints_2d=np.where(found[..., None], detected, 0.0),
        confidence=np.where(found, confidence, 0.0),
        border=border,
    )


def _correlated(rng: np.random.Generator, shape: tuple[int, ...], correlation: float) -> Float[np.ndarray, "N T K 2"]:
    """Standard normal numbers that are correlated along axis 1 as those of an autoregressive process of order one."""
    values = rng.normal(size=shape)
    for frame in range(1, shape[1]):
        values[:, frame] = correlation * values[:, frame - 1] + np.sqrt(1 - correlation**2) * values[:, frame]
    return values


def _limb_points(layout: layouts.KeypointLayout, limb: str) -> Bool[np.ndarray, "K"]:
    """Points beyond the shoulder or the hip of one limb."""
    side, kind = limb.split("_")
    beyond = ("knee", "ankle", "big_toe", "small_toe", "heel") if kind == "leg" else ("elbow", "wrist")

    def is_of_limb(point: str) -> bool:
        rest = point.removeprefix(f"{side}_")
        return rest != point and (rest in beyond or (kind == "arm" and layouts.part_of(point) == f"{side}_hand"))

    return np.array([is_of_limb(point) for point in layout.points])


def lost_limbs(
    rng: np.random.Generator, layout: layouts.KeypointLayout, probability: float, num_people: int
) -> Bool[np.ndarray, "N K"]:
    """Points of people that are not found because a whole arm or leg is not."""
    masks = np.stack([_limb_points(layout, limb) for limb in _LIMBS])
    is_hit = rng.random(num_people) < probability
    return masks[rng.integers(len(_LIMBS), size=num_people)] & is_hit[:, None]


def _swapped_order(
    rng: np.random.Generator, layout: layouts.KeypointLayout, noise: DetectorNoise, num_people: int, num_frames: int
) -> np.ndarray:
    """(N, T, K) which point is reported in each place: the other side's, where sides are exchanged in that frame."""
    own = np.arange(len(layout))
    mirrored = np.array(flips.flip_permutation(layout))
    legs = np.array(flips.leg_permutation(layout))
    draw = rng.random((num_people, num_frames, 1))
    order = np.where(draw < noise.swap_all, mirrored, own)
    return np.where((draw >= noise.swap_all) & (draw < noise.swap_all + noise.swap_legs), legs, order)


def _borders(
    rng: np.random.Generator,
    low: Float[np.ndarray, "N T 2"],
    high: Float[np.ndarray, "N T 2"],
    noise: DetectorNoise,
    image_size: tuple[int, int],
) -> Float[np.ndarray, "N 4"]:
    """Border of each person's picture, which may have been moved into the person."""
    num_people = len(low)
    border = np.zeros((num_people, 4))
    border[:, 2:] = np.array(image_size, np.float64) - 1
    is_cut = rng.random(num_people) < noise.cut
    share = rng.uniform(*noise.cut_share, num_people)
    # From below in every second case, else from one of the other sides, as cameras that stand too near cut people.
    edge = rng.choice(4, p=(0.5, 0.1, 0.2, 0.2), size=num_people)
    low, high = low.min(axis=1), high.max(axis=1)
    for person in np.flatnonzero(is_cut):
        axis = 1 if edge[person] < 2 else 0
        reach = share[person] * (high - low)[person, axis]
        if edge[person] in (0, 2):
            border[person, 2 + axis] = min(border[person, 2 + axis], high[person, axis] - reach)
        else:
            border[person, axis] = max(border[person, axis], low[person, axis] + reach)
    return border
