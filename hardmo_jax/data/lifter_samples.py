"""People for the training of lifters: posed, put before a camera, and seen by a detector that errs in every way.

Everything is drawn anew for every batch, from a generator that the seed and the number of the batch name, so that a
training run that is resumed sees what it would have seen.
"""

import dataclasses

import jax
import numpy as np

from hardmo_jax.array_types import AnyArray, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.data import filming, staging
from hardmo_jax.data.detector_noise import DetectorNoise
from hardmo_jax.data.filming import NoiseShare
from hardmo_jax.data.pose_mixing import MixingOptions, PoseMixer
from hardmo_jax.data.pose_pool import PosePool
from hardmo_jax.data.staging import ShapeOptions
from hardmo_jax.data.viewpoints import ViewpointOptions
from hardmo_jax.geometry.cameras import Camera


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """What people look like, how they are filmed, and how they are found."""

    mixing: MixingOptions = MixingOptions()
    shape: ShapeOptions = ShapeOptions()
    viewpoint: ViewpointOptions = filming.VIEWPOINT
    noises: tuple[NoiseShare, ...] = (
        NoiseShare(share=0.42, noise=DetectorNoise(person_log_spread=0.5)),
        NoiseShare(share=0.13, noise=DetectorNoise(body_spread=0.02, extremity_spread=0.03, person_log_spread=0.5)),
        NoiseShare(share=0.17, noise=DetectorNoise(swap_all=0.08, swap_legs=0.08, lose_limb=0.15)),
        NoiseShare(share=0.13, noise=DetectorNoise(lose_limb=0.7, missing=0.1)),
        NoiseShare(share=0.08, noise=DetectorNoise(cut=1.0)),
        NoiseShare(
            share=0.07,
            noise=DetectorNoise(
                body_spread=0.002, extremity_spread=0.002, person_log_spread=0.5, missing=0.0, gross=0.0
            ),
        ),
    )  # fmt: skip
    """Detectors, in parts of each batch. Many people lack limbs and some are cut: nothing harms more."""
    focal_length_log_spread: float = 0.1
    """Of the factor by which the focal length that is told is wrong."""
    lose_fingers: float = 0.12
    """All points of both hands but the wrists are missing, as with body-only detectors."""
    lose_feet: float = 0.06
    """Toes and heels are missing."""
    lose_face: float = 0.05
    """Nose, eyes and ears are missing."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class LifterSamples:
    """People as a detector sees them, with the truth."""

    params: BodyParams
    """SMPL-H; camera frame."""
    keypoints_2d: Float[AnyArray, "N 65 2"]
    """Pixels."""
    confidence: Float[AnyArray, "N 65"]
    """In [0, 1]; 0 where nothing was found."""
    camera: Camera
    """As the lifter is told."""
    true_keypoints_2d: Float[AnyArray, "N 65 2"]
    """Pixels, before the detector."""


class LifterSampler:
    """Draws batches of people."""

    def __init__(self, body: BodyModel, pool: PosePool, options: SampleOptions, *, seed: int) -> None:
        """Prepare what all batches share.

        Args:
            body: SMPL-H with the landmarks of the layout.
            pool: Poses.
            options: Distribution.
            seed: Of all batches.
        """
        self.options, self.seed = options, seed
        self._body, self._studio = body, filming.Studio(body)
        self._mixer = PoseMixer(pool, options.mixing, seed=seed)

    def draw(self, batch: int, count: int) -> LifterSamples:
        """A batch of people.

        Args:
            batch: Its number: the same number gives the same people.
            count: How many.
        """
        rng = np.random.default_rng([self.seed, 1, batch])
        options, dtype = self.options, self._body.joint_template.dtype
        full_pose = self._mixer.draw(rng, count)
        betas = staging.draw_betas(rng, self._body, options.shape, count)
        world = BodyParams.from_full_pose(
            self._body, full_pose.astype(dtype), betas=betas.astype(dtype), transl=np.zeros((count, 3), dtype)
        )
        film = self._studio.film(rng, world, 1, options.viewpoint)
        keypoints_2d, confidence = self._look(rng, film.pixels)
        return LifterSamples(
            params=film.params,
            keypoints_2d=keypoints_2d[:, 0].astype(np.float32),
            confidence=confidence[:, 0].astype(np.float32),
            camera=film.told_camera(rng, options.focal_length_log_spread),
            true_keypoints_2d=film.pixels[:, 0].astype(np.float32),
        )

    def _look(
        self, rng: np.random.Generator, pixels: Float[np.ndarray, "N 1 65 2"]
    ) -> tuple[Float[np.ndarray, "N 1 65 2"], Float[np.ndarray, "N 1 65"]]:
        options, studio = self.options, self._studio
        keypoints_2d, confidence = studio.detect(rng, pixels, options.noises, options.viewpoint.image_size)
        for share, points in (
            (options.lose_fingers, studio.fingers), (options.lose_feet, studio.feet), (options.lose_face, studio.face),
        ):  # fmt: skip
            confidence = filming.without_points(rng, confidence, share, points)
        return np.where(confidence[..., None] > 0, keypoints_2d, 0), confidence
