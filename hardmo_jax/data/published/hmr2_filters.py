"""What 4DHumans does not believe of its training labels, and whom it leaves out."""

import dataclasses

import numpy as np

from hardmo_jax.data.published.person_records import BETAS
from hardmo_jax.data.training_records import TrainingRecord


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hmr2Filters:
    """The defaults are those of the published configuration.

    References:
        4D-Humans, hmr2/configs_hydra: SUPPRESS_KP_CONF_THRESH .3, FILTER_NUM_KP 4, FILTER_REPROJ_THRESH 31000,
        SUPPRESS_BETAS_THRESH 3, POSES_BETAS_SIMULTANEOUS, BETAS_REG.

    Notes:
        Its filter of poses that are rare in AMASS is not here: it needs a histogram that is not published with it.
    """

    least_confidence: float = 0.3
    """Keypoints of the picture below it are taken for unknown."""
    least_keypoints: int = 5
    """People with fewer are left out."""
    largest_beta: float = 3.0
    """Shapes with a coefficient beyond it are taken for unknown."""
    is_pose_with_betas: bool = True
    """Whether a pose without a known shape is taken for unknown, too."""
    are_missing_betas_zero: bool = True
    """Whether unknown shapes are then said to be known and zero, which keeps the network near the mean."""
    largest_reprojection_loss: float = 31_000.0
    """People whose fit, where its loss is told, has not less are left out."""


def distrust(record: TrainingRecord, filters: Hmr2Filters) -> TrainingRecord:
    """A record without what the filters do not believe."""
    seen = np.where(record.person.confidence < filters.least_confidence, 0, record.person.confidence)
    tips = record.fingertips_confidence
    has_betas = record.has_betas and bool((np.abs(record.betas) <= filters.largest_beta).all())
    has_pose = record.has_pose
    if filters.is_pose_with_betas:
        has_pose = has_betas = has_pose and has_betas
    orient, pose = record.person.global_orient, record.person.body_pose
    return dataclasses.replace(
        record,
        person=dataclasses.replace(
            record.person,
            confidence=seen,
            global_orient=orient if has_pose else np.zeros_like(orient),
            body_pose=pose if has_pose else np.zeros_like(pose),
        ),
        betas=record.betas if has_betas else np.zeros(BETAS),
        has_pose=has_pose,
        has_betas=has_betas or filters.are_missing_betas_zero,
        fingertips_confidence=None if tips is None else np.where(tips < filters.least_confidence, 0, tips),
    )


def is_wanted(record: TrainingRecord, reprojection_loss: float | None, filters: Hmr2Filters) -> bool:
    """Whether a person is trained on.

    Args:
        record: After `distrust`.
        reprojection_loss: Of the fit that its pose comes from; None where nobody tells.
        filters: Which.
    """
    if np.count_nonzero(record.person.confidence > 0) < filters.least_keypoints:
        return False
    return reprojection_loss is None or reprojection_loss < filters.largest_reprojection_loss
