"""Feet of other people's poses: which foot is the lower one, whether it can stand, and that it does."""

import numpy as np
import pytest

from hardmo_jax.data.sampled_feet import lower_side, sole_tilt, with_sampled_feet
from hardmo_jax.skeleton import layouts

JOINTS = layouts.SMPLH_JOINTS
AT_REST = np.zeros((1, 2, 3))


def bent(**turns):
    """One pose: rotations about x, degrees, by joint; positive lowers what points at +z."""
    pose = np.zeros((1, 52, 3))
    for joint, degrees in turns.items():
        pose[0, JOINTS.index(joint), 0] = np.radians(degrees)
    return pose


@pytest.mark.parametrize("side", layouts.SIDES)
def test_a_lifted_knee_makes_the_other_foot_the_lower_one(side):
    (found,) = lower_side(bent(**{f"{side}_hip": -80, f"{side}_knee": 60}))
    assert layouts.SIDES[found] != side


def test_soles_lie_flat_at_rest_and_follow_the_whole_leg():
    assert sole_tilt(bent(), "left", AT_REST)[0] == pytest.approx(0)
    pointed, bent_toes = np.zeros((1, 2, 3)), np.zeros((1, 2, 3))
    pointed[0, 0, 0] = np.radians(50)
    assert sole_tilt(bent(), "left", pointed)[0] == pytest.approx(np.sin(np.radians(50)))
    # On tiptoe toes are bent back and lie flat.
    bent_toes[0, :, 0] = np.radians([50, -50])
    assert sole_tilt(bent(), "left", bent_toes)[0] == pytest.approx(0)
    # A shin that leans back takes a pointed foot back to the floor, and one that leans ahead does not.
    assert sole_tilt(bent(left_hip=-50), "left", pointed)[0] == pytest.approx(0)
    assert sole_tilt(bent(left_hip=-30, left_knee=70), "left", pointed)[0] == pytest.approx(1)
    rolled = np.zeros((1, 2, 3))
    rolled[0, 0, 2] = np.radians(30)
    assert sole_tilt(bent(), "left", rolled)[0] == pytest.approx(0.5)
    rolled[0, 0, 2] = np.pi
    assert sole_tilt(bent(), "left", rolled)[0] == 1


def test_the_lower_foot_stands_and_nothing_but_feet_is_changed():
    rng = np.random.default_rng(0)
    poses = np.repeat(bent(left_hip=-40, left_knee=70, right_hip=-40, right_knee=70), 60, axis=0)
    poses[:, JOINTS.index("left_hip"), 0] += rng.uniform(-0.3, 0.3, 60)
    sampled = with_sampled_feet(rng, poses)
    feet = {side: [JOINTS.index(f"{side}_{joint}") for joint in ("ankle", "foot")] for side in layouts.SIDES}
    rest = np.setdiff1d(np.arange(52), np.concatenate(list(feet.values())))
    np.testing.assert_array_equal(sampled[:, rest], poses[:, rest])
    tilts = np.stack([sole_tilt(sampled, side, sampled[:, own]) for side, own in feet.items()], axis=1)
    lower = lower_side(poses)
    assert 10 < lower.sum() < 50
    of_lower, of_other = (tilts[np.arange(60), place] for place in (lower, 1 - lower))
    assert np.median(of_lower) < 0.5 * np.median(of_other)
