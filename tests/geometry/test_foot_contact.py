"""Which points of the feet stand: those that hardly move and have nothing of the body far below them."""

import numpy as np
import pytest

from hardmo_jax.geometry import foot_contact
from tests.metrics.test_pose import unchecked

RATE = 30.0
UP = np.array([0.0, 0.0, 1.0])


def walk(num_frames=31, step=0.05):
    """Two points: one stands, the other goes along the ground by `step` a frame."""
    points = np.zeros((num_frames, 2, 3))
    points[:, 1, 0] = step * np.arange(num_frames)
    return points


def stands(points, up=UP, rate=RATE, body=None):
    """Of feet below a body, or of the given body."""
    if body is None:
        body = points[..., :1, :] + 1.0 * up
    return foot_contact.standing_points(points, body, up, rate)


def body_at(points, *heights):
    """Points of the body at heights over the ground, one frame for each of those of the feet."""
    return np.broadcast_to(np.array(heights)[:, None] * UP, (len(points), len(heights), 3)).copy()


def test_speed_is_that_of_a_uniform_motion_at_the_ends_too():
    speeds = foot_contact.point_speeds(walk(), RATE)
    np.testing.assert_allclose(speeds[:, 0], 0, atol=1e-12)
    np.testing.assert_allclose(speeds[:, 1], 0.05 * RATE)


def test_what_moves_does_not_stand_whatever_the_rate():
    for rate in (15.0, 30.0, 120.0):
        found = stands(walk(step=1.5 / rate), rate=rate)
        assert found[:, 0].all()
        assert not found[:, 1].any()


def test_a_foot_held_still_in_the_air_does_not_stand():
    points = walk(step=0.0)
    points[:, 1, 2] = 0.4
    found = stands(points)
    assert found[:, 0].all()
    assert not found[:, 1].any()
    low = stands(points, -UP)
    assert low[:, 1].all()


def test_feet_of_a_handstand_do_not_stand():
    points = walk(step=0.0) + 1.8 * UP
    assert stands(points, body=body_at(points, 2.8, 3.5)).all(), "nothing is below them"
    assert not stands(points, body=body_at(points, 0.0, 0.3, 1.0)).any()


def test_feet_in_the_air_of_somebody_who_lies_do_not_stand():
    points = walk(step=0.0) + 0.5 * UP
    assert not stands(points, body=body_at(points, 0.1, 0.05, 0.12)).any()


@pytest.mark.parametrize("hand", [0.0, -0.1, 0.6])
def test_hands_beside_the_feet_change_nothing(hand):
    """A push-up, and hands that a body of other proportions has a little below the floor."""
    points = walk(step=0.0)
    assert stands(points, body=body_at(points, hand, 0.5)).all()


def test_at_the_top_of_a_jump_nothing_stands():
    """For a moment both feet are still, and are the lowest points of the body."""
    time = np.arange(31) / RATE
    points = walk(step=0.0)
    points[..., 2] = np.maximum(0, 0.5 - 0.5 * 9.81 * (time - 0.5) ** 2)[:, None]
    found = stands(points)
    assert not found[9:22].any()
    assert found[:4].all()
    assert found[-4:].all()


@pytest.mark.parametrize("way", [1, -1])
def test_on_stairs_the_lower_foot_stands_whatever_was_below_or_will_be(way):
    points = np.zeros((31, 2, 3))
    points[:, 0, 2] = 0.17
    points[15:, 1, 2] = 0.34  # the other foot goes from the step below to the one above
    found = stands(points[::way])[::way]
    assert found[:13, 1].all()
    assert found[17:, 0].all()


def test_what_is_just_below_each_limit_stands_and_just_above_does_not():
    still = walk(step=0.0)
    for share, expected in ((0.99, True), (1.01, False)):
        assert stands(walk(step=share * foot_contact.STILL_SPEED / RATE))[:, 1].all() == expected
        higher = still + np.array([[0.0], [1.0]]) * share * foot_contact.LOW_HEIGHT * UP
        assert stands(higher)[:, 1].all() == expected
        assert stands(higher)[:, 0].all()
        body = body_at(still, 1.0, -share * foot_contact.LOW_OVER_BODY)
        assert stands(still, body=body).all() == stands(still, body=body).any() == expected


def test_something_lower_both_a_quarter_of_a_second_before_and_after_leaves_no_foot_standing():
    points = walk(step=0.0)
    body = body_at(points, 1.0)
    body[[10, 20]] = -1.0 * UP
    found = stands(points, body=body, rate=20.0)  # five frames are a quarter of a second
    assert np.flatnonzero(~found.any(-1)).tolist() == [10, 15, 20]
    assert found[~np.isin(np.arange(31), [10, 15, 20])].all()


def test_batches_and_single_frames():
    points = walk()
    body = body_at(points, 0.5, 1.0)
    both = stands(np.stack([points, points + 2 * UP]), body=np.stack([body, body]))
    np.testing.assert_array_equal(both[0], stands(points, body=body))
    assert not both[1].any()
    assert stands(points[:1]).all(), "one frame shows no motion"


def test_a_body_of_other_frames_is_refused():
    points = walk()
    with pytest.raises(ValueError, match=r"feet are of \(31,\) frames, the body of \(30,\)"):
        unchecked(foot_contact.standing_points)(points, body_at(points, 1.0)[1:], UP, RATE)
