"""Strange but possible inputs of `hm.fit`: everybody gets a status, nobody a NaN, and the neighbours notice nothing."""

import dataclasses

import jax
import numpy as np
import pytest

import hardmo_jax as hm
from tests.fitting import synthetic_people
from tests.fitting.conftest import OPTIONS

USABLE = (hm.FitStatus.CONVERGED, hm.FitStatus.MAX_STEPS)
#: Rows of the odd pictures and of the odd 3D points; from row 8 on people are as they were.
SAME_PIXEL, ALL_IN_ONE_PIXEL, ALL_ON_A_LINE, FAR_OUTSIDE, INFINITE, ZERO_CONFIDENCE, NAN, UPSIDE_DOWN = range(8)
BEHIND, ALL_IN_ONE_PLACE, ON_A_LINE, FAR_AWAY, INFINITE_3D, ZERO_CONFIDENCE_3D, NAN_3D, REFLECTED = range(8)


@pytest.fixture(scope="module")
def pictures(people):
    """Sixteen people in 2D, the first eight odd."""
    pixels, confidence = people.pixels.copy(), people.confidence.copy()
    left, right = 4, 7
    pixels[SAME_PIXEL, left] = pixels[SAME_PIXEL, right]
    pixels[ALL_IN_ONE_PIXEL] = (640.0, 360.0)
    pixels[ALL_ON_A_LINE, :, 0] = 640.0
    pixels[FAR_OUTSIDE] += 1e6
    pixels[INFINITE, 3] = np.inf
    confidence[ZERO_CONFIDENCE] = 0
    pixels[NAN] = np.nan
    pixels[UPSIDE_DOWN, :, 1] = 720 - pixels[UPSIDE_DOWN, :, 1]
    observed = people.observe("2d", keypoints_2d=pixels, confidence=confidence)
    return hm.fit(people.body, observed, options=OPTIONS)


@pytest.fixture(scope="module")
def places(people):
    """Sixteen people in 3D, the first eight odd."""
    points, confidence = people.points.copy(), people.confidence.copy()
    points[BEHIND, :, 2] -= 20.0
    points[ALL_IN_ONE_PLACE] = points[ALL_IN_ONE_PLACE, :1]
    points[ON_A_LINE, :, 1:] = (0.0, 4.0)
    points[FAR_AWAY] += 1e4
    points[INFINITE_3D, 3] = -np.inf
    confidence[ZERO_CONFIDENCE_3D] = 0
    points[NAN_3D] = np.nan
    points[REFLECTED] *= (-1, 1, 1)
    observed = people.observe("3d", keypoints_3d=points, confidence_3d=confidence)
    return hm.fit(people.body, observed, options=OPTIONS)


def assert_finite(result):
    for leaf in jax.tree.leaves(result.params):
        assert np.isfinite(leaf).all()
    assert np.isfinite(result.loss_history).all()
    assert set(np.asarray(result.status)) <= set(hm.FitStatus)


def assert_same_rows(ours, theirs, rows):
    for a, b in zip(jax.tree.leaves(ours.params), jax.tree.leaves(theirs.params), strict=True):
        np.testing.assert_array_equal(np.asarray(a)[rows], np.asarray(b)[rows])
    for name in ("loss_history", "status"):
        a, b = (np.asarray(getattr(result, name))[rows] for result in (ours, theirs))
        np.testing.assert_array_equal(a, b, err_msg=name)


@pytest.mark.parametrize("kind", ["pictures", "places"])
def test_parameters_and_costs_are_finite_and_everybody_has_a_status(kind, request):
    assert_finite(request.getfixturevalue(kind))


def test_odd_pictures_change_nothing_for_their_neighbours(pictures, fit_people):
    assert_same_rows(pictures, fit_people("2d"), slice(8, None))


def test_odd_3d_points_change_nothing_for_their_neighbours(places, fit_people):
    assert_same_rows(places, fit_people("3d"), slice(8, None))


@pytest.mark.parametrize(
    ("row", "statuses"),
    [
        (SAME_PIXEL, USABLE),
        (INFINITE, (hm.FitStatus.NONFINITE,)),
        (NAN, (hm.FitStatus.NONFINITE,)),
        (ZERO_CONFIDENCE, (hm.FitStatus.NO_EVIDENCE,)),
        (FAR_OUTSIDE, (hm.FitStatus.DIVERGED,)),
    ],
)
def test_status_of_an_odd_picture(pictures, row, statuses):
    assert hm.FitStatus(int(pictures.status[row])) in statuses


@pytest.mark.parametrize(
    ("row", "statuses"),
    [
        # Without a picture there is no camera that a person could be behind.
        (BEHIND, USABLE),
        (FAR_AWAY, (*USABLE, hm.FitStatus.DIVERGED)),
        (INFINITE_3D, (hm.FitStatus.NONFINITE,)),
        (NAN_3D, (hm.FitStatus.NONFINITE,)),
        (ZERO_CONFIDENCE_3D, (hm.FitStatus.NO_EVIDENCE,)),
    ],
)
def test_status_of_odd_3d_points(places, row, statuses):
    assert hm.FitStatus(int(places.status[row])) in statuses


def test_person_behind_the_camera_is_found_where_its_3d_points_are(people, places, fit_people):
    moved, still = (np.asarray(result.params.transl)[BEHIND] for result in (places, fit_people("3d")))
    np.testing.assert_allclose(moved - still, [0, 0, -20], atol=5e-3)


def test_start_behind_the_camera_ends_with_a_status_and_disturbs_nobody(people):
    rows = slice(0, 4)
    truth = synthetic_people.rows_of(people.params, rows)
    behind = dataclasses.replace(truth, transl=truth.transl.at[1, 2].set(-4.0))
    observed = people.observe("2d", rows=rows)
    good, bad = (hm.fit(people.body, observed, options=OPTIONS, initial=given) for given in (truth, behind))
    assert_finite(bad)
    assert_same_rows(bad, good, [0, 2, 3])
    # Either it came back in front of the camera or it is not passed off as a fit.
    is_in_front = np.asarray(bad.params.transl)[1, 2] > 0
    assert is_in_front or bad.status[1] == hm.FitStatus.DIVERGED


# ---- the size of the batch ------------------------------------------------------------------------------------

COUNT = 256
ROWS = (0, 101, 255)
#: Joints in float32, metres; another program sums in another order.
TOLERANCE_JOINTS_32 = 1e-5
#: Parameters in float64, metres and radians.
TOLERANCE_64 = 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_person_alone_equals_the_same_person_in_a_batch_of_256(dtype, figure):
    with jax.enable_x64(dtype == np.float64):
        body = hm.open_body(view="smpl", dtype=dtype)
        people = synthetic_people.draw(body, "smpl24", count=COUNT, seed=3)
        noise = np.random.default_rng(1).normal(size=people.params.body_pose.shape) * 0.05
        near = dataclasses.replace(people.params, body_pose=people.params.body_pose + noise.astype(dtype))
        # One device: what `enable_x64` sets here is not set in the threads that share the cores.
        devices = jax.devices()[:1]
        whole = hm.fit(body, people.observe("2d", "3d"), initial=near, devices=devices)
        by_params, by_joints = [], []
        for row in ROWS:
            rows = slice(row, row + 1)
            observed, start = people.observe("2d", "3d", rows=rows), synthetic_people.rows_of(near, rows)
            alone = hm.fit(body, observed, initial=start, devices=devices)
            same = synthetic_people.rows_of(whole.params, rows)
            assert alone.status[0] == whole.status[row] == hm.FitStatus.CONVERGED
            leaves = zip(jax.tree.leaves(alone.params), jax.tree.leaves(same), strict=True)
            by_params.append(max(float(np.abs(np.asarray(a) - np.asarray(b)).max(initial=0)) for a, b in leaves))
            by_joints.append(synthetic_people.joint_errors(body, alone.params, same).max())
    text = f"joints {max(by_joints):.1e} m, parameters {max(by_params):.1e}"
    figure(f"batch           one person against the same among 256, {dtype.__name__}: {text}")
    assert max(by_joints) < TOLERANCE_JOINTS_32
    # In float32 a cost near 1 does not tell angles that hardly move a keypoint, below some thousandths of a radian.
    if dtype == np.float64:
        assert max(by_params) < TOLERANCE_64
