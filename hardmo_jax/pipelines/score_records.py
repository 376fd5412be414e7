"""What is predicted of people of published labels, scored against these labels under a protocol.

Published labels seldom have all points of a protocol: sets are cut to the points that both sides have, and their
labels count them (`body_12`), so that a number over fewer points is not taken for another.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Iterable

import numpy as np

from hardmo_jax.array_types import Bool, Int
from hardmo_jax.metrics import keypoints, protocols, scores
from hardmo_jax.metrics.protocols import Protocol
from hardmo_jax.pipelines.record_points import LAYOUT, RecordPoints
from hardmo_jax.pipelines.set_scores import CURVE, JOINTS, ScoreError, SetScore, joint_errors, mean_error, pck_curves

#: Stands for a pelvis that labels or a body do not have: OpenPose's middle of the hips.
_OTHER_ROOT = "mid_hip"
#: A similarity in space needs so many.
_LEAST_POINTS = 3
#: Fewer points of a set, of all people together, are told.
_FEW_POINTS = 50


def score_records(truth: RecordPoints, predicted: RecordPoints, protocol: Protocol, *, method: str) -> SetScore:
    """Compare predictions with labels.

    Args:
        truth: The labels.
        predicted: Of some of their people, by name; others count as missing.
        protocol: What is compared and how; of its points those that both have.
        method: Name for tables.

    Raises:
        ScoreError: If nothing can be compared, or somebody is predicted who is not in the labels.
    """
    if not set(protocol.layout.points) <= set(LAYOUT.points):
        known = [one.name for one in protocols.PROTOCOLS.values() if set(one.layout.points) <= set(LAYOUT.points)]
        raise ScoreError(
            f"protocol {protocol.name} has points that published labels do not; give one of {', '.join(known)}"
        )
    rows = _rows_for(truth, predicted)
    # Published boxes are grown already.
    protocol = dataclasses.replace(protocol, box=dataclasses.replace(protocol.box, is_scaled=True))
    columns = list(LAYOUT.indices(protocol.layout.points))
    is_there = rows >= 0

    def ordered(array: np.ndarray) -> np.ndarray:
        return np.where(is_there.reshape(-1, *[1] * (array.ndim - 1)), array[np.maximum(rows, 0)], np.nan)

    own_2d, own_3d = (ordered(each)[:, columns] for each in (predicted.keypoints_2d, predicted.keypoints_3d))
    has_2d, has_3d = (
        np.any(each[:, columns] > 0, axis=0) for each in (predicted.confidence_2d, predicted.confidence_3d)
    )
    confidence = np.where(has_2d, truth.confidence_2d[:, columns], 0.0)
    is_valid = (truth.confidence_3d[:, columns] > 0) & has_3d
    is_seen = confidence > protocol.min_confidence
    in_space, notes = _cut(_with_known_root(protocol, is_valid), is_valid, "space")
    in_picture, more_notes = _cut(protocol, is_seen, "the picture")
    told = in_space or in_picture
    if told is None:
        raise ScoreError(
            f"{method} and {truth.source} have no points in common that protocol {protocol.name} compares, neither in "
            "space nor in the picture"
        )
    true_2d, true_3d = truth.keypoints_2d[:, columns], truth.keypoints_3d[:, columns]
    errors, joints, pck, curves, has_failed = {}, {}, {}, {}, np.zeros(len(rows), bool)
    if in_space is not None:
        found = scores.score_samples(
            in_space, predicted_3d=own_3d, true_3d=true_3d, is_valid_3d=np.ascontiguousarray(is_valid),
            **_rotations(in_space, truth, ordered(predicted.rotations)),
        )  # fmt: skip
        errors = {name: error.values for name, error in found.errors.items()}
        joints = joint_errors(in_space, own_3d, true_3d, is_valid)
        has_failed |= (is_valid[..., None] & ~np.isfinite(own_3d)).any((1, 2))
    if in_picture is not None:
        found = scores.score_samples(
            in_picture, predicted_2d=own_2d, true_2d=true_2d, confidence=confidence, box_sides=truth.box_sides
        )
        pck = {name.partition("/")[2]: tuple(hits.mean.tolist()) for name, hits in found.pck.items()}
        curves = pck_curves(in_picture, own_2d, true_2d, confidence, truth.box_sides)
        has_failed |= (is_seen[..., None] & ~np.isfinite(own_2d)).any((1, 2))
    return SetScore(
        method=method,
        set_name=f"{truth.source}/test",
        protocol=told,
        num_samples=len(rows),
        num_missing=int((~is_there).sum()),
        num_nonfinite=int((has_failed & is_there).sum()),
        status_counts={},
        means={name: mean_error(values) for name, values in errors.items()},
        pck=pck,
        curves=curves,
        auc={label: keypoints.pck_auc(CURVE, np.array(curve)) for label, curve in curves.items()},
        joint_errors=joints,
        errors=errors,
        ids=truth.ids,
        groups=truth.groups,
        styles=("labels",) * len(rows),
        notes=tuple(dict.fromkeys([*notes, *more_notes, *_few(in_space, is_valid), *_few(in_picture, is_seen)])),
    )


def _rows_for(truth: RecordPoints, predicted: RecordPoints) -> np.ndarray:
    """Where each labelled person stands among the predictions; -1 for nowhere."""
    for side in (truth, predicted):
        twice = [name for name, count in collections.Counter(side.ids).items() if count > 1]
        if twice:
            raise ScoreError(f"{side.source} has {twice[0]!r} twice")
    place = {name: row for row, name in enumerate(predicted.ids)}
    if not set(place) & set(truth.ids) and np.isfinite(predicted.box_centers).all():
        found = _rows_by_place(truth, predicted)
        if (found >= 0).any():
            return found
    unknown = sorted(set(predicted.ids) - set(truth.ids))
    if unknown:
        raise ScoreError(
            f"{predicted.source}: {len(unknown)} of {len(predicted.ids)} people are not in {truth.source}, such as "
            f"{unknown[0]!r}; its names look like {truth.ids[0]!r}"
        )
    return np.array([place.get(name, -1) for name in truth.ids], np.int64)


def _rows_by_place(truth: RecordPoints, predicted: RecordPoints) -> Int[np.ndarray, "N"]:
    """People of other labels of the same pictures, by the nearest box no more than half a side away."""
    rows, taken = np.full(len(truth.ids), -1), set()
    names = [pathlib.PurePath(name).name for name in predicted.groups]
    for at, group in enumerate(truth.groups):
        there = [row for row, name in enumerate(names) if name == pathlib.PurePath(group).name and row not in taken]
        if there:
            apart = np.linalg.norm(predicted.box_centers[there] - truth.box_centers[at], axis=-1)
            if apart.min() < 0.5 * truth.box_sides[at]:
                rows[at] = there[int(apart.argmin())]
                taken.add(rows[at])
    return rows


def _few(protocol: Protocol | None, is_known: Bool[np.ndarray, "N K"]) -> list[str]:
    """Sets of so few points that their numbers say little."""
    if protocol is None:
        return []
    notes = []
    for points in protocol.point_sets:
        count = int(np.sum(is_known[:, list(protocol.layout.indices(points.points))]))
        if points.name in ("body", "hand", "foot", "all") and count < _FEW_POINTS:
            notes.append(f"{points.label}: only {count} points of all people are known")
    return notes


def _with_known_root(protocol: Protocol, is_valid: Bool[np.ndarray, "N K"]) -> Protocol:
    """The protocol, or with the middle of the hips for a pelvis that is not there; the protocol then says so."""
    known = {point for point, has in zip(protocol.layout.points, np.any(is_valid, axis=0), strict=True) if has}
    if set(protocol.root) <= known or _OTHER_ROOT not in known:
        return protocol
    return dataclasses.replace(
        protocol,
        root=(_OTHER_ROOT,),
        alignment=f"{protocol.alignment}. NOT the original: {' and '.join(protocol.root)} is not known, {_OTHER_ROOT} "
        "stands for it",
    )


def _cut(protocol: Protocol, is_known: Bool[np.ndarray, "N K"], where: str) -> tuple[Protocol | None, list[str]]:
    """The protocol with the points that are known of anybody; None if its body or root is not; and what is missing."""
    known = {point for point, has in zip(protocol.layout.points, np.any(is_known, axis=0), strict=True) if has}
    if where == "space" and not set(protocol.root) <= known:
        return None, []
    sets, notes = [], []
    for points in protocol.point_sets:
        kept = tuple(point for point in points.points if point in known)
        lost = [point for point in points.points if point not in known]
        if kept and lost and points.name in ("body", "hand", "foot", "all"):
            notes.append(f"{points.name} in {where} is without {', '.join(lost)}")
        if len(kept) >= (_LEAST_POINTS if where == "space" else 1):
            sets.append(dataclasses.replace(points, points=kept))
    names = [points.name for points in sets]
    if not names or (where == "space" and protocol.body_set not in names):
        return None, notes
    cut = dataclasses.replace(
        protocol,
        point_sets=tuple(sets),
        body_set=protocol.body_set if protocol.body_set in names else names[0],
        rigid_parts=_whole(protocol.rigid_parts, known),
        arms=_whole(protocol.arms, known),
    )
    return cut, notes


def _whole(parts: Iterable, known: set[str]) -> tuple:
    return tuple(part for part in parts if {*part.points, getattr(part, "base", part.points[0])} <= known)


def _rotations(protocol: Protocol, truth: RecordPoints, own: np.ndarray) -> dict:
    """Rotations of feet and hands, where labels and predictions have any."""
    is_known = np.isfinite(truth.rotations).all((-2, -1))
    if not protocol.rigid_parts or not is_known.any() or not np.isfinite(own).any():
        return {}
    still = np.broadcast_to(np.eye(3), truth.rotations.shape)
    return {
        "predicted_rotations": own,
        "true_rotations": np.where(np.expand_dims(is_known, (-2, -1)), truth.rotations, still),
        "is_valid_rotations": is_known,
        "rotation_joints": JOINTS,
    }
