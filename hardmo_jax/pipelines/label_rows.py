"""Between labels and what they are made of: parameters, observations, and errors against the keypoints.

A label splits parameters into what all families share and hands by family; here it is put together again.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

import hardmo_jax
from hardmo_jax.array_types import Float
from hardmo_jax.body import landmarks
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import project_in_pieces
from hardmo_jax.fitting.evidence import CONFIDENT
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.labels import provenance, schema
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.observations import Observations
from hardmo_jax.skeleton import layouts

#: Share of a part's confident keypoints within this distance, in box sides, is the part's score.
SCORE_THRESHOLD = 0.05
_HANDS = ("left_hand_pose", "right_hand_pose")


class LabelBodyError(ValueError):
    """Labels of another body than the one that was loaded; the message says which."""


def name_of_body(body: BodyModel) -> str:
    """Name of a body as labels have it."""
    return f"{body.name}_{body.family}"


def check_body_of_labels(rows: Sequence[LabelRow], body: BodyModel, *, source: str) -> None:
    """Refuse labels of another body: the same numbers would mean another person there.

    Args:
        rows: Labels.
        body: The one that was loaded.
        source: Where they come from, for the message.

    Raises:
        LabelBodyError: At the first one of another name or checksum.
    """
    for row in rows:
        if (row.body_model, row.body_model_sha256) == (name_of_body(body), body.checksum):
            continue
        view = row.body_model.removeprefix("open_body_")
        advice = (
            f"give --config.body.view={view}"
            if row.body_model.startswith("open_body_") and row.body_model != name_of_body(body)
            else "give the file that they were made with as --config.body.model"
        )
        raise LabelBodyError(
            f"{source}: labels are of the body {row.body_model} ({row.body_model_sha256[:12]}), and the body loaded "
            f"is {name_of_body(body)} ({body.checksum[:12]}); {advice}"
        )


def split_by_body(rows: Sequence[LabelRow], body: BodyModel) -> tuple[list[LabelRow], list[LabelRow]]:
    """Labels of a body, and those of others, each in order.

    Args:
        rows: Labels.
        body: By name and checksum.
    """
    name = name_of_body(body)
    is_own = [(row.body_model, row.body_model_sha256) == (name, body.checksum) for row in rows]
    own = [row for row, mine in zip(rows, is_own, strict=True) if mine]
    return own, [row for row, mine in zip(rows, is_own, strict=True) if not mine]


def params_of_labels(rows: Sequence[LabelRow], body: BodyModel) -> BodyParams:
    """Parameters of labels of one body, one row a label.

    Args:
        rows: One at least, of this body.
        body: SMPL, SMPL-H or SMPL-X. What labels do not hold (betas beyond ten, jaw, eyes, expression) is zero, as in
            all fits.
    """
    rest = jax.tree.map(np.array, BodyParams.rest(body, batch=(len(rows),)))
    shared = schema.NUM_BODY_JOINTS
    num_betas = min(body.num_betas, schema.NUM_BETAS)
    for place, row in enumerate(rows):
        rest.betas[place, :num_betas] = row.betas[:num_betas]
        rest.global_orient[place], rest.transl[place] = row.global_orient, row.transl
        rest.body_pose[place, :shared] = row.body_pose
        if row.smpl_hand_pose is not None and rest.body_pose.shape[1] > shared:
            rest.body_pose[place, shared:] = row.smpl_hand_pose
        for name in _HANDS:
            ours, theirs = getattr(rest, name), getattr(row, name)
            if ours is not None and theirs is not None:
                ours[place] = theirs
    return rest


def pose_columns(params: BodyParams) -> dict[str, Any]:
    """Parameters of one person as the schema splits them: 21 joints that all families share, then hands by family."""
    shared = schema.NUM_BODY_JOINTS
    betas = np.zeros(schema.NUM_BETAS, np.float32)
    num_betas = min(schema.NUM_BETAS, params.betas.shape[-1])
    betas[:num_betas] = params.betas[:num_betas]
    is_smpl = params.left_hand_pose is None
    return {
        "betas": betas,
        "global_orient": np.asarray(params.global_orient),
        "body_pose": np.asarray(params.body_pose[:shared]),
        "transl": np.asarray(params.transl),
        "left_hand_pose": None if is_smpl else np.asarray(params.left_hand_pose),
        "right_hand_pose": None if is_smpl else np.asarray(params.right_hand_pose),
        "smpl_hand_pose": np.asarray(params.body_pose[shared:]) if is_smpl else None,
    }


def observations_of_labels(rows: Sequence[LabelRow]) -> Observations:
    """What was seen of the people of labels of one layout: keypoints, boxes and cameras."""
    return Observations(
        keypoints_2d=np.stack([row.keypoints_2d for row in rows]),
        confidence=np.stack([row.keypoint_confidence for row in rows]),
        bbox=np.stack([row.bbox for row in rows]),
        camera=Camera(
            focal_length=np.stack([row.focal_length for row in rows]),
            principal_point=np.stack([row.principal_point for row in rows]),
        ),
        layout=rows[0].keypoint_layout,
    )


def measured_again(rows: Sequence[LabelRow], body: BodyModel) -> list[LabelRow]:
    """Labels with points, errors and scores by the whole body model, of poses that were changed by hand.

    Args:
        rows: Of one layout, one at least.
        body: Of the labels.
    """
    layout = layouts.get_layout(rows[0].keypoint_layout)
    model, is_supported = landmarks.point_model(body, layout)
    seen = observations_of_labels(rows)
    points, pixels = project_in_pieces(model, seen.camera, params_of_labels(rows, body))
    points = np.where(is_supported[:, None], points, np.nan)
    pixels = np.where(is_supported[:, None], pixels, np.nan)
    measured = []
    for place, row in enumerate(rows):
        errors, scores = errors_and_scores(row.bbox, row.keypoints_2d, row.keypoint_confidence, pixels[place], layout)
        measured.append(
            dataclasses.replace(row, keypoints_3d=points[place], error_by_part=errors, score_by_part=scores)
        )
    return measured


def errors_and_scores(
    bbox: Float[np.ndarray, "4"],
    keypoints_2d: Float[np.ndarray, "K 2"],
    confidence: Float[np.ndarray, "K"],
    fitted: Float[np.ndarray, "K 2"],
    layout: layouts.KeypointLayout,
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Median error of each part's confident keypoints in box sides, and the share of them within `SCORE_THRESHOLD`.

    Args:
        bbox: Of the person, pixels.
        keypoints_2d: As they were measured, pixels.
        confidence: Of these.
        fitted: Where the body has them, pixels; NaN where it has no such point.
        layout: Of the keypoints.
    """
    side = max(float(np.max(bbox[2:] - bbox[:2])), 1.0)
    distance = np.linalg.norm(fitted - keypoints_2d, axis=-1) / side
    is_counted = (confidence >= CONFIDENT) & np.isfinite(distance)
    parts = np.array([layouts.part_of(point) or "" for point in layout.points])
    errors: dict[str, float | None] = {}
    scores: dict[str, float | None] = {}
    for part in layouts.PARTS:
        own = distance[is_counted & (parts == part)]
        errors[part] = float(np.median(own)) if len(own) else None
        scores[part] = float((own < SCORE_THRESHOLD).mean()) if len(own) else None
    return errors, scores


def origin_columns(options: Any) -> dict[str, str]:
    """Columns of labels that say what made them: version of the package, and digest of the options.

    Args:
        options: Of the job, a dataclass.
    """
    config = json.dumps(dataclasses.asdict(options), sort_keys=True, default=str)
    return {"code_version": code_version(), "config_sha256": hashlib.sha256(config.encode()).hexdigest()}


def code_version() -> str:
    """Version of this package, with the commit where it is known."""
    commit = provenance.git_commit(pathlib.Path(__file__).parent)
    return hardmo_jax.__version__ + (f"+{commit[:12]}" if commit else "")
