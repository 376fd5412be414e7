"""People for the lifter: what is told of them fits together, and every batch can be drawn again."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy import stats

import hardmo_jax as hm
from hardmo_jax.body import landmarks
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.data import pose_mixing
from hardmo_jax.data.detector_noise import DetectorNoise
from hardmo_jax.data.filming import LAYOUT, NoiseShare
from hardmo_jax.data.lifter_samples import LifterSampler, SampleOptions
from hardmo_jax.data.pose_pool import PosePool
from hardmo_jax.skeleton import layouts

POINTS = layouts.get_layout(LAYOUT).points
COUNT = 200
PERFECT = NoiseShare(share=1.0, noise=DetectorNoise(body_spread=0.0, extremity_spread=0.0, missing=0.0, gross=0.0))
CLEAN = SampleOptions(noises=(PERFECT,), lose_fingers=0.0, lose_feet=0.0, lose_face=0.0)


@pytest.fixture(scope="module", autouse=True)
def few_hands():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pose_mixing, "_HANDS_KEPT", 500)
        patch.setattr(pose_mixing, "_KEY_POSES_KEPT", 300)
        yield


@pytest.fixture(scope="module")
def body():
    return hm.open_body()


@pytest.fixture(scope="module")
def make_sampler(body):
    rng = np.random.default_rng(1)
    pool = PosePool(
        body_pose=rng.normal(size=(30, 22, 3)) * 0.2,
        styles=("martial", "salsa"),
        takes=("01", "01"),
        take_of=np.arange(30) % 2,
    )
    return lambda options=CLEAN, seed=0: LifterSampler(body, pool, options, seed=seed)


@pytest.fixture(scope="module")
def clean(make_sampler):
    return make_sampler().draw(3, COUNT)


def leaves_of(samples):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(samples)]


def test_a_batch_can_be_drawn_again_whatever_was_drawn_before(make_sampler, clean):
    sampler = make_sampler()
    sampler.draw(0, COUNT)
    for ours, theirs in zip(leaves_of(sampler.draw(3, COUNT)), leaves_of(clean), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_batches_and_seeds_give_other_people(make_sampler, clean):
    for other in (make_sampler().draw(4, COUNT), make_sampler(seed=1).draw(3, COUNT)):
        assert not np.any(np.all(other.true_keypoints_2d == clean.true_keypoints_2d, axis=(1, 2)))
        assert not np.any(np.all(np.asarray(other.params.betas) == np.asarray(clean.params.betas), axis=1))


def test_samples_have_their_shapes_and_the_precision_of_the_body(clean):
    assert clean.keypoints_2d.shape == clean.true_keypoints_2d.shape == (COUNT, 65, 2)
    assert clean.confidence.shape == (COUNT, 65)
    assert clean.camera.focal_length.shape == clean.camera.principal_point.shape == (COUNT, 2)
    assert {leaf.dtype for leaf in leaves_of(clean)} == {np.dtype(np.float32)}
    assert all(np.isfinite(leaf).all() for leaf in leaves_of(clean))


def true_focal_length(body, samples):
    """From the people and their true image points: every point must say the same."""
    points = np.asarray(in_pieces(landmarks.layout_points(body, LAYOUT), samples.params), np.float64)
    assert points[..., 2].min() > 0.4
    plane = points[..., :2] / points[..., 2:]
    from_middle = samples.true_keypoints_2d - samples.camera.principal_point[:, None]
    scale = np.sum(plane * from_middle, (1, 2)) / np.sum(plane * plane, (1, 2))
    np.testing.assert_allclose(plane * scale[:, None, None], from_middle, atol=0.02)
    return scale


def test_truth_projects_to_the_true_image_points(body, clean):
    scale = true_focal_length(body, clean)
    wrong = np.log(clean.camera.focal_length[:, 0] / scale)
    np.testing.assert_array_equal(clean.camera.focal_length[:, 0], clean.camera.focal_length[:, 1])
    assert stats.kstest(wrong, "norm", args=(0, CLEAN.focal_length_log_spread)).pvalue > 0.01


def test_everybody_is_in_the_picture(clean):
    size = np.array(CLEAN.viewpoint.image_size)
    assert clean.true_keypoints_2d.min() >= -0.5
    assert np.all(clean.true_keypoints_2d <= size - 0.5)


def test_a_perfect_detector_finds_the_truth(clean):
    assert np.all(clean.confidence > 0)
    np.testing.assert_array_equal(clean.keypoints_2d, clean.true_keypoints_2d)


def test_shapes_have_the_spread_of_the_options(clean):
    spread = np.asarray(clean.params.betas).std(0)
    assert abs(spread[0] - CLEAN.shape.first_spread) < 0.2
    assert abs(spread[1:].mean() - CLEAN.shape.spread) < 0.1


@pytest.mark.parametrize(
    ("name", "is_lost"),
    [
        ("lose_fingers", lambda point: (layouts.part_of(point) or "").endswith("hand") and "root" not in point),
        ("lose_feet", lambda point: (layouts.part_of(point) or "").endswith("foot")),
        ("lose_face", lambda point: point == "nose" or point.endswith(("_eye", "_ear"))),
    ],
)
def test_parts_are_lost_altogether(make_sampler, clean, name, is_lost):
    lost = np.array([is_lost(point) for point in POINTS])
    assert lost.any()
    found = make_sampler(dataclasses.replace(CLEAN, **{name: 1.0})).draw(3, COUNT)
    np.testing.assert_array_equal(found.confidence[:, lost], 0)
    np.testing.assert_array_equal(found.keypoints_2d[:, lost], 0)
    np.testing.assert_array_equal(found.confidence[:, ~lost], clean.confidence[:, ~lost])
    some = make_sampler(dataclasses.replace(CLEAN, **{name: 0.3})).draw(3, COUNT)
    is_without = (some.confidence[:, lost] == 0).all(-1)
    np.testing.assert_array_equal((some.confidence[:, lost] == 0).any(-1), is_without)
    assert stats.binomtest(int(is_without.sum()), COUNT, 0.3).pvalue > 0.01


def test_default_detectors_err_and_miss_but_never_touch_the_truth(make_sampler, clean):
    found = make_sampler(SampleOptions()).draw(3, COUNT)
    np.testing.assert_array_equal(found.true_keypoints_2d, clean.true_keypoints_2d)
    np.testing.assert_array_equal(found.params.body_pose, clean.params.body_pose)
    is_missing = found.confidence == 0
    assert 0.02 < is_missing.mean() < 0.5
    np.testing.assert_array_equal(found.keypoints_2d[is_missing], 0)
    assert np.all((found.confidence >= 0) & (found.confidence <= 1))


def test_detectors_look_at_their_share_of_the_people(make_sampler):
    blind = NoiseShare(share=1.0, noise=dataclasses.replace(PERFECT.noise, missing=1.0))
    options = dataclasses.replace(CLEAN, noises=(dataclasses.replace(PERFECT, share=3.0), blind))
    found = make_sampler(options).draw(0, COUNT)
    assert (found.confidence == 0).all(-1).sum() == COUNT // 4
    assert (found.confidence > 0).all(-1).sum() == 3 * COUNT // 4


def test_one_person_and_many_detectors_do(make_sampler):
    assert len(make_sampler(SampleOptions()).draw(0, 1).confidence) == 1
