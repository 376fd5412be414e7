"""A label corrected by a person: placed points become its keypoints, and the part they belong to is solved again."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.hardcase.correct import Correction, CorrectionError, correct, joints_moved_by
from hardmo_jax.hardcase.limb_solve import LimbSolveOptions
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines.label_rows import measured_again, observations_of_labels, params_of_labels, pose_columns
from hardmo_jax.pipelines.score_labels import with_part, without_scores
from hardmo_jax.recovery.part_evidence import SEEN, part_evidence
from hardmo_jax.skeleton import layouts


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorrectedLabel:
    """A label after a correction."""

    row: LabelRow
    """The label as the person left it; its version is that of the label it was made of."""
    correction: Correction
    """What was solved, and how far each point is from where it was put."""


def correct_label(
    row: LabelRow,
    body: BodyModel,
    *,
    points: Mapping[str, Float[np.ndarray, "2"]] | None = None,
    points_3d: Mapping[str, Float[np.ndarray, "3"]] | None = None,
    options: LimbSolveOptions | None = None,
) -> CorrectedLabel:
    """Solve the parts of a label again to which placed points belong.

    The result says that a person made it. Placed points become its keypoints, of confidence 1; scores that machines
    gave to the parts are dropped, and what a person said of them: they were of the pose that was.

    Args:
        row: A usable label.
        body: Its body.
        points: Where keypoints were placed, pixels of the full image, by name.
        points_3d: Where keypoints were placed in space, camera frame, metres, by name.
        options: Weights.

    Raises:
        hardmo_jax.hardcase.correct.CorrectionError: If a point cannot be placed, or the label has no pose.
    """
    if not row.is_usable:
        raise CorrectionError(
            f"the label of {row.source_path} (frame {row.frame_index}, person {row.track_id}) has no pose to correct: "
            f"its fit ended as {row.status}"
        )
    params = jax.tree.map(lambda leaf: np.asarray(leaf)[0], params_of_labels([row], body))
    seen = jax.tree.map(lambda leaf: np.asarray(leaf)[0], observations_of_labels([row]))
    layout = layouts.get_layout(row.keypoint_layout)
    placed_before = _placed_before(row, body, (*(points or {}), *(points_3d or {})))
    points = {**placed_before, **(points or {})}
    found = correct(body, params, seen, points=points, points_3d=points_3d, options=options)
    keypoints, confidence = row.keypoints_2d.copy(), row.keypoint_confidence.copy()
    for name, place in points.items():
        keypoints[layout.points.index(name)] = place
        confidence[layout.points.index(name)] = 1.0
    placed = tuple(name for name in layout.points if name in points or name in (row.placed_points or ()))
    made = dataclasses.replace(
        row,
        **pose_columns(found.params),
        keypoints_2d=keypoints,
        keypoint_confidence=confidence,
        placed_points=placed,
        origin="human",
    )
    for part in parts_moved(found.joints):
        made = _of_a_person(made, part)
    return CorrectedLabel(row=measured_again([made], body)[0], correction=found)


def _placed_before(row: LabelRow, body: BodyModel, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Points that a person placed in an earlier version, of the joints that turn again: there they stay."""
    free = {joint for name in names for joint in joints_moved_by(name, body)}
    points = layouts.get_layout(row.keypoint_layout).points
    return {
        name: row.keypoints_2d[points.index(name)]
        for name in row.placed_points or ()
        if free.issuperset(joints_moved_by(name, body)) and name not in names
    }


def parts_moved(joints: tuple[str, ...]) -> tuple[str, ...]:
    """Feet and hands whose pose joints change: all that hang on them."""
    found = []
    for part in layouts.PARTS:
        side, _, kind = part.partition("_")
        own = {"foot": ("hip", "knee", "ankle", "foot"), "hand": ("shoulder", "elbow", "wrist")}.get(kind, ())
        fingers = layouts.MANO_JOINTS[side][1:] if kind == "hand" else ()
        if any(joint in fingers or joint in {f"{side}_{name}" for name in own} for joint in joints):
            found.append(part)
    return tuple(found)


def _of_a_person(row: LabelRow, part: str) -> LabelRow:
    """A label whose part rests on what a person placed."""
    layout = layouts.get_layout(row.keypoint_layout)
    found = part_evidence(layout, row.keypoint_confidence[None], frames_per_second=None, longest_gap_seconds=0.0)
    values: dict[str, Any] = {"outcome_by_part": None, "review_by_part": None, "evidence_by_part": SEEN}
    if found.status[part][0] == SEEN:
        values["spread_by_part"] = float(found.spread[part][0])
    return with_part(without_scores(row, part), part, values)
