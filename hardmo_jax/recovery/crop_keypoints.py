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


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class CropKeypoints:
    """Of N people; an argument of compiled code."""

    keypoints_2d: Float[AnyArray, "*batch K 2"]
    """Pixels of the picture; zero where nothing counts."""
    confidence: Float[AnyArray, "*batch K"]
    """Zero for points that are not finite, or that the body lacks."""
    box: CropBox
    """Of the crop, pixels of the picture."""
    camera: Camera
    """Of the picture."""


def crop_keypoints(body: BodyModel, observations: Observations, box: CropBox) -> tuple[PointModel, CropKeypoints]:
    """Model of the keypoints, and those that count.

    Args:
        body: Whose points are compared.
        observations: 2D keypoints of N people along one batch axis, with the camera of their pictures.
        box: Of their crops, pixels of the pictures.

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
    points, has = point_model(body, layouts.get_layout(observations.layout))
    told = observations.confidence
    confidence = np.ones(keypoints.shape[:-1]) if told is None else np.asarray(told)
    is_seen = np.isfinite(keypoints).all(-1) & np.isfinite(confidence) & (confidence > 0) & has
    dtype = body.joint_template.dtype
    return points, CropKeypoints(
        keypoints_2d=np.where(is_seen[..., None], keypoints, 0).astype(dtype),
        confidence=np.where(is_seen, confidence, 0).astype(dtype),
        box=CropBox(center=np.asarray(box.center, dtype), size=np.asarray(box.size, dtype)),
        camera=jax.tree.map(lambda leaf: np.broadcast_to(np.asarray(leaf, dtype), (*boxes, 2)), observations.camera),
    )
