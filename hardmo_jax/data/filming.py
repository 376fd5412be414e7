"""People of training before cameras, and what detectors find of them: what samplers of poses and of clips share."""

import dataclasses

import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.body import landmarks, placement
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.data import detector_noise, viewpoints
from hardmo_jax.data.detector_noise import DetectorNoise
from hardmo_jax.data.staging import LAYOUT
from hardmo_jax.data.viewpoints import ViewpointOptions, Viewpoints
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.skeleton import layouts

#: Cameras of training: steeper, more tilted and from more lenses than those of benchmarks.
VIEWPOINT = ViewpointOptions(
    pitch_degrees=(-20.0, 30.0), roll_spread_degrees=6.0, distance=(2.5, 9.0),
    vertical_field_of_view_degrees=(28.0, 72.0),
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoiseShare:
    """A detector, and how many people it looks at."""

    share: float
    noise: DetectorNoise


@dataclasses.dataclass(frozen=True, kw_only=True)
class Film:
    """N people of T frames before a camera each."""

    params: BodyParams
    """One row a person and frame; camera frame."""
    points: Float[np.ndarray, "N T K 3"]
    """World."""
    pixels: Float[np.ndarray, "N T K 2"]
    view: Viewpoints

    def told_camera(self, rng: np.random.Generator, log_spread: float) -> Camera:
        """The cameras with a focal length that is wrong by a factor."""
        wrong = np.exp(rng.normal(0, log_spread, (len(self.pixels), 1)))
        return Camera(
            focal_length=(self.view.focal_length * wrong).astype(np.float32),
            principal_point=self.view.principal_point.astype(np.float32),
        )


class Studio:
    """Films people of one body in the layout that lifters see."""

    def __init__(self, body: BodyModel) -> None:
        """Prepare what all films share.

        Args:
            body: SMPL-H with the landmarks of the layout.
        """
        self.layout = layouts.get_layout(LAYOUT)
        self._body, self._model = body, landmarks.layout_points(body, LAYOUT)
        parts = [layouts.part_of(point) or "" for point in self.layout.points]
        is_root = [point.endswith("hand_root") for point in self.layout.points]
        self.fingers = np.array([part.endswith("hand") for part in parts]) & ~np.array(is_root)
        """Points of both hands but the wrists."""
        self.feet = np.array([part.endswith("foot") for part in parts])
        """Toes and heels."""
        self.face = np.array([point == "nose" or point.endswith(("_eye", "_ear")) for point in self.layout.points])
        """Nose, eyes and ears."""

    def film(self, rng: np.random.Generator, world: BodyParams, frames: int, options: ViewpointOptions) -> Film:
        """Put people before cameras.

        Args:
            rng: Source of randomness.
            world: One row a person and frame, all frames of a person in a row.
            frames: Of each person.
            options: Distribution of cameras.
        """
        points = np.asarray(in_pieces(self._model, world), np.float64).reshape(-1, frames, len(self.layout), 3)
        view = viewpoints.sample_viewpoints_at_once(rng, points.reshape(len(points), -1, 3), options)
        params = placement.moved(
            self._body, world, np.repeat(view.rotation, frames, 0), np.repeat(view.translation, frames, 0)
        )
        seen = np.einsum("nij,ntkj->ntki", view.rotation, points) + view.translation[:, None, None]
        pixels = seen[..., :2] / seen[..., 2:] * view.focal_length[:, None, None] + view.principal_point[:, None, None]
        return Film(params=params, points=points, pixels=pixels, view=view)

    def detect(
        self,
        rng: np.random.Generator,
        pixels: Float[np.ndarray, "N T K 2"],
        noises: tuple[NoiseShare, ...],
        image_size: tuple[int, int],
    ) -> tuple[Float[np.ndarray, "N T K 2"], Float[np.ndarray, "N T K"]]:
        """Keypoints and confidences of people of whom each detector sees its share, one detector after the other."""
        shares = np.array([part.share for part in noises])
        ends = np.round(np.cumsum(shares / shares.sum()) * len(pixels)).astype(int)
        found = [
            detector_noise.detect(rng, pixels[first:last], self.layout, part.noise, image_size=image_size)
            for part, first, last in zip(noises, [0, *ends[:-1]], ends, strict=True)
            if last > first
        ]
        return np.concatenate([part.keypoints_2d for part in found]), np.concatenate(
            [part.confidence for part in found]
        )


def without_points(
    rng: np.random.Generator, confidence: Float[np.ndarray, "N T K"], share: float, points: Bool[np.ndarray, "K"]
) -> Float[np.ndarray, "N T K"]:
    """Confidences of which a share of people lack some points in all frames."""
    is_lost = (rng.random(len(confidence)) < share)[:, None, None] & points
    return np.where(is_lost, 0, confidence)
