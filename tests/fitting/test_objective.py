"""Normal equations against forward-mode differentiation of the residuals, and the residuals against NumPy."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body import landmarks
from hardmo_jax.fitting import objective, stages, variables
from tests.fitting import synthetic_people

LAYOUT = "coco_feet23"
#: Float64, relative to the largest entry: sums of a few hundred products.
TOLERANCE_64 = 1e-10
WEIGHTS = {
    "keypoints_2d": 0.7,
    "keypoints_3d": 1.3,
    "pose_prior": 0.9,
    "shape_prior": 1.7,
    "joint_limits": 0.6,
    "robust_scale": 0.15,
}


@dataclasses.dataclass(frozen=True)
class Problem:
    """One person beside its keypoints, float64, with joints beyond their limits and points that are absent."""

    model: landmarks.PointModel
    prior: objective.Prior
    evidence: objective.Evidence
    weights: objective.StageWeights
    orient: jax.Array
    vector: jax.Array


@functools.lru_cache(maxsize=3)
def make_problem(kinds: tuple[str, ...]) -> Problem:
    rng = np.random.default_rng(5)
    body = hm.open_body(view="smpl", dtype=np.float64)
    people = synthetic_people.draw(body, LAYOUT, count=1, seed=2)
    layout = variables.Layout.of(body)
    vector, orient = layout.from_params(synthetic_people.rows_of(people.params, 0))
    pixels = people.pixels[0] + rng.normal(size=people.pixels[0].shape) * 20
    pixels[7] += 300
    points = people.points[0] + rng.normal(size=people.points[0].shape) * 0.05
    weight = rng.uniform(1, 200, len(pixels))
    weight[3:6] = 0
    camera = people.camera
    stage = stages.Stage(iterations=1, **WEIGHTS)
    schedule = objective.stage_schedule((stage,), layout, np.dtype(np.float64))
    evidence = objective.Evidence(
        keypoints_2d=jnp.asarray(pixels) if "2d" in kinds else None,
        weight_2d=jnp.asarray(weight) if "2d" in kinds else None,
        keypoints_3d=jnp.asarray(points) if "3d" in kinds else None,
        weight_3d=jnp.asarray(weight[::-1].copy()) if "3d" in kinds else None,
        is_hand=jnp.asarray(np.arange(len(pixels)) >= len(pixels) // 2, np.float64),
        focal_length=jnp.asarray(camera.focal_length, np.float64),
        principal_point=jnp.asarray(camera.principal_point, np.float64),
        box_side=jnp.asarray(411.0, np.float64),
    )
    return Problem(
        model=synthetic_people.point_model(body, LAYOUT),
        prior=jax.tree.map(jnp.asarray, objective.make_prior(layout, body.joint_names, 0.05, np.dtype(np.float64))),
        evidence=evidence,
        weights=jax.tree.map(lambda row: jnp.asarray(row[0]), schedule),
        orient=orient,
        vector=vector.at[7].set(4.2) + jnp.asarray(rng.normal(size=vector.size) * 0.3),
    )


def arguments(problem: Problem) -> tuple:
    return problem.model, problem.prior, problem.evidence, problem.weights, problem.orient, problem.vector


@jax.jit
def evaluate(*inputs):
    """Normal equations, and the residuals with their Jacobian by forward mode: one program for all tests."""
    residual = objective.residuals(*inputs)
    jacobian = jax.jacfwd(objective.residuals, argnums=5)(*inputs)
    points = variables.keypoints(inputs[0], *inputs[4:])
    return objective.normal_equations(*inputs), residual, jacobian, objective.cost(residual), points


def residuals_of(problem: Problem) -> np.ndarray:
    return np.asarray(evaluate(*arguments(problem))[1])


@pytest.mark.parametrize("kinds", [("2d",), ("3d",), ("2d", "3d")])
def test_gradient_and_cost_are_those_of_the_differentiated_residuals(kinds):
    with jax.enable_x64(True):
        problem = make_problem(kinds)
        outputs = jax.tree.map(np.asarray, evaluate(*arguments(problem)))
    (matrix, gradient, cost), residual, jacobian, same_cost, _ = outputs
    for ours, theirs in (
        (gradient, jacobian.T @ residual),
        (cost, 0.5 * residual @ residual),
        (same_cost, 0.5 * residual @ residual),
    ):
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE_64 * np.abs(theirs).max(), rtol=0)
    np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=TOLERANCE_64 * np.abs(matrix).max())


@pytest.mark.parametrize("kinds", [("2d",), ("3d",), ("2d", "3d")])
def test_matrix_is_that_of_the_reweighted_errors(kinds):
    with jax.enable_x64(True):
        problem = make_problem(kinds)
        (matrix, *_), _, jacobian, _, points = jax.tree.map(np.asarray, evaluate(*arguments(problem)))
        by_point = np.asarray(jax.jacfwd(variables.keypoints, argnums=2)(problem.model, problem.orient, problem.vector))
        evidence = jax.tree.map(np.asarray, problem.evidence)
    num_prior_rows = len(jacobian) - sum(points.shape[0] * {"2d": 2, "3d": 3}[kind] for kind in kinds)
    prior_rows = jacobian[len(jacobian) - num_prior_rows :]
    expected = prior_rows.T @ prior_rows
    if "2d" in kinds:
        focal, depth = evidence.focal_length, points[:, 2:]
        error = (points[:, :2] / depth * focal + evidence.principal_point - evidence.keypoints_2d) / 411.0
        # d (f x / z) = f (dx - (x / z) dz) / z
        rows = (by_point[:, :2] - (points[:, :2] / depth)[..., None] * by_point[:, 2:]) * (focal / depth / 411.0)[
            ..., None
        ]
        expected = expected + gram(rows, error, WEIGHTS["robust_scale"], evidence.weight_2d * WEIGHTS["keypoints_2d"])
    if "3d" in kinds:
        error, rows = points - evidence.keypoints_3d, by_point
        if "2d" in kinds:
            share = evidence.weight_3d**2 / np.sum(evidence.weight_3d**2)
            error, rows = error - share @ error, rows - np.tensordot(share, rows, 1)
        expected = expected + gram(rows, error, objective.ROBUST_SCALE_3D, evidence.weight_3d * WEIGHTS["keypoints_3d"])
    np.testing.assert_allclose(matrix, expected, atol=TOLERANCE_64 * np.abs(expected).max(), rtol=0)


def gram(rows, error, scale, weight):
    """J^T W J with the weights of iteratively reweighted least squares for Geman-McClure."""
    factor = weight * scale**2 / (scale**2 + np.sum(error**2, -1))
    weighted = (rows * factor[:, None, None]).reshape(-1, rows.shape[-1])
    return weighted.T @ weighted


def robust(error, scale):
    return error * scale / np.sqrt(scale**2 + np.sum(error**2, -1, keepdims=True))


@pytest.mark.parametrize("kinds", [("2d",), ("3d",), ("2d", "3d")])
def test_residuals_are_the_weighted_terms_in_numpy(kinds):
    with jax.enable_x64(True):
        problem = make_problem(kinds)
        _, residual, _, _, points = jax.tree.map(np.asarray, evaluate(*arguments(problem)))
        evidence = jax.tree.map(np.asarray, problem.evidence)
        prior = jax.tree.map(np.asarray, problem.prior)
        vector = np.asarray(problem.vector)
    expected = []
    if "2d" in kinds:
        pixels = points[:, :2] / points[:, 2:] * evidence.focal_length + evidence.principal_point
        error = robust((pixels - evidence.keypoints_2d) / 411.0, WEIGHTS["robust_scale"])
        expected.append(error * evidence.weight_2d[:, None] * WEIGHTS["keypoints_2d"])
    if "3d" in kinds:
        error = points - evidence.keypoints_3d
        if "2d" in kinds:  # then 3D points only shape the pose: their weighted centre does not count
            error = error - np.average(error, axis=0, weights=evidence.weight_3d**2)
        error = robust(error, objective.ROBUST_SCALE_3D)
        expected.append(error * evidence.weight_3d[:, None] * WEIGHTS["keypoints_3d"])
    tail = vector[6:]
    strength = np.where(np.arange(tail.size) < prior.num_betas, WEIGHTS["shape_prior"], WEIGHTS["pose_prior"])
    expected.append((tail - prior.mean) / prior.spread * strength)
    outside = np.where(tail > prior.high, tail - prior.high, 0) + np.where(tail < prior.low, tail - prior.low, 0)
    is_outside = outside != 0
    assert is_outside[: prior.num_betas].any(), "the case must test the limits of the shape"
    assert is_outside[prior.num_betas :].any(), "and of the joints"
    expected.append(outside / 0.05 * WEIGHTS["joint_limits"])
    expected = np.concatenate([block.ravel() for block in expected])
    np.testing.assert_allclose(residual, expected, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in WEIGHTS if name != "robust_scale"])
def test_each_weight_scales_its_own_block_and_nothing_else(name):
    with jax.enable_x64(True):
        problem = make_problem(("2d", "3d"))
        before = residuals_of(problem)
        weights = dataclasses.replace(problem.weights, **{name: 2 * getattr(problem.weights, name)})
        after = residuals_of(dataclasses.replace(problem, weights=weights))
    is_changed = after != before
    np.testing.assert_allclose(after[is_changed], 2 * before[is_changed], rtol=1e-12)
    points, joints = problem.model.regressor.shape[0], problem.model.body.num_joints - 1
    sizes = {
        "keypoints_2d": 2 * points,
        "keypoints_3d": 3 * points,
        "shape_prior": 10,
        "pose_prior": 3 * joints,
        "joint_limits": 10 + 3 * joints,
    }
    ends = np.cumsum(list(sizes.values()))
    place = list(sizes).index(name)
    block = np.arange(before.size)
    assert set(np.flatnonzero(is_changed)) <= set(block[ends[place] - sizes[name] : ends[place]])
    assert is_changed.any()


def test_translation_of_3d_points_matters_only_without_2d():
    def moved(evidence):
        return dataclasses.replace(evidence, keypoints_3d=evidence.keypoints_3d + 0.7)

    with jax.enable_x64(True):
        for kinds, is_same in ((("2d", "3d"), True), (("3d",), False)):
            problem = make_problem(kinds)
            before = residuals_of(problem)
            after = residuals_of(dataclasses.replace(problem, evidence=moved(problem.evidence)))
            assert np.allclose(before, after, atol=1e-8) == is_same
