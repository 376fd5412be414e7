"""The declared detector: statistics of large draws against the declared numbers."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from hardmo_jax.data import detector_noise
from hardmo_jax.data.detector_noise import DetectorNoise
from hardmo_jax.skeleton import flips, layouts

LAYOUT = layouts.get_layout("coco_wholebody65")
IS_BODY = np.array([(layouts.part_of(point) or "body") == "body" for point in LAYOUT.points])
QUIET = DetectorNoise(body_spread=0.0, extremity_spread=0.0, person_log_spread=0.0, missing=0.0, gross=0.0)
PLAIN = dataclasses.replace(QUIET, body_spread=0.010, extremity_spread=0.015)
IMAGE = (100_000, 100_000)
#: The longest side of everybody's box, pixels.
SIDE = 600.0
#: 20,000 points: relative standard error of a deviation 0.5 % (a third of them are of the body), of a share of 5 %
#: 3 %. Tolerances are four of these.
NUM_PEOPLE = 310


def people(rng, num=NUM_PEOPLE, frames=1):
    points = rng.uniform(0, 1, (num, frames, len(LAYOUT), 2)) * (0.5 * SIDE, SIDE)
    points[:, :, 0], points[:, :, 1] = (0, 0), (0.5 * SIDE, SIDE)
    return points + 40_000


def detect(noise, points, seed=1, image_size=IMAGE):
    return detector_noise.detect(np.random.default_rng(seed), points, LAYOUT, noise, image_size=image_size)


def test_no_noise_gives_the_true_points(rng):
    points = people(rng, 20)
    found = detect(QUIET, points)
    np.testing.assert_array_equal(found.keypoints_2d, points)
    assert np.all(found.confidence > 0)


def test_errors_have_the_declared_spread_by_part(rng):
    points = people(rng)
    error = (detect(PLAIN, points).keypoints_2d - points) / SIDE
    for rows, spread in ((IS_BODY, 0.010), (~IS_BODY, 0.015)):
        assert error[:, :, rows].std() == pytest.approx(spread, rel=0.025)
        assert abs(error[:, :, rows].mean()) < spread * 0.05
        assert stats.kstest(error[:, :, rows].ravel() / spread, "norm").pvalue > 1e-3


def test_factor_of_a_person_is_log_normal(rng):
    points = people(rng, 2000)
    noise = dataclasses.replace(PLAIN, person_log_spread=0.4)
    error = (detect(noise, points).keypoints_2d - points)[:, 0] / SIDE
    scale = np.log(np.sqrt(np.mean((error / np.where(IS_BODY, 0.010, 0.015)[:, None]) ** 2, axis=(1, 2))))
    # 130 numbers a person measure its factor to 6 %.
    assert scale.std() == pytest.approx(np.hypot(0.4, 0.062), rel=0.07)
    assert scale.mean() == pytest.approx(0.0, abs=0.04)
    assert stats.normaltest(scale).pvalue > 1e-3


def test_missing_share_is_declared_and_zero_at_the_origin(rng):
    found = detect(dataclasses.replace(PLAIN, missing=0.05), people(rng))
    lost = found.confidence == 0
    assert lost.mean() == pytest.approx(0.05, rel=0.13)
    np.testing.assert_array_equal(found.keypoints_2d[lost], 0)
    assert np.all(found.confidence[~lost] >= 0.05)
    assert np.all(found.confidence <= 1)


def test_gross_errors_are_uniform_and_as_many_as_declared(rng):
    points = people(rng)
    error = (detect(dataclasses.replace(QUIET, gross=0.1), points).keypoints_2d - points) / SIDE
    is_gross = np.any(error != 0, axis=-1)
    assert is_gross.mean() == pytest.approx(0.1, rel=0.09)
    assert stats.kstest(error[is_gross].ravel(), "uniform", args=(-0.35, 0.7)).pvalue > 1e-3


def test_confidence_falls_with_the_error(rng, figure):
    points = people(rng)
    found = detect(DetectorNoise(), points)
    kept = found.confidence > 0
    error = np.linalg.norm(found.keypoints_2d - points, axis=-1)
    correlation = stats.spearmanr(found.confidence[kept], error[kept]).statistic
    figure(f"detector noise: rank correlation of confidence and error {correlation:.2f}")
    assert correlation < -0.4


@pytest.mark.parametrize(("field", "is_exchanged"), [("swap_all", None), ("swap_legs", ("hip", "knee", "ankle"))])
def test_swaps_exchange_exactly_left_and_right(rng, field, is_exchanged):
    points = people(rng, 30)
    noise = dataclasses.replace(PLAIN, missing=0.1)
    before, after = detect(noise, points), detect(dataclasses.replace(noise, **{field: 1.0}), points)
    order = np.array(flips.flip_permutation(LAYOUT))
    if is_exchanged is not None:
        names = (*is_exchanged, "big_toe", "small_toe", "heel")
        keep = [point.partition("_")[2] not in names for point in LAYOUT.points]
        order = np.where(keep, np.arange(len(LAYOUT)), order)
    np.testing.assert_array_equal(after.keypoints_2d, before.keypoints_2d[:, :, order])
    np.testing.assert_array_equal(after.confidence, before.confidence[:, :, order])


def test_swaps_happen_as_often_as_declared_and_frame_by_frame(rng):
    points = people(rng, 200, 20)
    found = detect(dataclasses.replace(QUIET, swap_all=0.1, swap_legs=0.2), points).keypoints_2d
    wrist, knee = (LAYOUT.index(name) for name in ("left_wrist", "left_knee"))
    is_all, is_leg = (np.any(found[:, :, row] != points[:, :, row], axis=-1) for row in (wrist, knee))
    assert is_all.mean() == pytest.approx(0.1, abs=0.02)
    assert is_leg.mean() == pytest.approx(0.3, abs=0.03)
    assert not np.any(is_all & ~is_leg)


def test_lost_limb_is_one_whole_limb_in_all_frames(rng):
    found = detect(dataclasses.replace(QUIET, lose_limb=1.0), people(rng, 60, 3)).confidence > 0
    ends = {"arm": ("elbow", "wrist"), "leg": ("knee", "ankle", "big_toe", "small_toe", "heel")}
    limbs = {}
    for side in layouts.SIDES:
        for limb, names in ends.items():
            points = {f"{side}_{name}" for name in names}
            if limb == "arm":
                points |= {point for point in LAYOUT.points if layouts.part_of(point) == f"{side}_hand"}
            limbs[frozenset(points)] = 0
    for person in found:
        assert np.all(person == person[0])
        limbs[frozenset(point for point, has in zip(LAYOUT.points, person[0], strict=True) if not has)] += 1
    assert min(limbs.values()) > 0
    assert sum(limbs.values()) == len(found)


def test_lost_limbs_are_as_many_as_declared(rng):
    found = detect(dataclasses.replace(QUIET, lose_limb=0.4), people(rng, 1000)).confidence > 0
    assert np.mean(~found.all(axis=(1, 2))) == pytest.approx(0.4, abs=0.06)


def test_cut_leaves_nothing_beyond_a_border_in_the_declared_share(rng):
    points = people(rng, 400, 2)
    found = detect(dataclasses.replace(QUIET, cut=1.0), points).confidence > 0
    edges = []
    for person, kept in zip(points, found, strict=True):
        low, high = person.min(axis=(0, 1)), person.max(axis=(0, 1))
        place = (person - low) / (high - low)
        borders = []
        for axis in range(2):
            for far in (True, False):
                depth = place[..., axis] if far else 1 - place[..., axis]
                if depth[kept].max() < depth[~kept].min():
                    borders.append((axis, far, depth[kept].max(), depth[~kept].min()))
        assert len(borders) == 1
        axis, far, last, first = borders[0]
        assert first >= 1 - 0.45
        assert last <= 1 - 0.15
        edges.append((axis, far))
    assert np.mean([edge == (1, True) for edge in edges]) == pytest.approx(0.5, abs=0.1)
    assert len(set(edges)) == 4


def test_points_outside_the_picture_are_not_found(rng):
    points = people(rng, 20) - 40_000 - 0.2 * SIDE
    found = detect(QUIET, points, image_size=(300, 300))
    inside = np.all((points >= 0) & (points <= 299), axis=-1)
    np.testing.assert_array_equal(found.confidence > 0, inside)
    assert 0 < inside.mean() < 1


def test_errors_of_frames_are_correlated_as_declared(rng):
    points = people(rng, 20, 60)
    error = detect(dataclasses.replace(PLAIN, frame_correlation=0.85), points).keypoints_2d - points
    for lag in (1, 3):
        pairs = (error[:, :-lag].ravel(), error[:, lag:].ravel())
        assert np.corrcoef(*pairs)[0, 1] == pytest.approx(0.85**lag, abs=0.02)
    assert (error[:, :, ~IS_BODY] / SIDE).std() == pytest.approx(0.015, rel=0.03)
    assert error[:, -1].std() == pytest.approx(error[:, 0].std(), rel=0.07)


def test_same_seed_gives_the_same_and_input_stays(rng):
    points = people(rng, 10)
    kept = points.copy()
    first, second, other = (detect(DetectorNoise(), points, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.keypoints_2d, second.keypoints_2d)
    np.testing.assert_array_equal(first.confidence, second.confidence)
    assert np.any(first.keypoints_2d != other.keypoints_2d)
    np.testing.assert_array_equal(points, kept)


def test_larger_picture_gives_larger_errors_in_pixels(rng):
    points = people(rng, 10)
    noise = DetectorNoise(swap_all=0.1, lose_limb=0.2, cut=0.5)
    small, large = detect(noise, points), detect(noise, 3 * points, image_size=(300_000, 300_000))
    np.testing.assert_allclose(large.keypoints_2d, 3 * small.keypoints_2d, rtol=1e-12)
    np.testing.assert_array_equal(large.confidence, small.confidence)


@pytest.mark.parametrize(
    "options",
    [
        {"missing": 1.1}, {"gross": -0.1}, {"swap_all": float("nan")}, {"body_spread": -0.01},
        {"extremity_spread": float("nan")}, {"gross_reach": float("inf")}, {"frame_correlation": 1.0},
        {"cut_share": (0.5, 0.2)}, {"cut_share": (0.5, 1.0)}, {"swap_all": 0.6, "swap_legs": 0.6},
    ],
)  # fmt: skip
def test_options_out_of_range_are_named(options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}`"):
        DetectorNoise(**options)
