"""Residuals of one's own in `hm.fit`: they pull, by as much as they weigh, on their own person only."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.fitting import stages
from hardmo_jax.fitting.evidence import UserResidual
from tests.fitting import synthetic_people

COUNT = 4
WRIST = 20
#: Two stages of a few steps from the truth: one small program for every test.
OPTIONS = hm.FitOptions(refine=(stages.Stage(iterations=4), stages.Stage(iterations=12)))
#: Metres, and as a share of the arm's length nothing that a pose prior would mind.
SHIFT = np.array([0.05, -0.1, 0.05])


def near_place(params, joints, data):
    """The left wrist near a place; `data["weight"]` is one over its standard deviation."""
    return (joints[WRIST] - data["place"]) * data["weight"]


def small_angles(params, joints, data):
    """All angles of the body near those of another pose."""
    return (params.body_pose - data["pose"]).ravel() * data["weight"]


@pytest.fixture(scope="module")
def people():
    return synthetic_people.draw(hm.open_body(view="smpl"), "coco17", count=COUNT, seed=3)


@pytest.fixture(scope="module")
def fit(people):
    def fitted(*residuals, **changes):
        given = {"options": OPTIONS, "initial": people.params, "residuals": residuals, **changes}
        return hm.fit(people.body, people.observe("3d"), **given)

    return fitted


@pytest.fixture(scope="module")
def places(people):
    """Where the wrists are pulled to, a little away from the truth."""
    return np.asarray(people.body.joints(people.params))[:, WRIST] + SHIFT


@pytest.fixture(scope="module")
def pulled(fit, places):
    """Fits with the wrists pulled, by the weight of each person, each done once."""

    @functools.lru_cache(maxsize=4)
    def fitted(weights, **changes):
        data = {"place": places, "weight": np.array(weights)}
        return fit(UserResidual(function=near_place, data=data), **changes)

    return fitted


def wrists(people, result):
    return np.asarray(people.body.joints(result.params))[:, WRIST]


def test_heavy_residual_pulls_the_wrist_to_its_place(people, pulled, places):
    distance = np.linalg.norm(wrists(people, pulled((1e4,) * COUNT)) - places, axis=-1)
    assert distance.max() < 0.005


def test_residual_pulls_by_as_much_as_it_weighs(people, fit, pulled, places):
    distances = [
        np.linalg.norm(wrists(people, result) - places, axis=-1)
        for result in (fit(), pulled((10.0,) * COUNT), pulled((1e4,) * COUNT))
    ]
    assert (distances[0] > distances[1]).all()
    assert (distances[1] > distances[2]).all()


def test_residual_pulls_its_own_person_only(people, pulled):
    nobody, second = pulled((0.0,) * COUNT), pulled((0.0, 1e4, 0.0, 0.0))
    kept = [0, 2, 3]
    for ours, theirs in zip(jax.tree.leaves(second.params), jax.tree.leaves(nobody.params), strict=True):
        np.testing.assert_array_equal(np.asarray(ours)[kept], np.asarray(theirs)[kept])
    assert np.linalg.norm(wrists(people, second)[1] - wrists(people, nobody)[1]) > 0.05


def test_residual_that_weighs_nothing_changes_nothing(people, fit, pulled):
    # Another program, whose sums run in another order.
    errors = synthetic_people.joint_errors(people.body, pulled((0.0,) * COUNT).params, fit().params)
    assert errors.max() < 1e-3


def test_residual_counts_in_the_cost(people, pulled, places):
    history = [np.asarray(pulled(weights).loss_history)[:, 0] for weights in ((0.0,) * COUNT, (10.0,) * COUNT)]
    start = np.asarray(people.body.joints(people.params))[:, WRIST]
    expected = 0.5 * np.sum(np.square((start - places) * 10.0), -1)
    np.testing.assert_allclose(history[1] - history[0], expected, rtol=1e-2)


def test_residual_of_the_parameters_pulls_them(people, fit):
    pose = np.asarray(people.params.body_pose) + 0.2
    before = np.abs(np.asarray(fit().params.body_pose) - pose).mean()
    data = {"pose": pose, "weight": np.full(COUNT, 300.0)}
    after = np.abs(np.asarray(fit(UserResidual(function=small_angles, data=data)).params.body_pose) - pose).mean()
    assert after < 0.1 * before


def test_data_with_the_batch_axes_of_the_observations_is_each_persons_own(people, pulled, places):
    def shaped(leaf):
        return np.asarray(leaf).reshape(2, 2, *np.shape(leaf)[1:])

    observed = people.observe("3d", keypoints_3d=shaped(people.points), confidence_3d=shaped(people.confidence))
    extra = UserResidual(function=near_place, data={"place": shaped(places), "weight": np.full((2, 2), 1e4)})
    start = jax.tree.map(lambda leaf: jnp.asarray(shaped(leaf)), people.params)
    result = hm.fit(people.body, observed, options=OPTIONS, initial=start, residuals=(extra,))
    for ours, theirs in zip(
        jax.tree.leaves(result.params), jax.tree.leaves(pulled((1e4,) * COUNT).params), strict=True
    ):
        np.testing.assert_array_equal(np.asarray(ours).reshape(np.shape(theirs)), theirs)


@pytest.mark.slow
def test_adam_takes_residuals_too(people, pulled, places, fit):
    short = (stages.Stage(iterations=10),)
    options = hm.FitOptions(solver="adam", explore=short, refine=short)
    distances = [
        np.linalg.norm(wrists(people, result) - places, axis=-1)
        for result in (fit(options=options), pulled((1e3,) * COUNT, options=options))
    ]
    assert (distances[1] < 0.5 * distances[0]).all()
