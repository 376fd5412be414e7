"""A label store as somebody looks at it: pictures in order, the people in each, and the cases worth looking at."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.skeleton import layouts

#: What to go through: all pictures in order, parts by how likely they are wrong, or what a person said of labels.
CaseKind = Literal["in order", "feet", "hands", "bodies", "not looked at", "marked wrong", "corrected", "rejected"]
CASE_KINDS: tuple[CaseKind, ...] = get_args(CaseKind)
#: An error of a body that makes it as bad as a part that is wrong for certain, box sides.
_BAD_ERROR = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViewedPicture:
    """A photo, or a frame of a video, and who was labelled in it."""

    source_path: str
    source_sha256: str
    frame_index: int
    time_seconds: float | None
    people: tuple[str, ...]
    """Labels, by track."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """Something to look at."""

    label_id: str
    part: str
    """`body`, or the foot or hand that it is about."""


class ViewedLabels:
    """The versions of all labels of a store, in the order of pictures."""

    def __init__(self, rows: Sequence[LabelRow]) -> None:
        """Sort labels into pictures.

        Args:
            rows: Any number of versions.
        """
        self._versions: dict[str, list[LabelRow]] = {}
        for row in sorted(rows, key=lambda row: row.label_version):
            self._versions.setdefault(row.label_id, []).append(row)
        by_picture: dict[tuple[str, str, int], list[LabelRow]] = {}
        for row in (versions[-1] for versions in self._versions.values()):
            by_picture.setdefault((row.source_path, row.source_sha256, row.frame_index), []).append(row)
        self.pictures = tuple(
            ViewedPicture(
                source_path=path,
                source_sha256=sha256,
                frame_index=frame_index,
                time_seconds=people[0].time_seconds,
                people=tuple(row.label_id for row in sorted(people, key=lambda row: (row.track_id, row.label_id))),
            )
            for (path, sha256, frame_index), people in sorted(by_picture.items())
        )
        self._picture_of = {label_id: at for at, picture in enumerate(self.pictures) for label_id in picture.people}

    def __len__(self) -> int:
        return len(self._versions)

    def newest(self, label_id: str) -> LabelRow:
        """Newest version of a label; KeyError if there is none."""
        return self._versions[label_id][-1]

    def versions(self, label_id: str) -> tuple[LabelRow, ...]:
        """All versions of a label, the newest last; KeyError if there is none."""
        return tuple(self._versions[label_id])

    def put(self, rows: Sequence[LabelRow]) -> None:
        """Other versions of a label that is there already, in the same picture.

        Args:
            rows: All versions of one label.
        """
        self._versions[rows[0].label_id] = sorted(rows, key=lambda row: row.label_version)

    def first_usable(self) -> LabelRow | None:
        """Some label that has a pose."""
        return next((versions[-1] for versions in self._versions.values() if versions[-1].is_usable), None)

    def has(self, label_id: str) -> bool:
        """Whether there is such a label."""
        return label_id in self._versions

    def former(self, label_id: str) -> LabelRow | None:
        """The version that the newest one replaced, if it has a pose; None if there is none."""
        newest = self.newest(label_id)
        older = [row for row in self._versions[label_id][:-1] if row.is_usable]
        by_version = {row.label_version: row for row in older}
        return by_version.get(newest.parent_version or 0, older[-1] if older else None)

    def place_of(self, label_id: str) -> int:
        """Index of the picture of a label."""
        return self._picture_of[label_id]

    def track_of(self, label_id: str) -> tuple[tuple[int, LabelRow], ...]:
        """Pictures of a video with the same person, by index, and the newest labels of the person; none of a photo."""
        own = self.newest(label_id)
        if own.time_seconds is None:
            return ()
        # Pictures are sorted, so that those of a video lie together.
        at = self.place_of(label_id)
        first, last = at, at
        while first > 0 and self._is_same_source(self.pictures[first - 1], own):
            first -= 1
        while last + 1 < len(self.pictures) and self._is_same_source(self.pictures[last + 1], own):
            last += 1
        found = []
        for index in range(first, last + 1):
            rows = (self.newest(name) for name in self.pictures[index].people)
            found += [(index, row) for row in rows if row.track_id == own.track_id]
        return tuple(found)

    @staticmethod
    def _is_same_source(picture: ViewedPicture, row: LabelRow) -> bool:
        return (picture.source_path, picture.source_sha256) == (row.source_path, row.source_sha256)

    def cases(self, kind: CaseKind) -> tuple[Case, ...]:
        """Labels to go through, the worst first; without parts that a person settled where machines' words count."""
        rows = [self.newest(label_id) for picture in self.pictures for label_id in picture.people]
        ending = {"feet": "foot", "hands": "hand", "bodies": "body"}.get(kind)
        if ending is None:
            return tuple(Case(label_id=row.label_id, part=_marked_part(row)) for row in rows if _is_of_kind(row, kind))
        found: list[tuple[float, Case]] = []
        for row in rows:
            for part in layouts.PARTS:
                how_bad = _badness(row, part) if part.endswith(ending) else None
                if how_bad is not None:
                    found.append((how_bad, Case(label_id=row.label_id, part=part)))
        return tuple(case for _, case in sorted(found, key=lambda one: -one[0]))


def badness(row: LabelRow, part: str) -> float | None:
    """How likely a part is wrong, in [0, 1]: a person's word, then a machine's, then the error; None if not known."""
    if row.review == "rejected" or row.review_by_part[part] == "wrong":
        return 1.0
    if row.review == "accepted" or row.review_by_part[part] == "right":
        return 0.0
    if row.wrong_by_part[part] is not None:
        return row.wrong_by_part[part]
    error = row.error_by_part[part]
    return None if error is None else min(error / _BAD_ERROR, 1.0)


def _badness(row: LabelRow, part: str) -> float | None:
    """Of what is still to be looked at."""
    is_settled = row.has_a_persons_word or row.review_by_part[part] is not None
    return None if is_settled or not row.is_usable else badness(row, part)


def _marked_part(row: LabelRow) -> str:
    """The part that a person said something of."""
    wrong = (part for part, word in row.review_by_part.items() if word == "wrong")
    placed = (_part_of_point(name) for name in (*(row.placed_points or ()), *(row.placed_points_3d or ())))
    return next(iter((*wrong, *placed, "body")))


def _part_of_point(name: str) -> str:
    """The foot or hand at the end of the limb of a point."""
    side, _, kind = name.partition("_")
    own = layouts.part_of(name)
    ends = {"ankle": "foot", "knee": "foot", "wrist": "hand", "elbow": "hand"}
    return own if own not in (None, "body") else f"{side}_{ends[kind]}" if kind in ends else "body"


def _is_of_kind(row: LabelRow, kind: CaseKind) -> bool:
    if kind == "not looked at":
        return not row.was_looked_at
    if kind == "marked wrong":
        return "wrong" in row.review_by_part.values()
    if kind == "corrected":
        return row.origin == "human"
    if kind == "rejected":
        return row.review == "rejected"
    return True
