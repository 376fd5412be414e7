"""Corrections by hand: what is placed is met, what is wrong becomes right, and nothing else moves."""

import dataclasses

import jax
import numpy as np
import pytest

from hardmo_jax.body import landmarks, load
from hardmo_jax.body.params import BodyParams, split_pose
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.hardcase import correct
from hardmo_jax.hardcase.correct import CorrectionError
from hardmo_jax.observations import Observations
from hardmo_jax.skeleton import layouts
from tests import staged_people

PEOPLE = 12
LAYOUT = layouts.get_layout("coco_wholebody65")
FOOT = ("big_toe", "small_toe", "heel")


@pytest.fixture(scope="module")
def body():
    return load.open_body(view="smplh")


@pytest.fixture(scope="module")
def people(body):
    """Truth and what a detector saw of hard poses."""
    found = staged_people.people_in_hard_poses(body, PEOPLE, seed=9, staging_seed=3, name="scores")
    return jax.tree.map(np.asarray, found.params), found.observations()


def one_of(tree, at):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[at], tree)


def projected(points, seen):
    """By the definition of a pinhole camera."""
    return points[:, :2] / points[:, 2:] * np.asarray(seen.camera.focal_length) + np.asarray(
        seen.camera.principal_point
    )


class Person:
    """One person whose joint is wrong."""

    def __init__(self, body, people, at, joint=None, degrees=60.0):
        truth, seen = people
        self.body, self.truth = body, one_of(truth, at)
        camera = jax.tree.map(lambda leaf: np.broadcast_to(np.asarray(leaf), (PEOPLE, 2))[at], seen.camera)
        self.seen = Observations(
            keypoints_2d=np.asarray(seen.keypoints_2d)[at], confidence=np.asarray(seen.confidence)[at],
            camera=Camera(focal_length=camera.focal_length, principal_point=camera.principal_point),
            layout=LAYOUT.name,
        )  # fmt: skip
        model, _ = landmarks.point_model(body, LAYOUT)
        self.points = np.asarray(model(self.truth))
        self.pixels = projected(self.points, self.seen)
        whole = np.array(self.truth.full_pose())
        if joint is not None:
            axis = np.random.default_rng(at).normal(size=3)
            whole[body.joint_names.index(joint)] += np.radians(degrees) * axis / np.linalg.norm(axis)
        self.wrong = dataclasses.replace(self.truth, global_orient=whole[0], **split_pose(body.family, whole[1:]))

    def placed(self, *names):
        return {name: self.pixels[LAYOUT.points.index(name)] for name in names}

    def distance(self, params, *names):
        """Largest distance of points from the truth, metres."""
        model, _ = landmarks.point_model(self.body, LAYOUT)
        rows = [LAYOUT.points.index(name) for name in names]
        return np.linalg.norm(np.asarray(model(params))[rows] - self.points[rows], axis=-1).max()


@pytest.mark.parametrize("side", layouts.SIDES)
def test_a_wrong_foot_of_which_toes_and_heel_are_placed_is_within_5_mm_of_the_truth(body, people, side):
    names = [f"{side}_{point}" for point in FOOT]
    before, after = [], []
    for at in range(PEOPLE):
        person = Person(body, people, at, f"{side}_ankle")
        found = correct.correct(body, person.wrong, person.seen, points=person.placed(*names))
        before.append(person.distance(person.wrong, *names))
        after.append(person.distance(found.params, *names))
        assert max(found.pixel_errors.values()) < 1.0
        assert found.joints == (f"{side}_ankle", f"{side}_foot")
    assert np.median(before) > 0.08
    assert np.median(after) < 0.003
    assert np.mean(np.array(after) < 0.005) > 0.8


def test_a_wrong_hand_of_which_knuckles_are_placed_is_right_again(body, people):
    names = ["right_index1", "right_pinky1", "right_middle1"]
    after = []
    for at in range(4):
        person = Person(body, people, at, "right_wrist", degrees=40)
        found = correct.correct(body, person.wrong, person.seen, points=person.placed(*names))
        after.append(person.distance(found.params, *names))
    assert np.median(after) < 0.004


def test_nothing_but_the_joints_that_are_named_moves(body, people):
    person = Person(body, people, 0)
    place = person.placed("left_index_tip")["left_index_tip"] + [4.0, -3.0]
    found = correct.correct(body, person.truth, person.seen, points={"left_index_tip": place})
    before, after = (np.asarray(params.full_pose()) for params in (person.truth, found.params))
    changed = {body.joint_names[at] for at in np.flatnonzero((before != after).any(-1))}
    assert changed <= {"left_index1", "left_index2", "left_index3"} == set(found.joints)
    assert found.pixel_errors["left_index_tip"] < 1.0
    np.testing.assert_array_equal(found.params.betas, person.truth.betas)
    np.testing.assert_array_equal(found.params.transl, person.truth.transl)


def test_a_wrist_takes_the_arm_along_and_keeps_what_was_seen_of_the_hand(body, people):
    person = Person(body, people, 1)
    place = person.placed("right_wrist")["right_wrist"] + [12.0, 6.0]
    found = correct.correct(body, person.truth, person.seen, points={"right_wrist": place})
    assert found.pixel_errors["right_wrist"] < 1.0
    assert set(found.joints) == {"right_shoulder", "right_elbow", "right_wrist"}


def test_a_point_is_put_in_space(body, people):
    person = Person(body, people, 2)
    at = LAYOUT.points.index("left_ankle")
    place = person.points[at] + np.array([0.03, 0.0, -0.08], np.float32)
    found = correct.correct(body, person.truth, person.seen, points_3d={"left_ankle": place})
    assert found.metre_errors["left_ankle"] < 0.01
    model, _ = landmarks.point_model(body, LAYOUT)
    own = np.linalg.norm(np.asarray(model(found.params))[at] - place)
    assert found.metre_errors["left_ankle"] == pytest.approx(own, abs=1e-5)


def test_the_result_depends_on_where_points_are_and_not_on_the_way_there(body, people):
    person = Person(body, people, 3, "left_ankle", degrees=30)
    goal = person.placed(*(f"left_{point}" for point in FOOT))
    direct = correct.correct(body, person.wrong, person.seen, points=goal).params
    current = person.wrong
    for share in (0.3, 0.7, 1.0):
        start = projected(np.asarray(landmarks.point_model(body, LAYOUT)[0](person.wrong)), person.seen)
        way = {name: start[LAYOUT.points.index(name)] * (1 - share) + place * share for name, place in goal.items()}
        current = correct.correct(body, person.wrong, person.seen, points=way, current=current).params
    np.testing.assert_allclose(np.asarray(current.full_pose()), np.asarray(direct.full_pose()), atol=5e-3)


def test_a_point_out_of_reach_is_told_and_the_pose_stays_human(body, people):
    person = Person(body, people, 0)
    far = person.placed("left_big_toe")["left_big_toe"] + [400.0, 0.0]
    found = correct.correct(body, person.truth, person.seen, points={"left_big_toe": far})
    assert found.pixel_errors["left_big_toe"] > 100
    assert np.isfinite(np.asarray(found.params.full_pose())).all()
    ankle = np.asarray(found.params.full_pose())[body.joint_names.index("left_ankle")]
    assert np.linalg.norm(ankle) < 2.0


def test_pixels_that_are_told_are_those_of_the_body(body, people):
    person = Person(body, people, 4, "left_ankle")
    found = correct.correct(body, person.wrong, person.seen, points=person.placed("left_heel"))
    model, _ = landmarks.point_model(body, LAYOUT)
    pixels = projected(np.asarray(model(found.params), np.float64), person.seen)
    own = np.linalg.norm(pixels[LAYOUT.points.index("left_heel")] - person.placed("left_heel")["left_heel"])
    assert found.pixel_errors["left_heel"] == pytest.approx(own, abs=1e-3)


def test_the_points_that_can_be_placed_are_those_of_arms_and_legs(body):
    names = correct.placeable_points(body, "openpose67")
    assert {"left_big_toe", "right_heel", "left_ankle", "right_knee", "left_wrist", "right_index_tip"} <= set(names)
    assert not {"nose", "neck", "mid_hip", "left_hip", "right_shoulder", "left_eye"} & set(names)
    without_fingers = correct.placeable_points(load.open_body(view="smpl"), "openpose67")
    assert "left_big_toe" in without_fingers
    assert "left_wrist" in without_fingers
    assert "left_index_tip" not in without_fingers


@pytest.mark.parametrize(
    ("points", "points_3d", "told"),
    [
        ({"nose": [1.0, 2.0]}, {}, r"'nose' cannot be placed.*left_ankle"),
        ({"left_tail": [1.0, 2.0]}, {}, r"'left_tail' cannot be placed"),
        ({"left_heel": [np.nan, 2.0]}, {}, r"left_heel.*finite numbers"),
        ({}, {"left_hip": [0.0, 0.0, 3.0]}, r"'left_hip' cannot be placed.*left_ankle"),
        ({}, {"left_ankle": [0.0, 0.0, -3.0]}, "in front of the camera"),
    ],
)
def test_what_cannot_be_placed_is_refused(body, people, points, points_3d, told):
    person = Person(body, people, 0)
    with pytest.raises(CorrectionError, match=told):
        correct.correct(
            body, person.truth, person.seen,
            points={name: np.array(place) for name, place in points.items()},
            points_3d={name: np.array(place) for name, place in points_3d.items()},
        )  # fmt: skip


def test_a_body_without_fingers_says_so(people):
    smpl = load.open_body(view="smpl")
    person_body = load.open_body(view="smplh")
    person = Person(person_body, people, 0)
    rest = jax.tree.map(np.asarray, BodyParams.rest(smpl))
    with pytest.raises(CorrectionError, match="has no fingers"):
        correct.correct(smpl, rest, person.seen, points={"left_index_tip": np.array([1.0, 2.0])})
