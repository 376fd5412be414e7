"""A fit never passes noise off as a label: with 150 free numbers a body can be bent onto almost anything."""

import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.geometry import cameras
from hardmo_jax.skeleton import layouts

COUNT = 16
USABLE = (hm.FitStatus.CONVERGED, hm.FitStatus.MAX_STEPS)


@pytest.fixture(scope="module")
def noise():
    """Keypoints at random places of a box 600 pixels wide."""
    rng = np.random.default_rng(5)
    return rng.uniform([340, 60], [940, 660], size=(COUNT, 25, 2))


def fit_2d(keypoints, confidence):
    observations = hm.Observations(
        keypoints_2d=keypoints,
        confidence=np.full(keypoints.shape[:-1], confidence),
        layout="openpose25",
        camera=cameras.camera_from_image_size(1280, 720),
    )
    return hm.fit(hm.open_body(), observations)


@pytest.mark.parametrize("confidence", [1.0, 0.4])
def test_random_keypoints_do_not_become_usable_labels(noise, confidence, figure):
    result = fit_2d(noise, confidence)
    usable = np.isin(np.asarray(result.status), USABLE)
    figure(
        f"noise           {usable.sum()} of {COUNT} fits of random keypoints (confidence {confidence}) pass as usable"
    )
    assert usable.sum() <= 1


def test_usable_fits_are_human_and_in_front_of_the_camera(noise):
    result = fit_2d(noise, 1.0)
    usable = np.isin(np.asarray(result.status), USABLE)
    assert np.abs(result.params.betas[usable]).max(initial=0) <= 4.5
    assert np.all(np.asarray(result.params.transl)[usable, 2] > 0.4)


def test_doubtful_but_consistent_keypoints_are_judged_too():
    body = hm.open_body()
    joints = np.asarray(body.joints(hm.BodyParams.rest(body)))
    layout = layouts.get_layout("coco17")
    index = {name: number for number, name in enumerate(body.joint_names)}
    camera = cameras.camera_from_image_size(1280, 720)
    upright = joints * [1, -1, -1] + [0, 0, 4]
    pixels = np.asarray(cameras.project_points(camera, upright.astype(np.float32)))
    keypoints, confidence = np.zeros((1, 17, 2)), np.zeros((1, 17))
    for number, point in enumerate(layout.points):
        if point in index:
            keypoints[0, number], confidence[0, number] = pixels[index[point]], 0.4
    result = hm.fit(
        body, hm.Observations(keypoints_2d=keypoints, confidence=confidence, layout="coco17", camera=camera)
    )
    assert int(result.status[0]) in USABLE
    shown = confidence[0] > 0
    distance = np.linalg.norm(np.asarray(result.keypoints_2d[0])[shown] - keypoints[0][shown], axis=-1)
    assert distance.mean() < 2
    assert np.isnan(result.error_by_part["body"][0])


@pytest.mark.parametrize("extent", [0.0, 0.05])
def test_3d_points_in_a_heap_are_no_body(extent):
    rng = np.random.default_rng(5)
    points = np.array([0.1, 0.2, 4.0]) + rng.uniform(-extent / 2, extent / 2, (2, 25, 3))
    observations = hm.Observations(keypoints_3d=points, confidence_3d=np.ones((2, 25)), layout="openpose25")
    result = hm.fit(hm.open_body(), observations)
    assert not np.isin(np.asarray(result.status), USABLE).any()
