"""Levenberg-Marquardt and Adam on a small problem: descent, frozen groups, independence of the people of a batch."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.fitting import adam, levenberg_marquardt, objective, stages, variables
from tests.fitting import synthetic_people

LAYOUT = "coco17"
COUNT = 4
STEPS = 9
#: Float32: sums are reordered when other rows of the batch differ, and the linear solves amplify it.
TOLERANCE_ROW = 1e-3


@pytest.fixture(scope="module")
def problem():
    """SMPL's joints, four people seen in 2D, started 0.2 rad from the truth."""
    body = hm.open_body(view="smpl")
    people = synthetic_people.draw(body, LAYOUT, count=COUNT, seed=7)
    layout = variables.Layout.of(body)
    rng = np.random.default_rng(8)
    vector, orient = layout.from_params(people.params)
    noise = rng.normal(size=vector.shape) * np.where(np.arange(layout.size) < 3, 0.05, 0.2)
    camera = people.camera
    side = (people.pixels.max(1) - people.pixels.min(1)).max(-1)
    evidence = objective.Evidence(
        keypoints_2d=jnp.asarray(people.pixels, jnp.float32),
        weight_2d=jnp.asarray(people.confidence * 200, jnp.float32),
        keypoints_3d=None,
        weight_3d=None,
        is_hand=jnp.zeros(people.pixels.shape[:-1], jnp.float32),
        focal_length=jnp.tile(jnp.asarray(camera.focal_length), (COUNT, 1)),
        principal_point=jnp.tile(jnp.asarray(camera.principal_point), (COUNT, 1)),
        box_side=jnp.asarray(side, jnp.float32),
    )
    prior = jax.tree.map(jnp.asarray, objective.make_prior(layout, body.joint_names, 0.05, body.joint_template.dtype))
    model = synthetic_people.point_model(body, LAYOUT)
    return layout, model, prior, evidence, orient, vector + jnp.asarray(noise, jnp.float32)


SOLVERS = {
    "levenberg_marquardt": jax.jit(levenberg_marquardt.solve),
    "adam": jax.jit(functools.partial(adam.solve, learning_rate=0.02, steps_per_iteration=10)),
}


def solve(name, problem, *stage_list, evidence=None, start=None):
    """The solver on stages of `STEPS` + 1 rows in all, so that every test shares one compiled program."""
    layout, model, prior, given, orient, vector = problem
    schedule = objective.stage_schedule(stage_list, layout, np.dtype(np.float32))
    assert schedule.is_stage_start.size == STEPS + 1
    schedule = jax.tree.map(jnp.asarray, schedule)
    return jax.tree.map(
        np.asarray,
        SOLVERS[name](
            model, prior, given if evidence is None else evidence, schedule, orient, vector if start is None else start
        ),
    )


ALL = stages.Stage(iterations=STEPS)


@pytest.mark.parametrize("name", SOLVERS)
def test_solver_lowers_the_cost_of_everybody(problem, name):
    vector, history, final = solve(name, problem, ALL)
    assert np.isfinite(vector).all()
    assert (final < 0.5 * history[0]).all()
    assert history.shape == (STEPS + 1, COUNT)


def test_both_solvers_minimise_the_same_cost(problem):
    _, newton, _ = solve("levenberg_marquardt", problem, ALL)
    _, first_order, _ = solve("adam", problem, ALL)
    np.testing.assert_allclose(newton[0], first_order[0], rtol=1e-4)


@pytest.mark.parametrize("name", SOLVERS)
def test_final_cost_is_that_of_the_vector_returned(problem, name):
    layout, model, prior, evidence, orient, _ = problem
    vector, _, final = solve(name, problem, ALL)
    weights = jax.tree.map(lambda row: jnp.asarray(row[0]), objective.stage_schedule((ALL,), layout, np.dtype("f4")))

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, 0, 0))
    def cost(person, turn, values):
        return objective.cost(objective.residuals(model, prior, person, weights, turn, values))

    np.testing.assert_allclose(cost(evidence, orient, jnp.asarray(vector)), final, rtol=1e-3)


@pytest.mark.parametrize("name", SOLVERS)
def test_cost_never_rises_within_a_stage(problem, name):
    first, second = stages.Stage(iterations=4, robust_scale=0.5), stages.Stage(iterations=4, pose_prior=3.0)
    _, history, _ = solve(name, problem, first, second)
    assert (np.diff(history[:5], axis=0) <= 0).all()
    assert (np.diff(history[5:], axis=0) <= 0).all()


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("group", ["transl", "global_orient", "betas", "body_pose"])
def test_stage_moves_its_groups_and_leaves_the_others_bit_identical(problem, name, group):
    layout, start = problem[0], np.asarray(problem[-1])
    vector, _, _ = solve(name, problem, stages.Stage(iterations=STEPS, free=(group,)))
    is_free = layout.group_mask((group,))
    np.testing.assert_array_equal(vector[:, ~is_free], start[:, ~is_free])
    assert (vector[:, is_free] != start[:, is_free]).any(-1).all()


@pytest.mark.parametrize("name", SOLVERS)
def test_stage_that_frees_less_than_the_one_before_holds_the_rest(problem, name):
    layout = problem[0]
    wide = stages.Stage(iterations=4)
    narrow = stages.Stage(iterations=4, free=("transl",))
    narrower = stages.Stage(iterations=4, free=("betas",))
    after_transl, _, _ = solve(name, problem, wide, narrow)
    after_betas, _, _ = solve(name, problem, wide, narrower)
    # Entries frozen in both second stages come from the same first stage.
    is_held = layout.group_mask(("global_orient", "body_pose"))
    np.testing.assert_array_equal(after_transl[:, is_held], after_betas[:, is_held])


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e9])
def test_bad_person_changes_nothing_for_the_others(problem, name, bad):
    evidence = problem[3]
    spoilt = dataclasses.replace(evidence, keypoints_2d=evidence.keypoints_2d.at[1].set(bad))
    vector, history, final = solve(name, problem, ALL)
    other, other_history, other_final = solve(name, problem, ALL, evidence=spoilt)
    kept = [0, 2, 3]
    np.testing.assert_array_equal(vector[kept], other[kept])
    np.testing.assert_array_equal(final[kept], other_final[kept])
    np.testing.assert_array_equal(history[:, kept], other_history[:, kept])
    assert np.isfinite(other[1]).all(), "the best finite vector is the start"


def test_order_of_the_people_does_not_matter(problem):
    layout, model, prior, evidence, orient, start = problem
    order = np.array([2, 0, 3, 1])
    turned = (
        layout, model, prior, synthetic_people.rows_of(evidence, order), orient[order], start[order],
    )  # fmt: skip
    vector, _, final = solve("levenberg_marquardt", problem, ALL)
    other, _, other_final = solve("levenberg_marquardt", turned, ALL)
    np.testing.assert_allclose(other, vector[order], atol=TOLERANCE_ROW)
    np.testing.assert_allclose(other_final, final[order], rtol=TOLERANCE_ROW)


def test_unmeasured_entries_stay_at_the_mean_of_the_prior(problem):
    _, _, prior, evidence, _, start = problem
    blind = dataclasses.replace(evidence, weight_2d=jnp.zeros_like(evidence.weight_2d))
    vector, _, final = solve("levenberg_marquardt", problem, ALL, evidence=blind)
    np.testing.assert_allclose(vector[:, 6:], np.tile(prior.mean, (COUNT, 1)), atol=1e-3)
    np.testing.assert_array_equal(vector[:, :6], np.asarray(start[:, :6]))
    np.testing.assert_allclose(final, 0, atol=1e-3)


def test_damped_step_solves_the_normal_equations_of_the_free_entries(rng):
    with jax.enable_x64(True):
        size, damping = 7, 0.3
        rows = rng.normal(size=(12, size))
        residual = rng.normal(size=12)
        free = np.array([1.0, 1, 0, 1, 0, 1, 1])
        matrix, gradient = rows.T @ rows, rows.T @ residual
        change, predicted = levenberg_marquardt._damped_step(
            jnp.asarray(matrix), jnp.asarray(gradient), jnp.asarray(damping), jnp.asarray(free)
        )
    kept = free > 0
    reduced = matrix[np.ix_(kept, kept)] + damping * np.diag(np.diag(matrix)[kept])
    np.testing.assert_allclose(change[kept], -np.linalg.solve(reduced, gradient[kept]), rtol=1e-10)
    np.testing.assert_array_equal(change[~kept], 0)
    # What the linear model promises of the undamped cost is at least half of what is damped away more.
    step = np.asarray(change)
    lower = 0.5 * residual @ residual - 0.5 * np.sum((residual + rows @ step) ** 2)
    np.testing.assert_allclose(predicted, lower, rtol=1e-10)
