"""Motion beyond that of a pool: other speeds, backwards, mirrored, with limbs of others, and slow drifts of joints.

The counterpart of `data.pose_mixing` for windows of frames: whatever is added changes slowly, so that what is drawn
still moves as a body does.
"""

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import Float, Int
from hardmo_jax.data import hand_poses, stretching, synthetic
from hardmo_jax.data.motion_pool import MotionPool
from hardmo_jax.data.pose_pool import JOINTS
from hardmo_jax.data.stretching import LIMBS, WRISTS
from hardmo_jax.skeleton import layouts

_NAMES = layouts.SMPLH_JOINTS
#: Windows of moving hands are cut from this many longer ones.
_HANDS_KEPT = 400
_HANDS_LENGTH = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionMixingOptions:
    """How far motion is taken beyond the pool. Shares are probabilities; angles are standard deviations in degrees."""

    style_shares: tuple[tuple[str, float], ...] = (
        ("martial", 0.28), ("indian", 0.26), ("salsa", 0.30), ("other", 0.16),
    )  # fmt: skip
    """Share of each style; `other` is all that the split does not name."""
    speed: tuple[float, float] = (0.5, 1.35)
    """Factor on the speed, between these: half is what a clip of 60 frames a second looks like at 30."""
    backwards: float = 0.25
    other_limb: float = 0.06
    """An arm or a leg (each by itself) is that of another window."""
    drift_share: float = 0.5
    """Joints drift."""
    drift_degrees: float = 5.0
    """Of a joint; that of a window is this times a factor of its own."""
    drift_seconds: float = 0.8
    """Time in which a drift turns."""
    free_ankle: float = 0.2
    """Ankles drift further."""
    ankle_degrees: float = 14.0
    free_toes: float = 0.2
    toe_degrees: float = 15.0
    tumble: float = 0.02
    """The whole motion is turned anyhow."""

    def __post_init__(self) -> None:
        stretching.check_shares(self, ("backwards", "other_limb", "drift_share", "free_ankle", "free_toes", "tumble"))
        if not 0 < self.speed[0] <= self.speed[1] < np.inf:
            raise ValueError(f"`speed` must be an interval of positive factors, got {self.speed}")


class MotionMixer:
    """Draws windows of motion of SMPL-H."""

    def __init__(self, pool: MotionPool, options: MotionMixingOptions, *, frames: int, seed: int) -> None:
        """Lay out the runs that are long enough for a window.

        Raises:
            ValueError: If no style with a share has one.
        """
        self.options, self.frames = options, frames
        self._pool = pool
        self._first = np.concatenate([[0], np.cumsum(pool.run_lengths)[:-1]])
        # At the slowest speed a window needs the fewest frames; how fast it may be is decided run by run.
        is_long = pool.run_lengths >= int(np.ceil((frames - 1) * options.speed[0])) + 1
        names = dict(options.style_shares)
        styles = stretching.named_styles(pool.styles, options.style_shares)[pool.take_of]
        runs = {style: np.flatnonzero((styles == style) & is_long) for style in names}
        shares = {style: share for style, share in options.style_shares if len(runs[style]) and share}
        if not shares:
            raise ValueError(f"no run of {', '.join(names)} has {frames} frames")
        self._runs = np.concatenate([runs[style] for style in shares])
        # Within a style every frame is as likely as any other.
        weights = [share * pool.run_lengths[runs[style]] / pool.run_lengths[runs[style]].sum()
                   for style, share in shares.items()]  # fmt: skip
        self._weights = np.concatenate(weights) / sum(shares.values())
        rng = np.random.default_rng([seed, 0])
        self._hands = hand_poses.smooth_hand_poses(
            rng, _HANDS_KEPT, _HANDS_LENGTH * frames, pool.frames_per_second
        )  # fmt: skip

    def draw(
        self, rng: np.random.Generator, count: int
    ) -> tuple[Float[np.ndarray, "N T 52 3"], Float[np.ndarray, "N T 3"]]:
        """Windows of motion.

        Args:
            rng: Source of randomness.
            count: How many.

        Returns:
            Axis-angle of the joints of SMPL-H, root first, and the place of the pelvis in leg lengths from where it
            is in the first frame; world axes, y up.
        """
        options, frames = self.options, self.frames
        pose, pelvis = self._pick(rng, count)
        for limb in LIMBS:
            rows = np.flatnonzero(rng.random(count) < options.other_limb)
            if len(rows):
                pose[np.ix_(rows, np.arange(frames), np.array(limb))] = self._pick(rng, len(rows))[0][:, :, limb]
        pose[:, :, 1:] = np.clip(pose[:, :, 1:] + self._drifts(rng, count)[:, :, 1:], *stretching.LIMITS)
        full_pose = np.zeros((count, frames, len(_NAMES), 3))
        full_pose[:, :, : len(JOINTS)] = pose
        self._put_hands(rng, full_pose)
        is_mirrored = rng.random(count) < 0.5
        full_pose = np.where(is_mirrored[:, None, None, None], synthetic.mirror_pose(full_pose), full_pose)
        pelvis = np.where(is_mirrored[:, None, None], pelvis * np.array([-1.0, 1.0, 1.0]), pelvis)
        return self._turned(rng, full_pose, pelvis - pelvis[:, :1])

    def _pick(
        self, rng: np.random.Generator, count: int
    ) -> tuple[Float[np.ndarray, "N T 22 3"], Float[np.ndarray, "N T 3"]]:
        """Windows of the pool at other speeds."""
        options, pool = self.options, self._pool
        runs = rng.choice(self._runs, size=count, p=self._weights)
        longest = (pool.run_lengths[runs] - 1) / max(self.frames - 1, 1)
        low, high = np.log(options.speed)
        speed = np.minimum(np.exp(rng.uniform(low, high, count)), longest)
        start = rng.random(count) * (pool.run_lengths[runs] - 1 - speed * (self.frames - 1))
        at = start[:, None] + speed[:, None] * np.arange(self.frames)
        at = np.clip(at, 0, pool.run_lengths[runs][:, None] - 1)
        is_backwards = rng.random(count) < options.backwards
        at = np.where(is_backwards[:, None], at[:, ::-1], at)
        return self._between(runs, at)

    def _between(
        self, runs: Int[np.ndarray, "N"], at: Float[np.ndarray, "N T"]
    ) -> tuple[Float[np.ndarray, "N T 22 3"], Float[np.ndarray, "N T 3"]]:
        """Motion at times between frames of runs."""
        pool = self._pool
        before = np.minimum(at.astype(np.int64), pool.run_lengths[runs][:, None] - 1)
        after = np.minimum(before + 1, pool.run_lengths[runs][:, None] - 1)
        share = (at - before)[..., None]
        rows = [self._first[runs][:, None] + index for index in (before, after)]
        first, second = (Rotation.from_rotvec(pool.body_pose[row].reshape(-1, 3)) for row in rows)
        step = (first.inv() * second).as_rotvec().reshape(*at.shape, len(JOINTS), 3) * share[..., None]
        pose = (first * Rotation.from_rotvec(step.reshape(-1, 3))).as_rotvec().reshape(step.shape)
        return pose, pool.pelvis[rows[0]] * (1 - share) + pool.pelvis[rows[1]] * share

    def _drifts(self, rng: np.random.Generator, count: int) -> Float[np.ndarray, "N T 22 3"]:
        """Slow angles on top of all joints."""
        options, frames = self.options, self.frames
        spread = stretching.person_factor(rng, count, options.drift_share)
        spread = spread * stretching.joint_spread(options.drift_degrees)
        for joints, share, degrees in stretching.free_ends(options):
            spread[:, joints] += (rng.random((count, len(joints), 1)) < share) * degrees
        # Straight from one random angle to the next, with soft corners; the knots lie anywhere in time.
        knots_apart = options.drift_seconds * self._pool.frames_per_second
        num_knots = int(np.ceil(frames / knots_apart)) + 2
        knots = rng.standard_normal((count, num_knots, len(JOINTS), 3))
        where = np.arange(frames) / knots_apart + rng.random((count, 1))
        index = where.astype(np.int64)
        share = where - index
        share = (share * share * (3 - 2 * share))[..., None, None]
        people = np.arange(count)[:, None]
        drift = knots[people, index] * (1 - share) + knots[people, index + 1] * share
        return np.radians(drift * spread[:, None])

    def _put_hands(self, rng: np.random.Generator, full_pose: Float[np.ndarray, "N T 52 3"]) -> None:
        """Hands of the prior of hands, moving."""
        count = len(full_pose)
        window = rng.integers(len(self._hands.wrists), size=count)
        start = rng.integers((_HANDS_LENGTH - 1) * self.frames + 1, size=count)
        rows = window[:, None], start[:, None] + np.arange(self.frames)
        full_pose[:, :, WRISTS] = self._hands.wrists[rows]
        full_pose[:, :, len(JOINTS) :] = self._hands.fingers[rows].reshape(count, self.frames, -1, 3)

    def _turned(
        self, rng: np.random.Generator, full_pose: Float[np.ndarray, "N T 52 3"], pelvis: Float[np.ndarray, "N T 3"]
    ) -> tuple[Float[np.ndarray, "N T 52 3"], Float[np.ndarray, "N T 3"]]:
        """Motions turned about the vertical, and some of them anyhow."""
        count = len(full_pose)
        turn = np.zeros((count, 3))
        turn[:, 1] = rng.uniform(-np.pi, np.pi, count)
        is_tumbling = rng.random(count) < self.options.tumble
        anyhow = Rotation.random(count, rng=rng).as_rotvec()
        turn = Rotation.from_rotvec(np.where(is_tumbling[:, None], anyhow, turn)).as_matrix()
        root = Rotation.from_rotvec(full_pose[:, :, 0].reshape(-1, 3)).as_matrix().reshape(count, -1, 3, 3)
        root = Rotation.from_matrix((turn[:, None] @ root).reshape(-1, 3, 3)).as_rotvec()
        full_pose = full_pose.copy()
        full_pose[:, :, 0] = root.reshape(count, -1, 3)
        return full_pose, np.einsum("nij,ntj->nti", turn, pelvis)
