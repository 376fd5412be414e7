"""Labels against the truth of rendered people: where the labelled bodies are, not what was seen of them."""

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.body import landmarks
from hardmo_jax.body.load import open_body
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.pieces import project_in_pieces
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.metrics import protocols
from hardmo_jax.pipelines.label_records import BOX_GROWTH
from hardmo_jax.pipelines.label_rows import observations_of_labels, params_of_labels
from hardmo_jax.pipelines.record_points import LAYOUT, RecordPoints
from hardmo_jax.pipelines.score_records import score_records
from hardmo_jax.pipelines.set_scores import JOINTS, ScoreError, SetScore, world_rotations

#: Whose points, root and thresholds are compared.
PROTOCOL = "hardmo"


def points_of_fits(rows: Sequence[LabelRow], body: BodyModel, *, source: str) -> RecordPoints:
    """The bodies of labels as points: all that the body has, whatever was seen of the person.

    Args:
        rows: Usable labels of this body, one at least.
        body: Theirs.
        source: Beginning of the people's names, for messages too.
    """
    camera, params = observations_of_labels(rows).camera, params_of_labels(rows, body)
    model, is_there = landmarks.point_model(body, LAYOUT)
    points, pixels = (np.asarray(each, np.float64) for each in project_in_pieces(model, camera, params))
    has = np.broadcast_to(np.asarray(is_there, np.float64), points.shape[:2]).copy()
    turns = np.stack([np.concatenate([row.global_orient[None], row.body_pose]) for row in rows])[:, : len(JOINTS)]
    local = Rotation.from_rotvec(turns.reshape(-1, 3)).as_matrix().reshape(*turns.shape, 3)
    corners = np.stack([np.asarray(row.bbox, np.float64) for row in rows])
    return RecordPoints(
        source=source,
        ids=tuple(f"{source}:{row.source_path}#{row.frame_index}/{row.track_id}" for row in rows),
        groups=tuple(row.source_path for row in rows),
        keypoints_2d=np.where(has[..., None] > 0, pixels, 0.0),
        confidence_2d=has,
        keypoints_3d=np.where(has[..., None] > 0, points, 0.0),
        confidence_3d=has,
        rotations=world_rotations(local),
        box_sides=BOX_GROWTH * (corners[:, 2:] - corners[:, :2]).max(-1),
        box_centers=0.5 * (corners[:, :2] + corners[:, 2:]),
    )


def score_labels_on_truth(rows: Sequence[LabelRow], body: BodyModel, truth: Sequence[LabelRow]) -> SetScore:
    """Errors of labels against true ones of the same pictures, people put together by their boxes.

    Args:
        rows: Labels; failed fits count as people who are missing.
        body: Theirs.
        truth: Labels of the open body that are true.

    Raises:
        hardmo_jax.pipelines.set_scores.ScoreError: If nothing can be compared.
    """
    usable = [row for row in rows if row.is_usable]
    if not usable:
        raise ScoreError("no label is usable, so that none can be compared with the truth")
    true_points = points_of_fits(truth, open_body(view="smplh"), source="truth")
    found = points_of_fits(usable, body, source="labels")
    return score_records(true_points, found, protocols.get_protocol(PROTOCOL), method="labels")
