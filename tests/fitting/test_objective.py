"""Equations of a batch against differentiation of the residuals, and the residuals against NumPy."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body import landmarks
from hardmo_jax.fitting import motion, normal_equations, objective, stages, variables
from hardmo_jax.fitting.evidence import UserResidual
from tests.fitting import synthetic_people

#: Joints and landmarks, which are rigid, and two averages of joints (neck and mid-hip), which are not.
LAYOUT = "openpose25"
#: Kinds of evidence; `user` is a residual of one's own.
KINDS = [("2d",), ("3d",), ("2d", "3d"), ("2d", "3d", "user")]
#: Float64, relative to the largest entry: sums of a few hundred products.
TOLERANCE_64 = 1e-10
COUNT = 2
SIDES = np.array([411.0, 207.0])
WEIGHTS = {
    "keypoints_2d": 0.7,
    "keypoints_3d": 1.3,
    "hands": 0.4,
    "pose_prior": 0.9,
    "shape_prior": 1.7,
    "joint_limits": 0.6,
    "robust_scale": 0.15,
}


def near_the_frame_before(params, joints, data):
    """A temporal term: joints and angles near those of the frame before."""
    return jnp.concatenate([(joints - data["joints"]).ravel() / 0.05, (params.body_pose - data["pose"]).ravel() / 0.2])


@dataclasses.dataclass(frozen=True)
class Problem:
    """People beside their keypoints, float64, with joints beyond their limits and points that are absent."""

    model: landmarks.PointModel
    prior: objective.Prior
    evidence: objective.Evidence
    weights: objective.StageWeights
    orient: jax.Array
    vector: jax.Array


@functools.lru_cache(maxsize=4)
def make_problem(kinds: tuple[str, ...]) -> Problem:
    rng = np.random.default_rng(5)
    body = hm.open_body(view="smpl", dtype=np.float64)
    people = synthetic_people.draw(body, LAYOUT, count=COUNT, seed=2)
    layout = variables.Layout.of(body)
    vector, orient = layout.from_params(people.params)
    pixels = people.pixels + rng.normal(size=people.pixels.shape) * 20
    pixels[:, 7] += 300
    points = people.points + rng.normal(size=people.points.shape) * 0.05
    weight = rng.uniform(1, 200, pixels.shape[:2])
    weight[:, 3:6] = 0
    camera = people.camera
    stage = stages.Stage(iterations=1, **WEIGHTS)
    schedule = objective.stage_schedule((stage,), layout, np.dtype(np.float64))
    before = {"joints": rng.normal(size=(COUNT, 24, 3)), "pose": rng.normal(size=(COUNT, 23, 3)) * 0.3}
    temporal = UserResidual(function=near_the_frame_before, data=jax.tree.map(jnp.asarray, before))
    evidence = objective.Evidence(
        keypoints_2d=jnp.asarray(pixels) if "2d" in kinds else None,
        weight_2d=jnp.asarray(weight) if "2d" in kinds else None,
        keypoints_3d=jnp.asarray(points) if "3d" in kinds else None,
        weight_3d=jnp.asarray(weight[:, ::-1].copy()) if "3d" in kinds else None,
        is_hand=jnp.asarray(np.tile(np.arange(25) >= 13, (COUNT, 1)), np.float64),
        focal_length=jnp.tile(jnp.asarray(camera.focal_length, np.float64), (COUNT, 1)),
        principal_point=jnp.tile(jnp.asarray(camera.principal_point, np.float64), (COUNT, 1)),
        box_side=jnp.asarray(SIDES),
        residuals=(temporal,) if "user" in kinds else (),
    )
    return Problem(
        model=synthetic_people.point_model(body, LAYOUT),
        prior=jax.tree.map(jnp.asarray, objective.make_prior(layout, body.joint_names, 0.05, np.dtype(np.float64))),
        evidence=evidence,
        weights=jax.tree.map(lambda row: jnp.stack([jnp.asarray(row[0])] * COUNT), schedule),
        orient=orient,
        vector=vector.at[:, 7].set(4.2) + jnp.asarray(rng.normal(size=vector.shape) * 0.3),
    )


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """What the library says, and what differentiation makes of the residuals and keypoints alone."""

    matrix: np.ndarray
    gradient: np.ndarray
    cost: np.ndarray
    residual: np.ndarray
    jacobian: np.ndarray
    """Of the residuals, by forward mode."""
    cost_of_residuals: np.ndarray
    reverse: np.ndarray
    """Gradient of the cost of the residuals, by reverse mode."""
    points: np.ndarray
    joints: np.ndarray
    by_point: np.ndarray
    """Derivative of the keypoints, by forward mode."""


@jax.jit
def _evaluate(model, prior, evidence, weights, orient, vector):
    """One program for each kind of evidence, for all tests."""

    def residuals(evidence, weights, orient, vector):
        return objective.residuals(model, prior, evidence, weights, orient, vector)

    def costs(vector):
        return objective.cost(objective.residuals(model, prior, evidence, weights, orient, vector))

    made = objective.equations(model, prior, evidence, weights, orient, vector)
    jacobian = jax.vmap(
        jax.jacfwd(lambda *person: residuals(*jax.tree.map(lambda leaf: leaf[None], person))[0], argnums=3)
    )
    by_point = jax.vmap(jax.jacfwd(lambda o, v: motion.keypoints(model, o[None], v[None])[0], argnums=1))
    return {
        "matrix": normal_equations.matrix(made, model),
        "gradient": made.gradient,
        "cost": made.cost,
        "residual": residuals(evidence, weights, orient, vector),
        "jacobian": jacobian(evidence, weights, orient, vector),
        "cost_of_residuals": costs(vector),
        "reverse": jax.grad(lambda v: jnp.sum(costs(v)))(vector),
        "points": motion.keypoints(model, orient, vector),
        "joints": motion.joints(model.body, orient, vector),
        "by_point": by_point(orient, vector),
    }


def arguments(problem: Problem):
    return tuple(getattr(problem, field.name) for field in dataclasses.fields(problem))


def evaluate(problem: Problem) -> Evaluated:
    return Evaluated(**jax.tree.map(np.asarray, _evaluate(*arguments(problem))))


def in_numpy(tree):
    """The leaves of evidence or of a prior by name."""
    return {field.name: np.asarray(getattr(tree, field.name)) for field in dataclasses.fields(tree)}


def assert_close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE_64 * np.abs(theirs).max(), rtol=0)


@pytest.mark.parametrize("kinds", KINDS)
def test_gradient_is_that_of_the_differentiated_residuals(kinds):
    with jax.enable_x64(True):
        made = evaluate(make_problem(kinds))
    assert_close(made.gradient, np.einsum("brp,br->bp", made.jacobian, made.residual))
    assert_close(made.gradient, made.reverse)


@pytest.mark.parametrize("kinds", KINDS)
def test_cost_is_half_the_sum_of_the_squared_residuals(kinds):
    with jax.enable_x64(True):
        made = evaluate(make_problem(kinds))
    expected = 0.5 * np.sum(np.square(made.residual), -1)
    assert_close(made.cost, expected)
    assert_close(made.cost_of_residuals, expected)


@pytest.mark.parametrize("kinds", KINDS)
def test_matrix_is_symmetric(kinds):
    with jax.enable_x64(True):
        made = evaluate(make_problem(kinds))
    assert_close(made.matrix, made.matrix.swapaxes(-1, -2))


@pytest.mark.parametrize("kinds", KINDS)
def test_matrix_is_that_of_the_reweighted_errors(kinds):
    with jax.enable_x64(True):
        problem = make_problem(kinds)
        made = evaluate(problem)
        evidence = in_numpy(problem.evidence)
    num_points = made.points.shape[1]
    num_keypoint_rows = sum(num_points * {"2d": 2, "3d": 3, "user": 0}[kind] for kind in kinds)
    for person in range(COUNT):
        points, by_point = made.points[person], made.by_point[person]
        # Residuals of the priors and of the user are squared as they are.
        plain = made.jacobian[person, num_keypoint_rows:]
        expected = plain.T @ plain
        of_hand = np.where(evidence["is_hand"][person] > 0, WEIGHTS["hands"], 1)
        if "2d" in kinds:
            focal, depth, side = evidence["focal_length"][person], points[:, 2:], SIDES[person]
            pixels = points[:, :2] / depth * focal + evidence["principal_point"][person]
            error = (pixels - evidence["keypoints_2d"][person]) / side
            # d (f x / z) = f (dx - (x / z) dz) / z
            rows = by_point[:, :2] - (points[:, :2] / depth)[..., None] * by_point[:, 2:]
            rows = rows * (focal / depth / side)[..., None]
            weight = evidence["weight_2d"][person] * WEIGHTS["keypoints_2d"] * of_hand
            expected = expected + gram(rows, error, WEIGHTS["robust_scale"], weight)
        if "3d" in kinds:
            error, rows = points - evidence["keypoints_3d"][person], by_point
            weight = evidence["weight_3d"][person]
            if "2d" in kinds:
                share = weight**2 / np.sum(weight**2)
                error, rows = error - share @ error, rows - np.tensordot(share, rows, 1)
            weight = weight * WEIGHTS["keypoints_3d"] * of_hand
            expected = expected + gram(rows, error, objective.ROBUST_SCALE_3D, weight)
        assert_close(made.matrix[person], expected)


def gram(rows, error, scale, weight):
    """J^T W J with the weights of iteratively reweighted least squares for Geman-McClure."""
    factor = weight * scale**2 / (scale**2 + np.sum(error**2, -1))
    weighted = (rows * factor[:, None, None]).reshape(-1, rows.shape[-1])
    return weighted.T @ weighted


def robust(error, scale):
    return error * scale / np.sqrt(scale**2 + np.sum(error**2, -1, keepdims=True))


@pytest.mark.parametrize("kinds", KINDS)
def test_residuals_are_the_weighted_terms_in_numpy(kinds):
    with jax.enable_x64(True):
        problem = make_problem(kinds)
        made = evaluate(problem)
        evidence, prior = in_numpy(problem.evidence), in_numpy(problem.prior)
        vector, num_betas = np.asarray(problem.vector), problem.prior.num_betas
    expected = []
    of_hand = np.where(evidence["is_hand"] > 0, WEIGHTS["hands"], 1)[..., None]
    if "2d" in kinds:
        pixels = made.points[..., :2] / made.points[..., 2:] * evidence["focal_length"][:, None]
        pixels = pixels + evidence["principal_point"][:, None]
        error = robust((pixels - evidence["keypoints_2d"]) / SIDES[:, None, None], WEIGHTS["robust_scale"])
        expected.append(error * evidence["weight_2d"][..., None] * WEIGHTS["keypoints_2d"] * of_hand)
    if "3d" in kinds:
        error = made.points - evidence["keypoints_3d"]
        if "2d" in kinds:  # then 3D points only shape the pose: their weighted centre does not count
            square = np.square(evidence["weight_3d"])[..., None]
            error = error - np.sum(error * square, 1, keepdims=True) / np.sum(square, 1, keepdims=True)
        error = robust(error, objective.ROBUST_SCALE_3D)
        expected.append(error * evidence["weight_3d"][..., None] * WEIGHTS["keypoints_3d"] * of_hand)
    if "user" in kinds:
        data = jax.tree.map(np.asarray, problem.evidence.residuals[0].data)
        expected.append((made.joints - data["joints"]) / 0.05)
        expected.append((vector[:, -69:].reshape(COUNT, 23, 3) - data["pose"]) / 0.2)
    tail = vector[:, 6:]
    is_shape = np.arange(tail.shape[1]) < num_betas
    strength = np.where(is_shape, WEIGHTS["shape_prior"], WEIGHTS["pose_prior"])
    expected.append((tail - prior["mean"]) / prior["spread"] * strength)
    outside = np.maximum(tail - prior["high"], 0) + np.minimum(tail - prior["low"], 0)
    assert (outside != 0)[:, is_shape].any(), "the case must test the limits of the shape"
    assert (outside != 0)[:, ~is_shape].any(), "and of the joints"
    expected.append(outside / 0.05 * WEIGHTS["joint_limits"])
    expected = np.concatenate([block.reshape(COUNT, -1) for block in expected], 1)
    np.testing.assert_allclose(made.residual, expected, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in WEIGHTS if name != "robust_scale"])
def test_each_weight_scales_its_own_block_and_nothing_else(name):
    with jax.enable_x64(True):
        problem = make_problem(("2d", "3d"))
        before = evaluate(problem).residual[0]
        weights = dataclasses.replace(problem.weights, **{name: 2 * getattr(problem.weights, name)})
        after = evaluate(dataclasses.replace(problem, weights=weights)).residual[0]
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
    ends = dict(zip(sizes, np.cumsum(list(sizes.values())), strict=True))
    blocks = {block: set(range(ends[block] - size, ends[block])) for block, size in sizes.items()}
    blocks["hands"] = blocks["keypoints_2d"] | blocks["keypoints_3d"]
    assert set(np.flatnonzero(is_changed)) <= blocks[name]
    assert is_changed.any()


def test_weight_of_the_hands_counts_for_finger_points_only():
    with jax.enable_x64(True):
        problem = make_problem(("2d",))
        before = evaluate(problem).residual
        weights = dataclasses.replace(problem.weights, hands=jnp.zeros(COUNT))
        after = evaluate(dataclasses.replace(problem, weights=weights)).residual
        is_hand = np.repeat(np.asarray(problem.evidence.is_hand) > 0, 2, axis=1)
    np.testing.assert_array_equal(after[:, :50][~is_hand], before[:, :50][~is_hand])
    np.testing.assert_array_equal(after[:, :50][is_hand], 0)


def test_translation_of_3d_points_matters_only_without_2d():
    def moved(evidence):
        return dataclasses.replace(evidence, keypoints_3d=evidence.keypoints_3d + 0.7)

    with jax.enable_x64(True):
        for kinds, is_same in ((("2d", "3d"), True), (("3d",), False)):
            problem = make_problem(kinds)
            before = evaluate(problem).residual
            after = evaluate(dataclasses.replace(problem, evidence=moved(problem.evidence))).residual
            assert np.allclose(before, after, atol=1e-8) == is_same


def test_people_of_a_batch_have_nothing_to_do_with_each_other():
    with jax.enable_x64(True):
        problem = make_problem(("2d", "3d", "user"))
        together = evaluate(problem)
        swapped = dataclasses.replace(
            problem,
            **{
                name: synthetic_people.rows_of(getattr(problem, name), np.array([1, 1]))
                for name in ("evidence", "weights", "orient", "vector")
            },
        )
        twice = evaluate(swapped)
    for name in ("matrix", "gradient", "cost", "residual"):
        assert_close(getattr(twice, name)[0], getattr(together, name)[1])
        assert_close(getattr(twice, name)[1], getattr(together, name)[1])


def test_each_person_has_its_own_row_of_the_schedule():
    with jax.enable_x64(True):
        problem = make_problem(("2d", "3d"))
        doubled = 2 * problem.weights.pose_prior
        both = dataclasses.replace(problem, weights=dataclasses.replace(problem.weights, pose_prior=doubled))
        second = dataclasses.replace(
            problem,
            weights=dataclasses.replace(problem.weights, pose_prior=problem.weights.pose_prior.at[1].multiply(2)),
        )
        before, after, mixed = (evaluate(given).matrix for given in (problem, both, second))
    assert_close(mixed[0], before[0])
    assert_close(mixed[1], after[1])
    assert not np.allclose(before[1], after[1])
