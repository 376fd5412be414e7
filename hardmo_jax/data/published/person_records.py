"""The record of one person, from whichever of its parts a publisher gives."""

from typing import Any

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.data.hmr2_augmentation import TrainingPerson
from hardmo_jax.data.published.keypoint_slots import SLOTS, SlotKeypoints
from hardmo_jax.data.published.label_fields import LabelPlace, finite_label
from hardmo_jax.data.training_records import PixelReference, TrainingRecord
from hardmo_jax.skeleton import layouts

#: Joints of a pose, the root first, and shape coefficients.
JOINTS, BETAS = len(layouts.SMPL_JOINTS), 10
POSE_SHAPES = ((3 * JOINTS,), (JOINTS, 3))


def person_record(
    *,
    name: str,
    pixels: PixelReference,
    center: Float[np.ndarray, "2"],
    size: float,
    keypoints: SlotKeypoints | None = None,
    keypoints_3d: SlotKeypoints | None = None,
    pose: Float[np.ndarray, "24 3"] | None = None,
    betas: Float[np.ndarray, "10"] | None = None,
    focal_length: float | None = None,
) -> TrainingRecord:
    """A record in which all that is None is zero and said to be unknown.

    Args:
        name: Of the record.
        pixels: Its picture.
        center: Middle of the box, pixels.
        size: Longer side of the box, pixels.
        keypoints: In the picture, pixels.
        keypoints_3d: In space, metres, axes of the camera.
        pose: Axis-angle of SMPL's joints, the root in the axes of the camera.
        betas: Shape.
        focal_length: Pixels.
    """
    count = len(SLOTS)
    given = np.zeros((JOINTS, 3)) if pose is None else pose
    tips, tips_3d = _known_tips(keypoints), _known_tips(keypoints_3d)
    return TrainingRecord(
        name=name,
        pixels=pixels,
        center=center,
        size=size,
        person=TrainingPerson(
            keypoints_2d=np.zeros((count, 2)) if keypoints is None else keypoints.points,
            confidence=np.zeros(count) if keypoints is None else keypoints.confidence,
            keypoints_3d=np.zeros((count, 3)) if keypoints_3d is None else keypoints_3d.points,
            confidence_3d=np.zeros(count) if keypoints_3d is None else keypoints_3d.confidence,
            global_orient=given[0],
            body_pose=given[1:],
        ),
        betas=np.zeros(BETAS) if betas is None else betas,
        has_pose=pose is not None,
        has_betas=betas is not None,
        fingertips_2d=None if tips is None else tips.tips,
        fingertips_confidence=None if tips is None else tips.tip_confidence,
        fingertips_3d=None if tips_3d is None else tips_3d.tips,
        fingertips_confidence_3d=None if tips_3d is None else tips_3d.tip_confidence,
        focal_length=focal_length,
    )


def full_pose(value: Any, field: str, place: LabelPlace) -> Float[np.ndarray, "24 3"]:
    """Axis-angle of SMPL's joints, the root first.

    Raises:
        TrainingDataError: If it is of another shape or not finite.
    """
    return finite_label(value, field, POSE_SHAPES, place).reshape(JOINTS, 3)


def _known_tips(keypoints: SlotKeypoints | None) -> SlotKeypoints | None:
    return keypoints if keypoints is not None and keypoints.tip_confidence.any() else None
