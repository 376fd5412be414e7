"""Labels corrected by hand: they say who made them, hold what was placed, and nothing of machines about the part."""

import dataclasses

import numpy as np
import pytest

from hardmo_jax.hardcase.correct import CorrectionError
from hardmo_jax.labels import store
from hardmo_jax.pipelines import label_rows, score_labels
from hardmo_jax.pipelines.correct_labels import correct_label
from hardmo_jax.skeleton import layouts
from tests.pipelines import refined_people

POINTS = layouts.get_layout("openpose67").points


@pytest.fixture(scope="module")
def labels():
    return refined_people.planted_labels(4)[0]


def seen(row, *names):
    return {name: row.keypoints_2d[POINTS.index(name)] + np.array([3.0, -2.0], np.float32) for name in names}


def test_a_corrected_label_holds_what_was_placed_and_who_made_it(labels):
    body = refined_people.open_body()
    row = score_labels.with_part(
        labels[0], "left_foot", {"wrong_by_part": 0.9, "outcome_by_part": "no_better", "review_by_part": "wrong"}
    )
    points = seen(row, "left_big_toe", "left_heel")
    made = correct_label(row, body, points=points).row
    made.validate()
    assert (made.origin, made.placed_points) == ("human", ("left_big_toe", "left_heel"))
    for name, place in points.items():
        np.testing.assert_array_equal(made.keypoints_2d[POINTS.index(name)], place)
        assert made.keypoint_confidence[POINTS.index(name)] == 1
    of_part = [getattr(made, name)["left_foot"] for name in ("wrong_by_part", "outcome_by_part", "review_by_part")]
    assert of_part == [None, None, None]
    assert made.evidence_by_part["left_foot"] == "seen"
    again = label_rows.measured_again([made], body)[0]
    assert made.same_as(again)
    others = [at for at, name in enumerate(POINTS) if name not in points]
    np.testing.assert_array_equal(made.keypoints_2d[others], row.keypoints_2d[others])
    assert made.wrong_by_part["right_foot"] == row.wrong_by_part["right_foot"]


def test_a_machine_does_not_replace_it_and_points_placed_before_stay_where_they_are(labels):
    body = refined_people.open_body()
    first = correct_label(labels[1], body, points=seen(labels[1], "right_heel", "right_small_toe")).row
    assert store.replace_if_better(first, labels[1]) is first
    second = correct_label(first, body, points=seen(labels[1], "right_big_toe"))
    assert second.row.placed_points == ("right_big_toe", "right_small_toe", "right_heel")
    assert set(second.correction.pixel_errors) == {"right_big_toe", "right_small_toe", "right_heel"}


def test_what_is_put_in_space_stays_there_whatever_is_corrected_later(labels):
    body = refined_people.open_body()
    first = correct_label(labels[2], body, points=seen(labels[2], "left_ankle")).row
    at = POINTS.index("left_ankle")
    place = first.keypoints_3d[at] + np.array([0.02, 0.0, 0.06], np.float32)
    second = correct_label(first, body, points_3d={"left_ankle": place})
    assert second.correction.metre_errors["left_ankle"] < 0.01
    assert second.correction.pixel_errors == {}
    assert (second.row.placed_points, second.row.placed_points_3d) == ((), ("left_ankle",))
    pixel = place[:2] / place[2] * first.focal_length + first.principal_point
    np.testing.assert_allclose(second.row.keypoints_2d[at], pixel, atol=1e-2)
    now = second.row.keypoints_3d[POINTS.index("left_knee")]
    knee = {"left_knee": now[:2] / now[2] * first.focal_length + first.principal_point + np.array([1, 0], np.float32)}
    third = correct_label(second.row, body, points=knee).row
    assert np.linalg.norm(third.keypoints_3d[at] - second.row.keypoints_3d[at]) < 0.005
    assert (third.placed_points, third.placed_points_3d) == (("left_knee",), ("left_ankle",))
    third.validate()
    fourth = correct_label(third, body, points={"left_ankle": pixel}).row
    assert (set(fourth.placed_points), fourth.placed_points_3d) == ({"left_knee", "left_ankle"}, ())


def test_scores_that_machines_gave_to_the_part_are_gone(labels):
    row = score_labels.with_part(labels[0], "left_foot", {"inconsistency_by_part": 77.0, "turn_by_part": 5.0})
    made = correct_label(row, refined_people.open_body(), points=seen(row, "left_heel")).row
    assert (made.inconsistency_by_part["left_foot"], made.turn_by_part["left_foot"]) == (None, None)


def test_a_label_without_a_pose_is_refused(labels):
    failed = dataclasses.replace(labels[0], status="NO_EVIDENCE")
    with pytest.raises(CorrectionError, match=r"no pose to correct.*NO_EVIDENCE"):
        correct_label(failed, refined_people.open_body(), points=seen(failed, "left_heel"))
