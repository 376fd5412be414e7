import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hardmo_jax.hardcase import temporal
from hardmo_jax.hardcase.temporal import VoteOptions
from hardmo_jax.skeleton import layouts
from tests.hardcase.test_mine import scored, video

PART = "left_hand"
WRIST = layouts.SMPL_JOINTS.index("left_wrist") - 1
OPTIONS = VoteOptions()
AXIS = np.array([0.6, 0.0, 0.8])


def turned(rows, degrees):
    """Labels with the wrist turned about one axis."""
    changed = []
    for row, angle in zip(rows, degrees, strict=True):
        pose = np.array(row.body_pose)
        pose[WRIST] = np.radians(angle) * AXIS
        changed.append(dataclasses.replace(row, body_pose=pose))
    return changed


def frames(count, degrees=None, probabilities=None):
    rows = video(np.arange(count) / 30, probabilities or [0.95] * count)
    return rows if degrees is None else turned(rows, degrees)


def test_steady_turn_is_consistent_and_a_jump_is_not():
    found = temporal.inconsistency_degrees(frames(5, [0, 10, 20, 70, 40]), PART)
    assert np.isnan(found[[0, 4]]).all()
    np.testing.assert_allclose(found[1:4], [0, 20, 40], atol=1e-3)


def test_inconsistency_wants_the_frames_right_before_and_after():
    rows = frames(5, [0, 0, 30, 0, 0])
    gap = [rows[0], rows[1], rows[2], rows[4]]
    assert np.isnan(temporal.inconsistency_degrees(gap, PART)[2])
    failed = [*rows[:3], dataclasses.replace(rows[3], status="DIVERGED"), rows[4]]
    assert np.isnan(temporal.inconsistency_degrees(failed, PART)[2])
    assert np.isnan(temporal.inconsistency_degrees([scored(0), scored(1)], PART)).all()


def test_order_of_rows_does_not_matter():
    rows = frames(6, [0, 5, 40, 20, 0, 10])
    found = temporal.inconsistency_degrees(rows, PART)
    np.testing.assert_allclose(temporal.inconsistency_degrees(rows[::-1], PART), found[::-1])


def vote(rows):
    return temporal.is_voted_wrong(rows, PART, min_probability=0.9, options=OPTIONS).tolist()


def test_single_frame_is_outvoted_by_those_around_it():
    assert vote(frames(7, probabilities=[0.1, 0.1, 0.1, 0.99, 0.1, 0.1, 0.1])) == [False] * 7


def test_frames_that_agree_are_wrong_also_where_one_of_them_doubts():
    assert vote(frames(7, probabilities=[0.99, 0.99, 0.99, 0.2, 0.99, 0.99, 0.99])) == [True] * 7


def test_frames_farther_than_a_tenth_of_a_second_have_no_say():
    rows = video([0.0, 0.101, 0.3, 0.4], [0.99, 0.1, 0.99, 0.99])
    assert vote([rows[0], *rows[2:]]) == [True, True, True]
    # Frames exactly a tenth of a second apart vote, however times were rounded.
    assert vote(video([0.1, 0.2, 0.3], [0.99, 0.2, 0.2])) == [False, False, False]


def test_photos_and_frames_of_other_people_vote_for_themselves():
    assert vote([scored(0, 0.99), scored(1, 0.1)]) == [True, False]
    others = [*frames(3, probabilities=[0.1] * 3), *video([1 / 30], [0.99], track_id=8)]
    assert vote(others) == [False, False, False, True]
    assert vote([scored(0, None, reason="unrepairable")]) == [False]


def strays(rows, degrees, options=OPTIONS):
    vectors = np.radians(np.asarray(degrees, float))[:, None] * AXIS
    return temporal.is_stray(rows, vectors, options).tolist()


def test_refit_far_from_the_median_of_its_run_strays():
    assert strays(frames(5), [10, 12, 80, 11, 9]) == [False, False, True, False, False]
    assert strays(frames(5), [10, 12, 40, 11, 9]) == [False] * 5


def test_two_frames_that_disagree_both_stray_whichever_is_first():
    assert strays(frames(2), [0, 80]) == strays(frames(2), [80, 0]) == [True, True]
    assert strays(frames(2), [0, 20]) == [False, False]


def test_run_ends_at_a_gap_and_far_frames_are_not_compared():
    rows = video([0.0, 0.03, 0.06, 0.5, 0.53, 0.56], [0.95] * 6)
    assert strays(rows, [0, 0, 0, 90, 90, 90]) == [False] * 6
    slow = frames(60)
    assert strays(slow, np.linspace(0, 150, 60)) == [False] * 60
    assert any(strays(slow, np.linspace(0, 150, 60), dataclasses.replace(OPTIONS, run_seconds=10.0)))


def test_vote_is_the_median_of_near_frames_and_skips_those_without_a_probability():
    times = np.arange(6) / 30
    voted = temporal.voted_probability(times, np.array([0.0, 1.0, np.nan, 0.0, 1.0, np.nan]), 0.034)
    np.testing.assert_allclose(voted, [0.5, 0.5, 0.5, 0.5, 0.5, 1.0])
    nothing = temporal.voted_probability(times, np.full(6, np.nan), 0.034)
    assert np.isnan(nothing).all()


def test_photos_never_stray():
    assert strays([scored(0), scored(1)], [0, 120]) == [False, False]


def test_angle_between_two_turns_is_that_of_their_difference():
    """The same rotation as another vector is no stray."""
    vectors = np.array([np.radians(179) * AXIS, -np.radians(181) * AXIS, np.radians(178) * AXIS])
    assert temporal.is_stray(frames(3), vectors, OPTIONS).tolist() == [False] * 3
    apart = Rotation.from_rotvec(vectors[0]).inv() * Rotation.from_rotvec(vectors[1])
    assert np.degrees(apart.magnitude()) < 1


@pytest.mark.parametrize("name", ["seconds", "run_seconds", "most_degrees"])
def test_times_and_angles_must_be_positive(name):
    with pytest.raises(ValueError, match="positive"):
        VoteOptions(**{name: 0.0})


def test_person_is_not_outvoted_and_has_a_vote():
    def marked(rows, places, word):
        return [
            dataclasses.replace(row, review_by_part={PART: word}) if place in places else row
            for place, row in enumerate(rows)
        ]

    assert vote(marked(frames(7, probabilities=[0.1] * 7), {3}, "wrong")) == [False] * 3 + [True] + [False] * 3
    assert vote(marked(frames(7, probabilities=[0.99] * 7), {3}, "right")) == [True] * 3 + [False] + [True] * 3
    together = vote(marked(frames(7, probabilities=[0.1] * 7), {1, 2, 4, 5}, "wrong"))
    assert together[3]
