"""Errors in space: against slow loops, under what must not change them, and where they are blind."""

import inspect

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from scipy.spatial.transform import Rotation

from hardmo_jax.metrics import pose
from hardmo_jax.skeleton import flips, layouts
from tests.reference import metrics_numpy

LAYOUT = layouts.get_layout("hardmo_54")
FOOT = LAYOUT.indices(("left_big_toe", "left_small_toe", "left_heel"))
ANKLE = LAYOUT.index("left_ankle")
BODY = tuple(range(18))


def pair(rng, num_samples=7, num_points=54):
    truth = rng.normal(size=(num_samples, num_points, 3))
    return truth + rng.normal(scale=0.1, size=truth.shape), truth


def unchecked(function):
    """Without the run-time check of shapes, which speaks first in tests and is absent in production."""
    return inspect.unwrap(function)


# ---- against slow loops -------------------------------------------------------------------------------------


def test_errors_agree_with_slow_loops_whatever_is_masked(rng):
    predicted, truth = pair(rng, num_samples=40)
    is_valid = rng.random(truth.shape[:2]) < 0.6
    is_valid[0] = False
    is_valid[1, 3:] = False
    truth[~is_valid] = np.nan
    points, root = (4, 7, 9, 11, 30), (8, 39)
    for ours, theirs in (
        (
            pose.mpjpe(predicted, truth, root, is_valid, points=points),
            metrics_numpy.mpjpe(predicted, truth, root, points, is_valid),
        ),
        (
            pose.pa_mpjpe(predicted, truth, is_valid, points=points),
            metrics_numpy.pa_mpjpe(predicted, truth, points, is_valid),
        ),
        (
            pose.relative_error(predicted, truth, FOOT, ANKLE, BODY, is_valid),
            metrics_numpy.relative_error(predicted, truth, FOOT, ANKLE, BODY, is_valid),
        ),
    ):
        np.testing.assert_allclose(ours.values, theirs, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(ours.is_valid, np.isfinite(theirs))
        assert 0 < ours.is_valid.sum() < 40
        assert not ours.is_nonfinite.any()


def test_accelerations_agree_with_slow_loops_and_lose_three_differences_a_missing_frame(rng):
    predicted, truth = pair(rng, num_samples=20, num_points=5)
    is_valid = np.ones((20, 5), bool)
    is_valid[9, 2] = False
    ours = pose.acceleration_error(predicted, truth, is_valid, frames_per_second=30.0)
    np.testing.assert_allclose(
        ours.values, metrics_numpy.acceleration_error(predicted, truth, is_valid, 30.0), rtol=1e-12
    )
    assert np.flatnonzero(~ours.is_valid).tolist() == [7, 8, 9]
    per_frame = pose.acceleration_error(predicted, truth, is_valid, frames_per_second=None)
    np.testing.assert_allclose(per_frame.values * 900, ours.values, rtol=1e-12)


def test_acceleration_of_known_motions():
    time = np.arange(12) / 25
    truth = np.zeros((12, 4, 3))
    predicted = truth + (0.5 * 3.0 * time**2)[:, None, None] * [0, 1, 0] + time[:, None, None]
    errors = pose.acceleration_error(predicted, truth, frames_per_second=25.0)
    np.testing.assert_allclose(errors.values, 3.0, rtol=1e-10)


def test_angles_agree_with_another_formula_and_with_the_angle_turned(rng):
    truth = Rotation.random(60, rng=rng).as_matrix().reshape(20, 3, 3, 3)
    degrees = rng.uniform(0, 180, size=60)
    degrees[:4] = 0, 180, 1e-6, 179.99999
    axis = rng.normal(size=(60, 3))
    turn = Rotation.from_rotvec(np.radians(degrees)[:, None] * axis / np.linalg.norm(axis, axis=-1, keepdims=True))
    predicted = turn.as_matrix().reshape(truth.shape) @ truth
    errors = pose.joint_angle_error(predicted, truth)
    np.testing.assert_allclose(errors.values.ravel(), degrees, atol=1e-6)
    theirs = [
        metrics_numpy.angle_degrees(p, t)
        for p, t in zip(predicted.reshape(-1, 3, 3), truth.reshape(-1, 3, 3), strict=True)
    ]
    np.testing.assert_allclose(errors.values.ravel(), theirs, atol=1e-5)


def test_vertex_error_is_the_error_of_many_points_below_given_roots(rng):
    predicted, truth = pair(rng)
    ours = pose.vertex_error(predicted, truth, predicted[:, 3], truth[:, 3])
    np.testing.assert_allclose(ours.values, pose.mpjpe(predicted, truth, (3,)).values, rtol=1e-14)
    is_valid = np.arange(7) > 2
    truth[:3] = np.nan
    masked = pose.vertex_error(predicted, truth, predicted[:, 3], truth[:, 3], is_valid)
    np.testing.assert_array_equal(masked.values, np.where(is_valid, ours.values, np.nan))


# ---- alignment ----------------------------------------------------------------------------------------------


@hypothesis.given(strategies.integers(0, 10**6), strategies.floats(0.1, 10), strategies.integers(3, 9))
@hypothesis.settings(max_examples=50, deadline=None)
def test_alignment_finds_the_similarity_that_was_applied(seed, scale, num_points):
    rng = np.random.default_rng(seed)
    source, rotation, shift = rng.normal(size=(num_points, 3)), Rotation.random(rng=rng).as_matrix(), rng.normal(size=3)
    found = pose.similarity_align(source, scale * source @ rotation.T + shift)
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-9)
    np.testing.assert_allclose(found.scale, scale, rtol=1e-9)
    np.testing.assert_allclose(found.translation, shift, atol=1e-8)


def test_alignment_never_mirrors(rng):
    source = rng.normal(size=(50, 6, 3))
    found = pose.similarity_align(source, source * [-1, 1, 1])
    np.testing.assert_allclose(np.linalg.det(found.rotation), 1, atol=1e-12)
    assert (pose.pa_mpjpe(source, source * [-1, 1, 1]).values > 0.1).all()
    for s, t, a in zip(source, source * [-1, 1, 1], found.apply(source), strict=True):
        np.testing.assert_allclose(a, metrics_numpy.align(s, t)[2], atol=1e-10)


def test_degenerate_alignments_do_what_the_documentation_says(rng):
    predicted, truth = pair(rng, num_samples=4, num_points=5)
    is_valid = np.ones((4, 5), bool)
    is_valid[0, 2:] = False
    truth[1] = truth[1, :1]
    predicted[2] = predicted[2, :1]
    predicted[3, 1] = np.nan
    found = pose.similarity_align(predicted, truth, is_valid)
    assert found.is_defined.tolist() == [False, False, True, True]
    assert np.isnan(found.scale).tolist() == [True, True, False, True]
    errors = pose.pa_mpjpe(predicted, truth, is_valid)
    assert errors.is_nonfinite.tolist() == [False, False, False, True]
    from_centre = np.linalg.norm(truth[2] - truth[2].mean(0), axis=-1).mean()
    np.testing.assert_allclose(errors.values[2], from_centre, rtol=1e-12)


def test_points_on_a_line_and_in_a_plane_are_aligned(rng):
    for directions in (1, 2):
        source = rng.normal(size=(5, directions)) @ rng.normal(size=(directions, 3))
        target = 1.5 * source @ Rotation.random(rng=rng).as_matrix().T + 1
        assert pose.pa_mpjpe(source, target).values < 1e-12


# ---- invariances --------------------------------------------------------------------------------------------


def test_errors_ignore_what_they_should_and_nothing_else(rng):
    predicted, truth = pair(rng)
    turn = Rotation.random(7, rng=rng).as_matrix()
    shifted = predicted + rng.normal(size=(7, 1, 3))
    moved = 1.7 * predicted @ turn + rng.normal(size=(7, 1, 3))
    mpjpe = pose.mpjpe(predicted, truth, (39,)).values
    pa = pose.pa_mpjpe(predicted, truth).values
    relative = pose.relative_error(predicted, truth, FOOT, ANKLE, BODY).values
    np.testing.assert_allclose(pose.mpjpe(shifted, truth, (39,)).values, mpjpe, rtol=1e-12)
    assert (np.abs(pose.mpjpe(moved, truth, (39,)).values - mpjpe) > 0.1).all()
    np.testing.assert_allclose(pose.pa_mpjpe(moved, truth).values, pa, rtol=1e-10)
    np.testing.assert_allclose(pose.relative_error(moved, truth, FOOT, ANKLE, BODY).values, relative, rtol=1e-10)
    assert (pa < mpjpe).all()


def test_mirrored_and_reordered_points_have_the_same_errors(rng):
    predicted, truth = pair(rng)
    flip = list(flips.flip_permutation(LAYOUT))
    flipped = [points[:, flip] * [-1, 1, 1] for points in (predicted, truth)]
    np.testing.assert_allclose(
        pose.mpjpe(*flipped, (39,)).values, pose.mpjpe(predicted, truth, (39,)).values, rtol=1e-12
    )
    np.testing.assert_allclose(pose.pa_mpjpe(*flipped).values, pose.pa_mpjpe(predicted, truth).values, rtol=1e-10)
    right = tuple(flip[k] for k in FOOT)
    np.testing.assert_allclose(
        pose.mpjpe(*flipped, (39,), points=FOOT).values,
        pose.mpjpe(predicted, truth, (39,), points=right).values,
        rtol=1e-12,
    )


def test_each_sample_is_scored_alone_to_the_last_digit(rng):
    predicted, truth = pair(rng, num_samples=33)
    order = rng.permutation(33)
    for metric in (
        lambda p, t: pose.mpjpe(p, t, (39,)),
        pose.pa_mpjpe,
        lambda p, t: pose.relative_error(p, t, FOOT, ANKLE, BODY),
    ):
        whole = metric(predicted, truth).values
        np.testing.assert_array_equal(metric(predicted[order], truth[order]).values, whole[order])
        np.testing.assert_array_equal(metric(predicted[5], truth[5]).values, whole[5])
        folded = metric(predicted.reshape(3, 11, 54, 3), truth.reshape(3, 11, 54, 3)).values
        np.testing.assert_array_equal(folded.ravel(), whole)


# ---- what part PA does not see -------------------------------------------------------------------------------


def test_pa_of_one_foot_is_blind_to_a_turned_foot_and_the_others_are_not(rng):
    truth = rng.normal(size=(9, 54, 3))
    turn = Rotation.from_rotvec([0, 0, np.radians(40)]).as_matrix()
    predicted = truth.copy()
    ankle = truth[:, [ANKLE]]
    predicted[:, FOOT] = ankle + (truth[:, FOOT] - ankle) @ turn.T
    blind = (*FOOT, ANKLE)
    assert (pose.pa_mpjpe(predicted, truth, points=blind).values < 1e-12).all()
    assert (pose.relative_error(predicted, truth, FOOT, ANKLE, BODY).values > 0.1).all()
    rotations = Rotation.random(9, rng=rng).as_matrix()
    np.testing.assert_allclose(pose.orientation_angle(turn @ rotations, rotations).values, 40, rtol=1e-12)


def test_pa_of_an_arm_sees_a_turned_hand_and_needs_the_elbow(rng):
    arm = LAYOUT.indices(("left_elbow", "left_wrist", *layouts.FINGER_TIPS[:5]))
    truth = rng.normal(scale=0.1, size=(5, 54, 3))
    truth[:, arm[0]] += [0.3, 0, 0]
    predicted = truth.copy()
    wrist = truth[:, [arm[1]]]
    turn = Rotation.from_rotvec([0, np.radians(60), 0]).as_matrix()
    predicted[:, arm[2:]] = wrist + (truth[:, arm[2:]] - wrist) @ turn.T
    assert (pose.pa_mpjpe(predicted, truth, points=arm[1:]).values < 1e-12).all()
    assert (pose.arm_pa(predicted, truth, arm).values > 0.01).all()
    is_valid = np.ones((5, 54), bool)
    is_valid[2, arm[0]] = False
    assert pose.arm_pa(predicted, truth, arm, is_valid).is_valid.tolist() == [True, True, False, True, True]


def test_orientation_after_alignment_ignores_the_heading_of_the_whole_body(rng):
    truth = rng.normal(size=(6, 54, 3))
    true_foot = Rotation.random(6, rng=rng).as_matrix()
    heading = Rotation.random(6, rng=rng).as_matrix()
    predicted = truth @ np.swapaxes(heading, -1, -2)
    alignment = pose.body_alignment(predicted, truth, BODY)
    as_they_are = pose.orientation_angle(heading @ true_foot, true_foot)
    assert (as_they_are.values > 1).all()
    aligned = pose.orientation_angle(heading @ true_foot, true_foot, alignment=alignment)
    np.testing.assert_allclose(aligned.values, 0, atol=1e-10)


# ---- bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e300])
def test_a_prediction_that_is_no_number_makes_its_sample_nan_and_no_other(rng, number):
    predicted, truth = pair(rng)
    clean = pose.pa_mpjpe(predicted, truth).values
    predicted[2, ANKLE, 0] = number
    for errors in (
        pose.mpjpe(predicted, truth, (39,)),
        pose.pa_mpjpe(predicted, truth),
        pose.relative_error(predicted, truth, FOOT, ANKLE, BODY),
        pose.vertex_error(predicted, truth, predicted[:, 0], truth[:, 0]),
    ):
        assert errors.is_valid.all()
        assert errors.is_nonfinite[2] or number == 1e300
        assert np.isfinite(np.delete(errors.values, 2)).all()
    np.testing.assert_array_equal(np.delete(pose.pa_mpjpe(predicted, truth).values, 2), np.delete(clean, 2))


def test_all_masked_is_no_error_and_no_value(rng):
    predicted, truth = pair(rng)
    nothing = np.zeros(truth.shape[:2], bool)
    for errors in (
        pose.mpjpe(predicted, truth * np.nan, (39,), nothing),
        pose.pa_mpjpe(predicted, truth * np.nan, nothing),
        pose.acceleration_error(predicted, truth * np.nan, nothing, frames_per_second=30.0),
    ):
        assert not errors.is_valid.any()
        assert np.isnan(errors.values).all()
        assert not errors.is_nonfinite.any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, t: unchecked(pose.pa_mpjpe)(p[:, :9], t), "expected the same shape"),
        (lambda p, t: unchecked(pose.pa_mpjpe)(p[..., :2], t[..., :2]), "confidence is an array of its own"),
        (lambda p, t: unchecked(pose.pa_mpjpe)(p[:, :0], t[:, :0]), "at least one item"),
        (lambda p, t: unchecked(pose.pa_mpjpe)(p, t, np.ones(7, bool)), r"the mask is \(7,\), expected \(7, 54\)"),
        (lambda p, t: pose.pa_mpjpe(p, t * np.nan), "truth of 378 valid items"),
        (lambda p, t: pose.pa_mpjpe(p, t, points=()), "names no point"),
        (lambda p, t: pose.pa_mpjpe(p, t, points=(1, 2, 54)), r"holds \[54\]; expected indices from 0 to 53"),
        (lambda p, t: pose.mpjpe(p, t, (-1,)), r"`root` holds \[-1\]"),
        (lambda p, t: pose.mpjpe(p, t, (1,), points=(2, 2)), "twice"),
        (lambda p, t: pose.acceleration_error(p[:2], t[:2], frames_per_second=30.0), "at least 3 frames"),
        (lambda p, t: pose.acceleration_error(p, t, frames_per_second=0.0), "positive rate"),
        (lambda p, t: unchecked(pose.vertex_error)(p, t, p[:2, 0], t[:2, 0]), "one point for each mesh"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_expected(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(*pair(rng))


def test_bodies_are_aligned_by_existing_points_named_once(rng):
    predicted, truth = pair(rng)
    for body, message in (
        ((), "names no point; expected indices from 0 to 53"),
        ((0, 1, 1), "a point twice"),
        ((0, 54), "0 to 53"),
        ((-1, 2), "0 to 53"),
    ):
        with pytest.raises(ValueError, match=f"`body`.*{message}"):
            pose.body_alignment(predicted, truth, body)
    assert pose.body_alignment(predicted, truth, (0, 1, 53)).is_defined.all()


@pytest.mark.parametrize("batch", [(), (5,), (2, 3), (2, 1, 2)])
def test_angles_are_those_of_each_joint_whatever_the_batch(batch, rng):
    turned, truth = (Rotation.random(24 * 24, rng=rng).as_matrix()[: int(np.prod(batch)) * 4] for _ in range(2))
    expected = (Rotation.from_matrix(turned).inv() * Rotation.from_matrix(truth)).magnitude()
    found = pose.joint_angle_error(turned.reshape(*batch, 4, 3, 3), truth.reshape(*batch, 4, 3, 3))
    assert found.values.shape == (*batch, 4)
    np.testing.assert_allclose(found.values.ravel(), np.degrees(expected), atol=1e-6)


def test_a_sample_that_has_its_root_and_no_other_point_has_no_error(rng):
    predicted, truth = pair(rng, num_samples=3)
    is_valid = np.zeros((3, 54), bool)
    is_valid[:, 39] = True
    is_valid[1, 4] = True
    found = pose.mpjpe(predicted, truth, (39,), is_valid, points=(4, 7))
    assert found.is_valid.tolist() == [False, True, False]
    root = pose.mpjpe(predicted, truth, (39,), is_valid, points=(39,))
    assert root.is_valid.all()
    np.testing.assert_allclose(root.values, 0, atol=1e-15)


def test_meshes_below_roots_of_another_number_are_refused_with_the_number(rng):
    vertices = rng.normal(size=(4, 9, 3))
    with pytest.raises(ValueError, match=r"the root is \(3, 3\), expected \(4, 3\): one point for each mesh"):
        unchecked(pose.vertex_error)(vertices, vertices, np.zeros((4, 3)), np.zeros((3, 3)))
