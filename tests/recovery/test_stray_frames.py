"""Which depths no person goes to and comes back from, by hand-made tracks."""

import numpy as np
import pytest

from hardmo_jax.recovery.stray_frames import stray_frames

RATE = 25.0


def track(length=50, hidden=slice(20, 30)):
    is_sure = np.ones(length, bool)
    is_sure[hidden] = False
    return np.full(length, 5.0), is_sure


def test_an_excursion_behind_something_strays_and_sure_frames_never_do():
    depth, is_sure = track()
    depth[20:30] += 3.5 * np.hanning(10)
    depth[40] = 12.0
    found = stray_frames(depth, is_sure, RATE)
    assert found[24:26].all()
    assert not found[:20].any()
    assert not found[30:].any()


@pytest.mark.parametrize("speed", [0.0, 3.0, -3.0])
def test_people_who_walk_behind_something_are_believed(speed):
    depth, is_sure = track()
    depth = 8.0 + speed * np.arange(50) / RATE
    assert not stray_frames(depth, is_sure, RATE).any()


def test_jumps_forth_and_back_are_believed_as_far_as_legs_carry():
    """8 m/s^2 towards the camera for half of the time, and away again."""
    depth, is_sure = track()
    time = np.minimum(np.arange(-1, 11), np.arange(10, -2, -1))[1:-1].clip(0) / RATE
    depth[20:30] -= 0.5 * 8.0 * time**2
    assert not stray_frames(depth, is_sure, RATE).any()


def test_at_the_end_of_a_track_speed_bounds_the_way():
    depth, is_sure = track(hidden=slice(40, 50))
    depth[40:] = np.linspace(5.2, 20, 10)
    found = stray_frames(depth, is_sure, RATE)
    assert found[43:].all()
    assert not found[:40].any()
    reverse = stray_frames(depth[::-1], is_sure[::-1], RATE)
    np.testing.assert_array_equal(reverse, found[::-1])


def test_nothing_is_said_without_sure_frames_and_of_what_lasts():
    depth, _ = track()
    depth[25] = 30.0
    assert not stray_frames(depth, np.zeros(50, bool), RATE).any()
    long, sure = np.full(200, 5.0), np.zeros(200, bool)
    sure[:10], sure[-10:] = True, True
    long[100] = 30.0
    assert not stray_frames(long, sure, RATE).any()


def test_depths_that_are_no_number_stray_and_harm_nothing():
    depth, is_sure = track()
    depth[22], depth[5] = np.nan, np.nan
    found = stray_frames(depth, is_sure, RATE)
    assert found[22]
    assert found.sum() == 1
