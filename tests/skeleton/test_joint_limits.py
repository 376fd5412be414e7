"""Joint limits: every joint has a row, the rest pose is allowed, the sides mirror each other."""

import numpy as np
import pytest

from hardmo_jax.fitting import priors
from hardmo_jax.skeleton import flips, joint_limits, layouts

FAMILIES = {
    "smpl": layouts.SMPL_JOINTS,
    "smplh": layouts.SMPLH_JOINTS,
    "smplx": layouts.SMPLX_JOINTS,
    "mano": layouts.MANO_JOINTS["right"],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_rest_pose_is_within_limits(family):
    limits = joint_limits.joint_limits(FAMILIES[family][1:])
    assert limits.low.shape == limits.high.shape == (len(FAMILIES[family]) - 1, 3)
    assert (limits.low < 0).all()
    assert (limits.high > 0).all()


@pytest.mark.parametrize("family", ["smpl", "smplh", "smplx"])
def test_sides_mirror_each_other(family):
    joints = FAMILIES[family][1:]
    limits = joint_limits.joint_limits(joints)
    others = joint_limits.joint_limits([flips.mirrored_point(joint) for joint in joints])
    ends = np.sort(np.stack(others) * joint_limits.MIRROR_SIGNS, axis=0)
    np.testing.assert_array_equal(ends, np.stack(limits))


@pytest.mark.parametrize("family", FAMILIES)
def test_prior_of_the_fit_uses_the_same_limits(family):
    limits = joint_limits.joint_limits(FAMILIES[family][1:])
    prior = priors.pose_prior(FAMILIES[family])
    np.testing.assert_array_equal(prior.low, limits.low.astype(np.float32))
    np.testing.assert_array_equal(prior.high, limits.high.astype(np.float32))


@pytest.mark.parametrize(
    ("joint", "kind"),
    [
        ("spine1", (None, "spine1")),
        ("left_hip", ("left", "hip")),
        ("right_hand", ("right", "hand")),
        ("left_ring1", ("left", "knuckle")),
        ("right_pinky3", ("right", "finger")),
        ("left_thumb1", ("left", "thumb")),
        ("right_eyeball", ("right", "eyeball")),
    ],
)
def test_joints_have_a_side_and_a_kind(joint, kind):
    assert joint_limits.joint_kind(joint) == kind


def test_no_joints_have_no_limits():
    assert joint_limits.joint_limits([]).low.shape == (0, 3)


@pytest.mark.parametrize("name", ["pelvis", "left_nee", "left_spine1", "left_index", "left_knuckle", "left_thumb"])
def test_unknown_joint_is_an_error(name):
    with pytest.raises(KeyError, match=f"unknown joint '{name}'"):
        joint_limits.joint_limits([name])
