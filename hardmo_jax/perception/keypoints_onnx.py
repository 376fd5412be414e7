"""Keypoints of people in boxes by a model in an ONNX file: RTMPose, RTMW, DWPose (SimCC) and ViTPose (heatmaps).

The crop is that of MMPose's top-down models: the box grown by a quarter, at the shape of the input. Plain and mirrored
crops may be averaged. Scores become confidences as they are, cut at 1: peaks of distributions, not probabilities.
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Float
from hardmo_jax.perception.onnx_model import OnnxModel, OnnxModelError
from hardmo_jax.skeleton import flips, layouts
from hardmo_jax.skeleton.layouts import KeypointLayout

Kind = Literal["simcc", "heatmaps"]
HeatmapKind = Literal["udp", "msra"]
#: Layouts by their number of points.
_LAYOUTS_BY_SIZE = {
    17: "coco17", 23: "coco_feet23", 25: "openpose25", 26: "halpe26", 133: "coco_wholebody133", 136: "halpe136",
}  # fmt: skip
#: Of red, green, blue from 0 to 255.
_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_SPREAD = np.array([58.395, 57.12, 57.375], np.float32)
_BOX_SCALE = 1.25
_USUAL_SIZE = (192, 256)
#: People of one call, for models that take any number.
_MOST_AT_ONCE = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoxKeypoints:
    """Keypoints of one person."""

    keypoints_2d: Float[np.ndarray, "K 2"]
    """Pixels of the picture, the centre of the top-left pixel at (0, 0)."""
    confidence: Float[np.ndarray, "K"]
    """In [0, 1]."""


class OnnxKeypointModel:
    """A top-down keypoint model."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        layout: str | None = None,
        heatmaps: HeatmapKind = "udp",
        mirrored_too: bool = True,
        num_threads: int = 2,
    ) -> None:
        """Load a model and find out what it gives.

        Args:
            path: The `.onnx` file.
            layout: Of its points: a name, or names of points with commas between; None goes by their number.
            heatmaps: What a model of heatmaps was trained on.
            mirrored_too: Look at the mirrored crop as well: steadier points for twice the time.
            num_threads: Threads of one call.

        Raises:
            FileNotFoundError: If there is no such file.
            OnnxModelError: If it is no such model, or of a number of points that no layout is known of.
        """
        self._model = OnnxModel(path, num_threads=num_threads)
        self.name = self._model.path.name
        """Of the file."""
        self._size = self._model.input_size or _USUAL_SIZE
        self._mirrored_too = mirrored_too
        self._heatmaps: HeatmapKind = heatmaps
        self._at_once = self._model.batch_size or _MOST_AT_ONCE
        # What the file tells of its outputs may be free: a black picture shows it.
        first = self._model(np.zeros((self._model.batch_size or 1, 3, self._size[1], self._size[0]), np.float32))
        self.kind: Kind
        self.kind, count = _kind_of(first, self._model)
        name = layout or _LAYOUTS_BY_SIZE.get(count)
        if name is None:
            raise OnnxModelError(
                f"{path}: gives {count} points; say which, e.g. --config.perception.keypoints_layout=coco17"
            )
        self.layout: KeypointLayout = _known_layout(name)
        if len(self.layout) != count:
            raise OnnxModelError(f"{path}: gives {count} points, and the layout {name} has {len(self.layout)}")
        try:
            self._mirror = list(flips.flip_permutation(self.layout)) if mirrored_too else []
        except ValueError as error:
            raise OnnxModelError(
                f"{path}: {error}; leave out the mirrored look by --config.perception.extra_looks=0"
            ) from error

    def __call__(
        self, image: UInt8[np.ndarray, "H W 3"], boxes: Sequence[Float[np.ndarray, "4"]]
    ) -> list[BoxKeypoints]:
        """Keypoints of the people in boxes of a picture.

        Args:
            image: RGB.
            boxes: (x_min, y_min, x_max, y_max) in pixels.
        """
        found: list[BoxKeypoints] = []
        for first in range(0, len(boxes), self._at_once):
            some = boxes[first : first + self._at_once]
            batch = np.empty((len(some), 3, self._size[1], self._size[0]), np.float32)
            back = [self._cut(image, box, values) for box, values in zip(some, batch, strict=True)]
            # In place, and for all at once: of small models this is a tenth of the time otherwise.
            batch *= (1 / _SPREAD)[:, None, None]
            batch -= (_MEAN / _SPREAD)[:, None, None]
            points, scores = self._looked_at(batch)
            for own, score, to_image in zip(points, scores, back, strict=True):
                pixels = own @ to_image[:, :2].T + to_image[:, 2]
                is_number = np.isfinite(pixels).all(-1) & np.isfinite(score)
                found.append(
                    BoxKeypoints(
                        keypoints_2d=np.where(is_number[:, None], pixels, 0).astype(np.float32),
                        confidence=np.where(is_number, np.clip(score, 0, 1), 0).astype(np.float32),
                    )
                )
        return found

    def _cut(
        self, image: np.ndarray, box: Float[np.ndarray, "4"], values: Float[np.ndarray, "3 H W"]
    ) -> Float[np.ndarray, "2 3"]:
        """Write the person's pixels where they are wanted; the matrix from there to the picture."""
        import cv2

        low, high = np.asarray(box[:2], np.float64), np.asarray(box[2:], np.float64)
        width, height = np.maximum(high - low, 1.0) * _BOX_SCALE
        ratio = self._size[0] / self._size[1]
        width, height = max(width, height * ratio), max(height, width / ratio)
        scale = width / self._size[0]
        centre = (low + high) / 2
        # Pixel centres: the middle of the crop is at (size - 1) / 2.
        offset = centre - scale * (np.array(self._size) - 1) / 2
        to_image = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
        crop = cv2.warpAffine(image, to_image, self._size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        values[...] = crop.transpose(2, 0, 1)
        return to_image

    def _looked_at(self, batch: np.ndarray) -> tuple[Float[np.ndarray, "B K 2"], Float[np.ndarray, "B K"]]:
        """Points in pixels of the crop, and their scores."""
        outputs = self._run(batch)
        if self._mirrored_too:
            turned = self._run(batch[..., ::-1])
            outputs = [
                (plain + self._turned_back(values, along_x=place == 0)) / 2
                for place, (plain, values) in enumerate(zip(outputs, turned, strict=True))
            ]
        return (
            _from_simcc(outputs[0], outputs[1], self._size)
            if self.kind == "simcc"
            else _from_heatmaps(outputs[0], self._size, self._heatmaps)
        )

    def _run(self, batch: np.ndarray) -> list[np.ndarray]:
        missing = self._at_once - len(batch) if self._model.batch_size else 0
        full = np.concatenate([batch, np.zeros((missing, *batch.shape[1:]), batch.dtype)]) if missing else batch
        outputs = [np.asarray(values, np.float32)[: len(batch)] for values in self._model(full).values()]
        return outputs[: 2 if self.kind == "simcc" else 1]

    def _turned_back(self, values: np.ndarray, *, along_x: bool) -> np.ndarray:
        """An output of the mirrored crop as the plain crop would give it: sides exchanged, x from the other end."""
        values = values[:, self._mirror]
        if not along_x:
            return values
        values = values[..., ::-1]
        if self.kind == "heatmaps" and self._heatmaps == "udp":
            return values
        if self.kind == "heatmaps":
            # Cell c is pixel 4 c, whose mirror image is 3 pixels beyond that of the last cell less c: all but a cell.
            return np.concatenate([values[..., :1], values[..., :-1]], axis=-1)
        # Bin b of n a pixel is at b / n: in the mirror (width - 1) n - b, not the last bin less b.
        late = values.shape[-1] // self._size[0] - 1
        return np.concatenate([values[..., late:], np.zeros_like(values[..., :late])], axis=-1)


def _known_layout(name: str) -> KeypointLayout:
    try:
        return layouts.layout_of_names(name)
    except (KeyError, ValueError) as error:
        raise OnnxModelError(f"--config.perception.keypoints_layout: {error.args[0]}") from error


def _kind_of(outputs: dict[str, np.ndarray], model: OnnxModel) -> tuple[Kind, int]:
    """What a model gives, and of how many points."""
    width, height = model.input_size or _USUAL_SIZE
    values = list(outputs.values())
    if len(values) >= 2 and values[0].ndim == values[1].ndim == 3 and values[0].shape[:2] == values[1].shape[:2]:
        across, down = values[0].shape[2], values[1].shape[2]
        if across % width == 0 and down % height == 0 and across // width == down // height >= 1:
            return "simcc", values[0].shape[1]
    if values and values[0].ndim == 4 and values[0].shape[2] * width == values[0].shape[3] * height:
        return "heatmaps", values[0].shape[1]
    told = ", ".join(f"{name} {value.shape}" for name, value in outputs.items())
    raise OnnxModelError(
        f"{model.path}: of a picture of {width} x {height} it gives {told}; expected SimCC (two outputs, "
        "(batch, points, bins) along x and y, as many bins a pixel in both) or heatmaps (batch, points, height, width)"
    )


def _from_simcc(
    along_x: Float[np.ndarray, "B K X"], along_y: Float[np.ndarray, "B K Y"], size: tuple[int, int]
) -> tuple[Float[np.ndarray, "B K 2"], Float[np.ndarray, "B K"]]:
    """Peaks of two distributions a point (Li et al., 2022); the score is the lower one's, as MMPose has it."""
    bins = along_x.shape[-1] / size[0], along_y.shape[-1] / size[1]
    points = np.stack([along_x.argmax(-1) / bins[0], along_y.argmax(-1) / bins[1]], axis=-1)
    return points, np.minimum(along_x.max(-1), along_y.max(-1))


def _from_heatmaps(
    heatmaps: Float[np.ndarray, "B K H W"], size: tuple[int, int], kind: HeatmapKind
) -> tuple[Float[np.ndarray, "B K 2"], Float[np.ndarray, "B K"]]:
    """Peaks of heatmaps.

    Corner cells of `udp` lie on the corner pixels (Huang et al., 2020), and the peak between cells is that of a
    parabola through the logarithms of the best cell and its neighbours: exact for a Gaussian. Those of `msra` (Xiao et
    al., 2018) are pixels of a smaller picture, drawn about whole cells: a quarter of one towards the higher neighbour.
    """
    batch, count, height, width = heatmaps.shape
    flat = heatmaps.reshape(batch, count, -1)
    best = flat.argmax(-1)
    rows, columns = np.divmod(best, width)
    at = np.ix_(np.arange(batch), np.arange(count))
    inner_x, inner_y = np.clip(columns, 1, width - 2), np.clip(rows, 1, height - 2)
    low_x, middle_x, high_x = (heatmaps[*at, rows, inner_x + shift] for shift in (-1, 0, 1))
    low_y, middle_y, high_y = (heatmaps[*at, inner_y + shift, columns] for shift in (-1, 0, 1))
    if kind == "udp":
        step_x, step_y = _peak_between(low_x, middle_x, high_x), _peak_between(low_y, middle_y, high_y)
        scale = np.array([(size[0] - 1) / (width - 1), (size[1] - 1) / (height - 1)])
    else:
        step_x, step_y = 0.25 * np.sign(high_x - low_x), 0.25 * np.sign(high_y - low_y)
        scale = np.array([size[0] / width, size[1] / height])
    x = columns + np.where(inner_x == columns, step_x, 0)
    y = rows + np.where(inner_y == rows, step_y, 0)
    return np.stack([x, y], axis=-1) * scale, flat.max(-1)


def _peak_between(
    low: Float[np.ndarray, "B K"], middle: Float[np.ndarray, "B K"], high: Float[np.ndarray, "B K"]
) -> Float[np.ndarray, "B K"]:
    """Cells from the middle one to the peak."""
    low, middle, high = (np.log(np.maximum(values, 1e-10)) for values in (low, middle, high))
    curvature = low - 2 * middle + high
    step = np.where(curvature < 0, 0.5 * (low - high) / np.minimum(curvature, -1e-12), 0)
    return np.clip(step, -0.5, 0.5)
