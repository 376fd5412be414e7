"""People for the training of lifters: posed, put before a camera, and seen by a detector that errs in every way.

Everything is drawn anew for every batch, from a generator that the seed and the number of the batch name, so that a
training run that is resumed sees what it would have seen.
"""

import dataclasses

import jax
import numpy as np

from hardmo_jax.array_types import AnyArray, Float
from hardmo_jax.body import landmarks, placement
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.data import detector_noise, viewpoints
from hardmo_jax.data.detector_noise import DetectorNoise
from hardmo_jax.data.pose_mixing import MixingOptions, PoseMixer
from hardmo_jax.data.pose_pool import PosePool
from hardmo_jax.data.staging import ShapeOptions
from hardmo_jax.data.viewpoints import ViewpointOptions
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.skeleton import layouts

LAYOUT = "coco_wholebody65"


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoiseShare:
    """A detector, and how many people it looks at."""

    share: float
    noise: DetectorNoise


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """What people look like, how they are filmed, and how they are found."""

    mixing: MixingOptions = MixingOptions()
    shape: ShapeOptions = ShapeOptions()
    viewpoint: ViewpointOptions = ViewpointOptions(
        pitch_degrees=(-20.0, 30.0), roll_spread_degrees=6.0, distance=(2.5, 9.0),
        vertical_field_of_view_degrees=(28.0, 72.0),
    )  # fmt: skip
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
        self._body = body
        self._model = landmarks.layout_points(body, LAYOUT)
        self._mixer = PoseMixer(pool, options.mixing, seed=seed)
        layout = layouts.get_layout(LAYOUT)
        self._layout = layout
        parts = [layouts.part_of(point) or "" for point in layout.points]
        is_root = [point.endswith("hand_root") for point in layout.points]
        self._fingers = np.array([part.endswith("hand") for part in parts]) & ~np.array(is_root)
        self._feet = np.array([part.endswith("foot") for part in parts])
        self._face = np.array([point == "nose" or point.endswith(("_eye", "_ear")) for point in layout.points])

    def draw(self, batch: int, count: int) -> LifterSamples:
        """A batch of people.

        Args:
            batch: Its number: the same number gives the same people.
            count: How many.
        """
        rng = np.random.default_rng([self.seed, 1, batch])
        options, dtype = self.options, self._body.joint_template.dtype
        full_pose = self._mixer.draw(rng, count)
        spread = np.full(self._body.num_betas, options.shape.spread)
        spread[0] = options.shape.first_spread
        betas = rng.normal(size=(count, self._body.num_betas)) * spread
        world = BodyParams.from_full_pose(
            self._body, full_pose.astype(dtype), betas=betas.astype(dtype), transl=np.zeros((count, 3), dtype)
        )
        points = np.asarray(in_pieces(self._model, world), np.float64)
        view = viewpoints.sample_viewpoints_at_once(rng, points, options.viewpoint)
        params = placement.moved(self._body, world, view.rotation, view.translation)
        seen = np.einsum("nij,nkj->nki", view.rotation, points) + view.translation[:, None]
        pixels = seen[..., :2] / seen[..., 2:] * view.focal_length[:, None] + view.principal_point[:, None]
        keypoints_2d, confidence = self._look(rng, pixels)
        wrong = np.exp(rng.normal(0, options.focal_length_log_spread, (count, 1)))
        return LifterSamples(
            params=params,
            keypoints_2d=keypoints_2d.astype(np.float32),
            confidence=confidence.astype(np.float32),
            camera=Camera(
                focal_length=(view.focal_length * wrong).astype(np.float32),
                principal_point=view.principal_point.astype(np.float32),
            ),
            true_keypoints_2d=pixels.astype(np.float32),
        )

    def _look(
        self, rng: np.random.Generator, pixels: Float[np.ndarray, "N 65 2"]
    ) -> tuple[Float[np.ndarray, "N 65 2"], Float[np.ndarray, "N 65"]]:
        options, count = self.options, len(pixels)
        shares = np.array([part.share for part in options.noises])
        ends = np.round(np.cumsum(shares / shares.sum()) * count).astype(int)
        found = [
            detector_noise.detect(
                rng, pixels[first:last, None], self._layout, part.noise, image_size=options.viewpoint.image_size
            )
            for part, first, last in zip(options.noises, [0, *ends[:-1]], ends, strict=True)
            if last > first
        ]
        keypoints_2d = np.concatenate([part.keypoints_2d for part in found])[:, 0]
        confidence = np.concatenate([part.confidence for part in found])[:, 0]
        for share, points in (
            (options.lose_fingers, self._fingers), (options.lose_feet, self._feet), (options.lose_face, self._face),
        ):  # fmt: skip
            confidence[np.ix_(rng.random(count) < share, points)] = 0
        keypoints_2d[confidence == 0] = 0
        return keypoints_2d, confidence
