"""Hard poses made up: sound tables, deterministic, within limits, mirrored rightly, smooth motion."""

import itertools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hardmo_jax.data import hand_poses, synthetic
from hardmo_jax.skeleton import joint_limits, layouts

JOINTS = layouts.SMPLH_JOINTS
LIMITS = joint_limits.joint_limits(JOINTS[1:])
HAND_JOINTS = [joint in (*layouts.MANO_JOINTS["left"], *layouts.MANO_JOINTS["right"]) for joint in JOINTS]
IS_BODY = ~np.array(HAND_JOINTS)
IS_BODY[0] = False
STYLES = ("dance", "martial")


def outside(pose):
    return (pose[..., 1:, :] < LIMITS.low) | (pose[..., 1:, :] > LIMITS.high)


def without_turn(root):
    """The rotation's third row: what a turn about the vertical, applied last, leaves as it is (y of the world)."""
    return Rotation.from_rotvec(root).as_matrix()[..., 1, :]


@pytest.mark.parametrize("name", synthetic.KEY_POSES)
def test_key_pose_names_joints_and_stays_within_limits(name):
    row = synthetic.KEY_POSES[name]
    assert set(row.angles) <= set(JOINTS)
    assert row.hand in hand_poses.HAND_SHAPES
    assert row.style in STYLES
    written = np.zeros((52, 3))
    for joint, angles in row.angles.items():
        written[JOINTS.index(joint)] = np.radians(angles)
    assert not outside(written).any(), [JOINTS[1 + joint] for joint in np.flatnonzero(outside(written).any(-1))]


@pytest.mark.parametrize("style", STYLES)
def test_each_style_has_half_of_the_poses(style):
    assert sum(row.style == style for row in synthetic.KEY_POSES.values()) == len(synthetic.KEY_POSES) / 2 >= 12


def test_key_poses_are_distinct_also_from_mirror_images():
    poses = np.stack([synthetic.key_pose(name) for name in synthetic.KEY_POSES])[:, IS_BODY]
    mirrored = synthetic.mirror_pose(np.stack([synthetic.key_pose(name) for name in synthetic.KEY_POSES]))[:, IS_BODY]
    for others in (poses, mirrored):
        apart = np.linalg.norm(poses[:, None] - others, axis=-1).max(-1) + 10 * np.eye(len(poses))
        assert apart.min() > np.radians(30)


@pytest.mark.parametrize("name", ["horse stance", "aramandi", "backbend", "plie releve"])
def test_symmetric_pose_is_its_own_mirror_image(name):
    pose = synthetic.key_pose(name)
    np.testing.assert_allclose(synthetic.mirror_pose(pose), pose, atol=1e-12)


def test_mirror_exchanges_sides_and_undoes_itself():
    pose = synthetic.key_pose("front kick")
    mirrored = synthetic.mirror_pose(pose)
    np.testing.assert_array_equal(
        mirrored[JOINTS.index("right_hip")], pose[JOINTS.index("left_hip")] * joint_limits.MIRROR_SIGNS
    )
    np.testing.assert_array_equal(synthetic.mirror_pose(mirrored), pose)


@pytest.mark.parametrize("style", [*STYLES, None])
def test_samples_are_within_limits_and_have_the_style(style):
    people = synthetic.sample_hard_poses(3, 400, style)
    assert people.full_pose.shape == (400, 52, 3)
    assert not outside(people.full_pose).any()
    assert set(people.styles) == (set(STYLES) if style is None else {style})
    for one, pair in zip(people.styles, people.key_poses, strict=True):
        assert {synthetic.KEY_POSES[name].style for name in pair} == {one}


def test_same_seed_gives_the_same_people():
    ours, again, other = (synthetic.sample_hard_poses(seed, 5) for seed in (8, 8, 9))
    np.testing.assert_array_equal(ours.full_pose, again.full_pose)
    assert ours.key_poses == again.key_poses
    assert np.abs(ours.full_pose - other.full_pose).max() > 0.1
    moves = [synthetic.sample_hard_motion(seed, 2, 30, 30) for seed in (8, 8, 9)]
    np.testing.assert_array_equal(moves[0].full_pose, moves[1].full_pose)
    assert np.abs(moves[0].full_pose - moves[2].full_pose).max() > 0.1


def test_samples_without_noise_are_between_key_poses_or_in_the_mirror(monkeypatch):
    for name in ("JOINT_NOISE", "TOE_NOISE", "HOLD_NOISE", "LEAN_NOISE"):
        monkeypatch.setattr(synthetic, name, 0.0)
    people = synthetic.sample_hard_poses(1, 40)
    assert 5 < people.is_mirrored.sum() < 35
    for index, pair in enumerate(people.key_poses):
        first, second = (synthetic.key_pose(name) for name in pair)
        expected = first + people.fractions[index] * (second - first)
        if people.is_mirrored[index]:
            expected = synthetic.mirror_pose(expected)
        np.testing.assert_allclose(people.full_pose[index, IS_BODY], expected[IS_BODY], atol=1e-12)
        np.testing.assert_allclose(without_turn(people.full_pose[index, 0]), without_turn(expected[0]), atol=1e-12)


def test_noise_is_as_wide_as_written():
    people = synthetic.sample_hard_poses(4, 2000, "dance")
    first, second = (np.stack([synthetic.key_pose(pair[end]) for pair in people.key_poses]) for end in range(2))
    clean = first + people.fractions[:, None, None] * (second - first)
    clean = np.where(people.is_mirrored[:, None, None], synthetic.mirror_pose(clean), clean)
    spine = JOINTS.index("neck")
    spread = np.degrees((people.full_pose - clean)[:, spine, 1:]).std(0)
    np.testing.assert_allclose(spread, synthetic.JOINT_NOISE, rtol=0.08)


def test_people_face_everywhere():
    facing = Rotation.from_rotvec(synthetic.sample_hard_poses(2, 800, "martial").full_pose[:, 0]).apply([0.0, 0.0, 1.0])
    assert np.linalg.norm(facing[:, [0, 2]].mean(0)) < 0.12


def test_hands_are_those_of_the_hand_prior():
    people = synthetic.sample_hard_poses(6, 4000)
    hands = hand_poses.sample_hand_poses(np.random.default_rng(0), 4000)
    for index, side in enumerate(layouts.SIDES):
        ours = people.full_pose[:, [JOINTS.index(joint) for joint in layouts.MANO_JOINTS[side]]]
        theirs = np.concatenate([hands.wrists[:, index, None], hands.fingers[:, index]], axis=1)
        np.testing.assert_allclose(ours.mean(0), theirs.mean(0), atol=0.06)
        np.testing.assert_allclose(ours.std(0), theirs.std(0), atol=0.04)


@pytest.mark.parametrize("style", STYLES)
def test_motion_is_smooth_and_within_limits(style):
    rate = 120
    motion = synthetic.sample_hard_motion(7, 12, 480, rate, style)
    assert motion.full_pose.shape == (12, 480, 52, 3)
    assert motion.styles == (style,) * 12
    assert not outside(motion.full_pose).any()
    rotation = Rotation.from_rotvec(motion.full_pose.reshape(-1, 3)).as_matrix().reshape(12, 480, 52, 3, 3)
    step = np.swapaxes(rotation[:, :-1], -1, -2) @ rotation[:, 1:]
    velocity = Rotation.from_matrix(step.reshape(-1, 3, 3)).as_rotvec(degrees=True).reshape(12, 479, 52, 3) * rate
    speed = np.linalg.norm(velocity[..., IS_BODY, :], axis=-1)
    # Monotone cubics stay below three times the mean speed; three components peak together at worst. (Moves of the
    # root, lean and turn together, are bounded by twice that.)
    bound = 3 * synthetic.PACE[style][1]
    assert speed.max() < bound
    assert np.linalg.norm(velocity[..., 0, :], axis=-1).max() < 2 * bound
    assert speed.max() > synthetic.PACE[style][0], "somebody moves"
    assert np.abs(np.diff(velocity[..., IS_BODY, :], axis=1)).max() < bound / 4


def test_motion_moves_through_key_poses_of_its_style_and_changes_them():
    motion = synthetic.sample_hard_motion(7, 6, 90, 30)
    for style, names in zip(motion.styles, motion.key_poses, strict=True):
        assert len(names) >= 2
        assert {synthetic.KEY_POSES[name].style for name in names} == {style}
        assert all(before != after for before, after in itertools.pairwise(names))


def test_frame_rate_samples_the_same_motion():
    slow, fast = (synthetic.sample_hard_motion(5, 2, num, rate) for num, rate in ((31, 30), (61, 60)))
    np.testing.assert_allclose(slow.full_pose, fast.full_pose[:, ::2], atol=1e-9)


@pytest.mark.parametrize("num", [0, -3])
def test_too_few_people_are_an_error(num):
    with pytest.raises(ValueError, match="num must be 1 or more"):
        synthetic.sample_hard_poses(0, num)
    with pytest.raises(ValueError, match="num_windows must be 1 or more"):
        synthetic.sample_hard_motion(0, num, 5, 30)
    with pytest.raises(ValueError, match="num_frames must be 1 or more"):
        synthetic.sample_hard_motion(0, 5, num, 30)
    with pytest.raises(ValueError, match="frames_per_second"):
        synthetic.sample_hard_motion(0, 5, 5, num)


def test_unknown_names_are_errors_that_name_the_known_ones():
    with pytest.raises(KeyError, match="known: dance, martial"):
        synthetic._choose_styles(np.random.default_rng(0), "tango", 1)
    with pytest.raises(KeyError, match="unknown key pose 'moonwalk'; known: arabesque"):
        synthetic.key_pose("moonwalk")
