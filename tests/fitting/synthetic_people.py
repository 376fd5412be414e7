"""Seeded people with known parameters in front of a known camera, and what is measured of them without noise."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax import observations as observations_module
from hardmo_jax.body import landmarks
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.fitting import priors, variables
from hardmo_jax.geometry import cameras
from hardmo_jax.skeleton import layouts

WIDTH, HEIGHT = 1280, 720
#: Spread of the poses as a share of the prior's: plausible people, not its far tails.
SPREAD = 0.6


@dataclasses.dataclass(frozen=True)
class People:
    """A batch with its truth."""

    body: BodyModel
    params: BodyParams
    points: np.ndarray
    """(B, K, 3) keypoints, metres, camera frame; zero where the body has no such point."""
    pixels: np.ndarray
    """(B, K, 2), of the camera of the picture."""
    confidence: np.ndarray
    """(B, K): 1 where the body has the point, else 0."""
    layout: str

    @property
    def camera(self) -> cameras.Camera:
        return cameras.camera_from_image_size(WIDTH, HEIGHT)

    def observe(self, *kinds: str, rows=slice(None), **changes) -> observations_module.Observations:
        """Noise-free observations of some rows: `2d`, `3d`, or both (the 3D ones then about their own mean)."""
        given = {"layout": self.layout}
        if "2d" in kinds:
            given |= {
                "keypoints_2d": self.pixels[rows],
                "confidence": self.confidence[rows],
                "camera": self.camera,
            }
        if "3d" in kinds:
            points = self.points[rows]
            if "2d" in kinds:
                points = points - points.mean(-2, keepdims=True)
            given |= {"keypoints_3d": points, "confidence_3d": self.confidence[rows]}
        return observations_module.Observations(**{**given, **changes})


def draw(body: BodyModel, layout_name: str, *, count: int = 16, seed: int = 1) -> People:
    """People with poses from the prior, any heading, a small tilt, 3 to 6 metres away."""
    rng = np.random.default_rng(seed)
    prior = priors.pose_prior(body.joint_names)
    pose = prior.mean + rng.normal(size=(count, body.num_joints - 1, 3)) * prior.spread * SPREAD
    pose = np.clip(pose, prior.low, prior.high)
    heading, tilt = rng.uniform(-np.pi, np.pi, count), rng.normal(size=(count, 3)) * 0.15
    orient = [_turn(t) @ np.diag([1.0, -1.0, -1.0]) @ _turn([0.0, h, 0.0]) for t, h in zip(tilt, heading, strict=True)]
    place = np.stack([rng.normal(size=count) * 0.3, rng.normal(size=count) * 0.2, rng.uniform(3, 6, count)], -1)
    vector = np.concatenate(
        [place, np.zeros((count, 3)), rng.normal(size=(count, body.num_betas)) * 0.7, pose.reshape(count, -1)], -1
    )
    dtype = body.joint_template.dtype
    params = variables.Layout.of(body).to_params(jnp.asarray(vector, dtype), jnp.asarray(np.array(orient), dtype))
    layout = layouts.get_layout(layout_name)
    model, is_supported = landmarks.point_model(body, layout)
    points = np.asarray(model(params), np.float64)
    confidence = np.tile(is_supported.astype(float), (count, 1))
    camera = cameras.camera_from_image_size(WIDTH, HEIGHT)
    pixels = points[..., :2] / np.where(is_supported[:, None], points[..., 2:], 1.0) * camera.focal_length
    pixels = np.where(is_supported[:, None], pixels + camera.principal_point, 0.0)
    return People(body=body, params=params, points=points, pixels=pixels, confidence=confidence, layout=layout_name)


def unchecked(data_class, **given):
    """An options or data class as in production, past the shape and type checks that only run in tests."""
    value = object.__new__(data_class)
    for field in dataclasses.fields(data_class):
        object.__setattr__(value, field.name, given.get(field.name, field.default))
    value.__post_init__()
    return value


def rows_of(tree, rows):
    """Some rows of every leaf."""
    return jax.tree.map(lambda leaf: leaf[rows], tree)


def joint_errors(body: BodyModel, ours: BodyParams, theirs: BodyParams) -> np.ndarray:
    """(B, J) distances of the joints, metres."""
    return np.linalg.norm(np.asarray(body.joints(ours)) - np.asarray(body.joints(theirs)), axis=-1)


def point_model(body: BodyModel, layout_name: str) -> landmarks.PointModel:
    """What the fit compares with the keypoints of a layout."""
    return landmarks.point_model(body, layouts.get_layout(layout_name))[0]


@functools.lru_cache(maxsize=1)
def mirror_order(layout_name: str) -> np.ndarray:
    """Index of the keypoint on the other side, for each keypoint."""
    points = layouts.get_layout(layout_name).points
    return np.array([points.index(other_side(point)) for point in points])


def other_side(name: str) -> str:
    """`right_knee` for `left_knee`; names without a side stay."""
    side, _, rest = name.partition("_")
    return {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, name)


def _turn(axis_angle) -> np.ndarray:
    """Rotation matrix by the matrix exponential's closed form, NumPy."""
    axis_angle = np.asarray(axis_angle, float)
    angle = np.linalg.norm(axis_angle)
    if angle == 0:
        return np.eye(3)
    x, y, z = axis_angle / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
