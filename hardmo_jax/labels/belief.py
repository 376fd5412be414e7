"""How far parts of a label are to be believed by whoever learns from it: a person's word first, then a machine's."""

from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.skeleton import layouts


def part_belief(row: LabelRow, part: str | None, *, believes_scores: bool = True) -> float:
    """How far the pose of a part is to be believed, in [0, 1].

    Nothing of a part that a person called wrong, all of one that a person called right. A part that nobody saw is not
    believed, whoever made the label; of what a person accepted all others are. Else it is as probable as a machine
    says; of parts that a person solved anew machines say nothing, and they are believed.

    Args:
        row: The label.
        part: A foot, hand or body; None for what belongs to none.
        believes_scores: Whether machines are asked.
    """
    if part is None:
        return 1.0
    word = row.review_by_part[part]
    if word is not None:
        return float(word == "right")
    if part == "body":
        return 1.0
    if row.evidence_by_part[part] == "unseen":
        return 0.0
    wrong = row.wrong_by_part[part]
    return 1.0 if wrong is None or row.review == "accepted" or not believes_scores else 1.0 - wrong


def parts_called_wrong(row: LabelRow) -> tuple[str, ...]:
    """Parts that a person called wrong: neither their pose nor what was seen of them is to be learnt from."""
    return tuple(part for part in layouts.PARTS if row.review_by_part[part] == "wrong")
