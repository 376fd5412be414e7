"""The lifter before any training: what its outputs are, whatever the weights."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hardmo_jax.networks import lifter, lifter_file, lifter_input, weight_arrays
from hardmo_jax.networks.lifter import LifterOptions
from hardmo_jax.networks.lifter_file import TrainedLifter
from hardmo_jax.skeleton import layouts

SMALL = LifterOptions(width=24, blocks=2, guesses=3)
COUNT = 6


def untrained(options=SMALL, seed=0):
    precision = np.eye(lifter.NUM_SPREAD, dtype=np.float32)
    return TrainedLifter(weights=lifter_file.initial_weights(options, seed), error_precision=precision, options=options)


@jax.jit
def guessed(trained, features):
    return trained(features)


@pytest.fixture(scope="module")
def trained():
    return untrained()


@pytest.fixture(scope="module")
def features():
    return np.random.default_rng(1).normal(size=(COUNT, lifter_input.NUM_FEATURES)).astype(np.float32)


@pytest.fixture(scope="module")
def wild(trained, features):
    """Outputs of a network with large random weights: nothing of what follows is owed to the start."""
    rng = np.random.default_rng(2)
    weights = jax.tree.map(lambda leaf: (rng.normal(size=leaf.shape) * 0.7).astype(np.float32), trained.weights)
    return jax.tree.map(np.asarray, guessed(dataclasses.replace(trained, weights=weights), features))


def test_outputs_have_their_shapes(wild):
    assert wild.log_weights.shape == (COUNT, 3)
    assert wild.rotations.shape == (COUNT, 3, 22, 3, 3)
    assert wild.places.shape == (COUNT, 3, 3)
    assert wild.hands.shape == (COUNT, 30, 3)
    assert wild.betas.shape == (COUNT, 10)
    assert wild.log_spread.shape == (COUNT, lifter.NUM_SPREAD) == (COUNT, 6 + 10 + 51 * 3)


def test_rotations_are_proper(wild):
    found = wild.rotations.astype(np.float64)
    np.testing.assert_allclose(found @ found.swapaxes(-1, -2), np.broadcast_to(np.eye(3), found.shape), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(found), 1, atol=1e-5)


def test_weights_are_probabilities(wild):
    np.testing.assert_allclose(np.exp(wild.log_weights.astype(np.float64)).sum(-1), 1, rtol=1e-6)


def test_spreads_stay_between_certain_and_lost(wild):
    assert wild.log_spread.min() >= -5
    assert wild.log_spread.max() <= 1
    assert np.ptp(wild.log_spread) > 2


def test_guesses_start_upright_before_the_camera_and_differ(trained, features):
    found = jax.tree.map(np.asarray, guessed(trained, features))
    upright = np.diag([1.0, -1.0, -1.0])
    expected = np.stack([upright, *[np.eye(3)] * 21])
    assert np.abs(found.rotations - expected).max() < 0.6
    assert all(np.abs(found.rotations[:, 0] - found.rotations[:, other]).max() > 1e-3 for other in (1, 2))


def test_people_of_a_batch_have_nothing_to_do_with_each_other(trained, features):
    together = jax.tree.leaves(guessed(trained, features))
    turned = jax.tree.leaves(guessed(trained, features[::-1].copy()))
    for ours, theirs in zip(turned, together, strict=True):
        np.testing.assert_allclose(ours[::-1], theirs, atol=1e-5)


@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_any_batch_axes_do(trained, features, batch):
    rows = features[: int(np.prod(batch, dtype=int))]
    found = guessed(trained, rows.reshape(*batch, -1))
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(guessed(trained, features)), strict=True):
        assert ours.shape[: len(batch)] == batch
        np.testing.assert_allclose(ours.reshape(len(rows), *theirs.shape[1:]), theirs[: len(rows)], atol=1e-5)


def test_size_of_the_features_does_not_blow_up_the_answer(trained, features):
    found = jax.tree.leaves(guessed(trained, 1e6 * features))
    assert all(np.isfinite(leaf).all() for leaf in found)


def test_same_seed_gives_the_same_weights_and_another_seed_others():
    first, again, other = (jax.tree.leaves(lifter_file.initial_weights(SMALL, seed)) for seed in (0, 0, 1))
    for ours, theirs in zip(first, again, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert any(np.any(ours != theirs) for ours, theirs in zip(first, other, strict=True))


def test_the_spread_is_learnt_without_pulling_at_the_guess(trained, features):
    """How certain the lifter is must not make it less right."""

    def certainty(weights):
        return jnp.mean(dataclasses.replace(trained, weights=weights)(features).log_spread)

    gradient = weight_arrays.named_leaves(jax.jit(jax.grad(certainty))(trained.weights))
    moved = {name for name, leaf in gradient.items() if np.any(np.asarray(leaf) != 0)}
    assert moved
    assert all(name.startswith("spread_") for name in moved)


def test_joints_are_those_of_smplh():
    assert lifter.BODY_JOINTS + lifter.HAND_JOINTS == layouts.SMPLH_JOINTS
    assert layouts.SMPL_JOINTS[:22] == lifter.BODY_JOINTS


@pytest.mark.parametrize("name", ["width", "blocks", "guesses"])
def test_sizes_below_one_are_named(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1"):
        LifterOptions(**{name: 0})
