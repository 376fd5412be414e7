"""Clips for training: they move as bodies do, their truth fits what is seen, and a number names a batch."""

import jax
import numpy as np
import pytest

from hardmo_jax.body import landmarks, load
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.data.detector_noise import DetectorNoise
from hardmo_jax.data.filming import LAYOUT, NoiseShare
from hardmo_jax.data.motion_mixing import MotionMixer, MotionMixingOptions
from hardmo_jax.data.motion_pool import MotionPool
from hardmo_jax.data.motion_samples import MotionSampleOptions, MotionSampler
from hardmo_jax.skeleton import joint_limits, layouts

FRAMES = 12
PLAIN = MotionMixingOptions(
    speed=(1.0, 1.0), backwards=0.0, other_limb=0.0, drift_share=0.0, free_ankle=0.0, free_toes=0.0, tumble=0.0
)
EXACT = DetectorNoise(body_spread=0.0, extremity_spread=0.0, person_log_spread=0.0, missing=0.0, gross=0.0)


@pytest.fixture(scope="module")
def pool():
    """Two runs: knees bend evenly in the first, the second stands still; both travel forwards."""
    lengths = np.array([40, 30])
    pose = np.zeros((70, 22, 3))
    pose[:40, layouts.SMPL_JOINTS.index("left_knee"), 0] = np.linspace(0, 1.0, 40)
    pose[:40, layouts.SMPL_JOINTS.index("right_knee"), 0] = np.linspace(0, 1.0, 40)
    pelvis = np.zeros((70, 3))
    pelvis[:40, 2] = 0.01 * np.arange(40)
    return MotionPool(
        body_pose=pose, pelvis=pelvis, run_lengths=lengths, take_of=np.array([0, 1]), styles=("martial", "walks"),
        takes=("03", "a"), frames_per_second=30.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def body():
    return load.open_body(view="smplh")


@pytest.fixture(scope="module")
def samples(body, pool):
    options = MotionSampleOptions(frames=FRAMES, noises=(NoiseShare(share=1.0, noise=EXACT),), gap=0.0, limb_gap=0.0,
                                  lose_fingers=0.0, lose_feet=0.0, focal_length_log_spread=0.0)  # fmt: skip
    sampler = MotionSampler(body, pool, options, seed=3)
    return sampler, sampler.draw(5, 8)


def test_plain_windows_are_pieces_of_the_runs(pool):
    mixer = MotionMixer(pool, PLAIN, frames=FRAMES, seed=0)
    pose, pelvis = mixer.draw(np.random.default_rng(0), 64)
    knee = pose[:, :, layouts.SMPL_JOINTS.index("left_knee"), 0]
    step = np.diff(knee, axis=1)
    bends = knee[:, -1] > 1e-3
    assert 0 < bends.sum() < 64, "both styles are drawn"
    np.testing.assert_allclose(step[bends], 1 / 39, atol=1e-9)
    # Travel keeps its length whatever the heading, and begins at the origin.
    np.testing.assert_allclose(np.linalg.norm(np.diff(pelvis[bends], axis=1), axis=-1), 0.01, atol=1e-9)
    assert np.abs(pelvis[:, 0]).max() == 0


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_speed_is_a_factor_on_what_happens_between_frames(pool, factor):
    options = MotionMixingOptions(**{**vars(PLAIN), "speed": (factor, factor), "style_shares": (("martial", 1.0),)})
    pose, _ = MotionMixer(pool, options, frames=FRAMES, seed=0).draw(np.random.default_rng(0), 16)
    step = np.diff(pose[:, :, layouts.SMPL_JOINTS.index("left_knee"), 0], axis=1)
    np.testing.assert_allclose(step, factor / 39, atol=1e-9)


def test_mixed_motion_stays_within_limits_and_is_smooth(pool):
    pose, _ = MotionMixer(pool, MotionMixingOptions(other_limb=0.5, drift_share=1.0), frames=FRAMES, seed=0).draw(
        np.random.default_rng(1), 64
    )
    limits = joint_limits.joint_limits(layouts.SMPL_JOINTS[1:20])
    body = pose[:, :, 1:20]
    # The runs' own rest lies within the limits, so that nothing may lie beyond.
    assert (body <= limits.high + 1e-9).all()
    assert (body >= limits.low - 1e-9).all()
    assert np.abs(np.diff(body, axis=1)).max() < 0.35, "nothing jumps"


def test_no_run_is_long_enough(pool):
    with pytest.raises(ValueError, match="no run of"):
        MotionMixer(pool, PLAIN, frames=90, seed=0)


def test_the_truth_projects_onto_what_an_exact_detector_sees(samples, body):
    _, found = samples
    flat = jax.tree.map(lambda leaf: leaf.reshape(8 * FRAMES, *leaf.shape[2:]), found.params)
    points = in_pieces(landmarks.layout_points(body, LAYOUT), flat).reshape(8, FRAMES, -1, 3)
    pixels = points[..., :2] / points[..., 2:] * found.camera.focal_length[:, None, None]
    pixels += found.camera.principal_point[:, None, None]
    np.testing.assert_allclose(pixels, found.keypoints_2d, atol=0.1)
    assert np.ptp(np.asarray(found.params.betas), axis=1).max() == 0, "one shape in all frames"


def test_a_number_names_a_batch(samples):
    sampler, found = samples
    again, other = sampler.draw(5, 8), sampler.draw(6, 8)
    np.testing.assert_array_equal(again.keypoints_2d, found.keypoints_2d)
    assert not np.array_equal(other.keypoints_2d, found.keypoints_2d)


def test_gaps_are_spans_of_frames_without_anybody(body, pool):
    options = MotionSampleOptions(frames=FRAMES, gap=1.0, gap_frames=(3, 3), limb_gap=0.0,
                                  noises=(NoiseShare(share=1.0, noise=EXACT),))  # fmt: skip
    found = MotionSampler(body, pool, options, seed=0).draw(0, 16)
    is_gone = (found.confidence == 0).all(-1)
    for row in is_gone:
        edges = np.flatnonzero(np.diff(np.pad(row, 1).astype(int)))
        assert len(edges) == 2
        assert edges[1] - edges[0] == 3 or edges[1] == FRAMES
    assert (found.keypoints_2d[found.confidence == 0] == 0).all()


@pytest.mark.parametrize("is_upside_down", [False, True])
def test_feet_of_a_handstand_do_not_stand_in_truth(body, is_upside_down):
    pose = np.zeros((40, 22, 3))
    pose[:, 0, 0] = np.pi * is_upside_down
    still = MotionPool(
        body_pose=pose, pelvis=np.zeros((40, 3)), run_lengths=np.array([40]), take_of=np.array([0]),
        styles=("martial",), takes=("03",), frames_per_second=30.0,
    )  # fmt: skip
    options = MotionSampleOptions(frames=FRAMES, mixing=PLAIN)
    found = MotionSampler(body, still, options, seed=0).draw(0, 4).stands
    assert found.any() != is_upside_down
