"""Anchors of a single-shot detector, decoding of its raw output, and suppression of duplicates.

Coordinates here are fractions of the detector's square input, x right and y down, 0 at the left and top
edges, 1 at the right and bottom ones. Only anchors of one fixed size are dealt with, as BlazePose and the
palm detector have them: an anchor is then no more than a centre.
"""

import dataclasses
import itertools

import numpy as np

from hardmo_jax.array_types import Float

#: Raw scores are clipped here before the sigmoid, which keeps the exponential finite.
SCORE_LOGIT_LIMIT = 80.0
#: Each level of the feature pyramid that is named in `strides` lays this many anchors on every cell.
ANCHORS_PER_LEVEL = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class RawDetections:
    """Boxes with keypoints and score, best first, in fractions of the detector's input."""

    boxes: Float[np.ndarray, "N 4"]
    """(x_min, y_min, x_max, y_max)."""
    keypoints: Float[np.ndarray, "N K 2"]
    """Points that the detector gives with each box."""
    scores: Float[np.ndarray, "N"]
    """Probability in [0, 1]."""

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, kept: np.ndarray) -> "RawDetections":
        """Rows by index or by mask."""
        return RawDetections(boxes=self.boxes[kept], keypoints=self.keypoints[kept], scores=self.scores[kept])


def anchor_centers(input_size: int, strides: tuple[int, ...]) -> Float[np.ndarray, "A 2"]:
    """Centres of the anchors, in the order of the detector's output.

    Neighbouring levels of equal stride share one grid: its cells run row by row, and all anchors of a cell
    follow each other.

    Args:
        input_size: Side of the detector's input in pixels.
        strides: Pixels between two cells, one entry a level.

    Returns:
        (x, y) as fractions of the input.

    Raises:
        ValueError: If a stride is not positive or does not divide the input.
    """
    grids = []
    for stride, levels in itertools.groupby(strides):
        if stride <= 0 or input_size % stride:
            raise ValueError(f"stride {stride} must be positive and divide the input size {input_size}")
        cells = input_size // stride
        along = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        grid = np.stack(np.meshgrid(along, along, indexing="xy"), axis=-1).reshape(-1, 2)
        grids.append(np.repeat(grid, ANCHORS_PER_LEVEL * len(list(levels)), axis=0))
    return np.concatenate(grids)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Logistic function that never overflows."""
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -SCORE_LOGIT_LIMIT, SCORE_LOGIT_LIMIT)))


def decode(
    values: Float[np.ndarray, "A C"],
    logits: Float[np.ndarray, "A"],
    centers: Float[np.ndarray, "A 2"],
    *,
    input_size: int,
    min_score: float,
) -> RawDetections:
    """Turn the detector's raw output into boxes, keypoints and scores.

    Args:
        values: For each anchor: box centre x, y, width, height, then x, y of each keypoint, all in pixels of
            the input, positions relative to the anchor.
        logits: Score of each anchor before the sigmoid.
        centers: Anchors, see `anchor_centers`.
        input_size: Side of the input in pixels.
        min_score: Boxes below are dropped.

    Returns:
        Finite boxes of positive size that reach the score, best first.
    """
    scores = sigmoid(logits)
    sizes = values[:, 2:4]
    is_kept = (scores >= min_score) & np.isfinite(values).all(axis=1) & (sizes > 0).all(axis=1)
    kept = np.flatnonzero(is_kept)
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    fractions = values[kept] / input_size
    middle = fractions[:, :2] + centers[kept]
    half = 0.5 * fractions[:, 2:4]
    keypoints = fractions[:, 4:].reshape(len(kept), (values.shape[1] - 4) // 2, 2) + centers[kept][:, None]
    return RawDetections(
        boxes=np.concatenate([middle - half, middle + half], axis=1), keypoints=keypoints, scores=scores[kept]
    )


def box_iou(box: Float[np.ndarray, "4"], boxes: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N"]:
    """Intersection over union of one box with others; 0 where both are empty."""
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=1)
    area = np.prod(np.maximum(box[2:] - box[:2], 0.0))
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1)
    union = area + areas - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1.0), 0.0)


def blend_duplicates(detections: RawDetections, *, max_iou: float) -> RawDetections:
    """Replace each cluster of overlapping boxes by its mean, weighted by score.

    The best box left takes every box that overlaps it by more than `max_iou` into its cluster; the cluster's
    score is that of its best box. Averaging steadies the keypoints, which set the crop of the next stage.

    Args:
        detections: Boxes, best first.
        max_iou: Overlap above which two boxes are taken for the same thing.

    Returns:
        One detection a cluster, best first.

    References:
        Bazarevsky et al., "BlazeFace: Sub-millisecond neural face detection on mobile GPUs", 2019, section 4.
    """
    is_left = np.ones(len(detections), bool)
    boxes, keypoints, scores = [], [], []
    for best in range(len(detections)):
        if not is_left[best]:
            continue
        is_same = is_left & (box_iou(detections.boxes[best], detections.boxes) > max_iou)
        is_same[best] = True
        is_left &= ~is_same
        weights = detections.scores[is_same] / detections.scores[is_same].sum()
        boxes.append(np.tensordot(weights, detections.boxes[is_same], axes=1))
        keypoints.append(np.tensordot(weights, detections.keypoints[is_same], axes=1))
        scores.append(detections.scores[best])
    if not scores:
        return detections
    return RawDetections(boxes=np.stack(boxes), keypoints=np.stack(keypoints), scores=np.stack(scores))
