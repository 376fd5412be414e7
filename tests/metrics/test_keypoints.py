"""PCK against slow loops, at its exact borders, and under transformations of the image."""

import inspect

import numpy as np
import pytest

from hardmo_jax.metrics import keypoints
from tests.reference import metrics_numpy


def image(rng, num_samples=40, num_points=9):
    truth = rng.uniform(0, 400, size=(num_samples, num_points, 2))
    predicted = truth + rng.normal(scale=12, size=truth.shape)
    confidence = rng.random((num_samples, num_points))
    confidence[:, 3] = 0.2
    return predicted, truth, confidence


def test_pck_agrees_with_slow_loops(rng):
    predicted, truth, confidence = image(rng)
    sides = rng.uniform(200, 400, size=40)
    thresholds = (0.01, 0.05, 0.1)
    hits, is_counted = keypoints.pck_hits(predicted, truth, confidence, sides, thresholds)
    shares, means = keypoints.pck(hits, is_counted)
    for row, threshold in enumerate(thresholds):
        theirs, mean = metrics_numpy.pck(predicted, truth, confidence, sides, threshold, 0.5)
        np.testing.assert_array_equal(shares[row], [np.nan if share is None else share for share in theirs])
        np.testing.assert_allclose(means[row], mean, rtol=1e-14)
    assert np.isnan(shares[:, 3]).all()


def test_a_distance_at_the_threshold_and_a_confidence_at_the_limit_do_not_count():
    truth = np.zeros((1, 4, 2))
    predicted = np.array([[[5.0, 0], [0, np.nextafter(5, 0)], [1, 0], [1, 0]]])
    confidence = np.array([[1.0, 1.0, 0.5, np.nextafter(0.5, 1)]])
    hits, is_counted = keypoints.pck_hits(predicted, truth, confidence, np.array([100.0]), (0.05,))
    assert is_counted.tolist() == [[True, True, False, True]]
    assert hits.tolist() == [[[False, True, False, True]]]


def test_the_mean_gives_each_keypoint_the_same_weight():
    hits = np.array([[[True, False]], [[True, False]], [[True, False]]])
    is_counted = np.array([[True, True], [True, False], [True, False]])
    shares, mean = keypoints.pck(hits & is_counted[:, None], is_counted)
    assert shares.tolist() == [[1, 0]]
    assert mean.tolist() == [0.5]


def test_a_keypoint_that_is_no_number_misses_and_a_person_without_a_box_does_not_count():
    truth = np.zeros((4, 2, 2))
    predicted = truth.copy()
    predicted[0, 0] = np.nan, np.inf
    confidence = np.ones((4, 2))
    hits, is_counted = keypoints.pck_hits(predicted, truth, confidence, np.array([10, np.nan, 0, -3.0]), (0.1,))
    assert is_counted.tolist() == [[True, True], *[[False, False]] * 3]
    assert hits[0].tolist() == [[False, True]]


def test_pck_ignores_scaling_and_shifting_of_the_image_and_the_order_of_samples(rng):
    predicted, truth, confidence = image(rng)
    box = keypoints.BoxConvention()

    def curve(p, t, c):
        sides = box.normaliser(keypoints.tight_box_side(t, c, 0.5))
        return keypoints.pck_curve(p, t, c, sides, (0.01, 0.03, 0.05, 0.1))

    expected = curve(predicted, truth, confidence)
    assert 0 < expected[0] < expected[-1] < 1
    np.testing.assert_array_equal(curve(predicted * 3.7 + 50, truth * 3.7 + 50, confidence), expected)
    order = rng.permutation(40)
    np.testing.assert_array_equal(curve(predicted[order], truth[order], confidence[order]), expected)
    columns = rng.permutation(9)
    np.testing.assert_allclose(
        curve(predicted[:, columns], truth[:, columns], confidence[:, columns]), expected, rtol=1e-14
    )


def test_the_tight_box_is_that_of_the_visible_points():
    points = np.array([[[0, 0], [10, 3], [4, -20], [900, 900.0]], [[1, 1], [2, 2], [3, 3], [4, 4]]])
    points[0, 3] = np.nan
    confidence = np.array([[1, 0.9, 0.6, 0.5], [0.6, 0.5, 0.1, 0]])
    np.testing.assert_array_equal(keypoints.tight_box_side(points, confidence, 0.5), [23, np.nan])


def test_two_visible_points_make_a_box_and_one_makes_none():
    points = np.array([[[0, 0], [10, 3], [4, 20.0]]] * 2)
    sides = keypoints.tight_box_side(points, np.array([[1, 1, 0], [0, 0, 1.0]]), 0.5)
    np.testing.assert_array_equal(sides, [10, np.nan])


def test_the_box_convention_applies_its_factor_once():
    sides = np.array([100.0, 50])
    assert keypoints.BoxConvention(scale=1.2).normaliser(sides).tolist() == [120, 60]
    assert keypoints.BoxConvention(scale=1.2, is_scaled=True).normaliser(sides).tolist() == [100, 50]
    assert "times 1.2" in keypoints.BoxConvention().describe()
    assert "includes the factor 1.2" in keypoints.BoxConvention(is_scaled=True).describe()
    with pytest.raises(ValueError, match="positive factor"):
        keypoints.BoxConvention(scale=0.0)


def test_the_area_under_known_curves():
    thresholds = (0.0, 0.01, 0.03, 0.1)
    assert keypoints.pck_auc(thresholds, np.ones(4)) == pytest.approx(1)
    assert keypoints.pck_auc(thresholds, np.array(thresholds) * 10) == pytest.approx(0.5)


@pytest.mark.parametrize("thresholds", [(0.01, 0.05), (0.0, 0.1, 0.1), (0.0,), (0.0, 0.2, 0.1)])
def test_the_area_needs_thresholds_ascending_from_zero(thresholds):
    with pytest.raises(ValueError, match="ascending from 0"):
        keypoints.pck_auc(thresholds, np.ones(len(thresholds)))


def test_squared_error_weighs_by_confidence_and_divides_by_all_keypoints():
    truth = np.array([[[0, 0], [0, 0], [np.nan, 0]]])
    predicted = np.array([[[3.0, 4], [1, 0], [7, 7]]])
    error = keypoints.keypoint_squared_error(predicted, truth, np.array([[0.5, 1, 0]]))
    np.testing.assert_allclose(error, [(0.5 * 25 + 1) / 3], rtol=1e-15)
    predicted[0, 0] = np.nan
    assert np.isnan(keypoints.keypoint_squared_error(predicted, truth, np.array([[0.5, 1, 0]]))).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"confidence": np.ones((40, 8))}, r"expected \(40, 9\) and \(40,\): one confidence a point, one side"),
        ({"normaliser": np.ones(39)}, "one confidence a point, one side a person"),
        ({"thresholds": ()}, "expected PCK thresholds"),
        ({"thresholds": (-0.1,)}, "expected PCK thresholds"),
        ({"predicted": np.ones((40, 8, 2))}, "expected the same shape"),
        ({"truth": np.full((40, 9, 2), np.nan)}, "is not finite"),
    ],
)
def test_what_does_not_fit_is_refused(rng, change, message):
    predicted, truth, confidence = image(rng)
    arguments = {"predicted": predicted, "truth": truth, "confidence": confidence, "normaliser": np.ones(40)}
    with pytest.raises(ValueError, match=message):
        # Without the run-time check of shapes, which speaks first in tests and is absent in production.
        inspect.unwrap(keypoints.pck_hits)(**{**arguments, "thresholds": (0.1,), **change})


def test_of_no_truth_there_is_no_share_and_of_much_there_is_one_whatever_the_batch(rng):
    shares, means = keypoints.pck(np.zeros((4, 2, 3), bool), np.zeros((4, 3), bool))
    assert shares.shape == (2, 3)
    assert np.isnan(shares).all()
    assert means.shape == (2,)
    assert np.isnan(means).all()
    hits, is_counted = rng.random((6, 2, 3)) < 0.5, np.ones((6, 3), bool)
    for one, other in zip(
        keypoints.pck(hits, is_counted),
        keypoints.pck(hits.reshape(2, 3, 2, 3), is_counted.reshape(2, 3, 3)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    for wrong in (hits[:, :, :2], hits[:5], np.ones(3, bool)):
        with pytest.raises(ValueError, match=r"expected \(..., T, K\) and \(..., K\)"):
            inspect.unwrap(keypoints.pck)(wrong, is_counted)


def test_thresholds_of_zero_are_some_and_the_area_needs_an_accuracy_for_each():
    hits, _ = keypoints.pck_hits(np.zeros((1, 1, 2)), np.zeros((1, 1, 2)), np.ones((1, 1)), np.ones(1), (0.0, 1e-9))
    assert hits.tolist() == [[[False], [True]]]
    with pytest.raises(ValueError, match="one for each of 2 thresholds"):
        inspect.unwrap(keypoints.pck_auc)((0.0, 1.0), np.ones(3))
    for thresholds in ((0.0, float("nan")), (0.0, float("inf")), ()):
        with pytest.raises(ValueError, match="expected PCK thresholds"):
            keypoints.pck_auc(thresholds, np.ones(len(thresholds)))


def test_the_curve_counts_by_the_confidence_that_is_asked_for(rng):
    predicted, truth, confidence = image(rng)
    given = predicted, truth, confidence, np.full(40, 300.0), (0.05,)
    for limit in (0.1, 0.9):
        hits, is_counted = keypoints.pck_hits(*given, min_confidence=limit)
        np.testing.assert_array_equal(
            keypoints.pck_curve(*given, min_confidence=limit), keypoints.pck(hits, is_counted)[1]
        )
    assert keypoints.pck_curve(*given).tolist() == keypoints.pck_curve(*given, min_confidence=0.5).tolist()
