"""Training sets of 4DHumans: tars of pictures with the people in each.

A sample is `KEY.jpg` (or `.png`) and `KEY.data.pyd`, a pickled list with a dict for each person.
"""

import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from hardmo_jax.export.training_sets import sample_tars, training_labels, training_points
from hardmo_jax.export.training_sets.sample_tars import PictureOf, Sample
from hardmo_jax.export.training_sets.training_labels import PIXELS_PER_SCALE, TrainingExport, TrainingLabelOptions
from hardmo_jax.export.training_sets.training_points import HMR2_LAYOUT, BodySlots, body_slots_of_label
from hardmo_jax.labels.belief import parts_called_wrong
from hardmo_jax.labels.schema import LabelRow


def write_hmr2_tars(
    rows: Sequence[LabelRow],
    folder: str | os.PathLike[str],
    picture_of: PictureOf,
    *,
    options: TrainingLabelOptions | None = None,
    slots_of: BodySlots = body_slots_of_label,
    samples_per_tar: int = 1000,
) -> TrainingExport:
    """Write labels as 4DHumans trains on them, one sample a picture.

    Args:
        rows: The newest version of each label, of one body.
        folder: Gets `000000.tar` and so on; without tars.
        picture_of: Bytes of the picture of a label, JPEG or PNG, upright; asked once for a picture.
        options: Which labels.
        slots_of: Points in space.
        samples_per_tar: Pictures.

    Returns:
        Where they are, and counts.

    Raises:
        TrainingExportError: If no label is left, labels are of several bodies, two pictures would have one key, or a
            picture is not the one that was labelled.
        hardmo_jax.labels.schema.LabelError: If a label says something impossible.

    References:
        4D-Humans, hmr2/datasets/image_dataset.py, `load_tars_as_webdataset`.

    Notes:
        Its released configuration forgets a pose whose shape is unknown (`POSES_BETAS_SIMULTANEOUS`), and so every pose
        of labels of other bodies than SMPL's neutral one; set it to False for them.
    """
    labels = training_labels.select_training_labels(rows, options)
    training_labels.check_names(labels.rows, training_labels.sample_key)

    def samples() -> Iterator[Sample]:
        in_order = sorted(labels.rows, key=training_labels.sample_key)
        for key, people in groupby(in_order, training_labels.sample_key):
            own = list(people)
            records = sample_tars.plain_pickle([hmr2_person(row, slots_of) for row in own])
            yield key, [sample_tars.stored_picture(own[0], picture_of), ("data.pyd", records)]

    paths = sample_tars.write_sample_tars(samples(), folder, samples_per_tar=samples_per_tar)
    return labels.exported(paths)


def hmr2_person(row: LabelRow, slots_of: BodySlots = body_slots_of_label) -> dict[str, Any]:
    """A person as a dict of a tar.

    Args:
        row: The label.
        slots_of: Points in space.

    Returns:
        `keypoints_2d` (44, 3), pixels of the picture and confidence: detected points, which go to BODY_25's slots;
        `keypoints_3d` (44, 4), metres and confidence; `center` (2,), pixels, and `scale` (2,), width and height of the
        grown box over 200; `body_pose` (72,), the root first; `betas` (10,), zeros unless they are of SMPL's neutral
        body; `has_body_pose`, 0 where a person called a part wrong, and `has_betas`, 0 or 1; `extra_info` with the loss
        of the fit and where it comes from. The shape of another body stands under that body's name.
    """
    center, size = training_labels.training_box(row)
    has_betas = training_labels.has_smpl_betas(row)
    person: dict[str, Any] = {
        "keypoints_2d": training_points.seen_points(row, HMR2_LAYOUT.points),
        "keypoints_3d": training_points.checked_slots(row, HMR2_LAYOUT, slots_of),
        "center": center.astype(np.float32),
        "scale": (size / PIXELS_PER_SCALE).astype(np.float32),
        "body_pose": training_labels.smpl_pose(row),
        "betas": training_labels.betas_of_smpl(row),
        # Of a pose of which a person called a part wrong nothing can be told but its points.
        "has_body_pose": np.array(not parts_called_wrong(row), np.float32),
        "has_betas": np.array(has_betas, np.float32),
        "extra_info": origin_of_person(row),
    }
    if not has_betas:
        person[training_labels.own_betas_name(row)] = np.array(row.betas, np.float32)
    return person


def origin_of_person(row: LabelRow) -> dict[str, Any]:
    """The loss of the fit as 4DHumans reads it, where there is one, and which label a person is."""
    origin: dict[str, Any] = {
        "label_id": row.label_id,
        "label_version": row.label_version,
        "track_id": row.track_id,
        "status": row.status,
        "body_model": row.body_model,
    }
    loss = training_points.reprojection_loss(row)
    if loss is not None:
        # Readers take the dict out of an array without axes, and fail on a plain one.
        origin["fitting_loss"] = np.array({"reprojection_loss": loss}, object)
    return origin
