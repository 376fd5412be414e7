"""Whether one method is better than another on the same samples, or only luckier."""

import dataclasses

import numpy as np

from hardmo_jax.array_types import Bool, Float, Shaped

#: Entries of the resampling table that are held at a time.
_TABLE_ENTRIES = 4_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Mean difference of two methods with its interval."""

    mean: float
    """Mean over samples of the first minus the second, in their unit; negative if the first has the smaller errors."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end."""
    level: float
    """Share of resamples inside, usually 0.95."""
    num_samples: int
    """Pairs."""
    num_groups: int
    """Independent groups of them."""

    @property
    def is_significant(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.low > 0 or self.high < 0


def paired_difference(
    first: Float[np.ndarray, "N"],
    second: Float[np.ndarray, "N"],
    *,
    groups: Shaped[np.ndarray, "N"] | None = None,
    is_valid: Bool[np.ndarray, "N"] | None = None,
    num_resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> PairedDifference:
    """Bootstrap interval of the mean difference between two methods, resampling whole groups.

    Frames of one take are nearly the same sample many times over. Drawn singly they make the interval far too narrow;
    takes (or people) are drawn instead, each with all of its samples.

    Args:
        first: Errors of one method.
        second: Errors of the other for the same samples.
        groups: Number or name of the group of each sample; None if every sample is independent of all others.
        is_valid: Samples that count; None if all do.
        num_resamples: Number of draws.
        level: Share of draws inside the interval.
        seed: Of the draws. The same seed gives the same interval.

    Returns:
        Mean difference and percentile interval. Each draw is a mean over samples, so large groups weigh more, as they
        do in the mean itself.

    Raises:
        ValueError: If the shapes differ, a counted error is not finite, there are fewer than two groups, or the number
            of draws or the level make no sense.

    References:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval). With few
        groups (below about 20) it is too narrow.
    """
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"errors are {first.shape} and {second.shape}; expected (N,) twice, of the same samples")
    mask = np.ones(first.shape, bool) if is_valid is None else is_valid
    ids = np.arange(len(first)) if groups is None else groups
    if ids.shape != first.shape or mask.shape != first.shape:
        raise ValueError(
            f"groups are {ids.shape}, the mask is {mask.shape}; expected {first.shape}: one entry a sample"
        )
    if num_resamples < 1 or not 0 < level < 1:
        raise ValueError(
            f"got {num_resamples} resamples at level {level}; expected at least 1, and a level inside (0, 1)"
        )
    with np.errstate(invalid="ignore"):
        difference = first[mask].astype(np.float64) - second[mask].astype(np.float64)
    num_bad = int((~np.isfinite(difference)).sum())
    if num_bad:
        raise ValueError(
            f"{num_bad} of {len(difference)} differences are not finite; expected numbers: report these samples as "
            "failures of their method, and leave them out of both by `is_valid`"
        )
    # Groups are sorted, so that the order of the samples decides nothing.
    names, group_index = np.unique(ids[mask], return_inverse=True)
    num_groups = len(names)
    if num_groups < 2:
        raise ValueError(
            f"found {num_groups} groups; expected at least 2: one take says nothing about how takes differ"
        )
    sums = np.bincount(group_index, weights=difference, minlength=num_groups)
    sizes = np.bincount(group_index, minlength=num_groups)
    generator = np.random.default_rng(seed)
    means = np.empty(num_resamples)
    rows = max(1, _TABLE_ENTRIES // num_groups)
    for start in range(0, num_resamples, rows):
        stop = min(start + rows, num_resamples)
        drawn = generator.integers(num_groups, size=(stop - start, num_groups))
        means[start:stop] = sums[drawn].sum(-1) / sizes[drawn].sum(-1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return PairedDifference(
        mean=float(sums.sum() / sizes.sum()),
        low=float(low),
        high=float(high),
        level=level,
        num_samples=len(difference),
        num_groups=num_groups,
    )
