"""Hands or feet of labels as a second source of keypoints saw them; everything else stays as the first one saw it.

A detector that is best at bodies is seldom best at hands. People of the two sources are put together picture by
picture, and of a person's hands or feet those of the second source are taken that it saw well, and that hang on the
same wrist or ankle.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hardmo_jax.body.model import BodyModel
from hardmo_jax.hardcase.mine import Subset
from hardmo_jax.labels import store
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.perception import fuse
from hardmo_jax.perception.fuse import FusionOptions
from hardmo_jax.pipelines.label_rows import measured_again
from hardmo_jax.pipelines.score_labels import with_part, without_scores
from hardmo_jax.skeleton import layouts


class SecondSourceError(ValueError):
    """A second source that says nothing of the labels; the message says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FusedLabels:
    """Labels with the hands or feet of a second source."""

    rows: tuple[LabelRow, ...]
    """All versions; a label whose evidence changed has a new one behind those it had."""
    num_matched: int
    """Labels whose person the second source saw."""
    num_changed: int
    """Labels that got a new version."""


def with_second_source(
    rows: Sequence[LabelRow],
    second: Sequence[LabelRow],
    subset: Subset,
    body: BodyModel,
    options: FusionOptions,
    *,
    origin: Mapping[str, Any],
) -> FusedLabels:
    """Labels with the hands or feet that another source of keypoints saw.

    Args:
        rows: Labels, any number of versions.
        second: Labels of the same pictures; their keypoints are used, not their poses.
        subset: `hand` or `foot`.
        body: Of the labels.
        options: What is believed.
        origin: Columns of new versions that say what made them.

    Raises:
        SecondSourceError: If no picture of the labels is among those of the second source.
    """
    others: dict[tuple[str, int], list[LabelRow]] = {}
    for row in store.latest_labels(second):
        others.setdefault((row.source_sha256, row.frame_index), []).append(row)
    newest = [row for row in store.latest_labels(rows) if not row.has_a_persons_word]
    by_picture: dict[tuple[str, int], list[LabelRow]] = {}
    for row in newest:
        by_picture.setdefault((row.source_sha256, row.frame_index), []).append(row)
    shared = [key for key in by_picture if key in others]
    if by_picture and not shared:
        raise SecondSourceError(
            "no picture of the labels is among those of the second source; both must be of the same files (by checksum)"
        )
    fused: dict[str, list[LabelRow]] = {}
    num_matched = 0
    for key in shared:
        for row, other in same_people_of_labels(by_picture[key], others[key], options.most_apart):
            num_matched += 1
            made = _fused(row, other, subset, options)
            if made is not None:
                version = {"label_version": row.label_version + 1, "parent_version": row.label_version}
                fused.setdefault(row.keypoint_layout, []).append(dataclasses.replace(made, **version, **origin))
    made = {row.label_id: row for group in fused.values() for row in measured_again(group, body)}
    history = []
    for row in store.merge_labels(rows, (), keep_history=True):
        history.append(row)
        if row.label_id in made and made[row.label_id].parent_version == row.label_version:
            history.append(made[row.label_id])
    return FusedLabels(rows=tuple(history), num_matched=num_matched, num_changed=len(made))


def same_people_of_labels(
    rows: Sequence[LabelRow], others: Sequence[LabelRow], most_apart: float
) -> list[tuple[LabelRow, LabelRow]]:
    """Who is who in two sets of labels of one picture, by the body points that both saw.

    Args:
        rows: Labels of different people, one at least.
        others: Those of the other set.
        most_apart: Mean distance of body points of one person, box sides.
    """
    layout = layouts.get_layout(rows[0].keypoint_layout)
    pairs = fuse.same_people(
        [_in_layout(row, layout) for row in rows],
        [_in_layout(row, layout) for row in others],
        [fuse.box_side(row.bbox) for row in rows],
        layout,
        most_apart,
    )
    return [(rows[a], others[b]) for a, b in pairs]


def _fused(row: LabelRow, other: LabelRow, subset: Subset, options: FusionOptions) -> LabelRow | None:
    """A label with what the other saw of its hands or feet; None if that changes nothing."""
    layout, side_length = layouts.get_layout(row.keypoint_layout), fuse.box_side(row.bbox)
    seen = _in_layout(row, layout)
    theirs = fuse.with_sides_of(seen, _in_layout(other, layout), layout, side_length)
    taken = []
    for part in (f"{side}_{subset}" for side in layouts.SIDES):
        if row.review_by_part[part] == "right":
            continue  # by a person, who knows better than the other source
        made = fuse.with_part_of(seen, theirs, part, layout, side_length, options)
        if made is not None:
            seen = made
            taken.append(part)
    if not taken:
        return None
    fused = dataclasses.replace(
        row,
        keypoints_2d=seen.keypoints_2d,
        keypoint_confidence=seen.confidence,
        keypoint_source=f"{row.keypoint_source}; {', '.join(taken)}: {other.keypoint_source}",
    )
    for part in taken:
        fused = with_part(without_scores(fused, part), part, {"outcome_by_part": None})
    return fused


def _in_layout(row: LabelRow, layout: layouts.KeypointLayout) -> fuse.Seen:
    """Keypoints of a label in another order; confidence 0 where it has none."""
    theirs = layouts.get_layout(row.keypoint_layout).points
    places = np.array([theirs.index(point) if point in theirs else -1 for point in layout.points])
    has = places >= 0
    return fuse.Seen(
        keypoints_2d=np.where(has[:, None], row.keypoints_2d[places], 0).astype(np.float32),
        confidence=np.where(has, row.keypoint_confidence[places], 0).astype(np.float32),
    )
