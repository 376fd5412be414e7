"""The best rotation between point sets: Kabsch's, and a proper rotation whatever the points are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hardmo_jax.geometry import alignment

#: Float64: repeated squaring and an SVD of the same sums.
TOLERANCE_64 = 1e-6
NUM_POINTS = 12

_best = jax.jit(alignment.best_rotation)


@pytest.fixture(autouse=True)
def _x64():
    with jax.enable_x64(True):
        yield


def best_rotation(source, target, weights=None):
    weights = np.ones(len(source)) if weights is None else weights
    return np.asarray(_best(*(jnp.asarray(value, jnp.float64) for value in (source, target, weights))))


def kabsch(source, target, weights):
    """The same by singular values, NumPy."""
    weights = weights / weights.sum()
    source, target = source - weights @ source, target - weights @ target
    left, _, right = np.linalg.svd((source * weights[:, None]).T @ target)
    sign = np.sign(np.linalg.det(left @ right))
    return (left @ np.diag([1, 1, sign]) @ right).T


def random_rotation(rng):
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return rotation * np.sign(np.linalg.det(rotation))


def cost(rotation, source, target, weights):
    weights = weights / weights.sum()
    source, target = source - weights @ source, target - weights @ target
    return np.sum(weights[:, None] * np.square(source @ rotation.T - target))


def assert_proper(rotation):
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=TOLERANCE_64)
    np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=TOLERANCE_64)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.3])
def test_rotation_is_that_of_kabsch(rng, noise):
    for _ in range(20):
        source, weights = rng.normal(size=(NUM_POINTS, 3)), rng.uniform(0, 1, NUM_POINTS)
        target = source @ random_rotation(rng).T + rng.normal(size=3) + rng.normal(size=source.shape) * noise
        ours = best_rotation(source, target, weights)
        np.testing.assert_allclose(ours, kabsch(source, target, weights), atol=TOLERANCE_64)


@pytest.mark.parametrize("angle", [0.0, 1e-9, np.pi - 1e-6, np.pi])
def test_turns_by_nothing_and_by_half_a_circle_are_found(rng, angle):
    axis = rng.normal(size=3)
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    source = rng.normal(size=(NUM_POINTS, 3))
    np.testing.assert_allclose(best_rotation(source, source @ turn.T), turn, atol=TOLERANCE_64)


def test_reflected_points_get_the_best_proper_rotation(rng):
    weights = np.ones(NUM_POINTS)
    for _ in range(20):
        source = rng.normal(size=(NUM_POINTS, 3)) * [3.0, 2.0, 1.0]
        target = source * [-1, 1, 1] @ random_rotation(rng).T
        ours = best_rotation(source, target)
        assert_proper(ours)
        best = kabsch(source, target, weights)
        np.testing.assert_allclose(cost(ours, source, target, weights), cost(best, source, target, weights), rtol=1e-6)


def test_planar_points_tell_the_rotation(rng):
    source = rng.normal(size=(NUM_POINTS, 3)) * [1, 1, 0]
    turn = random_rotation(rng)
    np.testing.assert_allclose(best_rotation(source, source @ turn.T), turn, atol=TOLERANCE_64)


def test_points_on_a_line_get_a_proper_rotation_that_maps_the_line(rng):
    along = rng.normal(size=(NUM_POINTS, 1))
    source, turn = along * rng.normal(size=3), random_rotation(rng)
    ours = best_rotation(source, source @ turn.T)
    assert_proper(ours)
    np.testing.assert_allclose(source @ ours.T, source @ turn.T, atol=TOLERANCE_64)


@pytest.mark.parametrize("which", ["source", "target", "both"])
def test_points_in_one_place_get_a_proper_rotation(rng, which):
    source, target = rng.normal(size=(2, NUM_POINTS, 3))
    if which in ("source", "both"):
        source = np.tile(source[:1], (NUM_POINTS, 1))
    if which in ("target", "both"):
        target = np.tile(target[:1], (NUM_POINTS, 1))
    assert_proper(best_rotation(source, target))


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_neither_place_nor_size_nor_the_sum_of_the_weights_matters(rng, scale):
    source, weights = rng.normal(size=(NUM_POINTS, 3)), rng.uniform(0, 1, NUM_POINTS)
    target = source @ random_rotation(rng).T + rng.normal(size=source.shape) * 0.1
    expected = best_rotation(source, target, weights)
    moved = best_rotation(scale * source + [5, -7, 9], target / scale - [1, 2, 3], 100 * weights)
    np.testing.assert_allclose(moved, expected, atol=TOLERANCE_64)


def test_turning_either_set_turns_the_rotation(rng):
    source = rng.normal(size=(NUM_POINTS, 3))
    target = source @ random_rotation(rng).T + rng.normal(size=source.shape) * 0.1
    expected, first, second = best_rotation(source, target), random_rotation(rng), random_rotation(rng)
    turned = best_rotation(source @ first.T, target @ second.T)
    np.testing.assert_allclose(turned, second @ expected @ first.T, atol=TOLERANCE_64)


def test_exchanging_the_sets_inverts_the_rotation(rng):
    source = rng.normal(size=(NUM_POINTS, 3))
    target = source @ random_rotation(rng).T + rng.normal(size=source.shape) * 0.1
    np.testing.assert_allclose(best_rotation(target, source), best_rotation(source, target).T, atol=TOLERANCE_64)


def test_points_of_no_weight_do_not_matter(rng):
    source = rng.normal(size=(NUM_POINTS, 3))
    target = source @ random_rotation(rng).T
    weights = (np.arange(NUM_POINTS) < NUM_POINTS - 3).astype(float)
    lost = target.copy()
    lost[-3:] = 1e3
    np.testing.assert_allclose(
        best_rotation(source, lost, weights), best_rotation(source, target, weights), atol=TOLERANCE_64
    )


def test_batch_gives_what_each_gives_alone(rng):
    source, target = rng.normal(size=(2, 5, NUM_POINTS, 3))
    weights = rng.uniform(0, 1, (5, NUM_POINTS))
    together = jax.jit(jax.vmap(alignment.best_rotation))(*map(jnp.asarray, (source, target, weights)))
    for row in range(5):
        alone = best_rotation(source[row], target[row], weights[row])
        np.testing.assert_allclose(together[row], alone, atol=TOLERANCE_64)
