"""The pose prior: every joint has a row, left mirrors right, hard poses are allowed, angles mean what is written."""

import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.fitting import priors, terms
from hardmo_jax.skeleton import layouts
from tests.fitting import synthetic_people

MIRROR = np.array([1.0, -1.0, -1.0])
NAMES = {"smpl": layouts.SMPL_JOINTS, "smplh": layouts.SMPLH_JOINTS}

#: Axis-angles of what dancers and fighters do, radians, left side where it is one-sided.
HARD_POSES = {
    "front split": {
        "left_hip": (-1.57, 0, 0), "right_hip": (1.1, 0, 0), "spine1": (-0.3, 0, 0), "left_ankle": (0.8, 0, 0),
    },
    "side split": {"left_hip": (0, 0, 1.55), "right_hip": (0, 0, -1.55)},
    "high kick": {"left_hip": (-2.4, 0, 0.3), "left_ankle": (0.9, 0, 0), "spine1": (-0.3, 0, 0)},
    "side kick": {"left_hip": (-0.8, 0, 1.5), "right_hip": (0, -0.8, 0)},
    "heel to the seat": {"left_knee": (2.6, 0, 0)},
    "deep squat": {
        "left_hip": (-2.2, 0, 0.4), "left_knee": (2.5, 0, 0), "left_ankle": (-0.7, 0, 0),
        "right_hip": (-2.2, 0, -0.4), "right_knee": (2.5, 0, 0), "right_ankle": (-0.7, 0, 0),
    },
    "tiptoe": {
        "left_ankle": (1.0, 0, 0), "left_foot": (-1.0, 0, 0), "right_ankle": (1.0, 0, 0), "right_foot": (-1.0, 0, 0),
    },
    "backbend": {
        "spine1": (-0.6, 0, 0), "spine2": (-0.45, 0, 0), "spine3": (-0.45, 0, 0), "neck": (-0.7, 0, 0),
        "head": (-0.5, 0, 0), "left_hip": (0.8, 0, 0), "right_hip": (0.8, 0, 0),
    },
    "forward fold": {
        "left_hip": (-2.2, 0, 0), "right_hip": (-2.2, 0, 0), "spine1": (0.7, 0, 0), "spine2": (0.5, 0, 0),
        "spine3": (0.4, 0, 0),
    },
    "arms overhead": {
        "left_shoulder": (0, 0, 1.6), "left_collar": (0, 0, 0.5),
        "right_shoulder": (0, 0, -1.6), "right_collar": (0, 0, -0.5),
    },
    "arms hanging": {"left_shoulder": (0, 0, -1.5), "right_shoulder": (0, 0, 1.5)},
    "fists": {
        **{f"left_{f}{k}": (0, 0, -1.6) for f in ("index", "middle", "ring", "pinky") for k in (1, 2, 3)},
        **{f"right_{f}{k}": (0, 0, 1.6) for f in ("index", "middle", "ring", "pinky") for k in (1, 2, 3)},
    },
    "guard with bent elbows": {"left_elbow": (0, -2.5, 0), "right_elbow": (0, 2.5, 0)},
    "hands on the floor": {"left_wrist": (0, 0, 1.45), "right_wrist": (0, 0, -1.45)},
}  # fmt: skip


def full_pose(names, angles):
    pose = np.zeros((len(names) - 1, 3))
    for joint, value in angles.items():
        pose[names.index(joint) - 1] = value
    return pose


def mirrored(names, pose):
    order = [names.index(synthetic_people.other_side(name)) - 1 for name in names[1:]]
    return pose[order] * MIRROR


def flat(values):
    return jnp.asarray(values, jnp.float32).ravel()


def cost(prior, pose):
    """Both parts of the prior, as the fit weighs them."""
    deviation = terms.gaussian(*map(flat, (pose, prior.mean, prior.spread)))
    limits = terms.outside_limits(*map(flat, (pose, prior.low, prior.high)), 0.05)
    return float(jnp.sum(deviation**2) + jnp.sum(limits**2))


@pytest.mark.parametrize("family", NAMES)
def test_every_joint_has_a_sound_row(family):
    names = NAMES[family]
    prior = priors.pose_prior(names)
    for column in prior:
        assert column.shape == (len(names) - 1, 3)
        assert np.isfinite(column).all()
    assert (prior.spread > 0).all()
    assert ((prior.low < prior.mean) & (prior.mean < prior.high)).all()
    assert ((prior.low <= 0) & (prior.high >= 0)).all(), "the rest pose is within the limits"


@pytest.mark.parametrize("family", NAMES)
def test_mirrored_pose_costs_the_same(family, rng):
    names = NAMES[family]
    prior = priors.pose_prior(names)
    for scale in (0.3, 2.0):
        pose = (rng.normal(size=(len(names) - 1, 3)) * scale).astype(np.float32)
        np.testing.assert_allclose(cost(prior, pose), cost(prior, mirrored(names, pose)), rtol=1e-5)


@pytest.mark.parametrize("family", NAMES)
def test_tables_mirror_entry_by_entry(family):
    names = NAMES[family]
    prior = priors.pose_prior(names)
    np.testing.assert_array_equal(mirrored(names, prior.mean), prior.mean)
    np.testing.assert_array_equal(mirrored(names, prior.spread), prior.spread * MIRROR)
    ends = np.sort(np.stack([mirrored(names, prior.low), mirrored(names, prior.high)]), 0)
    np.testing.assert_array_equal(ends, np.stack([prior.low, prior.high]))


@pytest.mark.parametrize("name", HARD_POSES)
def test_hard_poses_are_within_the_limits_on_either_side(name):
    names = layouts.SMPLH_JOINTS
    prior = priors.pose_prior(names)
    pose = full_pose(names, HARD_POSES[name])
    for case in (pose, mirrored(names, pose)):
        is_outside = (case < prior.low) | (case > prior.high)
        assert not is_outside.any(), [names[1 + joint] for joint in np.flatnonzero(is_outside.any(-1))]


@pytest.mark.parametrize(
    ("joint", "component", "sign", "moved", "axis", "direction"),
    [
        ("left_hip", 0, -1, "left_knee", 2, 1),  # x- lifts the thigh forward
        ("left_hip", 2, 1, "left_knee", 0, 1),  # z+ spreads the leg
        ("left_knee", 0, 1, "left_ankle", 2, -1),  # x+ bends the knee
        ("left_ankle", 0, 1, "left_foot", 1, -1),  # x+ points the toes
        ("spine1", 0, 1, "head", 2, 1),  # x+ bows
        ("left_shoulder", 2, -1, "left_elbow", 1, -1),  # z- lowers the arm
        ("left_shoulder", 1, -1, "left_elbow", 2, 1),  # y- brings it forward
        ("left_elbow", 1, -1, "left_wrist", 2, 1),  # y- bends the elbow
        ("left_wrist", 2, -1, "left_middle1", 1, -1),  # z- bends the palm down
        ("left_index1", 2, -1, "left_index3", 1, -1),  # z- curls
    ],
)
def test_angles_mean_what_the_table_says(joint, component, sign, moved, axis, direction):
    body = hm.open_body()
    names = body.joint_names
    rest = hm.BodyParams.rest(body)
    pose = np.zeros((len(names), 3), np.float32)
    pose[names.index(joint), component] = 0.5 * sign
    bent = hm.BodyParams(
        betas=rest.betas,
        global_orient=rest.global_orient,
        body_pose=jnp.asarray(pose[1:22]),
        transl=rest.transl,
        left_hand_pose=jnp.asarray(pose[22:37]),
        right_hand_pose=jnp.asarray(pose[37:]),
    )
    change = np.asarray(body.joints(bent) - body.joints(rest))[names.index(moved)]
    assert change[axis] * direction > 0.005, change
