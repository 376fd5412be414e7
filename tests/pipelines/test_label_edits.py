"""What a person says of labels: reviews of the version that was seen, corrections on top of whatever was written."""

import dataclasses
import datetime

import numpy as np
import pytest

from hardmo_jax.labels import store
from hardmo_jax.pipelines.label_edits import LabelEdit, LabelEditError, with_edits
from tests.labels.test_schema import make_full_row, make_row


def machine(row, version):
    return dataclasses.replace(row, label_version=version, parent_version=version - 1, origin="machine", review="none")


def corrected(row, by=1.0, **changes):
    return dataclasses.replace(row, keypoints_2d=row.keypoints_2d + by, placed_points=("left_heel",), **changes)


def edit_of(row, **said):
    return LabelEdit(label_id=row.label_id, label_version=row.label_version, **said)


def test_reviews_change_the_version_that_was_seen_and_nothing_else():
    first, other = make_row(0), make_full_row(1)
    second = machine(first, 2)
    edits = [
        edit_of(second, review="rejected", review_by_part={"left_foot": "wrong"}),
        edit_of(second, review_by_part={"left_foot": None, "right_hand": "right"}),
    ]
    found = with_edits([first, second, other], edits)
    assert [one.note for one in found.outcomes] == [None, None]
    reviewed = dataclasses.replace(second, review="rejected", review_by_part={"right_hand": "right"})
    assert [row.same_as(want) for row, want in zip(found.rows, [first, reviewed, other], strict=True)] == [True] * 3
    assert found.outcomes[0].before is second
    again = with_edits(found.rows, [edit_of(second, review="none")])
    assert again.rows[1].review == "none"
    assert again.rows[1].review_by_part["right_hand"] == "right"


def test_review_of_a_replaced_version_is_refused_and_changes_nothing():
    first = make_row(0)
    rows = [first, machine(first, 2), machine(first, 3)]
    found = with_edits(rows, [edit_of(first, review="accepted")])
    assert list(found.rows) == rows
    (outcome,) = found.outcomes
    assert not outcome.is_applied
    assert outcome.note == "version 1 was replaced by version 3 meanwhile; look at it again"


def test_corrections_become_the_newest_version_whatever_was_written_meanwhile():
    first = make_row(0, config_sha256="c" * 64, code_version="old")
    rows = [first, machine(first, 2), machine(first, 3)]
    found = with_edits(rows, [edit_of(first, corrected=corrected(first))], code_version="0.1")
    assert list(found.rows[:3]) == rows
    made = found.rows[3]
    assert (made.label_version, made.parent_version, made.origin, made.review) == (4, 1, "human", "accepted")
    assert (made.code_version, made.config_sha256) == ("0.1", None)
    assert datetime.datetime.now(datetime.UTC) - made.created_utc < datetime.timedelta(minutes=1)
    np.testing.assert_array_equal(made.keypoints_2d, first.keypoints_2d + 1)
    assert found.outcomes[0].note == (
        "was made of version 1; version 3, which a machine wrote meanwhile, is kept behind it"
    )
    assert store.latest_labels(found.rows) == [made]
    # And no machine replaces it.
    assert store.replace_if_better(made, machine(first, 5)) is made


def test_two_people_correct_one_label_and_both_versions_stay():
    first = make_row(0)
    one = with_edits([first], [edit_of(first, corrected=corrected(first, 1.0))])
    two = with_edits(one.rows, [edit_of(first, corrected=corrected(first, 2.0))])
    assert [row.label_version for row in two.rows] == [1, 2, 3]
    assert [float((row.keypoints_2d - first.keypoints_2d).mean().round()) for row in two.rows] == [0, 1, 2]
    assert "version 2, which a person wrote meanwhile" in (two.outcomes[0].note or "")


def test_person_who_has_not_been_told_of_the_own_version_yet_means_that_one():
    first = make_row(0)
    edits = [
        edit_of(first, corrected=corrected(first, 1.0)),
        edit_of(first, corrected=corrected(first, 2.0)),
        edit_of(first, review="rejected", review_by_part={"left_hand": "wrong"}),
    ]
    together = with_edits([first], edits)
    rows, outcomes = [first], []
    for edit in edits:
        found = with_edits(rows, [edit], before=outcomes)
        rows, outcomes = list(found.rows), [*outcomes, *found.outcomes]
    for found, told in ((list(together.rows), list(together.outcomes)), (rows, outcomes)):
        assert [one.note for one in told] == [None] * 3
        assert [(row.label_version, row.parent_version) for row in found] == [(1, None), (2, 1), (3, 2)]
        assert [row.review for row in found] == ["none", "accepted", "rejected"]
        assert found[2].review_by_part["left_hand"] == "wrong"


def test_word_of_somebody_else_meanwhile_is_told():
    seen = make_row(0)
    now = dataclasses.replace(seen, review="accepted", review_by_part={"left_foot": "right"})
    edit = edit_of(seen, review="rejected", review_by_part={"left_foot": "wrong", "left_hand": "wrong"}, seen=seen)
    found = with_edits([now], [edit])
    assert found.outcomes[0].is_applied
    assert found.outcomes[0].note == "somebody else had called it accepted, left_foot right meanwhile"
    assert with_edits([now], [dataclasses.replace(edit, seen=now)]).outcomes[0].note is None
    own = with_edits([seen], [edit_of(seen, review="accepted", seen=seen), edit_of(seen, review="rejected", seen=seen)])
    assert [one.note for one in own.outcomes] == [None, None]


def test_label_that_was_made_anew_under_the_same_version_is_not_the_one_that_was_seen():
    seen = make_row(0)
    anew = dataclasses.replace(seen, transl=seen.transl + 1, created_utc=datetime.datetime.now(datetime.UTC))
    review = edit_of(seen, review="accepted", seen=seen)
    correction = edit_of(seen, corrected=corrected(seen), seen=seen)
    found = with_edits([anew], [review, correction])
    assert found.outcomes[0].row is None
    assert found.outcomes[0].note == "was made anew meanwhile; look at it again"
    assert found.rows[0] is anew
    assert found.rows[1].label_version == 2
    assert "made anew meanwhile; that one is kept behind it" in (found.outcomes[1].note or "")


def test_removed_label_is_told_and_does_not_come_back():
    row = make_row(0)
    found = with_edits([make_row(1)], [edit_of(row, corrected=corrected(row))])
    assert len(found.rows) == 1
    assert not found.outcomes[0].is_applied
    assert "removed" in (found.outcomes[0].note or "")


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({}, "needs a `review`"),
        ({"review": "good"}, "none, accepted, rejected, got 'good'"),
        ({"review_by_part": {"left_foot": "bad"}}, "right or wrong.*'bad' of 'left_foot'"),
        ({"review_by_part": {"nose": "wrong"}}, "left_foot.*'nose'"),
        ({"corrected": make_row(1)}, "is another one"),
        ({"corrected": make_row(0, status="NO_EVIDENCE")}, "no pose.*NO_EVIDENCE"),
        ({"corrected": make_row(0, transl=np.array([0, np.nan, 3]))}, "transl.*not finite"),
    ],
)
def test_impossible_edits_are_refused(said, match):
    with pytest.raises(LabelEditError, match=match):
        edit_of(make_row(0), **said).check()
