"""Poses of labels for the discriminator of 4DHumans, which tells bodies of motion capture from those of a network."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from hardmo_jax.export.npz_files import write_npz
from hardmo_jax.export.training_sets import training_labels
from hardmo_jax.export.training_sets.training_labels import TrainingExport, TrainingLabelOptions
from hardmo_jax.labels.schema import LabelRow


def write_mocap_npz(
    rows: Sequence[LabelRow], path: str | os.PathLike[str], *, options: TrainingLabelOptions | None = None
) -> TrainingExport:
    """Write poses and shapes, without pictures.

    `body_pose` (72,), axis-angle, the root first, which readers leave out; `betas` (10,). Shapes of other bodies than
    SMPL's neutral one are zeros, the mean shape: a discriminator learns of these that people have it. `has_betas` says
    so, which 4DHumans does not read, and the shape of the body stands under its name. Poses of which a person called a
    part wrong are left out.

    Args:
        rows: The newest version of each label, of one body.
        path: Of the `.npz`; an earlier one is replaced.
        options: Which labels.

    Returns:
        Where it is, and counts.

    Raises:
        TrainingExportError: If no label is left, or labels are of several bodies.
        hardmo_jax.labels.schema.LabelError: If a label says something impossible.
    """
    # There is no flag for a pose: all of these are taken for those of people.
    chosen = dataclasses.replace(options or TrainingLabelOptions(), takes_called_wrong=False)
    labels = training_labels.select_training_labels(rows, chosen)
    has_betas = np.array([training_labels.has_smpl_betas(row) for row in labels.rows])
    arrays = {
        "body_pose": np.stack([training_labels.smpl_pose(row) for row in labels.rows]),
        "betas": np.stack([training_labels.betas_of_smpl(row) for row in labels.rows]),
        "has_betas": has_betas.astype(np.uint8),
    }
    if not has_betas.all():
        arrays[training_labels.own_betas_name(labels.rows[0])] = np.stack([row.betas for row in labels.rows])
    return labels.exported([write_npz(path, arrays, is_compressed=False)])
