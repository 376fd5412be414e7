"""Finding people with a detector of boxes in an ONNX file: RTMDet and YOLOX by mmdeploy, YOLOX as it is, YOLO by
ultralytics.

Which it is shows by its outputs; RTMDet and YOLOX of mmdeploy give the same, and YOLOX has its name in that of the
file. What pictures they take is theirs: RTMDet blue first with the mean of ImageNet, YOLOX blue first as it is, both in
the top left corner; YOLO red first from 0 to 1, in the middle.
"""

import os
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Float
from hardmo_jax.perception.onnx_model import OnnxModel, OnnxModelError
from hardmo_jax.perception.person_boxes import PersonBox, best_boxes, fit_letterbox

Kind = Literal["rtmdet", "yolox", "yolox_grid", "yolo", "yolo_end_to_end"]
#: Class of people in COCO.
_PERSON = 0
#: Of pictures from 0 to 255, blue, green, red.
_RTMDET_MEAN = np.array([103.53, 116.28, 123.675], np.float32)
_RTMDET_SPREAD = np.array([57.375, 57.12, 58.395], np.float32)
#: Side of pictures for models that take any.
_USUAL_SIDE = 640
#: Points of COCO, three numbers each, behind box and score, or behind box, score and class.
_POINT_CHANNELS = 51
_POSE_CHANNELS = 4 + 1 + _POINT_CHANNELS
_POSE_END_TO_END_CHANNELS = 4 + 2 + _POINT_CHANNELS
#: Cells of YOLOX, pixels.
_STRIDES = (8, 16, 32)
_MAX_CLASSES = 1000


class OnnxPersonDetector:
    """Boxes of people, with points if it is a YOLO-pose."""

    def __init__(self, path: str | os.PathLike[str], *, num_threads: int = 2) -> None:
        """Load a detector and find out which kind it is.

        Args:
            path: The `.onnx` file.
            num_threads: Threads of one call.

        Raises:
            FileNotFoundError: If there is no such file.
            OnnxModelError: If it is no such model.
        """
        self._model = OnnxModel(path, num_threads=num_threads)
        self._size = self._model.input_size or (_USUAL_SIDE, _USUAL_SIDE)
        self.kind: Kind = _kind_of(self._model, self._size)
        first = next(iter(self._model.outputs.values()))
        channels = {"yolo": first[1], "yolo_end_to_end": first[2] if len(first) > 2 else None}.get(self.kind)
        self._gives_points = channels in (_POSE_CHANNELS, _POSE_END_TO_END_CHANNELS)

    @property
    def gives_points(self) -> bool:
        """Whether people come with COCO's points."""
        return self._gives_points

    def __call__(self, image: UInt8[np.ndarray, "H W 3"], *, min_score: float) -> list[PersonBox]:
        """People of a picture, best first.

        Args:
            image: RGB.
            min_score: Least score.

        Raises:
            OnnxModelError: If the outputs are not what their shapes promised.
        """
        letterbox = fit_letterbox(image, self._size, is_centred=self.kind in ("yolo", "yolo_end_to_end"))
        values = letterbox.image.astype(np.float32)
        if self.kind == "rtmdet":
            values = (values[..., ::-1] - _RTMDET_MEAN) / _RTMDET_SPREAD
        elif self.kind.startswith("yolox"):
            values = values[..., ::-1]
        else:
            values = values / 255
        outputs = self._model(values.transpose(2, 0, 1)[None])
        if self.kind in ("rtmdet", "yolox"):
            boxes, scores, points = *_of_lists(outputs, self._model), None
        elif self.kind == "yolox_grid":
            boxes, scores, points = *_of_grid(_one_output(outputs, self._model), self._size), None
        else:
            boxes, scores, points = _of_yolo(self.kind, _one_output(outputs, self._model), self._model)
        return best_boxes(letterbox, boxes, scores, min_score=min_score, keypoints=points)


def _kind_of(model: OnnxModel, size: tuple[int, int]) -> Kind:
    shapes = model.outputs
    if {"dets", "labels"} <= set(shapes) and len(shapes["dets"]) == 3:
        return "yolox" if "yolox" in model.path.name.lower() else "rtmdet"
    if len(shapes) >= 1:
        first = next(iter(shapes.values()))
        if len(first) == 3 and first[1] == len(_cells(size)) and _is_yolo(first[2], 5):
            return "yolox_grid"
        if len(first) == 3 and first[2] in (6, _POSE_END_TO_END_CHANNELS):
            return "yolo_end_to_end"
        if len(first) == 3 and (isinstance(first[1], str) or first[1] is None or _is_yolo(first[1], 4)):
            return "yolo"
    told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    raise OnnxModelError(
        f"{model.path}: its outputs are {told}; expected `dets` and `labels` (RTMDet and YOLOX by mmdeploy), "
        "(batch, 4 + classes, boxes) or (batch, boxes, 6) (YOLO by ultralytics) or (batch, cells, 5 + classes) (YOLOX)"
    )


def _is_yolo(channels: int | str | None, before_classes: int) -> bool:
    return isinstance(channels, int) and before_classes < channels <= before_classes + _MAX_CLASSES


def _one_output(outputs: dict[str, np.ndarray], model: OnnxModel) -> Float[np.ndarray, "A B"]:
    values = next(iter(outputs.values()))
    if values.ndim != 3 or values.shape[0] != 1:
        raise OnnxModelError(f"{model.path}: its output is {values.shape}; expected one picture's boxes")
    return values[0]


def _of_lists(
    outputs: dict[str, np.ndarray], model: OnnxModel
) -> tuple[Float[np.ndarray, "N 4"], Float[np.ndarray, "N"]]:
    """Boxes in pixels of the model's picture, and scores, of people."""
    found, labels = outputs["dets"], outputs["labels"]
    if found.ndim != 3 or found.shape[-1] != 5 or labels.shape != found.shape[:2]:
        raise OnnxModelError(f"{model.path}: `dets` is {found.shape} and `labels` {labels.shape}; expected (1, N, 5)")
    is_person = labels[0] == _PERSON
    return found[0, is_person, :4], found[0, is_person, 4]


def _cells(size: tuple[int, int]) -> Float[np.ndarray, "N 3"]:
    """Cells of YOLOX: the place of each in steps of its stride, and the stride; the finest ones first."""
    rows = []
    for stride in _STRIDES:
        y, x = np.mgrid[: size[1] // stride, : size[0] // stride]
        rows.append(np.stack([x.ravel(), y.ravel(), np.full(x.size, stride)], axis=-1))
    return np.concatenate(rows).astype(np.float64)


def _of_grid(
    values: Float[np.ndarray, "N C"], size: tuple[int, int]
) -> tuple[Float[np.ndarray, "N 4"], Float[np.ndarray, "N"]]:
    """The same of what the cells of YOLOX say (Ge et al., 2021): middles from the cell, logarithms of sizes in it."""
    cells = _cells(size)
    middle = (values[:, :2] + cells[:, :2]) * cells[:, 2:]
    half = np.exp(np.clip(values[:, 2:4], -20, 20)) * cells[:, 2:] / 2
    is_person = values[:, 5:].argmax(1) == _PERSON
    return np.concatenate([middle - half, middle + half], axis=1), np.where(is_person, values[:, 4] * values[:, 5], 0)


def _of_yolo(
    kind: Kind, values: Float[np.ndarray, "A B"], model: OnnxModel
) -> tuple[Float[np.ndarray, "N 4"], Float[np.ndarray, "N"], Float[np.ndarray, "N 17 3"] | None]:
    """The same of ultralytics' outputs, with points."""
    if kind == "yolo_end_to_end":
        # With points the class stands before them as well.
        rows = values[np.round(values[:, 5]) == _PERSON]
        has_points = rows.shape[1] == _POSE_END_TO_END_CHANNELS
        return rows[:, :4], rows[:, 4], rows[:, 6:].reshape(-1, 17, 3) if has_points else None
    rows = values.T
    if not _is_yolo(rows.shape[1], 4):
        raise OnnxModelError(f"{model.path}: its output is {values.shape}; expected (4 + classes, boxes)")
    scores, points = rows[:, 4], None
    if rows.shape[1] == _POSE_CHANNELS:
        points = rows[:, 5:].reshape(-1, 17, 3)
    else:
        # A box is that of its best class.
        scores = np.where(rows[:, 4:].argmax(1) == _PERSON, scores, 0)
    centre, half = rows[:, :2], rows[:, 2:4] / 2
    return np.concatenate([centre - half, centre + half], axis=1), scores, points
