"""The lens told by people: known ones are found, and what cannot be known is said."""

import dataclasses
import math
import types

import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.data import staging, synthetic
from hardmo_jax.data.detector_noise import DetectorNoise
from hardmo_jax.data.staging import Motion, StagingOptions
from hardmo_jax.data.viewpoints import ViewpointOptions
from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.geometry import cameras
from hardmo_jax.observations import ObservationError
from hardmo_jax.recovery import focal_length

SIZE = (1280, 720)
DIAGONAL = math.hypot(*SIZE)
CLEAN = DetectorNoise(body_spread=0.0, extremity_spread=0.0, person_log_spread=0.0, missing=0.0, gross=0.0)
NUM_PEOPLE = 64
#: Bounds on errors of the logarithm. Root mean squares measured with a preliminary lifter: 0.05, 0.05 and, of single
#: people, 0.12.
CLEAN_BOUND, NOISY_BOUND, SINGLE_BOUND = 0.2, 0.3, 0.4


@pytest.fixture(scope="module")
def body():
    return hm.open_body()


def stills(seed, count=NUM_PEOPLE):
    """People in a pose each."""
    drawn = synthetic.sample_hard_poses(seed, count)
    return Motion(
        full_pose=drawn.full_pose[:, None], pelvis=np.zeros((count, 1, 3)), styles=drawn.styles,
        takes=("take",) * count, groups=("g",) * count, frames=np.arange(count)[:, None], frames_per_second=30.0,
    )  # fmt: skip


def clip(seed, frames=64):
    """One person who moves for six seconds, and about."""
    drawn = synthetic.sample_hard_motion(seed, 1, frames, 10.0)
    steps = np.random.default_rng(seed).normal(0, 0.03, (1, frames, 3)) * [1, 0, 1]
    return Motion(
        full_pose=drawn.full_pose, pelvis=np.cumsum(steps, axis=1), styles=drawn.styles, takes=("take",),
        groups=("g",), frames=np.arange(frames)[None], frames_per_second=10.0,
    )  # fmt: skip


def people(body, motion, noise, *, angle, distance, seed):
    """What one camera saw, observed under the diagonal, and the true scale of the focal length."""
    viewpoint = ViewpointOptions(distance=distance, vertical_field_of_view_degrees=(angle, angle), image_size=SIZE)
    options = StagingOptions(viewpoint=viewpoint, noise=noise)
    seen = staging.stage(body, motion, options, seed=seed, name="focal/test")
    assumed = cameras.Camera(
        focal_length=np.full((len(seen), 2), DIAGONAL, np.float32), principal_point=seen.camera.principal_point
    )
    observations = dataclasses.replace(seen.observations(), camera=assumed)
    return observations, float(np.asarray(seen.camera.focal_length)[0, 0]) / DIAGONAL


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "bound"), [(CLEAN, CLEAN_BOUND), (DetectorNoise(), NOISY_BOUND)])
def test_known_lens_is_found_from_near_people(noise, bound, body, figure):
    observations, true = people(body, stills(21), noise, angle=50.0, distance=(1.8, 3.0), seed=21)
    solved = focal_length.solve_focal_length(body, observations)
    error = math.log(solved.estimate / true)
    figure(
        f"focal length    {NUM_PEOPLE} near people, {'noise' if noise.body_spread else 'no noise'}: {true:.2f} of the "
        f"diagonal found as {solved.estimate:.2f}, spread {solved.log_spread:.2f}"
    )
    assert abs(error) < bound
    assert solved.is_determined
    assert solved.scale == solved.estimate
    assert not solved.reason
    assert solved.num_people == NUM_PEOPLE


@pytest.mark.slow
def test_known_lens_is_found_from_one_person_who_moves(body, figure):
    noise = DetectorNoise(frame_correlation=0.8)
    errors, told = [], []
    for seed in (31, 32, 33):
        observations, true = people(body, clip(seed), noise, angle=50.0, distance=(2.0, 4.0), seed=seed)
        solved = focal_length.solve_focal_length(body, observations, groups=np.arange(64) // 10)
        errors.append(math.log(solved.estimate / true))
        told.append(solved.is_determined)
    texts = (f"{error:+.2f}{'' if is_told else ' (not told)'}" for error, is_told in zip(errors, told, strict=True))
    figure(f"focal length    3 clips of one person each, noise: errors {', '.join(texts)}")
    assert any(told)
    assert np.abs(errors)[told].max() < SINGLE_BOUND


@pytest.mark.slow
def test_people_who_do_not_tell_leave_the_assumed_lens(body):
    noise = DetectorNoise(body_spread=0.03, extremity_spread=0.04)
    observations, _ = people(body, stills(22), noise, angle=30.0, distance=(12.0, 15.0), seed=22)
    solved = focal_length.solve_focal_length(body, observations)
    assert not solved.is_determined
    assert solved.scale == 1
    assert solved.reason


# From here fits are played: each person's cost is a parabola in the logarithm of the focal length.


@pytest.fixture
def played(monkeypatch):
    """Pretend that fits of people are best at these scales; returns what was asked of them."""
    calls = types.SimpleNamespace(observations=None)

    def play(best, *, statuses=None, sharpness=10.0, metres=3.0):
        def fits(body, observations, **_):
            calls.observations = observations
            scale = np.asarray(observations.camera.focal_length)[:, 0].astype(float) / DIAGONAL
            row = np.asarray(observations.keypoints_2d)[:, 0, 0].astype(int)
            cost = 5 + row + sharpness * np.log(scale / np.asarray(best)[row]) ** 2
            status = np.zeros(len(row), int) if statuses is None else np.asarray(statuses)[row]
            params = types.SimpleNamespace(transl=scale[:, None] * [0, 0, metres])
            result = types.SimpleNamespace(loss_history=np.stack([cost + 9, cost], -1), status=status, params=params)
            return types.SimpleNamespace(result=result)

        monkeypatch.setattr(focal_length, "lift_and_fit", fits)
        return calls

    return play


def rows(count, *, sides=None):
    """People whose first keypoint says which row they are, of these sizes in pixels."""
    keypoints_2d = np.zeros((count, 25, 2))
    keypoints_2d[:, 0, 0] = np.arange(count)
    keypoints_2d[:, 1, 1] = 300.0 if sides is None else sides
    return hm.Observations(
        keypoints_2d=keypoints_2d,
        confidence=np.ones((count, 25)),
        camera=cameras.camera_from_image_size(*SIZE),
        layout="openpose25",
    )


@pytest.mark.parametrize("scale", [0.45, 0.8, 1.0, 1.7])
def test_minimum_between_two_steps_is_found_by_the_parabola(scale, body, played):
    played(np.full(12, scale))
    solved = focal_length.solve_focal_length(body, rows(12))
    assert solved.scale == pytest.approx(scale, rel=1e-5)
    assert solved.log_spread == pytest.approx(0, abs=1e-6)
    assert solved.costs.min() == solved.costs[np.argmin(abs(np.log(solved.scales / scale)))]


def test_a_few_strange_people_have_no_say(body, played):
    best = np.full(20, 0.7)
    best[:2] = 2.3
    played(best)
    assert focal_length.solve_focal_length(body, rows(20)).scale == pytest.approx(0.7, rel=0.02)


@pytest.mark.parametrize("scale", [0.2, 3.0])
def test_lens_beyond_the_ladder_is_not_determined(scale, body, played):
    played(np.full(12, scale))
    solved = focal_length.solve_focal_length(body, rows(12))
    assert (solved.is_determined, solved.scale) == (False, 1)
    assert "beyond 0.23 to 2.4" in solved.reason


def test_people_who_disagree_determine_nothing(body, played):
    played(np.array([0.31, 2.3, 0.31, 2.3]))
    solved = focal_length.solve_focal_length(body, rows(4))
    assert (solved.is_determined, solved.scale) == (False, 1)
    assert solved.log_spread > focal_length.MAX_LOG_SPREAD
    assert "disagree" in solved.reason


def test_people_who_are_far_away_determine_nothing(body, played):
    played(np.full(12, 1.0), metres=8.0)
    near = focal_length.solve_focal_length(body, rows(12))
    assert near.is_determined
    assert near.distance == pytest.approx(8.0, rel=0.2)
    played(np.full(12, 1.0), metres=12.0)
    far = focal_length.solve_focal_length(body, rows(12))
    assert (far.is_determined, far.scale) == (False, 1)
    assert "too far away" in far.reason


def test_frames_of_one_moment_are_one_look(body, played):
    played(np.full(12, 0.7))
    solved = focal_length.solve_focal_length(body, rows(12), groups=np.repeat([5, 6, 7], 4))
    assert not solved.is_determined
    assert "3 people or seconds are too few" in solved.reason
    assert focal_length.solve_focal_length(body, rows(12), groups=np.repeat([5, 6, 7, 8], 3)).is_determined


def test_people_of_one_group_are_resampled_together(body, played):
    best = np.repeat(np.geomspace(0.6, 0.9, 6), 5)
    played(best)
    apart = focal_length.solve_focal_length(body, rows(30))
    together = focal_length.solve_focal_length(body, rows(30), groups=np.repeat(np.arange(6), 5))
    assert together.log_spread > 1.5 * apart.log_spread


def test_people_without_a_fit_are_left_out(body, played):
    statuses = np.zeros(12, int)
    statuses[:5] = FitStatus.NO_EVIDENCE
    statuses[5] = FitStatus.NONFINITE
    best = np.full(12, 0.7)
    best[:6] = np.nan
    played(best, statuses=statuses)
    solved = focal_length.solve_focal_length(body, rows(12))
    assert solved.num_people == 6
    assert solved.scale == pytest.approx(0.7, rel=1e-5)
    played(best, statuses=np.full(12, FitStatus.NO_EVIDENCE))
    nobody = focal_length.solve_focal_length(body, rows(12))
    assert (nobody.is_determined, nobody.scale, nobody.num_people) == (False, 1, 0)


def test_large_people_are_taken_evenly_over_the_clip(body, played):
    count = 1000
    calls = played(np.full(count, 0.7))
    # Every second one is large.
    focal_length.solve_focal_length(body, rows(count, sides=1000.0 + 1000 * (np.arange(count) % 2)))
    asked = np.asarray(calls.observations.keypoints_2d)[:, 0, 0].reshape(len(focal_length.SCALES), -1)
    assert (asked == asked[0]).all()
    assert asked.shape[1] == 64
    assert (asked[0] % 2 == 1).all()
    gaps = np.diff(asked[0])
    assert (asked[0][0], asked[0][-1]) == (1, 999)
    assert gaps.max() - gaps.min() <= 2


def test_each_person_is_tried_with_every_lens_and_without_3d(body, played):
    calls = played(np.full(5, 0.7))
    given = rows(5)
    with_3d = dataclasses.replace(given, keypoints_3d=np.zeros((5, 25, 3)), confidence_3d=np.ones((5, 25)))
    focal_length.solve_focal_length(body, with_3d)
    tried = np.asarray(calls.observations.camera.focal_length).reshape(-1, 5, 2)
    for step, scale in zip(tried, focal_length.SCALES, strict=True):
        np.testing.assert_allclose(step / DIAGONAL, scale, rtol=1e-5)
    assert calls.observations.keypoints_3d is None


def test_people_of_several_cameras_are_refused(body):
    given = rows(2)
    camera = cameras.Camera(
        focal_length=np.array([[1000.0, 1000.0], [1300.0, 1300.0]]), principal_point=np.zeros((2, 2))
    )
    with pytest.raises(ObservationError, match=r"one focal length, got 1000\.0 to 1300\.0"):
        focal_length.solve_focal_length(body, dataclasses.replace(given, camera=camera))


def test_what_cannot_be_solved_is_refused_with_the_reason(body):
    given = rows(4)
    with pytest.raises(ObservationError, match="`camera`"):
        focal_length.solve_focal_length(body, dataclasses.replace(given, camera=None))
    with pytest.raises(ValueError, match="each of 4 people"):
        focal_length.solve_focal_length(body, given, groups=np.arange(3))
    nested = dataclasses.replace(
        given,
        keypoints_2d=np.asarray(given.keypoints_2d).reshape(2, 2, 25, 2),
        confidence=np.ones((2, 2, 25)),
    )
    with pytest.raises(ObservationError, match="one batch axis"):
        focal_length.solve_focal_length(body, nested)
