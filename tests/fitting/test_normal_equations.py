"""Gauss-Newton matrices in factors, and their damped steps, against dense matrices in NumPy."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body import landmarks
from hardmo_jax.fitting import motion, normal_equations, variables
from tests.fitting import synthetic_people

#: Float64, relative to the largest entry: sums of a few hundred products.
TOLERANCE_64 = 1e-10
#: Float64 too, after a linear solve whose condition is that of the damping, 1e4 or so.
TOLERANCE_STEP = 1e-8
COUNT = 3
DAMPING = 0.3
#: A reach that no step is shortened to.
FAR = 1e9
#: All keypoints rigid, and with two averages of joints (neck and mid-hip), which are not.
LAYOUTS = ("coco_feet23", "openpose25")


@dataclasses.dataclass(frozen=True)
class Problem:
    """People with random forces on their keypoints."""

    model: landmarks.PointModel
    moved: motion.Motion
    forces: normal_equations.PointForces
    equations: normal_equations.NormalEquations
    jacobian: np.ndarray
    """(B, K, 3, P), by forward mode."""


@pytest.fixture(scope="module", params=LAYOUTS)
def problem(request):
    rng = np.random.default_rng(3)
    with jax.enable_x64(True):
        body = hm.open_body(view="smpl", dtype=np.float64)
        model = synthetic_people.point_model(body, request.param)
        assert motion.is_rigid(model).all() == (request.param == "coco_feet23")
        people = synthetic_people.draw(body, request.param, count=COUNT, seed=4)
        vector, orient = variables.Layout.of(body).from_params(people.params)
        vector = vector + jnp.asarray(rng.normal(size=vector.shape) * 0.2)
        root = rng.normal(size=(len(model.regressor), 3, 3, COUNT))
        forces = normal_equations.PointForces(
            gradient=jnp.asarray(rng.normal(size=(len(root), 3, COUNT))),
            precision=jnp.asarray(np.einsum("kacb,kdcb->kadb", root, root)),
        )
        diagonal = jnp.asarray(rng.uniform(0, 1, vector.shape))

        @jax.jit
        def evaluate(orient, vector):
            moved = motion.motion(model, orient, vector)
            made = dataclasses.replace(normal_equations.gather(model, moved, forces), diagonal=diagonal)
            by_vector = jax.vmap(jax.jacfwd(lambda o, v: motion.keypoints(model, o[None], v[None])[0], argnums=1))
            return moved, made, by_vector(orient, vector)

        moved, made, jacobian = evaluate(orient, vector)
    return Problem(model=model, moved=moved, forces=forces, equations=made, jacobian=np.asarray(jacobian))


def assert_close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE_64 * np.abs(theirs).max(), rtol=0)


def dense(problem: Problem) -> np.ndarray:
    """(B, P, P) from the derivative of the keypoints."""
    precision = np.asarray(problem.forces.precision)
    matrix = np.einsum("bkip,kijb,bkjq->bpq", problem.jacobian, precision, problem.jacobian, optimize=True)
    return matrix + np.asarray(problem.equations.diagonal)[..., None] * np.eye(matrix.shape[-1])


def test_matrix_is_the_precision_of_the_keypoints_seen_through_their_motion(problem):
    with jax.enable_x64(True):
        matrix = jax.jit(lambda equations: normal_equations.matrix(equations, problem.model))(problem.equations)
    assert_close(np.asarray(matrix), dense(problem))


def test_gradient_is_the_force_on_the_keypoints_seen_through_their_motion(problem):
    expected = np.einsum("bkip,kib->bp", problem.jacobian, problem.forces.gradient)
    assert_close(problem.equations.gradient, expected)


def test_factors_are_smaller_than_the_matrix(problem):
    parts = (problem.equations.tree_left, problem.equations.tree_right, problem.equations.rows_left)
    factors = sum(part[0].size for part in (*parts, problem.equations.rows_right))
    assert factors < 0.5 * problem.equations.diagonal.shape[-1] ** 2


def test_combined_is_the_derivative_of_weighted_sums_of_keypoints(problem):
    rng = np.random.default_rng(8)
    coefficients = rng.normal(size=(len(problem.model.regressor), 2, COUNT))
    with jax.enable_x64(True):

        @jax.jit
        def combined(moved, coefficients):
            return normal_equations.combined(problem.model, moved, coefficients)

        ours = combined(problem.moved, jnp.asarray(coefficients))
    assert_close(ours, np.einsum("knb,bkip->bnip", coefficients, problem.jacobian))


# ---- steps ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def damped_step(problem):
    """Steps of everybody from equations, a damping, free entries and a reach."""

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None, None, None))
    def damped_step(equations, damping, free, reach):
        return normal_equations.damped_step(equations, problem.model, None, damping, free, reach)

    return damped_step


@pytest.fixture(scope="module")
def step(problem, damped_step):
    """Free entries, step and predicted decrease of each person; everything free, or some or all entries held."""
    size = problem.equations.diagonal.shape[-1]
    is_free = {"all": np.ones(size), "some": (np.arange(size) % 5 > 0).astype(float), "none": np.zeros(size)}

    def stepped(freed, reach=FAR):
        with jax.enable_x64(True):
            free = jnp.asarray(is_free[freed])
            change, predicted = damped_step(problem.equations, jnp.asarray(DAMPING), free, jnp.full(size, reach))
        return is_free[freed] > 0, np.asarray(change), np.asarray(predicted)

    return stepped


@pytest.mark.parametrize("freed", ["all", "some"])
def test_damped_step_solves_the_normal_equations_of_the_free_entries(problem, step, freed):
    free, change, _ = step(freed)
    gradient = np.asarray(problem.equations.gradient)
    for person, matrix in enumerate(dense(problem)):
        reduced = matrix[np.ix_(free, free)]
        reduced = reduced + DAMPING * np.diag(np.maximum(np.diag(reduced), 1e-3))
        expected = -np.linalg.solve(reduced, gradient[person, free])
        np.testing.assert_allclose(change[person, free], expected, atol=TOLERANCE_STEP * np.abs(expected).max(), rtol=0)


@pytest.mark.parametrize("freed", ["some", "none"])
def test_held_entries_do_not_move_at_all(step, freed):
    free, change, _ = step(freed)
    np.testing.assert_array_equal(change[:, ~free], 0)


@pytest.mark.parametrize("freed", ["all", "some", "none"])
def test_predicted_decrease_is_that_of_the_undamped_quadratic(problem, step, freed):
    _, change, predicted = step(freed)
    gradient = np.asarray(problem.equations.gradient)
    quadratic = 0.5 * np.einsum("bp,bpq,bq->b", change, dense(problem), change)
    np.testing.assert_allclose(predicted, -np.sum(gradient * change, -1) - quadratic, rtol=TOLERANCE_STEP, atol=1e-12)
    assert (predicted > 0).all() == (freed != "none")


def test_long_step_is_shortened_as_a_whole_until_its_longest_entry_is_within_reach(problem, step):
    _, whole, _ = step("some")
    reach = 0.5 * np.abs(whole).max()
    _, change, predicted = step("some", reach)
    share = np.minimum(1, reach / np.abs(whole).max(-1))
    assert (share < 1).any()
    np.testing.assert_allclose(change, whole * share[:, None], rtol=TOLERANCE_STEP)
    quadratic = 0.5 * np.einsum("bp,bpq,bq->b", change, dense(problem), change)
    expected = -np.sum(np.asarray(problem.equations.gradient) * change, -1) - quadratic
    np.testing.assert_allclose(predicted, expected, rtol=TOLERANCE_STEP)


def test_direction_that_nothing_measures_does_not_move(problem, damped_step):
    # Without any evidence the matrix is zero; the floor of the damping's scale keeps it regular.
    with jax.enable_x64(True):
        blind = jax.tree.map(jnp.zeros_like, problem.equations)
        ones = jnp.ones(blind.diagonal.shape[-1])
        change, predicted = damped_step(blind, jnp.asarray(1e-6), ones, ones)
    np.testing.assert_array_equal(change, 0)
    np.testing.assert_array_equal(predicted, 0)
