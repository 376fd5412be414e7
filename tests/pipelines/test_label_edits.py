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
    assert (made.label_version, made.parent_version, made.origin, made.review) == (4, 1, "human", "none")
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
        assert [row.review for row in found] == ["none", "none", "rejected"]
        assert found[2].review_by_part["left_hand"] == "wrong"


@pytest.mark.parametrize(
    ("before", "said", "after"),
    [
        ("none", None, "none"),
        ("accepted", None, "none"),
        ("rejected", None, "rejected"),
        ("rejected", "accepted", "accepted"),
        ("accepted", "none", "none"),
        ("rejected", "none", "none"),
    ],
)
def test_correction_is_accepted_where_that_is_said_and_rejected_ones_stay_rejected_without_a_word(before, said, after):
    row = make_row(0, review=before)
    made = with_edits([row], [edit_of(row, corrected=corrected(row), review=said, seen=row)]).rows[1]
    assert (made.origin, made.review) == ("human", after)


def test_label_that_somebody_rejected_meanwhile_stays_rejected_when_it_is_corrected_without_a_word():
    seen = make_row(0)
    now = dataclasses.replace(seen, review="rejected")
    assert with_edits([now], [edit_of(seen, corrected=corrected(seen), seen=seen)]).rows[1].review == "rejected"


@pytest.mark.parametrize("origin", ["machine", "human"])
@pytest.mark.parametrize("review", ["none", "accepted", "rejected"])
def test_version_whose_pose_nobody_made_is_no_persons_and_keeps_what_was_said_of_it(origin, review):
    row = make_row(0, origin=origin, review=review)
    edit = edit_of(row, corrected=corrected(row), has_new_pose=False, seen=row)
    made = with_edits([row], [edit]).rows[1]
    assert (made.label_version, made.origin, made.review) == (2, origin, review)


def shown_at_once(rows, edit):
    """The version that an edit makes, as whoever knows these versions expects it."""
    return max(with_edits(rows, [edit]).rows, key=lambda row: row.label_version)


@pytest.mark.parametrize("is_told_between", [True, False])
def test_own_version_is_known_although_a_stranger_took_its_number(is_told_between):
    first = make_row(0)
    strange = machine(first, 2)
    correction = edit_of(first, corrected=corrected(first), seen=first)
    shown = shown_at_once([first], correction)
    mark = edit_of(shown, review_by_part={"left_hand": "wrong"}, seen=shown)
    marked = shown_at_once([first, shown], mark)
    second = edit_of(marked, corrected=corrected(marked), seen=marked)
    again = shown_at_once([first, marked], second)
    assert (shown.label_version, again.label_version) == (2, 3)
    edits = [correction, mark, second, edit_of(again, review="rejected", seen=again)]
    if is_told_between:
        rows, outcomes = [first, strange], []
        for edit in edits:
            found = with_edits(rows, [edit], before=outcomes)
            rows, outcomes = list(found.rows), [*outcomes, *found.outcomes]
    else:
        found = with_edits([first, strange], edits)
        rows, outcomes = list(found.rows), list(found.outcomes)
    assert [(row.label_version, row.parent_version) for row in rows] == [(1, None), (2, 1), (3, 1), (4, 3)]
    assert rows[1] is strange
    assert (rows[2].created_utc, rows[3].created_utc) == (shown.created_utc, again.created_utc)
    assert rows[2].review_by_part["left_hand"] == "wrong"
    assert rows[3].review == "rejected"
    assert [one.note is None for one in outcomes] == [False, True, True, True]
    assert "which a machine wrote" in (outcomes[0].note or "")


def test_strangers_version_of_the_number_that_was_expected_is_the_strangers():
    first = make_row(0)
    strange = machine(first, 2)
    strange = dataclasses.replace(strange, created_utc=datetime.datetime.now(datetime.UTC))
    edits = [
        edit_of(first, corrected=corrected(first), seen=first),
        edit_of(strange, review="accepted", seen=strange),
    ]
    found = with_edits([first, strange], edits)
    assert found.outcomes[1].note == "version 2 was replaced by version 3 meanwhile; look at it again"


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
