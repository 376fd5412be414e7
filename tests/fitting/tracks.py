"""One person who moves smoothly before a camera, what is measured of it, and a guess that is wrong in known ways."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

import hardmo_jax as hm
from hardmo_jax.body import landmarks
from hardmo_jax.fitting import variables
from hardmo_jax.fitting.guess import Guess
from hardmo_jax.geometry import cameras
from hardmo_jax.skeleton import layouts

LAYOUT, RATE = "coco_wholebody65", 30.0
WIDTH, HEIGHT = 1280, 720


@dataclasses.dataclass(frozen=True)
class Track:
    body: hm.BodyModel
    vector: np.ndarray
    """(T, P) truth, as of `variables.Layout`."""
    orient: np.ndarray
    """(T, 3, 3), upright before the camera."""

    def params(self, vector=None):
        layout = variables.Layout.of(self.body)
        dtype = self.body.joint_template.dtype
        vector = self.vector if vector is None else vector
        return layout.to_params(jnp.asarray(vector, dtype), jnp.asarray(self.orient, dtype))

    def points(self, params=None):
        model = landmarks.layout_points(self.body, LAYOUT)
        return np.asarray(model(self.params() if params is None else params))

    @property
    def camera(self):
        return cameras.camera_from_image_size(WIDTH, HEIGHT)

    def observe(self, *, noise=0.0, seed=0, seen=None):
        pixels = np.asarray(cameras.project_points(self.camera, self.points()))
        pixels = pixels + np.random.default_rng(seed).normal(scale=noise or 1e-9, size=pixels.shape)
        confidence = np.ones(pixels.shape[:2])
        if seen is not None:
            confidence[~seen] = 0
        return hm.Observations(keypoints_2d=pixels, confidence=confidence, camera=self.camera, layout=LAYOUT)

    def guess(self, *, jitter=0.05, seed=1):
        """Every frame wrong by an error of its own, the shape right."""
        rng = np.random.default_rng(seed)
        error = rng.normal(size=self.vector.shape) * jitter
        error[:, 3:6] = 0
        error[:, 6 : variables.Layout.of(self.body).pose_start] = 0
        spread = np.full(self.vector.shape, 2 * jitter)
        spread[:, :3] = np.inf
        params = jax.tree.map(np.asarray, self.params(self.vector + error))
        return Guess(params=params, spread=spread, precision=np.eye(spread.shape[1]))


def make_track(body, *, frames=24, seed=0, sway=0.3):
    """Joints swing to and fro; the pelvis goes sideways."""
    rng = np.random.default_rng(seed)
    layout = variables.Layout.of(body)
    time = np.arange(frames)[:, None] / RATE
    vector = np.zeros((frames, layout.size))
    phase, rate = rng.uniform(0, 6, layout.size), rng.uniform(1, 4, layout.size)
    swing = sway * rng.normal(size=layout.size) * np.sin(phase + rate * time)
    swing[:, layout.group_mask(("hand_pose",))] = 0
    vector[:, layout.pose_start :] = swing[:, layout.pose_start :]
    knees = [layout.pose_start + 3 * (body.joint_names.index(f"{side}_knee") - 1) for side in layouts.SIDES]
    vector[:, knees] = 0.5 + np.abs(vector[:, knees])
    vector[:, 6 : layout.pose_start] = rng.normal(size=layout.num_betas) * 0.5
    vector[:, 0], vector[:, 1], vector[:, 2] = 0.4 * time[:, 0], 0.1, 4.0
    orient = np.tile(np.diag([1.0, -1.0, -1.0]), (frames, 1, 1))
    return Track(body=body, vector=vector, orient=orient)
