"""Planted errors: how many, how far, and from whom."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hardmo_jax.data.planted_errors import PlantOptions, plant, plant_stretches


def rotations(count, seed, spread=0.5):
    return np.random.default_rng(seed).normal(size=(count, 3)) * spread


def test_a_share_of_the_joints_gets_the_pose_of_another_within_the_angles():
    mine, others = rotations(2000, 0), rotations(500, 1)
    planted, is_planted = plant(np.random.default_rng(2), mine, others, PlantOptions())
    assert 0.17 < is_planted.mean() < 0.23
    np.testing.assert_array_equal(planted[~is_planted], mine[~is_planted])
    apart = (Rotation.from_rotvec(mine[is_planted]).inv() * Rotation.from_rotvec(planted[is_planted])).magnitude()
    assert np.degrees(apart).min() >= 20
    assert np.degrees(apart).max() <= 70
    assert (planted[is_planted][:, None] == others[None]).all(-1).any(-1).all()


def test_who_has_no_other_near_enough_stays():
    mine = rotations(50, 0, spread=0.01)
    planted, is_planted = plant(np.random.default_rng(0), mine, mine, PlantOptions(share=1.0))
    assert not is_planted.any()
    np.testing.assert_array_equal(planted, mine)


def test_the_same_generator_plants_the_same():
    mine, others = rotations(100, 0), rotations(100, 1)
    first, second = (plant(np.random.default_rng(7), mine, others, PlantOptions()) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])


@pytest.mark.parametrize("wrong", [{"share": 1.5}, {"degrees": (70.0, 20.0)}, {"degrees": (0.0, 200.0)}])
def test_options_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="share"):
        PlantOptions(**wrong)


def test_stretches_keep_the_turn_from_the_truth_and_cover_the_share():
    mine, others = rotations(6000, 0), rotations(500, 1)
    planted, is_planted = plant_stretches(
        np.random.default_rng(3), mine, others, PlantOptions(), shortest=8, longest=30
    )
    assert 0.16 < is_planted.mean() < 0.24
    np.testing.assert_array_equal(planted[~is_planted], mine[~is_planted])
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_planted.astype(int), [0]])))
    lengths = edges[1::2] - edges[::2]
    assert np.quantile(lengths, 0.05) >= 8
    first = slice(edges[0], edges[0] + 8)
    turn = Rotation.from_rotvec(mine[first]).inv() * Rotation.from_rotvec(planted[first])
    np.testing.assert_allclose((turn[0].inv() * turn).magnitude(), 0, atol=1e-6)
    assert 20 <= np.degrees(turn[0].magnitude()) <= 70
