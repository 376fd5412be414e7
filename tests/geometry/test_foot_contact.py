"""Which points of the feet stand: those that hardly move and have nothing far below them."""

import numpy as np

from hardmo_jax.geometry import foot_contact

RATE = 30.0
UP = np.array([0.0, 0.0, 1.0])


def walk(num_frames=31, step=0.05):
    """Two points: one stands, the other goes along the ground by `step` a frame."""
    points = np.zeros((num_frames, 2, 3))
    points[:, 1, 0] = step * np.arange(num_frames)
    return points


def test_speed_is_that_of_a_uniform_motion_at_the_ends_too():
    speeds = foot_contact.point_speeds(walk(), RATE)
    np.testing.assert_allclose(speeds[:, 0], 0, atol=1e-12)
    np.testing.assert_allclose(speeds[:, 1], 0.05 * RATE)


def test_what_moves_does_not_stand_whatever_the_rate():
    for rate in (15.0, 30.0, 120.0):
        stands = foot_contact.standing_points(walk(step=1.5 / rate), UP, rate)
        assert stands[:, 0].all()
        assert not stands[:, 1].any()


def test_a_foot_held_still_in_the_air_does_not_stand():
    points = walk(step=0.0)
    points[:, 1, 2] = 0.4
    stands = foot_contact.standing_points(points, UP, RATE)
    assert stands[:, 0].all()
    assert not stands[:, 1].any()
    low = foot_contact.standing_points(points, -UP, RATE)
    assert low[:, 1].all()


def test_batches_and_single_frames():
    points = walk()
    both = foot_contact.standing_points(np.stack([points, points]), UP, RATE)
    np.testing.assert_array_equal(both[1], foot_contact.standing_points(points, UP, RATE))
    assert foot_contact.standing_points(points[:1], UP, RATE).all(), "one frame shows no motion"
