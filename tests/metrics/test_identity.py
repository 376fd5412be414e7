"""IDF1 against its definition, and cases that can be counted by hand."""

import itertools

import numpy as np
import pytest

from hardmo_jax.metrics.identity import identity_score


def test_numbers_that_are_kept_are_all_right():
    score = identity_score([[(0, 7), (1, 3)]] * 5, 10, 10)
    assert score.idf1 == 1.0


def test_an_exchange_in_the_middle_halves_the_score():
    score = identity_score([[(0, 1), (1, 2)]] * 4 + [[(0, 2), (1, 1)]] * 4, 16, 16)
    assert score.num_right == 8
    assert score.idf1 == 0.5


def test_a_new_number_behind_a_gap_costs_the_shorter_part():
    assert identity_score([[(0, 1)]] * 6 + [[(0, 2)]] * 2, 8, 8).idf1 == 0.75


def test_missed_and_false_sightings_count():
    assert identity_score([[(0, 1)]] * 4, 8, 4).idf1 == pytest.approx(2 * 4 / 12)
    assert identity_score([[(0, 1)]] * 4, 4, 12).idf1 == pytest.approx(2 * 4 / 16)
    assert identity_score([], 0, 0).idf1 == 1.0
    assert identity_score([[]], 5, 0).idf1 == 0.0


def test_the_best_of_all_assignments_is_taken(rng):
    """By trying all of them."""
    for _ in range(20):
        frames = [[(person, int(rng.integers(3))) for person in range(3)] for _ in range(6)]
        counts = np.zeros((3, 3), int)
        for person, number in (pair for frame in frames for pair in frame):
            counts[person, number] += 1
        best = max(sum(counts[p, n] for p, n in enumerate(order)) for order in itertools.permutations(range(3)))
        assert identity_score(frames, 18, 18).num_right == best
