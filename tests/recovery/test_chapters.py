"""Tracks that are recovered chapter by chapter, against the same tracks recovered at once."""

import dataclasses

import jax
import numpy as np
import pytest

from hardmo_jax.body import load
from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.recovery import chapters
from hardmo_jax.recovery import recover_motion as recovering
from hardmo_jax.recovery.recover_motion import recover_motion
from hardmo_jax.skeleton import layouts
from tests import staged_people

FRAMES, CHAPTER, RATE = 176, 64, 30.0


@pytest.fixture(scope="module")
def body():
    return load.open_body(view="smplh")


@pytest.fixture(scope="module")
def observations(body):
    people = staged_people.people_in_hard_motion(body, 1, FRAMES, RATE, seed=3, staging_seed=0, name="chapters")
    return people.observations()


@pytest.fixture(scope="module")
def at_once(body, observations):
    return recover_motion(body, observations, frames_per_second=RATE)


@pytest.fixture
def short_chapters(monkeypatch):
    monkeypatch.setattr(chapters, "CHAPTER_FRAMES", CHAPTER)
    monkeypatch.setattr(recovering, "CHAPTER_FRAMES", CHAPTER)


@pytest.fixture(scope="module")
def in_chapters(body, observations):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chapters, "CHAPTER_FRAMES", CHAPTER)
        patch.setattr(recovering, "CHAPTER_FRAMES", CHAPTER)
        return recover_motion(body, observations, frames_per_second=RATE)


def joints(body, params):
    return np.asarray(body.joints(jax.tree.map(np.asarray, params)), np.float64)


def test_chapters_are_what_the_track_is_as_a_whole(body, at_once, in_chapters, figure):
    found = in_chapters
    betas = np.asarray(found.result.params.betas)
    assert np.ptp(betas, axis=0).max() == 0
    ours, whole = joints(body, found.result.params), joints(body, at_once.result.params)
    apart = np.linalg.norm((ours - ours[:, :1]) - (whole - whole[:, :1]), axis=-1)[:, :22]
    figure(f"chapters against one go: joints {1000 * apart.mean():.2f} mm, most {1000 * apart.max():.1f} mm")
    # The lifter's camera looks at other frames, and the shape is told by others.
    assert apart.mean() < 0.005
    assert np.abs(found.stands - at_once.stands).mean() < 0.02
    np.testing.assert_array_equal(found.keypoint_order, at_once.keypoint_order)


def test_chapters_meet_without_a_jump(body, in_chapters):
    found = in_chapters.result
    points = joints(body, found.params)[:, :22]
    second = np.linalg.norm(points[2:] - 2 * points[1:-1] + points[:-2], axis=-1).mean(-1)
    borders = np.concatenate([np.arange(at - 2, at + 17) for at in (CHAPTER, 2 * CHAPTER)])
    assert second[borders].max() <= 1.05 * second.max()
    assert np.median(second[borders]) < 2 * np.median(second)


def test_keypoints_of_frames_where_chapters_meet_are_those_of_their_parameters(body, observations, in_chapters):
    found = in_chapters.result
    wrist = body.joint_names.index("left_wrist")
    ours = joints(body, found.params)[:, wrist]
    told = np.asarray(found.keypoints_3d)[:, layouts.get_layout(observations.layout).points.index("left_wrist")]
    np.testing.assert_allclose(told[CHAPTER : CHAPTER + 16], ours[CHAPTER : CHAPTER + 16], atol=0.03)
    offset = np.linalg.norm(told - ours, axis=-1)
    # A point fixed in its joint's frame keeps its distance from it, blended or not.
    np.testing.assert_allclose(offset[CHAPTER : CHAPTER + 16], offset.mean(), atol=1e-4)


def test_gaps_and_numbers_that_are_none_are_told_in_every_chapter(body, observations, short_chapters):
    confidence = np.array(observations.confidence)
    confidence[60:70] = 0  # where two chapters meet
    points = np.array(observations.keypoints_2d)
    points[100, 3] = np.nan
    given = dataclasses.replace(observations, confidence=confidence, keypoints_2d=points)
    found = recover_motion(body, given, frames_per_second=RATE).result
    status = np.asarray(found.status)
    assert (status[60:70] == FitStatus.FILLED).all()
    assert (np.delete(status, np.arange(60, 70)) != FitStatus.FILLED).all()
    assert np.isfinite(np.asarray(found.params.full_pose())).all()
