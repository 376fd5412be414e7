"""Who of new labels is who of those in a store: people get the numbers that they have there.

A label is named after its file, frame and person, and the person's number is the place from left to right (photos) or
the track (videos) among all who were found. The same perception gives the same numbers whatever the fits start from;
another detector, which finds one person more, gives others, and a label would be taken for that of a neighbour.
"""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.perception.anchors import box_iou
from hardmo_jax.pipelines.second_source import same_people_of_labels

#: Mean distance of body points of one person in two sets of labels, box sides.
_MOST_APART = 0.1
#: Overlap of boxes of one person, intersection over union.
_LEAST_OVERLAP = 0.7
#: File by name and content.
_File = tuple[str, str]


def with_known_people(candidates: Sequence[LabelRow], known: Sequence[LabelRow]) -> list[LabelRow]:
    """New labels with the numbers and names that their people have in a store.

    Of each file, people are put together frame by frame by what was seen of their bodies, and each gets the number of
    the one it is put together with most often. Who is not there yet keeps the own number, or gets a free one where that
    is somebody else's.

    Args:
        candidates: New labels.
        known: Newest versions of those in the store.

    Returns:
        The labels in the same order; those whose numbers stay are the same objects.
    """
    before: dict[_File, list[LabelRow]] = collections.defaultdict(list)
    for row in known:
        before[_file(row)].append(row)
    own: dict[_File, list[LabelRow]] = collections.defaultdict(list)
    for row in candidates:
        own[_file(row)].append(row)
    numbers = {file: _numbers(rows, before[file]) for file, rows in own.items() if before.get(file)}
    names = {(*_file(row), row.frame_index, row.track_id): row.label_id for row in known}
    found = []
    for row in candidates:
        number = numbers.get(_file(row), {}).get(row.track_id, row.track_id)
        name = names.get((*_file(row), row.frame_index, number), row.label_id if number == row.track_id else "")
        is_same = (number, name) == (row.track_id, row.label_id)
        found.append(row if is_same else dataclasses.replace(row, track_id=number, label_id=name))
    return found


def _file(row: LabelRow) -> _File:
    return row.source_path.replace("\\", "/"), row.source_sha256


def _numbers(rows: Sequence[LabelRow], known: Sequence[LabelRow]) -> dict[int, int]:
    """Number in the store of each new number of one file."""
    by_frame: dict[int, list[LabelRow]] = collections.defaultdict(list)
    for row in known:
        by_frame[row.frame_index].append(row)
    new_by_frame: dict[int, list[LabelRow]] = collections.defaultdict(list)
    for row in rows:
        new_by_frame[row.frame_index].append(row)
    votes: collections.Counter[tuple[int, int]] = collections.Counter()
    for frame, people in new_by_frame.items():
        if by_frame.get(frame):
            pairs = same_people_of_labels(people, by_frame[frame], _MOST_APART)
            votes.update((new.track_id, old.track_id) for new, old in pairs)
            # A box says something of those alone of whom their bodies do not: two who hold each other share one.
            paired = {(id(new), id(old)) for new, old in pairs}
            new_ids, old_ids = ({pair[side] for pair in paired} for side in (0, 1))
            left = [row for row in people if id(row) not in new_ids]
            votes.update(_by_boxes(left, [row for row in by_frame[frame] if id(row) not in old_ids]))
    numbers: dict[int, int] = {}
    # Of equally many votes a number that stays wins.
    for new, old in sorted(votes, key=lambda pair: (-votes[pair], pair[0] != pair[1], pair)):
        if new not in numbers and old not in numbers.values():
            numbers[new] = old
    taken = {row.track_id for row in known} | set(numbers.values())
    for new in sorted({row.track_id for row in rows} - set(numbers)):
        numbers[new] = new if new not in taken else max(taken) + 1
        taken.add(numbers[new])
    return numbers


def _by_boxes(rows: Sequence[LabelRow], known: Sequence[LabelRow]) -> list[tuple[int, int]]:
    """People of the same number in much the same box, of whom perhaps too little of the body is seen to say more."""
    box_of = {row.track_id: np.asarray(row.bbox, np.float64) for row in known}
    return [
        (row.track_id, row.track_id)
        for row in rows
        if row.track_id in box_of
        and float(box_iou(np.asarray(row.bbox, np.float64), box_of[row.track_id][None])[0]) > _LEAST_OVERLAP
    ]
