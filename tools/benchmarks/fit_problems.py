"""People to fit: random bodies, their noisy keypoints, and a start that knows next to nothing.

The objective of a person is that of SMPLify without its mixture: the Geman-McClure function, at 100 pixels, of the
distance of each keypoint, and squares of the pose and the shape. All contestants minimise it from zero pose, zero
shape, and a translation that is off by 20 centimetres a coordinate.
"""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from tools.benchmarks import contestants

NOISE_PIXELS, TRANSL_OFF = 2.0, 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """A batch of people."""

    keypoints_2d: np.ndarray
    """(B, K, 2) pixels about the principal point."""
    transl: np.ndarray
    """(B, 3) where the fit starts, metres."""
    truth: np.ndarray
    """(B, K, 3) metres."""
    pose: np.ndarray
    """(B, J, 3) of the truth, radians."""


def draw(points_of: Any, batch: int, num_joints: int, *, seed: int = 3) -> Problem:
    """People whose keypoints `points_of(pose, betas, transl)` gives."""
    rng = np.random.default_rng(seed)
    pose = 0.3 * rng.standard_normal((batch, num_joints, 3))
    place = [0.3 * rng.standard_normal(batch), 0.3 * rng.standard_normal(batch), 4 + rng.random(batch)]
    betas, transl = rng.standard_normal((batch, 10)), np.stack(place, 1)
    pose, betas, transl = (array.astype(np.float32) for array in (pose, betas, transl))
    truth = np.asarray(points_of(pose, betas, transl), np.float64)
    pixels = truth[..., :2] / truth[..., 2:] * contestants.FOCAL_LENGTH
    pixels += NOISE_PIXELS * rng.standard_normal(pixels.shape)
    start = transl + TRANSL_OFF * rng.standard_normal(transl.shape)
    return Problem(
        keypoints_2d=pixels.astype(np.float32),
        transl=start.astype(np.float32),
        truth=truth.astype(np.float32),
        pose=pose,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OurProblem:
    """The same problem as arguments of this package's solvers."""

    model: Any
    prior: Any
    evidence: Any
    orient: np.ndarray
    start: np.ndarray
    layout: Any

    def arguments(self, stages: tuple[Any, ...]) -> tuple[Any, ...]:
        """Of a solver, for these stages."""
        from hardmo_jax.fitting import objective

        schedule = objective.stage_schedule(stages, self.layout, np.dtype(np.float32))
        return self.model, self.prior, self.evidence, schedule, self.orient, self.start


def smpl(folder: pathlib.Path, batch: int) -> tuple[Problem, OurProblem]:
    """SMPL with 45 keypoints: 24 joints and 21 landmarks."""
    import hardmo_jax as hm
    from hardmo_jax.skeleton import layouts

    body = hm.load_body(folder / "SMPL_NEUTRAL.npz")
    points = (*layouts.SMPL_JOINTS, *(name for name, _ in body.landmarks))
    return _make(body, points, batch)


def whole_body(batch: int, *, seed: int = 3) -> tuple[Any, Any, Any]:
    """Plausible people of the open body, their 65 whole-body keypoints with noise, and a start without pose or shape.

    Keypoints are those of BODY_25 and of both hands as OpenPose names them, without the two that are means of others.
    People face the camera give or take 0.3 radians a component, 4 to 5 metres away; the start is turned by as much and
    is off by 20 centimetres a coordinate.

    Returns:
        Body, observations and initial parameters, as `hm.fit` takes them.
    """
    import jax
    import jax.numpy as jnp

    import hardmo_jax as hm
    from hardmo_jax.body import landmarks, params
    from hardmo_jax.fitting import priors
    from hardmo_jax.geometry import cameras, rotations
    from hardmo_jax.skeleton import layouts

    rng = np.random.default_rng(seed)
    body, layout = hm.open_body(), layouts.get_layout("openpose67")
    prior = priors.pose_prior(body.joint_names)
    pose = prior.mean + 0.6 * prior.spread * rng.standard_normal((batch, body.num_joints - 1, 3))
    pose = np.clip(pose, prior.low, prior.high).astype(np.float32)
    upright = rotations.axis_angle_to_matrix(jnp.array([np.pi, 0, 0], jnp.float32))
    tilt = rotations.axis_angle_to_matrix(jnp.asarray(0.3 * rng.standard_normal((batch, 3)), jnp.float32))
    orient = rotations.matrix_to_axis_angle(rotations.compose(tilt, upright))
    place = [0.3 * rng.standard_normal(batch), 0.3 * rng.standard_normal(batch), 4 + rng.random(batch)]
    truth = hm.BodyParams(
        betas=(0.7 * rng.standard_normal((batch, body.num_betas))).astype(np.float32),
        global_orient=orient,
        transl=np.stack(place, 1).astype(np.float32),
        **params.split_pose(body.family, pose),
    )
    model, is_supported = landmarks.point_model(body, layout)
    points = np.asarray(jax.jit(lambda m, p: m(p))(model, truth))
    camera = cameras.camera_from_image_size(1280, 720)
    pixels = np.asarray(cameras.project_points(camera, points))
    pixels = pixels + NOISE_PIXELS * rng.standard_normal(pixels.shape)
    confidence = np.tile(is_supported.astype(float), (batch, 1))
    observations = hm.Observations(keypoints_2d=pixels, confidence=confidence, layout=layout.name, camera=camera)
    rest = hm.BodyParams.rest(body, batch=(batch,))
    facing = np.tile(np.array([np.pi, 0, 0], np.float32), (batch, 1))
    start = np.stack(place, 1) + TRANSL_OFF * rng.standard_normal((batch, 3))
    initial = dataclasses.replace(rest, global_orient=facing, transl=start.astype(np.float32))
    return body, observations, initial


def _make(body: Any, points: tuple[str, ...], batch: int) -> tuple[Problem, OurProblem]:
    import jax

    import hardmo_jax as hm
    from hardmo_jax.body import landmarks, params
    from hardmo_jax.fitting import evidence, objective, variables
    from hardmo_jax.skeleton import layouts

    named = layouts.KeypointLayout(
        name="benchmark", points=tuple(f"point_{index}" for index in range(len(points))),
        body_point_names=tuple((f"point_{index}", point) for index, point in enumerate(points)),
    )  # fmt: skip
    model, is_supported = landmarks.point_model(body, named)
    if not is_supported.all():
        raise ValueError(f"{body.name} lacks keypoints of the benchmark")

    def points_of(pose: np.ndarray, betas: np.ndarray, transl: np.ndarray) -> Any:
        parts = params.split_pose(body.family, pose[:, 1:])
        return jax.jit(lambda m, p: m(p))(
            model, hm.BodyParams(betas=betas, global_orient=pose[:, 0], transl=transl, **parts)
        )

    problem = draw(points_of, batch, body.num_joints)
    layout = variables.Layout.of(body)
    start = np.zeros((batch, layout.size), np.float32)
    start[:, :3] = problem.transl
    num_pose = 3 * (body.num_joints - 1)
    spread = [
        np.full(10, (2 * contestants.SHAPE_WEIGHT) ** -0.5),
        np.full(num_pose, (2 * contestants.POSE_WEIGHT) ** -0.5),
    ]
    far = np.full(10 + num_pose, 1e6, np.float32)
    ones = np.ones((batch, len(points)), np.float32)
    ours = OurProblem(
        model=model,
        prior=objective.Prior(
            mean=np.zeros(10 + num_pose, np.float32),
            spread=np.concatenate(spread).astype(np.float32),
            low=-far,
            high=far,
            limit_spread=1.0,
            num_betas=10,
        ),
        evidence=evidence.Evidence(
            keypoints_2d=problem.keypoints_2d,
            weight_2d=2**0.5 * ones,
            keypoints_3d=None,
            weight_3d=None,
            is_hand=0 * ones,
            focal_length=np.full((batch, 2), contestants.FOCAL_LENGTH, np.float32),
            principal_point=np.zeros((batch, 2), np.float32),
            box_side=np.ones(batch, np.float32),
        ),
        orient=np.tile(np.eye(3, dtype=np.float32), (batch, 1, 1)),
        start=start,
        layout=layout,
    )
    return problem, ours


def stages(
    *steps: tuple[int, tuple[str, ...]],
    robust_pixels: float = contestants.ROBUST_PIXELS,
    prior: float = 1.0,
    converged_below: float = 0.0,
) -> tuple[Any, ...]:
    """Stages of so many steps in which these groups of parameters are free."""
    from hardmo_jax.fitting.stages import Stage

    return tuple(
        Stage(
            iterations=count,
            free=free,
            robust_scale=robust_pixels,
            joint_limits=0.0,
            pose_prior=prior,
            shape_prior=prior,
            converged_below=converged_below,
        )
        for count, free in steps
    )
