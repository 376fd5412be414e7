"""Training sets of SPIN and of CLIFF's pseudo-labels: an `.npz` with one row for each person.

Pictures are not in it: names are those of `training_labels.picture_name`, and whoever writes the frames of videos as
pictures calls them so. Arrays hold numbers and texts, no objects.
"""

import os
from collections.abc import Sequence

import numpy as np

from hardmo_jax.array_types import Float, Shaped
from hardmo_jax.export.npz_files import write_npz
from hardmo_jax.export.training_sets import training_labels, training_points
from hardmo_jax.export.training_sets.training_labels import PIXELS_PER_SCALE, TrainingExport, TrainingLabelOptions
from hardmo_jax.export.training_sets.training_points import (
    OPENPOSE_LAYOUT,
    SPIN_PART_LAYOUT,
    BodySlots,
    body_slots_of_label,
)
from hardmo_jax.labels.belief import parts_called_wrong
from hardmo_jax.labels.schema import LabelRow

_GENDERS = {"female": "f", "male": "m"}
#: Digits of a label's name that a whole number of COCO's kind holds.
_ID_DIGITS = 15
#: Up to this, pixels, a principal point is in the middle of its picture, and up to this share focal lengths are one.
_SAME_POINT, _SAME_FOCAL_LENGTH = 1.0, 1e-3


def write_spin_npz(
    rows: Sequence[LabelRow],
    path: str | os.PathLike[str],
    *,
    options: TrainingLabelOptions | None = None,
    slots_of: BodySlots = body_slots_of_label,
) -> TrainingExport:
    """Write labels as SPIN, and trainers that follow it, train on them.

    `imgname`; `center` (2,), pixels; `scale`, longer side of the grown box over 200; `openpose` (25, 3), detected
    points, and `part` (24, 3), of these the limbs and the face once more, as SPIN trains on `part` alone; `pose` (72,),
    the root first in the axes of the camera; `S` (24, 4), points in space, axes of the camera, metres; `gender` where
    the body is a woman's or a man's. Only labels of SMPL's neutral body have `shape` (10,), and the same as `betas`,
    which BEDLAM's trainer asks for: `has_smpl` vouches for pose and shape at once, and a shape of zeros would be
    learnt. Without it SPIN takes the pose for unknown, too; other readers look at `has_body_pose` and `has_betas`.
    Of a pose of which a person called a foot or hand wrong both are 0.
    The shape of another body stands under that body's name (`betas_open_body_smplh`).

    Args:
        rows: The newest version of each label, of one body.
        path: Of the `.npz`; an earlier one is replaced.
        options: Which labels.
        slots_of: Points in space.

    Returns:
        Where it is, and counts.

    Raises:
        TrainingExportError: If no label is left, labels are of several bodies, or two pictures would have one name.
        hardmo_jax.labels.schema.LabelError: If a label says something impossible.

    References:
        SPIN, datasets/base_dataset.py; BEDLAM, train/dataset/dataset_smpl.py.
    """
    labels = training_labels.select_training_labels(rows, options)
    arrays = _shared_arrays(labels.rows, slots_of)
    arrays["openpose"] = np.stack([training_points.seen_points(row, OPENPOSE_LAYOUT.points) for row in labels.rows])
    return labels.exported([write_npz(path, arrays, is_compressed=False)])


def write_cliff_npz(
    rows: Sequence[LabelRow],
    path: str | os.PathLike[str],
    *,
    options: TrainingLabelOptions | None = None,
    slots_of: BodySlots = body_slots_of_label,
) -> TrainingExport:
    """Write labels as CLIFF's authors publish their pseudo-labels.

    As `write_spin_npz` without `openpose`, and with `annot_id`, a number that stays the same for a label; `focal_l`,
    pixels, the mean of both focal lengths of the label's camera; `cam_int` (3, 3), that whole camera, the centre of
    the top-left pixel at (0, 0); and for labels of SMPL's neutral body `global_t` (3,), the translation in front of
    that camera, metres, which moves another body elsewhere.

    Readers project `global_t` by `focal_l` alone, through the middle of the picture. Where that is not the camera of
    every label, `global_t` is left out of the file: if a principal point is more than a pixel from the middle, or
    focal lengths differ by more than 0.1 %.

    Args:
        rows: The newest version of each label, of one body.
        path: Of the `.npz`; an earlier one is replaced.
        options: Which labels.
        slots_of: Points in space.

    Returns:
        Where it is, and counts.

    Raises:
        TrainingExportError: If no label is left, labels are of several bodies, or two pictures would have one name.
        hardmo_jax.labels.schema.LabelError: If a label says something impossible.

    References:
        CLIFF, README of its pseudo-labels.

    Notes:
        CLIFF's own cameras have their principal point in the middle of the picture, and the diagonal as focal length.
    """
    labels = training_labels.select_training_labels(rows, options)
    arrays = _shared_arrays(labels.rows, slots_of)
    arrays["annot_id"] = np.array([int(row.label_id[:_ID_DIGITS], 16) for row in labels.rows], np.int64)
    arrays["focal_l"] = np.array([row.focal_length.mean() for row in labels.rows], np.float32)
    arrays["cam_int"] = np.stack([_intrinsics(row) for row in labels.rows])
    if "shape" in arrays and all(map(_is_camera_of_cliff, labels.rows)):
        arrays["global_t"] = np.stack([row.transl for row in labels.rows])
    return labels.exported([write_npz(path, arrays, is_compressed=False)])


def _intrinsics(row: LabelRow) -> Float[np.ndarray, "3 3"]:
    matrix = np.eye(3, dtype=np.float32)
    matrix[[0, 1], [0, 1]] = row.focal_length
    matrix[:2, 2] = row.principal_point
    return matrix


def _is_camera_of_cliff(row: LabelRow) -> bool:
    """Whether one focal length and the middle of the picture say all of a camera."""
    focal = np.asarray(row.focal_length, np.float64)
    middle = 0.5 * (np.array([row.image_width, row.image_height]) - 1.0)
    off_centre = np.linalg.norm(np.asarray(row.principal_point, np.float64) - middle)
    return bool(off_centre <= _SAME_POINT and np.ptp(focal) <= _SAME_FOCAL_LENGTH * focal.mean())


def _shared_arrays(rows: Sequence[LabelRow], slots_of: BodySlots) -> dict[str, Shaped[np.ndarray, "N ..."]]:
    boxes = [training_labels.training_box(row) for row in rows]
    has_betas = np.array([training_labels.has_smpl_betas(row) for row in rows])
    has_pose = np.array([not parts_called_wrong(row) for row in rows])
    arrays: dict[str, np.ndarray] = {
        "imgname": np.array([training_labels.picture_name(row) for row in rows]),
        "center": np.array([center for center, _ in boxes], np.float32),
        "scale": np.array([size.max() / PIXELS_PER_SCALE for _, size in boxes], np.float32),
        "part": np.stack(
            [training_points.seen_points(row, SPIN_PART_LAYOUT.points, is_annotated=True) for row in rows]
        ),
        "S": np.stack([training_points.checked_slots(row, SPIN_PART_LAYOUT, slots_of) for row in rows]),
        "pose": np.stack([training_labels.smpl_pose(row) for row in rows]),
        "has_smpl": has_pose.astype(np.uint8),
        "has_body_pose": has_pose.astype(np.uint8),
        "has_betas": has_betas.astype(np.uint8),
        "label_id": np.array([row.label_id for row in rows]),
    }
    if has_betas.all():
        arrays["shape"] = arrays["betas"] = np.stack([training_labels.betas_of_smpl(row) for row in rows])
    else:
        arrays[training_labels.own_betas_name(rows[0])] = np.stack([row.betas for row in rows])
    if all(row.gender in _GENDERS for row in rows):
        # Readers take everything but `m` for a woman.
        arrays["gender"] = np.array([_GENDERS[row.gender] for row in rows])
    return arrays
