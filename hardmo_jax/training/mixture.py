"""Mixtures of Gaussians by expectation maximisation, for pose priors. NumPy."""

import numpy as np
from scipy import linalg

from hardmo_jax.array_types import Float
from hardmo_jax.fitting.pose_mixture import Mixture


def fit_mixture(
    rng: np.random.Generator,
    values: Float[np.ndarray, "N D"],
    components: int,
    *,
    least_spread: float,
    iterations: int = 60,
) -> Mixture:
    """Fit a mixture with full covariances.

    Args:
        rng: Source of the first means.
        values: Samples.
        components: How many Gaussians.
        least_spread: Standard deviation that is added to every direction, in the units of the samples.
        iterations: Rounds of expectation and maximisation.
    """
    count, width = values.shape
    means = values[_spread_out(rng, values, components)]
    distance = np.square(values[:, None] - means).sum(-1)
    shares = np.eye(components)[distance.argmin(1)]
    mixture = _maximised(values, shares, least_spread)
    for _ in range(iterations):
        logs = component_log_densities(mixture, values)
        shares = np.exp(logs - np.logaddexp.reduce(logs, axis=1, keepdims=True))
        # A component that nobody is near starts again somewhere else.
        for empty in np.flatnonzero(shares.sum(0) < 2 * width):
            fair = max(1, count // components)
            lonely = rng.choice(count, size=min(fair, max(4 * width, count // 100)), replace=False)
            shares[lonely] = 0
            shares[lonely, empty] = 1
        mixture = _maximised(values, shares, least_spread)
    return mixture


def component_log_densities(mixture: Mixture, values: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N K"]:
    """Logarithm of weight times density of each component at each sample."""
    logs = np.empty((len(values), len(mixture.weights)))
    for place, mean in enumerate(mixture.means):
        factor = np.linalg.cholesky(mixture.covariances[place])
        whitened = linalg.solve_triangular(factor, (values - mean).T, lower=True)
        logs[:, place] = (
            np.log(mixture.weights[place])
            - 0.5 * np.square(whitened).sum(0)
            - np.log(np.diag(factor)).sum()
            - 0.5 * len(mean) * np.log(2 * np.pi)
        )
    return logs


def mean_log_density(mixture: Mixture, values: Float[np.ndarray, "N D"]) -> float:
    """Mean logarithm of the density of samples: the higher the better, in nats."""
    return float(np.mean(np.logaddexp.reduce(component_log_densities(mixture, values), axis=1)))


def _maximised(values: np.ndarray, shares: np.ndarray, least_spread: float) -> Mixture:
    mass = shares.sum(0) + 1e-9
    means = shares.T @ values / mass[:, None]
    apart = [values - mean for mean in means]
    covariances = np.stack([part.T @ (part * share[:, None]) for part, share in zip(apart, shares.T, strict=True)])
    covariances /= mass[:, None, None]
    covariances += least_spread**2 * np.eye(values.shape[1])
    return Mixture(weights=mass / mass.sum(), means=means, covariances=covariances)


def _spread_out(rng: np.random.Generator, values: np.ndarray, components: int) -> list[int]:
    """Samples far from each other (k-means++)."""
    chosen = [int(rng.integers(len(values)))]
    distance = np.full(len(values), np.inf)
    while len(chosen) < components:
        distance = np.minimum(distance, np.square(values - values[chosen[-1]]).sum(-1))
        total = distance.sum()
        # All samples may lie where one has been chosen.
        chosen.append(int(rng.choice(len(values), p=distance / total if total > 0 else None)))
    return chosen
