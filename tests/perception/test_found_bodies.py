"""Which of the bodies found in a picture are people, and which are one person seen twice."""

import dataclasses
import math

import numpy as np
import pytest

from hardmo_jax.perception import crops, found_bodies, keypoints_blazepose
from hardmo_jax.perception.found_bodies import FoundBody

LAYOUT = keypoints_blazepose.LAYOUT
#: Somebody who stands with the arms out, 100 pixels high and 80 wide, about the hips.
STANDING = {
    "nose": (0, -50), "eye": (2, -52), "ear": (4, -51), "shoulder": (10, -38), "elbow": (24, -36), "wrist": (38, -35),
    "hip": (6, 0), "knee": (7, 22), "ankle": (8, 44), "heel": (8, 48), "foot_index": (12, 50),
}  # fmt: skip


def body(*, at=(500.0, 400.0), angle=0.0, size=1.0, sure=1.0, score=1.0):
    """Somebody at a place, turned and as sure as that."""
    points = np.zeros((len(LAYOUT), 2))
    for name in LAYOUT.points:
        side = -1 if name.startswith("right_") else 1
        known = name.removeprefix("left_").removeprefix("right_")
        x, y = STANDING.get(known, (38, -33) if "knuckle" in known else (1, -48))
        points[LAYOUT.index(name)] = side * x, y
    along, across = math.cos(angle), math.sin(angle)
    points = size * points @ np.array([[along, across], [-across, along]]) + np.array(at)
    confidence = np.full(len(LAYOUT), sure, np.float32)
    region = crops.SquareRegion(center=at, size=125.0 * size, angle=angle)
    landmarks = keypoints_blazepose.BodyLandmarks(
        keypoints_2d=points.astype(np.float32), keypoints_3d=np.zeros((len(LAYOUT), 3), np.float32),
        visibility=confidence, presence=confidence, score=score, region=region, next_region=region,
    )  # fmt: skip
    return FoundBody(
        landmarks=landmarks, confidence=confidence, confidence_3d=confidence,
        detector_bbox=np.zeros(4, np.float32), support=math.inf, best_detection=1.0,
    )  # fmt: skip


@pytest.mark.parametrize("degrees", [100.0, 135.0, 180.0, -135.0])
def test_an_unsure_body_upside_down_within_a_sure_one_is_that_one(degrees):
    person = body()
    ghost = body(angle=math.radians(degrees), size=0.7, sure=0.4)
    assert found_bodies.drop_duplicates([ghost, person]) == [person]


def test_an_unsure_upright_body_within_somebody_upside_down_is_that_one():
    person = body(angle=math.pi)
    assert found_bodies.drop_duplicates([body(size=0.7, sure=0.4), person]) == [person]


def test_two_sure_people_of_whom_one_stands_on_the_head_are_two():
    assert len(found_bodies.drop_duplicates([body(), body(at=(520.0, 390.0), angle=math.pi, size=0.9, sure=0.8)])) == 2


def test_somebody_upside_down_beside_another_is_another():
    assert len(found_bodies.drop_duplicates([body(), body(at=(590.0, 400.0), angle=math.pi, sure=0.4)])) == 2


def test_somebody_unsure_and_upright_before_another_is_another():
    """People who are half hidden are as unsure."""
    assert len(found_bodies.drop_duplicates([body(), body(at=(520.0, 415.0), size=0.7, sure=0.4)])) == 2


def test_ghosts_of_people_who_were_lost_are_not_new_people():
    person = body()
    lost = [dataclasses.replace(person, support=1.0)]
    ghost = body(angle=2.5, size=0.7, sure=0.4)
    assert found_bodies.without_ghosts([ghost], lost) == []
    flipped = body(angle=2.5, sure=0.9)
    assert found_bodies.without_ghosts([flipped], lost) == [flipped], "dancers do stand on their heads"
