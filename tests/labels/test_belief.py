"""How far parts are believed: a person before a machine, and nobody of what was not seen."""

import dataclasses

import pytest

from hardmo_jax.labels.belief import part_belief, parts_called_wrong
from tests.labels.test_schema import make_row

PART = "left_foot"


def label(*, word=None, wrong=None, evidence="seen", review="none", part=PART):
    row = make_row(0)
    return dataclasses.replace(
        row,
        review=review,
        review_by_part={**row.review_by_part, part: word},
        wrong_by_part={**row.wrong_by_part, PART: wrong},
        evidence_by_part={**row.evidence_by_part, PART: evidence},
    )


@pytest.mark.parametrize(
    ("row", "belief"),
    [
        (label(), 1.0),
        (label(wrong=0.25), 0.75),
        (label(wrong=1.0), 0.0),
        (label(wrong=0.9, word="right"), 1.0),
        (label(wrong=0.1, word="wrong"), 0.0),
        (label(wrong=0.9, review="accepted"), 1.0),
        (label(wrong=0.1, evidence="unseen"), 0.0),
        (label(evidence="unseen", review="accepted"), 0.0),
        (label(evidence="unseen", word="right"), 1.0),
    ],
)
def test_a_person_goes_before_a_machine_and_what_nobody_saw_is_not_believed(row, belief):
    assert part_belief(row, PART) == pytest.approx(belief)


def test_machines_need_not_be_asked():
    assert part_belief(label(wrong=0.9), PART, believes_scores=False) == 1.0
    assert part_belief(label(wrong=0.9, evidence="unseen"), PART, believes_scores=False) == 0.0


def test_of_a_body_only_a_persons_word_counts():
    assert part_belief(label(wrong=0.9), "body") == 1.0
    assert part_belief(label(word="wrong", part="body"), "body") == 0.0
    assert part_belief(label(wrong=0.9, word="wrong"), None) == 1.0


def test_parts_that_were_called_wrong():
    row = label(word="wrong")
    assert parts_called_wrong(row) == (PART,)
    assert parts_called_wrong(label(word="right")) == parts_called_wrong(label()) == ()
