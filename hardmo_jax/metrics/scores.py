"""All metrics of a protocol for a set of samples: what an evaluation calls once a shard.

Names of metrics say what and over which points: `mpjpe/body_17`, `pa_mpjpe/foot_6`, `relative_error/left_foot_3`,
`orientation_degrees/left_ankle`, `orientation_after_body_alignment_degrees/left_ankle`, `arm_pa/left_arm_7`,
`vertex_error/mesh_6890`, `pck/hand_12`. Metres, unless the name says degrees.
"""

import dataclasses

import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.metrics import keypoints, paired_arrays, pose
from hardmo_jax.metrics.accumulate import MeanAccumulator, PckAccumulator
from hardmo_jax.metrics.protocols import Protocol
from hardmo_jax.metrics.sample_errors import SampleErrors
from hardmo_jax.skeleton import layouts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
    """Errors of samples under a protocol."""

    protocol: Protocol
    """What the numbers mean."""
    errors: dict[str, SampleErrors]
    """Errors of each sample by name of the metric."""
    pck: dict[str, PckAccumulator]
    """Hits of each keypoint by name of the point set, in the order of its points; `pck/body_17`."""
    num_samples: int
    """People scored."""
    num_nonfinite: int
    """People whose prediction is NaN or infinite anywhere that a truth was given for: points, image points, rotations
    or vertices of the layout. They are missing from means (not from PCK, where they miss)."""
    num_without_box: int
    """People with keypoints in the image, but no box to divide by, who are missing from PCK."""

    def means(self) -> dict[str, MeanAccumulator]:
        """Mean of each error, ready to be merged with those of other samples."""
        return {name: MeanAccumulator().add(errors) for name, errors in self.errors.items()}


def score_samples(
    protocol: Protocol,
    *,
    predicted_3d: Float[np.ndarray, "N K 3"] | None = None,
    true_3d: Float[np.ndarray, "N K 3"] | None = None,
    is_valid_3d: Bool[np.ndarray, "N K"] | None = None,
    predicted_2d: Float[np.ndarray, "N K 2"] | None = None,
    true_2d: Float[np.ndarray, "N K 2"] | None = None,
    confidence: Float[np.ndarray, "N K"] | None = None,
    box_sides: Float[np.ndarray, "N"] | None = None,
    predicted_rotations: Float[np.ndarray, "N J 3 3"] | None = None,
    true_rotations: Float[np.ndarray, "N J 3 3"] | None = None,
    is_valid_rotations: Bool[np.ndarray, "N J"] | None = None,
    rotation_joints: tuple[str, ...] = layouts.SMPL_JOINTS,
    predicted_vertices: Float[np.ndarray, "N V 3"] | None = None,
    true_vertices: Float[np.ndarray, "N V 3"] | None = None,
    is_valid_vertices: Bool[np.ndarray, "N"] | None = None,
) -> Scores:
    """Compare predictions with the truth by every metric of a protocol that the arrays suffice for.

    Args:
        protocol: Points, root, box and thresholds; `K` points are those of `protocol.layout`, in its order.
        predicted_3d: Points in metres.
        true_3d: The same points.
        is_valid_3d: Points that have a truth; None if all have.
        predicted_2d: Points in pixels.
        true_2d: The same points in the same image.
        confidence: Confidence of the true points in the image, in [0, 1].
        box_sides: Longest side of each person's box in pixels, tight or scaled as `protocol.box` says. None for the
            tight box of the true points, which only a protocol of tight boxes allows.
        predicted_rotations: Global rotation of each joint, from the axes of the rest pose to those of the points.
        true_rotations: The true ones.
        is_valid_rotations: Joints whose rotation has a truth; None if all have.
        rotation_joints: Names of the joints of the rotations.
        predicted_vertices: Vertices in metres, in the axes of the points.
        true_vertices: Vertices of the same mesh.
        is_valid_vertices: Samples that have a true mesh; None if all have.

    Returns:
        Errors by sample, hits by point set, and what could not be scored. A protocol without PCK scores no 2D points,
        one without feet and hands no rotations.

    Raises:
        ValueError: If nothing can be scored, one array of a pair is missing, shapes do not fit the protocol or each
            other, or a valid truth is not finite.
    """
    pairs = {
        "3d": (predicted_3d, true_3d),
        "2d": (predicted_2d, true_2d),
        "rotations": (predicted_rotations, true_rotations),
        "vertices": (predicted_vertices, true_vertices),
    }
    num_samples = _check_pairs(pairs, protocol, rotation_joints)
    errors: dict[str, SampleErrors] = {}
    hits: dict[str, PckAccumulator] = {}
    is_nonfinite = np.zeros(num_samples, bool)
    num_without_box = 0
    alignment = None
    if predicted_3d is not None and true_3d is not None:
        is_nonfinite |= _nonfinite_samples(predicted_3d, true_3d, is_valid_3d, (3,))
        errors |= _point_errors(protocol, predicted_3d, true_3d, is_valid_3d)
        body = protocol.layout.indices(protocol.point_set(protocol.body_set).points)
        alignment = pose.body_alignment(predicted_3d, true_3d, body, is_valid_3d)
    if predicted_2d is not None and true_2d is not None:
        if confidence is None:
            raise ValueError(f"2D points without `confidence`; expected {true_2d.shape[:-1]}, ones if all are certain")
        if confidence.shape != true_2d.shape[:-1]:
            raise ValueError(
                f"`confidence` is {confidence.shape}, expected {true_2d.shape[:-1]}: one for each 2D point"
            )
        is_nonfinite |= _nonfinite_samples(predicted_2d, true_2d, confidence > protocol.min_confidence, (2,))
        hits, num_without_box = _pck(protocol, predicted_2d, true_2d, confidence, box_sides)
    if predicted_rotations is not None and true_rotations is not None:
        is_nonfinite |= _nonfinite_samples(predicted_rotations, true_rotations, is_valid_rotations, (3, 3))
        errors |= _orientation_errors(
            protocol, predicted_rotations, true_rotations, is_valid_rotations, rotation_joints, alignment
        )
    if predicted_vertices is not None and true_vertices is not None:
        if predicted_3d is None or true_3d is None:
            raise ValueError("vertices without 3D points; expected `predicted_3d` and `true_3d`, which hold the root")
        root = list(protocol.layout.indices(protocol.root))
        has_mesh = np.ones(num_samples, bool) if is_valid_vertices is None else is_valid_vertices
        if has_mesh.shape != (num_samples,):
            raise ValueError(f"`is_valid_vertices` is {has_mesh.shape}, expected ({num_samples},): one entry a sample")
        if is_valid_3d is not None:
            has_mesh = has_mesh & is_valid_3d[:, root].all(-1)
        of_vertices = np.broadcast_to(has_mesh[:, None], true_vertices.shape[:2])
        is_nonfinite |= _nonfinite_samples(predicted_vertices, true_vertices, of_vertices, (3,))
        errors[f"vertex_error/mesh_{true_vertices.shape[1]}"] = pose.vertex_error(
            predicted_vertices, true_vertices, predicted_3d[:, root].mean(1), true_3d[:, root].mean(1), has_mesh
        )
    return Scores(
        protocol=protocol,
        errors=errors,
        pck=hits,
        num_samples=num_samples,
        num_nonfinite=int(is_nonfinite.sum()),
        num_without_box=num_without_box,
    )


def _check_pairs(
    pairs: dict[str, tuple[np.ndarray | None, np.ndarray | None]], protocol: Protocol, rotation_joints: tuple[str, ...]
) -> int:
    """Number of samples, the same in all arrays."""
    sizes = {
        "3d": (len(protocol.layout), 3),
        "2d": (len(protocol.layout), 2),
        "rotations": (len(rotation_joints), 3, 3),
    }
    num_samples: dict[str, int] = {}
    for name, (predicted, truth) in pairs.items():
        if predicted is None and truth is None:
            continue
        if predicted is None or truth is None:
            given, missing = ("true", "predicted") if predicted is None else ("predicted", "true")
            raise ValueError(f"`{given}_{name}` without `{missing}_{name}`; pass both or none")
        size = sizes.get(name)
        for side, array in (("predicted", predicted), ("true", truth)):
            if (size and array.shape[1:] != size) or array.ndim != (4 if name == "rotations" else 3):
                wanted = ", ".join(["N", *(map(str, size) if size else ("V", "3"))])
                order = "of joints `rotation_joints`" if name == "rotations" else f"of layout {protocol.layout.name!r}"
                raise ValueError(f"`{side}_{name}` is {array.shape}, expected ({wanted}): pass the points {order}")
            num_samples[f"{side}_{name}"] = len(array)
    counts = set(num_samples.values())
    if not counts or counts == {0}:
        raise ValueError("nothing to score; expected at least one sample of 3D points, 2D points or rotations")
    if len(counts) > 1:
        found = ", ".join(f"{name} {count}" for name, count in num_samples.items())
        raise ValueError(f"the arrays are of different numbers of samples ({found}); expected the same in all")
    return counts.pop()


def _point_errors(
    protocol: Protocol, predicted: np.ndarray, truth: np.ndarray, is_valid: np.ndarray | None
) -> dict[str, SampleErrors]:
    layout = protocol.layout
    root = layout.indices(protocol.root)
    errors = {}
    for points in protocol.point_sets:
        indices = layout.indices(points.points)
        if points.has_mpjpe:
            errors[f"mpjpe/{points.label}"] = pose.mpjpe(predicted, truth, root, is_valid, points=indices)
        if points.has_pa:
            errors[f"pa_mpjpe/{points.label}"] = pose.pa_mpjpe(predicted, truth, is_valid, points=indices)
    body = layout.indices(protocol.point_set(protocol.body_set).points)
    for part in protocol.rigid_parts:
        errors[f"relative_error/{part.label}"] = pose.relative_error(
            predicted, truth, layout.indices(part.points), layout.index(part.base), body, is_valid
        )
    for arm in protocol.arms:
        errors[f"arm_pa/{arm.label}"] = pose.arm_pa(predicted, truth, layout.indices(arm.points), is_valid)
    return errors


def _orientation_errors(
    protocol: Protocol,
    predicted: np.ndarray,
    truth: np.ndarray,
    is_valid: np.ndarray | None,
    joints: tuple[str, ...],
    alignment: pose.Similarity | None,
) -> dict[str, SampleErrors]:
    errors = {}
    for part in protocol.rigid_parts:
        if part.base not in joints:
            raise ValueError(f"`rotation_joints` lack {part.base!r}, whose rotation {part.name} follows; got {joints}")
        joint = joints.index(part.base)
        pair = predicted[:, joint], truth[:, joint], None if is_valid is None else is_valid[:, joint]
        errors[f"orientation_degrees/{part.base}"] = pose.orientation_angle(*pair)
        if alignment is not None:
            name = f"orientation_after_body_alignment_degrees/{part.base}"
            errors[name] = pose.orientation_angle(*pair, alignment=alignment)
    return errors


def _pck(
    protocol: Protocol,
    predicted: np.ndarray,
    truth: np.ndarray,
    confidence: np.ndarray,
    box_sides: np.ndarray | None,
) -> tuple[dict[str, PckAccumulator], int]:
    """Hits of each point set, and the number of people without a box."""
    if not protocol.pck_thresholds:
        return {}, 0
    if box_sides is None:
        if protocol.box.is_scaled:
            raise ValueError(
                f"protocol {protocol.name!r} needs `box_sides` of shape ({len(truth)},): its PCK divides by the "
                f"{protocol.box.describe()}, which no keypoints can tell"
            )
        box_sides = keypoints.tight_box_side(truth, confidence, protocol.min_confidence)
    normaliser = protocol.box.normaliser(box_sides)
    all_hits, all_counted = keypoints.pck_hits(
        predicted, truth, confidence, normaliser, protocol.pck_thresholds, min_confidence=protocol.min_confidence
    )
    hits = {}
    for points in protocol.point_sets:
        if points.has_pck:
            indices = list(protocol.layout.indices(points.points))
            counts = PckAccumulator.empty(protocol.pck_thresholds, len(indices))
            hits[f"pck/{points.label}"] = counts.update(all_hits[..., indices], all_counted[..., indices])
    is_visible = (confidence > protocol.min_confidence).any(-1)
    has_box = np.isfinite(normaliser) & (normaliser > 0)
    return hits, int((is_visible & ~has_box).sum())


def _nonfinite_samples(
    predicted: np.ndarray, truth: np.ndarray, is_valid: np.ndarray | None, item_shape: tuple[int, ...]
) -> np.ndarray:
    """Samples whose prediction is not finite at an item that has a truth."""
    predicted, _, _ = paired_arrays.paired_arrays(predicted, truth, is_valid, item_shape)
    return np.asarray(~np.isfinite(predicted).all(tuple(range(1, predicted.ndim))))
