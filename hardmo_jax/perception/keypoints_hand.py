"""21 points of each hand, from crops about the wrists of a body.

The body's wrist and knuckles say where the hand should be and which way it points; the palm detector finds it
there, the hand model gives its points, and a second look from those points confirms them. A hand is kept
only if the model is sure, its wrist lies near the body's, and it is of the right side.
"""

import dataclasses
import math
import os

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.perception import anchors, crops, litert, model_files
from hardmo_jax.skeleton import layouts

PALM_INPUT_SIZE = 192
PALM_STRIDES = (8, 16, 16, 16)
#: Keypoints of the palm detector, in output order; `thumb1` is the carpometacarpal joint.
PALM_POINTS = ("hand_root", "index1", "middle1", "ring1", "pinky1", "thumb1", "thumb2")
#: The hand crop from a palm box: this much larger, moved towards the fingers by this part of the box.
PALM_REGION_SCALE = 2.6
PALM_REGION_SHIFT = -0.5
HAND_INPUT_SIZE = 224
NUM_POINTS = 21
#: The hand crop from hand points: this much larger than their box, moved towards the fingers.
HAND_REGION_SCALE = 2.0
HAND_REGION_SHIFT = -0.1
_MAX_IOU = 0.3
#: A hand that fits this well ends the search.
_GOOD_WORTH = 0.6
_PALM_OUTPUTS = {
    "values": litert.OutputTensor(tensor="Identity", shape=(2016, 18)),
    "logits": litert.OutputTensor(tensor="Identity_1", shape=(2016, 1)),
}
_HAND_OUTPUTS = {
    "landmarks": litert.OutputTensor(tensor="Identity", shape=(NUM_POINTS * 3,)),
    "presence": litert.OutputTensor(tensor="Identity_1", shape=(1,)),
    "handedness": litert.OutputTensor(tensor="Identity_2", shape=(1,)),
    "world": litert.OutputTensor(tensor="Identity_3", shape=(NUM_POINTS * 3,)),
}
#: The hand's points without their side, in the model's order.
POINTS = tuple(point.removeprefix("left_") for point in layouts.get_layout("left_hand21").points)
#: Points whose box sets the next crop: the palm and the inner finger joints, which move least.
_STEADY_POINTS = (
    "hand_root", "thumb1", "thumb2", "thumb3", "index1", "index2", "middle1", "middle2", "ring1", "ring2",
    "pinky1", "pinky2",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class HandOptions:
    """When a hand is believed."""

    min_palm_score: float = 0.3
    """Score below which a palm is not looked at."""
    min_presence: float = 0.5
    """Probability of a hand below which nothing is returned."""
    max_wrist_distance: float = 0.5
    """Distance of the hand's wrist from the body's, as part of the expected length of the hand."""
    min_side_probability: float = 0.3
    """Probability of the right side below which the hand is taken for the person's other one."""
    min_pixels: float = 12.0
    """Expected length of the hand in pixels below which it is not looked at."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class HandLandmarks:
    """What the hand model says of one crop, in the order of `left_hand21` or `right_hand21`."""

    keypoints_2d: Float[np.ndarray, "21 2"]
    """Pixels of the full picture."""
    keypoints_3d: Float[np.ndarray, "21 3"]
    """Metres, origin at the wrist, camera axes (x right, y down, z forward)."""
    confidence: Float[np.ndarray, "21"]
    """Trust in each point, in [0, 1]."""
    presence: float
    """Probability that there is a hand in the crop."""
    left_probability: float
    """Probability that it is a left hand."""
    region: crops.SquareRegion
    """The crop."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class HandHint:
    """Where a body says that one of its hands is."""

    side: str
    """`left` or `right`, the person's own."""
    wrist: Float[np.ndarray, "2"]
    """Pixels."""
    palm: Float[np.ndarray, "2"]
    """Middle of the knuckles, pixels."""
    length: float
    """Expected length of the hand from wrist to finger tips if seen from the side, pixels."""

    def search_region(self) -> crops.SquareRegion:
        """Generous square about the hand, fingers up."""
        region = crops.region_from_axis(self.wrist, self.palm, size=3.2 * self.length)
        return region.shifted(0.0, -0.12)

    def hand_region(self) -> crops.SquareRegion:
        """Square for the hand model when no palm was found, fingers up."""
        region = crops.region_from_axis(self.wrist, self.palm, size=2.0 * self.length)
        return region.shifted(0.0, -0.22)


class HandLandmarker:
    """The palm detector and the hand model, ready to look about wrists."""

    def __init__(self, folder: str | os.PathLike[str], *, num_threads: int = 1) -> None:
        """Load both models from a folder of model files."""
        self._palm = litert.LiteRtModel(
            model_files.model_path(folder, "palm_detection_full"),
            input_shape=(PALM_INPUT_SIZE, PALM_INPUT_SIZE, 3),
            outputs=_PALM_OUTPUTS,
            num_threads=num_threads,
        )
        self._hand = litert.LiteRtModel(
            model_files.model_path(folder, "hand_landmark_full"),
            input_shape=(HAND_INPUT_SIZE, HAND_INPUT_SIZE, 3),
            outputs=_HAND_OUTPUTS,
            num_threads=num_threads,
        )
        self._centers = anchors.anchor_centers(PALM_INPUT_SIZE, PALM_STRIDES)

    def __call__(self, pyramid: crops.ImagePyramid, hint: HandHint, options: HandOptions) -> HandLandmarks | None:
        """Points of the hand that a body says is there.

        Args:
            pyramid: The picture.
            hint: Where to look and which side is expected.
            options: When a hand is believed.

        Returns:
            The hand, or None if none was found that fits.
        """
        if not hint.length >= options.min_pixels:
            return None
        best, best_worth = None, 0.0
        for region in (*self.palm_regions(pyramid, hint, options)[:2], hint.hand_region()):
            first = self.look(pyramid, region)
            if first.presence < options.min_presence:
                continue
            second = self.look(pyramid, next_region(first.keypoints_2d))
            hand = _confirmed(first, second, hint)
            worth = _worth(hand, hint, options)
            if worth > best_worth:
                best, best_worth = hand, worth
            if best_worth > _GOOD_WORTH:
                break
        return best

    def palm_regions(
        self, pyramid: crops.ImagePyramid, hint: HandHint, options: HandOptions
    ) -> list[crops.SquareRegion]:
        """Crops for the hand model from the palms near the wrist, nearest and surest first."""
        search = hint.search_region()
        outputs = self._palm(pyramid.cut(search, PALM_INPUT_SIZE))
        found = anchors.blend_duplicates(
            anchors.decode(
                outputs["values"],
                outputs["logits"][:, 0],
                self._centers,
                input_size=PALM_INPUT_SIZE,
                min_score=options.min_palm_score,
            ),
            max_iou=_MAX_IOU,
        )
        ranked = []
        for box, keypoints, score in zip(found.boxes, found.keypoints, found.scores, strict=True):
            wrist = search.to_image(keypoints[PALM_POINTS.index("hand_root")])
            distance = math.dist(wrist, hint.wrist) / hint.length
            if distance <= options.max_wrist_distance:
                ranked.append((float(score) - distance, palm_region(search, box, keypoints)))
        return [region for _, region in sorted(ranked, key=lambda pair: -pair[0])]

    def look(self, pyramid: crops.ImagePyramid, region: crops.SquareRegion) -> HandLandmarks:
        """Run the hand model on one crop."""
        outputs = self._hand(pyramid.cut(region, HAND_INPUT_SIZE, replicate_border=True))
        landmarks = outputs["landmarks"].reshape(NUM_POINTS, 3).astype(np.float64)
        world = outputs["world"].reshape(NUM_POINTS, 3).astype(np.float64)
        world -= world[POINTS.index("hand_root")]
        world[:, :2] = world[:, :2] @ region.axes().T
        presence = float(np.clip(outputs["presence"][0], 0.0, 1.0))
        return HandLandmarks(
            keypoints_2d=region.to_image(landmarks[:, :2] / HAND_INPUT_SIZE).astype(np.float32),
            keypoints_3d=world.astype(np.float32),
            confidence=np.full(NUM_POINTS, presence, np.float32),
            presence=presence,
            left_probability=1.0 - float(np.clip(outputs["handedness"][0], 0.0, 1.0)),
            region=region,
        )


def palm_region(
    search: crops.SquareRegion, box: Float[np.ndarray, "4"], keypoints: Float[np.ndarray, "7 2"]
) -> crops.SquareRegion:
    """Crop for the hand model from a palm found in a search region.

    Args:
        search: Region that the palm detector looked at.
        box: Palm box in fractions of it.
        keypoints: `PALM_POINTS` in fractions of it.

    Returns:
        Square in the picture, fingers up.
    """
    wrist = search.to_image(keypoints[PALM_POINTS.index("hand_root")])
    middle = search.to_image(keypoints[PALM_POINTS.index("middle1")])
    side = float(np.max(box[2:] - box[:2])) * search.size
    center = search.to_image(0.5 * (box[:2] + box[2:]))
    turned = crops.region_from_axis(wrist, middle, size=side)
    upright = dataclasses.replace(turned, center=(float(center[0]), float(center[1])))
    return upright.shifted(0.0, PALM_REGION_SHIFT).scaled(PALM_REGION_SCALE)


def next_region(keypoints_2d: Float[np.ndarray, "21 2"]) -> crops.SquareRegion:
    """Crop for another look at a hand of which the points are known, fingers up."""

    def point(name: str) -> np.ndarray:
        return keypoints_2d[POINTS.index(name)].astype(np.float64)

    fingers = 0.25 * (point("index2") + point("ring2")) + 0.5 * point("middle2")
    turned = crops.region_from_axis(point("hand_root"), fingers, size=1.0)
    steady = turned.from_image(np.stack([point(name) for name in _STEADY_POINTS]))
    low, high = steady.min(axis=0), steady.max(axis=0)
    center = turned.to_image(0.5 * (low + high))
    region = dataclasses.replace(
        turned, center=(float(center[0]), float(center[1])), size=max(float((high - low).max()), 1.0)
    )
    return region.shifted(0.0, HAND_REGION_SHIFT).scaled(HAND_REGION_SCALE)


def _confirmed(first: HandLandmarks, second: HandLandmarks, hint: HandHint) -> HandLandmarks:
    """The second look, each point trusted as far as both looks agree."""
    apart = np.linalg.norm(first.keypoints_2d - second.keypoints_2d, axis=1)
    # Two looks at a well seen hand differ by a few hundredths of its length.
    agreement = np.exp(-0.5 * (apart / (0.12 * hint.length)) ** 2)
    presence = min(first.presence, second.presence)
    return dataclasses.replace(
        second,
        confidence=(presence * agreement).astype(np.float32),
        presence=presence,
        left_probability=0.5 * (first.left_probability + second.left_probability),
    )


def side_probability(hand: HandLandmarks, side: str) -> float:
    """Probability that a hand is the left or right one, as named."""
    return hand.left_probability if side == "left" else 1.0 - hand.left_probability


def _worth(hand: HandLandmarks, hint: HandHint, options: HandOptions) -> float:
    """How well a hand fits a hint; 0 if it must not be used."""
    side = side_probability(hand, hint.side)
    distance = math.dist(hand.keypoints_2d[POINTS.index("hand_root")], hint.wrist) / hint.length
    if (
        hand.presence < options.min_presence
        or side < options.min_side_probability
        or distance > options.max_wrist_distance
    ):
        return 0.0
    return float(hand.confidence.mean()) * side * (1.0 - distance)
