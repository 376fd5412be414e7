"""Finding people with the BlazePose detector.

The detector is a face-and-torso detector of one near person in a square of 224 pixels: small people, several
people and people lying or upside down need further looks at parts of the picture and at turned copies
(`look_regions`). What matters of a find is the circle round the body, from which the landmark crop is made.
"""

import dataclasses
import math
import os
from collections.abc import Sequence

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.perception import anchors, crops, litert, model_files

INPUT_SIZE = 224
STRIDES = (8, 16, 32, 32, 32)
#: Keypoints of the detector, in output order.
DETECTOR_POINTS = ("mid_hip", "body_circle", "mid_shoulder", "upper_body_circle")
#: The landmark crop is this much larger than the circle through `body_circle` about `mid_hip`.
REGION_SCALE = 1.25
_MAX_IOU = 0.3
#: Body regions nearer than this part of their size are one person's: people side by side are farther apart.
_SAME_CLUSTER = 0.12
_OUTPUTS = {
    "values": litert.OutputTensor(tensor="Identity", shape=(2254, 12)),
    "logits": litert.OutputTensor(tensor="Identity_1", shape=(2254, 1)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PersonDetection:
    """A person found in the picture."""

    bbox: Float[np.ndarray, "4"]
    """Detector's box about head and shoulders, (x_min, y_min, x_max, y_max) in pixels."""
    keypoints_2d: Float[np.ndarray, "4 2"]
    """`DETECTOR_POINTS` in pixels."""
    score: float
    """Probability in [0, 1]."""

    def region(self) -> crops.SquareRegion:
        """Square round the whole body, head up."""
        return body_region(
            self.keypoints_2d[DETECTOR_POINTS.index("mid_hip")],
            self.keypoints_2d[DETECTOR_POINTS.index("body_circle")],
        )


def body_region(mid_hip: Float[np.ndarray, "2"], body_circle: Float[np.ndarray, "2"]) -> crops.SquareRegion:
    """Square round the whole body from the two points that stand for its circle.

    Args:
        mid_hip: Centre of the circle, pixels.
        body_circle: Point of the circle in the direction of the head, pixels.

    Returns:
        The region, head up.
    """
    radius = float(np.linalg.norm(np.asarray(body_circle) - np.asarray(mid_hip)))
    return crops.region_from_axis(mid_hip, body_circle, size=2.0 * REGION_SCALE * radius)


def look_regions(
    pyramid: crops.ImagePyramid, *, tiles: float, tile_overlap: float, overhang: float
) -> tuple[crops.SquareRegion, ...]:
    """Overlapping upright squares that together cover the picture.

    Args:
        pyramid: The picture.
        tiles: Squares that side by side would fill the longer side; 1 gives squares of the whole picture's size.
        tile_overlap: Least part of a square that its neighbour covers too, in [0, 1).
        overhang: Part of a square by which the outer ones reach over the edge: people cut off by the edge are
            found if they come near the middle of a square.

    Returns:
        Squares, row by row.
    """
    size = max(pyramid.height, pyramid.width) / tiles

    def along(length: int) -> np.ndarray:
        first, last = (0.5 - overhang) * size - 0.5, length - (0.5 - overhang) * size - 0.5
        if last - first < 0.25 * size:
            return np.array([0.5 * (length - 1)])
        count = math.ceil((last - first) / (size * (1.0 - tile_overlap)) - 1e-6) + 1
        return np.linspace(first, last, count)

    return tuple(
        crops.SquareRegion(center=(float(x), float(y)), size=size)
        for y in along(pyramid.height)
        for x in along(pyramid.width)
    )


class PersonDetector:
    """The detector's model, ready to look at regions of pictures."""

    def __init__(self, folder: str | os.PathLike[str], *, num_threads: int = 1) -> None:
        """Load the model from a folder of model files."""
        self._model = litert.LiteRtModel(
            model_files.model_path(folder, "pose_detection"),
            input_shape=(INPUT_SIZE, INPUT_SIZE, 3),
            outputs=_OUTPUTS,
            num_threads=num_threads,
        )
        self._centers = anchors.anchor_centers(INPUT_SIZE, STRIDES)

    def __call__(
        self, pyramid: crops.ImagePyramid, region: crops.SquareRegion, *, min_score: float
    ) -> list[PersonDetection]:
        """People seen in one region, best first."""
        image = 2.0 * pyramid.cut(region, INPUT_SIZE) - 1.0
        outputs = self._model(image)
        found = anchors.blend_duplicates(
            anchors.decode(
                outputs["values"],
                outputs["logits"][:, 0],
                self._centers,
                input_size=INPUT_SIZE,
                min_score=min_score,
            ),
            max_iou=_MAX_IOU,
        )
        return [
            PersonDetection(
                bbox=_upright_box(region, box),
                keypoints_2d=region.to_image(keypoints).astype(np.float32),
                score=float(score),
            )
            for box, keypoints, score in zip(found.boxes, found.keypoints, found.scores, strict=True)
        ]


def _upright_box(region: crops.SquareRegion, box: Float[np.ndarray, "4"]) -> Float[np.ndarray, "4"]:
    """Upright box round a box of the region's own axes."""
    corners = region.to_image(box[[[0, 1], [2, 1], [2, 3], [0, 3]]])
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)]).astype(np.float32)


def same_body(first: crops.SquareRegion, second: crops.SquareRegion, *, tolerance: float = 0.2) -> bool:
    """Whether two body regions lie on the same person: near centres and similar sizes."""
    larger, smaller = max(first.size, second.size), min(first.size, second.size)
    apart = math.dist(first.center, second.center)
    return apart < tolerance * 0.5 * (larger + smaller) and smaller > 0.6 * larger


def cluster_detections(detections: Sequence[PersonDetection]) -> list[list[PersonDetection]]:
    """Gather the detections of each person.

    Args:
        detections: From several looks at one picture, in any order.

    Returns:
        Clusters, each best first, and the cluster with the best detection first. A detection joins the first
        cluster whose best one it shares the body region with.
    """
    clusters: list[list[PersonDetection]] = []
    for detection in sorted(detections, key=lambda one: -one.score):
        for cluster in clusters:
            if same_body(detection.region(), cluster[0].region(), tolerance=_SAME_CLUSTER):
                cluster.append(detection)
                break
        else:
            clusters.append([detection])
    return clusters
