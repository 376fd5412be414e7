"""What mixtures and guesses add to a fit: cost, gradient and matrix against the residuals, and steps against NumPy."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hardmo_jax as hm
from hardmo_jax.fitting import normal_equations, objective, pose_mixture, variables
from hardmo_jax.fitting.evidence import GuessRows
from hardmo_jax.fitting.normal_equations import NormalEquations, Pull, PullMatrices
from hardmo_jax.fitting.stages import Stage
from tests.fitting import synthetic_people, test_objective

COUNT = test_objective.COUNT
#: Float64, relative to the largest entry: sums of a few hundred products.
TOLERANCE_64 = 1e-10
#: After a linear solve.
TOLERANCE_STEP = 1e-8
DAMPING, FAR = 0.3, 1e9
GUESS_WEIGHT = 0.8


@dataclasses.dataclass(frozen=True)
class Problem:
    """The people of `test_objective`, who have mixtures and guesses besides; float64."""

    given: test_objective.Problem
    shared: PullMatrices
    precision: np.ndarray
    axes: np.ndarray
    mean: np.ndarray
    inverse_spread: np.ndarray


def random_precision(rng, size):
    root = rng.normal(size=(size, size)) / np.sqrt(size)
    return root @ root.T + 0.5 * np.eye(size)


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(11)
    with jax.enable_x64(True):
        given = test_objective.make_problem(("2d",))
        body = given.model.body
        layout = variables.Layout.of(body)
        size = layout.size
        precision = random_precision(rng, size)
        prior = objective.make_prior(
            layout, body.joint_names, 0.05, np.dtype(np.float64), mixtures=pose_mixture.packaged_mixtures(),
            guess_precision=precision,
        )  # fmt: skip
        mean = np.asarray(given.vector) + rng.normal(size=(COUNT, size)) * 0.2
        mean[:, 3:6] = 0
        spread = rng.uniform(0.1, 1, (COUNT, size))
        spread[:, :3] = np.inf
        spread[0, 20:30] = np.inf
        axes = Rotation.random(COUNT, rng=rng).as_matrix()
        rows = GuessRows(mean=jnp.asarray(mean), inverse_spread=jnp.asarray(1 / spread), axes=jnp.asarray(axes))
        given = dataclasses.replace(
            given,
            prior=jax.tree.map(jnp.asarray, prior),
            evidence=dataclasses.replace(given.evidence, guess=rows),
            weights=dataclasses.replace(given.weights, guess=np.full(COUNT, GUESS_WEIGHT)),
        )
        shared = PullMatrices(parts=prior.parts, pose_start=layout.pose_start, guess=precision)
    return Problem(given, shared, precision, axes, mean, 1 / spread)


@jax.jit
def _evaluate(model, prior, evidence, weights, orient, vector):
    """One program for all tests."""

    def residuals(evidence, weights, orient, vector):
        return objective.residuals(model, prior, evidence, weights, orient, vector)

    def costs(vector):
        return objective.cost(residuals(evidence, weights, orient, vector))

    made = objective.equations(model, prior, evidence, weights, orient, vector)
    shared = PullMatrices(parts=prior.parts, pose_start=6 + prior.num_betas, guess=prior.guess_precision)
    jacobian = jax.vmap(
        jax.jacfwd(lambda *person: residuals(*jax.tree.map(lambda leaf: leaf[None], person))[0], argnums=3)
    )
    return {
        "made": made,
        "matrix": normal_equations.matrix(made, model, shared),
        "residual": residuals(evidence, weights, orient, vector),
        "jacobian": jacobian(evidence, weights, orient, vector),
        "cost": costs(vector),
        "reverse": jax.grad(lambda v: jnp.sum(costs(v)))(vector),
    }


def evaluate(problem, **changes):
    """What the library says; the equations as they are, all else in NumPy."""
    with jax.enable_x64(True):
        given = dataclasses.replace(problem.given, **changes)
        found = _evaluate(*test_objective.arguments(given))
    return {name: value if name == "made" else np.asarray(value) for name, value in found.items()}


@pytest.fixture(scope="module")
def seen(problem):
    """With keypoints."""
    return evaluate(problem)


@pytest.fixture(scope="module")
def blind(problem):
    """With keypoints that weigh nothing: priors and guesses alone."""
    evidence = problem.given.evidence
    return evaluate(problem, evidence=dataclasses.replace(evidence, weight_2d=np.zeros(evidence.weight_2d.shape)))


def assert_close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE_64 * np.abs(theirs).max(), rtol=0)


# ---- cost, gradient, matrix -------------------------------------------------------------------------------------


def test_cost_of_the_equations_is_that_of_the_residuals(seen, blind):
    for made in (seen, blind):
        assert_close(made["made"].cost, made["cost"])
        assert_close(made["cost"], 0.5 * np.sum(np.square(made["residual"]), -1))


def test_gradient_of_the_equations_is_that_of_the_residuals(seen, blind):
    for made in (seen, blind):
        assert_close(made["made"].gradient, made["reverse"])
        assert_close(made["made"].gradient, np.einsum("brp,br->bp", made["jacobian"], made["residual"]))


def test_gradient_is_that_of_finite_differences(problem, seen):
    rng = np.random.default_rng(3)
    direction = rng.normal(size=problem.given.vector.shape)
    step = 1e-5
    vector = np.asarray(problem.given.vector)
    with jax.enable_x64(True):
        moved = [jnp.asarray(vector + sign * step * direction) for sign in (1, -1)]
    ahead, behind = (np.asarray(evaluate(problem, vector=given)["made"].cost) for given in moved)
    slope = np.sum(np.asarray(seen["made"].gradient) * direction, -1)
    np.testing.assert_allclose((ahead - behind) / (2 * step), slope, rtol=1e-5)


def test_matrix_of_priors_and_guesses_is_that_of_the_residuals(blind):
    expected = np.einsum("brp,brq->bpq", blind["jacobian"], blind["jacobian"])
    assert_close(blind["matrix"], expected)
    assert_close(blind["matrix"], blind["matrix"].swapaxes(-1, -2))


def test_matrix_of_keypoints_and_pull_is_their_sum(seen, blind, problem):
    """The pull comes on top of the matrix of the keypoints and the diagonal."""
    with jax.enable_x64(True):
        without = np.asarray(normal_equations.matrix(seen["made"], problem.given.model))
        nothing = np.asarray(normal_equations.matrix(blind["made"], problem.given.model))
    assert_close(seen["matrix"] - without, blind["matrix"] - nothing)


def test_residual_of_the_guess_is_the_scaled_error_in_the_axes_of_the_guess(problem, blind):
    """In NumPy: translation, the turn seen in the axes, shape, joints; squared under the precision."""
    apart = np.asarray(problem.given.vector) - problem.mean
    apart[:, 3:6] = np.einsum("bij,bj->bi", problem.axes, apart[:, 3:6])
    apart = apart * problem.inverse_spread
    size = apart.shape[1]
    residual = blind["residual"][:, -size:]
    expected = GUESS_WEIGHT**2 * np.einsum("bp,pq,bq->b", apart, problem.precision, apart)
    np.testing.assert_allclose(np.sum(residual**2, -1), expected, rtol=1e-10)


def test_entries_that_the_guess_says_nothing_about_are_free_of_it(problem, seen):
    rng = np.random.default_rng(4)
    rows = problem.given.evidence.guess
    silent = np.asarray(rows.inverse_spread) == 0
    assert silent[:, :3].all()
    mean = problem.mean + np.where(silent, rng.normal(size=silent.shape), 0)
    moved = dataclasses.replace(rows, mean=mean)
    other = evaluate(problem, evidence=dataclasses.replace(problem.given.evidence, guess=moved))
    assert_close(other["made"].cost, seen["made"].cost)
    assert_close(other["made"].gradient, seen["made"].gradient)


def test_without_weights_there_is_no_pull(problem):
    weights = dataclasses.replace(problem.given.weights, guess=np.zeros(COUNT), pose_prior=np.zeros(COUNT))
    made = evaluate(problem, weights=weights)
    with jax.enable_x64(True):
        bare = np.asarray(normal_equations.matrix(made["made"], problem.given.model))
    assert_close(made["matrix"], bare)
    size = made["matrix"].shape[-1]
    np.testing.assert_array_equal(made["residual"][:, -size:], 0)


@pytest.mark.parametrize("name", ["guess", "pose_prior"])
def test_weights_count_by_their_square(problem, blind, name):
    others = ("guess", "pose_prior", "shape_prior", "joint_limits", "keypoints_2d")
    base = dataclasses.replace(problem.given.weights, **{other: np.zeros(COUNT) for other in others})
    once, twice = (
        evaluate(problem, weights=dataclasses.replace(base, **{name: np.full(COUNT, value)})) for value in (1.0, 2.0)
    )
    for part in ("matrix", "reverse", "cost"):
        assert np.abs(once[part]).max() > 0
        assert_close(twice[part], 4 * once[part])


# ---- steps ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def step(problem, seen):
    """Free entries, step and predicted decrease of each person."""
    size = seen["matrix"].shape[-1]
    is_free = {"all": np.ones(size), "some": (np.arange(size) % 5 > 0).astype(float)}

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None, None))
    def damped_step(equations, free, reach):
        return normal_equations.damped_step(
            equations, problem.given.model, problem.shared, jnp.asarray(DAMPING), free, reach
        )

    def stepped(freed, reach=FAR):
        with jax.enable_x64(True):
            change, predicted = damped_step(seen["made"], jnp.asarray(is_free[freed]), jnp.full(size, reach))
        return is_free[freed] > 0, np.asarray(change), np.asarray(predicted)

    return stepped


@pytest.mark.parametrize("freed", ["all", "some"])
def test_damped_step_solves_the_equations_with_the_pull(seen, step, freed):
    free, change, predicted = step(freed)
    for person, matrix in enumerate(seen["matrix"]):
        reduced = matrix[np.ix_(free, free)]
        scale = np.maximum(np.diag(reduced), 1e-3)
        gradient = np.asarray(seen["made"].gradient)[person, free]
        expected = -np.linalg.solve(reduced + DAMPING * np.diag(scale), gradient)
        np.testing.assert_allclose(change[person, free], expected, atol=TOLERANCE_STEP * np.abs(expected).max(), rtol=0)
        np.testing.assert_array_equal(change[person, ~free], 0)
        decrease = -gradient @ expected - 0.5 * expected @ reduced @ expected
        np.testing.assert_allclose(predicted[person], decrease, rtol=TOLERANCE_STEP)


def test_long_step_with_a_pull_is_shortened_as_a_whole(seen, step):
    _, whole, _ = step("all")
    reach = 0.3 * np.abs(whole).max()
    _, change, predicted = step("all", reach)
    share = np.minimum(1, reach / np.abs(whole).max(-1))
    assert (share < 1).any()
    np.testing.assert_allclose(change, whole * share[:, None], rtol=TOLERANCE_STEP)
    quadratic = 0.5 * np.einsum("bp,bpq,bq->b", change, seen["matrix"], change)
    slope = np.sum(np.asarray(seen["made"].gradient) * change, -1)
    np.testing.assert_allclose(predicted, -slope - quadratic, rtol=TOLERANCE_STEP)


# ---- the body with fingers --------------------------------------------------------------------------------------


def test_pull_on_a_body_with_fingers_is_made_of_the_blocks_of_its_parts():
    """Equations that hold nothing else: the matrix in NumPy, part by part, and the guess turned about."""
    rng = np.random.default_rng(5)
    with jax.enable_x64(True):
        body = hm.open_body(dtype=np.float64)
        model = synthetic_people.point_model(body, "coco_feet23")
        layout = variables.Layout.of(body)
        size = layout.size
        mixtures = pose_mixture.packaged_mixtures()
        parts = pose_mixture.part_priors(mixtures, body.joint_names, np.dtype(np.float64))
        precision = random_precision(rng, size)
        components = np.stack([rng.integers(len(part.means), size=COUNT) for part in parts], -1)
        strength, scale = rng.uniform(0.5, 2, (COUNT, len(parts))), rng.uniform(0, 3, (COUNT, size))
        axes = Rotation.random(COUNT, rng=rng).as_matrix()
        pull = Pull(
            components=jnp.asarray(components), strength=jnp.asarray(strength), scale=jnp.asarray(scale),
            axes=jnp.asarray(axes),
        )  # fmt: skip
        nothing = NormalEquations(
            tree_left=jnp.zeros((COUNT, 16, size)), tree_right=jnp.zeros((COUNT, 6, size)),
            rows_left=jnp.zeros((COUNT, 0, size)), rows_right=jnp.zeros((COUNT, 0, size)),
            diagonal=jnp.zeros((COUNT, size)), gradient=jnp.zeros((COUNT, size)), cost=jnp.zeros(COUNT), pull=pull,
        )  # fmt: skip
        shared = PullMatrices(parts=parts, pose_start=layout.pose_start, guess=precision)
        found = np.asarray(normal_equations.matrix(nothing, model, shared))
    for person in range(COUNT):
        expected = np.zeros((size, size))
        for place, part in enumerate(parts):
            at = layout.pose_start + np.array(part.entries)
            expected[np.ix_(at, at)] += strength[person, place] * part.precisions[components[person, place]]
        turn = np.eye(size)
        turn[3:6, 3:6] = axes[person]
        weighted = np.diag(scale[person]) @ turn
        expected += weighted.T @ precision @ weighted
        assert_close(found[person], expected)


@pytest.mark.slow
def test_hand_prior_is_a_further_factor_on_the_prior_of_fingers_and_of_nothing_else():
    with jax.enable_x64(True):
        body = hm.open_body(dtype=np.float64)
        model = synthetic_people.point_model(body, "coco_feet23")
        people = synthetic_people.draw(body, "coco_feet23", count=COUNT, seed=3)
        layout = variables.Layout.of(body)
        vector, orient = layout.from_params(people.params)
        given = test_objective.make_problem(("2d",)).evidence
        # No keypoint counts: what is left are the priors.
        seen = dataclasses.replace(
            given.of_points(np.arange(25) < 23), weight_2d=np.zeros((COUNT, 23)), guess=None, residuals=()
        )
        mixtures = pose_mixture.packaged_mixtures()
        written = {part: mixture for part, mixture in mixtures.items() if part != "hand"}

        @functools.partial(jax.jit, static_argnums=0)
        def evaluate(is_learnt, weights):
            chosen = mixtures if is_learnt else written
            prior = objective.make_prior(layout, body.joint_names, 0.05, np.dtype(np.float64), mixtures=chosen)
            prior = jax.tree.map(jnp.asarray, prior)
            shared = PullMatrices(parts=prior.parts, pose_start=layout.pose_start, guess=None)
            made = objective.equations(model, prior, seen, weights, orient, vector)
            matrix = normal_equations.matrix(made, model, shared)
            return made.cost, made.gradient, matrix

        stage = Stage(iterations=1, pose_prior=0.7, shape_prior=0.0, joint_limits=0.0)
        fingers = np.array([name not in hm.open_body(view="smpl").joint_names for name in body.joint_names[1:]])
        is_finger = np.r_[np.zeros(layout.pose_start, bool), np.repeat(fingers, 3)]
        for is_learnt in (True, False):
            found = []
            for factor in (0.0, 1.0, 3.0):
                schedule = objective.stage_schedule(
                    (dataclasses.replace(stage, hand_prior=factor),), layout, np.dtype(np.float64)
                )
                weights = jax.tree.map(lambda row: np.repeat(row[:1], COUNT, 0), schedule)
                found.append([np.asarray(part) for part in evaluate(is_learnt, weights)])
            (cost, gradient, matrix), once, thrice = found
            assert not gradient[:, is_finger].any()
            assert not matrix[:, is_finger].any()
            np.testing.assert_allclose(thrice[0] - cost, 9 * (once[0] - cost), rtol=1e-9)
            assert np.all(once[0] > cost)
            for ours, theirs in ((thrice[1], once[1]), (thrice[2], once[2])):
                np.testing.assert_allclose(ours[:, is_finger], 9 * theirs[:, is_finger], rtol=1e-9, atol=1e-12)
                np.testing.assert_allclose(ours[:, ~is_finger], theirs[:, ~is_finger], rtol=1e-9, atol=1e-12)
