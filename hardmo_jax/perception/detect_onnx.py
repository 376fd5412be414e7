"""Finding people with a detector of boxes in an ONNX file: RTMDet as mmdeploy exports it, YOLO as ultralytics does.

Which it is shows by its outputs. What they mean is theirs: RTMDet takes BGR with the mean of ImageNet and a picture in
the top left corner, YOLO takes RGB from 0 to 1 in the middle.
"""

import os
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Float
from hardmo_jax.perception.onnx_model import OnnxModel, OnnxModelError
from hardmo_jax.perception.person_boxes import PersonBox, best_boxes, fit_letterbox

Kind = Literal["rtmdet", "yolo", "yolo_end_to_end"]
#: Class of people in COCO.
_PERSON = 0
#: Of pictures from 0 to 255, blue, green, red.
_RTMDET_MEAN = np.array([103.53, 116.28, 123.675], np.float32)
_RTMDET_SPREAD = np.array([57.375, 57.12, 58.395], np.float32)
#: Side of pictures for models that take any.
_USUAL_SIDE = 640
#: Points of COCO, three numbers each, behind box and score.
_POSE_CHANNELS = 4 + 1 + 51
_MAX_CLASSES = 1000


class OnnxPersonDetector:
    """Boxes of people."""

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
        self.kind: Kind = _kind_of(self._model)
        self._size = self._model.input_size or (_USUAL_SIDE, _USUAL_SIDE)

    def __call__(self, image: UInt8[np.ndarray, "H W 3"], *, min_score: float) -> list[PersonBox]:
        """People of a picture, best first.

        Args:
            image: RGB.
            min_score: Least score.

        Raises:
            OnnxModelError: If the outputs are not what their shapes promised.
        """
        letterbox = fit_letterbox(image, self._size, is_centred=self.kind != "rtmdet")
        if self.kind == "rtmdet":
            values = (letterbox.image[..., ::-1].astype(np.float32) - _RTMDET_MEAN) / _RTMDET_SPREAD
        else:
            values = letterbox.image.astype(np.float32) / 255
        outputs = self._model(values.transpose(2, 0, 1)[None])
        boxes, scores = _decoded(self.kind, outputs, self._model)
        return best_boxes(letterbox, boxes, scores, min_score=min_score)


def _kind_of(model: OnnxModel) -> Kind:
    shapes = model.outputs
    if {"dets", "labels"} <= set(shapes) and len(shapes["dets"]) == 3:
        return "rtmdet"
    if len(shapes) >= 1:
        first = next(iter(shapes.values()))
        if len(first) == 3 and first[2] in (6, 4 + 2 + 51):
            return "yolo_end_to_end"
        if len(first) == 3 and (isinstance(first[1], str) or first[1] is None or _is_yolo(first[1])):
            return "yolo"
    told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    raise OnnxModelError(
        f"{model.path}: its outputs are {told}; expected `dets` and `labels` (RTMDet by mmdeploy), "
        "(batch, 4 + classes, boxes) or (batch, boxes, 6) (YOLO by ultralytics)"
    )


def _is_yolo(channels: int) -> bool:
    return 5 <= channels <= 4 + _MAX_CLASSES


def _decoded(
    kind: Kind, outputs: dict[str, np.ndarray], model: OnnxModel
) -> tuple[Float[np.ndarray, "N 4"], Float[np.ndarray, "N"]]:
    """Boxes in pixels of the model's picture, and scores of people."""
    if kind == "rtmdet":
        found, labels = outputs["dets"], outputs["labels"]
        if found.ndim != 3 or found.shape[-1] != 5 or labels.shape != found.shape[:2]:
            raise OnnxModelError(
                f"{model.path}: `dets` is {found.shape} and `labels` {labels.shape}; expected (1, N, 5)"
            )
        is_person = labels[0] == _PERSON
        return found[0, is_person, :4], found[0, is_person, 4]
    values = next(iter(outputs.values()))
    if values.ndim != 3 or values.shape[0] != 1:
        raise OnnxModelError(f"{model.path}: its output is {values.shape}; expected one picture's boxes")
    if kind == "yolo_end_to_end":
        # With points the class stands before them as well.
        is_person = np.round(values[0, :, 5]) == _PERSON
        return values[0, is_person, :4], values[0, is_person, 4]
    rows = values[0].T
    if not _is_yolo(rows.shape[1]):
        raise OnnxModelError(f"{model.path}: its output is {values.shape}; expected (1, 4 + classes, boxes)")
    scores = rows[:, 4]
    if rows.shape[1] != _POSE_CHANNELS:
        # A box is that of its best class.
        scores = np.where(rows[:, 4:].argmax(1) == _PERSON, scores, 0)
    centre, half = rows[:, :2], rows[:, 2:4] / 2
    return np.concatenate([centre - half, centre + half], axis=1), scores
