"""Stored labels as predictions of a set with truth: a label belongs to the sample that its picture is named after."""

import collections
import pathlib

import numpy as np

from hardmo_jax.data.hard_set import HardSet
from hardmo_jax.data.predictions import Predictions
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.labels import schema, store
from hardmo_jax.labels.schema import LabelRow

_SHARED = ("betas", "global_orient", "body_pose", "transl")
_HANDS = ("left_hand_pose", "right_hand_pose")
#: Rotations up to this many radians are at rest.
_REST = 1e-6


class LabelPredictionError(ValueError):
    """Labels that cannot be compared with the truth; the message says what to do."""


def predictions_from_labels(path: pathlib.Path, found: HardSet) -> tuple[Predictions, dict[str, int]]:
    """Stored labels as predictions.

    The newest version of each label counts, and failed fits as well: their parameters are scored like all others.
    Labels of pictures that are no sample of the set are left out, so the set may be a part of a larger one.

    Args:
        path: Label file, or folder of shards.
        found: Set of the truth.

    Returns:
        Parameters of the samples that have a label, and how many of their fits ended how.

    Raises:
        FileNotFoundError: If there are no labels.
        hardmo_jax.labels.schema.LabelError: If labels are damaged.
        LabelPredictionError: If no label belongs to a sample of the set, a sample has several people, or a label is of
            another body.
    """
    labels = store.read_labels(path)
    known = set(found.ids)
    newest: dict[str, dict[str, LabelRow]] = {}
    for row in labels:
        sample = _sample_of(row)
        if sample not in known:
            continue
        versions = newest.setdefault(sample, {})
        if row.label_id not in versions or row.label_version > versions[row.label_id].label_version:
            versions[row.label_id] = row
    if not newest:
        example = f", such as {found.ids[0]}.png" if found.ids else ""
        raise LabelPredictionError(
            f"{path}: none of {len(labels)} labels is of a sample of {found.name}; pictures are named after "
            f"samples{example}"
        )
    for sample, versions in newest.items():
        if len(versions) > 1:
            tracks = ", ".join(sorted({str(row.track_id) for row in versions.values()}))
            raise LabelPredictionError(
                f"{path}: sample {sample!r} has {len(versions)} labels (tracks {tracks}), and its picture shows one "
                "person; keep one of them, or label with at most one person a picture"
            )
    chosen = {sample: next(iter(versions.values())) for sample, versions in newest.items()}
    for sample, row in chosen.items():
        _check_body(row, sample, found, path)
    rows = tuple(chosen.values())
    params = {name: _stacked([getattr(row, name) for row in rows]) for name in _SHARED}
    for name in _HANDS:
        rest = np.zeros((schema.NUM_HAND_JOINTS, 3))
        poses = [getattr(row, name) for row in rows]
        params[name] = _stacked([rest if pose is None else pose for pose in poses])
    camera = Camera(
        focal_length=np.stack([row.focal_length for row in rows]),
        principal_point=np.stack([row.principal_point for row in rows]),
    )
    status = dict(sorted(collections.Counter(row.status for row in rows).items()))
    predicted = Predictions(source=str(path), ids=tuple(chosen), params=params, body=found.body, camera=camera)
    return predicted, status


def _sample_of(row: LabelRow) -> str:
    """Path of the picture without its ending, as samples are named."""
    path = pathlib.PurePosixPath(row.source_path.replace("\\", "/"))
    return path.with_suffix("").as_posix() if path.name else ""


def _stacked(values: list[np.ndarray]) -> np.ndarray:
    return np.stack(values).astype(np.float64)


def _check_body(row: LabelRow, sample: str, found: HardSet, path: pathlib.Path) -> None:
    """Refuse a label of another body: the same numbers would mean another person there.

    The SMPL view of the body of the truth has the same joints but those of the fingers, which its two hand joints turn
    all at once; where these are at rest, fingers are.
    """
    advice = "label with the body of the truth, or score points by --predictions"
    expected = found.body.replace("/", "_")
    smpl_view = f"{found.body.rpartition('/')[0]}_smpl"
    if row.body_model not in (expected, smpl_view) or row.body_model_sha256 != found.body_checksum:
        raise LabelPredictionError(
            f"{path}: the label of {sample} is of the body {row.body_model} ({row.body_model_sha256[:12]}), the truth "
            f"of {expected} ({found.body_checksum[:12]}); {advice}"
        )
    if row.body_model == expected:
        return
    # Poses of usable labels are finite; a failed one may be NaN, and is then scored as such.
    if row.smpl_hand_pose is None or (np.abs(row.smpl_hand_pose) > _REST).any():
        raise LabelPredictionError(
            f"{path}: the label of {sample} is of {row.body_model} with its hand joints turned or unknown, which "
            f"cannot be carried over to the fingers of {expected}; {advice}"
        )
