"""A regressor's answers of a track: frames get their own, one shape, and the lifter where answers explain nothing."""

import dataclasses

import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body import landmarks
from hardmo_jax.fitting.fit_motion import MotionOptions
from hardmo_jax.geometry import cameras
from hardmo_jax.networks.lifter_file import packaged_lifter
from hardmo_jax.networks.motion_lifter_file import packaged_motion_lifter
from hardmo_jax.observations import ObservationError
from hardmo_jax.recovery.recover_motion import FROM_MOTION, recover_motion
from hardmo_jax.recovery.regressor_start import start_from_regressor
from hardmo_jax.recovery.track_recovery import TrackRecovery
from hardmo_jax.skeleton import layouts
from tests.fitting import tracks
from tests.recovery.test_regressor_start import as_network, as_smpl, boxes_of

FRAMES, RATE = 16, 30.0


@pytest.fixture(scope="module")
def smpl():
    return as_smpl(hm.open_body(view="smpl"))


@pytest.fixture(scope="module")
def seen(smpl):
    """A track, and what a network without errors says of it."""
    track = tracks.make_track(smpl, frames=FRAMES)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), track.params())
    model, _ = landmarks.point_model(smpl, layouts.get_layout("openpose25"))
    camera = track.camera
    pixels = np.asarray(cameras.project_points(camera, model(params)))
    observations = hm.Observations(
        keypoints_2d=pixels, confidence=np.ones(pixels.shape[:2], np.float32), camera=camera, layout="openpose25"
    )
    box = boxes_of(smpl, params, camera)
    output = as_network(smpl, params, camera, box)
    return observations, output, start_from_regressor(smpl, output, box, camera), box


def recovery_of(smpl, start):
    return TrackRecovery(
        body=smpl, frames_per_second=RATE, camera_is_fixed=True, options=FROM_MOTION, motion_options=MotionOptions(),
        trained=packaged_lifter(), trained_motion=packaged_motion_lifter(), regressed=start,
    )  # fmt: skip


def test_every_frame_begins_at_its_own_answer_and_all_at_one_shape(smpl, seen):
    observations, _, start, _ = seen
    recovery = recovery_of(smpl, start)
    ready = recovery.ready(observations)
    whole = recovery.lift(ready).guess
    np.testing.assert_allclose(whole.params.body_pose, start.guess.params.body_pose, atol=1e-6)
    assert np.ptp(np.asarray(whole.params.betas), axis=0).max() == 0
    np.testing.assert_allclose(whole.params.betas[0], np.asarray(start.guess.params.betas).mean(0), atol=1e-6)
    rows = np.arange(5, 13)
    some = jax.tree.map(lambda leaf: np.asarray(leaf)[rows] if np.ndim(leaf) else leaf, ready)
    part = recovery.lift(some, rows).guess
    np.testing.assert_allclose(part.params.body_pose, np.asarray(whole.params.body_pose)[rows], atol=1e-6)
    np.testing.assert_allclose(part.params.betas, np.asarray(whole.params.betas)[rows], atol=1e-6)


def test_answers_that_are_right_are_taken(smpl, seen):
    observations, _, start, _ = seen
    found = recover_motion(smpl, observations, frames_per_second=RATE, regressed=start)
    assert not found.is_from_lifter.any()


def test_answers_that_explain_nothing_are_given_up(smpl, seen):
    observations, output, _, box = seen
    wrong = jax.tree.map(np.array, output)
    wrong.weak_camera[:] = (0.3, 4.0, 4.0)
    wrong.global_orient[:] = np.eye(3)
    start = start_from_regressor(smpl, wrong, box, observations.camera)
    found = recover_motion(smpl, observations, frames_per_second=RATE, regressed=start)
    assert found.is_from_lifter.all()
    alone = recover_motion(smpl, observations, frames_per_second=RATE)
    np.testing.assert_allclose(found.result.params.body_pose, alone.result.params.body_pose, atol=1e-5)


def test_answers_of_another_number_of_frames_are_refused(smpl, seen):
    observations, _, start, _ = seen
    short = dataclasses.replace(start, is_usable=start.is_usable[:5])
    with pytest.raises(ObservationError, match="one a frame"):
        recover_motion(smpl, observations, frames_per_second=RATE, regressed=short)
