"""Fingers of repaired hands: flat ones give way to those that were seen, right ones stay."""

import dataclasses

import numpy as np
import pytest

from hardmo_jax.fitting import limb_ends
from hardmo_jax.hardcase.fingers import chosen_fingers, finger_joints
from hardmo_jax.hardcase.part_scores import observed_box_side
from hardmo_jax.skeleton import layouts
from tests.pipelines import refined_people

PART = "left_hand"


@pytest.fixture(scope="module")
def people():
    """A set of people, their bodies, and the same bodies with flat fingers."""
    found = refined_people.people()
    body = refined_people.open_body()
    flat = dataclasses.replace(found.params, left_hand_pose=np.zeros_like(found.params.left_hand_pose))
    return found, body, found.params, flat


def chosen(people, label, other):
    found, body, _, _ = people
    observations = found.observations()
    frames = [limb_ends.body_frames(body, observations.layout, params) for params in (label, other)]
    ends = [
        limb_ends.limb_ends(
            body, observations, one, PART, box_side=observed_box_side(observations), options=limb_ends.LimbEndOptions()
        )
        for one in frames
    ]
    joints = finger_joints(body, PART)
    points = limb_ends.limb_end_layout(PART, layouts.get_layout(observations.layout))[0].points
    on_fingers = np.array([limb_ends.is_on_finger(point) for point in points])
    fingers = chosen_fingers(*ends, *frames, np.asarray(ends[0].pose), joints=joints, on_fingers=on_fingers)
    seen = (np.asarray(ends[0].weight) > 0).sum(1) >= 15
    return fingers, frames[0].full_pose[:, joints], frames[1].full_pose[:, joints], seen


def test_flat_fingers_give_way_to_those_that_were_seen(people):
    _, _, truth, flat = people
    fingers, _, right, seen = chosen(people, flat, truth)
    is_bent = np.linalg.norm(right, axis=-1).mean(-1) > 0.35
    is_taken = (fingers == right).all((1, 2))
    assert (seen & is_bent).sum() >= 5
    assert is_taken[seen & is_bent].mean() >= 0.8


def test_right_fingers_stay(people):
    _, _, truth, flat = people
    fingers, right, _, seen = chosen(people, truth, flat)
    assert (fingers == right).all((1, 2))[seen].mean() >= 0.95


def test_equal_fingers_stay_exactly(people):
    _, _, truth, _ = people
    fingers, label, _, _ = chosen(people, truth, truth)
    np.testing.assert_array_equal(fingers, label)


def test_feet_and_bodies_without_fingers_have_none():
    body = refined_people.open_body()
    assert finger_joints(body, "left_foot") == []
    assert len(finger_joints(body, PART)) == 15
