"""Hands or feet of labels as a second source of keypoints saw them; everything else stays as the first one saw it.

A detector that is best at bodies is seldom best at hands. People of the two sources are put together picture by
picture, and of a person's hands or feet those of the second source are taken that it saw well, and that hang on the
same wrist or ankle.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import optimize

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting.evidence import SEEN
from hardmo_jax.fitting.limb_ends import joints_of
from hardmo_jax.hardcase.mine import Subset
from hardmo_jax.hardcase.part_scores import LEAST_POINTS
from hardmo_jax.labels import store
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines.label_rows import measured_again
from hardmo_jax.pipelines.score_labels import with_part, without_scores
from hardmo_jax.skeleton import layouts, regressors


class SecondSourceError(ValueError):
    """A second source that says nothing of the labels; the message says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FusionOptions:
    """When the second source is believed."""

    most_apart: float = 0.1
    """Mean distance of body points up to which two sightings are one person, box sides."""
    most_base_apart: float = 0.06
    """Distance of the two wrists or ankles up to which they are the same, box sides."""
    least_confidence: float = 0.4
    """Mean confidence of the points of a hand or foot that the second source saw, from which it is believed."""

    def __post_init__(self) -> None:
        if not (self.most_apart > 0 and self.most_base_apart > 0 and 0 <= self.least_confidence <= 1):
            raise ValueError(f"distances must be positive and confidences in [0, 1], got {self}")


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
        for row, other in _same_people(by_picture[key], others[key], options):
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


def _same_people(
    rows: Sequence[LabelRow], others: Sequence[LabelRow], options: FusionOptions
) -> list[tuple[LabelRow, LabelRow]]:
    """Who is who in one picture."""
    apart = np.array([[_distance(row, other) for other in others] for row in rows])
    pairs = zip(*optimize.linear_sum_assignment(np.minimum(apart, 1e3)), strict=True)
    return [(rows[a], others[b]) for a, b in pairs if apart[a, b] <= options.most_apart]


def _distance(row: LabelRow, other: LabelRow) -> float:
    """Mean distance of body points that both saw, box sides; infinite without any."""
    ours, theirs = layouts.get_layout(row.keypoint_layout).points, layouts.get_layout(other.keypoint_layout).points
    shared = [(ours.index(point), theirs.index(point)) for point in ours
              if point in theirs and layouts.part_of(point) == "body"]  # fmt: skip
    own, their = (np.array(places, int) for places in zip(*shared, strict=True)) if shared else ([], [])
    seen = np.minimum(row.keypoint_confidence[own], other.keypoint_confidence[their]) >= SEEN
    if not seen.any():
        return float("inf")
    apart = np.linalg.norm(row.keypoints_2d[own] - other.keypoints_2d[their], axis=-1)[seen]
    return float(apart.mean()) / _box_side(row)


def _box_side(row: LabelRow) -> float:
    return max(float(np.max(row.bbox[2:] - row.bbox[:2])), 1.0)


def _fused(row: LabelRow, other: LabelRow, subset: Subset, options: FusionOptions) -> LabelRow | None:
    """A label with what the other saw of its hands or feet; None if that changes nothing."""
    ours = layouts.get_layout(row.keypoint_layout)
    points, confidence = row.keypoints_2d.copy(), row.keypoint_confidence.copy()
    their_points, their_confidence = _in_layout(other, ours)
    taken = []
    for side in layouts.SIDES:
        part = f"{side}_{subset}"
        own = np.array([layouts.part_of(point) == part for point in ours.points], bool)
        base = np.array([regressors.place_of(point) == joints_of(part)[0] for point in ours.points], bool)
        seen = own & (their_confidence >= SEEN)
        if seen.sum() < LEAST_POINTS[subset] or their_confidence[seen].mean() < options.least_confidence:
            continue
        if not _same_base(row, their_points, their_confidence, base, options):
            continue
        new_points = np.where(own[:, None], their_points, points)
        new_confidence = np.where(own, their_confidence, confidence)
        if np.array_equal(new_points, points) and np.array_equal(new_confidence, confidence):
            continue
        points, confidence = new_points, new_confidence
        taken.append(part)
    if not taken:
        return None
    made = dataclasses.replace(
        row,
        keypoints_2d=points,
        keypoint_confidence=confidence,
        keypoint_source=f"{row.keypoint_source}; {', '.join(taken)}: {other.keypoint_source}",
    )
    for part in taken:
        made = with_part(without_scores(made, part), part, {"outcome_by_part": None})
    return made


def _same_base(
    row: LabelRow,
    their_points: Float[np.ndarray, "K 2"],
    their_confidence: Float[np.ndarray, "K"],
    base: Bool[np.ndarray, "K"],
    options: FusionOptions,
) -> bool:
    """Whether both saw the wrist or ankle in one place; nothing speaks against it where one of them did not."""
    both = base & (row.keypoint_confidence >= SEEN) & (their_confidence >= SEEN)
    apart = np.linalg.norm(row.keypoints_2d - their_points, axis=-1)[both]
    return not len(apart) or float(apart.min()) <= options.most_base_apart * _box_side(row)


def _in_layout(
    row: LabelRow, layout: layouts.KeypointLayout
) -> tuple[Float[np.ndarray, "K 2"], Float[np.ndarray, "K"]]:
    """Keypoints of a label in another order; confidence 0 where it has none."""
    theirs = layouts.get_layout(row.keypoint_layout).points
    places = np.array([theirs.index(point) if point in theirs else -1 for point in layout.points])
    has = places >= 0
    points = np.where(has[:, None], row.keypoints_2d[places], 0).astype(np.float32)
    return points, np.where(has, row.keypoint_confidence[places], 0).astype(np.float32)
