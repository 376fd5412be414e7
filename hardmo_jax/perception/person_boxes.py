"""Boxes of people, and what all detectors of boxes share: fitting a picture in, and getting back to its pixels."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Float
from hardmo_jax.perception import anchors, crops

_PADDING = 114
_MAX_IOU = 0.6
#: The crop of the landmark model is this much larger than the longer side of the box.
_REGION_SCALE = 1.25
#: Boxes looked at before those of one person are put together.
_MOST_BOXES = 2000


@dataclasses.dataclass(frozen=True, kw_only=True)
class PersonBox:
    """A person found in the picture."""

    bbox: Float[np.ndarray, "4"]
    """Whole person, (x_min, y_min, x_max, y_max) in pixels, within the picture."""
    score: float
    """Probability in [0, 1]."""
    keypoints_2d: Float[np.ndarray, "17 2"] | None = None
    """COCO's 17 points where the detector gives them too (YOLO-pose), pixels."""
    confidence: Float[np.ndarray, "17"] | None = None
    """Of these, in [0, 1]."""

    def region(self, quarter_turns: int = 0) -> crops.SquareRegion:
        """Square round the whole body, turned so that its head may be up."""
        low, high = self.bbox[:2].astype(float), self.bbox[2:].astype(float)
        middle = (low + high) / 2
        return crops.SquareRegion(
            center=(float(middle[0]), float(middle[1])),
            size=_REGION_SCALE * max(float((high - low).max()), 1.0),
            angle=0.5 * math.pi * quarter_turns,
        )


def grown_box(bbox: Float[np.ndarray, "4"], share: float) -> Float[np.ndarray, "4"]:
    """A box that is larger at each end by a share of its longer side."""
    margin = share * float(np.max(bbox[2:] - bbox[:2]))
    return (bbox + margin * np.array([-1, -1, 1, 1])).astype(np.float32)


@runtime_checkable
class BoxDetector(Protocol):
    """Whoever finds people in a picture."""

    @property
    def gives_points(self) -> bool:
        """Whether people come with COCO's points."""
        ...

    def __call__(self, image: UInt8[np.ndarray, "H W 3"], *, min_score: float) -> list[PersonBox]:
        """People of a picture, best first.

        Args:
            image: RGB.
            min_score: Least score.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Letterbox:
    """A picture scaled to fit into another one, grey round it."""

    image: UInt8[np.ndarray, "h w 3"]
    """The picture that a model takes."""
    scale: float
    """Pixels of the model to one of the picture."""
    offset: Float[np.ndarray, "2"]
    """Where the corner of the picture lies, (x, y)."""
    picture_size: tuple[int, int]
    """(width, height) of the picture that was fitted in."""

    def back(self, points: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch 2"]:
        """Points of the model's picture, in pixels of the picture that was fitted in."""
        return (points.astype(np.float64) - self.offset) / self.scale


def person_class(names: Mapping[int, str]) -> int | None:
    """Number of the class of people: the one of that name, or the only one; None if there is none."""
    for number, name in names.items():
        if name.strip().lower() == "person":
            return number
    # Weights without real names count their classes: "0", "1", ...
    if len(names) <= 1 or all(name == str(number) for number, name in names.items()):
        return 0
    return None


def fit_letterbox(image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int], *, is_centred: bool) -> Letterbox:
    """Fit a picture into a size.

    Args:
        image: The picture.
        size: (width, height) of what the model takes.
        is_centred: Whether it goes into the middle; else into the top left corner.
    """
    import cv2

    height, width = image.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    inner = (max(round(width * scale), 1), max(round(height * scale), 1))
    x, y = ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2) if is_centred else (0, 0)
    canvas = np.full((size[1], size[0], 3), _PADDING, np.uint8)
    canvas[y : y + inner[1], x : x + inner[0]] = cv2.resize(image, inner, interpolation=cv2.INTER_LINEAR)
    return Letterbox(image=canvas, scale=scale, offset=np.array([x, y], np.float64), picture_size=(width, height))


def best_boxes(
    letterbox: Letterbox,
    boxes: Float[np.ndarray, "N 4"],
    scores: Float[np.ndarray, "N"],
    *,
    min_score: float,
    keypoints: Float[np.ndarray, "N 17 3"] | None = None,
) -> list[PersonBox]:
    """People out of the boxes of a detector: each once, best first.

    Args:
        letterbox: The picture that the detector saw.
        boxes: (x_min, y_min, x_max, y_max) in its pixels, of people; numbers that are none are left out.
        scores: Of these.
        min_score: Least score.
        keypoints: COCO's points in its pixels, with their confidence.
    """
    boxes = letterbox.back(boxes.reshape(-1, 2, 2)).reshape(-1, 4)
    # Edges of pixels become centres.
    boxes = np.clip(boxes - 0.5, 0, np.tile(np.array(letterbox.picture_size) - 1, 2))
    is_box = np.isfinite(boxes).all(-1) & np.isfinite(scores) & (scores >= min_score)
    is_box &= (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
    order = np.flatnonzero(is_box)
    order = order[np.argsort(-scores[order], kind="stable")][:_MOST_BOXES]
    kept: list[PersonBox] = []
    others = np.zeros((0, 4))
    for place in order:
        if len(others) and anchors.box_iou(boxes[place], others).max() > _MAX_IOU:
            continue
        others = np.concatenate([others, boxes[place, None]])
        person = PersonBox(bbox=boxes[place].astype(np.float32), score=float(np.clip(scores[place], 0, 1)))
        if keypoints is not None and np.isfinite(keypoints[place]).all():
            person = dataclasses.replace(
                person,
                # No half pixel here: COCO's points, which are learnt from, are numbers of pixels already.
                keypoints_2d=letterbox.back(keypoints[place, :, :2]).astype(np.float32),
                confidence=np.clip(keypoints[place, :, 2], 0, 1).astype(np.float32),
            )
        kept.append(person)
    return kept
