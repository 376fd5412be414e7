"""The loss of the motion lifter: zero motion error for what moves as the truth does, and for nothing else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.geometry import rotations
from hardmo_jax.networks.lifter import NUM_BETAS, NUM_SPREAD, LifterOutput
from hardmo_jax.networks.motion_input import MotionInput
from hardmo_jax.networks.motion_lifter import MotionOutput
from hardmo_jax.training import lifter_loss, motion_loss
from hardmo_jax.training.lifter_loss import Skeleton
from hardmo_jax.training.motion_loss import MotionLossOptions, MotionTarget
from tests.fitting import tracks

FRAMES = 5
OPTIONS = MotionLossOptions()
loss = jax.jit(lambda *problem: motion_loss.motion_loss(*problem, OPTIONS))


@pytest.fixture(scope="module")
def problem():
    """A clip, and the output that is its truth."""
    body = hm.open_body()
    track = tracks.make_track(body, frames=FRAMES)
    flat = jax.tree.map(np.asarray, track.params())
    skeleton = Skeleton.of(body)
    rotation = np.asarray(rotations.axis_angle_to_matrix(jnp.array([0.02, -0.1, 0.05])))[None]
    size = np.array([0.12], np.float32)
    truth = jax.jit(lifter_loss.make_target)(skeleton, flat, np.repeat(rotation, FRAMES, 0), np.repeat(size, FRAMES))
    guess = LifterOutput(
        log_weights=np.zeros((1, FRAMES, 1), np.float32), rotations=np.asarray(truth.rotations)[None, :, None],
        places=np.asarray(truth.places)[None, :, None], hands=np.asarray(truth.hands)[None],
        betas=np.asarray(truth.betas)[None, :, :NUM_BETAS], log_spread=np.zeros((1, FRAMES, NUM_SPREAD), np.float32),
    )  # fmt: skip
    there = np.ones((1, FRAMES), bool)
    clip = MotionInput(
        features=np.zeros((1, FRAMES, 0), np.float32), guess=guess, is_there=there, exists=there, rotation=rotation,
        size=size,
    )  # fmt: skip
    stands = np.zeros((1, FRAMES, 4), bool)
    stands[:, :, 0] = True
    target = MotionTarget(params=jax.tree.map(lambda leaf: leaf[None], flat), stands=stands)
    logits = np.where(stands, 20.0, -20.0).astype(np.float32)
    return skeleton, clip, MotionOutput(guess=guess, contact_logits=logits), target


def parts_of(problem, **changes):
    skeleton, clip, found, target = problem
    found = dataclasses.replace(found, guess=dataclasses.replace(found.guess, **changes))
    total, parts = loss(skeleton, clip, found, target)
    return {"total": float(total), **{name: float(value) for name, value in parts.items()}}


def test_the_truth_moves_as_the_truth(problem):
    parts = parts_of(problem)
    for name in ("joints_mm", "velocity_mm", "travel_mm"):
        assert parts[name] < 0.05, name
    assert parts["contact"] < 1e-6


def test_an_error_that_stays_costs_no_motion_and_one_that_jumps_does(problem):
    places = problem[2].guess.places
    stays, jumps = places.copy(), places.copy()
    stays[..., 2] += 0.1
    jumps[:, 2, :, 2] += 0.1
    assert parts_of(problem, places=jumps)["travel_mm"] > 5 * parts_of(problem, places=stays)["travel_mm"]
    assert parts_of(problem, places=jumps)["velocity_mm"] < 0.05, "joints are seen from the pelvis"


def test_all_frames_have_the_mean_of_their_shapes(problem):
    betas = problem[2].guess.betas
    swing = np.array([1, -1, 0, 2, -2], np.float32)[None, :, None]
    assert parts_of(problem, betas=betas + swing)["joints_mm"] == pytest.approx(
        parts_of(problem)["joints_mm"], abs=0.01
    )
    one = jax.jit(motion_loss.with_one_shape)(dataclasses.replace(problem[2].guess, betas=betas + swing))
    assert np.ptp(np.asarray(one.betas), axis=1).max() == 0


def test_contact_that_is_wrong_costs(problem):
    skeleton, clip, found, target = problem
    wrong = dataclasses.replace(found, contact_logits=-found.contact_logits)
    _, parts = loss(skeleton, clip, wrong, target)
    assert float(parts["contact"]) == pytest.approx(20, rel=0.01)


def test_errors_are_over_their_spread(problem):
    skeleton, clip, found, target = problem
    turned = dataclasses.replace(found, guess=dataclasses.replace(
        found.guess, betas=found.guess.betas + 1, log_spread=found.guess.log_spread + np.log(2.0)
    ))  # fmt: skip
    errors = np.asarray(jax.jit(motion_loss.error_vectors)(skeleton, clip, turned, target))
    assert errors.shape == (FRAMES, NUM_SPREAD)
    np.testing.assert_allclose(errors[:, 6 : 6 + NUM_BETAS], -0.5, atol=1e-4)
    rest = np.delete(errors, np.s_[6 : 6 + NUM_BETAS], 1)
    assert np.abs(rest).max() < 5e-3
