"""What the numbers of a YOLO in an ONNX file mean: by what ultralytics wrote into the file, else by their shape."""

import ast
import dataclasses
import re
from collections.abc import Mapping

from hardmo_jax.perception import person_boxes
from hardmo_jax.perception.onnx_model import OnnxModel, OnnxModelError

#: Points of COCO, three numbers each.
_POINT_CHANNELS = 51
#: Numbers that describe an outline, in files that do not tell them.
_MASK_CHANNELS = 32
_TASKS = ("detect", "segment", "pose")
#: Without names in the file, a box is that of one class of so many.
_MAX_CLASSES = 1000
#: Letters of the names of all classes; LVIS with its 1203 has 40 thousand.
_MAX_TEXT = 1 << 18


@dataclasses.dataclass(frozen=True, kw_only=True)
class YoloColumns:
    """What a row of ultralytics' outputs holds.

    The box comes first, then the scores of all classes, or of end-to-end models the score and the class; points or
    what describes an outline come last.
    """

    is_end_to_end: bool
    """Whether a box has one score and its class, and each person one box; then boxes are corners."""
    num_classes: int
    """Scores of a box, if not end to end."""
    person: int
    """Number of the class of people."""
    has_points: bool
    """Whether COCO's points follow."""


def person_class_of(model: OnnxModel) -> int | None:
    """Number of the class of people, by the names in the file; None if it has no names.

    Raises:
        OnnxModelError: If it finds no people.
    """
    names = _class_names(model)
    if names is None:
        return None
    person = person_boxes.person_class(names)
    if person is None:
        found = ", ".join(ascii(name[:40]) for name in list(names.values())[:10])
        raise OnnxModelError(f"{model.path}: finds no people; none of its classes is `person`: {found}")
    return person


def columns_of(model: OnnxModel, shapes: list[tuple[int, ...]]) -> YoloColumns | None:
    """What the first output of a model holds; None if it is none of a YOLO.

    Args:
        model: The model.
        shapes: Of the outputs for one picture.

    Raises:
        OnnxModelError: If the file says that it is a YOLO, but not one of people and their boxes, or contradicts its
            outputs.
    """
    task = model.metadata.get("task")
    if task is not None and task not in _TASKS:
        raise OnnxModelError(
            f"{model.path}: a model for the task {task[:40]!a}; expected a YOLO for one of {', '.join(_TASKS)}"
        )
    if not shapes or len(shapes[0]) != 3:
        return None
    _, down, across = shapes[0]
    names, person = _class_names(model), person_class_of(model)
    # Prototypes, which outlines are mixtures of: (batch, numbers of an outline, height, width).
    masks = shapes[1][1] if len(shapes) > 1 and len(shapes[1]) == 4 else None
    extras = {"detect": {0}, "pose": {_POINT_CHANNELS}, "segment": {masks or _MASK_CHANNELS}}
    if names is None or person is None:
        return _by_shape(down, across, masks)
    possible = extras.get(task or "", {0, _POINT_CHANNELS} if masks is None else {masks})
    # Weights for points of something else than a body: their boxes are right.
    is_other_pose = task == "pose" and _numbers_in(model.metadata.get("kpt_shape", "[17, 3]")) != ["17", "3"]
    extra, is_end_to_end = down - 4 - len(names), False
    if across - 6 in possible or (is_other_pose and model.metadata.get("end2end") == "True"):
        extra, is_end_to_end = across - 6, True
    if extra not in possible and not (is_other_pose and extra > 0):
        raise OnnxModelError(
            f"{model.path}: its output is {shapes[0]}, which does not go with its {len(names)} classes"
            + (f" and its task, {task}" if task else "")
        )
    return YoloColumns(
        is_end_to_end=is_end_to_end,
        num_classes=len(names),
        person=person,
        has_points=extra == _POINT_CHANNELS and masks is None and not is_other_pose,
    )


def _by_shape(down: int, across: int, masks: int | None) -> YoloColumns | None:
    """The same of a file that says nothing of itself; its people are the first class."""
    after = (0, _POINT_CHANNELS) if masks is None else (masks,)
    if across - 6 in after:
        return YoloColumns(
            is_end_to_end=True, num_classes=1, person=0, has_points=across == 6 + _POINT_CHANNELS and masks is None
        )
    has_points = masks is None and down == 4 + 1 + _POINT_CHANNELS
    num_classes = 1 if has_points else down - 4 - (masks or 0)
    if not 0 < num_classes <= _MAX_CLASSES:
        return None
    return YoloColumns(is_end_to_end=False, num_classes=num_classes, person=0, has_points=has_points)


def _numbers_in(text: str) -> list[str]:
    return re.findall(r"[0-9]+", text[:40])


def _class_names(model: OnnxModel) -> Mapping[int, str] | None:
    """Names of classes by number as ultralytics writes them, `{0: 'person', 1: 'bicycle'}`; None without."""
    text = model.metadata.get("names")
    if text is None:
        return None
    try:
        # Of literals only, and the parser has bounds for lists within lists.
        names = ast.literal_eval(text) if len(text) <= _MAX_TEXT else None
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        names = None
    is_known = isinstance(names, dict) and sorted(map(str, names)) == sorted(map(str, range(len(names))))
    if not is_known or not names or any(type(key) is not int or type(name) is not str for key, name in names.items()):
        raise OnnxModelError(f"{model.path}: its `names` are no names of classes by number, {text[:60]!a}")
    return names
