"""Poses beyond a pool: within the limits, repeatable, and stretched in just the ways that the options name."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.transform import Rotation

from hardmo_jax.data import pose_mixing, synthetic
from hardmo_jax.data.pose_mixing import MixingOptions, PoseMixer
from hardmo_jax.data.pose_pool import JOINTS, PosePool
from hardmo_jax.skeleton import joint_limits, layouts

NAMES = layouts.SMPLH_JOINTS
LIMITS = joint_limits.joint_limits(NAMES[1:])
MIDDLE = 0.5 * (LIMITS.low + LIMITS.high)[: len(JOINTS) - 1]
#: Joints that come from the pool as they are; wrists are drawn from the prior of hands.
OF_POOL = [joint for joint, name in enumerate(JOINTS) if joint and not name.endswith("wrist")]
#: Nothing is added.
STILL = MixingOptions(
    style_shares=(("martial", 1.0),), halfway=0.0, other_limb=0.0, noise_share=0.0, free_ankle=0.0, free_toes=0.0,
    lean_degrees=0.0, tumble=0.0,
)  # fmt: skip
COUNT = 400


@pytest.fixture(scope="module", autouse=True)
def few_hands():
    """A few hands and key poses are enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pose_mixing, "_HANDS_KEPT", 500)
        patch.setattr(pose_mixing, "_KEY_POSES_KEPT", 300)
        yield


def random_poses(count, seed=0, share=0.4):
    """Poses well within the limits, upright."""
    rng = np.random.default_rng(seed)
    reach = share * (LIMITS.high - LIMITS.low)[: len(JOINTS) - 1]
    pose = np.zeros((count, len(JOINTS), 3))
    pose[:, 1:] = MIDDLE + rng.uniform(-0.5, 0.5, (count, len(JOINTS) - 1, 3)) * reach
    return pose


def make_pool(body_pose, styles=("martial",), take_of=None):
    return PosePool(
        body_pose=body_pose,
        styles=styles,
        takes=tuple(f"0{place + 1}" for place in range(len(styles))),
        take_of=np.zeros(len(body_pose), np.int32) if take_of is None else np.asarray(take_of, np.int32),
    )


def draw(options, poses, count=COUNT, seed=3, **pool):
    return PoseMixer(make_pool(poses, **pool), options, seed=0).draw(np.random.default_rng(seed), count)


def unmirrored(drawn, poses, joints=OF_POOL):
    """The drawn poses and whether each is nearer to the pool in the mirror, which is then undone."""
    other = synthetic.mirror_pose(drawn)

    def distance(pose):
        return np.abs(pose[:, None, joints] - poses[:, joints]).max((-1, -2)).min(-1)

    is_mirrored = distance(other) < distance(drawn)
    return np.where(is_mirrored[:, None, None], other, drawn), is_mirrored


def test_poses_are_within_the_joint_limits():
    drawn = draw(MixingOptions(noise_degrees=30.0, noise_share=1.0), random_poses(20, share=1.3), 3000)
    assert drawn.shape == (3000, 52, 3)
    assert np.all(drawn[:, 1:] >= LIMITS.low - 1e-9)
    assert np.all(drawn[:, 1:] <= LIMITS.high + 1e-9)


def test_same_generator_gives_the_same_poses_and_another_others():
    mixer = PoseMixer(make_pool(random_poses(20)), MixingOptions(), seed=0)
    first, again, other = (mixer.draw(np.random.default_rng(seed), 50) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.any(np.all(first == other, axis=(1, 2)))
    anew = PoseMixer(make_pool(random_poses(20)), MixingOptions(), seed=0)
    np.testing.assert_array_equal(anew.draw(np.random.default_rng(1), 50), first)


def test_drawing_does_not_change_the_pool():
    poses = random_poses(5)
    before = poses.copy()
    mixer = PoseMixer(make_pool(poses), MixingOptions(), seed=0)
    first = mixer.draw(np.random.default_rng(1), 300)
    mixer.draw(np.random.default_rng(2), 300)
    np.testing.assert_array_equal(poses, before)
    np.testing.assert_array_equal(mixer.draw(np.random.default_rng(1), 300), first)


def test_without_any_stretching_poses_are_those_of_the_pool_half_of_them_mirrored():
    poses = random_poses(3)
    drawn, is_mirrored = unmirrored(draw(STILL, poses, 2000), poses)
    apart = np.abs(drawn[:, None, OF_POOL] - poses[:, OF_POOL]).max((-1, -2))
    assert apart.min(-1).max() < 1e-12
    assert stats.binomtest(int(is_mirrored.sum()), 2000).pvalue > 0.01
    counts = np.bincount(apart.argmin(-1), minlength=3)
    assert stats.chisquare(counts).pvalue > 0.01


def test_poses_outside_of_the_limits_are_brought_to_them():
    poses = np.zeros((1, len(JOINTS), 3))
    poses[0, JOINTS.index("left_knee")] = (3.1, 0.0, -1.0)
    drawn, _ = unmirrored(draw(STILL, poses, 20), poses)
    expected = np.clip(poses[0, 1:], LIMITS.low[: len(JOINTS) - 1], LIMITS.high[: len(JOINTS) - 1])
    np.testing.assert_allclose(
        drawn[:, OF_POOL], np.broadcast_to(expected[np.array(OF_POOL) - 1], (20, len(OF_POOL), 3)), atol=1e-12
    )


def test_joints_halfway_lie_on_the_line_between_two_poses():
    poses = random_poses(2, share=0.9)
    drawn, _ = unmirrored(draw(dataclasses.replace(STILL, halfway=1.0), poses), poses)
    way = poses[1, OF_POOL] - poses[0, OF_POOL]
    fraction = np.einsum("njc,jc->n", drawn[:, OF_POOL] - poses[0, OF_POOL], way) / np.sum(way**2)
    on_line = poses[0, OF_POOL] + fraction[:, None, None] * way
    is_own = np.abs(on_line - drawn[:, OF_POOL]).max((-1, -2)) < 1e-9
    # Halfway to the mirror image of the other one does not exist: mirrors are made at the end.
    assert is_own.mean() > 0.95
    assert fraction[is_own].min() > -1e-9
    assert fraction[is_own].max() < 1 + 1e-9
    inside = fraction[is_own & (np.abs(fraction) > 1e-9) & (np.abs(fraction - 1) > 1e-9)]
    assert 0.35 < len(inside) / COUNT < 0.65, "half of the pairs are two times the same pose"
    assert stats.kstest(inside, "uniform").pvalue > 0.01


def test_other_limbs_are_whole_limbs_of_another_pose():
    poses = random_poses(6, share=0.9)
    trunk = [JOINTS.index(joint) for joint in ("spine1", "spine2", "spine3", "neck", "head")]
    drawn, _ = unmirrored(draw(dataclasses.replace(STILL, other_limb=0.7), poses), poses, trunk)
    limbs = {
        (side, part): [JOINTS.index(f"{side}_{joint}") for joint in joints]
        for side in layouts.SIDES
        for part, joints in (("arm", ("collar", "shoulder", "elbow")), ("leg", ("hip", "knee", "ankle", "foot")))
    }
    source = {}
    for key, joints in limbs.items():
        apart = np.abs(drawn[:, None, joints] - poses[:, joints]).max((-1, -2))
        assert apart.min(-1).max() < 1e-12
        source[key] = apart.argmin(-1)
    apart = np.abs(drawn[:, None, trunk] - poses[:, trunk]).max((-1, -2))
    assert apart.min(-1).max() < 1e-12
    of_trunk = apart.argmin(-1)
    for places in source.values():
        # One in six draws takes the same pose again.
        assert stats.binomtest(int((places != of_trunk).sum()), COUNT, 0.7 * 5 / 6).pvalue > 0.005
    exchanged = np.stack([places != of_trunk for places in source.values()])
    assert np.abs(np.corrcoef(exchanged) - np.eye(4)).max() < 0.2, "each limb by itself"


def test_noise_has_its_spread_and_knees_hardly_twist():
    poses = np.zeros((1, len(JOINTS), 3))
    poses[:, 1:] = MIDDLE
    options = dataclasses.replace(STILL, noise_share=1.0, noise_degrees=1.0)
    drawn = np.degrees(PoseMixer(make_pool(poses), options, seed=0).draw(np.random.default_rng(5), 3000))
    middle = np.degrees(MIDDLE)
    spines = [JOINTS.index(f"spine{number}") for number in (1, 2, 3)]
    spread = np.sqrt(np.mean((np.abs(drawn[:, spines]) - np.abs(middle[np.array(spines) - 1])) ** 2, axis=(1, 2)))
    # The factor of a person is log-normal with 0.6; the root mean square of nine numbers adds a little to it.
    assert abs(np.median(spread) - 1.0) < 0.15
    assert 0.5 < np.std(np.log(spread)) < 0.75
    knee = JOINTS.index("left_knee")
    bend, twist = np.std(drawn[:, knee, 0]), np.std(drawn[:, knee, 1])
    assert abs(twist / bend - 0.3) < 0.05


def test_people_without_noise_are_as_many_as_the_options_say():
    poses = random_poses(1)
    drawn, _ = unmirrored(draw(dataclasses.replace(STILL, noise_share=0.6), poses, 2000), poses)
    is_still = np.abs(drawn[:, OF_POOL] - poses[:, OF_POOL]).max((-1, -2)) < 1e-12
    assert stats.binomtest(int(is_still.sum()), 2000, 0.4).pvalue > 0.01


def test_bodies_face_anywhere_and_stay_upright_unless_they_tumble():
    poses = random_poses(3)
    roots = Rotation.from_rotvec(draw(STILL, poses, 2000)[:, 0]).as_matrix()
    np.testing.assert_allclose(roots[:, 1, 1], 1, atol=1e-9)
    heading = np.arctan2(roots[:, 0, 2], roots[:, 2, 2]) % (2 * np.pi)
    assert stats.kstest(heading, "uniform", args=(0, 2 * np.pi)).pvalue > 0.01
    tumbling = Rotation.from_rotvec(draw(dataclasses.replace(STILL, tumble=1.0), poses, 2000)[:, 0]).as_matrix()
    # The height of a random point of the sphere is uniform (Archimedes).
    assert stats.kstest(tumbling[:, 1, 1], "uniform", args=(-1, 2)).pvalue > 0.01


def test_lean_of_the_pool_is_kept_under_the_turn():
    poses = random_poses(1)
    poses[0, 0] = (0.7, 0.0, 0.0)
    roots = Rotation.from_rotvec(draw(STILL, poses, 100)[:, 0]).as_matrix()
    np.testing.assert_allclose(roots[:, 1, 1], np.cos(0.7), atol=1e-9)


def test_styles_have_their_shares_and_unnamed_styles_are_other():
    poses = random_poses(4)
    pool = {"styles": ("martial", "cmu_amc/02", "salsa", "deepmimic"), "take_of": np.arange(4)}
    shares = (("martial", 0.5), ("salsa", 0.0), ("other", 0.25), ("written", 0.0), ("indian", 0.9))
    drawn, _ = unmirrored(draw(dataclasses.replace(STILL, style_shares=shares), poses, 3000, **pool), poses)
    source = np.abs(drawn[:, None, OF_POOL] - poses[:, OF_POOL]).max((-1, -2)).argmin(-1)
    counts = np.bincount(source, minlength=4)
    # Nobody has the style `indian`, and a style of share zero is nobody's: what is left is shared 2 to 1.
    assert counts[2] == 0
    assert stats.binomtest(int(counts[0]), 3000, 2 / 3).pvalue > 0.01
    assert stats.binomtest(int(counts[1]), int(counts[1] + counts[3])).pvalue > 0.01


def test_written_poses_are_those_of_the_table():
    shares = dataclasses.replace(STILL, style_shares=(("written", 1.0),))
    mixer = PoseMixer(make_pool(random_poses(1)), shares, seed=7)
    expected = synthetic.sample_hard_poses(7, pose_mixing._KEY_POSES_KEPT).full_pose[:, : len(JOINTS)]
    drawn, _ = unmirrored(mixer.draw(np.random.default_rng(1), 50), expected)
    assert np.abs(drawn[:, None, OF_POOL] - expected[:, OF_POOL]).max((-1, -2)).min(-1).max() < 1e-9


def test_hands_of_both_sides_are_of_one_person():
    poses = random_poses(1)
    mixer = PoseMixer(make_pool(poses), STILL, seed=0)
    drawn, _ = unmirrored(mixer.draw(np.random.default_rng(1), 100), poses)
    wrists = [NAMES.index(f"{side}_wrist") for side in layouts.SIDES]
    # `unmirrored` brings poses back, so that wrists and fingers are rows of the table of hands.
    known = mixer._hands
    apart = np.abs(drawn[:, None, wrists] - known.wrists).max((-1, -2))
    row = apart.argmin(-1)
    assert apart.min(-1).max() < 1e-9
    np.testing.assert_allclose(drawn[:, len(JOINTS) :], known.fingers[row].reshape(100, 30, 3), atol=1e-9)


def test_a_pool_without_any_wanted_style_is_refused():
    with pytest.raises(ValueError, match="no pose of indian, salsa"):
        PoseMixer(
            make_pool(random_poses(2)),
            dataclasses.replace(STILL, style_shares=(("indian", 0.5), ("salsa", 0.5))),
            seed=0,
        )


@pytest.mark.parametrize(
    "changes",
    [{"halfway": 1.1}, {"other_limb": -0.1}, {"noise_share": 2.0}, {"free_ankle": -1.0}, {"free_toes": 1.5},
     {"tumble": -0.5}, {"style_shares": ()}, {"style_shares": (("martial", -0.5),)}],
)  # fmt: skip
def test_options_out_of_range_are_named(changes):
    with pytest.raises(ValueError, match=f"`{next(iter(changes))}`"):
        MixingOptions(**changes)
