"""Densities of poses in a fit: their equations against differentiated residuals, and whom they pull how far."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hardmo_jax as hm
from hardmo_jax.fitting import normal_equations, objective, pose_density, pose_mixture, variables
from hardmo_jax.fitting.normal_equations import PullMatrices
from hardmo_jax.fitting.pose_density import PoseDensity
from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.fitting.stages import Stage
from hardmo_jax.observations import ObservationError
from tests.fitting import synthetic_people, test_objective

TOLERANCE_64 = 1e-10
#: Of central differences with steps of 1e-6.
TOLERANCE_DIFFERENCES = 1e-7
#: The root, a whole part of the mixture (the left leg), a joint of another part (the trunk), and one that has none.
JOINTS = ("left_knee", "pelvis", "left_hip", "spine1", "left_hand")
STAGE_WEIGHT = 0.7
WEIGHTS = np.array([1.3, 0.0])


def curved(matrices, data, shared):
    """Five residuals of rotations that are no linear function of them."""
    seen = jnp.matmul(shared["mix"], matrices.ravel(), precision="highest")
    return jnp.sin(seen) + data["middle"] * seen[::-1]


@pytest.fixture(scope="module")
def problem():
    """The people of `test_objective` with mixtures; a knee at rest, a hip turned by pi, somebody facing the camera."""
    rng = np.random.default_rng(4)
    with jax.enable_x64(True):
        given = test_objective.make_problem(("2d",))
        body = given.model.body
        layout = variables.Layout.of(body)
        prior = objective.make_prior(
            layout, body.joint_names, 0.05, np.dtype(np.float64), mixtures=pose_mixture.packaged_mixtures()
        )
        density = PoseDensity(
            function=curved,
            joints=JOINTS,
            data={"middle": rng.normal(size=(2, 5))},
            shared={"mix": rng.normal(size=(5, 9 * len(JOINTS)))},
            weight=WEIGHTS,
        )
        shared, rows, is_number = pose_density.density_of_people(density, body, (2,), np.dtype(np.float64))
        assert is_number.all()
        knee, hip = (layout.pose_start + 3 * (body.joint_names.index(name) - 1) for name in ("left_knee", "left_hip"))
        vector = given.vector.at[:, knee : knee + 3].set(0.0).at[:, 3:6].set(0.0)
        vector = vector.at[:, hip : hip + 3].set(jnp.array([0, np.pi, 0]))
        return dataclasses.replace(
            given,
            prior=jax.tree.map(jnp.asarray, dataclasses.replace(prior, density=shared)),
            evidence=dataclasses.replace(given.evidence, density=jax.tree.map(jnp.asarray, rows)),
            weights=dataclasses.replace(given.weights, pose_density=np.full(2, STAGE_WEIGHT)),
            orient=jnp.tile(jnp.diag(jnp.array([1.0, -1, -1])), (2, 1, 1)),
            vector=vector,
        )


@jax.jit
def _evaluate(model, prior, evidence, weights, orient, vector):
    """One program for all tests of a kind of prior."""

    def residuals(evidence, weights, orient, vector):
        return objective.residuals(model, prior, evidence, weights, orient, vector)

    made = objective.equations(model, prior, evidence, weights, orient, vector)
    entries = () if prior.density is None else prior.density.entries
    shared = PullMatrices(parts=prior.parts, pose_start=6 + prior.num_betas, guess=None, density_entries=entries)
    jacobian = jax.vmap(
        jax.jacfwd(lambda *person: residuals(*jax.tree.map(lambda leaf: leaf[None], person))[0], argnums=3)
    )
    return {
        "matrix": normal_equations.matrix(made, model, shared),
        "gradient": made.gradient,
        "cost": made.cost,
        "residual": residuals(evidence, weights, orient, vector),
        "jacobian": jacobian(evidence, weights, orient, vector),
    }


def evaluate(problem, **changes):
    with jax.enable_x64(True):
        found = _evaluate(*test_objective.arguments(dataclasses.replace(problem, **changes)))
        return jax.tree.map(np.asarray, found)


def without(problem):
    """The same people with the usual prior alone."""
    return {
        "prior": dataclasses.replace(problem.prior, density=None),
        "evidence": dataclasses.replace(problem.evidence, density=None),
    }


@pytest.fixture(scope="module")
def told(problem):
    return evaluate(problem)


@pytest.fixture(scope="module")
def untold(problem):
    return evaluate(problem, **without(problem))


def assert_close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE_64 * np.abs(theirs).max(), rtol=0)


def test_gradient_and_cost_are_those_of_the_residuals_at_rest_at_pi_and_facing_the_camera(told):
    assert all(np.isfinite(value).all() for value in told.values())
    assert_close(told["gradient"], np.einsum("brp,br->bp", told["jacobian"], told["residual"]))
    assert_close(told["cost"], 0.5 * np.sum(np.square(told["residual"]), -1))


def own_residuals(problem, vector):
    """Of the density alone, by SciPy's rotations."""
    names = problem.model.body.joint_names
    matrices = []
    for joint in JOINTS:
        place = names.index(joint)
        entries = slice(3, 6) if place == 0 else slice(16 + 3 * (place - 1), 19 + 3 * (place - 1))
        turn = Rotation.from_rotvec(vector[entries]).as_matrix()
        matrices.append(turn @ np.diag([1.0, -1, -1]) if place == 0 else turn)
    seen = np.asarray(problem.prior.density.arrays["mix"]) @ np.ravel(matrices)
    return (
        STAGE_WEIGHT * WEIGHTS[0] * (np.sin(seen) + np.asarray(problem.evidence.density.data["middle"])[0] * seen[::-1])
    )


def test_residuals_and_their_slopes_are_those_of_rotations_by_central_differences(problem, told):
    vector = np.array(problem.vector)[0]
    # The density's stand last.
    assert_close(told["residual"][0, -5:], own_residuals(problem, vector))
    steps = 1e-6 * np.eye(len(vector))
    slopes = (
        np.stack([own_residuals(problem, vector + s) - own_residuals(problem, vector - s) for s in steps], -1) / 2e-6
    )
    np.testing.assert_allclose(
        told["jacobian"][0, -5:], slopes, atol=TOLERANCE_DIFFERENCES * np.abs(slopes).max(), rtol=0
    )


def test_matrix_is_that_of_its_rows_in_place_of_the_usual_prior(problem, told, untold):
    own = told["jacobian"][0, -5:]
    expected = untold["matrix"][0] - usual(untold, told) + own.T @ own
    assert_close(told["matrix"][0], expected)


def usual(untold, told):
    """Gauss-Newton matrix of the residuals that the density does away with."""
    before, after = untold["jacobian"][0], told["jacobian"][0, :-5]
    assert before.shape == after.shape
    gone = (after == 0).all(-1)
    kept = before[~gone]
    np.testing.assert_array_equal(kept, after[~gone])
    return before[gone].T @ before[gone]


def test_usual_prior_goes_where_the_density_speaks_of_whole_parts_and_limits_stay(problem, told, untold):
    names, start = problem.model.body.joint_names, 16
    count = untold["jacobian"].shape[1]
    is_gone = (told["jacobian"][0, :count] == 0).all(-1) & (untold["jacobian"][0] != 0).any(-1)
    touched = (untold["jacobian"][0][is_gone] != 0).any(0)
    joints = {names[1 + (entry - start) // 3] for entry in np.flatnonzero(touched)}
    # The trunk has a mixture of seven joints, of which the density speaks of one.
    assert joints == {"left_hip", "left_knee", "left_hand"}
    # A row a coordinate; rows of limits stay, and the part's constant has no slope.
    assert is_gone.sum() == 9


def test_who_has_no_weight_keeps_the_usual_prior_to_the_last_bit(told, untold):
    for name in ("cost", "gradient", "matrix"):
        np.testing.assert_array_equal(told[name][1], untold[name][1])
    np.testing.assert_array_equal(told["residual"][1, -5:], 0)


def test_in_a_stage_without_it_everybody_keeps_the_usual_prior(problem, untold):
    weights = dataclasses.replace(problem.weights, pose_density=np.zeros(2))
    found = evaluate(problem, weights=weights)
    for name in ("cost", "gradient", "matrix"):
        np.testing.assert_array_equal(found[name], untold[name])


COUNT = 4
OPTIONS = hm.FitOptions(refine=(Stage(iterations=4), Stage(iterations=12)))
ARM = ("left_shoulder", "left_elbow", "left_wrist")


def near_rotations(matrices, data, shared):
    """Rotations near others."""
    return ((matrices - data) * shared).ravel()


@pytest.fixture(scope="module")
def people():
    return synthetic_people.draw(hm.open_body(view="smpl"), "coco17", count=COUNT, seed=3)


@pytest.fixture(scope="module")
def goals(people):
    """Rotations of the left arm a little away from the truth, as axis-angle and as matrices."""
    places = [people.body.joint_names.index(joint) for joint in ARM]
    pose = np.asarray(people.params.full_pose())[:, places] + np.array([0.1, -0.1, 0.1])
    return pose, np.asarray(matrices_of(pose))


def matrices_of(pose):
    return Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(*pose.shape, 3)


@pytest.fixture(scope="module")
def fit(people, goals):
    @functools.lru_cache(maxsize=8)
    def fitted(weight=None, options=OPTIONS):
        given = {} if weight is None else {"pose_density": arm(goals[1], weight)}
        return hm.fit(people.body, people.observe("3d"), options=options, initial=people.params, **given)

    return fitted


def arm(goals, weight, **changes):
    given = {"function": near_rotations, "joints": ARM, "data": goals, "shared": np.float32(100.0)}
    return PoseDensity(**{**given, "weight": np.asarray(weight), **changes})


def assert_same(ours, theirs):
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


def distances(people, goals, result):
    places = [people.body.joint_names.index(joint) for joint in ARM]
    return np.abs(matrices_of(np.asarray(result.params.full_pose())[:, places]) - goals[1]).max((1, 2, 3))


def test_density_pulls_by_as_much_as_it_weighs(people, goals, fit):
    free, light, heavy = (distances(people, goals, fit(weight)) for weight in (None, (0.1,) * COUNT, (10.0,) * COUNT))
    assert (heavy < 0.01).all()
    assert (heavy < light).all()
    assert (light < free).all()


def test_density_pulls_its_own_person_only(people, goals, fit):
    nobody, second = fit((0.0,) * COUNT), fit((0.0, 10.0, 0.0, 0.0))
    kept = np.array([0, 2, 3])
    assert_same(synthetic_people.rows_of(second.params, kept), synthetic_people.rows_of(nobody.params, kept))
    np.testing.assert_array_equal(
        distances(people, goals, second)[1], distances(people, goals, fit((10.0,) * COUNT))[1]
    )


def test_density_that_weighs_nothing_changes_nothing(people, fit):
    # Another program, whose sums run in another order.
    errors = synthetic_people.joint_errors(people.body, fit((0.0,) * COUNT).params, fit().params)
    assert errors.max() < 1e-3


def test_without_a_density_its_weight_changes_no_bit(fit):
    stages = tuple(dataclasses.replace(stage, pose_density=0.3) for stage in OPTIONS.refine)
    other = fit(None, dataclasses.replace(OPTIONS, refine=stages))
    assert_same(other, fit())


def test_data_that_are_no_numbers_are_told_and_harm_nobody_else(people, goals, fit):
    broken = goals[1].copy()
    broken[2, 1] = np.nan
    result = hm.fit(
        people.body, people.observe("3d"), options=OPTIONS, initial=people.params,
        pose_density=arm(broken, (10.0,) * COUNT),
    )  # fmt: skip
    assert np.asarray(result.status)[2] == FitStatus.NONFINITE
    assert np.isfinite(np.asarray(result.params.body_pose)).all()
    kept = [0, 1, 3]
    whole = fit((10.0,) * COUNT)
    np.testing.assert_array_equal(np.asarray(result.params.body_pose)[kept], np.asarray(whole.params.body_pose)[kept])
    # Of whom it has no weight it may say anything.
    weight = (10.0, 10.0, 0.0, 10.0)
    result = hm.fit(
        people.body, people.observe("3d"), options=OPTIONS, initial=people.params, pose_density=arm(broken, weight)
    )
    np.testing.assert_array_equal(np.asarray(result.status), np.asarray(fit(weight).status))
    assert_same(result.params, fit(weight).params)


def test_data_with_the_batch_axes_of_the_observations_are_each_persons_own(people, goals, fit):
    def shaped(leaf):
        return np.asarray(leaf).reshape(2, 2, *np.shape(leaf)[1:])

    observed = people.observe("3d", keypoints_3d=shaped(people.points), confidence_3d=shaped(people.confidence))
    start = jax.tree.map(lambda leaf: jnp.asarray(shaped(leaf)), people.params)
    density = arm(shaped(goals[1]), shaped((10.0,) * COUNT))
    result = hm.fit(people.body, observed, options=OPTIONS, initial=start, pose_density=density)
    assert_same(result.params, jax.tree.map(shaped, fit((10.0,) * COUNT).params))


@pytest.mark.slow
def test_adam_takes_densities_too(people, goals, fit):
    short = (Stage(iterations=10),)
    options = hm.FitOptions(solver="adam", explore=short, refine=short)
    assert (distances(people, goals, fit((10.0,) * COUNT, options)) < 0.5 * distances(people, goals, fit())).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joints": ("left_shoulder", "tail")}, "'tail'"),
        ({"joints": ()}, "each of them once"),
        ({"joints": ("left_wrist", "left_wrist", "left_elbow")}, "each of them once"),
        ({"data": np.zeros((3, 3, 3, 3), np.float32)}, r"batch axes \(4,\)"),
        ({"weight": np.ones(3)}, "does not broadcast"),
        ({"weight": np.array([1.0, -1, 1, 1])}, "not negative"),
        ({"weight": np.array([1.0, np.nan, 1, 1])}, "finite"),
        ({"function": lambda matrices, data, shared: matrices}, "one array"),
        ({"function": lambda matrices, data, shared: matrices.ravel() > 0}, "one array"),
    ],
)
def test_what_is_no_density_of_these_people_is_refused(people, goals, changes, message):
    with pytest.raises(ObservationError, match=message):
        hm.fit(
            people.body,
            people.observe("3d"),
            initial=people.params,
            pose_density=arm(goals[1], **{"weight": 1.0, **changes}),
        )


def test_negative_weight_of_a_stage_is_refused():
    with pytest.raises(ValueError, match="pose_density"):
        Stage(iterations=1, pose_density=-0.1)
