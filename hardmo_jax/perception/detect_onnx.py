"""Finding people with a detector of boxes in an ONNX file: RTMDet and YOLOX by mmdeploy, YOLOX as it is, YOLO by
ultralytics.

Which it is shows by its outputs for a black picture, and by what ultralytics writes into its files (`yolo_columns`);
outlines are left out. RTMDet and YOLOX of mmdeploy give the same, and YOLOX has its name in that of the
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
from hardmo_jax.perception.yolo_columns import YoloColumns, columns_of, person_class_of

Kind = Literal["rtmdet", "yolox", "yolox_grid", "yolo", "yolo_end_to_end"]
#: Class of people in COCO, for files that name none.
_PERSON = 0
#: Of pictures from 0 to 255, blue, green, red.
_RTMDET_MEAN = np.array([103.53, 116.28, 123.675], np.float32)
_RTMDET_SPREAD = np.array([57.375, 57.12, 58.395], np.float32)
#: Side of pictures for models that take any.
_USUAL_SIDE = 640
#: Cells of YOLOX, pixels.
_STRIDES = (8, 16, 32)
_MAX_CLASSES = 1000
#: Of COCO.
_NUM_POINTS = 17


class OnnxPersonDetector:
    """Boxes of people, with points if it is a YOLO-pose."""

    def __init__(self, path: str | os.PathLike[str], *, num_threads: int = 2) -> None:
        """Load a detector and find out which kind it is.

        Args:
            path: The `.onnx` file.
            num_threads: Threads of one call.

        Raises:
            FileNotFoundError: If there is no such file.
            OnnxModelError: If it is no such model, finds no people, or fails at a picture.
        """
        self._model = OnnxModel(path, num_threads=num_threads)
        if self._model.batch_size not in (None, 1):
            raise OnnxModelError(
                f"{path}: takes {self._model.batch_size} pictures at once; write it with a batch of 1 or of any number"
            )
        self._size = self._model.input_size or (_USUAL_SIDE, _USUAL_SIDE)
        # What the file tells of its outputs may be free, or wrong: a black picture shows it.
        outputs = self._model(np.zeros((1, 3, self._size[1], self._size[0]), np.float32))
        self.kind: Kind
        self.kind, self._columns = _kind_of(self._model, outputs, self._size)
        person = person_class_of(self._model)
        self._person = _PERSON if person is None else person
        self._people(outputs)

    @property
    def gives_points(self) -> bool:
        """Whether people come with COCO's points."""
        return self._columns is not None and self._columns.has_points

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
        boxes, scores, points = self._people(self._model(values.transpose(2, 0, 1)[None]))
        return best_boxes(letterbox, boxes, scores, min_score=min_score, keypoints=points)

    def _people(
        self, outputs: dict[str, np.ndarray]
    ) -> tuple[Float[np.ndarray, "N 4"], Float[np.ndarray, "N"], Float[np.ndarray, "N 17 3"] | None]:
        """Boxes in pixels of the model's picture, scores and points, of people."""
        if self.kind in ("rtmdet", "yolox"):
            return *_of_lists(outputs, self._person, self._model), None
        values = _one_output(outputs, self._model)
        if self._columns is None:
            return *_of_grid(values, self._person, self._size, self._model), None
        return _of_yolo(values, self._columns, self._model)


def _kind_of(
    model: OnnxModel, outputs: dict[str, np.ndarray], size: tuple[int, int]
) -> tuple[Kind, YoloColumns | None]:
    shapes = [values.shape for values in outputs.values()]
    if {"dets", "labels"} <= set(outputs) and outputs["dets"].ndim == 3:
        return "yolox" if "yolox" in model.path.name.lower() else "rtmdet", None
    if shapes and len(shapes[0]) == 3 and shapes[0][1] == len(_cells(size)) and 5 < shapes[0][2] <= 5 + _MAX_CLASSES:
        return "yolox_grid", None
    columns = columns_of(model, shapes)
    if columns is not None:
        return "yolo_end_to_end" if columns.is_end_to_end else "yolo", columns
    told = ", ".join(f"{name} {values.shape}" for name, values in outputs.items())
    raise OnnxModelError(
        f"{model.path}: its outputs are {told}; expected `dets` and `labels` (RTMDet and YOLOX by mmdeploy), "
        "(batch, 4 + classes, boxes) or (batch, boxes, 6) (YOLO by ultralytics) or (batch, cells, 5 + classes) (YOLOX)"
    )


def _one_output(outputs: dict[str, np.ndarray], model: OnnxModel) -> Float[np.ndarray, "A B"]:
    values = next(iter(outputs.values()))
    if values.ndim != 3 or values.shape[0] != 1:
        raise OnnxModelError(f"{model.path}: its output is {values.shape}; expected one picture's boxes")
    return values[0]


def _of_lists(
    outputs: dict[str, np.ndarray], person: int, model: OnnxModel
) -> tuple[Float[np.ndarray, "N 4"], Float[np.ndarray, "N"]]:
    """Boxes in pixels of the model's picture, and scores, of people."""
    found, labels = outputs["dets"], outputs["labels"]
    if found.ndim != 3 or found.shape[-1] != 5 or labels.shape != found.shape[:2]:
        raise OnnxModelError(f"{model.path}: `dets` is {found.shape} and `labels` {labels.shape}; expected (1, N, 5)")
    is_person = labels[0] == person
    return found[0, is_person, :4], found[0, is_person, 4]


def _cells(size: tuple[int, int]) -> Float[np.ndarray, "N 3"]:
    """Cells of YOLOX: the place of each in steps of its stride, and the stride; the finest ones first."""
    rows = []
    for stride in _STRIDES:
        y, x = np.mgrid[: size[1] // stride, : size[0] // stride]
        rows.append(np.stack([x.ravel(), y.ravel(), np.full(x.size, stride)], axis=-1))
    return np.concatenate(rows).astype(np.float64)


def _of_grid(
    values: Float[np.ndarray, "N C"], person: int, size: tuple[int, int], model: OnnxModel
) -> tuple[Float[np.ndarray, "N 4"], Float[np.ndarray, "N"]]:
    """The same of what the cells of YOLOX say (Ge et al., 2021): middles from the cell, logarithms of sizes in it."""
    cells = _cells(size)
    if len(values) != len(cells) or not 5 + person < values.shape[1]:
        raise OnnxModelError(f"{model.path}: its output is {values.shape}; expected {len(cells)} cells")
    middle = (values[:, :2] + cells[:, :2]) * cells[:, 2:]
    half = np.exp(np.clip(values[:, 2:4], -20, 20)) * cells[:, 2:] / 2
    is_person = values[:, 5:].argmax(1) == person
    scores = np.where(is_person, values[:, 4] * values[:, 5 + person], 0)
    return np.concatenate([middle - half, middle + half], axis=1), scores


def _of_yolo(
    values: Float[np.ndarray, "A B"], columns: YoloColumns, model: OnnxModel
) -> tuple[Float[np.ndarray, "N 4"], Float[np.ndarray, "N"], Float[np.ndarray, "N 17 3"] | None]:
    """The same of ultralytics' outputs, with points."""
    rows = values if columns.is_end_to_end else values.T
    first = 6 if columns.is_end_to_end else 4 + columns.num_classes
    # A model whose rows change from picture to picture is none of these.
    if rows.shape[1] < first or (columns.has_points and rows.shape[1] != first + 3 * _NUM_POINTS):
        raise OnnxModelError(f"{model.path}: its output is {values.shape}; expected {first} numbers a box or more")
    if columns.is_end_to_end:
        rows = rows[np.round(rows[:, 5]) == columns.person]
        boxes, scores = rows[:, :4], rows[:, 4]
    else:
        # A box is that of its best class.
        rows = rows[rows[:, 4:first].argmax(1) == columns.person]
        centre, half = rows[:, :2], rows[:, 2:4] / 2
        boxes, scores = np.concatenate([centre - half, centre + half], axis=1), rows[:, 4 + columns.person]
    return boxes, scores, rows[:, first:].reshape(-1, _NUM_POINTS, 3) if columns.has_points else None
