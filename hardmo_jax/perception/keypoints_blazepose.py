"""33 body landmarks of one person from a rotated crop (BlazePose, full model).

The model sees a square of 256 pixels with the person upright and about the hips, and gives image points,
world points (metres, origin between the hips, axes of the *crop*) and how sure it is of each. World points
are turned back into the camera's axes by the crop's roll.
"""

import dataclasses
import os

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.perception import anchors, crops, detect_blazepose, litert, model_files
from hardmo_jax.skeleton import layouts

INPUT_SIZE = 256
HEATMAP_SIZE = 64
LAYOUT = layouts.get_layout("blazepose33")
#: The model's first points beyond the 33: they span the region of the next look.
AUXILIARY_POINTS = ("mid_hip", "body_circle")
#: Points in the model's output; those beyond the auxiliary ones have no use here.
_NUM_POINTS = 39
#: Side of the window (heatmap cells) in which a landmark is refined, and the peak that this needs.
_REFINE_WINDOW = 7
_REFINE_MIN_PEAK = 0.5
_OUTPUTS = {
    "landmarks": litert.OutputTensor(tensor="Identity", shape=(_NUM_POINTS * 5,)),
    "presence": litert.OutputTensor(tensor="Identity_1", shape=(1,)),
    "heatmap": litert.OutputTensor(tensor="Identity_3", shape=(HEATMAP_SIZE, HEATMAP_SIZE, _NUM_POINTS)),
    "world": litert.OutputTensor(tensor="Identity_4", shape=(_NUM_POINTS * 3,)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class BodyLandmarks:
    """What the model says of one crop; points in the order of the `blazepose33` layout."""

    keypoints_2d: Float[np.ndarray, "33 2"]
    """Pixels of the full picture."""
    keypoints_3d: Float[np.ndarray, "33 3"]
    """Metres, origin between the hips, camera axes (x right, y down, z forward)."""
    visibility: Float[np.ndarray, "33"]
    """Probability that the point is in the crop and not hidden."""
    presence: Float[np.ndarray, "33"]
    """Probability that the point is in the crop."""
    score: float
    """Probability that there is a person in the crop."""
    region: crops.SquareRegion
    """The crop."""
    next_region: crops.SquareRegion
    """Region for another look at this person, here or in the next frame."""


class BodyLandmarker:
    """The landmark model, ready to look at regions of pictures."""

    def __init__(self, folder: str | os.PathLike[str], *, num_threads: int = 1) -> None:
        """Load the model from a folder of model files."""
        self._model = litert.LiteRtModel(
            model_files.model_path(folder, "pose_landmark_full"),
            input_shape=(INPUT_SIZE, INPUT_SIZE, 3),
            outputs=_OUTPUTS,
            num_threads=num_threads,
        )

    def __call__(
        self, pyramid: crops.ImagePyramid, region: crops.SquareRegion, *, mirror: bool = False
    ) -> BodyLandmarks:
        """Landmarks of the person in a region.

        Args:
            pyramid: The picture.
            region: Square round the body, head up.
            mirror: Look at the mirrored crop; the result is mirrored back, left and right exchanged.

        Returns:
            Landmarks in the picture's coordinates.
        """
        image = pyramid.cut(region, INPUT_SIZE, replicate_border=True)
        if mirror:
            image = np.ascontiguousarray(image[:, ::-1])
        outputs = self._model(image)
        landmarks = outputs["landmarks"].reshape(_NUM_POINTS, 5).astype(np.float64)
        fractions = refine_by_heatmap(landmarks[:, :2] / INPUT_SIZE, outputs["heatmap"])
        world = outputs["world"].reshape(_NUM_POINTS, 3).astype(np.float64)
        count = len(LAYOUT)
        order = np.arange(_NUM_POINTS)
        if mirror:
            fractions[:, 0] = 1.0 - fractions[:, 0]
            world[:, 0] = -world[:, 0]
            order[:count] = _mirrored_order()
        points = region.to_image(fractions[order])
        world = world[order][:count]
        world[:, :2] = world[:, :2] @ region.axes().T
        body_circle = count + AUXILIARY_POINTS.index("body_circle")
        return BodyLandmarks(
            keypoints_2d=points[:count].astype(np.float32),
            keypoints_3d=world.astype(np.float32),
            visibility=anchors.sigmoid(landmarks[order][:count, 3]).astype(np.float32),
            presence=anchors.sigmoid(landmarks[order][:count, 4]).astype(np.float32),
            score=float(np.clip(outputs["presence"][0], 0.0, 1.0)),
            region=region,
            next_region=detect_blazepose.body_region(
                points[count + AUXILIARY_POINTS.index("mid_hip")], points[body_circle]
            ),
        )


def _mirrored_order() -> list[int]:
    """For each landmark the one on the other side."""
    swap = {"left": "right", "right": "left"}
    partners = []
    for point in LAYOUT.points:
        side, _, rest = point.partition("_")
        partners.append(LAYOUT.index(f"{swap[side]}_{rest}" if side in swap else point))
    return partners


def refine_by_heatmap(
    fractions: Float[np.ndarray, "K 2"], heatmap: Float[np.ndarray, "H W K"]
) -> Float[np.ndarray, "K 2"]:
    """Move each point to the centre of mass of its heatmap in a window round it.

    Args:
        fractions: Points as fractions of the crop.
        heatmap: One channel a point, logits.

    Returns:
        Points; those whose window has no clear peak stay.
    """
    height, width, count = heatmap.shape
    refined = np.array(fractions, np.float64)
    half = _REFINE_WINDOW // 2
    for point in range(count):
        column, row = int(fractions[point, 0] * width), int(fractions[point, 1] * height)
        if not (0 <= column < width and 0 <= row < height):
            continue
        rows = slice(max(0, row - half), min(height, row + half + 1))
        columns = slice(max(0, column - half), min(width, column + half + 1))
        weights = anchors.sigmoid(heatmap[rows, columns, point].astype(np.float64))
        if weights.max(initial=0.0) < _REFINE_MIN_PEAK:
            continue
        total = weights.sum()
        x = (weights.sum(axis=0) * (np.arange(width)[columns])).sum() / total
        y = (weights.sum(axis=1) * (np.arange(height)[rows])).sum() / total
        refined[point] = x / width, y / height
    return refined
