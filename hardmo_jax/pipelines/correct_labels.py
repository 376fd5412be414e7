"""A label corrected by a person: placed points become its keypoints, and the part they belong to is solved again."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
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
    current: LabelRow | None = None,
    options: LimbSolveOptions | None = None,
) -> CorrectedLabel:
    """Solve the parts of a label again to which placed points belong.

    The result says that a person made it. Placed points become its keypoints, of confidence 1 (those in space by where
    the camera sees them); what a person placed before stays where it is. Scores that machines gave to the parts are
    dropped, and what a person said of them: they were of the pose that was.

    Args:
        row: A usable label.
        body: Its body.
        points: Where keypoints were placed, pixels of the full image, by name.
        points_3d: Where keypoints were placed in space, camera frame, metres, by name.
        current: The label after the last step of the same correction, where the solve may begin too.
        options: Weights.

    Raises:
        hardmo_jax.hardcase.correct.CorrectionError: If a point cannot be placed, or the label has no pose.
    """
    if not row.is_usable:
        raise CorrectionError(
            f"the label of {row.source_path} (frame {row.frame_index}, person {row.track_id}) has no pose to correct: "
            f"its fit ended as {row.status}"
        )
    params = _params_of(row, body)
    seen = jax.tree.map(lambda leaf: np.asarray(leaf)[0], observations_of_labels([row]))
    layout = layouts.get_layout(row.keypoint_layout)
    points, points_3d = dict(points or {}), dict(points_3d or {})
    before, before_3d = _placed_before(row, body, (*points, *points_3d))
    points, points_3d = {**before, **points}, {**before_3d, **points_3d}
    found = correct(
        body,
        params,
        seen,
        points=points,
        points_3d=points_3d,
        current=None if current is None else _params_of(current, body),
        options=options,
    )
    keypoints, confidence = row.keypoints_2d.copy(), row.keypoint_confidence.copy()
    in_space = {
        name: place[:2] / place[2] * row.focal_length + row.principal_point for name, place in points_3d.items()
    }
    for name, place in (*points.items(), *in_space.items()):
        keypoints[layout.points.index(name)] = place
        confidence[layout.points.index(name)] = 1.0
    made = dataclasses.replace(
        row,
        **pose_columns(found.params),
        keypoints_2d=keypoints,
        keypoint_confidence=confidence,
        placed_points=_placed(layout.points, row.placed_points, points, but=points_3d),
        placed_points_3d=_placed(layout.points, row.placed_points_3d, points_3d, but=points),
        origin="human",
    )
    for part in parts_moved(found.joints):
        made = _of_a_person(made, part)
    return CorrectedLabel(row=measured_again([made], body)[0], correction=found)


def _placed(
    names: Sequence[str], before: Sequence[str] | None, now: Mapping[str, Any], *, but: Mapping[str, Any]
) -> tuple[str, ...]:
    """Points that were placed in one way and not in the other since, in the order of the layout."""
    placed = (set(before or ()) - set(but)) | set(now)
    return tuple(name for name in names if name in placed)


def _placed_before(
    row: LabelRow, body: BodyModel, names: tuple[str, ...]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Points that a person placed in earlier versions, of the joints that turn again: there they stay.

    Returns:
        Those on the picture, pixels, and those in space, metres.
    """
    free = {joint for name in names for joint in joints_moved_by(name, body)}
    points = layouts.get_layout(row.keypoint_layout).points

    def kept(placed: Sequence[str] | None, places: np.ndarray | None) -> dict[str, np.ndarray]:
        if placed is None or places is None:
            return {}
        return {
            name: places[points.index(name)]
            for name in placed
            if free.issuperset(joints_moved_by(name, body)) and name not in names
        }

    return kept(row.placed_points, row.keypoints_2d), kept(row.placed_points_3d, row.keypoints_3d)


def _params_of(row: LabelRow, body: BodyModel) -> BodyParams:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[0], params_of_labels([row], body))


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
