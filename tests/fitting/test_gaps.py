"""Frames to the nearest one that was seen, against looking at every pair."""

import numpy as np
import pytest

from hardmo_jax.fitting.gaps import frames_from


@pytest.mark.parametrize("seed", range(5))
def test_distances_are_those_of_every_pair_of_a_scene(seed):
    rng = np.random.default_rng(seed)
    is_seen, is_continued = rng.random(60) < 0.15, rng.random(60) > 0.1
    scene = np.cumsum(~is_continued)
    expected = [
        min((abs(a - b) for b in range(60) if is_seen[b] and scene[a] == scene[b]), default=np.inf) for a in range(60)
    ]
    np.testing.assert_array_equal(frames_from(is_seen, is_continued), expected)


def test_nobody_seen_is_infinitely_far():
    assert np.isinf(frames_from(np.zeros(4, bool))).all()
