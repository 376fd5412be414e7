"""What only clips show, on motion whose answer is known."""

import numpy as np
import pytest

from hardmo_jax.metrics import clips
from tests.metrics.test_pose import unchecked

RATE = 30.0


def still_and_walking(num_frames=11, step=0.05):
    points = np.zeros((1, num_frames, 2, 3))
    points[0, :, 1, 0] = step * np.arange(num_frames)
    return points


def test_slide_is_the_step_of_points_that_stand_in_truth():
    truth = still_and_walking()
    predicted = truth.copy()
    predicted[0, :, 0, 2] += 0.01 * np.arange(11)  # the standing one slides by a centimetre a frame
    predicted[0, :, 1, 2] += 0.5 * np.arange(11)  # the walking one does not count
    found = clips.foot_slide(predicted, truth, frames_per_second=RATE)
    assert found.values.shape == (1, 10)
    np.testing.assert_allclose(found.values, 0.01)
    assert found.is_valid.all()
    np.testing.assert_allclose(clips.foot_slide(truth, truth, frames_per_second=RATE).values, 0)


def test_frames_in_which_nothing_stands_are_not_valid():
    walking = still_and_walking()[:, :, 1:]
    assert not clips.foot_slide(walking, walking, frames_per_second=RATE).is_valid.any()


def test_what_counts_as_standing_is_a_speed_and_not_a_step():
    slow = still_and_walking(step=0.004)
    assert clips.foot_slide(slow, slow, frames_per_second=30.0).values.max() == pytest.approx(0.002)  # 0.12 m/s: both
    assert clips.foot_slide(slow, slow, frames_per_second=60.0).values.max() == 0  # 0.24 m/s: one


def test_shares_are_one_for_the_truth_and_fall_with_smoothing(rng):
    truth = np.cumsum(rng.normal(scale=0.1, size=(2, 40, 3, 3)), 1)
    assert clips.acceleration_share(truth, truth).value == pytest.approx(1)
    assert clips.peak_speed_share(truth, truth, frames_per_second=RATE).value == pytest.approx(1)
    kernel = np.ones(5) / 5
    smooth = np.apply_along_axis(lambda line: np.convolve(line, kernel, mode="same"), 1, truth)[:, 3:-3]
    assert clips.acceleration_share(smooth, truth[:, 3:-3]).value < 0.5
    assert clips.peak_speed_share(smooth, truth[:, 3:-3], frames_per_second=RATE).value < 0.9
    jittering = truth + rng.normal(scale=0.2, size=truth.shape)
    assert clips.acceleration_share(jittering, truth).value > 1.5


def test_without_anything_fast_there_are_no_peaks():
    slow = still_and_walking(step=0.01)
    assert np.isnan(clips.peak_speed_share(slow, slow, frames_per_second=RATE).value)
    assert np.isnan(clips.acceleration_share(0 * slow, 0 * slow).value)
    assert np.isnan(clips.acceleration_share(slow**2, 0 * slow).value), "nothing is a share of no acceleration"


def test_what_is_no_number_is_left_out_and_counted(rng):
    truth = np.cumsum(rng.normal(scale=0.1, size=(3, 12, 4, 3)), 1)
    predicted = truth.copy()
    predicted[1, 5, 2, 0] = np.nan
    accelerations = clips.acceleration_share(predicted, truth)
    assert accelerations.value == pytest.approx(1)
    assert (accelerations.num_counted, accelerations.num_left_out) == (27, 3)
    peaks = clips.peak_speed_share(predicted, truth, frames_per_second=RATE)
    assert peaks.value == pytest.approx(1)
    assert (peaks.num_counted, peaks.num_left_out) == (2, 1)
    nothing = clips.peak_speed_share(np.full_like(truth, np.nan), truth, frames_per_second=RATE)
    assert np.isnan(nothing.value)
    assert (nothing.num_counted, nothing.num_left_out) == (0, 3)


def test_shapes_spread_within_clips_and_not_between_them(rng):
    betas = np.repeat(rng.normal(size=(3, 1, 10)), 6, 1)
    assert clips.shape_spread(betas).value == pytest.approx(0, abs=1e-12)
    betas[1] += np.where(np.arange(6) % 2, 1.0, -1.0)[:, None]
    assert clips.shape_spread(betas).value == pytest.approx(1 / 3)
    betas[0, 2] = np.nan
    found = clips.shape_spread(betas)
    assert found.value == pytest.approx(1 / 2)
    assert (found.num_counted, found.num_left_out) == (2, 1)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_rates_that_are_none_are_refused(rate):
    truth = still_and_walking()
    with pytest.raises(ValueError, match="frames_per_second"):
        clips.foot_slide(truth, truth, frames_per_second=rate)


def test_single_points_are_no_clip():
    flat = np.zeros((4, 3))
    with pytest.raises(ValueError, match="twice"):
        unchecked(clips.foot_slide)(flat, flat, frames_per_second=RATE)
