"""Sampled hands: deterministic, within limits, distributed as published, smooth in time."""

import dataclasses

import numpy as np
import pytest

from hardmo_jax.data import hand_poses
from hardmo_jax.skeleton import joint_limits, layouts

MIRROR = np.array(joint_limits.MIRROR_SIGNS)
FINGERS = layouts.MANO_JOINTS["left"][1:]
MANY = 20000


@pytest.fixture(scope="module")
def many():
    return hand_poses.sample_hand_poses(np.random.default_rng(5), MANY)


def limits_of(side):
    return joint_limits.joint_limits(layouts.MANO_JOINTS[side])


def arrays(hands):
    return [getattr(hands, field.name) for field in dataclasses.fields(hands)]


def test_weights_of_the_tables_add_up_to_one():
    for table in (hand_poses.WRIST_HOLDS, hand_poses.HAND_SHAPES):
        assert sum(row.weight for row in table.values()) == pytest.approx(1)


def test_same_seed_gives_the_same_hands():
    for draw in (
        lambda seed: hand_poses.sample_hand_poses(np.random.default_rng(seed), 4),
        lambda seed: hand_poses.smooth_hand_poses(np.random.default_rng(seed), 2, 20, 30),
    ):
        for ours, again, other in zip(arrays(draw(1)), arrays(draw(1)), arrays(draw(2)), strict=True):
            np.testing.assert_array_equal(ours, again)
            assert np.abs(ours - other).max() > 0.1


@pytest.mark.parametrize("side", layouts.SIDES)
def test_hands_are_within_the_limits(side, many):
    moving = hand_poses.smooth_hand_poses(np.random.default_rng(3), 20, 100, 30)
    low, high = limits_of(side)
    index = layouts.SIDES.index(side)
    for hands in (many, moving):
        wrists, fingers = hands.wrists[..., index, :], hands.fingers[..., index, :, :]
        assert ((low[0] <= wrists) & (wrists <= high[0])).all()
        assert ((low[1:] <= fingers) & (fingers <= high[1:])).all()


@pytest.mark.parametrize("shape", hand_poses.HAND_SHAPES)
def test_mean_of_every_shape_is_within_the_limits_on_either_side(shape):
    left, right = (hand_poses.pose_of_hand_shape(shape, side) for side in layouts.SIDES)
    np.testing.assert_array_equal(left, right * MIRROR)
    low, high = limits_of("left")
    assert ((low[1:] <= left) & (left <= high[1:])).all()


def test_shapes_are_distinct():
    poses = np.stack([hand_poses.pose_of_hand_shape(shape, "left") for shape in hand_poses.HAND_SHAPES])
    apart = np.abs(poses[:, None] - poses).max(axis=(2, 3))
    assert (apart + 10 * np.eye(len(poses)) > np.radians(15)).all()


def test_sides_are_mirror_images_in_distribution(many):
    # 20,000 samples with a spread below 0.9 rad know a mean to 0.007 rad (one standard deviation).
    mirrored = many.mirrored()
    for ours, theirs in zip(arrays(many), arrays(mirrored), strict=True):
        np.testing.assert_allclose(ours.mean(0), theirs.mean(0), atol=0.04)
        np.testing.assert_allclose(ours.std(0), theirs.std(0), atol=0.03)


def test_mirror_twice_is_the_same(many):
    for ours, twice in zip(arrays(many), arrays(many.mirrored().mirrored()), strict=True):
        np.testing.assert_array_equal(ours, twice)


def test_sides_are_independent(many):
    left, right = many.wrists[:, 0, 2], many.wrists[:, 1, 2]
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.03


def test_wrists_are_distributed_as_published(many):
    rows = hand_poses.WRIST_HOLDS.values()
    weight = np.array([row.weight for row in rows])[:, None]
    mean, spread = (np.array([getattr(row, name) for row in rows], float) for name in ("mean", "spread"))
    expected = (weight * mean).sum(0)
    expected_spread = np.sqrt((weight * (spread**2 + mean**2)).sum(0) - expected**2)
    wrists = np.degrees(many.wrists[:, 0])
    # The cut at the limits takes a few degrees off the tails.
    np.testing.assert_allclose(wrists.mean(0), expected, atol=2)
    np.testing.assert_allclose(wrists.std(0), expected_spread, rtol=0.12)


def test_wrists_reach_the_palm_push_and_the_hanging_hand(many):
    extension = np.degrees(many.wrists[:, 0, 2])
    assert (extension > 75).mean() > 0.03
    assert (extension < -45).mean() > 0.06


def test_no_heap_of_wrists_lies_upon_the_limits(many):
    low, high = limits_of("left")
    wrists = many.wrists[:, 0]
    assert ((wrists == low[0]) | (wrists == high[0])).mean() < 1e-3


def test_curls_are_distributed_and_correlated_as_published(monkeypatch):
    only = {"relaxed": hand_poses.HAND_SHAPES["relaxed"]._replace(weight=1.0)}
    monkeypatch.setattr(hand_poses, "HAND_SHAPES", only)
    hands = hand_poses.sample_hand_poses(np.random.default_rng(1), MANY)
    middle, ring = (-np.degrees(hands.fingers[:, 0, FINGERS.index(f"left_{f}2"), 2]) for f in ("middle", "ring"))
    common, finger, joint = (
        hand_poses.COMMON_CURL_SPREAD, hand_poses.FINGER_CURL_SPREAD, hand_poses.JOINT_CURL_SPREAD,
    )  # fmt: skip
    variance = common**2 + finger**2 + joint**2
    assert middle.mean() == pytest.approx(only["relaxed"].curls["middle"][1], abs=0.5)
    assert middle.std() == pytest.approx(np.sqrt(variance), rel=0.05)
    assert np.corrcoef(middle, ring)[0, 1] == pytest.approx(common**2 / variance, abs=0.05)


def test_moving_hands_have_no_jumps():
    rate = 120
    hands = hand_poses.smooth_hand_poses(np.random.default_rng(2), 10, 600, rate)
    low, high = limits_of("left")
    # From limit to limit in the shortest time, at three times the mean speed, which monotone cubics stay below.
    fastest = 3 * (high - low).max() / hand_poses.CHANGE_SECONDS[0]
    for values in arrays(hands):
        speed = np.abs(np.diff(values, axis=1)) * rate
        assert speed.max() < fastest
        assert np.abs(np.diff(speed, axis=1)).max() < fastest / 4


def test_windows_have_the_size_asked_for():
    hands = hand_poses.smooth_hand_poses(np.random.default_rng(2), 3, 1, 25)
    assert hands.wrists.shape == (3, 1, 2, 3)
    assert hands.fingers.shape == (3, 1, 2, 15, 3)


def test_wrong_numbers_are_errors():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="num must be 1 or more, got 0"):
        hand_poses.sample_hand_poses(rng, 0)
    with pytest.raises(ValueError, match="num_windows must be 1 or more"):
        hand_poses.smooth_hand_poses(rng, 0, 5, 30)
    with pytest.raises(ValueError, match="num_frames must be 1 or more"):
        hand_poses.smooth_hand_poses(rng, 5, 0, 30)
    with pytest.raises(ValueError, match="frames_per_second must be positive"):
        hand_poses.smooth_hand_poses(rng, 5, 5, 0)


def test_unknown_shape_or_side_names_the_known_ones():
    with pytest.raises(KeyError, match="known: open, relaxed, fist"):
        hand_poses.pose_of_hand_shape("glove", "left")
    with pytest.raises(KeyError, match="known: left, right"):
        hand_poses.pose_of_hand_shape("fist", "middle")
