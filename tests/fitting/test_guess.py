"""Fits that begin at a guess: drawn to it as far as it is certain, and never worse than it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hardmo_jax as hm
from hardmo_jax.fitting import evidence, objective, variables
from hardmo_jax.fitting.guess import Guess
from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.fitting.stages import GROUPS, Stage
from hardmo_jax.observations import ObservationError
from hardmo_jax.skeleton import layouts
from tests.fitting import synthetic_people

LAYOUT, COUNT = "openpose25", 4
#: All options have as many rows, so that one program serves them.
ROWS = 18
NEAR = hm.FitOptions(
    explore=(Stage(iterations=1),),
    refine=(Stage(iterations=7), Stage(iterations=9, pose_prior=0.5, robust_scale=0.1)),
)
USABLE = (FitStatus.CONVERGED, FitStatus.MAX_STEPS, FitStatus.NO_BETTER)


def options_of(*stages):
    assert sum(stage.iterations + 1 for stage in stages) == ROWS
    return dataclasses.replace(NEAR, refine=stages)


#: Stages that lead away from any good start (nothing but a prior that is much too strong), and leave no time to return.
AWAY = options_of(
    Stage(iterations=14, keypoints_2d=0.0, pose_prior=30.0, guess=0.0, converged_below=0.0),
    Stage(iterations=2, free=("transl",)),
)


@pytest.fixture(scope="module")
def people():
    return synthetic_people.draw(hm.open_body(view="smpl"), LAYOUT, count=COUNT, seed=3)


@pytest.fixture(scope="module")
def size(people):
    return variables.Layout.of(people.body).size


@pytest.fixture(scope="module")
def near(people):
    """Starts near the truth."""
    return perturbed(people, np.random.default_rng(5), 0.1)


def perturbed(people, rng, error):
    """The truth with another pose, shape and place; the root is turned from the outside."""
    params = jax.tree.map(np.array, people.params)

    def add(leaf, scale):
        return (leaf + scale * rng.normal(size=leaf.shape)).astype(leaf.dtype)

    turn = Rotation.from_rotvec(rng.normal(size=(COUNT, 3)) * error) * Rotation.from_rotvec(params.global_orient)
    return dataclasses.replace(
        params,
        body_pose=add(params.body_pose, error),
        betas=add(params.betas, 3 * error),
        transl=add(params.transl, error),
        global_orient=turn.as_rotvec().astype(params.global_orient.dtype),
    )


def make_guess(params, spread, size, **changes):
    spread = np.full(size, spread) if np.ndim(spread) == 0 else spread
    given = {"params": params, "spread": spread, "precision": np.eye(size)}
    return Guess(**{**given, **changes})


def fit(people, initial, options=NEAR, **changes):
    return jax.tree.map(
        np.asarray, hm.fit(people.body, people.observe("2d", **changes), options=options, initial=initial)
    )


def turned(params):
    return Rotation.from_rotvec(np.array(params.global_orient).reshape(-1, 3))


def assert_params(ours, theirs, tolerance):
    for name in ("body_pose", "betas", "transl"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=tolerance, err_msg=name)
    assert (turned(ours) * turned(theirs).inv()).magnitude().max() < max(tolerance, 1e-6)


@pytest.fixture(scope="module")
def plain(people, near):
    return fit(people, near)


# ---- certainty --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [1e-5, 1e-30])
def test_a_guess_that_is_certain_comes_back(people, near, size, spread):
    found = fit(people, make_guess(near, spread, size))
    assert_params(found.params, near, 2e-4)


@pytest.mark.parametrize(("spread", "weight"), [(np.inf, 1.0), (0.05, 0.0)])
def test_a_guess_that_knows_nothing_or_weighs_nothing_is_a_plain_start(spread, weight):
    """In double precision: in single, rounding of two programs is not the same, and grows from step to step."""
    options = options_of(*(dataclasses.replace(stage, guess=weight) for stage in NEAR.refine))
    with jax.enable_x64(True):
        exact = synthetic_people.draw(hm.open_body(view="smpl", dtype=np.float64), LAYOUT, count=COUNT, seed=3)
        near = perturbed(exact, np.random.default_rng(5), 0.1)
        num_entries = variables.Layout.of(exact.body).size
        plain, found = (fit(exact, start, options) for start in (near, make_guess(near, spread, num_entries)))
    assert_params(found.params, plain.params, 1e-8)
    np.testing.assert_array_equal(found.status, plain.status)
    np.testing.assert_allclose(found.loss_history, plain.loss_history, rtol=1e-8)


def test_the_more_certain_a_guess_the_nearer_to_it_a_fit_ends(people, near, size, plain):
    def distance(params):
        return np.sqrt(np.sum((params.body_pose - near.body_pose) ** 2, (1, 2)))

    apart = [distance(fit(people, make_guess(near, spread, size)).params) for spread in (0.001, 0.03, 0.3)]
    apart.append(distance(plain.params))
    assert np.all(apart[0] < 0.5 * apart[1])
    assert np.all(apart[1] < apart[2])
    assert np.all(apart[2] < apart[3] * 1.02)


def test_only_what_the_guess_is_certain_of_is_held(people, near, size):
    """A certain knee in a body of which nothing else is known."""
    layout = variables.Layout.of(people.body)
    knee = people.body.joint_names.index("left_knee")
    at = slice(layout.pose_start + 3 * (knee - 1), layout.pose_start + 3 * knee)
    spread = np.full(size, np.inf)
    spread[at] = 1e-4
    found = fit(people, make_guess(near, spread, size))
    np.testing.assert_allclose(found.params.body_pose[:, knee - 1], near.body_pose[:, knee - 1], atol=2e-3)
    others = np.abs(found.params.body_pose - near.body_pose).max(-1)
    assert np.median(others) > 0.02


def test_turns_are_meant_in_the_axes_of_the_guess(people, near, size):
    """Certain that the person is not turned about one axis, and ignorant of turns about the other two."""
    axes = Rotation.random(COUNT, rng=np.random.default_rng(8)).as_matrix()
    spread = np.full((COUNT, size), np.inf)
    spread[:, 3] = 1e-4
    found = fit(people, make_guess(near, spread, size, axes=axes))
    turn = (turned(found.params) * turned(near).inv()).as_rotvec()
    seen = np.einsum("bij,bj->bi", axes, turn)
    assert np.abs(seen[:, 0]).max() < 2e-3
    assert np.median(np.linalg.norm(seen[:, 1:], axis=-1)) > 0.02


def test_axes_of_the_camera_are_what_none_means(people, near, size):
    spread = np.linspace(0.05, 0.5, size)
    without = fit(people, make_guess(near, spread, size))
    found = fit(people, make_guess(near, spread, size, axes=np.eye(3)))
    assert_params(found.params, without.params, 1e-6)


def test_a_correlated_guess_moves_what_hangs_together(people, near, size):
    """Two entries that err together: the one that is seen takes the other with it, as far as they are tied."""
    layout = variables.Layout.of(people.body)
    wrist, elbow = (layout.pose_start + 3 * (people.body.joint_names.index(f"left_{joint}") - 1) + 1
                    for joint in ("wrist", "elbow"))  # fmt: skip
    covariance = np.eye(size)
    covariance[wrist, elbow] = covariance[elbow, wrist] = 0.999
    spread = np.full(size, np.inf)
    spread[[wrist, elbow]] = 0.2
    weak = options_of(*(dataclasses.replace(stage, pose_prior=0.01) for stage in NEAR.refine))
    given = make_guess(near, spread, size, precision=np.linalg.inv(covariance))
    found = fit(people, given, weak).params.body_pose.reshape(COUNT, -1) - near.body_pose.reshape(COUNT, -1)
    moved = found[:, np.array([wrist, elbow]) - layout.pose_start]
    assert np.abs(moved).max(-1).mean() > 0.01
    np.testing.assert_allclose(moved[:, 0], moved[:, 1], atol=0.04)


def test_batch_axes_and_shared_spreads_broadcast(people, near, size):
    axes = Rotation.random(COUNT, rng=np.random.default_rng(9)).as_matrix()
    spread = np.random.default_rng(10).uniform(0.05, 0.5, (COUNT, size))
    flat = fit(people, make_guess(near, spread, size, axes=axes))
    square = jax.tree.map(lambda leaf: leaf.reshape(2, 2, *leaf.shape[1:]), near)
    observations = people.observe(
        "2d", keypoints_2d=people.pixels.reshape(2, 2, 25, 2), confidence=people.confidence.reshape(2, 2, 25)
    )
    given = make_guess(square, spread.reshape(2, 2, size), size, axes=axes.reshape(2, 2, 3, 3))
    found = hm.fit(people.body, observations, options=NEAR, initial=given)
    assert found.status.shape == (2, 2)
    np.testing.assert_array_equal(np.asarray(found.params.body_pose).reshape(COUNT, 23, 3), flat.params.body_pose)
    shared = fit(people, make_guess(near, 0.1, size))
    each = fit(people, make_guess(near, np.full((COUNT, size), 0.1), size))
    assert_params(shared.params, each.params, 0.0)


def test_one_persons_guess_that_is_no_number_is_nobody_elses_trouble(people, near, size):
    broken = dataclasses.replace(near, body_pose=near.body_pose.copy())
    broken.body_pose[1, 3] = np.nan
    found, whole = fit(people, make_guess(broken, 0.1, size)), fit(people, make_guess(near, 0.1, size))
    assert found.status[1] == FitStatus.NONFINITE
    assert np.isfinite(found.params.body_pose).all()
    others = np.array([0, 2, 3])
    np.testing.assert_array_equal(found.status[others], whole.status[others])
    np.testing.assert_allclose(found.params.body_pose[others], whole.params.body_pose[others], atol=1e-5)


# ---- no worse than the start ------------------------------------------------------------------------------------


@jax.jit
def _costs(model, prior, seen, weights, orient, vector):
    return objective.cost(objective.residuals(model, prior, seen, weights, orient, vector))


@pytest.fixture(scope="module")
def last_cost(people):
    """Cost of parameters under the last stage of options, from the residuals alone."""
    body, layout = people.body, layouts.get_layout(LAYOUT)
    variable_layout = variables.Layout.of(body)
    model = synthetic_people.point_model(body, LAYOUT)
    prior = objective.make_prior(variable_layout, body.joint_names, NEAR.joint_limit_spread, np.dtype(np.float32))
    _, rows = evidence.flatten(people.observe("2d"))
    seen = evidence.prepare(rows, layout, np.ones(25, bool), NEAR, np.dtype(np.float32)).evidence

    def cost(params, options):
        schedule = objective.stage_schedule(options.refine[-1:], variable_layout, np.dtype(np.float32))
        weights = jax.tree.map(lambda row: np.repeat(row[:1], COUNT, 0), schedule)
        vector, orient = variable_layout.from_params(jax.tree.map(jnp.asarray, params))
        return np.asarray(_costs(model, prior, seen, weights, orient, vector), np.float64)

    return cost


#: Ways that lead elsewhere: a prior that is much too strong, and a blind shape, before a last stage of hardly a step.
WAYS = {
    "away": AWAY,
    "wide": options_of(
        Stage(iterations=9, robust_scale=3.0, pose_prior=0.1), Stage(iterations=7, pose_prior=0.5, robust_scale=0.03)
    ),
    "near": NEAR,
    "blind": options_of(
        Stage(iterations=11, keypoints_2d=0.05, shape_prior=20.0, free=GROUPS), Stage(iterations=5, free=("betas",))
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("seed", "error"), [(1, 0.02), (2, 0.1), (3, 0.3), (4, 0.8)])
def test_no_result_is_worse_than_its_start_by_the_last_objective(people, last_cost, way, seed, error):
    start = perturbed(people, np.random.default_rng(seed), error)
    found = fit(people, start, WAYS[way])
    before, after = last_cost(start, WAYS[way]), last_cost(found.params, WAYS[way])
    assert np.all(after <= before * (1 + 1e-4) + 1e-3)
    came_back = found.status == FitStatus.NO_BETTER
    if came_back.any():
        assert_params(rows(found.params, came_back), rows(start, came_back), 2e-6)
    # Whoever moved has gained by it.
    moved = np.abs(found.params.body_pose - start.body_pose).max((1, 2)) > 1e-5
    assert not np.any(moved & came_back)


def rows(params, chosen):
    return jax.tree.map(lambda leaf: leaf[chosen], params)


def test_a_good_start_comes_back_from_stages_that_lead_away(people, last_cost, plain):
    found = fit(people, plain.params, AWAY)
    np.testing.assert_array_equal(found.status, FitStatus.NO_BETTER)
    assert_params(found.params, plain.params, 2e-6)
    # The report is of what comes back, not of where the stages led.
    again = people.body.joints(jax.tree.map(jnp.asarray, found.params))
    wrist = people.body.joint_names.index("left_wrist")
    place = layouts.get_layout(LAYOUT).index("left_wrist")
    np.testing.assert_allclose(found.keypoints_3d[:, place], np.asarray(again)[:, wrist], atol=1e-5)
    np.testing.assert_allclose(found.error_by_part["body"], plain.error_by_part["body"], atol=1e-4)


def test_a_bad_start_is_left_even_so(people, size):
    """From far off even stages that lead away lead to a better place, and the status says so."""
    start = perturbed(people, np.random.default_rng(6), 1.2)
    found = fit(people, start, AWAY)
    assert not np.any(found.status == FitStatus.NO_BETTER)


def test_a_guess_comes_back_too(people, plain, size):
    found = fit(people, make_guess(plain.params, 0.05, size), AWAY)
    np.testing.assert_array_equal(found.status, FitStatus.NO_BETTER)
    assert_params(found.params, plain.params, 2e-6)


def test_a_start_at_the_optimum_stays(people, plain, last_cost):
    best = fit(people, plain.params)
    again = fit(people, best.params)
    assert np.isin(again.status, USABLE).all()
    before, after = last_cost(best.params, NEAR), last_cost(again.params, NEAR)
    assert np.all(after <= before * (1 + 1e-4))
    errors = synthetic_people.joint_errors(
        people.body, *(jax.tree.map(jnp.asarray, part.params) for part in (again, best))
    )
    assert np.median(errors.max(-1)) < 0.005


def test_from_the_truth_the_fit_explains_the_keypoints(people):
    found = fit(people, jax.tree.map(np.asarray, people.params))
    assert np.isin(found.status, USABLE).all()
    assert found.error_by_part["body"].max() < 0.01


# ---- what is no guess -------------------------------------------------------------------------------------------


def with_corner(size, value):
    """The identity but for one entry."""
    matrix = np.eye(size)
    matrix[0, 0] = value
    return matrix


def unchecked_guess(**given):
    """As in production, past the checks of shapes and types that only run in tests."""
    guess = object.__new__(Guess)
    for name, value in given.items():
        object.__setattr__(guess, name, value)
    return guess


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (lambda size: {"spread": np.ones(size - 1)}, "do not broadcast"),
        (lambda size: {"spread": np.ones((COUNT + 1, size))}, "do not broadcast"),
        (lambda size: {"spread": np.zeros(size)}, "must be positive"),
        (lambda size: {"spread": -np.ones(size)}, "must be positive"),
        (lambda size: {"spread": np.full(size, np.nan)}, "must be positive"),
        (lambda size: {"spread": np.where(np.arange(size) == 70, 0.0, 1.0)}, "must be positive"),
        (
            lambda size: {"spread": np.where(np.arange(COUNT)[:, None] == 1, np.nan, np.ones(size))},
            f"not for person 1, and 1 of {COUNT}",
        ),
        (lambda size: {"precision": np.eye(size - 1)}, "`precision` of a guess must be finite and of"),
        (lambda size: {"precision": np.eye(size)[0]}, "`precision` of a guess must be finite and of"),
        (lambda size: {"precision": with_corner(size, np.nan)}, "must be finite"),
        (lambda size: {"precision": with_corner(size, np.inf)}, "must be finite"),
        (lambda size: {"precision": np.zeros((size, size))}, "positive definite"),
        (lambda size: {"precision": with_corner(size, -1.0)}, "positive definite"),
        (lambda size: {"precision": np.ones((size, size))}, "positive definite"),
        (lambda size: {"axes": np.eye(2)}, "do not broadcast"),
        (lambda size: {"axes": np.tile(np.eye(3), (COUNT + 1, 1, 1))}, "do not broadcast"),
        (lambda size: {"axes": np.full((3, 3), np.nan)}, "`axes` finite"),
    ],
)
def test_what_is_no_guess_is_refused_in_words(people, near, size, changes, words):
    given = {"params": near, "spread": np.ones(size), "precision": np.eye(size), "axes": None} | changes(size)
    guess = unchecked_guess(**given)
    with pytest.raises(ObservationError, match=words):
        hm.fit(people.body, people.observe("2d"), options=NEAR, initial=guess)


def test_guess_of_other_people_is_refused(people, near, size):
    params = jax.tree.map(lambda leaf: leaf[:3], near)
    with pytest.raises(ObservationError, match="`initial` has the batch axes"):
        hm.fit(people.body, people.observe("2d"), options=NEAR, initial=make_guess(params, 1.0, size))
