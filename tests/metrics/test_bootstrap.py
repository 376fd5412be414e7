"""Bootstrap intervals: right where theory knows them, wider for groups, and the same for the same seed."""

import inspect
import tracemalloc

import numpy as np
import pytest

from hardmo_jax.metrics import bootstrap


def test_single_samples_have_the_interval_of_the_normal_theory(rng):
    second = rng.normal(50, 20, size=2000)
    first = second + rng.normal(-1, 5, size=2000)
    found = bootstrap.paired_difference(first, second, num_resamples=4000)
    difference = first - second
    half = 1.96 * difference.std(ddof=1) / np.sqrt(2000)
    assert found.mean == pytest.approx(difference.mean(), rel=1e-12)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.06)
    assert found.low < found.mean < found.high
    assert found.is_significant is True
    assert (found.num_samples, found.num_groups) == (2000, 2000)


def test_frames_of_few_takes_have_the_interval_of_the_takes(rng):
    takes = np.repeat(np.arange(40), 50)
    first = np.repeat(rng.normal(0, 5, size=40), 50) + rng.normal(0, 0.1, size=2000)
    second = np.zeros(2000)
    apart, together = (bootstrap.paired_difference(first, second, groups=groups) for groups in (None, takes))
    assert together.num_groups == 40
    assert (together.high - together.low) > 5 * (apart.high - apart.low)
    assert together.mean == apart.mean or together.mean == pytest.approx(apart.mean, rel=1e-12)


def test_the_interval_covers_the_truth_as_often_as_it_says(rng):
    covered = 0
    for trial in range(200):
        takes = np.repeat(np.arange(30), 5)
        first = np.repeat(rng.normal(2, 3, size=30), 5) + rng.normal(size=150)
        found = bootstrap.paired_difference(first, np.zeros(150), groups=takes, num_resamples=500, seed=trial)
        covered += found.low <= 2 <= found.high
    assert 178 <= covered <= 200


def test_seed_and_groups_decide_and_the_order_of_samples_does_not(rng):
    first, second = rng.normal(size=(2, 90))
    takes = np.array([f"take{i % 9}" for i in range(90)])
    found = bootstrap.paired_difference(first, second, groups=takes, seed=3)
    assert bootstrap.paired_difference(first, second, groups=takes, seed=3) == found
    assert bootstrap.paired_difference(first, second, groups=takes, seed=4) != found
    order = rng.permutation(90)
    again = bootstrap.paired_difference(first[order], second[order], groups=takes[order], seed=3)
    np.testing.assert_allclose([again.mean, again.low, again.high], [found.mean, found.low, found.high], rtol=1e-10)
    swapped = bootstrap.paired_difference(second, first, groups=takes, seed=3)
    np.testing.assert_allclose([swapped.low, swapped.high], [-found.high, -found.low], rtol=1e-10)


def test_a_large_table_is_drawn_in_pieces_that_change_nothing(rng, monkeypatch):
    first, second = rng.normal(size=(2, 50))
    found = bootstrap.paired_difference(first, second, num_resamples=999)
    monkeypatch.setattr(bootstrap, "_TABLE_ENTRIES", 1234)
    assert bootstrap.paired_difference(first, second, num_resamples=999) == found


def test_a_large_table_is_never_held_whole(rng, monkeypatch):
    first, second = rng.normal(size=(2, 500))
    monkeypatch.setattr(bootstrap, "_TABLE_ENTRIES", 5000)
    tracemalloc.start()
    bootstrap.paired_difference(first, second, num_resamples=2000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 500 * 2000  # bytes; the table has a million entries of eight


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"second": np.zeros(5)}, "of the same samples"),
        ({"groups": np.zeros(5, int)}, "one entry a sample"),
        ({"groups": np.zeros(6, int)}, "found 1 groups; expected at least 2"),
        ({"is_valid": np.zeros(6, bool)}, "found 0 groups"),
        ({"first": np.array([1, 2, 3, 4, 5, np.nan])}, "1 of 6 differences are not finite"),
        ({"first": np.zeros((6, 1)), "second": np.zeros((6, 1))}, "of the same samples"),
        ({"num_resamples": 0}, "at least 1"),
        ({"level": 1.0}, "inside"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    arguments = {"first": np.arange(6.0), "second": np.zeros(6)}
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(bootstrap.paired_difference)(**{**arguments, **change})


def test_samples_that_failed_can_be_left_out_of_both():
    first, second = np.array([1.0, np.nan, 3, 5]), np.zeros(4)
    found = bootstrap.paired_difference(first, second, is_valid=np.isfinite(first))
    assert found.num_samples == 3
    assert found.mean == 3


def test_large_takes_weigh_more_in_every_draw():
    takes = np.repeat([0, 1], [1, 99])
    found = bootstrap.paired_difference(
        np.repeat([100.0, 0.0], [1, 99]), np.zeros(100), groups=takes, num_resamples=400
    )
    # A draw is take 0 twice, take 1 twice, or all samples once: 100, 0 or 1, never the 50 between the means of takes.
    again = bootstrap.paired_difference(
        np.repeat([100.0, 0.0], [1, 99]), np.zeros(100), groups=takes, num_resamples=4000, level=0.01
    )
    assert found.mean == 1
    assert again.low == again.high == pytest.approx(1)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-0.5, 0.5, False), (0.0, 1.0, False), (-1.0, 0.0, False), (0.1, 1.0, True), (-1.0, -0.1, True)],
)
def test_a_difference_is_significant_if_zero_lies_outside(low, high, expected):
    found = bootstrap.PairedDifference(mean=0.0, low=low, high=high, level=0.95, num_samples=9, num_groups=9)
    assert found.is_significant is expected


def test_the_smallest_that_can_be_compared():
    """Two samples, one draw, and a table that is larger than may be held at a time."""
    found = bootstrap.paired_difference(np.array([1.0, 3.0]), np.zeros(2), num_resamples=1, level=0.999)
    assert found.low == found.high
    assert found.high in (1, 2, 3)
    assert (found.mean, found.level, found.num_samples, found.num_groups) == (2, 0.999, 2, 2)
