"""Tracks from keypoints to bodies with what ships: against single frames, in pieces, at other rates, with gaps."""

import dataclasses

import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body import load
from hardmo_jax.data import staging, synthetic
from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.metrics import pose
from hardmo_jax.observations import ObservationError
from hardmo_jax.recovery import lift_motion as lifting
from hardmo_jax.recovery.lift_and_fit import lift_and_fit
from hardmo_jax.recovery.lift_motion import lift_motion
from hardmo_jax.recovery.recover_motion import recover_motion
from hardmo_jax.recovery.starts import StartOptions
from hardmo_jax.skeleton import layouts

FRAMES, RATE = 32, 30.0
BODY = [layouts.SMPLH_JOINTS.index(joint) for joint in layouts.SMPL_JOINTS[1:22]]


@pytest.fixture(scope="module")
def body():
    return load.open_body(view="smplh")


def stage(body, count, frames, *, seed=0, still=False):
    drawn = synthetic.sample_hard_motion(seed, count, frames, RATE)
    pose = np.repeat(drawn.full_pose[:, :1], frames, 1) if still else drawn.full_pose
    names = tuple(f"motion{row}" for row in range(count))
    motion = staging.Motion(
        full_pose=pose, pelvis=np.zeros((count, frames, 3)), styles=drawn.styles, takes=names, groups=names,
        frames=np.tile(np.arange(frames), (count, 1)), frames_per_second=RATE,
    )  # fmt: skip
    return staging.stage(body, motion, staging.StagingOptions(), seed=seed, name="clips")


@pytest.fixture(scope="module")
def clips(body):
    found = stage(body, 3, FRAMES)
    return [found.select(np.arange(row * FRAMES, (row + 1) * FRAMES)) for row in range(3)]


@pytest.fixture(scope="module")
def recovered(body, clips):
    return [recover_motion(body, clip.observations(), frames_per_second=RATE).result for clip in clips]


def joints(body, params):
    return np.asarray(body.joints(jax.tree.map(np.asarray, params)), np.float64)


def errors(body, clip, params):
    """Mean error of joints from the pelvis (metres), and of their accelerations (m/s^2)."""
    ours, truth = joints(body, params), np.asarray(clip.joints, np.float64)
    ours, truth = (points[:, BODY] - points[:, :1] for points in (ours, truth))
    acceleration = pose.acceleration_error(ours, truth, frames_per_second=RATE).values.mean()
    return np.linalg.norm(ours - truth, axis=-1).mean(), acceleration


def test_frames_together_are_nearer_to_the_truth_than_each_by_itself(body, clips, recovered, figure):
    rows = []
    for clip, found in zip(clips, recovered, strict=True):
        single = lift_and_fit(body, clip.observations(), start=StartOptions(second_look=False)).result
        rows.append((errors(body, clip, single.params), errors(body, clip, found.params)))
    single, together = np.array(rows).mean(0)
    figure(
        f"recover_motion: joints {1000 * single[0]:.0f} -> {1000 * together[0]:.0f} mm, accelerations "
        f"{single[1]:.0f} -> {together[1]:.0f} m/s2"
    )
    assert together[0] < 0.95 * single[0]
    assert together[1] < 0.33 * single[1]


def test_a_track_has_one_shape_and_says_how_each_frame_ended(recovered):
    for found in recovered:
        assert np.ptp(np.asarray(found.params.betas), axis=0).max() == 0
        assert set(np.asarray(found.status).tolist()) <= {FitStatus.CONVERGED, FitStatus.MAX_STEPS, FitStatus.DIVERGED}
        assert np.isfinite(np.asarray(found.loss_history)).all()


def test_somebody_who_stands_still_does_not_slide(body, figure):
    clip = stage(body, 1, FRAMES, seed=4, still=True)
    rows = list(layouts.get_layout(clip.layout).indices(layouts.CONTACT_POINTS))

    def slide(result):
        return np.linalg.norm(np.diff(np.asarray(result.keypoints_3d)[:, rows], axis=0), axis=-1).mean()

    found = recover_motion(body, clip.observations(), frames_per_second=RATE)
    single = lift_and_fit(body, clip.observations(), start=StartOptions(second_look=False)).result
    figure(
        f"recover_motion: still feet slide {1000 * slide(single):.1f} -> {1000 * slide(found.result):.1f} mm a frame"
    )
    assert slide(found.result) < 0.1 * slide(single)
    assert slide(found.result) < 0.006


def test_two_seconds_without_the_person_are_filled_in(body):
    frames, gap = 90, slice(15, 75)
    clip = stage(body, 1, frames, seed=2)
    confidence = clip.confidence.copy()
    confidence[gap] = 0
    found = recover_motion(
        body, dataclasses.replace(clip.observations(), confidence=confidence), frames_per_second=RATE
    ).result
    status = np.asarray(found.status)
    assert (status[gap] == FitStatus.FILLED).all()
    assert (status[:15] != FitStatus.FILLED).all()
    points = joints(body, found.params)
    assert np.isfinite(points).all()
    steps = np.linalg.norm(np.diff(points, axis=0), axis=-1)
    assert steps[14:75].max() < 0.2, "nothing jumps into or out of the gap"


def test_what_lies_far_from_all_that_was_seen_is_not_made_up_in_silence(body):
    frames, gap = 120, slice(15, 105)
    clip = stage(body, 1, frames, seed=2)
    confidence = clip.confidence.copy()
    confidence[gap] = 0
    observations = dataclasses.replace(clip.observations(), confidence=confidence)
    status = np.asarray(recover_motion(body, observations, frames_per_second=RATE).result.status)
    made_up = np.flatnonzero(status == FitStatus.NO_EVIDENCE)
    assert made_up.tolist() == list(range(15 + 37, 105 - 37)), "1.25 seconds are 37 frames"
    assert (np.delete(status[gap], made_up - 15) == FitStatus.FILLED).all()


def test_a_long_track_in_pieces_is_guessed_as_it_is_as_a_whole(body, monkeypatch):
    clip = stage(body, 1, 150, seed=3).observations()
    whole = lift_motion(body, clip)
    monkeypatch.setattr(lifting, "_FRAMES_AT_ONCE", 40)
    pieces = lift_motion(body, clip)
    difference = joints(body, whole.guess.params) - joints(body, pieces.guess.params)
    difference -= difference[:, :1]
    # The camera of a piece looks at the middle of its own frames.
    assert np.linalg.norm(difference, axis=-1).mean() < 0.01
    assert np.abs(np.asarray(whole.stands) - np.asarray(pieces.stands)).mean() < 0.05


@pytest.mark.parametrize(("stride", "rate"), [(3, 10.0), (1, 90.0)])
def test_other_frame_rates_are_shown_to_the_network_at_its_own(body, clips, stride, rate):
    clip = clips[0].select(np.arange(0, FRAMES, stride))
    lifted = lift_motion(body, clip.observations(), frames_per_second=rate)
    assert lifted.stands.shape == (len(clip), 4)
    error, _ = errors(body, clip, lifted.guess.params)
    usual, _ = errors(body, clips[0], lift_motion(body, clips[0].observations()).guess.params)
    assert error < 1.6 * usual + 0.02


@pytest.mark.slow
def test_other_bodies_and_layouts(body, clips):
    smpl = hm.open_body(view="smpl")
    found = recover_motion(smpl, clips[0].observations(), frames_per_second=RATE).result
    assert found.params.body_pose.shape == (FRAMES, 23, 3)
    seen = clips[0].observations()
    coco = layouts.get_layout("coco17").points
    columns = list(layouts.get_layout(clips[0].layout).indices(coco))
    few = hm.Observations(
        keypoints_2d=seen.keypoints_2d[:, columns], confidence=seen.confidence[:, columns], camera=seen.camera,
        layout="coco17",
    )  # fmt: skip
    found = recover_motion(body, few, frames_per_second=RATE).result
    assert np.isfinite(np.asarray(found.params.body_pose)).all()


@pytest.mark.parametrize(
    ("changes", "rate", "words"),
    [
        ({"camera": None}, RATE, "camera"),
        ({"keypoints_2d": None, "keypoints_3d": np.zeros((FRAMES, 65, 3))}, RATE, "keypoints_2d"),
        ({}, 0.0, "frames_per_second"),
        ({}, float("nan"), "frames_per_second"),
        ({}, 2.0, "6 to 300, got 2.0"),
        ({"keypoints_2d": np.zeros((0, 65, 2)), "confidence": np.zeros((0, 65))}, RATE, "one frame or more, got none"),
        ({"keypoints_2d": np.zeros((2, 3, 65, 2)), "confidence": np.zeros((2, 3, 65))}, RATE, "one batch axis"),
    ],
)
def test_bad_requests_are_refused_in_words(body, clips, changes, rate, words):
    with pytest.raises(ObservationError, match=words):
        recover_motion(body, dataclasses.replace(clips[0].observations(), **changes), frames_per_second=rate)


def test_no_frames_and_no_rate_are_refused_in_words_by_the_lifter_too(body, clips):
    seen = clips[0].observations()
    with pytest.raises(ObservationError, match="must be a positive number, got -1"):
        lift_motion(body, seen, frames_per_second=-1.0)
    none = dataclasses.replace(seen, keypoints_2d=np.zeros((0, 65, 2)), confidence=np.zeros((0, 65)))
    with pytest.raises(ObservationError, match="one frame or more, got none"):
        lift_motion(body, none, frames_per_second=RATE)


def test_frames_that_are_not_numbers_are_frames_in_which_nothing_was_found(body, clips):
    seen = clips[0].observations()
    points = np.array(seen.keypoints_2d)
    points[5:8] = np.nan
    found = recover_motion(body, dataclasses.replace(seen, keypoints_2d=points), frames_per_second=RATE).result
    assert (np.asarray(found.status)[5:8] == FitStatus.FILLED).all()
    assert np.isfinite(joints(body, found.params)).all()
