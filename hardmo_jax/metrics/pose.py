"""Errors of points, meshes and rotations in space: pure functions, vectorised over the leading axes.

Lengths are metres, angles degrees. No function knows the name of a point: `protocols` chooses them. Each result has
one error a sample and says which samples had the truth for it. A point that is NaN in the prediction, but has a truth,
makes its sample NaN: no method gains by leaving points out.
"""

import dataclasses

import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.metrics import paired_arrays
from hardmo_jax.metrics.sample_errors import SampleErrors

#: Fewer points than this do not determine a rotation in space.
MIN_ALIGNED_POINTS = 3
#: Spread, relative to the size of the coordinates, below which points count as one; rounding leaves about 1e-16.
_NO_SPREAD = 1e-12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Similarity:
    """Scaling, rotation and shift of points: `scale * rotation @ point + translation`."""

    rotation: Float[np.ndarray, "*batch 3 3"]
    """Proper rotation."""
    scale: Float[np.ndarray, "*batch"]
    """Factor, not negative."""
    translation: Float[np.ndarray, "*batch 3"]
    """Shift in metres, after rotation and scaling."""
    is_defined: Bool[np.ndarray, "*batch"]
    """Whether the target sufficed to determine it; NaN where not."""

    def apply(self, points: Float[np.ndarray, "*batch K 3"]) -> Float[np.ndarray, "*batch K 3"]:
        """The points, moved."""
        return self.apply_direction(points) + self.translation[..., None, :]

    def apply_direction(self, offsets: Float[np.ndarray, "*batch K 3"]) -> Float[np.ndarray, "*batch K 3"]:
        """Differences of points, which have no place and so are not shifted."""
        return self.scale[..., None, None] * (offsets @ np.swapaxes(self.rotation, -1, -2))


def similarity_align(
    source: Float[np.ndarray, "*batch K 3"],
    target: Float[np.ndarray, "*batch K 3"],
    is_valid: Bool[np.ndarray, "*batch K"] | None = None,
) -> Similarity:
    """Similarity that brings the source nearest to the target, in least squares over the valid points.

    Args:
        source: Points to move, in metres, usually predicted.
        target: Where they should go.
        is_valid: Points that count; None if all do.

    Returns:
        The best similarity that does not mirror. Degenerate cases: fewer than three valid points or a target whose
        points coincide leave it undefined (`is_defined` False, all NaN). A source whose points coincide is moved onto
        the centre of the target with scale 1, so that a collapsed prediction keeps its error. Points on a line leave
        the turn about it open: the line itself is aligned, points beside it are not determined. A source that is not
        finite at a valid point gives NaN while `is_defined` stays True.

    Raises:
        ValueError: If the shapes do not fit, or the target is not finite at a valid point.

    References:
        Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991, equations
        34 to 42, here with points in rows.
    """
    source, target, is_valid = paired_arrays.paired_arrays(source, target, is_valid, (3,))
    weights = is_valid[..., None].astype(np.float64)
    count = weights.sum(-2)
    with np.errstate(invalid="ignore", over="ignore"):
        source_mean, target_mean = (points.sum(-2) / np.maximum(count, 1) for points in (source, target))
        source_centred = (source - source_mean[..., None, :]) * weights
        target_centred = (target - target_mean[..., None, :]) * weights
        source_spread, target_spread = ((points**2).sum((-2, -1)) for points in (source_centred, target_centred))
        covariance = np.swapaxes(target_centred, -1, -2) @ source_centred
    is_defined = (count[..., 0] >= MIN_ALIGNED_POINTS) & (target_spread > _negligible_spread(target))
    is_finite = np.isfinite(covariance).all((-2, -1)) & np.isfinite(source_spread)
    is_spread = source_spread > _negligible_spread(source)
    # LAPACK refuses NaN, and a refusal would cost the whole batch.
    left, singular, right = np.linalg.svd(np.where(is_finite[..., None, None], covariance, np.eye(3)))
    signs = np.ones_like(singular)
    signs[..., 2] = np.where(np.linalg.det(left @ right) < 0, -1, 1)
    rotation = np.where(is_spread[..., None, None], (left * signs[..., None, :]) @ right, np.eye(3))
    scale = np.where(is_spread, (singular * signs).sum(-1) / np.where(is_spread, source_spread, 1), 1)
    is_known = is_defined & is_finite
    rotation = np.where(is_known[..., None, None], rotation, np.nan)
    scale = np.where(is_known, scale, np.nan)
    with np.errstate(invalid="ignore"):
        translation = target_mean - scale[..., None] * (rotation @ source_mean[..., None])[..., 0]
    return Similarity(rotation=rotation, scale=scale, translation=translation, is_defined=np.asarray(is_defined))


def mpjpe(
    predicted: Float[np.ndarray, "*batch K 3"],
    truth: Float[np.ndarray, "*batch K 3"],
    root: tuple[int, ...],
    is_valid: Bool[np.ndarray, "*batch K"] | None = None,
    *,
    points: tuple[int, ...] | None = None,
) -> SampleErrors:
    """Mean distance of points after their roots are laid on each other (mean per joint position error).

    Args:
        predicted: Points in metres.
        truth: The same points.
        root: Indices of the points whose mean is the root; they need not be among `points`.
        is_valid: Points that have a truth; None if all have.
        points: Indices of the points that count; None for all.

    Returns:
        Metres, the mean over the valid points of each sample. A sample is valid if its root is and any of the points.

    Raises:
        ValueError: If shapes or indices do not fit, or the truth is not finite at a valid point.

    Notes:
        HMR-like evaluators assume that every point has a truth, where both agree.
    """
    predicted, truth, is_valid = paired_arrays.paired_arrays(predicted, truth, is_valid, (3,))
    paired_arrays.check_indices(root, truth.shape[-2], "root")
    kept = _checked_points(points, truth.shape[-2])
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.linalg.norm(_below_root(predicted, root, kept) - _below_root(truth, root, kept), axis=-1)
    return _mean_of_valid(distance, is_valid[..., kept], np.asarray(is_valid[..., list(root)].all(-1)))


def pa_mpjpe(
    predicted: Float[np.ndarray, "*batch K 3"],
    truth: Float[np.ndarray, "*batch K 3"],
    is_valid: Bool[np.ndarray, "*batch K"] | None = None,
    *,
    points: tuple[int, ...] | None = None,
) -> SampleErrors:
    """Mean distance of points after the similarity that suits these same points best (Procrustes-aligned MPJPE).

    For points that are rigid on one joint, as those of one foot, this is about zero whatever the pose: use
    `relative_error`, `orientation_angle` or `arm_pa` for a single foot or hand.

    Args:
        predicted: Points in metres.
        truth: The same points.
        is_valid: Points that have a truth; None if all have.
        points: Indices of the points that are aligned and count; None for all.

    Returns:
        Metres. A sample is valid if three of the points are and their truth is not one single place.

    Raises:
        ValueError: If shapes or indices do not fit, or the truth is not finite at a valid point.
    """
    predicted, truth, is_valid = paired_arrays.paired_arrays(predicted, truth, is_valid, (3,))
    kept = _checked_points(points, truth.shape[-2])
    predicted, truth, is_valid = _taken(predicted, kept), _taken(truth, kept), is_valid[..., kept]
    alignment = similarity_align(predicted, truth, is_valid)
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.linalg.norm(alignment.apply(predicted) - truth, axis=-1)
    return _mean_of_valid(distance, is_valid, alignment.is_defined)


def arm_pa(
    predicted: Float[np.ndarray, "*batch K 3"],
    truth: Float[np.ndarray, "*batch K 3"],
    arm: tuple[int, ...],
    is_valid: Bool[np.ndarray, "*batch K"] | None = None,
) -> SampleErrors:
    """Procrustes-aligned error of elbow, wrist and fingertips of one arm: it sees a turned hand, unlike PA of a hand.

    Args:
        predicted: Points in metres.
        truth: The same points.
        arm: Indices of elbow, wrist and fingertips of one arm.
        is_valid: Points that have a truth; None if all have.

    Returns:
        Metres. A sample is valid only if all points of the arm are: without the elbow the rest is rigid, and the
        error would drop to zero.

    Raises:
        ValueError: If shapes or indices do not fit, or the truth is not finite at a valid point.
    """
    errors = pa_mpjpe(predicted, truth, is_valid, points=arm)
    if is_valid is None:
        return errors
    return SampleErrors.of(errors.values, np.asarray(errors.is_valid & is_valid[..., list(arm)].all(-1)))


def relative_error(
    predicted: Float[np.ndarray, "*batch K 3"],
    truth: Float[np.ndarray, "*batch K 3"],
    part: tuple[int, ...],
    base: int,
    body: tuple[int, ...],
    is_valid: Bool[np.ndarray, "*batch K"] | None = None,
) -> SampleErrors:
    """Mean distance of the points of a foot or hand, seen from its ankle or wrist, once the whole body is aligned.

    The similarity is that of the body's points, so the part cannot be turned into place by itself; seen from the base,
    errors of the limb above do not count either. What is left is the direction of the part and its size.

    Args:
        predicted: Points in metres.
        truth: The same points.
        part: Indices of the points of the part.
        base: Index of the ankle or wrist.
        body: Indices of the points that are aligned.
        is_valid: Points that have a truth; None if all have.

    Returns:
        Metres, the mean over the valid points of the part. A sample is valid if its base is, any point of the part,
        and the body can be aligned.

    Raises:
        ValueError: If shapes or indices do not fit, or the truth is not finite at a valid point.
    """
    predicted, truth, is_valid = paired_arrays.paired_arrays(predicted, truth, is_valid, (3,))
    paired_arrays.check_indices((base,), truth.shape[-2], "base")
    paired_arrays.check_indices(part, truth.shape[-2], "part")
    alignment = body_alignment(predicted, truth, body, is_valid)
    kept = list(part)
    with np.errstate(invalid="ignore", over="ignore"):
        moved = alignment.apply_direction(_below_root(predicted, (base,), kept))
        distance = np.linalg.norm(moved - _below_root(truth, (base,), kept), axis=-1)
    return _mean_of_valid(distance, is_valid[..., kept], np.asarray(alignment.is_defined & is_valid[..., base]))


def body_alignment(
    predicted: Float[np.ndarray, "*batch K 3"],
    truth: Float[np.ndarray, "*batch K 3"],
    body: tuple[int, ...],
    is_valid: Bool[np.ndarray, "*batch K"] | None = None,
) -> Similarity:
    """Similarity of some of the points alone, see `similarity_align`.

    Raises:
        ValueError: If shapes or indices do not fit, or the truth is not finite at a valid point.
    """
    predicted, truth, is_valid = paired_arrays.paired_arrays(predicted, truth, is_valid, (3,))
    paired_arrays.check_indices(body, truth.shape[-2], "body")
    kept = list(body)
    return similarity_align(_taken(predicted, kept), _taken(truth, kept), is_valid[..., kept])


def vertex_error(
    predicted: Float[np.ndarray, "*batch V 3"],
    truth: Float[np.ndarray, "*batch V 3"],
    predicted_root: Float[np.ndarray, "*batch 3"],
    true_root: Float[np.ndarray, "*batch 3"],
    is_valid: Bool[np.ndarray, "*batch"] | None = None,
) -> SampleErrors:
    """Mean distance of the vertices after the roots are laid on each other (per vertex error, PVE).

    Args:
        predicted: Vertices in metres.
        truth: Vertices of the same mesh.
        predicted_root: Root of the prediction in metres.
        true_root: Root of the truth.
        is_valid: Samples that have a true mesh and root; None if all have.

    Returns:
        Metres.

    Raises:
        ValueError: If the shapes do not fit (meshes of other topologies cannot be compared), or the truth is not
            finite in a valid sample.
    """
    samples = None if is_valid is None else np.broadcast_to(is_valid[..., None], (*is_valid.shape, truth.shape[-2]))
    predicted, truth, mask = paired_arrays.paired_arrays(predicted, truth, samples, (3,))
    roots = mask[..., :1]
    if (*truth.shape[:-2], 3) != true_root.shape:
        raise ValueError(f"the root is {true_root.shape}, expected {(*truth.shape[:-2], 3)}: one point for each mesh")
    predicted_root, true_root, _ = paired_arrays.paired_arrays(
        predicted_root[..., None, :], true_root[..., None, :], roots, (3,)
    )
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.linalg.norm((predicted - predicted_root) - (truth - true_root), axis=-1)
    return _mean_of_valid(distance, mask, roots[..., 0])


def acceleration_error(
    predicted: Float[np.ndarray, "*batch time K 3"],
    truth: Float[np.ndarray, "*batch time K 3"],
    is_valid: Bool[np.ndarray, "*batch time K"] | None = None,
    *,
    frames_per_second: float | None,
    points: tuple[int, ...] | None = None,
) -> SampleErrors:
    """Mean distance between the accelerations of points, from second differences of consecutive frames.

    Args:
        predicted: Points of each frame of a video in metres, in axes that do not move with the person.
        truth: The same points.
        is_valid: Points that have a truth; None if all have.
        frames_per_second: Frame rate, for metres per second squared; None for metres per frame squared, which is what
            most papers print and what cannot be compared between frame rates.
        points: Indices of the points that count; None for all.

    Returns:
        One error for each three consecutive frames, two fewer than frames. It is valid if all points are in all three,
        so a frame that lacks any takes away the three differences that it is in.

    Raises:
        ValueError: If shapes or indices do not fit, there are fewer than three frames, the frame rate is not positive,
            or the truth is not finite at a valid point.

    References:
        Kanazawa et al., "Learning 3D Human Dynamics from Video", 2019, section 5.
    """
    predicted, truth, is_valid = paired_arrays.paired_arrays(predicted, truth, is_valid, (3,))
    if truth.ndim < 3 or truth.shape[-3] < 3:
        raise ValueError(
            f"expected (..., frames, K, 3) with at least 3 frames, got {truth.shape}; shorter takes have "
            "no acceleration"
        )
    if frames_per_second is not None and not (np.isfinite(frames_per_second) and frames_per_second > 0):
        raise ValueError(f"`frames_per_second` is {frames_per_second}; expected a positive rate, or None for per frame")
    kept = _checked_points(points, truth.shape[-2])
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.diff(_taken(predicted, kept), n=2, axis=-3) - np.diff(_taken(truth, kept), n=2, axis=-3)
        error = np.linalg.norm(difference, axis=-1).mean(-1)
    if frames_per_second is not None:
        error = error * frames_per_second**2
    is_whole = np.asarray(is_valid[..., kept].all(-1))
    return SampleErrors.of(np.asarray(error), is_whole[..., :-2] & is_whole[..., 1:-1] & is_whole[..., 2:])


def joint_angle_error(
    predicted: Float[np.ndarray, "*batch J 3 3"],
    truth: Float[np.ndarray, "*batch J 3 3"],
    is_valid: Bool[np.ndarray, "*batch J"] | None = None,
) -> SampleErrors:
    """Angle in degrees of the rotation between predicted and true rotation matrices, for each joint.

    Args:
        predicted: Proper rotations, relative to the parent joint or global, as the truth is.
        truth: Rotations of the same joints.
        is_valid: Joints that have a truth; None if all have.

    Returns:
        Degrees in [0, 180] for each joint of each sample.

    Raises:
        ValueError: If the shapes do not fit, or the truth is not finite at a valid joint.

    Notes:
        From sine and cosine together. The arc cosine alone loses half of the digits at small angles.
    """
    predicted, truth, is_valid = paired_arrays.paired_arrays(predicted, truth, is_valid, (3, 3))
    with np.errstate(invalid="ignore", over="ignore"):
        between = predicted @ np.swapaxes(truth, -1, -2)
        axis = np.stack(
            [between[..., row, column] - between[..., column, row] for row, column in ((2, 1), (0, 2), (1, 0))], axis=-1
        )
        angle = np.arctan2(np.linalg.norm(axis, axis=-1), np.trace(between, axis1=-2, axis2=-1) - 1)
    return SampleErrors.of(np.degrees(angle), is_valid)


def orientation_angle(
    predicted: Float[np.ndarray, "*batch 3 3"],
    truth: Float[np.ndarray, "*batch 3 3"],
    is_valid: Bool[np.ndarray, "*batch"] | None = None,
    *,
    alignment: Similarity | None = None,
) -> SampleErrors:
    """Angle in degrees between the predicted and the true direction of a foot or hand in space.

    Args:
        predicted: Global rotation of the ankle or wrist.
        truth: The true one.
        is_valid: Samples that have a truth; None if all have.
        alignment: Similarity of the whole body (`body_alignment`); its rotation is applied to the prediction first, so
            that the heading of the body does not count. None to compare as they are.

    Returns:
        Degrees in [0, 180]. With an alignment, a sample is valid only if that is defined.

    Raises:
        ValueError: If the shapes do not fit, or the truth is not finite in a valid sample.
    """
    if alignment is not None:
        if alignment.rotation.shape != predicted.shape:
            raise ValueError(
                f"the alignment is of samples {alignment.scale.shape}, the rotations are {predicted.shape}; "
                "expected one rotation for each aligned body"
            )
        is_valid = np.asarray(alignment.is_defined if is_valid is None else is_valid & alignment.is_defined)
        with np.errstate(invalid="ignore", over="ignore"):
            predicted = alignment.rotation @ predicted
    mask = None if is_valid is None else is_valid[..., None]
    errors = joint_angle_error(predicted[..., None, :, :], truth[..., None, :, :], mask)
    return SampleErrors(values=errors.values[..., 0], is_valid=errors.is_valid[..., 0])


def _negligible_spread(points: np.ndarray) -> np.ndarray:
    """Sum of squared distances from the centre that rounding alone may leave."""
    size = np.abs(points).max((-2, -1))
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray((_NO_SPREAD * size) ** 2 * points.shape[-2])


def _checked_points(points: tuple[int, ...] | None, num_points: int) -> list[int]:
    """Indices of the points that count."""
    if points is None:
        return list(range(num_points))
    paired_arrays.check_indices(points, num_points, "points")
    return list(points)


def _taken(points: np.ndarray, kept: list[int]) -> np.ndarray:
    """Some of the points. Indexing by a list would reorder the memory, and with it sums, by the number of samples."""
    return np.take(points, kept, axis=-2)


def _below_root(points: np.ndarray, root: tuple[int, ...], kept: list[int]) -> np.ndarray:
    """Some of the points, seen from the mean of the root points."""
    return _taken(points, kept) - _taken(points, list(root)).mean(-2, keepdims=True)


def _mean_of_valid(distance: np.ndarray, is_valid: np.ndarray, is_rooted: np.ndarray) -> SampleErrors:
    """Mean over the valid points of samples that have what the metric needs besides."""
    count = is_valid.sum(-1)
    mean = np.where(is_valid, distance, 0).sum(-1) / np.maximum(count, 1)
    return SampleErrors.of(np.asarray(mean), np.asarray(is_rooted & (count > 0)))
