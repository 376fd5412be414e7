"""Shards merge to the same sums in any order, and survive a file."""

import functools
import inspect

import numpy as np
import pytest

from hardmo_jax.metrics import accumulate, keypoints


def test_means_merge_in_any_order_and_count_what_is_no_number(rng):
    values = rng.lognormal(size=1000)
    is_valid = rng.random(1000) < 0.8
    values[rng.random(1000) < 0.05] = np.nan
    values[:3] = np.inf
    whole = accumulate.MeanAccumulator().update(values, is_valid)
    shards = [accumulate.MeanAccumulator().update(values[i::7], is_valid[i::7]) for i in range(7)]
    for order in ([0, 1, 2, 3, 4, 5, 6], [6, 3, 1, 0, 5, 2, 4]):
        merged = functools.reduce(lambda a, b: a.merge(b), [shards[i] for i in order])
        assert (merged.num_samples, merged.num_nonfinite) == (whole.num_samples, whole.num_nonfinite)
        assert merged.mean == pytest.approx(whole.mean, rel=1e-12, abs=0)
    finite = is_valid & np.isfinite(values)
    assert whole.mean == pytest.approx(values[finite].mean(), rel=1e-12)
    assert whole.num_samples == finite.sum()
    assert whole.num_nonfinite == (is_valid & ~np.isfinite(values)).sum()
    assert np.isnan(accumulate.MeanAccumulator().mean)


def test_pck_merges_exactly_and_equals_pck_of_all(rng):
    truth = rng.uniform(0, 100, size=(60, 5, 2))
    predicted = truth + rng.normal(scale=4, size=truth.shape)
    confidence = rng.random((60, 5))
    confidence[:, 1] = 0
    hits, is_counted = keypoints.pck_hits(predicted, truth, confidence, np.full(60, 100.0), (0.01, 0.05))
    empty = accumulate.PckAccumulator.empty((0.01, 0.05), 5)
    shards = [empty.update(hits[i::4], is_counted[i::4]) for i in range(4)]
    expected = keypoints.pck(hits, is_counted)
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        merged = functools.reduce(lambda a, b: a.merge(b), [shards[i] for i in order], empty)
        np.testing.assert_array_equal(merged.per_keypoint, expected[0])
        np.testing.assert_array_equal(merged.mean, expected[1])
    assert np.isnan(empty.mean).all()


def test_state_survives_a_file(tmp_path, rng):
    mean = accumulate.MeanAccumulator().update(rng.random(9))
    pck = accumulate.PckAccumulator.empty((0.1,), 2).update(rng.random((4, 1, 2)) > 0.5, np.ones((4, 2), bool))
    for name, sums in (("mean", mean), ("pck", pck)):
        np.savez(tmp_path / f"{name}.npz", **sums.to_mapping())
        with np.load(tmp_path / f"{name}.npz", allow_pickle=False) as stored:
            again = type(sums).from_mapping(dict(stored))
        for key, array in sums.to_mapping().items():
            np.testing.assert_array_equal(again.to_mapping()[key], array)
            assert again.to_mapping()[key].dtype == array.dtype


def test_a_foreign_state_and_other_thresholds_are_refused(rng):
    one, other = (accumulate.PckAccumulator.empty(thresholds, 3) for thresholds in ((0.01,), (0.05,)))
    with pytest.raises(
        ValueError, match=r"at \[0.05\] of 3 keypoints into \[0.01\] of 3; count both under the same protocol"
    ):
        one.merge(other)
    with pytest.raises(ValueError, match=r"of 4 keypoints into \[0.01\] of 3"):
        one.merge(accumulate.PckAccumulator.empty((0.01,), 4))
    with pytest.raises(ValueError, match="expected"):
        accumulate.MeanAccumulator.from_mapping(one.to_mapping())
    with pytest.raises(ValueError, match="do not fit"):
        accumulate.PckAccumulator.from_mapping(one.to_mapping() | {"num_counted": np.zeros(4, np.int64)})
    with pytest.raises(ValueError, match="1 axes, expected 0"):
        accumulate.MeanAccumulator.from_mapping(accumulate.MeanAccumulator().to_mapping() | {"total": np.zeros(2)})
    with pytest.raises(ValueError, match=r"expected \(..., 1, 3\) and \(..., 3\): 1 thresholds of 3 keypoints"):
        inspect.unwrap(accumulate.PckAccumulator.update)(one, np.ones((2, 1, 4), bool), np.ones((2, 4), bool))
    with pytest.raises(ValueError, match="expected"):  # counts of one image less than hits
        inspect.unwrap(accumulate.PckAccumulator.update)(one, np.ones((2, 1, 3), bool), np.ones((1, 3), bool))
    with pytest.raises(ValueError, match=r"holds \['total'\], expected \['num_nonfinite'"):
        accumulate.MeanAccumulator.from_mapping({"total": np.zeros(())})
    with pytest.raises(ValueError, match="one truth value for each"):
        inspect.unwrap(accumulate.MeanAccumulator.update)(accumulate.MeanAccumulator(), np.ones(3), np.ones(2, bool))


def test_sums_are_told_by_name_and_cannot_be_changed():
    with pytest.raises(TypeError):
        accumulate.MeanAccumulator(1.0, 1, 0)
    for sums in (accumulate.MeanAccumulator(), accumulate.PckAccumulator.empty((0.1,), 2)):
        with pytest.raises(AttributeError):
            sums.num_samples = 3


def test_one_image_without_batch_axes_is_counted():
    counts = accumulate.PckAccumulator.empty((0.1, 0.2), 3)
    counts = counts.update(np.ones((2, 3), bool), np.array([True, True, False]))
    counts = counts.update(np.zeros((5, 4, 2, 3), bool), np.ones((5, 4, 3), bool))
    assert counts.num_hits.tolist() == [[1, 1, 1]] * 2
    assert counts.num_counted.tolist() == [21, 21, 20]
