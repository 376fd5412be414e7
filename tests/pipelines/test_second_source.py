"""Hands of a second source of keypoints in labels that lack them, and what they are worth there."""

import dataclasses

import numpy as np
import pytest

from hardmo_jax.perception.fuse import FusionOptions
from hardmo_jax.pipelines import refine_labels, second_source
from hardmo_jax.pipelines.second_source import SecondSourceError, with_second_source
from hardmo_jax.skeleton import layouts
from tests.pipelines import refined_people

ORIGIN = {"code_version": "test"}
POINTS = layouts.get_layout("openpose67").points
IS_HAND = np.array([(layouts.part_of(point) or "").endswith("hand") for point in POINTS])
WRISTS = [POINTS.index(f"{side}_wrist") for side in layouts.SIDES]


def fused(rows, second, subset="hand"):
    return with_second_source(rows, second, subset, refined_people.open_body(), FusionOptions(), origin=ORIGIN)


@pytest.fixture(scope="module")
def second():
    """Labels with planted errors as a detector of whole bodies sees them."""
    return [dataclasses.replace(row, keypoint_source="whole body") for row in refined_people.planted_labels()[0][:24]]


@pytest.fixture(scope="module")
def rows(second):
    """The same labels by a detector of bodies, which sees no hands."""
    return [
        dataclasses.replace(
            row,
            keypoint_source="body",
            keypoint_confidence=np.where(IS_HAND, 0, row.keypoint_confidence),
            keypoints_2d=np.where(IS_HAND[:, None], 0, row.keypoints_2d),
        )
        for row in second
    ]


def test_hands_are_those_of_the_second_source_and_the_rest_stays(rows, second):
    found = fused(rows, second)
    assert found.num_matched == len(rows)
    assert 0 < found.num_changed <= len(rows)
    by_id = {row.label_id: row for row in second}
    changed = [row for row in found.rows if row.label_version > 1]
    assert len(changed) == found.num_changed
    assert len(found.rows) == len(rows) + found.num_changed, "the versions before stay"
    for row in changed:
        other = by_id[row.label_id]
        taken = np.zeros(len(POINTS), bool)
        for side in layouts.SIDES:
            if f"{side}_hand" in row.keypoint_source:
                taken |= np.array([layouts.part_of(point) == f"{side}_hand" for point in POINTS])
        np.testing.assert_array_equal(row.keypoints_2d[taken], other.keypoints_2d[taken])
        np.testing.assert_array_equal(row.keypoint_confidence[~taken & IS_HAND], 0)
        np.testing.assert_array_equal(row.keypoints_2d[~IS_HAND], other.keypoints_2d[~IS_HAND])
        np.testing.assert_array_equal(row.body_pose, other.body_pose)
        assert row.keypoint_source.startswith("body; ")
        assert row.keypoint_source.endswith(": whole body")
        assert row.code_version == "test"
        assert row.parent_version == 1
        assert row.reason_by_part["left_foot"] == other.reason_by_part["left_foot"]


def test_hands_that_could_not_be_judged_are_repaired(rows, second):
    options = refine_labels.LabelRefineOptions(subset="hand")
    body = refined_people.open_body()
    alone = refine_labels.refine_labels(rows, body, options)
    assert not alone.parts
    together = refine_labels.refine_labels(fused(rows, second).rows, body, options)
    as_one = refine_labels.refine_labels(second, body, options)
    repaired = {(part.before.label_id, part.found.part) for part in together.parts if part.outcome == "refined"}
    usual = {(part.before.label_id, part.found.part) for part in as_one.parts if part.outcome == "refined"}
    assert len(repaired & usual) >= 0.8 * len(usual) > 3


def test_twice_is_once(rows, second):
    once = fused(rows, second)
    again = fused(once.rows, second)
    assert again.num_changed == 0
    assert [row.label_version for row in again.rows] == [row.label_version for row in once.rows]


def test_hands_on_another_wrist_are_not_taken(rows, second):
    def displaced(row):
        points = row.keypoints_2d.copy()
        points[IS_HAND] += 0.2 * np.max(row.bbox[2:] - row.bbox[:2])
        points[WRISTS] += 0.2 * np.max(row.bbox[2:] - row.bbox[:2])
        return dataclasses.replace(row, keypoints_2d=points)

    sees_wrists = [row for row in rows if (row.keypoint_confidence[WRISTS] >= 0.2).all()]
    assert len(sees_wrists) > 5
    assert fused(sees_wrists, [displaced(row) for row in second]).num_changed == 0


def test_another_person_of_the_picture_is_not_mixed_up(rows, second):
    """Two people of one picture, in another order, and one whom the first source did not see."""

    def in_one_picture(row, track):
        return dataclasses.replace(row, source_path="one.jpg", source_sha256="f" * 64, track_id=track, label_id="")

    ours = [in_one_picture(rows[place], place) for place in (0, 1)]
    theirs = [in_one_picture(second[place], 9 - place) for place in (2, 1, 0)]
    pairs = second_source.same_people_of_labels(ours, theirs, FusionOptions().most_apart)
    assert {(a.track_id, 9 - b.track_id) for a, b in pairs} == {(0, 0), (1, 1)}


def test_what_a_person_accepted_is_left_alone(rows, second):
    accepted = [dataclasses.replace(row, review="accepted") for row in rows]
    assert fused(accepted, second).num_changed == 0


def test_hands_that_a_person_called_right_are_left_and_the_word_on_others_stays(rows, second):
    hands = [f"{side}_hand" for side in layouts.SIDES]
    right = [dataclasses.replace(row, review_by_part=dict.fromkeys(hands, "right")) for row in rows]
    assert fused(right, second).num_changed == 0
    wrong = [dataclasses.replace(row, review_by_part=dict.fromkeys(hands, "wrong")) for row in rows]
    changed = [row for row in fused(wrong, second).rows if row.label_version > 1]
    assert changed
    # The pose is the one of which it was said.
    assert all(row.review_by_part[hand] == "wrong" for row in changed for hand in hands)


def test_other_pictures_are_refused(rows, second):
    others = [dataclasses.replace(row, source_sha256="e" * 64, label_id="") for row in second]
    with pytest.raises(SecondSourceError, match="same files"):
        fused(rows, others)


def test_unsure_hands_are_not_believed(rows, second):
    unsure = [
        dataclasses.replace(row, keypoint_confidence=np.where(IS_HAND, 0.3, row.keypoint_confidence)) for row in second
    ]
    assert fused(rows, unsure).num_changed == 0
