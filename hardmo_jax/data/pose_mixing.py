"""Poses beyond those of a pool: mirrored, halfway between others, with limbs of others, noise, and free feet and hands.

A network learns the poses that it is shown. Motion capture of a few dancers shows few; what a body can do is more, and
which of it anybody will do is unknown, so that the pool is stretched in every direction that joint limits allow.
"""

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import Float
from hardmo_jax.data import hand_poses, stretching, synthetic
from hardmo_jax.data.pose_pool import JOINTS, PosePool
from hardmo_jax.data.stretching import LIMBS, WRISTS
from hardmo_jax.skeleton import layouts

_NAMES = layouts.SMPLH_JOINTS
_HEAD = [JOINTS.index(joint) for joint in ("neck", "head")]
#: Hands are drawn from this many.
_HANDS_KEPT = 40_000
_KEY_POSES_KEPT = 20_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixingOptions:
    """How far poses are taken beyond the pool. Shares are probabilities; angles are standard deviations in degrees."""

    style_shares: tuple[tuple[str, float], ...] = (
        ("martial", 0.26), ("indian", 0.24), ("salsa", 0.24), ("other", 0.12), ("written", 0.14),
    )  # fmt: skip
    """Share of each style; `other` is all that the split does not name, `written` the key poses of `synthetic`."""
    halfway: float = 0.15
    """Joints are somewhere between those of two poses."""
    other_limb: float = 0.08
    """An arm or a leg (each by itself) is that of another pose."""
    noise_share: float = 0.6
    """Noise is added to all joints."""
    noise_degrees: float = 5.0
    """Of a joint; the noise of a person is this times a factor of its own."""
    free_ankle: float = 0.25
    """Ankles turn further."""
    ankle_degrees: float = 16.0
    free_toes: float = 0.25
    """Toes bend, which captures hardly show."""
    toe_degrees: float = 18.0
    lean_degrees: float = 4.0
    """Of the root."""
    tumble: float = 0.03
    """The root is turned anyhow."""

    def __post_init__(self) -> None:
        stretching.check_shares(self, ("halfway", "other_limb", "noise_share", "free_ankle", "free_toes", "tumble"))


class PoseMixer:
    """Draws poses of SMPL-H; faces +z, before the turn about the vertical that a camera makes."""

    def __init__(self, pool: PosePool, options: MixingOptions, *, seed: int) -> None:
        """Lay out the pool by style.

        Raises:
            ValueError: If no style with a share has a pose.
        """
        self.options = options
        rng = np.random.default_rng([seed, 0])
        written = synthetic.sample_hard_poses(seed, _KEY_POSES_KEPT).full_pose[:, : len(JOINTS)]
        self._poses = np.concatenate([pool.body_pose, written])
        styles = stretching.named_styles(pool.styles, options.style_shares)
        of_pose = np.concatenate([styles[pool.take_of], np.full(len(written), "written")])
        self._rows = {style: np.flatnonzero(of_pose == style) for style, _ in options.style_shares}
        shares = {style: share for style, share in options.style_shares if len(self._rows[style]) and share}
        if not shares:
            raise ValueError(f"the pool has no pose of {', '.join(dict(options.style_shares))}")
        self._styles, weights = list(shares), np.array(list(shares.values()))
        self._weights = weights / weights.sum()
        self._hands = hand_poses.sample_hand_poses(rng, _HANDS_KEPT)

    def draw(self, rng: np.random.Generator, count: int) -> Float[np.ndarray, "N 52 3"]:
        """Axis-angle of the joints of SMPL-H, root first; world axes, y up.

        Args:
            rng: Source of randomness.
            count: How many.
        """
        options = self.options
        pose = self._pick(rng, count)
        between = rng.random((count, 1, 1)) * (rng.random((count, 1, 1)) < options.halfway)
        pose[:, 1:] += between * (self._pick(rng, count)[:, 1:] - pose[:, 1:])
        for limb in LIMBS:
            is_other = rng.random(count) < options.other_limb
            pose[np.ix_(np.flatnonzero(is_other), np.array(limb))] = self._pick(rng, int(is_other.sum()))[:, limb]
        pose += self._noise(rng, count)
        pose[:, 1:] = np.clip(pose[:, 1:], *stretching.LIMITS)
        pose[:, 0] = self._roots(rng, pose[:, 0])
        full_pose = np.zeros((count, len(_NAMES), 3))
        full_pose[:, : len(JOINTS)] = pose
        chosen = rng.integers(len(self._hands.wrists), size=(2, count))
        full_pose[:, WRISTS] = self._hands.wrists[chosen[0]]
        full_pose[:, len(JOINTS) :] = self._hands.fingers[chosen[0]].reshape(count, -1, 3)
        is_mirrored = rng.random(count) < 0.5
        return np.where(is_mirrored[:, None, None], synthetic.mirror_pose(full_pose), full_pose)

    def _pick(self, rng: np.random.Generator, count: int) -> Float[np.ndarray, "N 22 3"]:
        styles = rng.choice(len(self._styles), size=count, p=self._weights)
        rows = np.empty(count, np.int64)
        for index, style in enumerate(self._styles):
            is_style = styles == index
            rows[is_style] = rng.choice(self._rows[style], size=int(is_style.sum()))
        return self._poses[rows].copy()

    def _noise(self, rng: np.random.Generator, count: int) -> Float[np.ndarray, "N 22 3"]:
        options = self.options
        factor = stretching.person_factor(rng, count, options.noise_share)
        spread = stretching.joint_spread(options.noise_degrees)
        spread[0] = options.lean_degrees
        spread[_HEAD] *= 1.5
        noise = spread * factor * rng.standard_normal((count, len(JOINTS), 3))
        for joints, share, degrees in stretching.free_ends(options):
            is_free = rng.random((count, len(joints), 1)) < share
            noise[:, joints] += is_free * degrees * rng.standard_normal((count, len(joints), 3))
        return np.radians(noise)

    def _roots(self, rng: np.random.Generator, lean: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        """Roots turned about the vertical, and some of them anyhow."""
        turn = np.zeros_like(lean)
        turn[:, 1] = rng.uniform(-np.pi, np.pi, len(lean))
        turned = Rotation.from_rotvec(turn) * Rotation.from_rotvec(lean)
        anyhow = Rotation.random(len(lean), rng=rng) * Rotation.from_rotvec(lean)
        is_tumbling = rng.random(len(lean)) < self.options.tumble
        return np.where(is_tumbling[:, None], anyhow.as_rotvec(), turned.as_rotvec())
