"""Keypoints of people beside the crops in which a network sees them: what its answers are compared with."""

import dataclasses

import jax
import numpy as np

from hardmo_jax.array_types import AnyArray, Float
from hardmo_jax.body.landmarks import PointModel, point_model
from hardmo_jax.body.model import BodyModel
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.geometry.crop_cameras import CropBox
from hardmo_jax.observations import ObservationError, Observations
from hardmo_jax.skeleton import layouts

#: How names of points end that a finger moves.
_BEYOND_KNUCKLES = ("2", "3", "4", "tip")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class CropKeypoints:
    """Of N people; an argument of compiled code."""

    keypoints_2d: Float[AnyArray, "*batch K 2"]
    """Pixels of the picture; zero where nothing counts."""
    confidence: Float[AnyArray, "*batch K"]
    """Zero for points that are not finite, that the body lacks, or that networks do not turn; those of one hand share
    that of one point."""
    box: CropBox
    """Of the crop, pixels of the picture."""
    camera: Camera
    """Of the picture."""


def crop_keypoints(body: BodyModel, observations: Observations, box: CropBox) -> tuple[PointModel, CropKeypoints]:
    """Model of the keypoints, and those that count.

    Args:
        body: Whose points are compared.
        observations: 2D keypoints of N people along one batch axis, with the camera of their pictures.
        box: Of their crops, pixels of the pictures. Of boxes without a size nothing counts.

    Raises:
        ObservationError: If there are no 2D keypoints or no camera.
        ValueError: If there is not one box for each person.
    """
    if observations.keypoints_2d is None or observations.camera is None:
        raise ObservationError(
            "answers of networks are compared with `keypoints_2d`, by the `camera` of their pictures"
        )
    keypoints, boxes = np.asarray(observations.keypoints_2d), np.shape(box.size)
    if len(boxes) != 1 or keypoints.shape[:-2] != boxes:
        raise ValueError(
            f"keypoints of N people along one batch axis and N boxes are needed, got keypoints of shape "
            f"{keypoints.shape} and boxes of shape {boxes}"
        )
    layout = layouts.get_layout(observations.layout)
    points, has = point_model(body, layout)
    told = observations.confidence
    confidence = np.ones(keypoints.shape[:-1]) if told is None else np.asarray(told)
    sides = np.asarray(box.size)
    has_box = np.isfinite(sides) & (sides > 0) & np.isfinite(np.asarray(box.center)).all(-1)
    is_seen = np.isfinite(keypoints).all(-1) & np.isfinite(confidence) & (confidence > 0) & has & has_box[:, None]
    confidence = confidence * hand_shares(layout)
    is_seen &= confidence > 0
    dtype = body.joint_template.dtype
    return points, CropKeypoints(
        keypoints_2d=np.where(is_seen[..., None], keypoints, 0).astype(dtype),
        confidence=np.where(is_seen, confidence, 0).astype(dtype),
        box=CropBox(
            center=np.where(has_box[:, None], box.center, 0).astype(dtype),
            size=np.where(has_box, sides, 1).astype(dtype),
        ),
        camera=jax.tree.map(lambda leaf: np.broadcast_to(np.asarray(leaf, dtype), (*boxes, 2)), observations.camera),
    )


def hand_shares(layout: layouts.KeypointLayout) -> Float[np.ndarray, "K"]:
    """How much each point counts beside one of the body, by hands.

    Networks turn wrists and bend no finger: knuckles tell how a wrist is turned, the points beyond them nothing. There
    are forty of them where the body has twenty, so that they would choose the pose.

    Args:
        layout: Of the keypoints.
    """
    points = layout.points
    parts = [layouts.part_of(point) for point in points]
    is_hand = np.array([part in ("left_hand", "right_hand") for part in parts])
    is_knuckle = is_hand & np.array([not point.endswith(_BEYOND_KNUCKLES) for point in points])
    shares = np.where(is_hand, 0.0, 1.0)
    for part in ("left_hand", "right_hand"):
        own = is_knuckle & np.array([one == part for one in parts])
        shares[own] = 1 / max(int(own.sum()), 1)
    return shares
