"""Mixtures by expectation maximisation: against SciPy, on samples of known mixtures, and on too few samples."""

import numpy as np
import pytest
from scipy import stats

from hardmo_jax.fitting.pose_mixture import Mixture
from hardmo_jax.training import mixture

LEAST = 0.02


def two_clusters(rng, count=3000):
    """Samples of a known mixture of two, and the mixture."""
    roots = rng.normal(size=(2, 3, 3)) * 0.3 + 0.2 * np.eye(3)
    truth = Mixture(
        weights=np.array([0.7, 0.3]),
        means=np.array([[-1.0, 0.5, 0.0], [1.5, -0.5, 0.7]]),
        covariances=roots @ roots.swapaxes(-1, -2) + 0.02 * np.eye(3),
    )
    return draw(truth, rng, count), truth


def draw(truth, rng, count):
    which = rng.choice(len(truth.weights), size=count, p=truth.weights)
    factors = np.linalg.cholesky(truth.covariances)
    noise = rng.normal(size=(count, truth.means.shape[1]))
    return truth.means[which] + np.einsum("nij,nj->ni", factors[which], noise)


def assert_regular(found, components, width, least=LEAST):
    assert found.means.shape == (components, width)
    assert np.isfinite(found.means).all()
    assert np.linalg.eigvalsh(found.covariances).min() > 0.99 * least**2
    assert found.weights.min() > 0
    np.testing.assert_allclose(found.weights.sum(), 1, rtol=1e-12)
    np.testing.assert_allclose(found.covariances, found.covariances.swapaxes(-1, -2), atol=1e-12)


def test_a_mixture_of_two_is_recovered(rng):
    values, truth = two_clusters(rng)
    found = mixture.fit_mixture(rng, values, 2, least_spread=1e-3)
    order = np.argsort(-found.weights)
    np.testing.assert_allclose(found.weights[order], truth.weights, atol=0.03)
    np.testing.assert_allclose(found.means[order], truth.means, atol=0.1)
    np.testing.assert_allclose(found.covariances[order], truth.covariances, atol=0.08)


def test_densities_are_those_of_scipy(rng):
    values, truth = two_clusters(rng, 50)
    expected = np.stack(
        [
            np.log(weight) + stats.multivariate_normal(mean, covariance).logpdf(values)
            for weight, mean, covariance in zip(truth.weights, truth.means, truth.covariances, strict=True)
        ],
        axis=1,
    )
    np.testing.assert_allclose(mixture.component_log_densities(truth, values), expected, rtol=1e-9)
    np.testing.assert_allclose(
        mixture.mean_log_density(truth, values), np.log(np.exp(expected).sum(1)).mean(), rtol=1e-9
    )


def test_one_component_is_the_gaussian_of_the_samples(rng):
    values, _ = two_clusters(rng, 500)
    found = mixture.fit_mixture(rng, values, 1, least_spread=LEAST)
    np.testing.assert_allclose(found.means[0], values.mean(0), atol=1e-9)
    expected = np.cov(values.T, bias=True) + LEAST**2 * np.eye(3)
    np.testing.assert_allclose(found.covariances[0], expected, atol=1e-9)


def test_on_clusters_a_mixture_beats_one_gaussian_for_samples_that_it_has_not_seen(rng):
    values, truth = two_clusters(rng)
    unseen = draw(truth, rng, 2000)
    found = mixture.fit_mixture(rng, values, 2, least_spread=LEAST)
    many, one = mixture.mean_log_density(found, unseen), mixture.mean_log_density(found.as_one(), unseen)
    assert many > one + 0.2
    assert many < mixture.mean_log_density(truth, unseen) + 0.02
    assert many > mixture.mean_log_density(truth, unseen) - 0.05


def test_more_rounds_never_make_samples_less_likely(rng):
    values, _ = two_clusters(rng, 800)
    scores = [
        mixture.mean_log_density(
            mixture.fit_mixture(np.random.default_rng(1), values, 3, least_spread=1e-6, iterations=rounds), values
        )
        for rounds in (0, 1, 2, 5, 20, 60)
    ]
    assert np.all(np.diff(scores) > -1e-9)


def test_the_same_generator_gives_the_same_mixture(rng):
    values, _ = two_clusters(rng, 300)
    first, again = (mixture.fit_mixture(np.random.default_rng(4), values, 3, least_spread=LEAST) for _ in range(2))
    np.testing.assert_array_equal(first.means, again.means)
    np.testing.assert_array_equal(first.covariances, again.covariances)


def test_least_spread_is_added_to_every_direction(rng):
    values, _ = two_clusters(rng, 1000)
    flat = values * np.array([1.0, 1.0, 0.0])
    assert_regular(mixture.fit_mixture(rng, flat, 3, least_spread=LEAST), 3, 3)


@pytest.mark.parametrize(
    ("values", "components"),
    [
        (np.random.default_rng(1).normal(size=(5, 3)), 4),
        (np.random.default_rng(2).normal(size=(20, 6)), 4),
        (np.random.default_rng(3).normal(size=(2, 45)), 2),
        (np.ones((40, 3)), 1),
        (np.ones((40, 3)), 4),
        (np.repeat(np.eye(3), 30, axis=0), 5),
        (np.repeat(np.random.default_rng(4).normal(size=(2, 6)), 3, axis=0), 3),
        (np.linspace(0, 1, 60)[:, None] * np.ones(3), 4),
    ],
    ids=["5 of 3", "20 of 6", "2 of 45", "same, one", "same, four", "three places", "two places, few", "a line"],
)
def test_few_samples_and_duplicates_never_give_a_singular_covariance(values, components):
    found = mixture.fit_mixture(np.random.default_rng(0), values, components, least_spread=LEAST)
    assert_regular(found, components, values.shape[1])
    assert np.isfinite(mixture.mean_log_density(found, values))
