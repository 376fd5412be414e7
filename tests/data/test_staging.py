"""People before cameras: sizes, truth, windows, and sets that do not depend on each other."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy import stats

import hardmo_jax as hm
from hardmo_jax.body import landmarks
from hardmo_jax.data import staging, synthetic
from hardmo_jax.data.detector_noise import DetectorNoise
from hardmo_jax.data.staging import Motion, StagingOptions
from hardmo_jax.skeleton import layouts

OPTIONS = StagingOptions()


@pytest.fixture(scope="module")
def body():
    return hm.open_body()


def stills(num, seed=3):
    drawn = synthetic.sample_hard_poses(seed, num)
    return Motion(
        full_pose=drawn.full_pose[:, None], pelvis=np.zeros((num, 1, 3)), styles=drawn.styles,
        takes=tuple(f"take{row % 3}" for row in range(num)), groups=("g",) * num,
        frames=np.arange(num)[:, None], frames_per_second=30.0,
    )  # fmt: skip


def clips(num, frames):
    drawn = synthetic.sample_hard_motion(4, num, frames, 30.0)
    path = np.cumsum(np.random.default_rng(8).normal(0, 0.02, (num, frames, 3)), axis=1)
    return Motion(
        full_pose=drawn.full_pose, pelvis=path, styles=drawn.styles,
        takes=tuple(f"motion{row}" for row in range(num)), groups=("g",) * num,
        frames=np.tile(np.arange(frames), (num, 1)), frames_per_second=30.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def people(body):
    return staging.stage(body, stills(40), OPTIONS, seed=0, name="bench/test")


@pytest.fixture(scope="module")
def videos(body):
    return staging.stage(body, clips(8, 5), OPTIONS, seed=0, name="bench/video")


def test_heights_are_those_of_adults(body, figure):
    motion = Motion(
        full_pose=np.zeros((2000, 1, 52, 3)), pelvis=np.zeros((2000, 1, 3)), styles=("rest",) * 2000,
        takes=("a",) * 2000, groups=("g",) * 2000, frames=np.zeros((2000, 1), int), frames_per_second=30.0,
    )  # fmt: skip
    betas = np.asarray(staging.stage(body, motion, OPTIONS, seed=1, name="heights").params.betas, np.float64)
    upright, basis = (
        np.asarray(array, np.float64)[..., 1, :] for array in (body.template_planar, body.shape_basis_planar)
    )
    heights = np.concatenate([np.ptp(upright + rows @ basis[: betas.shape[1]], axis=1) for rows in np.split(betas, 20)])
    figure(
        f"staging: heights {heights.mean():.3f} +- {heights.std():.3f} m, {heights.min():.2f} to {heights.max():.2f}"
    )
    assert heights.mean() == pytest.approx(1.70, abs=0.01)
    assert heights.std() == pytest.approx(0.10, abs=0.01)
    assert stats.kstest(betas[:, 1:].ravel(), "norm").pvalue > 1e-3


def test_true_keypoints_are_the_projection_of_the_posed_body(body, people):
    points = np.asarray(landmarks.layout_points(body, people.layout)(people.params), np.float64)
    focal, middle = np.asarray(people.camera.focal_length)[:, None], np.asarray(people.camera.principal_point)[:, None]
    np.testing.assert_allclose(people.true_keypoints_2d, points[..., :2] / points[..., 2:] * focal + middle, atol=0.01)
    np.testing.assert_allclose(people.joints, body.joints(people.params), atol=1e-5)
    # A joint that is a keypoint as well.
    knee = layouts.get_layout(people.layout).index("left_knee")
    joint = people.joints[:, body.joint_names.index("left_knee")]
    expected = joint[:, :2] / joint[:, 2:] * focal[:, 0] + middle[:, 0]
    np.testing.assert_allclose(people.true_keypoints_2d[:, knee], expected, atol=0.01)


def test_everybody_is_in_the_picture_and_pose_is_kept(people):
    size = np.array(people.image_size)
    assert np.all(people.true_keypoints_2d > 0)
    assert np.all(people.true_keypoints_2d < size - 1)
    pose = stills(40).full_pose[:, 0].astype(np.float32)
    np.testing.assert_array_equal(np.asarray(people.params.full_pose())[:, 1:], pose[:, 1:])


def test_frames_of_a_window_share_shape_and_camera_and_others_do_not(videos):
    for array in (videos.params.betas, videos.camera.focal_length, videos.assumed_camera.focal_length):
        by_window = np.asarray(array).reshape(8, 5, -1)
        np.testing.assert_array_equal(by_window, np.repeat(by_window[:, :1], 5, axis=1))
        assert len(np.unique(by_window[:, 0, 0])) > 1
    np.testing.assert_array_equal(videos.windows, np.repeat(np.arange(8), 5))
    np.testing.assert_array_equal(videos.frames, np.tile(np.arange(5), 8))


def test_single_frames_belong_to_no_window(people):
    np.testing.assert_array_equal(people.windows, -1)


def test_larger_people_take_larger_steps(body, videos):
    # The camera of a window is one, so that the pelvis moves in it as far as in the world.
    pelvis = videos.joints[:, 0].reshape(8, 5, 3)
    steps = np.linalg.norm(np.diff(pelvis, axis=1), axis=-1)
    expected = np.linalg.norm(np.diff(clips(8, 5).pelvis, axis=1), axis=-1)
    leg = staging.leg_length(body, np.asarray(videos.params.betas).reshape(8, 5, -1)[:, 0])
    np.testing.assert_allclose(steps, expected * leg[:, None], atol=1e-5)
    assert np.ptp(leg) > 0.05


def test_leg_length_is_that_of_the_posed_body(body, rng):
    betas = rng.normal(size=body.num_betas)
    rest = hm.BodyParams.rest(body)
    joints = np.asarray(body.joints(dataclasses.replace(rest, betas=betas.astype(np.float32))))
    hip, knee, ankle = (joints[body.joint_names.index(f"left_{name}")] for name in ("hip", "knee", "ankle"))
    expected = np.linalg.norm(knee - hip) + np.linalg.norm(ankle - knee)
    assert staging.leg_length(body, betas) == pytest.approx(expected, abs=1e-5)
    assert 0.6 < expected < 1.1


def same(one, other):
    return all(
        np.array_equal(ours, theirs)
        for field in dataclasses.fields(one)
        for ours, theirs in zip(
            jax.tree.leaves(getattr(one, field.name)), jax.tree.leaves(getattr(other, field.name)), strict=True
        )
    )


def test_sets_depend_on_seed_and_name_and_nothing_else(body, people):
    staging.stage(body, clips(8, 5), OPTIONS, seed=0, name="bench/another")
    again = staging.stage(body, stills(40), OPTIONS, seed=0, name="bench/test")
    assert same(again, people)
    for seed, name in ((1, "bench/test"), (0, "bench/validation")):
        other = staging.stage(body, stills(40), OPTIONS, seed=seed, name=name)
        assert not np.any(np.asarray(other.params.betas) == np.asarray(people.params.betas))
        assert not np.any(np.asarray(other.camera.focal_length) == np.asarray(people.camera.focal_length))


def test_ids_are_unique_and_say_where_samples_come_from(people, videos):
    for found in (people, videos):
        assert len(set(found.ids)) == len(found)
        for sample, style, take in zip(found.ids, found.styles, found.takes, strict=True):
            assert sample.startswith(f"{found.name}/{style}-{take}/")


def test_observed_again_the_truth_stays(people):
    seen = staging.observe(people, DetectorNoise(missing=0.5), seed=0, name="bench/stress")
    for field in ("params", "camera", "joints", "true_keypoints_2d", "frames", "windows", "styles", "takes"):
        for ours, theirs in zip(
            jax.tree.leaves(getattr(seen, field)), jax.tree.leaves(getattr(people, field)), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(seen.assumed_camera.focal_length, people.camera.focal_length)
    assert np.mean(seen.confidence == 0) > 0.4
    assert np.mean(people.confidence == 0) < 0.1
    assert all(sample.startswith("bench/stress/") and "bench/test" not in sample for sample in seen.ids)
    assert "missing=0.5" in seen.notes
    assert "missing=0.05," not in seen.notes


def test_detection_is_near_the_truth(people):
    found = people.confidence > 0
    side = np.ptp(people.true_keypoints_2d, axis=1).max(axis=-1)
    error = np.linalg.norm(people.keypoints_2d - people.true_keypoints_2d, axis=-1) / side[:, None]
    assert 0.005 < np.median(error[found]) < 0.03


def test_wrong_lens_is_wrong_by_the_factor_either_way_and_the_same_in_a_window(videos):
    many = staging.observe(videos, OPTIONS.noise, seed=0, name="bench/focal", num_frames=5, focal_length_factor=1.2)
    ratio = np.asarray(many.assumed_camera.focal_length) / np.asarray(videos.camera.focal_length)
    np.testing.assert_allclose(np.maximum(ratio, 1 / ratio), 1.2, rtol=1e-5)
    assert ratio.min() < 1 < ratio.max()
    np.testing.assert_array_equal(ratio[:, 0], ratio[:, 1])
    np.testing.assert_array_equal(ratio.reshape(8, 5, 2), np.repeat(ratio.reshape(8, 5, 2)[:, :1], 5, axis=1))
    np.testing.assert_array_equal(many.camera.focal_length, videos.camera.focal_length)


def test_motion_of_mixed_lengths_is_refused():
    motion = stills(4)
    # With the run-time type checks of the tests it is the annotation that refuses.
    with pytest.raises((ValueError, TypeError), match="pelvis"):
        dataclasses.replace(motion, pelvis=np.zeros((3, 1, 3)))
    with pytest.raises(ValueError, match="4 people, but 3 styles"):
        dataclasses.replace(motion, styles=motion.styles[:3])
    assert motion.select(np.array([2, 0])).takes == ("take2", "take0")
