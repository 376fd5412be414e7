"""Errors of keypoints in an image: PCK (percentage of correct keypoints), its curve and area, squared errors.

Points are pixels of any one image, or a fixed multiple of them, with confidence as an array of its own. A truth counts
if its confidence is *above* a limit, and is hit if its distance, divided by the side of the person's box, is *below* a
threshold: both strictly, as in the evaluators of OpenMMLab and 4DHumans. Which box that is says `BoxConvention`.
"""

import dataclasses

import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.metrics import paired_arrays

#: Enlargement of person boxes in the data sets of SPIN and its descendants.
USUAL_BOX_SCALE = 1.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoxConvention:
    """Which box side divides the distances. Readers of the same data sets disagree on it, so each table must say."""

    scale: float = USUAL_BOX_SCALE
    """Factor by which the normalising box is larger than the tight box around the person."""
    is_scaled: bool = False
    """True: the sides handed over include the factor already. False: they are tight, and it is to be applied."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"the box scale is {self.scale}; expected a positive factor, usually {USUAL_BOX_SCALE}")

    def normaliser(self, box_sides: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
        """What distances are divided by, from the longest sides of the boxes handed over, in pixels."""
        sides = box_sides.astype(np.float64)
        return sides if self.is_scaled else np.asarray(sides * self.scale)

    def describe(self) -> str:
        """The convention in words."""
        if self.is_scaled:
            return f"longest side of the stored person box, which includes the factor {self.scale:g} already"
        return f"longest side of the tight person box, times {self.scale:g}"


def tight_box_side(
    keypoints: Float[np.ndarray, "*batch K 2"],
    confidence: Float[np.ndarray, "*batch K"],
    min_confidence: float,
) -> Float[np.ndarray, "*batch"]:
    """Longest side of the tight upright box around the visible keypoints.

    Args:
        keypoints: True points in pixels.
        confidence: Confidence of each in [0, 1].
        min_confidence: A point is visible if its confidence is above this.

    Returns:
        Pixels; NaN where fewer than two points are visible, which make no box.

    Raises:
        ValueError: If the shapes do not fit, or a visible point is not finite.
    """
    is_visible = confidence > min_confidence
    points, _, is_visible = paired_arrays.paired_arrays(keypoints, keypoints, is_visible, (2,))
    kept = is_visible[..., None]
    largest = np.where(kept, points, -np.inf).max(-2)
    smallest = np.where(kept, points, np.inf).min(-2)
    with np.errstate(invalid="ignore"):
        return np.where(is_visible.sum(-1) >= 2, (largest - smallest).max(-1), np.nan)


def pck_hits(
    predicted: Float[np.ndarray, "*batch K 2"],
    truth: Float[np.ndarray, "*batch K 2"],
    confidence: Float[np.ndarray, "*batch K"],
    normaliser: Float[np.ndarray, "*batch"],
    thresholds: tuple[float, ...],
    *,
    min_confidence: float = 0.5,
) -> tuple[Bool[np.ndarray, "*batch T K"], Bool[np.ndarray, "*batch K"]]:
    """Which predicted keypoints are near enough to the truth, for each threshold.

    Args:
        predicted: Points in pixels. A point that is NaN is a miss.
        truth: The same points, same pixels.
        confidence: Confidence of the truth in [0, 1].
        normaliser: What distances are divided by in pixels (`BoxConvention.normaliser`). People without a positive one
            (NaN, 0) are not counted.
        thresholds: Fractions of the normaliser; a hit is *nearer* than that.
        min_confidence: A truth counts if its confidence is *above* this.

    Returns:
        Hits, and which keypoints are counted; hits are counted ones.

    Raises:
        ValueError: If the shapes do not fit, there is no threshold or a negative one, or the truth of a counted point
            is not finite.
    """
    _check_thresholds(thresholds)
    if confidence.shape != truth.shape[:-1] or normaliser.shape != truth.shape[:-2]:
        raise ValueError(
            f"confidence is {confidence.shape} and box sides are {normaliser.shape} for points {truth.shape}; expected "
            f"{truth.shape[:-1]} and {truth.shape[:-2]}: one confidence a point, one side a person"
        )
    is_counted = confidence > min_confidence
    predicted, truth, is_counted = paired_arrays.paired_arrays(predicted, truth, is_counted, (2,))
    has_box = np.isfinite(normaliser) & (normaliser > 0)
    is_counted = is_counted & has_box[..., None]
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.linalg.norm(predicted - truth, axis=-1)
        relative = distance / np.where(has_box, normaliser, 1).astype(np.float64)[..., None]
        is_near = relative[..., None, :] < np.asarray(thresholds, np.float64)[:, None]
    return is_near & is_counted[..., None, :], is_counted


def pck(
    hits: Bool[np.ndarray, "*batch T K"], is_counted: Bool[np.ndarray, "*batch K"]
) -> tuple[Float[np.ndarray, "T K"], Float[np.ndarray, "T"]]:
    """Share of hits of each keypoint over all images, and the plain mean of these shares.

    Args:
        hits: From `pck_hits`.
        is_counted: From `pck_hits`.

    Returns:
        Share for each threshold and keypoint, NaN for keypoints that no image counts; and for each threshold the mean
        over the other keypoints, each with the same weight however often it was counted (NaN if there is none).

    Raises:
        ValueError: If the shapes do not fit.
    """
    if hits.ndim < 2 or hits.shape[:-2] + hits.shape[-1:] != is_counted.shape:
        raise ValueError(f"hits are {hits.shape}, counted {is_counted.shape}; expected (..., T, K) and (..., K)")
    num_thresholds, num_keypoints = hits.shape[-2:]
    num_hits = hits.reshape(-1, num_thresholds, num_keypoints).sum(0)
    return pck_from_counts(num_hits, is_counted.reshape(-1, num_keypoints).sum(0))


def pck_from_counts(num_hits: np.ndarray, num_counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same as `pck` from numbers of hits (T, K) and of counted keypoints (K)."""
    has_truth = num_counted > 0
    share = np.where(has_truth, num_hits / np.maximum(num_counted, 1), np.nan)
    if not has_truth.any():
        return share, np.full(len(share), np.nan)
    return share, share[:, has_truth].mean(-1)


def pck_curve(
    predicted: Float[np.ndarray, "*batch K 2"],
    truth: Float[np.ndarray, "*batch K 2"],
    confidence: Float[np.ndarray, "*batch K"],
    normaliser: Float[np.ndarray, "*batch"],
    thresholds: tuple[float, ...],
    *,
    min_confidence: float = 0.5,
) -> Float[np.ndarray, "T"]:
    """Mean PCK at each threshold; arguments and errors as of `pck_hits`."""
    hits, is_counted = pck_hits(predicted, truth, confidence, normaliser, thresholds, min_confidence=min_confidence)
    return pck(hits, is_counted)[1]


def pck_auc(thresholds: tuple[float, ...], accuracies: Float[np.ndarray, "T"]) -> float:
    """Area under a PCK curve by the trapezoid rule, divided by the largest threshold: 1 is perfect.

    Args:
        thresholds: Ascending, from 0 to the largest.
        accuracies: PCK at each.

    Raises:
        ValueError: If the thresholds do not ascend from 0, are fewer than two, or do not fit the accuracies.
    """
    _check_thresholds(thresholds)
    if len(thresholds) < 2 or thresholds[0] != 0 or min(np.diff(thresholds)) <= 0:
        raise ValueError(f"expected thresholds ascending from 0, at least two, got {thresholds}")
    if accuracies.shape != (len(thresholds),):
        raise ValueError(f"accuracies are {accuracies.shape}, expected one for each of {len(thresholds)} thresholds")
    return float(np.trapezoid(accuracies, thresholds) / thresholds[-1])


def keypoint_squared_error(
    predicted: Float[np.ndarray, "*batch K 2"],
    truth: Float[np.ndarray, "*batch K 2"],
    confidence: Float[np.ndarray, "*batch K"],
) -> Float[np.ndarray, "*batch"]:
    """Squared distance times confidence, mean over all keypoints: `mode_kpl2` of ProHMR and 4DHumans.

    Args:
        predicted: Points; in the reference, fractions of the crop from its centre.
        truth: The same points in the same unit.
        confidence: Weight of each in [0, 1]; points of weight 0 may hold anything.

    Returns:
        Squared unit of the points. Points without truth lower it, as the mean divides by the number of all.

    Raises:
        ValueError: If the shapes do not fit, or the truth of a point with weight is not finite.
    """
    predicted, truth, _ = paired_arrays.paired_arrays(predicted, truth, confidence > 0, (2,))
    with np.errstate(invalid="ignore", over="ignore"):
        squared = ((predicted - truth) ** 2).sum(-1)
        return np.asarray((np.maximum(confidence, 0).astype(np.float64) * squared).mean(-1))


def _check_thresholds(thresholds: tuple[float, ...]) -> None:
    if not thresholds or not all(np.isfinite(value) and value >= 0 for value in thresholds):
        raise ValueError(f"expected PCK thresholds, fractions of the box side such as (0.01, 0.05), got {thresholds}")
