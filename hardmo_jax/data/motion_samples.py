"""Clips of people for the training of networks over time, seen by a detector that errs from frame to frame.

Drawn anew for every batch, from a generator that the seed and the number of the batch name, as `data.lifter_samples`.
"""

import dataclasses

import jax
import numpy as np

from hardmo_jax.array_types import AnyArray, Bool, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.data import detector_noise, filming, staging
from hardmo_jax.data.detector_noise import DetectorNoise
from hardmo_jax.data.filming import NoiseShare
from hardmo_jax.data.motion_mixing import MotionMixer, MotionMixingOptions
from hardmo_jax.data.motion_pool import MotionPool
from hardmo_jax.data.staging import ShapeOptions
from hardmo_jax.data.viewpoints import ViewpointOptions
from hardmo_jax.geometry import foot_contact
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.skeleton import layouts

_UP = np.array([0.0, 1.0, 0.0])


@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionSampleOptions:
    """What people do, what they look like, how they are filmed, and how they are found."""

    frames: int = 40
    """Of a window."""
    mixing: MotionMixingOptions = MotionMixingOptions()
    shape: ShapeOptions = ShapeOptions()
    viewpoint: ViewpointOptions = filming.VIEWPOINT
    noises: tuple[NoiseShare, ...] = (
        NoiseShare(share=0.3, noise=DetectorNoise(person_log_spread=0.5)),
        NoiseShare(share=0.25, noise=DetectorNoise(person_log_spread=0.5, frame_correlation=0.85)),
        NoiseShare(share=0.08, noise=DetectorNoise(person_log_spread=0.5, frame_correlation=0.95)),
        NoiseShare(share=0.08, noise=DetectorNoise(body_spread=0.02, extremity_spread=0.03, frame_correlation=0.5)),
        NoiseShare(share=0.1, noise=DetectorNoise(swap_all=0.06, swap_legs=0.06, frame_correlation=0.5)),
        NoiseShare(share=0.07, noise=DetectorNoise(lose_limb=0.7, missing=0.1, frame_correlation=0.8)),
        NoiseShare(share=0.05, noise=DetectorNoise(cut=1.0, frame_correlation=0.7)),
        NoiseShare(
            share=0.07,
            noise=DetectorNoise(
                body_spread=0.002, extremity_spread=0.002, person_log_spread=0.5, missing=0.0, gross=0.0
            ),
        ),
    )  # fmt: skip
    focal_length_log_spread: float = 0.1
    """Of the factor by which the focal length that is told is wrong."""
    gap: float = 0.2
    """The person is not found in some frames."""
    gap_frames: tuple[int, int] = (1, 16)
    limb_gap: float = 0.25
    """An arm or a leg is not found in some frames."""
    lose_fingers: float = 0.1
    """All points of both hands but the wrists are missing, as with body-only detectors."""
    lose_feet: float = 0.04
    """Toes and heels are missing."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionSamples:
    """Clips as a detector sees them, with the truth."""

    params: BodyParams
    """SMPL-H; people, then frames; camera frame."""
    keypoints_2d: Float[AnyArray, "N T 65 2"]
    """Pixels."""
    confidence: Float[AnyArray, "N T 65"]
    """In [0, 1]; 0 where nothing was found."""
    camera: Camera
    """As the network is told; one a person."""
    stands: Bool[AnyArray, "N T 4"]
    """Whether each of `layouts.CONTACT_POINTS` stands on the ground."""


class MotionSampler:
    """Draws batches of clips."""

    def __init__(self, body: BodyModel, pool: MotionPool, options: MotionSampleOptions, *, seed: int) -> None:
        """Prepare what all batches share.

        Args:
            body: SMPL-H with the landmarks of the layout.
            pool: Motion.
            options: Distribution.
            seed: Of all batches.
        """
        self.options, self.seed = options, seed
        self._body, self._frames_per_second = body, pool.frames_per_second
        self._studio = filming.Studio(body)
        self._mixer = MotionMixer(pool, options.mixing, frames=options.frames, seed=seed)
        self._contacts = list(self._studio.layout.indices(layouts.CONTACT_POINTS))

    def draw(self, batch: int, count: int) -> MotionSamples:
        """A batch of clips.

        Args:
            batch: Its number: the same number gives the same clips.
            count: How many.
        """
        rng = np.random.default_rng([self.seed, 2, batch])
        options, frames = self.options, self.options.frames
        full_pose, pelvis = self._mixer.draw(rng, count)
        betas = staging.draw_betas(rng, self._body, options.shape, count)
        world = staging.world_params(self._body, full_pose, pelvis, betas)
        film = self._studio.film(rng, world, frames, options.viewpoint)
        keypoints_2d, confidence = self._look(rng, film.pixels)
        return MotionSamples(
            params=jax.tree.map(lambda leaf: np.asarray(leaf).reshape(count, frames, *leaf.shape[1:]), film.params),
            keypoints_2d=keypoints_2d.astype(np.float32),
            confidence=confidence.astype(np.float32),
            camera=film.told_camera(rng, options.focal_length_log_spread),
            stands=foot_contact.standing_points(
                film.points[:, :, self._contacts], film.points, _UP, self._frames_per_second
            ),
        )

    def _look(
        self, rng: np.random.Generator, pixels: Float[np.ndarray, "N T 65 2"]
    ) -> tuple[Float[np.ndarray, "N T 65 2"], Float[np.ndarray, "N T 65"]]:
        options, studio, (count, frames) = self.options, self._studio, pixels.shape[:2]
        keypoints_2d, confidence = studio.detect(rng, pixels, options.noises, options.viewpoint.image_size)
        for share, points in ((options.lose_fingers, studio.fingers), (options.lose_feet, studio.feet)):
            confidence = filming.without_points(rng, confidence, share, points)
        for share, points in (
            (options.gap, np.ones((count, len(studio.layout)), bool)),
            (options.limb_gap, detector_noise.lost_limbs(rng, studio.layout, 1.0, count)),
        ):
            length = rng.integers(options.gap_frames[0], options.gap_frames[1] + 1, count)
            start = rng.integers(frames, size=count)
            at = np.arange(frames)
            is_gap = (at >= start[:, None]) & (at < (start + length)[:, None]) & (rng.random((count, 1)) < share)
            confidence = np.where(is_gap[..., None] & points[:, None], 0, confidence)
        return np.where(confidence[..., None] > 0, keypoints_2d, 0), confidence
