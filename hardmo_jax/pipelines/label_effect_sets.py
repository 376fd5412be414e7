"""Labels of the same people before and after the repair of hands and feet, and true ones: what effects are measured on.

Normal labels have true bodies, and the hands and feet of fits to body points alone (COCO's 17), as most published
labels are: ankles and wrists then stay where the prior has them. The second set is what `hardcase` makes of them once
hands and feet are seen.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np

from hardmo_jax.body import landmarks
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.pieces import project_in_pieces
from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.labels import store
from hardmo_jax.labels.schema import NUM_BODY_JOINTS, LabelRow
from hardmo_jax.networks.lifter_file import TrainedLifter
from hardmo_jax.pipelines import label_rows
from hardmo_jax.pipelines.refine_labels import LabelRefineOptions, refine_labels
from hardmo_jax.recovery.lift_and_fit import lift_and_fit
from hardmo_jax.recovery.starts import StartOptions
from hardmo_jax.skeleton import layouts

Progress = Callable[[str, int, int | None], None]

_JOINTS = layouts.SMPL_JOINTS[1 : 1 + NUM_BODY_JOINTS]
#: Joints that body points do not tell.
_ENDS = tuple(_JOINTS.index(f"{side}_{joint}") for side in layouts.SIDES for joint in ("ankle", "foot", "wrist"))
_BODY_POINTS = frozenset(layouts.get_layout("coco17").points)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelSets:
    """Labels of the same people, in the same order."""

    normal: tuple[LabelRow, ...]
    refined: tuple[LabelRow, ...]
    true: tuple[LabelRow, ...]
    outcomes: dict[str, dict[str, int]]
    """Of hands and feet: how many of each outcome."""


def label_sets(
    rows: Sequence[LabelRow],
    body: BodyModel,
    *,
    refine: Sequence[LabelRefineOptions] = (LabelRefineOptions(subset="hand"), LabelRefineOptions(subset="foot")),
    trained: TrainedLifter | None = None,
    progress: Progress | None = None,
) -> LabelSets:
    """Make the three sets.

    Args:
        rows: True bodies with keypoints as a detector saw them (`render_training` with `keypoints` detected).
        body: Of the labels.
        refine: How hands and feet are repaired, in this order.
        trained: Lifter that fits start from; None takes that of the package.
        progress: Told the stage, what is done, and of how much.

    Returns:
        Normal labels, which know body points alone; the same after the repair, with all points that were seen; true
        labels with true points.
    """
    fitted = _fitted([_of_body_points(row) for row in rows], body, trained)
    fitted = [_with_ends(row, own) for row, own in zip(rows, fitted, strict=True)]
    seen = [
        dataclasses.replace(row, keypoints_2d=was.keypoints_2d, keypoint_confidence=was.keypoint_confidence)
        for row, was in zip(fitted, rows, strict=True)
    ]
    refined: Sequence[LabelRow] = label_rows.measured_again(seen, body)
    outcomes: dict[str, dict[str, int]] = {}
    for options in refine:
        found = refine_labels(refined, body, options, progress=progress)
        refined = found.rows
        words = [part.outcome for part in found.parts]
        outcomes[options.subset] = {word: words.count(word) for word in sorted(set(words))}
    by_label = {row.label_id: row for row in store.latest_labels(refined)}
    return LabelSets(
        normal=tuple(label_rows.measured_again([_of_body_points(row) for row in fitted], body)),
        refined=tuple(by_label[row.label_id] for row in rows),
        true=tuple(with_own_points(rows, body)),
        outcomes=outcomes,
    )


def _of_body_points(row: LabelRow) -> LabelRow:
    """A label of which body points alone were seen."""
    points = layouts.get_layout(row.keypoint_layout).points
    is_body = np.array([point in _BODY_POINTS for point in points])
    return dataclasses.replace(
        row,
        keypoints_2d=np.where(is_body[:, None], row.keypoints_2d, 0.0),
        keypoint_confidence=np.where(is_body, row.keypoint_confidence, 0.0),
    )


def _fitted(rows: Sequence[LabelRow], body: BodyModel, trained: TrainedLifter | None) -> list[LabelRow]:
    """Labels with the bodies that are fitted to what was seen."""
    seen = label_rows.observations_of_labels(rows)
    result = lift_and_fit(body, seen, start=StartOptions(), trained=trained).result
    params = jax.tree.map(np.asarray, result.params)
    status = np.asarray(result.status)
    fitted = []
    for place, row in enumerate(rows):
        own = jax.tree.map(lambda leaf, place=place: leaf[place], params)
        fitted.append(
            dataclasses.replace(row, **label_rows.pose_columns(own), status=FitStatus(int(status[place])).name)
        )
    return fitted


def _with_ends(row: LabelRow, other: LabelRow) -> LabelRow:
    """A label with the hands and feet of another."""
    body_pose = np.array(row.body_pose)
    body_pose[list(_ENDS)] = np.asarray(other.body_pose)[list(_ENDS)]
    return dataclasses.replace(
        row, body_pose=body_pose, left_hand_pose=other.left_hand_pose, right_hand_pose=other.right_hand_pose
    )


def with_own_points(rows: Sequence[LabelRow], body: BodyModel) -> list[LabelRow]:
    """Labels whose keypoints are those of their bodies."""
    layout = layouts.get_layout(rows[0].keypoint_layout)
    model, is_there = landmarks.point_model(body, layout)
    seen = label_rows.observations_of_labels(rows)
    _, pixels = project_in_pieces(model, seen.camera, label_rows.params_of_labels(rows, body))
    with_points = []
    for row, points in zip(rows, np.asarray(pixels), strict=True):
        limit = np.array([row.image_width, row.image_height]) - 1
        is_seen = is_there & np.all((points >= 0) & (points <= limit), axis=-1)
        with_points.append(
            dataclasses.replace(
                row,
                keypoints_2d=np.where(is_seen[:, None], points, 0.0),
                keypoint_confidence=is_seen.astype(np.float32),
            )
        )
    return label_rows.measured_again(with_points, body)
